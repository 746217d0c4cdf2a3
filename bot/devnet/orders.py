"""Placing, changing and cancelling orders as `/exchange` says it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bot.devnet.listing import asset_of, average_decimals, book_of, grid_of, is_spot, name_of, touch
from bot.devnet.records import Json, WireOrder
from bot.devnet.wire import CLOID, Fields, Malformed, cut, text
from bot.devnet.world import World
from bot.errors import Refused
from bot.model.account import MarginMode
from bot.model.instrument import MIN_ORDER_USD
from bot.model.order import Order, OrderReport, OrderStatus, Side, TimeInForce, Trigger, TriggerKind

TIFS: Final = {
    "Gtc": TimeInForce.GTC,
    "Alo": TimeInForce.ALO,
    "Ioc": TimeInForce.IOC,
    "FrontendMarket": TimeInForce.IOC,
    "LiquidationMarket": TimeInForce.IOC,
}
WHOLE_POSITION: Final = 10**12
"""Lots of an order for the whole position, whatever its size when it fires."""
MOST_OPEN_ORDERS: Final = 1000
MOST_OPEN_ORDERS_EVER: Final = 5000
VOLUME_PER_OPEN_ORDER_USD: Final = 5_000_000
NEVER_PLACED = "Order was never placed, already canceled, or filled."
POST_ONLY = "Post only order would have immediately matched"
CANNOT_MODIFY = "Cannot modify canceled or filled order."
UNKNOWN_ASSET = "Invalid asset"


@dataclass(frozen=True, slots=True)
class Ask:
    """One order as it was asked for, not yet held against any rule."""

    asset: int
    is_buy: bool
    price: Decimal
    size: Decimal
    reduce_only: bool
    tif: str | None
    trigger_price: Decimal | None
    trigger_is_market: bool
    trigger_kind: str
    cloid: str | None

    @classmethod
    def of(cls, row: Fields) -> Ask:
        """Raises Malformed on anything that is not an order."""
        kind, cloid = row.inner("t"), row.optional_string("c")
        if cloid is not None and not CLOID.fullmatch(cloid):
            raise Malformed
        tif, price, is_market, tpsl = None, None, False, ""
        if "limit" in kind.of:
            tif = kind.inner("limit").string("tif")
            if tif not in TIFS:
                raise Malformed
        else:
            trigger = kind.inner("trigger")
            price, is_market = trigger.decimal("triggerPx"), trigger.boolean("isMarket")
            tpsl = trigger.string("tpsl")
            if tpsl not in {"tp", "sl"}:
                raise Malformed
        return cls(
            row.integer("a"),
            row.boolean("b"),
            row.decimal("p"),
            row.decimal("s"),
            row.boolean("r"),
            tif,
            price,
            is_market,
            tpsl,
            cloid.lower() if cloid else None,
        )


def place(
    world: World, user: str, asks: list[Ask], grouping: str, builder: tuple[str, int] | None
) -> list[Any]:
    """The statuses of a batch of orders, in their order. Raises Refused if the payload as a whole can't be."""
    if not asks:
        raise Refused("Orders are empty.")
    if builder is not None:
        approved = world.records(user).builders.get(builder[0], 0)
        if builder[1] > approved:
            return [{"error": "Builder fee has not been approved."}]
    if grouping == "normalTpsl":
        return _with_children(world, user, asks, builder)
    if grouping == "positionTpsl":
        if any(ask.trigger_price is None for ask in asks):
            return [{"error": "Invalid TP/SL price."}]
        if not all(ask.reduce_only for ask in asks):
            return [{"error": "TP/SL order must be reduce only."}]
        statuses = [_place_one(world, user, ask, builder, is_position=True) for ask in asks]
        made = [
            status["resting"]["oid"]
            for status in statuses
            if isinstance(status, dict) and "resting" in status
        ]
        _make_siblings(world, user, made)
        return ["waitingForTrigger" if "resting" in status else status for status in statuses]
    return [_place_one(world, user, ask, builder) for ask in asks]


