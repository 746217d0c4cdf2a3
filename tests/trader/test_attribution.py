"""Dividing one account among strategies: whole lots, exact dollars, and nothing lost between them."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.decision import LotsArray
from bot.model.instrument import simple_instrument
from bot.model.money import usd
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side
from bot.sim.funding import FundingRound
from bot.trader.attribution import Attribution

D = Decimal
AAA, BBB = simple_instrument("AAA", 2, 10), simple_instrument("BBB", 0, 10)


def fill(lots: int, price: str, fee: str = "0", purpose: Purpose = Purpose.ENTRY, of: str = "AAA") -> Fill:
    notional = usd((AAA if of == "AAA" else BBB).notional(abs(lots), D(price)))
    return Fill(1, 0, of, Side.of(lots), abs(lots), D(price), notional, D(fee), False, "c", 1, purpose)


def payment(lots: int, received: str) -> FundingPayment:
    return FundingPayment(0, "AAA", lots, D(100), D("0.0001"), D(received))


def shares(*aaa: int) -> Attribution:
    """One row a strategy, holding these lots of AAA, bought for nothing."""
    return Attribution(wanted(*aaa), (AAA, BBB))


def wanted(*aaa: int) -> LotsArray:
    return np.array([[lots, 0] for lots in aaa], dtype=np.int64)


def held(books: Attribution) -> list[int]:
    return [int(lots) for lots in books.held_lots[:, 0]]


def test_two_strategies_that_want_the_same_side_get_what_each_wanted() -> None:
    books = shares(0, 0)
    books.fill(fill(400, "100", fee="0.18"), 0, wanted(300, 100))
    assert held(books) == [300, 100]
    assert books.cash_usd == [D(-300), D(-100)]  # 3 and 1 coins at 100
    assert books.fees_usd == [D("0.135"), D("0.045")]


def test_strategies_that_disagree_each_trade_their_own_at_the_price_of_the_netted_fill() -> None:
    books = shares(0, 0)
    books.fill(fill(200, "100", fee="0.08"), 0, wanted(300, -100))
    assert held(books) == [300, -100]
    assert books.cash_usd == [D(-300), D(100)]
    assert books.fees_usd == [D("0.06"), D("0.02")]  # by what each traded, whichever way


def test_a_partial_fill_goes_by_how_far_each_is_from_what_it_wants() -> None:
    books = shares(100, 0)
    books.fill(fill(150, "100"), 0, wanted(200, 200))  # gaps of 100 and 200
    assert held(books) == [150, 100]
    books.fill(fill(150, "100"), 0, wanted(200, 200))
    assert held(books) == [200, 200]


def test_a_remainder_that_does_not_divide_goes_to_the_largest_fraction_and_then_the_earlier() -> None:
    books = shares(0, 0, 0)
    books.fill(fill(10, "100", fee="0.000001"), 0, wanted(100, 100, 100))
    assert held(books) == [4, 3, 3]
    assert sum(books.fees_usd, D(0)) == D("0.000001")
    assert sorted(books.fees_usd) == [D(0), D(0), D("0.000001")]


@pytest.mark.parametrize("purpose", [Purpose.STOP, Purpose.LIQUIDATION, Purpose.SETTLEMENT])
def test_what_the_venue_closes_is_divided_by_what_each_holds(purpose: Purpose) -> None:
    books = shares(300, -100)
    books.fill(fill(-200, "90", fee="0.04", purpose=purpose), 0, books.held_lots)
    assert held(books) == [0, 0]
    assert books.cash_usd == [D(270), D(-90)]
    assert books.fees_usd == [D("0.03"), D("0.01")]


def test_part_of_a_position_closed_by_the_venue_leaves_the_strategies_in_proportion() -> None:
    books = shares(300, 100)
    books.fill(fill(-80, "90", purpose=Purpose.LIQUIDATION), 0, books.held_lots)
    assert held(books) == [240, 80]


def test_a_fill_nobody_wanted_goes_to_the_first() -> None:
    books = shares(0, 0)
    books.fill(fill(50, "100"), 0, wanted(0, 0))
    assert held(books) == [50, 0]


def test_what_nobody_asked_for_where_holdings_net_to_nothing_goes_to_the_first() -> None:
    books = shares(100, -100)
    books.fill(fill(50, "100", fee="0.02", purpose=Purpose.STOP), 0, books.held_lots)
    assert held(books) == [150, -100]
    assert books.cash_usd == [D(-50), D(0)]
    assert books.fees_usd == [D("0.02"), D(0)]


@pytest.mark.parametrize("want", [(400, 0), (350, 150)])
def test_a_fill_against_or_beside_all_wishes_goes_by_what_each_holds(want: tuple[int, int]) -> None:
    """Wishes that cancel out, and wishes to buy where something was sold, say nothing of whose the fill is."""
    books = shares(300, 100)
    books.fill(fill(-40, "100"), 0, wanted(*want))
    assert held(books) == [270, 90]


@pytest.mark.parametrize("want", [(-27_154, 30_646), (-27_154, 30_000), (-27_154, 30_756)])
@pytest.mark.parametrize("lots", [40_909, -40_909, 2_000])
def test_what_more_is_traded_than_opposite_strategies_differ_by_makes_neither_grow_beyond_it(
    want: tuple[int, int], lots: int
) -> None:
    """Shares of a small difference between large opposite holdings would be many times what was traded."""
    books = shares(-27_154, 30_646)
    books.fill(fill(lots, "100"), 0, wanted(*want))
    first, second = held(books)
    assert first + second == 30_646 - 27_154 + lots
    assert abs(first + 27_154) <= abs(lots)
    assert abs(second - 30_646) <= abs(lots)


def test_funding_of_holdings_that_net_to_nothing_goes_to_the_first_whole() -> None:
    for books in (shares(100, -100), shares(0, 0)):
        books.payment(payment(0, "0.000007"), 0)
        assert books.funding_usd == [D("0.000007"), D(0)]


def test_margin_kept_by_the_liquidator_goes_by_the_size_of_each_part_whichever_its_sign() -> None:
    books = shares(300, -100)
    books.fill(fill(-200, "90", purpose=Purpose.LIQUIDATION), 0, books.held_lots)
    before = list(books.cash_usd)
    books.forfeit(Liquidation(0, "AAA", 200, D(90), "backstop", D("8")), 0)
    assert [was - now for was, now in zip(before, books.cash_usd, strict=True)] == [D(6), D(2)]


@pytest.mark.parametrize("strategies", [1, 2])
def test_margin_kept_of_a_position_nobody_saw_close_is_the_firsts(strategies: int) -> None:
    books = shares(*[0] * strategies)
    books.forfeit(Liquidation(0, "AAA", 400, D(90), "backstop", D("8")), 0)
    assert books.cash_usd == [D(-8), D(0)][:strategies]


def test_strategies_cross_at_mark_without_fees_and_the_account_sees_nothing() -> None:
    books = shares(300, -100)
    books.cross(0, wanted(100, 100), 110.0)
    assert held(books) == [100, 100]
    assert books.cash_usd == [D(220), D(-220)]
    assert books.fees_usd == [D(0), D(0)]
    with pytest.raises(ValueError, match="cancel out"):
        books.cross(0, wanted(100, 101), 110.0)


def test_the_price_profit_of_a_strategy_is_what_it_sold_for_less_what_it_paid() -> None:
    books = shares(0, 0)
    books.fill(fill(200, "100"), 0, wanted(300, -100))
    mark = np.array([120.0, np.nan])
    assert [books.price_usd(k, mark) for k in (0, 1)] == [D(60), D(-20)]  # 3 and −1 coins, 20 up
    books.fill(fill(-200, "130"), 0, wanted(0, 0))
    assert [books.price_usd(k, mark) for k in (0, 1)] == [D(90), D(-30)]  # flat: marks don't matter


def test_funding_goes_by_what_each_holds_and_opposite_holdings_pay_each_other() -> None:
    books = shares(-300, 100)
    books.payment(payment(-200, "2"), 0)  # two coins short are paid 2: a coin is worth 1
    assert books.funding_usd == [D(3), D(-1)]


def test_funding_that_does_not_divide_is_kept_to_the_millionth() -> None:
    books = shares(100, 100, 100)
    books.payment(payment(300, "-0.000010"), 0)
    assert sorted(books.funding_usd) == [D("-0.000004"), D("-0.000003"), D("-0.000003")]


def test_a_whole_settlement_is_divided_like_its_payments() -> None:
    lots, rates, size = np.array([-200, 0]), np.array([0.0001, 0.5]), np.array([-2.0, 0.0])
    settled = FundingRound.of(0, (AAA, BBB), lots, size, np.array([100.0, 7.0]), rates)
    assert settled is not None
    books, alone = shares(-300, 100), shares(-200)
    books.settle(settled)
    alone.settle(settled)
    assert books.funding_usd == [D("0.03"), D("-0.01")]
    assert alone.funding_usd == [D("0.02")]


def test_margin_that_the_liquidator_kept_is_divided_as_the_position_it_took() -> None:
    books = shares(300, 100)
    books.fill(fill(-400, "90", purpose=Purpose.LIQUIDATION), 0, books.held_lots)
    before = list(books.cash_usd)
    books.forfeit(Liquidation(0, "AAA", 400, D(90), "backstop", D("8")), 0)
    assert [was - now for was, now in zip(before, books.cash_usd, strict=True)] == [D(6), D(2)]


def test_the_books_survive_being_written_down() -> None:
    books = shares(0, 0)
    books.fill(fill(200, "100.01", fee="0.080001"), 0, wanted(300, -100))
    books.payment(payment(200, "-0.000003"), 0)
    again = shares(300, -100)
    again.restore(["a", "b"], books.state(["a", "b"]))
    assert (again.cash_usd, again.funding_usd, again.fees_usd) == (
        books.cash_usd,
        books.funding_usd,
        books.fees_usd,
    )
    other = shares(300, -100)
    other.restore(["b", "new"], books.state(["a", "b"]))
    assert other.cash_usd == [books.cash_usd[1], D(0)]


three = st.tuples(*[st.integers(-500, 500)] * 3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fill", "partial", "venue", "funding", "cross"]),
            three,
            st.integers(1, 10**8),  # price, in millionths
            st.integers(-50, 10**6),  # fee or payment, in millionths
        ),
        max_size=12,
    )
)
def test_the_strategies_always_add_up_to_the_account(
    steps: list[tuple[str, tuple[int, ...], int, int]],
) -> None:
    books = shares(0, 0, 0)
    lots, cash, fees, funding = 0, D(0), D(0), D(0)
    for kind, want, price, micro in steps:
        target, amount = wanted(*want), D(micro).scaleb(-6)
        gap = sum(want) - lots
        if kind in {"fill", "partial"} and gap:
            traded = gap if kind == "fill" else gap // 2 or gap
        elif kind == "venue" and lots:
            traded, target = -lots, books.held_lots
        else:
            traded = 0
        if traded:
            one = fill(traded, str(D(price).scaleb(-6)), fee=str(amount))
            books.fill(one, 0, target)
            lots += traded
            cash -= one.side.sign * one.notional_usd
            fees += amount
        elif kind == "funding" and lots:
            books.payment(payment(lots, str(amount)), 0)
            funding += amount
        elif kind == "cross" and gap == 0:
            books.cross(0, target, float(D(price).scaleb(-6)))
        assert sum(held(books)) == lots
        assert sum(books.cash_usd, D(0)) == cash
        assert sum(books.fees_usd, D(0)) == fees
        assert sum(books.funding_usd, D(0)) == funding
