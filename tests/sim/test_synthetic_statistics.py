"""The synthetic market against what was measured on real Hyperliquid history.

Real numbers are those of hourly candles 2024-09 to 2025-05, settled funding 2023-06 to 2025-05, BTC and ETH premium
2024-2025 and open interest of five coins 2025-12 to 2026-01. Bands are about the spread between real coins or, where
that is narrower, twice the spread between seeds.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bot.sim.coins import small_coins
from bot.sim.synthetic import FIELDS, HOUR_MS, MAJORS, SyntheticMarket

FloatArray = NDArray[np.float64]
Matrices = Mapping[str, FloatArray]

NAMES = ("BTC", "ETH", "SOL", "HYPE", "XRP", "DOGE", "SUI", "kPEPE", "FARTCOIN", "AVAX", "LINK", "BNB")
COINS = tuple(MAJORS[name] for name in NAMES)
START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC
HOURS = 26_280  # three years
DEFAULT_RATE = 0.0000125


def matrices(market: SyntheticMarket, hours: int) -> dict[str, FloatArray]:
    bars = [market.next() for _ in range(hours)]
    return {field: np.array([bar.values[field] for bar in bars]) for field in FIELDS}


@pytest.fixture(scope="module")
def history() -> Matrices:
    """Three years of twelve coins, (hour, coin) each."""
    return matrices(SyntheticMarket(COINS, seed=11, start_ms=START_MS), HOURS)


@pytest.fixture(scope="module")
def returns(history: Matrices) -> FloatArray:
    """Hourly log returns, row t from bar t to bar t + 1."""
    return np.asarray(np.diff(np.log(history["close"]), axis=0))


def autocorrelation(series: FloatArray, lag: int) -> float:
    """Of a series with NaN for unknown."""
    centred = series - np.nanmean(series)
    return float(np.nanmean(centred[lag:] * centred[:-lag]) / np.nanmean(centred * centred))


def kurtosis(series: FloatArray) -> float:
    """Excess kurtosis, NaN left out."""
    centred = series - np.nanmean(series)
    return float(np.nanmean(centred**4) / np.nanmean(centred**2) ** 2 - 3)


def correlation(first: FloatArray, second: FloatArray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    return float(np.corrcoef(first[known], second[known])[0, 1])


def past_sum(series: FloatArray, hours: int) -> FloatArray:
    """Sum of the last `hours` values at each row, NaN where one of them is unknown."""
    windows = np.lib.stride_tricks.sliding_window_view(series, hours)
    return np.concatenate([np.full(hours - 1, np.nan), windows.sum(axis=1)])


def each_coin(values: FloatArray) -> list[FloatArray]:
    return list(values.T)


def pairs(values: FloatArray) -> FloatArray:
    """Correlations of all pairs of columns."""
    return np.asarray(np.asarray(np.corrcoef(values.T))[np.triu_indices(values.shape[1], 1)])


# --- returns


def test_each_coins_hourly_volatility_is_its_calibration(returns: FloatArray) -> None:
    """Table of hourly perp candles; within 15 %, since volatility itself wanders for weeks."""
    calibrated = np.array([coin.volatility_1h for coin in COINS])
    np.testing.assert_allclose(returns.std(axis=0), calibrated, rtol=0.15)


def test_hourly_returns_have_fat_tails(returns: FloatArray) -> None:
    """Excess kurtosis over 94 coins: 10 % 4.7, median 9.8, 90 % 29, most 93; 1 % and 99 % quantiles 2.5 to 3.0 sd out."""
    found = np.array([kurtosis(one) for one in each_coin(returns)])
    assert ((found > 4) & (found < 95)).all()
    assert 7 < np.median(found) < 20
    tails = np.quantile(returns / returns.std(axis=0), [0.01, 0.99], axis=0)
    assert ((np.abs(tails) > 2.4) & (np.abs(tails) < 3.2)).all()


def test_volatility_is_clustered_and_fades_slowly(returns: FloatArray) -> None:
    """Autocorrelation of |return|, 17 large coins: 0.15-0.37 at 1 h, 0.08-0.23 at 8 h, 0.07-0.20 at 24 h, 0.07-0.17
    at 168 h; the rise from 8 to 24 h is the time of day."""
    absolute = each_coin(np.abs(returns))
    at = {lag: np.array([autocorrelation(one, lag) for one in absolute]) for lag in (1, 8, 24, 168)}
    assert 0.17 < at[1].mean() < 0.35
    assert 0.05 < at[8].mean() < 0.20
    assert 0.07 < at[24].mean() < 0.20
    assert 0.04 < at[168].mean() < 0.17
    assert all((values > 0.01).all() for values in at.values())


def test_a_large_move_is_followed_by_turmoil(returns: FloatArray) -> None:
    """|return| in the hour after one of the largest 1 % of moves, over its mean: 2.54 for these twelve coins."""
    size = np.abs(returns) / np.abs(returns).mean(axis=0)
    large = size[:-1] > np.quantile(size, 0.99, axis=0)
    assert 2.2 < size[1:][large].mean() < 2.9


def test_returns_cannot_be_foretold_from_the_last_one(returns: FloatArray) -> None:
    """Real autocorrelation at 1 h: -0.09 to 0.00."""
    for lag in (1, 2, 24):
        assert all(abs(autocorrelation(one, lag)) < 0.06 for one in each_coin(returns))


def test_coins_move_together(returns: FloatArray) -> None:
    """Mean pairwise correlation of hourly returns of 30 coins 0.48; median with BTC 0.61."""
    assert 0.42 < pairs(returns).mean() < 0.56
    with_bitcoin = np.asarray(np.corrcoef(returns.T))[0, 1:]
    assert 0.54 < np.median(with_bitcoin) < 0.69
    assert 0.3 < pairs(np.abs(returns)).mean() < 0.6  # 0.59 for 17 large coins in one half year


def test_a_coins_beta_is_its_calibration(returns: FloatArray) -> None:
    """The factor can't be seen, but the ratio of two coins' covariances with a third can: beta over beta."""
    covariance = np.cov(returns.T)
    eth, link, avax = NAMES.index("ETH"), NAMES.index("LINK"), NAMES.index("AVAX")
    expected = MAJORS["LINK"].beta / MAJORS["ETH"].beta
    assert covariance[link, avax] / covariance[eth, avax] == pytest.approx(expected, rel=0.12)


def test_prices_stay_in_the_world_for_three_years(history: Matrices, returns: FloatArray) -> None:
    """Half-life of a deviation one year: its long-run sd is 80 hourly volatilities, 0.4 (BTC) to 2.5 (FARTCOIN)."""
    deviation = np.log(history["close"] / np.array([coin.price for coin in COINS]))
    limit = 4 * 80 * np.array([coin.volatility_1h for coin in COINS])
    assert (np.abs(deviation) < limit).all()
    standard_error = returns.std(axis=0) / np.sqrt(len(returns))
    assert (np.abs(returns.mean(axis=0)) < 3 * standard_error).all()


def test_an_hours_range_is_that_of_a_path(history: Matrices) -> None:
    """Mean of log(high / low) over the sd of returns, real coins: 1.24 to 1.49."""
    ratio = np.log(history["high"] / history["low"]).mean(axis=0)
    ratio /= np.log(history["close"] / history["open"]).std(axis=0)
    assert ((ratio > 1.15) & (ratio < 1.5)).all()


def test_american_hours_are_busier_than_the_european_morning(history: Matrices, returns: FloatArray) -> None:
    """BTC, UTC: |return| is 1.65 of its mean at 14 h and 0.72 at 10 h, volume e^1.2 apart; weekends are quiet."""
    absolute = np.abs(returns[:, 0])
    opened = (
        np.arange(1, HOURS) % 24
    )  # the hour at which the bar of return t opened; the first bar opened at 0 h
    assert 1.7 < absolute[opened == 14].mean() / absolute[opened == 10].mean() < 3.0
    log_volume = np.log(history["volume_usd"][1:, 0])
    assert 0.9 < log_volume[opened == 14].mean() - log_volume[opened == 10].mean() < 2.2
    weekend = np.isin(np.arange(1, HOURS) // 24 % 7, (5, 6))  # 2024-01-01 was a Monday
    assert 0.6 < log_volume[~weekend].mean() - log_volume[weekend].mean() < 1.3


# --- premium and funding


def test_the_predicted_rate_foretells_the_next_settlement(history: Matrices) -> None:
    """The venue's estimate correlates 0.92-0.98 with the next settlement when sampled within that hour."""
    for coin in range(12):
        predicted, settled = history["predicted_funding"][:-1, coin], history["funding_rate"][1:, coin]
        assert 0.85 < correlation(predicted, settled) < 0.99


