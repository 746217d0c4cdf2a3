"""The WebSocket is kept alive, subscribed and mended, and what it brings twice, late or spoilt does no harm."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from bot.errors import DataError, Unavailable
from bot.venues.hyperliquid.feed import Feed, Patience
from tests.venues.hyperliquid.fake import START_MS, FakeVenue, serving

ME = "0x" + "a" * 40
QUICK = Patience(ping_s=0.05, silence_s=0.3, first_retry_s=0.02, longest_retry_s=0.1, stale_s=0.2)
CANDLE = {"type": "candle", "coin": "BTC", "interval": "1h"}
FILLS = {"type": "userFills", "user": ME}
BEST = {"type": "bbo", "coin": "BTC"}
ASKED = [CANDLE, FILLS, BEST]
BBO = {"coin": "BTC", "time": START_MS, "bbo": [{"px": "1.0", "sz": "1.0", "n": 1}, None]}

CANDLE_BAR = {
    "t": START_MS, "T": START_MS + 3_599_999, "s": "BTC", "i": "1h", "o": "2", "h": "3", "l": "1", "c": "2", "v": "5", "n": 1,
}  # fmt: skip


class Listener:
    def __init__(self) -> None:
        self.failures: list[Exception] = []  # raised instead of hearing or mending
        self.heard: asyncio.Queue[tuple[str, Any, int]] = asyncio.Queue()
        self.mended = 0
        self.mending: asyncio.Queue[int] = asyncio.Queue()

    def hears(self, channel: str, data: Any, connection: int) -> None:
        if self.failures:
            raise self.failures.pop()
        self.heard.put_nowait((channel, data, connection))

    async def mends(self) -> None:
        if self.failures:
            raise self.failures.pop()
        self.mended += 1
        self.mending.put_nowait(self.mended)

    async def next(self) -> tuple[str, Any, int]:
        return await asyncio.wait_for(self.heard.get(), 5)


def play(
    scene: Callable[[Feed, FakeVenue, Listener], Awaitable[None]], *, restless: tuple[str, ...] = ()
) -> None:
    async def run() -> None:
        venue, listener = FakeVenue(ME), Listener()
        async with serving(venue):
            feed = Feed(venue.url, ASKED, listener.hears, listener.mends, restless=restless, patience=QUICK)
            feed.start()
            try:
                await asyncio.wait_for(feed.live.wait(), 5)
                await scene(feed, venue, listener)
            finally:
                await feed.close()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - nobody tells when it comes true
            await asyncio.sleep(0.01)


async def reconnected(feed: Feed, listener: Listener, connections: int) -> None:
    """Until there have been more than so many, each of them mended."""
    while await asyncio.wait_for(listener.mending.get(), 5) <= connections:
        pass
    await asyncio.wait_for(feed.live.wait(), 5)


def test_a_cut_connection_is_made_again_with_the_same_subscriptions_and_the_gap_mended() -> None:
    async def scene(feed: Feed, venue: FakeVenue, listener: Listener) -> None:
        for cut in range(1, 4):
            await venue.cut_sockets()
            await reconnected(feed, listener, cut)
            assert venue.subscribed[-1] == ASKED
            assert listener.mended == cut + 1
        await venue.tell("bbo", BBO)
        assert (await listener.next())[2] == 4

    play(scene)


def test_a_silent_connection_is_given_up() -> None:
    async def scene(feed: Feed, venue: FakeVenue, listener: Listener) -> None:
        venue.deaf = True  # no more pongs
        await reconnected(feed, listener, 1)

    play(scene)


def test_a_stream_that_should_never_rest_and_does_ends_a_connection_that_lives() -> None:
    async def scene(feed: Feed, venue: FakeVenue, listener: Listener) -> None:
        for _ in range(20):
            await venue.tell("bbo", BBO)
            await asyncio.sleep(0.02)
        assert feed.connection == 1
        await reconnected(feed, listener, 1)  # pongs go on, bbo does not

    play(scene, restless=("bbo",))


@pytest.mark.parametrize(
    "spoilt",
    [
        "no json",
        '{"channel":"bbo"}',
        '{"channel":"bbo","data":{"coin":"BTC","time":1780000000000,"bbo":[{"px":"NaN","sz":"1.0"},null]}}',
        '{"channel":"bbo","channel":"bbo","data":{}}',
        '{"channel":"userFills","data":{"fills":[{"coin":"BTC"}]}}',
        "[1,2]",
        '{"channel":"something new","data":{}}',
    ],
)
def test_a_spoilt_frame_is_left_out_and_the_next_is_heard(spoilt: str) -> None:
    async def scene(feed: Feed, venue: FakeVenue, listener: Listener) -> None:
        await venue.sockets[-1].send_str(spoilt)
        await venue.tell("bbo", BBO)
        channel, book, _ = await listener.next()
        assert (channel, book.bids[0].price, book.asks) == ("bbo", Decimal(1), ())
        assert (feed.refused_frames, feed.connection) == (1, 1)

    play(scene)


STRANGERS: list[tuple[str, Any]] = [
    ("bbo", BBO | {"coin": "ETH"}),
    ("candle", CANDLE_BAR | {"s": "ETH"}),
    ("candle", CANDLE_BAR | {"i": "1m", "T": START_MS + 59_999}),
    ("userFills", {"user": "0x" + "b" * 40, "fills": []}),
    ("userFundings", {"user": ME, "fundings": []}),
    ("trades", []),
]


@pytest.mark.parametrize(("channel", "data"), STRANGERS)
def test_a_frame_that_was_not_asked_for_is_left_out(channel: str, data: Any) -> None:
    async def scene(feed: Feed, venue: FakeVenue, listener: Listener) -> None:
        await venue.tell(channel, data)
        await venue.tell("userFills", {"user": ME.upper().replace("0X", "0x"), "fills": []})
        assert await listener.next() == ("userFills", (), 1)
        assert feed.refused_frames == 1

    play(scene)


def test_the_gap_is_mended_when_every_subscription_is_confirmed_and_not_when_as_many_answers_came() -> None:
    async def run() -> None:
        venue, listener = FakeVenue(ME), Listener()
        venue.confirms = lambda asked: [CANDLE] * 3 if asked == CANDLE else []
        async with serving(venue):
            feed = Feed(venue.url, ASKED, listener.hears, listener.mends, patience=QUICK)
            feed.start()
            await until(lambda: bool(venue.subscribed) and venue.subscribed[-1] == ASKED)
            await venue.tell("bbo", BBO)
            await listener.next()
            assert listener.mended == 0
            for each in (FILLS | {"aggregateByTime": False}, BEST):
                await venue.tell("subscriptionResponse", {"method": "subscribe", "subscription": each})
            await asyncio.wait_for(feed.live.wait(), 5)
            assert (listener.mended, feed.connection) == (1, 1)
            await feed.close()

    asyncio.run(run())


def test_a_server_that_confirms_nothing_is_left_though_it_answers_pings() -> None:
    async def run() -> None:
        venue, listener = FakeVenue(ME), Listener()
        venue.confirms = lambda asked: [] if venue.connections == 1 else [asked]
        async with serving(venue):
            feed = Feed(venue.url, ASKED, listener.hears, listener.mends, patience=QUICK)
            feed.start()
            await asyncio.wait_for(feed.live.wait(), 5)
            assert feed.connection == 2
            await feed.close()

    asyncio.run(run())


def test_a_server_that_accepts_and_never_answers_is_left() -> None:
    async def run() -> None:
        accepted = 0

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal accepted
            accepted += 1
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        listener = Listener()
        patience = Patience(connect_s=0.05, first_retry_s=0.01, longest_retry_s=0.02)
        feed = Feed(f"http://127.0.0.1:{port}", ASKED, listener.hears, listener.mends, patience=patience)
        feed.start()
        await until(lambda: accepted >= 3)
        assert (feed.connection, feed.live.is_set()) == (0, False)
        await feed.close()
        server.close()

    asyncio.run(run())


def test_a_mend_that_fails_is_tried_again_on_the_same_connection() -> None:
    async def run() -> None:
        venue, listener = FakeVenue(ME), Listener()
        listener.failures = [DataError("spoilt"), Unavailable("429")]
        async with serving(venue):
            feed = Feed(venue.url, ASKED, listener.hears, listener.mends, patience=QUICK)
            feed.start()
            await asyncio.wait_for(feed.live.wait(), 5)
            assert (feed.connection, listener.mended) == (1, 1)
            await feed.close()

    asyncio.run(run())


def test_a_listener_that_fails_costs_a_connection_and_not_the_feed() -> None:
    async def scene(feed: Feed, venue: FakeVenue, listener: Listener) -> None:
        listener.failures = [ValueError("a mistake of ours")]
        await venue.tell("bbo", BBO)
        await reconnected(feed, listener, 1)
        await venue.tell("bbo", BBO)
        assert (await listener.next())[2] == 2

    play(scene)


def test_a_subscription_that_is_refused_does_not_cost_the_others() -> None:
    async def run() -> None:
        venue, listener = FakeVenue(ME), Listener()
        venue.confirms = lambda asked: [asked] if asked != BEST else []
        async with serving(venue):
            feed = Feed(venue.url, ASKED, listener.hears, listener.mends, patience=QUICK)
            feed.start()
            await until(lambda: bool(venue.subscribed) and venue.subscribed[-1] == ASKED)
            await venue.tell("error", f"Invalid subscription {json.dumps(BEST)}")
            await asyncio.wait_for(feed.live.wait(), 5)
            assert feed.connection == 1
            await feed.close()

    asyncio.run(run())


def test_connections_are_not_made_faster_than_the_venue_takes_subscriptions() -> None:
    many = [{"type": "bbo", "coin": f"C{k}"} for k in range(900)]
    listener = Listener()
    feed = Feed("http://127.0.0.1:1", many, listener.hears, listener.mends)
    assert feed._room_s() == 0
    feed._connected_s.append(time.monotonic())
    assert feed._room_s() == 0
    feed._connected_s.append(time.monotonic())  # 2 × 900 messages within this minute
    assert 59 < feed._room_s() <= 60


def test_a_venue_that_is_not_there_yet_is_waited_for() -> None:
    async def run() -> None:
        venue, listener = FakeVenue(ME), Listener()
        async with serving(venue):
            port = int(venue.url.rsplit(":", 1)[1])
        feed = Feed(venue.url, ASKED, listener.hears, listener.mends, patience=QUICK)
        feed.start()
        await asyncio.sleep(0.1)
        assert feed.connection == 0
        again = FakeVenue(ME)
        async with serving(again, port):
            await asyncio.wait_for(feed.live.wait(), 5)
            await feed.close()

    asyncio.run(run())
