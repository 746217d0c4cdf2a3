import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.funding import FundingRate, RateKind, hourly_rate_from_premium, payment_usd

HOUR_MS = 3_600_000


def rate(value: float, interval_h: Any = 8, pays_at_ms: int = HOUR_MS, source: str = "venue") -> FundingRate:
    return FundingRate(value, interval_h, RateKind.REALISED, pays_at_ms, source)


# --- the formula ---------------------------------------------------------------------------------------------------


def test_a_premium_of_one_per_cent_pays_the_documented_rate() -> None:
    # P + clamp(0.01 % − P, ±0.05 %) = 1 % − 0.05 % = 0.95 % per 8 h, an eighth of it each hour
    assert hourly_rate_from_premium(0.01) == pytest.approx(0.0095 / 8, rel=1e-12)
    assert hourly_rate_from_premium(0.01) == pytest.approx(0.0011875, rel=1e-12)


def test_a_discount_of_one_per_cent_pays_shorts_less_the_clamp() -> None:
    assert hourly_rate_from_premium(-0.01) == pytest.approx(-0.0095 / 8, rel=1e-12)


@given(st.floats(-0.0004, 0.0006))
def test_inside_the_clamp_the_rate_is_the_interest_alone(premium: float) -> None:
    assert hourly_rate_from_premium(premium) == pytest.approx(0.0000125, rel=1e-9)


@pytest.mark.parametrize("premium", [-0.0003, 0.0, 0.0001, 0.0005])
def test_inside_the_clamp_the_rate_prints_as_the_venue_prints_it(premium: float) -> None:
    assert f"{hourly_rate_from_premium(premium):.10f}" == "0.0000125000"


def test_just_outside_the_clamp_the_premium_shows() -> None:
    assert hourly_rate_from_premium(0.0007) == pytest.approx(0.0002 / 8, rel=1e-9)
    assert hourly_rate_from_premium(-0.0005) == pytest.approx(0.0, abs=1e-18)


@pytest.mark.parametrize(("premium", "capped"), [(0.5, 0.04), (-0.5, -0.04), (0.3205, 0.04), (100.0, 0.04)])
def test_the_rate_is_capped_at_four_per_cent_an_hour(premium: float, capped: float) -> None:
    assert hourly_rate_from_premium(premium) == pytest.approx(capped, rel=1e-12)
    assert abs(hourly_rate_from_premium(premium)) <= 0.04


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_higher_premium_never_pays_a_lower_rate(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert hourly_rate_from_premium(low) <= hourly_rate_from_premium(high) + 1e-15


# --- the payment ---------------------------------------------------------------------------------------------------


def test_a_long_pays_a_positive_rate_and_a_short_receives_it() -> None:
    oracle, hourly = Decimal(60_000), Decimal("0.0000125")
    assert payment_usd(Decimal(2), oracle, hourly) == Decimal("-1.5")
    assert payment_usd(Decimal(-2), oracle, hourly) == Decimal("1.5")


def test_a_long_receives_a_negative_rate_and_a_short_pays_it() -> None:
    oracle, hourly = Decimal(60_000), Decimal("-0.0000125")
    assert payment_usd(Decimal(2), oracle, hourly) == Decimal("1.5")
    assert payment_usd(Decimal(-2), oracle, hourly) == Decimal("-1.5")


def test_a_payment_is_kept_to_the_millionth_half_to_even() -> None:
    assert payment_usd(Decimal(-1), Decimal("0.5"), Decimal("0.000001")) == 0
    assert payment_usd(Decimal(-3), Decimal("0.5"), Decimal("0.000001")) == Decimal("0.000002")
    assert payment_usd(Decimal(3), Decimal("0.5"), Decimal("0.000001")) == Decimal("-0.000002")


sizes = st.decimals("-1000", "1000", places=3)
money = st.decimals("0.001", "100000", places=3)
rates = st.decimals("-0.04", "0.04", places=8)


@given(sizes, money, rates)
def test_what_one_side_pays_the_other_receives(size: Decimal, oracle: Decimal, hourly: Decimal) -> None:
    assert payment_usd(size, oracle, hourly) == -payment_usd(-size, oracle, hourly)


# --- rates and their intervals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [None, 0, -8, 3, 5, 24, 0.5, float("nan"), True, "8"])
def test_a_rate_without_a_known_interval_is_refused(interval: Any) -> None:
    with pytest.raises(ValueError, match=r"needs an interval of 1, 2, 4, 8 h, found .*; don't trade on it"):
        rate(0.0001, interval)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_rate_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        rate(value)


@pytest.mark.parametrize(("pays_at_ms", "source"), [(0, "venue"), (-1, "venue"), (HOUR_MS, "")])
def test_a_rate_without_its_time_or_source_is_refused(pays_at_ms: int, source: str) -> None:
    with pytest.raises(ValueError, match="time it is paid at and the source"):
        rate(0.0001, 8, pays_at_ms, source)


@pytest.mark.parametrize(
    ("value", "interval_h", "per_hour", "apr"),
    [
        (0.0001, 8, 0.0000125, 0.1095),
        (0.0001, 4, 0.000025, 0.219),
        (0.0001, 2, 0.00005, 0.438),
        (0.0001, 1, 0.0001, 0.876),
    ],
)
def test_the_same_number_is_another_rate_over_another_interval(
    value: float, interval_h: int, per_hour: float, apr: float
) -> None:
    assert rate(value, interval_h).per_hour == pytest.approx(per_hour, rel=1e-12)
    assert rate(value, interval_h).apr == pytest.approx(apr, rel=1e-12)


def test_rates_of_different_intervals_cannot_be_mixed() -> None:
    hourly, eight = rate(0.0001, 1), rate(0.0001, 8)
    for mix in (
        lambda: hourly + eight,
        lambda: hourly - eight,
        lambda: hourly < eight,
        lambda: hourly > eight,
        lambda: sorted([hourly, eight]),
    ):
        with pytest.raises(TypeError, match=r"can't be combined; use \.over\(\) first"):
            mix()


def test_rates_of_one_interval_add_subtract_and_compare() -> None:
    low, high = rate(0.0001), rate(0.0003)
    assert (low + high).value == pytest.approx(0.0004)
    assert (high - low).value == pytest.approx(0.0002)
    assert low < high
    assert high > low
    assert (low + high).interval_h == 8


def test_a_spread_across_venues_with_their_own_intervals() -> None:
    # one venue lists BTC at 8 h and the alt at 4 h, gives no interval for a third, and null for a fourth
    listed: dict[str, tuple[float, Any]] = {
        "BTC": (0.0001, 8),
        "ALT": (0.0004, 4),
        "NEW": (0.0004, None),
    }
    here = {"BTC": rate(0.00002, 1), "ALT": rate(0.00002, 1), "NEW": rate(0.00002, 1)}
    spread = {}
    for coin, (value, interval_h) in listed.items():
        try:
            there = rate(value, interval_h)
        except ValueError:
            continue
        spread[coin] = (here[coin].over(8) - there.over(8)).value
    assert spread == pytest.approx({"BTC": 0.00016 - 0.0001, "ALT": 0.00016 - 0.0008})


@given(st.floats(-0.04, 0.04), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]))
def test_a_rate_keeps_its_yearly_value_over_any_interval(value: float, interval_h: int, other_h: int) -> None:
    assert rate(value, interval_h).over(other_h).apr == pytest.approx(rate(value, interval_h).apr, rel=1e-12)
    assert rate(value, interval_h).over(other_h).interval_h == other_h


