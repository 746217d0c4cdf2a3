"""ccxt and ccxt.pro, unmodified, trade on the devnet."""

import asyncio
from collections.abc import Callable
from typing import Any

import ccxt  # type: ignore[import-untyped]
import ccxt.pro  # type: ignore[import-untyped]
import pytest
from eth_account.signers.local import LocalAccount

from bot.devnet.server import Server

SYMBOL = "BTC/USDC:USDC"


def options(wallet: LocalAccount) -> dict[str, Any]:
    return {
        "walletAddress": wallet.address,
        "privateKey": "0x" + wallet.key.hex().removeprefix("0x"),
        "enableRateLimit": False,
        "options": {"sandboxMode": True, "fetchMarkets": {"types": ["swap"]}},
    }


@pytest.fixture
def exchange(devnet: Server, funded: Callable[..., LocalAccount]) -> Any:
    made = ccxt.hyperliquid(options(funded(100_000)))
    made.urls["api"]["public"] = made.urls["api"]["private"] = devnet.url
    return made


def test_orders_are_placed_edited_and_cancelled(exchange: Any) -> None:
    price = round(exchange.fetch_ticker(SYMBOL)["last"] * 0.9)
    order = exchange.create_order(SYMBOL, "limit", "buy", 0.01, price)
    (shown,) = exchange.fetch_open_orders(SYMBOL)
    assert (shown["id"], shown["price"], shown["amount"]) == (order["id"], price, 0.01)
    edited = exchange.edit_order(order["id"], SYMBOL, "limit", "buy", 0.02, price - 10)
    assert exchange.fetch_order(order["id"], SYMBOL)["status"] == "canceled"
    exchange.cancel_order(edited["id"], SYMBOL)
    assert exchange.fetch_open_orders(SYMBOL) == []


def test_a_position_is_opened_isolated_margined_and_closed(exchange: Any) -> None:
    exchange.set_margin_mode("isolated", SYMBOL, {"leverage": 5})
    price = exchange.fetch_ticker(SYMBOL)["last"]
    exchange.create_order(SYMBOL, "market", "buy", 0.01, price)
    (position,) = exchange.fetch_positions([SYMBOL])
    assert (position["side"], position["contracts"], position["marginMode"]) == ("long", 0.01, "isolated")
    exchange.add_margin(SYMBOL, 10)
    exchange.create_order(SYMBOL, "market", "sell", 0.01, price, {"reduceOnly": True})
    assert exchange.fetch_positions([SYMBOL]) == []
    assert sorted(trade["side"] for trade in exchange.fetch_my_trades(SYMBOL)) == ["buy", "sell"]


def test_history_of_the_market_and_of_the_account_is_read(exchange: Any) -> None:
    assert len(exchange.fetch_ohlcv(SYMBOL, "1h")) > 24
    assert exchange.fetch_funding_rate_history(SYMBOL)[0]["fundingRate"] is not None
    assert exchange.fetch_funding_rate(SYMBOL)["markPrice"] > 0
    assert exchange.fetch_funding_history(SYMBOL) == []
    assert exchange.fetch_deposits()[0]["amount"] == 100_000
    assert exchange.fetch_balance()["USDC"]["total"] == 100_000
    assert exchange.fetch_trading_fee(SYMBOL)["taker"] == 0.00045


def test_spot_is_bought_and_offered(devnet: Server, funded: Callable[..., LocalAccount]) -> None:
    settings = options(funded(100_000))
    settings["options"]["fetchMarkets"]["types"] = ["spot", "swap"]
    exchange: Any = ccxt.hyperliquid(settings)
    exchange.urls["api"]["public"] = exchange.urls["api"]["private"] = devnet.url
    exchange.transfer("USDC", 20_000, "swap", "spot")
    pair = "BTC/USDC"
    price = exchange.fetch_ticker(pair)["last"]
    assert abs(price / exchange.fetch_ticker(SYMBOL)["last"] - 1) < 0.005
    assert exchange.fetch_order_book(pair)["bids"][0][0] < price
    assert len(exchange.fetch_ohlcv(pair, "1h")) > 24
    exchange.create_order(pair, "market", "buy", 0.02, price)
    offer = exchange.create_order(pair, "limit", "sell", 0.01, round(price * 1.05))
    assert [order["amount"] for order in exchange.fetch_open_orders(pair)] == [0.01]
    (trade,) = exchange.fetch_my_trades(pair)
    assert trade["amount"] == 0.02
    assert trade["fee"]["cost"] == pytest.approx(0.02 * 0.0007, rel=1e-4)
    balance = exchange.fetch_balance({"type": "spot"})["total"]
    assert balance["BTC"] == pytest.approx(0.02 * (1 - 0.0007), rel=1e-6)
    exchange.cancel_order(offer["id"], pair)
    assert exchange.fetch_open_orders(pair) == []
    with pytest.raises(ccxt.InsufficientFunds):
        exchange.create_order(pair, "limit", "sell", 1, round(price * 1.05))


def test_a_refusal_is_the_exchanges_word(exchange: Any) -> None:
    with pytest.raises(ccxt.InvalidOrder, match=r"minimum value of \$10"):
        exchange.create_order(SYMBOL, "limit", "buy", 0.0001, 60_000)


def test_streams_and_orders_over_the_socket(devnet: Server, funded: Callable[..., LocalAccount]) -> None:
    async def trade() -> None:
        client = ccxt.pro.hyperliquid(options(funded(100_000)))
        client.urls["api"]["public"] = client.urls["api"]["private"] = devnet.url
        client.urls["api"]["ws"]["public"] = devnet.url.replace("http", "ws") + "/ws"
        try:
            async with asyncio.timeout(30):
                book = await client.watch_order_book(SYMBOL)
                assert book["bids"][0][0] < book["asks"][0][0]
                assert (await client.watch_ticker(SYMBOL))["last"] > 0
                assert await client.watch_ohlcv(SYMBOL, "1m")
                watched = [
                    asyncio.create_task(client.watch_orders(SYMBOL)),
                    asyncio.create_task(client.watch_positions([SYMBOL])),
                    asyncio.create_task(client.watch_balance()),
                ]
                price = book["bids"][0][0]
                order = await client.create_order_ws(SYMBOL, "limit", "buy", 0.01, round(price * 0.9))
                await client.create_order_ws(SYMBOL, "market", "buy", 0.01, price)
                await asyncio.gather(*watched)
                assert watched[0].result()
                await client.cancel_order_ws(order["id"], SYMBOL)
                assert await client.fetch_open_orders(SYMBOL) == []
        finally:
            await client.close()

    asyncio.run(trade())
