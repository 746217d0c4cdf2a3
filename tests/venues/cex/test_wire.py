"""The strict edge: whatever field of a reply is nonsense, a DataError names it and nothing is taken from it."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from bot.errors import DataError
from bot.model.account import MarginMode
from bot.venues.cex import wire

NOW_MS = 1_790_000_000_000
SYMBOL, ID, ONE = "BTC/USDT:USDT", "BTCUSDT", Decimal(1)
TRADE: Mapping[str, Any] = {
    "id": "1", "order": "2", "symbol": SYMBOL, "timestamp": NOW_MS, "side": "buy", "amount": "0.01", "price": "50000",
    "cost": "500", "fee": {"cost": "0.25", "currency": "USDT"}, "takerOrMaker": "taker", "info": {"symbol": ID},
}  # fmt: skip
ORDER: Mapping[str, Any] = {
    "id": "2", "clientOrderId": "x", "symbol": SYMBOL, "timestamp": NOW_MS, "side": "sell", "amount": "0.01",
    "filled": "0.004", "average": "50000", "price": "50000", "timeInForce": "GTC", "status": "open",
    "reduceOnly": False, "triggerPrice": None, "info": {"symbol": ID},
}  # fmt: skip
POSITION: Mapping[str, Any] = {
    "symbol": SYMBOL, "contracts": "0.01", "side": "short", "entryPrice": "50000", "markPrice": "51000",
    "unrealizedPnl": "-10", "hedged": False, "liquidationPrice": "90000",
}  # fmt: skip
LINE: Mapping[str, Any] = {
    "id": "9", "direction": "out", "amount": "0.5", "timestamp": NOW_MS, "currency": "USDT", "info": {"symbol": ID},
}  # fmt: skip
NONSENSE: tuple[Any, ...] = (None, "", "NaN", "Infinity", "-5", "1e99", "0x10", True, [], {}, "a" * 100)


def trade(row: Mapping[str, Any]) -> Any:
    return wire.trade(row, SYMBOL, ID, ONE)


def order(row: Mapping[str, Any]) -> Any:
    return wire.order(row, SYMBOL, ID, ONE, NOW_MS)


def position(row: Mapping[str, Any]) -> Any:
    return wire.position(row, ONE)


def line(row: Mapping[str, Any]) -> Any:
    return wire.booked(row, "FUNDING_FEE")


def test_what_is_right_is_read() -> None:
    assert (trade(TRADE).coins, trade(TRADE).notional) == (Decimal("0.01"), Decimal(500))
    assert (order(ORDER).filled, order(ORDER).limit_price) == (Decimal("0.004"), Decimal(50_000))
    assert (position(POSITION).coins, position(POSITION).notional_usd) == (Decimal("-0.01"), Decimal(-510))
    assert (line(LINE).usd, line(LINE).symbol) == (Decimal("-0.5"), ID)


@pytest.mark.parametrize(
    ("read", "row", "fields"),
    [
        (trade, TRADE, ("symbol", "timestamp", "side", "amount", "price")),
        (order, ORDER, ("symbol", "side", "amount", "status")),
        (position, POSITION, ("side", "entryPrice", "markPrice")),
        (line, LINE, ("direction", "amount", "timestamp")),
    ],
)
@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
def test_nonsense_in_what_must_be_there_is_refused(
    read: Callable[[Mapping[str, Any]], Any], row: Mapping[str, Any], fields: tuple[str, ...], nonsense: Any
) -> None:
    for field in fields:
        with pytest.raises(DataError):
            read({**row, field: nonsense})


@pytest.mark.parametrize(
    "changed", [{"filled": "0.02"}, {"status": "closed"}, {"info": {"symbol": "ETHUSDT"}}]
)
def test_an_order_that_contradicts_itself_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        order({**ORDER, **changed})


def test_a_value_that_is_not_the_price_times_the_size_is_not_believed() -> None:
    assert trade({**TRADE, "cost": "0.5"}).notional == 500
    assert trade({**TRADE, "cost": "500.012"}).notional == Decimal("500.012")


def test_an_order_that_waits_apart_has_a_number_apart_and_says_what_came_of_it() -> None:
    apart = {"symbol": ID, "algoId": 2, "actualOrderId": "77"}
    fired = order({**ORDER, "status": "closed", "info": apart})
    assert (fired.status, fired.became, fired.order_id) == (wire.FIRED, "77", wire.CONDITIONAL + 2)
    assert order(ORDER).order_id == 2


def test_no_number_of_ours_exceeds_what_a_journal_holds() -> None:
    for told in ("9" * 18, "a" * 64, "e0cbe81d-0f18-5866-9415-cf319b5dab3b"):
        assert 0 <= wire.id_number(told, "") + wire.CONDITIONAL < 1 << 63


def test_sizes_are_in_coins_whatever_a_contract_is_of() -> None:
    hundredth = Decimal("0.01")
    assert wire.trade({**TRADE, "cost": None}, SYMBOL, ID, hundredth).notional == 5
    shown = wire.order(ORDER, SYMBOL, ID, hundredth, NOW_MS)
    assert (shown.coins, shown.filled) == (Decimal("0.0001"), Decimal("0.00004"))
    held = wire.position(POSITION, hundredth)
    assert held is not None
    assert (held.coins, held.notional_usd) == (Decimal("-0.0001"), Decimal("-5.1"))


def test_what_can_not_be_is_refused_at_either_end() -> None:
    assert wire.number("-1e15", "") == -(10**15)
    for told in ("1.1e15", "-1.1e15"):
        with pytest.raises(DataError, match="can't be"):
            wire.number(told, "x")
    for at_ms in (wire.EARLIEST_MS - 1, wire.LATEST_MS + 1):
        with pytest.raises(DataError, match="can't be"):
            wire.moment(at_ms, "x")
    assert [wire.optional(told, "") for told in ("0", "-1", "", None, "2")] == [
        None,
        None,
        None,
        None,
        Decimal(2),
    ]
    with pytest.raises(DataError, match="can't be 0"):
        wire.price("0", "x")


def test_a_number_that_is_too_long_is_named_by_its_hash() -> None:
    assert wire.id_number("9" * 18, "") == 10**18 - 1
    assert wire.id_number("9" * 19, "") < 1 << 48


def test_an_order_is_as_the_venue_last_said() -> None:
    told = {
        "lastUpdateTimestamp": NOW_MS + 5,
        "reduceOnly": True,
        "status": "canceling",
        "takeProfitPrice": "1",
    }
    shown = order({**ORDER, **told})
    assert (shown.time_ms, shown.reduce_only, shown.status) == (NOW_MS + 5, True, wire.OPEN)
    assert shown.is_take_profit
    assert not order(ORDER).is_take_profit
    assert order({**ORDER, "timestamp": None}).time_ms == NOW_MS


def test_a_position_is_one_of_one_side_in_its_own_margin_or_the_account_s() -> None:
    assert position(POSITION).margin_mode is MarginMode.CROSS
    assert position({**POSITION, "marginMode": "isolated"}).margin_mode is MarginMode.ISOLATED
    assert position({**POSITION, "side": "long"}).coins == Decimal("0.01")
    assert position({**POSITION, "contracts": "0"}) is None
    with pytest.raises(DataError, match="one-way"):
        position({**POSITION, "hedged": True})


def test_a_line_is_known_by_all_that_tells_it_from_others() -> None:
    of_trade = {**LINE, "info": {"symbol": ID, "tradeId": "4"}, "direction": "in"}
    assert line(of_trade).usd == Decimal("0.5")
    others = (LINE, of_trade, {**LINE, "info": {"symbol": "ETHUSDT"}}, {**LINE, "id": "8"})
    assert len({*(line(each).key for each in others), wire.booked(LINE, "COMMISSION").key}) == 5


def test_only_the_maker_is_one() -> None:
    assert [trade({**TRADE, "takerOrMaker": told}).is_maker for told in ("maker", "taker", None)] == [
        True,
        False,
        False,
    ]
