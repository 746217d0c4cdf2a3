"""From an allowed book to orders: what is wanted, minus what is held and resting, on the venue's grid.

Quoting is a set difference: orders that still serve the target stay, the others are cancelled, what is missing is
placed. Closing and opening are separate orders, closing ones reduce-only, so a close that fails can't come back as a
position. Every open position gets the protective triggers that the mandate asks for, resting at the venue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from bot.model.decision import (
    NO_ORDERS,
    AccountView,
    Cancel,
    LotsArray,
    OrderPlan,
    Targets,
    TradingState,
    client_id,
)
from bot.model.instrument import Instrument
from bot.model.money import exact
from bot.model.order import Order, OrderReport, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.model.panel import FloatArray
from bot.model.rows import same
from bot.pipeline.mandate import Execution, Guard, Style
from bot.pipeline.placing import NOT_WORKING, PROTECTIVE, bound, withdrawal
from bot.pipeline.snapshot import Snapshot

BPS = 1e-4


def plan(targets: Targets, snapshot: Snapshot, execution: Execution) -> OrderPlan:
    """What to cancel and what to send so that the account comes to hold `targets`."""
    account, market = snapshot.account, snapshot.market
    guarded = is_guarded(execution, snapshot.guards)
    if not account.open_orders and not guarded and same(targets.lots, account.lots):
        return NO_ORDERS
    need = targets.lots - account.lots
    working = [report for report in account.open_orders if report.order.purpose not in NOT_WORKING]
    if snapshot.state is TradingState.HALTED:
        cancels = tuple(withdrawal(report, "trading is halted") for report in working)
        orders: tuple[Order, ...] = ()
    else:
        need, cancels = _keep_working(need, working, snapshot, execution)
        need[~market.priced] = 0  # without a price there is no grid to place an order on
        orders = _orders(need, snapshot, execution)
    protection = (
        protect(account, market.mark, market.instruments, snapshot.id, execution, snapshot.guards)
        if guarded
        else NO_ORDERS
    )
    protective = protection.orders
    if protective:
        # What this plan closes is not protected anew on the way; what protects it now stays until it is gone.
        held, wanted = account.lots, targets.lots
        leaves = (held != 0) & (held * np.sign(wanted) <= 0) & (snapshot.state is not TradingState.HALTED)
        closing = {market.instruments[k].name for k in np.flatnonzero(leaves)}
        protective = tuple(each for each in protective if each.instrument not in closing)
    return OrderPlan(cancels + protection.cancels, orders + protective)


def _keep_working(
    need: LotsArray, working: Sequence[OrderReport], snapshot: Snapshot, execution: Execution
) -> tuple[LotsArray, tuple[Cancel, ...]]:
    """Let resting orders that still serve the need stand; the others are cancelled and come out of nothing."""
    need = need.copy()
    cancels = []
    names = snapshot.market.prepared.panel.instruments
    for report in working:
        column = names.index(report.order.instrument)
        remaining = report.remaining_lots * report.order.side.sign
        wanted = need[column]
        mark = snapshot.market.mark[column]
        limit = report.order.limit_price
        near = limit is not None and abs(float(limit) / mark - 1) <= execution.slippage_bps * BPS
        if near and remaining * np.sign(wanted) > 0 and abs(remaining) <= abs(wanted):
            need[column] -= remaining
        else:
            cancels.append(withdrawal(report, "price moved away" if not near else "no longer wanted"))
    return need, tuple(cancels)


def _orders(need: LotsArray, snapshot: Snapshot, execution: Execution) -> tuple[Order, ...]:
    """Closing orders first, then opening ones, each in the order of the instruments."""
    instruments, marks, held = snapshot.market.instruments, snapshot.market.mark, snapshot.account.lots
    moment = snapshot.id
    exits, entries = [], []
    for column in need.nonzero()[0].tolist():
        instrument = instruments[column]
        wanted, holding, mark = int(need[column]), int(held[column]), float(marks[column])
        closing = min(abs(wanted), abs(holding)) if wanted * holding < 0 else 0
        opening = abs(wanted) - closing
        side = Side.of(wanted)
        lot_usd = mark / instrument.lots_per_coin
        if closing and (closing == abs(holding) or closing * lot_usd >= instrument.min_order_usd):
            limit = bound(instrument, side, mark, execution.slippage_bps)
            name = client_id(moment, instrument.name, "exit")
            exits.append(
                Order(name, instrument.name, side, closing, limit, reduce_only=True, purpose=Purpose.EXIT)
            )
        if opening and opening * lot_usd >= instrument.min_order_usd:
            name = client_id(moment, instrument.name, "entry")
            if execution.style is Style.MAKER:
                limit = _touch(instrument, side, mark, execution)
                entries.append(Order(name, instrument.name, side, opening, limit, TimeInForce.ALO))
            else:
                entries.append(
                    Order(
                        name,
                        instrument.name,
                        side,
                        opening,
                        bound(instrument, side, mark, execution.slippage_bps),
                    )
                )
    return (*exits, *entries)


def _touch(instrument: Instrument, side: Side, mark: float, execution: Execution) -> Decimal:
    """The best price on one's own side of the book, rounded away from the market."""
    price = exact(mark) * (1 - side.sign * exact(execution.half_spread))
    return instrument.round_price(price, up=side is Side.SELL)


