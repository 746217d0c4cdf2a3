"""Fill the positioning board from a folder of recorded data or from a made-up market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from bot.clock import HOUR_MS, parse_utc, utc
from bot.data.sources import CANDLES, PANEL
from bot.data.store import History, Query, load
from bot.data.tables import Table, listed, nearest
from bot.errors import ConfigError, DataError
from bot.model.panel import Panel
from bot.research.board import board
from bot.research.markets import START_MS, synthetic_panel
from bot.sim.coins import MAJORS

FundingKind = Literal["settled", "indicative"]
CONTRACTS: Final = "okx_volume_contracts"
STALE_H: Final = 3
"""A coin whose latest hour is further back says nothing of how traders stand now."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The board as of `at_ms`, and sentences on where its values come from."""

    at_ms: int
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def scan_folder(
    folder: Path,
    table: str | None = None,
    prices: str | None = None,
    at_ms: int | None = None,
    coins: Sequence[str] = (),
) -> Scan:
    """The board of a folder's coins at `at_ms`, or where their data ends.

    Where neither `table` nor `prices` is given every table is read, and each coin shown from the one that knows its
    funding latest; of two that end together, from the one that leaves less unknown. DataError if no table has it.
    """
    queries = _queries(folder, table, prices, at_ms)
    known = {
        name: set(Table(folder / f"{name}.parquet", ()).coins) for name in {_file(each) for each in queries}
    }
    everywhere = sorted(set().union(*known.values()))
    for coin in coins:
        if coin not in everywhere:
            raise DataError(f"{folder} has no coin {coin!r}; {nearest(coin, everywhere)}")
    boards: list[tuple[str, History, list[dict[str, Any]]]] = []
    refused: list[DataError] = []
    for query in queries:
        having = [coin for coin in coins if coin in known[_file(query)]]
        if coins and not having:
            continue
        source = _file(query) if query.table == "candles" else f"{_file(query)} ({query.prices})"
        try:
            history = load(_of_coins(query, having))
        except DataError as error:  # nothing of these coins by then: another table may have it
            refused.append(error)
            continue
        panel, relative = _with_contracts(query, history.panel)
        rows = [_marked(row, source, query, relative) | _kind(row, history) for row in board(panel)]
        boards.append((source, history, rows))
    if not boards:
        raise refused[0]
    best = _best([row for _, _, rows in boards for row in rows])
    end_ms = at_ms if at_ms is not None else max(history.panel.grid.end_ms for _, history, _ in boards)
    for row in best:
        row["age_h"] = (end_ms - parse_utc(row["time"])) / HOUR_MS
        row["stale"] = row["age_h"] > STALE_H
    used = {row["source"] for row in best}
    notes = [f"{source}: {note}" for source, history, _ in boards if source in used for note in history.notes]
    wanted = list(coins) or everywhere
    missing = [coin for coin in wanted if coin not in {row["coin"] for row in best}]
    if missing:
        notes.append(f"no price of {listed(missing)} by {utc(end_ms)}")
    return Scan(end_ms, tuple(best), tuple(notes))


def scan_synthetic(coins: Sequence[str], seed: int, hours: int, end_ms: int | None = None) -> Scan:
    """The board of a made-up market that has run for `hours` and, where `end_ms` is given, ends then."""
    for coin in coins:
        if coin not in MAJORS:
            raise ConfigError(f"the synthetic market has no coin {coin!r}; {nearest(coin, list(MAJORS))}")
    start_ms = START_MS if end_ms is None else end_ms // HOUR_MS * HOUR_MS - hours * HOUR_MS
    panel = synthetic_panel([MAJORS[coin] for coin in coins], hours, seed, start_ms)
    known = {"source": "synthetic", "basis_against": "oracle", "funding_kind": "settled", "stale": False}
    rows = tuple({**row, **known} for row in board(panel))
    return Scan(panel.grid.end_ms, rows, (f"a synthetic market of seed {seed}, {hours} hours old",))


