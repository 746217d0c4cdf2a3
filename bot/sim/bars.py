"""Bars as a simulated market takes them: what is known of an hour, with gaps carried, and what trading in it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bot.model.funding import CAP_PER_H
from bot.model.panel import FloatArray, Panel

BPS = 1e-4
LARGEST_COST = (
    0.5  # of the price: past it the square root is no model any more, and prices would turn negative
)
UNKNOWN_VOLUME_SHARE = 0.01  # of the bar's volume that an order is taken to be where the volume is unknown


@dataclass(frozen=True, slots=True)
class Frictions:
    """What trading costs besides fees, half the spread plus `impact_bps × √(order / bar volume)`, and where it ends.

    All orders of a bar together trade no more than `volume_share` of what was traded in it; inf does away with that.
    """

    half_spread_bps: float = 1.0
    impact_bps: float = 10.0
    volume_share: float = 1.0

    def cost(self, order_usd: float, volume_usd: float) -> float:
        """Relative distance from the open at which an order of this size fills."""
        share = UNKNOWN_VOLUME_SHARE
        if volume_usd >= 0:  # an hour in which nobody traded is no cheaper than one that the order doubles
            share = order_usd / volume_usd if volume_usd > 0 else 1.0
        return min((self.half_spread_bps + self.impact_bps * float(share**0.5)) * BPS, LARGEST_COST)


@dataclass(slots=True)
class Bar:
    """One bar for all instruments, arrays of shape (instruments,); made anew for every bar, so not frozen.

    `open`, `funding_rate` and `volume_usd` are NaN where unknown, and `volume_usd` is None where the source knows no
    volumes at all. `low`, `high`, `mark` and `oracle` carry the last
    known mark over bars that are missing, and are 0 before an instrument's first.
    """

    start_ms: int
    end_ms: int
    open: FloatArray
    high: FloatArray
    low: FloatArray
    mark: FloatArray
    oracle: FloatArray
    funding_rate: FloatArray  # settled at end_ms, a fraction of what is held
    volume_usd: FloatArray | None
    all_paid: bool = False  # every coin's rate is known, and within the venue's cap
    all_open: bool = False  # every coin's open is known


class Bars:
    """A panel's rows as bars."""

    def __init__(self, panel: Panel, funding_cap_per_h: float = CAP_PER_H) -> None:
        self.panel = panel
        mark = panel.mark.values
        known = np.isfinite(mark)
        self.mark = mark
        self.silent_rows = np.broadcast_to(np.int64(0), mark.shape)  # bars since the price was last known
        if not known.all():
            rows = np.arange(panel.rows)[:, None]
            last = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
            self.mark = np.where(last >= 0, np.take_along_axis(mark, np.maximum(last, 0), axis=0), 0.0)
            self.silent_rows = np.where(last >= 0, rows - last, 0)
        carried = self.mark
        self.open = panel.open.values
        self.low = _or_else(panel.low.values, carried)
        self.high = _or_else(panel.high.values, carried)
        own_oracle = "oracle" in panel.fields and panel.fields["oracle"] is not panel.fields["mark"]
        self.oracle = _or_else(panel.oracle.values, carried) if own_oracle else carried
        self.funding_rate = panel.fields.get("settled_funding", panel.funding_rate.values)
        self.volume_usd = panel.fields.get("volume_usd")
        self.all_open: list[bool] = np.isfinite(self.open).all(axis=1).tolist()
        self.all_paid: list[bool] = (np.abs(self.funding_rate).max(axis=1) <= funding_cap_per_h).tolist()

    def at(self, row: int) -> Bar:
        end_ms, mark = self.panel.grid.time_ms(row), self.mark[row]
        return Bar(
            end_ms - self.panel.grid.interval_ms,
            end_ms,
            self.open[row],
            self.high[row],
            self.low[row],
            mark,
            mark if self.oracle is self.mark else self.oracle[row],
            self.funding_rate[row],
            None if self.volume_usd is None else self.volume_usd[row],
            self.all_paid[row],
            self.all_open[row],
        )


def bar_of(
    start_ms: int,
    end_ms: int,
    row: Mapping[str, FloatArray],
    before: FloatArray,
    funding_cap_per_h: float = CAP_PER_H,
) -> Bar:
    """One bar from a row of panel fields as they arrive; `before` are the marks carried so far."""
    mark = _or_else(row["mark"], before)
    unknown = np.full(mark.shape, np.nan)
    rate = row.get("settled_funding", row.get("funding_rate", unknown))
    opened = row.get("open", unknown)
    return Bar(
        start_ms,
        end_ms,
        opened,
        _or_else(row.get("high", unknown), mark),
        _or_else(row.get("low", unknown), mark),
        mark,
        _or_else(row.get("oracle", unknown), mark),
        rate,
        row.get("volume_usd"),
        bool(np.abs(rate).max() <= funding_cap_per_h),
        bool(np.isfinite(opened).all()),
    )


def _or_else(values: FloatArray, other: FloatArray) -> FloatArray:
    if values is other:
        return values
    known = np.isfinite(values)
    return values if known.all() else np.where(known, values, other)
