"""Perpetuals and spot on one account of a devnet: what the adapter counts is held against the exchange's own balances."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from bot.devnet import transfers
from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import ConfigError
from bot.model.attempt import AttemptState
from bot.model.decision import Cancel
from bot.model.order import Fill, OrderStatus, Purpose, Side, TimeInForce, Transfer
from bot.paper.account import open_account, post
from bot.paper.policy import Bounds, listed_in, pairs_in, policy_text
from bot.signer import keystore
from bot.signer.client import SignerClient
from bot.venues.hyperliquid.signing import SignerSocket
from bot.venues.hyperliquid.tokens import token_of
from bot.venues.venue import AccountState
from tests.venues.hyperliquid.sdk_signer import SdkSigns
from tests.venues.hyperliquid.test_on_devnet import Desk, control, play, to_next_hour
from tests.venues.hyperliquid.test_signer_socket import signer

PERPS = ("BTC", "HYPE")
COINS = ("BTC", "HYPE", "UBTC/USDC", "HYPE/USDC")
ASSETS = {"BTC": 0, "HYPE": 1, "UBTC/USDC": 10_142, "HYPE/USDC": 10_107}
WIRE = {"UBTC/USDC": "@142", "HYPE/USDC": "@107"}
ON_SPOT_USD = Decimal(20_000)


@pytest.fixture
def devnet() -> Iterator[Server]:
    options = Options(
        coins=PERPS, history_h=48, flow=False, paused=True, start_ms=1_790_000_000_000, agent_days=51 * 365
    )
    with running(options) as server:
        yield server


class SpotDesk(Desk):
    """An adapter that trades perpetuals and pairs, with dollars in both wallets."""

    def __init__(self, devnet: Server, **terms: Any) -> None:
        super().__init__(devnet, **terms)
        self.signs = SdkSigns(ASSETS, key=devnet.funded[0]["private_key"])
        self.terms = replace(self.terms, coins=COINS)

    async def connect(self, checkpoint: Any = None) -> None:
        if checkpoint is None and self.address not in self.devnet.world.spot.exchange.wallets:
            await control(self, "faucet", user=self.address, token="USDC", amount=str(ON_SPOT_USD))
        await super().connect(checkpoint)

    def mark(self, coin: str) -> Decimal:
        if coin in WIRE:
            return self.devnet.world.spot.exchange.marks[WIRE[coin]]
        return super().mark(coin)

    def instrument(self, coin: str) -> Any:
        return next(each for each in self.venue.instruments if each.name == coin)

    def agree(self, state: AccountState) -> None:
        """Both wallets against the exchange's own balances, and the books against what was told."""
        world = self.devnet.world
        account, marks = world.exchange.accounts[self.address], world.exchange.marks
        in_tokens = Decimal(0)
        for name in WIRE:
            instrument = self.instrument(name)
            owned, column = owned_by(self, token_of(instrument)), COINS.index(name)
            lots = int(state.view.lots[column])
            assert lots == int(owned / instrument.lot)
            in_tokens += lots * instrument.lot * self.mark(name)
            told = sum(fill.signed_lots for fill in self.of(Fill) if fill.instrument == name)
            assert told == lots
        spot_usd = owned_by(self, "USDC") + in_tokens + state.dust_usd
        perp_usd = account.equity_usd(marks)
        assert abs(state.equity_usd - perp_usd - spot_usd) < Decimal("0.000001")
        wallets = state.view.wallet_usd
        assert wallets is not None
        assert wallets == pytest.approx(
            {"hyperliquid": float(perp_usd), "hyperliquid spot": float(spot_usd)}, abs=1e-6
        )
        assert state.fees_usd == sum((fill.fee_usd for fill in self.of(Fill)), Decimal(0))
        # Cash by the books is the venue's cash: every fill moves it by its worth and its fee, and nothing else does.
        moved = sum(
            (-fill.side.sign * fill.notional_usd - fill.fee_usd for fill in self.of(Fill)), Decimal(0)
        )
        perps = sum((p.notional_usd(marks[n]) for n, p in account.positions.items()), Decimal(0))
        transfers = sum((each.usd for each in self.of(Transfer)), Decimal(0))
        opened = state.deposits_usd - transfers
        funding = state.funding_usd
        assert abs(state.equity_usd - (opened + transfers + moved + funding + perps + in_tokens)) < Decimal(
            "0.000002"
        )


