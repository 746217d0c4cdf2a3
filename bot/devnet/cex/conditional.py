"""Conditional orders, which the venue keeps apart: they wait for a price, and an order of its own comes of each."""

from __future__ import annotations

from typing import Any, Final

from bot.devnet.cex import happenings, orders
from bot.devnet.cex.authentication import Rejected
from bot.devnet.cex.face import CexFace
from bot.devnet.cex.listing import MOST_ALGO
from bot.devnet.cex.parameters import Parameters
from bot.devnet.cex.records import Conditional, Json
from bot.model.money import ZERO
from bot.model.order import Side

_KINDS: Final = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"})


def place(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST algoOrder."""
    parameters.one_of("algoType", {"CONDITIONAL"}, -1102, "Mandatory parameter 'algoType' was malformed.")
    kind = parameters.one_of("type", orders.CONDITIONAL, -1116, "Invalid orderType.")
    if kind not in _KINDS:
        raise Rejected(-4084, "Method is not allowed currently. Upcoming soon.")
    listing, side = face.listing(parameters.text("symbol")), orders.side_of(face, key, parameters)
    trigger = orders.price_of(listing, parameters, "triggerPrice")
    is_limit, whole = kind in {"STOP", "TAKE_PROFIT"}, parameters.flag("closePosition")
    if whole and (is_limit or parameters.of.get("quantity") or parameters.flag("reduceOnly")):
        raise Rejected(-4136, "Target strategy invalid for orderType with closePosition true.")
    price = orders.price_of(listing, parameters, "price") if is_limit else ZERO
    tif = parameters.of.get("timeInForce") or "GTC"
    if tif not in {"GTC", "IOC", "GTX"}:
        raise Rejected(-1115, "Invalid timeInForce.")
    working = parameters.of.get("workingType") or "CONTRACT_PRICE"
    if working not in {"MARK_PRICE", "CONTRACT_PRICE"}:
        raise Rejected(-1130, "Data sent for parameter 'workingType' is not valid.")
    lots = 0 if whole else orders.lots_of(listing, parameters, listing.most_lots // 8)
    reduce_only = parameters.flag("reduceOnly")
    if not (whole or reduce_only):
        orders.check_notional(listing, lots, price or trigger)
    order = Conditional(
        face.algo_orders + 1,
        listing,
        side.name,
        kind,
        lots,
        price,
        trigger,
        (side is Side.BUY) == kind.startswith("STOP"),
        working,
        tif,
        orders.new_client_id(face, key, parameters, "clientAlgoId"),
        face.now_ms,
        reduce_only or whole,
        updated_ms=face.now_ms,
    )
    if len(face.records[key].waiting(listing.symbol)) >= MOST_ALGO:
        raise Rejected(-4045, "Reach max stop order limit.")
    if is_due(face, order):
        raise Rejected(-2021, "Order would immediately trigger.")
    face.algo_orders += 1
    face.records[key].wait(order)
    happenings.tell_conditional(face, key, order)
    return order.row(None)


def is_due(face: CexFace, order: Conditional) -> bool:
    """Whether the price that an order waits for is there."""
    listing = order.listing
    is_marked = order.working_type == "MARK_PRICE"
    price = face.exchange.marks[listing.symbol] if is_marked else face.last_price(listing)
    return price >= order.trigger_price if order.rising else price <= order.trigger_price


def look(face: CexFace) -> None:
    """After prices have moved: conditional orders that are due, and orders that were to be cancelled by now."""
    for key, records in face.records.items():
        for each in records.waiting():
            if is_due(face, each):
                _fire(face, key, each)
        for symbol in [name for name, at_ms in records.cancel_at_ms.items() if at_ms <= face.now_ms]:
            del records.cancel_at_ms[symbol]
            orders.cancel_open(face, key, symbol)


def _fire(face: CexFace, key: str, order: Conditional) -> None:
    listing, is_limit = order.listing, order.kind in {"STOP", "TAKE_PROFIT"}
    order.triggered_ms = order.updated_ms = face.now_ms
    order.status = "TRIGGERED"
    lots = order.lots or abs(face.exchange.accounts[key].lots(listing.symbol))
    ask = orders.Ask(
        listing,
        Side[order.side],
        "LIMIT" if is_limit else "MARKET",
        lots,
        order.price,
        order.time_in_force if is_limit else "GTC",
        order.reduce_only,
        order.client_id,
    )
    try:
        placed = orders.submit(
            face,
            key,
            ask,
            original_kind=order.kind,
            stop_price=order.trigger_price,
            close_position=order.close_position,
            working_type=order.working_type,
        )
    except Rejected as refusal:
        order.status = "EXPIRED" if refusal.code == -2022 else "REJECTED"
    else:
        order.order_id = placed.order_id
        order.status = "TRIGGERED" if placed.is_open else "FINISHED"
    happenings.tell_conditional(face, key, order)


# --- cancelling and looking up


def _find(face: CexFace, key: str, parameters: Parameters, code: int, message: str) -> Conditional:
    records, number = face.records[key], parameters.optional_integer("algoId")
    if number is not None:
        order = records.conditionals.get(number)
    elif client_id := parameters.of.get("clientAlgoId"):
        order = next(
            (each for each in reversed(records.conditionals.values()) if each.client_id == client_id), None
        )
    else:
        raise Rejected(-1102, "Either algoId or clientAlgoId must be sent.")
    if order is None:
        raise Rejected(code, message)
    return order


def cancel(face: CexFace, key: str, parameters: Parameters) -> Any:
    """DELETE algoOrder."""
    order = _find(face, key, parameters, *orders.UNKNOWN_ORDER)
    if not order.is_open:
        raise Rejected(*orders.UNKNOWN_ORDER)
    _cancel(face, key, order)
    return _row(face, key, order) | {"code": "200", "msg": "success"}


def cancel_all(face: CexFace, key: str, parameters: Parameters) -> Any:
    """DELETE algoOpenOrders, of one symbol."""
    for each in face.records[key].waiting(face.listing(parameters.text("symbol")).symbol):
        _cancel(face, key, each)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _cancel(face: CexFace, key: str, order: Conditional) -> None:
    order.status, order.updated_ms = "CANCELED", face.now_ms
    happenings.tell_conditional(face, key, order)


def _row(face: CexFace, key: str, order: Conditional) -> Json:
    placed = None if order.order_id is None else face.records[key].orders.get(order.order_id)
    if order.status == "TRIGGERED" and placed is not None and not placed.is_open:
        order.status, order.updated_ms = "FINISHED", placed.updated_ms
    return order.row(placed)


def order(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET algoOrder."""
    return _row(face, key, _find(face, key, parameters, -2013, "Order does not exist."))


def open_orders(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET openAlgoOrders, of one symbol or of all."""
    symbol = parameters.optional_symbol()
    if symbol is not None:
        face.listing(symbol)
    return [_row(face, key, each) for each in face.records[key].waiting(symbol)]


def all_orders(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET allAlgoOrders of a symbol, from an id on or of a time."""
    listing = face.listing(parameters.text("symbol"))
    known = face.records[key].conditionals.values()
    rows = [_row(face, key, each) for each in known if each.listing.symbol == listing.symbol]
    first = parameters.optional_integer("algoId")
    if first is not None:
        return [row for row in rows if row["algoId"] >= first][: parameters.limit(500, orders.MOST_ROWS)]
    return orders.within(rows, parameters, 500, orders.WEEK_MS, "createTime")
