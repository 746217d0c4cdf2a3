"""What a folder of market data holds, and what in it a reader should be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bot.clock import utc
from bot.data.coverage import Coverage, covered
from bot.data.plausible import LARGEST_PER_H, doubts
from bot.data.sources import CANDLES, FUNDING, OPEN_INTEREST, PANEL, PREMIUM
from bot.data.tables import JITTER_MS, BoolArray, Table, hour_utc, nearest
from bot.errors import DataError
from bot.model.panel import FloatArray

DEFAULT_HOURLY_RATE: Final = 0.0000125
"""Hyperliquid's rate while the premium lies inside the clamp: a quarter of 0.005 %, 0.01 % per eight hours."""

LONGEST_INTERVAL_H: Final = 24


@dataclass(frozen=True, slots=True)
class Known:
    """A table the bot can read: which columns it must have, and where its volume and settled funding are."""

    columns: tuple[str, ...]
    volume: str | None = None
    funding: str | None = None


TABLES: Final[Mapping[str, Known]] = {
    CANDLES: Known(("open", "high", "low", "close", "volume"), volume="volume"),
    FUNDING: Known(("funding_rate", "interval_h"), funding="funding_rate"),
    PREMIUM: Known(("premium",), funding="funding_rate"),
    OPEN_INTEREST: Known(("open_interest",)),
    PANEL: Known((), volume="hl_volume", funding="hl_funding"),
}
"""Every table that `describe` looks for, by file name without `.parquet`."""


