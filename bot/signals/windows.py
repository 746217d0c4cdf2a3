"""Moving windows whose value at a row depends on nothing outside the window, to the last bit.

A running sum remembers everything it ever added, so the same window gives other digits over a tail than over the
whole history, and a strategy on the edge of a threshold would decide differently live than in research. Here a
window is put together from two partial sums that begin at fixed moments of the clock: the end of one block and the
start of the next (van Herk 1992, Gil & Werman 1993, for extrema). The cost does not grow with the window.

Each function takes a `Field` and a length in rows, counts NaN as missing, and is NaN where fewer than `min_count`
values are known (default: the window must be complete).
"""

from __future__ import annotations

from collections.abc import Callable

import bottleneck as bn
import numpy as np

from bot.model.panel import Field, FloatArray

HALF_LIVES = 8  # an exponential window is cut where a value's weight has fallen to 1/256
_COLUMNS_AT_ONCE = 16  # keeps the partial sums of one pass small

#: Partial results over (blocks, rows in block, columns); the first is always the count of known values, and has a
#: single column where it is the same in all.
_Parts = tuple[FloatArray, ...]
_Fold = Callable[[FloatArray, FloatArray, bool], _Parts]
_Join = Callable[[_Parts, _Parts], tuple[FloatArray, ...]]


def moving_mean(field: Field, rows: int, min_count: int | None = None) -> Field:
    """Mean of the last `rows` rows, the present one included."""
    (mean,) = _windowed(field, rows, _moments, lambda head, tail: (_mean(head, tail),), min_count)
    return mean


def moving_std(field: Field, rows: int, min_count: int | None = None) -> Field:
    """Population standard deviation (ddof 0) of the last `rows` rows; exactly 0 where they are all equal."""
    (std,) = _windowed(field, rows, _moments, lambda head, tail: _mean_and_std(head, tail)[1:], min_count)
    return std


def moving_sum(field: Field, rows: int, min_count: int | None = None) -> Field:
    """Sum of the known values of the last `rows` rows."""
    (total,) = _windowed(
        field, rows, _moments, lambda head, tail: (_mean(head, tail) * (head[0] + tail[0]),), min_count
    )
    return total


def moving_z(field: Field, rows: int, min_count: int | None = None) -> Field:
    """How many of the window's standard deviations the present value lies from its mean; 0 where nothing moved."""
    mean, std = _windowed(field, rows, _moments, _mean_and_std, min_count)
    deviation = field.values - mean.values
    with np.errstate(invalid="ignore", divide="ignore"):
        z = deviation / std.values
    still = std.values == 0
    z[still] = 0.0 * deviation[still]
    return Field(z, field.grid, mean.reach)


def moving_average_exponential(field: Field, half_life_rows: int, min_count: int | None = None) -> Field:
    """Average with weights that halve every `half_life_rows`, over a window of eight half-lives."""
    rows = HALF_LIVES * half_life_rows
    decay = 0.5 ** (1 / half_life_rows)

    def fold(block: FloatArray, known: FloatArray, backward: bool) -> _Parts:
        # In-block position j; the head needs weights decay^(t−j), the tail decay^(t−j) with t one window after its
        # start s, which is decay^(position of s) × decay^(rows−1−j).
        position = np.arange(rows, dtype=np.float64)[:, None]
        if backward:
            weight, scale = decay ** (rows - 1 - position), decay**position
        else:
            weight, scale = decay**-position, decay**position
        return (
            _accumulate(known, backward),
            _accumulate(block * weight, backward) * scale,
            _accumulate(known * weight, backward) * scale,
        )

    def join(head: _Parts, tail: _Parts) -> tuple[FloatArray, ...]:
        return ((head[1] + tail[1]) / (head[2] + tail[2]),)

    (average,) = _windowed(field, rows, fold, join, min_count)
    return average


def moving_rank(field: Field, rows: int, min_count: int | None = None) -> Field:
    """Share of the window's other values that the present one is above, 0 … 1, ties counting half."""
    enough = rows if min_count is None else min_count
    reach = field.reach + rows - 1
    window = min(rows, field.grid.rows)
    if window < enough:
        return Field(np.full(field.values.shape, np.nan), field.grid, reach)
    rank = bn.move_rank(field.values, window, min_count=enough, axis=0)
    return Field((rank + 1) / 2, field.grid, reach)


