"""The market as rows of a panel: bars and settled rates by the hour, prices and open interest as they are now.

Candles have no marks in them: in the history, a bar's close stands where the mark of that hour would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import structlog

from bot.errors import DataError, Refused
from bot.model.instrument import Instrument
from bot.model.panel import HOUR_MS, FloatArray, Grid, Panel
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.parse_market import Book, Candle, Context, Prediction, Settlement
from bot.venues.hyperliquid.parse_meta import Universe

log = structlog.get_logger("hedgerow")

BARS_PER_REPLY: Final = 5000
RATES_PER_REPLY: Final = 500
AT_ONCE: Final = 8
OWN_VENUE: Final = "HlPerp"
BAR_FIELDS: Final = ("open", "high", "low", "close", "volume_usd")
NOW_FIELDS: Final = ("mark", "oracle", "mid", "predicted_funding", "open_interest", "spread_bps")


@dataclass(frozen=True, slots=True)
class _Heard:
    candle: Candle
    connection: int


class MarketData:
    """Rows for some instruments of one venue."""

    def __init__(self, client: Client, instruments: Sequence[Instrument]) -> None:
        self._client, self._instruments = client, tuple(instruments)
        self._columns = {instrument.name: k for k, instrument in enumerate(instruments)}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._bars: dict[str, tuple[_Heard | None, _Heard]] = {}  # the last two bars heard
        self._books: dict[str, Book] = {}
        self.marks: dict[str, Decimal] = {}
        self.oracles: dict[str, Decimal] = {}

    # What the feed brings

    def hear_candle(self, bar: Candle, connection: int) -> None:
        """Keep a bar; it is finished once one that opens later came over the same connection."""
        older, newest = self._bars.get(bar.coin, (None, None))
        if newest is None or bar.open_ms > newest.candle.open_ms:
            self._bars[bar.coin] = (newest, _Heard(bar, connection))
        elif bar.open_ms == newest.candle.open_ms:
            self._bars[bar.coin] = (older, _Heard(bar, connection))

    def hear_best(self, book: Book) -> None:
        """Keep the best bid and ask, unless they are older than those kept."""
        kept = self._books.get(book.coin)
        if kept is None or book.time_ms >= kept.time_ms:
            self._books[book.coin] = book

    def _finished(self, coin: str, open_ms: int) -> Candle | None:
        older, newest = self._bars.get(coin, (None, None))
        if older is None or newest is None or older.connection != newest.connection:
            return None
        return older.candle if older.candle.open_ms == open_ms else None

    # What REST is asked for

    async def refresh(self) -> Mapping[str, Context]:
        """Contexts by coin, now. DataError where an instrument is no longer the one that was opened."""
        known, contexts = await self._client.info({"type": "metaAndAssetCtxs"})
        by_coin = self._joined(known, contexts)
        self.marks |= {coin: context.mark for coin, context in by_coin.items()}
        self.oracles |= {coin: context.oracle for coin, context in by_coin.items()}
        return by_coin

    def _joined(self, known: Universe, contexts: Sequence[Context]) -> dict[str, Context]:
        by_coin = {}
        for instrument, context in zip(known.instruments, contexts, strict=True):
            ours = self._columns.get(instrument.name)
            if ours is None:
                continue
            if instrument.size_decimals != self._instruments[ours].size_decimals:
                raise DataError(
                    f"the venue has changed the lot of {instrument.name}; start again to take it in"
                )
            by_coin[instrument.name] = context
        return by_coin

    async def candles(self, coin: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Bars of an hour that open from `start_ms` to before `end_ms`."""
        found: list[Candle] = []
        while start_ms < end_ms:
            stop_ms = min(end_ms, start_ms + BARS_PER_REPLY * HOUR_MS)
            asked = {"coin": coin, "interval": "1h", "startTime": start_ms, "endTime": stop_ms - 1}
            async with self._slots:
                reply: Sequence[Candle] = await self._client.info({"type": "candleSnapshot", "req": asked})
            found += [bar for bar in reply if start_ms <= bar.open_ms < stop_ms]
            start_ms = stop_ms
        return found

    async def settlements(self, coin: str, start_ms: int, end_ms: int) -> dict[int, Settlement]:
        """Settled rates by the hour they were settled in, from `start_ms` to before `end_ms`."""
        by_hour: dict[int, Settlement] = {}
        while start_ms < end_ms:
            request = {"type": "fundingHistory", "coin": coin, "startTime": start_ms, "endTime": end_ms - 1}
            async with self._slots:
                rows: Sequence[Settlement] = await self._client.info(request)
            for row in rows:
                hour = row.time_ms // HOUR_MS
                if hour in by_hour:
                    raise DataError(f"{coin} settled funding twice within an hour ({row.time_ms})")
                by_hour[hour] = row
            if len(rows) < RATES_PER_REPLY:
                break
            start_ms = rows[-1].time_ms + 1
        return by_hour

    async def history(self, end_ms: int, rows: int) -> Panel:
        """`rows` rows up to `end_ms`, a full hour. What the venue does not have is unknown."""
        grid = Grid(end_ms // HOUR_MS - rows + 1, rows)
        shape = (rows, len(self._instruments))
        names = (*BAR_FIELDS, "mark", "funding_rate", "premium")
        fields = {name: np.full(shape, np.nan) for name in names}

        async def one(column: int, coin: str) -> None:
            for bar in await self.candles(coin, grid.start_ms - HOUR_MS, end_ms):
                row = grid.row(bar.open_ms + HOUR_MS)
                _put_bar(fields, (row, column), bar)
                fields["mark"][row, column] = float(bar.close)
            for hour, rate in (await self.settlements(coin, grid.start_ms, end_ms + HOUR_MS)).items():
                row = hour - grid.first
                if 0 <= row < rows:
                    _put_rate(fields, (row, column), rate)

        await _all(one(column, coin) for coin, column in self._columns.items())
        return Panel(grid, tuple(self._columns), fields)

    async def is_settled(self, time_ms: int) -> bool:
        """Whether the venue tells the rate that was settled at `time_ms` for the first coin that still trades."""
        live = next((i.name for i in self._instruments if not i.is_delisted), None)
        if live is None:
            return True
        return time_ms // HOUR_MS in await self.settlements(live, time_ms, time_ms + HOUR_MS)

    async def row(self, time_ms: int) -> dict[str, FloatArray]:
        """The row at `time_ms`, a full hour just past. A coin whose data is refused has none of it in the row."""
        width = len(self._instruments)
        names = (*BAR_FIELDS, *NOW_FIELDS, "funding_rate", "premium")
        row = {name: np.full(width, np.nan) for name in names}

        async def one(column: int, coin: str) -> None:
            try:
                bar = self._finished(coin, time_ms - HOUR_MS)
                bars = [bar] if bar is not None else await self.candles(coin, time_ms - HOUR_MS, time_ms)
                for each in bars:
                    _put_bar(row, column, each)
                settled = (await self.settlements(coin, time_ms, time_ms + HOUR_MS)).get(time_ms // HOUR_MS)
                if settled is not None:
                    _put_rate(row, column, settled)
            except DataError as error:
                log.warning("coin left out", coin=coin, reason=str(error)[:200])
                for name in names:
                    row[name][column] = np.nan

        contexts = await self.refresh()
        predicted = await self._predicted()
        for coin, context in contexts.items():
            column = self._columns[coin]
            row["mark"][column], row["oracle"][column] = float(context.mark), float(context.oracle)
            row["mid"][column] = np.nan if context.mid is None else float(context.mid)
            row["open_interest"][column] = float(context.open_interest)
            row["predicted_funding"][column] = predicted.get(coin, float(context.funding))
            row["spread_bps"][column] = self._spread_bps(coin, time_ms)
        await _all(one(column, coin) for coin, column in self._columns.items())
        return row

    async def _predicted(self) -> dict[str, float]:
        """The venue's own estimate of the next rate per hour; nothing where it does not say for which interval."""
        try:
            told: Mapping[str, Mapping[str, Prediction]] = await self._client.info(
                {"type": "predictedFundings"}
            )
        except (DataError, Refused) as error:
            log.warning("no predictions", reason=str(error)[:200])
            return {}
        own = {coin: by_venue.get(OWN_VENUE) for coin, by_venue in told.items()}
        return {
            coin: float(each.rate) / each.interval_h
            for coin, each in own.items()
            if each is not None and each.interval_h is not None
        }

    def _spread_bps(self, coin: str, time_ms: int) -> float:
        book = self._books.get(coin)
        if book is None or not book.bids or not book.asks or book.time_ms < time_ms - HOUR_MS:
            return float("nan")
        bid, ask = book.bids[0].price, book.asks[0].price
        return float((ask - bid) / (ask + bid) * 20_000)

    def mark_array(self) -> FloatArray:
        """The newest mark of each instrument, 0 before its first."""
        return np.array([float(self.marks.get(i.name, 0)) for i in self._instruments], np.float64)


def _put_bar(fields: Mapping[str, FloatArray], at: Any, bar: Candle) -> None:
    for name in ("open", "high", "low", "close"):
        fields[name][at] = float(getattr(bar, name))
    fields["volume_usd"][at] = float(bar.volume * (bar.high + bar.low + bar.close) / 3)


def _put_rate(fields: Mapping[str, FloatArray], at: Any, row: Settlement) -> None:
    fields["funding_rate"][at] = float(row.rate)
    fields["premium"][at] = np.nan if row.premium is None else float(row.premium)


async def _all(work: Any) -> None:
    """All at once; the first failure ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
