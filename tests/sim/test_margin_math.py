from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.model.account import Account, MarginMode, Position
from bot.model.instrument import Instrument, MarginTier, simple_instrument
from bot.model.margin import TierTable, initial_margin, liquidation_price, maintenance_margin, max_leverage
from bot.model.money import ZERO
from tests.sim.twin import allowed_leverage, bracket_maintenance


def tiered(name: str, size_decimals: int, *tiers: tuple[int, int]) -> Instrument:
    return Instrument(name, size_decimals, tuple(MarginTier(Decimal(bound), most) for bound, most in tiers))


BTC = tiered("BTC", 5, (0, 40), (150_000_000, 20))
DOGE = tiered("DOGE", 0, (0, 10), (20_000_000, 5))
TINY = tiered(
    "TINY", 2, (0, 20), (1_000, 10), (5_000, 5), (20_000, 2)
)  # tiers that matter at a hundred coins
ETH_50X = simple_instrument("ETH", 4, 50)
SHORT_40X = simple_instrument("BTC", 5, 40)  # maintenance 1.25 % throughout

instruments = st.sampled_from([BTC, DOGE, TINY, ETH_50X])
prices = st.decimals("0.01", "100000", places=4)


# --- maintenance ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "notional", "margin"),
    [
        (BTC, 0, 0),
        (BTC, 100_000_000, 1_250_000),
        (BTC, 150_000_000, 1_875_000),
        (BTC, 150_000_001, "1875000.025"),
        (BTC, 200_000_000, 3_125_000),  # 150 M × 1.25 % + 50 M × 2.5 %
        (BTC, -200_000_000, 3_125_000),
        (DOGE, 20_000_000, 1_000_000),
        (DOGE, 40_000_000, 3_000_000),  # 20 M × 5 % + 20 M × 10 %
        (TINY, 30_000, 4_225),  # 1 000 × 2.5 % + 4 000 × 5 % + 15 000 × 10 % + 10 000 × 25 %
    ],
)
def test_each_bracket_of_a_position_is_margined_at_its_own_rate(
    instrument: Instrument, notional: int, margin: Decimal
) -> None:
    assert maintenance_margin(instrument, Decimal(notional)) == Decimal(margin)


@given(instruments, st.decimals("-300000000", "300000000", places=2))
def test_the_largest_of_the_tiers_lines_is_the_sum_of_the_brackets(
    instrument: Instrument, notional: Decimal
) -> None:
    assert Fraction(maintenance_margin(instrument, notional)) == bracket_maintenance(
        instrument, Fraction(notional)
    )


@pytest.mark.parametrize("instrument", [BTC, DOGE, TINY])
def test_maintenance_is_continuous_at_every_tier_bound(instrument: Instrument) -> None:
    for tier in instrument.tiers[1:]:
        at = maintenance_margin(instrument, tier.lower_bound_usd)
        for step in (Decimal("-0.01"), Decimal("0.01")):
            assert abs(maintenance_margin(instrument, tier.lower_bound_usd + step) - at) <= Decimal("0.01")


@pytest.mark.parametrize(
    ("notional", "leverage"), [("149999999.99", 40), ("150000000", 20), ("-150000000", 20), ("0", 40)]
)
def test_a_tier_starts_at_its_lower_bound(notional: str, leverage: int) -> None:
    assert max_leverage(BTC, Decimal(notional)) == leverage
    assert allowed_leverage(BTC, abs(Fraction(notional))) == leverage


def test_initial_margin_is_notional_by_leverage() -> None:
    assert initial_margin(Decimal(-1000), 4) == 250


# --- liquidation price ---------------------------------------------------------------------------------------------


def test_the_documented_isolated_sample() -> None:
    price = liquidation_price(ETH_50X, 335, Decimal("2985.9"), Decimal("4.967826"))
    assert price is not None
    assert round(price, 4) == Decimal("2866.2694")


