"""Two hundred coins within what the venue answers in a minute, by the devnet's own count of what was asked."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.devnet.limits import RateLimits, info_weight
from bot.errors import Unavailable
from bot.model.instrument import Instrument, simple_instrument
from bot.model.panel import HOUR_MS
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.parse_market import Book, Candle, Level
from tests.venues.hyperliquid.fake import START_MS, FakeVenue, serving
from tests.venues.hyperliquid.test_client import Clockwork

NOW_MS = START_MS + HOUR_MS
COINS = [f"C{k}" for k in range(200)]


@dataclass
class Scene:
    venue: FakeVenue
    clock: Clockwork
    market: MarketData
    refused: int = 0
    weight: int = 0

    @property
    def asked(self) -> Counter[str]:
        return Counter(request["type"] for request in self.venue.requests)


def play(act: Callable[[Scene], Awaitable[None]], coins: list[str] = COINS) -> None:
    clock = Clockwork()
    limits = RateLimits(clock.now)
    venue = FakeVenue("0x" + "a" * 40)
    venue.universe = [{"name": c, "szDecimals": 2, "maxLeverage": 10, "marginTableId": 10} for c in coins]
    venue.marks = dict.fromkeys(coins, Decimal(100))
    venue.now_ms, venue.settled_to_ms = NOW_MS + 100, NOW_MS

    async def run() -> None:
        async with serving(venue):
            client = Client(venue.url, budget=WeightBudget(1200, 0.2, clock.now, clock.sleep))
            instruments: list[Instrument] = [simple_instrument(coin, 2, 10) for coin in coins]
            scene = Scene(venue, clock, MarketData(client, instruments))

            def allows(asked: dict[str, Any]) -> bool:
                allowed = limits.allow("us", asked, is_action=False)
                scene.refused += not allowed
                return allowed

            def answered(asked: dict[str, Any], reply: Any) -> None:
                limits.charge("us", info_weight(asked, reply))
                scene.weight += 20 + info_weight(asked, reply)

            venue.allows, venue.answered = allows, answered
            await act(scene)
            await client.close()
            assert scene.refused == 0

    asyncio.run(run())


def bar(coin: str, open_ms: int) -> Candle:
    price = Decimal(100)
    return Candle(coin, open_ms, open_ms + HOUR_MS - 1, price, price, price, price, Decimal(1))


def test_a_row_is_whole_after_some_minutes_and_never_asks_too_much() -> None:
    async def act(scene: Scene) -> None:
        assert await scene.market.is_settled(NOW_MS)
        row = await scene.market.row(NOW_MS)
        for name in (
            "open",
            "high",
            "low",
            "close",
            "volume_usd",
            "funding_rate",
            "premium",
            "mark",
            "oracle",
        ):
            assert np.isfinite(row[name]).all(), name
        # The rate that showed the settlement is not asked for again.
        assert scene.asked == {
            "metaAndAssetCtxs": 2, "predictedFundings": 1, "fundingHistory": 200, "candleSnapshot": 200,
        }  # fmt: skip
        assert 60 * (scene.weight // 840) <= scene.clock.now_s <= 600

    play(act)


def test_bars_that_the_feed_brought_whole_are_not_asked_for() -> None:
    async def act(scene: Scene) -> None:
        heard = scene.market.heard
        for k, coin in enumerate(COINS):
            heard.candle(bar(coin, START_MS), 1)
            if k % 2:  # the others have had no trade in the new hour
                heard.candle(bar(coin, NOW_MS), 1)
        level = Level(Decimal(100), Decimal(1))
        heard.best(Book("C0", NOW_MS + 20_000, (level,), ()), 1)
        row = await scene.market.row(NOW_MS)
        assert scene.asked["candleSnapshot"] == 0
        assert (row["close"] == 100).all()
        assert scene.weight == 2 * 20 + 20 + 200 * 20

    play(act)


def test_a_history_takes_its_time_and_never_asks_too_much() -> None:
    async def act(scene: Scene) -> None:
        panel = await scene.market.history(NOW_MS, 72)
        assert np.isfinite(panel.close.values).all()
        assert np.isfinite(panel.funding_rate.values).all()
        assert scene.weight == 200 * (20 + 73 // 60 + 20 + 72 // 20)
        assert scene.clock.now_s >= 60 * (scene.weight // 840)

    play(act)


def test_what_was_read_before_a_failure_is_not_read_again() -> None:
    async def act(scene: Scene) -> None:
        scene.venue.faults["/info"].extend([""] * 102 + ["502 before"])
        with pytest.raises(Unavailable, match="502"):
            await scene.market.row(NOW_MS)
        before = scene.asked["fundingHistory"]
        row = await scene.market.row(NOW_MS)
        assert np.isfinite(row["funding_rate"]).all()
        assert 200 <= scene.asked["fundingHistory"] <= 200 + 8  # those under way with the one that failed
        assert before >= 101
        await scene.market.row(NOW_MS)
        assert scene.asked["fundingHistory"] >= 400  # another row is read anew

    play(act)


def test_what_was_read_of_one_hour_is_not_taken_for_another() -> None:
    async def act(scene: Scene) -> None:
        assert await scene.market.is_settled(NOW_MS)
        assert not await scene.market.is_settled(NOW_MS + HOUR_MS)
        scene.venue.settled_to_ms += HOUR_MS
        assert await scene.market.is_settled(NOW_MS + HOUR_MS)

    play(act, ["C0", "C1"])


def test_a_history_cut_short_goes_on_where_it_was() -> None:
    async def act(scene: Scene) -> None:
        whole = await scene.market.history(NOW_MS, 24)
        scene.venue.requests.clear()
        scene.venue.faults["/info"].extend([""] * 60 + ["502 before"])
        with pytest.raises(Unavailable, match="502"):
            await scene.market.history(NOW_MS, 24)
        again = await scene.market.history(NOW_MS, 24)
        assert 100 <= scene.asked["fundingHistory"] + scene.asked["candleSnapshot"] <= 100 + 2 * 25
        for name, values in whole.fields.items():
            assert np.array_equal(again.fields[name], values, equal_nan=True), name

    play(act, COINS[:50])


def test_marks_are_of_now_though_the_row_took_minutes() -> None:
    async def act(scene: Scene) -> None:
        answered = scene.venue.answered

        def moved(asked: dict[str, Any], reply: Any) -> None:
            answered(asked, reply)
            if asked["type"] == "candleSnapshot":
                scene.venue.marks["C1"] = Decimal(101)

        scene.venue.answered = moved
        row = await scene.market.row(NOW_MS)
        assert row["mark"].tolist() == [100, 100]
        assert scene.market.mark_array().tolist() == [100, 101]
        assert (scene.market.marks["C1"], scene.market.oracles["C0"]) == (Decimal(101), Decimal(100))

    play(act, ["C0", "C1"])


def test_one_coins_nonsense_does_not_hide_that_the_hour_is_settled() -> None:
    async def act(scene: Scene) -> None:
        row = {"coin": "C0", "fundingRate": "0.1", "premium": "NaN", "time": NOW_MS + 48}
        answer = scene.venue.info
        scene.venue.info = lambda body: [row] if body.get("coin") == "C0" else answer(body)  # type: ignore[method-assign]
        assert await scene.market.is_settled(NOW_MS)
        found = await scene.market.row(NOW_MS)
        for name in ("funding_rate", "mark", "close"):
            assert np.isnan(found[name]).tolist() == [True, False], name

    play(act, ["C0", "C1"])