def test_premiums_have_their_calibrated_mean_and_spread(history: Matrices) -> None:
    """BTC 1.84 bp, sd 5.48. A memory of two weeks leaves three years some 80 independent values: 0.6 bp of error."""
    premium_bps = history["premium"] * 1e4
    mean = np.array([coin.premium_mean for coin in COINS]) * 1e4
    sd = np.array([coin.premium_sd for coin in COINS]) * 1e4
    np.testing.assert_allclose(premium_bps.mean(axis=0), mean, atol=2.2)
    np.testing.assert_allclose(premium_bps.std(axis=0), sd, rtol=0.25)


def test_premiums_remember_hours_and_weeks(history: Matrices) -> None:
    """Autocorrelation at 1, 8, 24, 168 h: BTC 0.95, 0.82, 0.71, 0.45; ETH 0.96, 0.82, 0.74, 0.51. A mean over seven
    coins with small dislocations, since one coin's at 168 h is known to 0.1 only, in three years."""
    names = ("BTC", "ETH", "SOL", "XRP", "AVAX", "LINK", "DOGE")
    premiums = [history["premium"][:, NAMES.index(name)] for name in names]
    found = [np.mean([autocorrelation(premium, lag) for premium in premiums]) for lag in (1, 8, 24, 168)]
    assert found[0] == pytest.approx(0.955, abs=0.015)
    assert found[1] == pytest.approx(0.82, abs=0.06)
    assert found[2] == pytest.approx(0.725, abs=0.08)
    assert found[3] == pytest.approx(0.48, abs=0.14)


