"""Every rule: a book that it cuts, with the lots that are left and what it says; one that it lets pass; a close."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.model.decision import Finding, LotsArray, Targets, TradingState
from bot.model.instrument import Instrument, MarginTier
from bot.pipeline import fitting, risk
from bot.pipeline.exposure import Case
from bot.pipeline.mandate import Execution, Mandate
from bot.pipeline.risk import RULES, review
from bot.pipeline.snapshot import Snapshot
from tests.pipeline.scene import COINS, ROWS, mandate, moment, opinion, resting, targets, waiting

nan = math.nan
# A lot of a coin at 100 USD is worth one USD.
FLAT = (100.0, 100.0)


def reviewed(
    told: Mandate, snapshot: Snapshot, wanted: Sequence[int], edge: Sequence[float] | None = None
) -> tuple[list[int], list[Finding]]:
    allowed, findings = review(targets(wanted), (opinion(*wanted, edge=edge),), snapshot, told)
    assert allowed.by_strategy.sum(axis=0).tolist() == allowed.lots.tolist()
    lots: list[int] = allowed.lots.tolist()
    return lots, list(findings)


def only(findings: list[Finding]) -> tuple[str, str, str]:
    (finding,) = findings
    return finding.rule, finding.instrument, finding.detail


def test_the_rules_speak_in_this_order() -> None:
    assert [rule.__name__ for rule in RULES] == [
        "trading_state",
        "data_freshness",
        "price_sanity",
        "peg",
        "drawdown",
        "daily_loss",
        "edge_over_costs",
        "position_size",
        "gross_leverage",
        "venue_share",
        "free_margin",
        "isolated_distance",
        "liquidation_distance",
        "portfolio_stress",
        "both_legs",
        "net_leverage",
    ]


def test_a_book_within_every_limit_passes_as_it_is() -> None:
    told = mandate()
    wanted = targets((5000, -5000))
    allowed, findings = review(wanted, (opinion(1, -1),), moment(told, FLAT), told)
    assert allowed is wanted
    assert findings == ()


# trading_state


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED])
def test_while_trading_is_reduced_or_halted_nothing_grows_and_a_turn_ends_flat(state: TradingState) -> None:
    told = mandate()
    snapshot = moment(told, (100.0, 100.0, 100.0), lots=(1000, 1000, -800), state=state)
    lots, findings = reviewed(told, snapshot, (2000, -500, -300))
    assert lots == [1000, 0, -300]
    assert findings == [
        Finding("trading_state", "AAA", f"no increase: trading is {state}"),
        Finding("trading_state", "BBB", f"no increase: trading is {state}"),
    ]


def test_a_book_that_only_shrinks_passes_while_trading_is_reduced() -> None:
    told = mandate()
    snapshot = moment(told, FLAT, lots=(1000, -1000), state=TradingState.REDUCING)
    assert reviewed(told, snapshot, (400, -1000)) == ([400, -1000], [])


# data_freshness


def unknown_for(hours: int, value: float) -> Any:
    """Rows of two coins, the first of which has been unknown for `hours`, the present row included."""
    rows = np.full((ROWS, 2), value)
    if hours:
        rows[-hours:, 0] = nan
    return rows


def test_without_funding_of_this_hour_nothing_is_opened_and_what_is_held_stays() -> None:
    told = mandate()
    snapshot = moment(told, FLAT, lots=(1000, 0), funding_rate=unknown_for(1, 1e-5))
    lots, findings = reviewed(told, snapshot, (2000, 2000))
    assert lots == [1000, 2000]
    assert only(findings) == ("data_freshness", "AAA", "no increase: funding unknown for 1 h")


@pytest.mark.parametrize(("hours", "left"), [(3, 1000), (4, 0)])
def test_what_has_been_unknown_for_longer_than_the_limit_is_closed(hours: int, left: int) -> None:
    told = mandate(max_data_age_h=3)
    snapshot = moment(told, FLAT, lots=(1000, 0), funding_rate=unknown_for(hours, 1e-5))
    lots, findings = reviewed(told, snapshot, (1000, 0))
    assert lots == [left, 0]
    closed = [Finding("data_freshness", "AAA", "closed: funding unknown for 4 h")]
    assert findings == ([] if left else closed)


def test_what_has_no_price_is_said_to_close_when_there_is_one() -> None:
    told = mandate(max_data_age_h=3)
    snapshot = moment(told, unknown_for(4, 100.0), lots=(1000, 0), entry=(100.0, 0.0))
    lots, findings = reviewed(told, snapshot, (1000, 0))
    assert lots == [0, 0]
    assert only(findings) == (
        "data_freshness",
        "AAA",
        "closes as soon as there is a price: price unknown for 4 h",
    )


def test_a_coin_that_was_never_known_is_not_opened() -> None:
    told = mandate()
    lots, findings = reviewed(told, moment(told, (nan, 100.0)), (500, 500))
    assert lots == [0, 500]
    assert only(findings) == (
        "data_freshness",
        "AAA",
        "no increase: price unknown since the data begins",
    )


# price_sanity


def test_a_mark_that_contradicts_the_oracle_lets_nothing_grow() -> None:
    told = mandate(max_mark_deviation=0.10)
    snapshot = moment(told, FLAT, lots=(1000, 0), oracle=(90.0, 91.0))  # 11.1 % and 9.9 % off
    lots, findings = reviewed(told, snapshot, (2000, 2000))
    assert lots == [1000, 2000]
    assert only(findings) == (
        "price_sanity",
        "AAA",
        "no increase: mark is more than 10% from the oracle",
    )
    assert reviewed(told, snapshot, (400, 0)) == ([400, 0], [])


def test_without_an_oracle_there_is_nothing_to_contradict() -> None:
    told = mandate(max_mark_deviation=0.10)
    assert reviewed(told, moment(told, FLAT, oracle=(nan, nan)), (2000, 0)) == ([2000, 0], [])


# drawdown and daily_loss


def test_far_below_its_high_the_whole_book_is_closed() -> None:
    told = mandate(max_drawdown=0.25)
    snapshot = moment(told, FLAT, lots=(1000, -1000), equity=7_500.0, high=10_000.0)
    lots, findings = reviewed(told, snapshot, (1000, -2000))
    assert lots == [0, 0]
    assert only(findings) == (
        "drawdown",
        "",
        "all closed: equity 7,500 is more than 25% below its high of 10,000",
    )
    above = moment(told, FLAT, lots=(1000, -1000), equity=7_501.0, high=10_000.0)
    assert reviewed(told, above, (1000, -2000)) == ([1000, -2000], [])


def test_after_a_days_loss_nothing_grows_but_positions_stay() -> None:
    told = mandate(max_daily_loss=0.05)
    snapshot = moment(told, FLAT, lots=(1000, -1000), equity=9_500.0, day_open=10_000.0)
    lots, findings = reviewed(told, snapshot, (3000, -500))
    assert lots == [1000, -500]
    assert only(findings) == (
        "daily_loss",
        "AAA",
        "no increase: equity 9,500 is more than 5% below the day's opening 10,000",
    )
    above = moment(told, FLAT, lots=(1000, -1000), equity=9_501.0, day_open=10_000.0)
    assert reviewed(told, above, (3000, -500)) == ([3000, -500], [])


# edge_over_costs


def test_nothing_is_opened_whose_edge_does_not_pay_for_the_round_trip() -> None:
    # Two takings of 4.5 bps and half a spread of 1 bp are 11 bps; half as much again is 16.5.
    told = mandate(min_edge_ratio=1.5, execution=Execution(taker_fee=0.00045, half_spread=0.0001))
    snapshot = moment(told, (100.0, 100.0, 100.0), lots=(0, 0, 1000))
    lots, findings = reviewed(told, snapshot, (2000, 2000, 1000), edge=(0.0016, 0.0017, nan))
    assert lots == [0, 2000, 1000]
    assert only(findings) == (
        "edge_over_costs",
        "AAA",
        "no increase: edge below 1.5 × round-trip cost 0.11%",
    )


def test_a_strategy_that_states_no_edge_is_not_held_to_one() -> None:
    told = mandate(min_edge_ratio=1.5)
    assert reviewed(told, moment(told, FLAT), (2000, 0)) == ([2000, 0], [])


def test_the_best_edge_among_the_strategies_that_want_a_position_counts() -> None:
    told = mandate(1.0, 1.0, min_edge_ratio=1.0)
    wanted = targets((500, 500), (500, 0))
    opinions = (opinion(1, 1, edge=(0.0, 0.0)), opinion(1, 0, edge=(0.01, 0.01)))
    allowed, _ = review(wanted, opinions, moment(told, FLAT), told)
    assert allowed.lots.tolist() == [1000, 0]
    silent = (opinion(1, 1, edge=(0.0, 0.0)), opinion(1, 0))
    allowed, _ = review(wanted, silent, moment(told, FLAT), told)
    assert allowed.lots.tolist() == [1000, 0]


def test_the_edge_is_not_asked_for_where_the_mandate_does_not_ask() -> None:
    told = mandate(min_edge_ratio=0.0)
    assert reviewed(told, moment(told, FLAT), (2000, 0), edge=(-1.0, -1.0)) == ([2000, 0], [])


# position_size


def test_one_position_is_bounded_by_its_share_of_equity_and_in_dollars() -> None:
    told = mandate(max_position_share=0.5)
    lots, findings = reviewed(told, moment(told, FLAT), (6000, -4999))
    assert lots == [5000, -4999]
    assert only(findings) == ("position_size", "AAA", "cut from 6,000 to 5,000 USD: position limit")
    told = mandate(max_position_share=0.5, max_position_usd=1234.5)
    assert reviewed(told, moment(told, FLAT), (6000, -1234))[0] == [1234, -1234]


@pytest.mark.parametrize(
    ("held", "wanted", "left"),
    [
        (5400, 5400, 5400),  # outgrown by less than a tenth: left alone
        (5400, 6000, 5400),  # but not added to
        (5600, 5600, 5000),  # outgrown by more: cut back to the limit
        (5600, 3000, 3000),
        (-5600, -5600, -5000),
        (3000, 6000, 5000),
    ],
)
def test_a_position_that_prices_have_grown_is_cut_back_only_well_beyond_its_limit(
    held: int, wanted: int, left: int
) -> None:
    told = mandate(max_position_share=0.5)
    assert reviewed(told, moment(told, FLAT, lots=(held, 0)), (wanted, 0))[0] == [left, 0]


def test_increases_are_bounded_by_open_interest_and_what_is_held_is_not_cut_for_it() -> None:
    told = mandate(max_open_interest_share=0.02)
    # 1,000 coins at 100 USD, of which 2 % are 2,000 USD.
    snapshot = moment(told, (100.0, 100.0, 100.0), lots=(0, 3000, 0), open_interest=(1000.0, 1000.0, nan))
    lots, findings = reviewed(told, snapshot, (2500, 3500, 9000))
    assert lots == [2000, 3000, 9000]
    assert [(each.instrument, each.detail) for each in findings] == [
        ("AAA", "cut from 2,500 to 2,000 USD: volume or open interest"),
        ("BBB", "cut from 3,500 to 3,000 USD: volume or open interest"),
    ]


def test_increases_are_bounded_by_a_share_of_the_days_volume() -> None:
    told = mandate(max_volume_share=0.05)
    # 24 h of 1,500 USD are 36,000, of which 5 % are 1,800; a day with 13 unknown hours says nothing.
    volume = np.full((ROWS, 2), 1500.0)
    volume[-13:, 1] = nan
    lots, _ = reviewed(told, moment(told, FLAT, volume_usd=volume), (2500, 2500))
    assert lots == [1800, 2500]


def test_the_scarcer_of_open_interest_and_volume_counts() -> None:
    told = mandate(max_volume_share=0.05, max_open_interest_share=0.02)
    snapshot = moment(told, FLAT, volume_usd=(1500.0, 1500.0), open_interest=(500.0, 1000.0))
    assert reviewed(told, snapshot, (2500, 2500))[0] == [1000, 1800]


def test_a_position_within_the_markets_bounds_passes() -> None:
    told = mandate(max_open_interest_share=0.02)
    snapshot = moment(told, FLAT, open_interest=(1000.0, 1000.0))
    assert reviewed(told, snapshot, (2000, -2000)) == ([2000, -2000], [])


# gross_leverage, net_leverage


def test_the_gross_book_is_scaled_to_its_multiple_of_equity() -> None:
    told = mandate(max_gross_leverage=3.0)
    lots, findings = reviewed(told, moment(told, FLAT), (20_000, -20_000))
    assert lots == [15_000, -15_000]
    assert only(findings) == (
        "gross_leverage",
        "",
        "increases cut: gross exposure 133% of the limit of 3 × equity",
    )
    assert reviewed(told, moment(told, FLAT), (15_000, -15_000)) == ([15_000, -15_000], [])


def test_increases_give_way_before_what_is_held() -> None:
    told = mandate(max_gross_leverage=3.0)
    snapshot = moment(told, FLAT, lots=(20_000, 0))
    assert reviewed(told, snapshot, (20_000, -20_000))[0] == [20_000, -10_000]


def test_a_held_book_a_little_over_the_limit_is_not_traded_every_hour() -> None:
    told = mandate(max_gross_leverage=3.0)
    snapshot = moment(told, FLAT, lots=(32_000, 0))
    assert reviewed(told, snapshot, (32_000, 0)) == ([32_000, 0], [])
    lots, findings = reviewed(told, snapshot, (32_000, 500))
    assert lots == [32_000, 0]
    assert only(findings)[2] == "no increase: gross exposure 108% of the limit of 3 × equity"


def test_a_held_book_far_over_the_limit_is_cut_back_to_it() -> None:
    told = mandate(max_gross_leverage=3.0)
    lots, findings = reviewed(told, moment(told, FLAT, lots=(40_000, 0)), (40_000, 0))
    assert lots == [30_000, 0]
    assert only(findings)[2] == "positions cut: gross exposure 133% of the limit of 3 × equity"


def test_without_equity_no_exposure_fits_any_leverage() -> None:
    told = mandate(max_gross_leverage=3.0, max_drawdown=10.0, max_daily_loss=10.0)
    snapshot = moment(told, FLAT, lots=(100, 0), equity=-1.0, high=1.0, day_open=1.0)
    assert reviewed(told, snapshot, (100, 0))[0] == [0, 0]


def test_only_the_heavier_side_gives_way_to_the_net_limit() -> None:
    told = mandate(max_net_leverage=2.0)
    lots, findings = reviewed(told, moment(told, FLAT), (32_000, -4_000))
    assert lots == [24_000, -4_000]
    assert only(findings) == (
        "net_leverage",
        "",
        "increases cut: net exposure 140% of the limit of 2 × equity",
    )
    assert reviewed(told, moment(told, FLAT), (4_000, -32_000))[0] == [4_000, -24_000]
    assert reviewed(told, moment(told, FLAT), (24_000, -4_000)) == ([24_000, -4_000], [])


def test_a_net_book_held_a_little_over_its_limit_is_left_alone() -> None:
    told = mandate(max_net_leverage=2.0)
    snapshot = moment(told, FLAT, lots=(21_000, 0))
    assert reviewed(told, snapshot, (21_000, 0)) == ([21_000, 0], [])


def test_a_hedge_that_another_rule_cuts_does_not_leave_the_net_over_its_limit() -> None:
    # The short is an increase, so the gross limit takes it first; the long it was to hedge is over the net limit then.
    told = mandate(max_gross_leverage=4.0, max_net_leverage=2.0)
    snapshot = moment(told, FLAT, lots=(32_000, 0))
    lots, findings = reviewed(told, snapshot, (32_000, -16_000))
    assert lots[1] == -8_000
    assert 27_999 <= lots[0] <= 28_000
    assert [each.rule for each in findings] == ["gross_leverage", "net_leverage"]


@pytest.mark.parametrize("rule", ["free_margin", "portfolio_stress"])
def test_a_hedge_cut_by_a_later_rule_does_not_leave_the_net_over_its_limit_either(rule: str) -> None:
    limits: dict[str, dict[str, Any]] = {
        # 8,000 USD of margin at 5 ×: 40,000 gross.
        "free_margin": {"min_free_margin": 0.2},
        # 1,600 USD of loss from 4 % of funding on the gross alone: 40,000 gross.
        "portfolio_stress": {"stress_loss": 0.16, "stress_move": 0.0},
    }
    told = mandate(max_net_leverage=2.0, **limits[rule])
    snapshot = moment(told, FLAT, lots=(32_000, 0))
    lots, findings = reviewed(told, snapshot, (32_000, -16_000))
    assert lots[1] == -8_000
    assert 27_999 <= lots[0] <= 28_000
    assert [each.rule for each in findings] == [rule, "net_leverage"]


# free_margin


def test_initial_margin_leaves_a_share_of_equity_free() -> None:
    told = mandate(min_free_margin=0.2)
    # 64,000 USD at 5 × take 12,800 of the 8,000 that may be used.
    lots, findings = reviewed(told, moment(told, FLAT), (64_000, 0))
    assert lots == [40_000, 0]
    assert only(findings) == (
        "free_margin",
        "",
        "increases cut: initial margin 160% of what may be used (80% of equity)",
    )
    assert reviewed(told, moment(told, FLAT), (40_000, 0)) == ([40_000, 0], [])


def test_each_coins_own_leverage_decides_its_margin() -> None:
    told = mandate(min_free_margin=0.2)
    snapshot = moment(told, FLAT, leverage=(10.0, 2.0))
    assert reviewed(told, snapshot, (40_000, 8_000)) == ([40_000, 8_000], [])
    assert reviewed(told, snapshot, (40_000, 16_000))[0] == [26_667, 10_666]  # two thirds


# liquidation_distance


def test_no_position_may_be_liquidated_by_less_than_the_limits_move() -> None:
    told = mandate(min_liquidation_distance=0.10)
    # A long of G dies where 10,000 − 0.1 G = 5 % of 0.9 G: G = 10,000 / 0.145 = 68,965.5.
    lots, findings = reviewed(told, moment(told, FLAT), (100_000, 0))
    assert lots == [68_965, 0]
    assert only(findings)[:2] == ("liquidation_distance", "")
    # At 100,000 it dies at (10,000 − 5,000) / 95,000 = 5.26 %, 1.9 times nearer than 10 %.
    assert only(findings)[2] == "increases cut: liquidation at 1.9 × nearer than 10%"
    # A short where 10,000 − 0.1 G = 5 % of 1.1 G: G = 10,000 / 0.155 = 64,516.1.
    assert reviewed(told, moment(told, FLAT), (0, -100_000))[0] == [0, -64_516]
    assert reviewed(told, moment(told, FLAT), (68_965, 0)) == ([68_965, 0], [])
    assert reviewed(told, moment(told, FLAT), (68_966, 0))[0] == [68_965, 0]


def test_the_liquidation_distance_knows_the_margin_tiers() -> None:
    told = mandate(min_liquidation_distance=0.10)
    tiers = (MarginTier(Decimal(0), 10), MarginTier(Decimal(20_000), 5))
    coins = [Instrument(name, 2, tiers) for name in COINS[:2]]
    # Above 20,000 USD the margin is 10 % less a deduction of 1,000: 10,000 − 0.1 G = 0.09 G − 1,000.
    lots, _ = reviewed(told, moment(told, FLAT, instruments=coins), (100_000, 0))
    assert lots == [57_894, 0]


def test_a_book_beyond_rescue_is_closed_by_the_liquidation_rule() -> None:
    told = mandate(min_liquidation_distance=0.10)
    snapshot = moment(told, FLAT, lots=(40_000, 0), equity=1_000.0, high=1_000.0, day_open=1_000.0)
    lots, findings = reviewed(told, snapshot, (40_000, 0))
    assert lots == [6_896, 0]  # 1,000 / 0.145
    assert only(findings)[2].startswith("positions cut: liquidation at inf × nearer")


def test_what_has_its_own_margin_is_not_opened_nearer_to_its_end_than_the_limit() -> None:
    told = mandate(min_liquidation_distance=0.15)
    # AAA alone at 5 ×: (20 % − 5 %) / 0.95 = 15.8 % for a long, (20 % − 5 %) / 1.05 = 14.3 % for a short.
    alone = np.array([0.0, np.nan])
    assert reviewed(told, moment(told, FLAT, isolated=alone), (10_000, 0)) == ([10_000, 0], [])
    lots, findings = reviewed(told, moment(told, FLAT, isolated=alone), (-10_000, 0))
    assert lots == [0, 0]
    assert only(findings) == ("isolated_distance", "AAA", "no increase: its own margin is gone within 15%")
    # A losing short of 5,000 lots with 200 USD left behind 5,000 USD stays, shrinks, but does not grow.
    losing = moment(told, FLAT, lots=(-5_000, 0), isolated=np.array([200.0, np.nan]))
    assert reviewed(told, losing, (-6_000, 0))[0] == [-5_000, 0]
    assert reviewed(told, losing, (-5_000, 0))[0] == [-5_000, 0]
    assert reviewed(told, losing, (-1_000, 0))[0] == [-1_000, 0]


def test_margin_set_aside_for_one_coin_does_not_back_the_others() -> None:
    told = mandate(min_liquidation_distance=0.10)
    # 10,000 USD of equity, of which AAA's 20,000 USD at 5 × take 4,000: 6,000 − 0.1 G = 5 % of 0.9 G at G = 41,379.3.
    alone = np.array([0.0, np.nan])
    lots, findings = reviewed(told, moment(told, FLAT, isolated=alone), (20_000, 100_000))
    assert lots == [20_000, 41_379]
    assert only(findings)[0] == "liquidation_distance"


# portfolio_stress


def test_all_prices_against_the_book_at_once_may_cost_no_more_than_the_limit() -> None:
    told = mandate(stress_move=0.15, stress_loss=0.5)
    # 15 % of the net and an hour of 4 % funding on the gross: 19 % of a one-sided book, of 5,000 USD.
    lots, findings = reviewed(told, moment(told, FLAT), (40_000, 0))
    assert lots == [26_315, 0]
    assert only(findings) == (
        "portfolio_stress",
        "",
        "increases cut: loss 152% of the limit if all prices move 15% at once and funding is at its cap",
    )
    # A hedged book pays funding only: 62,500 a side.
    assert reviewed(told, moment(told, FLAT), (62_500, -62_500)) == ([62_500, -62_500], [])
    assert reviewed(told, moment(told, FLAT), (80_000, -80_000))[0] == [62_500, -62_500]


# What is in flight


def test_a_resting_order_counts_as_filled_where_that_is_worse() -> None:
    told = mandate(max_position_share=0.5)
    order = resting("AAA", 5000, "100")
    snapshot = moment(told, FLAT, lots=(1000, 0), open_orders=(order,))
    # 1,000 held and 5,000 on their way are 6,000: the target of 5,500 may not stand on 5,000.
    assert reviewed(told, snapshot, (5500, 0))[0] == [5000, 0]
    half = resting("AAA", 5000, "100", filled=3000)
    snapshot = moment(told, FLAT, lots=(3000, 0), open_orders=(half,))
    assert reviewed(told, snapshot, (5000, 0)) == ([5000, 0], [])


def test_orders_on_both_sides_count_on_the_worse() -> None:
    told = mandate(max_gross_leverage=1.0)
    orders = (resting("AAA", 3000, "100"), resting("AAA", -9000, "100", order_id=2))
    snapshot = moment(told, FLAT, lots=(1000, 0), open_orders=orders)
    # 4,000 long or 8,000 short: 8,000 of the 10,000 are spoken for.
    assert reviewed(told, snapshot, (1000, 4000))[0] == [1000, 2000]


def test_an_order_in_flight_hedges_nothing_before_it_fills() -> None:
    # A short of 10,000 USD in flight may or may not come: the net is counted without it, the gross with it.
    order = resting("BBB", -10_000, "100")
    told = mandate(max_net_leverage=1.0)
    assert reviewed(told, moment(told, FLAT, open_orders=(order,)), (20_000, 0))[0] == [10_000, 0]
    # 10 % of the long and 4 % of both may be 2,500: 0.14 x + 400 = 2,500.
    told = mandate(stress_move=0.1, stress_loss=0.25)
    assert reviewed(told, moment(told, FLAT, open_orders=(order,)), (20_000, 0))[0] == [15_000, 0]


def test_with_too_much_in_flight_both_ways_nothing_grows() -> None:
    told = mandate(max_net_leverage=1.0)
    orders = (resting("AAA", 12_000, "100"), resting("AAA", -12_000, "100", order_id=2))
    snapshot = moment(told, (100.0, 100.0, 100.0), lots=(0, 3_000, 0), open_orders=orders)
    assert reviewed(told, snapshot, (0, 9_000, -5_000))[0] == [0, 3_000, 0]


def test_reduce_only_and_protective_orders_open_nothing() -> None:
    told = mandate(max_gross_leverage=1.0)
    orders = (resting("AAA", -9000, "100", reduce_only=True), waiting("AAA", -1000, "90", order_id=2))
    snapshot = moment(told, FLAT, lots=(1000, 0), open_orders=orders)
    assert reviewed(told, snapshot, (1000, 9000)) == ([1000, 9000], [])


def test_an_order_in_flight_that_no_longer_fits_does_not_close_positions_that_do() -> None:
    told = mandate(max_gross_leverage=1.0)
    snapshot = moment(told, FLAT, lots=(4000, 2000), open_orders=(resting("AAA", 9000, "100"),))
    # 13,000 + 2,000 is too much; the order is withdrawn, what is held stays.
    lots, findings = reviewed(told, snapshot, (13_000, 2000))
    assert lots == [4000, 2000]
    assert only(findings)[2] == "no increase: gross exposure 150% of the limit of 1 × equity"


# A wish to close


def bad_day(told: Mandate) -> Snapshot:
    """Everything is wrong at once for AAA: no funding for hours, a mark far off, equity far down, trading reduced."""
    return moment(
        told,
        FLAT,
        lots=(60_000, -9_000),
        equity=5_000.0,
        high=10_000.0,
        day_open=10_000.0,
        state=TradingState.REDUCING,
        oracle=(50.0, 100.0),
        open_interest=(10.0, 10.0),
        funding_rate=unknown_for(2, 1e-5),
    )


STRICT: dict[str, Any] = {
    "max_position_share": 0.1,
    "max_gross_leverage": 0.1,
    "max_net_leverage": 0.1,
    "max_open_interest_share": 0.01,
    "min_free_margin": 0.9,
    "min_liquidation_distance": 0.9,
    "stress_move": 0.5,
    "stress_loss": 0.01,
    "min_edge_ratio": 5.0,
    "max_drawdown": 0.1,
    "max_daily_loss": 0.1,
}


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
@pytest.mark.parametrize("wanted", [(0, -9_000), (0, 0), (10, -10), (59_999, 0)])
def test_no_rule_refuses_to_let_a_position_shrink(rule: Any, wanted: tuple[int, int]) -> None:
    told = mandate(**STRICT)
    snapshot = bad_day(told)
    asked = targets(wanted)
    case = Case.of(asked, (opinion(1, -1, edge=(0.0, 0.0)),), snapshot, told)
    left, _ = rule(asked.lots, case)
    assert fitting.no_larger(left, asked.lots)
    assert left[0] <= wanted[0]


def test_closing_everything_is_never_even_looked_at() -> None:
    told = mandate(**STRICT)
    assert reviewed(told, bad_day(told), (0, 0)) == ([0, 0], [])


def test_a_rule_that_grew_or_turned_a_position_would_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    told = mandate()
    asked = moment(told, FLAT, state=TradingState.REDUCING)  # a moment at which the rules are asked

    def doubling(lots: LotsArray, _: Case) -> fitting.Verdict:
        return lots * 2, ()

    def turning(lots: LotsArray, _: Case) -> fitting.Verdict:
        return -lots, ()

    for rule in (doubling, turning):
        monkeypatch.setattr(risk, "RULES", (rule,))
        with pytest.raises(AssertionError, match="grew or turned a position"):
            reviewed(told, asked, (100, 0))


def test_a_cut_is_shared_by_the_strategies_that_wanted_the_position() -> None:
    told = mandate(1.0, 1.0, max_position_share=0.3)
    wanted: Targets = targets((4000, 0), (2000, 0))
    allowed, _ = review(wanted, (opinion(1, 0), opinion(1, 0)), moment(told, FLAT), told)
    assert allowed.by_strategy.tolist() == [[2000, 0], [1000, 0]]
