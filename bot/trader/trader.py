"""The shell around the decision: observe → decide → write it down → act. All the state and all the waiting is here.

A cycle is two journal transactions with the venue's work between them: the decision with its orders, on disk before
any of them leaves, and then all that came of it with the checkpoint that a restart goes on from. Stopped anywhere in
between, the next start finds the last whole cycle and the same market, and comes to the same decision again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import structlog

from bot.clock import Clock, WallClock, utc
from bot.errors import Unavailable
from bot.journal.journal import Journal
from bot.journal.ledger import Holding
from bot.journal.records import CycleFacts, RunFacts
from bot.model.decision import NO_ORDERS, Decision, Memory, OrderPlan, TradingState
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, Transfer
from bot.model.panel import FloatArray
from bot.pipeline.mandate import Mandate
from bot.trader.desk import Desk
from bot.trader.diary import Story, by_strategy, equity_point
from bot.trader.funding_watch import FundingWatch
from bot.trader.given import inputs_of
from bot.trader.hands import Session
from bot.trader.ladder import Ladder
from bot.trader.observer import Observer
from bot.trader.operator import Operator
from bot.trader.pairs import Pairs
from bot.trader.reach import Reach
from bot.trader.told import Findings, begins, money, report
from bot.trader.transfer_watch import TransferWatch
from bot.trader.watchdog import Bounds
from bot.venues.venue import AccountState, Venue, VenueEvent

log = structlog.get_logger("hedgerow")

PROTECTION_ATTEMPTS: Final = 3


class Trader:
    """One account, one mandate, one venue, one journal."""

    def __init__(
        self,
        name: str,
        venue: Venue,
        mandate: Mandate,
        journal: Journal,
        config: Mapping[str, Any],
        clock: Clock | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.name = name
        self.cycles = 0
        self._venue, self.mandate, self._journal = venue, mandate, journal
        self.instruments = venue.instruments
        self._config, self._clock = config, clock or WallClock()
        self._strategies = tuple(slot.name for slot in mandate.strategies)
        self._columns = {instrument.name: k for k, instrument in enumerate(venue.instruments)}
        ladder = Ladder(journal, self._clock, bounds or Bounds())
        self._operator = Operator(self, journal, self._clock, ladder)
        self._session: Session | None = None
        self.time_ms = 0
        self.account: AccountState | None = None  # as last looked at
        self._funding = FundingWatch(venue.instruments)
        self._transfers = TransferWatch(mandate, venue.instruments, journal)
        self._reach = Reach(venue.instruments, journal)
        self.pairs = Pairs(mandate, venue.instruments)
        self._untold: list[VenueEvent] = []  # what the venue said that the journal does not hold yet
        self._findings = Findings()
        self._cut_off = False  # a decision was not carried out to its end
        self._is_to_look = False  # at the account, before the next cycle: what rested may have traded
        self._tries = 0

    async def start(self) -> None:
        """Begin a run, going on from the journal's last whole cycle where there is one."""
        facts = RunFacts(
            name=self.name,
            mode=str(self._config["mode"]),
            config=self._config,
            source=self._venue.identity,
            strategies=self._strategies,
            instruments=self._venue.instruments,
            started_wall_ms=self._clock.now_ms(),
        )
        run = self._journal.begin_run(facts)
        checkpoint = self._journal.checkpoint()
        saved: Mapping[str, Any] = {} if checkpoint is None else checkpoint.state
        panel = await self._venue.open(saved.get("venue"))
        account = await self._venue.account()
        names = tuple(self._columns)
        memory = self._journal.memory(self._strategies, names)
        desk = Desk(
            self.mandate,
            self._venue.instruments,
            memory or Memory.blank(len(self._strategies), len(names), float(account.equity_usd)),
        )
        if checkpoint is None:
            held = {
                each.instrument.name: Holding.at(each.lots, each.mark, each.instrument.size_decimals)
                for each in account.positions
            }
            self._journal.open_books(
                panel.grid.end_ms,
                account.deposits_usd,
                account.equity_usd,
                held,
                memory=desk.memory,
                checkpoint={"venue": self._venue.checkpoint(), "desk": desk.saved(), "story": {}},
            )
        else:
            desk.restore(saved["desk"])
        observer = Observer(panel, self._venue.instruments, self.mandate)
        observer.recall(self._journal.market_rows(observer.panel.grid.start_ms, names))
        self._journal.record_opening(self.instruments, observer.panel, observer.rows)
        self._session = Session(desk, observer, Story(saved.get("story")))
        self._hear(self._venue.take_events(), account)  # what happened while nobody looked
        desk.attribution.check_held(account.view.lots)
        self.pairs.check_cap(account)
        self.time_ms, self.account = panel.grid.end_ms, account
        self._operator.ladder.begin(self._follow)
        unprotected = desk.protection(account.view, account.mark, "start")
        self._cut_off = bool(unprotected.orders) or self._journal.was_cut_off(self.time_ms)
        self._is_to_look = self.pairs.is_uneven(account)
        begins(self.name, run, self.time_ms, account, self._strategies, len(panel), goes_on=bool(saved))
        for caution in observer.cautions():
            log.warning("caution", found=caution)

    async def due(self) -> None:
        """Return when there is a new moment to decide on, or a decision to finish; may be cancelled."""
        if not self.is_to_finish:
            await self._venue.due()

    @property
    def is_to_finish(self) -> bool:
        """Whether the last decision has to be seen to its end first; closing everything is the ladder's own work."""
        return (self._cut_off or self._is_to_look) and not self._operator.ladder.is_flattening

    async def cycle(self) -> bool:
        """One look, one decision, and what it asks for; False when there is nothing more to look at."""
        session = self.session
        if self.is_to_finish:
            await (self._again() if self._cut_off else self._protect())
            return True
        seen = await self._venue.observe()
        if seen is None:
            return False
        self._hear(seen.events, seen.account)
        for said in self._funding.look(seen.time_ms, seen.row, seen.account):
            log.error("funding missed", found=said)
        self._transfers.look(seen.time_ms, seen.account)
        for time_ms, row in seen.missed:
            session.observer.pass_over(time_ms, row)
        market = session.observer.see(seen.time_ms, seen.row)
        self._operator.ladder.heed()  # what was asked while the venue was looked at comes before what it asks for
        self._operator.ladder.seen(market)
        decision = session.desk.decide(market, seen.account.view)
        self.time_ms = seen.time_ms
        await self.carry_out(decision, seen.account, {**dict(seen.missed), seen.time_ms: seen.row})
        self.cycles += 1
        return True

    async def _again(self) -> None:
        """Decide once more, on what is true now: the venue failed within a cycle, or the process did.

        What was meant to be closed is not left open for an hour, and what was opened not without its stop. Unavailable where
        a venue can't be asked: what is decided on needs the whole account. Only legs that are seen are evened until then.
        """
        session, account = self.session, await self.looked()
        if account.stale:
            await self._even_out(account)
            raise Unavailable(
                f"{', '.join(account.stale)} can't be asked: what was decided last waits for it"
            )
        self._tries += 1
        market = session.observer.now(account.mark)
        log.info("deciding again", because="the last decision was not carried out to its end")
        suffix = f"a{self._journal.epoch}n{self._tries}"
        await self.carry_out(session.desk.decide(market, account.view, suffix), account)

    async def _protect(self) -> None:
        """Give what an order has opened that rested its stop, without waiting for the hour.

        What is left of a spread of which the venue has taken a leg is closed.
        """
        account = await self.looked()
        self._is_to_look = False
        if await self._even_out(account):
            return
        self._tries += 1
        suffix = f"p{self._journal.epoch}n{self._tries}"
        decision = self.session.desk.protect(account.view, account.mark, self.time_ms, suffix)
        if decision.plan:
            await self.carry_out(decision, account)

    async def _even_out(self, account: AccountState) -> bool:
        """Close what is held of one leg alone; whether there was anything."""
        if not self.pairs.is_uneven(account):
            return False
        self._tries += 1
        suffix = f"e{self._journal.epoch}n{self._tries}"
        await self.carry_out(self.session.desk.even_out(account.view, self.time_ms, suffix), account)
        return True

    async def carry_out(
        self,
        decision: Decision,
        before: AccountState,
        market: Mapping[int, Mapping[str, FloatArray]] | None = None,
    ) -> Sequence[VenueEvent]:
        """Write the decision down with the `market` rows it was made on, act on it, and write down what came of it.

        Returns all that the venue said since the last time.
        """
        with structlog.contextvars.bound_contextvars(decision=decision.snapshot_id):
            desk = self.session.desk
            if desk.in_turn:
                decision = self.pairs.apart(decision)
            inputs = None if desk.snapshot is None else inputs_of(desk.snapshot, desk.by_hand)
            opened = self.pairs.opened(decision, before, self.mandate) if desk.in_turn else ()
            self._journal.record_decision(decision, desk.state, before.equity_usd, inputs, market, opened)
            was_cut_off, self._cut_off = self._cut_off, True
            self._findings.say(decision)
            account = await self._act(decision, before)
            if account.stale and desk.in_turn:  # the books can't be held against what is not seen
                raise Unavailable(f"{', '.join(account.stale)} can't be asked what came of the decision")
            facts = self._facts(self.time_ms, account, decision)
            if market is None:  # a moment of its own in the books, before the next cycle's, which may be late
                at_ms = max(self.time_ms, self.session.observer.before_next(account.time_ms))
                facts = replace(facts, time_ms=at_ms, is_cycle=False)
            for drift in self._journal.record_cycle(facts):
                log.error(
                    "books differ from the venue's",
                    part=drift.part,
                    coin=drift.coin or "all",
                    usd=str(drift.usd),
                    lots=drift.lots,
                )
        told, self._untold = self._untold, []
        self.account = account
        if desk.in_turn:
            self.pairs.carried_out()
        self._cut_off = (desk.in_turn and bool(self.pairs.taken)) or (was_cut_off and not desk.is_whole)
        bare = desk.protection(account.view, account.mark, decision.snapshot_id).orders
        self._operator.ladder.look(
            unprotected=tuple(sorted({order.instrument for order in bare})),
            unhedged=self.pairs.unhedged(account),
        )
        return told

    def has_command(self) -> bool:
        """Whether an operator waits for an answer; what asks for less risk holds from now on, even within a cycle."""
        if not self._journal.commands.waiting():
            return False
        self._operator.ladder.heed()
        return True

    @property
    def pause_s(self) -> float | None:
        """When `obey` is to be called again, though nobody asks: seconds from now; None where it needn't be."""
        return self._operator.ladder.pause_s

    def _follow(self, state: TradingState) -> None:
        self.session.desk.state = state

    def failed(self) -> None:
        """Take note that the venue did not do what was asked."""
        self._operator.ladder.failed()

    @property
    def watch_s(self) -> float:
        """How often to `watch`, seconds."""
        return self.pairs.watch_s

    async def watch(self) -> None:
        """Look whether the means of trading are in order; to be called every so often, whatever else goes on."""
        condition = await self._venue.condition()
        # A venue that failed is asked again now and not in an hour: else it would not be known to be back.
        wanted = self.pairs.want_a_look(can_sign=not condition.signer_problem)
        self._is_to_look |= condition.has_traded or wanted or self._operator.ladder.is_failing
        self._operator.ladder.learned(condition)

    async def obey(self) -> None:
        """Carry out the commands that wait, and what the trading state asks for and is not done yet.

        A refusal is an answer; what the venue fails at is answered and raised.
        """
        await self._operator.obey()

    async def looked(self) -> AccountState:
        """The account by a fresh question."""
        account = await self._after()
        self._operator.ladder.answered(account.stale)
        self.pairs.leave(account)
        self._transfers.look(self.time_ms, account)
        return account

    async def _act(self, decision: Decision, before: AccountState) -> AccountState:
        """Carry the plan out, then protect what it opened; the account after it."""
        desk, decision_id = self.session.desk, decision.snapshot_id
        account = await self._sent(decision.plan)
        if desk.in_turn and self.pairs:
            account = await self.pairs.bring(
                decision.allowed.lots,
                account,
                decision_id,
                self.session.observer.panel,
                self._venue,
                self._after,
                lambda: desk.state is TradingState.ACTIVE and not (self.account and self.account.stale),
            )
        if np.array_equal(account.view.lots, before.view.lots):
            return account
        for attempt in range(1, PROTECTION_ATTEMPTS + 1):
            protection = desk.protection(account.view, account.mark, decision_id + "+" * attempt)
            if protection is NO_ORDERS:
                break
            if attempt > 1:
                log.error("protection was refused", orders=len(protection.orders), attempt=attempt)
            account = await self._sent(protection)
        return account

    async def _sent(self, plan: OrderPlan) -> AccountState:
        """Have a plan carried out; the account after it."""
        await self._venue.send(plan)
        return await self._after()

    async def _after(self) -> AccountState:
        self.account = account = await self._venue.account()
        self._hear(self._venue.take_events(), account)
        self._reach.look(self.time_ms, account)
        return account

    def _hear(self, events: Sequence[VenueEvent], account: AccountState) -> None:
        if not events:
            return
        self._funding.hear(events)
        self.pairs.hear(events)
        self.session.desk.absorb(events, account.view.lots)
        self.session.story.hear(events)
        self._untold.extend(events)
        report(events)

    def _facts(self, time_ms: int, account: AccountState, decision: Decision) -> CycleFacts:
        session, desk, told = self.session, self.session.desk, self._untold
        columns = self.pairs.spoken_for(self._columns)
        positions = session.story.tell(account, decision, self._strategies, columns)
        checkpoint = self._venue.checkpoint()
        return CycleFacts(
            time_ms=time_ms,
            wall_ms=self._clock.now_ms(),
            equity=equity_point(account),
            memory=desk.memory,
            checkpoint={"venue": checkpoint, "desk": desk.saved(), "story": session.story.state()},
            reports=[event for event in told if isinstance(event, OrderReport)],
            fills=[event for event in told if isinstance(event, Fill)],
            payments=[event for event in told if isinstance(event, FundingPayment)],
            liquidations=[event for event in told if isinstance(event, Liquidation)],
            transfers=[event for event in told if isinstance(event, Transfer)],
            positions=positions,
            wallets=account.view.wallet_usd,
            by_strategy=by_strategy(desk.attribution, account.mark, self._strategies),
        )

    def summary(self) -> None:
        """Log how things stand."""
        if (account := self.account) is None:
            return
        said = log.bind(as_last_seen=", ".join(account.stale)) if account.stale else log
        said.info(
            "standing",
            market=utc(self.time_ms),
            equity_usd=money(account.equity_usd),
            price_usd=money(account.price_usd),
            funding_usd=money(account.funding_usd),
            fees_usd=money(-account.fees_usd),
            positions=len(account.positions),
            cycles=self.cycles,
        )

    def end(self) -> None:
        """Write down that the run ends of its own accord."""
        self._journal.end_run(self._clock.now_ms())
        self.summary()
        self.pairs.part(self.account, is_cut_off=self._cut_off)
        log.info("run ends", market=utc(self.time_ms), cycles=self.cycles)

    @property
    def session(self) -> Session:
        """What there is once it has started; ValueError before."""
        if self._session is None:
            raise ValueError("start() comes first")
        return self._session
