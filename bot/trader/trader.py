"""The shell around the decision: observe → decide → write it down → act. All the state and all the waiting is here.

A cycle is two journal transactions with the venue's work between them: the decision with its orders, on disk before
any of them leaves, and then all that came of it with the checkpoint that a restart goes on from. Stopped anywhere in
between, the next start finds the last whole cycle and the same market, and comes to the same decision again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import structlog

from bot.clock import Clock, WallClock, utc
from bot.errors import ConfigError, StateError, VenueError
from bot.journal.commands import Answer, Command
from bot.journal.journal import Journal
from bot.journal.ledger import Holding
from bot.journal.records import CycleFacts, RunFacts
from bot.model.decision import NO_ORDERS, Decision, LotsArray, Memory, OrderPlan
from bot.model.money import exact
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, OrderStatus, Transfer
from bot.model.panel import FloatArray
from bot.pipeline.mandate import Mandate
from bot.trader.desk import Desk
from bot.trader.diary import Story, by_strategy, equity_point
from bot.trader.observer import Observer
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
    ) -> None:
        self.name = name
        self.cycles = 0
        self._venue, self._mandate, self._journal = venue, mandate, journal
        self._config, self._clock = config, clock or WallClock()
        self._strategies = tuple(slot.name for slot in mandate.strategies)
        self._columns = {instrument.name: k for k, instrument in enumerate(venue.instruments)}
        self._session: _Session | None = None
        self._time_ms = 0
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
        observer = Observer(panel, self._venue.instruments, self._mandate)
        observer.recall(self._journal.market_rows(observer.panel.grid.start_ms, names))
        self._session = _Session(desk, observer, Story(saved.get("story")))
        if checkpoint is not None:
            # What a cycle that was cut off has traded is told now; the account holds it already.
            self._hear(self._venue.take_events(), account)
        _agree(desk.attribution.held_lots.sum(axis=0), account.view.lots, names)
        self._time_ms, self._account = panel.grid.end_ms, account
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

    async def obey(self) -> None:
        """Carry out the commands that wait. A refusal is an answer; what the venue fails at is answered and raised."""
        while (command := self._journal.commands.take()) is not None:
            log.info("command", number=command.id, kind=command.kind)
            answer = Answer(False, {"error": "the daemon failed while it carried this out; see its log"})
            try:
                answer = await self._obeyed(command)
            except ConfigError as error:
                answer = Answer(False, {"error": str(error)})
            except VenueError as error:
                answer = Answer(False, {"error": str(error)})
                raise
            finally:
                self._journal.commands.answer(command, answer, self._clock.now_ms())

    async def _obeyed(self, command: Command) -> Answer:
        if command.kind != "trade":
            raise ConfigError(f"this daemon knows no command {command.kind!r}; it may be of an older version")
        return await self._trade(command)

    async def _trade(self, command: Command) -> Answer:
        """An order by hand, through the same rules, signer and books as any other."""
        session, instruments = self._started(), self._venue.instruments
        wish = trade_wish(command.content, instruments)
        account = await self._venue.account()
        self._hear(self._venue.take_events(), account)
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
        _report(events)

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


def money(amount: Decimal) -> str:
    """Dollars and cents, signed only where negative."""
    return f"{amount:,.2f}"


def short(price: Decimal) -> str:
    """A price to six figures, for a log line."""
    return f"{price:,.6g}"


def _report(events: Sequence[VenueEvent]) -> None:
    """One line for each thing that happened, funding together."""
    payments = [event for event in events if isinstance(event, FundingPayment)]
    for event in events:
        if isinstance(event, Fill):
            log.info(
                "filled",
                coin=event.instrument,
                side=event.side.value,
                usd=money(event.notional_usd),
                price=short(event.price),
                fee_usd=money(-event.fee_usd),
                purpose=event.purpose.value,
            )
        elif isinstance(event, OrderReport) and event.status is OrderStatus.REJECTED:
            order = event.order
            log.warning("refused", coin=order.instrument, order=order.client_id, reason=event.reason)
        elif isinstance(event, Transfer):
            log.warning("transfer", usd=money(event.usd), kind=event.kind)
        elif isinstance(event, Liquidation):
            log.error("liquidated", coin=event.instrument, kind=event.kind, price=short(event.price))
    if payments:
        total = sum((payment.usd for payment in payments), Decimal(0))
        log.info("funding", usd=money(total), positions=len(payments), market=utc(payments[-1].time_ms))
