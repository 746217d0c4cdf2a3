"""Whole panels of made-up market history, for looking at and for testing strategies on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bot.model.panel import HOUR_MS, Grid, Panel
from bot.sim.synthetic import FIELDS, CoinModel, SyntheticMarket

START_MS = 1_704_067_200_000  # 2024-01-01T00:00Z


def synthetic_panel(coins: Sequence[CoinModel], rows: int, seed: int, start_ms: int = START_MS) -> Panel:
    """`rows` hours of a synthetic market, the first of which opens at `start_ms`; the same seed, the same panel."""
    market = SyntheticMarket(coins, seed, start_ms)
    values = np.empty((len(FIELDS), rows, len(coins)))
    for row in range(rows):
        bar = market.next()
        for k, name in enumerate(FIELDS):
            values[k, row] = bar.values[name]
    grid = Grid(start_ms // HOUR_MS + 1, rows)  # a bar is known when it ends
    return Panel(grid, tuple(coin.name for coin in coins), dict(zip(FIELDS, values, strict=True)))
