"""The venue port over a wire that misbehaves: what is seen, what is sent, and what is true afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import structlog

from bot.errors import ConfigError, OutcomeUnknown, StateError, Unavailable
from bot.model.account import MarginMode
from bot.model.attempt import AttemptState
from bot.model.decision import Cancel, OrderPlan
from bot.model.order import (
    Fill,
    FundingPayment,
    Liquidation,
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
from bot.venues.attempts import cloid_of
from bot.venues.hyperliquid import account_reader, signing
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.orders import FORGOTTEN_MS
from bot.venues.hyperliquid.replacing import NOT_WITHDRAWN
from bot.venues.hyperliquid.sending import Patience
from bot.venues.hyperliquid.terms import Terms
from bot.venues.outbox import MemoryOutbox
from tests.venues.hyperliquid.fake import START_MS, FakeVenue, serving
from tests.venues.hyperliquid.sdk_signer import SdkSigns

ASSETS = {"BTC": 0, "ETH": 1}
QUICK = Patience(expires_s=15, resolve_s=0.4, poll_s=0.02)
BUY = Order("d1-BTC-entry", "BTC", Side.BUY, 2_000)  # 0.02 BTC, $1,000
STOP = Order(
    "d1-BTC-stop",
    "BTC",
    Side.SELL,
    2_000,
    reduce_only=True,
    trigger=Trigger(TriggerKind.STOP, Decimal(45_000)),
    purpose=Purpose.STOP,
)

Scene = Callable[[HyperliquidVenue, FakeVenue, SdkSigns], Awaitable[None]]


def play(
    scene: Scene,
    *,
    checkpoint: Mapping[str, Any] | None = None,
    terms: Mapping[str, Any] | None = None,
    signs: SdkSigns | None = None,
) -> None:
    signs = signs or SdkSigns(ASSETS)
    venue = FakeVenue(signs.address)

    async def run() -> None:
        async with serving(venue):
            adapter = await HyperliquidVenue.connect(terms_of(venue, **(terms or {})), signs, MemoryOutbox())
            try:
                await adapter.open(checkpoint)
                await scene(adapter, venue, signs)
            finally:
                await adapter.close()

    asyncio.run(run())


def terms_of(venue: FakeVenue, **changed: Any) -> Terms:
    terms = Terms(
        venue.url,
        "devnet",
        venue.account,
        ("BTC", "ETH"),
        history_h=5,
        timeout_s=0.5,
        weight_per_minute=None,
        settle_s=0.2,
        fills_s=0.5,
        sending=QUICK,
    )
    return replace(terms, **changed)


def fills(events: tuple[object, ...]) -> list[Fill]:
    return [event for event in events if isinstance(event, Fill)]


def reports(events: tuple[object, ...]) -> list[OrderReport]:
    return [event for event in events if isinstance(event, OrderReport)]


def test_an_hour_is_observed_after_its_settlement_with_everything_known_at_it() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.now_ms = START_MS + HOUR_MS + 500
        venue.settled_to_ms = START_MS + HOUR_MS
        seen = await adapter.observe()
        assert seen is not None
        assert seen.time_ms == START_MS + HOUR_MS
        row = {name: values.tolist() for name, values in seen.row.items()}
        assert row["mark"] == row["close"] == row["oracle"] == row["mid"] == [50_000.0, 2_500.0]
        assert row["funding_rate"] == [0.0000125, 0.0000125]
        assert row["premium"] == [0.0001, 0.0001]
        assert row["open_interest"] == [1000.0, 1000.0]
        assert row["volume_usd"] == [100_000.0, 5_000.0]  # 2 coins at the typical price
        # BTC's own prediction; ETH has none, so the rate being accumulated stands.
        assert row["predicted_funding"] == [0.00002, 0.0000125]
        assert seen.account.equity_usd == seen.account.deposits_usd == 10_000

    play(scene)


def test_history_has_bars_at_their_close_and_rates_at_their_settlement() -> None:
    signs = SdkSigns(ASSETS)
    venue = FakeVenue(signs.address)

    async def run() -> None:
        async with serving(venue):
            adapter = await HyperliquidVenue.connect(terms_of(venue), signs, MemoryOutbox())
            panel = await adapter.open(None)
            await adapter.close()
            assert (panel.rows, panel.grid.end_ms) == (5, START_MS)
            assert panel.instruments == ("BTC", "ETH")
            assert panel.close.values[:, 0].tolist() == [50_000.0] * 5
            assert panel.funding_rate.values[:, 1].tolist() == [0.0000125] * 5
            assert np.isnan(panel.open_interest.values).all()

    asyncio.run(run())


def test_a_late_settlement_is_waited_for_and_then_left_unknown() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.now_ms = START_MS + HOUR_MS + 500  # not settled
        seen = await adapter.observe()
        assert seen is not None
        assert np.isnan(seen.row["funding_rate"]).all()
        assert np.isfinite(seen.row["close"]).all()

    play(scene)


def test_a_coin_whose_bar_is_impossible_is_left_out_and_the_others_are_not() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        good = venue.candles

        def candles(coin: str, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
            return [bar | ({"h": "1.0"} if coin == "ETH" else {}) for bar in good(coin, start_ms, end_ms)]

        venue.candles = candles  # type: ignore[method-assign]
        venue.now_ms = START_MS + HOUR_MS + 500
        venue.settled_to_ms = START_MS + HOUR_MS
        seen = await adapter.observe()
        assert seen is not None
        assert np.isnan(seen.row["mark"]).tolist() == [False, True]
        assert np.isnan(seen.row["close"]).tolist() == [False, True]

    play(scene)


def test_an_order_fills_and_the_books_add_up_to_the_venues() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        (report,) = await adapter.send(OrderPlan(orders=(BUY,)))
        assert (report.status, report.filled_lots, report.average_price) == (
            OrderStatus.FILLED,
            2_000,
            Decimal(50_000),
        )
        state = await adapter.account()
        (fill,) = fills(adapter.take_events())
        # $1,000 at 4.5 bps is 45 cents.
        assert (fill.lots, fill.fee_usd, fill.client_id) == (2_000, Decimal("0.450000"), BUY.client_id)
        assert fill.purpose is Purpose.ENTRY
        assert state.view.lots.tolist() == [2_000, 0]
        assert state.equity_usd == Decimal("9999.55")
        assert state.price_usd == 0
        assert state.equity_usd == state.deposits_usd + state.price_usd + state.funding_usd - state.fees_usd

    play(scene)


def test_leverage_and_mode_are_set_once_before_the_first_order_and_what_takes_has_a_bound() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(BUY,)))
        await adapter.send(OrderPlan(orders=(replace(BUY, client_id="d2-BTC-entry"),)))
        kinds = [action["type"] for action in venue.actions]
        assert kinds == ["updateLeverage", "order", "order"]
        assert venue.actions[0] == {"type": "updateLeverage", "asset": 0, "isCross": False, "leverage": 3}
        (wire,) = venue.actions[1]["orders"]
        assert (wire["p"], wire["s"], wire["c"]) == (
            "52500",
            "0.02",
            cloid_of("devnet", venue.account, BUY.client_id, 1, 1),
        )  # 5 % over mark

    play(scene, terms={"leverage": 3, "margin_mode": MarginMode.ISOLATED})


def test_the_signer_is_told_prices_positions_and_time_before_it_is_asked() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        resting = replace(BUY, time_in_force=TimeInForce.GTC, limit_price=Decimal(49_000))
        await adapter.send(OrderPlan(orders=(BUY, replace(resting, client_id="d1-BTC-rest"))))
        await adapter.send(OrderPlan(orders=(STOP,)))
        first, second = signs.facts
        assert first.prices == {"BTC": "50000", "ETH": "2500"}
        assert (first.holdings, first.open_orders, first.venue_ms) == ({}, 0, venue.now_ms)
        held = second.holdings["BTC"]
        assert (held.size, held.buys, held.sells, second.open_orders) == ("0.02", "0.02", "0", 1)
        assert second.through_nonce == signs.nonce - 1

    play(scene)


def test_a_stop_rests_at_the_venue_and_what_it_did_is_told_when_it_has_fired() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(BUY,)))
        (waiting,) = await adapter.send(OrderPlan(orders=(STOP,)))
        assert waiting.status is OrderStatus.WAITING
        (wire,) = venue.actions[-1]["orders"]
        assert wire["t"] == {"trigger": {"isMarket": True, "triggerPx": "45000", "tpsl": "sl"}}
        assert (wire["r"], wire["p"]) == (True, "40500")
        state = await adapter.account()
        (shown,) = state.view.open_orders
        assert (shown.order, shown.status) == (STOP, OrderStatus.WAITING)
        adapter.take_events()
        venue.marks["BTC"] = Decimal(44_900)
        venue.now_ms += 1_000
        venue.fire(waiting.order_id)
        state = await adapter.account()
        events = adapter.take_events()
        (fill,) = fills(events)
        (ended,) = reports(events)
        assert (fill.purpose, fill.side, fill.client_id) == (Purpose.STOP, Side.SELL, STOP.client_id)
        assert (ended.status, ended.filled_lots) == (OrderStatus.FILLED, 2_000)
        assert state.view.lots.tolist() == [0, 0]
        assert state.view.open_orders == ()
        # Bought at 50,000, sold at 44,900, 0.02 coins: −102.
        assert state.price_usd == Decimal("-102.000000")

    play(scene)


def test_cancels_go_first_and_one_that_comes_too_late_tells_what_happened_instead() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        rest = replace(BUY, client_id="r1", time_in_force=TimeInForce.ALO, limit_price=Decimal(49_000))
        other = replace(rest, client_id="r2")
        first, second = await adapter.send(OrderPlan(orders=(rest, other)))
        await adapter.account()
        venue.fire(first.order_id)
        cancels = tuple(Cancel(r.order_id, r.order.client_id, "BTC", "moved") for r in (first, second))
        told = await adapter.send(OrderPlan(cancels, (replace(BUY, client_id="d3"),)))
        assert [(r.order.client_id, r.status) for r in told] == [
            ("r1", OrderStatus.FILLED),
            ("r2", OrderStatus.CANCELED),
            ("d3", OrderStatus.REJECTED),
        ]
        assert told[-1].reason == NOT_WITHDRAWN  # the decision did not know of what r1 has bought
        assert venue.actions[-1]["type"] == "cancel"

    play(scene)


def resting(client_id: str, coin: str = "BTC") -> Order:
    price = Decimal(49_000 if coin == "BTC" else 2_400)
    return replace(
        BUY, client_id=client_id, instrument=coin, time_in_force=TimeInForce.ALO, limit_price=price
    )


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("", OrderStatus.FILLED, ""),
        ("502 before", OrderStatus.REJECTED, NOT_WITHDRAWN),  # it still rests
        ("502 after", OrderStatus.FILLED, ""),  # it doesn't: the look that follows says so
        ("422", OrderStatus.REJECTED, NOT_WITHDRAWN),
    ],
)
def test_what_replaces_an_order_goes_only_where_that_is_certainly_withdrawn(
    fault: str, status: OrderStatus, reason: str
) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        (rests,) = await adapter.send(OrderPlan(orders=(resting("r1"),)))
        await adapter.account()
        cancel = Cancel(rests.order_id, "r1", "BTC", "moved")
        venue.faults["/exchange"].append(fault)
        told = await adapter.send(OrderPlan((cancel,), (replace(BUY, client_id="d3"),)))
        assert (told[-1].order.client_id, told[-1].status, told[-1].reason) == ("d3", status, reason)
        still = {o.order.client_id for o in (await adapter.account()).view.open_orders}
        assert still == ({"r1"} if reason else set())

    play(scene)


def test_what_closes_goes_though_a_cancel_of_its_coin_is_lost() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        (_, rests) = await adapter.send(OrderPlan(orders=(BUY, resting("r1"))))
        await adapter.account()
        venue.faults["/exchange"].append("502 before")
        leave = Order("d4-BTC-exit", "BTC", Side.SELL, 2_000, reduce_only=True, purpose=Purpose.EXIT)
        told = await adapter.send(OrderPlan((Cancel(rests.order_id, "r1", "BTC", "moved"),), (leave,)))
        assert [(r.order.client_id, r.status) for r in told] == [("d4-BTC-exit", OrderStatus.FILLED)]

    play(scene)


class Thrifty(SdkSigns):
    """Signs nothing that opens, and doesn't say which order it was."""

    def order(self, orders: Sequence[signing.Order], expires_in_ms: int) -> signing.Signed:
        if any(not order.reduce_only for order in orders):
            raise signing.NotSigned("the signer refused by its rule turnover_usd")
        return super().order(orders, expires_in_ms)


