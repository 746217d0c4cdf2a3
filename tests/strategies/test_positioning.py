from typing import Any

import pytest

from bot.strategy import Regime
from strategies.positioning import Positioning
from tests.signals.naive import last_day
from tests.strategies.moments import asked, led_through, score

IT = Positioning()


def opined(regime: Regime, previous: float = 0.0, held_h: float = 10.0, **other: Any) -> float:
    calm = {"regime": float(regime), "stress": 0.1, "funding_z": 0.3}
    return score(IT, previous=previous, held_h=held_h, **{**calm, **other})


@pytest.mark.parametrize("regime", Regime)
def test_it_follows_fresh_money_and_nothing_else(regime: Regime) -> None:
    expected = {Regime.FRESH_LONGS: 0.5, Regime.FRESH_SHORTS: -0.5}.get(regime, 0.0)
    assert opined(regime) == expected


def test_it_does_not_follow_money_that_already_pays_up() -> None:
    assert opined(Regime.FRESH_LONGS, funding_z=0.99) == 0.5
    assert opined(Regime.FRESH_LONGS, funding_z=1.01) == 0.0
    assert opined(Regime.FRESH_SHORTS, funding_z=-1.01) == 0.0


def test_under_stress_it_neither_enters_nor_stays() -> None:
    assert opined(Regime.FRESH_LONGS, stress=0.51) == 0.0
    assert opined(Regime.FRESH_LONGS, previous=0.5, stress=0.51) == 0.0
    assert opined(Regime.FRESH_LONGS, stress=0.49) == 0.5


def test_it_stays_whatever_the_regime_becomes_until_its_time_is_over() -> None:
    assert opined(Regime.QUIET, previous=0.5, held_h=47) == 0.5
    assert opined(Regime.FRESH_SHORTS, previous=0.5, held_h=47) == 0.5
    assert opined(Regime.QUIET, previous=0.5, held_h=48) == 0.0
    assert opined(Regime.FRESH_LONGS, previous=0.5, held_h=48) == 0.0  # out first, then perhaps in again


def test_having_left_it_rests_before_it_follows_again() -> None:
    assert opined(Regime.FRESH_LONGS, flat_h=23.0) == 0.0
    assert opined(Regime.FRESH_LONGS, flat_h=24.0) == 0.5


def test_it_says_which_regime_and_how_calm() -> None:
    opinion = asked(IT, regime=1.0, stress=0.125, funding_z=-0.25)
    assert opinion.reason(0) == "fresh longs, funding z -0.2, stress 0.12"


def test_over_a_market_it_is_long_after_a_day_of_fresh_longs_and_short_after_one_of_fresh_shorts() -> None:
    def last(**day: Any) -> float:
        return float(led_through(IT, last_day(**day), 24 * 15 - 1)[-1, 0])

    assert last(run=1.0, flow=0.05) == 0.5
    assert last(run=-1.0, flow=0.05) == -0.5
    assert last(run=1.0, flow=-0.05) == 0.0
    assert last(run=1.0, flow=0.05, crowd=3.0) == 0.0
    assert last() == 0.0