def _make_siblings(world: World, user: str, made: list[int]) -> None:
    for order_id in made:
        world.records(user).orders[order_id].siblings = [each for each in made if each != order_id]


def _with_children(world: World, user: str, asks: list[Ask], builder: tuple[str, int] | None) -> list[Any]:
    parent, children = asks[0], asks[1:]
    if parent.trigger_price is not None:
        return [{"error": "Main order cannot be trigger order."}]
    for child in children:
        if child.trigger_price is None or not child.reduce_only or child.is_buy == parent.is_buy:
            return [{"error": "Invalid TP/SL price."}]
        error = _off_limits(world, child)
        if error:
            return [{"error": f"{error} asset={child.asset}"}]
    # The children are known before the parent trades, because it may fill at once.
    waiting: list[WireOrder] = []
    for child in children:
        order = _wire_order(world, user, child, builder, world.exchange.reserve_order_id())
        waiting.append(order)
    for order in waiting:
        order.siblings = [each.order_id for each in waiting if each is not order]
    status = _place_one(world, user, parent, builder, children=waiting)
    if not isinstance(status, dict) or "error" in status:
        return [status] * len(asks)
    word = "waitingForTrigger" if "filled" in status else "waitingForFill"
    return [status] + [word] * len(children)


def _wire_order(
    world: World,
    user: str,
    ask: Ask,
    builder: tuple[str, int] | None,
    order_id: int,
    *,
    is_position: bool = False,
) -> WireOrder:
    return WireOrder(
        order_id,
        user,
        name_of(world, ask.asset) or "",
        ask.is_buy,
        ask.price,
        ask.size,
        world.now_ms,
        ask.tif,
        ask.reduce_only,
        ask.cloid,
        ask.trigger_price,
        ask.trigger_is_market,
        ask.trigger_kind,
        is_position,
        builder,
        remaining=ask.size,
        status_ms=world.now_ms,
    )


def _off_limits(world: World, ask: Ask) -> str:
    """Why an order can't be whatever the market is; empty if it can."""
    name = name_of(world, ask.asset)
    if name is None:
        return "Invalid spot" if is_spot(ask.asset) else UNKNOWN_ASSET
    grid = grid_of(world, name)
    if is_spot(ask.asset) and ask.trigger_price is not None:
        return "Placing trigger orders is not enabled on spot trading yet."
    if is_spot(ask.asset) and ask.reduce_only:
        return "Reduce-only is invalid for spot trading."
    if ask.price <= 0 or (ask.trigger_price is not None and ask.trigger_price <= 0):
        return "Order has invalid price."
    if ask.size < 0 or ask.size != grid.size(grid.lots(ask.size)):
        return "Order has invalid size."
    if ask.trigger_price is not None and (ask.price - ask.trigger_price) * (1 if ask.is_buy else -1) < 0:
        return "Invalid TP/SL price."
    return ""


def _place_one(
    world: World,
    user: str,
    ask: Ask,
    builder: tuple[str, int] | None,
    *,
    is_position: bool = False,
    children: list[WireOrder] | None = None,
) -> Any:
    error = _off_limits(world, ask)
    name = name_of(world, ask.asset) or ""
    whole = is_position and ask.size == 0
    if not error and ask.size == 0 and not whole:
        error = "Order has zero size."
    records = world.records(user)
    if not error and _too_many(world, user, ask):
        error = "Too many open orders."
    if not error:
        error = _too_large(world, ask)
    if error:
        return {"error": f"{error} asset={ask.asset}"}
    order = _wire_order(world, user, ask, builder, world.exchange.reserve_order_id(), is_position=whole)
    bid_ask = touch(world, name)
    records.add_order(order)
    for child in children or ():
        child.status_ms = world.now_ms
        records.add_order(child)
        world.dormant[child.order_id] = _order(world, child, whole=False)
    order.children = children or []
    order.status = "new"
    request = _order(world, order, whole=whole)
    report = submit(world, user, request, order.order_id)
    world.pump()
    if report.status is OrderStatus.REJECTED:
        for child in order.children:
            records.orders.pop(child.order_id, None)
        return {"error": f"{_reason(report, bid_ask)} asset={ask.asset}"}
    for child in order.children:
        if child.status == "open":
            world.set_status(child, "open", world.now_ms)
    return _placed(world, order, report)