def test_what_may_not_be_opened_keeps_nothing_from_being_closed() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.trade("BTC", True, Decimal("0.02"), 900, None)
        await adapter.account()
        leave = Order("d4-BTC-exit", "BTC", Side.SELL, 1_000, reduce_only=True, purpose=Purpose.EXIT)
        enter = Order("d4-ETH-entry", "ETH", Side.BUY, 10_000)
        told = await adapter.send(OrderPlan(orders=(leave, enter, STOP)))
        assert {r.order.client_id: r.status for r in told} == {
            "d4-BTC-exit": OrderStatus.FILLED,
            "d4-ETH-entry": OrderStatus.REJECTED,
            "d1-BTC-stop": OrderStatus.WAITING,
        }

    play(scene, signs=Thrifty(ASSETS))


def test_an_order_that_the_list_lacks_is_open_as_long_as_the_venue_says_so_of_it() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        (placed,) = await adapter.send(OrderPlan(orders=(resting("r1"),)))
        await adapter.account()

        async def still_open() -> list[str]:
            return [each.order.client_id for each in (await adapter.account()).view.open_orders]

        venue.answers["frontendOpenOrders"] = []
        assert await still_open() == ["r1"]
        await adapter.send(OrderPlan(orders=(replace(BUY, client_id="d9", instrument="ETH"),)))
        assert signs.facts[-1].holdings["BTC"].buys == "0.02"  # the signer is told of it, too
        venue.statuses[placed.order_id] = "canceled"
        assert await still_open() == []

    play(scene)


