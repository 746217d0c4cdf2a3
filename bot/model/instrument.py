"""What can be traded, on which grid of prices and quantities, and how much margin the venue asks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from types import MappingProxyType

from bot.model.money import ZERO, exact

SIGNIFICANT_FIGURES = 5
PERP_PRICE_DECIMALS = 6
SPOT_PRICE_DECIMALS = 8
MIN_ORDER_USD = Decimal(10)
HYPERLIQUID = "hyperliquid"

BRIDGED = MappingProxyType(
    {
        "UBTC": "BTC",
        "UETH": "ETH",
        "USOL": "SOL",
        "UFART": "FARTCOIN",
        "UPUMP": "PUMP",
        "UBONK": "BONK",
        "UUUSPX": "SPX",
    }
)
"""Spot tokens that stand for a coin elsewhere, and which. They can come off its price: the bridge is a risk of its own."""


class Kind(StrEnum):
    """PERP: a position of either sign on margin. SPOT: a token that is bought and then owned."""

    PERP = "perp"
    SPOT = "spot"


def underlying_of(name: str, kind: Kind = Kind.PERP) -> tuple[str, int]:
    """What a contract or token is about, and how many units of it one is: kPEPE is 1,000 PEPE, UBTC is one BTC.

    A name of another venue, such as binance:1000PEPE, has its multiplier in figures.
    """
    if kind is Kind.SPOT:
        return BRIDGED.get(name, name), 1
    venue, _, base = name.rpartition(":")
    counted = re.fullmatch(r"(10{3,9})([A-Z][A-Z0-9]*)", base) if venue else None
    if counted is not None:
        return counted[2], int(counted[1])
    if venue:
        return base, 1
    if name[:1] == "k" and name[1:2].isupper():
        return name[1:], 1000
    return name, 1


@dataclass(frozen=True, slots=True)
class MarginTier:
    """From `lower_bound_usd` of notional on, leverage is limited to `max_leverage`.

    `own_rate` is the maintenance rate where the venue names one; on Hyperliquid it follows from the leverage.
    """

    lower_bound_usd: Decimal
    max_leverage: int
    own_rate: Decimal | None = None

    @property
    def maintenance_rate(self) -> Decimal:
        """Half the initial margin rate at the tier's maximum leverage, unless the venue has its own."""
        return 1 / (2 * Decimal(self.max_leverage)) if self.own_rate is None else self.own_rate


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
    """A perpetual future quoted in USD, or a spot market against it.

    `size_decimals` fixes the lot (`10 ** -size_decimals` coins); `multiplier` says how many units of `underlying` one
    coin of the contract is (1000 for kPEPE). Spot markets are never on leverage. `tick` is the step of prices where the
    venue has one for all prices; on Hyperliquid it follows from the price. `quote` is the dollar that it is paid in.
    """

    name: str
    size_decimals: int
    tiers: tuple[MarginTier, ...]
    only_isolated: bool = False
    is_delisted: bool = False
    min_order_usd: Decimal = MIN_ORDER_USD
    multiplier: int = 1
    kind: Kind = Kind.PERP
    underlying: str = ""  # the name's own where none is given
    venue: str = HYPERLIQUID
    tick: Decimal | None = None
    quote: str = "USDC"
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
        rates = [tier.maintenance_rate for tier in self.tiers]
        if rates != sorted(rates) or not 0 < rates[0] <= rates[-1] < 1:
            raise ValueError(f"{self.name}: maintenance rates must rise within 0 and 1, found {rates}")
        if self.tick is not None and not self.tick > 0:
            raise ValueError(f"{self.name}: the step of prices must be above 0, found {self.tick}")
        if self.kind is Kind.SPOT and self.max_leverage != 1:
            raise ValueError(f"{self.name}: a spot market has no leverage, found {self.max_leverage}")
        if not self.underlying:
            of, units = underlying_of(self.name, self.kind)
            object.__setattr__(self, "underlying", of if units == self.multiplier else self.name)
        object.__setattr__(self, "maintenance", tiers_with_deductions(self.tiers))
        object.__setattr__(self, "lot", Decimal(1).scaleb(-self.size_decimals))

    @property
    def wallet(self) -> str:
        """Where the money is that this is traded with: a venue's margin account, or its spot balances."""
        return self.venue if self.kind is Kind.PERP else f"{self.venue} {self.kind}"

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
        """The price on the venue's grid: whole steps of `tick`, or on Hyperliquid at most five significant figures and
        `6 − size_decimals` decimals, on spot 8.

        Whole numbers are always on Hyperliquid's grid. `up` chooses the side; None rounds to the nearest.
        https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/tick-and-lot-size
        """
        if price <= 0:
            raise ValueError(f"{self.name}: a price must be above 0, found {price}")
        rounding = ROUND_HALF_EVEN if up is None else ROUND_CEILING if up else ROUND_FLOOR
        if self.tick is not None:
            steps = (price / self.tick).to_integral_value(rounding)
            return max(steps, Decimal(1)) * self.tick
        most = PERP_PRICE_DECIMALS if self.kind is Kind.PERP else SPOT_PRICE_DECIMALS
        decimals = min(SIGNIFICANT_FIGURES - 1 - price.adjusted(), max(0, most - self.size_decimals))
        return price.quantize(Decimal(1).scaleb(-max(0, decimals)), rounding)

    def is_on_grid(self, price: Decimal) -> bool:
        return price > 0 and self.round_price(price) == price


def simple_instrument(
    name: str, size_decimals: int, max_leverage: int, *, only_isolated: bool = False
) -> Instrument:
    """An instrument with one margin tier."""
    return Instrument(name, size_decimals, (MarginTier(ZERO, max_leverage),), only_isolated=only_isolated)


def spot_instrument(name: str, size_decimals: int, token: str, venue: str = HYPERLIQUID) -> Instrument:
    """A spot market by the name that is used for it, whose lots are of `token`."""
    underlying, multiplier = underlying_of(token, Kind.SPOT)
    return Instrument(
        name,
        size_decimals,
        (MarginTier(ZERO, 1),),
        multiplier=multiplier,
        kind=Kind.SPOT,
        underlying=underlying,
        venue=venue,
    )
