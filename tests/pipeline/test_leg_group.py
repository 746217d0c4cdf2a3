"""Both legs of a spread against markets that fill all, some or nothing of each order, in every pattern."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.model.instrument import Instrument, Kind, MarginTier, simple_instrument, spot_instrument
from bot.model.spread import Spread
from bot.pipeline.closing import WIDEST
from bot.pipeline.leg_group import (
    FIRST_ATTEMPTS,
    TOO_SMALL_A_CAP,
    End,
    Group,
    Move,
    Scene,
    is_uneven,
    least_cap_usd,
    next_move,
)
from bot.pipeline.mandate import Execution

BTC = simple_instrument("BTC", 5, 40)
ON_SPOT = Spread(BTC, spot_instrument("UBTC/USDC", 5, "UBTC"))
ACROSS = Spread(BTC, Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 20),), venue="binance"))
USD_PER_LOT = {ON_SPOT.name: (1.0, 1.0), ACROSS.name: (1.0, 100.0)}  # at 100,000 a coin
EXECUTION = Execution(max_unhedged_usd=1000.0, hedge_attempts=3, slippage_bps=10.0)

Market = Callable[[Move], Fraction]
"""How much of an order it fills."""


@dataclass
class Played:
    held: tuple[int, int]
    moves: list[tuple[Move, tuple[int, int]]]  # and what was held before each
    end: End
    group: Group

    def worst_unhedged_usd(self, spread: Spread, start: tuple[int, int]) -> float:
        price = USD_PER_LOT[spread.name][0] * BTC.lots_per_coin
        seen = [before for _, before in self.moves] + [self.held, start]
        return max(float(abs(spread.unhedged(*held))) * price for held in seen)


def play(
    spread: Spread, steps: int, held: tuple[int, int], market: Market, *, may_open: bool = True
) -> Played:
    group = Group(spread, steps)
    moves: list[tuple[Move, tuple[int, int]]] = []
    for _ in range(2000):
        scene = Scene(held, USD_PER_LOT[spread.name], EXECUTION, may_open)
        group, told = next_move(group, scene)
        if isinstance(told, End):
            return Played(held, moves, told, group)
        moves.append((told, held))
        got = ceil(abs(told.lots) * market(told)) * (1 if told.lots > 0 else -1)
        held = (held[0] + got, held[1]) if told.leg == 0 else (held[0], held[1] + got)
    raise AssertionError(f"no end: {moves[-5:]}")


def everything(_: Move) -> Fraction:
    return Fraction(1)


def nothing(_: Move) -> Fraction:
    return Fraction(0)


def test_the_thinner_leg_goes_first_and_each_piece_is_hedged_before_the_next() -> None:
    played = play(ON_SPOT, -2500, (0, 0), everything)
    assert [(move.leg, move.lots, move.hedges) for move, _ in played.moves] == [
        (1, 1000, False),
        (0, -1000, True),
        (1, 1000, False),
        (0, -1000, True),
        (1, 500, False),
        (0, -500, True),
    ]
    assert played.held == (-2500, 2500)
    assert played.end == End(0)


def test_what_closes_only_reduces() -> None:
    played = play(ON_SPOT, 0, (-1500, 1500), everything)
    assert played.held == (0, 0)
    assert all(move.reduce_only for move, _ in played.moves)


def test_a_spread_that_turns_goes_out_before_it_goes_in() -> None:
    played = play(ACROSS, 5, (-500, 5), everything)
    assert played.held == (500, -5)
    reduces = [move.reduce_only for move, _ in played.moves]
    assert reduces == [True, True, False, False]
    assert (0, 0) in [before for _, before in played.moves]


def test_a_hedge_that_is_refused_is_tried_at_worse_prices_and_then_the_first_leg_comes_back() -> None:
    played = play(ON_SPOT, -800, (0, 0), lambda move: Fraction(move.leg == 1))
    assert [(move.leg, move.lots, move.slippage_bps) for move, _ in played.moves] == [
        (1, 800, 10.0),
        (0, -800, 10.0),
        (0, -800, 20.0),
        (0, -800, 30.0),
        (1, -800, 10.0),
    ]
    assert played.held == (0, 0)
    assert played.end == End(0, "no hedge in 3 attempts")


def test_a_first_leg_that_finds_nothing_is_left_alone() -> None:
    played = play(ON_SPOT, -800, (0, 0), nothing)
    assert len(played.moves) == FIRST_ATTEMPTS
    assert played.end.unhedged_steps == 0


def test_a_first_leg_that_brings_less_than_a_step_is_tried_no_more_often() -> None:
    group, held, sent = Group(ACROSS, -20, first=0), (0, 0), 0
    while True:
        group, told = next_move(group, Scene(held, USD_PER_LOT[ACROSS.name], EXECUTION, True))
        if isinstance(told, End):
            break
        sent, held = sent + 1, (held[0] - 1, 0)  # a hundredth of a step of each order
        assert sent <= FIRST_ATTEMPTS
    assert sent == FIRST_ATTEMPTS
    assert told == End(0, "the first leg found nothing to trade with")


@pytest.mark.parametrize(
    ("spread", "held", "is_so"),
    [
        (ACROSS, (-100, 0), True),  # one step, and less than one
        (ACROSS, (-99, 0), False),
        (ON_SPOT, (-15, 8), True),  # the perpetual can be closed, if not the coins
        (ON_SPOT, (0, 8), False),
        (ON_SPOT, (0, 10), True),
    ],
)
def test_legs_are_uneven_from_a_step_on_but_for_coins_that_stand_alone_and_can_not_be_sold(
    spread: Spread, held: tuple[int, int], is_so: bool
) -> None:
    assert is_uneven(spread, held, USD_PER_LOT[spread.name]) == is_so


def test_of_legs_on_both_sides_of_what_is_wanted_each_goes_there_and_no_further() -> None:
    played = play(ACROSS, -4, (-600, 3), everything)
    assert [(move.leg, move.lots, move.reduce_only) for move, _ in played.moves] == [
        (0, 200, True),
        (1, 1, False),
    ]
    assert played.held == (-400, 4)


def first_move(
    spread: Spread, steps: int, held: tuple[int, int], *, first: int = 1, cap_usd: float = 1000.0
) -> tuple[int, int]:
    """Leg and lots."""
    execution = Execution(max_unhedged_usd=cap_usd, hedge_attempts=3, slippage_bps=10.0)
    _, told = next_move(Group(spread, steps, first), Scene(held, USD_PER_LOT[spread.name], execution, True))
    assert isinstance(told, Move)
    return told.leg, told.lots


def test_the_coins_are_bought_first_whichever_leg_is_thinner_and_sold_in_its_turn() -> None:
    assert first_move(ON_SPOT, -2500, (0, 0), first=0) == (1, 1000)
    assert first_move(ON_SPOT, 0, (-2500, 2500), first=0) == (0, 1000)
    assert first_move(ACROSS, -20, (0, 0), first=0) == (0, -1000)


def test_a_piece_counts_what_one_leg_is_ahead_already() -> None:
    assert first_move(ON_SPOT, -2500, (0, 8)) == (
        1,
        992,
    )  # eight dollars are too few to be hedged by themselves


def test_what_is_left_after_a_piece_is_enough_for_an_order_of_its_own() -> None:
    # Eleven dollars and one for the fee are the least of a piece.
    played = play(ON_SPOT, -1005, (0, 0), everything)
    assert [abs(move.lots) for move, _ in played.moves] == [993, 993, 12, 12]
    assert first_move(ON_SPOT, -20, (0, 0), cap_usd=15.0) == (1, 15)  # and no piece is beyond the cap for it


def test_what_closes_goes_by_the_smallest_piece_where_that_is_more_than_the_cap() -> None:
    assert first_move(ACROSS, 0, (-500, 5), cap_usd=50.0) == (1, -1)


def test_where_nothing_may_open_the_leg_that_is_too_much_goes() -> None:
    played = play(ON_SPOT, -800, (0, 300), everything, may_open=False)
    assert [(move.leg, move.lots, move.reduce_only) for move, _ in played.moves] == [(1, -300, True)]
    assert played.held == (0, 0)


def test_one_leg_that_vanished_takes_the_other_with_it() -> None:
    # Liquidated, or closed by the venue: what is left is no hedge of anything. Nothing is wanted beyond what both have.
    played = play(ACROSS, 0, (0, 7), everything)
    assert [(move.leg, move.lots, move.reduce_only) for move, _ in played.moves] == [(1, -7, True)]


def test_what_can_be_closed_nowhere_is_said() -> None:
    played = play(ON_SPOT, 0, (0, 700), nothing)
    assert played.end == End(700, "what is too much of one leg could not be closed")
    assert len(played.moves) == EXECUTION.hedge_attempts + 1


def test_a_remainder_too_small_for_an_order_takes_both_legs_down() -> None:
    # Five dollars of the hedge are missing, and no venue takes an order of five dollars.
    played = play(ON_SPOT, -100, (-100, 95), everything)
    assert ON_SPOT.unhedged(*played.held) == 0
    assert 80 <= -played.held[0] < 100
    assert all(abs(move.lots) >= 10 for move, _ in played.moves)


@pytest.mark.parametrize("spread", [ON_SPOT, ACROSS])
@pytest.mark.parametrize("percent", range(0, 105, 5))
def test_a_hedge_that_fills_in_part_each_time_leaves_nothing_unhedged(spread: Spread, percent: int) -> None:
    played = play(
        spread,
        -40 * 100 // spread.primary_lots,
        (0, 0),
        lambda m: Fraction(percent, 100) if m.hedges and not m.reduce_only else Fraction(1),
    )
    assert abs(spread.unhedged(*played.held)) < spread.step
    assert played.end.unhedged_steps == 0


def is_dust(spread: Spread, played: Played) -> bool:
    """Whether all that is left are coins that no order can sell, and that is said."""
    worth = played.held[1] * USD_PER_LOT[spread.name][1]
    return (
        spread.hedge.kind is Kind.SPOT
        and played.held[0] == 0
        and 0 < worth < 10
        and played.end.dust_usd == pytest.approx(worth)
    )


shares = st.lists(st.integers(0, 20).map(lambda part: Fraction(part, 20)), min_size=1, max_size=30)


def _cycle(parts: list[Fraction]) -> Iterator[Fraction]:
    """These, and then all of everything: what fails does not fail for ever."""
    yield from parts
    while True:
        yield Fraction(1)


@settings(max_examples=400, deadline=None)
@example(ON_SPOT, -3000, [Fraction(1, 20)] * 30, True)
@given(st.sampled_from([ON_SPOT, ACROSS]), st.integers(-4000, 4000), shares, st.booleans())
def test_whatever_fills_the_legs_stay_within_the_bound_and_end_even(
    spread: Spread, lots: int, parts: list[Fraction], may_open: bool
) -> None:
    steps = spread.steps(lots)
    filling = _cycle(parts)
    played = play(spread, steps, (0, 0), lambda _: next(filling), may_open=may_open)
    step_usd = spread.primary_lots * USD_PER_LOT[spread.name][0]
    assert played.worst_unhedged_usd(spread, (0, 0)) <= EXECUTION.max_unhedged_usd + 12 + step_usd
    last = [before for _, before in played.moves[-EXECUTION.hedge_attempts - 1 :]]
    if set(last) == {played.held}:  # so many orders in a row got nothing at all
        assert played.end.unhedged_steps == int(abs(spread.unhedged(*played.held)) / spread.step)
    else:
        assert played.end.unhedged_steps == 0
        assert abs(spread.unhedged(*played.held)) < spread.step or is_dust(spread, played)
    for move, before in played.moves:
        after = before[move.leg] + move.lots
        least = float(spread.legs[move.leg].min_order_usd)
        closes_perp = after == 0 and spread.legs[move.leg].kind is Kind.PERP
        assert abs(move.lots) * USD_PER_LOT[spread.name][move.leg] >= least or closes_perp
        if move.reduce_only:
            assert abs(after) < abs(before[move.leg])
            assert after * before[move.leg] >= 0
        else:
            assert may_open
        assert abs(after) <= max(
            abs(before[move.leg]), abs(steps) * (spread.primary_lots, spread.hedge_lots)[move.leg]
        )
    if all(part == 1 for part in parts) and may_open and abs(steps) * step_usd > 25:
        assert played.held == spread.lots(steps)


@settings(max_examples=300, deadline=None)
@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(-300, 300), shares)
def test_from_any_pair_of_positions_it_ends_even_or_says_what_it_could_not_close(
    primary: int, hedge: int, steps: int, parts: list[Fraction]
) -> None:
    filling = _cycle(parts)
    played = play(ACROSS, steps, (primary * 10, hedge), lambda _: next(filling))
    gap = abs(Fraction(played.held[0], 100) + played.held[1])
    assert int(gap) == played.end.unhedged_steps
    assert played.end.unhedged_steps == 0 or played.end.why


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("spread", "held", "moves", "after", "dust_usd"),
    [
        # Half a step of the perpetual, after a liquidation by part: closed whole, though it is worth less than an order.
        (ACROSS, (-50, 0), [(0, 50)], (0, 0), 0.0),
        (ACROSS, (-5, 0), [(0, 5)], (0, 0), 0.0),
        # Both legs are worth less than an order: the perpetual goes, the coins can't.
        (ON_SPOT, (-8, 8), [(0, 8)], (0, 8), 8.0),
        (ON_SPOT, (0, 8), [], (0, 8), 8.0),
        # 15 USD of the perpetual against 12 of coins: 3 are too few for an order, all of either are enough.
        (ON_SPOT, (-15, 12), [(0, 15), (1, -12)], (0, 0), 0.0),
        (ON_SPOT, (-15, 9), [(0, 15)], (0, 9), 9.0),
    ],
)
def test_where_nothing_is_wanted_all_goes_that_an_order_can_close(
    spread: Spread,
    held: tuple[int, int],
    moves: list[tuple[int, int]],
    after: tuple[int, int],
    dust_usd: float,
    first: int,
) -> None:
    group, sent = Group(spread, 0, first), []
    while True:
        group, told = next_move(group, Scene(held, USD_PER_LOT[spread.name], EXECUTION, True))
        if isinstance(told, End):
            break
        assert told.reduce_only
        sent.append((told.leg, told.lots))
        held = (held[0] + told.lots, held[1]) if told.leg == 0 else (held[0], held[1] + told.lots)
    assert (sent, held) == (moves, after)
    assert (told.unhedged_steps, told.dust_usd) == (0, dust_usd)
    assert not is_uneven(spread, held, USD_PER_LOT[spread.name])


@pytest.mark.parametrize("usd_per_lot", [(0.0, 1.0), (1.0, 0.0), (1.0, float("nan")), (float("nan"), 1.0)])
def test_without_a_price_of_either_leg_nothing_is_moved(usd_per_lot: tuple[float, float]) -> None:
    for held, gap in (((0, 0), 0), ((-500, 300), 200)):
        _, told = next_move(Group(ON_SPOT, -800), Scene(held, usd_per_lot, EXECUTION, True))
        assert told == End(gap, "there is no price")
    assert not least_cap_usd(ON_SPOT, usd_per_lot) > 0


def test_the_least_cap_opens_and_anything_below_it_does_not() -> None:
    # Of both legs an order of 10 USD with a twentieth to spare is 11 steps of a dollar, and one is left for the fee in coins.
    assert least_cap_usd(ON_SPOT, (1.0, 1.0)) == 12
    assert least_cap_usd(ACROSS, (1.0, 100.0)) == 100
    for spread, least in ((ON_SPOT, 12.0), (ACROSS, 100.0)):
        for cap, moves in ((least, True), (least - 0.01, False)):
            scene = Scene((0, 0), USD_PER_LOT[spread.name], Execution(max_unhedged_usd=cap), True)
            _, told = next_move(Group(spread, -800), scene)
            assert isinstance(told, Move) == moves
            assert moves or told == End(0, TOO_SMALL_A_CAP)


def test_a_remainder_of_a_perpetual_that_can_not_be_closed_is_tried_twice_and_left() -> None:
    played = play(ACROSS, 0, (-50, 0), nothing)
    assert [move.lots for move, _ in played.moves] == [50, 50]
    assert played.end == End(0, "what is left could not be closed")


@dataclass
class Owner:
    """A perpetual's lots, and coins on a spot market that takes its fee out of what is bought; all orders fill."""

    spread: Spread
    usd_per_lot: tuple[float, float]
    cap_usd: float
    fee: Fraction
    perp: int = 0
    coins: Fraction = Fraction(0)  # in lots of the spot market
    worst_usd: float = 0.0
    filling: Iterator[Fraction] | None = None  # shares of the orders to come; all of each where there is none
    end: End = field(default_factory=lambda: End(0))

    @property
    def held(self) -> tuple[int, int]:
        return self.perp, int(self.coins)

    @property
    def gap(self) -> Fraction:
        """Steps that one leg holds and the other does not."""
        return abs(
            Fraction(self.held[0], self.spread.primary_lots) + Fraction(self.held[1], self.spread.hedge_lots)
        )

    @property
    def step_usd(self) -> float:
        return self.spread.primary_lots * self.usd_per_lot[0]

    def cycle(self, steps: int, first: int) -> list[Move]:
        """What the decision of an hour leads to."""
        group, moves = Group(self.spread, steps, first), list[Move]()
        execution = Execution(max_unhedged_usd=self.cap_usd, hedge_attempts=3, slippage_bps=10.0)
        while True:
            group, told = next_move(group, Scene(self.held, self.usd_per_lot, execution, True))
            if isinstance(told, End):
                self.end = told
                return moves
            moves.append(told)
            assert len(moves) < 1000
            share = Fraction(1) if self.filling is None else next(self.filling, Fraction(1))
            lots = ceil(abs(told.lots) * share) * (1 if told.lots > 0 else -1)
            if told.leg == 0:
                self.perp += lots
            else:
                self.coins += lots * (1 - self.fee) if lots > 0 else lots
            self.worst_usd = max(self.worst_usd, float(self.gap) * self.step_usd)