@pytest.mark.parametrize(
    ("leverage", "rise"), [(1, "97.5"), (2, "48.1"), (3, "31.7"), (5, "18.5"), (10, "8.6")]
)
def test_how_far_a_short_at_each_leverage_may_rise(leverage: int, rise: str) -> None:
    mark = Decimal(50_000)
    price = liquidation_price(SHORT_40X, -200_000, mark, 2 * mark / leverage)
    assert price is not None
    assert round((price / mark - 1) * 100, 1) == Decimal(rise)


def test_a_long_and_a_short_of_one_coin_by_hand() -> None:
    # 10x coin, maintenance 5 %: long 1 at 100 with 20: 20 − d = 5 % × (100 − d); short: 20 − d = 5 % × (100 + d)
    coin = simple_instrument("COIN", 0, 10)
    long, short = (liquidation_price(coin, lots, Decimal(100), Decimal(20)) for lots in (1, -1))
    assert long is not None
    assert short is not None
    assert round(long, 9) == round(Decimal(100) - Decimal(15) / Decimal("0.95"), 9)
    assert round(short, 9) == round(Decimal(100) + Decimal(15) / Decimal("1.05"), 9)


def test_the_tier_is_that_of_the_liquidation_price() -> None:
    # short 100 TINY at 9: 900 USD, first tier. It is liquidated above 1000 USD of notional, in the second one:
    # 200 − d = 25 + 5 % × (900 + d − 1000)  →  d = 180 / 1.05
    price = liquidation_price(TINY, -10_000, Decimal(9), Decimal(200))
    assert price is not None
    assert round(price * 100, 9) == round(900 + Decimal(180) / Decimal("1.05"), 9)


def test_a_long_with_more_cash_than_it_can_lose_has_no_liquidation_price() -> None:
    assert liquidation_price(SHORT_40X, 100_000, Decimal(100), Decimal(101)) is None
    assert liquidation_price(SHORT_40X, 0, Decimal(100), Decimal(1)) is None


def test_other_positions_margin_brings_the_liquidation_price_nearer() -> None:
    coin = simple_instrument("COIN", 0, 10)
    with_others = liquidation_price(coin, 1, Decimal(100), Decimal(20), Decimal(5))
    assert with_others == liquidation_price(coin, 1, Decimal(100), Decimal(15))


def exact_maintenance(instrument: Instrument, lots: int, price: Fraction) -> Fraction:
    return bracket_maintenance(instrument, abs(lots) * Fraction(instrument.lot) * price)


@given(
    instruments,
    st.integers(-(10**9), 10**9).filter(bool),
    prices,
    st.decimals("0", "2", places=6),
    st.decimals("0", "1000", places=2),
)
def test_at_the_liquidation_price_value_is_maintenance_and_a_hair_beyond_it_is_not_enough(
    instrument: Instrument, lots: int, mark: Decimal, cushion: Decimal, others: Decimal
) -> None:
    notional = abs(lots) * instrument.lot * mark
    value = others + maintenance_margin(instrument, notional) + cushion * notional
    assume(cushion > 0)
    found = liquidation_price(instrument, lots, mark, value, others)

    def spare(price: Fraction) -> Fraction:
        moved = lots * Fraction(instrument.lot) * (price - Fraction(mark))
        return Fraction(value) + moved - exact_maintenance(instrument, lots, price) - Fraction(others)

    assert spare(Fraction(mark)) > 0
    if found is None:
        assert lots > 0
        assert spare(Fraction(0)) >= 0
        return
    price, hair = Fraction(found), Fraction(1, 10**9)
    scale = Fraction(notional) + Fraction(value)
    assert abs(spare(price)) <= scale / 10**20
    assert (price < Fraction(mark)) == (lots > 0)
    beyond = price * (1 - hair) if lots > 0 else price * (1 + hair)
    before = price * (1 + hair) if lots > 0 else price * (1 - hair)
    assert spare(beyond) < 0 < spare(before)


