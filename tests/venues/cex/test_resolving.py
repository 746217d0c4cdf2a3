"""What became of an order without an answer, by a scripted venue: two sources must not know it, and its time be over."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bot.errors import OutcomeUnknown
from bot.model.attempt import AttemptState, Proof
from bot.model.instrument import Instrument, MarginTier
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side
from bot.venues.attempts import Attempts
from bot.venues.cex.books import Market
from bot.venues.cex.differences import TABLE
from bot.venues.cex.lookup import Lookup
from bot.venues.cex.orders import Register, name_of
from bot.venues.cex.sending import Lost, Sender
from bot.venues.cex.terms import CexTerms
from bot.venues.outbox import MemoryOutbox
from bot.venues.venue_clock import VenueClock
from tests.venues.cex.scripted import NOW_MS, Answer, client_of
from tests.venues.cex.test_orders_signed import MARKETS, SYMBOL

ORDER = Order("d1-binance:BTC-entry", "binance:BTC", Side.BUY, 10, Decimal(50_000), purpose=Purpose.ENTRY)
UNKNOWN = (400, {"code": -2013, "msg": "Order does not exist."})
PAST_MS, BEFORE_MS = NOW_MS + 20_000, NOW_MS + 4_000
BAD_GATEWAY = (502, "<html>bad gateway</html>")


def found(cloid: str, **other: Any) -> dict[str, Any]:
    return {
        "orderId": 55, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": name_of(cloid), "price": "50000",
        "avgPrice": "49999.5", "origQty": "0.010", "executedQty": "0.010", "cumQuote": "499.995", "side": "BUY",
        "type": "LIMIT", "timeInForce": "IOC", "reduceOnly": False, "positionSide": "BOTH", "time": NOW_MS,
        "updateTime": NOW_MS,
    } | other  # fmt: skip


def resolve(
    answers: Mapping[str, Answer],
    venue_ms: int,
    *,
    reply: Answer = BAD_GATEWAY,
    senders: list[Sender] | None = None,
) -> tuple[OrderReport | None, MemoryOutbox, int]:
    """The order is placed, its reply is `reply`; then the venue answers and says that it is `venue_ms`."""
    outbox, row = MemoryOutbox(), TABLE["binance"]
    attempts = Attempts("testnet", "binance", outbox)
    instrument = Instrument(
        "binance:BTC", 3, (MarginTier(Decimal(0), 50),), tick=Decimal("0.1"), venue="binance"
    )
    market = Market(instrument, SYMBOL, "BTCUSDT", Decimal(1))
    cloid = attempts.cloid(ORDER.client_id)
    sent = 0

    def place_or_ask(params: dict[str, str]) -> Any:
        nonlocal sent
        if "newClientOrderId" in params:
            sent += 1
            return reply
        told = answers["/fapi/v1/order"]
        return found(cloid) if told == "found" else told

    listed = answers.get("/fapi/v1/allOrders", [])
    scripted: dict[str, Answer] = {
        **MARKETS["binance"], "/fapi/v1/algoOrder": UNKNOWN, "/fapi/v1/allAlgoOrders": [], **answers,
        "/fapi/v1/order": place_or_ask, "/fapi/v1/allOrders": [found(cloid)] if listed == "found" else listed,
    }  # fmt: skip

    async def run() -> OrderReport | None:
        client, _, _ = client_of("binance", scripted)

        async def time_ms() -> int:
            return venue_ms

        async def no_time(_: float) -> None: ...

        clock = VenueClock(time_ms, lambda: 0.0)
        clock.venue_ms = NOW_MS
        register = Register([market], attempts, row.forced)
        terms = CexTerms("binance", "testnet", ("BTC",), resolve_s=1, poll_s=0.5)
        lookup = Lookup(client, row, lambda: NOW_MS)
        sender = Sender(terms, row, client, lookup, clock, register, lambda _: "50000", no_time)
        if senders is not None:
            senders.append(sender)
        try:
            await client.ask("load_markets")
            return await sender.place(ORDER)
        except OutcomeUnknown:
            return None
        finally:
            await client.close()

    return asyncio.run(run()), outbox, sent


def test_found_by_its_name_it_is_what_the_venue_says() -> None:
    report, outbox, sent = resolve({"/fapi/v1/order": "found"}, BEFORE_MS)
    assert report is not None
    assert (report.status, report.filled_lots, report.average_price) == (
        OrderStatus.FILLED, 10, Decimal("49999.5"))  # fmt: skip
    assert report.order == ORDER
    (attempt,) = outbox.since(0)
    assert (attempt.state, sent) == (AttemptState.FILLED, 1)


def test_not_known_before_its_time_is_over_nothing_is_concluded() -> None:
    report, outbox, sent = resolve({"/fapi/v1/order": UNKNOWN}, BEFORE_MS)
    assert report is None
    assert [each.state for each in outbox.since(0)] == [AttemptState.UNKNOWN]
    assert sent == 1


@pytest.mark.parametrize(
    ("beyond_ms", "state"), [(10_000, AttemptState.UNKNOWN), (10_001, AttemptState.EXPIRED)]
)
def test_it_has_expired_ten_seconds_after_the_window_and_no_sooner(
    beyond_ms: int, state: AttemptState
) -> None:
    _, outbox, _ = resolve({"/fapi/v1/order": UNKNOWN}, NOW_MS + 5_000 + beyond_ms)
    assert [each.state for each in outbox.since(0)] == [state]


@pytest.mark.parametrize(
    ("reply", "answer", "is_settled"),
    [
        (found("0x" + "0" * 32), UNKNOWN, True),  # the reply says it
        ((400, {"code": -2019, "msg": "Margin is insufficient."}), UNKNOWN, True),
        (BAD_GATEWAY, "found", True),
        (BAD_GATEWAY, UNKNOWN, False),
    ],
)
def test_the_signer_is_told_up_to_which_order_every_outcome_is_known(
    reply: Any, answer: Any, is_settled: bool
) -> None:
    senders: list[Sender] = []
    _, outbox, _ = resolve({"/fapi/v1/order": answer}, BEFORE_MS, reply=reply, senders=senders)
    (attempt,) = outbox.since(0)
    assert (senders[0].through_nonce >= attempt.nonce) == is_settled


def test_not_known_by_two_sources_after_its_time_it_has_expired() -> None:
    report, outbox, sent = resolve({"/fapi/v1/order": UNKNOWN}, PAST_MS)
    assert report is not None
    assert report.status is OrderStatus.REJECTED
    (attempt,) = outbox.since(0)
    assert attempt.state is AttemptState.EXPIRED
    assert attempt.evidence is not None
    assert (attempt.evidence.proof, sent) == (Proof.EXPIRY, 1)


def test_forgotten_by_one_source_it_is_found_in_the_other() -> None:
    report, outbox, _ = resolve({"/fapi/v1/order": UNKNOWN, "/fapi/v1/allOrders": "found"}, PAST_MS)
    assert report is not None
    assert report.status is OrderStatus.FILLED
    assert [each.state for each in outbox.since(0)] == [AttemptState.FILLED]


def test_without_the_second_source_nothing_is_concluded() -> None:
    report, outbox, _ = resolve({"/fapi/v1/order": UNKNOWN, "/fapi/v1/allOrders": BAD_GATEWAY}, PAST_MS)
    assert report is None
    assert [each.state for each in outbox.since(0)] == [AttemptState.UNKNOWN]


def test_a_question_that_is_refused_says_nothing_of_the_order() -> None:
    gone = (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
    report, outbox, _ = resolve({"/fapi/v1/order": gone}, PAST_MS)
    assert report is None
    assert [each.state for each in outbox.since(0)] == [AttemptState.UNKNOWN]


@pytest.mark.parametrize("venue_ms", [BEFORE_MS, PAST_MS])
def test_an_order_of_another_name_says_nothing_of_ours(venue_ms: int) -> None:
    other = found("0xb001" + "7" * 28)
    report, outbox, _ = resolve({"/fapi/v1/order": other}, venue_ms)
    assert report is None
    assert [each.state for each in outbox.since(0)] == [AttemptState.UNKNOWN]


def test_what_was_found_out_is_handed_out_though_a_later_order_was_not_at_first() -> None:
    attempts = Attempts("testnet", "binance", MemoryOutbox())
    market = Market(
        Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 50),), tick=Decimal("0.1"), venue="binance"),
        SYMBOL, "BTCUSDT", Decimal(1),
    )  # fmt: skip
    first, second = (replace(ORDER, client_id=f"d{k}-binance:BTC-entry") for k in (1, 2))
    cloids = [attempts.cloid(each.client_id) for each in (first, second)]
    waits: list[int] = []
    known = {name_of(cloids[0]): found(cloids[0], orderId=55)}

    def ask(params: dict[str, str]) -> Any:
        return known.get(params["origClientOrderId"], UNKNOWN)

    async def run() -> list[OrderReport]:
        scripted: dict[str, Answer] = {
            **MARKETS["binance"], "/fapi/v1/order": ask, "/fapi/v1/algoOrder": UNKNOWN,
        }  # fmt: skip
        client, _, _ = client_of("binance", scripted)

        async def time_ms() -> int:
            return BEFORE_MS

        async def no_time(_: float) -> None:
            waits.append(1)

        row, clock = TABLE["binance"], VenueClock(time_ms, lambda: 0.0)
        register = Register([market], attempts, row.forced)
        terms = CexTerms("binance", "testnet", ("BTC",), resolve_s=1, poll_s=0.5)
        lookup = Lookup(client, row, lambda: NOW_MS)
        sender = Sender(terms, row, client, lookup, clock, register, lambda _: "50000", no_time)
        for k, (order, cloid) in enumerate(zip((first, second), cloids, strict=True)):
            sender.lost.append(Lost(2 * k + 1, NOW_MS, NOW_MS + 5000, order, cloid))
        try:
            await client.ask("load_markets")
            sender.settled_nonce = 2  # of an order between the two
            assert sender.through_nonce == 0
            for waited in (2, 0):  # a second, by half of one; then no more
                waits.clear()
                with pytest.raises(OutcomeUnknown):
                    await sender.resolve()
                assert (len(waits), sender.through_nonce) == (waited, 2)
            known[name_of(cloids[1])] = found(cloids[1], orderId=56)
            found_out = await sender.resolve()
            assert sender.through_nonce == 3  # what comes later the signer counts as its own
            return found_out
        finally:
            await client.close()

    told = asyncio.run(run())
    assert [(each.order.client_id, each.order_id) for each in told] == [
        (first.client_id, 55), (second.client_id, 56),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "reply",
    [
        "not json at all",
        {"orderId": 55},
        found("0x" + "0" * 32, side="SELL"),
        found("0x" + "0" * 32, origQty="0.020", executedQty="0.020"),
        found("0x" + "0" * 32, executedQty="0.030"),
        found("0x" + "0" * 32, status="WONDERFUL"),
        found("0x" + "0" * 32, price="NaN"),
    ],
)
def test_a_reply_that_cant_be_right_is_no_answer_and_the_venue_is_asked(reply: Any) -> None:
    report, outbox, sent = resolve({"/fapi/v1/order": "found"}, BEFORE_MS, reply=reply)
    assert report is not None
    assert (report.status, report.filled_lots, sent) == (OrderStatus.FILLED, 10, 1)
    assert [each.state for each in outbox.since(0)] == [AttemptState.FILLED]


def test_a_refusal_is_the_end_and_leaves_a_record() -> None:
    refusal = (400, {"code": -2019, "msg": "Margin is insufficient."})
    report, outbox, sent = resolve({"/fapi/v1/order": "found"}, BEFORE_MS, reply=refusal)
    assert report is not None
    assert report.status is OrderStatus.REJECTED
    assert ([each.state for each in outbox.since(0)], sent) == ([AttemptState.REJECTED], 1)
