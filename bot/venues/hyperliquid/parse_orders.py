"""Orders on the wire: open ones, their status, and what the venue answers to an action."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from bot.errors import Refused
from bot.model.money import ZERO
from bot.model.order import OrderStatus, Side, TimeInForce, Trigger, TriggerKind
from bot.venues.hyperliquid.parse_market import side
from bot.venues.hyperliquid.wire import Node

TIMES_IN_FORCE: Final = {
    "Gtc": TimeInForce.GTC,
    "Alo": TimeInForce.ALO,
    "Ioc": TimeInForce.IOC,
    "FrontendMarket": TimeInForce.IOC,
    "LiquidationMarket": TimeInForce.IOC,
}
CANCELED: Final = ("scheduledCancel", "internalCancel")


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue shows it; sizes in coins, `remaining` as of the last change of its status."""

    coin: str
    side: Side
    limit_price: Decimal
    remaining: Decimal
    original: Decimal
    order_id: int
    time_ms: int
    cloid: str | None = None
    reduce_only: bool = False
    trigger: Trigger | None = None
    is_market: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC


class Ending(StrEnum):
    """What a status word means; UNKNOWN words are looked into, never guessed."""

    OPEN = "open"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StatusOf:
    """An order with the venue's word on it."""

    order: VenueOrder
    word: str
    time_ms: int

    @property
    def ending(self) -> Ending:
        """The word's meaning."""
        return ending(self.word)


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to one order of a batch. `order_id` None for what carries none (children that wait, refusals)."""

    status: OrderStatus
    order_id: int | None = None
    filled: Decimal = ZERO
    average_price: Decimal = ZERO
    reason: str = ""


def ending(word: str) -> Ending:
    """Sorted by the word's form, since the venue keeps adding words."""
    if word in {"open", "triggered"}:
        return Ending.OPEN
    if word == "filled":
        return Ending.FILLED
    if word == "rejected" or word.endswith("Rejected"):
        return Ending.REJECTED
    if word == "canceled" or word.endswith("Canceled") or word in CANCELED:
        return Ending.CANCELED
    return Ending.UNKNOWN


def open_orders(node: Node) -> tuple[VenueOrder, ...]:
    """An `openOrders` or `frontendOpenOrders` reply; an order that stands twice is refused.

    Children that wait for a parent stand beside it as well as in it; they are read where they stand beside it.
    """
    found: dict[int, VenueOrder] = {}
    for each in node.items():
        order = venue_order(each)
        if order.order_id in found:
            each["oid"].refuse(f"stands twice ({order.order_id})")
        found[order.order_id] = order
    return tuple(found.values())


def venue_order(node: Node) -> VenueOrder:
    """One order, in the short or in the long form."""
    remaining = node["sz"].amount()
    said = node.maybe("origSz")
    original = remaining if said is None else said.amount()
    if remaining > original:
        node["sz"].refuse(f"is more than the order's size ({remaining} of {original})")
    cloid, reduce_only = node.maybe("cloid"), node.maybe("reduceOnly")
    kind, force = node.maybe("orderType"), node.maybe("tif")
    waits = node.maybe("isTrigger")
    trigger = None
    if waits is not None and waits.flag():
        words = node["orderType"].text()
        sort = TriggerKind.TAKE_PROFIT if words.startswith("Take Profit") else TriggerKind.STOP
        if not words.startswith(("Take Profit", "Stop")):
            node["orderType"].refuse(f"is no trigger order's ({words!r})")
        trigger = Trigger(sort, node["triggerPx"].price())
    if force is not None and force.text() not in TIMES_IN_FORCE:
        force.refuse(f"should be one of {', '.join(TIMES_IN_FORCE)}, was {force.text()!r}")
    return VenueOrder(
        coin=node["coin"].name(),
        side=side(node["side"]),
        limit_price=node["limitPx"].price(),
        remaining=remaining,
        original=original,
        order_id=node["oid"].whole(1),
        time_ms=node["timestamp"].time_ms(),
        cloid=None if cloid is None else cloid.cloid(),
        reduce_only=reduce_only is not None and reduce_only.flag(),
        trigger=trigger,
        is_market=kind is not None and "Market" in kind.text(),
        time_in_force=TimeInForce.GTC if force is None else TIMES_IN_FORCE[force.text()],
    )


def status_of(node: Node) -> StatusOf | None:
    """An `orderStatus` reply; None where the venue knows no such order (yet, or any more)."""
    if node["status"].choice("order", "unknownOid") == "unknownOid":
        return None
    return with_status(node["order"])


def with_status(node: Node) -> StatusOf:
    """`{order, status, statusTimestamp}`, as in histories and in `orderUpdates` frames."""
    return StatusOf(venue_order(node["order"]), node["status"].name(), node["statusTimestamp"].time_ms())


def history(node: Node) -> tuple[StatusOf, ...]:
    """A `historicalOrders` reply or an `orderUpdates` frame; the same order may stand there in several states."""
    return tuple(with_status(each) for each in node.items())


# Answers of /exchange


def done(node: Node) -> Node:
    """The `response` of an action that the venue took in. Refused with its own words where it did not."""
    if node["status"].choice("ok", "err") == "err":
        raise Refused(f"the venue refused: {node['response'].text()[:300]}")
    return node["response"]


def placed(node: Node, count: int) -> tuple[Placed, ...]:
    """The answer to a batch of `count` orders, one for each. Refused as `done`.

    One error for the whole batch stands for each of its orders, none of which was placed.
    """
    response = done(node)
    if (said := response["type"].text()) != "order":
        response["type"].refuse(f"should be 'order', was {said!r}")
    statuses = response["data"]["statuses"]
    found = [_placed(each) for each in statuses.items()]
    if len(found) == 1 < count and found[0].status is OrderStatus.REJECTED:
        found *= count
    if len(found) != count:
        statuses.refuse(f"has {len(found)} answers for {count} orders")
    return tuple(found)


def _placed(node: Node) -> Placed:
    if node.is_text:
        node.choice("waitingForFill", "waitingForTrigger")
        return Placed(OrderStatus.WAITING)
    if node.has("resting"):
        return Placed(OrderStatus.RESTING, node["resting"]["oid"].whole(1))
    if node.has("filled"):
        filled = node["filled"]
        return Placed(
            OrderStatus.FILLED, filled["oid"].whole(1), filled["totalSz"].amount(), filled["avgPx"].price()
        )
    return Placed(OrderStatus.REJECTED, reason=node["error"].text()[:300])


def canceled(node: Node, count: int) -> tuple[str, ...]:
    """The answer to a batch of `count` cancels: empty where it was cancelled, else the venue's reason."""
    response = done(node)
    statuses = response["data"]["statuses"]
    found = [
        each.choice("success") and "" if each.is_text else each["error"].text()[:300]
        for each in statuses.items()
    ]
    if len(found) == 1 < count and found[0]:
        found *= count
    if len(found) != count:
        statuses.refuse(f"has {len(found)} answers for {count} cancels")
    return tuple(found)
