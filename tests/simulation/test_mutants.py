"""Each mistake that is made on purpose is found within some runs; the program as it is passes the same runs."""

import re
from itertools import islice
from pathlib import Path

import pytest

from tests.simulation.mistake import Mutant, made
from tests.simulation.mutants import MUTANTS
from tests.simulation.run import simulate

MOST_RUNS = 40
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("mutant", MUTANTS, ids=[each.name.replace(" ", "-") for each in MUTANTS])
def test_a_mistake_is_found_and_only_there(mutant: Mutant) -> None:
    plans = list(islice(mutant.plans(), MOST_RUNS))
    with made(mutant):
        result = next((found for plan in plans if (found := simulate(plan)).violations), None)
    assert result is not None, f"not found in {MOST_RUNS} runs"
    assert result.violations[0].invariant in mutant.told_by.split(), result.violations[0]
    sound = simulate(result.plan)
    assert not sound.violations, sound.story()


def test_the_page_lists_each_mistake_and_says_how_many() -> None:
    page = PAGE.read_text("utf-8")
    table = page.partition("| mistake | found by |\n|---|---|\n")[2].partition("\n\n")[0]
    told = [f"| {each.name} | {', '.join(each.told_by.split())} |" for each in MUTANTS]
    assert table.splitlines() == told
    number = re.search(r"Each of these (\d+) mistakes", page)
    assert number is not None
    assert int(number[1]) == len(MUTANTS)
