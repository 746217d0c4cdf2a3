"""What the operator asks of a running trader, and what is done about it at once: orders by hand, and the kill ladder."""

from __future__ import annotations

from typing import Any

import structlog

from bot.clock import Clock
from bot.errors import ConfigError, VenueError
from bot.journal.commands import STALE, UNREADABLE, Answer, Command
from bot.journal.journal import Journal
from bot.model.decision import TradingState
from bot.model.money import exact
from bot.model.order import OrderReport
from bot.pipeline.closing import dust_usd, is_flat, withdrawals
from bot.pipeline.execution import already_reached
from bot.trader.hands import Hands
from bot.trader.ladder import Ladder, halt_of, shown, why_of
from bot.trader.wishes import trade_facts, trade_wish, went_through
from bot.venues.venue import AccountState

log = structlog.get_logger("hedgerow")


class Operator:
    """Takes up commands, each once, and has them carried out by a trader's hands."""

    def __init__(self, hands: Hands, journal: Journal, clock: Clock, ladder: Ladder) -> None:
        self._hands, self._journal, self._clock = hands, journal, clock
        self.ladder = ladder
        self._steps = 0

    async def obey(self) -> None:
        """Carry out the commands that wait, and what the trading state asks for and is not done yet.

        A refusal is an answer; what the venue fails at is answered and raised.
        """
        self.ladder.heed()
        while (command := self._journal.commands.take()) is not None:
            log.info("command", number=command.id, kind=command.kind)
            failure = {"error": "the daemon failed while it carried this out; see its log"}
            answer: Answer | None = Answer(done=False, facts=failure)
            try:
                answer = await self._obeyed(command)
            except ConfigError as error:
                answer = Answer(done=False, facts={"error": str(error), **shown(self.ladder)})
            except VenueError as error:
                answer = Answer(done=False, facts={"error": str(error), **shown(self.ladder)})
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
            self.ladder.flatten(why_of(command))
            return None
        if command.kind in {STALE, UNREADABLE}:
            raise ConfigError(f"the command is {command.kind}, so it is not carried out; ask again")
        raise ConfigError(f"this daemon knows no command {command.kind!r}; it may be of an older version")

    # The kill ladder

    async def _halt(self, command: Command) -> Answer:
        """Nothing new from now on, or only less; working orders that could bring more are cancelled."""
        self.ladder.halt(halt_of(command), why_of(command))
        await self._finish()
        left = len(withdrawals(self._account.view, self.ladder.state, ""))
        error = f"{left} working orders are still open at the venue; cancelling goes on" if left else None
        return Answer(done=not left, facts={**shown(self.ladder), "error": error})

    async def _resume(self, command: Command) -> Answer:
        """Everything is allowed again, as far as the watchdog lets it; a drawdown has to be accepted in so many words."""
        account = await self._hands.looked()
        if account.stale:
            raise ConfigError(
                f"{', '.join(account.stale)} can't be asked now, so what the account is worth is not known; resume when it "
                "answers again"
            )
        desk, equity = self._hands.session.desk, account.view.equity_usd
        accepted = desk.drawn_down(equity)
        if accepted and command.content.get("accept_drawdown") is not True:
            limit, high = self._hands.mandate.limits.max_drawdown, desk.memory.high_water_mark_usd
            raise ConfigError(
                f"equity {equity:,.2f} USD is more than {limit:.0%} below its high of {high:,.2f}, so everything stays "
                f"closed; to count from today's equity on, resume with --accept-drawdown"
            )
        if accepted:
            decision = desk.accept_drawdown(equity, self._hands.time_ms, self._suffix("r"))
            await self._hands.carry_out(decision, account)
        self.ladder.resume(why_of(command))
        return Answer(done=True, facts={**shown(self.ladder), "drawdown_accepted": accepted})

    async def _finish(self) -> None:
        """Another attempt at what the trading state asks for and is not done yet."""
        if self.ladder.pause_s is None:
            return
        asked_for, finished = self.ladder.told, False
        try:
            finished = await (self._close_all() if self.ladder.is_flattening else self._withdraw())
        finally:
            if self.ladder.told == asked_for:  # the watchdog may have asked for more meanwhile
                self.ladder.tried(finished=finished)

    async def _withdraw(self) -> bool:
        """Cancel the working orders that the state forbids; whether none is left."""
        desk, account = self._hands.session.desk, await self._hands.looked()
        if not withdrawals(account.view, desk.state, ""):
            return True
        why = self.ladder.standing.why
        decision = desk.withdraw(account.view, self._hands.time_ms, self._suffix("h"), why)
        await self._hands.carry_out(decision, account)
        return not withdrawals(self._account.view, desk.state, "")

    async def _close_all(self) -> bool:
        """One attempt to close what the venue says is held; whether it says that nothing is left."""
        account, why, attempt = await self._hands.looked(), self.ladder.standing.why, self.ladder.attempts
        if not self._is_flat(account):
            desk = self._hands.session.desk
            decision = desk.close_all(
                account.view, account.mark, self._hands.time_ms, self._suffix("f"), attempt, why
            )
            await self._hands.carry_out(decision, account)
            account = self._account
        left = ", ".join(position.instrument.name for position in account.positions)
        if account.stale:
            log.warning(
                "not known to be flat",
                attempt=attempt + 1,
                reason=f"{', '.join(account.stale)} can't be asked",
            )
            return False
        if not self._is_flat(account):
            log.warning("not flat yet", attempt=attempt + 1, held=left, orders=len(account.view.open_orders))
            return False
        facts: dict[str, Any] = {"equity_usd": str(account.equity_usd), "attempts": attempt + 1}
        dust = dust_usd(account.view, account.mark, self._hands.instruments)
        if dust:
            facts["dust"] = {name: round(usd, 2) for name, usd in dust.items()}
            told = ", ".join(f"{usd:,.2f} USD of {name}" for name, usd in dust.items())
            log.warning(
                "dust",
                left=told,
                because="no order so small is taken; sell it by hand with what else you sell there",
            )
        if account.others:
            facts["error"] = (
                f"the account also holds {', '.join(account.others)}, which this daemon can't close"
            )
        self.ladder.flattened(
            Answer(not account.others, {**facts, "is_flat": not account.others, "state": "halted"})
        )
        return True

    def _is_flat(self, account: AccountState) -> bool:
        return is_flat(account.view, account.mark, self._hands.instruments)

    def _suffix(self, kind: str) -> str:
        """Tells what is decided at one moment apart, also from what an earlier run decided at it."""
        self._steps += 1
        return f"{kind}{self._journal.epoch}n{self._steps}"

    async def _trade(self, command: Command) -> Answer:
        """An order by hand, through the same rules, signer and books as any other."""
        session, instruments = self._hands.session, self._hands.instruments
        wish = trade_wish(command.content, instruments)
        if self._hands.pairs.has_leg(instruments[wish.column].name):
            raise ConfigError(
                f"{instruments[wish.column].name} is a leg of a spread: trading it by hand would leave the other leg "
                "alone; `hedgerow halt --reduce-only` stops new spreads, `hedgerow flatten` closes both legs"
            )
        if self.ladder.state is TradingState.HALTED:
            raise ConfigError(
                f"trading is halted ({self.ladder.standing.why}); `hedgerow resume` ends that, and `hedgerow halt "
                "--reduce-only` lets what only reduces through"
            )
        account, guards, targets = await self._hands.looked(), session.desk.guards, session.desk.targets
        instrument, mark = instruments[wish.column], float(account.mark[wish.column])
        if account.stale:
            raise ConfigError(
                f"{', '.join(account.stale)} can't be asked now, and every rule looks at the whole account; try again when it "
                "answers"
            )
        if not mark > 0:
            raise ConfigError(f"the venue has no price of {instrument.name} now; try again when it has")
        lots = wish.lots(instrument, exact(mark))
        if lots == 0:
            raise ConfigError(
                f"{wish.usd} USD is less than the smallest size of {instrument.name}; ask for more"
            )
        guard = wish.guard(self._hands.mandate.execution)
        decision = session.desk.order_by_hand(
            session.observer.now(account.mark),
            account.view,
            wish.column,
            lots,
            number=command.id,
            guard=guard,
        )
        after = int(decision.allowed.lots[wish.column])
        reached = guard and already_reached(account.view, wish.column, after, mark, guard)
        if reached:
            session.desk.guards, session.desk.targets = guards, targets
            purpose, level = reached
            raise ConfigError(
                f"the {purpose.value.replace('_', ' ')} would stand at {level:.6g}, measured from the entry of the whole "
                f"position of {instrument.size(after):+f} {instrument.name}, which the price of {mark:.6g} is already past: "
                "all of it would be closed at once; give a wider distance"
            )
        told = await self._hands.carry_out(decision, account)
        own = decision.snapshot_id
        reports = [
            each
            for each in told
            if isinstance(each, OrderReport) and each.order.client_id.partition("-")[0].rstrip("+") == own
        ]
        if not any(each.filled_lots for each in reports):
            session.desk.guards = guards  # a refused order moves no stop
        facts = trade_facts(decision, reports, instruments)
        if not decision.plan.orders and not decision.findings:
            facts["error"] = f"{wish.usd} USD of {instrument.name} is below the venue's smallest order"
        return Answer(went_through(reports), facts)

    @property
    def _account(self) -> AccountState:
        """As last looked at."""
        account = self._hands.account
        assert account is not None
        return account