def describe(folder: Path, tables: Sequence[str] = (), coins: Sequence[str] = ()) -> dict[str, Any]:
    """Facts on each known table in `folder`, as plain JSON values, with a one-line verdict per table.

    `missing_hours` counts hours between a coin's first and last that no row covers; a rate of 8 hours covers 8.
    `other_files` are Parquet files the bot does not read. Shares are of the rows that have a
    value, None where none has. A table that can't be read has only a verdict and `readable: false`. DataError if the
    folder or a table that was asked for isn't there, or if no table knows one of `coins`.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name a folder that holds Parquet tables")
    for name in tables:
        if name not in TABLES:
            raise DataError(f"no table is called '{name}'; {nearest(name, list(TABLES))}")
    wanted = tuple(tables) or tuple(name for name in TABLES if (folder / f"{name}.parquet").is_file())
    if not wanted:
        raise DataError(f"{folder} holds none of the known tables: {', '.join(TABLES)}")
    known: set[str] = set()
    answer: dict[str, Any] = {}
    for name in wanted:
        path = folder / f"{name}.parquet"
        try:
            table = Table(path, TABLES[name].columns)
            known.update(table.coins)
            answer[name] = _facts(table, TABLES[name], frozenset(coins))
        except DataError as error:
            if not path.is_file():
                raise
            answer[name] = {"readable": False, "verdict": str(error)}
    for coin in coins:
        if known and coin not in known:
            raise DataError(f"{folder} has no coin '{coin}'; {nearest(coin, sorted(known))}")
    others = sorted(path.name for path in folder.glob("*.parquet") if path.stem not in TABLES)
    return {"folder": str(folder), "tables": answer, "other_files": others}


def _facts(table: Table, known: Known, coins: frozenset[str]) -> dict[str, Any]:
    chosen = sorted(coins & set(table.coins) if coins else table.coins)
    codes = table.select(chosen)[table.codes]
    asked: BoolArray = codes >= 0
    interval = table.numbers("interval_h") if "interval_h" in table.columns else None
    series, duplicates = _series(table, chosen, codes, interval)
    interval = None if interval is None else interval[asked]
    lengths = [gap for each in series for _, gap in each.gaps]
    rows = int(np.count_nonzero(asked))
    late = 0 if table.late_ms is None else int(np.count_nonzero(table.late_ms[asked] > JITTER_MS))
    facts: dict[str, Any] = {
        "readable": True,
        "rows": rows,
        "coins": len(chosen),
        "first": min((utc(each.first_ms) for each in series if each.first_ms is not None), default=None),
        "last": max((utc(each.last_ms) for each in series if each.last_ms is not None), default=None),
        "gaps": len(lengths),
        "missing_hours": sum(lengths),
        "longest_gap_h": max(lengths, default=0),
        "duplicates": duplicates,
        "off_the_hour": late,
        "zero_volume_share": _share(table, known.volume, asked, 0.0),
        "default_funding_share": _share(table, known.funding, asked, DEFAULT_HOURLY_RATE, interval),
        "interval_h": _mix(interval),
        "doubts": _doubts(table, known.funding, chosen, codes),
        "known_share": _known_shares(table, asked) if table.name == PANEL else None,
    }
    facts["verdict"] = _verdict(facts, series)
    facts["per_coin"] = {each.coin: _span(each) for each in series}
    return facts


def _series(
    table: Table, coins: Sequence[str], codes: NDArray[np.int32], interval: FloatArray | None
) -> tuple[list[Coverage], int]:
    """Coverage per coin, and how many rows share their coin and hour with an earlier one."""
    order = np.lexsort((table.hours, codes))
    bounds = np.searchsorted(codes[order], np.arange(len(coins) + 1))
    series, duplicates = [], 0
    for position, coin in enumerate(coins):
        rows = order[bounds[position] : bounds[position + 1]]
        hours = table.hours[rows].astype(np.int64)
        own = np.unique(hours)
        duplicates += len(hours) - len(own)
        if interval is not None and len(own):
            # A rate that covers the eight hours before its stamp leaves no gap of seven.
            before = [hours[interval[rows] > back] - back for back in range(1, LONGEST_INTERVAL_H)]
            reached = np.concatenate([own, *before])
            series.append(
                replace(covered(coin, table.name, np.unique(reached[reached >= own[0]])), rows=len(hours))
            )
        else:
            series.append(replace(covered(coin, table.name, own), rows=len(hours)))
    return series, duplicates


def _share(
    table: Table,
    column: str | None,
    asked: BoolArray,
    value: float,
    interval: FloatArray | None = None,
) -> float | None:
    """How many of the known values are `value`; of hourly rates only, where intervals are known."""
    if column is None or column not in table.columns:
        return None
    values = table.numbers(column)[asked]
    if interval is not None:
        values = values[interval == 1.0]
    values = values[np.isfinite(values)]
    return float(np.mean(np.abs(values - value) < 1e-12)) if len(values) else None


def _doubts(table: Table, column: str | None, coins: Sequence[str], codes: NDArray[np.int32]) -> list[str]:
    """What makes the unit of funding rates doubtful, rates of other intervals brought to an hour."""
    if column is None or column not in table.columns:
        return []
    rates = table.numbers(column)
    if "interval_h" in table.columns:
        rates = rates / table.numbers("interval_h")
    sentences = doubts((coin, rates[codes == position]) for position, coin in enumerate(coins))
    absurd = int(np.count_nonzero(np.abs(rates[codes >= 0]) > LARGEST_PER_H))
    if absurd:
        sentences.insert(
            0, f"{absurd} funding rates are above 100 % an hour, which cannot be: refused when used"
        )
    return sentences


def _mix(interval: FloatArray | None) -> dict[str, int] | None:
    if interval is None:
        return None
    known = interval[np.isfinite(interval)]
    mix = {
        f"{hours:g}": int(count) for hours, count in zip(*np.unique(known, return_counts=True), strict=True)
    }
    unknown = len(interval) - len(known)
    return mix | ({"unknown": unknown} if unknown else {})


def _known_shares(table: Table, asked: BoolArray) -> dict[str, float]:
    columns = [name for name in table.columns if name not in {"ts", "coin"}]
    rows = max(1, int(np.count_nonzero(asked)))
    return {name: float(np.count_nonzero(np.isfinite(table.numbers(name)[asked])) / rows) for name in columns}


def _span(each: Coverage) -> dict[str, Any]:
    return {
        "rows": each.rows,
        "first": None if each.first_ms is None else utc(each.first_ms),
        "last": None if each.last_ms is None else utc(each.last_ms),
        "missing_hours": each.missing,
        "longest_gap_h": each.longest_gap_h,
        "gaps": [{"start": utc(start), "hours": hours} for start, hours in each.gaps],
    }


def _verdict(facts: Mapping[str, Any], series: Sequence[Coverage]) -> str:
    """One line: what blocks use first, then what a reader should know."""
    if not facts["rows"]:
        return "no rows"
    remarks = list(facts["doubts"])
    if facts["duplicates"]:
        remarks.append(f"{facts['duplicates']} duplicate rows: remove them before use")
    if facts["off_the_hour"]:
        remarks.append(f"{facts['off_the_hour']} rows off the hour: not an hourly table")
    mix = facts["interval_h"] or {}
    if odd := [f"{count} of {hours} h" for hours, count in mix.items() if hours not in {"1", "unknown"}]:
        remarks.append(f"rates of other intervals are left out: {', '.join(odd)}")
    if mix.get("unknown"):
        remarks.append(f"{mix['unknown']} rates of unknown interval are left out")
    worst = max(series, key=lambda each: each.longest_gap_h)
    if worst.longest_gap_h:
        start = next(start for start, hours in worst.gaps if hours == worst.longest_gap_h)
        remarks.append(
            f"{facts['missing_hours']} hours missing in {facts['gaps']} gaps, the longest {worst.longest_gap_h} h "
            f"({worst.coin} from {hour_utc(start)})"
        )
    zero = facts["zero_volume_share"]
    if zero:
        remarks.append(f"{zero:.1%} of bars without volume")
    if default := facts["default_funding_share"]:
        remarks.append(f"{default:.1%} of hourly rates at the venue's default")
    if not worst.longest_gap_h:
        remarks.append("no hour missing")
    return "; ".join(remarks)
