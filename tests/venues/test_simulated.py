"""The simulated venue by itself: what it says between bars, over gaps, and after a restart in the middle of one."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from math import nan
from typing import Any

import numpy as np
import pytest
import structlog

from bot.errors import StateError
from bot.model.account import MarginMode
from bot.model.decision import OrderPlan
from bot.model.instrument import simple_instrument
from bot.model.order import Fill, Order, Purpose, Side
from bot.model.panel import Grid, Panel
from bot.sim.bars import Frictions
from bot.venues.simulated import SimulatedVenue, Terms
from bot.venues.sources import ReplaySource

TERMS = Terms(Decimal(10_000), frictions=Frictions(0.0, 0.0), max_gap_h=3)
COINS = (simple_instrument("AAA", 2, 10),)


def market(close: Sequence[float], opened: Sequence[float] | None = None) -> Panel:
    """Bars of one coin that open where the one before closed, or as told."""
    last = np.array(close, dtype=np.float64)[:, None]
    first = np.array(opened or [close[0], *close[:-1]], dtype=np.float64)[:, None]
    fields = {
        "open": first,
        "high": np.fmax(first, last),
        "low": np.fmin(first, last),
        "close": last,
        "mark": last,
    }
    return Panel(
        Grid(1000, len(close)), ("AAA",), {**fields, "funding_rate": np.where(np.isnan(last), nan, 0.0)}
    )


def venue(panel: Panel) -> SimulatedVenue:
    return SimulatedVenue(ReplaySource(panel, COINS, 1, 10, {}), TERMS)


def buy(lots: int, name: str = "x") -> OrderPlan:
    return OrderPlan((), (Order(name, "AAA", Side.BUY, lots),))


def test_between_bars_the_price_is_that_of_the_bar_in_progress() -> None:
    async def story() -> None:
        it = venue(market([100, 101, 102], opened=[100, 108, 101]))
        await it.open(None)
        assert (await it.account()).mark.tolist() == [108.0]  # the open of the bar that has begun
        await it.send(buy(100))
        (fill,) = [event for event in it.take_events() if isinstance(event, Fill)]
        assert fill.price == Decimal(108)
        seen = await it.observe()
        assert seen is not None
        assert seen.account.mark.tolist() == [101.0]
        assert seen.account.positions[0].unrealised_usd == Decimal(-7)

    asyncio.run(story())


@pytest.mark.parametrize("restart_after", [None, 2, 4])
def test_a_coin_silent_for_longer_than_allowed_is_settled_also_across_a_restart(
    restart_after: int | None,
) -> None:
    async def story() -> list[tuple[int, Purpose]]:
        panel = market([100, 100, 100, nan, nan, nan, nan, nan, nan], opened=[100, 100, 100, *[nan] * 6])
        it, happened = venue(panel), []
        await it.open(None)
        await it.send(buy(100))
        for bar in range(8):
            if bar == restart_after:
                state = it.checkpoint()
                it = venue(panel)
                await it.open(state)
            seen = await it.observe()
            assert seen is not None
            happened += [(bar, event.purpose) for event in seen.events if isinstance(event, Fill)]
        assert await it.observe() is None
        return happened

    # Bars 0 and 1 have a price, the silence begins with bar 2 and is longer than three hours at bar 5.
    assert asyncio.run(story()) == [(0, Purpose.ENTRY), (5, Purpose.SETTLEMENT)]


def test_when_a_recording_has_ended_nothing_can_be_sent_any_more() -> None:
    async def story() -> None:
        it = venue(market([100, 101]))
        await it.open(None)
        assert await it.observe() is not None
        assert await it.send(buy(100)) == ()
        assert await it.observe() is None
        account = await it.account()
        assert (account.positions, account.mark.tolist()) == ((), [101.0])

    asyncio.run(story())


def test_a_restart_is_given_the_same_tail_of_history() -> None:
    panel = market(list(range(100, 130)))

    async def tails() -> list[Any]:
        whole = SimulatedVenue(ReplaySource(panel, COINS, 12, 5, {}), TERMS)
        first = await whole.open(None)
        await whole.observe()
        again = SimulatedVenue(ReplaySource(panel, COINS, 12, 5, {}), TERMS)
        return [
            first.close.values[:, 0].tolist(),
            (await again.open(whole.checkpoint())).close.values[:, 0].tolist(),
        ]

    assert asyncio.run(tails()) == [[107, 108, 109, 110, 111], [108, 109, 110, 111, 112]]


@pytest.mark.parametrize(
    ("change", "leverage", "said"),
    [
        ({}, 5, []),
        ({"leverage": 3}, 3, [("3× cross", "AAA", "")]),
        (
            {"margin_mode": MarginMode.ISOLATED},
            5,
            [("5× isolated", "", "AAA: Cannot switch leverage type with open position.")],
        ),
    ],
    ids=["same", "leverage", "mode"],
)
def test_leverage_that_was_changed_while_it_stood_is_applied_or_said_to_be_kept(
    change: dict[str, Any], leverage: int, said: list[tuple[str, str, str]]
) -> None:
    async def story() -> None:
        it = venue(market([100, 101, 102]))
        await it.open(None)
        await it.send(buy(100))
        await it.observe()
        it.take_events()
        source = ReplaySource(market([100, 101, 102]), COINS, 1, 10, {})
        again = SimulatedVenue(source, replace(TERMS, **change))
        with structlog.testing.capture_logs() as logs:
            await again.open(it.checkpoint())
        assert (await again.account()).view.leverage.tolist() == [leverage]
        assert [(each["to"], each["coins"], each["kept"]) for each in logs] == said

    asyncio.run(story())


def test_a_checkpoint_of_another_version_is_refused() -> None:
    it = venue(market([100, 101]))
    with pytest.raises(StateError, match="version 99"):
        asyncio.run(it.open({"version": 99}))
    with pytest.raises(ValueError, match="open"):
        asyncio.run(it.account())


def test_a_recording_that_no_longer_reaches_the_moment_of_the_stop_is_refused() -> None:
    async def story() -> None:
        it = venue(market([100, 101, 102, 103]))
        await it.open(None)
        await it.observe()
        await it.observe()
        with pytest.raises(StateError, match="no longer holds the moment"):
            await venue(market([100, 101])).open(it.checkpoint())

    asyncio.run(story())


def test_what_a_bar_has_traded_is_not_offered_again_after_a_restart_within_it() -> None:
    async def story(restart: bool) -> list[int]:
        panel = market([100, 100, 100])
        panel = Panel(
            panel.grid, panel.instruments, {**panel.fields, "volume_usd": np.full((3, 1), 50.0)}
        )  # 50 lots of 1 USD a bar
        it = venue(panel)
        await it.open(None)
        await it.send(buy(30))
        it.take_events()
        if restart:
            state = json.loads(json.dumps(it.checkpoint()))
            it = venue(panel)
            await it.open(state)
        (same_bar,) = await it.send(buy(30))
        await it.observe()
        (next_bar,) = await it.send(buy(30))
        return [same_bar.filled_lots, next_bar.filled_lots]

    assert asyncio.run(story(restart=False)) == asyncio.run(story(restart=True)) == [20, 30]
