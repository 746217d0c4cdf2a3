"""How much of a bar's volume the account's own orders may take."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, isnan

from bot.sim.bars import Bar


class Liquidity:
    """What the bar in progress still has for the account's orders, as lots per instrument.

    Together they take at most `share` of a bar's volume. Where nothing is known to have traded nothing is opened; but
    an order that only reduces may pass where the volume is unknown, since missing data must not lock a position in.
    A source that knows no volumes at all bounds nothing. What the venue itself does, it does in full.
    """

    def __init__(self, share: float, lot: Sequence[float]) -> None:
        self.taken: dict[int, int] = {}  # lots traded in this bar, by column
        self._share = share
        self._lot = lot

    def bounds(self, bar: Bar) -> bool:
        """Whether there is any bound at all."""
        return bar.volume_usd is not None and not isinf(self._share)

    def left(self, column: int, price: float, bar: Bar, reducing: bool) -> int | None:
        """Lots that can be traded at `price` now; None: any number."""
        if bar.volume_usd is None or not self.bounds(bar):
            return None
        volume_usd = float(bar.volume_usd[column])
        if isnan(volume_usd):
            return None if reducing else 0
        lots = int(self._share * volume_usd / (price * self._lot[column]))
        return max(0, lots - self.taken.get(column, 0))

    def take(self, column: int, lots: int) -> None:
        """Orders have traded `lots`."""
        self.taken[column] = self.taken.get(column, 0) + lots
