"""Hours of a synthetic market as a panel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bot.model.panel import HOUR_MS, Grid, Panel
from bot.sim.synthetic import FIELDS, MarketBar, SyntheticMarket


def history(market: SyntheticMarket, hours: int, following: Callable[[], MarketBar] | None = None) -> Panel:
    """The next `hours` of a market, which moves on by them; `following` asks for each of them in its place."""
    following = following or market.next
    first = market.time_ms // HOUR_MS + 1  # a bar is known when it ends
    values = np.empty((len(FIELDS), hours, len(market.coins)))
    for row in range(hours):
        bar = following()
        for k, name in enumerate(FIELDS):
            values[k, row] = bar.values[name]
    names = tuple(coin.name for coin in market.coins)
    return Panel(Grid(first, hours), names, dict(zip(FIELDS, values, strict=True)))
