"""The venue's dead man's switch on a devnet: set while only entries rest, and never where a stop would go with them."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import OutcomeUnknown, Unavailable
from bot.model.decision import Cancel
from bot.model.order import Order, OrderStatus, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.venues.hyperliquid.client import Client
from tests.venues.hyperliquid.test_on_devnet import COINS, START_MS, Desk, advance, play

LEAD_S = 120


@pytest.fixture
def devnet() -> Iterator[Server]:
    with running(Options(coins=COINS, history_h=48, flow=False, paused=True, start_ms=START_MS)) as server:
        yield server


class Telling(Desk):
    """A desk whose account has traded enough, and which keeps what is asked of the venue's switch."""

    def __init__(self, devnet: Server, *, volume_usd: int = 1_000_000, **terms: Any) -> None:
        super().__init__(devnet, switch_s=LEAD_S, **terms)
        self.records.cum_volume = Decimal(volume_usd)
        self.asked: list[int | None] = []
        sign = self.signs.schedule_cancel

        def keep(time_ms: int | None) -> Any:
            self.asked.append(time_ms)
            return sign(time_ms)

        self.signs.schedule_cancel = keep  # type: ignore[method-assign]

    @property
    def records(self) -> Any:
        return self.devnet.world.records(self.signs.address)

    def is_set(self) -> bool:
        """As the exchange has it."""
        return self.records.schedule_cancel_ms is not None

    def ahead_ms(self) -> int:
        """How far ahead the exchange has it."""
        return int(self.records.schedule_cancel_ms) - self.devnet.world.now_ms

    def bid(self, coin: str = "ETH", **keys: Any) -> Order:
        price = self.instrument(coin).round_price(self.mark(coin) * Decimal("0.95"))
        return self.order(coin, Side.BUY, 500, time_in_force=TimeInForce.ALO, limit_price=price, **keys)

    def stop(self, coin: str, lots: int) -> Order:
        level = self.instrument(coin).round_price(self.mark(coin) * Decimal("0.8"))
        self.number += 1
        return Order(
            f"d{self.number}-{coin}-stop",
            coin,
            Side.SELL,
            lots,
            reduce_only=True,
            trigger=Trigger(TriggerKind.STOP, level),
            purpose=Purpose.STOP,
        )


def play_telling(desk: Telling, scene: Any) -> None:
    play(desk, scene)


async def pass_by(desk: Telling, seconds: int) -> None:
    """Let time pass at the venue, and the adapter's clock see it as it does while it waits for the hour."""
    await advance(desk, seconds)
    await desk.venue._clock.look()
    desk.venue._clock._lower = 1.0  # a clock that is moved by hand is not a fast one


