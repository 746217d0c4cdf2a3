"""An event loop in which waiting takes no time: its clock jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import selectors
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


class Standstill(RuntimeError):
    """Everybody waits and nothing is due: a deadlock, which real time would hide as a hang."""


class _NoWait(selectors.SelectSelector):
    """Lets virtual time pass in place of waiting; there is nothing outside to wait for."""

    passed: Callable[[float], None] = staticmethod(lambda seconds: None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Standstill("every task waits and no timer is set")
        if timeout > 0:
            self.passed(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """One thread, no sockets, no signals; timers fire in the order of their times."""

    def __init__(self) -> None:
        self._now_s = 0.0
        selector = _NoWait()
        super().__init__(selector)
        selector.passed = self._pass

    def time(self) -> float:
        return self._now_s

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        signal.Signals(sig)  # no signal comes here

    def remove_signal_handler(self, sig: int) -> bool:
        return bool(signal.Signals(sig))


class VirtualScheduler:
    """In place of APScheduler, which reads the computer's clock: jobs every so many virtual seconds, no less than `least_s`."""

    least_s = 300.0

    def __init__(self, **_: Any) -> None:
        self._jobs: list[tuple[Callable[[], Any], float]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def add_job(self, job: Callable[[], Any], trigger: Any, **_: Any) -> None:
        self._jobs.append((job, max(self.least_s, trigger.interval.total_seconds())))

    def start(self) -> None:
        self._tasks = [asyncio.ensure_future(self._repeat(*each)) for each in self._jobs]

    def shutdown(self, *, wait: bool) -> None:
        for task in self._tasks:
            task.cancel()

    @staticmethod
    async def _repeat(job: Callable[[], Any], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            told = job()
            if asyncio.iscoroutine(told):
                await told


@contextmanager
def virtual_schedules(least_s: float = 300.0) -> Iterator[None]:
    """Schedules made within keep virtual time; no job runs more often than every `least_s` seconds."""
    with (
        mock.patch("bot.trader.schedule.AsyncIOScheduler", VirtualScheduler),
        mock.patch.object(VirtualScheduler, "least_s", least_s),
    ):
        yield
