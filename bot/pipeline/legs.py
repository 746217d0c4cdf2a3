"""Both legs of a spread as one: what is held of the one follows from what is held of the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bot.model.decision import BoolArray, Decision, LotsArray, OrderPlan
from bot.model.panel import FloatArray
from bot.model.spread import Spread

Columns = NDArray[np.intp]

SPARE = 1.05
"""By so much an order is made larger than the venue's least, since prices move until it arrives."""


def without_leg_orders(decision: Decision, names: Collection[str]) -> Decision:
    """The decision without orders for the legs in `names`: these are made in turn, from what each has brought."""
    orders = tuple(each for each in decision.plan.orders if each.instrument not in names)
    return replace(decision, plan=OrderPlan(decision.plan.cancels, orders))


@dataclass(frozen=True)
class Legs:
    """Where the legs of some spreads stand among the instruments; every array is in the order of the spreads."""

    spreads: tuple[Spread, ...]
    primary: Columns
    hedge: Columns
    primary_lots: LotsArray  # in a step
    hedge_lots: LotsArray
    can_be_long: BoolArray
    least_order_usd: FloatArray  # of the venue that takes the smaller ones

    @classmethod
    def of(cls, spreads: Sequence[Spread], instruments: Sequence[str]) -> Self:
        """ValueError where a leg is not among the instruments."""
        return cls(
            tuple(spreads),
            np.array([instruments.index(each.primary.name) for each in spreads], dtype=np.intp),
            np.array([instruments.index(each.hedge.name) for each in spreads], dtype=np.intp),
            np.array([each.primary_lots for each in spreads], dtype=np.int64),
            np.array([each.hedge_lots for each in spreads], dtype=np.int64),
            np.array([each.can_be_long for each in spreads], dtype=np.bool_),
            np.array([float(min(leg.min_order_usd for leg in each.legs)) for each in spreads]),
        )

    def hedged(self, wanted: LotsArray, held: LotsArray, usd_per_lot: FloatArray) -> LotsArray:
        """Lots in which each hedge stands against its primary leg as `wanted`, in whole steps; others as they are.

        Where one leg of what is `held` is behind the other, by as much as an order can make up for, nothing grows beyond
        the larger before the two are even.
        """
        primary = wanted[self.primary]
        most = np.abs(primary) // self.primary_lots
        ours, theirs = (
            np.abs(held[self.primary]) // self.primary_lots,
            np.abs(held[self.hedge]) // self.hedge_lots,
        )
        behind = np.abs(ours - theirs) * self.primary_lots * usd_per_lot[self.primary] >= self.least_order_usd
        steps = np.sign(primary) * np.where(behind, np.minimum(most, np.maximum(ours, theirs)), most)
        return self._with(wanted, np.where((steps > 0) & ~self.can_be_long, 0, steps))

    def common(self, lots: LotsArray) -> LotsArray:
        """The part of both legs that is hedged by the other: no leg grows, and none changes sides."""
        primary, hedge = lots[self.primary], lots[self.hedge]
        steps = np.minimum(np.abs(primary) // self.primary_lots, np.abs(hedge) // self.hedge_lots)
        return self._with(lots, np.where(primary * np.sign(hedge) < 0, np.sign(primary) * steps, 0))

    def held_where(self, which: BoolArray, wanted: LotsArray, held: LotsArray) -> LotsArray:
        """`wanted`, but of both legs what is `held` for the spreads in `which`."""
        lots = wanted.copy()
        for columns in (self.primary, self.hedge):
            lots[columns] = np.where(which, held[columns], wanted[columns])
        return lots

    def tradable(self, wanted: LotsArray, held: LotsArray, usd_per_lot: FloatArray) -> LotsArray:
        """`wanted`, in pairs, but where an order of either leg would be below its venue's least: what is held, if that is
        hedged and no more than wanted.

        Else both legs go down by what the venues take, so that a remainder of one does not stand alone for good.
        """
        small = np.zeros(len(self.spreads), dtype=np.bool_)
        least = np.ones(len(self.spreads), dtype=np.int64)
        for columns, lots, legs in (
            (self.primary, self.primary_lots, [each.primary for each in self.spreads]),
            (self.hedge, self.hedge_lots, [each.hedge for each in self.spreads]),
        ):
            change = np.abs(wanted[columns] - held[columns])
            least_usd = np.array([float(leg.min_order_usd) for leg in legs])
            small |= (change > 0) & (change * usd_per_lot[columns] < least_usd) & (wanted[columns] != 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                steps = np.nan_to_num(SPARE * least_usd / (lots * usd_per_lot[columns]), posinf=0.0)
            least = np.maximum(least, np.ceil(steps).astype(np.int64))
        even = self.common(held)
        common, asked = even[self.primary] // self.primary_lots, wanted[self.primary] // self.primary_lots
        is_even = (np.abs(even[self.primary] - held[self.primary]) < self.primary_lots) & (
            np.abs(even[self.hedge] - held[self.hedge]) < self.hedge_lots
        )
        stays = is_even & (np.abs(common) <= np.abs(asked)) & (common * asked >= 0)
        lower = np.sign(common) * np.maximum(np.minimum(np.abs(common), np.abs(asked)) - least, 0)
        return self._with(wanted, np.where(small, np.where(stays, common, lower), asked))

    def _with(self, lots: LotsArray, steps: LotsArray) -> LotsArray:
        result = lots.copy()
        result[self.primary] = steps * self.primary_lots
        result[self.hedge] = -steps * self.hedge_lots
        return result
