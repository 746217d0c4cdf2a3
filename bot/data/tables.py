"""One Parquet table of hourly rows per coin, read a column at a time to keep memory low.

Every table has `ts` (UTC: an Arrow timestamp of any unit, or int64 milliseconds) and `coin`; the other columns are
numbers. Columns a caller doesn't ask for are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bot.clock import HOUR_MS, utc
from bot.errors import DataError
from bot.model.panel import FloatArray, Grid
from bot.text import is_coin, printable

JITTER_MS: Final = HOUR_MS // 2
"""A stamp later than this after the hour belongs to neither hour. Settlements come up to 24 minutes late."""

EARLIEST_MS: Final = 1_230_768_000_000  # 2009: stamps before any coin was traded are in another unit
LATEST_MS: Final = 4_102_444_800_000  # 2100

READ_ROWS: Final = 1 << 19
BLOCK_ROWS: Final = 1 << 16
NUMERIC: Final = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def hour_utc(time_ms: int) -> str:
    """`2025-05-31 23:00`, as people write a bar's time."""
    return utc(time_ms)[:16].replace("T", " ")


def listed(names: Iterable[object], most: int = 8) -> str:
    """`BTC, ETH and SOL`, or the first of a long list and how many more there are."""
    words = [str(name) for name in names]
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def nearest(name: str, known: Sequence[str]) -> str:
    """A clause that names the known name that was probably meant, or some of those there are."""
    folded = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    return f"did you mean {folded[close[0]]}" if close else f"there are {listed(known)}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table's rows lie in a time × coin matrix: `flat[index] = values[keep]`."""

    shape: tuple[int, int]
    index: NDArray[np.int32]
    keep: BoolArray | None  # None: every row of the table


