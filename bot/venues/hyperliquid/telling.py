"""Telling the signer what is true now, and telling it again where that has grown old before anything is signed by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bot.errors import Unavailable
from bot.text import plain
from bot.venues.hyperliquid.account_reader import AccountReader
from bot.venues.hyperliquid.budget import RESERVE
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.sending import Sender
from bot.venues.hyperliquid.signing import Facts, Signs
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")

FRESH: Final = 1 / 3
"""Facts older than that share of the age that the signer bears are told again, so that signing has the rest."""


class Teller:
    """Tells one signer of one account; `look` reads the account anew."""

    def __init__(
        self,
        signs: Signs,
        client: Client,
        clock: VenueClock,
        market: MarketData,
        reader: AccountReader,
        sender: Sender,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self._signs, self._client, self._clock, self._market = signs, client, clock, market
        self._reader, self._sender, self._look = reader, sender, look
        self._told_ms = 0

    async def tell(self) -> None:
        """What is true now, as of a moment before all of it was read."""
        venue_ms = await self._clock.look()
        await self._market.refresh(urgent=True)
        await self._look()
        prices = {coin: plain(price) for coin, price in self._market.marks.items()}
        holdings, open_orders = self._reader.holdings()
        now_ms = await self._clock.look()  # last, since what is signed now expires soon
        through = self._sender.through_nonce
        self._signs.tell(Facts(venue_ms, now_ms, prices, holdings, open_orders, through))
        self._told_ms = venue_ms

    async def renew(self, *, urgent: bool) -> None:
        """Tell it again where it is old: leverages had to be set first, coin by coin, and waited for the budget.

        What is not `urgent` waits here for the budget to have room for both telling and sending, since facts that wait
        for it with the orders would be old again.
        """
        bears_ms = self._signs.pinned().reference_age_ms
        if bears_ms is None or self._clock.now_ms() - self._told_ms <= bears_ms * FRESH:
            return
        if not urgent:
            try:
                await self._client.budget.take(0, reserve=RESERVE)
            except Unavailable as error:
                log.warning("no room to tell the signer anew", reason=str(error))
        await self.tell()
