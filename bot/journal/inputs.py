"""What a decision was made from, as the journal keeps it: the account, the memory, and which market it saw.

The market's rows are in tables of their own (bot/journal/past.py). Here is a digest of the panel that the decision looked at,
by which a panel that was put together again is known to be the same one.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from bot.errors import StateError
from bot.journal import codec
from bot.model.decision import AccountView, Memory, OrderPlan, TradingState
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
from bot.model.panel import FloatArray, Panel

Distances = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class ByHand:
    """What the operator asked for: to change what is held of a coin by `lots`, at prices between two rows (`mark`)."""

    instrument: str
    lots: int
    number: int
    mark: FloatArray


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a decision looked at but the mandate and the market's rows.

    `guards` are stop loss and take profit by coin. `rows` and `market_digest` tell the panel.
    """

    account: AccountView
    memory: Memory
    state: TradingState
    guards: Mapping[str, Distances]
    quarantined: Mapping[str, str]
    rows: int
    market_digest: str
    by_hand: ByHand | None = None


@dataclass(frozen=True, slots=True)
class KeptInputs:
    """`Inputs` as they are read: the memory still by names, since the strategies of now may be others.

    `plan` is what was asked for where the decision was told more than once: the order rows are of the first time then.
    """

    account: AccountView
    memory: str
    state: TradingState
    guards: Mapping[str, Distances]
    quarantined: Mapping[str, str]
    rows: int
    market_digest: str
    by_hand: ByHand | None
    plan: tuple[codec.Row, ...] | None


def digest(panel: Panel) -> str:
    """By which a panel is known to be the same, bit for bit; a field of which nothing is known is as none."""
    told = hashlib.blake2b(f"{panel.grid}{panel.instruments}".encode(), digest_size=12)
    for name in sorted(panel.fields):
        values = panel.fields[name]
        unknown = np.isnan(values)
        if not unknown.all():
            told.update(name.encode())
            if unknown.any():
                values = np.where(unknown, np.nan, values)  # all unknowns are the same one
            told.update(np.ascontiguousarray(values).data)
    return told.hexdigest()


def encode(
    inputs: Inputs, strategies: Sequence[str], instruments: Sequence[str], told_again: OrderPlan | None
) -> bytes:
    """Compressed JSON; arrays over `instruments`. `told_again`: the plan, where an earlier one of this id is on disk."""
    account = inputs.account
    content: dict[str, Any] = {
        "equity_usd": account.equity_usd,
        "lots": account.lots.tolist(),
        "entry_price": _told(account.entry_price),
        "leverage": _told(account.leverage),
        "isolated_usd": None if account.isolated_usd is None else _told(account.isolated_usd),
        "open_orders": [codec.report_row(report) for report in account.open_orders],
        "memory": codec.encode_memory(inputs.memory, strategies, instruments),
        "state": inputs.state.value,
        "rows": inputs.rows,
        "market": inputs.market_digest,
    }
    if account.wallet_usd is not None:
        content["wallet_usd"] = dict(account.wallet_usd)
    if inputs.guards:
        content["guards"] = dict(inputs.guards)
    if inputs.quarantined:
        content["quarantined"] = dict(inputs.quarantined)
    if inputs.by_hand is not None:
        wish = inputs.by_hand
        content["by_hand"] = [wish.instrument, wish.lots, wish.number, _told(wish.mark)]
    if told_again is not None:
        content["plan"] = [codec.order_row(order, None, 0) for order in told_again.orders]
    return zlib.compress(codec.encode(content).encode(), 9)


def decode(content: bytes) -> KeptInputs:
    """What `encode` wrote. StateError where it is damaged."""
    try:
        told = json.loads(zlib.decompress(content))
        by_hand = told.get("by_hand")
        isolated = told["isolated_usd"]
        return KeptInputs(
            AccountView(
                told["equity_usd"],
                np.array(told["lots"], np.int64),
                _array(told["entry_price"]),
                _array(told["leverage"]),
                tuple(map(_report, told["open_orders"])),
                None if isolated is None else _array(isolated),
                told.get("wallet_usd"),
            ),
            told["memory"],
            TradingState(told["state"]),
            {name: (stop, profit) for name, (stop, profit) in told.get("guards", {}).items()},
            told.get("quarantined", {}),
            told["rows"],
            told["market"],
            None if by_hand is None else ByHand(by_hand[0], by_hand[1], by_hand[2], _array(by_hand[3])),
            None if "plan" not in told else tuple(tuple(row) for row in told["plan"]),
        )
    except (ValueError, TypeError, LookupError, zlib.error) as error:
        raise StateError(f"the input of a decision in the journal is damaged ({error})") from None


def _told(values: FloatArray) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN is no JSON


def _array(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _report(row: Sequence[Any]) -> OrderReport:
    """What `codec.report_row` wrote."""
    client_id, _, coin, side, lots, limit, tif, reduce_only, kind, level, purpose, _, time_ms = row[:13]
    status, order_id, filled_lots, average, reason = row[13:]
    order = Order(
        client_id,
        coin,
        Side(side),
        lots,
        None if limit is None else Decimal(limit),
        TimeInForce(tif),
        bool(reduce_only),
        None if kind is None else Trigger(TriggerKind(kind), Decimal(level)),
        Purpose(purpose),
    )
    return OrderReport(
        time_ms,
        order_id,
        order,
        OrderStatus(status),
        filled_lots,
        ZERO if average is None else Decimal(average),
        reason,
    )
