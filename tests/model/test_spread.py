from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.instrument import Instrument, MarginTier, simple_instrument, spot_instrument
from bot.model.spread import Spread, find_spreads, pairs

BTC = simple_instrument("BTC", 5, 40)
UBTC = spot_instrument("UBTC/USDC", 5, "UBTC")
KPEPE = Instrument("kPEPE", 0, (MarginTier(Decimal(0), 10),), multiplier=1000)


def cex(name: str, decimals: int, multiplier: int = 1) -> Instrument:
    return Instrument(
        name, decimals, (MarginTier(Decimal(0), 20),), multiplier=multiplier, venue="binance", quote="USDT"
    )


def test_a_step_is_whole_lots_of_both_legs() -> None:
    # 0.00001 BTC here and 0.001 BTC there: the smallest of both is 0.001, a hundred lots here.
    spread = Spread(BTC, cex("binance:BTC", 3))
    assert (spread.step, spread.primary_lots, spread.hedge_lots) == (Fraction(1, 1000), 100, 1)
    assert spread.steps(-12_345) == -123
    assert spread.lots(-123) == (-12_300, 123)
    assert spread.unhedged(-12_300, 123) == 0
    assert spread.unhedged(-12_345, 123) == Fraction(-45, 100_000)


def test_multipliers_are_counted() -> None:
    # One kPEPE is a thousand PEPE, as is one 1000PEPE; a lot is one coin of each.
    same = Spread(KPEPE, cex("binance:1000PEPE", 0, 1000))
    assert (float(same.step), same.primary_lots, same.hedge_lots, same.hedge_per_primary) == (1000, 1, 1, 1)
    single = Spread(KPEPE, cex("binance:PEPE", 0))
    assert (float(single.step), single.primary_lots, single.hedge_lots, single.hedge_per_primary) == (
        1000,
        1,
        1000,
        1000,
    )
    assert single.unhedged(-3, 2_500) == -500


def test_spot_hedges_shorts_only() -> None:
    spread = Spread(BTC, UBTC)
    assert not spread.can_be_long
    assert spread.steps(7) == 0
    assert spread.lots(spread.steps(-7)) == (-7, 7)
    assert any("UBTC" in risk for risk in spread.risks)


def test_what_can_come_apart_is_named() -> None:
    spread = Spread(BTC, cex("binance:BTC", 3))
    assert any("USDC" in risk and "USDT" in risk for risk in spread.risks)
    assert any("only a person" in risk for risk in spread.risks)


def test_what_is_no_spread_is_refused() -> None:
    with pytest.raises(ValueError, match="must be of one coin"):
        Spread(BTC, KPEPE)
    with pytest.raises(ValueError, match="must be a perpetual"):
        Spread(UBTC, BTC)
    with pytest.raises(ValueError, match="hedged with itself"):
        Spread(BTC, BTC)


def test_pairs_of_one_underlying_are_found() -> None:
    there = cex("binance:BTC", 3)
    gone = Instrument("bybit:BTC", 3, (MarginTier(Decimal(0), 5),), is_delisted=True, venue="bybit")
    other = Instrument(
        "x:BTC", 3, (MarginTier(Decimal(0), 5),)
    )  # on the same venue: no two accounts, no carry
    found = find_spreads([there, UBTC, simple_instrument("ETH", 4, 25), KPEPE, gone, other, BTC])
    assert [each.name for each in found] == [
        "x:BTC~UBTC/USDC",
        "x:BTC~binance:BTC",
        "BTC~UBTC/USDC",
        "BTC~binance:BTC",
        "binance:BTC~UBTC/USDC",
    ]
    with pytest.raises(ValueError, match="primary leg of two"):
        pairs(found)


@given(
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from([1, 1000]),
    st.sampled_from([1, 1000]),
    st.integers(-9999, 9999),
)
def test_steps_hedge_to_the_last_lot_and_never_grow(
    ours: int, theirs: int, our_multiplier: int, their_multiplier: int, lots: int
) -> None:
    tiers = (MarginTier(Decimal(0), 10),)
    spread = Spread(
        Instrument("a", ours, tiers, multiplier=our_multiplier, underlying="A"),
        Instrument("b", theirs, tiers, multiplier=their_multiplier, underlying="A", venue="binance"),
    )
    primary, hedge = spread.lots(spread.steps(lots))
    assert spread.unhedged(primary, hedge) == 0
    assert abs(primary) <= abs(lots) < abs(primary) + spread.primary_lots
    assert primary * lots >= 0
