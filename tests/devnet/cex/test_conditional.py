"""Stops and take-profits, which the venue keeps apart and ccxt finds by itself."""

from __future__ import annotations

from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest

from tests.devnet.cex.clients import BTC, HYPE, advance, code_of


def price_of(exchange: Any, symbol: str) -> float:
    price: float = exchange.fetch_ticker(symbol)["last"]
    return price


def run_until(url: str, exchange: Any, symbol: str, status: str, order_id: str) -> Any:
    """Let time pass until a conditional order has a status."""
    found: Any = None
    for _ in range(400):
        advance(url, 0.25)
        found = exchange.fetch_order(order_id, symbol, {"trigger": True})
        if found["info"]["algoStatus"] == status:
            return found
    raise AssertionError(f"it is still {found['info']['algoStatus']}")


def test_a_stop_waits_fires_and_closes_the_position(url: str, exchange: Any) -> None:
    exchange.create_order(HYPE, "market", "buy", 10)
    price = price_of(exchange, HYPE)
    stop = exchange.create_order(
        HYPE, "market", "sell", 10, None, {"stopLossPrice": price * 0.998, "reduceOnly": True}
    )
    assert (stop["status"], stop["triggerPrice"], stop["reduceOnly"]) == (
        "open", pytest.approx(price * 0.998, abs=0.001), True,
    )  # fmt: skip
    assert exchange.fetch_open_orders(HYPE) == []
    assert [each["id"] for each in exchange.fetch_open_orders(HYPE, params={"trigger": True})] == [stop["id"]]
    fired = run_until(url, exchange, HYPE, "FINISHED", stop["id"])
    assert exchange.fetch_positions([HYPE]) == []
    order = exchange.fetch_order(fired["info"]["actualOrderId"], HYPE)
    assert (order["status"], order["filled"], order["side"]) == ("closed", 10, "sell")
    assert order["info"]["origType"] == "STOP_MARKET"
    assert order["average"] < price * 0.999
    assert exchange.fetch_open_orders(HYPE, params={"trigger": True}) == []


def test_a_take_profit_with_a_limit_rests_at_it_once_it_has_fired(url: str, exchange: Any) -> None:
    exchange.create_order(HYPE, "market", "buy", 10)
    price = price_of(exchange, HYPE)
    order = exchange.create_order(
        HYPE, "limit", "sell", 10, price * 1.05, {"takeProfitPrice": price * 1.002, "reduceOnly": True}
    )
    fired = run_until(url, exchange, HYPE, "TRIGGERED", order["id"])
    resting = exchange.fetch_open_orders(HYPE)
    assert [each["id"] for each in resting] == [fired["info"]["actualOrderId"]]
    assert resting[0]["price"] == pytest.approx(price * 1.05, abs=0.001)


def test_a_stop_for_the_whole_position_closes_what_is_held_then(url: str, exchange: Any) -> None:
    exchange.create_order(HYPE, "market", "sell", 10)
    price = price_of(exchange, HYPE)
    asked = {
        "symbol": "HYPEUSDT",
        "side": "BUY",
        "type": "STOP_MARKET",
        "algoType": "CONDITIONAL",
        "closePosition": "true",
    }
    stop = exchange.fapiPrivatePostAlgoOrder(
        asked
        | {"triggerPrice": exchange.price_to_precision(HYPE, price * 1.002), "workingType": "MARK_PRICE"}
    )
    exchange.create_order(HYPE, "market", "sell", 5)
    run_until(url, exchange, HYPE, "FINISHED", stop["algoId"])
    assert exchange.fetch_positions([HYPE]) == []
    assert exchange.fetch_my_trades(HYPE)[-1]["side"] == "buy"
    assert sum(each["amount"] for each in exchange.fetch_my_trades(HYPE) if each["side"] == "buy") == 15


def test_a_stop_without_a_position_left_expires(url: str, exchange: Any) -> None:
    exchange.create_order(HYPE, "market", "buy", 10)
    price = price_of(exchange, HYPE)
    stop = exchange.create_order(
        HYPE, "market", "sell", 10, None, {"stopLossPrice": price * 0.998, "reduceOnly": True}
    )
    exchange.create_order(HYPE, "market", "sell", 10, None, {"reduceOnly": True})
    run_until(url, exchange, HYPE, "EXPIRED", stop["id"])
    assert exchange.fetch_positions([HYPE]) == []


def test_stops_are_cancelled_one_by_one_or_all_of_a_symbol(exchange: Any) -> None:
    price = price_of(exchange, BTC)
    ids = [
        exchange.create_order(BTC, "market", "sell", 0.01, None, {"stopLossPrice": price * share})["id"]
        for share in (0.95, 0.96, 0.97)
    ]
    assert exchange.cancel_order(ids[0], BTC, {"trigger": True})["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound) as error:
        exchange.cancel_order(ids[0], BTC, {"trigger": True})
    assert code_of(error.value) == -2011
    exchange.cancel_all_orders(BTC)  # which spares those that are conditional
    assert [each["id"] for each in exchange.fetch_open_orders(BTC, params={"trigger": True})] == ids[1:]
    exchange.cancel_all_orders(BTC, {"trigger": True})
    assert exchange.fetch_open_orders(BTC, params={"trigger": True}) == []
    every = exchange.fetch_orders(BTC, params={"trigger": True})
    assert [each["status"] for each in every] == ["canceled"] * 3


@pytest.mark.parametrize(
    ("side", "name", "share"),
    [("sell", "stopLossPrice", 1.01), ("buy", "stopLossPrice", 0.99), ("sell", "takeProfitPrice", 0.99)],
)
def test_one_that_is_due_already_is_refused(exchange: Any, side: str, name: str, share: float) -> None:
    price = price_of(exchange, BTC)
    with pytest.raises(ccxt.BaseError) as error:
        exchange.create_order(BTC, "market", side, 0.01, None, {name: price * share})
    assert code_of(error.value) == -2021


def test_no_more_than_ten_wait_in_a_symbol(exchange: Any) -> None:
    price = price_of(exchange, BTC)

    def place(number: int) -> Any:
        params = {"stopLossPrice": price * (0.95 - number / 1000)}
        return exchange.create_order(BTC, "market", "sell", 0.01, None, params)

    for number in range(10):
        place(number)
    with pytest.raises(ccxt.BaseError) as error:
        place(10)
    assert code_of(error.value) == -4045
