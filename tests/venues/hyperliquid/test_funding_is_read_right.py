"""A start on the devnet with an adapter that reads funding wrongly is refused, whatever it does wrong."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest

from bot.errors import DataError
from bot.model.panel import FloatArray, Panel
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.polarity import check_funding
from tests.venues.contract.places import Hyperliquid

Mistake = Callable[[FloatArray], FloatArray]


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda rates: -rates, "and the adapter made"),
        (lambda rates: rates / 8, "and the adapter made"),
        (lambda rates: rates * 8, "and the adapter made"),
        (lambda rates: np.full_like(rates, 12_345.0), "above every venue's cap"),
    ],
)
def test_a_wrong_rate_keeps_the_adapter_from_trading(
    monkeypatch: pytest.MonkeyPatch, mistake: Mistake, said: str
) -> None:
    right = MarketData.history

    async def wrong(self: MarketData, end_ms: int, rows: int) -> Panel:
        panel = await right(self, end_ms, rows)
        rates = mistake(panel.fields["funding_rate"])
        return Panel(panel.grid, panel.instruments, {**panel.fields, "funding_rate": rates})

    async def start(place: Hyperliquid) -> None:
        place.venue = await place.connect()
        try:
            await place.venue.open(None)
        finally:
            await place.venue.close()

    monkeypatch.setattr(MarketData, "history", wrong)
    with ExitStack() as stack, pytest.raises(DataError, match=said):
        asyncio.run(start(Hyperliquid(stack)))


def test_a_right_one_is_held_against_as_many_settlements_as_the_history_has() -> None:
    async def start(place: Hyperliquid) -> int:
        place.venue = await place.connect()
        try:
            panel = await place.venue.open(None)
            return await check_funding(place.venue._client, place.venue.instruments, panel)  # type: ignore[attr-defined]
        finally:
            await place.venue.close()

    with ExitStack() as stack:
        # Two coins over 24 hours: the first settlement of each has none before it to tell its interval.
        assert asyncio.run(start(Hyperliquid(stack))) == 2 * 23
