"""What a trade costs: the venue's maker and taker rates by the volume an account has traded lately."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from bot.model.money import ZERO

DAY_MS = 86_400_000
VOLUME_DAYS = 14


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Rates (fractions of notional) of an account whose 14-day volume is above `above_usd`."""

    above_usd: Decimal
    taker: Decimal
    maker: Decimal


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Fee tiers in rising order of volume; the first holds for everyone."""

    tiers: tuple[FeeTier, ...]

    def __post_init__(self) -> None:
        bounds = [tier.above_usd for tier in self.tiers]
        if not bounds or bounds[0] != 0 or bounds != sorted(set(bounds)):
            raise ValueError(f"fee tiers must start at a volume of 0 and rise, found {bounds}")

    @classmethod
    def flat(cls, taker: Decimal, maker: Decimal) -> FeeSchedule:
        """The same two rates at any volume."""
        return cls((FeeTier(ZERO, taker, maker),))

    def rate(self, maker: bool, volume_14d_usd: Decimal) -> Decimal:
        """Fraction of notional charged; negative is a rebate."""
        tier = self.tiers[0]
        for higher in self.tiers[1:]:
            if volume_14d_usd <= higher.above_usd:
                break
            tier = higher
        return tier.maker if maker else tier.taker


def _tier(above_usd: str, taker_percent: str, maker_percent: str) -> FeeTier:
    return FeeTier(Decimal(above_usd), Decimal(taker_percent) / 100, Decimal(maker_percent) / 100)


# https://hyperliquid.gitbook.io/hyperliquid-docs/trading/fees: perps, without staking and referral discounts.
HYPERLIQUID_PERPS = FeeSchedule(
    (
        _tier("0", "0.045", "0.015"),
        _tier("5_000_000", "0.040", "0.012"),
        _tier("25_000_000", "0.035", "0.008"),
        _tier("100_000_000", "0.030", "0.004"),
        _tier("500_000_000", "0.028", "0"),
        _tier("2_000_000_000", "0.026", "0"),
        _tier("7_000_000_000", "0.024", "0"),
    )
)

# The same tiers on spot, whose volume counts twice toward them.
HYPERLIQUID_SPOT = FeeSchedule(
    (
        _tier("0", "0.070", "0.040"),
        _tier("5_000_000", "0.060", "0.030"),
        _tier("25_000_000", "0.050", "0.020"),
        _tier("100_000_000", "0.040", "0.010"),
        _tier("500_000_000", "0.035", "0"),
        _tier("2_000_000_000", "0.030", "0"),
        _tier("7_000_000_000", "0.025", "0"),
    )
)


class TradedVolume:
    """One account's traded notional by UTC day, enough of it to know its fee tier.

    The tier is set at midnight UTC from the 14 full days before, so that it doesn't change within a day.
    """

    __slots__ = ("_day", "_last_14d_usd", "by_day")

    def __init__(self, by_day: dict[int, Decimal] | None = None) -> None:
        self.by_day: dict[int, Decimal] = {} if by_day is None else by_day
        self._day = -1
        self._last_14d_usd = ZERO

    def add(self, notional_usd: Decimal, time_ms: int) -> None:
        day = time_ms // DAY_MS
        self.by_day[day] = self.by_day.get(day, ZERO) + notional_usd

    def last_14d_usd(self, time_ms: int) -> Decimal:
        day = time_ms // DAY_MS
        if day != self._day:
            for old in [d for d in self.by_day if d < day - VOLUME_DAYS]:
                del self.by_day[old]
            self._day = day
            self._last_14d_usd = sum((v for d, v in self.by_day.items() if d < day), ZERO)
        return self._last_14d_usd
