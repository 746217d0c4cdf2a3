"""What is carried from one cycle to the next, the same in a backtest and in a daemon.

The desk hears what the venue did (`absorb`), keeps the strategies' memory and shares up to date with it, and asks
`decide` at the end of each bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from bot.journal.inputs import ByHand
from bot.model.decision import (
    NO_ORDERS,
    AccountView,
    Decision,
    Finding,
    LotsArray,
    Memory,
    OrderPlan,
    TradingState,
)
from bot.model.instrument import Instrument
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, Transfer
from bot.model.panel import HOUR_MS, FloatArray
from bot.pipeline.by_hand import is_by_hand, order_by_hand
from bot.pipeline.closing import closing, withdrawals, word
from bot.pipeline.decide import decide, forget, open_day, remember
from bot.pipeline.execution import is_guarded, protect
from bot.pipeline.legs import Legs
from bot.pipeline.mandate import Guard, Mandate
from bot.pipeline.market import Market
from bot.pipeline.placing import PROTECTIVE, VENUES_OWN
from bot.pipeline.snapshot import Snapshot
from bot.sim.funding import FundingRound
from bot.trader.attribution import Attribution

FAILURES_ALLOWED: Final = 5
"""After so many failures in a row a strategy is not asked any more until the daemon is started again."""


class Desk:
    """Memory, attribution and the last targets of one account."""

    def __init__(self, mandate: Mandate, instruments: Sequence[Instrument], memory: Memory) -> None:
        self.mandate = mandate
        self.instruments = tuple(instruments)
        self.memory = memory
        self.attribution = Attribution(memory.held_lots, self.instruments)
        self.state = TradingState.ACTIVE
        self.targets: LotsArray | None = None  # each strategy's part of what was last allowed
        self.guards: dict[str, Guard] = {}  # the operator's own distances, while there is a position
        self.quarantined: dict[str, str] = {}  # strategies that are not asked any more, and why
        self.snapshot: Snapshot | None = (
            None  # of the last decision; None where strategies and rules had no say
        )
        self.by_hand: ByHand | None = None  # what the operator asked of it
        self.in_turn = False  # the last decision is to be carried out of spreads leg by leg
        self.is_whole = False  # it is about all that is held: it takes the place of one that was cut off
        self._failures: dict[str, int] = {}  # in a row
        self._columns = {instrument.name: column for column, instrument in enumerate(instruments)}

    def absorb(
        self,
        events: Sequence[OrderReport | Fill | FundingPayment | FundingRound | Liquidation | Transfer],
        lots: LotsArray,
    ) -> None:
        """Take in what the venue did; `lots` is what the account holds after it."""
        held_before = self.attribution.held_lots
        for event in events:
            if type(event) is FundingRound:
                self.attribution.settle(event)
            elif type(event) is FundingPayment:
                self.attribution.payment(event, self._columns[event.instrument])
            elif type(event) is Fill:
                self._fill(event, lots)
            elif type(event) is Liquidation and event.forfeited_usd:
                self.attribution.forfeit(event, self._columns[event.instrument])
            elif type(event) is Transfer:
                self._shift(float(event.usd))
        if self.attribution.held_lots is not held_before:
            self.memory = self.memory.holding(self.attribution.held_lots)

    def _shift(self, usd: float) -> None:
        """What is brought in is no gain and what is taken out no loss: what equity is held against moves with it."""
        memory = self.memory
        self.memory = replace(
            memory,
            high_water_mark_usd=max(0.0, memory.high_water_mark_usd + usd),
            day_open_usd=memory.day_open_usd + usd,
        )

    def _fill(self, fill: Fill, lots: LotsArray) -> None:
        column = self._columns[fill.instrument]
        own = fill.purpose in VENUES_OWN
        wanted = self.attribution.held_lots if own or self.targets is None else self.targets
        if (
            is_by_hand(fill.client_id) and not own
        ):  # all of it is the operator's, whatever the strategies hold
            wanted = self.attribution.held_lots.copy()
            hand = next((k for k, slot in enumerate(self.mandate.strategies) if slot.by_hand), 0)
            wanted[hand, column] += fill.signed_lots
        self.attribution.fill(fill, column, wanted)
        # A trigger means out, even where it found too little volume: what it left is closed next. Else only what is
        # flat at this fill, even if an order of the same bar has opened something since: that goes with the rest.
        if own and (
            fill.purpose in PROTECTIVE or lots[column] == 0 or not self.attribution.held_lots[:, column].any()
        ):
            until_ms = fill.time_ms + self.mandate.sizing.cooldown_h * HOUR_MS
            self.memory = forget(self.memory, column, until_ms)

    def decide(self, market: Market, account: AccountView, suffix: str = "") -> Decision:
        """One cycle's decision; the memory moves on with it. A `suffix` tells another one of the same moment apart."""
        self.memory = open_day(self.memory, market.time_ms, account.equity_usd)
        self._drop_guards(account)
        snapshot = Snapshot(market, account, self.memory, self.state, self.guards, suffix, self.quarantined)
        # Between two rows the prices are none that the journal keeps, so that decision can't be made again from it.
        self.snapshot, self.by_hand = None if suffix else snapshot, None
        self.in_turn = self.is_whole = True
        decision = decide(snapshot, self.mandate)
        if decision.findings or self._failures:
            self._count_failures(decision)
        self.memory = remember(self.memory, decision)
        self._cross(decision, market.mark)
        self.targets = decision.allowed.by_strategy
        return decision

    def order_by_hand(
        self,
        market: Market,
        account: AccountView,
        column: int,
        lots: int,
        *,
        number: int,
        guard: Guard | None = None,
    ) -> Decision:
        """The decision to change what is held by hand of one instrument by `lots`.

        `guard` protects it from now on; who finds that nothing of it was filled puts the guards back as they were.
        """
        self.memory = open_day(self.memory, market.time_ms, account.equity_usd)
        self._drop_guards(account)
        suffix = f"m{number}"
        self.in_turn = self.is_whole = False
        self.snapshot = Snapshot(
            market, account, self.memory, self.state, self.guards, suffix, self.quarantined
        )
        self.by_hand = ByHand(self.instruments[column].name, lots, number, market.mark)
        decision = order_by_hand(
            market,
            account,
            self.memory,
            self.mandate,
            column,
            lots,
            number=number,
            state=self.state,
            guards=self.guards,
            quarantined=self.quarantined,
        )
        self.targets = decision.allowed.by_strategy
        if guard is not None:
            after = int(np.sign(decision.allowed.lots[column]))
            self.guards = {**self.guards, self.instruments[column].name: replace(guard, sign=after)}
        return decision

    def withdraw(self, account: AccountView, time_ms: int, suffix: str, why: str) -> Decision:
        """The decision to cancel the working orders that the state forbids."""
        self.snapshot, self.in_turn, self.is_whole = None, False, False
        plan = OrderPlan(withdrawals(account, self.state, f"trading is {self.state}"))
        return word(self.memory, time_ms, suffix, plan, Finding("trading_state", "", f"{self.state}: {why}"))

    def close_all(
        self, account: AccountView, mark: FloatArray, time_ms: int, suffix: str, attempt: int, why: str
    ) -> Decision:
        """The decision to close everything, whatever the strategies want; `attempt` counts from 0.

        Of spreads both legs go at once: it has to work where nothing else does.
        """
        self.snapshot, self.in_turn, self.is_whole = None, False, True
        finding, nothing = (
            Finding("flatten", "", f"everything is to be closed: {why}"),
            np.zeros_like(self.memory.held_lots),
        )
        moment_id = f"{time_ms // 1000:x}{suffix}"
        plan = closing(account, mark, self.instruments, moment_id, self.mandate.execution, attempt, why)
        decision = word(self.memory, time_ms, suffix, plan, finding, wanted=nothing)
        self._cross(decision, np.where(mark > 0, mark, np.nan))
        self.targets = nothing
        return decision

    def protect(self, account: AccountView, mark: FloatArray, time_ms: int, suffix: str) -> Decision:
        """The decision to protect what is held as it is now."""
        self.snapshot, self.in_turn, self.is_whole = None, False, False
        plan = self.protection(account, mark, f"{time_ms // 1000:x}{suffix}")
        return word(
            self.memory, time_ms, suffix, plan, Finding("protection", "", "an order that rested has traded")
        )

    def even_out(self, account: AccountView, time_ms: int, suffix: str) -> Decision:
        """The decision to close what is held of one leg of a spread and no longer hedged by the other.

        Liquidated, closed by the venue to cover another's loss, or traded by somebody else: what is left is no spread.
        """
        self.snapshot, self.in_turn, self.is_whole = None, True, False
        names, wanted = [each.name for each in self.instruments], self.memory.held_lots.copy()
        for row, slot in enumerate(self.mandate.strategies):
            if slot.spreads:
                legs = Legs.of(slot.spreads, names)
                wanted[row] = legs.common(
                    legs.held_where(np.ones(len(legs.spreads), np.bool_), wanted[row], account.lots)
                )
        self.targets = wanted
        finding = Finding("both_legs", "", "a leg of a spread is held alone: closed to what both legs hold")
        return word(self.memory, time_ms, suffix, NO_ORDERS, finding, wanted=wanted)

    def drawn_down(self, equity_usd: float) -> bool:
        """Whether the drawdown rule has closed everything for good."""
        return not equity_usd > self.memory.high_water_mark_usd * (1 - self.mandate.limits.max_drawdown)

    def accept_drawdown(self, equity_usd: float, time_ms: int, suffix: str) -> Decision:
        """The decision to count losses from today's equity on: the high-water mark is put down to it."""
        self.snapshot, self.in_turn, self.is_whole = None, False, False
        high = self.memory.high_water_mark_usd
        self.memory = replace(self.memory, high_water_mark_usd=equity_usd)
        detail = f"accepted by the operator: high-water mark from {high:,.2f} down to {equity_usd:,.2f}"
        return word(self.memory, time_ms, suffix, NO_ORDERS, Finding("drawdown", "", detail))

    def _drop_guards(self, account: AccountView) -> None:
        """A guard ends with its position, and with its side."""
        if self.guards:
            self.guards = {
                name: guard
                for name, guard in self.guards.items()
                if guard.covers(int(account.lots[self._columns[name]]))
            }

    def _count_failures(self, decision: Decision) -> None:
        for slot, opinion in zip(self.mandate.strategies, decision.opinions, strict=True):
            if not opinion.problem:
                self._failures.pop(slot.name, None)
                continue
            failures = self._failures[slot.name] = self._failures.get(slot.name, 0) + 1
            if failures == FAILURES_ALLOWED:
                # One that comes and goes is no longer trusted to trade; what it holds stays protected.
                why = (
                    f"not asked any more after {failures} failures in a row, the last of them: {opinion.problem}; "
                    "mend it and start again"
                )
                self.quarantined = {
                    **self.quarantined,
                    slot.name: why,
                }  # the snapshot still holds the old one

    def _cross(self, decision: Decision, mark: FloatArray) -> None:
        """Strategies that only disagree with each other change hands among themselves."""
        if len(decision.allowed.by_strategy) == 1:
            return
        held, wanted = self.attribution.held_lots, decision.allowed.by_strategy
        settled = (held.sum(axis=0) == wanted.sum(axis=0)) & (held != wanted).any(axis=0) & np.isfinite(mark)
        for column in np.flatnonzero(settled):
            self.attribution.cross(int(column), wanted, float(mark[column]))
        if settled.any():
            self.memory = self.memory.holding(self.attribution.held_lots)

    def protection(self, account: AccountView, mark: FloatArray, moment_id: str) -> OrderPlan:
        """Protective triggers for positions that just changed; nothing where the mandate asks for none."""
        self._drop_guards(account)
        execution = self.mandate.execution
        if not is_guarded(execution, self.guards):
            return NO_ORDERS
        return protect(account, mark, self.instruments, moment_id, execution, self.guards)

    def saved(self) -> dict[str, Any]:
        """What the memory does not hold, as JSON values: the strategies' money, and what they last wanted."""
        names = [slot.name for slot in self.mandate.strategies]
        targets = None
        if self.targets is not None:
            targets = {
                name: {self.instruments[c].name: int(row[c]) for c in np.flatnonzero(row)}
                for name, row in zip(names, self.targets, strict=True)
            }
        guards = {
            name: [guard.stop_loss, guard.take_profit, guard.sign] for name, guard in self.guards.items()
        }
        return {"attribution": self.attribution.state(names), "targets": targets, "guards": guards}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take up what `saved` gave; strategies and instruments that are gone are passed over."""
        names = [slot.name for slot in self.mandate.strategies]
        self.attribution.restore(names, saved["attribution"])
        self.guards = {
            name: Guard(*distances)
            for name, distances in saved.get("guards", {}).items()
            if name in self._columns
        }
        if saved["targets"] is None:
            return
        self.targets = np.zeros_like(self.attribution.held_lots)
        for k, name in enumerate(names):
            for instrument, lots in saved["targets"].get(name, {}).items():
                if instrument in self._columns:
                    self.targets[k, self._columns[instrument]] = lots
