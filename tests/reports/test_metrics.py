"""Metrics against numbers worked out by hand on curves small enough to do so."""

import json
import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from bot.model.order import Purpose
from bot.reports.metrics import LABELS, closes, metrics, simple_returns
from tests.reports.books import HOUR_MS, START_MS, books, curve_record, fill, payment

DAY_MS = 24 * HOUR_MS


def days(*equity: float) -> dict[str, float | int | None]:
    """Metrics of a run with one row a midnight."""
    return metrics(curve_record(equity, step_ms=DAY_MS))


def test_sharpe_is_of_daily_returns_annualised_by_365_days() -> None:
    m = days(100, 110, 99, 108.9)  # +10 %, -10 %, +10 %
    mean = 0.1 / 3
    deviation = math.sqrt((2 * (0.1 - mean) ** 2 + (-0.1 - mean) ** 2) / 2)
    assert m["sharpe"] == pytest.approx(mean / deviation * math.sqrt(365))
    assert m["volatility"] == pytest.approx(deviation * math.sqrt(365))
    assert m["annual_return"] == pytest.approx(mean * 365)
    assert m["sortino"] == pytest.approx(mean / math.sqrt(0.01 / 3) * math.sqrt(365))
    assert m["omega"] == pytest.approx(2.0)
    assert m["worst_day"] == pytest.approx(-0.1)
    assert m["skew"] == pytest.approx(-1 / math.sqrt(2))  # two equal values above one
    a_day = mean / deviation
    error = math.sqrt((1 + a_day**2 / 2) / 3 * 365)
    assert m["sharpe_standard_error"] == pytest.approx(error)
    assert m["sharpe_high_95"] == pytest.approx(a_day * math.sqrt(365) + 1.96 * error)


def test_return_and_growth_agree_over_exactly_one_year() -> None:
    m = days(*np.linspace(1000, 1200, 366))
    assert m["days"] == 365
    assert m["total_return"] == pytest.approx(0.2)
    assert m["cagr"] == pytest.approx(0.2)


def test_drawdown_knows_depth_in_both_units_and_its_longest_stretch() -> None:
    m = metrics(curve_record([100, 90, 100, 200, 190, 185, 199, 210]))
    assert m["max_drawdown"] == pytest.approx(0.10)  # 100 to 90
    assert m["max_drawdown_usd"] == pytest.approx(15)  # 200 to 185
    assert m["max_drawdown_hours"] == 3  # from 200 on: three rows below it
    assert m["time_under_water"] == pytest.approx(4 / 8)


def test_a_loss_at_the_first_row_counts_from_the_starting_equity() -> None:
    record = replace(curve_record([95, 96, 97]), equity_start=Decimal(100))
    m = metrics(record)
    assert m["max_drawdown"] == pytest.approx(0.05)
    assert m["time_under_water"] == 1.0


def test_calmar_is_growth_over_deepest_drawdown() -> None:
    equity = [100.0, 80.0, *np.linspace(81, 120, 364)]
    m = days(*equity)
    assert m["calmar"] == pytest.approx(0.2 / 0.2)


def test_a_day_closes_at_midnight_utc_and_parts_of_days_are_left_out() -> None:
    hours = np.arange(60)  # from 06:00 to 17:00 two days later: midnights at rows 18 and 42
    equity = 100.0 + hours
    record = curve_record(equity.tolist(), start_ms=START_MS + 6 * HOUR_MS)
    found = closes(record.curves.times_ms, record.curves.equity, 100.0, DAY_MS)
    assert found.tolist() == [118.0, 142.0]
    assert metrics(record)["sharpe"] is None  # one whole day says nothing of variance


def test_a_missing_midnight_takes_the_last_row_before_it() -> None:
    times = np.array([START_MS, START_MS + 23 * HOUR_MS, START_MS + 50 * HOUR_MS], dtype=np.int64)
    assert closes(times, np.array([100.0, 110.0, 120.0]), 100.0, DAY_MS).tolist() == [100.0, 110.0, 110.0]


@pytest.mark.parametrize(
    "equity", [[], [100.0], [100.0, 100.0, 100.0], [100.0, 0.0, 0.0, 0.0], [100.0, -5.0, -5.0], [0.0, 0.0]]
)
def test_what_is_not_defined_is_none_and_nothing_is_ever_nan(equity: list[float]) -> None:
    m = metrics(curve_record(equity, step_ms=DAY_MS))
    json.dumps(m, allow_nan=False)
    assert m["sharpe"] is None
    assert m["sharpe_standard_error"] is None


def test_no_ratio_is_formed_from_returns_on_equity_that_is_gone() -> None:
    assert simple_returns(np.array([100.0, -1.0, 5.0])).size == 0
    assert days(100, -1, 5, *[6] * 90)["cagr"] is not None
    assert days(100, 50, *[-1] * 90)["cagr"] == -1.0