def test_an_account_knows_the_liquidation_prices_of_cross_and_isolated_positions() -> None:
    ten, other = simple_instrument("TEN", 0, 10), simple_instrument("OTHER", 0, 5)
    account = Account(
        Decimal(-60),  # 40 of its own, and 100 paid for the cross long
        {
            "TEN": Position(ten, 1, Decimal(100)),
            "OTHER": Position(other, -1, Decimal(-50), 0, MarginMode.ISOLATED, Decimal(60)),
        },
    )
    marks = {"TEN": Decimal(100), "OTHER": Decimal(50)}
    cross, isolated = account.liquidation_price("TEN", marks), account.liquidation_price("OTHER", marks)
    assert cross is not None
    assert isolated is not None
    assert round(cross, 9) == round(Decimal(60) / Decimal("0.95"), 9)  # price − 60 = 5 % of price
    assert round(isolated, 9) == round(Decimal(60) / Decimal("1.1"), 9)  # 60 − price = 10 % of price


def test_a_cross_position_stands_before_the_margin_of_the_others() -> None:
    ten, other = simple_instrument("TEN", 0, 10), simple_instrument("OTHER", 0, 5)
    account = Account(
        Decimal(-10), {"TEN": Position(ten, 1, Decimal(100)), "OTHER": Position(other, -1, Decimal(-50))}
    )
    price = account.liquidation_price("TEN", {"TEN": Decimal(100), "OTHER": Decimal(50)})
    assert price is not None
    assert round(price, 9) == round(Decimal(65) / Decimal("0.95"), 9)  # price − 10 − 50 = 5 % of price + 5


# --- the vector form -----------------------------------------------------------------------------------------------

BOOK = (BTC, DOGE, TINY, ETH_50X)
notionals = st.lists(
    st.one_of(st.just(0.0), st.floats(-60_000, 60_000), st.floats(-3e8, 3e8)), min_size=4, max_size=4
)


@given(notionals)
def test_vector_maintenance_is_the_exact_one(values: list[float]) -> None:
    found = TierTable.of(BOOK).maintenance(np.array(values))
    exact = [float(maintenance_margin(i, Decimal(v))) for i, v in zip(BOOK, values, strict=True)]
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-6)


@given(
    st.lists(st.integers(-60_000, 60_000), min_size=4, max_size=4),
    st.floats(0.01, 3.0),
)
def test_vector_liquidation_distances_are_those_of_the_exact_prices(
    values: list[int], cushion: float
) -> None:
    assume(any(values))
    mark = Decimal(10)
    lots = [int(v / 10 * i.lots_per_coin) for i, v in zip(BOOK, values, strict=True)]
    exact = [i.notional(n, mark) for i, n in zip(BOOK, lots, strict=True)]
    margins = [maintenance_margin(i, n) for i, n in zip(BOOK, exact, strict=True)]
    value = sum(margins, ZERO) + Decimal(round(cushion, 4)) * sum((abs(n) for n in exact), ZERO)
    found = TierTable.of(BOOK).liquidation_distance(np.array([float(n) for n in exact]), float(value))
    for i, instrument in enumerate(BOOK):
        price = liquidation_price(instrument, lots[i], mark, value, sum(margins, ZERO) - margins[i])
        if price is None:
            assert found[i] == np.inf
        else:
            assert found[i] == pytest.approx(float(abs(price / mark - 1)), rel=1e-6, abs=1e-9)


def test_an_account_already_below_its_margin_has_no_distance_left() -> None:
    found = TierTable.of(BOOK).liquidation_distance(np.array([1000.0, 0.0, 0.0, -1000.0]), 5.0)
    np.testing.assert_array_equal(found, [0.0, np.inf, np.inf, 0.0])


def test_a_table_of_no_instruments_has_no_margin() -> None:
    assert TierTable.of(()).maintenance(np.empty(0)).shape == (0,)
