"""How much one address may ask in a minute, and one account order, by Binance's weights."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from bot.devnet.cex.authentication import Rejected

WEIGHT_PER_MINUTE: Final = 2400
ORDERS_PER_10S, ORDERS_PER_MINUTE = 300, 1200
BANNED_AFTER: Final = 20  # answers of 429 in a minute
BAN_S: Final = 120.0

_Spent = deque[tuple[float, int]]


class TooMuch(Rejected):
    """The address has asked too much, and should wait; 418 where it went on all the same."""

    def __init__(self, status: int, wait_s: float) -> None:
        said = (
            "Too many requests; current limit of IP is 2400 requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
        if status == 418:
            said = (
                "Way too many requests; IP banned. Please use the websocket for live updates to avoid bans."
            )
        super().__init__(-1003, said, status)
        self.wait_s = math.ceil(wait_s)


class CexLimits:
    """What was spent in the last minute, by address and by API key; counted always, held to where it is `enforced`."""

    def __init__(self, *, enforced: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._enforced, self._clock = enforced, clock
        self._weights: dict[str, _Spent] = {}
        self._orders: dict[str, _Spent] = {}
        self._warned: dict[str, _Spent] = {}
        self._banned: dict[str, float] = {}  # address → until when

    def charge(self, address: str, weight: int, orders_of: str) -> dict[str, str]:
        """The headers that tell what was spent by now, an order of `orders_of` included. Raises TooMuch."""
        now_s = self._clock()
        if self._banned.get(address, 0.0) > now_s:
            raise TooMuch(418, self._banned[address] - now_s)
        weights = self._weights.setdefault(address, deque())
        used = _spend(weights, now_s, weight)
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        too_much = used > WEIGHT_PER_MINUTE
        if orders_of:
            spent = self._orders.setdefault(orders_of, deque())
            minute = _spend(spent, now_s, 1)
            shortly = sum(each for at_s, each in spent if at_s > now_s - 10)
            headers |= {"X-MBX-ORDER-COUNT-10S": str(shortly), "X-MBX-ORDER-COUNT-1M": str(minute)}
            too_much = too_much or shortly > ORDERS_PER_10S or minute > ORDERS_PER_MINUTE
        if too_much and self._enforced:
            if _spend(self._warned.setdefault(address, deque()), now_s, 1) > BANNED_AFTER:
                self._banned[address] = now_s + BAN_S
                raise TooMuch(418, BAN_S)
            raise TooMuch(429, 60 - (now_s - weights[0][0]) if weights else 10)
        return headers


def _spend(spent: _Spent, now_s: float, weight: int) -> int:
    while spent and spent[0][0] <= now_s - 60:
        spent.popleft()
    if weight:
        spent.append((now_s, weight))
    return sum(each for _, each in spent)
