"""The positioning board: for every coin, what its traders have been doing, and what of that is not known and why.

Each coin is read at its own latest hour with a known price, so a coin whose data ended earlier is shown as it was
then, with its age. An unknown value is None, never 0, and has a line in `unknown`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bot.clock import HOUR_MS, utc
from bot.model.funding import HOURS_PER_YEAR
from bot.model.panel import Field, Grid, Panel
from bot.signals.catalogue import SIGNALS
from bot.signals.regime import Regime
from bot.signals.windows import moving_sum

DAY_H: Final = 24
PATIENCE_H: Final = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A value of the board: how it is measured, and what of which fields it needs.

    `lag` is how many hours ago it needs a value, `window` how many hours it looks back over, `parts` other columns
    that it is made of.
    """

    measure: Callable[[Panel], Field]
    needs: tuple[str, ...]
    lag: int = 0
    window: int = 1
    parts: tuple[str, ...] = ()


def _signal(name: str, needs: str, lag: int = 0, window: int = 1, parts: str = "") -> Column:
    return Column(SIGNALS[name], tuple(needs.split()), lag, window, tuple(parts.split()))


FORTNIGHT_H: Final = 14 * DAY_H

COLUMNS: Final[Mapping[str, Column]] = {
    "price": Column(lambda panel: panel.mark, ("mark",)),
    "funding_apr": _signal("funding_apr", "funding_rate"),
    "funding_apr_24h": _signal("funding_apr_24h", "funding_rate", window=DAY_H),
    "predicted_funding_apr": Column(
        lambda panel: panel.predicted_funding * HOURS_PER_YEAR, ("predicted_funding",)
    ),
    "funding_z": _signal("funding_z", "funding_rate", window=FORTNIGHT_H),
    "funding_percentile": _signal("funding_percentile", "funding_rate", window=FORTNIGHT_H),
    "premium": _signal("premium", "premium"),
    "basis_bps": Column(lambda panel: SIGNALS["basis"](panel) * 1e4, ("mark", "reference")),
    "open_interest": Column(lambda panel: panel.open_interest, ("open_interest",)),
    "open_interest_usd": Column(lambda panel: panel.open_interest * panel.mark, ("open_interest", "mark")),
    "open_interest_change": _signal("open_interest_change", "open_interest", lag=DAY_H),
    "open_interest_price_part": _signal("open_interest_price_part", "open_interest mark", lag=DAY_H),
    "open_interest_flow_part": _signal("open_interest_flow_part", "open_interest mark", lag=DAY_H),
    "volume_usd_24h": Column(lambda panel: moving_sum(panel.volume_usd, DAY_H), ("volume_usd",), 0, DAY_H),
    "volume_surge": _signal("volume_surge", "volume_usd", window=FORTNIGHT_H),
    "realised_volatility": _signal("realised_volatility", "mark", window=7 * DAY_H + 1),
    "drift": _signal("drift", "mark", 2 * DAY_H, parts="realised_volatility"),
    "regime": _signal("regime", "mark", DAY_H, parts="funding_z open_interest_change volume_surge drift"),
    "stress": _signal("stress", "mark", window=FORTNIGHT_H + 1, parts="funding_z realised_volatility"),
}

WORDS: Final = {
    "mark": "price",
    "funding_rate": "funding",
    "reference": "reference price",
    "volume_usd": "volume",
    "predicted_funding": "predicted funding",
    "open_interest": "open interest",
    "premium": "premium",
}


def board(panel: Panel, at_row: int = -1) -> list[dict[str, Any]]:
    """A row for every coin that has had a price by `at_row`, in the panel's order.

    Rates are yearly fractions, changes fractions over 24 h, `drift` in usual two-day moves; `stress` runs from 0 to 1.
    `age_h` is how long before `at_row` the coin's hour lies.
    """
    now = at_row % panel.rows if at_row < 0 else at_row
    past = _without_empty_basis(panel.slice(0, now + 1))
    latest = _latest(past)
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(set(latest[latest >= 0].tolist())):
        coins = [coin for coin, last in zip(past.instruments, latest, strict=True) if last == row]
        # The signals are the same over this tail as over the whole history.
        tail = past.slice(max(0, row + 1 - _reach(past.grid.interval_ms)), row + 1).select(coins)
        history = past.slice(0, row + 1).select(coins)
        age_h = (now - row) * past.grid.interval_ms / HOUR_MS
        for coin, facts in _measured(tail, history).items():
            found[coin] = {"coin": coin, "time": utc(tail.grid.end_ms), "age_h": age_h, **facts}
    return [found[coin] for coin in panel.instruments if coin in found]


