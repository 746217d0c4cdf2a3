"""Read a folder of Parquet tables into a `Panel` that at every row holds only what was known at that moment.

How a table's stamps become the row at time T (T is when a bar ends):

    candle, volume            stamped by the bar's open           row T holds the bar that opened at T − 1 h
    funding, premium          stamped by the settlement           row T holds what settled at T
    running funding estimate  stamped by the start of its hour    row T holds the sample of T − 1 h … T
    open interest             stamped by the start of its hour    row T holds the sample of T − 1 h … T

Settlement stamps may be late by up to half an hour; they are floored to the hour. Nothing is filled or interpolated:
an hour without a row is NaN, and `History.coverage` and `History.notes` say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from bot.clock import HOUR_MS
from bot.data.coverage import Coverage, covered_columns
from bot.data.meta import coins_in_meta, default_instrument, instruments_from_meta, read_meta
from bot.data.plausible import doubts
from bot.data.sources import CANDLES, FUNDING, OPEN_INTEREST, PANEL, PREMIUM, Loading
from bot.data.tables import BoolArray, Table, hour_utc, listed, nearest
from bot.errors import DataError
from bot.model.instrument import Instrument
from bot.model.panel import FloatArray, Grid, Panel

Venue = Literal["hl", "okx", "binance", "bybit"]


@dataclass(frozen=True, slots=True)
class Query:
    """Which history to read.

    `table` candles reads hl_candles_1h, hl_funding_1h and, where present, hl_funding_premium_1h and hl_open_interest_1h;
    panel reads panel_1h, with the prices of one venue and, as `reference`, the closes of another. `funding` lists
    what may stand as the funding rate, the preferred first. `start_ms` and `end_ms` are row times, both included.
    """

    folder: Path
    table: Literal["candles", "panel"] = "candles"
    prices: Venue = "hl"
    funding: tuple[Literal["settled", "indicative"], ...] = ("settled",)
    reference: Venue | None = None
    coins: tuple[str, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A panel, its instruments in the same order, and what the reader should know about both.

    `notes` are sentences: what stands in for what, what was left out, what there is none of. `is_estimate` says where
    the funding rate is the venue's running estimate, None where it never is.
    """

    panel: Panel
    instruments: tuple[Instrument, ...]
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]
    is_estimate: BoolArray | None = None


def load(query: Query) -> History:
    """The history that `query` asks for.

    Without `start_ms` and `end_ms` the panel runs from the first to the last bar of its coins; a bound that reaches
    further takes in earlier or later funding as well, never more than the tables hold. Coins come in the order
    asked for, else by name. DataError for whatever is missing, unreadable, double or off the hour.
    """
    if query.start_ms is not None and query.end_ms is not None and query.start_ms > query.end_ms:
        start, end = hour_utc(query.start_ms), hour_utc(query.end_ms)
        raise DataError(f"the range from {start} to {end} is empty; the start must come first")
    loading = _candles(query) if query.table == "candles" else _panel(query)
    pa.default_memory_pool().release_unused()
    fields = {name: values for name, values in loading.fields.items() if not np.isnan(values).all()}
    if "close" not in fields:
        raise DataError(
            f"{query.folder / loading.table} holds no price of {listed(loading.coins)} from "
            f"{hour_utc(loading.grid.start_ms)} to {hour_utc(loading.grid.end_ms)}; ask for another range"
        )
    coverage = tuple(
        each
        for name, values in fields.items()
        for each in covered_columns(name, values, loading.coins, loading.grid)
    )
    notes = [*loading.notes, *_absences(coverage, loading.coins), *_endings(coverage, loading.grid)]
    instruments = _instruments(query.folder, loading.coins, fields["close"], notes)
    # Bars say nothing of marks, oracles and quotes; the close stands in for them, as the same array.
    notes.insert(0, "mark, oracle and mid are the bar's close")
    if "funding_rate" in fields:
        notes = [*doubts(zip(loading.coins, fields["funding_rate"].T, strict=True)), *notes]
    fields |= dict.fromkeys(("mark", "oracle", "mid"), fields["close"])
    return History(
        Panel(loading.grid, loading.coins, fields), instruments, coverage, tuple(notes), loading.is_estimate
    )


def _candles(query: Query) -> Loading:
    for option, value, default in (("prices", query.prices, "hl"), ("reference", query.reference, None)):
        if value != default:
            raise DataError(f"{option} '{value}' is only in {PANEL}; ask for the table 'panel'")
    if "indicative" in query.funding:
        raise DataError(f"{FUNDING} holds settled rates only; ask for the table 'panel' for indicative ones")
    candles = Table(query.folder / f"{CANDLES}.parquet", ("open", "high", "low", "close", "volume"))
    coins = _coins(candles, query.coins)
    bounded = query.start_ms is not None or query.end_ms is not None
    funding = _funding(query) if bounded else None
    loading = Loading(CANDLES, coins, _grid(query, coins, candles, funding))
    loading.bars(candles, "", "volume")
    del candles  # each table's row keys are dropped before the next one's are read
    loading.places.clear()
    funding = funding or _funding(query)
    if funding is not None:
        loading.settled(funding, "funding_rate", "interval_h")
    for name, column, shift_h in ((PREMIUM, "premium", 0), (OPEN_INTEREST, "open_interest", 1)):
        path = query.folder / f"{name}.parquet"
        if path.is_file():
            loading.series(Table(path, (column,)), column, shift_h)
    return loading


def _funding(query: Query) -> Table | None:
    path = query.folder / f"{FUNDING}.parquet"
    return Table(path, ("funding_rate", "interval_h")) if query.funding else None