def test_an_order_that_the_venue_neither_lists_nor_knows_is_open_for_a_while_and_then_gone() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(resting("r1"),)))
        await adapter.account()
        venue.answers |= {"frontendOpenOrders": [], "orderStatus": {"status": "unknownOid"}}
        assert len((await adapter.account()).view.open_orders) == 1
        venue.now_ms += FORGOTTEN_MS + 1_000
        assert (await adapter.account()).view.open_orders == ()

    play(scene)


def test_nothing_that_opens_is_sent_beside_an_order_whose_cancel_got_lost() -> None:
    """Both could fill, and come to twice of what was wanted."""

    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        rest = replace(BUY, client_id="r1", time_in_force=TimeInForce.ALO, limit_price=Decimal(49_000))
        (first,) = await adapter.send(OrderPlan(orders=(rest,)))
        cancel = Cancel(first.order_id, "r1", "BTC", "moved")
        venue.faults["/exchange"].append("502 before")
        (refused,) = await adapter.send(OrderPlan((cancel,), (replace(BUY, client_id="d2"),)))
        assert (refused.status, refused.reason) == (
            OrderStatus.REJECTED,
            NOT_WITHDRAWN,
        )
        gone, placed = await adapter.send(OrderPlan((cancel,), (replace(BUY, client_id="d3"),)))
        assert (gone.status, placed.status) == (OrderStatus.CANCELED, OrderStatus.FILLED)

    play(scene)