def owned_by(desk: Desk, token: str) -> Decimal:
    """By the exchange's own word."""
    return desk.devnet.world.spot.exchange.wallets[desk.address].total.get(token, Decimal(0))


def test_spot_is_bought_sold_in_part_and_its_fee_is_in_the_token(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        before = await desk.account()
        assert before.view.wallet_usd is not None
        assert before.view.wallet_usd["hyperliquid spot"] == float(owned_by(desk, "USDC"))
        (bought,) = await desk.send(desk.order("UBTC/USDC", Side.BUY, 5_000))
        assert bought.status is OrderStatus.FILLED
        state = await desk.account()
        desk.agree(state)
        column, owned = COINS.index("UBTC/USDC"), owned_by(desk, "UBTC")
        lots = int(state.view.lots[column])
        assert lots < bought.filled_lots  # the fee was taken from the coins
        assert state.dust_usd != 0
        assert state.view.leverage[column] == 1
        assert np.isfinite(state.view.entry_price[column])
        position = next(each for each in state.positions if each.instrument.name == "UBTC/USDC")
        assert position.lots == lots
        (sold,) = await desk.send(
            desk.order("UBTC/USDC", Side.SELL, 2_000, reduce_only=True, purpose=Purpose.EXIT)
        )
        assert sold.status is OrderStatus.FILLED
        desk.agree(await desk.account())
        assert owned_by(desk, "UBTC") == owned - desk.instrument("UBTC/USDC").size(sold.filled_lots)
        # More than is left can't be sold: it is cut to whole lots owned, and the dust stays.
        (rest,) = await desk.send(desk.order("UBTC/USDC", Side.SELL, 9_000, purpose=Purpose.EXIT))
        assert (rest.status, rest.filled_lots) == (OrderStatus.FILLED, lots - sold.filled_lots)
        state = await desk.account()
        desk.agree(state)
        assert state.view.lots.tolist() == [0, 0, 0, 0]
        assert 0 < owned_by(desk, "UBTC") < desk.instrument("UBTC/USDC").lot
        (none,) = await desk.send(desk.order("UBTC/USDC", Side.SELL, 100))
        assert (none.status, none.reason) == (OrderStatus.REJECTED, "there is nothing left to sell")

    play(SpotDesk(devnet), scene)


def test_both_legs_are_traded_on_one_account_and_a_restart_goes_on_with_the_same_books(
    devnet: Server,
) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("HYPE/USDC", Side.BUY, 3_000), desk.order("UBTC/USDC", Side.BUY, 500))
        held = int((await desk.account()).view.lots[COINS.index("HYPE/USDC")])
        hedge = replace(desk.order("HYPE", Side.SELL, 100), lots=held)
        (sold,) = await desk.send(hedge)
        assert sold.filled_lots == held
        desk.agree(await desk.account())
        for amount in (700, 800, 900):
            saved = desk.venue.checkpoint()
            await desk.venue.close()
            await to_next_hour(desk)
            await desk.connect(saved)
            desk.hear()
            await desk.send(desk.order("UBTC/USDC", Side.BUY, amount))
            desk.agree(await desk.account())
        await to_next_hour(desk)
        seen = await desk.observe()
        desk.agree(seen.account)

    play(SpotDesk(devnet, leverage=3), scene)


