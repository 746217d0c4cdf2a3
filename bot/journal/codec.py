"""How the model's values look in the journal: rows of text and whole numbers, and the memory as JSON by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from bot.journal.records import PositionFacts
from bot.model.decision import Memory
from bot.model.order import Fill, FundingPayment, Liquidation, Order, OrderReport, Transfer

Row = tuple[str | int | float | None, ...]


def encode(value: object) -> str:
    """JSON on one line; ValueError for NaN and infinities, which are not JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def checksum(time_ms: int, content: str) -> str:
    """By which content that has changed on the disk is told from what was written."""
    return hashlib.blake2b(f"{time_ms}:{content}".encode(), digest_size=16).hexdigest()


def encode_memory(memory: Memory, strategies: Sequence[str], instruments: Sequence[str]) -> str:
    """The memory by names, what is blank left out."""
    used = (memory.scores != 0) | (memory.since_ms != 0) | (memory.held_lots != 0)
    by_strategy: dict[str, dict[str, list[float]]] = {name: {} for name in strategies}
    for row, column in zip(*(axis.tolist() for axis in np.nonzero(used)), strict=True):
        by_strategy[strategies[row]][instruments[column]] = [
            memory.scores[row, column].item(),
            memory.since_ms[row, column].item(),
            memory.held_lots[row, column].item(),
        ]
    resting = {
        name: until_ms
        for name, until_ms in zip(instruments, memory.rest_until_ms.tolist(), strict=True)
        if until_ms
    }
    return encode(
        {
            "strategies": by_strategy,
            "rest_until_ms": resting,
            "high_water_mark_usd": float(memory.high_water_mark_usd),
            "day": int(memory.day),
            "day_open_usd": float(memory.day_open_usd),
        }
    )


def decode_memory(content: str, strategies: Sequence[str], instruments: Sequence[str]) -> Memory:
    """The memory for the axes of today: what is new is blank, what is no longer there is left out."""
    saved = json.loads(content)
    columns = {name: column for column, name in enumerate(instruments)}
    memory = Memory.blank(len(strategies), len(instruments), saved["high_water_mark_usd"])
    for row, strategy in enumerate(strategies):
        for instrument, (score, since_ms, held_lots) in saved["strategies"].get(strategy, {}).items():
            if instrument in columns:
                at = row, columns[instrument]
                memory.scores[at], memory.since_ms[at], memory.held_lots[at] = score, since_ms, held_lots
    for instrument, until_ms in saved["rest_until_ms"].items():
        if instrument in columns:
            memory.rest_until_ms[columns[instrument]] = until_ms
    return Memory(
        memory.scores,
        memory.since_ms,
        memory.held_lots,
        memory.rest_until_ms,
        saved["high_water_mark_usd"],
        saved["day"],
        saved["day_open_usd"],
    )


def order_row(order: Order, decision_id: str | None, time_ms: int) -> Row:
    """An order as it is planned: the columns of `orders` up to `purpose`, then created_ms and updated_ms."""
    trigger = order.trigger
    return (
        order.client_id,
        decision_id,
        order.instrument,
        order.side.value,
        order.lots,
        _text(order.limit_price),
        order.time_in_force.value,
        int(order.reduce_only),
        None if trigger is None else trigger.kind.value,
        None if trigger is None else str(trigger.price),
        order.purpose.value,
        time_ms,
        time_ms,
    )


def report_row(report: OrderReport) -> Row:
    """`order_row`, then status, order_id, filled_lots, average_price and reason."""
    average = str(report.average_price) if report.filled_lots else None
    return (
        *order_row(report.order, None, report.time_ms),
        report.status.value,
        report.order_id,
        report.filled_lots,
        average,
        report.reason,
    )


def fill_row(fill: Fill) -> Row:
    """The columns of `fill`."""
    return (
        fill.trade_id,
        fill.time_ms,
        fill.instrument,
        fill.side.value,
        fill.lots,
        str(fill.price),
        str(fill.notional_usd),
        str(fill.fee_usd),
        int(fill.is_maker),
        fill.client_id,
        fill.order_id,
        fill.purpose.value,
        str(fill.closed_pnl_usd),
    )


def payment_row(payment: FundingPayment) -> Row:
    """The columns of `funding`."""
    return (
        payment.time_ms,
        payment.instrument,
        payment.lots,
        str(payment.oracle),
        str(payment.rate),
        str(payment.usd),
        payment.interval_h,
    )


def liquidation_row(event: Liquidation) -> Row:
    """The columns of `liquidation`."""
    return (
        event.time_ms,
        event.instrument,
        event.kind,
        event.lots,
        str(event.price),
        str(event.forfeited_usd),
    )


def transfer_row(transfer: Transfer) -> Row:
    """The columns of `transfer`."""
    return transfer.time_ms, transfer.reference, transfer.kind, str(transfer.usd)


def position_row(position: PositionFacts) -> Row:
    """The columns of `position`."""
    return (
        position.instrument,
        position.lots,
        position.size_decimals,
        str(position.entry_price),
        str(position.mark),
        str(position.notional_usd),
        str(position.unrealised_usd),
        _text(position.liquidation_price),
        position.margin_mode.value,
        position.opened_ms,
        str(position.funding_usd),
        position.because,
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