def test_an_order_that_rests_counts_also_while_the_venues_list_is_behind() -> None:
    """The signer's reserve and the next plan would both be short of it."""

    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        rest = replace(BUY, client_id="r1", time_in_force=TimeInForce.ALO, limit_price=Decimal(49_000))
        (first,) = await adapter.send(OrderPlan(orders=(rest,)))
        shown = venue.orders.pop(first.order_id)
        (open_one,) = (await adapter.account()).view.open_orders
        assert (open_one.order_id, open_one.status) == (first.order_id, OrderStatus.RESTING)
        holdings, count = adapter._reader.holdings()
        assert (holdings["BTC"].buys, count) == ("0.02", 1)
        venue.orders[first.order_id] = shown
        venue.fire(first.order_id)
        assert (await adapter.account()).view.open_orders == ()

    play(scene)


@pytest.mark.parametrize("fault", ["502 after", "cut after", "silent", "html"])
def test_an_order_carried_out_whose_answer_is_lost_is_found_by_its_cloid(fault: str) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.faults["/exchange"].extend(["", fault])  # leverage is set first
        venue.hidden = 2  # the venue's record lags
        (report,) = await adapter.send(OrderPlan(orders=(BUY,)))
        assert (report.status, report.filled_lots) == (OrderStatus.FILLED, 2_000)
        state = await adapter.account()
        assert len(fills(adapter.take_events())) == 1
        assert state.view.lots.tolist() == [2_000, 0]
        assert [a["type"] for a in venue.actions].count("order") == 1

    play(scene)