FINE = (ON_SPOT, (1.0, 1.0))
COARSE = (Spread(simple_instrument("BTC", 3, 40), ON_SPOT.hedge), (100.0, 1.0))
TINY = (Spread(simple_instrument("PURR", 1, 3), spot_instrument("PURR/USDC", 0, "PURR")), (0.02, 0.2))
FEES = st.integers(0, 20).map(lambda part: Fraction(part, 10_000))


@settings(max_examples=400, deadline=None)
# The perpetual first: the fee left one step unhedged.
@example(FINE, -2500, (0, 0), 0, Fraction(7, 10_000), 1000.0, [])
@example(FINE, -2500, (0, 5), 1, Fraction(7, 10_000), 1000.0, [])
@given(
    st.sampled_from([FINE, COARSE, TINY]),
    st.integers(-5000, 0),
    st.just((0, 0)) | st.tuples(st.integers(-3000, 0), st.integers(0, 3000)),
    st.integers(0, 1),
    FEES,
    st.sampled_from([250.0, 1000.0, 7777.0]),
    st.just([]) | shares,
)
def test_a_fee_in_coins_leaves_less_than_a_step_and_nothing_to_do_in_later_hours(
    market: tuple[Spread, tuple[float, float]],
    wanted_usd: int,
    start: tuple[int, int],
    first: int,
    fee: Fraction,
    cap_usd: float,
    parts: list[Fraction],
) -> None:
    spread, usd_per_lot = market
    owner = Owner(spread, usd_per_lot, cap_usd, fee, start[0], Fraction(start[1]), filling=iter(parts))
    steps, before_usd = int(wanted_usd / owner.step_usd), float(owner.gap) * owner.step_usd
    for _ in parts:  # hours in which orders fill in part or not at all
        owner.cycle(steps, first)
    owner.filling = None
    # What was found uneven is evened, brought to what is wanted, and what the fee took made up for.
    for _ in range(3):
        assert len(owner.cycle(steps, first)) <= 2 * 5000 / max(100, cap_usd / 4) + 12
    settled = owner.held
    for _ in range(3):
        assert owner.cycle(steps, first) == []
    assert owner.held == settled
    dust_usd = owner.held[1] * usd_per_lot[1]
    if owner.perp == 0 and 0 < dust_usd < 10 and (steps == 0 or abs(steps) * owner.step_usd < 25):
        assert owner.end.dust_usd == pytest.approx(dust_usd)
    else:
        assert owner.gap < 1
        missed_usd = (abs(steps) - abs(owner.held[1]) / spread.hedge_lots) * owner.step_usd
        assert abs(missed_usd) < 10.5 + 3 * owner.step_usd
    if steps == 0:
        assert owner.perp == 0
    assert owner.worst_usd <= max(before_usd, cap_usd) + 25 + 2 * owner.step_usd


def test_a_thin_book_is_not_paid_more_and_more() -> None:
    dripping = play(ON_SPOT, 0, (-600, 0), lambda move: Fraction(1, abs(move.lots)))
    assert dripping.held == (0, 0)
    assert max(move.slippage_bps for move, _ in dripping.moves) == WIDEST * EXECUTION.slippage_bps
