"""Small moments for the pipeline: a few coins whose lot is a hundredth, an account, a mandate with loose limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from bot.model.decision import (
    AccountView,
    Decision,
    Memory,
    Opinion,
    OrderPlan,
    Targets,
    TradingState,
)
from bot.model.instrument import Instrument, simple_instrument
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.model.panel import HOUR_MS, Field, FloatArray, Grid, Panel
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot
from bot.pipeline.market import Prepared
from bot.pipeline.snapshot import Snapshot
from bot.pipeline.strategy import Strategy, View

COINS = ("AAA", "BBB", "CCC")
ROWS = 30
FIRST = 473_352
NOW_MS = (FIRST + ROWS - 1) * HOUR_MS
INF = float("inf")

#: Nothing binds but the rules that a test then sets.
LOOSE: Mapping[str, Any] = {
    "max_position_share": INF,
    "max_gross_leverage": INF,
    "max_net_leverage": INF,
    "max_open_interest_share": INF,
    "max_volume_share": INF,
    "min_free_margin": -INF,
    "min_liquidation_distance": 0.0,
    "stress_move": 0.0,
    "stress_loss": INF,
    "max_daily_loss": 1.0,
    "max_drawdown": 1.0,
}


@dataclass(frozen=True)
class Mute(Strategy):
    """Says what the test says in its place; here only to be counted."""

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"mark": panel.mark}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(0.0 * view.mark, "nothing")


def mandate(
    *capital: float, sizing: Sizing | None = None, execution: Execution | None = None, **limits: Any
) -> Mandate:
    """One mute strategy per capital (default: one with all of it), and loose limits but for those named."""
    slots = tuple(Slot(f"mute{k}", Mute(), share) for k, share in enumerate(capital or (1.0,)))
    return Mandate(slots, sizing or Sizing(), Limits(**{**LOOSE, **limits}), execution or Execution())


def moment(
    mandate: Mandate,
    mark: Any = (100.0, 50.0, 20.0),
    *,
    lots: Sequence[int] | None = None,
    equity: float = 10_000.0,
    entry: Sequence[float] | None = None,
    leverage: float | Sequence[float] = 5.0,
    open_orders: Sequence[OrderReport] = (),
    state: TradingState = TradingState.ACTIVE,
    scores: Any = None,
    held: Any = None,
    rest_until: Sequence[int] | None = None,
    high: float | None = None,
    day_open: float | None = None,
    instruments: Sequence[Instrument] | None = None,
    isolated: FloatArray | None = None,
    **fields: Any,
) -> Snapshot:
    """A snapshot; `mark` and `fields` are the newest row, or all rows, of a panel of some thirty."""
    width = np.atleast_2d(np.asarray(mark)).shape[1]
    given = {"mark": mark, "funding_rate": [0.0] * width, **fields}
    rows = max(ROWS, *(np.atleast_2d(np.asarray(each)).shape[0] for each in given.values()))
    matrices = {
        name: np.broadcast_to(np.asarray(each, dtype=np.float64), (rows, width)).copy()
        for name, each in given.items()
    }
    panel = Panel(Grid(FIRST + ROWS - rows, rows), COINS[:width], matrices)
    coins = instruments or [simple_instrument(name, 2, 10) for name in COINS[:width]]
    position = np.zeros(width, np.int64) if lots is None else np.array(lots, dtype=np.int64)
    strategies = len(mandate.strategies)
    blank = Memory.blank(strategies, width, equity)
    held_lots = blank.held_lots
    if held is not None:
        held_lots = np.array(held, dtype=np.int64).reshape(strategies, width)
    elif strategies == 1:
        held_lots = position[None, :].copy()
    memory = Memory(
        blank.scores if scores is None else np.array(scores, dtype=np.float64).reshape(strategies, width),
        blank.since_ms,
        held_lots,
        blank.rest_until_ms if rest_until is None else np.array(rest_until, dtype=np.int64),
        equity if high is None else high,
        NOW_MS // (24 * HOUR_MS),
        equity if day_open is None else day_open,
    )
    bought = np.where(
        position != 0, panel.mark.last if entry is None else np.array(entry, dtype=np.float64), 0.0
    )
    account = AccountView(
        equity,
        position,
        bought,
        np.broadcast_to(np.asarray(leverage, float), (width,)),
        tuple(open_orders),
        isolated,
    )
    return Snapshot(Prepared.of(panel, coins, mandate).at(-1), account, memory, state)


def opinion(*scores: float, edge: Sequence[float] | None = None) -> Opinion:
    given = np.array(scores, dtype=np.float64)
    return Opinion(
        given,
        "so",
        {},
        np.ones(len(given), dtype=np.bool_),
        None if edge is None else np.array(edge, dtype=float),
    )


def targets(*by_strategy: Sequence[int]) -> Targets:
    parts = np.array(by_strategy, dtype=np.int64)
    return Targets(parts.sum(axis=0), parts)


def resting(
    instrument: str,
    signed_lots: int,
    price: str,
    *,
    filled: int = 0,
    order_id: int = 1,
    reduce_only: bool = False,
) -> OrderReport:
    order = Order(
        f"before-{order_id}",
        instrument,
        Side.of(signed_lots),
        abs(signed_lots),
        Decimal(price),
        TimeInForce.GTC,
        reduce_only,
    )
    return OrderReport(NOW_MS - HOUR_MS, order_id, order, OrderStatus.RESTING, filled)


def waiting(
    instrument: str,
    signed_lots: int,
    price: str,
    *,
    purpose: Purpose = Purpose.STOP,
    order_id: int = 1,
) -> OrderReport:
    """A protective trigger that has not fired."""
    kind = TriggerKind.STOP if purpose is Purpose.STOP else TriggerKind.TAKE_PROFIT
    order = Order(
        f"before-{order_id}",
        instrument,
        Side.of(signed_lots),
        abs(signed_lots),
        reduce_only=True,
        trigger=Trigger(kind, Decimal(price)),
        purpose=purpose,
    )
    return OrderReport(NOW_MS - HOUR_MS, order_id, order, OrderStatus.WAITING)


def swinging(size: float, price: float = 100.0, rows: int = 200) -> FloatArray:
    """A price whose hourly log returns are +size and −size in turn, ending at `price`."""
    steps = np.arange(rows)[::-1] % 2
    path: FloatArray = price * np.exp(-size * steps)[:, None]
    return path


def decision_with(*scores: float, time_ms: int = NOW_MS) -> Decision:
    none = Targets(np.zeros(len(scores), np.int64), np.zeros((1, len(scores)), np.int64))
    return Decision("x", time_ms, (opinion(*scores),), none, none, (), OrderPlan())
