"""What is carried from one cycle to the next, the same in a backtest and in a daemon.

The desk hears what the venue did (`absorb`), keeps the strategies' memory and shares up to date with it, and asks
`decide` at the end of each bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bot.model.decision import NO_ORDERS, AccountView, Decision, Memory, OrderPlan, TradingState
from bot.model.instrument import Instrument
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, Purpose
from bot.model.panel import HOUR_MS, FloatArray
from bot.pipeline.decide import decide, forget, open_day, remember
from bot.pipeline.execution import protect
from bot.pipeline.mandate import Mandate
from bot.pipeline.market import Market
from bot.pipeline.snapshot import Snapshot
from bot.trader.attribution import Attribution

VENUES_OWN = (Purpose.STOP, Purpose.TAKE_PROFIT, Purpose.LIQUIDATION, Purpose.SETTLEMENT)


class Desk:
    """Memory, attribution and the last decision of one account."""

    def __init__(self, mandate: Mandate, instruments: Sequence[Instrument], memory: Memory) -> None:
        self.mandate = mandate
        self.instruments = tuple(instruments)
        self.memory = memory
        self.attribution = Attribution(memory.held_lots, self.instruments)
        self.state = TradingState.ACTIVE
        self.last: Decision | None = None
        self._columns = {instrument.name: column for column, instrument in enumerate(instruments)}

    def absorb(
        self, events: Sequence[OrderReport | Fill | FundingPayment | Liquidation], lots: np.ndarray
    ) -> None:
        """Take in what the venue did; `lots` is what the account holds after it."""
        held_before = self.attribution.held_lots
        for event in events:
            if type(event) is FundingPayment:
                self.attribution.payment(event, self._columns[event.instrument])
            elif type(event) is Fill:
                self._fill(event, lots)
        if self.attribution.held_lots is not held_before:
            self.memory = replace(self.memory, held_lots=self.attribution.held_lots)

    def _fill(self, fill: Fill, lots: np.ndarray) -> None:
        column = self._columns[fill.instrument]
        own = fill.purpose in VENUES_OWN
        wanted = self.attribution.held_lots if own or self.last is None else self.last.allowed.by_strategy
        self.attribution.fill(fill, column, wanted)
        if own and lots[column] == 0:
            until_ms = fill.time_ms + self.mandate.sizing.cooldown_h * HOUR_MS
            self.memory = forget(self.memory, column, until_ms)

    def decide(self, market: Market, account: AccountView) -> Decision:
        """One cycle's decision; the memory moves on with it."""
        self.memory = open_day(self.memory, market.time_ms, account.equity_usd)
        decision = decide(Snapshot(market, account, self.memory, self.state), self.mandate)
        self.memory = remember(self.memory, decision)
        self._cross(decision, market.mark)
        self.last = decision
        return decision

    def _cross(self, decision: Decision, mark: FloatArray) -> None:
        """Strategies that only disagree with each other change hands among themselves."""
        if len(decision.allowed.by_strategy) == 1:
            return
        held, wanted = self.attribution.held_lots, decision.allowed.by_strategy
        settled = (held.sum(axis=0) == wanted.sum(axis=0)) & (held != wanted).any(axis=0) & np.isfinite(mark)
        for column in np.flatnonzero(settled):
            self.attribution.cross(int(column), wanted, float(mark[column]))
        if settled.any():
            self.memory = replace(self.memory, held_lots=self.attribution.held_lots)

    def protection(self, account: AccountView, mark: FloatArray, moment_id: str) -> OrderPlan:
        """Protective triggers for positions that just changed; nothing where the mandate asks for none."""
        execution = self.mandate.execution
        if execution.stop_loss is None and execution.take_profit is None:
            return NO_ORDERS
        return protect(account, mark, self.instruments, moment_id, execution)