def _windowed(field: Field, rows: int, fold: _Fold, join: _Join, min_count: int | None) -> tuple[Field, ...]:
    """Fold every clock-aligned block forward and backward, and join the two halves under each window.

    The window that ends at row i is the tail of the block it starts in and the head of the block it ends in; one
    that starts on a block's first row is that whole block and has no tail.
    """
    if rows < 1:
        raise ValueError(f"a window needs at least one row, found {rows}")
    height, width = field.values.shape
    lead = field.grid.first % rows
    blocks = max(1, -(-(lead + height) // rows))
    full = min(rows - 1 - lead, height)  # earlier windows begin before there is any block

    def under_window(part: FloatArray) -> FloatArray:
        tail = np.zeros((height, part.shape[2]))
        tail[full:] = _flat(part)[lead + full - rows + 1 : lead + height - rows + 1]
        tail[full::rows] = 0.0  # these windows are one block each
        return tail

    enough = rows if min_count is None else min_count
    results: list[FloatArray] = []
    for left in range(0, width, _COLUMNS_AT_ONCE):
        chunk = field.values[:, left : left + _COLUMNS_AT_ONCE]
        block = np.full((blocks * rows, chunk.shape[1]), np.nan)
        block[lead : lead + height] = chunk
        known = np.isfinite(block)
        block[~known] = 0.0
        if (known == known[:, :1]).all():
            known = known[:, :1]  # one count does for all columns
        block = block.reshape(blocks, rows, -1)
        flags = known.astype(np.float64).reshape(blocks, rows, -1)
        head = tuple(_flat(part)[lead : lead + height] for part in fold(block, flags, False))
        tail = tuple(under_window(part) for part in fold(block, flags, True))
        short = np.broadcast_to(head[0] + tail[0] < enough, chunk.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            joined = join(head, tail)
        if not results:
            results = [np.empty((height, width)) for _ in joined]
        for result, values in zip(results, joined, strict=True):
            values[short] = np.nan
            result[:, left : left + _COLUMNS_AT_ONCE] = values
    return tuple(Field(result, field.grid, field.reach + rows - 1) for result in results)


def _flat(part: FloatArray) -> FloatArray:
    """Blocks one after the other."""
    return part.reshape(-1, part.shape[2])


def _accumulate(values: FloatArray, backward: bool) -> FloatArray:
    """Running sum over each block, from its first row on or back from its last."""
    if backward:
        return np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
    return np.cumsum(values, axis=1)


def _moments(block: FloatArray, known: FloatArray, backward: bool) -> _Parts:
    """Count, sum and sum of squares around a pivot, and the pivot: the value at the block's edge.

    The edge lies inside every window that uses the part and close to its values, so that squares don't cancel.
    """
    pivot = block[:, -1:] if backward else block[:, :1]
    deviation = (block - pivot) * known
    return (
        _accumulate(known, backward),
        _accumulate(deviation, backward),
        _accumulate(deviation * deviation, backward),
        np.broadcast_to(pivot, block.shape),
    )


def _part_mean(part: _Parts) -> FloatArray:
    count, total, _, pivot = part
    mean: FloatArray = np.where(count > 0, pivot + total / np.maximum(count, 1), 0.0)
    return mean


def _mean(head: _Parts, tail: _Parts) -> FloatArray:
    start = _part_mean(head)
    mean: FloatArray = start + (_part_mean(tail) - start) * (tail[0] / (head[0] + tail[0]))
    return mean


def _mean_and_std(head: _Parts, tail: _Parts) -> tuple[FloatArray, FloatArray]:
    """Two parts' squared deviations joined by Chan's formula (Chan, Golub & LeVeque 1979)."""
    count = head[0] + tail[0]
    start = _part_mean(head)
    apart = _part_mean(tail) - start
    square = sum(np.maximum(q - s * s / np.maximum(n, 1), 0.0) for n, s, q, _ in (head, tail))
    between = apart**2 * (head[0] * tail[0] / count)
    std: FloatArray = np.sqrt((square + between) / count)
    return start + apart * (tail[0] / count), std