def test_premiums_are_flat_in_the_middle_and_skewed(history: Matrices) -> None:
    """BTC's 1, 25, 50, 75, 99 % quantiles in standard deviations from the mean: -1.56, -0.85, -0.15, 0.74, 2.58;
    ETH's -1.46, -0.84, -0.26, 0.83, 2.40. A normal distribution has -2.33, -0.67, 0, 0.67, 2.33."""
    premium = history["premium"][:, :3]
    quantiles = np.quantile(
        (premium - premium.mean(axis=0)) / premium.std(axis=0), [0.01, 0.25, 0.5, 0.75, 0.99], axis=0
    )
    real = np.array([-1.51, -0.84, -0.20, 0.79, 2.49])  # mean of the two
    assert (np.abs(quantiles.mean(axis=1) - real) < [0.4, 0.12, 0.18, 0.12, 0.3]).all()


def test_about_half_of_the_hours_pay_exactly_the_default(history: Matrices) -> None:
    """BTC 60 %, ETH 51 % by premium; settled since 2023 0.39-0.53 for these coins, median of 94 coins 0.57."""
    share = (history["funding_rate"] == DEFAULT_RATE).mean(axis=0)
    assert ((share > 0.35) & (share < 0.70)).all()
    assert 0.45 < share.mean() < 0.62


def test_longs_pay_ten_to_twenty_percent_a_year(history: Matrices) -> None:
    """Settled since 2023: BTC, ETH, SOL 19.1 % a year, the twelve 1.4 (BNB) to 43.8 (HYPE); 70-98 % of hours positive."""
    apr_pct = history["funding_rate"].mean(axis=0) * 8760 * 100
    assert 8 < apr_pct[:3].mean() < 24
    assert 10 < apr_pct.mean() < 26
    assert apr_pct[NAMES.index("HYPE")] > apr_pct[NAMES.index("BNB")]
    positive = (history["funding_rate"] > 0).mean(axis=0)
    assert 0.7 < positive.mean() < 0.95