def _too_many(world: World, user: str, ask: Ask) -> bool:
    """Whether there is no room for another open order. From a thousand on, nothing that only reduces or waits."""
    wallet = world.spot.wallet(user)
    count = len(world.exchange.open_ids(user)) + (len(wallet.open) if wallet is not None else 0)
    if count < MOST_OPEN_ORDERS:
        return False
    room = MOST_OPEN_ORDERS + int(world.records(user).cum_volume / VOLUME_PER_OPEN_ORDER_USD)
    return ask.reduce_only or ask.trigger_price is not None or count >= min(room, MOST_OPEN_ORDERS_EVER)


def submit(world: World, user: str, order: Order, order_id: int) -> OrderReport:
    """Hand an order to the exchange that lists its coin."""
    if order.instrument in world.spot.pairs:
        world.spot.exchange.join(user, world.exchange.traded(user))
        return world.spot.exchange.submit(user, order, world.now_ms, order_id)
    return world.exchange.submit(user, order, world.now_ms, order_id)


def _too_large(world: World, ask: Ask) -> str:
    if is_spot(ask.asset):
        return ""
    leverage = world.instruments[world.names[ask.asset]].max_leverage
    most = (
        30_000_000
        if leverage >= 25
        else 5_000_000
        if leverage >= 20
        else 2_000_000
        if leverage >= 10
        else 500_000
    )
    if ask.tif not in {"Ioc", "FrontendMarket"}:
        most *= 10
    return f"Order value too large. Max is ${most}." if ask.price * ask.size > most else ""


def _order(world: World, order: WireOrder, *, whole: bool) -> Order:
    """What the exchange is told of an order."""
    side = Side.BUY if order.is_buy else Side.SELL
    lots = WHOLE_POSITION if whole else grid_of(world, order.coin).lots(order.size)
    if order.trigger_price is None:
        tif, trigger = TIFS[order.tif or "Gtc"], None
    else:
        kind = TriggerKind.STOP if order.trigger_kind == "sl" else TriggerKind.TAKE_PROFIT
        trigger = Trigger(kind, order.trigger_price)
        tif = TimeInForce.IOC if order.trigger_is_market else TimeInForce.GTC
    client_id = order.cloid or str(order.order_id)
    return Order(client_id, order.coin, side, lots, order.limit_price, tif, order.reduce_only, trigger)


def _reason(report: OrderReport, bid_ask: tuple[Decimal | None, Decimal | None]) -> str:
    if report.reason.startswith(POST_ONLY):
        return f"{POST_ONLY}, bbo was {_bbo(bid_ask)}."
    return report.reason


def _placed(world: World, order: WireOrder, report: OrderReport) -> Json:
    named = {"oid": order.order_id} | ({"cloid": order.cloid} if order.cloid is not None else {})
    if report.status.is_open:
        return {"resting": named}
    average = cut(report.average_price, average_decimals(world, order.coin))
    return {
        "filled": {
            "totalSz": text(grid_of(world, order.coin).size(report.filled_lots)).removesuffix(".0"),
            "avgPx": text(average),
        }
        | named
    }


def cancel(world: World, user: str, asset: int, order_id: int | str) -> Any:
    """The status of one cancel."""
    order = world.records(user).find(order_id)
    if order is None or not order.is_open or asset_of(world, order.coin) != asset:
        return {"error": f"{NEVER_PLACED} asset={asset}"}
    if order.order_id in world.dormant:
        world.cancel_quietly(user, order.order_id, "canceled")
        return "success"
    exchange = world.spot.exchange if is_spot(asset) else world.exchange
    try:
        exchange.cancel(user, order.order_id, world.now_ms)
    except Refused:
        return {"error": f"{NEVER_PLACED} asset={asset}"}
    world.pump()
    return "success"


