"""The venue's clock as it tells it: standing, fast, jumping, and once simply wrong."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from bot.errors import Unavailable
from bot.venues.venue_clock import Pace, VenueClock

DAY_MS = 86_400_000
START_MS = 1_780_000_000_000
PACE = Pace()


class Told:
    """Answers in order, one second of our own time before each."""

    def __init__(self, answers: Sequence[int], pace: Pace = PACE) -> None:
        self.answers, self.now_s, self.asked, self.slept_s = list(answers), 0.0, 0, 0.0
        self.clock = VenueClock(self.ask, lambda: self.now_s, self.sleep, pace)

    async def ask(self) -> int:
        self.asked += 1
        self.now_s += 1
        return self.answers.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.now_s += seconds


def test_one_wrong_answer_is_not_believed_and_the_next_is() -> None:
    for wrong_ms in (START_MS + 20_000 * DAY_MS, START_MS - DAY_MS):
        told = Told([START_MS, wrong_ms, START_MS + 2_000, START_MS + 3_000])

        async def scene(told: Told = told) -> None:
            await told.clock.look()
            with pytest.raises(Unavailable, match="clock said"):
                await told.clock.look()
            assert await told.clock.look() == START_MS + 3_000
            assert (told.clock.rate, told.asked) == (1.0, 4)

        asyncio.run(scene())


def test_a_jump_that_is_told_twice_is_believed_both_ways() -> None:
    for jump_ms in (DAY_MS, -DAY_MS):
        told = Told([START_MS, START_MS + jump_ms, START_MS + jump_ms + 1_000, START_MS + jump_ms + 2_000])

        async def scene(told: Told = told, jump_ms: int = jump_ms) -> None:
            await told.clock.look()
            assert await told.clock.look() == START_MS + jump_ms + 1_000
            await told.clock.look()
            assert told.clock.rate == 1.0  # a jump is not taken for a fast clock

        asyncio.run(scene())


@pytest.mark.parametrize("is_real", [False, True])
def test_a_clock_that_stands_is_asked_now_and_then_and_its_moment_waited_for(is_real: bool) -> None:
    for left_ms in (3_600_000, 1):
        told = Told([START_MS - left_ms] * 50 + [START_MS] * 2, Pace(is_real=is_real))

        async def scene(told: Told = told) -> None:
            assert await told.clock.until(START_MS) == START_MS

        asyncio.run(scene())
        assert told.asked <= 52
        assert told.slept_s <= 50 * 30


def fastest(pace: Pace) -> float:
    """The highest speed that is made of a thousand pairs of looks over a network with delays of all sizes."""
    dice, now_s = random.Random(1), 0.0

    def wait(mean_s: float) -> None:
        nonlocal now_s
        now_s += dice.expovariate(1 / mean_s)

    async def ask() -> int:
        wait(0.15)
        venue_ms = START_MS + int(now_s * 1000)
        wait(0.15)
        return venue_ms

    clock = VenueClock(ask, lambda: now_s, pace=pace)
    found = 0.0

    async def scene() -> None:
        nonlocal found
        for _ in range(2_000):
            wait(0.3)
            await clock.look()
            found = max(found, clock.speed, clock.rate)

    asyncio.run(scene())
    return found


def test_a_real_venues_clock_runs_as_ours_whatever_the_network_makes_of_it() -> None:
    assert fastest(Pace(is_real=True)) == 1.0
    assert fastest(Pace()) > 20 / 15  # as it seems to run, 15 s are more than the 20 s that a policy allows


def test_a_fast_clock_is_followed_at_its_rate() -> None:
    told = Told([START_MS + k * 100_000 for k in range(40)])

    async def scene() -> None:
        for _ in range(4):
            await told.clock.look()
        assert told.clock.rate == pytest.approx(100)
        assert told.clock.now_ms() == START_MS + 3 * 100_000 + 50_000  # told in the middle of the question

    asyncio.run(scene())