def test_a_rate_cannot_be_expressed_over_an_interval_no_venue_pays() -> None:
    with pytest.raises(ValueError, match="needs an interval"):
        rate(0.0001).over(24)


# --- recordings ----------------------------------------------------------------------------------------------------


def recorded(real_data: Path, *path: str) -> Any:
    file = real_data.parent.joinpath("fixtures", *path)
    if not file.is_file():
        pytest.skip(f"no recording {file.name} beside the recorded market data")
    return json.loads(file.read_text())


def sign(value: Decimal) -> int:
    return (value > 0) - (value < 0)


@pytest.mark.real_data
def test_recorded_hyperliquid_payments_have_the_sign_of_ours(real_data: Path) -> None:
    rows = [
        row["delta"]
        for row in recorded(real_data, "hyperliquid", "sdk_cassettes", "userFunding_full.json")["response"]
    ]
    seen = set()
    for row in rows:
        size, hourly, received = Decimal(row["szi"]), Decimal(row["fundingRate"]), Decimal(row["usdc"])
        seen.add((sign(size), sign(hourly)))
        assert sign(payment_usd(size, Decimal(1_000_000), hourly)) == sign(received), row
    assert {(1, 1), (1, -1), (-1, 1), (-1, -1)} <= seen


@pytest.mark.real_data
def test_recorded_hyperliquid_payments_are_size_times_an_oracle_price_times_the_rate(real_data: Path) -> None:
    rows = recorded(real_data, "hyperliquid", "sdk_cassettes", "userFunding_full.json")["response"]
    bitcoin = [row["delta"] for row in rows if row["delta"]["coin"] == "BTC"]
    assert bitcoin
    for row in bitcoin:
        size, hourly, received = Decimal(row["szi"]), Decimal(row["fundingRate"]), Decimal(row["usdc"])
        payments = row["nSamples"]  # a row may sum up several settlements, with their mean size and rate
        oracle = -received / (size * hourly * payments)
        assert 26_500 < oracle < 31_500, row  # Bitcoin's range between 2023-04-19 and 2023-05-05
        if payments == 1:
            assert payment_usd(size, oracle, hourly) == received


@pytest.mark.real_data
def test_on_the_recorded_exchanges_longs_pay_where_the_perpetual_is_dear(real_data: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    rows = pq.read_table(real_data / "cex_spot_perp_8h.parquet").to_pylist()
    close = {(r["ts"], r["venue"], r["coin"], r["kind"]): r["close"] for r in rows}
    basis: dict[tuple[str, str], list[float]] = {}
    for r in rows:
        before = (r["ts"] - timedelta(hours=8), r["venue"], r["coin"])
        perp, spot = close.get((*before, "perp-usdt")), close.get((*before, "spot"))
        if r["kind"] != "perp-usdt" or perp is None or spot is None or r["funding_rate"] is None:
            continue
        crowd = "long" if r["funding_rate"] > 0.0003 else "short" if r["funding_rate"] < 0 else ""
        basis.setdefault((r["venue"], crowd), []).append(perp / spot - 1)
    venues = {venue for venue, _ in basis}
    assert venues
    for venue in venues:
        dear, cheap = basis[venue, "long"], basis[venue, "short"]
        assert sum(dear) / len(dear) - sum(cheap) / len(cheap) > 0.0002, venue
