"""When a person should move money between wallets, and how much, by cases worked out by hand."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.instrument import Instrument, MarginTier, simple_instrument, spot_instrument
from bot.pipeline.joint import Book, Held
from bot.pipeline.mandate import Limits
from bot.pipeline.transfers import transfers

BTC = simple_instrument("BTC", 5, 20)  # maintenance 2.5 %
THERE = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 20),), venue="binance")
SPOT = spot_instrument("UBTC/USDC", 5, "UBTC")
LIMITS = Limits(min_free_margin=0.2, min_liquidation_distance=0.10, stress_move=0.15)
LEVERAGE = {"BTC": 5.0, "binance:BTC": 5.0, "UBTC/USDC": 1.0}


def across(here: float, there: float) -> Book:
    """50,000 USD short here, as much long there."""
    held = (Held(BTC, -0.5, 1e5, 1e5), Held(THERE, 0.5, 1e5, 1e5))
    return Book(held, {"hyperliquid": here, "binance": there})


def on_spot(perp: float, spot: float) -> Book:
    held = (Held(BTC, -0.5, 1e5, 1e5), Held(SPOT, 0.5, 1e5, 1e5))
    return Book(held, {"hyperliquid": perp, "hyperliquid spot": spot})


def test_before_the_stress_would_have_the_spread_cut() -> None:
    # 15 % up, the short is 57,500 USD with a margin of 11,500, and its wallet 20,000 − 7,500 = 12,500: of that 80 % may be
    # used, 10,000, and a rule cuts at a tenth more, 11,000. For 11,500 to be 80 % it would take 14,375: 1,875 more.
    (told,) = transfers(across(20_000, 40_000), LEVERAGE, LIMITS)
    assert (told.source, told.target) == ("binance", "hyperliquid")
    assert told.usd == pytest.approx(1_875)
    assert told.needed_usd == pytest.approx(1_875)
    assert told.because == "if prices move +15% its initial margin would have positions cut"


def test_not_before_and_once_it_stands_until_all_is_well() -> None:
    # With 21,000 it is 13,500 after the stress, of which a rule allows 11,880 before it cuts: nothing to say yet. 875 are
    # missing for the wallet to be wholly well.
    assert transfers(across(21_000, 40_000), LEVERAGE, LIMITS) == []
    (told,) = transfers(across(21_000, 40_000), LEVERAGE, LIMITS, {"hyperliquid"})
    assert told.usd == pytest.approx(875)
    assert transfers(across(21_876, 40_000), LEVERAGE, LIMITS, {"hyperliquid"}) == []


def test_free_margin_below_the_limit_is_enough() -> None:
    # No stress at all: 10,000 of margin are more than 80 % of 12,000; 12,500 would be enough.
    calm = replace(LIMITS, stress_move=0.0)
    (told,) = transfers(across(12_000, 40_000), LEVERAGE, calm)
    assert told.needed_usd == pytest.approx(500)
    assert told.because == "less than 20% of its equity is free"
    assert transfers(across(12_500, 40_000), LEVERAGE, calm) == []


def test_a_liquidation_that_comes_near_counts_where_margin_does_not() -> None:
    # At 20x margin is no matter: 15 % up, 2,875 USD. But 10 % from there the short costs 5,750 and needs 2.5 % of 63,250,
    # 1,581.25: 7,331.25 in all, and the rule cuts at a tenth less distance, 5,227.27 + 1,568.18 = 6,795.45.
    thin = {**LEVERAGE, "BTC": 20.0}
    assert transfers(across(14_300, 40_000), thin, LIMITS) == []
    (told,) = transfers(across(14_290, 40_000), thin, LIMITS)
    assert told.because == "if prices move +15% a liquidation would be near enough to have positions cut"
    assert told.needed_usd == pytest.approx(7_331.25 - (14_290 - 7_500))


def test_no_more_is_taken_than_the_other_wallet_can_spare() -> None:
    # The long's wallet after a fall of 15 %: 19,000 − 7,500 = 11,500, of which 8,500 / 0.8 = 10,625 are needed: 875 are left.
    (told,) = transfers(across(20_000, 19_000), LEVERAGE, LIMITS)
    assert told.usd == pytest.approx(875)
    assert told.needed_usd == pytest.approx(1_875)
    assert transfers(across(20_000, 18_000), LEVERAGE, LIMITS) == []  # both are in need: nobody can help


def test_coins_can_not_be_moved_but_what_is_left_beside_them_can() -> None:
    (told,) = transfers(on_spot(20_000, 51_000), LEVERAGE, LIMITS)
    assert (told.source, told.target) == ("hyperliquid spot", "hyperliquid")
    assert told.usd == pytest.approx(1_000)
    assert transfers(on_spot(20_000, 50_005), LEVERAGE, LIMITS) == []


def test_where_nothing_is_held_nothing_is_to_be_moved() -> None:
    assert transfers(Book((), {"hyperliquid": 10.0, "binance": 1e6}), LEVERAGE, LIMITS) == []


def test_a_long_is_in_need_where_prices_fall() -> None:
    # 15 % down, 42,500 USD have a margin of 8,500, and their wallet 17,000 − 7,500 = 9,500: a rule cuts above 8,360.
    (told,) = transfers(across(40_000, 17_000), LEVERAGE, LIMITS)
    assert (told.source, told.target) == ("hyperliquid", "binance")
    assert told.needed_usd == pytest.approx(8_500 / 0.8 - 9_500)
    assert told.because == "if prices move -15% its initial margin would have positions cut"


def test_what_is_so_already_is_said_to_be_now() -> None:
    # At 20x: 9.1 % away with 2.5 % of it needed there is 5,909 USD.
    (told,) = transfers(across(5_000, 40_000), {**LEVERAGE, "BTC": 20.0}, LIMITS)
    assert told.because == "now a liquidation would be near enough to have positions cut"


def test_it_comes_from_the_wallet_that_can_spare_most_and_is_worth_a_person_s_while() -> None:
    three = Book(across(0, 0).held, {"hyperliquid": 21_871, "bybit": 500, "binance": 40_000, "okx": 400})
    (told,) = transfers(three, LEVERAGE, LIMITS, {"hyperliquid"})
    assert told.source == "binance"
    assert told.usd == 10
    assert told.needed_usd == pytest.approx(4)


@given(st.floats(1_000, 60_000), st.floats(1_000, 60_000))
def test_what_is_moved_ends_the_need_and_makes_no_other(here: float, there: float) -> None:
    for told in transfers(across(here, there), LEVERAGE, LIMITS):
        wallets = {"hyperliquid": here, "binance": there}
        wallets[told.source] -= told.usd
        wallets[told.target] += told.usd + 1e-6
        after = transfers(across(wallets["hyperliquid"], wallets["binance"]), LEVERAGE, LIMITS, {told.target})
        if told.usd >= told.needed_usd:
            assert told.target not in {each.target for each in after}
        assert told.source not in {each.target for each in after}


def test_coins_are_no_money_that_can_be_moved() -> None:
    # Of 51,000 in the spot wallet 50,000 are coins.
    (told,) = transfers(on_spot(12_000, 51_000), LEVERAGE, LIMITS)
    assert (told.source, told.target) == ("hyperliquid spot", "hyperliquid")
    assert told.usd == pytest.approx(1_000)
    assert told.needed_usd > 1_000
