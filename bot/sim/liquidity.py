"""What the market outside offers the account in a bar: at which prices, and how much of the bar's volume."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import isinf, isnan, nan

from bot.model.money import exact
from bot.sim.bars import Bar, Frictions


class Liquidity:
    """What the bar in progress still has for the account's orders.

    Together they take at most `frictions.volume_share` of its volume. Where nothing is known to have traded nothing is
    opened; but an order that only reduces may pass where the volume is unknown, since missing data must not lock a
    position in. A source that knows no volumes at all bounds nothing. What the venue itself does, it does in full.
    """

    def __init__(self, frictions: Frictions, lot: Sequence[float]) -> None:
        self.taken: dict[int, int] = {}  # lots traded in this bar, by column
        self._frictions = frictions
        self._lot = lot

    def around(self, column: int, price: float, lots: int, bar: Bar) -> tuple[Decimal, Decimal]:
        """Where an order of `lots` sells and where it buys, as far from `price` as it moves the market."""
        volume_usd = nan if bar.volume_usd is None else float(bar.volume_usd[column])
        cost = self._frictions.cost(lots * self._lot[column] * price, volume_usd)
        if cost == 0:
            return (exact(price),) * 2
        return exact(price * (1 - cost)), exact(price * (1 + cost))

    def bounds(self, bar: Bar) -> bool:
        """Whether there is any bound at all."""
        return bar.volume_usd is not None and not isinf(self._frictions.volume_share)

    def left(self, column: int, price: float, bar: Bar, reducing: bool) -> int | None:
        """Lots that can be traded at `price` now; None: any number."""
        if bar.volume_usd is None or not self.bounds(bar):
            return None
        volume_usd = float(bar.volume_usd[column])
        if isnan(volume_usd):
            return None if reducing else 0
        lots = int(self._frictions.volume_share * volume_usd / (price * self._lot[column]))
        return max(0, lots - self.taken.get(column, 0))

    def take(self, column: int, lots: int) -> None:
        """Orders have traded `lots`."""
        self.taken[column] = self.taken.get(column, 0) + lots
