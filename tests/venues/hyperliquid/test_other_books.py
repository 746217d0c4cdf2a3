"""Sub-accounts and isolated margin on a devnet: the right books are read, and what is traded is traded there."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import numpy as np
import pytest

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import ConfigError
from bot.model.account import MarginMode
from bot.model.decision import Cancel
from bot.model.money import usd
from bot.model.order import Fill, FundingPayment, OrderStatus, Purpose, Side, TimeInForce
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.outbox import MemoryOutbox
from tests.venues.hyperliquid.test_on_devnet import COINS, START_MS, Desk, play, to_next_hour


@pytest.fixture
def devnet() -> Iterator[Server]:
    with running(Options(coins=COINS, history_h=48, flow=False, paused=True, start_ms=START_MS)) as server:
        yield server


async def act(master: Desk, action: dict[str, Any]) -> Any:
    """An action of the master's own key."""
    master.signs.venue_ms = master.devnet.world.now_ms
    body = master.signs._signed(action, None).body
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{master.devnet.url}/exchange", data=body, headers=headers) as reply,
    ):
        answer = await reply.json()
    assert answer["status"] == "ok", answer
    return answer["response"]


def sub_account(devnet: Server, usd_amount: int) -> str:
    """The address of a new sub-account with some money."""

    async def run() -> str:
        master = Desk(devnet)
        made = await act(master, {"type": "createSubAccount", "name": "hedge"})
        address = str(made["data"])
        micro = usd_amount * 1_000_000
        await act(
            master, {"type": "subAccountTransfer", "subAccountUser": address, "isDeposit": True, "usd": micro}
        )
        return address

    return asyncio.run(run())


def of_sub(devnet: Server, address: str, **terms: Any) -> Desk:
    desk = Desk(devnet, vault=address, **terms)
    desk.signs.nonce = devnet.world.now_ms + 1_000  # the same key has signed as the master by now
    return desk


def test_a_sub_account_is_traded_and_its_master_is_left_alone(devnet: Server) -> None:
    address = sub_account(devnet, 5_000)
    master = Desk(devnet).signs.address
    before = devnet.world.exchange.accounts[master].cash_usd

    async def scene(desk: Desk) -> None:
        state = await desk.account()
        assert (state.equity_usd, state.deposits_usd) == (Decimal(5_000), Decimal(5_000))
        bid = desk.instrument("ETH").round_price(desk.mark("ETH") * Decimal("0.95"))
        rest = desk.order("ETH", Side.BUY, 500, time_in_force=TimeInForce.ALO, limit_price=bid)
        filled, resting = await desk.send(desk.order("BTC", Side.BUY, 2_000), rest)
        assert (filled.status, resting.status) == (OrderStatus.FILLED, OrderStatus.RESTING)
        await to_next_hour(desk)
        desk.agree((await desk.observe()).account)
        assert len(desk.of(FundingPayment)) == 1
        (cancelled,) = await desk.send(cancels=(Cancel(resting.order_id, rest.client_id, "ETH", "moved"),))
        assert cancelled.status is OrderStatus.CANCELED
        close = desk.order("BTC", Side.SELL, 9_000, reduce_only=True, purpose=Purpose.EXIT)
        (closed,) = await desk.send(close)
        assert closed.status is OrderStatus.FILLED
        state = await desk.account()
        assert state.positions == ()
        desk.agree(state)

    play(of_sub(devnet, address, leverage=3), scene)
    other = devnet.world.exchange.accounts[master]
    assert (other.cash_usd, other.positions, other.fees_usd) == (before, {}, Decimal(0))


