"""Each mistake that is made on purpose is found within some runs; the program as it is passes the same runs."""

from itertools import islice

import pytest

from tests.simulation.mistake import Mutant, made
from tests.simulation.mutants import MUTANTS
from tests.simulation.run import simulate

MOST_RUNS = 40


@pytest.mark.parametrize("mutant", MUTANTS, ids=[each.name.replace(" ", "-") for each in MUTANTS])
def test_a_mistake_is_found_and_only_there(mutant: Mutant) -> None:
    plans = list(islice(mutant.plans(), MOST_RUNS))
    with made(mutant):
        result = next((found for plan in plans if (found := simulate(plan)).violations), None)
    assert result is not None, f"not found in {MOST_RUNS} runs"
    assert result.violations[0].invariant in mutant.told_by.split(), result.violations[0]
    sound = simulate(result.plan)
    assert not sound.violations, sound.story()
