"""The strict edge: whatever field of a reply is nonsense, a DataError names it and nothing is taken from it."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from bot.errors import DataError
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