class Table:
    """An open Parquet table; `codes` and `hours` say to which coin and to which hour each row belongs.

    Columns are read some row groups at a time and worked through in blocks that fit the processor's cache: touching
    fresh memory costs more than the work itself.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """DataError if the file is absent or unreadable, or lacks `ts`, `coin` or one of `columns`."""
        if not path.is_file():
            raise DataError(_absent(path))
        self.path = path
        self.name = path.stem
        try:
            self._file = pq.ParquetFile(path, read_dictionary=["coin"])
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None
        self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        self.rows = int(self._file.metadata.num_rows)
        self.require(("ts", "coin", *columns))
        self.coins, self.codes = self._coins()
        self.hours, self.late_ms = self._hours()

    def require(self, columns: Sequence[str]) -> None:
        """DataError that names the first of `columns` the table lacks, and those it has."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise DataError(f"{self.path} has no column '{missing[0]}'; it has {listed(self.columns, 24)}")

    def numbers(self, column: str) -> FloatArray:
        """The whole column as float64, NaN for null."""
        return np.concatenate([np.empty(0), *self._numbers(column)])

    def holds_only(self, column: str, value: float) -> bool:
        """Whether every row of the column says `value`."""
        return all(bool((values == value).all()) for values in self._numbers(column))

    def matrix(self, column: str, place: Place) -> FloatArray:
        """The column as a float64 matrix of `place.shape`; NaN where the table has no row or a null."""
        matrix = np.full(place.shape, np.nan)
        flat = matrix.reshape(-1)
        row = done = 0
        for values in self._numbers(column):
            for block in _blocks(len(values)):
                kept = values[block]
                if place.keep is not None:
                    kept = kept[place.keep[row + block.start : row + block.stop]]
                flat[place.index[done : done + len(kept)]] = kept
                done += len(kept)
            row += len(values)
        return matrix

    def select(self, coins: Sequence[str]) -> NDArray[np.int32]:
        """Position in `coins` for each of the table's own codes, −1 for a coin that isn't asked for."""
        wanted = {coin: position for position, coin in enumerate(coins)}
        return np.array([wanted.get(coin, -1) for coin in self.coins], dtype=np.int32)

    def span(self, coins: Sequence[str], column: str | None = None) -> tuple[int, int] | None:
        """First and last hour since the epoch of the coins' rows, or of those where `column` is known."""
        chosen = self.select(coins) >= 0
        mask = None if chosen.all() else chosen[self.codes]
        if column is not None:
            known = np.isfinite(self.numbers(column))
            mask = known if mask is None else mask & known
        hours = self.hours if mask is None else self.hours[mask]
        return (int(hours.min()), int(hours.max())) if len(hours) else None

    def place(self, coins: Sequence[str], grid: Grid, shift_h: int, jitter_ms: int = JITTER_MS) -> Place:
        """Where the rows go if a row stamped `ts` is known at `ts + shift_h` hours.

        DataError for a stamp more than `jitter_ms` after its hour and for two rows of a coin in one hour.
        """
        shape = (grid.rows, len(coins))
        if shape[0] * shape[1] >= 2**31:
            raise DataError(
                f"{self.path} spans {shape[0]} hours of {shape[1]} coins, which is too much; ask for less"
            )
        index = self.hours + np.int32(shift_h - grid.first)
        columns = self.select(coins)[self.codes]
        inside = (index >= 0) & (index < grid.rows) & (columns >= 0)
        keep: BoolArray | None = None
        if not inside.all():
            keep, index, columns = inside, index[inside], columns[inside]
        if self.late_ms is not None and jitter_ms < HOUR_MS:
            late = self.late_ms if keep is None else self.late_ms[keep]
            if late.size and late.max() > jitter_ms:
                worst = int(late.argmax())
                moment = (int(index[worst]) + grid.first - shift_h) * HOUR_MS + int(late[worst])
                raise DataError(
                    f"{self.path} has a row of {coins[int(columns[worst])]} stamped {utc(moment)}, more than "
                    f"{jitter_ms // 60_000} minutes after the hour; this table must be hourly"
                )
        index *= len(coins)
        index += columns
        seen = np.zeros(shape[0] * shape[1], dtype=np.bool_)
        for block in _blocks(len(index)):
            seen[index[block]] = True
        if np.count_nonzero(seen) != len(index):
            values, counts = np.unique(index, return_counts=True)
            twice = int(np.flatnonzero(counts > 1)[0])
            row, column = divmod(int(values[twice]), len(coins))
            raise DataError(
                f"{self.path} has {counts[twice]} rows of {coins[column]} in the hour of "
                f"{hour_utc(grid.time_ms(row - shift_h))}; remove the duplicate"
            )
        return Place(shape, index, keep)

    def _numbers(self, column: str) -> Iterator[FloatArray]:
        for chunk in self._chunks(column):
            kind = chunk.type
            # A column of nulls only may have lost its type.
            if not any(is_kind(kind) for is_kind in NUMERIC):
                raise DataError(f"column '{column}' of {self.path} holds {kind}, it must hold numbers")
            floats = chunk if kind == pa.float64() else chunk.cast(pa.float64(), safe=False)
            yield floats.to_numpy(zero_copy_only=False)

    def _coins(self) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        names: dict[str, int] = {}
        codes = np.empty(self.rows, dtype=np.int32)
        done = 0
        for chunk in self._chunks("coin"):
            if chunk.null_count:
                raise DataError(f"{self.path} has rows without a coin; remove them")
            if not pa.types.is_dictionary(chunk.type):
                chunk = chunk.dictionary_encode()  # noqa: PLW2901 - the same rows
            kind = chunk.type.value_type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise DataError(f"column 'coin' of {self.path} holds {kind}, it must hold names")
            # Each row group has its own dictionary, which may hold names that no row uses.
            own = chunk.indices.to_numpy(zero_copy_only=False)
            used = np.bincount(own, minlength=len(chunk.dictionary)) > 0
            strange = next(
                (
                    name
                    for name, any_row in zip(chunk.dictionary.to_pylist(), used.tolist(), strict=True)
                    if any_row and not is_coin(name)
                ),
                None,
            )
            if strange is not None:
                raise DataError(
                    f"{self.path} has a coin named {printable(strange)[:60]!r}; a name is up to 40 letters, digits and "
                    ": @ / _ -, so rename it or remove its rows"
                )
            held = zip(chunk.dictionary.to_pylist(), used.tolist(), strict=True)
            common = np.array(
                [names.setdefault(name, len(names)) if any_row else -1 for name, any_row in held]
            )
            codes[done : done + len(own)] = common[own]
            done += len(own)
        return tuple(names), codes

    def _hours(self) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
        """Whole hours since the epoch, and how many ms each stamp is later; None if that is never more than allowed."""
        hours = np.empty(self.rows, dtype=np.int32)
        done, latest = 0, 0
        for stamps in self._stamps():
            for block in _blocks(len(stamps)):
                whole = stamps[block] // HOUR_MS
                latest = max(latest, int((stamps[block] - whole * HOUR_MS).max()))
                hours[done : done + len(whole)] = whole
                done += len(whole)
        if latest <= JITTER_MS:
            return hours, None
        late = [(stamps % HOUR_MS).astype(np.int32) for stamps in self._stamps()]
        return hours, np.concatenate(late)

    def _stamps(self) -> Iterator[IntArray]:
        """Milliseconds since the epoch."""
        for chunk in self._chunks("ts"):
            if chunk.null_count:
                raise DataError(f"{self.path} has rows without a time; remove them")
            if pa.types.is_timestamp(chunk.type):
                # A stamp without a zone is UTC, one with a zone is stored as UTC; finer units are cut, not refused.
                whole = chunk.cast(pa.timestamp("ms", chunk.type.tz), safe=False).view(pa.int64())
            elif chunk.type == pa.int64():
                whole = chunk
            else:
                raise DataError(
                    f"column 'ts' of {self.path} holds {chunk.type}; it must hold timestamps or int64 milliseconds"
                )
            stamps: IntArray = whole.to_numpy()
            if len(stamps) and (stamps.min() < EARLIEST_MS or stamps.max() >= LATEST_MS):
                raise DataError(
                    f"column 'ts' of {self.path} runs from {stamps.min()} to {stamps.max()}, which as milliseconds "
                    f"is not between 2009 and 2100; convert it to milliseconds since 1970"
                )
            yield stamps

    def _chunks(self, column: str) -> Iterator[Any]:
        """The column's arrays in the order of the rows, about half a million rows read at a time."""
        groups: list[int] = []
        rows = 0
        for group in range(self._file.num_row_groups):
            groups.append(group)
            rows += self._file.metadata.row_group(group).num_rows
            if rows >= READ_ROWS or group == self._file.num_row_groups - 1:
                try:
                    read = self._file.read_row_groups(groups, columns=[column], use_threads=False).column(0)
                except (pa.ArrowException, OSError) as error:
                    raise self._unreadable(error) from None
                yield from read.chunks
                groups, rows = [], 0

    def _unreadable(self, error: Exception) -> DataError:
        cause = str(error).splitlines()[0].rstrip(".")
        return DataError(f"{self.path} cannot be read as Parquet ({cause}); copy or download it again")


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, BLOCK_ROWS):
        yield slice(start, min(rows, start + BLOCK_ROWS))


def _absent(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; name a folder that holds Parquet tables"
    there = sorted(each.name for each in path.parent.glob("*.parquet"))
    return f"{path.parent} has no {path.name}; it holds {listed(there, 12) or 'no Parquet tables'}"
