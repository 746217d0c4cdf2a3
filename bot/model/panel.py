"""Market data as time × instrument matrices that know their own clock.

A `Panel` holds one matrix per field (price, funding rate, open interest …). Row *t* holds only what was known at
*t*: the candle that closed at *t*, the funding that settled at *t*. NaN means unknown; it is never replaced by 0.
A backtest holds every row, a live observer the tail its strategies need; signals can't tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

HOUR_MS = 3_600_000

#: What a panel may hold, and in which unit. A field that a source does not offer reads as NaN throughout.
FIELDS: Mapping[str, str] = {
    "open": "USD, first trade price of the bar that ends at the row's time",
    "high": "USD",
    "low": "USD",
    "close": "USD",
    "mark": "USD, the venue's mark price at the row's time (margin, liquidation, triggers)",
    "oracle": "USD, the venue's oracle price at the row's time (funding is paid on it)",
    "mid": "USD, middle of best bid and ask at the row's time",
    "reference": "USD, price of the same coin at another venue or in spot",
    "funding_rate": "fraction per hour, settled at the row's time; positive: longs pay shorts",
    "predicted_funding": "fraction per hour, the venue's estimate of the next settlement, published by the row's time",
    "settled_funding": "fraction of notional that was paid at the row's time, 0 where no settlement fell on it; "
    "where a panel has none, every row settles its funding_rate",
    "funding_interval_h": "hours between settlements, as known at the row's time",
    "premium": "fraction, the averaged premium that the settled rate was computed from",
    "open_interest": "base coins, one-sided",
    "volume_usd": "USD traded during the bar",
    "spread_bps": "basis points between best bid and best ask",
    "depth_usd": "USD resting within 50 basis points of mid, on the thinner side",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """The regular clock of a panel: row *r* is the moment `(first + r) × interval_ms` after the Unix epoch."""

    first: int
    rows: int
    interval_ms: int = HOUR_MS

    def __post_init__(self) -> None:
        if self.rows < 0 or self.interval_ms <= 0:
            raise ValueError(
                f"a grid needs rows >= 0 and interval_ms > 0, found {self.rows} and {self.interval_ms}"
            )

    @classmethod
    def between(cls, start_ms: int, end_ms: int, interval_ms: int = HOUR_MS) -> Grid:
        """Rows from `start_ms` to `end_ms`, both included and both on the grid."""
        if start_ms % interval_ms or end_ms % interval_ms:
            raise ValueError(f"{start_ms} and {end_ms} are not both multiples of {interval_ms} ms")
        return cls(start_ms // interval_ms, max(0, (end_ms - start_ms) // interval_ms + 1), interval_ms)

    @property
    def start_ms(self) -> int:
        return self.first * self.interval_ms

    @property
    def end_ms(self) -> int:
        """Time of the last row."""
        return (self.first + self.rows - 1) * self.interval_ms

    @property
    def times_ms(self) -> NDArray[np.int64]:
        return (self.first + np.arange(self.rows, dtype=np.int64)) * self.interval_ms

    def time_ms(self, row: int) -> int:
        return (self.first + row) * self.interval_ms

    def row(self, time_ms: int) -> int:
        """Row of a moment on the grid; may lie outside `0 … rows − 1`."""
        return time_ms // self.interval_ms - self.first

    def span(self, hours: float) -> int:
        """How many rows `hours` are, at least one."""
        rows = hours * HOUR_MS / self.interval_ms
        if rows < 1 or rows != int(rows):
            raise ValueError(f"{hours} h is not a whole number of rows of {self.interval_ms} ms")
        return int(rows)

    def slice(self, start: int, stop: int) -> Grid:
        return Grid(self.first + start, stop - start, self.interval_ms)


class Field(NDArrayOperatorsMixin):
    """One time × instrument matrix together with the clock its rows follow.

    Arithmetic and comparisons work as on arrays and keep the clock; two fields on different clocks don't mix.
    `reach` is how many rows of the panel a value depends on, its own included; it adds up as fields are derived from
    fields, so that a live tail can be cut exactly as long as its strategies need.
    """

    __slots__ = ("grid", "reach", "values")

    def __init__(self, values: NDArray[Any], grid: Grid, reach: int = 1) -> None:
        if values.ndim != 2 or values.shape[0] != grid.rows:
            raise ValueError(f"a field of {grid.rows} rows was given values of shape {values.shape}")
        self.values = values
        self.grid = grid
        self.reach = reach

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or "out" in kwargs:
            return NotImplemented
        if any(isinstance(x, Field) and x.grid != self.grid for x in inputs):
            raise ValueError("fields on different clocks can't be combined; align them first")
        with np.errstate(invalid="ignore", divide="ignore"):
            result = ufunc(*(x.values if isinstance(x, Field) else x for x in inputs), **kwargs)
        reach = max(x.reach for x in inputs if isinstance(x, Field))
        return Field(result, self.grid, reach)

    def apply(self, function: Callable[[FloatArray], NDArray[Any]]) -> Field:
        """The field with a pointwise `function` applied to its values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return Field(function(self.values), self.grid, self.reach)

    def lag(self, rows: int) -> Field:
        """The values of `rows` rows earlier; unknown where the panel did not exist yet."""
        if rows < 0:
            raise ValueError(f"a lag of {rows} rows would look into the future")
        values = np.full(self.values.shape, np.nan)
        values[rows:] = self.values[: max(0, self.grid.rows - rows)]
        return Field(values, self.grid, self.reach + rows)

    @property
    def last(self) -> NDArray[Any]:
        """The newest row, one value per instrument."""
        row: NDArray[Any] = self.values[-1]
        return row

    @property
    def shape(self) -> tuple[int, int]:
        return (self.values.shape[0], self.values.shape[1])

    def __repr__(self) -> str:
        return f"Field(rows={self.shape[0]}, instruments={self.shape[1]}, dtype={self.values.dtype})"