def test_funding_has_a_long_negative_tail_from_rare_dislocations(history: Matrices) -> None:
    """Worst hour over 1 % quantile, settled: BTC 5, kPEPE 9, HYPE 23, BNB 3; p01 of 94 coins -7.4 to -0.2 bp."""
    rate_bps = history["funding_rate"] * 1e4
    low, high = np.quantile(rate_bps, [0.01, 0.99], axis=0)
    assert ((low < -0.05) & (low > -2.5)).all()
    assert ((high > 0.8) & (high < 5.0)).all()
    assert np.median(rate_bps.min(axis=0) / low) > 3
    assert np.median(rate_bps.min(axis=0)) < -2.5
    changes = np.diff(history["premium"], axis=0)
    assert np.median([kurtosis(one) for one in each_coin(changes)]) > 5  # real: BTC 72, ETH 16


def test_small_coins_have_wilder_premiums_than_majors(history: Matrices) -> None:
    """Autocorrelation of funding at 24 h over 94 coins: 10 % 0.14, median 0.41, 90 % 0.65; majors are at the top."""
    small = matrices(SyntheticMarket(small_coins(40, seed=2), seed=2, start_ms=START_MS), 4000)
    memory = np.median([autocorrelation(one, 24) for one in each_coin(small["funding_rate"])])
    assert 0.1 < memory < 0.5
    assert memory < np.median([autocorrelation(one, 24) for one in each_coin(history["funding_rate"])])
    assert small["funding_rate"].min() < 1.5 * history["funding_rate"].min()


def test_a_rally_raises_funding(history: Matrices, returns: FloatArray) -> None:
    """Correlation of funding with the past 24 h return: majors 0.09-0.40; of premium with 168 h 0.37-0.45."""
    day = [
        correlation(rate, past_sum(one, 24))
        for rate, one in zip(each_coin(history["funding_rate"][1:]), each_coin(returns), strict=True)
    ]
    assert all(0.03 < value < 0.4 for value in day)
    assert 0.1 < np.mean(day) < 0.35
    bitcoin_week = correlation(history["premium"][1:, 0], past_sum(returns[:, 0], 168))
    assert 0.2 < bitcoin_week < 0.55


def test_funding_of_different_coins_moves_together(history: Matrices) -> None:
    """Mean pairwise correlation of hourly funding over 30 coins 0.36; premium of BTC and ETH 0.75."""
    assert 0.25 < pairs(history["funding_rate"]).mean() < 0.55
    assert 0.3 < correlation(history["premium"][:, 0], history["premium"][:, 1]) < 0.85


# --- open interest, volume, spread


def test_open_interest_changes_like_the_real_one(history: Matrices, returns: FloatArray) -> None:
    """sd of the hourly log change in USD: BTC 1.5 %, ETH 1.2, SOL 1.5, HYPE 1.1, DOGE 2.1; correlation with the
    hour's return 0.29, 0.39, 0.34, 0.57, 0.21."""
    in_usd = np.diff(np.log(history["open_interest"] * history["close"]), axis=0)
    measured = {
        "BTC": (1.5, 0.29),
        "ETH": (1.2, 0.39),
        "SOL": (1.5, 0.34),
        "HYPE": (1.1, 0.57),
        "DOGE": (2.1, 0.21),
    }
    for name, (sd_pct, with_return) in measured.items():
        coin = NAMES.index(name)
        assert sd_pct * 0.7 < in_usd[:, coin].std() * 100 < sd_pct * 1.7, name
        assert abs(correlation(in_usd[:, coin], returns[:, coin]) - with_return) < 0.25, name


