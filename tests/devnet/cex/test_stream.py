"""The user stream, as the unmodified ccxt.pro client follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import ccxt.pro  # type: ignore[import-untyped]
import pytest
import requests

from tests.devnet.cex.clients import (
    BTC,
    HOUR_MS,
    HYPE,
    advance,
    client_of,
    control,
    events,
    in_thread,
    listen,
)

Opened = Callable[..., dict[str, str]]


def following(url: str, account: dict[str, str], work: Callable[[Any], Awaitable[None]]) -> None:
    """Let a client work, and close it."""

    async def run() -> None:
        client = client_of(url, account, ccxt.pro)
        try:
            await client.load_markets()
            await asyncio.wait_for(work(client), 20)
        finally:
            await client.close()

    asyncio.run(run())


async def first(watch: Callable[[], Awaitable[Any]], act: Callable[[], Awaitable[Any]]) -> Any:
    """What a watch says of what is done once it listens."""
    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0.3)
    await act()
    return await watching


def test_orders_are_told_from_their_placing_to_their_end(url: str, opened: Opened) -> None:
    async def work(client: Any) -> None:
        price = (await client.fetch_ticker(BTC))["last"]
        placed: dict[str, Any] = {}

        async def place() -> None:
            placed.update(await client.create_order(BTC, "limit", "buy", 0.01, price * 0.98))

        told = await first(lambda: client.watch_orders(BTC), place)
        assert [(each["id"], each["status"], each["amount"]) for each in told] == [
            (placed["id"], "open", 0.01)
        ]
        told = await first(lambda: client.watch_orders(BTC), lambda: client.cancel_order(placed["id"], BTC))
        assert [(each["id"], each["status"]) for each in told] == [(placed["id"], "canceled")]

    following(url, opened(), work)


def test_trades_positions_and_balances_are_told(url: str, opened: Opened) -> None:
    async def work(client: Any) -> None:
        async def buy() -> None:
            await client.create_order(BTC, "market", "buy", 0.01)

        trades = await first(lambda: client.watch_my_trades(BTC), buy)
        assert [(each["side"], each["amount"], each["takerOrMaker"]) for each in trades] == [
            ("buy", 0.01, "taker")
        ]
        asked = (await client.fetch_my_trades(BTC))[0]
        assert (trades[0]["id"], trades[0]["price"]) == (asked["id"], asked["price"])
        assert trades[0]["fee"] == asked["fee"]
        positions = await first(lambda: client.watch_positions([BTC]), buy)
        assert [(each["symbol"], each["side"], each["contracts"]) for each in positions] == [
            (BTC, "long", 0.02)
        ]
        balance = await first(client.watch_balance, buy)
        info = (await client.fetch_balance())["info"]
        assert balance["USDT"]["total"] == pytest.approx(float(info["totalWalletBalance"]), abs=1e-8)

    following(url, opened(), work)


def test_a_stop_is_told_as_it_waits_and_as_it_fires(url: str, opened: Opened) -> None:
    async def work(client: Any) -> None:
        price = (await client.fetch_ticker(HYPE))["last"]

        async def place() -> None:
            await client.create_order(HYPE, "market", "sell", 10, None, {"stopLossPrice": price * 0.999})

        told = await first(lambda: client.watch_orders(HYPE), place)
        assert [(each["status"], each["triggerPrice"]) for each in told] == [
            ("open", pytest.approx(price * 0.999, abs=0.001))
        ]
        seen: list[str] = []
        for _ in range(400):
            if "SELL" in seen:
                break
            await in_thread(advance, url, 0.25)
            if client.orders is not None:
                seen = [row["info"].get("S", "") for row in client.orders if row["status"] == "closed"]
        assert "SELL" in seen

    following(url, opened(), work)


def test_funding_and_gifts_are_told_with_their_reason(url: str, opened: Opened) -> None:
    account = opened()
    told = events(url, account, lambda: control(url, "faucet", api_key=account["api_key"], usdt=5), 1)
    assert told[0]["a"]["m"] == "DEPOSIT"
    assert (told[0]["a"]["B"][0]["wb"], told[0]["a"]["B"][0]["bc"]) == ("10005.00000000", "5.00000000")
    client = client_of(url, account)
    client.load_markets()
    client.create_order(BTC, "market", "buy", 0.01)

    def settle() -> None:
        advance(url, 8 - client.fetch_time() % (8 * HOUR_MS) / HOUR_MS + 0.001)

    told = events(url, account, settle, 1)
    paid = client.fetch_funding_history(BTC)[-1]
    assert told[0]["a"]["m"] == "FUNDING_FEE"
    assert float(told[0]["a"]["B"][0]["bc"]) == pytest.approx(paid["amount"], abs=1e-8)
    assert told[0]["T"] == paid["timestamp"]


def test_a_deleveraging_is_told_as_one(url: str, opened: Opened) -> None:
    account = opened()
    client_of(url, account).create_order(BTC, "market", "buy", 0.01)
    order, changed = events(
        url, account, lambda: control(url, "adl", api_key=account["api_key"], symbol="BTCUSDT"), 2
    )
    assert (order["o"]["c"], order["o"]["x"], order["o"]["X"]) == ("adl_autoclose", "CALCULATED", "NEW_ADL")
    assert changed["a"]["P"][0]["pa"] == "0.000"


def test_a_listen_key_is_one_per_account_and_ends_when_it_is_closed(url: str, opened: Opened) -> None:
    account = opened()
    key = listen(url, account)
    assert listen(url, account) == listen(url, account, "PUT") == key
    assert listen(url, opened()) != key

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{url}/private/ws?listenKey={key}") as socket:
                await in_thread(listen, url, account, "DELETE")
                message = await asyncio.wait_for(socket.receive(), 10)
                assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(f"{url}/ws/{key}")

    asyncio.run(run())
    headers = {"X-MBX-APIKEY": account["api_key"]}
    gone = requests.put(f"{url}/fapi/v1/listenKey", headers=headers, timeout=5)
    assert gone.json()["code"] == -1125
    assert requests.post(f"{url}/fapi/v1/listenKey", timeout=5).json()["code"] == -2014
