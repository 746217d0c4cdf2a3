"""Placing, cancelling and looking up orders."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bot.devnet.cex import happenings
from bot.devnet.cex.authentication import Rejected
from bot.devnet.cex.face import CexFace
from bot.devnet.cex.listing import MOST_OPEN, Listing
from bot.devnet.cex.parameters import Parameters
from bot.devnet.cex.records import CexOrder, Json
from bot.model.money import ZERO
from bot.model.order import Order, OrderStatus, Side, TimeInForce

CONDITIONAL: Final = frozenset(
    {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
)
UNKNOWN_ORDER: Final = (-2011, "Unknown order sent.")
MOST_ROWS: Final = 1000
WEEK_MS: Final = 7 * 86_400_000
_TIFS: Final = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "GTX": TimeInForce.ALO}
_NOT_MAKER: Final = (
    "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history"
)
_REFUSALS: Final = (
    ("Insufficient margin", (-2019, "Margin is insufficient.")),
    ("Reduce only", (-2022, "ReduceOnly Order is rejected.")),
    ("Post only", (-5022, _NOT_MAKER)),
    (
        "Order would cause position to exceed",
        (-2027, "Exceeded the maximum allowable position at current leverage."),
    ),
    ("Price must be divisible", (-4014, "Price not increased by tick size.")),
)
_UNMATCHED: Final = ("Order could not immediately match", "No liquidity available")


@dataclass(frozen=True, slots=True)
class Ask:
    """An order that is asked for, read and found possible as far as it goes by itself."""

    listing: Listing
    side: Side
    kind: str
    lots: int
    price: Decimal  # 0 for a market order
    time_in_force: str
    reduce_only: bool
    client_id: str


# --- placing


def place(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST order."""
    kind = parameters.one_of("type", CONDITIONAL | {"LIMIT", "MARKET"}, -1116, "Invalid orderType.")
    if kind in CONDITIONAL:
        raise Rejected(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )
    return submit(face, key, read(face, key, parameters, kind)).placed()