def protect(
    account: AccountView,
    mark: FloatArray,
    instruments: Sequence[Instrument],
    snapshot_id: str,
    execution: Execution,
    guards: Mapping[str, Guard] | None = None,
) -> OrderPlan:
    """Keep one stop and one take-profit per position, of its size and at its distance from entry; drop the others.

    An instrument in `guards` has the distances that stand there instead of the mandate's.

    Where price is already beyond the level a trigger can't rest any more: the position is closed at once instead.
    """
    resting: dict[tuple[str, Purpose], list[OrderReport]] = {}
    for report in account.open_orders:
        if report.order.purpose in PROTECTIVE:
            resting.setdefault((report.order.instrument, report.order.purpose), []).append(report)
    cancels: list[Cancel] = []
    orders: list[Order] = []
    for column in np.flatnonzero(account.lots).tolist():
        instrument, lots = instruments[column], int(account.lots[column])
        if instrument.name in execution.unstopped:
            continue
        own = (guards or {}).get(instrument.name)
        for purpose, kind, move in (
            (Purpose.STOP, TriggerKind.STOP, (own or execution).stop_loss),
            (Purpose.TAKE_PROFIT, TriggerKind.TAKE_PROFIT, (own or execution).take_profit),
        ):
            if move is None:
                continue
            entry, now = float(account.entry_price[column]), float(mark[column])
            there = resting.pop((instrument.name, purpose), [])
            if len(there) == 1 and _stands(there[0].order, lots, entry, now, kind, move, execution):
                continue
            order = _trigger_order(instrument, lots, entry, now, purpose, kind, move, snapshot_id)
            stands = False
            for report in there:
                if not stands and order is not None and _same_trigger(report.order, order, move, execution):
                    stands = True
                else:
                    cancels.append(withdrawal(report, "size or entry price changed"))
            if order is not None and not stands:
                orders.append(order)
    for reports in resting.values():
        cancels.extend(withdrawal(report, "its position is gone") for report in reports)
    return OrderPlan(tuple(cancels), tuple(orders)) if cancels or orders else NO_ORDERS


def already_reached(
    account: AccountView, column: int, lots: int, mark: float, distances: Guard
) -> tuple[Purpose, float] | None:
    """The protection that would not rest but close everything at once if `lots` came to be held, and its level.

    What is added is taken to be bought at `mark`; what only shrinks keeps its entry price.
    """
    held, entry = int(account.lots[column]), float(account.entry_price[column])
    if held * lots <= 0:
        entry = mark
    elif abs(lots) > abs(held):
        entry = (held * entry + (lots - held) * mark) / lots
    for purpose, kind, move in (
        (Purpose.STOP, TriggerKind.STOP, distances.stop_loss),
        (Purpose.TAKE_PROFIT, TriggerKind.TAKE_PROFIT, distances.take_profit),
    ):
        direction = _direction(lots, kind)
        level = 0.0 if move is None else entry * (1 + direction * move)
        if lots and level > 0 and direction * (mark - level) >= 0:
            return purpose, level
    return None


def is_guarded(execution: Execution, guards: Mapping[str, Guard] | None) -> bool:
    """Whether any position is to be protected."""
    return execution.stop_loss is not None or execution.take_profit is not None or bool(guards)


def _direction(lots: int, kind: TriggerKind) -> int:
    """Of the move that fires a position's trigger."""
    return (1 if lots > 0 else -1) * (-1 if kind is TriggerKind.STOP else 1)


def _stands(
    resting: Order, lots: int, entry: float, mark: float, kind: TriggerKind, move: float, execution: Execution
) -> bool:
    """Whether a trigger is plainly the one that is wanted; what is near the tolerance is looked at exactly."""
    if resting.trigger is None or resting.signed_lots != -lots:
        return False
    direction, level = _direction(lots, kind), float(resting.trigger.price)
    wanted = entry * (1 + direction * move)
    drift = abs(level - wanted)
    return drift < 0.99 * execution.stop_tolerance * move * wanted and not direction * (mark - level) >= 0


def _trigger_order(
    instrument: Instrument,
    lots: int,
    entry: float,
    mark: float,
    purpose: Purpose,
    kind: TriggerKind,
    move: float,
    snapshot_id: str,
) -> Order | None:
    """A reduce-only market trigger for the whole position; None where the price would not be positive."""
    direction = _direction(lots, kind)
    price = entry * (1 + direction * move)
    if not price > 0:
        return None
    level = instrument.round_price(exact(price))
    beyond = np.isfinite(mark) and direction * (mark - float(level)) >= 0
    trigger = None if beyond else Trigger(kind, level)
    name = client_id(snapshot_id, instrument.name, purpose)
    return Order(
        name, instrument.name, Side.of(-lots), abs(lots), reduce_only=True, trigger=trigger, purpose=purpose
    )


def _same_trigger(resting: Order, wanted: Order, move: float, execution: Execution) -> bool:
    if (
        resting.trigger is None
        or wanted.trigger is None
        or (resting.side, resting.lots) != (wanted.side, wanted.lots)
    ):
        return False
    drift = abs(float(resting.trigger.price / wanted.trigger.price) - 1)
    return drift <= execution.stop_tolerance * move
