"""Our orders and the venue's: one carries a client id and a purpose, the other the name that we gave it and an order id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from bot.model.account import MarginMode
from bot.model.attempt import Attempt
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
from bot.signer.cex_client import SignedRequest
from bot.venues.cex import wire
from bot.venues.cex.books import Market, lots_of
from bot.venues.cex.differences import Differences
from bot.venues.cex.wire import Shown
from bot.venues.hyperliquid.attempts import Attempts, epoch_of
from bot.venues.hyperliquid.signing import text

FORGOTTEN_MS: Final = 120_000
"""What the venue tells of an account may be behind for so long at most."""

Key = tuple[str, int]
"""Instrument and the venue's order id, which is unique within one market only."""


class CexAttempts(Attempts):
    """An account's attempts; at the venue each is called by its cloid without the 0x, which every exchange takes."""

    def record(self, order: Order, cloid: str, price: str, signed: SignedRequest, at_ms: int) -> None:
        """Write an order down before it leaves. StateError where that can't be: then it must not leave."""
        content = f"{signed.query}{signed.body}".encode()
        self.outbox.write(
            [
                Attempt(
                    cloid=cloid,
                    client_id=order.client_id,
                    decision_id=order.client_id.partition("-")[0],
                    coin=order.instrument,
                    side=order.side,
                    lots=order.lots,
                    price=price,
                    reduce_only=order.reduce_only,
                    purpose=order.purpose,
                    nonce=signed.nonce,
                    expires_ms=signed.expires_after_ms,
                    body_sha256=hashlib.sha256(content).hexdigest(),
                    sent_ms=at_ms,
                )
            ]
        )
        self._remember(cloid, (order.client_id, order.purpose))


def name_of(cloid: str) -> str:
    """What an attempt is called at the venue."""
    return cloid.removeprefix("0x")


def cloid_of_name(name: str) -> str | None:
    """The cloid behind a venue's client id; None for one that is not of our form."""
    cloid = f"0x{name}"
    return cloid if len(cloid) == 34 and epoch_of(cloid) is not None else None


def asked(
    order: Order, market: Market, differences: Differences, cloid: str, mode: MarginMode
) -> tuple[Any, ...]:
    """The arguments of the library's `create_order`: symbol, type, side, contracts, price and parameters, all text."""
    instrument = market.instrument
    contracts = text(instrument.size(order.lots) / market.contract)
    params: dict[str, Any] = {differences.new_client_id: name_of(cloid), **differences.always}
    kind, price = "market", None
    if order.trigger is not None:
        trigger = text(instrument.round_price(order.trigger.price))
        stops = order.trigger.kind is TriggerKind.STOP
        params |= {"stopLossPrice" if stops else "takeProfitPrice": trigger, **differences.trigger}
    elif order.limit_price is not None:
        kind = "limit"
        price = text(instrument.round_price(order.limit_price, up=order.side is Side.SELL))
        if order.time_in_force is TimeInForce.IOC:
            params |= differences.ioc
        elif order.time_in_force is TimeInForce.ALO:
            params |= differences.post_only
    if order.reduce_only:
        params |= differences.reduce_only
    if differences.margin_mode_of == "order":
        params["marginMode"] = mode.value
    return market.symbol, kind, order.side.value, contracts, price, params


