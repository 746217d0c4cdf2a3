"""Whether funding rates can be what they say: a rate in per cent, or per day, looks like any other number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from bot.data.tables import listed
from bot.model.funding import CAP_PER_H, HOURS_PER_YEAR
from bot.model.panel import FloatArray

USUAL_PER_H: Final = (1e-6, 5e-4)
"""Median sizes of a coin's hourly rates outside which its unit is in doubt: 0.9 % and 438 % a year.

Hyperliquid's own recorded coins have medians of 0.0000125, its default, to 0.00005.
"""
ENOUGH: Final = 168
"""Known rates other than 0 that a median needs: a new listing may pay extremes for days."""
BEYOND_CAP_SHARE: Final = 0.01
LARGEST_PER_H: Final = 1.0
"""No position pays more than its own value in an hour."""


def doubts(rates: Iterable[tuple[str, FloatArray]]) -> list[str]:
    """Sentences on coins whose hourly rates are unlikely to be fractions per hour; NaN is passed over."""
    small: dict[str, float] = {}
    large: dict[str, float] = {}
    capped: dict[str, float] = {}
    for coin, values in rates:
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        if not len(sizes):
            continue
        beyond = float(np.mean(sizes > CAP_PER_H))
        if beyond > BEYOND_CAP_SHARE:
            capped[coin] = beyond
        if len(sizes) < ENOUGH:
            continue
        median = float(np.median(sizes))
        if median < USUAL_PER_H[0]:
            small[coin] = median
        elif median > USUAL_PER_H[1]:
            large[coin] = median
    sentences = []
    for what, found in (("small", small), ("large", large)):
        if found:
            middle = float(np.median(list(found.values())))
            sentences.append(
                f"CHECK THE UNIT: funding of {listed(found)} is unusually {what}, {middle:.3g} in a median hour "
                f"({middle * HOURS_PER_YEAR:.2%} a year); rates must be fractions per hour, so 0.00125 % is 0.0000125"
            )
    if capped:
        worst = max(capped, key=lambda coin: capped[coin])
        sentences.append(
            f"CHECK THE UNIT: funding of {listed(capped)} goes beyond the venue's cap of {CAP_PER_H:.0%} an hour, that of "
            f"{worst} in {capped[worst]:.0%} of its hours; rates must be fractions per hour"
        )
    return sentences