def test(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST order/test: the same, as far as it can be told without placing it."""
    read(face, key, parameters, parameters.text("type"))
    return {}


def read(face: CexFace, key: str, parameters: Parameters, kind: str) -> Ask:
    """The order that parameters ask for. Rejected if it can't be."""
    listing = face.listing(parameters.text("symbol"))
    side = side_of(face, key, parameters)
    reduce_only = parameters.flag("reduceOnly")
    tif, price = "GTC", ZERO
    if kind == "LIMIT":
        tif = parameters.one_of("timeInForce", {*_TIFS, "FOK", "GTD"}, -1115, "Invalid timeInForce.")
        if tif not in _TIFS:
            raise Rejected(-4084, "Method is not allowed currently. Upcoming soon.")
        price = price_of(listing, parameters, "price")
        _check_band(face, listing, side, price)
    elif kind == "MARKET":
        for name in ("price", "timeInForce"):
            if parameters.of.get(name):
                raise Rejected(-1106, f"Parameter '{name}' sent when not required.")
    else:
        raise Rejected(-1116, "Invalid orderType.")
    most = listing.most_lots if kind == "LIMIT" else listing.most_lots // 8
    lots = lots_of(listing, parameters, most)
    at = price or face.exchange.marks[listing.symbol]
    if not reduce_only:
        check_notional(listing, lots, at)
    client_id = new_client_id(face, key, parameters, "newClientOrderId")
    if len(face.records[key].open_orders(listing.symbol)) >= MOST_OPEN:
        raise Rejected(-2025, "Reach max open order limit.")
    return Ask(listing, side, kind, lots, price, tif, reduce_only, client_id)


def side_of(face: CexFace, key: str, parameters: Parameters) -> Side:
    """BUY or SELL, where the account's position mode allows it."""
    side = parameters.one_of("side", {"BUY", "SELL"}, -1117, "Invalid side.")
    position_side = parameters.of.get("positionSide") or "BOTH"
    if (position_side != "BOTH") != face.records[key].is_hedged:
        raise Rejected(-4061, "Order's position side does not match user's setting.")
    if position_side != "BOTH":
        raise Rejected(-4084, "Method is not allowed currently. Upcoming soon.")
    return Side[side]


def price_of(listing: Listing, parameters: Parameters, name: str) -> Decimal:
    """A price on the grid."""
    price = parameters.decimal(name)
    if price <= 0:
        raise Rejected(-4001, "Price less than 0.")
    if price != round(price, listing.price_decimals):
        if price == round(price, listing.price_decimals + 1):
            raise Rejected(-4014, "Price not increased by tick size.")
        raise Rejected(-1111, "Precision is over the maximum defined for this asset.")
    return price


def lots_of(listing: Listing, parameters: Parameters, most: int) -> int:
    """A quantity of whole lots."""
    quantity = parameters.decimal("quantity")
    if quantity <= 0:
        raise Rejected(-4003, "Quantity less than or equal to zero.")
    if quantity != round(quantity, listing.instrument.size_decimals):
        raise Rejected(-1111, "Precision is over the maximum defined for this asset.")
    lots = listing.instrument.lots(quantity)
    if lots > most:
        raise Rejected(-4005, "Quantity greater than max quantity.")
    return lots


def check_notional(listing: Listing, lots: int, price: Decimal) -> None:
    """Whether an order is worth enough. Rejected if it is not."""
    if listing.instrument.notional(lots, price) < listing.least_notional_usd:
        least = f"{listing.least_notional_usd:f}"
        raise Rejected(
            -4164, f"Order's notional must be no smaller than {least} (unless you choose reduce only)."
        )


def _check_band(face: CexFace, listing: Listing, side: Side, price: Decimal) -> None:
    mark = face.exchange.marks[listing.symbol]
    highest, lowest = mark * (1 + listing.band), mark * (1 - listing.band)
    if side is Side.BUY and price > highest:
        raise Rejected(-4016, f"Limit price can't be higher than {listing.price(highest)}.")
    if side is Side.SELL and price < lowest:
        raise Rejected(-4024, f"Limit price can't be lower than {listing.price(lowest)}.")


def new_client_id(face: CexFace, key: str, parameters: Parameters, name: str) -> str:
    """The client's id of a new order, one of the venue's making if it has none; unique among open orders."""
    client_id, records = parameters.client_id(name), face.records[key]
    if client_id is None:
        return f"devnet{len(records.orders) + len(records.conditionals)}t{face.now_ms}"
    standing = [each.client_id for each in records.open_orders()]
    standing += [each.client_id for each in records.waiting()]
    if client_id in standing:
        raise Rejected(-4116, "ClientOrderId is duplicated.")
    return client_id


def submit(face: CexFace, key: str, ask: Ask, **origin: Any) -> CexOrder:
    """Place an order; what became of it at once is in what is returned. Rejected if the exchange won't have it."""
    exchange, listing, name = face.exchange, ask.listing, ask.listing.symbol
    lots = ask.lots
    if ask.reduce_only:
        held = exchange.accounts[key].lots(name)
        if held * ask.side.sign >= 0:
            raise Rejected(-2022, "ReduceOnly Order is rejected.")
        lots = min(lots, abs(held))
    order = CexOrder(
        exchange.reserve_order_id(),
        listing,
        ask.side.name,
        ask.kind,
        lots,
        ask.price,
        ask.time_in_force,
        ask.client_id,
        face.now_ms,
        ask.reduce_only,
        updated_ms=face.now_ms,
        **origin,
    )
    records = face.records[key]
    before = records.by_client_id.get(order.client_id)
    records.add(order)
    is_market = ask.kind == "MARKET"
    report = exchange.submit(
        key,
        Order(
            ask.client_id,
            name,
            ask.side,
            lots,
            None if is_market else ask.price,
            TimeInForce.IOC if is_market else _TIFS[ask.time_in_force],
            ask.reduce_only,
        ),
        face.now_ms,
        order.order_id,
    )
    if report.status is OrderStatus.REJECTED and not report.reason.startswith(_UNMATCHED):
        exchange.drain()
        del records.orders[order.order_id]
        if before is None:
            del records.by_client_id[order.client_id]
        else:
            records.by_client_id[order.client_id] = before
        known = (answer for start, answer in _REFUSALS if report.reason.startswith(start))
        raise Rejected(*next(known, (-2010, "NEW_ORDER_REJECTED")))
    happenings.tell_order(face, key, order, "NEW")
    happenings.tell(face)
    return order


# --- cancelling


def find(face: CexFace, key: str, parameters: Parameters, code: int, message: str) -> CexOrder:
    """The order of an id, the venue's or the client's."""
    listing, records = face.listing(parameters.text("symbol")), face.records[key]
    number = parameters.optional_integer("orderId")
    if number is None:
        client_id = parameters.of.get("origClientOrderId")
        if not client_id:
            raise Rejected(-1102, "Either orderId or origClientOrderId must be sent.")
        number = records.by_client_id.get(client_id, -1)
    order = records.orders.get(number)
    if order is None or order.listing.symbol != listing.symbol:
        raise Rejected(code, message)
    return order


def cancel(face: CexFace, key: str, parameters: Parameters) -> Any:
    """DELETE order."""
    order = find(face, key, parameters, *UNKNOWN_ORDER)
    if not order.is_open:
        raise Rejected(*UNKNOWN_ORDER)
    face.exchange.cancel(key, order.order_id, face.now_ms)
    happenings.tell(face)
    return order.placed()


def cancel_all(face: CexFace, key: str, parameters: Parameters) -> Any:
    """DELETE allOpenOrders, of one symbol."""
    cancel_open(face, key, face.listing(parameters.text("symbol")).symbol)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def cancel_open(face: CexFace, key: str, symbol: str) -> None:
    """Cancel the orders of a symbol; those that are conditional stay."""
    for order in face.records[key].open_orders(symbol):
        face.exchange.cancel(key, order.order_id, face.now_ms)
    happenings.tell(face)


def count_down(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST countdownCancelAll: cancel a symbol's orders at a time, unless it is put off; 0 ends it."""
    listing, time_ms = face.listing(parameters.text("symbol")), parameters.integer("countdownTime")
    waiting = face.records[key].cancel_at_ms
    waiting.pop(listing.symbol, None)
    if time_ms:
        waiting[listing.symbol] = face.now_ms + time_ms
    return {"symbol": listing.symbol, "countdownTime": str(time_ms)}


# --- looking up


def order(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET order."""
    return find(face, key, parameters, -2013, "Order does not exist.").row()


def open_order(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET openOrder."""
    found = find(face, key, parameters, -2013, "Order does not exist.")
    if not found.is_open:
        raise Rejected(-2013, "Order does not exist.")
    return found.row()


def open_orders(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET openOrders, of one symbol or of all."""
    symbol = parameters.optional_symbol()
    if symbol is not None:
        face.listing(symbol)
    return [each.row() for each in face.records[key].open_orders(symbol)]


def all_orders(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET allOrders: from an id on, or of a time, a week unless it says until when."""
    listing = face.listing(parameters.text("symbol"))
    rows = [each for each in face.records[key].orders.values() if each.listing.symbol == listing.symbol]
    first = parameters.optional_integer("orderId")
    if first is not None:
        chosen = [each for each in rows if each.order_id >= first]
        return [each.row() for each in chosen[: parameters.limit(500, MOST_ROWS)]]
    return within([each.row() for each in rows], parameters, 500, WEEK_MS)


def trades(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET userTrades: of a symbol, an order, from an id on, or of a time."""
    listing = face.listing(parameters.text("symbol"))
    rows = [row for row in face.records[key].trades if row["symbol"] == listing.symbol]
    number, first = parameters.optional_integer("orderId"), parameters.optional_integer("fromId")
    if number is not None:
        rows = [row for row in rows if row["orderId"] == number]
    if first is not None:
        return [row for row in rows if row["id"] >= first][: parameters.limit(500, MOST_ROWS)]
    return within(rows, parameters, 500, WEEK_MS)


def income(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET income: oldest first within a span, 7 days if it has no start."""
    kind, symbol = parameters.of.get("incomeType"), parameters.optional_symbol()
    rows = [
        row
        for row in face.records[key].income
        if (not kind or row["incomeType"] == kind) and symbol in {None, row["symbol"]}
    ]
    start, end = parameters.span()
    page = parameters.optional_integer("page") or 1
    since = start if start is not None else (end or face.now_ms) - WEEK_MS
    rows = [row for row in rows if since <= row["time"] and (end is None or row["time"] <= end)]
    limit = parameters.limit(100, MOST_ROWS)
    return rows[(page - 1) * limit : page * limit]


def within(
    rows: list[Json], parameters: Parameters, otherwise: int, longest_ms: int, name: str = "time"
) -> list[Json]:
    """Rows of a span: the first of them if it says from when, the last if not. Rejected if it is too long."""
    (start, end), limit = parameters.span(), parameters.limit(otherwise, MOST_ROWS)
    if start is not None and end is not None and end - start > longest_ms:
        raise Rejected(-4165, "Maximum time interval is 7 days.")
    if start is not None and end is None:
        end = start + longest_ms
    chosen = [
        row for row in rows if (start is None or start <= row[name]) and (end is None or row[name] <= end)
    ]
    return chosen[:limit] if start is not None else chosen[-limit:]
