"""What the outside market bids and asks, for all instruments at once: an order of magnitude quicker than one by one."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import numpy as np

from bot.model.instrument import SIGNIFICANT_FIGURES
from bot.model.panel import FloatArray

LEVELS = 20
_SHARE_AT_TOUCH = 1 / 20_000  # of a day's volume, at the best price
_FAR_BPS = (60.0, 120.0, 250.0, 500.0)

Ladder = list[tuple[Decimal, int]]
"""Prices and lots, best first."""


def ladders(
    mid: FloatArray,
    half_spread: FloatArray,
    day_lots: FloatArray,
    most_decimals: FloatArray,
    dice: np.random.Generator,
    figures: int = SIGNIFICANT_FIGURES,
) -> list[tuple[Ladder, Ladder]]:
    """Bids and asks around each of the middles `mid`.

    `half_spread` is a fraction of the middle, `day_lots` the volume of a day, `most_decimals` how many decimals a price
    may have; it has so many significant `figures` besides.
    """
    noise = np.exp(0.5 * dice.standard_normal((2, len(mid), LEVELS)))
    tick = 10.0 ** -_decimals(mid, most_decimals, figures)
    step = np.maximum(tick, mid * np.maximum(half_spread, 2e-5))[:, None]
    touch = (day_lots * _SHARE_AT_TOUCH)[:, None]
    near = touch * (1 + np.arange(LEVELS) / 2) * noise
    far = np.broadcast_to(touch * 100, (len(mid), len(_FAR_BPS)))
    sides: list[list[Ladder]] = []
    for side, sign in enumerate((-1, 1)):
        prices = (mid * (1 + sign * half_spread))[:, None] + sign * np.arange(LEVELS) * step
        beyond = mid[:, None] * (1 + sign * np.array(_FAR_BPS) / 1e4)
        beyond[(beyond - prices[:, -1:]) * sign <= 0] = 0  # nearer than the last
        lots = np.concatenate((near[side], far), axis=1)
        sides.append(_rounded(np.concatenate((prices, beyond), axis=1), lots, most_decimals, sign, figures))
    made = []
    for bids, asks in zip(*sides, strict=True):
        if bids and asks and bids[0][0] >= asks[0][0]:  # a mid on the grid and no spread to speak of
            made.append((bids, [level for level in asks if level[0] > bids[0][0]]))
        else:
            made.append((bids, asks))
    return made


def _decimals(prices: FloatArray, most: FloatArray, figures: int) -> FloatArray:
    """Decimals of the grid at prices whose first axis is the instrument's, as whole floats."""
    places = figures - 1 - np.floor(np.log10(prices))
    decimals: FloatArray = np.clip(places, 0, most.reshape(-1, *(1,) * (prices.ndim - 1)))
    return decimals


def _rounded(
    prices: FloatArray, lots: FloatArray, most_decimals: FloatArray, sign: int, figures: int
) -> list[Ladder]:
    """Prices on the grid, away from the middle, each once; those that are not above 0 are left out."""
    decimals = _decimals(np.where(prices > 0, prices, 1.0), most_decimals, figures)
    ticks = prices * 10.0**decimals
    ticks = np.ceil(ticks - 1e-6) if sign > 0 else np.floor(ticks + 1e-6)
    whole, size = ticks.astype(np.int64).tolist(), np.maximum(lots, 1).astype(np.int64).tolist()
    made: list[Ladder] = []
    for numbers, places, sizes in zip(whole, decimals.astype(np.int64).tolist(), size, strict=True):
        ladder: Ladder = []
        last: Decimal | None = None
        for number, place, each in zip(numbers, places, sizes, strict=True):
            if number > 0 and (price := _price(number, place)) != last:
                ladder.append((price, each))
                last = price
        made.append(ladder)
    return made


@lru_cache(maxsize=2**14)
def _price(ticks: int, decimals: int) -> Decimal:
    return Decimal(ticks).scaleb(-decimals)
