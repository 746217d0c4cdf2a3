"""Bars that hang together, funding by the venue's formula, and a seed that settles everything."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bot.errors import DataError
from bot.model.funding import hourly_rate_from_premium
from bot.model.panel import FIELDS as PANEL_FIELDS
from bot.sim.coins import MARKET_VOLATILITY_1H, small_coins
from bot.sim.synthetic import FIELDS, HOUR_MS, MAJORS, SyntheticMarket, hourly_rates

FloatArray = NDArray[np.float64]
Matrices = Mapping[str, FloatArray]

NAMES = ("BTC", "ETH", "SOL", "HYPE", "XRP", "DOGE", "SUI", "kPEPE", "FARTCOIN", "AVAX", "LINK", "BNB")
COINS = tuple(MAJORS[name] for name in NAMES)
START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC


def matrices(market: SyntheticMarket, hours: int) -> dict[str, FloatArray]:
    bars = [market.next() for _ in range(hours)]
    return {field: np.array([bar.values[field] for bar in bars]) for field in FIELDS}


@pytest.fixture(scope="module")
def history() -> Matrices:
    """A quarter of twelve coins, (hour, coin) each."""
    return matrices(SyntheticMarket(COINS, seed=11, start_ms=START_MS), 2_200)


# --- bars


def test_a_bar_ends_an_hour_after_the_last_one_and_has_every_field() -> None:
    market = SyntheticMarket(COINS, seed=1, start_ms=START_MS)
    first, second = market.next(), market.next()
    assert (first.time_ms, second.time_ms) == (START_MS + HOUR_MS, START_MS + 2 * HOUR_MS)
    assert market.time_ms == second.time_ms
    assert tuple(first.values) == FIELDS
    assert set(FIELDS) <= set(PANEL_FIELDS)
    assert all(array.shape == (12,) and array.dtype == np.float64 for array in first.values.values())


def test_a_bar_cannot_be_changed_by_its_reader() -> None:
    values = SyntheticMarket(COINS, seed=1, start_ms=START_MS).next().values
    with pytest.raises(ValueError, match="read-only"):
        values["close"][0] = 1.0
    with pytest.raises(TypeError):
        values["close"] = np.zeros(12)  # type: ignore[index]


def test_every_value_is_finite_and_everything_but_funding_is_positive(history: Matrices) -> None:
    for field, values in history.items():
        assert np.isfinite(values).all(), field
        if field not in {"funding_rate", "predicted_funding", "premium"}:
            assert (values > 0).all(), field


def test_high_and_low_contain_open_and_close(history: Matrices) -> None:
    assert (history["high"] >= np.maximum(history["open"], history["close"])).all()
    assert (history["low"] <= np.minimum(history["open"], history["close"])).all()
    assert (history["high"] > history["low"]).all()


def test_a_bar_opens_within_a_spread_of_the_last_close(history: Matrices) -> None:
    gap_bps = np.abs(history["open"][1:] / history["close"][:-1] - 1) * 1e4
    assert (gap_bps <= history["spread_bps"][:-1] * (1 + 1e-9) + 1e-9).all()
    assert (gap_bps > 0).mean() > 0.99


def test_mid_is_the_close_and_mark_lies_between_oracle_and_mid(history: Matrices) -> None:
    np.testing.assert_array_equal(history["mid"], history["close"])
    mark, slack = history["mark"], 1e-12 * history["oracle"]
    assert (mark >= np.minimum(history["oracle"], history["mid"]) - slack).all()
    assert (mark <= np.maximum(history["oracle"], history["mid"]) + slack).all()


def test_the_first_bar_opens_near_the_calibrated_price() -> None:
    """Within 1 %: the premium and a spread are all that lies between."""
    values = SyntheticMarket(COINS, seed=3, start_ms=START_MS).next().values
    np.testing.assert_allclose(values["open"], [coin.price for coin in COINS], rtol=0.01)


# --- determinism


def test_the_same_seed_gives_the_same_bars_and_another_seed_others() -> None:
    first, again, other = (matrices(SyntheticMarket(COINS, seed, START_MS), 50) for seed in (5, 5, 6))
    for field in FIELDS:
        np.testing.assert_array_equal(first[field], again[field])
    assert not np.array_equal(first["close"], other["close"])


def test_a_market_is_untouched_by_numpys_global_generator() -> None:
    market, twin = (SyntheticMarket(COINS, 5, START_MS) for _ in range(2))
    np.random.seed(1)  # noqa: NPY002  the point of the test
    first = market.next()
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(first.values["close"], twin.next().values["close"])


@pytest.mark.parametrize("hours", [0, 1, 777])
def test_a_market_restored_from_json_goes_on_bit_by_bit(hours: int) -> None:
    """2,000 h of 12 coins have several of the rare jumps and dislocations, which draw more numbers than other hours."""
    market = SyntheticMarket(COINS, seed=8, start_ms=START_MS)
    matrices(market, hours)
    restored = SyntheticMarket.restore(COINS, json.loads(json.dumps(market.state(), allow_nan=False)))
    assert restored.time_ms == market.time_ms
    before, after = matrices(market, 2000), matrices(restored, 2000)
    for field in FIELDS:
        np.testing.assert_array_equal(before[field], after[field], err_msg=field)
    assert restored.state() == market.state()


def test_taking_the_state_does_not_disturb_the_market() -> None:
    watched, alone = (SyntheticMarket(COINS, 9, START_MS) for _ in range(2))
    for _ in range(20):
        watched.state()
        np.testing.assert_array_equal(watched.next().values["close"], alone.next().values["close"])


def test_a_state_of_other_coins_or_another_version_is_refused() -> None:
    state = SyntheticMarket(COINS, seed=1, start_ms=START_MS).state()
    with pytest.raises(DataError, match="same coins in the same order"):
        SyntheticMarket.restore(COINS[::-1], state)
    with pytest.raises(DataError, match="version 99"):
        SyntheticMarket.restore(COINS, {**state, "version": 99})


@pytest.mark.parametrize(
    "damage",
    [{"generator": {}}, {"generator": None}, {"processes": [[1.0]]}, {"levels": "?"}, {"time_ms": "soon"}],
)
def test_a_damaged_state_is_refused(damage: dict[str, object]) -> None:
    state = SyntheticMarket(COINS, seed=1, start_ms=START_MS).state()
    with pytest.raises(DataError, match="damaged"):
        SyntheticMarket.restore(COINS, {**state, **damage})


def test_a_market_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct names"):
        SyntheticMarket((), seed=1, start_ms=START_MS)
    with pytest.raises(ValueError, match="distinct names"):
        SyntheticMarket((COINS[0], COINS[0]), seed=1, start_ms=START_MS)
    with pytest.raises(ValueError, match="on the hour"):
        SyntheticMarket(COINS, seed=1, start_ms=START_MS + 1)


# --- funding


@given(st.floats(-0.5, 0.5))
def test_rates_follow_the_venues_formula(premium: float) -> None:
    assert hourly_rates(np.array([premium]))[0] == pytest.approx(hourly_rate_from_premium(premium), abs=1e-16)


def test_rates_at_the_clamps_edges_and_at_the_cap() -> None:
    premiums = np.array([0.0, 0.0006, -0.0004, 0.0014, -0.0012, 0.9, -0.9])
    expected = [1.25e-5, 1.25e-5, 1.25e-5, 0.0009 / 8, -0.0007 / 8, 0.04, -0.04]
    np.testing.assert_allclose(hourly_rates(premiums), expected, rtol=1e-12)


def test_funding_settles_on_the_hours_average_premium(history: Matrices) -> None:
    expected = np.vectorize(hourly_rate_from_premium)(history["premium"])
    np.testing.assert_allclose(history["funding_rate"], expected, rtol=0, atol=1e-16)


def test_the_predicted_rate_is_the_formula_on_the_premium_at_the_bars_end(history: Matrices) -> None:
    instant = history["mid"] / history["oracle"] - 1
    expected = np.vectorize(hourly_rate_from_premium)(instant)
    np.testing.assert_allclose(history["predicted_funding"], expected, rtol=0, atol=1e-15)


# --- coins


def test_the_majors_are_the_large_coins_with_plausible_books() -> None:
    assert set(NAMES) <= set(MAJORS)
    assert all(name == coin.name for name, coin in MAJORS.items())
    volumes = [coin.volume_usd_day for coin in MAJORS.values()]
    assert volumes == sorted(volumes, reverse=True)
    assert all(0 < coin.market_correlation < 1 for coin in MAJORS.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": 0.0}, "price must be"),
        ({"spread_bps": float("nan")}, "spread_bps must be"),
        ({"beta": 1.01 * 0.0055 / MARKET_VOLATILITY_1H}, "lower beta"),
        ({"premium_persistence": 1.1}, "premium_persistence"),
        ({"premium_shock": -1.0}, "premium_shock"),
        ({"premium_mean": float("inf")}, "premium_mean"),
    ],
)
def test_an_impossible_coin_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(MAJORS["BTC"], **change)  # type: ignore[arg-type]


def test_small_coins_are_the_same_for_a_seed_and_as_volatile_as_real_ones() -> None:
    """Quantiles of hourly volatility over 94 coins: 10 % 1.05, 50 % 1.37, 90 % 2.42 %."""
    coins = small_coins(400, seed=4)
    assert coins == small_coins(400, seed=4)
    assert coins != small_coins(400, seed=5)
    assert len({coin.name for coin in coins}) == 400
    found = np.quantile([coin.volatility_1h * 100 for coin in coins], [0.1, 0.5, 0.9])
    np.testing.assert_allclose(found, [1.05, 1.37, 2.42], rtol=0.15)


def calls_of_an_hour(*, small: int) -> int:
    """How many functions, Python's and the libraries', it takes to make one."""
    market = SyntheticMarket((*COINS, *small_coins(small, seed=1)), seed=1, start_ms=START_MS)
    market.next()
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        market.next()
    finally:
        sys.setprofile(None)
    return calls


def test_an_hour_of_two_hundred_coins_takes_no_loop_over_coins() -> None:
    assert calls_of_an_hour(small=188) <= calls_of_an_hour(small=8) + 20
