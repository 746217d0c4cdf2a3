from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.instrument import (
    Instrument,
    Kind,
    MarginTier,
    simple_instrument,
    spot_instrument,
    tiers_with_deductions,
    underlying_of,
)

BTC = simple_instrument("BTC", 5, 40)
ETH = simple_instrument("ETH", 4, 25)
DOGE = simple_instrument("DOGE", 0, 10)
SOL = simple_instrument("SOL", 2, 20)

prices = st.decimals(min_value="0.000001", max_value="999999", places=7, allow_nan=False).filter(
    lambda p: p > 0
)
instruments = st.sampled_from([BTC, ETH, DOGE, SOL])


@pytest.mark.parametrize(
    ("instrument", "price", "on_grid"),
    [
        (ETH, "1234.5", True),
        (ETH, "1234.56", False),  # six significant figures
        (ETH, "123456", True),  # whole numbers always are
        (ETH, "12345.6", False),
        (DOGE, "0.12345", True),
        (DOGE, "0.012345", True),
        (DOGE, "0.0123456", False),  # seven decimals
        (DOGE, "0.000001", True),
        (SOL, "0.01234", False),  # 6 − 2 decimals at most
        (SOL, "0.0123", True),
        (BTC, "9999.5", True),
        (BTC, "9999.55", False),  # 6 − 5 decimals at most
        (BTC, "100001", True),
        (BTC, "100000.5", False),
        (BTC, "1E+5", True),
        (BTC, "60000.00", True),
        (BTC, "0", False),
        (BTC, "-1", False),
    ],
)
def test_the_price_grid_is_five_figures_and_a_limit_of_decimals_and_every_integer(
    instrument: Instrument, price: str, on_grid: bool
) -> None:
    assert instrument.is_on_grid(Decimal(price)) is on_grid


@pytest.mark.parametrize(
    ("instrument", "price", "down", "nearest", "up"),
    [
        (ETH, "1234.56", "1234.5", "1234.6", "1234.6"),
        (ETH, "123456.7", "123456", "123457", "123457"),
        (BTC, "9999.96", "9999.9", "10000", "10000"),
        (DOGE, "0.1234549", "0.12345", "0.12345", "0.12346"),
        (SOL, "150.123", "150.12", "150.12", "150.13"),
    ],
)
def test_prices_round_to_the_grid_on_the_side_asked_for(
    instrument: Instrument, price: str, down: str, nearest: str, up: str
) -> None:
    asked = Decimal(price)
    assert instrument.round_price(asked, up=False) == Decimal(down)
    assert instrument.round_price(asked) == Decimal(nearest)
    assert instrument.round_price(asked, up=True) == Decimal(up)


@given(instruments, prices)
def test_a_rounded_price_is_on_the_grid_and_no_grid_price_lies_between(
    instrument: Instrument, price: Decimal
) -> None:
    below, above = instrument.round_price(price, up=False), instrument.round_price(price, up=True)
    assert below <= price <= above
    assert instrument.is_on_grid(above)
    assert below == 0 or instrument.is_on_grid(below)
    middle = (below + above) / 2
    assert below == above or not instrument.is_on_grid(middle)


def test_rounding_a_price_that_is_not_one_is_refused() -> None:
    with pytest.raises(ValueError, match="a price must be above 0, found 0"):
        BTC.round_price(Decimal(0))


@pytest.mark.parametrize(
    ("size", "lots"),
    [
        ("0.123459", 12345),
        ("-0.123459", -12345),
        ("0.000009", 0),
        ("-0.000009", 0),
        ("1", 100_000),
        ("0.00001", 1),
    ],
)
def test_lots_round_toward_zero(size: str, lots: int) -> None:
    assert BTC.lots(Decimal(size)) == lots


def test_lots_of_a_float_are_those_of_the_number_it_prints_as() -> None:
    assert ETH.lots(0.0003) == 3  # 0.0003 × 10⁴ is 2.9999999999999996 in binary
    assert SOL.lots(0.29) == 29


