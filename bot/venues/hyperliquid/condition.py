"""Whether the means of trading are in order: the signer, its agent's approval, the computer's clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bot.clock import Clock, WallClock
from bot.errors import DataError, VenueError
from bot.signer.expiry import days_left
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.identity import agent_standing
from bot.venues.hyperliquid.numbers import Numbers
from bot.venues.hyperliquid.signing import NotSigned, Signs, Whose
from bot.venues.hyperliquid.terms import Terms
from bot.venues.venue import Condition
from bot.venues.venue_clock import VenueClock

ASK_AGENT_S: Final = 3600.0


class Conditions:
    """Of one account's signer and venue. The agent's approval is asked of the venue once an hour.

    With `numbers`, also whether the signer's are the venue's.
    """

    def __init__(
        self,
        client: Client,
        signs: Signs,
        clock: VenueClock,
        terms: Terms,
        wall: Clock | None = None,
        now_s: Callable[[], float] = time.monotonic,
        numbers: Numbers | None = None,
    ) -> None:
        self._client, self._signs, self._clock = client, signs, clock
        # A simulated venue's time is its own: it says nothing about the computer's clock.
        self._tells_time = terms.network != "devnet"
        self._wall, self._now_s = wall or WallClock(), now_s
        self._numbers = numbers or Numbers(())
        self._asked_s = float("-inf")
        self._until_ms: int | None = None
        self._warning = ""

    async def now(self) -> Condition:
        """As `Venue.condition`."""
        problem = ""
        try:
            whose = self._signs.whose()
        except (VenueError, NotSigned, DataError) as error:
            problem = f"nothing can be signed: {error}"
        else:
            problem = (
                f"nothing can be signed: {whose.problem}" if whose.problem else self._numbers.problem(whose)
            )
            await self._ask_agent(whose)
        known = self._clock.venue_ms > 0
        left = days_left(self._until_ms, self._clock.now_ms()) if known and self._until_ms else None
        offset_s = (self._clock.now_ms() - self._wall.now_ms()) / 1000 if known and self._tells_time else None
        return Condition(problem, left, self._warning, offset_s)

    async def _ask_agent(self, whose: Whose) -> None:
        """Keep in mind until when the agent may sign; what can't be learned now is asked again next time."""
        if self._now_s() - self._asked_s < ASK_AGENT_S or not self._clock.venue_ms:
            return
        try:
            until_ms, warning = await agent_standing(self._client, whose, self._clock.now_ms())
        except (VenueError, DataError):
            return
        self._asked_s, self._until_ms, self._warning = self._now_s(), until_ms, warning or ""
