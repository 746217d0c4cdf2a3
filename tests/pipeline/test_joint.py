"""Joint risk against cases worked out by hand, against the books' own liquidation prices, and against small steps."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.account import Account, MarginMode, Position
from bot.model.instrument import Instrument, MarginTier, simple_instrument, spot_instrument
from bot.model.margin import maintenance_margin
from bot.pipeline.joint import Book, Held, Scenario, deaths, deltas, margins, play, rescues

BTC = simple_instrument("BTC", 5, 20)  # maintenance 2.5 %
SPOT = spot_instrument("UBTC/USDC", 5, "UBTC")
THERE = Instrument(
    "binance:BTC",
    3,
    (MarginTier(Decimal(0), 50, Decimal("0.004")), MarginTier(Decimal(100_000), 20, Decimal("0.025"))),
    venue="binance",
    quote="USDT",
)
PEPE = Instrument("kPEPE", 0, (MarginTier(Decimal(0), 10),), multiplier=1000)
ON_SPOT = Book(
    (Held(BTC, -0.5, 100_000, 100_000), Held(SPOT, 0.5, 99_900, 100_000)),
    {"hyperliquid": 20_000.0, "hyperliquid spot": 50_000.0},
)


def scenario(move: float, **more: Any) -> Scenario:
    return Scenario({"": move}, more.pop("depegs", {}), **more)


def test_what_is_hedged_cancels_out_whatever_its_contracts_are_called() -> None:
    held = (
        Held(PEPE, -3.0, 0.01, 0.01),
        Held(replace(PEPE, name="x:PEPE", multiplier=1, venue="x"), 2500.0, 1e-5, 1e-5),
    )
    (delta,) = deltas(held)
    assert (delta.underlying, delta.coins) == ("PEPE", -500.0)
    assert [each.coins for each in deltas(ON_SPOT.held)] == [0.0]


def test_where_a_hedged_short_dies_by_hand() -> None:
    # 20,000 − 50,000 m = 50,000 (1 + m) × 2.5 %, so m = 18,750 / 51,250. The spot's gain does not help.
    (death,) = deaths(ON_SPOT)
    assert death.move == pytest.approx(18_750 / 51_250)
    assert death.price == pytest.approx(100_000 * (1 + 18_750 / 51_250))
    perp, spot = margins(ON_SPOT)
    assert perp.up == pytest.approx(death.move)
    assert perp.down == spot.up == spot.down == float("inf")


def test_a_position_that_grows_into_a_higher_tier_dies_by_that_tier() -> None:
    # 90,000 USD short: at 100,000 the second tier begins, 2.5 % less 2,100 (= 100,000 × (2.5 % − 0.4 %)).
    book = Book((Held(THERE, -0.9, 100_000, 100_000),), {"binance": 40_000.0})
    (death,) = deaths(book)
    assert death.move == pytest.approx((40_000 - 90_000 * 0.025 + 2_100) / (90_000 * 1.025))


def test_a_move_that_kills_one_leg_leaves_the_other_alone() -> None:
    outcome = play(ON_SPOT, scenario(0.4))
    (called,) = outcome.called
    assert called.at == pytest.approx(18_750 / 51_250 / 0.4)
    assert outcome.after.wallets == {"hyperliquid": 0.0, "hyperliquid spot": pytest.approx(70_000.0)}
    assert [each.instrument.name for each in outcome.after.held] == ["UBTC/USDC"]
    assert deltas(outcome.after.held)[0].usd == pytest.approx(70_000)
    total = outcome.price_usd + outcome.funding_usd - outcome.lost_margin_usd
    assert outcome.after.equity_usd - ON_SPOT.equity_usd == pytest.approx(total, abs=1e-6)


def test_a_wallet_that_dies_on_the_way_has_moved_and_paid_so_far_alone() -> None:
    # Up 40 % the short loses 20,000 and, at 0.1 % for 8 hours on 60,000 in the middle, pays 480. Dead after a share s of
    # the way, 20,000 − 20,480 s = (50,000 + 20,000 s) × 2.5 %.
    outcome = play(ON_SPOT, scenario(0.4, funding_per_h=-0.001, hours=8.0))
    (called,) = outcome.called
    share = 18_750 / 20_980
    assert called.at == pytest.approx(share)
    assert called.equity_usd == outcome.lost_margin_usd == pytest.approx(20_000 - 20_480 * share)
    assert called.marks == {"BTC": pytest.approx(100_000 * (1 + 0.4 * share))}
    assert outcome.funding_usd == pytest.approx(-480 * share)
    assert outcome.price_usd == pytest.approx(20_000 - 20_000 * share)  # with what the coins have gained


def test_a_move_that_kills_nothing_leaves_the_sum_as_it_was() -> None:
    outcome = play(ON_SPOT, scenario(-0.25, funding_per_h=-0.001, hours=8.0))
    assert not outcome.called
    assert outcome.price_usd == pytest.approx(0.0)
    # A short pays where the rate is negative: 0.1 % × 8 on 50,000 falling to 37,500.
    assert outcome.funding_usd == pytest.approx(-0.008 * 43_750)
    assert outcome.after.equity_usd == pytest.approx(70_000 - 0.008 * 43_750)


def test_a_token_that_comes_off_its_coin_costs_what_it_is_worth_less() -> None:
    outcome = play(ON_SPOT, Scenario({}, {"UBTC/USDC": -0.03}))
    assert outcome.price_usd == pytest.approx(-0.03 * 50_000)


def test_a_move_and_a_depeg_come_one_upon_the_other() -> None:
    told = Scenario({"": 0.5, "BTC": 0.1}, {"UBTC/USDC": -0.03})
    assert told.move(SPOT) == pytest.approx(1.1 * 0.97 - 1)
    assert told.move(BTC) == pytest.approx(0.1)
    assert told.move(PEPE) == pytest.approx(0.5)


def test_what_no_price_can_kill_is_told_as_the_price_that_it_never_reaches() -> None:
    rich = {"hyperliquid": 1e9}
    (long,) = deaths(Book((Held(BTC, 0.5, 100_000, 100_000),), rich))
    (short,) = deaths(Book((Held(BTC, -0.5, 100_000, 100_000),), rich))
    assert (long.move, long.price) == (float("inf"), 0.0)
    assert (short.move, short.price) == (float("inf"), float("inf"))


def test_a_rich_wallet_is_called_beyond_a_doubled_price_and_all_that_it_holds_is_told() -> None:
    held = (
        Held(BTC, -0.5, 100_000, 100_000),
        Held(replace(SPOT, venue="hyperliquid"), 0.1, 100_000, 100_000),
    )
    (perp,) = margins(Book(held[:1], {"hyperliquid": 200_000.0}))
    assert perp.up == pytest.approx((200_000 - 1_250) / 51_250)
    coins = margins(Book(held, {"hyperliquid": 20_000.0, "hyperliquid spot": 10_000.0}))[1]
    assert (coins.wallet, coins.gross_usd, coins.maintenance_usd) == ("hyperliquid spot", 10_000.0, 0.0)


def test_the_largest_imbalance_comes_first_and_an_account_without_a_price_is_no_book() -> None:
    ether = simple_instrument("ETH", 4, 20)
    held = (Held(ether, 1.0, 1_000, 1_000), Held(BTC, -0.5, 100_000, 100_000))
    assert [each.underlying for each in deltas(held)] == ["BTC", "ETH"]
    lots, wallets = np.array([1, 1]), {"hyperliquid": 1.0}
    assert Book.of_account((ether, BTC), lots, np.array([1_000.0, 0.0]), wallets, 1.0) is None
    assert Book.of_account((ether, BTC), lots, np.array([1_000.0, np.nan]), wallets, 1.0) is None
    assert Book.of_account((ether, BTC), lots, np.array([1_000.0, 1.0]), wallets, 1.0) is not None


def test_with_a_venue_down_the_rest_can_be_closed_and_what_is_there_stands_alone() -> None:
    book = Book(
        (Held(BTC, -0.5, 100_000, 100_000), Held(THERE, 0.5, 100_000, 100_000)),
        {"hyperliquid": 20_000.0, "binance": 20_000.0},
    )
    outcome = play(book, scenario(-0.05, down=frozenset({"binance"})))
    assert [each.instrument.name for each in outcome.stuck] == ["binance:BTC"]
    assert [each.instrument.name for each in outcome.reachable] == ["BTC"]
    assert deltas(outcome.stuck)[0].usd == pytest.approx(0.5 * 95_000)


def test_what_brings_a_wallet_back_to_a_distance() -> None:
    (rescue,) = rescues(ON_SPOT, 0.5)
    # At +50 %: 25,000 lost and 2.5 % of 75,000 needed are 26,875, of which 20,000 are there.
    assert rescue.transfer_usd == pytest.approx(6_875)
    assert rescue.shrink_to == pytest.approx(20_000 / 26_875)
    richer = replace(ON_SPOT, wallets={**ON_SPOT.wallets, "hyperliquid": 20_000 + rescue.transfer_usd + 0.01})
    assert not rescues(richer, 0.5)
    assert deaths(richer)[0].move == pytest.approx(0.5, abs=1e-5)


def test_what_brings_a_wallet_of_two_positions_back_counts_both_and_each_on_its_side() -> None:
    long = Book((Held(THERE, 0.5, 100_000, 100_000),), {"binance": 20_000.0})
    # At −50 % 25,000 are lost, and 0.4 % of 25,000 needed.
    assert rescues(long, 0.5)[0].transfer_usd == pytest.approx(25_100 - 20_000)
    ether = simple_instrument("ETH", 4, 20)
    both = Book((*ON_SPOT.held[:1], Held(ether, 50.0, 1_000, 1_000)), {"hyperliquid": 20_000.0})
    # The short alone moves: 25,000 lost, 1,875 needed for it and 1,250 for the other.
    (rescue,) = rescues(both, 0.5)
    assert rescue.transfer_usd == pytest.approx(8_125)
    assert rescue.shrink_to == pytest.approx(20_000 / 28_125)


def test_winners_with_high_leverage_are_first_in_line_to_be_closed_for_others() -> None:
    # Entered at 100,000 and now at 80,000: the short has won 20 %, on 40,000 USD with 10,000 behind it.
    book = Book((Held(BTC, -0.5, 100_000, 80_000),), {"hyperliquid": 10_000.0})
    assert deaths(book)[0].adl_rank == pytest.approx(0.2 * 4)
    assert deaths(replace(book, held=(Held(BTC, 0.5, 100_000, 80_000),)))[0].adl_rank == 0.0


sizes = st.integers(-400, 400).filter(bool)


@given(sizes, sizes, st.integers(1_000, 400_000))
def test_a_leg_dies_where_the_books_say_it_does(first: int, second: int, equity: int) -> None:
    other = simple_instrument("ETH", 3, 25)
    marks = {"binance:BTC": Decimal(1000), "ETH": Decimal(100)}
    legs = (replace(THERE, venue="hyperliquid"), other)
    account = Account()
    account.deposit(Decimal(equity))
    held = []
    for instrument, lots in zip(legs, (first * 1000, second * 1000), strict=True):
        position = Position(instrument, 0, margin_mode=MarginMode.CROSS)
        position.trade(lots, instrument.notional(lots, marks[instrument.name]))
        account.positions[instrument.name] = position
        account.cash_usd -= instrument.notional(lots, marks[instrument.name])
        mark = float(marks[instrument.name])
        held.append(Held(instrument, float(instrument.size(lots)), mark, mark))
    needed = sum(maintenance_margin(each.instrument, Decimal(repr(each.usd))) for each in held)
    book = Book(tuple(held), {"hyperliquid": float(equity)})
    for death in deaths(book):
        price = account.liquidation_price(death.name, marks)
        if equity <= needed:
            assert death.move == 0.0
        elif price is None:
            assert death.price in (0.0, float("inf"))
        else:
            assert death.price == pytest.approx(float(price), rel=1e-9)


@given(sizes, sizes, st.integers(2_000, 100_000), st.floats(-0.9, 3.0))
def test_a_wallet_is_called_where_small_steps_find_it(
    first: int, second: int, equity: int, move: float
) -> None:
    held = (
        Held(replace(THERE, venue="hyperliquid"), float(first), 1000.0, 1000.0),
        Held(BTC, float(second), 100.0, 100.0),
    )
    book = Book(held, {"hyperliquid": float(equity)})
    outcome = play(book, scenario(move))

    def is_short(share: float) -> bool:
        value = equity + sum(each.usd * move * share for each in held)
        need = sum(
            float(maintenance_margin(each.instrument, Decimal(repr(each.usd * (1 + move * share)))))
            for each in held
        )
        return value <= need

    found = next((step / 500 for step in range(501) if is_short(step / 500)), None)
    if found is None:
        assert not outcome.called or outcome.called[0].at > 0.998
    else:
        assert outcome.called[0].at == pytest.approx(found, abs=1 / 500 + 1e-9)
