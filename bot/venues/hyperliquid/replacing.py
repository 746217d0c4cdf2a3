"""Orders in place of others: what is to take an order's place may go only where that place is certainly free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bot.model.decision import Cancel
from bot.model.order import OrderReport
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.orders import Register

NOT_WITHDRAWN: Final = (
    "what it was to replace may be open still, or was filled meanwhile; the next look decides"
)


class Replacing:
    """The cancels of one plan, and what is known of them before anything else of it is sent."""

    def __init__(self, register: Register, books: Books) -> None:
        self._register, self._books = register, books
        self._filled_lots: dict[int, int] = {}  # by order id, as the decision knew it
        self._cancels: Sequence[Cancel] = ()
        self._ended: set[int] = set()

    def begin(self, cancels: Sequence[Cancel]) -> None:
        """Before they are sent."""
        self._cancels, self._ended = cancels, set()
        known = self._register.open
        self._filled_lots = {
            each.order_id: known[each.order_id].filled_lots for each in cancels if each.order_id in known
        }

    def ended(self, reports: Iterable[OrderReport]) -> None:
        """The venue says that these are not open any more."""
        self._ended |= {report.order_id for report in reports if not report.status.is_open}

    @property
    def unsure(self) -> frozenset[str]:
        """The coins of which an order may still be open, or has traded more than the decision knew; after a look."""
        return frozenset(
            each.instrument
            for each in self._cancels
            if each.order_id not in self._ended
            or self._books.filled(each.order_id)[0] > self._filled_lots.get(each.order_id, 0)
        )
