"""Keeps a trader cycling at its pace until somebody stops it, on APScheduler.

Simulated bars are due every `bar_s` seconds of real time. A tick runs the bars that fell due since the one before, but
never more: a laptop that slept for a night does not trade a month when it wakes.
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bot.errors import VenueError
from bot.trader.trader import Trader

log = structlog.get_logger("hedgerow")

SHORTEST_TICK_S = 0.05
SUMMARY_S = 15.0
FAILURES_ALLOWED = 5


class Schedule:
    """Drives one trader: a job that cycles, and a job that says how things stand."""

    def __init__(self, trader: Trader, bar_s: float, cycles: int | None = None) -> None:
        self._trader, self._most = trader, cycles
        self._bars_per_tick = max(1, math.ceil(SHORTEST_TICK_S / bar_s))
        self._tick_s = max(self._bars_per_tick * bar_s, SHORTEST_TICK_S)
        self._stopping = asyncio.Event()
        self._busy = asyncio.Lock()
        self._failures = 0
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Run until stopped by a signal, by the market's end or by an error, which is raised."""
        scheduler = AsyncIOScheduler(timezone="UTC")
        options = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        with _signals(self.stop):
            await self._trader.start()
            scheduler.add_job(self._tick, IntervalTrigger(seconds=self._tick_s), id="cycle", **options)
            scheduler.add_job(
                self._trader.summary, IntervalTrigger(seconds=SUMMARY_S), id="summary", **options
            )
            scheduler.start()
            try:
                await self._stopping.wait()
                scheduler.pause()
                await asyncio.sleep(0.01)  # a tick that was just handed out sees that it is over
                async with self._busy:  # a cycle that has begun is finished
                    pass
            finally:
                scheduler.shutdown(wait=False)
        if self._error is not None:
            raise self._error
        self._trader.end()

    def stop(self, why: str = "asked to") -> None:
        """End after the cycle in progress."""
        if not self._stopping.is_set():
            log.info("stopping", because=why)
            self._stopping.set()

    async def _tick(self) -> None:
        async with self._busy:
            for _ in range(self._bars_per_tick):
                if self._stopping.is_set():
                    return
                await self._cycle()
                await asyncio.sleep(0)  # signals and the summary get their turn

    async def _cycle(self) -> None:
        try:
            went_on = await self._trader.cycle()
        except VenueError as error:
            self._failures += 1
            log.warning("cycle failed", error=str(error), failures=self._failures)
            if self._failures >= FAILURES_ALLOWED:
                self._fail(error)
            return
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again by run(), where it ends the daemon
            self._fail(error)
            return
        self._failures = 0
        if not went_on:
            self.stop("the recording has ended")
        elif self._most is not None and self._trader.cycles >= self._most:
            self.stop(f"{self._most} cycles were asked for")

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._stopping.set()


@contextmanager
def _signals(stop: Callable[[str], None]) -> Iterator[None]:
    """SIGINT and SIGTERM ask to stop instead of breaking off; a second Ctrl-C breaks off after all."""
    loop = asyncio.get_running_loop()

    def handle(number: signal.Signals) -> None:
        stop(f"{number.name} received")
        loop.remove_signal_handler(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
