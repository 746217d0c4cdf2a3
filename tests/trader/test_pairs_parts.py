"""Spreads being carried out, a part at a time: when to look, what a venue took, what counts as left, prices on the way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.errors import Unavailable
from bot.model.decision import AccountView, OrderPlan
from bot.model.instrument import Instrument, MarginTier, simple_instrument
from bot.model.order import Fill, OrderReport, Purpose, Side
from bot.model.panel import Grid, Panel
from bot.model.spread import Spread
from bot.pipeline.mandate import Mandate, Slot
from bot.trader.pairs import Pairs, thinner
from bot.venues.venue import AccountState
from tests.pipeline.saying import Says
from tests.trader.two_legs import COINS, HERE, SPREAD, THERE, mandate

ON_SPOT = Spread(HERE, COINS)
OTHER = simple_instrument("ETH", 4, 25)


def pairs_of(spread: Spread, *others: Instrument) -> Pairs:
    return Pairs(mandate(-1.0, spread=spread), (*spread.legs, *others))


def account(*lots: int, stale: tuple[str, ...] = ()) -> AccountState:
    width, money = len(lots), Decimal(100)
    view = AccountView(100.0, np.array(lots), np.zeros(width), np.full(width, 5.0))
    return AccountState(
        view, np.full(width, 1e5), money, money, money, Decimal(0), Decimal(0), (), stale=stale
    )


def fill(name: str, purpose: Purpose) -> Fill:
    one = Decimal(1)
    return Fill(1, 0, name, Side.BUY, 5, one, one, one, False, "x", 7, purpose)


@pytest.mark.parametrize(("spread", "every"), [(SPREAD, 3), (ON_SPOT, 10)])
def test_legs_are_watched_every_three_seconds_and_looked_at_sooner_where_no_feed_tells_of_fills(
    spread: Spread, every: int
) -> None:
    pairs = pairs_of(spread)
    assert pairs.watch_s == 3.0
    assert [pairs.want_a_look(can_sign=True) for _ in range(2 * every)] == (
        [False] * (every - 1) + [True]
    ) * 2


def test_without_spreads_nothing_is_looked_at_for_them() -> None:
    pairs = Pairs(Mandate((Slot("carry", Says(-1.0), 1.0),)), (HERE,))
    assert pairs.watch_s == 15.0
    assert not any(pairs.want_a_look(can_sign=True) for _ in range(30))
    assert not pairs


def test_of_what_a_venue_took_legs_alone_are_of_concern_until_the_next_decision() -> None:
    pairs = pairs_of(SPREAD, OTHER)
    pairs.hear([fill("ETH", Purpose.LIQUIDATION), fill(HERE.name, Purpose.EXIT)])
    assert pairs.taken == set()
    pairs.hear([fill(THERE.name, Purpose.LIQUIDATION)])
    assert pairs.taken == {THERE.name}


def test_what_is_left_of_a_leg_stays_so_while_its_venue_can_not_be_asked() -> None:
    pairs = pairs_of(SPREAD)
    pairs.left[SPREAD.name] = 700.0
    assert pairs.unhedged(account(0, 0, stale=("binance",))) == {SPREAD.name: 700.0}
    assert pairs.unhedged(account(-700, 0)) == {SPREAD.name: 700.0}
    assert pairs.unhedged(account(0, 0)) == {}


def test_opinions_about_a_hedge_are_those_about_its_primary_leg() -> None:
    assert pairs_of(SPREAD).spoken_for({HERE.name: 0, THERE.name: 1}) == {HERE.name: 0, THERE.name: 0}


@pytest.mark.parametrize(
    ("spread", "fields", "leg"),
    [
        (SPREAD, {"depth_usd": (2, 1), "volume_usd": (1, 2)}, 1),  # by depth
        (SPREAD, {"depth_usd": (2, np.nan), "volume_usd": (2, 1)}, 1),  # where both are known, else by volume
        (SPREAD, {"volume_usd": (2, 1)}, 1),
        (SPREAD, {}, 0),
        (ON_SPOT, {}, 1),  # else a spot market
    ],
)
def test_the_thinner_leg_is_that_of_less_depth_or_volume(
    spread: Spread, fields: dict[str, tuple[float, float]], leg: int
) -> None:
    names = tuple(each.name for each in spread.legs)
    panel = Panel(
        Grid(1, 1),
        names,
        {"mark": np.ones((1, 2))} | {name: np.array([told], float) for name, told in fields.items()},
    )
    assert thinner(spread, panel) == leg


ETHER = Spread(OTHER, Instrument("binance:ETH", 3, (MarginTier(Decimal(0), 40),), venue="binance"))
BOTH = (*SPREAD.legs, *ETHER.legs)


class Desk:
    """Fills all that is sent, and says in which order it was asked what; `taken` comes with the look after so many orders."""

    def __init__(self, waits: Sequence[bool] = (), taken: str = "", after: int = 0) -> None:
        told = mandate(-1.0)
        slot = replace(told.strategies[0], spreads=(SPREAD, ETHER))
        self.pairs = Pairs(replace(told, strategies=(slot,)), BOTH, self.sleep)
        self.lots, self.done, self.sent = [0] * 4, list[str](), list[OrderPlan]()
        self.waits, self.taken, self.after = list(waits), taken, after
        self.stale_looks = self.blind_looks = 0
        self.fills, self.slept_s = True, list[float]()

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    async def room(self) -> bool:
        self.done.append("room")
        return self.waits.pop(0) if self.waits else False

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        (order,) = plan.orders
        self.sent.append(plan)
        self.done.append(f"send {order.instrument}")
        if self.fills:
            self.lots[[each.name for each in BOTH].index(order.instrument)] += order.side.sign * order.lots
        return ()

    async def look(self) -> AccountState:
        self.done.append("look")
        if self.blind_looks:
            self.blind_looks -= 1
            raise Unavailable("no route")
        stale = ("binance",) if self.stale_looks else ()
        self.stale_looks = max(0, self.stale_looks - 1)
        if self.taken and len(self.sent) == self.after:
            self.pairs.taken.add(self.taken)
        return account(*self.lots, stale=stale)

    def bring(self, *steps: int) -> None:
        wanted = np.array(
            [lots for spread, each in zip((SPREAD, ETHER), steps, strict=True) for lots in spread.lots(each)]
        )
        panel = Panel(Grid(1, 1), tuple(each.name for each in BOTH), {"mark": np.ones((1, 4))})
        venue: Any = self
        asyncio.run(
            self.pairs.bring(wanted, account(*self.lots), "d1", panel, venue, self.look, lambda: True)
        )


@pytest.mark.parametrize("fails", [False, True])
def test_a_market_of_ones_own_goes_slowly_from_the_first_order_to_the_last(fails: bool) -> None:
    desk = Desk()

    @asynccontextmanager
    async def slowed() -> AsyncIterator[None]:
        desk.done.append("slow")
        try:
            yield
        finally:
            desk.done.append("quick")

    desk.pairs.slowed = slowed
    desk.bring(0, 0)
    assert desk.done == []  # where nothing is traded its time is not touched
    if fails:
        desk.blind_looks = 9
        with pytest.raises(Unavailable):
            desk.bring(-2, 0)
    else:
        desk.bring(-2, 0)
        assert desk.done.count("look") == len(desk.sent)
    first = desk.done.index("slow")
    assert desk.done[: first + 1] == ["room", "slow"]
    assert desk.done[-1] == "quick"
    assert (desk.done.count("slow"), desk.done.count("quick")) == (1, 1)


def test_a_first_leg_waits_for_room_and_is_reckoned_anew_and_what_hedges_it_waits_for_nothing() -> None:
    desk = Desk(waits=[True, True])
    desk.bring(-50, 0)  # of 100 USD each, 4,000 at once
    piece = ["room", "look", f"send {HERE.name}", "look", f"send {THERE.name}", "look"]
    assert desk.done == piece * 2
    assert [plan.urgent for plan in desk.sent] == [False, True] * 2
    assert desk.lots == [-5000, 50, 0, 0]


def test_once_a_leg_of_another_spread_was_taken_nothing_is_begun_and_what_is_under_way_is_hedged() -> None:
    desk = Desk(taken="binance:ETH", after=1)
    desk.bring(-80, -80)
    assert desk.lots == [-4000, 40, 0, 0]


def test_a_leg_that_was_taken_ends_its_own_spread_at_once() -> None:
    desk = Desk(taken=THERE.name, after=1)
    desk.bring(-80, -80)
    assert desk.lots == [-4000, 0, 0, 0]  # which the look after it has to even out


def test_one_after_the_other_is_brought_to_its_end() -> None:
    desk = Desk()
    desk.bring(-80, -5)
    assert desk.lots == [-8000, 80, *ETHER.lots(-5)]
    assert not desk.pairs.left


def test_a_leg_that_stands_alone_comes_before_what_another_spread_begins() -> None:
    desk = Desk()
    desk.lots[2] = -ETHER.primary_lots * 3
    desk.bring(-5, -3)
    assert desk.sent[0].orders[0].instrument == "binance:ETH"
    assert desk.sent[0].urgent


def test_an_order_that_changed_nothing_is_followed_by_longer_and_longer_pauses() -> None:
    desk = Desk()
    desk.fills = False
    desk.bring(-5, 0)
    assert desk.slept_s == [0.5, 1.0]
    assert len(desk.sent) == 2


@pytest.mark.parametrize("fault", ["stale_looks", "blind_looks"])
def test_what_an_order_became_is_asked_again_before_it_is_taken_for_unknown(fault: str) -> None:
    desk = Desk()
    desk.lots[:2] = [-500, 0]
    setattr(desk, fault, 2)
    desk.bring(-5, 0)
    assert desk.done == ["send binance:BTC", "look", "look", "look"]
    assert desk.slept_s == [0.5, 1.0]
    desk = Desk()
    desk.lots[:2] = [-500, 0]
    setattr(desk, fault, 3)
    with pytest.raises(Unavailable):
        desk.bring(-5, 0)
    assert len(desk.sent) == 1


def test_what_can_be_closed_nowhere_is_told_in_dollars_until_it_was_closed() -> None:
    desk = Desk()
    desk.lots[:2] = [-500, 0]
    desk.fills = False
    desk.bring(0, 0)
    assert desk.pairs.left == {SPREAD.name: 500.0}
    desk.fills = True
    desk.bring(0, 0)
    assert desk.lots == [0, 0, 0, 0]
    assert desk.pairs.left == {}
    orders = [order for plan in desk.sent for order in plan.orders]
    assert {(order.purpose, order.reduce_only) for order in orders} == {(Purpose.EXIT, True)}
