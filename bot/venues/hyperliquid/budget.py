"""How much may be asked of the venue: request weight in any minute, with a part kept for what can't wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sized
from typing import Any, Final

from bot.errors import Unavailable

WEIGHT_PER_MINUTE: Final = 1200
WINDOW_S: Final = 60.0
RESERVE: Final = 0.2
PATIENT_RESERVE: Final = 0.3
ORDERS_RESERVE: Final = 0.05  # an order weighs next to nothing; what is left lets many be cancelled
PIECE_RESERVE: Final = 0.6
"""For two orders, with the signer told before each and the account looked at after each, and for looks besides."""

SHORTEST_WAIT_S: Final = 0.001

# https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/rate-limits-and-user-limits
LIGHT: Final = (
    "l2Book",
    "allMids",
    "clearinghouseState",
    "orderStatus",
    "spotClearinghouseState",
    "exchangeStatus",
)
BY_20_ROWS: Final = (
    "recentTrades",
    "historicalOrders",
    "userFills",
    "userFillsByTime",
    "fundingHistory",
    "userFunding",
    "userNonFundingLedgerUpdates",
)


def weight_of(request: Mapping[str, Any]) -> int:
    """What an /info request costs before its rows are counted."""
    kind = request["type"]
    return 2 if kind in LIGHT else 60 if kind == "userRole" else 20


def weight_of_rows(request: Mapping[str, Any], reply: object) -> int:
    """What the rows of a reply cost on top."""
    rows = len(reply) if isinstance(reply, Sized) else 0
    if request["type"] == "candleSnapshot":
        return rows // 60
    return rows // 20 if request["type"] in BY_20_ROWS else 0


def weight_of_batch(actions: int) -> int:
    """What an /exchange request of so many orders or cancels costs."""
    return 1 + actions // 40


class WeightBudget:
    """The weight spent in the last 60 s, kept within a limit; None per minute is no limit.

    A bucket that refills while it is emptied would let twice its size through within a minute; the venue counts that.
    What is urgent (cancels, and orders that only reduce) never waits and may use the reserve; the rest waits its turn,
    up to `patience_s`. What is patient (reading many coins) waits as long as it takes and leaves room for the rest.
    """

    def __init__(
        self,
        per_minute: int | None = WEIGHT_PER_MINUTE,
        reserve: float = RESERVE,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limit = per_minute
        self._reserve = reserve
        self._now_s, self._sleep = now_s, sleep
        self._spent: deque[tuple[float, float]] = deque()  # when, and how much

    @property
    def level(self) -> float:
        """Weight that is left now; infinite without a limit."""
        if self._limit is None:
            return float("inf")
        now_s = self._now_s()
        while self._spent and self._spent[0][0] <= now_s - WINDOW_S:
            self._spent.popleft()
        return self._limit - sum(weight for _, weight in self._spent)

    async def take(
        self,
        weight: float,
        *,
        urgent: bool = False,
        patient: bool = False,
        reserve: float | None = None,
        patience_s: float = 60.0,
    ) -> None:
        """Spend `weight`, waiting for it if need be. Unavailable where that would take too long.

        `reserve` is the share to leave in place of the budget's own.
        """
        if self._limit is None or urgent:
            self.owe(weight)
            return
        least = self._reserve if reserve is None else reserve
        kept = self._limit * (max(least, PATIENT_RESERVE) if patient else least)
        if weight + kept > self._limit:
            raise Unavailable(f"a request of weight {weight:g} is more than the venue's budget ever holds")
        began_s = self._now_s()
        while (short := weight + kept - self.level) > 0:
            wait_s = self._until_freed_s(short)
            if not patient and self._now_s() + wait_s - began_s > patience_s:
                raise Unavailable(
                    f"the venue's request budget is used up for {wait_s:.0f} s; watch fewer coins or look less often"
                )
            await self._sleep(wait_s)
        self.owe(weight)

    async def rest(self, reserve: float) -> bool:
        """Wait until that share of the limit is left; whether that took any time."""
        began_s = self._now_s()
        await self.take(0, patient=True, reserve=reserve)
        return self._now_s() > began_s

    def _until_freed_s(self, weight: float) -> float:
        freed = 0.0
        for at_s, each in self._spent:
            freed += each
            if freed >= weight:
                return max(SHORTEST_WAIT_S, at_s + WINDOW_S - self._now_s())
        return WINDOW_S

    def owe(self, weight: float) -> None:
        """Spend what is due in any case."""
        if self._limit is not None and weight:
            self._spent.append((self._now_s(), weight))

    def empty(self) -> None:
        """Nothing is left for a whole minute: the venue said that too much was asked."""
        if self._limit is not None:
            spent = self._limit - self.level
            self._spent.clear()
            self.owe(max(spent, float(self._limit)))
