"""What a cancel comes to, by a scripted venue, and what a start takes up of what an earlier run had sent."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bot.model.attempt import AttemptState
from bot.model.decision import Cancel
from bot.model.instrument import Instrument, MarginTier
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side, TimeInForce
from bot.venues.attempts import Attempts, Named
from bot.venues.cex.books import Market
from bot.venues.cex.differences import TABLE
from bot.venues.cex.lookup import Lookup
from bot.venues.cex.orders import Register
from bot.venues.cex.sending import Sender
from bot.venues.cex.terms import CexTerms
from bot.venues.cex.wire import CONDITIONAL
from bot.venues.outbox import MemoryOutbox
from bot.venues.venue_clock import VenueClock
from tests.venues.cex.scripted import NOW_MS, Answer, Wire, client_of
from tests.venues.cex.test_orders_signed import MARKETS, SYMBOL

BTC = Market(
    Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 50),), tick=Decimal("0.1"), venue="binance"),
    SYMBOL, "BTCUSDT", Decimal(1),
)  # fmt: skip
ORDER = Order(
    "d1-binance:BTC-entry",
    "binance:BTC",
    Side.BUY,
    10,
    Decimal(50_000),
    TimeInForce.GTC,
    purpose=Purpose.ENTRY,
)


def told(status: str, filled: str = "0.000") -> dict[str, Any]:
    return {
        "orderId": 55, "symbol": "BTCUSDT", "status": status, "clientOrderId": "somebody", "price": "50000",
        "avgPrice": "50000", "origQty": "0.010", "executedQty": filled, "cumQuote": "0", "side": "BUY", "type": "LIMIT",
        "timeInForce": "GTC", "reduceOnly": False, "positionSide": "BOTH", "time": NOW_MS, "updateTime": NOW_MS,
    }  # fmt: skip


def sender_of(answers: dict[str, Answer], attempts: Attempts) -> tuple[Sender, Register, Wire, Any]:
    client, wire, _ = client_of("binance", {**MARKETS["binance"], **answers})

    async def time_ms() -> int:
        return NOW_MS

    async def no_time(_: float) -> None: ...

    row, clock = TABLE["binance"], VenueClock(time_ms, lambda: 0.0)
    clock.venue_ms = NOW_MS
    register = Register([BTC], attempts, row.forced)
    terms = CexTerms("binance", "testnet", ("BTC",), resolve_s=1, poll_s=0.5)
    lookup = Lookup(client, row, lambda: NOW_MS)
    return (
        Sender(terms, row, client, lookup, clock, register, lambda _: "50000", no_time),
        register,
        wire,
        client,
    )


def cancel(answer: Answer, order_id: int = 55) -> tuple[list[OrderReport], list[tuple[str, str]]]:
    """Withdraw an order that is known to be open; what is reported, and what was asked."""
    answers = {"/fapi/v1/order": answer, "/fapi/v1/algoOrder": answer}
    sender, register, wire, client = sender_of(answers, Attempts("testnet", "binance", MemoryOutbox()))
    register.open["binance:BTC", order_id] = OrderReport(NOW_MS, order_id, ORDER, OrderStatus.RESTING)

    async def run() -> list[OrderReport]:
        try:
            await client.ask("load_markets")
            return await sender.cancel([Cancel(order_id, ORDER.client_id, "binance:BTC", "it moved")])
        finally:
            await client.close()

    reports = asyncio.run(run())
    return reports, [(method, path.rpartition("/")[2]) for method, path, _ in wire.sent[1:]]


def test_what_was_withdrawn_is_reported_as_the_order_that_it_was_and_why() -> None:
    (report,), asked = cancel(told("CANCELED", "0.004"))
    assert (report.status, report.filled_lots, report.reason) == (OrderStatus.CANCELED, 4, "it moved")
    assert report.order == ORDER
    assert asked == [("DELETE", "order"), ("GET", "order")]


def test_what_had_filled_is_reported_as_that_and_what_is_open_still_not_at_all() -> None:
    (report,), _ = cancel(told("FILLED", "0.010"))
    assert (report.status, report.filled_lots, report.reason) == (OrderStatus.FILLED, 10, "")
    assert cancel(told("NEW"))[0] == []


def test_a_cancel_that_is_refused_leaves_it_to_the_venue_what_the_order_became() -> None:
    answers = iter([(400, {"code": -2011, "msg": "Unknown order sent."}), told("FILLED", "0.010")])
    (report,), _ = cancel(lambda _: next(answers))
    assert report.status is OrderStatus.FILLED


def test_what_waits_for_a_price_is_withdrawn_where_such_orders_are_kept() -> None:
    _, asked = cancel((400, {"code": -2011, "msg": "Unknown order sent."}), CONDITIONAL + 55)
    assert asked[0] == ("DELETE", "algoOrder")
    assert ("GET", "algoOrder") in asked


@pytest.mark.parametrize(("expires_ms", "expected_ms"), [(NOW_MS + 5_000, NOW_MS + 5_000), (None, NOW_MS)])
def test_a_start_takes_up_what_its_own_exchange_has_not_answered(
    expires_ms: int | None, expected_ms: int
) -> None:
    outbox = MemoryOutbox()
    attempts = Attempts("testnet", "binance", outbox)
    elsewhere = replace(ORDER, client_id="d1-BTC-entry", instrument="BTC")
    for nonce, order in enumerate((ORDER, elsewhere)):
        named = Named(order, attempts.cloid(order.client_id), "50000")
        attempts.write([named], nonce=nonce, expires_ms=expires_ms, body=b"", at_ms=NOW_MS)
    sender, _, _, client = sender_of({}, attempts)
    sender.take_up()
    asyncio.run(client.close())
    (lost,) = sender.lost
    assert (lost.order.client_id, lost.expires_ms) == (ORDER.client_id, expected_ms)
    states = {each.coin: each.state for each in outbox.since(0)}
    assert states == {"binance:BTC": AttemptState.UNKNOWN, "BTC": AttemptState.SENT}
