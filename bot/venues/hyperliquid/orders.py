"""Our orders and the venue's: one carries a client id and a purpose, the other a cloid and an order id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from bot.model.attempt import Attempt
from bot.model.instrument import Instrument, Kind
from bot.model.money import ZERO
from bot.model.order import (
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    TriggerKind,
)
from bot.text import plain
from bot.venues.attempts import Attempts, epoch_of
from bot.venues.edge import lots_of
from bot.venues.hyperliquid import signing
from bot.venues.hyperliquid.parse_orders import Ending, StatusOf, VenueOrder

FORGOTTEN_MS: Final = 120_000
"""What the venue tells of an account may stand still for so long at most after an action."""

TIF: Final = {TimeInForce.GTC: "Gtc", TimeInForce.ALO: "Alo", TimeInForce.IOC: "Ioc"}
TAKER_SLIPPAGE: Final = Decimal("0.05")
TRIGGER_SLIPPAGE: Final = Decimal("0.10")

STATUS: Final = {
    Ending.FILLED: OrderStatus.FILLED,
    Ending.CANCELED: OrderStatus.CANCELED,
    Ending.REJECTED: OrderStatus.REJECTED,
}


def to_sign(order: Order, instrument: Instrument, mark: Decimal, cloid: str) -> signing.Order:
    """The order as the signer is asked for it. What takes the market is given the worst price it may pay."""
    buys = order.side is Side.BUY
    sign = order.side.sign
    trigger = None
    if order.trigger is not None:
        kind = "sl" if order.trigger.kind is TriggerKind.STOP else "tp"
        is_market = order.limit_price is None
        trigger = signing.Trigger("sl" if kind == "sl" else "tp", plain(order.trigger.price), is_market)
        price = order.limit_price or order.trigger.price * (1 + sign * TRIGGER_SLIPPAGE)
    else:
        price = order.limit_price or mark * (1 + sign * TAKER_SLIPPAGE)
    return signing.Order(
        coin=order.instrument,
        side="buy" if buys else "sell",
        size=plain(instrument.size(order.lots)),
        price=plain(instrument.round_price(price, up=not buys)),
        cloid=cloid,
        tif=None if trigger is not None else _tif(order.time_in_force),
        trigger=trigger,
        reduce_only=order.reduce_only
        and instrument.kind is not Kind.SPOT,  # which the venue takes there for none
    )


def _tif(force: TimeInForce) -> Any:
    return TIF[force]


def _resting(attempt: Attempt, instrument: Instrument) -> Order:
    """An order that rests as its attempt tells it; a trigger is where its worst price was reckoned from."""
    price, trigger = Decimal(attempt.price), None
    if attempt.purpose in (Purpose.STOP, Purpose.TAKE_PROFIT):
        kind = TriggerKind.STOP if attempt.purpose is Purpose.STOP else TriggerKind.TAKE_PROFIT
        trigger = Trigger(kind, instrument.round_price(price / (1 + attempt.side.sign * TRIGGER_SLIPPAGE)))
    return Order(
        attempt.client_id,
        attempt.coin,
        attempt.side,
        attempt.lots,
        None if trigger else price,
        TimeInForce.IOC if trigger else TimeInForce.GTC,
        reduce_only=attempt.reduce_only,
        trigger=trigger,
        purpose=attempt.purpose,
    )


class Register:
    """Which orders are ours, and which of them were open when last looked at."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        attempts: Attempts,
        wire: Callable[[str], str] = lambda name: name,
    ) -> None:
        self._instruments = {instrument.name: instrument for instrument in instruments}
        self._instruments |= {wire(instrument.name): instrument for instrument in instruments}
        self.attempts = attempts
        self.open: dict[int, OrderReport] = {}  # by order id, as last reported
        self.twins: set[str] = (
            set()
        )  # cloids as ours that the outbox doesn't hold: of another daemon, or another outbox
        self.adopted: set[str] = set()  # of these the operator has said that there is no other daemon

    def instrument(self, coin: str) -> Instrument | None:
        """One of those we trade, by its name or by what it is called on the wire."""
        return self._instruments.get(coin)

    def whose(self, cloid: str | None, order_id: int) -> tuple[str, Purpose | None]:
        """Client id and purpose of an order; those of strangers are named for their order id, and have no purpose."""
        known = self.attempts.whose(cloid)
        if known is not None:
            return known
        if cloid is not None and epoch_of(cloid) is not None and cloid not in self.adopted:
            self.twins.add(cloid)
        report = self.open.get(order_id)
        if report is not None:
            return report.order.client_id, report.order.purpose
        return cloid or f"venue-{order_id}", None

    def order(self, shown: VenueOrder) -> Order | None:
        """The order that the venue shows, in our terms; None where it isn't one of our instruments'."""
        instrument = self.instrument(shown.coin)
        if instrument is None or shown.original == 0:
            return None
        client_id, purpose = self.whose(shown.cloid, shown.order_id)
        takes = shown.trigger is not None and shown.is_market
        return Order(
            client_id=client_id,
            instrument=instrument.name,
            side=shown.side,
            lots=lots_of(instrument, shown.original, "an order's size"),
            limit_price=None if takes else shown.limit_price,
            time_in_force=TimeInForce.IOC if takes else shown.time_in_force,
            reduce_only=shown.reduce_only or (instrument.kind is Kind.SPOT and shown.side is Side.SELL),
            trigger=shown.trigger,
            purpose=purpose or Purpose.EXTERNAL,
        )

    def opened(self, shown: VenueOrder) -> OrderReport | None:
        """The report of an order among the open ones, which alone know how much of it is left."""
        order = self.order(shown)
        if order is None:
            return None
        left = lots_of(self._instruments[shown.coin], shown.remaining, "an order's rest")
        return OrderReport(
            time_ms=shown.time_ms,
            order_id=shown.order_id,
            order=order,
            status=OrderStatus.RESTING if shown.trigger is None else OrderStatus.WAITING,
            filled_lots=order.lots - left,
            average_price=shown.limit_price if order.lots > left else ZERO,
        )

    def ended(self, told: StatusOf, filled: tuple[int, Decimal]) -> OrderReport | None:
        """The report of an order by its status; how much of it was filled is known from fills alone."""
        order = self.order(told.order)
        if order is None:
            return None
        lots, average = filled
        status = STATUS.get(told.ending)
        if status is None:
            status = OrderStatus.RESTING if told.order.trigger is None else OrderStatus.WAITING
        reason = told.word if status in {OrderStatus.CANCELED, OrderStatus.REJECTED} else ""
        if status is OrderStatus.FILLED and lots == 0:
            lots, average = order.lots, told.order.limit_price
        return OrderReport(told.time_ms, told.order.order_id, order, status, lots, average, reason)

    def note(self, report: OrderReport) -> None:
        """Keep what is open up to date."""
        if report.status.is_open:
            self.open[report.order_id] = report
        else:
            self.open.pop(report.order_id, None)

    def take_up(self, attempts: Sequence[Attempt]) -> None:
        """What an earlier run was told of that it rests is open, though the venue's list may not have it yet."""
        for each in attempts:
            instrument, evidence = self.instrument(each.coin), each.evidence
            if instrument is None or evidence is None or not evidence.order_id:
                continue
            order = _resting(each, instrument)
            status = OrderStatus.RESTING if order.trigger is None else OrderStatus.WAITING
            average = ZERO if order.limit_price is None or not each.filled_lots else order.limit_price
            self.note(
                OrderReport(evidence.at_ms, evidence.order_id, order, status, each.filled_lots, average)
            )

    def see(self, shown: Sequence[VenueOrder]) -> tuple[OrderReport, ...]:
        """Take in the open orders, and return those of our instruments."""
        reports = tuple(report for each in shown if (report := self.opened(each)) is not None)
        self.open |= {report.order_id: report for report in reports}
        return reports

    def keep(self, told: StatusOf, filled: tuple[int, Decimal]) -> None:
        """An order that isn't listed, but of which the venue does not say that it has ended."""
        report = self.ended(told, filled)
        if report is not None and report.order_id not in self.open:
            self.open[report.order_id] = report

    def forget(self, order_id: int, now_ms: int) -> None:
        """An order that the venue neither lists nor knows: after a while it is taken to be gone."""
        report = self.open.get(order_id)
        if report is not None and now_ms - report.time_ms > FORGOTTEN_MS:
            del self.open[order_id]

    def state(self) -> dict[str, Any]:
        """Which order ids were open, as JSON values."""
        return {"open": sorted(self.open)}

    def restore(self, state: Mapping[str, Any]) -> tuple[int, ...]:
        """The ids of the orders that were open when `state` was taken."""
        return tuple(int(order_id) for order_id in state["open"])
