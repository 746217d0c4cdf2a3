"""Funding, margin, liquidation and settings of an account, with amounts worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest

from tests.devnet.cex.clients import BTC, ETH, HOUR_MS, HYPE, advance, client_of, code_of, control


def refused(call: Callable[[], Any]) -> int:
    with pytest.raises(ccxt.BaseError) as error:
        call()
    return code_of(error.value)


def to_just_before(url: str, exchange: Any, hours: int) -> None:
    """Let time pass up to three minutes before the next of these hours."""
    left_ms = hours * HOUR_MS - exchange.fetch_time() % (hours * HOUR_MS)
    advance(url, left_ms / HOUR_MS + (0 if left_ms > HOUR_MS / 10 else hours) - 0.05)


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_longs_pay_a_positive_rate_on_the_mark_and_shorts_receive_it(
    url: str, exchange: Any, side: str, sign: int
) -> None:
    to_just_before(url, exchange, 8)
    exchange.create_order(BTC, "market", side, 0.05)
    before = float(exchange.fetch_balance()["info"]["totalWalletBalance"])
    advance(url, 0.1)
    settled = exchange.fetch_funding_rate_history(BTC, limit=1)[0]
    payments = exchange.fetch_funding_history(BTC)
    assert len(payments) == 1
    assert payments[0]["timestamp"] == settled["timestamp"] // 1000 * 1000
    expected = -sign * 0.05 * float(settled["info"]["markPrice"]) * settled["fundingRate"]
    assert payments[0]["amount"] == pytest.approx(expected, abs=2e-6)
    after = float(exchange.fetch_balance()["info"]["totalWalletBalance"])
    assert after - before == pytest.approx(payments[0]["amount"], abs=1e-9)
    assert exchange.fetch_funding_history(ETH) == []


def test_who_closes_before_the_hour_pays_nothing_and_four_hours_pay_twice(url: str, exchange: Any) -> None:
    to_just_before(url, exchange, 8)
    exchange.create_order(BTC, "market", "buy", 0.01)
    exchange.create_order(HYPE, "market", "buy", 20)
    exchange.create_order(BTC, "market", "sell", 0.01)
    advance(url, 8)
    assert exchange.fetch_funding_history(BTC) == []
    times = [each["timestamp"] for each in exchange.fetch_funding_history(HYPE)]
    assert times[1] - times[0] == 4 * HOUR_MS
    assert len(times) == 2


def test_an_interval_may_change_while_a_position_is_held(url: str, exchange: Any) -> None:
    to_just_before(url, exchange, 8)
    advance(url, 0.1)
    exchange.create_order(ETH, "market", "sell", 1)
    began = exchange.fetch_time() // (8 * HOUR_MS) * 8 * HOUR_MS
    advance(url, 5)  # a settlement of 8 hours is three hours away, and one of 4 hours would have been
    told = control(url, "funding", symbol="ETHUSDT", interval_h=1)
    assert told["settles"] == began + 6 * HOUR_MS
    assert exchange.fetch_funding_rate(ETH)["fundingTimestamp"] == began + 6 * HOUR_MS
    assert exchange.fetch_funding_intervals()[ETH]["interval"] == "1h"
    advance(url, 2)
    control(url, "funding", symbol="ETHUSDT", interval_h=4)
    advance(url, 8)
    rows = exchange.fetch_funding_rate_history(ETH, began - HOUR_MS)
    hours = [round((row["timestamp"] - began) / HOUR_MS) for row in rows]
    assert hours == [0, 6, 7, 8, 12]
    paid = exchange.fetch_funding_history(ETH, began)
    assert [(each["timestamp"] - began) / HOUR_MS for each in paid] == [6, 7, 8, 12]
    for row, each in zip(rows[1:], paid, strict=True):
        assert each["amount"] == pytest.approx(float(row["info"]["markPrice"]) * row["fundingRate"], abs=2e-6)
    control(url, "funding", symbol="ETHUSDT", interval_h=8)
    advance(url, 9)
    assert (
        exchange.fetch_funding_rate_history(ETH, limit=1)[0]["timestamp"] // HOUR_MS == began // HOUR_MS + 24
    )


def test_a_carry_between_the_two_venues_is_not_for_nothing(url: str, exchange: Any) -> None:
    """What a long here and a short there would have earned in funding differs from zero over days."""
    advance(url, 24)
    here = sum(row["fundingRate"] for row in exchange.fetch_funding_rate_history(BTC, limit=9))
    assert here != 0
    rows = exchange.fetch_funding_rate_history(ETH, limit=9)
    assert len({row["fundingRate"] for row in rows}) > 5


def test_margin_follows_leverage_and_bracket(exchange: Any) -> None:
    exchange.set_leverage(10, BTC)
    placed = exchange.create_order(BTC, "market", "buy", 0.1)
    info = exchange.fetch_balance()["info"]
    position = exchange.fetch_positions([BTC])[0]["info"]
    mark = float(position["markPrice"])
    assert float(info["totalPositionInitialMargin"]) == pytest.approx(0.1 * mark / 10, abs=1e-6)
    assert float(info["totalMaintMargin"]) == pytest.approx(0.1 * mark * 0.004, abs=1e-6)
    assert float(position["unRealizedProfit"]) == pytest.approx(0.1 * (mark - placed["average"]), abs=1e-6)
    assert float(info["availableBalance"]) == pytest.approx(
        float(info["totalMarginBalance"]) - float(info["totalInitialMargin"]), abs=1e-5
    )
    resting = exchange.create_order(BTC, "limit", "buy", 0.1, round(mark * 0.97, 1))
    assert float(exchange.fetch_balance()["info"]["totalOpenOrderInitialMargin"]) > 0.1 * mark * 0.09
    risk = exchange.fapiPrivateV3GetPositionRisk({"symbol": "BTCUSDT"})[0]
    mark = float(risk["markPrice"])
    assert float(risk["openOrderInitialMargin"]) == pytest.approx(0.1 * mark / 10, abs=1e-6)
    assert float(risk["bidNotional"]) == pytest.approx(0.1 * mark, abs=1e-6)
    assert float(risk["askNotional"]) == 0
    exchange.cancel_order(resting["id"], BTC)
    assert float(exchange.fetch_balance()["info"]["totalOpenOrderInitialMargin"]) == pytest.approx(
        0, abs=1e-6
    )


def test_leverage_margin_and_position_mode_are_changed_as_on_the_venue(exchange: Any) -> None:
    assert exchange.fetch_leverage(ETH)["longLeverage"] == 20
    assert exchange.set_leverage(7, ETH)["maxNotionalValue"] == "150000000"
    assert exchange.fetch_leverage(ETH)["longLeverage"] == 7
    assert refused(lambda: exchange.fapiPrivatePostLeverage({"symbol": "ETHUSDT", "leverage": 151})) == -4028
    exchange.set_margin_mode("isolated", ETH)
    assert exchange.fetch_margin_mode(ETH)["marginMode"] == "isolated"
    with pytest.raises(ccxt.MarginModeAlreadySet):
        exchange.fapiPrivatePostMarginType({"symbol": "ETHUSDT", "marginType": "ISOLATED"})
    assert exchange.fetch_position_mode()["hedged"] is False
    assert refused(lambda: exchange.set_position_mode(False)) == -4059
    exchange.set_position_mode(True)
    assert refused(lambda: exchange.create_order(BTC, "market", "buy", 0.01)) == -4061
    exchange.set_position_mode(False)
    exchange.create_order(ETH, "market", "buy", 1)
    assert refused(lambda: exchange.set_position_mode(True)) == -4068
    assert (
        refused(lambda: exchange.fapiPrivatePostMarginType({"symbol": "ETHUSDT", "marginType": "CROSSED"}))
        == -4048
    )
    exchange.create_order(BTC, "limit", "buy", 0.01, exchange.fetch_ticker(BTC)["last"] * 0.97)
    assert refused(lambda: exchange.set_position_mode(True)) == -4067
    assert refused(lambda: exchange.set_margin_mode("isolated", BTC)) == -4047


def test_an_isolated_position_has_its_own_margin(exchange: Any) -> None:
    exchange.set_margin_mode("isolated", ETH)
    exchange.set_leverage(10, ETH)
    placed = exchange.create_order(ETH, "market", "buy", 1)
    position = exchange.fetch_positions([ETH])[0]
    assert position["marginMode"] == "isolated"
    assert float(position["info"]["isolatedWallet"]) == pytest.approx(placed["average"] / 10, abs=1e-5)
    # where its margin is down to the maintenance margin: entry − entry/10 = price × (1 − 0.004)
    assert position["liquidationPrice"] == pytest.approx(placed["average"] * 0.9 / 0.996, rel=1e-6)
    exchange.add_margin(ETH, 50)
    grown = float(exchange.fetch_positions([ETH])[0]["info"]["isolatedWallet"])
    assert grown == pytest.approx(placed["average"] / 10 + 50, abs=1e-5)
    assert refused(lambda: exchange.reduce_margin(ETH, 10_000)) == -4051
    assert refused(lambda: exchange.add_margin(ETH, 1_000_000)) == -2019


def test_who_falls_short_is_liquidated_and_can_see_it(
    url: str, opened: Callable[..., dict[str, str]]
) -> None:
    exchange = client_of(url, opened(200))
    exchange.set_leverage(50, HYPE)
    price = exchange.fetch_ticker(HYPE)["last"]
    exchange.create_order(HYPE, "market", "buy", round(200 * 45 / price, 2))
    for _ in range(400):
        advance(url, 0.5)
        if not exchange.fetch_positions([HYPE]):
            break
    forced = exchange.fapiPrivateGetForceOrders({"symbol": "HYPEUSDT"})
    assert forced
    assert all(row["clientOrderId"].startswith("autoclose-") for row in forced)
    assert all(row["origQty"] == row["executedQty"] and row["side"] == "SELL" for row in forced)
    assert exchange.fetch_my_liquidations(HYPE)[0]["symbol"] == HYPE
    paid = [row for row in exchange.fapiPrivateGetIncome() if row["incomeType"] == "INSURANCE_CLEAR"]
    assert paid
    assert all(float(row["income"]) < 0 for row in paid)
    wallet = float(exchange.fetch_balance()["info"]["totalWalletBalance"])
    assert sum(float(row["income"]) for row in exchange.fapiPrivateGetIncome()) == pytest.approx(
        wallet, abs=1e-6
    )
    assert 0 <= wallet < 200


def test_who_is_deleveraged_is_closed_at_the_mark_for_nothing(
    url: str, opened: Callable[..., dict[str, str]]
) -> None:
    account = opened()
    exchange = client_of(url, account)
    exchange.create_order(BTC, "market", "sell", 0.02)
    guard = exchange.create_order(
        BTC, "limit", "buy", 0.02, exchange.fetch_ticker(BTC)["last"] * 0.98, {"reduceOnly": True}
    )
    mark = exchange.fetch_positions([BTC])[0]["markPrice"]
    control(url, "adl", api_key=account["api_key"], symbol="BTCUSDT")
    assert exchange.fetch_positions([BTC]) == []
    forced = exchange.fapiPrivateGetForceOrders({"autoCloseType": "ADL"})
    assert [(row["clientOrderId"], row["executedQty"], row["side"]) for row in forced] == [
        ("adl_autoclose", "0.020", "BUY")
    ]
    trade = exchange.fetch_my_trades(BTC)[-1]
    assert trade["price"] == pytest.approx(mark, abs=0.1)
    assert trade["fee"]["cost"] == 0
    assert exchange.fetch_order(guard["id"], BTC)["status"] == "expired"


def test_what_the_venue_says_of_the_account(exchange: Any) -> None:
    assert exchange.fapiPrivateGetAccountConfig()["canTrade"] is True
    fees = exchange.fetch_trading_fee(BTC)
    assert (fees["maker"], fees["taker"]) == (0.0002, 0.0005)
    assert exchange.fetch_balance({"useV2": True})["total"] == exchange.fetch_balance()["total"]
    assert exchange.fapiPrivateV2GetBalance()[0]["balance"] == "10000.00000000"
