import math
from typing import Any

import numpy as np
import pytest

from strategies.funding_carry import FundingCarry
from tests.signals.naive import panel_of
from tests.strategies.moments import asked, led_through, score

nan = math.nan
CARRY = FundingCarry()


def held(previous: float, hours: float = 100.0, **signals: Any) -> float:
    return score(CARRY, previous=previous, held_h=hours, **{"drift": 0.0, **signals})


def test_it_stands_on_the_side_that_is_paid() -> None:
    assert score(CARRY, carry=0.60, drift=0.0) == -1.0  # longs pay: be short
    assert score(CARRY, carry=-0.60, drift=0.0) == 1.0


def test_the_position_grows_with_the_carry_up_to_full() -> None:
    assert score(CARRY, carry=0.30, drift=0.0) == pytest.approx(-0.5)
    assert score(CARRY, carry=5.0, drift=0.0) == -1.0


@pytest.mark.parametrize(("half_life_h", "share"), [(8, 0.42), (24, 0.72), (72, 0.89)])
def test_a_decaying_rate_earns_only_a_share_of_what_it_promises_in_a_day(
    half_life_h: int, share: float
) -> None:
    rent = FundingCarry(decay_h=half_life_h, hold_h=24).expected_rent(np.array([0.5]))
    assert rent[0] / (0.5 * 24 / 8760) == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize(
    ("rate", "half_life_h", "breaks_even_h"),
    [(0.5, 72, 51), (1.0, 24, 30), (1.0, 168, 21), (2.0, 72, 11), (0.2, 72, 364)],
)
def test_the_rent_pays_a_round_trip_of_23_basis_points_after_the_published_hours(
    rate: float, half_life_h: int, breaks_even_h: int
) -> None:
    def rent(hours: int) -> float:
        return float(FundingCarry(decay_h=half_life_h, hold_h=hours).expected_rent(np.array([rate]))[0])

    assert rent(breaks_even_h - 1) < 0.0023 < rent(breaks_even_h + 1)


def test_a_rate_that_fades_too_fast_never_breaks_even() -> None:
    assert FundingCarry(decay_h=24, hold_h=100_000).expected_rent(np.array([0.5]))[0] < 0.0023


def test_it_enters_only_where_the_decaying_rent_pays_for_the_round_trip_and_the_hurdle() -> None:
    # τ = 72 h / ln 2 = 103.87 h, of which 1 − e^(−168/103.87) = 80.16 % fall into the hold: 83.26 h of today's rate.
    # 0.16 % over 83.26 h is 16.83 % a year.
    assert score(CARRY, carry=0.168, drift=0.0) == 0.0
    assert score(CARRY, carry=0.169, drift=0.0) < 0
    assert score(CARRY, carry=-0.168, drift=0.0) == 0.0
    assert score(FundingCarry(round_trip_cost=0.0), carry=0.053, drift=0.0) < 0


def test_a_position_stays_for_a_rent_that_it_would_not_have_entered_for() -> None:
    assert held(-0.5, carry=0.05) == pytest.approx(-0.05 / 0.6)
    assert held(-0.5, carry=0.02) == 0.0
    assert held(0.5, carry=-0.05) == pytest.approx(0.05 / 0.6)


def test_a_new_position_is_given_time_unless_the_price_runs() -> None:
    assert held(-0.5, hours=23, carry=0.001) == -0.5
    assert held(-0.5, hours=24, carry=0.001) == 0.0
    assert held(-0.5, hours=23, carry=-0.60) == -0.5  # even where the carry has turned
    assert held(-0.5, hours=24, carry=-0.60) == 1.0
    assert held(-0.5, hours=23, carry=0.001, drift=2.6) == 0.0


