"""Instruments from the client library's markets and tiers, or the sentence that says why one is not traded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.errors import DataError
from bot.model.instrument import Instrument, MarginTier, underlying_of


def instrument_of(venue: str, market: Mapping[str, Any], tiers: Sequence[Mapping[str, Any]]) -> Instrument:
    """A linear perpetual as `venue:BASE`, the base as the exchange writes it; DataError says why it can't be one.

    The market's steps are taken as steps (the library's TICK_SIZE mode), in contracts of `contractSize` coins.
    """
    base = str(market.get("base"))
    name = f"{venue}:{base}"
    if not (market.get("swap") and market.get("linear") and market.get("settle") == market.get("quote")):
        raise DataError(f"{name}: only perpetuals that settle in what they are quoted in are traded.")
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    lot = _above_zero(name, "lot", precision.get("amount")) * _above_zero(
        name, "contract size", market.get("contractSize")
    )
    size_decimals = -lot.adjusted()
    if lot != Decimal(1).scaleb(-size_decimals) or lot > 1:
        raise DataError(f"{name}: its lot of {lot:f} coins is no power of ten up to one coin; leave it out.")
    cost = (limits.get("cost") or {}).get("min")
    try:
        return Instrument(
            name,
            size_decimals,
            tuple(_tier(name, tier) for tier in tiers),
            is_delisted=market.get("active") is False,
            min_order_usd=Decimal(0) if cost is None else _above_zero(name, "least order", cost),
            multiplier=underlying_of(name)[1],
            venue=venue,
            tick=_above_zero(name, "step of prices", precision.get("price")),
            quote=str(market["quote"]),
        )
    except ValueError as error:
        raise DataError(f"{error}; leave it out.") from None


def _tier(name: str, tier: Mapping[str, Any]) -> MarginTier:
    bound = _number(name, "tier's bound", tier.get("minNotional"))
    leverage = int(
        _above_zero(name, "tier's leverage", tier.get("maxLeverage"))
    )  # a fraction is rounded down
    return MarginTier(
        bound, leverage, _above_zero(name, "maintenance rate", tier.get("maintenanceMarginRate"))
    )


def _above_zero(name: str, what: str, found: Any) -> Decimal:
    number = _number(name, what, found)
    if number <= 0:
        raise DataError(f"{name}: the {what} must be above 0, found {number}; leave it out.")
    return number


def _number(name: str, what: str, found: Any) -> Decimal:
    """Exact, by the shortest text of a float; a number that isn't finite is none."""
    try:
        number = Decimal(str(found))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(found, bool) or not number.is_finite():
        raise DataError(f"{name}: the {what} is not known, found {str(found)[:40]!r}; leave it out.")
    return number
