"""The live adapter on a devnet: the same wire, rules and errors as the venue, with time in the test's hands.

What the adapter counts is held against the exchange's own books, to the last digit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import numpy as np
import pytest

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import Unavailable
from bot.model.account import MarginMode
from bot.model.decision import Cancel, OrderPlan
from bot.model.instrument import Instrument
from bot.model.money import usd
from bot.model.order import (
    Fill,
    FundingPayment,
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    TriggerKind,
)
from bot.model.panel import HOUR_MS
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.feed import Patience as FeedPatience
from bot.venues.hyperliquid.sending import Patience
from bot.venues.hyperliquid.terms import Terms
from bot.venues.outbox import MemoryOutbox
from bot.venues.venue import AccountState, VenueEvent
from tests.venues.hyperliquid.sdk_signer import SdkSigns

COINS = ("BTC", "ETH")
START_MS = 1_790_000_000_000


@pytest.fixture
def devnet() -> Iterator[Server]:
    with running(Options(coins=COINS, history_h=48, flow=False, paused=True, start_ms=START_MS)) as server:
        yield server


class Desk:
    """An adapter on the devnet with one of its funded keys."""

    def __init__(self, devnet: Server, *, vault: str | None = None, **terms: Any) -> None:
        self.devnet = devnet
        assets = {coin: k for k, coin in enumerate(COINS)}
        self.signs = SdkSigns(assets, key=devnet.funded[0]["private_key"], vault=vault)
        self.address = vault or self.signs.address
        self.terms = Terms(
            devnet.url,
            "devnet",
            self.address,
            COINS,
            history_h=24,
            weight_per_minute=None,
            timeout_s=5,
            settle_s=2,
            sending=Patience(expires_s=15, resolve_s=5, poll_s=0.05),
            feed=FeedPatience(first_retry_s=0.02, longest_retry_s=0.2),
        )
        self.terms = replace(self.terms, **terms)
        self.outbox = MemoryOutbox()
        self.events: list[VenueEvent] = []
        self.number = 0
        self.venue: HyperliquidVenue

    async def connect(self, checkpoint: Any = None) -> None:
        self.venue = await HyperliquidVenue.connect(self.terms, self.signs, self.outbox)
        self.panel = await self.venue.open(checkpoint)

    async def send(self, *orders: Order, cancels: tuple[Cancel, ...] = ()) -> list[OrderReport]:
        reports = list(await self.venue.send(OrderPlan(cancels, orders)))
        self.hear()
        return reports

    def hear(self) -> None:
        self.events += self.venue.take_events()

    async def account(self) -> AccountState:
        state = await self.venue.account()
        self.hear()
        return state

    async def observe(self) -> Any:
        seen = await self.venue.observe()
        assert seen is not None
        self.events += seen.events
        return seen

    def order(self, coin: str, side: Side, usd_value: int, **keys: Any) -> Order:
        self.number += 1
        lots = self.instrument(coin).lots(Decimal(usd_value) / self.mark(coin))
        return Order(f"d{self.number}-{coin}-entry", coin, side, lots, **keys)

    def instrument(self, coin: str) -> Instrument:
        return self.devnet.world.instruments[coin]

    def mark(self, coin: str) -> Decimal:
        return self.devnet.world.exchange.marks[coin]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def agree(self, state: AccountState) -> None:
        """The adapter's books against the exchange's own."""
        exchange = self.devnet.world.exchange
        account = exchange.accounts[self.address]
        assert state.equity_usd == usd(account.equity_usd(exchange.marks))
        assert state.deposits_usd == account.deposits_usd
        assert state.fees_usd == account.fees_usd == sum((f.fee_usd for f in self.of(Fill)), Decimal(0))
        payments = sum((p.usd for p in self.of(FundingPayment)), Decimal(0))
        assert state.funding_usd == account.funding_usd == payments
        held = {name: position.lots for name, position in account.positions.items()}
        assert {p.instrument.name: p.lots for p in state.positions} == held
        traded = dict.fromkeys(COINS, 0)
        for fill in self.of(Fill):
            traded[fill.instrument] += fill.signed_lots
        assert {coin: lots for coin, lots in traded.items() if lots} == held
        realised = sum((f.closed_pnl_usd for f in self.of(Fill)), Decimal(0))
        unrealised = sum(
            (p.unrealised_usd(exchange.marks[n]) for n, p in account.positions.items()), Decimal(0)
        )
        assert abs(state.price_usd - realised - unrealised) <= Decimal("0.00001")


def play(desk: Desk, scene: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        await desk.connect()
        try:
            await scene(desk)
        finally:
            await desk.venue.close()

    asyncio.run(run())


async def control(desk: Desk, what: str, **body: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{desk.devnet.url}/devnet/{what}", json=body) as reply,
    ):
        assert reply.status == 200, await reply.text()


async def advance(desk: Desk, seconds: int) -> None:
    await control(desk, "clock", advance_s=seconds)


async def to_next_hour(desk: Desk) -> None:
    now_ms = desk.devnet.world.now_ms
    await advance(desk, -(-(HOUR_MS - now_ms % HOUR_MS) // 1000) + 1)


def test_an_order_fills_another_rests_and_is_cancelled_and_all_books_agree(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        bid = desk.instrument("ETH").round_price(desk.mark("ETH") * Decimal("0.95"))
        rest = desk.order("ETH", Side.BUY, 500, time_in_force=TimeInForce.ALO, limit_price=bid)
        filled, resting = await desk.send(desk.order("BTC", Side.BUY, 2_000), rest)
        assert (filled.status, resting.status) == (OrderStatus.FILLED, OrderStatus.RESTING)
        state = await desk.account()
        (shown,) = state.view.open_orders
        assert shown.order == rest
        assert state.view.leverage.tolist() == [3.0, 3.0]
        desk.agree(state)
        (cancelled,) = await desk.send(cancels=(Cancel(resting.order_id, rest.client_id, "ETH", "moved"),))
        assert cancelled.status is OrderStatus.CANCELED
        assert (await desk.account()).view.open_orders == ()
        (closed,) = await desk.send(
            desk.order("BTC", Side.SELL, 9_000, reduce_only=True, purpose=Purpose.EXIT)
        )
        assert closed.status is OrderStatus.FILLED
        state = await desk.account()
        assert state.positions == ()
        desk.agree(state)

    play(Desk(devnet, leverage=3), scene)


def test_a_coin_that_is_held_and_not_traded_here_is_named(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 500), desk.order("ETH", Side.SELL, 500))
        assert (await desk.account()).others == ()
        await desk.venue.close()
        desk.terms = replace(desk.terms, coins=("BTC",))
        await desk.connect()
        state = await desk.account()
        assert [position.instrument.name for position in state.positions] == ["BTC"]
        assert state.others == ("ETH",)

    play(Desk(devnet), scene)


def test_history_and_the_rows_that_follow_it_are_one_panel(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        panel = desk.panel
        assert panel.grid.end_ms == devnet.world.now_ms // HOUR_MS * HOUR_MS
        assert np.isfinite(panel.close.values).all()
        assert np.isfinite(panel.funding_rate.values).all()
        await to_next_hour(desk)
        seen = await desk.observe()
        assert seen.time_ms == panel.grid.end_ms + HOUR_MS
        for name in (
            "mark",
            "oracle",
            "mid",
            "open",
            "close",
            "funding_rate",
            "premium",
            "volume_usd",
            "open_interest",
        ):
            assert np.isfinite(seen.row[name]).all(), name
        rates, _, _ = devnet.world.market.settled(devnet.world.market.hour(seen.time_ms) - 1)
        assert seen.row["funding_rate"] == pytest.approx([float(rate) for rate in rates], abs=1e-10)
        panel.append(seen.time_ms, seen.row, 100)

    play(Desk(devnet), scene)


@pytest.mark.parametrize("mode", [MarginMode.CROSS, MarginMode.ISOLATED])
def test_funding_over_a_day_is_the_exchanges_own_to_the_last_digit(devnet: Server, mode: MarginMode) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 5_000), desk.order("ETH", Side.SELL, 3_000))
        state = await desk.account()
        for _ in range(24):
            await to_next_hour(desk)
            state = (await desk.observe()).account
        assert len(desk.of(FundingPayment)) == 48
        isolated = state.view.isolated_usd
        if mode is MarginMode.CROSS:
            assert isolated is None
        else:
            assert isolated is not None
            assert (isolated > 0).all()
        desk.agree(state)

    play(Desk(devnet, margin_mode=mode), scene)


def test_a_stop_rests_at_the_venue_and_fires_while_nobody_looks(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        (entry,) = await desk.send(desk.order("BTC", Side.BUY, 2_000))
        level = desk.instrument("BTC").round_price(desk.mark("BTC") - 1, up=False)
        stop = Order(
            "d9-BTC-stop",
            "BTC",
            Side.SELL,
            entry.filled_lots,
            reduce_only=True,
            trigger=Trigger(TriggerKind.STOP, level),
            purpose=Purpose.STOP,
        )
        (waiting,) = await desk.send(stop)
        assert waiting.status is OrderStatus.WAITING
        state = await desk.account()
        assert [each.order for each in state.view.open_orders] == [stop]
        for _ in range(300):
            await advance(desk, 60)
            if not devnet.world.exchange.accounts[desk.signs.address].positions:
                break
        state = await desk.account()
        assert state.view.lots.tolist() == [0, 0]
        fired = desk.of(Fill)[-1]
        assert (fired.purpose, fired.client_id, fired.side) == (Purpose.STOP, stop.client_id, Side.SELL)
        (ended,) = [r for r in desk.of(OrderReport) if r.order == stop and not r.status.is_open]
        assert (ended.status, ended.filled_lots) == (OrderStatus.FILLED, entry.filled_lots)
        await to_next_hour(desk)
        state = (await desk.observe()).account
        desk.agree(state)

    play(Desk(devnet), scene)


async def returned(venue: HyperliquidVenue, connection: int) -> None:
    """Until the feed is whole again on a later connection than that one."""
    while venue.feed.connection == connection:
        await venue.account()
    await venue.feed.live.wait()


def test_the_feed_comes_back_after_every_drop_and_nothing_is_counted_twice(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        for number in range(1, 6):
            await asyncio.wait_for(desk.venue.feed.live.wait(), 5)
            await desk.send(desk.order("BTC", Side.BUY if number % 2 else Side.SELL, 500))
            dropped = desk.venue.feed.connection
            await control(desk, "chaos", drop_sockets_now=True)
            await asyncio.wait_for(returned(desk.venue, dropped), 5)
        desk.hear()
        assert len(desk.of(Fill)) == len({fill.trade_id for fill in desk.of(Fill)}) >= 5
        desk.agree(await desk.account())

    play(Desk(devnet), scene)


def test_a_restart_between_order_and_fill_goes_on_with_the_same_books(devnet: Server) -> None:
    desk = Desk(devnet)

    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000), desk.order("ETH", Side.SELL, 1_000))
        await desk.account()
        for _ in range(3):
            saved = desk.venue.checkpoint()
            await desk.venue.close()
            await to_next_hour(desk)
            await desk.connect(saved)
            desk.hear()
        state = await desk.account()
        assert desk.of(
            FundingPayment
        )  # how many depends on the hours that passed meanwhile; the books must agree
        desk.agree(state)

    play(desk, scene)


def test_a_checkpoint_holds_nothing_that_a_look_has_counted_and_not_told(
    devnet: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        reader = desk.venue._reader
        real = reader._still_owed

        def away(now_ms: int) -> bool:
            if "ETH" in reader._books.opened_ms:
                raise Unavailable("the venue went away after its fills were read")
            return real(now_ms)

        monkeypatch.setattr(reader, "_still_owed", away)
        with pytest.raises(Unavailable):
            await desk.send(desk.order("ETH", Side.SELL, 1_000))
        with pytest.raises(Unavailable):
            await desk.account()
        desk.hear()
        assert {fill.instrument for fill in desk.of(Fill)} == {"BTC"}
        saved = desk.venue.checkpoint()
        await desk.venue.close()
        await desk.connect(saved)
        desk.agree(await desk.account())

    play(Desk(devnet), scene)


@pytest.mark.slow
def test_a_day_of_lost_replies_and_dropped_sockets_leaves_books_that_agree(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        chaos = {
            "seed": 11,
            "lost_reply": 0.05,
            "executed_502": 0.03,
            "refused_502": 0.03,
            "rate_limited": 0.02,
            "drop_socket": 0.02,
            "duplicate_frame": 0.1,
            "reorder_frame": 0.1,
            "lose_frame": 0.05,
        }
        await control(desk, "chaos", **chaos)
        for hour in range(24):
            await to_next_hour(desk)
            seen = await patiently(desk, desk.observe)
            wanted = {"BTC": (-1) ** (hour // 3), "ETH": (-1) ** (hour // 2)}
            orders = []
            for column, coin in enumerate(COINS):
                need = wanted[coin] * desk.instrument(coin).lots(1_000 / desk.mark(coin))
                need -= int(seen.account.view.lots[column])
                if need:
                    order = desk.order(coin, Side.of(need), 1_000)
                    orders.append(replace(order, lots=abs(need)))
            await patiently(desk, lambda orders=orders: desk.send(*orders))  # type: ignore[misc]
            await patiently(desk, desk.account)
        await control(desk, "chaos")
        await to_next_hour(desk)
        state = (await desk.observe()).account
        ids = [fill.trade_id for fill in desk.of(Fill)]
        assert len(ids) == len(set(ids)) >= 20  # eight turns of BTC and twelve of ETH, each at least one fill
        sent = [report for report in desk.of(OrderReport) if report.order_id]
        assert len({report.order.client_id for report in sent}) >= 20
        desk.agree(state)

    play(Desk(devnet), scene)


async def patiently(desk: Desk, ask: Callable[[], Awaitable[Any]]) -> Any:
    """As the trader does: what failed is tried again a little later by the venue's clock, which else stands here.

    Where the answer to a fence gets lost, only the venue's time beyond the expiry tells what became of an order.
    """
    from bot.errors import VenueError

    for _ in range(50):
        try:
            return await ask()
        except VenueError:
            await advance(desk, 20)
    raise AssertionError("the venue never answered")
