"""The market data that anybody may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from zlib import crc32

from bot.devnet import candles
from bot.devnet.cex import schedule
from bot.devnet.cex.authentication import Rejected
from bot.devnet.cex.face import CexFace
from bot.devnet.cex.listing import Listing, exchange_info
from bot.devnet.cex.parameters import Parameters
from bot.devnet.cex.prices import Bar, Prices
from bot.devnet.cex.records import Json, money
from bot.devnet.market import Market
from bot.model.panel import HOUR_MS, FloatArray

DAY_MS: Final = 24 * HOUR_MS
_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1000)
_PERIODS: Final = {
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1h": 60,
    "2h": 120,
    "4h": 240,
    "6h": 360,
    "12h": 720,
    "1d": 1440,
}
_INTERVALS: Final = {*candles.INTERVALS, "6h"}
MIDDLE, MARK, INDEX = 0, 1, 2
MOST_LATE_MS: Final = 9


def ping(face: CexFace, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET ping."""
    return {}


def time(face: CexFace, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET time: the devnet's."""
    return {"serverTime": face.now_ms}


def info(face: CexFace, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET exchangeInfo."""
    return exchange_info(face.listed.values(), face.now_ms)


def _chosen(face: CexFace, parameters: Parameters) -> list[Listing]:
    symbol = parameters.optional_symbol()
    return list(face.listed.values()) if symbol is None else [face.listing(symbol)]


def _one_or_all(rows: list[Json], parameters: Parameters) -> Any:
    """A symbol that was named is answered with its row alone."""
    return rows[0] if parameters.optional_symbol() is not None else rows


# --- books and tickers


def depth(face: CexFace, parameters: Parameters) -> Any:
    """GET depth."""
    listing = face.listing(parameters.text("symbol"))
    limit = parameters.optional_integer("limit") or 500
    if limit not in _DEPTHS:
        raise Rejected(-4021, f"{limit} is not valid depth limit.")
    return {
        "lastUpdateId": face.quoted_ms,
        "E": face.now_ms,
        "T": face.quoted_ms,
        "bids": _side(face, listing, 1, limit),
        "asks": _side(face, listing, -1, limit),
    }


def levels(face: CexFace, listing: Listing, sign: int) -> list[tuple[Decimal, int]]:
    """Prices and lots of one side, best first: the outside market's and users' own together."""
    book = face.exchange.books[listing.symbol]
    lots = dict(book.depth(sign))
    for live in book.resting(sign):
        assert live.price is not None
        lots[live.price] = lots.get(live.price, 0) + live.remaining
    return sorted(lots.items(), reverse=sign > 0)


def _side(face: CexFace, listing: Listing, sign: int, limit: int) -> list[list[str]]:
    return [
        [listing.price(price), listing.quantity(lots)] for price, lots in levels(face, listing, sign)[:limit]
    ]


def book_ticker(face: CexFace, parameters: Parameters) -> Any:
    """GET ticker/bookTicker."""
    rows = []
    for each in _chosen(face, parameters):
        bids, asks = _side(face, each, 1, 1), _side(face, each, -1, 1)
        bid, ask = (side[0] if side else [each.price(Decimal(0)), each.quantity(0)] for side in (bids, asks))
        rows.append(
            {
                "symbol": each.symbol,
                "bidPrice": bid[0],
                "bidQty": bid[1],
                "askPrice": ask[0],
                "askQty": ask[1],
                "time": face.quoted_ms,
                "lastUpdateId": face.quoted_ms,
            }
        )
    return _one_or_all(rows, parameters)


def price_ticker(face: CexFace, parameters: Parameters) -> Any:
    """GET ticker/price, of either version."""
    rows = [
        {"symbol": each.symbol, "price": each.price(face.last_price(each)), "time": face.quoted_ms}
        for each in _chosen(face, parameters)
    ]
    return _one_or_all(rows, parameters)


def day_ticker(face: CexFace, parameters: Parameters) -> Any:
    """GET ticker/24hr."""
    return _one_or_all([_day(face, each) for each in _chosen(face, parameters)], parameters)


def _day(face: CexFace, listing: Listing) -> Json:
    since = max(face.now_ms - DAY_MS, face.world.market.known_from_ms)
    since -= since % 60_000
    found = candles.between(_source(face, listing, MIDDLE), since, face.now_ms + 1)
    assert found is not None, "the market knows its own present"
    first, high, low, last, volume = found
    tape = face.tape[listing.symbol]
    return {
        "symbol": listing.symbol,
        "priceChange": listing.price(listing.on_tick(last) - listing.on_tick(first)),
        "priceChangePercent": f"{(last / first - 1) * 100:.3f}",
        "weightedAvgPrice": listing.price(listing.on_tick((high + low + last) / 3)),
        "lastPrice": listing.price(face.last_price(listing)),
        "lastQty": tape[-1]["qty"] if tape else listing.quantity(0),
        "openPrice": listing.price(listing.on_tick(first)),
        "highPrice": listing.price(listing.on_tick(high)),
        "lowPrice": listing.price(listing.on_tick(low)),
        "volume": f"{volume / last:.{listing.instrument.size_decimals}f}",
        "quoteVolume": f"{volume:.2f}",
        "openTime": since,
        "closeTime": face.now_ms,
        "firstId": tape[0]["id"] if tape else -1,
        "lastId": tape[-1]["id"] if tape else -1,
        "count": max(1, int(volume / 5000)),
    }


def trades(face: CexFace, parameters: Parameters) -> Any:
    """GET trades."""
    listing = face.listing(parameters.text("symbol"))
    return list(face.tape[listing.symbol])[-parameters.limit(500, 1000) :]


def aggregate_trades(face: CexFace, parameters: Parameters) -> Any:
    """GET aggTrades: each trade by itself."""
    listing = face.listing(parameters.text("symbol"))
    (start, end), first = parameters.span(), parameters.optional_integer("fromId")
    rows = [
        {
            "a": row["id"],
            "p": row["price"],
            "q": row["qty"],
            "f": row["id"],
            "l": row["id"],
            "T": row["time"],
            "m": row["isBuyerMaker"],
        }
        for row in face.tape[listing.symbol]
        if (start is None or row["time"] >= start)
        and (end is None or row["time"] <= end)
        and (first is None or row["id"] >= first)
    ]
    limit = parameters.limit(500, 1000)
    return rows[-limit:] if start is None and first is None else rows[:limit]


# --- funding and open interest


def premium_index(face: CexFace, parameters: Parameters) -> Any:
    """GET premiumIndex."""
    quotes, rows = face.quotes(), list(face.listed)
    found = []
    for each in _chosen(face, parameters):
        rate, settles_ms = face.expected_rate(each)
        index = f"{quotes.index[rows.index(each.symbol)]:.8f}"
        found.append(
            {
                "symbol": each.symbol,
                "markPrice": money(face.exchange.marks[each.symbol]),
                "indexPrice": index,
                "estimatedSettlePrice": index,
                "lastFundingRate": f"{rate:.8f}",
                "interestRate": "0.00010000",
                "nextFundingTime": settles_ms,
                "time": face.now_ms,
            }
        )
    return _one_or_all(found, parameters)


def funding_history(face: CexFace, parameters: Parameters) -> Any:
    """GET fundingRate: settlements, oldest first; the last hundred if no start is named."""
    (start, end), limit = parameters.span(), parameters.limit(100, 1000)
    rows: list[Json] = []
    for each in _chosen(face, parameters):
        upto = face.now_ms if end is None else min(end, face.now_ms)
        first = max((start or 0) - MOST_LATE_MS, face.world.market.known_from_ms)
        if start is None:
            first = max(first, upto - limit * schedule.LONGEST_H * HOUR_MS)
        count = 0
        for at in schedule.settlements(face.intervals, each, first, upto):
            rate, told_ms = face.funding_rate(each, at), at + _late_ms(each.symbol, at)
            if rate is None or not (start or 0) <= told_ms <= (told_ms if end is None else end):
                continue
            rows.append(
                {
                    "symbol": each.symbol,
                    "fundingTime": told_ms,
                    "fundingRate": f"{rate:.8f}",
                    "markPrice": f"{face.prices.mark_at(each.symbol, at):.8f}",
                }
            )
            count += 1
            if start is not None and count == limit:
                break
    rows.sort(key=lambda row: row["fundingTime"])
    return rows[:limit] if start is not None else rows[-limit:]


def _late_ms(symbol: str, settles_ms: int) -> int:
    """The venue's history has settlements a few milliseconds after the hour, by chance."""
    return crc32(f"{symbol} {settles_ms}".encode()) % (MOST_LATE_MS + 1)


def funding_info(face: CexFace, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET fundingInfo: the symbols whose interval or cap is another than the default; those left out pay every 8 h."""
    rows = [
        (each, schedule.interval_h(face.intervals, each, face.now_ms), face.intervals.get(each.symbol))
        for each in face.listed.values()
    ]
    return [
        {
            "symbol": each.symbol,
            "adjustedFundingRateCap": f"{each.funding_cap:.8f}",
            "adjustedFundingRateFloor": f"{-each.funding_cap:.8f}",
            "fundingIntervalHours": hours,
            "disclaimer": False,
            "updateTime": changes[-1][0] if changes else 0,
        }
        for each, hours, changes in rows
        if hours != schedule.LONGEST_H or changes
    ]


def open_interest(face: CexFace, parameters: Parameters) -> Any:
    """GET openInterest."""
    listing = face.listing(parameters.text("symbol"))
    amount = face.quotes().open_interest[list(face.listed).index(listing.symbol)]
    shown = f"{amount:.{listing.instrument.size_decimals}f}"
    return {"openInterest": shown, "symbol": listing.symbol, "time": face.now_ms}


def interest_history(face: CexFace, parameters: Parameters) -> Any:
    """GET /futures/data/openInterestHist, of the last thirty days."""
    listing, (start, end) = face.listing(parameters.text("symbol")), parameters.span()
    period = parameters.one_of("period", _PERIODS, -1130, "Data sent for parameter 'period' is not valid.")
    step, limit = _PERIODS[period] * 60_000, parameters.limit(30, 500)
    upto = min(face.now_ms if end is None else end, face.now_ms) // step * step
    oldest = max(start or 0, face.world.market.known_from_ms + HOUR_MS, face.now_ms - 30 * DAY_MS)
    first = -(-oldest // step) * step
    first = max(first, upto - (limit - 1) * step) if start is None else first
    rows = []
    for at in range(first, upto + 1, step)[:limit]:
        amount, mark = face.prices.open_interest(listing.symbol, at), face.prices.mark_at(listing.symbol, at)
        rows.append(
            {
                "symbol": listing.symbol,
                "sumOpenInterest": money(Decimal(repr(amount))),
                "sumOpenInterestValue": money(Decimal(repr(amount * mark))),
                "CMCCirculatingSupply": "0",
                "timestamp": at,
            }
        )
    return rows


# --- candles


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the prices of one symbol are read."""

    market: Market
    prices: Prices
    symbol: str
    what: int

    def bar(self, hour: int) -> Bar:
        return self.prices.bar(self.symbol, hour, self.what)

    def path(self, hour: int) -> FloatArray:
        return self.prices.path(self.symbol, hour, self.what)


def _source(face: CexFace, listing: Listing, what: int) -> _Source:
    return _Source(face.world.market, face.prices, listing.symbol, what)


def klines(face: CexFace, parameters: Parameters) -> Any:
    """GET klines."""
    return _klines(face, parameters, parameters.text("symbol"), MIDDLE)


def mark_klines(face: CexFace, parameters: Parameters) -> Any:
    """GET markPriceKlines."""
    return _klines(face, parameters, parameters.text("symbol"), MARK)


def index_klines(face: CexFace, parameters: Parameters) -> Any:
    """GET indexPriceKlines, of a pair."""
    return _klines(face, parameters, parameters.text("pair"), INDEX)


def _klines(face: CexFace, parameters: Parameters, symbol: str, what: int) -> list[list[Any]]:
    listing = face.listing(symbol)
    interval = parameters.one_of("interval", _INTERVALS, -1120, "Invalid interval.")
    (start, end), limit = parameters.span(), parameters.limit(500, 1500)
    upto = face.now_ms if end is None else min(end, face.now_ms)
    oldest = face.world.market.known_from_ms
    if start is None:
        starts = [_opening(interval, upto)]
        while len(starts) < limit and starts[-1] > oldest:
            starts.append(_opening(interval, starts[-1] - 1))
        starts.reverse()
    else:
        at, starts = _opening(interval, max(start, oldest)), []
        if at < start:
            at = _following(interval, at)
        while at <= upto and len(starts) < limit:
            starts.append(at)
            at = _following(interval, at)
    rows = []
    for open_ms in starts:
        close_ms = _following(interval, open_ms)
        found = candles.between(_source(face, listing, what), open_ms, min(close_ms, face.now_ms + 1))
        if found is not None and open_ms <= upto:
            rows.append(_kline(listing, found, open_ms, close_ms, what))
    return rows


def _kline(listing: Listing, found: Bar, open_ms: int, close_ms: int, what: int) -> list[Any]:
    *prices, volume = found
    is_traded = what == MIDDLE
    shown = [listing.price(listing.on_tick(each)) if is_traded else f"{each:.8f}" for each in prices]
    decimals = listing.instrument.size_decimals
    coins = volume / prices[3]
    return [
        open_ms,
        *shown,
        f"{coins:.{decimals}f}" if is_traded else "0",
        close_ms - 1,
        f"{volume:.5f}" if is_traded else "0",
        max(1, int(volume / 5000)) if is_traded else 0,
        f"{coins / 2:.{decimals}f}" if is_traded else "0",
        f"{volume / 2:.5f}" if is_traded else "0",
        "0",
    ]


def _opening(interval: str, time_ms: int) -> int:
    return (
        time_ms // (6 * HOUR_MS) * (6 * HOUR_MS) if interval == "6h" else candles.opening(interval, time_ms)
    )


def _following(interval: str, open_ms: int) -> int:
    return open_ms + 6 * HOUR_MS if interval == "6h" else candles.following(interval, open_ms)