@pytest.mark.parametrize("fault", ["502 before", "cut before", "429"])
def test_an_order_that_never_arrived_is_voided_so_that_it_never_can(fault: str) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.faults["/exchange"].extend(["", fault])
        (report,) = await adapter.send(OrderPlan(orders=(BUY,)))
        assert report.status is OrderStatus.REJECTED
        assert "voided" in report.reason
        noop = next(request for request in venue.requests if request.get("action") == {"type": "noop"})
        lost = next(r for r in venue.requests if r["path"] == "/exchange" and r["action"]["type"] == "order")
        assert noop["nonce"] == lost["nonce"]
        # The lost body arrives after all.
        late = venue.exchange(lost)
        assert "duplicate nonce" in late["response"]
        assert (await adapter.account()).view.lots.tolist() == [0, 0]

    play(scene)


def test_where_neither_order_nor_fence_is_answered_the_outcome_stays_unknown_until_it_is() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.faults["/exchange"].extend(["", "502 after", *["502 before"] * 40])
        venue.hidden = 1_000
        with pytest.raises(OutcomeUnknown):
            await adapter.send(OrderPlan(orders=(BUY,)))
        with pytest.raises(OutcomeUnknown):
            await adapter.account()
        (unknown,) = adapter._attempts.unanswered()
        assert (unknown.client_id, unknown.state) == (BUY.client_id, AttemptState.UNKNOWN)
        venue.hidden = 0
        venue.faults["/exchange"].clear()
        state = await adapter.account()
        assert state.view.lots.tolist() == [2_000, 0]
        (report,) = [r for r in reports(adapter.take_events()) if r.order == BUY]
        assert report.status is OrderStatus.FILLED
        assert [a["type"] for a in venue.actions].count("order") == 1

    play(scene)


def test_an_order_of_unknown_outcome_is_dead_only_past_its_expiry_on_the_venues_clock() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.faults["/exchange"].extend(["", *["502 before"] * 1_000])
        with pytest.raises(OutcomeUnknown):
            await adapter.send(OrderPlan(orders=(BUY,)))
        venue.now_ms += 15_000 + 10_001
        await adapter.account()
        (report,) = [r for r in reports(adapter.take_events()) if r.order == BUY]
        assert (report.status, report.reason) == (OrderStatus.REJECTED, "expired before it was carried out")

    play(scene)


