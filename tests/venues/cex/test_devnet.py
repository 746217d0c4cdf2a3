"""The adapter on the devnet's Binance: the library unmodified, the signer's real rules, time in the test's hands.

What the adapter counts is held against the exchange's own books.
"""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from bot.devnet.start import Options, running
from bot.errors import OutcomeUnknown, StateError, Unavailable, VenueError
from bot.model.account import MarginMode
from bot.model.attempt import AttemptState
from bot.model.decision import Cancel
from bot.model.order import (
    Fill,
    FundingPayment,
    Liquidation,
    Order,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Transfer,
    Trigger,
    TriggerKind,
)
from bot.model.panel import HOUR_MS
from bot.venues.cex.market_data import MarketData
from bot.venues.outbox import MemoryOutbox
from tests.venues.cex.desk import COINS, START_MS, Desk, play


def options(usdt: int) -> Options:
    return Options(
        coins=COINS,
        history_h=96,
        flow=False,
        paused=True,
        start_ms=START_MS,
        cex_port=0,
        cex_usdt=Decimal(usdt),
    )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with running(options(100_000)) as devnet:
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
        for name in (
            "close",
            "mark",
            "oracle",
            "open_interest",
            "funding_rate",
            "settled_funding",
            "funding_interval_h",
        ):
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
            assert abs(-size * each.oracle * each.rate - each.usd) < Decimal("0.00001")
        desk.agree(state)

    play(desk, scene)


def test_a_payment_that_is_read_before_its_row_has_its_rate_all_the_same(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 5_000))
        for _ in range(2):
            await desk.to_next_hour()
        await desk.look()  # and no hour was observed
        (paid,) = desk.of(FundingPayment)
        size = desk.instrument("BTC").size(paid.lots)
        assert paid.rate != 0
        assert abs(-size * paid.oracle * paid.rate - paid.usd) < Decimal("0.000001")

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


