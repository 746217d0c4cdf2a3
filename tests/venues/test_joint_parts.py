"""What several venues say beside each other, by venues that say what they are told to."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.errors import DataError, Unavailable
from bot.model.decision import AccountView, OrderPlan
from bot.model.instrument import Instrument, MarginTier, simple_instrument, spot_instrument
from bot.model.order import Order, OrderReport, OrderStatus, Side, Transfer
from bot.model.panel import HOUR_MS, Grid, Panel
from bot.venues.joint import JointVenue
from bot.venues.venue import AccountState, Condition, Observation, VenueEvent

BTC, SPOT = simple_instrument("BTC", 5, 40), spot_instrument("UBTC/USDC", 5, "UBTC")
THERE = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 20),), venue="binance")
HOUR = 473_352


def account(*instruments: Instrument, usd: int = 100, **said: Any) -> AccountState:
    width = len(instruments)
    names = ("open_orders", "isolated_usd", "wallet_usd")
    view = AccountView(float(usd), np.zeros(width, np.int64), np.zeros(width), np.full(width, 5.0),
                       **{name: said.pop(name) for name in names if name in said})  # fmt: skip
    money = Decimal(usd)
    return AccountState(view, np.ones(width), money, money, money, Decimal(0), Decimal(0), (), **said)


def moment(hour: int, state: AccountState, *events: VenueEvent, missed: Sequence[int] = ()) -> Observation:
    def row(at: int) -> Mapping[str, Any]:
        return {"mark": np.full(len(state.mark), float(at))}

    past = tuple(((HOUR + at) * HOUR_MS, row(at)) for at in missed)
    return Observation((HOUR + hour) * HOUR_MS, row(hour), state, events, past)


class Told:
    """A venue that says what it was given, in order."""

    def __init__(self, state: AccountState | Exception, *instruments: Instrument, rows: int = 3) -> None:
        self.state, self.instruments, self.rows = state, instruments, rows
        self.moments: list[Observation | Exception] = []
        self.waited = self.ended = 0
        self.has_to_wait = False
        self.plans: list[OrderPlan] = []
        self.identity: Mapping[str, Any] = {}

    async def open(self, _: Any) -> Panel:
        grid = Grid(HOUR - self.rows + 1, self.rows)
        values = np.repeat(np.arange(-self.rows + 1.0, 1.0)[:, np.newaxis], len(self.instruments), axis=1)
        return Panel(grid, tuple(each.name for each in self.instruments), {"mark": values})

    async def due(self) -> None:
        self.waited += 1

    async def observe(self) -> Observation:
        told = self.moments.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        self.plans.append(plan)
        return ()

    async def room(self) -> bool:
        return self.has_to_wait

    async def account(self) -> AccountState:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    async def condition(self) -> Condition:
        return Condition()

    def take_events(self) -> tuple[VenueEvent, ...]:
        return ()

    def checkpoint(self) -> Mapping[str, Any]:
        return {}

    async def end(self) -> None:
        self.ended += 1

    async def close(self) -> None: ...


def pair(**said: Any) -> tuple[JointVenue, Told, Told]:
    here, there = Told(account(BTC, **said), BTC, rows=2), Told(account(THERE), THERE, rows=4)
    return JointVenue({"hyperliquid": here, "binance": there}), here, there


def moved(hour: float) -> Transfer:
    return Transfer(int((HOUR + hour) * HOUR_MS), Decimal(1), "deposit", f"at {hour}")


def test_histories_of_two_lengths_end_together() -> None:
    venue, _, _ = pair()
    panel = asyncio.run(venue.open(None))
    assert panel.mark.values[:, 1].tolist() == [-3, -2, -1, 0]
    assert panel.mark.values[2:, 0].tolist() == [-1, 0]
    assert np.isnan(panel.mark.values[:2, 0]).all()


def test_one_moment_after_the_other_each_asked_of_both_with_what_was_missed_and_in_order() -> None:
    venue, here, there = pair()
    ours, theirs = account(BTC), account(THERE)
    here.moments = [moment(1, ours, moved(0.5)), moment(3, ours, missed=[2])]
    there.moments = [moment(1, theirs, moved(0.2)), moment(2, theirs), moment(3, theirs)]

    async def story() -> list[Observation | None]:
        await venue.open(None)
        return [await venue.observe(), await venue.observe()]

    first, second = asyncio.run(story())
    assert first is not None
    assert second is not None
    assert (first.time_ms, first.missed) == ((HOUR + 1) * HOUR_MS, ())
    assert [event.time_ms for event in first.events] == [moved(0.2).time_ms, moved(0.5).time_ms]
    ((missed_ms, row),) = second.missed  # which the one has slept through and the other has seen
    assert (missed_ms, row["mark"].tolist()) == ((HOUR + 2) * HOUR_MS, [2.0, 2.0])
    assert second.row["mark"].tolist() == [3.0, 3.0]


def test_who_has_told_is_not_waited_for_again() -> None:
    venue, here, there = pair()
    here.moments, there.moments = [moment(1, account(BTC))], [Unavailable("no route")]

    async def story() -> None:
        await venue.open(None)
        with pytest.raises(Unavailable):
            await venue.observe()
        await venue.due()

    asyncio.run(story())
    assert (here.waited, there.waited) == (0, 1)


def test_all_that_accounts_have_is_in_their_sum() -> None:
    order = Order("a-BTC-stop", "BTC", Side.SELL, 1)
    report = OrderReport(1, 7, order, OrderStatus.RESTING)
    wallets = {"hyperliquid": 60.0, "hyperliquid spot": 40.0}
    said: dict[str, Any] = {
        "wallet_usd": wallets,
        "dust_usd": Decimal(2),
        "others": ("DOGE",),
        "time_ms": 5,
        "open_orders": [report],
    }
    here = Told(account(BTC, SPOT, **said), BTC, SPOT)
    isolated = account(
        THERE, usd=50, isolated_usd=np.array([7.0]), time_ms=9, others=("binance:X",), dust_usd=Decimal(1)
    )
    venue = JointVenue({"hyperliquid": here, "binance": Told(isolated, THERE)})
    told = asyncio.run(venue.account())
    assert told.view.wallet_usd == {**wallets, "binance": 50.0}
    assert told.view.isolated_usd is not None
    assert np.isnan(told.view.isolated_usd).tolist() == [
        True,
        True,
        False,
    ]  # on cross margin, and not one without any
    assert list(told.view.open_orders) == [report]
    assert (told.time_ms, told.others, told.dust_usd) == (9, ("DOGE", "binance:X"), Decimal(3))


def test_a_venue_that_was_never_seen_is_not_left_out() -> None:
    venue, _, there = pair()
    there.state = Unavailable("no route")
    with pytest.raises(Unavailable):
        asyncio.run(venue.account())


def test_what_can_not_be_read_weighs_more_than_who_can_not_be_asked() -> None:
    venue, here, there = pair()
    here.state, there.state = Unavailable("no route"), DataError("nonsense")
    with pytest.raises(DataError):
        asyncio.run(venue.account())


def test_what_is_urgent_is_so_at_its_venue_and_one_that_has_waited_is_enough_to_look_again() -> None:
    venue, here, there = pair()
    plan = OrderPlan((), (Order("a-BTC-leg1", "BTC", Side.SELL, 1),), urgent=True)

    async def story() -> list[bool]:
        await venue.send(plan)
        waited = [await venue.room()]
        there.has_to_wait = True
        waited.append(await venue.room())
        await venue.end()
        return waited

    assert asyncio.run(story()) == [False, True]
    assert here.plans == [replace(plan)]
    assert not there.plans
    assert (here.ended, there.ended) == (1, 1)