def test_growth_over_less_than_a_quarter_is_not_told_by_the_year() -> None:
    quarter = np.linspace(100, 110, 91)
    assert days(*quarter)["cagr"] == pytest.approx(1.1 ** (365 / 90) - 1)
    assert days(*quarter[:-1])["cagr"] is None
    assert days(*quarter[:-1])["calmar"] is None


def test_worst_hour_is_found_on_finer_rows_and_unknown_on_coarser_ones() -> None:
    half_hours = [100.0, 98.0, 96.0, 97.0, 96.0]
    assert metrics(curve_record(half_hours, step_ms=HOUR_MS // 2))["worst_hour"] == pytest.approx(-0.04)
    assert days(100, 90, 95)["worst_hour"] is None


def test_expected_shortfall_is_the_mean_of_the_worst_hundredth_of_days() -> None:
    returns = np.full(200, 0.001)
    returns[[3, 50]] = [-0.05, -0.03]
    assert days(*(100 * np.cumprod(np.r_[1, 1 + returns])))["expected_shortfall_1pct"] == pytest.approx(-0.04)


def test_excess_kurtosis_of_a_fair_coin_is_minus_two() -> None:
    up_and_down = np.cumprod(np.r_[100, np.tile([1.01, 0.99], 10)])
    assert days(*up_and_down)["kurtosis"] == pytest.approx(-2.0)


def test_activity_counts_round_trips_wins_and_maker_volume() -> None:
    record = books(
        [
            fill(1, 1000, "100", maker=True, fee_bps="0"),
            fill(3, -1000, "110", fee_bps="0", purpose=Purpose.EXIT),  # +10 in 2 h
            fill(5, -1000, "110", fee_bps="0"),
            fill(9, 1000, "114", fee_bps="0", purpose=Purpose.STOP),  # -4 in 4 h
            fill(20, 500, "100", fee_bps="0"),  # still open
        ],
        marks={"BTC": Decimal(100)},
        hours=48,
    )
    m = metrics(record)
    assert (m["fills"], m["trades"], m["trades_open"]) == (5, 3, 1)
    assert m["win_rate"] == 0.5
    assert m["profit_factor"] == pytest.approx(2.5)
    assert m["expectancy_usd"] == pytest.approx(3)
    assert m["mean_hold_h"] == pytest.approx(3)
    assert m["maker_share"] == pytest.approx(100 / 484)
    mean_equity = (48 * 10_000 + 10_006) / 49
    assert m["turnover"] == pytest.approx(484 / mean_equity / 2)


def test_funding_yields_are_annual_on_what_was_held_and_on_capital() -> None:
    record = books(
        [fill(0, -1000, "100", fee_bps="0"), fill(50, 1000, "100", fee_bps="0")],
        [payment(hour, -1000, "0.01" if hour % 5 else "-0.01") for hour in range(1, 51)],
    )
    gross = np.where(np.arange(101) < 50, 100.0, 0.0)  # held over 50 of 100 hours
    record = replace(record, curves=replace(record.curves, gross=gross, net=-gross))
    m = metrics(record)
    assert m["hours_funding_positive"] == pytest.approx(0.8)
    assert m["funding_usd"] == pytest.approx(0.3)
    assert m["funding_yield_on_notional"] == pytest.approx(0.3 / (100 * 50) * 8760)
    assert m["funding_yield_on_capital"] == pytest.approx(0.3 / (10_000 * 100) * 8760)
    assert m["exposure_mean"] == pytest.approx(50 * 0.01 / 101, rel=1e-4)
    assert m["exposure_max"] == pytest.approx(0.01)
    assert m["net_exposure_mean"] == -(m["exposure_mean"] or 0)
    assert m["min_liquidation_distance"] is None


def test_every_metric_has_a_name_for_people() -> None:
    assert set(metrics(curve_record([1.0, 2.0]))) - set(LABELS) == {
        "leverage_max"
    }  # the same as exposure_max


def test_margin_use_is_the_highest_share_of_equity_that_margin_took() -> None:
    record = curve_record([100.0, 200.0, 50.0])
    curves = replace(record.curves, margin=np.array([10.0, 50.0, 15.0]))
    assert metrics(replace(record, curves=curves))["margin_use_max"] == pytest.approx(0.3)
    assert metrics(record)["margin_use_max"] is None


def test_the_quality_number_is_of_the_closed_round_trips() -> None:
    # Won 1, lost 2, won 4: mean 1, deviation √9 = 3.
    prices = [("100", "101"), ("100", "98"), ("100", "104")]
    fills = []
    for k, (bought, sold) in enumerate(prices):
        fills += [fill(10 * k, 1000, bought, fee_bps="0"), fill(10 * k + 5, -1000, sold, fee_bps="0")]
    m = metrics(books(fills))
    assert m["sqn"] == pytest.approx(math.sqrt(3) / 3)
    assert (m["best_trade_usd"], m["worst_trade_usd"], m["expectancy_usd"]) == (4.0, -2.0, 1.0)
    assert metrics(books(fills[:2]))["sqn"] is None