def _panel(query: Query) -> Loading:
    if query.prices in {"binance", "bybit"}:
        raise DataError(f"{PANEL} holds only closes of {query.prices}; choose the prices of hl or okx")
    if query.reference == query.prices:
        raise DataError(
            f"reference and prices are both '{query.prices}'; choose another venue as the reference"
        )
    bars = tuple(f"{query.prices}_{name}" for name in ("open", "high", "low", "close"))
    rates = tuple(
        {"settled": "hl_funding", "indicative": "hl_funding_indicative"}[kind] for kind in query.funding
    )
    reference = () if query.reference is None else (f"{query.reference}_close",)
    table = Table(query.folder / f"{PANEL}.parquet", (*bars, *rates, *reference))
    coins = _coins(table, query.coins)
    loading = Loading(PANEL, coins, _grid(query, coins, table, column=f"{query.prices}_close"))
    loading.bars(table, f"{query.prices}_", "hl_volume" if query.prices == "hl" else None)
    if query.prices == "okx":
        loading.notes.append("there is no volume: OKX's is in contracts of unknown size")
    for column in reference:
        loading.series(table, column, 1, "reference")
        loading.notes.append(f"reference is the close of {query.reference}")
    for kind in query.funding:
        if kind == "settled":
            loading.settled(table, "hl_funding", None)
        else:
            loading.estimated(table, "hl_funding_indicative")
    if "hl_premium" in table.columns:
        loading.series(table, "hl_premium", 0, "premium")
    if "hl_oi_usd" in table.columns:
        loading.open_interest_usd(table, "hl_oi_usd", "hl_close")
    return loading


def _coins(table: Table, asked: tuple[str, ...]) -> tuple[str, ...]:
    known = sorted(table.coins)
    if not known:
        raise DataError(f"{table.path} has no rows")
    for coin in asked:
        if coin not in table.coins:
            raise DataError(f"{table.path} has no coin {coin!r}; {nearest(coin, known)}")
    return tuple(dict.fromkeys(asked)) or tuple(known)


def _grid(
    query: Query, coins: tuple[str, ...], prices: Table, other: Table | None = None, column: str | None = None
) -> Grid:
    """The hours of the bars (where `column` is known), or those asked for as far as any row reaches."""
    rows = prices.span(coins)
    span = prices.span(coins, column) if column is not None else rows
    if rows is None or span is None:
        raise DataError(
            f"{prices.path} has no {column or 'rows'} of {listed(coins)}; choose other coins or prices"
        )
    first, last = span[0] + 1, span[1] + 1  # a bar is known when it ends
    earliest, latest = rows[0] + 1, rows[1] + 1
    if other is not None and (more := other.span(coins)) is not None:
        earliest, latest = min(earliest, more[0]), max(latest, more[1])
    if query.start_ms is not None:
        first = max(earliest, -(-query.start_ms // HOUR_MS))
    if query.end_ms is not None:
        last = min(latest, query.end_ms // HOUR_MS)
    if first > last:
        raise DataError(
            f"{prices.path} has nothing of {listed(coins)} in the range asked for; "
            f"it covers {hour_utc(earliest * HOUR_MS)} to {hour_utc(latest * HOUR_MS)}"
        )
    return Grid(first, last - first + 1)


def _absences(coverage: tuple[Coverage, ...], coins: tuple[str, ...]) -> list[str]:
    """A sentence for each field that some of the coins have nothing of."""
    words = {"close": "price", "funding_rate": "funding rate"}
    known: dict[str, set[str]] = {}
    for each in coverage:
        known.setdefault(each.field, set()).update([each.coin] if each.rows else [])
    for field in ("funding_rate", "premium", "open_interest"):
        known.setdefault(field, set())
    sentences = []
    for field, having in known.items():
        lacking = [coin for coin in coins if coin not in having]
        what = words.get(field, field.replace("_", " "))
        if not having:
            sentences.append(f"there is no {what}")
        elif lacking and len(having) < len(lacking):
            sentences.append(f"{what} is known for {listed(sorted(having))} only")
        elif lacking and field not in {"open", "high", "low"}:
            sentences.append(f"no {what} for {listed(lacking)}")
    return sentences


def _endings(coverage: tuple[Coverage, ...], grid: Grid) -> list[str]:
    """A sentence on the coins whose prices end before the panel does."""
    ended = [
        f"{each.coin} ({hour_utc(each.last_ms)})"
        for each in coverage
        if each.field == "close" and each.last_ms is not None and each.last_ms < grid.end_ms
    ]
    return [f"prices end before the data does for {listed(ended)}"] if ended else []


def _instruments(
    folder: Path, coins: tuple[str, ...], close: FloatArray, notes: list[str]
) -> tuple[Instrument, ...]:
    meta = read_meta(folder)
    listed_there = frozenset[str]() if meta is None else frozenset(coins_in_meta(meta))
    described = [coin for coin in coins if coin in listed_there]
    known = {} if meta is None else {each.name: each for each in instruments_from_meta(meta, described)}
    guessed = [coin for coin in coins if coin not in known]
    if guessed:
        cause = "no meta.json" if meta is None else "not in meta.json"
        notes.append(
            f"instrument facts for {listed(guessed)} are defaults (10x, lot guessed from the price): {cause}"
        )
    for coin in guessed:
        prices = close[:, coins.index(coin)]
        prices = prices[np.isfinite(prices)]
        known[coin] = default_instrument(coin, float(np.median(prices)) if len(prices) else np.nan)
    return tuple(known[coin] for coin in coins)
