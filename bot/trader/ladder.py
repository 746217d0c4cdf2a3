"""The kill ladder: what the operator and the watchdog allow, each word on disk before it is acted on.

active → reducing → halted → flattening (halted, with everything being closed). What allows least holds. The watchdog
takes back its own word only; the operator's stands, through restarts, until the operator resumes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from bot.clock import Clock
from bot.errors import ConfigError
from bot.journal.commands import Answer, Command
from bot.journal.journal import Journal
from bot.journal.standing import STRENGTH, Author, Standing, strongest
from bot.model.decision import TradingState
from bot.model.panel import HOUR_MS
from bot.pipeline.market import Market
from bot.trader import watchdog
from bot.trader.watchdog import Alarm, Bounds, Facts
from bot.venues.venue import Condition

log = structlog.get_logger("hedgerow")

ACTIVE, HALTED = TradingState.ACTIVE, TradingState.HALTED
DAY_MS: Final = 24 * HOUR_MS
LONGEST_WHY: Final = 300
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0


class Ladder:
    """Of one trader. `follow` hears of every change of the state, before anything else is done in it."""

    def __init__(self, journal: Journal, clock: Clock, bounds: Bounds) -> None:
        self._journal, self._clock, self._bounds = journal, clock, bounds
        start = clock.now_ms()
        self._words = {author: Standing(author, ACTIVE, start, "") for author in Author}
        self._facts = Facts()
        self._alarms: Mapping[str, Alarm] = {}
        self._follow: Callable[[TradingState], None] = lambda _: None
        self._warned_ms: int | None = None
        self._unfinished = False
        self.attempts = 0  # at what is unfinished, in a row

    def begin(self, follow: Callable[[TradingState], None]) -> None:
        """Take up the operator's last word, and what was asked while no daemon was there to hear it."""
        self._follow = follow
        self._journal.commands.refuse_left_over(self._clock.now_ms())
        operator = self._journal.standings.load().get(Author.OPERATOR)
        if operator is not None:
            self._words[Author.OPERATOR] = operator
        # The watchdog sees for itself what is still wrong.
        self._journal.standings.say(self._words[Author.WATCHDOG])
        self.heed()
        self.look()
        follow(self.state)
        self._unfinished = self.state is not ACTIVE
        if self.state is not ACTIVE:
            log.warning(
                "trading state", now=self.told, by=self.standing.author.value, because=self.standing.why
            )

    @property
    def standing(self) -> Standing:
        """The word that holds."""
        holds = strongest(self._words.values())
        assert holds is not None
        return holds

    @property
    def state(self) -> TradingState:
        """What is allowed."""
        return self.standing.state

    @property
    def is_flattening(self) -> bool:
        """Whether everything is being closed."""
        return self._words[Author.OPERATOR].is_flattening

    @property
    def told(self) -> str:
        """The state in a word."""
        return "flattening" if self.is_flattening else self.state.value

    @property
    def pause_s(self) -> float | None:
        """How long to wait before the next attempt at what the state asks for; None where nothing is left to do."""
        if not self._unfinished:
            return None
        if self.attempts == 0:
            return 0.0
        return float(min(FIRST_PAUSE_S * 2 ** (self.attempts - 1), LONGEST_PAUSE_S))

    def tried(self, *, finished: bool) -> None:
        """Say how an attempt at what the state asks for came out."""
        self._unfinished = not finished
        self.attempts = 0 if finished else self.attempts + 1

    # The operator

    def heed(self) -> None:
        """Let what the operator asked for less risk hold, before it is taken up and answered."""
        for command in self._journal.commands.standing():
            if command.kind == "flatten":
                self.flatten(why_of(command))
            elif command.content.get("state") in STRENGTH[1:]:
                self.halt(TradingState(command.content["state"]), why_of(command))

    def halt(self, state: TradingState, why: str) -> None:
        """Halt or reduce by the operator's word; one that is flattening goes on with it."""
        if not self.is_flattening:
            self._say(replace(self._words[Author.OPERATOR], state=state, why=why))

    def flatten(self, why: str) -> None:
        """Close everything, and stay halted."""
        if not self.is_flattening:
            self._say(replace(self._words[Author.OPERATOR], state=HALTED, why=why, is_flattening=True))

    def flattened(self, answer: Answer) -> None:
        """The venue says that nothing is left, or what is left can't be closed from here."""
        why = self._words[Author.OPERATOR].why
        prefix = "flattened" if answer.done else "flattened as far as possible"
        self._say(
            replace(self._words[Author.OPERATOR], is_flattening=False, why=f"{prefix}: {why}"[:LONGEST_WHY])
        )
        self._journal.commands.answer_begun("flatten", answer, self._clock.now_ms())
        self.tried(finished=True)

    def resume(self, why: str) -> None:
        """Allow everything again as far as the operator is concerned, who takes the books as they are."""
        was_flattening = self.is_flattening
        accepted = self._journal.unexplained()
        self._alarms = {cause: alarm for cause, alarm in self._alarms.items() if cause != "books"}
        operator = replace(self._words[Author.OPERATOR], state=ACTIVE, why=why, is_flattening=False)
        self._say(replace(operator, accepted=accepted))
        if was_flattening:
            refusal = Answer(done=False, facts={"error": "the operator resumed before everything was closed"})
            self._journal.commands.answer_begun("flatten", refusal, self._clock.now_ms())
        self.look()

    # The watchdog

    def failed(self) -> None:
        """The venue did not do what was asked."""
        self.look(failures=self._facts.failures + 1)

    @property
    def is_failing(self) -> bool:
        """Whether the venue failed when it was last asked."""
        return self._facts.failures > 0

    def answered(self, silent: Sequence[str] = ()) -> None:
        """The venue did what was asked; where it is several, all of them but those that are `silent`."""
        if self.is_failing and not silent:
            self.look(failures=0)

    def seen(self, market: Market) -> None:
        """The venue answered, and the market is this."""
        self.look(failures=0, stale_share=stale_share(market, self._bounds.stale_h))

    def learned(self, condition: Condition) -> None:
        """What the venue says of the means of trading; what it warns of is logged once a day."""
        now_ms = self._clock.now_ms()
        if condition.agent_warning and (self._warned_ms is None or now_ms - self._warned_ms >= DAY_MS):
            self._warned_ms = now_ms
            log.warning("agent", found=condition.agent_warning)
        self.look(
            signer_problem=condition.signer_problem,
            agent_left_days=condition.agent_left_days,
            clock_offset_s=condition.clock_offset_s,
            twin=condition.twin,
        )

    def look(self, **learned: Any) -> None:
        """Look at the facts once more, those `learned` among them, and let what follows from them hold."""
        usd, lots = self._journal.unexplained().beyond(self._words[Author.OPERATOR].accepted)
        self._facts = replace(
            self._facts,
            **learned,
            unexplained_usd=float(usd),
            unexplained_lots=lots,
            free_disk_mb=free_disk_mb(self._journal.path),
        )
        before, self._alarms = self._alarms, watchdog.look(self._facts, self._alarms, self._bounds)
        state, why = watchdog.verdict(self._alarms)
        word = self._words[Author.WATCHDOG]
        if state is not word.state or before.keys() != self._alarms.keys():
            self._say(replace(word, state=state, why=why))

    def _say(self, word: Standing) -> None:
        """On disk first; then it holds."""
        before = self._words[word.author]
        if word.says_as(before):
            return
        was, now_ms = (self.state, self.told), self._clock.now_ms()
        if (word.state, word.is_flattening) != (before.state, before.is_flattening):
            word = replace(word, since_wall_ms=now_ms)
        self._journal.standings.say(word)
        self._words[word.author] = word
        now = (self.state, self.told)
        log.warning("trading state", was=was[1], now=now[1], by=word.author.value, because=word.why)
        self._follow(self.state)
        if now != was:
            self.tried(finished=self.state is ACTIVE)
            self.attempts = 0


