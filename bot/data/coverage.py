"""What a series of a coin covers, and which hours are missing inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bot.clock import HOUR_MS
from bot.data.tables import IntArray
from bot.model.panel import FloatArray, Grid


@dataclass(frozen=True, slots=True)
class Coverage:
    """The known rows of one field of one coin; hours missing before the first and after the last don't count.

    `gaps` are `(time of the first missing row in ms, number of missing hours)`.
    """

    coin: str
    field: str
    first_ms: int | None
    last_ms: int | None
    rows: int
    missing: int
    longest_gap_h: int
    gaps: tuple[tuple[int, int], ...]


def covered(coin: str, field: str, hours: IntArray) -> Coverage:
    """Coverage of a series known at `hours` (whole hours since the epoch, rising, none twice)."""
    if not len(hours):
        return Coverage(coin, field, None, None, 0, 0, 0, ())
    steps = np.diff(hours)
    before = np.flatnonzero(steps > 1)
    gaps = tuple(((int(hours[i]) + 1) * HOUR_MS, int(steps[i]) - 1) for i in before)
    first, last = int(hours[0]), int(hours[-1])
    return Coverage(
        coin,
        field,
        first * HOUR_MS,
        last * HOUR_MS,
        len(hours),
        last - first + 1 - len(hours),
        max((length for _, length in gaps), default=0),
        gaps,
    )


def covered_columns(
    field: str, values: FloatArray, coins: tuple[str, ...], grid: Grid
) -> tuple[Coverage, ...]:
    """Coverage of every column of a panel's matrix on an hourly grid."""
    known = np.asarray(np.isfinite(values))
    whole = np.all(known, axis=0)
    return tuple(
        Coverage(coin, field, grid.start_ms, grid.end_ms, grid.rows, 0, 0, ())
        if whole[column]
        else covered(coin, field, np.flatnonzero(known[:, column]) + grid.first)
        for column, coin in enumerate(coins)
    )
