"""One run: daemon, signer, journal and venue in one process and one thread, under virtual time, from one seed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import structlog

from benchmarks.standard_workload import OPEN_LIMITS
from bot.devnet.server import Server
from bot.devnet.start import Options, build
from bot.errors import VenueError
from bot.model.panel import HOUR_MS, Field, Panel
from bot.paper.policy import Bounds, listed_in, policy_text
from bot.pipeline.by_hand import SLOT
from bot.pipeline.mandate import Execution, Mandate, Sizing, Slot, Style
from bot.signer import signing
from bot.strategy import Opinion, Strategy, View
from bot.trader.schedule import Schedule
from bot.trader.trader import Trader
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.signing import SignerSocket
from bot.venues.hyperliquid.terms import Terms
from bot.venues.hyperliquid.venue_clock import Pace
from tests.simulation.faults import Dice, Plan
from tests.simulation.feed import SimulatedFeed
from tests.simulation.invariants import Violation, Watch
from tests.simulation.life import Crash, Life, Trace, kill_image, open_journal
from tests.simulation.network import URL, Network, SimulatedClient
from tests.simulation.signer_host import SignerHost, SignerLink
from tests.simulation.virtual_time import VirtualLoop, virtual_schedules

COINS: Final = ("BTC", "ETH")
FIRST_MS: Final = 1_790_000_000_000 // HOUR_MS * HOUR_MS
START_MS: Final = FIRST_MS + 50 * 60_000
MINUTE_S: Final = 60.0
HISTORY_H: Final = 30
EQUITY_USD: Final = Decimal(50_000)
MOST_POSITION_USD: Final = Decimal(26_000)
WHIM_USD: Final = Decimal(11_000)
"""More than the strategy can want of one coin, less than twice that."""
LONGEST_RUN_LIVES: Final = 200
MARKET_STEP_MS: Final = 900_000
"""The market around walks in steps of a quarter of an hour while nobody asks."""


@dataclass(frozen=True)
class Whim(Strategy):
    """Wants something else every hour until it is quiet, by nothing but seed and hour."""

    seed: int = 0
    last_ms: int = 0

    def signals(self, panel: Panel) -> dict[str, Field]:
        return {"price": panel.mark}

    def forecast(self, view: View) -> Opinion:
        hour = min(view.time_ms, self.last_ms) // HOUR_MS
        drawn = hashlib.sha256(f"{self.seed} {hour}".encode()).digest()
        scores = [(byte % 5 - 2) / 2 for byte in drawn[: len(view.instruments)]]
        return view.opinion(np.array(scores), "a whim")


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

    def story(self) -> str:
        """For whoever has to find out why."""
        lines = [f"seed {self.plan.seed}: {len(self.violations)} violations; {self.plan}"]
        lines += [f"  {each}" for each in self.violations[:5]]
        lines += [f"    {each}" for each in self.last]
        lines.append(f"again: python -m tests.simulation --seed {self.plan.seed}")
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
        self.effects = 0
        self.server = _devnet(plan.seed)
        self.network = Network(self.server, START_MS, self.dice, self.trace)
        self.quiet_s = plan.faulty_h * 3600.0
        self.end_s = self.quiet_s + plan.quiet_h * 3600.0 - 300
        secret = hashlib.sha256(f"agent {plan.seed}".encode()).digest()
        self.account, agent = _account(self.server, plan.seed, secret)
        self.network.account = self.account
        self.policy = _policy(self.server, self.account, agent)
        (folder / "signer").mkdir()
        clock = (self.network.now_ms, self.loop.time)
        self.signer = SignerHost(folder / "signer", self.policy, secret, clock, self.dice, self.trace)
        self.watch = self.network.watch = Watch(
            self.server.world, self.account, self.folder / "signer" / "audit.jsonl", self.trace,
            MOST_POSITION_USD if plan.by_hand else WHIM_USD,
        )  # fmt: skip
        self.signer.signed = self.watch.signed
        self.journal = folder / "0" / "journal.sqlite"
        self.lives = 0
        self.trader: Trader | None = None

    async def go(self) -> Result:
        """Live, die and live again until the time is over; then look whether all has come right."""
        for k in range(self.plan.faulty_h):
            self.loop.call_at(k * 3600.0, self.network.hour)
        self.loop.call_at(self.quiet_s, self._quiet)
        while self.loop.time() < self.end_s and not self.watch.violations:
            self.lives += 1
            if self.lives > LONGEST_RUN_LIVES:
                self.watch.violate("I16", f"not up after {self.lives} starts")
                break
            if await self._one_life():
                break
            await asyncio.sleep(
                self.dice.random.choice((1.0, 20.0, 20.0, 400.0, 4000.0)) if not self.dice.quiet else 5.0
            )
        self.server.world.advance_to(self.network.now_ms())
        if not self.watch.violations:
            self.watch.settled(self.journal, self.trader)
        return Result(
            self.plan, self.trace.digest(), self.trace.steps, self.effects, self.lives, self.loop.time(),
            self.watch.violations, list(self.trace.last), self.watch.counts(),
        )  # fmt: skip

    def _quiet(self) -> None:
        self.dice.quiet = True

    def _reached(self, life: int, what: str) -> bool:
        self.effects += 1
        self.trace.say(f"life {life}: {what}")
        return self.effects in self.plan.crash_at and not self.dice.quiet

    async def _one_life(self) -> bool:
        """Whether it went on to the end; else it was killed, or gave up because the venue was not there."""
        number = self.lives
        life = Life(number, lambda what: self._reached(number, what))
        others = asyncio.all_tasks()
        raw: list[sqlite3.Connection] = []
        task = asyncio.ensure_future(self._live(life, raw))
        await asyncio.wait({task, life.ended}, return_when=asyncio.FIRST_COMPLETED)
        life.is_dead = True
        for each in asyncio.all_tasks() - others:
            each.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - others), return_exceptions=True)
        self.signer.hang_up(number)
        how = "the end" if task.cancelled() else _how(task.exception())
        self.trace.say(f"life {number} ends: {how}")
        if life.ended.done():
            how = "crash"
        if raw:
            if how != "the end":
                self.journal = kill_image(self.journal, self.folder / str(number))
            raw[0].close()
        if how != "the end" and not how.startswith(("crash", "venue")):
            self.watch.violate("I16", f"the daemon gave up: {how}")
        return how == "the end"

    async def _live(self, life: Life, raw: list[sqlite3.Connection]) -> None:
        self.journal.parent.mkdir(exist_ok=True)
        journal, connection = open_journal(self.journal, life, self.watch.committed)
        lock = journal._writer._ownership
        raw.append(connection)
        try:
            terms = _terms(self.account)
            client = SimulatedClient(self.network, life, terms.timeout_s, terms.weight_per_minute)
            signs = SignerSocket(SignerLink(self.signer, life))
            venue = await HyperliquidVenue.connect(terms, signs, journal.attempts, client, self.loop.time)
            venue.feed = SimulatedFeed(self.server.world, self.account, venue._hear, life, self.dice)  # type: ignore[assignment]
            try:
                mandate = _mandate(self.plan, START_MS + int(self.quiet_s * 1000))
                clock = _VirtualClock(self.network.now_ms)
                trader = Trader("simulated", venue, mandate, journal, {"mode": "paper"}, clock)
                schedule = Schedule()
                ending = self.loop.call_at(self.end_s, schedule.stop)
                orders = asyncio.ensure_future(self._operator()) if self.plan.by_hand else None
                try:
                    await schedule.run(trader)
                finally:
                    ending.cancel()
                    if orders is not None:
                        orders.cancel()
                self.trader = trader
            finally:
                await venue.close()
        finally:
            lock.release()

    async def _operator(self) -> None:
        """Somebody at another terminal."""
        while not self.dice.quiet:
            await asyncio.sleep(self.dice.between(300, 5000))
            wish = {
                "coin": self.dice.random.choice(COINS),
                "side": self.dice.random.choice(("buy", "sell")),
                "usd": str(self.dice.random.choice((50, 800, 2000))),
            }
            other = sqlite3.connect(self.journal, isolation_level=None)
            try:
                other.execute(
                    "INSERT INTO command (kind, content, asked_wall_ms) VALUES ('trade', ?, ?)",
                    (json.dumps(wish), time.time_ns() // 1_000_000),
                )
            finally:
                other.close()


def _how(error: BaseException | None) -> str:
    if error is None:
        return "the end"
    if isinstance(error, Crash):
        return "crash"
    if isinstance(error, VenueError):
        return f"venue: {error}"
    return f"{type(error).__name__}: {error}"


def _devnet(seed: int) -> Server:
    server = build(
        Options(
            seed=seed, coins=COINS, history_h=HISTORY_H, start_ms=START_MS, paused=True, flow=False, funded=0
        )
    )
    server.world.spot.step = lambda moment: None  # type: ignore[method-assign]  # nobody trades spot here
    return server


def _account(server: Server, seed: int, secret: bytes) -> tuple[str, str]:
    """A funded account, and an agent that it has approved."""
    owner = signing.SigningKey(hashlib.sha256(f"owner {seed}".encode()).digest(), "testnet")
    agent = signing.SigningKey(secret, "testnet").address
    server.world.fund(owner.address, EQUITY_USD)
    until_ms = START_MS + 90 * 24 * HOUR_MS
    action = {
        **signing.approve_agent_action(agent, f"simulated valid_until {until_ms}", START_MS, "testnet"),
        "signatureChainId": signing.WALLET_CHAIN,
    }
    body = signing.body(action, START_MS, owner.sign_user(action), None, None)
    answer = server.carry_out(json.loads(body), START_MS)
    assert answer["status"] == "ok", answer
    return owner.address, agent


def _policy(server: Server, account: str, agent: str) -> str:
    """As for a paper run, but with the computer's clock watched and orders of some seconds, as at a real venue."""
    bounds = Bounds(
        max_order_usd=2 * MOST_POSITION_USD,
        max_position_usd=MOST_POSITION_USD,
        max_gross_usd=4 * MOST_POSITION_USD,
        turnover_usd_per_day=Decimal(10_000_000),
        collar_bps=600,
        orders_per_min=300,
        max_leverage=5,
    )
    listed = listed_in(server.info({"type": "metaAndAssetCtxs"}))
    text = policy_text(account, agent, COINS, listed, bounds, 1.0)
    text = text.replace("simulated_clock = true\n", "")
    return text.replace("expires_ms = [1000, 86400000]", "expires_ms = [5000, 20000]")


def _terms(account: str) -> Terms:
    return Terms(
        URL, "devnet", account, COINS,
        leverage=4,  # not what the venue begins with, so that it has to be set
        history_h=24,
        pace=Pace(1.0, longest_sleep_s=1200.0),
    )  # fmt: skip


def _mandate(plan: Plan, quiet_ms: int) -> Mandate:
    return Mandate(
        (Slot("whim", Whim(plan.seed, quiet_ms), 1.0), SLOT),
        Sizing(position_size=0.15, no_trade_band=0.25, cooldown_h=1),
        OPEN_LIMITS,
        Execution(
            style=Style.MAKER if plan.maker else Style.TAKER, slippage_bps=100.0, stop_loss=plan.stop_loss
        ),
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is logged, whatever was set up before."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)


def simulate(plan: Plan) -> Result:
    """One run of a plan."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=place, prefix="hedgerow-") as folder,
        _silent(),
        virtual_schedules(),
        mock.patch("bot.devnet.world.LONGEST_STEP_MS", MARKET_STEP_MS),
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        return runner.run(_run(plan, Path(folder)))


async def _run(plan: Plan, folder: Path) -> Result:
    strays: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: strays.append(context))
    run = Run(plan, folder)
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