def test_what_the_signer_forbids_is_refused_alone_and_the_rest_of_the_batch_goes() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        signs.denied = {"ETH"}
        ether = Order("d1-ETH-entry", "ETH", Side.BUY, 4_000)
        told = await adapter.send(OrderPlan(orders=(ether, BUY)))
        assert [(r.order.instrument, r.status) for r in told] == [
            ("ETH", OrderStatus.REJECTED),
            ("BTC", OrderStatus.FILLED),
        ]

    play(scene)


def test_an_order_too_small_for_the_venue_comes_back_with_the_venues_words() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        (report,) = await adapter.send(OrderPlan(orders=(replace(BUY, lots=10),)))
        assert report.status is OrderStatus.REJECTED
        assert "minimum value of $10" in report.reason

    play(scene)


def test_reduce_only_is_cut_to_the_position_and_refused_where_there_is_none() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        close = Order("x1", "BTC", Side.SELL, 9_999, reduce_only=True, purpose=Purpose.EXIT)
        (refused,) = await adapter.send(OrderPlan(orders=(close,)))
        assert refused.status is OrderStatus.REJECTED
        await adapter.send(OrderPlan(orders=(BUY,)))
        (closed,) = await adapter.send(OrderPlan(orders=(replace(close, client_id="x2"),)))
        assert (closed.status, closed.filled_lots) == (OrderStatus.FILLED, 2_000)

    play(scene)


def test_the_same_order_is_never_sent_twice() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(BUY,)))
        (again,) = await adapter.send(OrderPlan(orders=(BUY,)))
        assert (again.status, again.reason) == (OrderStatus.REJECTED, "sent before")
        assert [a["type"] for a in venue.actions].count("order") == 1

    play(scene)


def test_fills_newer_than_the_positions_wait_for_these_and_are_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(account_reader, "WAITS_S", (0.0, 0.01, 0.01))

    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.feed.live.wait()  # what it fetches at first would tell the fill as well
        venue.answers["clearinghouseState"] = venue.margin_state()  # stands still
        venue.now_ms += 1_000
        venue.trade("BTC", True, Decimal("0.02"), 77, None)
        with pytest.raises(Unavailable):
            await adapter.account()
        assert adapter.take_events() == ()
        del venue.answers["clearinghouseState"]
        assert (await adapter.account()).view.lots.tolist() == [2_000, 0]
        assert len(fills(adapter.take_events())) == 1

    play(scene)


def test_fills_told_late_are_waited_for_and_none_is_counted_twice() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.late_fills = 4
        await adapter.send(OrderPlan(orders=(BUY,)))
        for _ in range(3):
            await adapter.account()
        assert len(fills(adapter.take_events())) == 1

    play(scene)


def test_funding_is_counted_once_though_feed_and_rest_both_tell_it() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(BUY,)))
        await asyncio.wait_for(adapter.feed.live.wait(), 5)
        venue.now_ms = START_MS + HOUR_MS + 500
        venue.settled_to_ms = START_MS + HOUR_MS
        venue.pay("BTC", Decimal("-0.0125"), START_MS + HOUR_MS + 20)
        row = venue.fundings[0]
        event = {"time": row["time"], **{k: v for k, v in row["delta"].items() if k != "type"}}
        for _ in range(3):
            await venue.tell("userFundings", {"user": venue.account, "fundings": [event]})
        seen = await adapter.observe()
        assert seen is not None
        (payment,) = [e for e in seen.events if isinstance(e, FundingPayment)]
        assert (payment.usd, payment.lots, payment.oracle) == (Decimal("-0.012500"), 2_000, Decimal(50_000))
        assert seen.account.funding_usd == Decimal("-0.012500")
        assert seen.account.price_usd == 0

    play(scene)


