"""What time it is at the venue, between two of its answers, and which of its full hours can be seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from bot.errors import Unavailable
from bot.model.panel import HOUR_MS, FloatArray, Panel

log = structlog.get_logger("hedgerow")

STEADY: Final = 0.25
"""A rate this close to 1 is 1: what differs is the network, not the clock."""

LONGEST_SLEEP_S: Final = 30.0
STOPPED_SLEEP_S: Final = 1.0  # where the venue's clock seems to stand
SHORTEST_SLEEP_S: Final = 0.005
JUMP_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of our own time that it is slept at most before the venue is asked again; less where its time is quick.

    `speed` is how many of the venue's seconds are known to pass in one of ours, before anything was measured. With
    `is_real` its time is everybody's: what seems to run otherwise is the network's doing, or a venue that stands.
    """

    speed: float = 1.0
    longest_sleep_s: float = LONGEST_SLEEP_S
    stopped_sleep_s: float = STOPPED_SLEEP_S
    is_real: bool = False


class VenueClock:
    """Venue time from its own statements, and how fast it runs (a simulated venue's may run at any speed)."""

    def __init__(
        self,
        ask_ms: Callable[[], Awaitable[int]],
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        pace: Pace = Pace(),
    ) -> None:
        self._pace = pace
        self._ask_ms, self._now_s, self._sleep = ask_ms, now_s, sleep
        self._lower = self._measured = 1.0  # the lower of the last two rates, and the last
        self.venue_ms = 0
        self._heard_s = 0.0

    @property
    def speed(self) -> float:
        """The venue's seconds in one of ours, as far as is known, and no less than 1: what patience is reckoned by."""
        return 1.0 if self._pace.is_real else max(1.0, self._pace.speed, self.rate)

    @property
    def rate(self) -> float:
        """At which it seems to run: the lower of two measured, so that a clock that jumps is not taken for a fast one."""
        return 1.0 if self._pace.is_real else self._lower

    async def look(self) -> int:
        """Ask; milliseconds by the venue's clock. Time that goes back is taken as it is told, and no rate from it.

        A jump is believed when it is told twice. Unavailable where the second answer is another: to believe a moment
        far ahead would be to wait for it ever after.
        """
        sent_s = self._now_s()
        venue_ms = await self._ask_ms()
        far_ms = JUMP_MS * self.speed
        if self.venue_ms and abs(venue_ms - self.now_ms()) > far_ms:
            first_ms, sent_s = venue_ms, self._now_s()
            venue_ms = await self._ask_ms()
            if abs(venue_ms - first_ms) > far_ms:
                raise Unavailable(
                    f"the venue's clock said {first_ms} ms and then {venue_ms} ms; asking again later"
                )
        heard_s = (sent_s + self._now_s()) / 2
        passed_s = heard_s - self._heard_s
        if self.venue_ms and passed_s > 0 and venue_ms >= self.venue_ms:
            measured = (venue_ms - self.venue_ms) / 1000 / passed_s
            if abs(measured - 1) < STEADY or (passed_s < 0.02 and measured < 2):
                measured = 1.0
            self._lower, self._measured = min(measured, self._measured), measured
        self.venue_ms, self._heard_s = venue_ms, heard_s
        return venue_ms

    def now_ms(self) -> int:
        """The venue's time by our reckoning."""
        return self.venue_ms + int((self._now_s() - self._heard_s) * 1000 * self.rate)

    async def until(self, time_ms: int) -> int:
        """Wait until the venue itself says that it is `time_ms` or later; returns its time."""
        while True:
            venue_ms = await self.look()
            if venue_ms >= time_ms:
                return venue_ms
            stands = self._lower <= 0.5
            left_s = (time_ms - venue_ms) / 1000 / max(self._lower if stands else self.rate, 0.1)
            longest_s = self._pace.longest_sleep_s
            if stands:
                longest_s = min(longest_s, self._pace.stopped_sleep_s)
            await self._sleep(min(max(left_s, SHORTEST_SLEEP_S), longest_s))


class Hours:
    """The full hours of a venue. `is_settled` and `history` ask its market, as they do there.

    A settlement is waited for `settle_s`; `history_h` is how many hours of the past are asked for at most.
    """

    def __init__(
        self,
        clock: VenueClock,
        is_settled: Callable[[int], Awaitable[bool]],
        history: Callable[[int, int], Awaitable[Panel]],
        sleep: Callable[[float], Awaitable[None]],
        settle_s: float,
        history_h: int,
    ) -> None:
        self._clock, self._is_settled, self._history, self._sleep = clock, is_settled, history, sleep
        self._settle_s, self._history_h = settle_s, max(history_h, 1)
        self.told_ms = self._settled_ms = 0  # the newest that was told, and whose settlement was waited for

    async def begin(self) -> Panel:
        """The history up to the newest full hour, which is told by it."""
        self.told_ms = self._settled_ms = self._clock.now_ms() // HOUR_MS * HOUR_MS
        return await self._history(self.told_ms, self._history_h)

    async def due(self) -> None:
        """When the next full hour has come by the venue's clock and its funding is settled."""
        time_ms = await self._clock.until(self.told_ms + HOUR_MS) // HOUR_MS * HOUR_MS
        waited_s, wait_s = 0.0, min(1.0, max(0.02, 1.0 / self._clock.speed))
        while self._settled_ms < time_ms and not await self._is_settled(time_ms):
            if waited_s >= self._settle_s:
                log.warning("no settlement yet", waited_s=round(waited_s, 1))
                break
            await self._sleep(wait_s)
            waited_s, wait_s = (
                waited_s + wait_s,
                wait_s * 1.5,
            )  # each look costs of what may be asked in a minute
        self._settled_ms = time_ms

    async def newest(self) -> tuple[int, tuple[tuple[int, Mapping[str, FloatArray]], ...]]:
        """The newest full hour, and the rows after the one told last and before it, unknown where history has none."""
        time_ms = await self._clock.look() // HOUR_MS * HOUR_MS
        hours = (time_ms - self.told_ms) // HOUR_MS - 1
        if hours < 1:
            return time_ms, ()
        log.warning("hours passed unobserved", hours=hours)
        past = await self._history(time_ms - HOUR_MS, min(hours, self._history_h))
        return time_ms, past.moments()
