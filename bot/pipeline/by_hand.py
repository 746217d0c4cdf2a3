"""Orders that the operator gives by hand: a slot beside the strategies, down the same guarded path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bot.model.decision import (
    AccountView,
    Decision,
    LotsArray,
    Memory,
    Opinion,
    OrderPlan,
    Targets,
    TradingState,
)
from bot.model.panel import Field, Panel
from bot.pipeline.decide import forecast
from bot.pipeline.execution import plan
from bot.pipeline.mandate import Guard, Mandate, Slot, Style
from bot.pipeline.market import Market
from bot.pipeline.risk import review
from bot.pipeline.snapshot import Snapshot
from bot.pipeline.strategy import Strategy, View

NAME = "manual"


@dataclass(frozen=True)
class ByHand(Strategy):
    """Has no opinion; its slot keeps what the operator asked for."""

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        """The price, since a strategy has to look at something."""
        return {"mark": panel.mark}

    def forecast(self, view: View) -> Opinion:
        """None."""
        return view.opinion(np.zeros(len(view.instruments)), "asked for by hand")


SLOT = Slot(NAME, ByHand(), 0.0, by_hand=True)

_CLIENT_ID = re.compile(r"[0-9a-f]+m[0-9]+-")


def is_by_hand(client_id: str) -> bool:
    """Whether an order was asked for by hand; its protection, like all protection, is the position's."""
    return _CLIENT_ID.match(client_id) is not None


def order_by_hand(
    market: Market,
    account: AccountView,
    memory: Memory,
    mandate: Mandate,
    column: int,
    lots: int,
    *,
    number: int,
    state: TradingState = TradingState.ACTIVE,
    guards: Mapping[str, Guard] | None = None,
    quarantined: Mapping[str, str] | None = None,
) -> Decision:
    """The decision to change what is held by hand of one instrument by `lots` (signed).

    The whole book passes through the rules with the wish in it, and only that instrument is traded. `number` tells
    the orders of one moment apart. The mandate must hold `SLOT`.
    """
    snapshot = Snapshot(market, account, memory, state, guards, f"m{number}", quarantined)
    opinions = forecast(market, memory, mandate.strategies, quarantined)
    by_strategy = memory.held_lots.copy()
    by_strategy[_row(mandate), column] += lots
    wanted = Targets(by_strategy.sum(axis=0), by_strategy)
    allowed, findings = review(wanted, opinions, snapshot, mandate)
    allowed = _only(column, allowed, account, memory)
    # At market, however the strategies enter: what rests would not be wanted any more at the next cycle.
    asked = plan(allowed, snapshot, replace(mandate.execution, style=Style.TAKER))
    name = market.instruments[column].name
    orders = OrderPlan(
        tuple(each for each in asked.cancels if each.instrument == name),
        tuple(each for each in asked.orders if each.instrument == name),
    )
    return Decision(snapshot.id, snapshot.time_ms, opinions, wanted, allowed, findings, orders)


def _row(mandate: Mandate) -> int:
    return next(k for k, slot in enumerate(mandate.strategies) if slot.by_hand)


def _only(column: int, allowed: Targets, account: AccountView, memory: Memory) -> Targets:
    """The allowed book of one instrument; of the others, what is held."""
    by_strategy: LotsArray = memory.held_lots.copy()
    by_strategy[:, column] = allowed.by_strategy[:, column]
    lots = account.lots.copy()
    lots[column] = allowed.lots[column]
    return replace(allowed, lots=lots, by_strategy=by_strategy)
