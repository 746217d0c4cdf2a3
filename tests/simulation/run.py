"""One run: daemon, signer, journal and venue in one process and one thread, under virtual time, from one seed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import structlog

from bot.errors import VenueError
from bot.model.money import ZERO
from bot.trader.schedule import Schedule
from bot.trader.trader import Trader
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.signing import SignerSocket
from tests.simulation import people
from tests.simulation.disk import Disk
from tests.simulation.faults import Dice, Plan
from tests.simulation.feed import SimulatedFeed
from tests.simulation.invariants import Watch
from tests.simulation.life import Crash, Life, Trace, kill_image, open_journal
from tests.simulation.network import Network, SimulatedClient
from tests.simulation.notes import Notes, Violation
from tests.simulation.pairs import SpotSide
from tests.simulation.scene import (
    MOST_POSITION_USD,
    SPOT_USD,
    START_MS,
    WHIM_USD,
    devnet,
    funded_account,
    mandate_of,
    signer_policy,
    terms_of,
    traded,
)
from tests.simulation.signatures import Signatures
from tests.simulation.signer_host import SignerHost, SignerLink
from tests.simulation.taking import Taker
from tests.simulation.virtual_time import VirtualLoop, virtual_schedules
from tests.simulation.weather import Weather

DAY_H: Final = 24
AMPLE_USD: Final = 1_000_000
"""A signer's budget of a day that no run uses up."""
AMPLE_BPS: Final = 50.0
LOOK_S: Final = 5.0
"""How often the legs are looked at besides."""
LONGEST_RUN_LIVES: Final = 200  # for each day of it
MARKET_STEP_MS: Final = 900_000
"""The market around walks in steps of a quarter of an hour while nobody asks."""


@dataclass
class Result:
    """What a run came to."""

    plan: Plan
    digest: str
    steps: int
    effects: int
    lives: int
    simulated_s: float
    violations: list[Violation]
    last: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)  # faults, by kind
    quiet_hours: int = 0  # of those that should have brought one
    crashes: int = 0
    most_unhedged_usd: float = 0.0  # of any pair of legs, at any time
    longest_unhedged_s: float = 0.0  # likewise, by the daemon's own orders, disturbances left out
    longest_taken_s: float = 0.0  # until a daemon had evened what others had parted, likewise
    legs_taken: int = 0  # by others
    faulty_effects: int = 0  # those before all was quiet, at which a daemon may be killed

    def story(self) -> str:
        """For whoever has to find out why."""
        lines = [f"seed {self.plan.seed}: {len(self.violations)} violations; {self.plan}"]
        lines += [f"  {each}" for each in self.violations[:5]]
        lines += [f"    {each}" for each in self.last]
        module = "tests.simulation.soak --days 5" if self.plan.weather else "tests.simulation"
        killed = "".join(f" {at}" for at in sorted(self.plan.crash_at))
        if killed:
            killed = f" --crash-at{killed}"
        legs = " --legs" if self.plan.legs else ""
        lines.append(f"again: python -m {module}{legs} --seed {self.plan.seed}{killed}")
        return "\n".join(lines)


class _VirtualClock:
    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms


class Run:
    """The world of one run, and whoever lives in it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.loop = asyncio.get_running_loop()
        self.trace = Trace(self.loop.time)
        self.dice = Dice(plan)
        self.effects = self.faulty_effects = self.crashes = 0
        self.crash_at = set(plan.crash_at)
        self.server = devnet(plan.seed, plan.coins, legs=bool(plan.legs))
        self.network = Network(self.server, START_MS, self.dice, self.trace)
        self.weather = Weather(self.dice, self.network, self._kill_in) if plan.weather else None
        self.quiet_s = plan.faulty_h * 3600.0
        self.end_s = self.quiet_s + plan.quiet_h * 3600.0 - 300
        secret = hashlib.sha256(f"agent {plan.seed}".encode()).digest()
        spot_usd = SPOT_USD if plan.legs else ZERO
        owner, agent = funded_account(self.server, plan.seed, secret, spot_usd=spot_usd)
        self.account = owner.address
        self.network.account = self.account
        self.policy = signer_policy(self.server, self.account, agent, plan)
        (folder / "signer").mkdir()
        clock = (self.network.now_ms, self.loop.time)
        self.signer = SignerHost(folder / "signer", self.policy, secret, clock, self.dice, self.trace)
        notes = Notes(self.trace)
        signatures = Signatures(
            folder / "signer" / "audit.jsonl",
            self.policy,
            SpotSide(self.server.world, self.account),
            notes,
            lambda: self.signer.engine,
        )
        # What was bought by hand up to the cap may gain in the course of days.
        most_usd = MOST_POSITION_USD * (2 if plan.weather else 1) if plan.by_hand else WHIM_USD
        self.watch = self.network.watch = Watch(
            self.server.world, self.account, notes, signatures, self.network.now_ms,
            most_usd, dict(plan.legs), plan.watch_s, is_had=plan.slippage_bps >= AMPLE_BPS,
        )  # fmt: skip
        self.dice.disturbed = self.watch.apart.disturbed
        # Legs go a piece at a time, and where little is to be had at a price the rest waits for the next decision.
        is_had = not plan.legs or plan.slippage_bps >= AMPLE_BPS
        self.watch.gets_all_it_wants = plan.turnover_usd >= AMPLE_USD and is_had
        self.signer.signed = self.watch.signed
        self.signer.looked = lambda well: self.watch.permission.looked(well=well)
        self.journal = folder / "0" / "journal.sqlite"
        self.taker = (
            Taker(plan, self.network, owner, self.watch.spot, self.watch.apart) if plan.taken else None
        )
        self.lives = 0
        self.trader: Trader | None = None
        self.disk: Disk | None = None
        self.hourly: Callable[[Run], None] = lambda run: None

    async def go(self) -> Result:
        """Live, die and live again until the time is over; then look whether all has come right."""
        for k in range(self.plan.faulty_h):
            self.loop.call_at(k * 3600.0, self._hour)
        self.loop.call_at(self.quiet_s, self._quiet)
        if self.plan.legs:
            self.loop.call_later(LOOK_S, self._look)
        most_lives = LONGEST_RUN_LIVES * (1 + self.plan.faulty_h // DAY_H)
        while self.loop.time() < self.end_s and not self.watch.violations:
            self.lives += 1
            if self.lives > most_lives:
                self.watch.violate("I16", f"not up after {self.lives} starts")
                break
            if await self._one_life():
                break
            await asyncio.sleep(self.dice.random.choice(self.plan.away_s) if not self.dice.quiet else 5.0)
        self.server.world.advance_to(self.network.now_ms())
        if not self.watch.violations:
            self.watch.settled(self.journal, self.trader)
        return Result(
            self.plan, self.trace.digest(), self.trace.steps, self.effects, self.lives, self.loop.time(),
            self.watch.violations, list(self.trace.last), self.watch.counts(), dict(self.dice.struck),
            0 if self.weather is None else self.weather.quiet_hours, self.crashes,
            float(self.watch.apart.most_usd), self.watch.apart.longest_s, self.watch.apart.longest_found_s,
            0 if self.taker is None else self.taker.taken, self.faulty_effects,
        )  # fmt: skip

    def _hour(self) -> None:
        self.network.hour()
        if self.weather is not None:
            self.weather.hour()
        self.hourly(self)

    def _look(self) -> None:
        self.watch.apart.look()
        self.loop.call_later(LOOK_S, self._look)

    def _kill_in(self, effects: int) -> None:
        self.crash_at.add(self.effects + effects)

    def _quiet(self) -> None:
        self.dice.quiet = True
        self.faulty_effects = self.effects

    def _reached(self, life: int, what: str) -> bool:
        self.effects += 1
        self.trace.say(f"life {life}: {what}")
        return self.effects in self.crash_at and not self.dice.quiet

    async def _one_life(self) -> bool:
        """Whether it went on to the end; else it was killed, or gave up because the venue was not there."""
        number = self.lives
        life = Life(number, lambda what: self._reached(number, what))
        self.watch.begins()
        self.watch.apart.lives(yes=True)
        others = asyncio.all_tasks()
        raw: list[sqlite3.Connection] = []
        task = asyncio.ensure_future(self._live(life, raw))
        await asyncio.wait({task, life.ended}, return_when=asyncio.FIRST_COMPLETED)
        life.is_dead = True
        self.watch.apart.lives(yes=False)
        for each in asyncio.all_tasks() - others:
            each.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - others), return_exceptions=True)
        self.signer.hang_up(number)
        how = "the end" if task.cancelled() else _how(task.exception())
        self.trace.say(f"life {number} ends: {how}")
        if life.ended.done():
            how = "crash"
            self.crashes += 1
        if raw:
            before = self.journal
            if how != "the end":
                self.journal = self._left_behind(number, is_crash=how == "crash")
            raw[0].close()
            if before != self.journal:
                shutil.rmtree(before.parent)
        if how != "the end" and not how.startswith(("crash", "venue")):
            self.watch.violate("I16", f"the daemon gave up: {how}")
        return how == "the end"

    def _left_behind(self, number: int, *, is_crash: bool) -> Path:
        """What the next start finds."""
        folder = self.folder / str(number)
        if self.disk is None or not is_crash:
            return kill_image(self.journal, folder)
        self.signer.power_cut()
        self.watch.signatures.cut()
        return self.disk.cut(folder)

    def _committed(self, raw: sqlite3.Connection) -> None:
        if self.disk is not None:
            self.disk.committed(raw)
        self.watch.committed(raw)

    def _torn(self, raw: sqlite3.Connection) -> None:
        if self.disk is not None:
            self.disk.torn(raw)

    async def _live(self, life: Life, raw: list[sqlite3.Connection]) -> None:
        self.journal.parent.mkdir(exist_ok=True)
        journal, connection = open_journal(self.journal, life, self._committed, self._torn)
        lock = journal._writer._ownership
        raw.append(connection)
        chance = random.Random(f"disk {self.plan.seed} {life.number}")
        self.disk = Disk(self.journal, chance) if self.plan.power else None
        try:
            terms = terms_of(self.account, traded(self.plan))
            client = SimulatedClient(self.network, life, terms.timeout_s, terms.weight_per_minute)
            signs = SignerSocket(SignerLink(self.signer, life))
            venue = await HyperliquidVenue.connect(terms, signs, journal.attempts, client, self.loop.time)
            venue.feed = SimulatedFeed(self.server.world, self.account, venue._hear, life, self.dice)  # type: ignore[assignment]
            try:
                quiet_ms = START_MS + int(self.quiet_s * 1000)
                mandate = mandate_of(self.plan, quiet_ms, venue.instruments)
                clock = _VirtualClock(self.network.now_ms)
                trader = Trader("simulated", venue, mandate, journal, {"mode": "paper"}, clock)
                self.watch.trader = trader
                schedule = Schedule()
                ending = self.loop.call_at(self.end_s, schedule.stop)
                others = self._others(life, connection)
                try:
                    await schedule.run(trader)
                finally:
                    ending.cancel()
                    for each in others:
                        each.cancel()
                self.trader = trader
            finally:
                await venue.close()
        finally:
            lock.release()

    def _others(self, life: Life, raw: sqlite3.Connection) -> list[asyncio.Future[None]]:
        """Whoever else has to do with the journal."""
        found: list[asyncio.Future[None]] = []
        if self.plan.by_hand:
            found.append(asyncio.ensure_future(people.trades(self.dice, self.journal)))
        if self.plan.halts:

            def asked() -> None:
                if self.disk is not None:
                    self.disk.committed(raw)

            ladder = people.Ladder(self.dice, life.number)
            found.append(asyncio.ensure_future(ladder.climb(self.journal, asked)))
        return found


def _how(error: BaseException | None) -> str:
    if error is None:
        return "the end"
    if isinstance(error, Crash):
        return "crash"
    if isinstance(error, VenueError):
        return f"venue: {error}"
    return f"{type(error).__name__}: {error}"


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is logged, whatever was set up before."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)


def simulate(plan: Plan, hourly: Callable[[Run], None] = lambda run: None) -> Result:
    """One run of a plan; `hourly` is called at the beginning of each of its hours that has faults."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=place, prefix="hedgerow-") as folder,
        _silent(),
        virtual_schedules(plan.watch_s),
        mock.patch("bot.devnet.world.LONGEST_STEP_MS", MARKET_STEP_MS),
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        return runner.run(_run(plan, Path(folder), hourly))


async def _run(plan: Plan, folder: Path, hourly: Callable[[Run], None]) -> Result:
    strays: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: strays.append(context))
    run = Run(plan, folder)
    run.hourly = hourly
    try:
        result = await run.go()
    finally:
        run.signer.drop()
    for each in strays:
        error = each.get("exception")
        if error is not None and not isinstance(error, Crash):
            result.violations.append(
                Violation("I16", f"a task failed unheard: {error!r}", run.trace.steps, 0)
            )
    return result
