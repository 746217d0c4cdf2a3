"""Watches whether the daemon lives, and where it is silent: withdraws what could open, protects what is held, closes it.

It acts on nothing but what the venue says now, and on nothing at all while the daemon lives: as soon as there is a sign of
life it stands back, in the middle of a round too. Two that steer one account undo each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import structlog

from bot.clock import utc
from bot.errors import DataError, VenueError
from bot.guard.hands import Hands
from bot.guard.notes import Notes
from bot.guard.scene import Scene, look
from bot.guard.vigil import Vigil
from bot.model.decision import Cancel, TradingState
from bot.model.instrument import Instrument
from bot.pipeline.closing import closing, withdrawals
from bot.pipeline.execution import protect
from bot.pipeline.mandate import Execution
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.signing import Signs

log = structlog.get_logger("hedgerow")

LONGEST_WAIT_S: Final = 60.0
IDLE_S: Final = 30.0  # between two looks at an account of which nothing is to be done
CHECK_S: Final = 60.0
BECAUSE: Final = "the daemon is silent"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a guard is told to do. `close_after_s` None: it never closes. `stop_loss` None: it places no stops."""

    silent_s: float
    close_after_s: float | None
    stop_loss: float | None
    slippage_bps: float
    poll_s: float


class Guard:
    """One account's."""

    def __init__(
        self,
        account: str,
        orders: Orders,
        vigil: Vigil,
        notes: Notes,
        client: Client,
        market: MarketData,
        instruments: tuple[Instrument, ...],
        hands: Hands,
        signs: Signs,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account, self._orders, self._vigil, self._notes = account, orders, vigil, notes
        self._client, self._market, self._instruments = client, market, instruments
        self._hands, self._signs = hands, signs
        self._now_s, self._sleep = now_s, sleep
        self._execution = Execution(slippage_bps=orders.slippage_bps, stop_loss=orders.stop_loss)
        self._said: dict[str, str] = {}  # about what → as last told
        self._attempt = 0
        self._failures = 0
        self._checked_s = self._look_s = float("-inf")
        self._problem = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.round()
            await self._sleep(self._orders.poll_s)

    async def round(self) -> None:
        """One look at the daemon, and where it is silent for too long, one at the account with what follows from it."""
        if self._is_silent():
            self._alarm()
            if self._now_s() >= self._look_s:
                await self._look()
            return
        self._failures = self._attempt = 0
        self._look_s = float("-inf")
        self._stand_back()
        self._check()

    async def _look(self) -> None:
        try:
            pause_s = self._orders.poll_s if await self._act() else max(IDLE_S, self._orders.poll_s)
            self._failures = 0
        except (VenueError, DataError) as error:
            self._failures += 1
            pause_s = min(self._orders.poll_s * 2 ** min(self._failures, 10), LONGEST_WAIT_S)
            log.warning("guard could not act", reason=str(error)[:300], failures=self._failures)
        self._look_s = self._now_s() + pause_s

    # The daemon

    def _is_silent(self) -> bool:
        return self._vigil.silent_s() >= self._orders.silent_s and self._vigil.beat is not None

    def _alarm(self) -> None:
        notes, beat = self._notes, self._vigil.beat
        assert beat is not None
        if notes.is_alarmed and notes.beat == beat:
            if "daemon" not in self._said:
                self._say("daemon", "the daemon is still silent; the guard goes on", pid=beat.pid)
            return
        notes.beat, notes.is_alarmed = beat, True
        notes.step(beat.wall_ms, "silence", pid=beat.pid)
        notes.save()
        self._say(
            "daemon",
            "the daemon is silent; the guard acts",
            pid=beat.pid,
            last=utc(beat.wall_ms),
            silent_s=round(self._vigil.silent_s()),
            ended_in_order=beat.ended,
        )

    def _stand_back(self) -> None:
        notes, beat = self._notes, self._vigil.beat
        if beat is None:
            self._say(
                "daemon",
                "no daemon has given a sign of life with this journal yet; the guard waits for the first",
            )
        elif notes.is_alarmed and notes.beat != beat:
            notes.beat, notes.is_alarmed = beat, False
            notes.step(beat.wall_ms, "stands back", pid=beat.pid)
            notes.save()
            self._say("daemon", "the daemon lives again; the guard stands back", pid=beat.pid)
            self._said["daemon"] = "stands by"  # the next silence is told again
            self._said.pop("account", None)
        elif not self._said:
            self._said["daemon"] = "stands by"
            log.info("the guard stands by", pid=beat.pid, last=utc(beat.wall_ms))

    def _check(self) -> None:
        """Whether it could act: a signer that is gone is noticed before it is needed."""
        if self._now_s() - self._checked_s < CHECK_S:
            return
        self._checked_s = self._now_s()
        problem = ""
        try:
            problem = self._signs.whose().problem
        except (VenueError, DataError) as error:
            problem = str(error)[:200]
        if problem and problem != self._problem:
            log.error("the guard could not act now", because=problem)
        elif self._problem and not problem:
            log.info("the guard could act again")
        self._problem = problem

    # The account

    async def _act(self) -> bool:
        """One look at the account, and what follows from it; whether something did."""
        scene = await look(self._account, self._client, self._market, self._instruments)
        if scene.others:
            coins = ", ".join(scene.others)
            self._say("others", f"the guard may not trade {coins}, which the account holds too")
        if not self._has_work(scene):
            held = int(np.count_nonzero(scene.account.lots))
            self._say("account", "nothing left for the guard to do", positions=held)
            self._attempt = 0
            return False
        now_ms = await self._hands.inform(scene, self._market.marks)
        self._said.pop("account", None)
        failure: VenueError | DataError | None = None
        for step in (self._withdraw, self._protect, self._close):
            if not self._is_silent():  # between any two steps the daemon may have come back
                return True
            try:
                await step(scene, now_ms)
            except (VenueError, DataError) as error:
                failure = failure or error  # an order that can't be withdrawn keeps no position from its stop
        if failure is not None:
            raise failure
        return True

    def _has_work(self, scene: Scene) -> bool:
        if self._is_to_close():
            return not scene.is_flat
        return bool(self._cancels(scene) or (scene.bare.any() and self._orders.stop_loss is not None))

    def _is_to_close(self) -> bool:
        """Closing waits longer, also after the guard's own start, and is not for a daemon that was ended in order."""
        after_s, beat = self._orders.close_after_s, self._vigil.beat
        return (
            after_s is not None
            and beat is not None
            and not beat.ended
            and self._vigil.silent_s() >= after_s
            and self._vigil.watched_s >= self._orders.silent_s
        )

    def _cancels(self, scene: Scene) -> tuple[Cancel, ...]:
        return withdrawals(scene.account, TradingState.REDUCING, BECAUSE)

    async def _withdraw(self, scene: Scene, now_ms: int) -> None:
        """What the daemon has placed and could open; what others have placed is theirs."""
        if cancels := self._cancels(scene):
            await self._hands.withdraw(cancels, now_ms)

    async def _protect(self, scene: Scene, now_ms: int) -> None:
        """Add the stops that are missing; where price is beyond one already, close at once what it would have closed."""
        if self._orders.stop_loss is None or not scene.bare.any():
            return
        bare = replace(scene.account, lots=scene.bare, open_orders=())
        plan = protect(bare, scene.mark, self._instruments, f"g{now_ms:x}", self._execution)
        orders = [each for each in plan.orders if each.trigger is not None or not self._is_to_close()]
        if orders:
            await self._hands.place(orders, self._market.marks, now_ms)

    async def _close(self, scene: Scene, now_ms: int) -> None:
        """One attempt at closing everything, and nothing left that could open, by whose hand ever; stops stay."""
        if not self._is_to_close() or scene.is_flat:
            return
        mark = np.where(np.isfinite(scene.mark), scene.mark, 0.0)
        moment = f"g{now_ms:x}"
        plan = closing(
            scene.account, mark, self._instruments, moment, self._execution, self._attempt, BECAUSE
        )
        self._attempt += 1
        opening = {each.order_id for each in scene.opening}
        own = {each.order_id for each in self._cancels(scene)}  # withdrawn already
        cancels = [each for each in plan.cancels if each.order_id in opening - own]
        if cancels:
            await self._hands.withdraw(cancels, now_ms)
        if plan.orders:
            await self._hands.place(plan.orders, self._market.marks, now_ms)

    def _say(self, about: str, what: str, **more: object) -> None:
        """Once as long as it stays the same."""
        if self._said.get(about) != what:
            self._said[about] = what
            log.warning(what, **more)
