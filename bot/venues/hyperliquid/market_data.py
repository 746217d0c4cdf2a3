"""The market as rows of a panel: bars and settled rates by the hour, prices and open interest as they are now.

Candles have no marks in them: in the history, a bar's close stands where the mark of that hour would.

Contexts of all coins come in one reply. A settled rate has to be asked for coin by coin, and so has a bar that the feed
did not bring whole; with many coins that is more than the venue answers in a minute. So these requests are patient,
and what was read for a row or a history is kept until that is complete: a failure costs one request and not all.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    Callable,
    Hashable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import numpy as np
import structlog

from bot.errors import ConfigError, DataError, Refused
from bot.model.instrument import Instrument, Kind
from bot.model.panel import HOUR_MS, FloatArray, Grid, Panel
from bot.text import printable
from bot.venues.edge import all_of
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.contexts import COLUMNS, Contexts
from bot.venues.hyperliquid.heard import Heard
from bot.venues.hyperliquid.numbers import Numbers
from bot.venues.hyperliquid.parse_market import Book, Candle, Prediction, Settlement, SpotContext
from bot.venues.hyperliquid.parse_meta import SpotUniverse, Universe
from bot.venues.hyperliquid.wire import UNUSED

log = structlog.get_logger("hedgerow")

BARS_PER_REPLY: Final = 5000
RATES_PER_REPLY: Final = 500
AT_ONCE: Final = 8
BAR_FIELDS: Final = ("open", "high", "low", "close", "volume_usd")
NOW: Final = {
    "mark": "mark",
    "oracle": "oracle",
    "mid": "mid",
    "open_interest": "open_interest",
    "funding": "predicted_funding",
}
"""Which fields of a row the contexts fill; a context's premium is of the moment, a row's of the settlement."""


class Prices(Mapping[str, Decimal]):
    """Exact prices by coin, kept as the venue wrote them and made decimals where one is asked for."""

    def __init__(self, places: Mapping[str, int], texts: Sequence[str | None]) -> None:
        self._places, self._texts = places, texts

    def __getitem__(self, coin: str) -> Decimal:
        text = self._texts[self._places[coin]]
        assert text is not None  # marks and oracles never are
        return Decimal(text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class MarketData:
    """Rows for some instruments of one venue."""

    def __init__(
        self,
        client: Client,
        instruments: Sequence[Instrument],
        wire: Callable[[str], str] = lambda name: name,
    ) -> None:
        self._client, self._instruments, self._wire = client, tuple(instruments), wire
        self._columns = {instrument.name: k for k, instrument in enumerate(instruments)}
        self._trading = {i.name: k for k, i in enumerate(instruments) if not i.is_delisted}
        self._pairs = {i.name: k for k, i in enumerate(instruments) if i.kind is Kind.SPOT}
        self._funded = {coin: k for coin, k in self._trading.items() if coin not in self._pairs}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._kept: dict[Hashable, Any] = {}  # what was read for a row or a history that is not complete yet
        self._kept_for: Hashable = None
        self._passed_over: set[str] = set()  # other coins that can't be read, said already
        self.numbers = Numbers(instruments)
        self._places: dict[str, int] = {}  # of our coins in the universe
        self._ours = self._theirs = np.zeros(0, np.intp)  # columns here, and places there
        self._now = np.full((len(COLUMNS), len(self._instruments)), np.nan)
        self._mark = np.zeros(len(self._instruments))
        self.heard = Heard()
        self.marks: Mapping[str, Decimal] = Prices({}, ())
        self.oracles: Mapping[str, Decimal] = self.marks
        self.pair_marks: dict[str, Decimal] = {}  # the newest known, of each pair

    def mark_array(self) -> FloatArray:
        """The newest mark of each instrument, 0 before its first."""
        return self._mark.copy()

    # Contexts

    async def refresh(self, *, urgent: bool = False) -> None:
        """Contexts as they are now; `urgent` as the budget takes it. DataError where one of our instruments can't be read."""
        told = await self._client.info({"type": "metaAndAssetCtxs"}, urgent=urgent)
        if not self._pairs:
            self.take(*told)
            return
        spot = await self._client.info({"type": "spotMetaAndAssetCtxs"}, urgent=urgent)
        self.take(*told)
        self._take_spot(*spot)

    def take(self, known: Universe, contexts: Contexts) -> None:
        """Take in a reply about contexts. DataError as `refresh`."""
        if known is not self.numbers.known:
            self.numbers.known = None  # until it is read
            self._places = self._joined(known)
            self._theirs = np.array(list(self._places.values()), np.intp)
            self._ours = np.array([self._columns[coin] for coin in self._places], np.intp)
            self.numbers.known = known
        for coin, place in self._places.items():
            if place in contexts.unread:
                raise DataError(f"{coin}: {contexts.unread[place]}")
        self._say({**{known.names[place]: why for place, why in contexts.unread.items()}, **known.unread})
        self._now = np.full((len(COLUMNS), len(self._instruments)), np.nan)
        self._now[:, self._ours] = contexts.values[:, self._theirs]
        self._mark[self._ours] = contexts.column("mark")[self._theirs]
        self.marks = Prices(self._places, contexts.text("mark"))
        self.oracles = Prices(self._places, contexts.text("oracle"))

    def _take_spot(self, known: SpotUniverse, contexts: Mapping[str, SpotContext]) -> None:
        """Take in a reply about spot markets, after `take`. A pair that is listed no more has no price from then on.

        Spot pays no funding, and that is known; nothing else than its own mark says what it is worth.
        """
        self.numbers.spot = known
        self.marks = dict(self.marks)
        for name, column in self._pairs.items():
            try:
                told = contexts[known.traded(name).name]
            except ConfigError as error:
                log.warning("pair not listed", coin=name, reason=str(error)[:200])
                continue
            if told.mark is None:
                continue
            self.marks[name] = self.pair_marks[name] = told.mark
            self._mark[column] = mark = float(told.mark)
            mid = np.nan if told.mid is None else float(told.mid)
            told_now = {"mark": mark, "oracle": mark, "mid": mid, "funding": 0.0}
            self._now[:, column] = [told_now.get(field, np.nan) for field in COLUMNS]

    def _joined(self, known: Universe) -> dict[str, int]:
        """Where in the universe our coins are; none for one that is listed no more."""
        for coin in self._columns:
            if coin in known.unread:
                raise DataError(f"{coin}: {known.unread[coin]}")
        return {coin: place for place, coin in enumerate(known.names) if coin in self._columns}

    def _say(self, unread: Mapping[str, str]) -> None:
        """Of coins that can't be read, once each: they are none of ours, and all else goes on without them."""
        new = [coin for coin in unread if coin not in self._passed_over]
        if new:
            self._passed_over.update(new)
            names = ", ".join(printable(coin[:64]) for coin in new[:8])
            reason = unread[new[0]].removesuffix(UNUSED)[:200]
            log.warning("coins passed over", coins=names, number=len(new), reason=reason)

    def now(self) -> dict[str, FloatArray]:
        """What the contexts say, as the part of a row that they are; predicted funding is the rate being accumulated."""
        return {
            NOW[name]: values.copy() for name, values in zip(COLUMNS, self._now, strict=True) if name in NOW
        }

    async def _predicted(self) -> dict[str, float]:
        """The venue's own estimate of the next rate per hour; nothing where it does not say for which interval."""
        try:
            told: Mapping[str, Prediction | str] = await self._client.info({"type": "predictedFundings"})
        except (DataError, Refused) as error:
            log.warning("no predictions", reason=str(error)[:200])
            return {}
        found: dict[str, float] = {}
        for coin in self._columns:
            each = told.get(coin)
            if isinstance(each, str):
                log.warning("no prediction", coin=coin, reason=each.removesuffix(UNUSED)[:200])
            elif each is not None and each.interval_h is not None:
                found[coin] = float(each.rate) / each.interval_h
        return found

    # Bars and rates, coin by coin

    async def candles(self, coin: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Bars of an hour that open from `start_ms` to before `end_ms`."""
        found: list[Candle] = []
        while start_ms < end_ms:
            stop_ms = min(end_ms, start_ms + BARS_PER_REPLY * HOUR_MS)
            asked = {
                "coin": self._wire(coin),
                "interval": "1h",
                "startTime": start_ms,
                "endTime": stop_ms - 1,
            }
            reply: Sequence[Candle] = await self._patiently({"type": "candleSnapshot", "req": asked})
            found += [bar for bar in reply if start_ms <= bar.open_ms < stop_ms]
            start_ms = stop_ms
        return found

    async def settlements(self, coin: str, start_ms: int, end_ms: int) -> dict[int, Settlement]:
        """Settled rates by the hour they were settled in, from `start_ms` to before `end_ms`."""
        by_hour: dict[int, Settlement] = {}
        while start_ms < end_ms:
            request = {"type": "fundingHistory", "coin": coin, "startTime": start_ms, "endTime": end_ms - 1}
            rows: Sequence[Settlement] = await self._patiently(request)
            for row in rows:
                hour = row.time_ms // HOUR_MS
                if hour in by_hour:
                    raise DataError(f"{coin} settled funding twice within an hour ({row.time_ms})")
                by_hour[hour] = row
            if len(rows) < RATES_PER_REPLY:
                break
            start_ms = rows[-1].time_ms + 1
        return by_hour

    async def _patiently(self, request: Mapping[str, Any]) -> Any:
        async with self._slots:
            return await self._client.info(request, patient=True)

    def _begin(self, purpose: Hashable) -> None:
        if self._kept_for != purpose:
            self._kept, self._kept_for = {}, purpose

    async def _rate(self, coin: str, time_ms: int) -> Settlement | None:
        """The rate that was settled at `time_ms`, None while the venue does not tell it."""
        self._begin(time_ms)
        key = ("rate", coin)
        found: Settlement | None = self._kept.get(key)
        if found is None:
            found = (await self.settlements(coin, time_ms, time_ms + HOUR_MS)).get(time_ms // HOUR_MS)
            self._kept[key] = found
        return found

    async def is_settled(self, time_ms: int) -> bool:
        """Whether the venue tells the rate that was settled at `time_ms` for the first coin that still trades."""
        for coin in self._funded:
            try:
                return await self._rate(coin, time_ms) is not None
            except DataError as error:  # one coin's nonsense does not hold up the others
                log.warning("settlement not read", coin=coin, reason=str(error)[:200])
        return True

    async def history(self, end_ms: int, rows: int) -> Panel:
        """`rows` rows up to `end_ms`, a full hour. What the venue does not have is unknown."""
        self._begin(("history", end_ms, rows))
        grid = Grid(end_ms // HOUR_MS - rows + 1, rows)
        names = (*BAR_FIELDS, "mark", "funding_rate", "premium")
        empty = {name: np.full((rows, len(self._instruments)), np.nan) for name in names}
        fields: dict[str, FloatArray] = self._kept.setdefault("fields", empty)
        done: set[str] = self._kept.setdefault("done", set())

        async def one(column: int, coin: str) -> None:
            for bar in await self.candles(coin, grid.start_ms - HOUR_MS, end_ms):
                row = grid.row(bar.open_ms + HOUR_MS)
                _put_bar(fields, (row, column), bar)
                fields["mark"][row, column] = float(bar.close)
            if coin in self._pairs:
                paid = np.where(np.isfinite(fields["close"][:, column]), 0.0, np.nan)
                fields["funding_rate"][:, column] = paid
            else:
                for hour, rate in (await self.settlements(coin, grid.start_ms, end_ms + HOUR_MS)).items():
                    row = hour - grid.first
                    if 0 <= row < rows:
                        _put_rate(fields, (row, column), rate)
            done.add(coin)

        log.info("reading the history", coins=len(self._columns) - len(done), hours=rows)
        await all_of(one(column, coin) for coin, column in self._columns.items() if coin not in done)
        self._begin(None)
        return Panel(grid, tuple(self._columns), fields)

    async def row(self, time_ms: int) -> dict[str, FloatArray]:
        """The row at `time_ms`, a full hour just past. A coin whose data is refused has none of it in the row."""
        self._begin(time_ms)
        await self.refresh()
        unknown = np.full(len(self._instruments), np.nan)
        row = self.now() | {name: unknown.copy() for name in (*BAR_FIELDS, "funding_rate", "premium")}
        predicted = await self._predicted()
        for coin, column in self._columns.items():
            row["predicted_funding"][column] = predicted.get(coin, row["predicted_funding"][column])
        refused: set[int] = set()

        async def rate(column: int, coin: str) -> None:
            with _left_out(coin, column, refused):
                settled = await self._rate(coin, time_ms)
                if settled is not None:
                    _put_rate(row, column, settled)

        async def depth(column: int, coin: str) -> None:
            try:
                told: Book = await self._patiently(
                    {"type": "l2Book", "coin": self._wire(coin), "nSigFigs": 4}
                )
                found = told.depth_usd()
            except DataError as error:
                log.warning("no depth", coin=coin, reason=str(error)[:200])
            else:
                row["depth_usd"][column] = np.nan if found is None else float(found)

        async def bar(column: int, coin: str) -> None:
            with _left_out(coin, column, refused):
                for each in await self._bars(coin, time_ms):
                    _put_bar(row, column, each)

        await all_of(rate(column, coin) for coin, column in self._funded.items())
        if self._pairs:
            row["funding_rate"][list(self._pairs.values())] = 0.0
            row["depth_usd"] = unknown.copy()
            await all_of(depth(column, coin) for coin, column in self._trading.items())
        # Last, since with each second more of the feed's bars are known to be whole.
        await all_of(bar(column, coin) for coin, column in self._trading.items())
        row["spread_bps"] = np.array(
            [self.heard.spread_bps(self._wire(coin), time_ms) for coin in self._columns]
        )
        for values in row.values():
            values[list(refused)] = np.nan
        await self.refresh()  # the row is of the hour; what is decided on it needs the prices of now
        self._begin(None)
        return row

    async def _bars(self, coin: str, time_ms: int) -> list[Candle]:
        """The bar of the hour to `time_ms`, from the feed where it is whole there."""
        bar = self.heard.finished(self._wire(coin), time_ms - HOUR_MS)
        if bar is not None:
            return [bar]
        key = ("bar", coin)
        if key not in self._kept:
            self._kept[key] = await self.candles(coin, time_ms - HOUR_MS, time_ms)
        found: list[Candle] = self._kept[key]
        return found


@contextmanager
def _left_out(coin: str, column: int, refused: set[int]) -> Iterator[None]:
    """A coin whose data can't be right goes without it; the others do not."""
    try:
        yield
    except DataError as error:
        log.warning("coin left out", coin=coin, reason=str(error)[:200])
        refused.add(column)


def _put_bar(fields: Mapping[str, FloatArray], at: Any, bar: Candle) -> None:
    for name in ("open", "high", "low", "close"):
        fields[name][at] = float(getattr(bar, name))
    fields["volume_usd"][at] = float(bar.volume * (bar.high + bar.low + bar.close) / 3)


def _put_rate(fields: Mapping[str, FloatArray], at: Any, row: Settlement) -> None:
    fields["funding_rate"][at] = float(row.rate)
    fields["premium"][at] = np.nan if row.premium is None else float(row.premium)
