"""What can be traded, on which grid of prices and quantities, and how much margin the venue asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from bot.model.money import ZERO, exact

SIGNIFICANT_FIGURES = 5
PERP_PRICE_DECIMALS = 6
MIN_ORDER_USD = Decimal(10)


@dataclass(frozen=True, slots=True)
class MarginTier:
    """From `lower_bound_usd` of notional on, leverage is limited to `max_leverage`."""

    lower_bound_usd: Decimal
    max_leverage: int

    @property
    def maintenance_rate(self) -> Decimal:
        """Half the initial margin rate at the tier's maximum leverage."""
        return 1 / (2 * Decimal(self.max_leverage))


def tiers_with_deductions(tiers: Sequence[MarginTier]) -> tuple[tuple[Decimal, Decimal, Decimal], ...]:
    """`(lower bound, maintenance rate, deduction)` per tier, the deductions making the margin continuous.

    `deduction(0) = 0`, `deduction(n) = deduction(n−1) + lower_bound(n) × (rate(n) − rate(n−1))`.
    https://hyperliquid.gitbook.io/hyperliquid-docs/trading/margin-tiers
    """
    rows: list[tuple[Decimal, Decimal, Decimal]] = []
    deduction = ZERO
    for tier in tiers:
        if rows:
            deduction += tier.lower_bound_usd * (tier.maintenance_rate - rows[-1][1])
        rows.append((tier.lower_bound_usd, tier.maintenance_rate, deduction))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A perpetual future quoted in USD.

    `size_decimals` fixes the lot (`10 ** -size_decimals` coins); `multiplier` says how many units of the underlying
    one coin of the contract is (1000 for kPEPE).
    """

    name: str
    size_decimals: int
    tiers: tuple[MarginTier, ...]
    only_isolated: bool = False
    is_delisted: bool = False
    min_order_usd: Decimal = MIN_ORDER_USD
    multiplier: int = 1
    maintenance: tuple[tuple[Decimal, Decimal, Decimal], ...] = field(init=False, repr=False)
    lot: Decimal = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.tiers or self.tiers[0].lower_bound_usd != 0:
            raise ValueError(f"{self.name}: margin tiers must start at a lower bound of 0")
        bounds = [tier.lower_bound_usd for tier in self.tiers]
        leverages = [tier.max_leverage for tier in self.tiers]
        if (
            bounds != sorted(set(bounds))
            or leverages != sorted(leverages, reverse=True)
            or min(leverages) < 1
        ):
            raise ValueError(
                f"{self.name}: margin tiers must rise in bound and fall in leverage, found {self.tiers}"
            )
        if not 0 <= self.size_decimals <= 12:
            raise ValueError(f"{self.name}: size decimals must be 0 to 12, found {self.size_decimals}")
        object.__setattr__(self, "maintenance", tiers_with_deductions(self.tiers))
        object.__setattr__(self, "lot", Decimal(1).scaleb(-self.size_decimals))

    @property
    def max_leverage(self) -> int:
        return self.tiers[0].max_leverage

    @property
    def lots_per_coin(self) -> int:
        return int(10**self.size_decimals)

    def size(self, lots: int) -> Decimal:
        """Signed size in coins."""
        return lots * self.lot

    def lots(self, size: Decimal | float) -> int:
        """Whole lots in a signed size, rounded toward zero: never more than asked for."""
        coins = size if isinstance(size, Decimal) else exact(size)
        return int(coins.scaleb(self.size_decimals))

    def notional(self, lots: int, price: Decimal) -> Decimal:
        """Signed USD value of `lots` at `price`."""
        return lots * self.lot * price

    def round_price(self, price: Decimal, *, up: bool | None = None) -> Decimal:
        """The price on the venue's grid: at most five significant figures and `6 − size_decimals` decimals.

        Whole numbers are always on the grid. `up` chooses the side; None rounds to the nearest.
        https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/tick-and-lot-size
        """
        if price <= 0:
            raise ValueError(f"{self.name}: a price must be above 0, found {price}")
        decimals = min(
            SIGNIFICANT_FIGURES - 1 - price.adjusted(), max(0, PERP_PRICE_DECIMALS - self.size_decimals)
        )
        rounding = ROUND_HALF_EVEN if up is None else ROUND_CEILING if up else ROUND_FLOOR
        return price.quantize(Decimal(1).scaleb(-max(0, decimals)), rounding)

    def is_on_grid(self, price: Decimal) -> bool:
        return price > 0 and self.round_price(price) == price


def simple_instrument(
    name: str, size_decimals: int, max_leverage: int, *, only_isolated: bool = False
) -> Instrument:
    """An instrument with one margin tier."""
    return Instrument(name, size_decimals, (MarginTier(ZERO, max_leverage),), only_isolated=only_isolated)
