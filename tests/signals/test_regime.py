import math
from typing import Any

import numpy as np
import pytest

from bot.signals.regime import Regime, regime, stress
from tests.signals import naive
from tests.signals.naive import FloatArray, last_day

nan = math.nan


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ({}, Regime.QUIET),
        ({"run": 1.0}, Regime.QUIET),  # price alone is nobody's position
        ({"flow": 0.05}, Regime.QUIET),
        ({"run": 1.0, "flow": 0.05}, Regime.FRESH_LONGS),
        ({"run": 1.0, "flow": -0.05}, Regime.SHORT_COVERING),
        ({"run": -1.0, "flow": 0.05}, Regime.FRESH_SHORTS),
        ({"run": -1.0, "flow": -0.05}, Regime.LONG_EXIT),
        ({"run": 1.0, "flow": 0.05, "surge": 2.0, "crowd": 3.0}, Regime.CROWDED_LONGS),
        ({"run": -1.0, "flow": 0.05, "surge": 2.0, "crowd": -3.0}, Regime.CROWDED_SHORTS),
        # A crowd needs all of it: heavy volume, and its own side paying.
        ({"run": 1.0, "flow": 0.05, "surge": 0.9, "crowd": 3.0}, Regime.FRESH_LONGS),
        ({"run": 1.0, "flow": 0.05, "surge": 2.0, "crowd": -3.0}, Regime.FRESH_LONGS),
        ({"run": -1.0, "flow": 0.05, "surge": 2.0, "crowd": 3.0}, Regime.FRESH_SHORTS),
        # Forced closing, whichever way price runs; without the burst of volume it is ordinary closing.
        ({"run": -2.5, "flow": -0.15, "surge": 3.0}, Regime.CASCADE),
        ({"run": 2.5, "flow": -0.15, "surge": 3.0}, Regime.CASCADE),
        ({"run": -2.5, "flow": -0.15, "surge": 1.5}, Regime.LONG_EXIT),
        ({"run": -2.5, "flow": -0.08, "surge": 3.0}, Regime.LONG_EXIT),
        ({"run": -1.0, "flow": -0.15, "surge": 3.0}, Regime.LONG_EXIT),
    ],
)
def test_a_day_of_price_open_interest_volume_and_funding_has_its_regime(
    day: dict[str, Any], expected: Regime
) -> None:
    assert Regime(int(regime(last_day(**day)).last[0])) is expected


@pytest.mark.parametrize("missing", ["open_interest", "volume_usd", "funding_rate"])
def test_a_regime_is_unknown_where_one_of_its_four_inputs_is(missing: str) -> None:
    panel = last_day(run=1.0, flow=0.05, without=missing)
    assert np.isnan(regime(panel).values).all()


def test_regimes_are_named_as_people_say_them() -> None:
    assert [each.label for each in (Regime.FRESH_LONGS, Regime.CASCADE)] == ["fresh longs", "cascade"]


def test_regimes_equal_a_plain_chain_of_ifs_over_a_market_with_holes() -> None:
    panel = naive.made_up(900, width=4)
    move = naive.drift(panel.mark.values, 24)
    flow = naive.change(panel.open_interest.values, 24)
    surge = naive.surge(panel.volume_usd.values)
    crowd = naive.zscore(panel.funding_rate.values, 336)

    def plain(move: float, flow: float, surge: float, crowd: float) -> float:
        if not all(map(math.isfinite, (move, flow, surge, crowd))):
            return nan
        if flow < -0.10 and surge > 2 and abs(move) > 1.5:
            return 7
        if move > 0.5 and flow > 0.01:
            return 5 if surge > 1 and crowd > 1 else 1
        if move < -0.5 and flow > 0.01:
            return 6 if surge > 1 and crowd < -1 else 3
        if move > 0.5 and flow < -0.01:
            return 2
        if move < -0.5 and flow < -0.01:
            return 4
        return 0

    expected = np.vectorize(plain, otypes=[float])(move, flow, surge, crowd)
    assert len(set(expected[np.isfinite(expected)])) >= 7
    np.testing.assert_array_equal(regime(panel).values, expected)


def test_a_calm_day_has_no_stress() -> None:
    assert stress(last_day()).last[0] == pytest.approx(0.0, abs=1e-12)


def test_one_gauge_at_its_extreme_is_full_stress() -> None:
    assert stress(last_day(crowd=100.0)).last[0] == 1.0
    assert stress(last_day(flow=-0.35)).last[0] == 1.0
    assert stress(last_day(surge=9.0)).last[0] == 1.0


def test_open_interest_that_grows_is_no_stress() -> None:
    assert stress(last_day(flow=0.35)).last[0] == pytest.approx(0.0, abs=1e-12)


def test_gauges_half_way_are_joined_as_independent_alarms() -> None:
    # An outflow of 17.5 % is half-way from 5 % to 30 %: one alarm of two halves.
    assert stress(last_day(flow=-0.175)).last[0] == pytest.approx(0.5)
    # The last six hours at g times the usual are a surge of 336 g / (330 + 6 g); 3.25 is half-way from 1.5 to 5.
    g = 3.25 * 330 / (336 - 3.25 * 6)
    assert stress(last_day(surge=g)).last[0] == pytest.approx(0.5)
    assert stress(last_day(flow=-0.175, surge=g)).last[0] == pytest.approx(0.75)


def test_unknown_open_interest_or_volume_sounds_no_alarm_but_unknown_funding_is_unknown_stress() -> None:
    assert stress(last_day(surge=9.0, without="open_interest")).last[0] == 1.0
    assert stress(last_day(flow=-0.175, without="volume_usd")).last[0] == pytest.approx(0.5)
    assert np.isnan(stress(last_day(without="funding_rate")).last[0])


def test_stress_equals_its_plain_twin_over_a_market_with_holes() -> None:
    panel = naive.made_up(800, holes=0.002)
    mark = panel.mark.values

    def ramp(values: FloatArray, start: float, full: float) -> FloatArray:
        return np.minimum(1, np.maximum(0, (values - start) / (full - start)))

    funding = ramp(np.abs(naive.zscore(panel.funding_rate.values, 336)), 1.5, 4)
    wild = ramp(naive.volatility(mark, 24) / naive.volatility(mark, 336), 1.25, 3)
    outflow = ramp(-naive.change(panel.open_interest.values, 24), 0.05, 0.3)
    surge = ramp(naive.surge(panel.volume_usd.values), 1.5, 5)
    quiet = (1 - funding) * (1 - wild)
    for optional in (outflow, surge):
        quiet = quiet * (1 - np.where(np.isnan(optional), 0.0, optional))
    expected = 1 - quiet
    assert np.isfinite(expected).any()
    assert (np.isnan(outflow) & np.isfinite(expected)).any()
    np.testing.assert_allclose(stress(panel).values, expected, rtol=1e-8, atol=1e-10)
