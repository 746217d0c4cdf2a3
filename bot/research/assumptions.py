"""What a run takes for granted: the gaps that it refuses, and a sentence for each thing that it assumes."""

from __future__ import annotations

import numpy as np

from bot.clock import utc
from bot.errors import DataError
from bot.model.decision import BoolArray
from bot.model.panel import Panel
from bot.sim.bars import UNKNOWN_VOLUME_SHARE, Bars, Frictions


def refuse_gaps(panel: Panel) -> None:
    """Raise DataError if a price or a funding rate is missing from the first known of its coin to the panel's end.

    The newest bar of a recording often comes without the settlement at its end, so the last rate alone may be missing.
    """
    for name in ("close", "funding_rate"):
        known = np.isfinite(panel.field(name).values)
        for column, coin in enumerate(panel.instruments):
            rows = np.flatnonzero(known[:, column])
            if not len(rows):
                raise DataError(
                    f"{coin} has no {name} at all in this period; leave it out, or say what to do with "
                    'data.missing = "settle"'
                )
            holes = (rows[-1] - rows[0] + 1) - len(rows)
            if holes:
                first = int(rows[0] + np.argmin(known[rows[0] :, column]))
                raise DataError(
                    f"{coin} lacks {name} in {holes} hours from {utc(panel.grid.time_ms(first))} on; shorten the "
                    'period, or set data.missing = "settle" to close what is held over long gaps and count the rest'
                )
            after = panel.rows - 1 - int(rows[-1])
            if after > (1 if name == "funding_rate" else 0):
                raise DataError(
                    f"{coin} has no {name} after {utc(panel.grid.time_ms(int(rows[-1])))}, {after} hours before the "
                    "period ends: delisted, or not recorded further; end the period there, leave the coin out, or set "
                    'data.missing = "settle" to close what is held at its last price'
                )


def modelled(frictions: Frictions, *, has_stops: bool) -> tuple[str, ...]:
    """What the simulated market takes for granted."""
    sentences = (
        (
            f"orders fill at the next bar's open, within {frictions.volume_share:g} × the bar's volume, moved by half a spread of {frictions.half_spread_bps:g} bps and by "
            f"{frictions.impact_bps:g} bps × √(order / bar's volume); nobody reacts to them, no request is lost or late"
        ),
        (
            "inside a bar what happens first is not known and is taken against the account: triggers, then limits traded "
            "through, then every position at its worst price at once; funding settles last, on what is still held"
        ),
    )
    if not has_stops:
        return sentences
    stops = (
        "a stop fills at its level, or at the open where that is beyond it, moved by spread and impact; where price runs "
        "on within the bar, the venue would fill it worse"
    )
    return (*sentences, stops)


def faults(panel: Panel, funding_cap_per_h: float) -> list[str]:
    """A sentence for each kind of value in the data that can't be true, or that the venue would not have paid."""
    fields = panel.fields
    sentences = []
    if {"low", "high"} <= fields.keys():
        low, high = fields["low"], fields["high"]
        false = low > high
        for name in ("open", "close"):
            if name in fields:
                false |= (fields[name] < low) | (fields[name] > high)
        if false.any():
            sentences.append(
                f"{_counted(false, panel)} have a low above their high, or open or close outside of them; they are "
                "used as they are"
            )
    if "funding_rate" in fields:
        beyond = np.abs(fields["funding_rate"]) > funding_cap_per_h
        if beyond.any():
            sentences.append(
                f"{_counted(beyond, panel, 'funding rates')} are beyond the cap of {funding_cap_per_h:.2%} an hour; "
                "what was held paid the cap"
            )
    return sentences


def volumes(bars: Bars) -> tuple[str, ...]:
    """What is assumed where it is not known how much was traded."""
    share = f"an order is taken to be {UNKNOWN_VOLUME_SHARE:.0%} of its bar"
    if bars.volume_usd is None:
        return (f"no volume is known: {share}, and nothing bounds what is traded in it",)
    unknown = np.isfinite(bars.mark) & np.isnan(bars.volume_usd)
    if not unknown.any():
        return ()
    return (
        f"where a bar's volume is unknown ({unknown.mean():.1%} of them) nothing is opened; for what closes {share}",
    )


def _counted(where: BoolArray, panel: Panel, what: str = "candles") -> str:
    row, column = (int(index[0]) for index in np.nonzero(where))
    first = f"{panel.instruments[column]} at {utc(panel.grid.time_ms(row))}"
    return f"{np.count_nonzero(where)} {what}, the first of {first},"