class Register:
    """Which orders are ours, and which of them were open when last looked at."""

    def __init__(self, markets: Sequence[Market], attempts: CexAttempts) -> None:
        self.markets = {market.instrument.name: market for market in markets}
        self._by_symbol = {market.symbol: market for market in markets}
        self.attempts = attempts
        self.open: dict[Key, OrderReport] = {}
        self.venue_ids: dict[Key, str] = {}
        self._names: dict[Key, tuple[str, Purpose]] = {}
        self.twins: set[str] = set()  # cloids of our form that the outbox doesn't hold

    def whose(self, instrument: str, order_id: int) -> tuple[str, Purpose]:
        """Client id and purpose of an order by its id; a stranger's is named for the id."""
        return self._names.get((instrument, order_id), (f"venue-{order_id}", Purpose.EXTERNAL))

    def knows(self, instrument: str, order_id: int) -> bool:
        """Whether it is known whose the order is."""
        return (instrument, order_id) in self._names

    def order(self, shown: Shown) -> Order:
        """The order that the venue shows, in our terms."""
        instrument = self._by_symbol[shown.symbol].instrument
        cloid = cloid_of_name(shown.client_name)
        known = self.attempts.whose(cloid)
        if known is None and cloid is not None:
            self.twins.add(cloid)
        client_id, purpose = known or (shown.client_name or f"venue-{shown.order_id}", Purpose.EXTERNAL)
        self._names[instrument.name, shown.order_id] = client_id, purpose
        self.venue_ids[instrument.name, shown.order_id] = shown.venue_id
        trigger = None
        if shown.trigger_price is not None:
            kind = TriggerKind.TAKE_PROFIT if shown.is_take_profit else TriggerKind.STOP
            trigger = Trigger(kind, shown.trigger_price)
        takes = shown.limit_price is None
        return Order(
            client_id=client_id,
            instrument=instrument.name,
            side=shown.side,
            lots=lots_of(instrument, shown.coins, "an order's size"),
            limit_price=shown.limit_price,
            time_in_force=TimeInForce.IOC if takes else shown.tif,
            reduce_only=shown.reduce_only,
            trigger=trigger,
            purpose=purpose,
        )

    def report(self, shown: Shown, order: Order | None = None) -> OrderReport:
        """The report of an order that the venue shows; of `order` where it is known what was asked for."""
        seen = self.order(shown)
        order = seen if order is None else order
        lots = lots_of(self.markets[seen.instrument].instrument, shown.filled, "what was filled")
        status, reason = OrderStatus.RESTING, ""
        if shown.status == wire.OPEN:
            status = OrderStatus.RESTING if order.trigger is None else OrderStatus.WAITING
        elif shown.status == wire.FILLED:
            status = OrderStatus.FILLED
        elif shown.status == wire.REJECTED:
            status, reason = OrderStatus.REJECTED, "the venue rejected it"
        else:
            status, reason = OrderStatus.CANCELED, shown.status
            if order.time_in_force is TimeInForce.IOC and lots:
                reason = "the rest could not match at once"
        return OrderReport(shown.time_ms, shown.order_id, order, status, lots, shown.average, reason)

    def note(self, report: OrderReport) -> None:
        """Keep what is open, and whose it is, up to date."""
        if not report.order_id:
            return
        key = report.order.instrument, report.order_id
        self._names[key] = report.order.client_id, report.order.purpose
        if report.status.is_open:
            self.open[key] = report
        else:
            self.open.pop(key, None)

    def take_up(self, attempts: Sequence[Attempt]) -> None:
        """Whose the orders are that an earlier run was told of, and which of them were open then."""
        for each in attempts:
            evidence = each.evidence
            if each.coin not in self.markets or evidence is None or not evidence.order_id:
                continue
            self._names[each.coin, evidence.order_id] = each.client_id, each.purpose

    def forget(self, before: Mapping[Key, int]) -> None:
        """Names of orders that ended long ago (by key, when) are dropped."""
        for key in before:
            if key not in self.open:
                self._names.pop(key, None)
                self.venue_ids.pop(key, None)

    def state(self) -> dict[str, Any]:
        """Which orders were open, as JSON values."""
        return {
            "open": [
                [name, order_id, self.venue_ids.get((name, order_id), "")] for name, order_id in self.open
            ]
        }

    def restore(self, state: Mapping[str, Any]) -> list[Key]:
        """The orders that were open when `state` was taken."""
        keys = []
        for name, order_id, venue_id in state["open"]:
            key = str(name), int(order_id)
            keys.append(key)
            self.venue_ids[key] = str(venue_id) or str(order_id)
        return keys


def rejected(order: Order, at_ms: int, reason: str) -> OrderReport:
    """The report of an order that came to nothing."""
    return OrderReport(at_ms, 0, order, OrderStatus.REJECTED, 0, Decimal(0), reason)
