"""How much one address may ask in a minute, and one account order, by Binance's weights."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

WEIGHT_PER_MINUTE: Final = 2400
ORDERS_PER_10S, ORDERS_PER_MINUTE = 300, 1200


class CexLimits:
    """What was spent in the last minute, by address and by API key; counted always, held to where it is `enforced`."""

    def __init__(self, *, enforced: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._enforced, self._clock = enforced, clock
        self._weights: dict[str, deque[tuple[float, int]]] = {}
        self._orders: dict[str, deque[tuple[float, int]]] = {}

    def charge(self, address: str, weight: int, orders_of: str) -> dict[str, str] | None:
        """The headers that tell what was spent by now, an order of `orders_of` included; None if that is too much."""
        now_s = self._clock()
        used = _spend(self._weights.setdefault(address, deque()), now_s, weight)
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        too_much = used > WEIGHT_PER_MINUTE
        if orders_of:
            spent = self._orders.setdefault(orders_of, deque())
            minute = _spend(spent, now_s, 1)
            shortly = sum(each for at_s, each in spent if at_s > now_s - 10)
            headers |= {"X-MBX-ORDER-COUNT-10S": str(shortly), "X-MBX-ORDER-COUNT-1M": str(minute)}
            too_much = too_much or shortly > ORDERS_PER_10S or minute > ORDERS_PER_MINUTE
        return None if too_much and self._enforced else headers


def _spend(spent: deque[tuple[float, int]], now_s: float, weight: int) -> int:
    while spent and spent[0][0] <= now_s - 60:
        spent.popleft()
    if weight:
        spent.append((now_s, weight))
    return sum(each for _, each in spent)
