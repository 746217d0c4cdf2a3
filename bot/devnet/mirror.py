"""A market that is another venue's: its public prices, books and rates as they come, and no account of it.

What was heard last stands until more is heard; how old it is can be seen in the time of every book and in
/devnet/status. While the devnet was off, the hours of the venue's history are walked through as a replay's are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from bot.devnet.ladders import Ladder
from bot.devnet.market import STEP_MS, STEPS, Market, Moment, ReplayedBars
from bot.devnet.statefile import MARKET
from bot.devnet.world import World
from bot.errors import ConfigError, DataError, HedgerowError, StateError, VenueError
from bot.model.instrument import Instrument
from bot.model.panel import HOUR_MS, FloatArray
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.parse_market import Book

TESTNET_URL: Final = "https://api.hyperliquid-testnet.xyz"
SHORTEST_ROUND_S: Final = 3.0
WEIGHT_PER_S: Final = 15.0
"""Of the twenty that the venue allows."""
STALE_S: Final = 60.0
MOST_HISTORY_H: Final = 500  # what one request for settled rates brings
LONGEST_GAP_H: Final = 4900
KEPT_PATHS: Final = 48
_VALUES: Final = ("mark", "oracle", "mid", "funding", "premium", "open_interest", "volume_usd_day")

Told = Mapping[str, Any]
"""One round of asking, as JSON values: `time`, `coins` (name → values), `books` (name → bids, asks)."""


class MirrorMarket(Market):
    """The market as it was heard last; bars are for candles and rates of the past, and for the time that was missed."""

    is_real_time = True

    def __init__(
        self, instruments: Sequence[Instrument], bars: ReplayedBars, first_ms: int, hours: int
    ) -> None:
        super().__init__(instruments, bars, first_ms, seed=0)
        super().reaches(first_ms + (hours - 1) * HOUR_MS)
        self.is_walking = False  # through the past that was missed
        self.is_live = False
        self.heard_ms = 0
        self._told: Told = {}
        self._values: dict[str, FloatArray] = {}
        self._ladders: list[tuple[Ladder, Ladder]] = []
        self._paths: dict[int, FloatArray] = {}
        self._made_moment, self._made_path = self.moment, self.path

        def moment(time_ms: int) -> Moment:
            if not self.is_walking:
                return self._heard(time_ms)
            return self._made_moment(min(time_ms, self.known_to_ms - 1))

        def path(hour: int) -> FloatArray:
            return self._paths[hour] if hour in self._paths else self._made_path(hour)

        self.moment, self.path = moment, path  # type: ignore[assignment]

    def take(self, told: Told) -> None:
        """What was heard is the market from now on."""
        rows = [told["coins"][each.name] for each in self.instruments]
        self._told, self.heard_ms = told, int(told["time"])
        self._values = dict(zip(_VALUES, np.array(rows, float).T, strict=True))
        self._ladders = []
        for each in self.instruments:
            bids, asks = told["books"][each.name]
            self._ladders.append((_ladder(bids), _ladder(asks)))
        if self.is_live:
            self._note()

    def _note(self) -> None:
        """Put what was heard into the running hour's bar and path."""
        self.reaches(self.heard_ms)
        hour, bar, mid = self._read - 1, self._bars[-1], self._values["mid"]
        seen = {"high": np.maximum(bar["high"], mid), "low": np.minimum(bar["low"], mid)}
        self._bars[-1] = self._bar(bar["open"], bar["volume_usd"]) | seen
        into_ms = max(0, self.heard_ms - self.first_ms - hour * HOUR_MS)
        self._paths[hour][-(-into_ms // STEP_MS) :] = mid

    def _bar(self, opening: FloatArray, volume_usd: FloatArray) -> dict[str, FloatArray]:
        """A bar that closes at what was heard last."""
        values, mid = self._values, self._values["mid"]
        return {
            "open": opening,
            "high": np.maximum(opening, mid),
            "low": np.minimum(opening, mid),
            "close": mid,
            "mid": mid,
            "mark": values["mark"],
            "oracle": values["oracle"],
            "premium": values["premium"],
            "funding_rate": values["funding"],
            "open_interest": values["open_interest"],
            "volume_usd": volume_usd,
            "spread_bps": np.full_like(mid, 2.0),
        }

    def reaches(self, time_ms: int) -> bool:
        """Always: an hour of which nothing is heard is one in which prices stand."""
        if not self.is_live:
            return True
        while self._read <= self.hour(time_ms):
            last = self._bars[-1]
            self._bars.append(self._bar(last["close"], last["volume_usd"]))
            self._paths[self._read - 1] = np.tile(last["close"], (STEPS + 1, 1))
            self._paths.pop(self._read - 1 - KEPT_PATHS, None)
            self._drop_old()
        return True

    def correct(self, open_ms: int, bars: Mapping[str, tuple[float, float, float, float, float]]) -> None:
        """Put the venue's own candle (open, high, low, close, volume in USD) in the place of one that was watched."""
        hour = self.hour(open_ms)
        if not self.oldest <= hour < self._read - 1:
            return
        made = {name: values.copy() for name, values in self.bar(hour).items()}
        for column, each in enumerate(self.instruments):
            if each.name in bars:
                for name, value in zip(
                    ("open", "high", "low", "close", "volume_usd"), bars[each.name], strict=True
                ):
                    made[name][column] = value
        self._bars[hour - self.oldest] = made

    def settled(self, hour: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """At the end of an hour that was watched: the rate that the venue showed last."""
        if self.is_live or self.is_walking:
            return super().settled(hour)
        return self._values["funding"], self._values["premium"], self._values["oracle"]

    def moves(self, before_ms: int, time_ms: int) -> bool:
        """Only by what is heard, so that what was taken from a book is gone until then."""
        return self.is_walking and super().moves(before_ms, time_ms)

    def ladders(self, moment: Moment) -> list[tuple[Ladder, Ladder]]:
        """The venue's own books."""
        return super().ladders(moment) if self.is_walking else [(list(b), list(a)) for b, a in self._ladders]

    def book_ms(self, now_ms: int) -> int:
        """When the books were as they are shown."""
        return min(now_ms, self.heard_ms)

    @property
    def known_to_ms(self) -> int:
        """When the last bar ends."""
        return self.first_ms + self._read * HOUR_MS

    def latest_volume(self) -> FloatArray:
        """What was traded in the last day that bars tell of, in USD."""
        return self._volume_of_day(self._read - 1)

    def saved(self) -> dict[str, Any]:
        """What was heard last; the past is the venue's to keep."""
        return {"heard": self._told}

    def _heard(self, time_ms: int) -> Moment:
        values = self._values
        touches = np.array(
            [
                [float(bids[0][0]), float(asks[0][0])] if bids and asks else [1.0, 1.0]
                for bids, asks in self._ladders
            ]
        )
        return Moment(
            time_ms,
            values["mid"],
            values["oracle"],
            values["mark"],
            values["premium"],
            values["funding"],
            values["open_interest"],
            values["volume_usd_day"],
            (touches[:, 1] - touches[:, 0]) / touches.mean(axis=1) * 1e4,
        )


def _ladder(side: Sequence[Sequence[Any]]) -> Ladder:
    return [(Decimal(price), int(lots)) for price, lots in side]


def hear(world: World, market: MirrorMarket, told: Told) -> None:
    """Let the world be as it was heard to be, and not behind the venue's time."""
    world.catch_up()
    world.advance(max(0, told["time"] - world.now_ms))
    world.record([MARKET, told])
    market.take(told)
    world.requote()


@dataclass(slots=True)
class Mirror:
    """Asks a venue, round after round, and says how that goes."""

    url: str
    instruments: tuple[Instrument, ...]
    market: MirrorMarket
    first: Told
    round_s: float
    heard_s: float
    error: str = ""

    def shown(self) -> dict[str, Any]:
        """As in /devnet/status."""
        age_s = time.monotonic() - self.heard_s
        return {
            "url": self.url,
            "heard": self.market.heard_ms,
            "age_s": round(age_s, 1),
            "stale": age_s > max(STALE_S, 3 * self.round_s),
            "error": self.error,
        }

    async def watch(self, world: World) -> None:
        """Ask for ever."""
        client = Client(self.url)
        hour = self.market.hour(world.now_ms)
        try:
            while True:
                await asyncio.sleep(self.round_s)
                try:
                    hear(world, self.market, await observe(client, self.market))
                    self.error, self.heard_s = "", time.monotonic()
                    if self.market.hour(world.now_ms) > hour:
                        hour = self.market.hour(world.now_ms)
                        await self._correct(client, hour - 1)
                except (VenueError, DataError) as error:
                    self.error = str(error)
        finally:
            await client.close()

    async def _correct(self, client: Client, hour: int) -> None:
        open_ms = self.market.first_ms + hour * HOUR_MS
        data, found = MarketData(client, self.instruments), {}
        for each in self.instruments:
            for bar in await data.candles(each.name, open_ms, open_ms + HOUR_MS):
                prices = [float(price) for price in (bar.open, bar.high, bar.low, bar.close)]
                found[each.name] = (*prices, float(bar.volume) * sum(prices[1:]) / 3)
        self.market.correct(open_ms, found)  # type: ignore[arg-type]


async def observe(client: Client, market: MirrorMarket) -> dict[str, Any]:
    """What the venue says now. DataError if it isn't what a venue can say, Unavailable if it says nothing."""
    instruments = market.instruments
    found: list[Book] = await asyncio.gather(
        *(client.info({"type": "l2Book", "coin": each.name}) for each in instruments)
    )
    known, contexts = await client.info({"type": "metaAndAssetCtxs"})
    coins: dict[str, list[float]] = {}
    books: dict[str, list[list[list[Any]]]] = {}
    for mine, book, volume_usd_day in zip(instruments, found, market.latest_volume().tolist(), strict=True):
        listed = mine.name in known.names
        if not listed or known.instrument(mine.name).size_decimals != mine.size_decimals:
            raise DataError(
                f"the mirrored venue no longer lists {mine.name} as it did; start the devnet anew"
            )
        if book.coin != mine.name:
            raise DataError(f"the mirrored venue answered with the book of {book.coin} for {mine.name}")
        told = contexts[known.place(mine.name)]
        mid = told.mark if told.mid is None else told.mid
        values = (told.mark, told.oracle, mid, told.funding, told.premium or 0, told.open_interest)
        coins[mine.name] = [*map(float, values), volume_usd_day]
        books[mine.name] = [
            [[str(level.price), mine.lots(level.size)] for level in side if mine.lots(level.size)]
            for side in (book.bids, book.asks)
        ]
    return {"time": max(book.time_ms for book in found), "coins": coins, "books": books}


def open_mirror(
    url: str, coins: Sequence[str], history_h: int, since_ms: int | None, round_s: float | None = None
) -> Mirror:
    """The venue's market with its past, at least since a time. ConfigError if it can't be had.

    `round_s` is how long each round of asking lasts, by default as long as the venue's limits make it.
    """
    try:
        return asyncio.run(_open(url, coins, history_h, since_ms, round_s))
    except (ConfigError, StateError):
        raise
    except HedgerowError as error:
        raise ConfigError(f"the venue at {url} can't be mirrored: {error}") from None


async def _open(
    url: str, coins: Sequence[str], history_h: int, since_ms: int | None, round_s: float | None
) -> Mirror:
    client = Client(url)
    try:
        known = await client.info({"type": "meta"})
        listed = {each.name: each for each in known.instruments if not each.is_delisted}
        unknown = [coin for coin in coins if coin not in listed]
        if unknown:
            raise ConfigError(
                f"the venue at {url} lists no {', '.join(unknown)}; it lists {', '.join(listed)}"
            )
        instruments = tuple(listed[coin] for coin in coins or listed)
        end_ms = await client.info({"type": "exchangeStatus"}) // HOUR_MS * HOUR_MS
        gap_h = 0 if since_ms is None else max(0, (end_ms - since_ms) // HOUR_MS + 1)
        if gap_h > LONGEST_GAP_H:
            raise StateError(
                f"the devnet stopped {gap_h} hours ago, of which the venue knows {LONGEST_GAP_H}"
            )
        hours = max(min(history_h, MOST_HISTORY_H), gap_h + 1)
        panel = await MarketData(client, instruments).history(end_ms, hours)
        for column, each in enumerate(instruments):
            if np.isnan(panel.field("close").values[:, column]).all():
                raise ConfigError(
                    f"the venue at {url} has no candles of {each.name}; leave it out with --coins"
                )
        market = MirrorMarket(instruments, ReplayedBars(panel), end_ms - hours * HOUR_MS, hours)
        first = await observe(client, market)
    finally:
        await client.close()
    market.take(first)
    if round_s is None:
        round_s = max(SHORTEST_ROUND_S, (20 + 2 * len(instruments)) / WEIGHT_PER_S)
    return Mirror(url, instruments, market, first, round_s, time.monotonic())


def go_live(world: World, mirror: Mirror) -> None:
    """Walk through what was missed, hour by hour, then be where the venue is."""
    market = mirror.market
    if world.now_ms < market.known_to_ms:
        market.is_walking = True
        world.advance_to(market.known_to_ms)
        market.is_walking = False
    market.is_live = True
    hear(world, market, mirror.first)


__all__ = ["TESTNET_URL", "Mirror", "MirrorMarket", "go_live", "hear", "observe", "open_mirror"]