def test_rows_of_pairs_have_prices_volume_depth_and_no_funding(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        pairs = [COINS.index(name) for name in WIRE]
        assert np.isfinite(desk.panel.close.values).all()
        assert (desk.panel.funding_rate.values[:, pairs] == 0).all()
        await to_next_hour(desk)
        row = (await desk.observe()).row
        for name in ("mark", "oracle", "mid", "open", "close", "volume_usd", "funding_rate", "depth_usd"):
            assert np.isfinite(row[name]).all(), name
        assert (row["depth_usd"] > 0).all()
        assert (row["funding_rate"][pairs] == 0).all()
        assert row["mark"][pairs] == pytest.approx([float(desk.mark(name)) for name in WIRE])
        assert abs(row["mark"][2] / row["mark"][0] - 1) < 0.01

    play(SpotDesk(devnet), scene)


def test_a_sale_that_rests_binds_what_it_sells_and_is_withdrawn(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("HYPE/USDC", Side.BUY, 1_000))
        column = COINS.index("HYPE/USDC")
        lots = int((await desk.account()).view.lots[column])
        price = desk.instrument("HYPE/USDC").round_price(desk.mark("HYPE/USDC") * Decimal("1.05"))
        rest = replace(
            desk.order(
                "HYPE/USDC",
                Side.SELL,
                900,
                time_in_force=TimeInForce.ALO,
                limit_price=price,
                reduce_only=True,
            )
        )
        (resting,) = await desk.send(rest)
        assert resting.status is OrderStatus.RESTING
        state = await desk.account()
        (shown,) = state.view.open_orders
        assert shown.order == rest
        assert int(state.view.lots[column]) == lots
        free = lots - rest.lots
        (sold,) = await desk.send(desk.order("HYPE/USDC", Side.SELL, 900))
        assert (sold.status, sold.filled_lots) == (OrderStatus.FILLED, free)
        (ended,) = await desk.send(cancels=(Cancel(resting.order_id, rest.client_id, "HYPE/USDC", "moved"),))
        assert ended.status is OrderStatus.CANCELED
        desk.agree(await desk.account())

    play(SpotDesk(devnet), scene)


def test_money_between_the_wallets_comes_from_nowhere_and_what_comes_from_outside_is_a_transfer(
    devnet: Server,
) -> None:
    async def scene(desk: Desk) -> None:
        before = await desk.account()
        world = devnet.world
        transfers._take(world, desk.address, transfers.PERP, "USDC", Decimal(500))
        transfers.give(world, desk.address, transfers.SPOT, "USDC", Decimal(500))
        world.write_ledger(desk.address, {"type": "accountClassTransfer", "usdc": "500.0", "toPerp": False})
        await to_next_hour(desk)
        state = (await desk.observe()).account
        assert before.view.wallet_usd is not None
        assert state.view.wallet_usd is not None
        assert state.view.wallet_usd["hyperliquid spot"] == before.view.wallet_usd["hyperliquid spot"] + 500
        assert state.equity_usd == before.equity_usd
        assert desk.of(Transfer) == []

    play(SpotDesk(devnet), scene)


def test_a_purchase_whose_reply_is_lost_is_found_and_counted_once(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        await control(desk, "chaos", lost_reply=1.0, paths=["/exchange"])
        order = desk.order("UBTC/USDC", Side.BUY, 1_000)
        (found,) = await desk.send(order)
        await control(desk, "chaos")
        assert (found.status, found.filled_lots) == (OrderStatus.FILLED, order.lots)
        state = await desk.account()
        desk.agree(state)
        attempts = desk.outbox.attempts_of(order.client_id)
        bought = sum(fill.lots for fill in desk.of(Fill) if fill.client_id == order.client_id)
        assert [each.state for each in attempts] == [AttemptState.FILLED]
        assert bought == order.lots

    play(SpotDesk(devnet), scene)


def test_who_is_cut_off_with_a_purchase_under_way_finds_out_what_became_of_it(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("UBTC/USDC", Side.BUY, 500))
        await desk.account()
        saved = desk.venue.checkpoint()
        order = desk.order("UBTC/USDC", Side.BUY, 1_000)
        exchange = desk.venue._client.exchange

        async def die(body: bytes) -> Any:
            await exchange(body)
            raise ConnectionAbortedError  # the process ends between the venue's word and ours

        desk.venue._client.exchange = die  # type: ignore[method-assign]
        with pytest.raises(ConnectionAbortedError):
            await desk.send(order)
        await desk.venue.close()
        await desk.connect(saved)
        desk.hear()
        state = await desk.account()
        desk.agree(state)
        (attempt,) = desk.outbox.attempts_of(order.client_id)
        assert attempt.state is AttemptState.FILLED
        (again,) = await desk.send(order)
        assert (again.status, again.reason) == (OrderStatus.REJECTED, "sent before")

    play(SpotDesk(devnet), scene)


def test_tokens_from_outside_are_told_and_the_wallet_is_believed(devnet: Server) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(desk.order("UBTC/USDC", Side.BUY, 500))
        before = await desk.account()
        transfers.give(devnet.world, desk.address, transfers.SPOT, "UBTC", Decimal("0.0100001"))
        with capture_logs() as said:
            state = await desk.account()
        assert [each["coin"] for each in said if each["log_level"] == "error"] == ["UBTC/USDC"]
        column = COINS.index("UBTC/USDC")
        lots = int(owned_by(desk, "UBTC") * 100_000)
        assert state.view.lots[column] == lots
        worth = Decimal("0.0100001") * desk.mark("UBTC/USDC")
        assert abs(state.equity_usd - before.equity_usd - worth) < Decimal("0.000002")

    play(SpotDesk(devnet), scene)


def test_a_pair_needs_its_number_in_the_policy_and_an_empty_spot_wallet_is_warned_of(devnet: Server) -> None:
    desk = SpotDesk(devnet)
    desk.terms = replace(desk.terms, coins=("BTC", "PURR/USDC"))
    with pytest.raises(ConfigError, match=r'PURR/USDC is in the config .* add \[coins."PURR/USDC"\] there'):
        asyncio.run(desk.connect())
    desk.signs.assets["PURR/USDC"] = 10_107
    with pytest.raises(
        ConfigError, match="PURR/USDC is asset 10000 at the venue and 10107 in the signer's policy"
    ):
        asyncio.run(desk.connect())


def test_a_paper_account_has_dollars_in_both_wallets_and_its_signer_signs_for_both(
    devnet: Server, tmp_path: Path
) -> None:
    url, now_ms = devnet.url, devnet.world.now_ms
    tmp_path.chmod(0o700)
    paper = open_account(tmp_path, url, Decimal(30_000), now_ms, spot_usd=Decimal("20000.5"))
    listed = listed_in(post(url, "/info", {"type": "metaAndAssetCtxs"}))
    listed |= pairs_in(post(url, "/info", {"type": "spotMetaAndAssetCtxs"}))
    million = Decimal(1_000_000)
    bounds = Bounds(million, million, million, million, collar_bps=600, orders_per_min=600, max_leverage=3)
    text = policy_text(paper.account, paper.agent, COINS, listed, bounds, 1.0)
    secret = keystore.decrypt(keystore.read(paper.keystore).crypto, paper.password)
    desk = SpotDesk(devnet, leverage=3)
    desk.address = paper.account
    desk.terms = replace(desk.terms, account=paper.account)

    async def scene(desk: Desk) -> None:
        state = await desk.account()
        assert state.view.wallet_usd == {"hyperliquid": 30_000.0, "hyperliquid spot": 20_000.5}
        orders = desk.order("HYPE", Side.SELL, 3_000), desk.order("HYPE/USDC", Side.BUY, 3_000)
        reports = await desk.send(*orders)
        assert [each.status for each in reports] == [OrderStatus.FILLED] * 2, reports
        desk.agree(await desk.account())
        closing = replace(orders[1], client_id="d9-HYPE-exit", side=Side.SELL, reduce_only=True)
        (sold,) = await desk.send(closing)
        assert sold.status is OrderStatus.FILLED
        desk.agree(await desk.account())

    with signer(tmp_path, text, secret) as where, SignerClient(where) as asks:
        desk.signs = SignerSocket(asks)  # type: ignore[assignment]
        play(desk, scene)
