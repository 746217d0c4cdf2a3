"""The shell around the decision: observe → decide → write it down → act. All the state and all the waiting is here.

A cycle is two journal transactions with the venue's work between them: the decision with its orders, on disk before
any of them leaves, and then all that came of it with the checkpoint that a restart goes on from. Stopped anywhere in
between, the next start finds the last whole cycle and the same market, and comes to the same decision again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from bot.clock import Clock, WallClock, utc
from bot.errors import ConfigError, StateError, VenueError
from bot.journal.commands import Answer, Command
from bot.journal.journal import Journal
from bot.journal.ledger import Holding
from bot.journal.records import CycleFacts, RunFacts
from bot.model.decision import NO_ORDERS, Decision, LotsArray, Memory, OrderPlan, TradingState
from bot.model.money import exact
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, Transfer
from bot.model.panel import FloatArray
from bot.pipeline.closing import is_flat, withdrawals
from bot.pipeline.mandate import Mandate
from bot.trader.desk import Desk
from bot.trader.diary import Story, by_strategy, equity_point
from bot.trader.ladder import Ladder, halt_of, shown, why_of
from bot.trader.observer import Observer
from bot.trader.told import money, report
from bot.trader.watchdog import Bounds
from bot.trader.wishes import trade_facts, trade_wish, went_through
from bot.venues.venue import AccountState, Venue, VenueEvent

log = structlog.get_logger("hedgerow")


@dataclass
class _Session:
    """What a trader has once it has started."""

    desk: Desk
    observer: Observer
    story: Story


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
        bounds: Bounds = Bounds(),
    ) -> None:
        self.name = name
        self.cycles = 0
        self._venue, self._mandate, self._journal = venue, mandate, journal
        self._config, self._clock = config, clock or WallClock()
        self._strategies = tuple(slot.name for slot in mandate.strategies)
        self._columns = {instrument.name: k for k, instrument in enumerate(venue.instruments)}
        self._ladder = Ladder(journal, self._clock, bounds)
        self._session: _Session | None = None
        self._time_ms = self._steps = 0
        self._account: AccountState | None = None
        self._untold: list[VenueEvent] = []  # what the venue said that the journal does not hold yet
        self._findings: tuple[tuple[str, str], ...] = ()

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
            self._mandate,
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
        _agree(desk.attribution.held_lots.sum(axis=0), account.view.lots, names)
        observer = Observer(panel, self._venue.instruments, self._mandate)
        observer.recall(self._journal.market_rows(observer.panel.grid.start_ms, names))
        self._session = _Session(desk, observer, Story(saved.get("story")))
        self._time_ms, self._account = panel.grid.end_ms, account
        self._ladder.begin(self._follow)
        log.info(
            "run begins" if checkpoint is None else "run goes on",
            run=run,
            name=self.name,
            market=utc(self._time_ms),
            equity_usd=money(account.equity_usd),
            positions=len(account.positions),
            strategies=", ".join(self._strategies),
            history_h=len(panel),
        )
        for caution in observer.cautions():
            log.warning("caution", found=caution)

    async def due(self) -> None:
        """Return when there is a new moment to decide on; may be cancelled."""
        await self._venue.due()

    async def cycle(self) -> bool:
        """One look, one decision, and what it asks for; False when there is nothing more to look at."""
        session = self._started()
        seen = await self._venue.observe()
        if seen is None:
            return False
        self._hear(seen.events, seen.account)
        for time_ms, row in seen.missed:
            session.observer.pass_over(time_ms, row)
        market = session.observer.see(seen.time_ms, seen.row)
        self._ladder.heed()  # what was asked while the venue was looked at comes before what it asks for
        self._ladder.seen(market)
        decision = session.desk.decide(market, seen.account.view)
        self._time_ms = seen.time_ms
        await self._carry_out(decision, seen.account, {**dict(seen.missed), seen.time_ms: seen.row})
        self.cycles += 1
        return True

    async def _carry_out(
        self, decision: Decision, before: AccountState, market: Mapping[int, Mapping[str, FloatArray]]
    ) -> Sequence[VenueEvent]:
        """Write the decision down, act on it, and write down what came of it with the `market` rows it was made on.

        Returns all that the venue said since the last time.
        """
        with structlog.contextvars.bound_contextvars(decision=decision.snapshot_id):
            self._journal.record_decision(decision, self._started().desk.state, before.equity_usd)
            self._say(decision)
            account = await self._act(decision.plan, before, decision.snapshot_id)
            for drift in self._journal.record_cycle(self._facts(self._time_ms, account, decision, market)):
                log.error(
                    "books differ from the venue's",
                    part=drift.part,
                    coin=drift.coin or "all",
                    usd=str(drift.usd),
                    lots=drift.lots,
                )
        told, self._untold = self._untold, []
        self._account = account
        return told

    def has_command(self) -> bool:
        """Whether an operator waits for an answer."""
        return self._journal.commands.waiting()

    @property
    def pause_s(self) -> float | None:
        """When `obey` is to be called again, though nobody asks: seconds from now; None where it needn't be."""
        return self._ladder.pause_s

    def failed(self) -> None:
        """Take note that the venue did not do what was asked."""
        self._ladder.failed()

    async def watch(self) -> None:
        """Look whether the means of trading are in order; to be called every so often, whatever else goes on."""
        self._ladder.learned(await self._venue.condition())

    async def obey(self) -> None:
        """Carry out the commands that wait, and what the trading state asks for and is not done yet.

        A refusal is an answer; what the venue fails at is answered and raised.
        """
        self._ladder.heed()
        while (command := self._journal.commands.take()) is not None:
            log.info("command", number=command.id, kind=command.kind)
            failure = {"error": "the daemon failed while it carried this out; see its log"}
            answer: Answer | None = Answer(done=False, facts=failure)
            try:
                answer = await self._obeyed(command)
            except ConfigError as error:
                answer = Answer(done=False, facts={"error": str(error), **shown(self._ladder)})
            except VenueError as error:
                answer = Answer(done=False, facts={"error": str(error), **shown(self._ladder)})
                raise
            finally:
                if answer is not None:
                    self._journal.commands.answer(command, answer, self._clock.now_ms())
        await self._finish()

    async def _obeyed(self, command: Command) -> Answer | None:
        """The answer; None where it is given later."""
        if command.kind == "trade":
            return await self._trade(command)
        if command.kind == "halt":
            return await self._halt(command)
        if command.kind == "resume":
            return await self._resume(command)
        if command.kind == "flatten":
            self._ladder.flatten(why_of(command))
            return None
        raise ConfigError(f"this daemon knows no command {command.kind!r}; it may be of an older version")

    # The kill ladder

    def _follow(self, state: TradingState) -> None:
        self._started().desk.state = state

    async def _halt(self, command: Command) -> Answer:
        """Nothing new from now on, or only less; working orders that could bring more are cancelled."""
        self._ladder.halt(halt_of(command), why_of(command))
        await self._finish()
        left = 0 if self._account is None else len(withdrawals(self._account.view, self._ladder.state, ""))
        error = f"{left} working orders are still open at the venue; cancelling goes on" if left else None
        return Answer(done=not left, facts={**shown(self._ladder), "error": error})

    async def _resume(self, command: Command) -> Answer:
        """Everything is allowed again, as far as the watchdog lets it; a drawdown has to be accepted in so many words."""
        account = await self._looked()
        desk, equity = self._started().desk, account.view.equity_usd
        accepted = desk.drawn_down(equity)
        if accepted and command.content.get("accept_drawdown") is not True:
            limit, high = self._mandate.limits.max_drawdown, desk.memory.high_water_mark_usd
            raise ConfigError(
                f"equity {equity:,.2f} USD is more than {limit:.0%} below its high of {high:,.2f}, so everything stays "
                f"closed; to count from today's equity on, resume with --accept-drawdown"
            )
        if accepted:
            decision = desk.accept_drawdown(equity, self._time_ms, self._suffix("r"))
            await self._carry_out(decision, account, {})
        self._ladder.resume(why_of(command))
        return Answer(done=True, facts={**shown(self._ladder), "drawdown_accepted": accepted})

    async def _finish(self) -> None:
        """Another attempt at what the trading state asks for and is not done yet."""
        if self._ladder.pause_s is None:
            return
        try:
            finished = await (self._close_all() if self._ladder.is_flattening else self._withdraw())
        except VenueError:
            self._ladder.tried(finished=False)
            raise
        self._ladder.tried(finished=finished)

    async def _withdraw(self) -> bool:
        """Cancel the working orders that the state forbids; whether none is left."""
        desk, account = self._started().desk, await self._looked()
        if not withdrawals(account.view, desk.state, ""):
            return True
        why = self._ladder.standing.why
        decision = desk.withdraw(account.view, self._time_ms, self._suffix("h"), why)
        after = await self._carried_out(decision, account)
        return not withdrawals(after.view, desk.state, "")

    async def _close_all(self) -> bool:
        """One attempt to close what the venue says is held; whether it says that nothing is left."""
        account, why, attempt = await self._looked(), self._ladder.standing.why, self._ladder.attempts
        if not is_flat(account.view):
            desk = self._started().desk
            decision = desk.close_all(
                account.view, account.mark, self._time_ms, self._suffix("f"), attempt, why
            )
            account = await self._carried_out(decision, account)
        left = ", ".join(position.instrument.name for position in account.positions)
        if not is_flat(account.view):
            log.warning("not flat yet", attempt=attempt + 1, held=left, orders=len(account.view.open_orders))
            return False
        facts: dict[str, Any] = {"equity_usd": str(account.equity_usd), "attempts": attempt + 1}
        if account.others:
            facts["error"] = (
                f"the account also holds {', '.join(account.others)}, which this daemon can't close"
            )
        self._ladder.flattened(
            Answer(not account.others, {**facts, "is_flat": not account.others, "state": "halted"})
        )
        return True

    async def _looked(self) -> AccountState:
        """The account by a fresh question."""
        self._account = account = await self._venue.account()
        self._hear(self._venue.take_events(), account)
        return account

    async def _carried_out(self, decision: Decision, before: AccountState) -> AccountState:
        await self._carry_out(decision, before, {})
        assert self._account is not None
        return self._account

    def _suffix(self, kind: str) -> str:
        """Tells what is decided at one moment apart, also from what an earlier run decided at it."""
        self._steps += 1
        return f"{kind}{self._journal.epoch}n{self._steps}"

    async def _trade(self, command: Command) -> Answer:
        """An order by hand, through the same rules, signer and books as any other."""
        session, instruments = self._started(), self._venue.instruments
        wish = trade_wish(command.content, instruments)
        if self._ladder.state is TradingState.HALTED:
            raise ConfigError(
                f"trading is halted ({self._ladder.standing.why}); `hedgerow resume` ends that, and `hedgerow halt "
                "--reduce-only` lets what only reduces through"
            )
        account = await self._looked()
        instrument, mark = instruments[wish.column], float(account.mark[wish.column])
        if not mark > 0:
            raise ConfigError(f"the venue has no price of {instrument.name} now; try again when it has")
        lots = wish.lots(instrument, exact(mark))
        if lots == 0:
            raise ConfigError(
                f"{wish.usd} USD is less than the smallest size of {instrument.name}; ask for more"
            )
        decision = session.desk.order_by_hand(
            session.observer.now(account.mark),
            account.view,
            wish.column,
            lots,
            number=command.id,
            guard=wish.guard(self._mandate.execution),
        )
        told = await self._carry_out(decision, account, {})
        own = (f"{decision.snapshot_id}-", f"{decision.snapshot_id}+-")
        reports = [e for e in told if isinstance(e, OrderReport) and e.order.client_id.startswith(own)]
        facts = trade_facts(decision, reports, instruments)
        if not decision.plan.orders and not decision.findings:
            facts["error"] = f"{wish.usd} USD of {instrument.name} is below the venue's smallest order"
        return Answer(went_through(reports), facts)

    async def _act(self, plan: OrderPlan, before: AccountState, decision_id: str) -> AccountState:
        """Carry the plan out, then protect what it opened; the account after it."""
        desk = self._started().desk
        await self._venue.send(plan)
        account = await self._venue.account()
        self._hear(self._venue.take_events(), account)
        if np.array_equal(account.view.lots, before.view.lots):
            return account
        protection = desk.protection(account.view, account.mark, f"{decision_id}+")
        if protection is not NO_ORDERS:
            await self._venue.send(protection)
            account = await self._venue.account()
            self._hear(self._venue.take_events(), account)
        return account

    def _hear(self, events: Sequence[VenueEvent], account: AccountState) -> None:
        if not events:
            return
        session = self._started()
        session.desk.absorb(events, account.view.lots)
        session.story.hear(events)
        self._untold.extend(events)
        report(events)

    def _facts(
        self,
        time_ms: int,
        account: AccountState,
        decision: Decision,
        market: Mapping[int, Mapping[str, FloatArray]],
    ) -> CycleFacts:
        session, told = self._started(), self._untold
        desk = session.desk
        positions = session.story.tell(account, decision, self._strategies, self._columns)
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
            by_strategy=by_strategy(desk.attribution, account.mark, self._strategies),
            market=market,
        )

    def _say(self, decision: Decision) -> None:
        """Say what the rules found, once as long as it stays the same."""
        found = tuple((finding.rule, finding.instrument) for finding in decision.findings)
        if found != self._findings:
            for finding in decision.findings:
                if (finding.rule, finding.instrument) not in self._findings:
                    log.warning(finding.rule, coin=finding.instrument or "all", found=finding.detail)
            self._findings = found

    def summary(self) -> None:
        """Log how things stand."""
        account = self._account
        if account is None:
            return
        log.info(
            "standing",
            market=utc(self._time_ms),
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
        log.info("run ends", market=utc(self._time_ms), cycles=self.cycles)

    def _started(self) -> _Session:
        if self._session is None:
            raise ValueError("start() comes first")
        return self._session


def _agree(answered: LotsArray, held: LotsArray, names: Sequence[str]) -> None:
    """Refuse to go on where strategies of the journal that hold something are no longer in the config."""
    for column in np.flatnonzero(answered != held).tolist():
        raise StateError(
            f"the account holds {held[column]} lots of {names[column]}, but this config's strategies answer for "
            f"{answered[column]}: one that holds some was removed or renamed; name the strategies as before, or "
            "start a new journal"
        )