def _latest(panel: Panel) -> NDArray[np.intp]:
    """Each coin's last row with a price, or, up to `PATIENCE_H` before that, with a price and its settled funding.

    The newest bar of recorded data often comes without the settlement at its end. -1 for a coin without a price.
    """
    priced = np.isfinite(panel.mark.values)
    last = _last_true(priced)
    complete = _last_true(priced & np.isfinite(panel.funding_rate.values))
    patience = PATIENCE_H * HOUR_MS // panel.grid.interval_ms
    return np.where((complete >= 0) & (last - complete <= patience), complete, last)


def _last_true(known: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.where(known.any(axis=0), len(known) - 1 - np.argmax(known[::-1], axis=0), -1)


def _without_empty_basis(panel: Panel) -> Panel:
    """A panel whose oracle merely repeats the mark has no reference: a basis of 0 would be made up."""
    if "reference" in panel.fields or not np.array_equal(
        panel.oracle.values, panel.mark.values, equal_nan=True
    ):
        return panel
    unknown = np.full((panel.rows, len(panel.instruments)), np.nan)
    return Panel(panel.grid, panel.instruments, {**panel.fields, "reference": unknown})


def _reach(interval_ms: int) -> int:
    empty = Panel(Grid(0, 1, interval_ms), ("NONE",), {})
    return max(column.measure(empty).reach for column in COLUMNS.values())


def _measured(tail: Panel, history: Panel) -> dict[str, dict[str, Any]]:
    values = {name: column.measure(tail).last for name, column in COLUMNS.items()}
    rows: dict[str, dict[str, Any]] = {}
    for k, coin in enumerate(tail.instruments):
        facts: dict[str, Any] = {name: _known(float(each[k])) for name, each in values.items()}
        missing = {name for name, each in facts.items() if each is None}
        unknown = _grouped({name: _why(name, missing, history, k) for name in facts if name in missing})
        if "stress" not in missing:
            silent = [name for name in ("open_interest_change", "volume_surge") if name in missing]
            unknown += [f"stress: {name.replace('_', ' ')} is unknown and sounds no alarm" for name in silent]
        if "regime" not in missing:
            facts["regime"] = Regime(int(facts["regime"])).label
        rows[coin] = {**facts, "unknown": unknown}
    return rows


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _grouped(reasons: Mapping[str, str]) -> list[str]:
    """One line for all values that are unknown for the same reason."""
    together: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        together.setdefault(reason, []).append(name.replace("_", " "))
    return [f"{', '.join(names)}: {reason}" for reason, names in together.items()]


def _why(name: str, missing: Collection[str], history: Panel, k: int) -> str:
    """Why a value is unknown: which of the fields it needs is missing, since when or how much."""
    column = COLUMNS[name]
    for part in column.parts:
        if part in missing:
            return _why(part, missing, history, k)
    for need in column.needs:
        word = WORDS[need]
        there = "oracle" if need == "reference" and need not in history.fields else need
        known = np.isfinite(history.field(there).values[:, k])
        if not known.any():
            return f"there is no {word} in this data"
        if not known[-1]:
            ago = len(known) - 1 - int(np.flatnonzero(known)[-1])
            return f"no {word} at this hour, the last was {ago} h earlier"
        if column.lag and not known[-1 - column.lag : len(known) - column.lag].all():
            return f"no {word} {column.lag} h earlier"
        if len(known) <= column.lag:
            return f"{word} began only {len(known) - 1} h earlier"
        count = int(known[-column.window :].sum())
        if count < column.window:
            return f"only {count} of the last {column.window} hours of {word} are known"
    return "a value that it is divided by is 0"
