"""What happened, a log line each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import structlog

from bot.clock import utc
from bot.model.decision import Decision
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, OrderStatus, Transfer
from bot.venues.venue import AccountState, VenueEvent

log = structlog.get_logger("hedgerow")


def money(amount: Decimal) -> str:
    """Dollars and cents, signed only where negative."""
    return f"{amount:,.2f}"


def short(price: Decimal) -> str:
    """A price to six figures, for a log line."""
    return f"{price:,.6g}"


def begins(
    name: str,
    run: int,
    time_ms: int,
    account: AccountState,
    strategies: Sequence[str],
    history_h: int,
    *,
    goes_on: bool,
) -> None:
    """A run has begun, or one goes on from its journal."""
    log.info(
        "run goes on" if goes_on else "run begins",
        run=run,
        name=name,
        market=utc(time_ms),
        equity_usd=money(account.equity_usd),
        positions=len(account.positions),
        strategies=", ".join(strategies),
        history_h=history_h,
    )


class Findings:
    """What the rules found, said once as long as it stays the same."""

    def __init__(self) -> None:
        self._said: tuple[tuple[str, str], ...] = ()

    def say(self, decision: Decision) -> None:
        """What is new of a decision's findings."""
        found = tuple((finding.rule, finding.instrument) for finding in decision.findings)
        for finding in decision.findings:
            if (finding.rule, finding.instrument) not in self._said:
                log.warning(finding.rule, coin=finding.instrument or "all", found=finding.detail)
        self._said = found


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
