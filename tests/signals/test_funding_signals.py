import math

import numpy as np
import pytest

from bot.model.panel import HOUR_MS
from bot.signals.funding import (
    basis,
    carry_apr,
    funding_apr,
    half_life_h,
    percentile,
    persistence,
    premium,
    smoothed,
    zscore,
)
from tests.signals import naive
from tests.signals.naive import field_of, panel_of

nan = math.nan


def test_funding_apr_is_the_hourly_rate_times_8760_and_never_compounded() -> None:
    assert funding_apr(panel_of(funding_rate=[0.0000125])).last == pytest.approx(
        [0.1095]
    )  # the interest floor


def test_funding_apr_over_several_hours_is_their_mean() -> None:
    panel = panel_of(funding_rate=[0.0001, 0.0003, -0.0001])
    assert funding_apr(panel, 2).values[:, 0] == pytest.approx([nan, 1.752, 0.876], nan_ok=True)


def test_a_positive_rate_is_positive_carry_for_the_short_that_it_pays() -> None:
    assert carry_apr(panel_of(funding_rate=[0.0001] * 300), 24).last[0] == pytest.approx(0.876)
    assert carry_apr(panel_of(funding_rate=[-0.0001] * 300), 24).last[0] == pytest.approx(-0.876)


def test_carry_fades_by_half_in_a_half_life() -> None:
    rate = [0.0] * 300 + [0.001] + [0.0] * 24
    carry = carry_apr(panel_of(funding_rate=rate), 24).values[:, 0]
    assert carry[-1] / carry[-25] == pytest.approx(0.5)


def test_premium_is_what_the_venue_published_and_unknown_where_it_published_none() -> None:
    assert premium(panel_of(premium=[0.0004, nan])).values[:, 0] == pytest.approx([0.0004, nan], nan_ok=True)
    without = premium(panel_of(funding_rate=[0.0000125, 0.00002]))
    assert np.isnan(without.values).all()


def test_basis_is_mark_over_the_reference() -> None:
    panel = panel_of(mark=[101.0, 99.0, 100.0], reference=[100.0, 100.0, nan], oracle=[50.0, 50.0, 50.0])
    assert basis(panel).values[:, 0] == pytest.approx([0.01, -0.01, nan], nan_ok=True)


def test_basis_is_over_the_oracle_where_the_source_has_no_reference() -> None:
    assert basis(panel_of(mark=[101.0], oracle=[100.0])).last == pytest.approx([0.01])


def test_z_score_lets_one_hour_in_ten_lack_and_no_more() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    # nine known values 2 … 10: mean 6, variance 60/9
    assert zscore(field_of([nan, *values[1:]]), 10).last == pytest.approx([4 / math.sqrt(60 / 9)])
    assert np.isnan(zscore(field_of([nan, nan, *values[2:]]), 10).last).all()
    assert np.isnan(zscore(field_of([*values, nan]), 10).last).all()


def test_percentile_is_the_share_of_other_hours_below() -> None:
    values = [5.0, 1.0, 9.0, 7.0, nan, 3.0, 2.0, 8.0, 6.0, 4.0]
    assert percentile(field_of(values), 10).last == pytest.approx([3 / 8])  # above 1, 3, 2 of eight others
    assert np.isnan(percentile(field_of(values[:9]), 10).last).all()


def test_hours_are_counted_in_rows_of_the_panels_own_clock() -> None:
    panel = panel_of(funding_rate=[0.0001, 0.0002, 0.0003, 0.0004], interval_ms=HOUR_MS // 2)
    assert funding_apr(panel, 1).last == pytest.approx([0.00035 * 8760])
    with pytest.raises(ValueError, match="not a whole number of rows"):
        funding_apr(panel, 0.75)


def test_funding_signals_equal_their_plain_twins_over_a_market_with_holes() -> None:
    panel = naive.made_up(700)
    rate = panel.funding_rate.values
    pairs = [
        (funding_apr(panel, 24), naive.windowed(rate, 24, 24, naive.mean) * 8760),
        (carry_apr(panel, 6), naive.average_exponential(rate, 6, int(48 * 0.9)) * 8760),
        (smoothed(panel.premium, 3), naive.average_exponential(panel.premium.values, 3, int(24 * 0.9))),
        (zscore(panel.funding_rate, 336), naive.zscore(rate, 336)),
        (percentile(panel.premium, 100), naive.windowed(panel.premium.values, 100, 90, naive.rank)),
        (basis(panel), panel.mark.values / panel.reference.values - 1),
    ]
    for found, expected in pairs:
        assert np.isfinite(expected).any()
        np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)


def wandering(half_life: float, rows: int = 6000, seed: int = 5) -> np.ndarray:
    """A rate that goes back to its mean by half in so many hours, and is pushed about each hour."""
    share, value, made = 0.5 ** (1 / half_life), 0.0, []
    for push in np.random.default_rng(seed).normal(size=rows):
        value = share * value + push
        made.append(1e-5 + 1e-6 * value)
    return np.array(made)


def test_persistence_is_the_correlation_with_what_was_so_long_ago() -> None:
    rate = wandering(30.0, 900)
    measured = persistence(panel_of(funding_rate=rate).funding_rate, 24, 240).values[:, 0]
    for row in (300, 555, 899):
        now, before = rate[row - 239 : row + 1], rate[row - 263 : row - 23]
        assert measured[row] == pytest.approx(np.corrcoef(now, before)[0, 1], abs=1e-9)
    assert np.isnan(measured[:230]).all()


def test_a_hole_leaves_out_both_hours_that_it_belongs_to() -> None:
    rate = wandering(30.0, 400)
    rate[350] = nan
    measured = persistence(panel_of(funding_rate=rate).funding_rate, 24, 240).values[-1, 0]
    pairs = [
        (rate[k], rate[k - 24]) for k in range(160, 400) if np.isfinite(rate[k]) and np.isfinite(rate[k - 24])
    ]
    assert len(pairs) == 238
    assert measured == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1], abs=1e-9)


@pytest.mark.parametrize("half_life", [8.0, 24.0, 72.0])
def test_the_half_life_of_a_rate_is_found_in_a_long_record(half_life: float) -> None:
    field = panel_of(funding_rate=wandering(half_life, 20_000)).funding_rate
    assert half_life_h(field, 24, 19_000).last[0] == pytest.approx(half_life, rel=0.35)


def test_a_rate_that_never_moved_has_no_half_life_and_one_that_swings_the_shortest() -> None:
    assert np.isnan(half_life_h(panel_of(funding_rate=[1e-5] * 500).funding_rate, 24, 240).last[0])
    swings = [1e-5 if (row // 24) % 2 else -1e-5 for row in range(500)]
    assert half_life_h(panel_of(funding_rate=swings).funding_rate, 24, 240).last[0] == 1.0
