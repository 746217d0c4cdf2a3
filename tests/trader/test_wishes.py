"""What an operator may ask for, and the answer: nothing of a command's JSON is taken on trust."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.model.decision import Decision, Finding, OrderPlan, Targets
from bot.model.instrument import simple_instrument
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side, Trigger, TriggerKind
from bot.pipeline.mandate import Execution, Guard
from bot.trader.wishes import LARGEST_USD, TradeWish, trade_facts, trade_wish, went_through

AAA, BBB = simple_instrument("AAA", 2, 10), simple_instrument("BBB", 0, 10)
COINS = (AAA, BBB)
ASKED = {"coin": "BBB", "side": "buy", "usd": "250.50"}

nan, inf = float("nan"), float("inf")


def wish(**changes: Any) -> TradeWish:
    return trade_wish({**ASKED, **changes}, COINS)


# Reading a wish


def test_a_wish_is_read_as_it_was_asked() -> None:
    assert wish() == TradeWish(1, Side.BUY, Decimal("250.50"), None, None)
    assert wish(coin="AAA", side="sell", usd=100, stop_loss=0.05, take_profit=0.2) == TradeWish(
        0, Side.SELL, Decimal(100), 0.05, 0.2
    )


@pytest.mark.parametrize("coin", ["CCC", "", "bbb", None, 1, ["BBB"], {"BBB": 1}])
def test_a_coin_that_is_not_traded_is_refused_by_name(coin: Any) -> None:
    with pytest.raises(ConfigError, match="not traded by this daemon; it trades AAA, BBB"):
        wish(coin=coin)


@pytest.mark.parametrize("side", ["long", "BUY", "", None, 1])
def test_a_side_is_buy_or_sell(side: Any) -> None:
    with pytest.raises(ConfigError, match="side must be buy or sell"):
        wish(side=side)


@pytest.mark.parametrize(
    "usd",
    [nan, inf, -inf, "NaN", "sNaN", "Infinity", 0, "0.00", -1, "-0.01", 1e30, "1e30", "1000000000.01", "ten", "", None, True, [], {}],
)  # fmt: skip
def test_an_amount_is_dollars_above_none_and_finite(usd: Any) -> None:
    with pytest.raises(ConfigError, match="dollars above 0"):
        wish(usd=usd)


@pytest.mark.parametrize("usd", ["0.01", "1e9", 12.5, LARGEST_USD])
def test_an_amount_up_to_the_largest_is_exact(usd: Any) -> None:
    assert wish(usd=usd).usd == Decimal(str(usd))


@pytest.mark.parametrize("key", ["stop_loss", "take_profit"])
@pytest.mark.parametrize(
    "value", [True, False, "0.1", "", 0, 0.0, -0.1, nan, inf, -inf, 10, 10.5, 1e30, [], {}]
)
def test_a_distance_that_makes_no_sense_is_refused_by_its_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{key} must be a distance above 0"):
        wish(**{key: value})


@pytest.mark.parametrize("key", ["stop_loss", "take_profit"])
def test_a_distance_lies_within_the_price_since_that_of_a_short_has_to(key: str) -> None:
    for value in (1, 1.0, 1.5):
        with pytest.raises(ConfigError, match=f"{key} must be a distance above 0 and below 100%"):
            wish(**{key: value})
    assert getattr(wish(**{key: 0.999}), key) == 0.999


# What it comes to


def test_without_distances_the_mandates_guard_stands() -> None:
    assert wish().guard(Execution(stop_loss=0.1, take_profit=0.3)) is None


def test_a_distance_asked_for_stands_beside_the_mandates_other_one() -> None:
    mandate = Execution(stop_loss=0.1, take_profit=0.3)
    assert wish(stop_loss=0.05).guard(mandate) == Guard(0.05, 0.3)
    assert wish(take_profit=0.5).guard(mandate) == Guard(0.1, 0.5)
    assert wish(stop_loss=0.05, take_profit=0.5).guard(mandate) == Guard(0.05, 0.5)
    assert wish(stop_loss=0.05).guard(Execution()) == Guard(0.05, None)
    assert wish(take_profit=0.5).guard(Execution()) == Guard(None, 0.5)


@pytest.mark.parametrize(
    ("usd", "mark", "lots"),
    [
        ("100", "100", 100),
        ("99.999", "100", 99),  # 0.99999 coins
        ("100", "300", 33),  # a third of a coin
        ("200", "300", 66),
        ("0.99", "100", 0),
        ("1", "100", 1),
    ],
)
@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_dollars_become_lots_rounded_toward_none(
    usd: str, mark: str, lots: int, side: str, sign: int
) -> None:
    asked = wish(coin="AAA", side=side, usd=usd)
    assert asked.lots(AAA, Decimal(mark)) == sign * lots


# The answer

ENTRY = Order("m1-AAA-entry", "AAA", Side.BUY, 150, Decimal("100.5"))
EXIT = Order("m1-AAA-exit", "AAA", Side.BUY, 50, reduce_only=True, purpose=Purpose.EXIT)
STOP = Order(
    "m1+-AAA-stop",
    "AAA",
    Side.SELL,
    120,
    reduce_only=True,
    trigger=Trigger(TriggerKind.STOP, Decimal("95.25")),
    purpose=Purpose.STOP,
)


def decision(*orders: Order, findings: tuple[Finding, ...] = ()) -> Decision:
    none = Targets(np.zeros(2, np.int64), np.zeros((1, 2), np.int64))
    return Decision("m1", 0, (), none, none, findings, OrderPlan((), orders))


def said(
    order: Order, status: OrderStatus, filled: int = 0, price: str = "0", reason: str = ""
) -> OrderReport:
    return OrderReport(5, 77, order, status, filled, Decimal(price), reason)


def test_the_answer_tells_every_order_with_the_venues_word_on_it() -> None:
    reports = [
        said(EXIT, OrderStatus.REJECTED, reason="Reduce only order would increase position"),
        said(ENTRY, OrderStatus.CANCELED, 120, "100.25", "the rest could not match at once"),
    ]
    facts = trade_facts(decision(EXIT, ENTRY), reports, COINS)
    assert facts == {
        "decision": "m1",
        "findings": [],
        "orders": [
            {
                "id": "m1-AAA-exit",
                "coin": "AAA",
                "side": "buy",
                "size": "0.50",
                "purpose": "exit",
                "trigger_price": None,
                "status": "rejected",
                "filled": "0.00",
                "average_price": None,
                "reason": "Reduce only order would increase position",
            },
            {
                "id": "m1-AAA-entry",
                "coin": "AAA",
                "side": "buy",
                "size": "1.50",
                "purpose": "entry",
                "trigger_price": None,
                "status": "canceled",
                "filled": "1.20",
                "average_price": "100.25",
                "reason": "the rest could not match at once",
            },
        ],
    }


def test_the_newest_word_on_an_order_counts() -> None:
    reports = [said(ENTRY, OrderStatus.RESTING), said(ENTRY, OrderStatus.FILLED, 150, "100.4")]
    (told,) = trade_facts(decision(ENTRY), reports, COINS)["orders"]
    assert (told["status"], told["filled"], told["average_price"]) == ("filled", "1.50", "100.4")


def test_an_order_that_the_venue_said_nothing_of_is_unanswered() -> None:
    (told,) = trade_facts(decision(ENTRY), [], COINS)["orders"]
    assert (told["status"], told["filled"], told["average_price"], told["reason"]) == (
        "unanswered",
        "0",
        None,
        "",
    )


def test_orders_that_were_sent_to_protect_it_are_told_after_its_own() -> None:
    reports = [said(STOP, OrderStatus.WAITING), said(ENTRY, OrderStatus.FILLED, 150, "100.4")]
    own, extra = trade_facts(decision(ENTRY), reports, COINS)["orders"]
    assert own["id"] == "m1-AAA-entry"
    assert (extra["id"], extra["purpose"], extra["side"]) == ("m1+-AAA-stop", "stop", "sell")
    assert (extra["size"], extra["trigger_price"], extra["status"]) == ("1.20", "95.25", "waiting")


def test_findings_are_told_and_one_on_the_whole_book_names_no_coin() -> None:
    findings = (Finding("position_size", "AAA", "cut"), Finding("net_leverage", "", "increases cut"))
    facts = trade_facts(decision(findings=findings), [], COINS)
    assert facts["findings"] == [
        {"rule": "position_size", "coin": "AAA", "detail": "cut"},
        {"rule": "net_leverage", "coin": None, "detail": "increases cut"},
    ]
    assert facts["orders"] == []


def test_it_went_through_where_something_was_sent_and_nothing_refused() -> None:
    filled, refused = said(ENTRY, OrderStatus.FILLED, 150), said(STOP, OrderStatus.REJECTED)
    assert went_through([filled])
    assert went_through([filled, said(STOP, OrderStatus.WAITING), said(EXIT, OrderStatus.CANCELED)])
    assert not went_through([])
    assert not went_through([refused])
    assert not went_through([filled, refused])
    assert not went_through([refused, filled])
