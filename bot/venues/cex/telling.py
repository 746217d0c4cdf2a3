"""Telling the signer what is true now, and asking it whether it signs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bot.errors import Unavailable
from bot.signer.cex_client import Denied, Locked, SignerGone
from bot.text import plain
from bot.venues.cex.account_reader import AccountReader
from bot.venues.cex.exchange import Signs
from bot.venues.cex.market_data import MarketData
from bot.venues.cex.sending import Sender
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")

NOT_SIGNING: Final = frozenset({"locked", "storage"})
"""The signer's words for it."""


class Teller:
    """Tells one signer of one account; `look` reads the account anew."""

    def __init__(
        self,
        signs: Signs,
        clock: VenueClock,
        market: MarketData,
        reader: AccountReader,
        sender: Sender,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self._signs, self._clock, self._market = signs, clock, market
        self._reader, self._sender, self._look = reader, sender, look

    async def tell(self) -> None:
        """Prices and positions, as of a moment before all of it was read. Unavailable where they are not taken."""
        venue_ms = await self._clock.look()
        await self._market.refresh()
        await self._look()
        holdings, open_orders = self._reader.holdings()
        try:
            self._signs.clock(await self._clock.look())
            for market_id, mark in self._market.marks_by_id().items():
                self._tell_price(market_id, plain(mark), venue_ms)
            self._signs.positions(
                holdings, open_orders=open_orders, through_nonce=self._sender.through_nonce, at_ms=venue_ms
            )
        except (Denied, Locked, SignerGone) as error:
            raise Unavailable(f"the signer does not take what is true: {error}") from None

    def _tell_price(self, market_id: str, mark: str, venue_ms: int) -> None:
        """One contract's price; where it is refused, so will be its orders, and those alone."""
        try:
            self._signs.prices({market_id: mark}, venue_ms)
        except Denied as denial:
            log.warning("price refused by the signer", market=market_id, price=mark, reason=str(denial))


def signer_problem(signs: Signs) -> str:
    """Why a signer would sign nothing, and what to do; empty where it would."""
    try:
        status = signs.status()
    except (Denied, Locked, SignerGone) as error:
        return f"nothing can be signed: {error}"
    if status["state"] not in NOT_SIGNING:
        return ""
    return f"nothing can be signed: {status['state']}: {status['reason']}; {status['remedy'] or 'free space'}"
