from typing import Any

import numpy as np
import pytest

from strategies.hedged_carry import HOURS_PER_YEAR, HedgedCarry
from tests.strategies.moments import asked, score

CARRY = HedgedCarry(hold_h=336, round_trip_cost=0.0023, basis_premium=0.5, hurdle=0.0005, min_hold_h=72)
QUIET: dict[str, Any] = {"gap": 0.0, "usual_gap": 0.0, "gap_moves": 0.0, "fades_h": 48.0, "paid_last": 0.0}


def said(strategy: HedgedCarry = CARRY, **moment: Any) -> float:
    return score(strategy, **{**QUIET, **moment})


@pytest.mark.parametrize(
    ("carry", "usual", "fades_h"), [(0.5, 0.1, 24.0), (-0.3, 0.2, 72.0), (0.1, 0.1, 5.0)]
)
def test_what_is_expected_is_the_sum_over_the_hours_of_the_hold(
    carry: float, usual: float, fades_h: float
) -> None:
    steps = 100_000
    hours = (np.arange(steps) + 0.5) * CARRY.hold_h / steps
    path = usual + (carry - usual) * 0.5 ** (hours / fades_h)
    summed = path.mean() * CARRY.hold_h / HOURS_PER_YEAR
    found = CARRY.expected(np.array([carry]), np.array([usual]), np.array([fades_h]))[0]
    assert found == pytest.approx(summed, rel=1e-6)


def test_it_sells_what_pays_and_buys_what_is_paid() -> None:
    assert said(carry=0.5, usual=0.3) == -1.0
    assert said(carry=-0.5, usual=-0.3) == 1.0


def test_it_enters_only_what_pays_for_both_legs_and_the_hurdle() -> None:
    # Over a fortnight 7.3 % a year is 0.28 %: exactly both legs' cost and the hurdle.
    at = 0.0028 / 336 * HOURS_PER_YEAR
    assert said(carry=at * 1.001, usual=at * 1.001) == -1.0
    assert said(carry=at * 0.999, usual=at * 0.999) == 0.0


def test_a_basis_poorer_than_usual_is_a_cost_and_a_better_one_no_gain() -> None:
    at = 0.0028 / 336 * HOURS_PER_YEAR * 1.05
    assert said(carry=at, usual=at) == -1.0
    # Sold ten basis points below where it usually stands against its hedge: that much is lost as the gap closes.
    assert said(carry=at, usual=at, gap=-0.0005, usual_gap=0.0005) == 0.0
    assert said(carry=at * 0.94, usual=at * 0.94, gap=0.0100) == 0.0
    assert said(carry=-at, usual=-at, gap=0.0005, usual_gap=-0.0005) == 0.0  # the other side, the other way


def test_what_the_basis_may_do_is_paid_for() -> None:
    at = 0.0028 / 336 * HOURS_PER_YEAR * 1.05
    assert said(carry=at, usual=at, gap_moves=0.001) == 0.0


def test_it_stays_as_long_as_it_is_expected_to_be_paid_though_the_sign_has_turned() -> None:
    # The last settlements went against it, and the mean it goes back to is well above nothing.
    assert said(carry=-0.05, usual=0.10, paid_last=-0.1, previous=-1.0, held_h=500) == -1.0
    assert said(carry=-0.05, usual=-0.02, previous=-1.0, held_h=500) == 0.0


def test_a_young_position_is_given_time() -> None:
    assert said(carry=-0.05, usual=-0.02, previous=-1.0, held_h=71) == -1.0


def test_a_position_turns_where_the_other_side_pays_for_it() -> None:
    assert said(carry=-0.5, usual=-0.3, previous=-1.0, held_h=500) == 1.0


def test_the_variants_hold_for_ever_or_go_with_every_sign() -> None:
    never, flip = HedgedCarry(exit="never"), HedgedCarry(exit="flip")
    assert said(never, carry=-0.5, usual=-0.3, previous=-1.0, held_h=5000) == -1.0
    assert said(flip, carry=0.5, usual=0.3, paid_last=-0.001) == 1.0
    assert said(flip, carry=0.5, usual=0.3, paid_last=0.001) == -1.0


def test_what_it_expects_is_stated_before_costs_and_said() -> None:
    opinion = asked(CARRY, carry=0.5, usual=0.3, **QUIET)
    assert opinion.edge is not None
    assert opinion.edge[0] == pytest.approx(
        CARRY.expected(np.array([0.5]), np.array([0.3]), np.array([48.0]))[0]
    )
    assert opinion.reason(0).startswith("short: +50.0% a year net now, +30.0% usually, halfway there in 48 h")
    assert opinion.values["cost"][0] == pytest.approx(0.0023)


@pytest.mark.parametrize("wrong", [{"hold_h": 0}, {"lookback_h": 47}, {"exit": "sometimes"}])
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        HedgedCarry(**wrong)
