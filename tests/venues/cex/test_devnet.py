"""The adapter on the devnet's Binance: the library unmodified, the signer's real rules, time in the test's hands.

What the adapter counts is held against the exchange's own books.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.model.attempt import AttemptState
from bot.model.decision import Cancel
from bot.model.order import Fill, FundingPayment, OrderStatus, Purpose, Side, TimeInForce
from bot.model.panel import HOUR_MS
from tests.venues.cex.desk import COINS, START_MS, Desk, play


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
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
        yield Desk(devnet, tmp_path)


def test_an_order_fills_another_rests_and_is_cancelled_and_all_books_agree(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        bid = desk.instrument("HYPE").round_price(desk.mark("HYPE") * Decimal("0.97"))
        rest = desk.order("HYPE", Side.BUY, 500, time_in_force=TimeInForce.ALO, limit_price=bid)
        filled, resting = await desk.send(desk.order("BTC", Side.BUY, 2_000), rest)
        assert (filled.status, resting.status) == (OrderStatus.FILLED, OrderStatus.RESTING)
        state = await desk.look()
        (shown,) = state.view.open_orders
        assert shown.order == rest
        assert state.view.leverage.tolist() == [5.0, 5.0]
        desk.agree(state)
        (cancelled,) = await desk.send(
            cancels=(Cancel(resting.order_id, rest.client_id, rest.instrument, "moved"),)
        )
        assert (cancelled.status, cancelled.reason) == (OrderStatus.CANCELED, "moved")
        assert (await desk.look()).view.open_orders == ()
        (closed,) = await desk.send(
            desk.order("BTC", Side.SELL, 9_000, reduce_only=True, purpose=Purpose.EXIT)
        )
        assert closed.status is OrderStatus.FILLED
        state = await desk.look()
        assert state.positions == ()
        desk.agree(state)
        assert {each.state for each in desk.outbox.since(0)} == {AttemptState.FILLED, AttemptState.CANCELED}

    play(desk, scene)


def test_history_and_the_rows_that_follow_it_are_one_panel(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        panel = desk.panel
        assert panel.grid.end_ms == desk.devnet.world.now_ms // HOUR_MS * HOUR_MS
        for name in ("close", "mark", "oracle", "funding_rate", "settled_funding", "funding_interval_h"):
            assert np.isfinite(panel.fields[name]).all(), name
        assert panel.fields["funding_interval_h"][-1].tolist() == [8.0, 4.0]
        settles = (panel.fields["settled_funding"] != 0).sum(axis=0)
        assert settles.tolist() == [3, 6]  # in 24 hours
        await desk.to_next_hour()
        seen = await desk.observe()
        assert seen.time_ms == panel.grid.end_ms + HOUR_MS
        for name in ("mark", "oracle", "mid", "open", "close", "funding_rate", "volume_usd", "open_interest",
                     "spread_bps", "predicted_funding", "settled_funding"):  # fmt: skip
            assert np.isfinite(seen.row[name]).all(), name
        panel.append(seen.time_ms, seen.row, 100)

    play(desk, scene)


def test_funding_over_a_day_is_the_exchanges_own_to_the_last_digit(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 5_000), desk.order("HYPE", Side.SELL, 3_000))
        state = await desk.look()
        paid = []
        for _ in range(24):
            await desk.to_next_hour()
            seen = await desk.observe()
            state = seen.account
            paid.append((seen.row["settled_funding"] != 0).tolist())
        assert np.array(paid).sum(axis=0).tolist() == [3, 6]
        payments = desk.of(FundingPayment)
        assert [p.instrument for p in payments].count("binance:BTC") == 3
        assert [p.instrument for p in payments].count("binance:HYPE") == 6
        for each in payments:
            size = desk.instrument(each.instrument.removeprefix("binance:")).size(each.lots)
            assert abs(-size * each.oracle * each.rate_per_hour - each.usd) < Decimal("0.00001")
        desk.agree(state)

    play(desk, scene)


def test_a_reduce_only_order_is_no_larger_than_the_position(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        (nothing,) = await desk.send(desk.order("BTC", Side.SELL, 900, reduce_only=True))
        assert (nothing.status, nothing.reason) == (OrderStatus.REJECTED, "there is nothing left to reduce")
        await desk.send(desk.order("BTC", Side.SELL, 2_000))
        held = sum(fill.lots for fill in desk.of(Fill))
        (closed,) = await desk.send(desk.order("BTC", Side.BUY, 50_000, reduce_only=True))
        assert (closed.order.lots, closed.filled_lots) == (held, held)
        desk.agree(await desk.look())

    play(desk, scene)


def test_an_order_is_never_sent_twice_under_one_client_id(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        order = desk.order("BTC", Side.BUY, 1_000)
        first, again = (await desk.send(order))[0], (await desk.send(order))[0]
        assert (first.status, again.reason) == (OrderStatus.FILLED, "sent before")
        assert len(desk.outbox.since(0)) == 1

    play(desk, scene)


@pytest.mark.parametrize("fault", ["lost_reply", "executed_502"])
def test_an_order_that_was_carried_out_without_an_answer_is_found(desk: Desk, fault: str) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 500))
        await desk.control("chaos", paths=["/fapi/v1/order"], seed=1, **{fault: 0.5})
        reports = []
        for _ in range(6):
            reports += await desk.send(desk.order("BTC", Side.BUY, 500))
        await desk.control("chaos")
        assert [each.status for each in reports] == [OrderStatus.FILLED] * 6
        assert len(desk.outbox.since(0)) == 7
        assert {each.state for each in desk.outbox.since(0)} == {AttemptState.FILLED}
        desk.agree(await desk.look())

    play(desk, scene)


def test_an_order_that_never_arrived_is_expired_by_the_venues_clock_and_not_sent_again(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 500))
        await desk.control("clock", speed=60, paused=False)
        await desk.control("chaos", paths=["/fapi/v1/order"], seed=3, refused_502=0.6)
        order = desk.order("HYPE", Side.BUY, 500)
        reports = []
        for _ in range(4):
            reports += await desk.send(order)
            if reports[-1].status is OrderStatus.REJECTED:
                break
            order = desk.order("HYPE", Side.BUY, 500)
        await desk.control("chaos")
        assert reports[-1].reason == "expired before it was carried out"
        assert desk.outbox.attempts_of(order.client_id)[-1].state is AttemptState.EXPIRED
        (again,) = await desk.send(order)
        assert again.reason == "sent before"
        desk.agree(await desk.look())

    play(desk, scene)


def test_what_is_turned_away_for_asking_too_often_did_not_happen(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 500))
        await desk.control("chaos", paths=["/fapi/v1/order"], rate_limited=1.0)
        (refused,) = await desk.send(desk.order("BTC", Side.BUY, 500))
        await desk.control("chaos")
        assert refused.status is OrderStatus.REJECTED
        state = await desk.look()
        assert len(desk.of(Fill)) == 1
        desk.agree(state)

    play(desk, scene)


def test_a_restart_goes_on_from_its_checkpoint_and_counts_nothing_twice(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        bid = desk.instrument("HYPE").round_price(desk.mark("HYPE") * Decimal("0.97"))
        rest = desk.order("HYPE", Side.BUY, 500, time_in_force=TimeInForce.GTC, limit_price=bid)
        await desk.send(rest)
        for _ in range(2):
            await desk.to_next_hour()
            await desk.observe()
        checkpoint = desk.venue.checkpoint()
        await desk.send(desk.order("BTC", Side.BUY, 1_000))  # which the checkpoint does not know
        await desk.venue.close()
        for _ in range(8):
            await desk.to_next_hour()
        desk.events = [each for each in desk.events if not isinstance(each, Fill) or each.order_id]
        before = {fill.trade_id for fill in desk.of(Fill)}
        await desk.connect(checkpoint)
        state = await desk.look()
        told = [fill.trade_id for fill in desk.of(Fill)]
        assert set(told) == before  # the last one is told again, under its number
        assert len(told) == len(before) + 1
        assert len(desk.of(FundingPayment)) >= 1
        (shown,) = state.view.open_orders
        assert shown.order == rest
        account = desk.face.exchange.accounts[desk.account_keys["api_key"]]
        assert (state.fees_usd, state.funding_usd) == (account.fees_usd, account.funding_usd)

    play(desk, scene)