@dataclass(frozen=True)
class Panel:
    """Everything known about some instruments on one clock: `fields[name]` has shape (rows, instruments)."""

    grid: Grid
    instruments: tuple[str, ...]
    fields: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.fields) - set(FIELDS))
        if unknown:
            raise ValueError(f"a panel has no field {unknown[0]!r}; it may hold {', '.join(FIELDS)}")
        if len(set(self.instruments)) != len(self.instruments):
            raise ValueError("an instrument stands twice in the panel")
        shape = (self.grid.rows, len(self.instruments))
        for name, values in self.fields.items():
            if values.shape != shape or values.dtype != np.float64:
                raise ValueError(
                    f"{name} must be float64 of shape {shape}, was {values.dtype} of {values.shape}"
                )

    def field(self, name: str) -> Field:
        """One field; NaN throughout where the source has none of it."""
        if name not in FIELDS:
            raise KeyError(f"a panel has no field {name!r}; it may hold {', '.join(FIELDS)}")
        values = self.fields.get(name)
        if values is None:
            values = np.full((self.grid.rows, len(self.instruments)), np.nan)
        return Field(values, self.grid)

    def __getattr__(self, name: str) -> Field:
        if name in FIELDS:
            return self.field(name)
        raise AttributeError(f"a panel has no field {name!r}; it may hold {', '.join(FIELDS)}")

    @property
    def rows(self) -> int:
        return self.grid.rows

    def __len__(self) -> int:
        return self.grid.rows

    def slice(self, start: int, stop: int) -> Panel:
        """Rows `start … stop − 1` as a view."""
        start, stop, _ = slice(start, stop).indices(self.grid.rows)
        cut = {name: values[start:stop] for name, values in self.fields.items()}
        return Panel(self.grid.slice(start, max(start, stop)), self.instruments, cut)

    def moments(self) -> tuple[tuple[int, dict[str, FloatArray]], ...]:
        """Every row with its time, oldest first."""
        return tuple(
            (self.grid.time_ms(row), {name: values[row] for name, values in self.fields.items()})
            for row in range(self.rows)
        )

    def tail(self, rows: int) -> Panel:
        """The newest `rows` rows, or all there are."""
        return self.slice(max(0, self.grid.rows - rows), self.grid.rows)

    def between(self, start_ms: int | None = None, end_ms: int | None = None) -> Panel:
        """Rows from `start_ms` to `end_ms`, both included."""
        start = 0 if start_ms is None else max(0, -(-start_ms // self.grid.interval_ms) - self.grid.first)
        stop = self.grid.rows if end_ms is None else max(start, self.grid.row(end_ms) + 1)
        return self.slice(start, stop)

    def select(self, instruments: Iterable[str]) -> Panel:
        """The same rows for the named instruments, in the order named."""
        names = tuple(instruments)
        missing = [name for name in names if name not in self.instruments]
        if missing:
            raise KeyError(f"{missing[0]!r} is not in the panel")
        columns = [self.instruments.index(name) for name in names]
        return Panel(self.grid, names, {name: values[:, columns] for name, values in self.fields.items()})

    def append(self, time_ms: int, row: Mapping[str, FloatArray], keep: int) -> Panel:
        """The panel with one more row, cut to its newest `keep` rows; rows skipped in between are unknown."""
        gap = self.grid.row(time_ms) - self.grid.rows
        if gap < 0 or time_ms % self.grid.interval_ms:
            raise ValueError(f"the row at {time_ms} does not follow the panel's last at {self.grid.end_ms}")
        names = list(dict.fromkeys([*self.fields, *row]))
        width = len(self.instruments)
        blank = np.full((gap, width), np.nan)
        unknown = np.full(width, np.nan)
        fields = {}
        for name in names:
            old = self.field(name).values
            new = np.asarray(row.get(name, unknown), dtype=np.float64)[None, :]
            fields[name] = np.concatenate([old, blank, new])[-keep:]
        rows = min(keep, self.grid.rows + gap + 1)
        return Panel(
            Grid(time_ms // self.grid.interval_ms - rows + 1, rows, self.grid.interval_ms),
            self.instruments,
            fields,
        )