def test_open_interest_returns_to_its_level(history: Matrices) -> None:
    """Level in coins is that of the calibration; log deviations real 0.07-0.41 in two months, here three years."""
    level = np.array([coin.open_interest_usd / coin.price for coin in COINS])
    deviation = np.log(history["open_interest"] / level)
    assert (np.abs(np.median(deviation, axis=0)) < 0.35).all()
    assert (deviation.std(axis=0) < 0.5).all()
    assert (np.abs(deviation) < 2.5).all()
    assert 0.75 < np.mean([autocorrelation(one, 24) for one in each_coin(deviation)]) < 0.98


def test_trends_build_open_interest(history: Matrices) -> None:
    """Change in coins over 24 h against the same day's return: real +0.14, +0.04, +0.04, -0.04, +0.14; against
    funding +0.14 to +0.45."""
    coins, close = np.log(history["open_interest"]), np.log(history["close"])
    change, move = coins[24:] - coins[:-24], close[24:] - close[:-24]
    with_return = [correlation(a, b) for a, b in zip(each_coin(change), each_coin(move), strict=True)]
    with_funding = [
        correlation(a, b)
        for a, b in zip(each_coin(change), each_coin(history["funding_rate"][24:]), strict=True)
    ]
    assert 0.05 < np.mean(with_return) < 0.30
    assert 0.03 < np.mean(with_funding) < 0.45


def test_a_crash_liquidates(history: Matrices, returns: FloatArray) -> None:
    """The worst 0.1 % of hours: open interest falls (real BTC: -1.6 % in coins in the hour, more in the next), volume
    jumps, the premium falls (BTC and ETH: -0.8 and -1.0 bp in
    milder hours, all below -2 %), the spread widens."""
    crash = returns < np.quantile(returns, 0.001, axis=0)
    coins = np.log(history["open_interest"])
    one_hour_on = np.r_[np.zeros((1, 12), bool), crash[:-1]]
    both_hours = np.diff(coins, axis=0)[crash].mean() + np.diff(coins, axis=0)[one_hour_on].mean()
    assert -0.15 < both_hours < -0.02
    log_volume = np.log(history["volume_usd"][1:])
    assert log_volume[crash].mean() - log_volume.mean() > 1.5
    assert -10 < (np.diff(history["mid"] / history["oracle"], axis=0)[crash] * 1e4).mean() < -3.5
    log_spread = np.log(history["spread_bps"][1:])
    assert log_spread[crash].mean() - log_spread.mean() > 0.8


def test_volume_has_its_level_memory_and_answers_to_moves(history: Matrices, returns: FloatArray) -> None:
    """Mean $m/day by coin. Log volume: sd 0.8-2.4, autocorrelation 0.61-0.90 at 1 h and 0.38-0.82 at 24 h; correlation
    with |return| 0.27-0.44."""
    daily = history["volume_usd"].mean(axis=0) * 24
    np.testing.assert_allclose(daily / [coin.volume_usd_day for coin in COINS], 1, atol=0.3)
    for coin in range(12):
        log_volume = np.log(history["volume_usd"][:, coin])
        assert 0.8 < log_volume.std() < 1.5
        assert 0.7 < autocorrelation(log_volume, 1) < 0.9
        assert 0.4 < autocorrelation(log_volume, 24) < 0.7
        assert 0.3 < correlation(log_volume[1:], np.abs(returns[:, coin])) < 0.6


def test_spreads_have_their_level_and_widen_with_volatility(history: Matrices, returns: FloatArray) -> None:
    """Median spread by coin; 95 % quantile over median: ETH 3.0, BTC 6.1."""
    middle, wide = np.quantile(history["spread_bps"], [0.5, 0.95], axis=0)
    np.testing.assert_allclose(middle / [coin.spread_bps for coin in COINS], 1, atol=0.15)
    assert ((wide / middle > 2.5) & (wide / middle < 6.5)).all()
    log_spread = np.log(history["spread_bps"][1:])
    assert all(
        correlation(one, np.abs(move)) > 0.25
        for one, move in zip(each_coin(log_spread), each_coin(returns), strict=True)
    )


# --- real data


