"""The whole agent under virtual time: seeds, crashes all through a short day, pairs of them, and what was found before."""

import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.faults import ACTION_FAULTS, Plan, plan_of
from tests.simulation.run import Result, simulate

REPOSITORY = Path(__file__).resolve().parents[2]

FOUND = (10, 19, 30, 56, 62, 77, 121, 126, 151, 154, 190, 223, 269, 493, 548)
"""Seeds that went wrong once, in the program or in the simulation."""

A_DAY = Plan(
    77, faulty_h=2, quiet_h=2, stop_loss=0.03, actions={"lost_reply": 0.1, "late": 0.1, "lost_request": 0.1}
)


def fine(result: Result) -> None:
    assert not result.violations, result.story()


@pytest.mark.parametrize("seed", range(40))
def test_a_seed_of_faults_and_crashes_ends_with_every_invariant_held(seed: int) -> None:
    fine(simulate(plan_of(seed)))


@pytest.mark.parametrize("seed", FOUND)
def test_what_went_wrong_once_does_not_again(seed: int) -> None:
    fine(simulate(plan_of(seed)))


def test_without_faults_all_is_wanted_sent_and_held() -> None:
    result = simulate(Plan(5, faulty_h=3, quiet_h=2))
    fine(result)
    assert result.lives == 1
    assert result.counts["cycles"] == 5
    assert result.counts["attempts filled"] >= 4
    assert {
        "I1",
        "I2",
        "I3",
        "I4",
        "I5",
        "I6",
        "I7",
        "I8",
        "I9",
        "I11",
        "I13",
        "I16",
        "I18",
    } <= result.counts.keys()


@pytest.mark.parametrize("part", range(4))
def test_killed_at_every_third_effect_of_a_day_nothing_is_lost_or_doubled(part: int) -> None:
    effects = simulate(A_DAY).effects
    assert effects > 150
    for at in range(1 + 3 * part, effects + 1, 12):
        result = simulate(replace(A_DAY, crash_at=frozenset({at})))
        fine(result)


def test_killed_twice_also_within_a_recovery_nothing_is_lost_or_doubled() -> None:
    dice = random.Random(3)
    for _ in range(20):
        first = dice.randint(1, 250)
        crash_at = frozenset({first, first + dice.randint(1, 60)})
        fine(simulate(replace(A_DAY, crash_at=crash_at)))


def test_the_faults_do_happen() -> None:
    plan = Plan(9, faulty_h=4, quiet_h=2, actions=dict.fromkeys(ACTION_FAULTS, 0.09), lag=0.4, by_hand=True)
    seen: Counter[str] = Counter()
    for seed in range(4):
        result = simulate(replace(plan, seed=seed, crash_at=frozenset({90, 200})))
        fine(result)
        seen.update(result.counts)
        assert result.lives >= 2
    assert seen["attempts fenced"] > 0
    assert seen["attempts filled"] > 10


def test_a_seed_is_the_same_run_in_another_process_whatever_its_hashes() -> None:
    """Sets and dictionaries of text come in another order there: nothing that happens may depend on it."""
    asked = [sys.executable, "-m", "tests.simulation", "--seed", "8"]
    told = {
        subprocess.run(
            asked,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[0]
        for seed in ("1", "2")
    }
    result = simulate(plan_of(8))
    assert result.digest == simulate(plan_of(8)).digest
    assert len(told) == 1
    assert result.digest[:16] in told.pop()
