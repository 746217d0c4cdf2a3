"""Funding rates that cannot be separated from the interval they are paid over.

Positive means that longs pay shorts, on every venue. The only way from one interval to another, and to a yearly
figure, is through the methods here; adding or comparing rates of different intervals is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from bot.model.money import MICRO_USD

HOURS_PER_YEAR = 8760
INTERVALS_H = (1, 2, 4, 8)

# Hyperliquid's documented formula: the interest part per 8 h, how far the premium may pull the rate before the clamp
# gives way, and the cap per hour. https://hyperliquid.gitbook.io/hyperliquid-docs/trading/funding
INTEREST_PER_8H = 0.0001
CLAMP_PER_8H = 0.0005
CAP_PER_H = 0.04


class RateKind(StrEnum):
    """Whether a rate has been paid or is still an estimate."""

    PREDICTED = "predicted"
    REALISED = "realised"


@dataclass(frozen=True, slots=True)
class FundingRate:
    """A rate of `value` (fraction of notional) paid once per `interval_h` hours at `pays_at_ms`."""

    value: float
    interval_h: int
    kind: RateKind
    pays_at_ms: int
    source: str

    def __post_init__(self) -> None:
        if isinstance(self.interval_h, bool) or self.interval_h not in INTERVALS_H:
            raise ValueError(
                f"a funding rate needs an interval of {', '.join(map(str, INTERVALS_H))} h, found {self.interval_h!r}; "
                "don't trade on it until the venue's interval is known"
            )
        if not math.isfinite(self.value):
            raise ValueError(f"a funding rate must be a finite number, found {self.value!r}")
        if self.pays_at_ms <= 0 or not self.source:
            raise ValueError("a funding rate needs the time it is paid at and the source it came from")

    @property
    def per_hour(self) -> float:
        """Simple rate per hour."""
        return self.value / self.interval_h

    @property
    def apr(self) -> float:
        """Simple yearly rate, hourly rate × 8760; never compounded."""
        return self.per_hour * HOURS_PER_YEAR

    def over(self, interval_h: int) -> FundingRate:
        """The same rate expressed for another interval."""
        return FundingRate(self.per_hour * interval_h, interval_h, self.kind, self.pays_at_ms, self.source)

    def __add__(self, other: FundingRate) -> FundingRate:
        self._same_interval(other)
        return FundingRate(self.value + other.value, self.interval_h, self.kind, self.pays_at_ms, self.source)

    def __sub__(self, other: FundingRate) -> FundingRate:
        self._same_interval(other)
        return FundingRate(self.value - other.value, self.interval_h, self.kind, self.pays_at_ms, self.source)

    def __lt__(self, other: FundingRate) -> bool:
        self._same_interval(other)
        return self.value < other.value

    def __gt__(self, other: FundingRate) -> bool:
        self._same_interval(other)
        return self.value > other.value

    def _same_interval(self, other: FundingRate) -> None:
        if self.interval_h != other.interval_h:
            raise TypeError(
                f"a rate per {self.interval_h} h and one per {other.interval_h} h can't be combined; use .over() first"
            )


def hourly_rate_from_premium(premium: float) -> float:
    """Hyperliquid's hourly rate for an hour's average premium: `(P + clamp(0.01 % − P, ±0.05 %)) / 8`, capped ±4 %."""
    clamped = max(-CLAMP_PER_8H, min(CLAMP_PER_8H, INTEREST_PER_8H - premium))
    return max(-CAP_PER_H, min(CAP_PER_H, (premium + clamped) / 8))


def payment_usd(size: Decimal, oracle: Decimal, rate_per_hour: Decimal) -> Decimal:
    """USD that a position of signed `size` coins receives (negative: pays) when `rate_per_hour` settles at `oracle`.

    Longs pay when the rate is positive. Rounded to the millionth of a dollar in which balances are kept.
    """
    return (-size * oracle * rate_per_hour).quantize(MICRO_USD, ROUND_HALF_EVEN)