def test_a_liquidation_of_ours_is_told_apart_from_one_that_we_only_met() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(BUY,)))
        venue.trade("ETH", True, Decimal(1), 77, None)
        venue.fills[-1]["liquidation"] = {
            "liquidatedUser": "0x" + "9" * 40,
            "markPx": "1.0",
            "method": "market",
        }
        venue.trade("BTC", False, Decimal("0.02"), 78, None)
        venue.fills[-1] |= {
            "dir": "Liquidated Cross Long",
            "liquidation": {"liquidatedUser": venue.account, "markPx": "50000.0", "method": "market"},
        }
        await adapter.account()
        events = adapter.take_events()
        (liquidation,) = [event for event in events if isinstance(event, Liquidation)]
        assert (liquidation.instrument, liquidation.lots, liquidation.kind) == ("BTC", 2_000, "full")
        assert [fill.purpose for fill in fills(events)] == [
            Purpose.ENTRY,
            Purpose.EXTERNAL,
            Purpose.LIQUIDATION,
        ]

    play(scene)


def test_a_transfer_is_neither_profit_nor_loss() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.raw_usd += 500
        venue.ledger.append(
            {"time": venue.now_ms + 5, "hash": "0x1", "delta": {"type": "deposit", "usdc": "500.0"}}
        )
        venue.now_ms = START_MS + HOUR_MS + 500
        venue.settled_to_ms = START_MS + HOUR_MS
        seen = await adapter.observe()
        assert seen is not None
        assert (seen.account.deposits_usd, seen.account.price_usd) == (Decimal(10_500), Decimal(0))

    play(scene)


@pytest.mark.parametrize("kind", ["clearinghouseState", "frontendOpenOrders", "userFillsByTime"])
def test_an_account_that_can_not_be_read_is_unavailable_and_never_flat(kind: str) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(BUY,)))
        for bad in (None, {}, {"error": "busy"}, "x"):
            venue.answers[kind] = bad
            with pytest.raises(Unavailable):
                await adapter.account()
        del venue.answers[kind]
        assert (await adapter.account()).view.lots.tolist() == [2_000, 0]

    play(scene)


def test_a_state_older_than_the_last_is_not_believed() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.now_ms += 60_000
        await adapter.account()
        venue.now_ms -= 30_000
        with pytest.raises(Unavailable, match="before the last"):
            await adapter.account()

    play(scene)


def test_a_restart_goes_on_from_the_cursors_and_knows_its_orders() -> None:
    signs = SdkSigns(ASSETS)
    venue = FakeVenue(signs.address)

    async def run() -> None:
        async with serving(venue):
            outbox = MemoryOutbox()
            first = await HyperliquidVenue.connect(terms_of(venue), signs, outbox)
            await first.open(None)
            await first.send(OrderPlan(orders=(BUY,)))
            (stop,) = await first.send(OrderPlan(orders=(STOP,)))
            await first.account()
            saved = first.checkpoint()
            await first.close()
            venue.now_ms += 1_000
            venue.fire(stop.order_id)  # while nobody looked
            second = await HyperliquidVenue.connect(terms_of(venue), signs, outbox)
            try:
                await second.open(saved)
                state = await second.account()
                events = second.take_events()
            finally:
                await second.close()
            (fill,) = fills(events)
            (ended,) = reports(events)
            assert (fill.client_id, fill.purpose) == (STOP.client_id, Purpose.STOP)
            assert (ended.order, ended.status) == (STOP, OrderStatus.FILLED)
            assert second.identity == first.identity
            assert state.fees_usd == Decimal("0.9")  # both fills, once each
            assert state.deposits_usd == 10_000

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answers", "terms", "message"),
    [
        ({"userRole": {"role": "agent", "data": {"user": "0x" + "1" * 40}}}, {}, "agent"),
        ({"userAbstraction": "unifiedAccount"}, {}, "unifiedAccount"),
        ({}, {"coins": ("BTC", "NONE")}, "NONE"),
        ({}, {"network": "mainnet"}, "mainnet"),
        ({}, {"account": "0x" + "2" * 40}, "account"),
    ],
)
def test_a_wrong_identity_is_a_config_error_with_its_own_sentence(
    answers: dict[str, Any], terms: dict[str, Any], message: str
) -> None:
    signs = SdkSigns(ASSETS)
    venue = FakeVenue(signs.address)
    venue.answers.update(answers)

    async def run() -> None:
        async with serving(venue):
            with pytest.raises(ConfigError, match=message):
                await HyperliquidVenue.connect(terms_of(venue, **terms), signs, MemoryOutbox())

    asyncio.run(run())