def statistics(close: FloatArray, funding: FloatArray) -> dict[str, FloatArray]:
    """What the real and the synthetic market are compared by, each (coin,); inputs (hour, coin) with NaN for unknown."""
    returns = np.diff(np.log(close), axis=0)
    absolute = np.abs(returns)
    pairwise = [correlation(returns[:, a], returns[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    day = [correlation(funding[1:, i], past_sum(returns[:, i], 24)) for i in range(returns.shape[1])]
    return {
        "volatility_pct": np.nanstd(returns, axis=0) * 100,
        "log_kurtosis": np.log([kurtosis(one) for one in each_coin(returns)]),
        "absolute_1h": np.array([autocorrelation(one, 1) for one in each_coin(absolute)]),
        "absolute_24h": np.array([autocorrelation(one, 24) for one in each_coin(absolute)]),
        "return_1h": np.array([autocorrelation(one, 1) for one in each_coin(returns)]),
        "pairwise": np.array(pairwise),
        "default_share": np.nanmean(np.where(np.isnan(funding), np.nan, funding == DEFAULT_RATE), axis=0),
        "funding_apr_pct": np.nanmean(funding, axis=0) * 8760 * 100,
        "funding_p01_bps": np.nanquantile(funding, 0.01, axis=0) * 1e4,
        "funding_p99_bps": np.nanquantile(funding, 0.99, axis=0) * 1e4,
        "funding_1h": np.array([autocorrelation(one, 1) for one in each_coin(funding)]),
        "funding_24h": np.array([autocorrelation(one, 24) for one in each_coin(funding)]),
        "funding_after_day": np.array(day),
    }


#: How far apart a coin's real and synthetic statistic may lie.
BANDS = {
    "volatility_pct": 0.25,  # another half year of the same coin differs by as much
    "log_kurtosis": 1.2,  # a handful of hours decides it: a factor of three
    "absolute_1h": 0.12,
    "absolute_24h": 0.10,
    "return_1h": 0.10,
    "pairwise": 0.15,
    "default_share": 0.20,  # the real share changed from 2023 to 2025
    "funding_apr_pct": 14.0,  # by year, BTC: 16, 24, 10
    "funding_p01_bps": 0.6,
    "funding_p99_bps": 1.0,
    "funding_1h": 0.10,
    "funding_24h": 0.20,
    "funding_after_day": 0.17,
}


@pytest.mark.real_data
def test_the_synthetic_market_resembles_recorded_history(real_data: Path, history: Matrices) -> None:
    from pyarrow import parquet

    names = NAMES[:3]

    def recorded(file: str, column: str, delay_ms: int) -> dict[str, dict[int, float]]:
        table = parquet.read_table(real_data / file, filters=[("coin", "in", names)])
        series: dict[str, dict[int, float]] = {name: {} for name in names}
        stamps = table["ts"].cast("int64").to_pylist()
        for coin, stamp, value in zip(
            table["coin"].to_pylist(), stamps, table[column].to_pylist(), strict=True
        ):
            series[coin][stamp + delay_ms] = value
        return series

    close_at = recorded("hl_candles_1h.parquet", "close", HOUR_MS)  # stamped by its opening
    funding_at = recorded("hl_funding_1h.parquet", "funding_rate", 0)  # stamped by its settlement
    hourly_since_ms = 1_686_268_800_000  # 2023-06-09, the first whole day of hourly settlements
    last_ms = max(funding_at["BTC"])
    hours = range(hourly_since_ms, last_ms + HOUR_MS, HOUR_MS)
    nan = float("nan")
    close = np.array([[close_at[name].get(hour, nan) for name in names] for hour in hours])
    funding = np.array([[funding_at[name].get(hour, nan) for name in names] for hour in hours])

    real = statistics(close, funding)
    synthetic = statistics(history["close"][:, :3], history["funding_rate"][:, :3])
    apart = {key: np.abs(real[key] - synthetic[key]).max() for key in BANDS}
    too_far = {key: (real[key], synthetic[key]) for key in BANDS if not apart[key] <= BANDS[key]}
    assert not too_far
