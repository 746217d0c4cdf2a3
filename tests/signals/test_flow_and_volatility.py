import math

import numpy as np
import pytest

from bot.signals.flow import change, open_interest_change, open_interest_usd_split, volume_surge
from bot.signals.volatility import drift, log_return, realised_volatility
from tests.signals import naive
from tests.signals.naive import field_of, panel_of

nan = math.nan


def test_change_is_relative_to_the_value_then() -> None:
    field = field_of([100.0, 110.0, 99.0, nan, 120.0])
    assert change(field, 1).values[:, 0] == pytest.approx([nan, 0.1, -0.1, nan, nan], nan_ok=True)
    assert change(field, 2).last == pytest.approx([120 / 99 - 1])


def test_open_interest_change_counts_coins_so_price_alone_is_no_flow() -> None:
    panel = panel_of(mark=np.linspace(100, 200, 25), open_interest=[1000.0] * 24 + [900.0])
    assert open_interest_change(panel).last == pytest.approx([-0.1])


def test_dollar_change_of_open_interest_splits_into_price_and_flow() -> None:
    # 100 coins at 10 are 1000 USD; 90 at 12 are 1080. Price made 100 × 2, flow 12 × −10.
    panel = panel_of(mark=[10.0, 12.0], open_interest=[100.0, 90.0])
    price, flow = open_interest_usd_split(panel, 1)
    assert (price.last[0], flow.last[0]) == pytest.approx((0.20, -0.12))
    assert price.last[0] + flow.last[0] == pytest.approx(1080 / 1000 - 1)


def test_price_and_flow_add_up_to_the_whole_dollar_change_everywhere() -> None:
    panel = naive.made_up(120)
    usd = panel.mark.values * panel.open_interest.values
    price, flow = open_interest_usd_split(panel, 24)
    np.testing.assert_allclose((price + flow).values, naive.change(usd, 24), rtol=1e-9, atol=1e-12)
    assert np.isfinite(price.values[24:]).any()


def test_volume_surge_is_recent_volume_over_the_usual() -> None:
    panel = panel_of(volume_usd=[1.0, 1.0, 3.0, 3.0])
    assert volume_surge(panel, hours=2, baseline_h=4).last == pytest.approx([1.5])  # 3 against a mean of 2
    assert volume_surge(panel_of(volume_usd=[7.0] * 336)).last == pytest.approx([1.0])


def test_volume_surge_needs_all_recent_hours_and_most_of_the_usual_ones() -> None:
    volume = np.ones(336)
    volume[10:43] = nan  # 33 of 336: within one in ten
    assert volume_surge(panel_of(volume_usd=volume)).last == pytest.approx([1.0])
    volume[43:45] = nan
    assert np.isnan(volume_surge(panel_of(volume_usd=volume)).last).all()
    volume[:] = 1.0
    volume[-3] = nan
    assert np.isnan(volume_surge(panel_of(volume_usd=volume)).last).all()


def test_log_return_is_over_the_hours_asked_for() -> None:
    panel = panel_of(mark=[1.0, math.e, math.e**3])
    assert log_return(panel).values[:, 0] == pytest.approx([nan, 1, 2], nan_ok=True)
    assert log_return(panel, 2).last == pytest.approx([3])


def test_realised_volatility_annualises_hourly_returns_by_365_days() -> None:
    # Returns +1 % and −1 % in turn: mean 0, deviation 1 %.
    mark = 100 * np.exp(0.01 * (np.arange(25) % 2))
    assert realised_volatility(panel_of(mark=mark), 24).last == pytest.approx([0.01 * math.sqrt(8760)])


def test_volatility_does_not_depend_on_how_finely_the_clock_ticks() -> None:
    mark = 100 * np.exp(0.01 * (np.arange(49) % 2))
    fine = realised_volatility(panel_of(mark=mark, interval_ms=1_800_000), 24).last
    assert fine == pytest.approx([0.01 * math.sqrt(2 * 8760)])


def test_drift_is_the_run_in_usual_moves() -> None:
    # One week of ±1 % hourly returns, and 2 % up over the last 2 h against a usual 1 % × √2 (volatility almost as before).
    steps = 0.01 * (-1.0) ** np.arange(168)
    steps[-2:] = 0.01
    mark = 100 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    usual = float(np.std(steps)) * math.sqrt(2)
    assert drift(panel_of(mark=mark), hours=2).last == pytest.approx([0.02 / usual])
    assert drift(panel_of(mark=1 / mark), hours=2).last == pytest.approx([-0.02 / usual])


def test_flow_and_volatility_equal_their_plain_twins_over_a_market_with_holes() -> None:
    panel = naive.made_up(800)
    mark, interest, volume = panel.mark.values, panel.open_interest.values, panel.volume_usd.values
    price_then, coins_then = np.roll(mark, 24, axis=0), np.roll(interest, 24, axis=0)
    level = price_then * coins_then
    level[:24] = nan
    price_part, flow_part = open_interest_usd_split(panel, 24)
    pairs = [
        (open_interest_change(panel, 6), naive.change(interest, 6)),
        (price_part, (mark - price_then) * coins_then / level),
        (flow_part, (interest - coins_then) * mark / level),
        (volume_surge(panel), naive.surge(volume)),
        (log_return(panel, 5), naive.log_return(mark, 5)),
        (realised_volatility(panel), naive.volatility(mark, 168)),
        (drift(panel), naive.drift(mark, 48)),
    ]
    for found, expected in pairs:
        assert np.isfinite(expected).any()
        np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-12)