def test_money_moved_between_master_and_sub_account_is_no_profit_of_either(devnet: Server) -> None:
    address = sub_account(devnet, 5_000)

    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 1_000))
        master = Desk(devnet)
        master.signs.nonce = devnet.world.now_ms + 10_000
        for deposit, dollars in ((True, 700), (False, 200)):
            action = {
                "type": "subAccountTransfer",
                "subAccountUser": address,
                "isDeposit": deposit,
                "usd": dollars * 1_000_000,
            }
            await act(master, action)
        await to_next_hour(desk)
        state = (await desk.observe()).account
        assert state.deposits_usd == 5_500
        desk.agree(state)

    play(of_sub(devnet, address), scene)


def test_a_signer_for_another_books_is_not_traded_with(devnet: Server) -> None:
    address = sub_account(devnet, 5_000)

    async def run() -> None:
        ours = Desk(devnet)
        for terms in (replace(ours.terms, account=address), replace(ours.terms, account="0x" + "d" * 40)):
            with pytest.raises(ConfigError, match="the signer signs for the account"):
                await HyperliquidVenue.connect(terms, ours.signs, MemoryOutbox())

    asyncio.run(run())


def test_isolated_positions_have_their_own_margin_and_are_sized_and_closed_by_it(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        exchange = devnet.world.exchange
        await desk.send(desk.order("BTC", Side.BUY, 4_000), desk.order("ETH", Side.SELL, 1_000))
        for _ in range(3):
            await to_next_hour(desk)
            state = (await desk.observe()).account
            account = exchange.accounts[desk.address]
            isolated = state.view.isolated_usd
            assert isolated is not None
            for column, coin in enumerate(COINS):
                position = account.positions[coin]
                own = position.cash_usd + position.notional_usd(exchange.marks[coin])
                assert isolated[column] == pytest.approx(float(own), abs=1e-6)
            assert state.view.leverage.tolist() == [4.0, 4.0]
            assert {p.margin_mode for p in state.positions} == {MarginMode.ISOLATED}
            assert all(p.liquidation_price is not None for p in state.positions)
            # What backs isolated positions does not back others, but is the account's all the same.
            assert state.cash_usd < state.equity_usd
            assert state.equity_usd == usd(account.equity_usd(exchange.marks))
            desk.agree(state)
        half = desk.order("BTC", Side.SELL, 2_000, reduce_only=True, purpose=Purpose.EXIT)
        (reduced,) = await desk.send(half)
        assert reduced.status is OrderStatus.FILLED
        state = await desk.account()
        assert (
            state.view.lots[0]
            == sum(fill.signed_lots for fill in desk.of(Fill) if fill.instrument == "BTC")
            > 0
        )
        desk.agree(state)
        (closed,) = await desk.send(
            desk.order("BTC", Side.SELL, 9_000, reduce_only=True, purpose=Purpose.EXIT)
        )
        assert closed.status is OrderStatus.FILLED
        state = await desk.account()
        assert state.view.isolated_usd is not None
        assert state.view.isolated_usd[0] == 0
        assert np.isfinite(state.view.isolated_usd).all()
        desk.agree(state)

    play(Desk(devnet, margin_mode=MarginMode.ISOLATED, leverage=4), scene)


def test_the_margin_mode_is_set_before_a_position_and_not_switched_under_one(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("BTC", Side.BUY, 2_000))
        saved = desk.venue.checkpoint()
        await desk.venue.close()
        desk.terms = replace(desk.terms, margin_mode=MarginMode.ISOLATED)
        await desk.connect(saved)
        grown, opened = await desk.send(
            desk.order("BTC", Side.BUY, 1_000), desk.order("ETH", Side.BUY, 1_000)
        )
        assert grown.status is OrderStatus.REJECTED
        assert "Cannot switch leverage type with open position" in grown.reason
        assert opened.status is OrderStatus.FILLED
        state = await desk.account()
        modes = {p.instrument.name: p.margin_mode for p in state.positions}
        assert modes == {"BTC": MarginMode.CROSS, "ETH": MarginMode.ISOLATED}
        isolated = state.view.isolated_usd
        assert isolated is not None
        assert np.isnan(isolated).tolist() == [True, False]
        desk.agree(state)

    play(Desk(devnet), scene)