def test_entries_that_rest_are_cancelled_by_the_venue_after_the_last_sign_of_life(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        (resting,) = await desk.send(desk.bid())
        await desk.account()
        assert desk.ahead_ms() >= LEAD_S * 1000  # by the adapter's own reckoning, which goes on
        await advance(desk, LEAD_S + 1)  # nobody looks
        state = await desk.account()
        assert state.view.open_orders == ()
        (ended,) = [r for r in desk.of(type(resting)) if r.order == resting.order and not r.status.is_open]
        assert (ended.status, ended.reason) == (OrderStatus.CANCELED, "scheduledCancel")
        assert not desk.is_set()

    play_telling(Telling(devnet), scene)


def test_it_is_put_off_as_long_as_somebody_looks_and_not_at_every_look(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        await desk.send(desk.bid())
        for _ in range(40):
            await desk.account()
            await desk.venue.condition()
            await pass_by(desk, 15)
        assert len((await desk.account()).view.open_orders) == 1
        assert 40 * 15 // LEAD_S <= len(desk.asked) <= 2 * 40 * 15 // LEAD_S + 1

    play_telling(Telling(devnet), scene)


def test_the_watchdogs_look_is_enough_to_put_it_off(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        await desk.send(desk.bid())
        await desk.account()
        for _ in range(20):
            await pass_by(desk, 15)
            await desk.venue.condition()
        assert desk.is_set()
        assert len((await desk.account()).view.open_orders) == 1

    play_telling(Telling(devnet), scene)


def test_it_is_cleared_before_a_stop_is_placed_and_stays_so(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        await desk.send(desk.bid())
        await desk.account()
        assert desk.is_set()
        (entry,) = await desk.send(desk.order("BTC", Side.BUY, 1_000))
        (waiting,) = await desk.send(desk.stop("BTC", entry.filled_lots))
        assert waiting.status is OrderStatus.WAITING
        assert not desk.is_set()
        assert desk.asked[-1] is None
        await desk.account()
        await advance(desk, 3_600)
        assert len((await desk.account()).view.open_orders) == 2
        assert not desk.is_set()

    play_telling(Telling(devnet), scene)


def test_it_takes_nothing_that_somebody_else_has_placed(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        bid = desk.bid("BTC")
        size = desk.instrument("BTC").size(bid.lots)
        strangers = [
            {"a": 0, "b": True, "p": f"{bid.limit_price}", "s": f"{size}", "r": False, "t": {"limit": {"tif": "Gtc"}}}
        ]  # fmt: skip
        body = desk.signs._signed({"type": "order", "orders": strangers, "grouping": "na"}, None).body
        await desk.venue._client.exchange(body)
        await desk.send(desk.bid())
        assert len((await desk.account()).view.open_orders) == 2
        assert desk.asked == []

    play_telling(Telling(devnet), scene)


def test_a_stop_that_was_placed_by_hand_meanwhile_clears_it(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 1_000))
        await desk.send(desk.bid())
        await desk.account()
        assert desk.is_set()
        level = desk.instrument("BTC").round_price(desk.mark("BTC") * Decimal("0.8"))
        kind = {"trigger": {"isMarket": True, "triggerPx": f"{level}", "tpsl": "sl"}}
        by_hand = [{"a": 0, "b": False, "p": f"{level}", "s": "0.001", "r": True, "t": kind}]
        body = desk.signs._signed({"type": "order", "orders": by_hand, "grouping": "na"}, None).body
        await desk.venue._client.exchange(body)
        await desk.venue.condition()
        assert not desk.is_set()

    play_telling(Telling(devnet), scene)


def test_an_account_that_may_not_use_it_hears_so_once(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        with capture_logs() as said:
            await desk.send(desk.bid())
            for _ in range(10):
                await desk.account()
                await desk.venue.condition()
                await pass_by(desk, 300)
        assert len(desk.asked) == 1
        (line,) = [each for each in said if "dead man" in each["event"]]
        assert "until enough volume traded" in line["because"]
        assert len((await desk.account()).view.open_orders) == 1

    play_telling(Telling(devnet, volume_usd=0), scene)


def test_nothing_is_asked_where_nothing_rests(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 1_000))
        await desk.account()
        await desk.venue.condition()
        assert desk.asked == []

    play_telling(Telling(devnet), scene)


def test_it_can_be_switched_off(devnet: Server) -> None:
    desk = Telling(devnet)
    desk.terms = Desk(devnet, switch_s=None).terms

    async def scene(desk: Telling) -> None:
        await desk.send(desk.bid())
        await desk.account()
        await desk.venue.condition()
        assert desk.asked == []

    play_telling(desk, scene)


def test_at_an_end_in_order_it_is_cleared_so_that_what_rests_rests_on(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        (resting,) = await desk.send(desk.bid())
        await desk.account()
        await desk.venue.end()
        assert not desk.is_set()
        await advance(desk, 3_600)
        (open_now,) = await desk.venue._client.info({"type": "frontendOpenOrders", "user": desk.address})
        assert open_now.order_id == resting.order_id

    play_telling(Telling(devnet), scene)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_setting_without_an_answer_is_voided_before_a_stop_is_placed(devnet: Server, arrives: bool) -> None:
    async def scene(desk: Telling) -> None:
        client = desk.venue._client
        late: list[bytes] = []
        exchange = client.exchange

        async def loses(body: bytes) -> Any:
            action = json.loads(body)["action"]
            if action["type"] != "scheduleCancel" or late:
                return await exchange(body)
            late.append(body)
            if arrives:
                await exchange(body)
            raise OutcomeUnknown("no answer")

        client.exchange = loses  # type: ignore[method-assign]
        await desk.send(desk.bid())
        await desk.account()
        assert desk.is_set() is arrives
        (entry,) = await desk.send(desk.order("BTC", Side.BUY, 1_000))
        await desk.send(desk.stop("BTC", entry.filled_lots))
        try:
            await exchange(late[0])  # now it comes after all
        except Exception:  # noqa: BLE001
            pytest.fail("the devnet answers what it refuses")
        assert not desk.is_set()
        assert desk.venue._switch.fires_ms == 0

    play_telling(Telling(devnet), scene)


def test_what_can_not_be_cleared_is_tried_again_and_the_stop_is_placed_all_the_same(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        (resting,) = await desk.send(desk.bid())
        await desk.account()
        client = desk.venue._client
        lost: list[bytes] = []
        exchange = client.exchange

        async def loses(body: bytes) -> Any:
            action = json.loads(body)["action"]
            if action == {"type": "scheduleCancel"} and len(lost) < 2:
                lost.append(body)
                raise Unavailable("not sent")
            return await exchange(body)

        client.exchange = loses  # type: ignore[method-assign]
        cancel = Cancel(resting.order_id, resting.order.client_id, "ETH", "moved")
        (entry,) = await desk.send(desk.order("BTC", Side.BUY, 1_000))
        reports = await desk.send(desk.stop("BTC", entry.filled_lots), cancels=(cancel,))
        assert reports[-1].status is OrderStatus.WAITING
        await desk.account()
        await desk.venue.condition()
        assert not desk.is_set()
        assert len((await desk.account()).view.open_orders) == 1

    play_telling(Telling(devnet), scene)


async def broken_off(desk: Telling) -> Any:
    """A run that has set it is killed; the report of the entry that rests."""
    (resting,) = await desk.send(desk.bid())
    await desk.account()
    assert desk.is_set()
    await desk.venue.close()
    return resting


def test_what_a_run_that_was_broken_off_has_set_takes_no_stop_of_the_next(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        resting = await broken_off(desk)
        client = Client(devnet.url)
        await client.exchange(desk.signs.cancel([("ETH", resting.order_id)]).body)  # as if it had been filled
        await client.close()
        await desk.connect()
        assert not desk.is_set()
        await desk.send(desk.order("BTC", Side.BUY, 1_000))
        assert desk.asked.count(None) == 1

    play_telling(Telling(devnet), scene)


def test_the_next_run_puts_it_off_where_the_entry_rests_still(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        await broken_off(desk)
        await advance(desk, LEAD_S - 10)
        await desk.connect()
        assert desk.ahead_ms() >= LEAD_S * 1000  # by the adapter's own reckoning, which goes on

    play_telling(Telling(devnet), scene)


def test_a_start_after_entries_that_rested_asks_once_where_it_may_not_be_used(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        (resting,) = await desk.send(desk.bid())
        await desk.account()
        await desk.venue.close()
        client = Client(devnet.url)
        await client.exchange(desk.signs.cancel([("ETH", resting.order_id)]).body)
        await client.close()
        desk.asked.clear()
        with capture_logs() as said:
            await desk.connect()
            for _ in range(3):
                await desk.account()
                await desk.venue.condition()
        assert desk.asked == [None]
        assert [each for each in said if "dead man" in each["event"]] == []

    play_telling(Telling(devnet, volume_usd=0), scene)


def test_two_looks_at_once_ask_once(devnet: Server) -> None:
    async def scene(desk: Telling) -> None:
        await desk.send(desk.bid())
        await asyncio.gather(desk.account(), desk.venue.condition(), desk.venue.condition())
        assert len(desk.asked) == 1

    play_telling(Telling(devnet), scene)
