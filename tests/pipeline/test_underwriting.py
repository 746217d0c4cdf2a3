"""What a decision that opens a spread is written down with, by cases worked out by hand."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.model.decision import AccountView, Decision, Opinion, OrderPlan, Targets
from bot.model.instrument import Instrument, MarginTier, simple_instrument, spot_instrument
from bot.model.spread import Spread
from bot.pipeline.mandate import Mandate, Slot
from bot.pipeline.underwriting import Sheet, Stated, Worst, sheets, worst
from tests.pipeline.saying import Says

BTC = simple_instrument("BTC", 5, 20)  # maintenance 2.5 %
SPOT = spot_instrument("UBTC/USDC", 5, "UBTC")
INSTRUMENTS = (BTC, SPOT)
SPREAD = Spread(BTC, SPOT)
MARK = np.array([100_000.0, 100_000.0])
MANDATE = Mandate((Slot("carry", Says(-1.0), 1.0, spreads=(SPREAD,)),))
WALLETS = {"hyperliquid": 20_000.0, "hyperliquid spot": 50_000.0}


def account(*lots: int, **given: Any) -> AccountView:
    view = AccountView(70_000.0, np.array(lots), np.zeros(2), np.array([5.0, 4.0]), wallet_usd=WALLETS)
    return replace(view, **given)


def decided(*lots: int, edge: float | None = 0.02, **values: Any) -> Decision:
    told = np.array(lots, np.int64)
    opinion = Opinion(
        np.array([-1.0, 0.0]),
        "",
        {name: value if callable(value) else np.array([value, 0.0]) for name, value in values.items()},
        np.array([True, True]),
        None if edge is None else np.array([edge, 0.0]),
    )
    targets = Targets(told, told[np.newaxis])
    return Decision("5f", 0, (opinion,), targets, targets, (), OrderPlan())


def test_the_sheet_of_a_perpetual_against_spot() -> None:
    decision = decided(-50_000, 50_000, cost=0.005, hold_h=100.0, half_life_h=40.0)
    (sheet,) = sheets(decision, account(0, 0), MARK, INSTRUMENTS, MANDATE)
    assert (sheet.decision_id, sheet.strategy, sheet.spread, sheet.side) == (
        "5f",
        "carry",
        SPREAD.name,
        "short",
    )
    assert sheet.notional_usd == 50_000
    assert sheet.tied_usd == 50_000 / 5 + 50_000  # spot is paid in full
    assert sheet.stated == Stated(expected=0.02, cost=0.005, hold_h=100.0, half_life_h=40.0)
    assert sheet.return_on_tied == pytest.approx(0.015 * 50_000 / 60_000 * 8760 / 100)
    # The short dies where 20,000 − 50,000 m = 50,000 (1 + m) × 2.5 %; what is left of its wallet is gone then, and the coins
    # have gained what it lost before.
    (death,) = sheet.worst
    move = 18_750 / 51_250
    assert death.leg == "BTC"
    assert death.price == pytest.approx(100_000 * (1 + move))
    assert death.loss_usd == pytest.approx(20_000 - 50_000 * move, abs=0.1)
    assert Sheet.read(sheet.facts()) == sheet


def test_what_is_held_already_or_not_opened_has_no_sheet() -> None:
    more = decided(-60_000, 60_000)
    assert sheets(more, account(-50_000, 50_000), MARK, INSTRUMENTS, MANDATE) == []
    assert sheets(decided(0, 0), account(-50_000, 50_000), MARK, INSTRUMENTS, MANDATE) == []
    assert sheets(more, account(0, 0), np.array([0.0, 1.0]), INSTRUMENTS, MANDATE) == []


def test_what_a_strategy_does_not_say_is_not_made_up() -> None:
    (sheet,) = sheets(decided(-50_000, 50_000, edge=None), account(0, 0), MARK, INSTRUMENTS, MANDATE)
    assert sheet.stated == Stated()
    assert sheet.return_on_tied is None


def test_a_value_of_a_plugin_that_fails_is_one_that_is_not_said() -> None:
    class Broken(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise ZeroDivisionError

    decision = decided(-50_000, 50_000)
    opinion = replace(decision.opinions[0], values=Broken())
    assert Stated.of(opinion, 0) == Stated(expected=0.02)


def test_where_wallets_are_not_told_apart_the_worst_is_not_known() -> None:
    lots = np.array([-50_000, 50_000])
    assert worst(SPREAD, lots, account(0, 0, wallet_usd=None), MARK, INSTRUMENTS) == ()


def test_a_value_that_is_no_number_is_not_said() -> None:
    decision = decided(-50_000, 50_000, edge=np.nan, cost=np.inf, hold_h=100.0)
    assert Stated.of(decision.opinions[0], 0) == Stated(hold_h=100.0)


THERE = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 20),), venue="binance")


def test_the_worst_of_both_legs_of_two_venues_is_theirs_alone() -> None:
    other = simple_instrument("ETH", 4, 20)
    view = replace(
        account(0, 0), leverage=np.full(3, 5.0), wallet_usd={"hyperliquid": 40_000.0, "binance": 20_000.0}
    )
    told = worst(
        Spread(BTC, THERE),
        np.array([-50_000, 500, -200_000]),
        view,
        np.array([1e5, 1e5, 1e3]),
        (BTC, THERE, other),
    )
    # The long dies where 20,000 − 50,000 m = 50,000 (1 − m) × 2.5 %, and takes what is left there with it.
    long = next(each for each in told if each.leg == "binance:BTC")
    move = 18_750 / 48_750
    assert long.price == pytest.approx(100_000 * (1 - move))
    assert long.loss_usd == pytest.approx(20_000 - 50_000 * move, abs=0.1)
    assert {each.leg for each in told} == {"BTC", "binance:BTC"}


def test_a_leg_that_no_price_can_liquidate_has_no_worst() -> None:
    rich = account(0, 0, wallet_usd={**WALLETS, "hyperliquid": 1e9})
    assert worst(SPREAD, np.array([-50_000, 50_000]), rich, MARK, INSTRUMENTS) == ()


def between(*lots: int, held: tuple[int, int]) -> list[Sheet]:
    """Of a perpetual here against one of another venue, a hundred lots of the one in a step; the hedge is dearer."""
    spread = Spread(BTC, THERE)
    mandate = Mandate((Slot("carry", Says(-1.0), 1.0, spreads=(spread,)),))
    mark = np.array([100_000.0, 101_000.0])
    return sheets(decided(*lots), account(*held), mark, (BTC, THERE), mandate)


@pytest.mark.parametrize("held", [(0, 0), (30_000, -300), (-50, 0)])  # flat, long, and less than a step
def test_a_spread_that_is_opened_or_turned_is_a_new_one(held: tuple[int, int]) -> None:
    (sheet,) = between(-50_000, 500, held=held)
    assert sheet.side == "short"
    assert sheet.notional_usd == 50_000  # of the primary leg
    assert sheet.tied_usd == pytest.approx(50_000 / 5 + 50_500 / 4)


def test_a_spread_that_grows_or_comes_to_less_than_a_step_is_none() -> None:
    assert between(-50_000, 500, held=(-30_000, 300)) == []
    assert between(-50, 0, held=(0, 0)) == []


def test_a_leg_on_margin_of_its_own_loses_that_and_no_more() -> None:
    view = account(0, 0, isolated_usd=np.array([0.0, np.nan]))
    told = worst(SPREAD, np.array([-50_000, 50_000]), view, MARK, INSTRUMENTS)
    assert told == (Worst("BTC", None, 50_000 / 5),)


def test_where_other_margin_is_a_position_s_own_the_worst_is_not_known() -> None:
    view = account(0, 0, isolated_usd=np.array([np.nan, np.nan]))
    assert worst(SPREAD, np.array([-50_000, 50_000]), view, MARK, INSTRUMENTS) == ()
