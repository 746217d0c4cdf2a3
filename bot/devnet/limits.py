"""How much one computer may ask in a minute, by the venue's weights."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

MOST_PER_MINUTE: Final = 1200
_LIGHT: Final = frozenset(
    {"l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus"}
)
_BY_ROW: Final = {
    "recentTrades": 20,
    "historicalOrders": 20,
    "userFills": 20,
    "userFillsByTime": 20,
    "fundingHistory": 20,
    "userFunding": 20,
    "userNonFundingLedgerUpdates": 20,
    "candleSnapshot": 60,
}


class RateLimits:
    """Weights spent in the last minute, by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: dict[str, deque[tuple[float, int]]] = {}

    def allow(self, address: str, asked: Mapping[str, Any], *, is_action: bool) -> bool:
        """Charge a request, unless there is no room for it."""
        weight = action_weight(asked) if is_action else _base(asked)
        now_s, spent = self._clock(), self._spent.setdefault(address, deque())
        while spent and spent[0][0] <= now_s - 60:
            spent.popleft()
        if sum(each for _, each in spent) + weight > MOST_PER_MINUTE:
            return False
        spent.append((now_s, weight))
        return True

    def charge(self, address: str, weight: int) -> None:
        """Add what is only known from the reply."""
        if weight:
            self._spent.setdefault(address, deque()).append((self._clock(), weight))


def action_weight(asked: Mapping[str, Any]) -> int:
    """One, and one more for each forty of a batch."""
    action = asked.get("action")
    rows = action.values() if isinstance(action, Mapping) else ()
    return 1 + max((len(each) for each in rows if isinstance(each, list)), default=0) // 40


def _base(asked: Mapping[str, Any]) -> int:
    kind = asked.get("type")
    return 2 if kind in _LIGHT else 60 if kind == "userRole" else 20


def info_weight(asked: Mapping[str, Any], answer: Any) -> int:
    """What the rows of a reply cost beside the request."""
    per = _BY_ROW.get(str(asked.get("type")))
    return len(answer) // per if per and isinstance(answer, list) else 0
