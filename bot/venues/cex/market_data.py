"""The market as rows of a panel: bars, marks and settled rates by the hour, prices and open interest as they are now.

A rate is settled for an interval, which differs by contract and changes. So `funding_rate` is the newest settlement over
the hours since the one before it, `settled_funding` what was paid at the very row, and where the hours are not known
there is no rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import numpy as np
import structlog

from bot.errors import DataError, Refused
from bot.model.panel import HOUR_MS, FloatArray, Grid, Panel
from bot.venues.cex import wire
from bot.venues.cex.books import Market
from bot.venues.cex.client import Client
from bot.venues.cex.differences import Differences
from bot.venues.cex.intervals import INTERVALS_H, binance_intervals, changes, rate_per_hour
from bot.venues.cex.past import Past
from bot.venues.edge import all_of

log = structlog.get_logger("hedgerow")

AT_ONCE: Final = 4
LARGEST_RATE: Final = Decimal("0.3")  # of notional at one settlement; the widest cap known is 3 %
LONGEST_H: Final = max(INTERVALS_H)
BAR_FIELDS: Final = ("open", "high", "low", "close")
RATE_FIELDS: Final = ("funding_rate", "settled_funding", "funding_interval_h")


@dataclass(frozen=True, slots=True)
class Settled:
    """One settlement: the fraction of notional paid, and for how many hours; None where that is not known."""

    hour: int
    rate: Decimal
    interval_h: int | None


@dataclass(frozen=True, slots=True)
class Now:
    """A contract's prices and the rate that is being accumulated for its next settlement, at `next_ms`."""

    mark: Decimal
    index: Decimal | None
    predicted: Decimal | None
    next_ms: int | None


