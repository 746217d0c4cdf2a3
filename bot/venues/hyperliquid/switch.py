"""The venue's own dead man's switch: at a moment set ahead it cancels every open order of the account.

It is put off as long as this program lives, and set only while it can do no harm: while orders of ours rest that could
open a position, and nothing else does. A protective trigger, or what somebody else has placed, must never be taken by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from bot.clock import utc
from bot.errors import DataError, OutcomeUnknown, Refused, Unavailable, VenueError
from bot.venues.attempts import epoch_of
from bot.venues.hyperliquid import parse_orders
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.parse_orders import VenueOrder
from bot.venues.hyperliquid.signing import Signs
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")

MOST_AHEAD_MS: Final = 86_000_000
"""The signer sets it a day ahead at most. Where the venue's time runs so fast that this is too short, it is left alone."""

LONGEST_LEAD_S: Final = 3_600  # that a config may say
DAY_MS: Final = 86_400_000
NONCE: Final = "nonce"


def may_take_all(shown: Iterable[VenueOrder]) -> bool:
    """Whether, of all that is open, something could open a position and nothing should outlive this program."""
    opens = False
    for each in shown:
        if each.trigger is not None or epoch_of(each.cloid) is None:
            return False
        opens = opens or not each.reduce_only
    return opens


class Switch:
    """One account's. `lead_s` is how long after the last sign of life it fires; None: it is never touched.

    Raises nothing of the venue's: orders are traded as well without it.
    """

    def __init__(
        self, account: str, client: Client, signs: Signs, clock: VenueClock, lead_s: float | None
    ) -> None:
        self._account, self._client, self._signs, self._clock = account, client, signs, clock
        self._lead_s = lead_s
        self._lock = asyncio.Lock()  # the watchdog's look comes in the middle of a cycle
        self._wanted = False
        self._off_until_ms = 0
        self._doubtful: dict[
            int, int
        ] = {}  # settings that may still be carried out: nonce → when they would fire
        self._is_suspected = False  # an earlier run may have set it
        self.fires_ms = 0  # the latest moment at which it may fire; 0 where it can't

    def suspect(self) -> None:
        """Entries rested when an earlier run was broken off: it may have been set, and not be cleared yet."""
        if self._lead_s is not None:
            self._is_suspected = True
            self.fires_ms = self._clock.now_ms() + int(LONGEST_LEAD_S * 1000 * self._clock.speed)

    async def see(self, shown: Iterable[VenueOrder]) -> None:
        """Set it, put it off or clear it, by the orders that are open now."""
        if self._lead_s is None:
            return
        async with self._lock:
            self._wanted = may_take_all(shown)
            if self._wanted:
                await self._put_off(self._lead_s)
            else:
                await self._clear()

    async def watch(self) -> None:
        """As `see`, by a look of its own where there is something to decide; to be called every few seconds."""
        if self._lead_s is None or not (self._wanted or self.fires_ms):
            return
        async with self._lock:
            try:
                shown = await self._client.info({"type": "frontendOpenOrders", "user": self._account})
            except (VenueError, DataError):
                return  # unknown: it is neither put off nor cleared by that
            if not may_take_all(shown):
                self._wanted = False
                await self._clear()
            elif self._wanted:
                await self._put_off(self._lead_s)

    async def clear(self) -> None:
        """Make sure that it takes nothing that is placed from now on, until the next `see`."""
        if self._lead_s is None:
            return
        async with self._lock:
            self._wanted = False
            await self._clear()

    async def _put_off(self, lead_s: float) -> None:
        now_ms = self._clock.now_ms()
        ahead_ms = int(lead_s * 1000 * self._clock.speed)
        if now_ms < self._off_until_ms or ahead_ms > MOST_AHEAD_MS:
            return
        if self.fires_ms - now_ms > ahead_ms / 2 and not self._is_suspected:
            return
        # The venue takes no moment that has come, however late a setting reaches it.
        self._doubtful = {nonce: at_ms for nonce, at_ms in self._doubtful.items() if at_ms > now_ms}
        fires_ms = now_ms + ahead_ms
        was = 0 if self._is_suspected else self.fires_ms
        try:
            self.fires_ms = max(was, fires_ms)  # from here on it may be so
            self._is_suspected = False
            await self._set(fires_ms)
        except Refused as refusal:
            self.fires_ms = was
            self._off_until_ms = now_ms + DAY_MS
            log.info("the venue's dead man's switch is not used", because=str(refusal)[:200])
        except Unavailable:
            self.fires_ms = was
        except (OutcomeUnknown, DataError) as error:
            log.warning("dead man's switch not confirmed", reason=str(error)[:200])
        else:
            if not was:
                log.info("the venue's dead man's switch is set", fires=utc(fires_ms))

    async def _clear(self) -> None:
        if not self.fires_ms:
            return
        if self._clock.now_ms() > self.fires_ms:
            # It has fired, or the moment is past at which a setting on its way could still be taken.
            self.fires_ms = 0
            self._doubtful.clear()
            return
        try:
            for nonce in list(self._doubtful):
                await self._void(nonce)
                del self._doubtful[nonce]
            await self._set(None)
        except (VenueError, DataError) as error:
            if self._is_suspected and isinstance(error, Refused):
                self._is_suspected, self.fires_ms = False, 0  # who may not clear it could not set it
                return
            log.warning(
                "dead man's switch not cleared; trying again",
                fires=utc(self.fires_ms),
                reason=str(error)[:200],
            )
            return
        self._is_suspected, self.fires_ms = False, 0

    async def _set(self, time_ms: int | None) -> None:
        await self._client.make_room(urgent=time_ms is None)
        self._signs.clock(self._clock.now_ms())
        signed = self._signs.schedule_cancel(time_ms)
        try:
            parse_orders.done(await self._client.exchange(signed.body))
        except (OutcomeUnknown, DataError):
            if time_ms is not None:
                self._doubtful[signed.nonce] = time_ms
            raise

    async def _void(self, nonce: int) -> None:
        """Make sure that a setting without an answer can't be carried out after it was cleared."""
        await self._client.make_room(urgent=True)
        signed = self._signs.fence(nonce)
        try:
            parse_orders.done(await self._client.exchange(signed.body))
        except Refused as refusal:
            if NONCE not in str(refusal).lower():  # used up: it was carried out, and can be cleared
                raise