def test_an_order_larger_than_the_book_fills_in_part_and_in_several_trades(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        limit = desk.instrument("HYPE").round_price(desk.mark("HYPE") * Decimal("1.0004"))
        order = desk.order("HYPE", Side.BUY, 90_000, limit_price=limit, time_in_force=TimeInForce.IOC)
        (report,) = await desk.send(order)
        assert report.status is OrderStatus.CANCELED
        assert 0 < report.filled_lots < order.lots
        fills = desk.of(Fill)
        assert sum(fill.lots for fill in fills) == report.filled_lots
        assert {(fill.client_id, fill.order_id) for fill in fills} == {(order.client_id, report.order_id)}
        assert desk.outbox.attempts_of(order.client_id)[0].filled_lots == report.filled_lots
        desk.agree(await desk.look())

    play(desk, scene)


def test_a_stop_waits_at_the_venue_and_fires_while_nobody_looks(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        held = sum(fill.lots for fill in desk.of(Fill))
        mark = desk.mark("BTC")
        near, far = (
            Order(f"d9{name}-binance:BTC-stop", "binance:BTC", Side.SELL, held, reduce_only=True, purpose=Purpose.STOP,
                  trigger=Trigger(TriggerKind.STOP, desk.instrument("BTC").round_price(level, up=False)))
            for name, level in (("near", mark - 1), ("far", mark * Decimal("0.9")))
        )  # fmt: skip
        placed = await desk.send(near, far)
        assert [each.status for each in placed] == [OrderStatus.WAITING] * 2
        state = await desk.look()
        assert {each.order for each in state.view.open_orders} == {near, far}
        withdraws = Cancel(placed[1].order_id, far.client_id, far.instrument, "moved")
        (gone,) = await desk.send(cancels=(withdraws,))
        assert (gone.status, gone.order) == (OrderStatus.CANCELED, far)
        for _ in range(30):
            await desk.control("clock", advance_s=120)
            if not desk.face.exchange.accounts[desk.account_keys["api_key"]].positions:
                break
        state = await desk.look()
        assert state.positions == ()
        assert state.view.open_orders == ()
        stopped = [each for each in desk.of(Fill) if each.purpose is Purpose.STOP]
        assert {each.client_id for each in stopped} == {near.client_id}
        assert desk.outbox.attempts_of(near.client_id)[0].state is AttemptState.FILLED
        assert desk.outbox.attempts_of(far.client_id)[0].state is AttemptState.CANCELED
        desk.agree(await desk.look())

    play(desk, scene)


def test_a_stop_whose_reply_was_lost_is_found_among_those_that_wait(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        held = sum(fill.lots for fill in desk.of(Fill))
        level = desk.instrument("BTC").round_price(desk.mark("BTC") * Decimal("0.9"))
        stop = Order(
            "d9-binance:BTC-stop", "binance:BTC", Side.SELL, held, reduce_only=True, purpose=Purpose.STOP,
            trigger=Trigger(TriggerKind.STOP, level),
        )  # fmt: skip
        await desk.control("chaos", paths=["/fapi/v1/algoOrder"], seed=5, executed_502=0.5)
        (placed,) = await desk.send(stop)
        await desk.control("chaos")
        assert placed.status is OrderStatus.WAITING
        (shown,) = (await desk.look()).view.open_orders
        assert shown.order == stop
        assert shown.order_id == placed.order_id

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
        await desk.control("clock", paused=True)
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
        ask = desk.instrument("BTC").round_price(desk.mark("BTC") * Decimal("1.04"))
        rest = desk.order("BTC", Side.SELL, 500, time_in_force=TimeInForce.GTC, limit_price=ask)
        await desk.send(rest)
        await desk.to_next_hour()
        await desk.observe()
        checkpoint = desk.venue.checkpoint()
        await desk.send(desk.order("BTC", Side.BUY, 1_000))  # which the checkpoint does not know
        await desk.venue.close()
        for _ in range(2):  # funding is settled meanwhile
            await desk.to_next_hour()
        before = {fill.trade_id for fill in desk.of(Fill)}
        await desk.connect(checkpoint)
        state = await desk.look()
        told = [fill.trade_id for fill in desk.of(Fill)]
        assert set(told) == before  # the last one is told again, under its number
        assert len(told) == len(before) + 1
        assert [each.instrument for each in desk.of(FundingPayment)] == ["binance:BTC"]
        (shown,) = state.view.open_orders
        assert shown.order == rest
        account = desk.face.exchange.accounts[desk.account_keys["api_key"]]
        assert (state.fees_usd, state.funding_usd) == (account.fees_usd, account.funding_usd)

    play(desk, scene)


def test_a_checkpoint_holds_nothing_that_a_look_has_counted_and_not_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Decimal:
        if "binance:HYPE" in desk.venue._books.account.positions:
            raise Unavailable("the venue went away after its trades were read")
        return Decimal(0)

    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        with monkeypatch.context() as patch:
            patch.setattr(desk.venue._books, "strange_usd", away)
            with contextlib.suppress(Unavailable):
                await desk.send(desk.order("HYPE", Side.SELL, 1_000))
            with pytest.raises(Unavailable):
                await desk.look()
        desk.hear()
        assert [fill.instrument for fill in desk.of(Fill)] == ["binance:BTC"]
        checkpoint = desk.venue.checkpoint()
        await desk.venue.close()
        await desk.connect(checkpoint)
        assert [fill.instrument for fill in desk.of(Fill)] == ["binance:BTC", "binance:HYPE"]
        desk.agree(await desk.look())

    play(desk, scene)


def test_an_order_that_an_earlier_run_did_not_hear_of_is_found_at_the_next_start(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 500))
        checkpoint = desk.venue.checkpoint()
        await desk.control("chaos", paths=["/fapi/v1/order"], executed_502=1.0)
        order = desk.order("HYPE", Side.SELL, 500)
        with pytest.raises(OutcomeUnknown):
            await desk.send(order)
        with pytest.raises(OutcomeUnknown):  # and nothing else is sent
            await desk.send(desk.order("BTC", Side.BUY, 500))
        await desk.venue.close()
        await desk.control("chaos")
        assert desk.outbox.attempts_of(order.client_id)[0].state is AttemptState.UNKNOWN
        await desk.connect(checkpoint)
        assert desk.outbox.attempts_of(order.client_id)[0].state is AttemptState.FILLED
        assert {fill.client_id for fill in desk.of(Fill) if fill.instrument == "binance:HYPE"} == {
            order.client_id
        }
        desk.agree(await desk.look())

    desk.terms = replace(desk.terms, resolve_s=0.2)
    play(desk, scene)


def test_an_order_under_our_name_that_the_journal_does_not_hold_is_another_daemons(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        bid = desk.instrument("BTC").round_price(desk.mark("BTC") * Decimal("0.96"))
        rest = desk.order("BTC", Side.BUY, 500, time_in_force=TimeInForce.GTC, limit_price=bid)
        await desk.send(rest)
        await desk.venue.close()
        desk.outbox = MemoryOutbox()
        with pytest.raises(StateError, match="a daemon of this program sent"):
            await desk.connect()
        desk.terms = replace(desk.terms, adopts=True)
        await desk.connect()
        (shown,) = (await desk.look()).view.open_orders
        assert shown.order.purpose is Purpose.EXTERNAL
        assert (await desk.venue.condition()).twin == ""

    play(desk, scene)


def test_a_key_that_is_gone_is_no_empty_account(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 500))
        secret = desk.face.secrets.pop(desk.account_keys["api_key"])
        with pytest.raises(Unavailable, match="-2015"):
            await desk.look()
        desk.face.secrets[desk.account_keys["api_key"]] = secret
        desk.agree(await desk.look())

    play(desk, scene)


def test_a_liquidation_is_told_as_one_and_what_it_cost_is_no_withdrawal(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("HYPE", Side.BUY, 1_800))
        for _ in range(400):
            await desk.control("clock", advance_s=60)
            if not desk.face.exchange.accounts[desk.account_keys["api_key"]].positions:
                break
        state = await desk.look()
        assert state.positions == ()
        taken = [fill for fill in desk.of(Fill) if fill.purpose is Purpose.LIQUIDATION]
        assert taken
        closed, *rest = desk.of(Liquidation)
        assert (closed.lots, closed.kind) == (sum(fill.lots for fill in taken), "full")
        assert [each.kind for each in rest] == ["fee"]
        assert rest[0].forfeited_usd > 0
        assert desk.of(Transfer) == []
        desk.agree(state)

    with running(options(100)) as devnet:
        play(Desk(devnet, tmp_path, leverage=20), scene)


def test_isolated_positions_have_their_own_margin_and_the_books_agree(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000), desk.order("HYPE", Side.SELL, 1_000))
        for _ in range(3):
            await desk.to_next_hour()
            await desk.observe()
        state = await desk.look()
        assert {held.margin_mode for held in state.positions} == {MarginMode.ISOLATED}
        isolated = state.view.isolated_usd
        assert isolated is not None
        assert isolated[0] == pytest.approx(2_000 / 5, rel=0.1)
        assert len(desk.of(FundingPayment)) == 2
        desk.agree(state)

    with running(options(10_000)) as devnet:
        play(Desk(devnet, tmp_path, margin_mode=MarginMode.ISOLATED), scene)


def test_money_brought_in_is_a_transfer_and_no_gain(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{desk.url}/devnet/faucet", json={"api_key": desk.account_keys["api_key"], "usdt": 500}
            ) as reply,
        ):
            assert reply.status == 200, await reply.text()
        state = await desk.look()
        (moved,) = desk.of(Transfer)
        assert (state.deposits_usd, state.price_usd) == (Decimal(100_500), Decimal(0))
        assert moved.usd == 500
        desk.agree(state)

    play(desk, scene)