def _queries(folder: Path, table: str | None, prices: str | None, at_ms: int | None) -> list[Query]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; check the path")
    asked = []
    if table in (None, "candles") and prices is None and (table or (folder / f"{CANDLES}.parquet").is_file()):
        asked.append(Query(folder, "candles", end_ms=at_ms))
    if table == "panel" or (table is None and (folder / f"{PANEL}.parquet").is_file()):
        kinds: tuple[FundingKind, ...] = ("settled", "indicative")
        if prices in (None, "hl"):
            asked.append(Query(folder, "panel", "hl", kinds, "okx", end_ms=at_ms))
        if prices == "okx" or (table is None and prices is None):
            asked.append(Query(folder, "panel", "okx", kinds, "binance", end_ms=at_ms))
    if table == "candles" and prices is not None:
        raise DataError(
            f"{CANDLES} holds Hyperliquid's prices only; leave --prices out or ask for --table panel"
        )
    if not asked:
        raise DataError(
            f"{folder} has neither {CANDLES}.parquet nor {PANEL}.parquet; name a folder that has one"
        )
    return asked


def _file(query: Query) -> str:
    return CANDLES if query.table == "candles" else PANEL


def _of_coins(query: Query, coins: Sequence[str]) -> Query:
    columns = Table(query.folder / f"{_file(query)}.parquet", ()).columns
    funding, reference = query.funding, query.reference
    if query.table == "panel":
        there: dict[FundingKind, str] = {"settled": "hl_funding", "indicative": "hl_funding_indicative"}
        funding = tuple(kind for kind in funding if there[kind] in columns)
        reference = reference if f"{reference}_close" in columns else None
    return Query(
        query.folder,
        query.table,
        query.prices,
        funding,
        reference,
        tuple(coins),
        query.start_ms,
        query.end_ms,
    )


def _with_contracts(query: Query, panel: Panel) -> tuple[Panel, bool]:
    """OKX's volume in contracts times price, where USD volume is unknown: enough to compare it with itself."""
    path = query.folder / f"{PANEL}.parquet"
    if query.prices != "okx" or "volume_usd" in panel.fields or CONTRACTS not in Table(path, ()).columns:
        return panel, False
    table = Table(path, (CONTRACTS,))
    contracts = table.matrix(CONTRACTS, table.place(panel.instruments, panel.grid, 1))
    if not np.isfinite(contracts).any():
        return panel, False
    volume = contracts * panel.close.values
    return Panel(panel.grid, panel.instruments, {**panel.fields, "volume_usd": volume}), True


def _marked(row: dict[str, Any], source: str, query: Query, relative: bool) -> dict[str, Any]:
    row = {**row, "source": source, "basis_against": query.reference}
    if relative and row["volume_usd_24h"] is not None:
        reason = "volume usd 24h: OKX's volume is in contracts of unknown size, good for comparing with itself only"
        row |= {"volume_usd_24h": None, "unknown": [*row["unknown"], reason]}
    return row


def _kind(row: dict[str, Any], history: History) -> dict[str, str | None]:
    """Whether the row's funding rate has settled or is the venue's running estimate."""
    if row["funding_apr"] is None:
        return {"funding_kind": None}
    at = history.panel.grid.row(parse_utc(row["time"])), history.panel.instruments.index(row["coin"])
    estimate = history.is_estimate is not None and bool(history.is_estimate[at])
    return {"funding_kind": "estimate" if estimate else "settled"}


def _best(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each coin, sorted by its name."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        other = best.get(row["coin"])
        if other is None or _rank(row) > _rank(other):
            best[row["coin"]] = row
    return [best[coin] for coin in sorted(best)]


def _rank(row: dict[str, Any]) -> tuple[bool, str, int]:
    """A price without funding says nothing of positioning; else the later row wins, then the one that knows more."""
    return row["funding_apr"] is not None, row["time"], sum(value is not None for value in row.values())
