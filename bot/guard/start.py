"""Starting a guard: that its signer is of the right account, of another agent than the daemon's, and can open nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from bot.clock import Clock, WallClock
from bot.errors import ConfigError, Unavailable
from bot.guard.guard import Guard, Orders
from bot.guard.hands import Hands
from bot.guard.notes import Notes, alone, path_of
from bot.guard.vigil import Vigil
from bot.journal import pulse
from bot.signer.client import SignerClient, SignerError
from bot.venues.hyperliquid.budget import WEIGHT_PER_MINUTE, WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.identity import check_account, check_signer
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.parse_meta import Universe, is_pair
from bot.venues.hyperliquid.signing import SignerSocket
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")

GUARD_SHARE: Final = 4
"""A guard takes at most this part of an address's requests in a minute, since the daemon may be on its way back."""


@dataclass(frozen=True, slots=True)
class Post:
    """Where a guard stands: the daemon's journal and signer, the account, and the guard's own signer."""

    journal: Path
    url: str
    network: str
    account: str
    coins: tuple[str, ...]
    signer: Path
    daemons_signer: Path


@asynccontextmanager
async def standing(
    post: Post,
    orders: Orders,
    now_s: Callable[[], float] = time.monotonic,
    wall: Clock | None = None,
) -> AsyncIterator[Guard]:
    """A guard, ready to run. ConfigError, StateError, VenueError where it could not do what it is for."""
    path = path_of(post.journal)
    account = post.account.lower()
    minute = None if post.network == "devnet" else WEIGHT_PER_MINUTE // GUARD_SHARE
    client = Client(post.url, budget=WeightBudget(minute))
    with alone(path), SignerClient(post.signer) as asks:
        try:
            check_powers(asks, post.signer)
            _check_apart(asks, post.daemons_signer)
            signs = SignerSocket(asks)
            whose = signs.whose()
            universe: Universe = await client.info({"type": "meta"})
            coins = tuple(coin for coin in post.coins if not is_pair(coin))
            if len(coins) < len(post.coins):
                log.warning(
                    "spot is left alone", found="tokens are owned in full: nothing can liquidate them"
                )
            check_signer(whose, post.network, account, coins, universe)
            found = await check_account(client, whose, coins, universe)
            for warning in found.warnings:
                log.warning("account", found=warning)
            listed = {instrument.name: instrument for instrument in universe.instruments}
            instruments = tuple(listed[coin] for coin in coins)
            notes = Notes(path, f"{post.network} {account}")
            alive = pulse.path_of(post.journal)
            vigil = Vigil(lambda: pulse.heard(alive), notes, now_s, wall or WallClock())
            market = MarketData(client, instruments)
            clock = VenueClock(lambda: client.info({"type": "exchangeStatus"}, urgent=True), now_s)
            hands = Hands((post.network, account), client, signs, clock, instruments, notes)
            if orders.stop_loss is None:
                log.warning(
                    "no stop can be placed", found="neither guard.stop_loss nor execution.stop_loss is set"
                )
            yield Guard(account, orders, vigil, notes, client, market, instruments, hands, signs, now_s)
        finally:
            await client.close()


def check_powers(asks: SignerClient, where: Path) -> None:
    """ConfigError where the guard's signer might sign an order that opens a position."""
    left = _status(asks)["left"]
    if int(left["orders_per_min"]) > 0 or float(left["turnover_usd_per_day"]) > 0:
        raise ConfigError(
            f"the signer at {where} signs orders that open positions, which a guard's must not; start it with the policy that "
            "`hedgerow guard init` has written, or put orders_per_min = 0 and turnover_usd_per_day = 0 in its policy"
        )


def _check_apart(asks: SignerClient, daemons: Path) -> None:
    """ConfigError where the daemon's signer answers and holds the same key: they would take each other's nonces."""
    agent = _status(asks)["agent"]
    with suppress(SignerError), SignerClient(daemons) as other:
        if other.status()["agent"] == agent:
            raise ConfigError(
                f"the daemon's signer and the guard's are of the same agent {agent}; make the guard one of its own with "
                "`hedgerow guard init`"
            )


def _status(asks: SignerClient) -> Mapping[str, Any]:
    try:
        return asks.status()
    except SignerError as error:
        raise Unavailable(str(error)) from None
