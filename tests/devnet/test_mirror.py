"""A devnet that mirrors another venue's market, here a devnet on this machine whose time and faults are at hand."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import eth_account
import pytest
import requests
from click.testing import CliRunner

from bot.cli.devnet import devnet
from bot.clock import parse_utc
from bot.devnet import mirror
from bot.devnet.server import Server
from bot.devnet.start import Options, build, running
from bot.errors import ConfigError
from bot.venues.hyperliquid.client import Client
from tests.devnet.asking import signed

START = parse_utc("2026-03-01T12:34:56Z")
WALLET = eth_account.Account.from_key("0x" + "7" * 64)
USER = WALLET.address.lower()
COINS = ("BTC", "ETH")


@pytest.fixture
def source() -> Iterator[Server]:
    """The venue that is mirrored; its time stands unless a test moves it."""
    options = Options(coins=("SOL", "ETH", "BTC"), history_h=60, paused=True, start_ms=START, flow=False)
    with running(options) as server:
        yield server


def options(source: Server, **more: Any) -> Options:
    return Options(
        market="mirror", mirror_url=source.url, coins=COINS, history_h=48, mirror_round_s=0.05, **more
    )


@contextmanager
def mirroring(source: Server, **more: Any) -> Iterator[Server]:
    with running(options(source, **more)) as server:
        yield server


def post(server: Server, path: str, body: Any) -> Any:
    reply = requests.post(server.url + path, json=body, timeout=10)
    assert reply.status_code == 200, reply.text
    return reply.json()


def info(server: Server, kind: str, **more: Any) -> Any:
    return post(server, "/info", {"type": kind, **more})


def context(server: Server, coin: str) -> dict[str, Any]:
    meta, contexts = info(server, "metaAndAssetCtxs")
    place = [row["name"] for row in meta["universe"]].index(coin)
    return dict(contexts[place])


def status(server: Server) -> Any:
    return requests.get(server.url + "/devnet/status", timeout=10).json()["mirror"]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def advance(source: Server, seconds: float) -> None:
    post(source, "/devnet/clock", {"advance_s": seconds})


def buy(server: Server, size: str = "0.01") -> Any:
    price = f"{Decimal(context(server, 'BTC')['markPx']) * Decimal('1.02'):.0f}"
    order = {"a": 0, "b": True, "p": price, "s": size, "r": False, "t": {"limit": {"tif": "Ioc"}}}
    reply = post(server, "/exchange", signed(WALLET, {"type": "order", "orders": [order], "grouping": "na"}))
    return reply["response"]["data"]["statuses"][0]["filled"]


def test_prices_books_tiers_and_the_past_are_the_sources(source: Server) -> None:
    with mirroring(source) as server:
        for minutes in (0, 7, 100):
            advance(source, 60 * minutes)
            now_ms = info(source, "exchangeStatus")["time"]
            until(lambda now_ms=now_ms: status(server)["heard"] >= now_ms)  # type: ignore[misc]
            for coin in COINS:
                theirs, ours = context(source, coin), context(server, coin)
                for field in (
                    "markPx",
                    "oraclePx",
                    "midPx",
                    "impactPxs",
                    "funding",
                    "openInterest",
                    "premium",
                ):
                    assert ours[field] == theirs[field], (coin, field)
                book = info(server, "l2Book", coin=coin)
                assert [[(each["px"], each["sz"]) for each in side] for side in book["levels"]] == [
                    [(each["px"], each["sz"]) for each in side]
                    for side in info(source, "l2Book", coin=coin)["levels"]
                ]
                assert book["time"] == now_ms
        universe = {row["name"]: row for row in info(source, "meta")["universe"]}
        assert info(server, "meta")["universe"] == [universe[coin] for coin in COINS]
        begin = START - 40 * 3_600_000
        asked = {"coin": "BTC", "interval": "1h", "startTime": begin, "endTime": START - 3_600_000}
        prices = [
            [[bar[field] for field in "tTohlc"] for bar in info(each, "candleSnapshot", req=asked)]
            for each in (server, source)
        ]
        assert len(prices[0]) == 40
        assert prices[0] == prices[1]
        rates = [
            info(each, "fundingHistory", coin="ETH", startTime=begin, endTime=START)
            for each in (server, source)
        ]
        assert len(rates[0]) == 40
        assert rates[0] == rates[1]
        assert post(server, "/info", {"type": "exchangeStatus"})["time"] >= START


def test_an_hour_that_was_watched_is_corrected_to_the_venues_own_candle(source: Server) -> None:
    with mirroring(source) as server:
        asked = {"coin": "BTC", "interval": "1h", "startTime": START, "endTime": START}

        def bar(each: Server) -> list[str]:
            (row,) = info(each, "candleSnapshot", req=asked)
            return [row[field] for field in "tohlc"]

        advance(source, 3600)
        until(lambda: bar(server) == bar(source))


def test_orders_trade_against_the_sources_book_and_pay_the_rate_it_showed(source: Server) -> None:
    with mirroring(source) as server:
        post(server, "/devnet/faucet", {"user": USER, "usdc": 50_000})
        ask = info(source, "l2Book", coin="BTC")["levels"][1][0]
        assert Decimal(buy(server)["avgPx"]) == Decimal(ask["px"])
        shown = context(server, "BTC")
        advance(source, 3600 - START % 3_600_000 / 1000 + 5)
        until(lambda: len(info(server, "userFunding", user=USER, startTime=0)) == 1)
        (paid,) = info(server, "userFunding", user=USER, startTime=0)
        assert paid["delta"]["fundingRate"] == shown["funding"]
        assert paid["time"] == (START // 3_600_000 + 1) * 3_600_000
        expected = -Decimal("0.01") * Decimal(shown["oraclePx"]) * Decimal(shown["funding"])
        assert abs(Decimal(paid["delta"]["usdc"]) - expected) <= Decimal("0.000001")


def test_what_is_taken_from_a_book_is_gone_until_the_source_is_heard_again(source: Server) -> None:
    quiet = replace(options(source), mirror_round_s=1000)
    with running(quiet) as server:
        post(server, "/devnet/faucet", {"user": USER, "usdc": 500_000})
        first, second = info(server, "l2Book", coin="BTC")["levels"][1][:2]
        assert buy(server, first["sz"])["totalSz"] == first["sz"]
        time.sleep(0.5)
        assert info(server, "l2Book", coin="BTC")["levels"][1][0] == second


@pytest.mark.parametrize("fault", ["refused_502", "rate_limited", "lost_reply"])
def test_while_the_source_is_down_prices_stand_and_it_shows(
    source: Server, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "STALE_S", 0.5)
    with mirroring(source) as server:
        before, heard = context(server, "BTC"), status(server)["heard"]
        post(source, "/devnet/chaos", {fault: 1.0})
        advance(source, 600)
        until(lambda: status(server)["stale"])
        assert status(server)["error"]
        assert context(server, "BTC")["markPx"] == before["markPx"]
        assert info(server, "l2Book", coin="BTC")["time"] == heard
        assert info(server, "exchangeStatus")["time"] > heard
        post(source, "/devnet/chaos", {})
        if fault == "rate_limited":  # asking slows down after a 429, for longer than a test waits
            return
        until(lambda: not status(server)["stale"] and not status(server)["error"])
        assert info(server, "l2Book", coin="BTC")["time"] >= START + 600_000
        assert context(server, "BTC")["markPx"] == context(source, "BTC")["markPx"]


def test_what_no_venue_can_say_is_refused(source: Server) -> None:
    with mirroring(source) as server:
        before = context(server, "BTC")
        right = source.world.exchange.marks["BTC"]
        source.world.exchange.marks["BTC"] = Decimal(-1)
        until(lambda: "markPx should be a price above 0" in status(server)["error"])
        assert context(server, "BTC") == before
        source.world.exchange.marks["BTC"] = right
        until(lambda: not status(server)["error"])


def test_accounts_go_on_and_pay_for_the_hours_that_were_missed(source: Server, tmp_path: Path) -> None:
    state = tmp_path / "mirror.state"
    with mirroring(source, state=state) as server:
        post(server, "/devnet/faucet", {"user": USER, "usdc": 50_000})
        buy(server)
        (position,) = info(server, "clearinghouseState", user=USER)["assetPositions"]
    advance(source, 5 * 3600)
    with mirroring(source, state=state) as server:
        assert server.resumed
        assert server.world.now_ms >= START + 5 * 3_600_000
        (still,) = info(server, "clearinghouseState", user=USER)["assetPositions"]
        assert (still["position"]["szi"], still["position"]["entryPx"]) == (
            position["position"]["szi"],
            position["position"]["entryPx"],
        )
        paid = info(server, "userFunding", user=USER, startTime=0)
        settled = info(source, "fundingHistory", coin="BTC", startTime=START)
        assert len(paid) == 5
        assert [(row["time"], row["delta"]["fundingRate"]) for row in paid] == [
            (row["time"], row["fundingRate"]) for row in settled
        ]
        assert context(server, "BTC")["markPx"] == context(source, "BTC")["markPx"]


def test_after_a_crash_accounts_are_as_they_were(source: Server, tmp_path: Path) -> None:
    kept = options(source, state=tmp_path / "mirror.state")
    server = build(kept)
    market = server.world.market
    assert isinstance(market, mirror.MirrorMarket)

    def hear() -> None:
        async def ask() -> Any:
            client = Client(source.url)
            told = await mirror.observe(client, market)
            await client.close()
            return told

        mirror.hear(server.world, market, asyncio.run(ask()))

    from bot.devnet import controls

    assert server.keeper is not None
    faucet = {"user": USER, "usdc": 50_000}
    controls.CHANGES["faucet"](server, faucet)
    server.keeper.control("faucet", faucet)
    price = f"{server.world.exchange.marks['BTC'] * Decimal('1.02'):.0f}"
    order = {"a": 0, "b": True, "p": price, "s": "0.01", "r": False, "t": {"limit": {"tif": "Ioc"}}}
    for _ in range(3):
        server.exchange(signed(WALLET, {"type": "order", "orders": [order], "grouping": "na"}))
        advance(source, 4000)
        hear()
    server.keep()
    kinds = ("clearinghouseState", "userFills", "userFunding", "historicalOrders")

    def seen(each: Server) -> list[Any]:
        each.world.paused = True
        replies = [each.info({"type": kind, "user": USER, "startTime": 0}) for kind in kinds]
        for name in ("time",):
            replies[0].pop(name)
        return replies

    before = seen(server)
    assert len(before[1]) == 3
    assert len(before[2]) == 3
    server.keeper._file.close()
    again = build(kept)
    assert seen(again) == before
    again.keeper._file.close()  # type: ignore[union-attr]


def test_time_cant_be_set(source: Server) -> None:
    for wrong in ({"speed": 2.0}, {"paused": True}, {"start_ms": START}):
        with pytest.raises(ConfigError, match="real time"):
            build(options(source, **wrong))
    with mirroring(source) as server:
        reply = requests.post(server.url + "/devnet/clock", json={"advance_s": 5}, timeout=5)
        assert reply.status_code == 400


def test_a_venue_that_is_not_there_or_lists_no_such_coin_is_named(source: Server) -> None:
    with pytest.raises(ConfigError, match="lists no NOBODY"):
        build(replace(options(source), coins=("NOBODY",)))
    with pytest.raises(ConfigError, match="can't be mirrored"):
        build(replace(options(source), mirror_url="http://127.0.0.1:9"))


def test_no_default_reaches_mainnet() -> None:
    assert mirror.TESTNET_URL == "https://api.hyperliquid-testnet.xyz"
    assert "testnet" in CliRunner().invoke(devnet, ["--help"]).output
