"""The prices at which an account's open orders come alive, so that a bar that reaches none of them can pass by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bot.model.order import OrderReport, Side, TriggerKind
from bot.model.panel import FloatArray

NEVER_FALLING = -1.0
NEVER_RISING = np.inf


class Levels:
    """Per instrument, the first price on the way down and on the way up at which an open order fires or may fill."""

    def __init__(self, width: int) -> None:
        self._falling = np.full(width, NEVER_FALLING)
        self._rising = np.full(width, NEVER_RISING)
        self._any = False

    def of(self, reports: Sequence[OrderReport], columns: Mapping[str, int]) -> None:
        """Take the levels of these open orders in place of all before."""
        self._falling.fill(NEVER_FALLING)
        self._rising.fill(NEVER_RISING)
        self._any = bool(reports)
        for report in reports:
            order, column = report.order, columns[report.order.instrument]
            buying = order.side is Side.BUY
            if order.trigger is not None:
                level, rising = float(order.trigger.price), buying == (order.trigger.kind is TriggerKind.STOP)
            else:
                level, rising = float(order.limit_price or 0), not buying
            if rising:
                self._rising[column] = min(level, self._rising[column])
            else:
                self._falling[column] = max(level, self._falling[column])

    def reached(self, low: FloatArray, high: FloatArray) -> bool:
        """Whether prices between `low` and `high` reach any level; unknown prices (NaN) reach none."""
        return self._any and bool(
            np.count_nonzero(low <= self._falling) or np.count_nonzero(high >= self._rising)
        )
