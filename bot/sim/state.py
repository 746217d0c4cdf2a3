"""The exchange's state as plain JSON values, exact: what a daemon checkpoints and continues from."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bot.errors import StateError
from bot.model.account import Account, MarginMode, Position
from bot.model.instrument import Instrument
from bot.model.order import Order, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.sim.book import LiveOrder
from bot.sim.clearing import Member
from bot.sim.fees import TradedVolume
from bot.sim.matching import Matching

VERSION = 1
_TOTALS = (
    "cash_usd",
    "deposits_usd",
    "realised_usd",
    "funding_usd",
    "fees_usd",
    "volume_usd",
    "forfeited_usd",
)


def dump(matching: Matching, now_ms: int) -> dict[str, Any]:
    """Everything the exchange will need, amounts as strings. Raises StateError while events are undrained."""
    if matching.events:
        raise StateError(f"{len(matching.events)} events would be lost; drain them before taking the state")
    clearing = matching.clearing
    orders = sorted((o for m in clearing.members.values() for o in m.open.values()), key=lambda o: o.order_id)
    return {
        "version": VERSION,
        "now_ms": now_ms,
        "last_order_id": matching.last_order_id,
        "last_trade_id": matching.last_trade_id,
        "marks": {name: str(mark) for name, mark in clearing.marks.items()},
        "quotes": {
            name: [_text(book.bid), _text(book.ask)]
            for name, book in matching.books.items()
            if book.bid is not None or book.ask is not None
        },
        "accounts": {name: _dump_member(member) for name, member in clearing.members.items()},
        "orders": [_dump_order(live) for live in orders],
    }


def load(matching: Matching, state: Mapping[str, Any]) -> int:
    """Fill an empty exchange with a saved state; returns its time. Raises StateError if it doesn't fit."""
    if state.get("version") != VERSION:
        raise StateError(
            f"the exchange's state is of version {state.get('version')!r}, this program reads {VERSION}; start afresh"
        )
    clearing = matching.clearing
    unknown = {*state["marks"], *state["quotes"], *(row["instrument"] for row in state["orders"])} - set(
        matching.books
    )
    if unknown:
        raise StateError(
            f"the exchange's state has instruments that aren't listed any more: {sorted(unknown)}"
        )
    matching.last_order_id, matching.last_trade_id = state["last_order_id"], state["last_trade_id"]
    clearing.marks.update({name: Decimal(mark) for name, mark in state["marks"].items()})
    for name, (bid, ask) in state["quotes"].items():
        book = matching.books[name]
        book.bid, book.ask = _decimal(bid), _decimal(ask)
    for name, saved in state["accounts"].items():
        _load_member(clearing.join(name), clearing.instruments, saved)
    for row in state["orders"]:
        matching.admit(_load_order(row))
    return int(state["now_ms"])


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _dump_member(member: Member) -> dict[str, Any]:
    account = member.account
    return {
        **{total: str(getattr(account, total)) for total in _TOTALS},
        "positions": [
            {
                "instrument": name,
                "lots": position.lots,
                "cost_usd": str(position.cost_usd),
                "opened_ms": position.opened_ms,
                "margin_mode": position.margin_mode.value,
                "cash_usd": str(position.cash_usd),
            }
            for name, position in account.positions.items()
        ],
        "leverage": dict(member.leverage),
        "mode": {name: mode.value for name, mode in member.mode.items()},
        "partial_ms": dict(member.partial_ms),
        "traded": {str(day): str(amount) for day, amount in member.traded.by_day.items()},
    }


def _load_member(member: Member, instruments: Mapping[str, Instrument], saved: Mapping[str, Any]) -> None:
    account: Account = member.account
    for total in _TOTALS:
        setattr(account, total, Decimal(saved[total]))
    for row in saved["positions"]:
        account.positions[row["instrument"]] = Position(
            instruments[row["instrument"]],
            row["lots"],
            Decimal(row["cost_usd"]),
            row["opened_ms"],
            MarginMode(row["margin_mode"]),
            Decimal(row["cash_usd"]),
        )
    member.leverage.update(saved["leverage"])
    member.mode.update({name: MarginMode(mode) for name, mode in saved["mode"].items()})
    member.partial_ms.update(saved["partial_ms"])
    member.traded = TradedVolume({int(day): Decimal(amount) for day, amount in saved["traded"].items()})


def _dump_order(live: LiveOrder) -> dict[str, Any]:
    order = live.order
    return {
        "order_id": live.order_id,
        "account": live.account,
        "updated_ms": live.updated_ms,
        "remaining": live.remaining,
        "filled_lots": live.filled_lots,
        "filled_value": str(live.filled_value),
        "client_id": order.client_id,
        "instrument": order.instrument,
        "side": order.side.value,
        "lots": order.lots,
        "limit_price": _text(order.limit_price),
        "time_in_force": order.time_in_force.value,
        "reduce_only": order.reduce_only,
        "trigger": [order.trigger.kind.value, str(order.trigger.price)] if order.trigger else None,
        "purpose": order.purpose.value,
    }


def _load_order(row: Mapping[str, Any]) -> LiveOrder:
    trigger = row["trigger"]
    order = Order(
        row["client_id"],
        row["instrument"],
        Side(row["side"]),
        row["lots"],
        _decimal(row["limit_price"]),
        TimeInForce(row["time_in_force"]),
        row["reduce_only"],
        Trigger(TriggerKind(trigger[0]), Decimal(trigger[1])) if trigger else None,
        Purpose(row["purpose"]),
    )
    live = LiveOrder(row["order_id"], row["account"], order, row["updated_ms"])
    live.remaining, live.filled_lots = row["remaining"], row["filled_lots"]
    live.filled_value = Decimal(row["filled_value"])
    return live
