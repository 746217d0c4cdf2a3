"""The devnet's Binance beside a market that is mirrored or replayed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.clock import parse_utc
from bot.devnet.server import Server
from bot.devnet.start import Options, build, running
from tests.devnet.cex.clients import BTC, HOUR_MS, client_of, control

START_MS = parse_utc("2026-03-01T12:34:56Z")


@pytest.fixture
def source() -> Iterator[Server]:
    """The venue that is mirrored; its time stands unless a test moves it."""
    options = Options(coins=("BTC", "ETH"), history_h=60, paused=True, start_ms=START_MS, flow=False)
    with running(options) as server:
        yield server


def test_beside_a_mirror_it_follows_what_is_heard_and_pays_funding(source: Server) -> None:
    options = Options(
        market="mirror",
        mirror_url=source.url,
        coins=("BTC",),
        history_h=48,
        mirror_round_s=0.05,
        cex_port=0,
    )
    with running(options) as server:
        url = server.sites["cex"].shown()["url"]
        client = client_of(url, control(url, "faucet", usdt=10_000))
        assert client.create_order(BTC, "market", "buy", 0.01)["status"] == "closed"
        assert len(client.fetch_funding_rate_history(BTC, limit=3)) == 3
        assert client.fetch_ohlcv(BTC, "1h", limit=10)[-1][0] == START_MS // HOUR_MS * HOUR_MS
        for _ in range(2):
            requests.post(f"{source.url}/devnet/clock", json={"advance_s": 2 * 3600}, timeout=10)
            until_heard(client, source)
        asked: Any = client.fetch_order_book(BTC, 5)
        middle = (asked["bids"][0][0] + asked["asks"][0][0]) / 2
        there = float(source.world.moment.mid[source.world.column["BTC"]])
        assert middle == pytest.approx(there, rel=0.003)
        # it was 12:34, and at 16:00 there was a settlement
        paid = client.fetch_funding_history(BTC)
        assert [each["timestamp"] for each in paid] == [START_MS // (8 * HOUR_MS) * 8 * HOUR_MS + 8 * HOUR_MS]


def until_heard(client: Any, source: Server) -> None:
    deadline = time.monotonic() + 20
    while client.fetch_time() < source.world.now_ms:
        assert time.monotonic() < deadline, "the mirror has not heard its source"
        time.sleep(0.05)


@pytest.mark.real_data
def test_beside_a_replay_every_coin_is_listed_on_a_grid_that_fits_it(real_data: Path) -> None:
    server = build(Options(market="replay", data=real_data, history_h=48, paused=True, cex_port=0, funded=1))
    door: Any = server.world.neighbours["binance"]
    listed = door.face.listed
    assert len(listed) >= len(server.world.names) - 3
    server.world.advance(30 * HOUR_MS)
    for symbol, each in listed.items():
        book = door.face.exchange.books[symbol]
        assert each.instrument.is_on_grid(book.bid), symbol
        assert 0 < book.bid < book.ask, symbol
        assert each.instrument.lot * book.ask < 100, symbol  # a lot is not worth much
        step = each.instrument.tick / book.ask
        assert step < 0.001, symbol
