"""Signals again, the slow and obvious way: one value at a time, over a plain list of the window's known values."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.model.panel import Field, Grid, Panel

FloatArray = NDArray[np.float64]
Window = Callable[[list[float], float], float]

FIRST_HOUR = 473_352  # 2024-01-01; not a multiple of the windows' lengths


def panel_of(first: int = FIRST_HOUR, interval_ms: int = 3_600_000, **fields: Any) -> Panel:
    """A panel of fields given as (rows, coins), or as (rows,) for one coin."""
    matrices = {name: np.asarray(values, dtype=np.float64) for name, values in fields.items()}
    matrices = {name: each[:, None] if each.ndim == 1 else each for name, each in matrices.items()}
    rows, width = next(iter(matrices.values())).shape
    return Panel(Grid(first, rows, interval_ms), tuple(f"COIN{k}" for k in range(width)), matrices)


def field_of(values: Any, first: int = FIRST_HOUR) -> Field:
    matrix = np.asarray(values, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    return Field(matrix, Grid(first, len(matrix)))


def each_cell(values: FloatArray, what: Callable[[list[float], int], float]) -> FloatArray:
    """`what(column, row)` for every cell; the column is a list of floats."""
    result = np.full(values.shape, np.nan)
    for k in range(values.shape[1]):
        column = values[:, k].tolist()
        for row in range(len(column)):
            result[row, k] = what(column, row)
    return result


def windowed(values: FloatArray, rows: int, min_count: int, what: Window) -> FloatArray:
    """`what(known values of the window, present value)`, NaN where fewer than `min_count` are known."""

    def at(column: list[float], row: int) -> float:
        known = [x for x in column[max(0, row - rows + 1) : row + 1] if math.isfinite(x)]
        return what(known, column[row]) if len(known) >= min_count else math.nan

    return each_cell(values, at)


def mean(known: Sequence[float], _: float = 0.0) -> float:
    return math.fsum(known) / len(known)


def std(known: Sequence[float], _: float = 0.0) -> float:
    middle = mean(known)
    return math.sqrt(math.fsum((x - middle) ** 2 for x in known) / len(known))


def z(known: Sequence[float], present: float) -> float:
    if not math.isfinite(present):
        return math.nan
    spread = std(known)
    return (present - mean(known)) / spread if spread else 0.0


def rank(known: list[float], present: float) -> float:
    if not math.isfinite(present):
        return math.nan
    others = len(known) - 1
    if others == 0:
        return 0.5
    below, ties = sum(x < present for x in known), sum(x == present for x in known) - 1
    return (below + ties / 2) / others


def average_exponential(values: FloatArray, half_life: int, min_count: int) -> FloatArray:
    rows = 8 * half_life

    def at(column: list[float], row: int) -> float:
        pairs = [(0.5 ** (age / half_life), column[row - age]) for age in range(min(rows, row + 1))]
        known = [(weight, x) for weight, x in pairs if math.isfinite(x)]
        if len(known) < min_count:
            return math.nan
        return math.fsum(w * x for w, x in known) / math.fsum(w for w, _ in known)

    return each_cell(values, at)


def change(values: FloatArray, rows: int) -> FloatArray:
    return each_cell(
        values, lambda column, row: column[row] / column[row - rows] - 1 if row >= rows else math.nan
    )


def log_return(values: FloatArray, rows: int) -> FloatArray:
    def at(column: list[float], row: int) -> float:
        return math.log(column[row]) - math.log(column[row - rows]) if row >= rows else math.nan

    return each_cell(values, at)


def volatility(mark: FloatArray, rows: int) -> FloatArray:
    return windowed(log_return(mark, 1), rows, max(2, int(rows * 0.9)), std) * math.sqrt(8760)


def drift(mark: FloatArray, rows: int, volatility_rows: int = 168) -> FloatArray:
    return log_return(mark, rows) / (volatility(mark, volatility_rows) * math.sqrt(rows / 8760))


def surge(volume: FloatArray, rows: int = 6, baseline: int = 336) -> FloatArray:
    return windowed(volume, rows, rows, mean) / windowed(volume, baseline, int(baseline * 0.9), mean)


def zscore(values: FloatArray, rows: int) -> FloatArray:
    return windowed(values, rows, max(1, int(rows * 0.9)), z)


def made_up(rows: int, width: int = 3, seed: int = 5, holes: float = 0.004) -> Panel:
    """A market drawn from a seed, with single values missing, one coin late and one that goes silent for a day."""
    draw = np.random.default_rng(seed)
    returns = 0.01 * draw.standard_normal((rows, width)) * np.exp(0.5 * draw.standard_normal((rows, 1)))
    mark = 100 * np.exp(np.cumsum(returns, axis=0))
    fields: dict[str, Any] = {
        "mark": mark,
        "oracle": mark * (1 + 1e-3 * draw.standard_normal(mark.shape)),
        "reference": mark * (1 + 2e-3 * draw.standard_normal(mark.shape)),
        "funding_rate": 1e-5 + 3e-5 * draw.standard_normal(mark.shape),
        "premium": 1e-4 * draw.standard_normal(mark.shape),
        "open_interest": 1e6 * np.exp(np.cumsum(0.01 * draw.standard_normal(mark.shape), axis=0)),
        "volume_usd": 1e6 * np.exp(draw.standard_normal(mark.shape)),
    }
    for values in fields.values():
        values[draw.random(values.shape) < holes] = np.nan
        values[:30, -1] = np.nan
        values[rows // 2 : rows // 2 + 24, 0] = np.nan
    return panel_of(**fields)


def last_day(
    run: float = 0.0, flow: float = 0.0, surge: float = 1.0, crowd: float = 0.0, without: str = ""
) -> Panel:
    """A fortnight of ordinary hours, then a day in which price runs (in usual daily moves) and traders move.

    Ordinary: price ±1 % by the hour, open interest and volume even, funding ±1e-5 by the hour around 2e-5.
    `flow` is the day's change of open interest, `surge` multiplies the last six hours' volume, `crowd` is how many
    of its usual deviations the last funding rate lies off.
    """
    rows = 24 * 15
    steps = 0.01 * (-1.0) ** np.arange(rows)
    steps[-24:] += run * 0.01 * math.sqrt(24) / 24
    interest = np.full(rows, 1000.0)
    interest[-24:] *= 1 + flow * np.arange(1, 25) / 24
    volume = np.full(rows, 1e6)
    volume[-6:] *= surge
    funding = 2e-5 + 1e-5 * (-1.0) ** np.arange(rows)
    funding[-1] = 2e-5 + crowd * 1e-5
    fields: dict[str, Any] = {
        "mark": 100 * np.exp(np.cumsum(steps)),
        "open_interest": interest,
        "volume_usd": volume,
        "funding_rate": funding,
    }
    return panel_of(**{name: values for name, values in fields.items() if name != without})
