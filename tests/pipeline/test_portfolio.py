import math

import numpy as np
import pytest

from bot.model.panel import HOUR_MS
from bot.pipeline.mandate import Sizing
from bot.pipeline.portfolio import construct, shrunk
from tests.pipeline.scene import INF, NOW_MS, mandate, moment, opinion, swinging, targets

nan = math.nan


def test_a_position_is_score_times_capital_times_equity_times_position_size_in_lots() -> None:
    told = mandate(0.5, sizing=Sizing(position_size=0.4))
    wanted = construct((opinion(1.0, -0.5, 0.0),), moment(told), told)
    # 10,000 × 0.5 × 0.4 = 2,000 USD: 20 coins at 100, and at −0.5 20 coins at 50.
    assert wanted.lots.tolist() == [2000, -2000, 0]


def test_lots_are_rounded_toward_less_risk_on_both_sides() -> None:
    told = mandate(1.0, sizing=Sizing(position_size=0.1))
    snapshot = moment(told, mark=(30.0, 30.0, 30.0))
    # 1,000 USD at 0.30 a lot are 3,333.3 lots; 0.0002 of that is less than one.
    assert construct((opinion(1.0, -1.0, 0.0002),), snapshot, told).lots.tolist() == [3333, -3333, 0]


def test_strategies_are_sized_on_their_own_capital_and_netted() -> None:
    told = mandate(0.6, 0.2, sizing=Sizing(position_size=0.5))
    wanted = construct((opinion(1.0, 0.0, 0.0), opinion(-1.0, 1.0, 0.0)), moment(told), told)
    assert wanted.by_strategy.tolist() == [[3000, 0, 0], [-1000, 2000, 0]]
    assert wanted.lots.tolist() == [2000, 2000, 0]


def test_an_account_without_equity_wants_nothing() -> None:
    told = mandate()
    snapshot = moment(told, equity=-5.0, lots=(100, 0, 0))
    assert construct((opinion(1.0, 1.0, 1.0),), snapshot, told).lots.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("swing", "lots"), [(0.01, 1068), (0.04, 267), (0.001, 2500)])
def test_a_volatility_target_cuts_what_moves_too_much_and_lifts_nothing(swing: float, lots: int) -> None:
    # Hourly ±1 % is 0.01 √8760 = 93.6 % a year; 10,000 × 10 % / 0.93594 = 1,068.4 USD at 1 USD a lot. Four times
    # the swing, a quarter of the size; a tenth of it would allow 10,684 USD, but 2,500 is the size without a target.
    told = mandate(1.0, sizing=Sizing(position_size=0.25, volatility_target=0.1))
    snapshot = moment(told, mark=swinging(swing))
    assert construct((opinion(1.0),), snapshot, told).lots.tolist() == [lots]
    assert construct((opinion(-1.0),), snapshot, told).lots.tolist() == [-lots]


def test_a_price_whose_volatility_is_zero_or_unknown_gets_no_position_under_a_volatility_target() -> None:
    told = mandate(1.0, sizing=Sizing(volatility_target=0.1))
    assert construct((opinion(1.0),), moment(told, mark=swinging(0.0)), told).lots.tolist() == [0]
    assert construct((opinion(1.0),), moment(told, mark=swinging(0.01, rows=40)), told).lots.tolist() == [0]


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        (1000, 1200, 1000),  # 200 off, 300 allowed
        (1000, 800, 1000),  # 200 off, 200 allowed
        (1000, 799, 799),
        (1000, 1334, 1334),  # 334 off, 333.5 allowed
        (-1000, -1200, -1000),
        (1000, -900, -900),  # a turn is never kept
        (1000, 0, 0),  # nor is a position that is no longer wanted
        (0, 100, 100),  # nothing held, nothing to keep
    ],
)
def test_inside_the_no_trade_band_what_is_held_stays(held: int, wanted: int, expected: int) -> None:
    told = mandate(1.0, sizing=Sizing(position_size=1.0, no_trade_band=0.25))
    snapshot = moment(told, mark=(100.0,), lots=(held,))
    assert construct((opinion(wanted / 10_000),), snapshot, told).lots.tolist() == [expected]


def test_an_infinite_band_never_resizes_but_still_closes_and_turns() -> None:
    told = mandate(1.0, sizing=Sizing(position_size=1.0, no_trade_band=INF))
    snapshot = moment(told, lots=(1000, 1000, 1000))
    wanted = construct((opinion(0.9, 0.0, -0.1),), snapshot, told)
    assert wanted.lots.tolist() == [1000, 0, -5000]


def test_the_band_is_around_each_strategys_own_lots() -> None:
    told = mandate(1.0, 1.0, sizing=Sizing(position_size=0.1, no_trade_band=0.25))
    snapshot = moment(told, mark=(100.0,), lots=(300,), held=[[900], [-600]])
    wanted = construct((opinion(1.0), opinion(-1.0)), snapshot, told)
    assert wanted.by_strategy.tolist() == [[900], [-1000]]
    assert wanted.lots.tolist() == [-100]


def test_without_a_price_a_strategy_keeps_the_lots_it_has() -> None:
    told = mandate(1.0, sizing=Sizing(position_size=0.1))
    snapshot = moment(told, mark=(nan, 50.0, nan), lots=(700, 0, 0))
    assert construct((opinion(-1.0, 1.0, 1.0),), snapshot, told).lots.tolist() == [700, 2000, 0]


def test_after_a_stop_an_instrument_rests_until_its_time_is_over() -> None:
    told = mandate(1.0, 1.0, sizing=Sizing(position_size=0.1))
    snapshot = moment(told, rest_until=(NOW_MS + HOUR_MS, NOW_MS, 0), held=[[500, 0, 0], [0, 0, 0]])
    wanted = construct((opinion(1.0, 1.0, 0.0), opinion(1.0, 0.0, 0.0)), snapshot, told)
    assert wanted.by_strategy.tolist() == [[0, 2000, 0], [0, 0, 0]]


def test_what_is_cut_is_cut_from_the_strategies_in_proportion_and_still_sums() -> None:
    wanted = targets((600, 0, 50), (300, -10, 50))
    lots = np.array([301, -10, 0])
    cut = shrunk(wanted, lots)
    # 301 of 900: 200.67 and 100.33, the spare lot to the larger remainder.
    assert cut.by_strategy.tolist() == [[201, 0, 0], [100, -10, 0]]
    assert wanted.by_strategy.tolist() == [[600, 0, 50], [300, -10, 50]]


def test_what_is_not_cut_is_left_as_it_is() -> None:
    wanted = targets(
        (600, 20),
    )
    assert shrunk(wanted, np.array([600, 20])).by_strategy is wanted.by_strategy
    assert shrunk(wanted, np.array([500, 20])).by_strategy.tolist() == [[500, 20]]
