"""The venue's clock as it tells it: standing, fast, jumping, and once simply wrong."""

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest
from structlog.testing import capture_logs

from bot.errors import Unavailable
from bot.model.panel import HOUR_MS, Grid, Panel
from bot.venues.venue_clock import Hours, Pace, VenueClock

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


class Market:
    """Settles each hour at the `settles`th question, and knows every past."""

    def __init__(self, settles: int) -> None:
        self.settles, self.asked = settles, list[int]()

    async def is_settled(self, time_ms: int) -> bool:
        self.asked.append(time_ms)
        return len(self.asked) >= self.settles

    async def history(self, end_ms: int, rows: int) -> Panel:
        grid = Grid(end_ms // HOUR_MS - rows + 1, rows)
        return Panel(grid, ("BTC",), {"mark": np.full((rows, 1), 1.0)})


@pytest.mark.parametrize(
    ("settles", "asked", "said"), [(1, 1, []), (3, 3, []), (99, 4, ["no settlement yet"])]
)
def test_an_hour_is_due_once_it_has_come_and_is_settled_and_no_later_than_is_waited_for(
    settles: int, asked: int, said: list[str]
) -> None:
    first_ms = START_MS // HOUR_MS * HOUR_MS

    async def scene() -> list[int]:
        told, market = (
            Told([first_ms + 60_000, first_ms + HOUR_MS - 4_000, first_ms + HOUR_MS]),
            Market(settles),
        )
        hours = Hours(told.clock, market.is_settled, market.history, told.sleep, 4.0, 24)
        await told.clock.look()
        await hours.begin()
        await hours.due()
        # One second, one and a half and two and a quarter are more than the four.
        assert len(market.asked) == asked
        told.answers.append(first_ms + HOUR_MS + 1)
        await hours.due()  # of what was waited for once nothing is asked again
        assert len(market.asked) == asked
        return market.asked

    with capture_logs() as logs:
        assert set(asyncio.run(scene())) == {first_ms + HOUR_MS}
    assert [each["event"] for each in logs] == said


@pytest.mark.parametrize(("slept_h", "kept_h", "missed"), [(1, 24, []), (4, 24, [1, 2, 3]), (4, 2, [2, 3])])
def test_hours_that_were_slept_through_are_told_as_far_as_is_asked(
    slept_h: int, kept_h: int, missed: list[int]
) -> None:
    first_ms = START_MS // HOUR_MS * HOUR_MS

    async def scene() -> None:
        told, market = Told([first_ms + 60_000]), Market(1)
        hours = Hours(told.clock, market.is_settled, market.history, told.sleep, 4.0, kept_h)
        await told.clock.look()
        assert (await hours.begin()).grid.end_ms == first_ms
        told.answers += [first_ms + slept_h * HOUR_MS + 5_000] * 2
        time_ms, rows = await hours.newest()
        assert time_ms == first_ms + slept_h * HOUR_MS
        assert [(at_ms - first_ms) // HOUR_MS for at_ms, _ in rows] == missed

    asyncio.run(scene())
