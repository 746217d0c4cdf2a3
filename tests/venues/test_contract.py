"""What every venue has to keep of the port's promises, whatever stands behind it: one suite for all of them.

The simulated venue, the Hyperliquid adapter on a devnet, and the adapter of central exchanges on the devnet's Binance.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from bot.devnet.start import Options, running
from bot.model.decision import Cancel, OrderPlan
from bot.model.instrument import simple_instrument
from bot.model.order import Fill, FundingPayment, Order, OrderReport, OrderStatus, Side, TimeInForce
from bot.model.panel import HOUR_MS, FloatArray, Grid, Panel
from bot.sim.bars import Frictions
from bot.venues import simulated
from bot.venues.hyperliquid import terms as hyperliquid
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.feed import Patience
from bot.venues.outbox import MemoryOutbox
from bot.venues.simulated import SimulatedVenue
from bot.venues.sources import ReplaySource
from bot.venues.venue import AccountState, Observation, Venue, VenueEvent
from tests.venues.cex.desk import COINS, START_MS, Desk
from tests.venues.hyperliquid.sdk_signer import SdkSigns

CENT = Decimal("0.01")


async def at_once() -> None:
    """A simulated hour passes when it is observed."""


@dataclass(frozen=True)
class Bench:
    """A venue to be held to the port's promises: how it is made, and how its time goes on."""

    make: Callable[[], Awaitable[Venue]]
    next_hour: Callable[[], Awaitable[None]]


def simulated_bench() -> Bench:
    rows, coins = 200, (simple_instrument("AAA", 2, 10), simple_instrument("BBB", 1, 10))
    moves = 1 + 0.002 * np.sin(np.arange(2 * rows).reshape(rows, 2))
    walk: FloatArray = (100 * np.cumprod(moves, axis=0)).astype(np.float64)
    fields: dict[str, FloatArray] = dict.fromkeys(("open", "high", "low", "close", "mark", "oracle"), walk)
    panel = Panel(Grid(1000, rows), ("AAA", "BBB"), {**fields, "funding_rate": np.full((rows, 2), 0.00002)})

    async def make() -> Venue:
        terms = simulated.Terms(Decimal(10_000), frictions=Frictions(0.0, 0.0))
        return SimulatedVenue(ReplaySource(panel, coins, 24, 48, {}), terms)

    return Bench(make, at_once)


async def advance(devnet: Any) -> None:
    seconds = -(-(HOUR_MS - devnet.world.now_ms % HOUR_MS) // 1000) + 1
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{devnet.url}/devnet/clock", json={"advance_s": seconds}) as reply,
    ):
        assert reply.status == 200


def hyperliquid_bench(devnet: Any) -> Bench:
    signs = SdkSigns({coin: k for k, coin in enumerate(COINS)}, key=devnet.funded[0]["private_key"])
    terms = hyperliquid.Terms(
        devnet.url, "devnet", signs.address, COINS, history_h=24, weight_per_minute=None, settle_s=2,
        feed=Patience(first_retry_s=0.02, longest_retry_s=0.2),
    )  # fmt: skip
    outbox = MemoryOutbox()

    async def make() -> Venue:
        return await HyperliquidVenue.connect(terms, signs, outbox)

    return Bench(make, lambda: advance(devnet))


def binance_bench(devnet: Any, folder: Path) -> Bench:
    from bot.venues.cex.adapter import CexVenue

    desk = Desk(devnet, folder)

    async def make() -> Venue:
        return await CexVenue.connect(desk.terms, desk.signer, desk.outbox)

    return Bench(make, lambda: advance(devnet))