@pytest.mark.parametrize("size", [float("nan"), float("inf"), float("-inf")])
def test_lots_of_an_unknown_size_are_refused(size: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        BTC.lots(size)


@given(instruments, st.integers(-(10**12), 10**12))
def test_size_and_lots_are_inverse(instrument: Instrument, lots: int) -> None:
    assert instrument.lots(instrument.size(lots)) == lots
    assert instrument.size(lots) * instrument.lots_per_coin == lots


def test_notional_carries_the_sign_of_the_lots() -> None:
    assert ETH.notional(-15_000, Decimal(2000)) == Decimal(-3000)


def test_deductions_make_the_tiers_meet_at_their_bounds() -> None:
    tiers = [MarginTier(Decimal(0), 40), MarginTier(Decimal(150_000_000), 20)]
    assert tiers_with_deductions(tiers) == (
        (Decimal(0), Decimal("0.0125"), Decimal(0)),
        (Decimal(150_000_000), Decimal("0.025"), Decimal(1_875_000)),
    )


@pytest.mark.parametrize(
    "tiers",
    [
        (),
        ((1, 10),),  # does not start at 0
        ((0, 10), (100, 20)),  # leverage rises
        ((0, 10), (200, 8), (100, 5)),  # bounds fall
        ((0, 10), (0, 5)),  # a bound twice
        ((0, 0),),  # no leverage at all
    ],
)
def test_margin_tiers_that_make_no_sense_are_refused(tiers: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="X: margin tiers must"):
        Instrument("X", 2, tuple(MarginTier(Decimal(bound), leverage) for bound, leverage in tiers))


@pytest.mark.parametrize("decimals", [-1, 13])
def test_size_decimals_outside_their_range_are_refused(decimals: int) -> None:
    with pytest.raises(ValueError, match="size decimals"):
        simple_instrument("X", decimals, 5)


def test_a_spot_market_has_eight_decimals_to_share_between_size_and_price_and_no_leverage() -> None:
    bitcoin = spot_instrument("@142", 5, "UBTC")
    assert (bitcoin.kind, bitcoin.underlying, bitcoin.max_leverage) == (Kind.SPOT, "BTC", 1)
    # 8 − 5 = 3 decimals, and five figures: the figures bind above 100, the decimals below.
    assert bitcoin.round_price(Decimal("66303.27")) == 66303
    assert bitcoin.round_price(Decimal("99.12345")) == Decimal("99.123")
    assert bitcoin.round_price(Decimal("1.00049"), up=True) == Decimal("1.001")
    perp = simple_instrument("BTC", 5, 40)
    assert perp.round_price(Decimal("99.12345")) == Decimal("99.1")  # 6 − 5 = 1
    assert simple_instrument("X", 8, 3).round_price(Decimal("1.2")) == 1  # never below none
    with pytest.raises(ValueError, match="no leverage"):
        Instrument("@142", 5, (MarginTier(Decimal(0), 3),), kind=Kind.SPOT)


def test_names_say_what_they_are_about() -> None:
    assert underlying_of("kPEPE") == ("PEPE", 1000)
    assert underlying_of("BTC") == ("BTC", 1)
    assert underlying_of("kaito") == ("kaito", 1)
    assert underlying_of("UBTC") == ("UBTC", 1)  # as a perpetual it would be another coin
    assert underlying_of("UBTC", Kind.SPOT) == ("BTC", 1)
    assert underlying_of("UNI", Kind.SPOT) == ("UNI", 1)
    assert underlying_of("UBONK", Kind.SPOT)[0] == underlying_of("kBONK")[0]
    tiers = (MarginTier(Decimal(0), 10),)
    assert Instrument("kPEPE", 0, tiers, multiplier=1000).underlying == "PEPE"
    assert (
        Instrument("kPEPE", 0, tiers).underlying == "kPEPE"
    )  # one is a thousand of the other, or it is itself


def test_a_venue_with_one_step_for_all_prices_rounds_to_it() -> None:
    contract = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 125),), tick=Decimal("0.10"))
    assert contract.round_price(Decimal("64123.4567")) == Decimal("64123.5")
    assert contract.round_price(Decimal("64123.4567"), up=False) == Decimal("64123.4")
    assert contract.is_on_grid(Decimal("64123.4"))
    assert not contract.is_on_grid(Decimal("64123.45"))
    assert contract.round_price(Decimal("0.01")) == Decimal("0.10")  # never to nothing


def test_a_tier_may_have_the_venues_own_maintenance_rate() -> None:
    # BTCUSDT, the first brackets: 125x at 0.4 %, from 300,000 on 100x at 0.5 %, whose cum is 300.
    tiers = (
        MarginTier(Decimal(0), 125, Decimal("0.004")),
        MarginTier(Decimal(300_000), 100, Decimal("0.005")),
    )
    assert tiers_with_deductions(tiers)[1] == (Decimal(300_000), Decimal("0.005"), Decimal(300))
    with pytest.raises(ValueError, match="rates must rise"):
        Instrument("binance:BTC", 3, (tiers[0], MarginTier(Decimal(9), 100, Decimal("0.001"))))


@pytest.mark.parametrize(
    ("name", "underlying", "multiplier"),
    [
        ("binance:BTC", "BTC", 1),
        ("binance:1000PEPE", "PEPE", 1000),
        ("bybit:1000000MOG", "MOG", 10**6),
        ("1INCH", "1INCH", 1),
    ],
)
def test_another_venues_names_tell_their_multiplier(name: str, underlying: str, multiplier: int) -> None:
    assert underlying_of(name) == (underlying, multiplier)