def test_asset_numbers_that_moved_since_the_signer_was_told_are_a_config_error() -> None:
    signs = SdkSigns({"BTC": 1, "ETH": 0})
    venue = FakeVenue(signs.address)

    async def run() -> None:
        async with serving(venue):
            with pytest.raises(ConfigError, match="asset 0 at the venue and 1"):
                await HyperliquidVenue.connect(terms_of(venue), signs, MemoryOutbox())

    asyncio.run(run())


# Others who trade the account


def a_strangers(venue: FakeVenue, cloid: str | None) -> int:
    wire = {
        "a": 0,
        "b": True,
        "p": "40000",
        "s": "0.01",
        "r": False,
        "t": {"limit": {"tif": "Gtc"}},
        "c": cloid,
    }
    return int(venue.place(wire)["resting"]["oid"])


def test_fills_that_the_feed_tells_of_are_told_of_until_a_look_has_counted_them() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        (rests,) = await adapter.send(OrderPlan(orders=(resting("r1"),)))
        await adapter.account()
        assert not (await adapter.condition()).has_traded
        venue.fire(rests.order_id)
        await venue.tell("userFills", {"user": venue.account, "fills": venue.fills[-1:]})
        for _ in range(200):
            if (await adapter.condition()).has_traded:
                break
            await asyncio.sleep(0.01)
        assert (await adapter.condition()).has_traded
        await adapter.account()
        assert not (await adapter.condition()).has_traded

    play(scene)


@pytest.mark.parametrize("cloid", [None, "0x" + "7" * 32])
def test_a_strangers_order_is_told_of_once_counts_and_is_left_alone(cloid: str | None) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        order_id = a_strangers(venue, cloid)
        with structlog.testing.capture_logs() as told:
            (seen,) = (await adapter.account()).view.open_orders
            await adapter.account()
        assert (seen.order_id, seen.order.purpose) == (order_id, Purpose.EXTERNAL)
        said = [line for line in told if line["event"] == "an order that was not placed here"]
        assert [(line["coin"], line["side"], line["lots"]) for line in said] == [("BTC", "buy", 1_000)]
        assert (await adapter.condition()).twin == ""
        await adapter.send(OrderPlan(orders=(BUY,)))
        assert venue.statuses[order_id] == "open"

    play(scene)


def test_a_name_as_ours_that_was_not_given_here_is_a_twins() -> None:
    cloid = cloid_of("devnet", "0x" + "5" * 40, "d0-BTC-entry", 1, 3)

    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan(orders=(BUY,)))
        assert (await adapter.condition()).twin == ""  # our own are known
        order_id = a_strangers(venue, cloid)
        await adapter.account()
        assert cloid in (await adapter.condition()).twin
        venue.cancel(order_id)
        await adapter.account()
        assert cloid in (await adapter.condition()).twin  # it was there; who is to say that it has gone?
        a_strangers(venue, cloid)
        second = await HyperliquidVenue.connect(terms_of(venue), SdkSigns(ASSETS), MemoryOutbox())
        try:
            with pytest.raises(StateError, match="another one trades it too"):
                await second.open(None)
        finally:
            await second.close()
        third = await HyperliquidVenue.connect(terms_of(venue, adopts=True), SdkSigns(ASSETS), MemoryOutbox())
        try:
            await third.open(None)
            (resting,) = (await third.account()).view.open_orders
            assert (resting.order.client_id, resting.order.purpose) == (cloid, Purpose.EXTERNAL)
            assert (await third.condition()).twin == ""
        finally:
            await third.close()

    play(scene)


def test_a_twins_fill_gives_it_away_too() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.trade("ETH", True, Decimal(1), 77, cloid_of("devnet", venue.account, "d0-ETH-entry", 1, 9))
        await adapter.account()
        assert "cloid 0xb0010009" in (await adapter.condition()).twin

    play(scene)
