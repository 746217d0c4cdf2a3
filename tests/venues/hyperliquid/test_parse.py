"""The parse edge on small replies: what it reads, and the sentence with which it refuses."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import DataError, Refused
from bot.model.order import OrderStatus
from bot.venues.hyperliquid import parse_account, parse_market, parse_meta, parse_orders
from bot.venues.hyperliquid.parse_orders import Ending, Placed
from bot.venues.hyperliquid.replies import parse_frame, parse_reply
from bot.venues.hyperliquid.wire import Node, decode
from tests.venues.hyperliquid.shapes import (
    CANDLE,
    COIN,
    FILL,
    ME,
    ORDER,
    OTHER,
    POSITION,
    RATE,
    H,
    T,
    book,
    margin,
)


def bitcoin(node: Node) -> Any:
    return parse_meta.universe(node).instrument("BTC")


REFUSED: list[tuple[str, Callable[[Node], Any], Any, str]] = [
    ("a coin twice", parse_meta.universe, {"universe": [COIN, COIN]}, r"universe\[1\] lists 'BTC' a second time"),
    ("no coins", parse_meta.universe, {"universe": []}, "is empty"),
    ("a table that isn't there", bitcoin, {"universe": [COIN | {"marginTableId": 56}]}, "margin table 56"),
    ("a table of nonsense", bitcoin, {"universe": [COIN | {"marginTableId": 56}], "marginTables": [[56, {}]]}, "no 'marginTiers'"),
    ("two leverages", bitcoin, {"universe": [COIN | {"maxLeverage": 20}]}, "leverage 40, and maxLeverage 20"),
    ("no name", parse_meta.universe, {"universe": [COIN | {"name": None}]}, r"universe\[0\].name should be text"),
    ("fewer contexts", parse_market.contexts, [{"universe": [COIN]}, []], "0 contexts for 1 coins"),
    ("a high below its close", lambda n: parse_market.candles(n, "BTC", "1h"), [CANDLE | {"h": "1.5"}], "outside its low"),
    ("a bar twice", lambda n: parse_market.candles(n, "BTC", "1h"), [CANDLE, CANDLE], r"\[1\].t does not follow"),
    ("a bar off its grid", lambda n: parse_market.candles(n, "BTC", "1h"), [CANDLE | {"t": T + 1}], "not one bar of 1h"),
    ("another coin's bar", lambda n: parse_market.candles(n, "ETH", "1h"), [CANDLE], "should be 'ETH', was 'BTC'"),
    ("rates out of order", lambda n: parse_market.settlements(n, "BTC"), [RATE, RATE | {"time": T - H}], "does not follow"),
    ("an absurd rate", lambda n: parse_market.settlements(n, "BTC"), [RATE | {"fundingRate": "7.0"}], "beyond what can be"),
    ("a crossed book", parse_market.book, book(["101.0"], ["100.0"]), "cross: bid 101.0 and ask 100.0"),
    ("a level out of order", parse_market.book, book(["99.0", "100.0"], []), "not worse than the level before"),
    ("a fill twice", parse_account.fills, [FILL, FILL], "holds trade 9 of BTC twice"),
    ("a fill without its id", parse_account.fills, [{k: v for k, v in FILL.items() if k != "tid"}], "has no 'tid'"),
    ("a negative price", parse_account.fills, [FILL | {"px": "-1.0"}], r"\[0\].px should be a price above 0, was -1.0"),
    ("a number that is none", parse_account.fills, [FILL | {"fee": "NaN"}], "should be a decimal number"),
    ("a number not as text", parse_account.fills, [FILL | {"sz": 1}], "should be text"),
    ("seconds for milliseconds", parse_account.fills, [FILL | {"time": T // 1000}], "should be within"),
    ("sums that contradict", parse_account.margin_state, margin(equity="1000.0"), "says equity 1000.0 where cash"),
    ("a position twice", parse_account.margin_state, margin("900.0", positions=(POSITION, POSITION)), "a second time"),
    ("a position of nothing", parse_account.margin_state, margin(positions=(POSITION | {"szi": "0.0"},)), "no position"),
    ("an order twice", parse_orders.open_orders, [ORDER, ORDER], "stands twice"),
    ("an order grown", parse_orders.open_orders, [ORDER | {"sz": "2.0"}], "more than the order's size"),
    ("an error for a list", parse_orders.open_orders, {"error": "busy"}, "should be a list"),
    ("nothing for a list", parse_orders.open_orders, None, "should be a list"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parser", "reply", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_can_not_be_right_is_refused_by_its_field(parser: Any, reply: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parser(Node(reply, "reply"))


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', '{"a":NaN}', '{"a":Infinity}', "", "<html>", '{"a":1', "9" * 30, "[" * 9_000]
)
def test_text_that_is_not_strict_json_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        decode(text, "reply")


def test_a_number_larger_than_any_machine_counts_is_refused_where_it_is_read() -> None:
    node = decode('{"a":1e99999999999999999999,"b":"1.0"}', "reply")
    assert node["b"].number() == 1
    with pytest.raises(DataError, match="should be text"):
        node["a"].number()


@pytest.mark.parametrize(
    "odd",
    [
        {"maxLeverage": 0},
        {"szDecimals": 9},
        {"marginTableId": 77},
        {"onlyIsolated": "maybe"},
        {"name": "A B"},
    ],
)
def test_a_coin_that_can_not_be_read_keeps_its_place_and_leaves_the_others_theirs(odd: Any) -> None:
    new = COIN | {"name": "NEW"} | odd
    known = parse_meta.universe(Node({"universe": [COIN, new, COIN | {"name": "ETH"}]}, "reply"))
    assert known.names == ("BTC", new["name"], "ETH")
    assert [each.name for each in known.instruments] == ["BTC", "ETH"]
    assert (known.place("ETH"), known.instrument("ETH").size_decimals) == (2, 5)
    with pytest.raises(DataError, match=r"universe\[1\]"):
        known.instrument(new["name"])


def test_what_other_venues_or_coins_predict_does_not_spoil_a_prediction() -> None:
    own = {"fundingRate": "0.00002", "nextFundingTime": T, "fundingIntervalHours": 1}
    told = [
        ["BTC", [["BinPerp", {"fundingRate": 7}], ["HlPerp", own], ["NewPerp", "soon"]]],
        ["NEW", [["HlPerp", own | {"fundingIntervalHours": 0}]]],
        ["OLD", None],
        ["ETH", [["HlPerp", None]]],
    ]
    found = parse_market.predictions(Node(told, "reply"))
    assert found["BTC"] == parse_market.Prediction(Decimal("0.00002"), T, 1)
    assert [coin for coin, each in found.items() if isinstance(each, str)] == ["NEW", "OLD"]
    assert "ETH" not in found


def test_margin_is_read_with_its_sign() -> None:
    state = parse_account.margin_state(Node(margin(), "reply"))
    (position,) = state.positions
    assert (state.equity_usd, state.cross_cash_usd) == (Decimal(950), Decimal(1000))  # 1,000 − 0.5 × 100
    assert (position.size, position.liquidation_price) == (Decimal("-0.5"), None)


def test_a_crumb_of_a_position_has_a_liquidation_price_that_no_market_could_have() -> None:
    crumb = POSITION | {"liquidationPx": "2461881632.7901234568"}
    (position,) = parse_account.margin_state(Node(margin(positions=(crumb,)), "reply")).positions
    assert position.liquidation_price == Decimal("2461881632.7901234568")


def test_a_payment_whose_sign_contradicts_size_and_rate_is_refused() -> None:
    row = {"time": T, "hash": "0x1", "delta": {"type": "funding", "coin": "BTC", "usdc": "1.0", "szi": "2.0",
           "fundingRate": "0.0001", "nSamples": None}}  # fmt: skip
    with pytest.raises(DataError, match="sign"):
        parse_account.fundings(Node([row], "reply"))
    row["delta"] |= {"usdc": "-1.0"}  # type: ignore[operator]
    assert parse_account.fundings(Node([row], "reply"))[0].usd == -1


@pytest.mark.parametrize(
    ("delta", "effect"),
    [
        ({"type": "withdraw", "usdc": "10.0", "nonce": 1, "fee": "1.0"}, "-11"),
        ({"type": "accountClassTransfer", "usdc": "5.0", "toPerp": True}, "5"),
        ({"type": "internalTransfer", "usdc": "5.0", "user": ME, "destination": OTHER, "fee": "1.0"}, "-6"),
        ({"type": "internalTransfer", "usdc": "5.0", "user": OTHER, "destination": ME, "fee": "1.0"}, "5"),
        ({"type": "subAccountTransfer", "usdc": "5.0", "user": ME, "destination": OTHER}, "-5"),
        (
            {"type": "send", "user": ME, "destination": ME, "sourceDex": "spot", "destinationDex": "", "token": "USDC", "amount": "3.0"},
            "3",
        ),
    ],
)  # fmt: skip
def test_transfers_move_the_perp_balance_by_what_reaches_or_leaves_it(delta: Any, effect: str) -> None:
    (row,) = parse_account.ledger(Node([{"time": T, "hash": "0x1", "delta": delta}], "reply"), ME)
    assert row.perp_usd == Decimal(effect)


def test_a_transfer_of_an_unknown_kind_is_not_taken_for_nothing() -> None:
    (row,) = parse_account.ledger(Node([{"time": T, "hash": "0x1", "delta": {"type": "new"}}], "reply"), ME)
    assert row.perp_usd is None


def test_a_movement_of_more_than_can_be_is_refused_though_each_of_its_parts_can_be() -> None:
    delta = {"type": "withdraw", "usdc": "10.0", "nonce": 1, "fee": "1000000000000000.0"}
    with pytest.raises(DataError, match="beyond what can be"):
        parse_account.ledger(Node([{"time": T, "hash": "0x1", "delta": delta}], "reply"), ME)


def answer(*statuses: Any, kind: str = "order") -> Node:
    return Node({"status": "ok", "response": {"type": kind, "data": {"statuses": list(statuses)}}}, "answer")


def test_answers_to_a_batch_are_one_for_each_order() -> None:
    told = parse_orders.placed(
        answer({"resting": {"oid": 5}}, {"filled": {"totalSz": "0.5", "avgPx": "2.0", "oid": 6}}, {"error": "no"}, "waitingForFill"),
        4,
    )  # fmt: skip
    assert told == (
        Placed(OrderStatus.RESTING, 5),
        Placed(OrderStatus.FILLED, 6, Decimal("0.5"), Decimal("2.0")),
        Placed(OrderStatus.REJECTED, reason="no"),
        Placed(OrderStatus.WAITING),
    )


def test_one_error_for_a_whole_batch_stands_for_each_order_but_one_success_does_not() -> None:
    assert [each.reason for each in parse_orders.placed(answer({"error": "no"}), 3)] == ["no"] * 3
    with pytest.raises(DataError, match="1 answers for 3 orders"):
        parse_orders.placed(answer({"resting": {"oid": 5}}), 3)
    with pytest.raises(DataError, match="2 answers for 1 cancels"):
        parse_orders.canceled(answer("success", "success", kind="cancel"), 1)


def test_a_refused_action_is_refused_in_the_venues_words() -> None:
    with pytest.raises(Refused, match="Action already expired"):
        parse_orders.placed(Node({"status": "err", "response": "Action already expired"}, "answer"), 1)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("open", Ending.OPEN),
        ("triggered", Ending.OPEN),
        ("filled", Ending.FILLED),
        ("reduceOnlyCanceled", Ending.CANCELED),
        ("scheduledCancel", Ending.CANCELED),
        ("minTradeNtlRejected", Ending.REJECTED),
        ("somethingNew", Ending.UNKNOWN),
    ],
)
def test_status_words_mean_what_their_form_says(word: str, meaning: Ending) -> None:
    assert parse_orders.ending(word) is meaning


def test_what_nothing_reads_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="portfolio"):
        parse_reply({"type": "portfolio"}, Node({}, "reply"))
    with pytest.raises(DataError, match="notification"):
        parse_frame("notification", Node({}, "frame"))


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_decimal_is_read_exactly_or_refused(value: Decimal) -> None:
    node = Node(f"{value:f}", "x")
    try:
        assert node.number() == value
    except DataError:
        digits = f"{value:f}".lstrip("-").partition(".")
        assert not value.is_finite() or abs(value) > 10**15 or len(digits[0]) > 21 or len(digits[2]) > 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*FILL, *ORDER, "levels", "time"]) | st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@given(
    JSON,
    st.sampled_from(
        ["meta", "clearinghouseState", "frontendOpenOrders", "userFillsByTime", "orderStatus", "l2Book"]
    ),
)
def test_any_json_at_all_is_read_or_refused_and_nothing_else(value: Any, kind: str) -> None:
    try:
        parse_reply({"type": kind, "user": ME}, Node(value, kind))
    except DataError:
        pass
    else:
        assert value in ([], {"status": "unknownOid"}) or isinstance(value, list | dict)