def why_of(command: Command) -> str:
    """The operator's reason."""
    return str(command.content.get("why") or "asked for by the operator")[:LONGEST_WHY]


def halt_of(command: Command) -> TradingState:
    """What a halt asks for. ConfigError where it makes no sense."""
    state = command.content.get("state")
    if state not in STRENGTH[1:]:
        raise ConfigError(f"a halt is to be reducing or halted, was {state!r}")
    return TradingState(state)


def stale_share(market: Market, stale_h: int) -> float:
    """The share of the coins that have been known, and not been delisted, of which nothing is known for `stale_h`."""
    if market.all_fresh:
        return 0.0
    ages = [
        float(age_h)
        for instrument, age_h in zip(market.instruments, market.age_h, strict=True)
        if not instrument.is_delisted and age_h < float("inf")
    ]
    if not ages:
        return 1.0
    return sum(age_h >= stale_h for age_h in ages) / len(ages)


def free_disk_mb(path: Path) -> float | None:
    """Megabytes that may still be written beside `path`; None where that can't be learned."""
    try:
        disk = os.statvfs(path.resolve().parent)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize / 1e6


def shown(ladder: Ladder) -> dict[str, Any]:
    """The state as it is answered, JSON values."""
    holds = ladder.standing
    return {
        "state": holds.state.value,
        "is_flattening": ladder.is_flattening,
        "by": holds.author.value,
        "since_wall_ms": holds.since_wall_ms,
        "why": holds.why,
    }
