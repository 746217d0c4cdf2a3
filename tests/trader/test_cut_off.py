"""A decision that is cut off between its orders and their stops: what is done about it, and how soon."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import Unavailable
from bot.model.decision import OrderPlan
from bot.model.order import OrderReport, OrderStatus, Purpose
from bot.trader.trader import Trader
from bot.venues.venue import Condition
from tests.trader.test_ladder import Watched, live, obey_until_done, put, shown


def stops(venue: Watched) -> set[str]:
    return {order.instrument for order in venue.sent if order.purpose is Purpose.STOP}


def entries(venue: Watched) -> set[str]:
    return {order.instrument for order in venue.sent if order.purpose is Purpose.ENTRY}


async def cut_off(it: Trader, venue: Watched) -> None:
    """Cycle until something is opened, with a venue that is away from then on."""
    send = venue.send

    async def and_leave(plan: OrderPlan) -> Sequence[OrderReport]:
        reports = await send(plan)
        venue.away = any(order.purpose is Purpose.ENTRY for order in plan.orders)
        return reports

    venue.send = and_leave  # type: ignore[method-assign]
    while not venue.away:
        try:
            assert await it.cycle()
        except Unavailable:
            assert venue.away
    venue.send = send  # type: ignore[method-assign]


async def opened_without_stops(it: Trader, venue: Watched) -> None:
    """Cycle until something is opened, whose stops get lost on the way."""
    send = venue.send

    async def without_stops(plan: OrderPlan) -> Sequence[OrderReport]:
        kept = tuple(order for order in plan.orders if order.purpose is not Purpose.STOP)
        return await send(OrderPlan(plan.cancels, kept))

    venue.send = without_stops  # type: ignore[method-assign]
    while not entries(venue):
        assert await it.cycle()
    venue.send = send  # type: ignore[method-assign]


def test_what_was_opened_gets_its_stop_as_soon_as_the_venue_is_back(tmp_path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await cut_off(it, venue)
        assert entries(venue)
        assert not stops(venue)
        moment = it.time_ms
        for _ in range(3):
            await it.due()  # it does not wait for the next hour
            with pytest.raises(Unavailable):
                await it.cycle()
        venue.away = False
        assert await it.cycle()
        assert it.time_ms == moment
        assert stops(venue) == entries(venue)
        assert await it.cycle()
        assert it.time_ms > moment

    venue = live(tmp_path / "journal.sqlite", life)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
        again = connection.execute("SELECT id FROM decision WHERE id LIKE '%a_n_'").fetchall()
        doubled = connection.execute(
            "SELECT client_id FROM orders GROUP BY instrument, purpose, decision_id HAVING count(*) > 1"
        ).fetchall()
    assert len(again) == 1
    assert not doubled
    assert stops(venue)


def test_a_restart_protects_what_it_finds_without_its_stop(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"

    async def first(it: Trader, venue: Watched) -> None:
        await opened_without_stops(it, venue)

    live(path, first)

    async def second(it: Trader, venue: Watched) -> None:
        assert it.account is not None
        held = {position.instrument.name for position in it.account.positions}
        moment = it.time_ms
        await it.due()
        assert await it.cycle()
        assert it.time_ms == moment
        assert held
        assert held <= stops(venue)

    live(path, second)


def test_a_position_whose_stop_is_refused_stops_the_opening_of_others_until_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"

    async def life(it: Trader, venue: Watched) -> None:
        send, refuses = venue.send, True

        async def refusing(plan: OrderPlan) -> Sequence[OrderReport]:
            protective = [order for order in plan.orders if order.purpose is Purpose.STOP]
            if not refuses:
                return await send(plan)
            venue.sent += protective
            reports = await send(
                OrderPlan(plan.cancels, tuple(o for o in plan.orders if o not in protective))
            )
            refused = [OrderReport(0, 0, o, OrderStatus.REJECTED, reason="no trigger") for o in protective]
            return [*reports, *refused]

        venue.send = refusing  # type: ignore[method-assign]
        while not entries(venue):
            assert await it.cycle()
        opened = entries(venue)
        facts = shown(path)
        assert (facts["state"], facts["state_by"]) == ("reducing", "watchdog")
        assert f"no stop or take-profit stands for {', '.join(sorted(opened))}" in facts["state_why"]
        venue.sent.clear()
        for _ in range(6):
            assert await it.cycle()
        assert not entries(venue)
        assert stops(venue) >= {position.instrument.name for position in it.account.positions}  # type: ignore[union-attr]
        refuses = False
        for _ in range(6):
            assert await it.cycle()
        assert shown(path)["state"] == "active"

    live(path, life)


def test_closing_everything_is_not_decided_again_but_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"

    async def life(it: Trader, venue: Watched) -> None:
        await cut_off(it, venue)
        put(path, "flatten")
        venue.away = False
        await obey_until_done(it)
        assert it.account is not None
        assert not it.account.positions

    live(path, life)
    assert shown(path)["state"] == "halted"


def test_what_an_order_opens_between_two_cycles_gets_its_stop_before_the_next(tmp_path: Path) -> None:
    """An entry that rested has traded: the feed tells of it, long before the hour."""
    path = tmp_path / "journal.sqlite"

    async def life(it: Trader, venue: Watched) -> None:
        await opened_without_stops(it, venue)
        finishes = []
        for heard in (False, True, False):
            venue.state = Condition(has_traded=heard)
            await it.watch()
            finishes.append(it.is_to_finish)
        assert finishes == [False, True, True]
        moment, opened = it.time_ms, entries(venue)
        await it.due()
        assert await it.cycle()
        assert (it.time_ms, stops(venue), entries(venue)) == (moment, opened, opened)
        assert not it.is_to_finish

    live(path, life)


def test_a_venue_that_is_back_is_known_to_be_back_before_the_hour(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"

    async def life(it: Trader, venue: Watched) -> None:
        assert await it.cycle()
        for _ in range(3):
            it.failed()
        assert shown(path)["state"] == "reducing"
        venue.away = True
        await it.watch()
        await it.due()
        with pytest.raises(Unavailable):
            await it.cycle()
        venue.away = False
        await it.watch()
        moment = it.time_ms
        await it.due()
        assert await it.cycle()
        assert it.time_ms == moment
        for _ in range(3):
            await it.watch()
        assert shown(path)["state"] == "active"

    live(path, life)