def test_funding_paid_the_other_way_than_it_is_read_ends_opening(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = MarketData.settled_rate

    def turned(self: MarketData, instrument: str, time_ms: int) -> tuple[Decimal, int | None] | None:
        found = right(self, instrument, time_ms)
        return None if found is None else (-found[0], found[1])

    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        monkeypatch.setattr(MarketData, "settled_rate", turned)
        for _ in range(2):
            await desk.to_next_hour()
            await desk.observe()
        assert "sign, rate or unit" in (await desk.venue.condition()).signer_problem
        (opens,) = await desk.send(desk.order("BTC", Side.BUY, 500))
        assert opens.status is OrderStatus.REJECTED
        (closes,) = await desk.send(desk.order("BTC", Side.SELL, 9_000, reduce_only=True))
        assert closes.status is OrderStatus.FILLED

    play(desk, scene)


@pytest.mark.parametrize("seed", range(2))
def test_under_fire_every_order_comes_to_an_end_and_the_books_are_the_exchanges(
    desk: Desk, seed: int
) -> None:
    async def scene(desk: Desk) -> None:
        dice = random.Random(seed)
        await desk.send(desk.order("BTC", Side.BUY, 500), desk.order("HYPE", Side.BUY, 500))
        await desk.control("clock", speed=60, paused=False)
        await desk.control(
            "chaos", paths=["/fapi/*"], seed=seed, lost_reply=0.05, executed_502=0.05, refused_502=0.05,
            rate_limited=0.005,
        )  # fmt: skip
        for _ in range(20):
            coin, side = dice.choice(COINS), dice.choice(list(Side))
            keys: dict[str, Any] = {}
            if dice.random() < 0.3:
                keys = {"reduce_only": True}
            elif dice.random() < 0.4:
                level = desk.mark(coin) * (1 - side.sign * Decimal("0.01"))
                keys = {
                    "limit_price": desk.instrument(coin).round_price(level),
                    "time_in_force": TimeInForce.GTC,
                }
            with contextlib.suppress(VenueError):  # as a trader does, who asks again later
                await desk.send(desk.order(coin, side, dice.randrange(200, 2_000), **keys))
        await desk.control("chaos")
        await desk.control("clock", advance_s=300, paused=True)
        state = await desk.look()
        desk.agree(state)
        rests = {report.order.client_id for report in state.view.open_orders}
        for each in desk.outbox.since(0):
            assert each.state.is_final or each.client_id in rests, each.state
        assert len({fill.trade_id for fill in desk.of(Fill)}) == len(desk.of(Fill))
        traded = {fill.client_id for fill in desk.of(Fill)}
        sent = {each.client_id for each in desk.outbox.since(0)}
        assert traded <= sent  # nothing was taken for a stranger's

    play(desk, scene)


@pytest.mark.parametrize("told", [{}, [], {"assets": []}, {"assets": None}, {"assets": [{"asset": "BNB"}]}])
def test_a_balance_of_the_wrong_form_is_no_empty_wallet_and_ends_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        before = await desk.look()

        async def fetch_balance(*_: Any, **__: Any) -> Any:
            return {"info": told}

        with monkeypatch.context() as patch:
            patch.setattr(desk.venue._client._exchange, "fetch_balance", fetch_balance)
            with pytest.raises(Unavailable):
                await desk.look()
        after = await desk.look()
        assert after.view.lots.tolist() == before.view.lots.tolist()
        desk.agree(after)

    play(desk, scene)


def test_a_contract_without_a_price_keeps_nobody_from_closing_another(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000), desk.order("HYPE", Side.SELL, 1_000))
        exchange = desk.venue._client._exchange
        real = exchange.fetch_funding_rates

        async def without(*given: Any, **keywords: Any) -> Any:
            return {name: row for name, row in (await real(*given, **keywords)).items() if "HYPE" not in name}

        monkeypatch.setattr(exchange, "fetch_funding_rates", without)
        held = await desk.look()
        assert len(held.positions) == 2
        out = desk.order("BTC", Side.SELL, 9_000, reduce_only=True, purpose=Purpose.EXIT)
        (closed,) = await desk.send(out)
        assert closed.status is OrderStatus.FILLED
        (left,) = (await desk.look()).positions
        assert left.instrument.name == "binance:HYPE"

    play(desk, scene)
