"""Two thousand deaths of the daemon, each with its recovery, and fifty days in which something goes wrong every hour."""

from itertools import islice

import pytest

from tests.simulation.crash_runs import DAYS, LEG_DAYS, Tally, plans
from tests.simulation.run import simulate
from tests.simulation.soak import chapter_of

PARTS = 21
RUNS_PER_PART = 96
LEG_PARTS = 6
LEG_RUNS_PER_PART = 16
CHAOS_PARTS = 10
CHAOS_DAYS_PER_PART = 5

# Slices are small enough that workers can share them out, and every kind of day has as many as the others.
assert PARTS * RUNS_PER_PART >= 2_000
assert PARTS % len(DAYS) == LEG_PARTS % len(LEG_DAYS) == 0
assert CHAOS_PARTS * CHAOS_DAYS_PER_PART >= 50


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_effect_of_any_kind_of_day_nothing_is_lost_or_doubled(part: int) -> None:
    tally = Tally()
    seeds = range(part, 10_000, PARTS)  # all of one kind
    every = (plan for seed in seeds for plan in plans(seed))
    for plan in islice(every, RUNS_PER_PART):
        tally.add(simulate(plan))
    assert not tally.bad, tally.bad[0].story()
    assert tally.runs == RUNS_PER_PART


@pytest.mark.parametrize("part", range(LEG_PARTS))
def test_killed_at_any_effect_with_two_legs_neither_stands_alone(part: int) -> None:
    tally = Tally()
    every = list(plans(part, legs=True))
    for plan in every[part % 3 :: max(1, len(every) // LEG_RUNS_PER_PART)]:  # all through the day
        tally.add(simulate(plan))
    assert not tally.bad, tally.bad[0].story()
    assert tally.runs >= LEG_RUNS_PER_PART
    assert bool(tally.legs_taken) == bool(every[0].taken)


@pytest.mark.parametrize("part", range(CHAOS_PARTS))
def test_days_with_a_fault_in_every_hour_end_with_every_invariant_held(part: int) -> None:
    result = simulate(chapter_of(part, CHAOS_DAYS_PER_PART, 2))
    assert not result.violations, result.story()
    assert result.quiet_hours == 0
    assert sum(result.struck.values()) > CHAOS_DAYS_PER_PART * 24
    assert result.lives > CHAOS_DAYS_PER_PART
