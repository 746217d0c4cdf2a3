"""Candles of any interval, read from the market's bars and the paths between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

from bot.devnet.listing import grid_of
from bot.devnet.market import STEP_MS, Market
from bot.devnet.records import Json
from bot.devnet.spot import Spot
from bot.devnet.wire import number_text, text
from bot.devnet.world import World
from bot.model.panel import HOUR_MS, FloatArray

MINUTE_MS: Final = 60_000
INTERVALS: Final = {
    "1m": 1,
    "3m": 3,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1h": 60,
    "2h": 120,
    "4h": 240,
    "8h": 480,
    "12h": 720,
    "1d": 1440,
    "3d": 4320,
    "1w": 10080,
    "1M": 0,
}
"""Minutes of each interval; a month has its own."""
MOST: Final = 5000
_MONDAY_MS: Final = 4 * 24 * HOUR_MS  # the first one after the epoch began on a Thursday

Prices = tuple[float, float, float, float, float]  # open, high, low, close, volume in USD


def opening(interval: str, time_ms: int) -> int:
    """When the candle that holds a time opened."""
    if interval == "1M":
        day = datetime.fromtimestamp(time_ms // 1000, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1000
    length, offset = INTERVALS[interval] * MINUTE_MS, _MONDAY_MS if interval == "1w" else 0
    return (time_ms - offset) // length * length + offset


def following(interval: str, open_ms: int) -> int:
    """When the next one opens."""
    if interval == "1M":
        day = datetime.fromtimestamp(open_ms // 1000, UTC)
        return opening("1M", int((day + timedelta(days=32)).timestamp()) * 1000)
    return open_ms + INTERVALS[interval] * MINUTE_MS


def candles(world: World, coin: str, interval: str, start_ms: int, end_ms: int) -> list[Json]:
    """Candles from the one that holds `start_ms` on, the unfinished one included, at most the latest 5000."""
    end_ms = min(end_ms, world.now_ms)
    open_ms = opening(interval, max(start_ms, world.market.known_from_ms))
    if interval != "1M":
        open_ms = max(open_ms, opening(interval, end_ms) - (MOST - 1) * INTERVALS[interval] * MINUTE_MS)
    rows = []
    while open_ms <= end_ms:
        close_ms = following(interval, open_ms)
        row = candle(world, coin, interval, open_ms, close_ms)
        if row is not None:
            rows.append(row)
        open_ms = close_ms
    return rows


def current(world: World, coin: str, interval: str) -> Json | None:
    """The unfinished candle."""
    open_ms = opening(interval, world.now_ms)
    return candle(world, coin, interval, open_ms, following(interval, open_ms))


def candle(world: World, coin: str, interval: str, open_ms: int, close_ms: int) -> Json | None:
    """One candle, as far as it goes by now."""
    prices = between(_source(world, coin), open_ms, min(close_ms, world.now_ms + 1))
    if prices is None:
        return None
    first, high, low, last, volume = prices
    grid = grid_of(world, coin)
    shown = [text(grid.round_price(Decimal(repr(float(price))))) for price in (first, last, high, low)]
    return {
        "t": open_ms,
        "T": close_ms - 1,
        "s": coin,
        "i": interval,
        "o": shown[0],
        "c": shown[1],
        "h": shown[2],
        "l": shown[3],
        "v": number_text(volume / last, grid.size_decimals),
        "n": max(1, int(volume / 5000)),
    }


class Source(Protocol):
    """Where prices are read: hour by hour, and within an hour."""

    @property
    def market(self) -> Market: ...

    def bar(self, hour: int) -> Prices: ...

    def path(self, hour: int) -> FloatArray: ...


@dataclass(frozen=True, slots=True)
class _Perp:
    """Where the prices of one perpetual are read."""

    market: Market
    column: int

    def bar(self, hour: int) -> Prices:
        bar, i = self.market.bar(hour), self.column
        first, high, low, last, volume = (
            float(bar[name][i]) for name in ("open", "high", "low", "close", "volume_usd")
        )
        return first, high, low, last, volume

    def path(self, hour: int) -> FloatArray:
        path: FloatArray = self.market.path(hour)[:, self.column]
        return path


@dataclass(frozen=True, slots=True)
class _Pair:
    """Where those of one spot pair are."""

    market: Market
    spot: Spot
    name: str

    def bar(self, hour: int) -> Prices:
        return self.spot.bar(self.name, hour)

    def path(self, hour: int) -> FloatArray:
        return self.spot.path(self.name, hour)


def _source(world: World, coin: str) -> Source:
    if coin in world.spot.pairs:
        return _Pair(world.market, world.spot, coin)
    return _Perp(world.market, world.column[coin])


def between(source: Source, start_ms: int, end_ms: int) -> Prices | None:
    """What happened from a time to another, `end_ms` excluded."""
    parts: list[Prices] = []
    market = source.market
    at = max(start_ms, market.known_from_ms)
    while at < end_ms:
        hour = market.hour(at)
        hour_start = market.first_ms + hour * HOUR_MS
        upto = min(end_ms, hour_start + HOUR_MS)
        bar = source.bar(hour)
        if at == hour_start and upto == hour_start + HOUR_MS:
            parts.append(bar)
        else:
            first, last = (at - hour_start) // STEP_MS, max((upto - 1 - hour_start) // STEP_MS + 1, 1)
            path = source.path(hour)[first : last + 1]
            volume = bar[4] * (upto - at) / HOUR_MS
            parts.append((float(path[0]), float(path.max()), float(path.min()), float(path[-1]), volume))
        at = upto
    if not parts:
        return None
    return (
        parts[0][0],
        max(part[1] for part in parts),
        min(part[2] for part in parts),
        parts[-1][3],
        sum(part[4] for part in parts),
    )
