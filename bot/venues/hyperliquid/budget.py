"""How much may be asked of the venue: request weight per minute, with a part kept for cancels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sized
from typing import Any, Final

from bot.errors import Unavailable

WEIGHT_PER_MINUTE: Final = 1200
RESERVE: Final = 0.2

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
    """A bucket of weight that fills steadily; None per minute is no limit.

    What is urgent (cancels, and orders that only reduce) never waits and may use the reserve; the rest waits its
    turn, up to `patience_s`.
    """

    def __init__(
        self,
        per_minute: int | None = WEIGHT_PER_MINUTE,
        reserve: float = RESERVE,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._capacity = per_minute
        self._reserve = 0.0 if per_minute is None else per_minute * reserve
        self._now_s, self._sleep = now_s, sleep
        self._level = 0.0 if per_minute is None else float(per_minute)
        self._at_s = now_s()

    @property
    def level(self) -> float:
        """Weight that is left now; infinite without a limit."""
        if self._capacity is None:
            return float("inf")
        now_s = self._now_s()
        self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._capacity / 60)
        self._at_s = now_s
        return self._level

    async def take(self, weight: float, *, urgent: bool = False, patience_s: float = 60.0) -> None:
        """Spend `weight`, waiting for it if need be. Unavailable where that would take too long."""
        waited_s = 0.0
        while not urgent and (short := weight + self._reserve - self.level) > 0 and self._capacity:
            wait_s = short * 60 / self._capacity
            if weight + self._reserve > self._capacity or waited_s + wait_s > patience_s:
                raise Unavailable(
                    f"the venue's request budget is used up for {wait_s:.0f} s; watch fewer coins or look less often"
                )
            await self._sleep(wait_s)
            waited_s += wait_s
        self.owe(weight)

    def owe(self, weight: float) -> None:
        """Spend what was found to be due only afterwards."""
        if self._capacity is not None:
            self._level = self.level - weight

    def empty(self) -> None:
        """Begin again from nothing: the venue said that too much was asked."""
        if self._capacity is not None:
            self._level = min(self.level, 0.0)
