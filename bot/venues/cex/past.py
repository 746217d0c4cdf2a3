"""What the venue tells of past hours beyond the rates: bars, and open interest as far back as it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import structlog

from bot.errors import DataError, Refused, Unavailable
from bot.model.panel import HOUR_MS
from bot.venues.cex import wire
from bot.venues.cex.books import Market
from bot.venues.cex.client import Client
from bot.venues.cex.differences import Differences

log = structlog.get_logger("hedgerow")

INTEREST_KEPT_MS: Final = 29 * 24 * HOUR_MS
"""How far back open interest is asked for: Binance keeps 30 days of it and refuses what begins before."""


class Past:
    """By the hour, of any contract of one venue."""

    def __init__(self, client: Client, differences: Differences) -> None:
        self._client, self._differences = client, differences

    async def bars(
        self, method: str, market: Market, start_ms: int, end_ms: int
    ) -> dict[int, tuple[Decimal, ...]]:
        """Open, high, low, close and volume by when a bar opened, from `start_ms` to before `end_ms`."""
        found: dict[int, tuple[Decimal, ...]] = {}
        most, what = self._differences.bars_per_reply, f"a bar of {market.instrument.name}"
        while start_ms < end_ms:
            stop_ms = min(end_ms, start_ms + most * HOUR_MS)
            count = (stop_ms - start_ms) // HOUR_MS
            rows = await self._client.ask(
                method, market.symbol, "1h", start_ms, count, {"until": stop_ms - 1}
            )
            for row in rows:
                open_ms = wire.moment(row[0], f"{what}: its time")
                if start_ms <= open_ms < stop_ms and open_ms % HOUR_MS == 0:
                    prices = tuple(wire.price(each, what) for each in row[1:5])
                    if not prices[2] <= min(prices[0], prices[3]) <= max(prices[0], prices[3]) <= prices[1]:
                        raise DataError(f"{what} at {open_ms} has its prices outside of low and high")
                    found[open_ms] = (*prices, wire.number(row[5] or 0, what, least=Decimal(0)))
            start_ms = stop_ms
        return found

    async def interest(self, market: Market, first_ms: int, last_ms: int) -> dict[int, float]:
        """Coins by hour, as far as the venue tells; a strategy can do without, so that a failure leaves the rest unknown."""
        found: dict[int, float] = {}
        most, start_ms = self._differences.interest_per_reply, max(first_ms, last_ms - INTEREST_KEPT_MS)
        name = market.instrument.name
        try:
            while most and start_ms <= last_ms:
                stop_ms = min(last_ms, start_ms + (most - 1) * HOUR_MS)
                rows = await self._client.ask(
                    "fetch_open_interest_history", market.symbol, "1h", start_ms, most, {"until": stop_ms}
                )
                for row in rows:
                    at_ms = wire.moment(row.get("timestamp"), f"{name}: the time of open interest")
                    if start_ms <= at_ms <= stop_ms and at_ms % HOUR_MS == 0:
                        found[at_ms // HOUR_MS] = _coins(row, market)
                start_ms = stop_ms + HOUR_MS
        except (Refused, Unavailable, DataError) as error:
            log.warning("not told", coin=name, what="open_interest", reason=str(error)[:200])
        return found

    async def interest_now(self, market: Market) -> float:
        """Coins."""
        return _coins(await self._client.ask("fetch_open_interest", market.symbol), market)


def _coins(told: Mapping[str, Any], market: Market) -> float:
    what = f"{market.instrument.name}: the open interest"
    wire.same_market(told, market.symbol, market.market_id, what)
    amount = told.get("baseVolume") or told.get("openInterestAmount")
    return float(wire.number(amount, what, least=Decimal(0)))
