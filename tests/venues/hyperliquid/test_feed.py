"""The WebSocket is kept alive, subscribed and mended, and what it brings twice, late or spoilt does no harm."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from bot.venues.hyperliquid.feed import Feed, Patience
from tests.venues.hyperliquid.fake import START_MS, FakeVenue, serving

ME = "0x" + "a" * 40
QUICK = Patience(ping_s=0.05, silence_s=0.3, first_retry_s=0.02, longest_retry_s=0.1, stale_s=0.2)
CANDLE = {"type": "candle", "coin": "BTC", "interval": "1h"}
FILLS = {"type": "userFills", "user": ME}
BBO = {"coin": "BTC", "time": START_MS, "bbo": [{"px": "1.0", "sz": "1.0", "n": 1}, None]}


class Listener:
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, Any, int]] = asyncio.Queue()
        self.mended = 0
        self.mending: asyncio.Queue[int] = asyncio.Queue()

    def hears(self, channel: str, data: Any, connection: int) -> None:
        self.heard.put_nowait((channel, data, connection))

    async def mends(self) -> None:
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
            feed = Feed(
                venue.url, [CANDLE, FILLS], listener.hears, listener.mends, restless=restless, patience=QUICK
            )
            feed.start()
            try:
                await asyncio.wait_for(feed.live.wait(), 5)
                await scene(feed, venue, listener)
            finally:
                await feed.close()

    asyncio.run(run())


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
            assert venue.subscribed[-1] == [CANDLE, FILLS]
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


def test_a_venue_that_is_not_there_yet_is_waited_for() -> None:
    async def run() -> None:
        venue, listener = FakeVenue(ME), Listener()
        async with serving(venue):
            port = int(venue.url.rsplit(":", 1)[1])
        feed = Feed(venue.url, [CANDLE], listener.hears, listener.mends, patience=QUICK)
        feed.start()
        await asyncio.sleep(0.1)
        assert feed.connection == 0
        again = FakeVenue(ME)
        async with serving(again, port):
            await asyncio.wait_for(feed.live.wait(), 5)
            await feed.close()

    asyncio.run(run())
