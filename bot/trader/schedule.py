"""Keeps a trader cycling until somebody stops it: one thing at a time, each when it is due.

The trader's own work is a single loop that waits for whichever comes first: the venue's next moment, a command of the
operator, or the end. It counts on no wall clock, so a clock that is set back or a laptop that slept changes nothing.
APScheduler runs what is done every so often beside it: the summary, the watchdog's look, and the look for commands.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bot.errors import VenueError
from bot.journal.pulse import Pulse
from bot.trader.pairs import Pairs
from bot.trader.trader import Trader
from bot.venues.venue import AccountState

log = structlog.get_logger("hedgerow")

SUMMARY_S: Final = 15.0
COMMANDS_S: Final = 0.25
SCHEDULERS_LOG: Final = "apscheduler.executors.default"
FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 30.0
BEAT_S: Final = 5.0
LONGEST_WORK_S: Final = 300.0
"""Whoever has been at one cycle for longer than this, and has not once looked at the account meanwhile, gives no sign of
life any more: it is stuck. Legs that are traded piece by piece may take longer, with a look after each order."""


class RunClock(Protocol):
    """Lets a market's time pass, or stand."""

    def __call__(self, *, runs: bool) -> Awaitable[None]:
        """From now on."""
        ...


class Schedule:
    """Drives one trader, for `cycles` decisions or until it is stopped; `pulse` is told that it is at it."""

    def __init__(self, cycles: int | None = None, pulse: Pulse | None = None) -> None:
        self._most, self._pulse = cycles, pulse
        self._busy_since_s: float | None = None
        self._seen: AccountState | None = None
        self._is_mute = False
        self._trader: Trader
        self._pairs: Pairs | None = None
        self._stopping = asyncio.Event()
        self._bell = asyncio.Event()  # something besides the venue wants attention
        self._failures = 0
        self._error: BaseException | None = None

    async def run(self, trader: Trader, run_clock: RunClock | None = None) -> None:
        """Run until stopped by a signal, by the market's end or by an error, which is raised.

        `run_clock` lets a simulated market's time pass while the trader looks at it, and stand before and after.
        """
        self._trader, self._pairs = trader, trader.pairs
        scheduler = AsyncIOScheduler(timezone="UTC")
        logging.getLogger(SCHEDULERS_LOG).addFilter(_unless_cancelled)
        options: dict[str, Any] = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        jobs = (
            (self._trader.summary, SUMMARY_S),
            (self._look_for_commands, COMMANDS_S),
            (self._watch, trader.watch_s),
            (self._beat, BEAT_S),
        )
        with _signals(self.stop):
            if not await self._started():
                return
            await self._beat()  # not before: one that fails at each start is no daemon that lives
            for job, seconds in jobs:
                scheduler.add_job(job, IntervalTrigger(seconds=seconds), **options)
            scheduler.start()
            try:
                if run_clock is not None:
                    await run_clock(runs=True)
                while not self._stopping.is_set():
                    await self._next()
                if run_clock is not None and self._error is None:
                    await run_clock(runs=False)
            finally:
                scheduler.shutdown(wait=False)
        if self._error is not None:
            raise self._error
        self._trader.end()
        await self._beat(ended=True)

    def stop(self, why: str = "asked to") -> None:
        """End after the cycle in progress."""
        if not self._stopping.is_set():
            log.info("stopping", because=why)
            self._stopping.set()
            self._bell.set()
            if self._pairs is not None:
                self._pairs.is_ending = True

    def fail(self, error: BaseException) -> None:
        """End after the cycle in progress, with an error for whoever runs this."""
        if self._error is None:
            self._error = error
        self._stopping.set()
        self._bell.set()

    async def _started(self) -> bool:
        """Start the trader unless the end comes first."""
        starting = asyncio.ensure_future(self._trader.start())
        await self._first(starting)
        if starting.done():
            starting.result()
            return True
        await _cancelled(starting)
        if self._error is not None:
            raise self._error
        return False

    async def _next(self) -> None:
        """Wait for what is to be done next, and do it. What the operator wants comes first, even where the venue fails."""
        due = asyncio.ensure_future(self._trader.due())
        await self._first(due, self._trader.pause_s)
        came = due.done()
        failure = due.exception() if came else None
        try:
            if not came:
                await _cancelled(due)
            if self._stopping.is_set():
                return
            self._bell.clear()
            self._busy_since_s = time.monotonic()
            await self._trader.obey()
            if failure is not None:
                raise failure
            if came:
                await self._cycle()
        except VenueError as error:
            await self._failed(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again by run(), where it ends the daemon
            self.fail(error)
        else:
            self._failures = 0
        finally:
            self._busy_since_s = None

    async def _cycle(self) -> None:
        if not await self._trader.cycle():
            self.stop("the recording has ended")
        elif self._most is not None and self._trader.cycles >= self._most:
            self.stop(f"{self._most} cycles were asked for")

    async def _failed(self, error: VenueError) -> None:
        """What the venue did not do is tried again, less and less often; a venue may be away for hours."""
        self._failures += 1
        self._trader.failed()
        wait_s = min(FIRST_RETRY_S * 2 ** (self._failures - 1), LONGEST_RETRY_S)
        log.warning("cycle failed", error=str(error), failures=self._failures, again_in_s=wait_s)
        pause_s = self._trader.pause_s
        with suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), wait_s if pause_s is None else min(wait_s, pause_s))

    async def _first(self, work: asyncio.Future[Any], longest_s: float | None = None) -> None:
        """Until `work` is done, the bell rings, or for so long."""
        bell = asyncio.ensure_future(self._bell.wait())
        try:
            await asyncio.wait({work, bell}, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            bell.cancel()

    async def _watch(self) -> None:
        try:
            before = self._trader.pause_s
            await self._trader.watch()
            if self._trader.is_to_finish or (self._trader.pause_s is not None and before is None):
                self._bell.set()
        except Exception as error:  # noqa: BLE001 - as below
            self.fail(error)

    async def _beat(self, *, ended: bool = False) -> None:
        """Give a sign of life, unless the work in hand has come to a stand."""
        if self._busy_since_s is not None and self._trader.account is not self._seen:
            self._busy_since_s, self._seen = time.monotonic(), self._trader.account
        busy_s = 0.0 if self._busy_since_s is None else time.monotonic() - self._busy_since_s
        if self._pulse is None or busy_s > LONGEST_WORK_S:
            return
        try:
            self._pulse.beat(ended=ended)
            self._is_mute = False
        except OSError as error:
            if not self._is_mute:
                log.warning("no sign of life can be given; a guard would act", reason=error.strerror)
            self._is_mute = True

    async def _look_for_commands(self) -> None:
        try:
            if self._trader.has_command():
                self._bell.set()
        except Exception as error:  # noqa: BLE001 - a journal that can't be read ends the daemon like any other write
            self.fail(error)


async def _cancelled(work: asyncio.Future[Any]) -> None:
    """End what was begun, and wait until it has; its failure on the way out is nobody's concern."""
    work.cancel()
    await asyncio.wait({work})


def _unless_cancelled(record: logging.LogRecord) -> bool:
    """What the end breaks off is no failure, though APScheduler tells it as one, with a traceback beside the sentence."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, asyncio.CancelledError)


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
