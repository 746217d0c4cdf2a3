"""Fills and payments put together to spreads, by cases worked out by hand."""

from decimal import Decimal
from itertools import count

from bot.model.instrument import simple_instrument, spot_instrument
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side
from bot.model.spread import Spread
from bot.pipeline.pair_trades import Event, PairTrade, pair_trades
from bot.pipeline.underwriting import Stated

HOUR_MS = 3_600_000
PERP = simple_instrument("HYPE", 2, 10)
SPOT = spot_instrument("HYPE/USDC", 2, "HYPE")
SPREAD = Spread(PERP, SPOT)
NUMBERS = count(1)
ENTRY, EXIT = Purpose.ENTRY, Purpose.EXIT


def fill(hour: float, name: str, lots: int, price: str, purpose: Purpose, fee: str = "0") -> Fill:
    """Signed lots of a hundredth of a coin."""
    value = abs(lots) * Decimal(price) / 100
    return Fill(
        next(NUMBERS), int(hour * HOUR_MS), name, Side.of(lots), abs(lots), Decimal(price), value, Decimal(fee), False,
        "5f-leg", 1, purpose,
    )  # fmt: skip


def paid(hour: int, usd: str) -> FundingPayment:
    return FundingPayment(hour * HOUR_MS, PERP.name, -1_000, Decimal(40), Decimal("1e-4"), Decimal(usd))


def trades(*events: Event, end: int = 100, mark: str = "40") -> list[PairTrade]:
    def stated(_: Fill) -> tuple[Stated, str]:
        return Stated(expected=0.02, cost=0.005, hold_h=4.0), "told so"

    return pair_trades(
        SPREAD, events, stated, dict.fromkeys((PERP.name, SPOT.name), Decimal(mark)), end * HOUR_MS
    )


def test_in_and_out() -> None:
    (trade,) = trades(
        fill(1, SPOT.name, 1_000, "39.9", ENTRY, "0.28"),
        fill(1, PERP.name, -1_000, "40", ENTRY, "0.18"),
        paid(2, "0.04"),
        paid(6, "0.05"),
        fill(9, SPOT.name, -1_000, "44.9", EXIT, "0.31"),
        fill(9, PERP.name, 1_000, "44.95", EXIT, "0.20"),
    )
    assert (trade.side, trade.notional_usd, trade.hours) == ("short", 400.0, 8.0)
    assert (trade.expected_usd, trade.expected_cost_usd, trade.because) == (8.0, 2.0, "told so")
    # Ten coins: 5 USD gained on each that was owned, 4.95 lost on each that was sold.
    assert (trade.basis_usd, trade.funding_usd, trade.fees_usd) == (
        Decimal("0.5"),
        Decimal("0.09"),
        Decimal("0.97"),
    )
    assert trade.funding_in_hold_usd == 0.04  # within the four hours that were in mind
    assert trade.net_usd == Decimal("-0.38")


def test_a_first_piece_worth_less_than_an_order_is_held_all_the_same() -> None:
    (trade,) = trades(
        fill(1, SPOT.name, 20, "40", ENTRY),  # 8 USD of a larger order
        fill(1, SPOT.name, -1, "40", ENTRY),  # its fee, in coins
        fill(1, SPOT.name, 981, "40", ENTRY),
        fill(1, PERP.name, -1_000, "40", ENTRY),
    )
    assert (trade.is_open, trade.notional_usd) == (True, 400.0)


def test_coins_that_no_order_can_sell_are_flat_and_come_into_the_next() -> None:
    first, second = trades(
        fill(1, SPOT.name, 1_000, "40", ENTRY),
        fill(1, PERP.name, -1_000, "40", ENTRY),
        fill(5, SPOT.name, -980, "41", EXIT),  # 20 lots are left: 8.20 USD
        fill(5, PERP.name, 1_000, "41", EXIT),
        fill(7, SPOT.name, 500, "42", ENTRY),
        fill(7, PERP.name, -520, "42", ENTRY),
        end=8,
        mark="43",
    )
    assert (first.closed_ms, first.basis_usd) == (5 * HOUR_MS, Decimal(0))
    assert second.is_open
    # Twenty lots have gained from 41 to 43, 500 from 42 to 43, and 520 were sold at 42: 0.40 + 5.00 − 5.20.
    assert second.basis_usd == Decimal("0.2")


def test_what_a_liquidator_kept_belongs_to_the_position_that_it_took() -> None:
    took = Liquidation(3 * HOUR_MS, PERP.name, -1_000, Decimal(60), "backstop", Decimal(7))
    opened = (fill(1, SPOT.name, 1_000, "40", ENTRY), fill(1, PERP.name, -1_000, "40", ENTRY))
    died, sold = fill(3, PERP.name, 1_000, "60", Purpose.LIQUIDATION), fill(3, SPOT.name, -1_000, "60", EXIT)
    (trade,) = trades(*opened, died, took, sold)
    assert trade.net_usd == -7
    (trade,) = trades(*opened, sold, died, took)  # its fill has closed the trade already
    assert trade.net_usd == -7