def cancel_all(world: World, user: str, reason: str) -> None:
    """Cancel every open order of a user."""
    for order in world.records(user).open_orders():
        world.cancel_quietly(user, order.order_id, reason)
    world.pump()


def modify(world: World, user: str, order_id: int | str, ask: Ask, *, always_place: bool) -> Any:
    """Cancel one order and place another in its stead; the status of the new one.

    Unless it is to be placed whatever happens, the new one must rest: it is treated as post-only.
    """
    old = world.records(user).find(order_id)
    if old is None or not old.is_open:
        return {"error": CANNOT_MODIFY}
    if name_of(world, ask.asset) != old.coin or ask.is_buy != old.is_buy:
        return {"error": f"Cannot modify order side or asset. asset={ask.asset}"}
    error = _off_limits(world, ask) or _off_grid(world, ask, old.coin)
    if error:
        return {"error": f"{error} asset={ask.asset}"}
    if not always_place and (error := _executes(world, ask, old.coin)):
        return {"error": f"{error} asset={ask.asset}"}
    children, siblings, whole = old.children, old.siblings, old.is_position_tpsl
    if cancel(world, user, ask.asset, old.order_id) != "success":
        return {"error": CANNOT_MODIFY}
    status = _place_one(world, user, ask, old.builder, is_position=whole and ask.trigger_price is not None)
    if "resting" in status:
        _inherit(world, user, old.order_id, status["resting"]["oid"], children, siblings)
    return status


def _off_grid(world: World, ask: Ask, coin: str) -> str:
    """What the request alone shows to be wrong, which must not cost the order that was to be changed."""
    grid, prices = grid_of(world, coin), [ask.price, ask.trigger_price or ask.price]
    if not all(grid.is_on_grid(price) for price in prices):
        return "Price must be divisible by tick size."
    if not ask.reduce_only and ask.size * prices[-1] < MIN_ORDER_USD:
        return "Order must have minimum value of $10."
    return ""


def _executes(world: World, ask: Ask, coin: str) -> str:
    """Why an order would not just rest; empty if it would."""
    if ask.trigger_price is not None:
        return "Cannot modify into a trigger order without always_place."
    if TIFS[ask.tif or "Gtc"] is TimeInForce.IOC:
        return "Cannot modify into an order that executes immediately."
    if book_of(world, coin).can_match(1 if ask.is_buy else -1, ask.price):
        return f"{POST_ONLY}, bbo was {_bbo(touch(world, coin))}."
    return ""


def _bbo(bid_ask: tuple[Decimal | None, Decimal | None]) -> str:
    return "@".join(format(price.normalize(), "f") if price is not None else "N/A" for price in bid_ask)


def _inherit(
    world: World, user: str, old_id: int, new_id: int, children: list[WireOrder], siblings: list[int]
) -> None:
    """A changed order keeps its place among those that cancel each other."""
    orders = world.records(user).orders
    orders[new_id].siblings = siblings
    for sibling in siblings:
        if sibling in orders:
            orders[sibling].siblings = [
                new_id if each == old_id else each for each in orders[sibling].siblings
            ]
    orders[new_id].children = [child for child in children if child.is_open]


def leverage_value(world: World, user: str, coin: str) -> Json:
    """Leverage as account queries show it."""
    value, mode = world.exchange.leverage(user, coin)
    if mode is MarginMode.CROSS:
        return {"type": "cross", "value": value}
    position = world.exchange.accounts[user].positions.get(coin)
    raw = position.cash_usd if position is not None and position.margin_mode is mode else Decimal(0)
    return {"type": "isolated", "value": value, "rawUsd": text(raw)}
