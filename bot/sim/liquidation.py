"""Liquidation: closing the positions of accounts whose value has fallen below their maintenance margin."""

from __future__ import annotations

import math
from decimal import Decimal

from bot.model.account import MarginMode, Position
from bot.model.margin import maintenance_margin
from bot.model.money import ZERO
from bot.model.order import Liquidation, Order, Purpose, Side
from bot.sim.book import LiveOrder
from bot.sim.clearing import Member, Rules
from bot.sim.matching import Matching


def liquidate(matching: Matching, time_ms: int, *, marks_moved: bool) -> None:
    """Check every account once, oldest first: the cross positions as one, then each isolated one alone.

    Where neither marks nor positions have changed since the last check, only cash is looked at.
    """
    marks = matching.clearing.marks
    for member in matching.clearing.members.values():
        account = member.account
        if not account.positions:
            continue
        if not marks_moved and member.floor_usd is not None and account.cash_usd >= member.floor_usd:
            continue
        value, needed, has_cross = account.cash_usd, ZERO, False
        all_cross = True
        short: list[str] = []
        for name, position in account.positions.items():
            instrument = position.instrument
            notional = position.lots * instrument.lot * marks[name]
            margin = maintenance_margin(instrument, notional)
            if position.margin_mode is MarginMode.CROSS:
                has_cross = True
                value += notional
                needed += margin
            else:
                all_cross = False
                if position.cash_usd + notional < margin:
                    short.append(name)
        member.floor_usd = needed - (value - account.cash_usd) if all_cross else None
        if has_cross and value < needed:
            _liquidate_cross(matching, member, value, needed, time_ms)
        for name in short:
            _liquidate_isolated(matching, member, name, time_ms)


def _liquidate_cross(
    matching: Matching, member: Member, value: Decimal, maintenance: Decimal, time_ms: int
) -> None:
    clearing, account = matching.clearing, member.account
    for live in list(member.open.values()):
        position = account.positions.get(live.order.instrument)
        if position is None or position.margin_mode is MarginMode.CROSS:
            matching.cancel(live, "liquidatedCanceled", time_ms)
    margins = {
        name: maintenance_margin(position.instrument, position.notional_usd(clearing.marks[name]))
        for name, position in account.positions.items()
        if position.margin_mode is MarginMode.CROSS
    }
    names = sorted(margins, key=lambda name: (-margins[name], name))
    if _goes_to_backstop(clearing.rules, value, maintenance):
        _backstop(matching, member, names, time_ms)
        return
    for name in names:
        _send(matching, member, account.positions[name], time_ms)
        if account.cross_value_usd(clearing.marks) >= account.maintenance_usd(clearing.marks):
            return


def _liquidate_isolated(matching: Matching, member: Member, name: str, time_ms: int) -> None:
    clearing, position = matching.clearing, member.account.positions[name]
    for live in list(member.open.values()):
        if live.order.instrument == name:
            matching.cancel(live, "liquidatedCanceled", time_ms)
    notional = position.notional_usd(clearing.marks[name])
    if _goes_to_backstop(
        clearing.rules, position.cash_usd + notional, maintenance_margin(position.instrument, notional)
    ):
        _backstop(matching, member, [name], time_ms)
    else:
        _send(matching, member, position, time_ms)


def _goes_to_backstop(rules: Rules, value: Decimal, maintenance: Decimal) -> bool:
    return rules.backstop_ratio > 0 and value < rules.backstop_ratio * maintenance


def _send(matching: Matching, member: Member, position: Position, time_ms: int) -> None:
    """A market order for the position, or for a part of a large one that was left alone for a while."""
    clearing, name = matching.clearing, position.instrument.name
    rules, held = clearing.rules, position.lots
    side = Side.of(-held)
    if not matching.books[name].can_match(side.sign, None):
        return
    lots = abs(held)
    last_ms = member.partial_ms.get(name)
    is_partial = abs(position.notional_usd(clearing.marks[name])) > rules.partial_liquidation_usd and (
        last_ms is None or time_ms - last_ms >= rules.cooldown_ms
    )
    if is_partial:
        lots = math.ceil(rules.partial_share * lots)
    order = Order(Purpose.LIQUIDATION.value, name, side, lots, purpose=Purpose.LIQUIDATION)
    live = LiveOrder(matching.next_order_id(), member.name, order, time_ms)
    matching.take(live, time_ms)
    if not live.filled_lots:
        return
    if is_partial:
        member.partial_ms[name] = time_ms
    closed = live.filled_lots if held > 0 else -live.filled_lots
    price = live.filled_value / live.filled_lots
    event = Liquidation(time_ms, name, closed, price, "partial" if is_partial else "full")
    matching.events.append((member.name, event))


def _backstop(matching: Matching, member: Member, names: list[str], time_ms: int) -> None:
    """The liquidator takes positions over at their marks, and all the margin that backed them."""
    clearing, account = matching.clearing, member.account
    is_isolated = account.positions[names[0]].margin_mode is MarginMode.ISOLATED
    kept = account.cash_usd if is_isolated else ZERO
    taken: list[tuple[str, int, Decimal]] = []
    for name in names:
        held, mark = account.lots(name), clearing.marks[name]
        matching.close_at(member, name, mark, Purpose.LIQUIDATION, time_ms)
        taken.append((name, held, mark))
    forfeited = account.cash_usd - kept
    account.forfeit(forfeited)
    for name, held, mark in taken:
        event = Liquidation(time_ms, name, held, mark, "backstop", forfeited)
        matching.events.append((member.name, event))
        forfeited = ZERO
