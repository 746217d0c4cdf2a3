"""How a guard closes: on a devnet, attempt by attempt."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import Unavailable
from bot.pipeline.closing import WIDEST
from tests.guard.post import CLOSE_S, ORDERS, Post, play
from tests.venues.hyperliquid.test_on_devnet import COINS, START_MS


@pytest.fixture
def devnet() -> Iterator[Server]:
    with running(Options(coins=COINS, history_h=48, flow=False, paused=True, start_ms=START_MS)) as server:
        yield server


def hear(post: Post, *, refuses: bool = False) -> list[Any]:
    """The orders that the guard sends from now on; the venue takes none where it `refuses`."""
    heard: list[Any] = []
    exchange = post.client.exchange

    async def listens(body: bytes) -> Any:
        action = json.loads(body)["action"]
        if action["type"] == "order":
            heard.extend(action["orders"])
            if refuses:
                raise Unavailable("not now")
        return await exchange(body)

    post.client.exchange = listens  # type: ignore[method-assign]
    return heard


def test_each_attempt_at_closing_goes_wider_and_then_it_begins_anew(devnet: Server, tmp_path: Path) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        heard = hear(post, refuses=True)
        await post.rounds(CLOSE_S)
        await post.rounds(100, WIDEST)
        mark, step = post.mark("BTC"), Decimal(50) / 10_000
        wanted = [mark * (1 - step * (1 + k % WIDEST)) for k in range(WIDEST + 1)]
        tick = mark / 10_000
        assert [abs(Decimal(sent["p"]) - at) < tick for sent, at in zip(heard, wanted, strict=True)] == [
            True
        ] * len(wanted)

    play(Post(devnet, tmp_path, replace(ORDERS, stop_loss=None)), scene)


def test_the_next_time_it_begins_with_the_narrowest_again(devnet: Server, tmp_path: Path) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        heard = hear(post, refuses=True)
        await post.rounds(CLOSE_S)
        await post.rounds(100)
        post.pulse.beat()
        await post.rounds(1)
        await post.rounds(CLOSE_S)
        first, second, again = (Decimal(sent["p"]) for sent in heard)
        assert second < first == again

    play(Post(devnet, tmp_path, replace(ORDERS, stop_loss=None)), scene)


def test_what_is_beyond_its_stop_when_all_is_closed_is_closed_once(devnet: Server, tmp_path: Path) -> None:
    async def scene(post: Post) -> None:
        await post.bought()  # half the spread above mark, which is further than the stop
        heard = hear(post)
        with capture_logs() as said:
            await post.rounds(CLOSE_S)
        assert ["limit" in sent["t"] for sent in heard] == [True]
        assert "guard could not act" not in [each["event"] for each in said]
        assert post.held() == {}

    play(Post(devnet, tmp_path, replace(ORDERS, stop_loss=1e-6)), scene)


def test_a_coin_without_a_price_is_told_of_and_closed_when_it_has_one(devnet: Server, tmp_path: Path) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        await post.bought("ETH", 1_000)
        market = post.guard._market
        refresh = market.refresh

        async def without(**how: Any) -> None:
            await refresh(**how)
            market.marks = {k: v for k, v in market.marks.items() if k != "ETH"}

        market.refresh = without  # type: ignore[method-assign]
        with capture_logs() as said:
            await post.rounds(CLOSE_S)
        assert list(post.held()) == ["ETH"]
        told = [each["reason"] for each in said if each["event"] == "guard could not act"]
        assert len(told) == 1
        assert "no price is known for ETH" in told[0]
        market.refresh = refresh  # type: ignore[method-assign]
        await post.rounds(100)
        assert post.held() == {}

    play(Post(devnet, tmp_path, replace(ORDERS, stop_loss=None)), scene)
