"""Asking for orders: one by its id or by the name that we gave it, or all that are open.

Some exchanges keep orders that wait for a price apart, under ids of their own; when one fires, an order of the ordinary
kind comes of it, and what became of that is what became of both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bot.errors import DataError
from bot.venues.cex import wire
from bot.venues.cex.books import Market
from bot.venues.cex.client import Client, NotKnown
from bot.venues.cex.differences import Differences
from bot.venues.cex.wire import CONDITIONAL, Shown

AT_ONCE_COSTS: Final = 40
APART: Final[Mapping[str, Any]] = {"trigger": True}


class Lookup:
    """Orders of one account. `now_ms` is the venue's time."""

    def __init__(self, client: Client, differences: Differences, now_ms: Callable[[], int]) -> None:
        self._client, self._differences, self._now_ms = client, differences, now_ms

    def shown(self, row: Any, market: Market) -> Shown:
        """An order in the library's form. DataError where it can't be right."""
        return wire.order(row, market.symbol, market.market_id, market.contract, self._now_ms())

    async def by_id(self, market: Market, order_id: int, venue_id: str) -> Shown | None:
        """An order by the number that it has here and the venue's own; None where the venue does not know it."""
        return await self._one(market, venue_id, {}, apart=order_id >= CONDITIONAL)

    async def by_name(self, market: Market, name: str) -> Shown | None:
        """An order of either kind by the name that we gave it; None where the venue knows none.

        DataError where it is another than the one that was asked about.
        """
        params = {self._differences.by_client_id: name}
        found = await self._one(market, None, params, apart=False)
        if found is None and self._differences.triggers_apart:
            found = await self._one(market, None, params, apart=True)
        if found is not None and found.client_name != name:
            raise DataError(
                f"an order of {market.market_id} is named {found.client_name[:40]!r}, asked was {name}"
            )
        return found

    async def _one(
        self, market: Market, venue_id: str | None, params: Mapping[str, Any], *, apart: bool
    ) -> Shown | None:
        asked = {**params, **(APART if apart else {})}
        try:
            row = await self._client.ask("fetch_order", venue_id, market.symbol, asked)
        except NotKnown:
            return None
        found = self.shown(row, market)
        if found.status != wire.FIRED:
            return found
        if not found.became:
            return replace(found, status="canceled")  # it fired, and no order could come of it
        child = await self._one(market, found.became, {}, apart=False)
        if child is None:
            return None  # not told yet
        return replace(child, order_id=found.order_id, venue_id=found.venue_id, client_name=found.client_name)

    async def open(self, markets: Sequence[Market]) -> list[Shown]:
        """All that are open of our markets, of either kind: one by one where they are few, as all at once costs as forty."""
        found = []
        by_symbol = {market.symbol: market for market in markets}
        for apart in (False, True) if self._differences.triggers_apart else (False,):
            symbols = list(by_symbol) if len(markets) < AT_ONCE_COSTS else [None]
            replies = await asyncio.gather(
                *(
                    self._client.ask("fetch_open_orders", each, None, None, dict(APART if apart else {}))
                    for each in symbols
                )
            )
            rows = [row for reply in replies for row in reply if row.get("symbol") in by_symbol]
            found += [self.shown(row, by_symbol[row["symbol"]]) for row in rows]
        return found

    async def listed(self, market: Market, since_ms: int, name: str) -> Shown | None:
        """The order of a name in the lists of all orders since a time, which are another source than `by_name`."""
        for method in self._differences.orders_since:
            for params in ({}, APART) if self._differences.triggers_apart else ({},):
                rows = await self._client.ask(method, market.symbol, since_ms, None, dict(params))
                for row in rows:
                    if row.get("clientOrderId") == name:
                        return await self.by_name(market, name) or self.shown(row, market)
        return None
