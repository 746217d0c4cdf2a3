"""What happened, a log line each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import structlog

from bot.clock import utc
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, OrderStatus, Transfer
from bot.venues.venue import VenueEvent

log = structlog.get_logger("hedgerow")


def money(amount: Decimal) -> str:
    """Dollars and cents, signed only where negative."""
    return f"{amount:,.2f}"


def short(price: Decimal) -> str:
    """A price to six figures, for a log line."""
    return f"{price:,.6g}"


def report(events: Sequence[VenueEvent]) -> None:
    """One line for each thing that happened, funding together."""
    payments = [event for event in events if isinstance(event, FundingPayment)]
    for event in events:
        if isinstance(event, Fill):
            log.info(
                "filled",
                coin=event.instrument,
                side=event.side.value,
                usd=money(event.notional_usd),
                price=short(event.price),
                fee_usd=money(-event.fee_usd),
                purpose=event.purpose.value,
            )
        elif isinstance(event, OrderReport) and event.status is OrderStatus.REJECTED:
            order = event.order
            log.warning("refused", coin=order.instrument, order=order.client_id, reason=event.reason)
        elif isinstance(event, Transfer):
            log.warning("transfer", usd=money(event.usd), kind=event.kind)
        elif isinstance(event, Liquidation):
            log.error("liquidated", coin=event.instrument, kind=event.kind, price=short(event.price))
    if payments:
        total = sum((payment.usd for payment in payments), Decimal(0))
        log.info("funding", usd=money(total), positions=len(payments), market=utc(payments[-1].time_ms))
