"""Tier-exact margin: how much a book must hold, and the price at which it no longer does.

Maintenance margin grows faster in higher tiers and is continuous, so it is the largest of the tiers' straight
lines: `max over tiers of (notional × rate − deduction)`. That one identity gives the margin, and, since account
value is a straight line in price too, the liquidation price: the first of the tiers' crossing points that is met.
It holds for exact and for vector arithmetic alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from bot.model.instrument import Instrument
from bot.model.money import ZERO
from bot.model.panel import FloatArray


def maintenance_margin(instrument: Instrument, notional_usd: Decimal) -> Decimal:
    """USD that a position of absolute value `notional_usd` must be backed by to stay open."""
    notional_usd = abs(notional_usd)
    tiers = instrument.maintenance
    if len(tiers) == 1:
        return notional_usd * tiers[0][1]
    return max(notional_usd * rate - deduction for _, rate, deduction in tiers)


def initial_margin(notional_usd: Decimal, leverage: int) -> Decimal:
    """USD set aside to open a position of `notional_usd` at `leverage`."""
    return abs(notional_usd) / leverage


def max_leverage(instrument: Instrument, notional_usd: Decimal) -> int:
    """The highest leverage the venue allows for a position of this value."""
    allowed = [tier.max_leverage for tier in instrument.tiers if tier.lower_bound_usd <= abs(notional_usd)]
    return allowed[-1]


def liquidation_price(
    instrument: Instrument,
    lots: int,
    mark: Decimal,
    account_value_usd: Decimal,
    other_maintenance_usd: Decimal = ZERO,
) -> Decimal | None:
    """Mark price at which the account (cross) or the position (isolated) falls to its maintenance margin.

    `account_value_usd` is what backs the position at `mark`: the whole cross account, or the isolated margin with
    its unrealised profit. `other_maintenance_usd` is what the account's other positions need, held constant.
    None where no positive price can do it. https://hyperliquid.gitbook.io/hyperliquid-docs/trading/liquidations
    """
    if lots == 0:
        return None
    size = instrument.size(lots)
    free = account_value_usd - other_maintenance_usd - size * mark
    crossings = [
        -(free + deduction) / (size - abs(size) * rate) for _, rate, deduction in instrument.maintenance
    ]
    price = max(crossings) if lots > 0 else min(crossings)
    return price if price > 0 else None


@dataclass(frozen=True, slots=True)
class TierTable:
    """The margin tiers of many instruments, as float arrays (instruments, tiers) for vector arithmetic."""

    rate: FloatArray
    deduction_usd: FloatArray
    highest_rate: float  # no margin can be more than this share of notional

    @classmethod
    def of(cls, instruments: Sequence[Instrument]) -> TierTable:
        tiers = max((len(instrument.tiers) for instrument in instruments), default=1)
        rate = np.empty((len(instruments), tiers))
        deduction = np.empty((len(instruments), tiers))
        for i, instrument in enumerate(instruments):
            for k in range(tiers):  # the last tier repeated changes no maximum
                _, r, d = instrument.maintenance[min(k, len(instrument.maintenance) - 1)]
                rate[i, k], deduction[i, k] = float(r), float(d)
        return cls(rate, deduction, float(rate.max(initial=0.0)))

    def maintenance(self, notional_usd: FloatArray) -> FloatArray:
        """Maintenance margin per instrument of absolute values `notional_usd`, shape (instruments,)."""
        margin: FloatArray = (np.abs(notional_usd)[:, None] * self.rate - self.deduction_usd).max(axis=1)
        return margin

    def liquidation_distance(
        self, notional_usd: FloatArray, account_value_usd: float | FloatArray
    ) -> FloatArray:
        """Relative move of each instrument's price that liquidates a cross account, all other prices unmoved.

        `notional_usd` is signed, shape (…, instruments), `account_value_usd` of shape (…). Distances are positive: a
        long's is downward and at most 1 (infinite where even a price of 0 does no harm), a short's upward; infinite
        for instruments not held.
        """
        gross = np.abs(notional_usd)
        margin = (gross[..., None] * self.rate - self.deduction_usd).max(axis=-1)
        value = np.asarray(account_value_usd, dtype=np.float64)[..., None]
        return self._nearest(notional_usd, value - (margin.sum(axis=-1, keepdims=True) - margin))

    def isolated_distance(self, notional_usd: FloatArray, margin_usd: FloatArray) -> FloatArray:
        """The same where each position is backed by its own margin alone, both of shape (instruments,)."""
        return self._nearest(notional_usd, margin_usd)

    def _nearest(self, notional_usd: FloatArray, spare_usd: FloatArray) -> FloatArray:
        gross, side = np.abs(notional_usd), np.sign(notional_usd)
        # value(d) = spare − gross·d, margin(d) = gross·(1 − side·d)·rate − deduction; equal at d:
        with np.errstate(divide="ignore", invalid="ignore"):
            meets = (spare_usd[..., None] - gross[..., None] * self.rate + self.deduction_usd) / (
                gross[..., None] * (1 - side[..., None] * self.rate)
            )
        distance = np.where(gross > 0, meets.min(axis=-1), np.inf)
        return np.where((side > 0) & (distance >= 1), np.inf, np.maximum(distance, 0.0))
