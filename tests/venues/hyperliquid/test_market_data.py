"""Bars from the feed are used only when they are surely finished; else REST is asked."""

import asyncio
from dataclasses import replace
from decimal import Decimal

from bot.model.instrument import simple_instrument
from bot.model.panel import HOUR_MS
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.heard import Heard
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.parse_market import Book, Candle, Level
from tests.venues.hyperliquid.fake import START_MS, FakeVenue, serving

NOW_MS = START_MS + HOUR_MS


def bar(open_ms: int, close: int) -> Candle:
    price = Decimal(close)
    return Candle("BTC", open_ms, open_ms + HOUR_MS - 1, price, price, price, price, Decimal(1))


def closes(heard: list[tuple[Candle, int]]) -> tuple[float, int]:
    """The close in the row, and how many candle requests it took."""

    async def run() -> tuple[float, int]:
        venue = FakeVenue("0x" + "a" * 40)
        venue.now_ms, venue.settled_to_ms = NOW_MS + 100, NOW_MS
        async with serving(venue):
            client = Client(venue.url, budget=WeightBudget(None))
            market = MarketData(client, [simple_instrument("BTC", 5, 40)])
            for candle, connection in heard:
                market.heard.candle(candle, connection)
            row = await market.row(NOW_MS)
            await client.close()
            asked = [r for r in venue.requests if r["type"] == "candleSnapshot"]
            return float(row["close"][0]), len(asked)

    return asyncio.run(run())


def test_a_bar_that_a_later_one_followed_on_the_same_connection_is_finished() -> None:
    heard = [(bar(START_MS, 111), 1), (bar(START_MS, 112), 1), (bar(NOW_MS, 113), 1)]
    assert closes(heard) == (112.0, 0)


def test_a_bar_may_have_lost_its_end_where_the_connection_changed_or_none_followed() -> None:
    assert closes([(bar(START_MS, 112), 1), (bar(NOW_MS, 113), 2)]) == (50_000.0, 1)
    assert closes([(bar(START_MS, 112), 1)]) == (50_000.0, 1)


def test_bars_that_come_in_the_wrong_order_do_not_undo_newer_ones() -> None:
    heard = [
        (bar(START_MS, 112), 1),
        (bar(NOW_MS, 113), 1),
        (bar(START_MS, 99), 1),
        (bar(START_MS - HOUR_MS, 98), 1),
    ]
    assert closes(heard) == (112.0, 0)


def test_a_bar_is_finished_once_its_connection_has_told_of_a_moment_well_after_its_end() -> None:
    heard, level = Heard(), Level(Decimal(99), Decimal(1))
    heard.candle(bar(START_MS, 112), 1)
    for time_ms, connection, finished in (
        (NOW_MS + 9_000, 1, False),
        (NOW_MS + 11_000, 1, True),
        (NOW_MS + 12_000, 2, False),  # what the first had still to bring is lost
        (NOW_MS + 13_000, 1, False),
    ):
        heard.best(Book("ETH", time_ms, (level,), ()), connection)
        assert (heard.finished("BTC", START_MS) is not None) is finished, (time_ms, connection)
    assert heard.finished("BTC", NOW_MS) is None


def test_a_bar_does_not_shrink_and_is_of_an_hour() -> None:
    heard = Heard()
    heard.candle(replace(bar(START_MS, 112), volume=Decimal(5)), 1)
    heard.candle(replace(bar(START_MS, 99), volume=Decimal(4)), 1)  # an earlier state of it that comes late
    heard.candle(replace(bar(NOW_MS, 98), close_ms=NOW_MS + 59_999), 1)  # a minute's
    assert heard.finished("BTC", START_MS) is None
    heard.candle(bar(NOW_MS, 113), 1)
    finished = heard.finished("BTC", START_MS)
    assert finished is not None
    assert finished.close == 112


def test_the_spread_is_of_the_newest_book_whatever_order_they_come_in() -> None:
    async def run() -> float:
        venue = FakeVenue("0x" + "a" * 40)
        venue.now_ms, venue.settled_to_ms = NOW_MS + 100, NOW_MS
        async with serving(venue):
            client = Client(venue.url, budget=WeightBudget(None))
            market = MarketData(client, [simple_instrument("BTC", 5, 40)])
            for time_ms, ask in ((NOW_MS - 10, 100), (NOW_MS - 20, 200)):
                level = Level(Decimal(ask), Decimal(1))
                market.heard.best(Book("BTC", time_ms, (Level(Decimal(99), Decimal(1)),), (level,)), 1)
            row = await market.row(NOW_MS)
            await client.close()
            return float(row["spread_bps"][0])

    assert abs(asyncio.run(run()) - 1 / 99.5 * 10_000) < 1e-9