@pytest.fixture(params=["simulated", "hyperliquid", "binance"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "simulated":
        yield simulated_bench()
        return
    options = Options(
        coins=COINS,
        history_h=96,
        flow=False,
        paused=True,
        start_ms=START_MS,
        cex_port=0,
        cex_usdt=Decimal(100_000),
    )
    with running(options) as devnet:
        yield hyperliquid_bench(devnet) if request.param == "hyperliquid" else binance_bench(devnet, tmp_path)


class Trader:
    """Trades one venue as the daemon does, and keeps all that it is told."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.events: list[VenueEvent] = []
        self.venue: Venue
        self.panel: Panel

    async def begin(self, checkpoint: Any = None) -> None:
        self.venue = await self._bench.make()
        self.panel = await self.venue.open(checkpoint)
        self.events += self.venue.take_events()

    async def send(self, *orders: Order, cancels: tuple[Cancel, ...] = ()) -> list[OrderReport]:
        reports = list(await self.venue.send(OrderPlan(cancels, orders)))
        self.events += self.venue.take_events()
        return reports

    async def hour(self) -> Observation:
        await self._bench.next_hour()
        seen = await self.venue.observe()
        assert seen is not None
        self.events += seen.events
        return seen

    async def account(self) -> AccountState:
        state = await self.venue.account()
        self.events += self.venue.take_events()
        return state

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def order(self, name: str, column: int, side: Side, usd: int, **other: Any) -> Order:
        instrument = self.venue.instruments[column]
        mark = Decimal(repr(float((await self.account()).mark[column])))
        return Order(
            f"{name}-{instrument.name}-x", instrument.name, side, instrument.lots(usd / mark), **other
        )


def play(bench: Bench, story: Callable[[Trader], Awaitable[None]]) -> None:
    async def run() -> None:
        trader = Trader(bench)
        await trader.begin()
        try:
            await story(trader)
        finally:
            await trader.venue.close()

    asyncio.run(run())


def test_history_and_hours_are_one_panel_in_the_order_of_the_instruments(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        names = tuple(instrument.name for instrument in trader.venue.instruments)
        assert trader.panel.instruments == names
        panel = trader.panel
        for _ in range(2):
            seen = await trader.hour()
            assert seen.time_ms == panel.grid.end_ms + HOUR_MS
            assert {values.shape for values in seen.row.values()} == {(len(names),)}
            assert np.isfinite(seen.row["mark"]).all()
            panel = panel.append(seen.time_ms, seen.row, 100)
            view = seen.account.view
            assert {view.lots.shape, view.entry_price.shape, view.leverage.shape} == {(len(names),)}

    play(bench, story)


def test_identity_and_checkpoint_are_json_and_identity_stays(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        before = json.dumps(dict(trader.venue.identity), sort_keys=True)
        await trader.hour()
        checkpoint = trader.venue.checkpoint()
        assert json.loads(json.dumps(checkpoint)) == checkpoint
        await trader.venue.close()
        await trader.begin(json.loads(json.dumps(checkpoint)))
        assert json.dumps(dict(trader.venue.identity), sort_keys=True) == before

    play(bench, story)


def test_an_empty_plan_does_nothing(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        assert list(await trader.send()) == []
        assert trader.events == []

    play(bench, story)


def test_events_are_told_once_and_make_the_account(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        opens = await trader.order("d1", 0, Side.BUY, 2_000)
        shorts = await trader.order("d1", 1, Side.SELL, 1_000)
        reports = await trader.send(opens, shorts)
        assert [each.status for each in reports] == [OrderStatus.FILLED] * 2
        for _ in range(8):
            await trader.hour()
        (closed,) = await trader.send(await trader.order("d2", 0, Side.SELL, 1_000, reduce_only=True))
        assert closed.status is OrderStatus.FILLED
        state = await trader.account()
        assert trader.venue.take_events() == ()
        fills = trader.of(Fill)
        assert len({fill.trade_id for fill in fills}) == len(fills)
        for column, instrument in enumerate(trader.venue.instruments):
            told = sum(fill.signed_lots for fill in fills if fill.instrument == instrument.name)
            assert told == state.view.lots[column]
        assert sum((fill.fee_usd for fill in fills), Decimal(0)) == state.fees_usd
        paid = trader.of(FundingPayment)
        assert paid
        assert sum((each.usd for each in paid), Decimal(0)) == state.funding_usd
        realised = sum((fill.closed_pnl_usd for fill in fills), Decimal(0))
        unrealised = sum((held.unrealised_usd for held in state.positions), Decimal(0))
        assert abs(state.price_usd - realised - unrealised) <= CENT
        by_parts = state.cash_usd + sum((held.notional_usd for held in state.positions), Decimal(0))
        assert abs(by_parts - state.equity_usd) <= CENT

    play(bench, story)


def test_what_rests_is_told_of_until_it_is_withdrawn(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        instrument = trader.venue.instruments[0]
        mark = Decimal(repr(float((await trader.account()).mark[0])))
        order = await trader.order(
            "d1", 0, Side.BUY, 500, time_in_force=TimeInForce.GTC,
            limit_price=instrument.round_price(mark * Decimal("0.97"), up=False),
        )  # fmt: skip
        (resting,) = await trader.send(order)
        assert resting.status is OrderStatus.RESTING
        (shown,) = (await trader.account()).view.open_orders
        assert (shown.order, shown.order_id) == (order, resting.order_id)
        await trader.send(cancels=(Cancel(resting.order_id, order.client_id, order.instrument, "moved"),))
        gone = trader.of(OrderReport)[-1]
        assert (gone.status, gone.order.client_id) == (OrderStatus.CANCELED, order.client_id)
        assert len((await trader.account()).view.open_orders) == 0

    play(bench, story)


def test_nothing_is_reduced_where_nothing_is_held(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        (report,) = await trader.send(await trader.order("d1", 0, Side.SELL, 500, reduce_only=True))
        assert report.status is OrderStatus.REJECTED
        assert trader.of(Fill) == []

    play(bench, story)


def test_a_restart_from_a_checkpoint_finds_the_same_account(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        await trader.send(await trader.order("d1", 0, Side.BUY, 2_000))
        await trader.hour()
        before = await trader.account()
        checkpoint = json.loads(json.dumps(trader.venue.checkpoint()))
        told = len(trader.of(Fill))
        await trader.venue.close()
        await trader.begin(checkpoint)
        after = await trader.account()
        assert len(trader.of(Fill)) == told
        assert after.view.lots.tolist() == before.view.lots.tolist()
        assert (after.deposits_usd, after.fees_usd) == (before.deposits_usd, before.fees_usd)
        assert after.funding_usd == before.funding_usd

    play(bench, story)


def test_the_condition_of_a_venue_in_order_has_no_problem(bench: Bench) -> None:
    async def story(trader: Trader) -> None:
        told = await trader.venue.condition()
        assert (told.signer_problem, told.twin) == ("", "")

    play(bench, story)