class MarketData:
    """Rows for some contracts of one venue."""

    def __init__(self, client: Client, markets: Sequence[Market], differences: Differences) -> None:
        self._client, self._markets, self._differences = client, tuple(markets), differences
        self._past = Past(client, differences)
        self._symbols = [market.symbol for market in markets]
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._now: dict[str, Now] = {}  # by instrument
        self._unread: dict[str, str] = {}  # instruments without a price, and why
        self._settled: dict[str, dict[int, Settled]] = {market.instrument.name: {} for market in markets}
        self.intervals_h: dict[str, int | None] = {}

    @property
    def marks(self) -> Mapping[str, Decimal]:
        """The newest mark of each instrument."""
        return {name: now.mark for name, now in self._now.items()}

    def marks_by_id(self) -> dict[str, Decimal]:
        """The same by the exchange's own names."""
        by_name = {market.instrument.name: market.market_id for market in self._markets}
        return {by_name[name]: now.mark for name, now in self._now.items()}

    def mark_array(self) -> FloatArray:
        """The same in the order of the instruments, 0 before the first."""
        return np.array([float(self.marks.get(market.instrument.name, 0)) for market in self._markets])

    def settled_rate(self, instrument: str, time_ms: int) -> tuple[Decimal, int | None] | None:
        """The rate that was settled at a time, and for how many hours, as far as it is known here."""
        found = self._settled[instrument].get(_hour(time_ms))
        return None if found is None else (found.rate, found.interval_h)

    async def learn_at(self, market_id: str, time_ms: int) -> None:
        """Ask for the rate that was settled of a contract at a time, where it is not known here."""
        for market in self._markets:
            if market.market_id == market_id and self.settled_rate(market.instrument.name, time_ms) is None:
                await self._learn_settled(market, time_ms - 2 * LONGEST_H * HOUR_MS, time_ms + HOUR_MS)

    def settlements(self, instrument: str) -> list[Settled]:
        """All that are known, oldest first."""
        return [self._settled[instrument][hour] for hour in sorted(self._settled[instrument])]

    # Now

    async def refresh(self) -> None:
        """Marks, indices and predictions as they are now; none of a contract that can't be read, which is said once.

        DataError where there is none at all. What is held of such a contract is still told, with the mark of its position.
        """
        told = await self._client.ask("fetch_funding_rates", self._symbols)
        marks = {}
        if self._differences.marks:
            marks = await self._client.ask(self._differences.marks, self._symbols)
        found = {}
        unread = {}
        for market in self._markets:
            try:
                found[market.instrument.name] = _now_of(market, told, marks)
            except DataError as error:
                unread[market.instrument.name] = str(error)
        if not found:
            raise DataError(next(iter(unread.values())))
        for name in unread.keys() - self._unread.keys():
            log.warning("a contract has no price; the others go on", coin=name, reason=unread[name][:200])
        self._now, self._unread = found, unread

    async def learn_intervals(self) -> None:
        """How often each contract settles; a change is told, as the venue may make one while a position is held."""
        source = self._differences.interval_source
        found: dict[str, int | None]
        if source == "fundingInfo":
            rows = await self._client.ask("fapiPublicGetFundingInfo")
            by_id = binance_intervals(rows, [market.market_id for market in self._markets])
            found = {market.instrument.name: by_id[market.market_id] for market in self._markets}
        else:
            told = await self._client.ask("fetch_funding_rates", self._symbols)
            found = {
                market.instrument.name: _hours((told.get(market.symbol) or {}).get("interval"))
                for market in self._markets
            }
        for sentence in changes(self.intervals_h, found):
            log.warning("funding interval changed", found=sentence)
        self.intervals_h = found

    async def is_settled(self, time_ms: int) -> bool:
        """Whether the venue tells the rate of one of those contracts that settle at `time_ms`, the last of them."""
        due = [
            market
            for market in self._markets
            if (interval_h := self.intervals_h.get(market.instrument.name)) is not None
            and (time_ms // HOUR_MS) % interval_h == 0
            and not market.instrument.is_delisted
        ]
        if not due:
            return True
        await self._learn_settled(due[-1], time_ms - LONGEST_H * HOUR_MS, time_ms + HOUR_MS)
        return _hour(time_ms) in self._settled[due[-1].instrument.name]

    # Rows

    async def row(self, time_ms: int) -> dict[str, FloatArray]:
        """The row at `time_ms`, a full hour just past. A contract whose data is refused has none of it in the row."""
        await self.refresh()
        await self.learn_intervals()
        names = (*BAR_FIELDS, "volume_usd", *RATE_FIELDS, "mark", "oracle", "mid", "premium", "open_interest",
                 "predicted_funding", "spread_bps")  # fmt: skip
        row = {name: np.full(len(self._markets), np.nan) for name in names}
        quotes = await self._quotes()

        async def one(column: int, market: Market) -> None:
            name = market.instrument.name
            try:
                bars = await self._past.bars("fetch_ohlcv", market, time_ms - HOUR_MS, time_ms)
                for bar in bars.values():
                    _put_bar(row, column, bar)
                await self._learn_settled(market, time_ms - 2 * LONGEST_H * HOUR_MS, time_ms + HOUR_MS)
                row["open_interest"][column] = await self._past.interest_now(market)
            except DataError as error:
                log.warning("coin left out", coin=name, reason=str(error)[:200])
                for values in row.values():
                    values[column] = np.nan
                return
            now, interval_h = self._now.get(name), self.intervals_h.get(name)
            if now is None:
                for values in row.values():
                    values[column] = np.nan
                return
            row["mark"][column] = float(now.mark)
            row["oracle"][column] = np.nan if now.index is None else float(now.index)
            row["mid"][column], row["spread_bps"][column] = quotes.get(name, (np.nan, np.nan))
            self._put_rates(
                {key: row[key] for key in RATE_FIELDS}, lambda _: column, market, [_hour(time_ms)]
            )
            row["funding_interval_h"][column] = np.nan if interval_h is None else interval_h
            if now.predicted is not None:
                row["predicted_funding"][column] = rate_per_hour(float(now.predicted), interval_h)

        await all_of(
            self._in_turn(one(k, market))
            for k, market in enumerate(self._markets)
            if not market.instrument.is_delisted
        )
        await self.refresh()  # the row is of the hour; what is decided on it needs the prices of now
        return row

    async def history(self, end_ms: int, rows: int) -> Panel:
        """`rows` rows up to `end_ms`, a full hour. What the venue does not have is unknown."""
        await self.learn_intervals()
        grid = Grid(end_ms // HOUR_MS - rows + 1, rows)
        names = (*BAR_FIELDS, "volume_usd", "mark", "oracle", "open_interest", *RATE_FIELDS)
        fields = {name: np.full((rows, len(self._markets)), np.nan) for name in names}
        log.info("reading the history", coins=len(self._markets), hours=rows)

        async def one(column: int, market: Market) -> None:
            start_ms = grid.start_ms - HOUR_MS
            for open_ms, bar in (await self._past.bars("fetch_ohlcv", market, start_ms, end_ms)).items():
                _put_bar(fields, (grid.row(open_ms + HOUR_MS), column), bar)
            for field, method in (("mark", "fetch_mark_ohlcv"), ("oracle", "fetch_index_ohlcv")):
                try:
                    bars = await self._past.bars(method, market, start_ms, end_ms)
                except Refused as error:
                    log.warning("not told", coin=market.instrument.name, what=field, reason=str(error)[:200])
                    continue
                for open_ms, bar in bars.items():
                    fields[field][grid.row(open_ms + HOUR_MS), column] = float(bar[3])
            for hour, amount in (await self._past.interest(market, grid.start_ms, end_ms)).items():
                fields["open_interest"][hour - grid.first, column] = amount
            await self._learn_settled(market, grid.start_ms - 2 * LONGEST_H * HOUR_MS, end_ms + HOUR_MS)
            wanted = range(grid.first, grid.first + rows)
            self._put_rates(
                {key: fields[key] for key in RATE_FIELDS},
                lambda hour: (hour - grid.first, column),
                market,
                wanted,
            )

        await all_of(self._in_turn(one(k, market)) for k, market in enumerate(self._markets))
        return Panel(grid, tuple(market.instrument.name for market in self._markets), fields)

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._slots:
            await work

    def _put_rates(
        self, fields: Mapping[str, FloatArray], at: Callable[[int], Any], market: Market, hours: Iterable[int]
    ) -> None:
        """Of each hour the newest settlement by then, and what was paid in it."""
        known = self.settlements(market.instrument.name)
        place = -1
        for hour in hours:
            while place + 1 < len(known) and known[place + 1].hour <= hour:
                place += 1
            if place < 0:
                continue
            newest = known[place]
            interval_h = newest.interval_h
            if interval_h is None:
                continue
            if newest.hour == hour:
                fields["settled_funding"][at(hour)] = float(newest.rate)
            elif hour - newest.hour < interval_h:
                fields["settled_funding"][at(hour)] = 0.0
            else:
                continue  # one is missing: neither the rate nor what was paid is known
            fields["funding_rate"][at(hour)] = rate_per_hour(float(newest.rate), interval_h)
            fields["funding_interval_h"][at(hour)] = interval_h

    # Asking

    async def _quotes(self) -> dict[str, tuple[float, float]]:
        """Middle of best bid and ask, and basis points between them, by instrument."""
        told = await self._client.ask(self._differences.quotes, self._symbols)
        found = {}
        for market in self._markets:
            row, name = told.get(market.symbol) or {}, market.instrument.name
            bid, ask = (
                wire.optional(row.get("bid"), f"{name}: bid"),
                wire.optional(row.get("ask"), f"{name}: ask"),
            )
            if bid is not None and ask is not None and bid < ask:
                mid = (bid + ask) / 2
                found[name] = float(mid), float((ask - bid) / mid * 10_000)
        return found

    async def _learn_settled(self, market: Market, start_ms: int, end_ms: int) -> None:
        """Rates settled from `start_ms` to before `end_ms`, each for the hours since the one before it."""
        name, most = market.instrument.name, self._differences.rates_per_reply
        rates: dict[int, Decimal] = {}
        while start_ms < end_ms:
            rows = await self._client.ask(
                "fetch_funding_rate_history", market.symbol, start_ms, most, {"until": end_ms - 1}
            )
            for row in rows:
                wire.same_market(row, market.symbol, market.market_id, f"{name}: a settled rate")
                hour = _hour(wire.moment(row.get("timestamp"), f"{name}: a settlement's time"))
                rates[hour] = _rate(row.get("fundingRate"), name)
            if len(rows) < most:
                break
            start_ms = max(int(row["timestamp"]) for row in rows) + 1
        known, hours = self._settled[name], sorted(rates)
        gaps = [None, *(after - before for before, after in pairwise(hours))]
        for k, hour in enumerate(hours):
            earlier, interval_h = known.get(hour), self._interval(name, gaps, k)
            if interval_h is None and earlier is not None and earlier.rate == rates[hour]:
                interval_h = earlier.interval_h
            known[hour] = Settled(hour, rates[hour], interval_h)
        oldest = max(known, default=0) - 40 * 24
        for hour in [hour for hour in known if hour < oldest]:
            del known[hour]

    def _interval(self, name: str, gaps: Sequence[int | None], k: int) -> int | None:
        """Hours that a settlement is for, by those since the one before it; None where one may be missing between.

        Longer than the venue's interval of now, a gap is believed where the next or the one before is as long.
        """
        gap, now_h = gaps[k], self.intervals_h.get(name)
        if gap not in INTERVALS_H:
            return None
        is_usual = now_h is None or gap <= now_h or gap in {*gaps[max(0, k - 1) : k], *gaps[k + 1 : k + 2]}
        return gap if is_usual else None


def _now_of(market: Market, told: Mapping[str, Any], marks: Mapping[str, Any]) -> Now:
    """One contract's part of two replies. DataError where it can't be read."""
    name, row = market.instrument.name, told.get(market.symbol)
    if row is None:
        raise DataError(f"{name} is not among the venue's funding rates")
    wire.same_market(row, market.symbol, market.market_id, f"{name}: the funding rate")
    mark = row.get("markPrice") or (marks.get(market.symbol) or {}).get("markPrice")
    predicted, following = row.get("fundingRate"), row.get("fundingTimestamp")
    return Now(
        wire.price(mark, f"{name}: the mark"),
        wire.optional(row.get("indexPrice"), f"{name}: the index"),
        None if predicted is None else _rate(predicted, name),
        wire.moment(following, f"{name}: the next settlement") if following else None,
    )


def _hour(time_ms: int) -> int:
    """The full hour that a settlement belongs to: venues write it some milliseconds, or seconds, off."""
    return (time_ms + HOUR_MS // 2) // HOUR_MS


def _rate(found: Any, name: str) -> Decimal:
    rate = wire.number(found, f"{name}: a funding rate")
    if abs(rate) > LARGEST_RATE:
        raise DataError(f"{name}: a funding rate can't be {rate}")
    return rate


def _hours(found: Any) -> int | None:
    """Hours of the library's `8h`; None where it is none of the intervals that are known."""
    told = str(found or "").removesuffix("h")
    return int(told) if told.isdigit() and int(told) in INTERVALS_H else None


def _put_bar(fields: Mapping[str, FloatArray], at: Any, bar: Sequence[Decimal]) -> None:
    for name, value in zip(BAR_FIELDS, bar, strict=False):
        fields[name][at] = float(value)
    fields["volume_usd"][at] = float(bar[4] * (bar[1] + bar[2] + bar[3]) / 3)