def test_it_steps_aside_from_a_price_that_runs_against_it_and_stays_for_one_that_runs_with_it() -> None:
    assert score(CARRY, carry=0.60, drift=1.4) == -1.0
    assert score(CARRY, carry=0.60, drift=1.6) == 0.0  # short against a rise
    assert score(CARRY, carry=-0.60, drift=-1.6) == 0.0  # long against a fall
    assert score(CARRY, carry=0.60, drift=-5.0) == -1.0
    assert held(-1.0, carry=0.60, drift=2.6) == 0.0
    assert held(1.0, carry=-0.60, drift=2.6) == 1.0


def test_a_wind_that_forbids_an_entry_does_not_yet_end_a_position() -> None:
    assert score(CARRY, carry=0.60, drift=2.4) == 0.0
    assert held(-1.0, carry=0.60, drift=2.4) == -1.0
    with pytest.raises(ValueError, match="give must be at least 0"):
        FundingCarry(give=-0.1)


def test_it_says_what_it_is_paid_what_it_expects_and_what_blows_against_it() -> None:
    opinion = asked(CARRY, carry=0.30, drift=0.5)
    # 30 % a year × 83.26 h = 0.285 %
    assert (
        opinion.reason(0)
        == "short: paid +30.0% a year, +0.29% expected over the hold; +0.5 usual moves of headwind"
    )
    other = asked(CARRY, carry=-0.30, drift=0.5).reason(0)
    assert other.startswith("long: paid +30.0% a year, ")
    assert other.endswith("-0.5 usual moves of headwind")
    assert opinion.edge is not None
    assert opinion.edge[0] == pytest.approx(0.30 / 8760 * 83.26, rel=1e-3)


def test_it_says_which_side_it_leaves_alone_and_when_it_is_the_one_who_pays() -> None:
    assert asked(CARRY, carry=0.01, drift=0.0).reason(0).startswith("no short: paid +1.0% a year, ")
    assert asked(CARRY, carry=-0.01, drift=0.0).reason(0).startswith("no long: paid +1.0% a year, ")
    young = asked(CARRY, carry=-0.02, drift=0.0, previous=-0.5, held_h=1.0)
    assert young.scores[0] == -0.5
    assert young.reason(0).startswith("short: paid -2.0% a year, ")


def test_unknown_carry_is_no_reason() -> None:
    opinion = asked(CARRY, carry=nan, drift=0.0)
    assert not opinion.ready[0]
    assert opinion.scores[0] == 0.0


def test_over_a_market_it_enters_when_the_rent_comes_and_leaves_when_it_is_gone() -> None:
    hours = 1200
    funding = np.full(hours, 1.25e-5)  # the interest floor, 11 % a year, does not pay for a round trip
    funding[400:600] = 1e-4  # 88 % a year
    funding[600:] = 0.0
    mark = 100 * np.exp(0.002 * (np.arange(hours) % 2))
    given = led_through(FundingCarry(), panel_of(mark=mark, funding_rate=funding))[:, 0]
    assert not given[:400].any()
    assert (given[430:600] < 0).all()
    assert given[599] == -1.0
    assert not given[800:].any()
    assert len(np.flatnonzero(np.diff(np.sign(given)))) == 2  # in once, out once


def test_funding_that_flips_sign_by_the_hour_does_not_make_it_churn() -> None:
    # Positive three hours in four, as the majors' is; closing at every flip would trade 1,000 times.
    hours = 2000
    funding = np.where(np.arange(hours) % 4 == 3, -2e-5, 6e-5)
    mark = 100 * np.exp(0.002 * (np.arange(hours) % 2))
    given = led_through(FundingCarry(), panel_of(mark=mark, funding_rate=funding))[:, 0]
    assert len(np.flatnonzero(np.diff(np.sign(given)))) == 1
    assert given[-1] < 0
    assert len(np.flatnonzero(np.diff(np.sign(funding)))) > 900


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"exit_apr": 0.7}, "exit_apr must be at least 0 and below full_apr, found 0.7 and 0.6"),
        ({"exit_apr": -0.1}, "exit_apr must be at least 0"),
        ({"decay_h": 0}, "half_life_h, decay_h and hold_h must be at least 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FundingCarry(**wrong)
