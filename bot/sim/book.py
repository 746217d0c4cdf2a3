"""One instrument's order book: resting orders by price and then by age, beside the quote of the outside market."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from decimal import Decimal

from bot.model.money import ZERO
from bot.model.order import Order, OrderReport, OrderStatus, Side


class LiveOrder:
    """An order the exchange has accepted, and what has been filled of it so far."""

    __slots__ = (
        "account",
        "filled_lots",
        "filled_value",
        "order",
        "order_id",
        "price",
        "remaining",
        "sign",
        "updated_ms",
    )

    def __init__(self, order_id: int, account: str, order: Order, time_ms: int) -> None:
        self.order_id = order_id
        self.account = account
        self.order = order
        self.price = order.limit_price
        self.sign = 1 if order.side is Side.BUY else -1
        self.remaining = order.lots
        self.filled_lots = 0
        self.filled_value = ZERO  # Σ lots × price
        self.updated_ms = time_ms

    def fill(self, lots: int, price: Decimal) -> None:
        self.remaining -= lots
        self.filled_lots += lots
        self.filled_value += lots * price

    def report(self, status: OrderStatus, time_ms: int, reason: str = "") -> OrderReport:
        self.updated_ms = time_ms
        filled = self.filled_lots
        average = self.filled_value / filled if filled else ZERO
        return OrderReport(time_ms, self.order_id, self.order, status, filled, average, reason)


Level = tuple[Decimal, int]  # a price and how many lots the outside market trades there
Row = tuple[Decimal, int, LiveOrder]  # sorts by the price's distance from the front of the queue, then by age


class Book:
    """Resting orders of both sides, best first. `bid` and `ask` are the outside market's best prices.

    Its size is unlimited unless `deepen` said how much there is at which price.
    """

    __slots__ = ("_asks", "_bids", "_depth", "ask", "bid")

    def __init__(self) -> None:
        self.bid: Decimal | None = None
        self.ask: Decimal | None = None
        self._bids: list[Row] = []
        self._asks: list[Row] = []
        self._depth: dict[int, list[Level]] = {}

    def clear(self) -> None:
        """Take the outside market away."""
        self.bid = self.ask = None
        if self._depth:
            self._depth = {}

    def deepen(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Give the outside market a ladder of `(price, lots)` on each side, best first, in place of its quote."""
        self._depth = {1: list(bids), -1: list(asks)}
        self._requote()

    def depth(self, sign: int) -> list[Level]:
        """The outside market's ladder on the buying (1) or selling (−1) side; empty if its size is unlimited."""
        return list(self._depth.get(sign, ()))

    def outside_lots(self, sign: int, wanted: int) -> int:
        """Of `wanted` lots, those that the outside market's best price has."""
        levels = self._depth.get(sign)
        return min(wanted, levels[0][1]) if levels else wanted

    def consume(self, sign: int, lots: int) -> None:
        """Take `lots` from the outside market's best price."""
        levels = self._depth.get(sign)
        if levels:
            price, left = levels[0]
            levels[:1] = [(price, left - lots)] if left > lots else []
            self._requote()

    def _requote(self) -> None:
        bids, asks = self._depth[1], self._depth[-1]
        self.bid, self.ask = bids[0][0] if bids else None, asks[0][0] if asks else None

    def add(self, live: LiveOrder) -> None:
        rows, row = self._row(live)
        insort(rows, row)

    def remove(self, live: LiveOrder) -> None:
        rows, row = self._row(live)
        at = bisect_left(rows, row)
        assert rows[at][2] is live, "a resting order must be in its book"
        del rows[at]

    def best(self, sign: int) -> LiveOrder | None:
        """The resting order first in line on the buying (1) or selling (−1) side."""
        rows = self._bids if sign > 0 else self._asks
        return rows[0][2] if rows else None

    def outside(self, sign: int) -> Decimal | None:
        """The outside market's price on the buying (1) or selling (−1) side."""
        return self.bid if sign > 0 else self.ask

    def can_match(self, sign: int, limit: Decimal | None) -> bool:
        """Whether an order of this side and limit meets anything, at its limit or better."""
        resting, outside = self.best(-sign), self.outside(-sign)
        if limit is None:
            return resting is not None or outside is not None
        prices = [resting.price if resting else None, outside]
        return any(price is not None and (price - limit) * sign <= 0 for price in prices)

    def resting(self, sign: int) -> list[LiveOrder]:
        """All resting orders of one side, best first."""
        return [row[2] for row in (self._bids if sign > 0 else self._asks)]

    def _row(self, live: LiveOrder) -> tuple[list[Row], Row]:
        assert live.price is not None, "only limit orders rest"
        if live.sign > 0:
            return self._bids, (-live.price, live.order_id, live)
        return self._asks, (live.price, live.order_id, live)
