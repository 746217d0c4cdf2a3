"""What a trader may rely on at every venue, whether simulated in this process or behind a wire."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from bot.errors import VenueError
from bot.model.decision import Cancel
from bot.model.order import Fill, FundingPayment, Order, OrderReport, OrderStatus, Purpose, Side, TimeInForce
from bot.model.panel import HOUR_MS
from bot.venues.venue import AccountState
from tests.venues.contract.places import PLACES, Place

Scene = Callable[[Place], Awaitable[None]]


def play(name: str, scene: Scene) -> None:
    async def run(place: Place) -> None:
        await place.open()
        try:
            await scene(place)
        finally:
            await place.venue.close()

    with ExitStack() as stack:
        asyncio.run(run(PLACES[name](stack)))


every = pytest.mark.parametrize("name", PLACES)
with_books = pytest.mark.parametrize("name", [name for name, place in PLACES.items() if place.rests])
behind_wires = pytest.mark.parametrize("name", [name for name, place in PLACES.items() if place.has_wire])


def agree(place: Place, state: AccountState) -> None:
    """What the account says in one way and in another."""
    assert state.equity_usd == state.deposits_usd + state.price_usd + state.funding_usd - state.fees_usd
    assert state.view.equity_usd == pytest.approx(float(state.equity_usd))
    worth = sum(
        (position.lots * position.mark * position.instrument.lot for position in state.positions), Decimal(0)
    )
    assert float(state.cash_usd + worth) == pytest.approx(float(state.equity_usd), abs=1e-4)
    held = dict(zip((i.name for i in place.venue.instruments), state.view.lots.tolist(), strict=True))
    assert {position.instrument.name: position.lots for position in state.positions} == {
        coin: lots for coin, lots in held.items() if lots
    }
    traded = dict.fromkeys(held, 0)
    for fill in place.of(Fill):
        traded[fill.instrument] += fill.signed_lots
    assert traded == held
    assert state.fees_usd == sum((fill.fee_usd for fill in place.of(Fill)), Decimal(0))
    assert state.funding_usd == sum((paid.usd for paid in place.of(FundingPayment)), Decimal(0))


@every
def test_history_ends_at_a_full_hour_with_every_instrument(name: str) -> None:
    async def scene(place: Place) -> None:
        names = tuple(instrument.name for instrument in place.venue.instruments)
        assert place.panel.instruments == names
        assert len(set(names)) == len(names)
        assert place.panel.grid.interval_ms == HOUR_MS
        assert np.isfinite(place.panel.mark.values[-1]).all()
        assert json.loads(json.dumps(place.venue.identity)) == place.venue.identity

    play(name, scene)


@every
def test_moments_follow_each_other_by_the_hour(name: str) -> None:
    async def scene(place: Place) -> None:
        panel = place.panel
        for _ in range(3):
            seen = await place.observe()
            assert seen.time_ms == panel.grid.end_ms + HOUR_MS
            assert not seen.missed
            assert all(values.shape == (len(panel.instruments),) for values in seen.row.values())
            assert np.isfinite(seen.row["mark"]).all()
            assert np.isfinite(seen.row["funding_rate"]).all()
            assert (np.abs(seen.row["funding_rate"]) < 0.04).all()  # by the hour
            panel = panel.append(seen.time_ms, seen.row, 100)
            agree(place, seen.account)

    play(name, scene)


@every
def test_an_order_fills_and_its_exit_closes_it(name: str) -> None:
    async def scene(place: Place) -> None:
        (filled,) = await place.send(entry := await place.order(Side.BUY, 5_000))
        assert (filled.status, filled.filled_lots) == (OrderStatus.FILLED, entry.lots)
        state = await place.account()
        assert state.view.lots[0] == entry.lots
        assert state.fees_usd > 0
        agree(place, state)
        out = await place.order(Side.SELL, 20_000, reduce_only=True, purpose=Purpose.EXIT)
        (closed,) = await place.send(out)
        assert closed.filled_lots in {0, entry.lots}  # cut to what is held or refused, never through zero
        assert (await place.account()).view.lots[0] == entry.lots - closed.filled_lots
        if not closed.filled_lots:
            (closed,) = await place.send(replace(out, client_id=f"{out.client_id}x", lots=entry.lots))
        assert (closed.status, closed.filled_lots) == (OrderStatus.FILLED, entry.lots)
        state = await place.account()
        assert state.positions == ()
        agree(place, state)

    play(name, scene)


@every
def test_what_only_reduces_can_not_open(name: str) -> None:
    async def scene(place: Place) -> None:
        (refused,) = await place.send(
            await place.order(Side.SELL, 5_000, reduce_only=True, purpose=Purpose.EXIT)
        )
        assert (refused.status, refused.filled_lots) == (OrderStatus.REJECTED, 0)
        assert refused.reason
        assert (await place.account()).positions == ()

    play(name, scene)


@every
def test_an_order_below_the_least_size_is_a_refusal_with_a_reason_and_no_error(name: str) -> None:
    async def scene(place: Place) -> None:
        least = float(place.instrument.min_order_usd)
        (refused,) = await place.send(await place.order(Side.BUY, int(least * 0.6)))
        assert (refused.status, refused.filled_lots) == (OrderStatus.REJECTED, 0)
        assert refused.reason
        assert (await place.account()).positions == ()
        assert not place.of(Fill)

    play(name, scene)


@with_books
def test_an_order_that_rests_is_listed_until_it_is_cancelled(name: str) -> None:
    async def scene(place: Place) -> None:
        order = await place.order(Side.BUY, 5_000)
        bid = place.instrument.round_price(
            Decimal(repr(float((await place.account()).mark[0]))) * Decimal("0.95")
        )
        order = Order(order.client_id, order.instrument, order.side, order.lots, bid, TimeInForce.ALO)
        (resting,) = await place.send(order)
        assert resting.status is OrderStatus.RESTING
        (listed,) = (await place.account()).view.open_orders
        assert (listed.order, listed.order_id) == (order, resting.order_id)
        (ended,) = await place.send(cancels=(Cancel(resting.order_id, order.client_id, place.coin, "moved"),))
        assert ended.status is OrderStatus.CANCELED
        assert (await place.account()).view.open_orders == ()

    play(name, scene)


@with_books
def test_post_only_never_takes(name: str) -> None:
    async def scene(place: Place) -> None:
        order = await place.order(Side.BUY, 5_000)
        above = place.instrument.round_price(
            Decimal(repr(float((await place.account()).mark[0]))) * Decimal("1.01")
        )
        (told,) = await place.send(
            Order(order.client_id, order.instrument, order.side, order.lots, above, TimeInForce.ALO)
        )
        assert told.status in {OrderStatus.REJECTED, OrderStatus.CANCELED}
        assert told.filled_lots == 0
        assert (await place.account()).positions == ()

    play(name, scene)


@every
def test_a_restart_tells_nothing_twice_and_knows_what_is_held(name: str) -> None:
    async def scene(place: Place) -> None:
        order = await place.order(Side.SELL, 5_000)
        await place.send(order)
        await place.observe()
        before, told = await place.account(), list(place.events)
        await place.again()
        after = await place.account()
        assert (
            after.view.lots.tolist()
            == before.view.lots.tolist()
            == [-order.lots, *[0] * (len(place.venue.instruments) - 1)]
        )
        fresh = place.events[len(told) :]
        assert not [event for event in fresh if isinstance(event, Fill | FundingPayment)]
        assert (after.deposits_usd, after.funding_usd, after.fees_usd) == (
            before.deposits_usd, before.funding_usd, before.fees_usd,
        )  # fmt: skip
        agree(place, after)

    play(name, scene)


@behind_wires
def test_an_order_is_placed_once_however_often_it_is_sent(name: str) -> None:
    async def scene(place: Place) -> None:
        order = await place.order(Side.BUY, 5_000)
        await place.send(order)
        await place.send(order)
        await place.again()
        await place.send(order)
        assert (await place.account()).view.lots[0] == order.lots
        assert sum(fill.lots for fill in place.of(Fill)) == order.lots

    play(name, scene)


@every
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_longs_pay_a_positive_rate_and_shorts_receive_it(name: str, side: Side) -> None:
    async def scene(place: Place) -> None:
        order = await place.order(side, 20_000)
        await place.send(order)
        due = 0.0
        for _ in range(place.settles_h):
            seen = await place.observe()
            row = seen.row
            settled = row.get("settled_funding", row["funding_rate"])[0]
            rate = settled if np.isfinite(settled) else row["funding_rate"][0]
            price = row["oracle"][0] if "oracle" in row and np.isfinite(row["oracle"][0]) else row["mark"][0]
            due -= order.side.sign * float(place.instrument.size(order.lots)) * float(price) * float(rate)
        paid = sum(float(each.usd) for each in place.of(FundingPayment))
        assert due != 0
        assert paid == pytest.approx(due, rel=0.02)
        agree(place, await place.account())

    play(name, scene)


@behind_wires
def test_a_venue_that_does_not_answer_is_never_taken_for_an_empty_account(name: str) -> None:
    async def scene(place: Place) -> None:
        await place.send(await place.order(Side.BUY, 5_000))
        more = await place.order(Side.BUY, 5_000)
        place.cut()
        with pytest.raises(VenueError):
            await place.venue.account()
        with pytest.raises(VenueError):
            await place.send(more)

    play(name, scene)


@every
def test_reports_are_of_the_orders_that_were_sent(name: str) -> None:
    async def scene(place: Place) -> None:
        orders = [await place.order(Side.BUY, usd) for usd in (5_000, 3_000)]
        reports = await place.send(*orders)
        assert [report.order.client_id for report in reports] == [order.client_id for order in orders]
        assert {report.order.client_id for report in place.of(OrderReport)} >= {o.client_id for o in orders}

    play(name, scene)
