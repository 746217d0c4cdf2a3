"""Whole panels of made-up market history, for looking at and for testing strategies on."""

from __future__ import annotations

from collections.abc import Sequence

from bot.model.panel import Panel
from bot.sim.coins import CoinModel
from bot.sim.history import history
from bot.sim.synthetic import SyntheticMarket

START_MS = 1_704_067_200_000  # 2024-01-01T00:00Z


def synthetic_panel(coins: Sequence[CoinModel], rows: int, seed: int, start_ms: int = START_MS) -> Panel:
    """`rows` hours of a synthetic market, the first of which opens at `start_ms`; the same seed, the same panel."""
    return history(SyntheticMarket(coins, seed, start_ms), rows)
