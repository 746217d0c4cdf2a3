"""What an operator may ask of the trader by hand, read from a command's JSON with nothing taken on trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from bot.errors import ConfigError
from bot.model.decision import Decision
from bot.model.instrument import Instrument
from bot.model.order import Order, OrderReport, OrderStatus, Side
from bot.pipeline.mandate import Execution, Guard

LARGEST_USD: Final = Decimal(10) ** 9


@dataclass(frozen=True, slots=True)
class TradeWish:
    """Buy or sell a coin for `usd` at market; `stop_loss` and `take_profit` are fractions of the entry price."""

    column: int
    side: Side
    usd: Decimal
    stop_loss: float | None
    take_profit: float | None

    def guard(self, execution: Execution) -> Guard | None:
        """The distances asked for, beside the mandate's; None where none was."""
        if self.stop_loss is None and self.take_profit is None:
            return None
        return Guard(
            execution.stop_loss if self.stop_loss is None else self.stop_loss,
            execution.take_profit if self.take_profit is None else self.take_profit,
        )

    def lots(self, instrument: Instrument, mark: Decimal) -> int:
        """Signed lots for the dollars at a price, rounded toward none."""
        return instrument.lots(self.usd / mark) * self.side.sign


def trade_wish(content: Mapping[str, Any], instruments: Sequence[Instrument]) -> TradeWish:
    """The wish in a command. ConfigError for one that makes no sense."""
    names = [instrument.name for instrument in instruments]
    coin = content.get("coin")
    if not isinstance(coin, str) or coin not in names:
        raise ConfigError(f"{coin!r} is not traded by this daemon; it trades {', '.join(names)}")
    side = content.get("side")
    if not isinstance(side, str) or side not in {"buy", "sell"}:
        raise ConfigError(f"the side must be buy or sell, was {side!r}")
    try:
        usd = Decimal(str(content.get("usd")))
    except InvalidOperation:
        usd = Decimal(0)
    if not usd.is_finite() or not 0 < usd <= LARGEST_USD:
        raise ConfigError(f"the amount must be dollars above 0, was {content.get('usd')!r}")
    return TradeWish(
        names.index(coin),
        Side.BUY if side == "buy" else Side.SELL,
        usd,
        _fraction(content, "stop_loss"),
        _fraction(content, "take_profit"),
    )


def _fraction(content: Mapping[str, Any], key: str) -> float | None:
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(f"{key} must be a distance above 0 and below 100%, was {value!r}")
    return float(value)


def trade_facts(
    decision: Decision, reports: Sequence[OrderReport], instruments: Sequence[Instrument]
) -> dict[str, Any]:
    """What is answered: the decision, the findings, and each order with the venue's or the signer's word on it."""
    by_name = {instrument.name: instrument for instrument in instruments}
    latest: dict[str, OrderReport] = {report.order.client_id: report for report in reports}
    orders = [_told(order, latest.get(order.client_id), by_name) for order in decision.plan.orders]
    extra = [
        _told(report.order, report, by_name)
        for name, report in latest.items()
        if name not in {order.client_id for order in decision.plan.orders}
    ]
    return {
        "decision": decision.snapshot_id,
        "findings": [
            {"rule": each.rule, "coin": each.instrument or None, "detail": each.detail}
            for each in decision.findings
        ],
        "orders": orders + extra,
    }


def _told(order: Order, report: OrderReport | None, instruments: Mapping[str, Instrument]) -> dict[str, Any]:
    instrument = instruments[order.instrument]
    return {
        "id": order.client_id,
        "coin": order.instrument,
        "side": order.side.value,
        "size": str(instrument.size(order.lots)),
        "purpose": order.purpose.value,
        "trigger_price": None if order.trigger is None else str(order.trigger.price),
        "status": "unanswered" if report is None else report.status.value,
        "filled": "0" if report is None else str(instrument.size(report.filled_lots)),
        "average_price": None if report is None or not report.filled_lots else str(report.average_price),
        "reason": "" if report is None else report.reason,
    }


def went_through(reports: Sequence[OrderReport]) -> bool:
    """Whether something was sent and nothing of it was refused."""
    return bool(reports) and all(report.status is not OrderStatus.REJECTED for report in reports)
