"""The strict edge: what the library made of a reply becomes typed facts, or a DataError that names what can't be right.

Numbers are the wire's own text, finite and within what can be; the market must be the one asked about. Sizes are in
coins: the library's contracts times what one contract is of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from bot.errors import DataError
from bot.model.account import MarginMode
from bot.model.money import ZERO
from bot.model.order import Purpose, Side, TimeInForce

LARGEST: Final = Decimal(10) ** 15
PRICE_DIGITS: Final = Decimal("0.001")
EARLIEST_MS: Final = 1_500_000_000_000
LATEST_MS: Final = 4_000_000_000_000
NUMBER: Final = re.compile(r"-?[0-9]{1,24}(\.[0-9]{1,24})?([eE][-+]?[0-9]{1,2})?", re.ASCII)

Reply = Mapping[str, Any]


def number(found: Any, what: str, *, least: Decimal | None = None) -> Decimal:
    """A number by its text. DataError where it is none, absurd, or below `least`."""
    told = str(found)
    if isinstance(found, bool) or NUMBER.fullmatch(told) is None:
        raise DataError(f"{what} is no number: {told[:40]!r}")
    try:
        value = Decimal(told)
    except InvalidOperation:  # pragma: no cover - the form is checked
        raise DataError(f"{what} is no number: {told[:40]!r}") from None
    if abs(value) > LARGEST or (least is not None and value < least):
        raise DataError(f"{what} can't be {told[:40]}")
    return value


def price(found: Any, what: str) -> Decimal:
    """A price, above 0."""
    value = number(found, what)
    if value <= 0:
        raise DataError(f"{what} can't be {value}")
    return value


def optional(found: Any, what: str) -> Decimal | None:
    """A number above 0; None for nothing and for 0, by which venues say the same."""
    if found is None or found == "":
        return None
    value = number(found, what)
    return value if value > 0 else None


def moment(found: Any, what: str) -> int:
    """A time in milliseconds."""
    told = str(found)
    if isinstance(found, bool) or not (told.isascii() and told.isdigit() and len(told) <= 13):
        raise DataError(f"{what} is no time: {told[:40]!r}")
    if not EARLIEST_MS <= int(told) <= LATEST_MS:
        raise DataError(f"{what} can't be {told}")
    return int(told)


def same_market(found: Reply, symbol: str, market_id: str, what: str) -> None:
    """DataError where a reply is about another market than the one asked about.

    The library fills in what was asked where it does not know a name, so the venue's own row is looked at too.
    """
    row = found.get("info")
    told = (row.get("symbol") or row.get("instId")) if isinstance(row, dict) else None
    if found.get("symbol") != symbol or (told is not None and told != market_id):
        raise DataError(f"{what} is of {str(told or found.get('symbol'))[:40]!r}, asked was {market_id}")


def side(found: Any, what: str) -> Side:
    """Buy or sell."""
    return Side(_one_of(("buy", "sell"), found, f"the side of {what}"))


def _one_of(words: Collection[str], found: Any, what: str) -> str:
    if not isinstance(found, str) or found not in words:
        raise DataError(f"{what} is {str(found)[:20]!r}, which this program does not know")
    return found


def id_number(found: Any, what: str) -> int:
    """A venue's id as a whole number: itself, or where it has letters, 48 bits of its hash."""
    told = str(found)
    if not told or len(told) > 80 or not told.isascii() or found is None:
        raise DataError(f"{what} is no id: {told[:40]!r}")
    if told.isdigit() and len(told) <= 18:
        return int(told)
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:6], "big")


@dataclass(frozen=True, slots=True)
class Trade:
    """One of the account's trades. `trade_id` is the venue's, unique of one market only.

    `notional` is what the venue says was paid where that is the price's to within its rounding: at a liquidation the price
    is an average that has more digits than are told. `forced` is what the trade was where the venue made it of itself.
    """

    trade_id: str
    order_id: int
    symbol: str
    time_ms: int
    side: Side
    coins: Decimal
    price: Decimal
    notional: Decimal
    fee: Decimal
    fee_currency: str
    is_maker: bool
    forced: Purpose | None = None


def trade(
    found: Reply, symbol: str, market_id: str, contract: Decimal, forced: Purpose | None = None
) -> Trade:
    """A trade of a market whose contract is of so many coins."""
    what = f"a trade of {symbol}"
    same_market(found, symbol, market_id, what)
    fee = found.get("fee") or {}
    coins = price(found.get("amount"), f"{what}: its size") * contract
    paid = price(found.get("price"), f"{what}: its price")
    told = optional(found.get("cost"), f"{what}: its value")
    notional = coins * paid
    if told is not None and abs(told - notional) <= notional * PRICE_DIGITS:
        notional = told
    return Trade(
        trade_id=str(id_number(found.get("id"), f"{what}: its id")),
        order_id=id_number(found.get("order"), f"{what}: its order"),
        symbol=symbol,
        time_ms=moment(found.get("timestamp"), f"{what}: its time"),
        side=side(found.get("side"), what),
        coins=coins,
        price=paid,
        notional=notional,
        fee=number(fee.get("cost", "0") or "0", f"{what}: its fee"),
        fee_currency=str(fee.get("currency") or ""),
        is_maker=found.get("takerOrMaker") == "maker",
        forced=forced,
    )


OPEN: Final = "open"
FILLED: Final = "closed"
CANCELED: Final = frozenset({"canceled", "expired"})
CANCELING: Final = "canceling"  # it may still fill
REJECTED: Final = "rejected"
FIRED: Final = "fired"
"""Of an order that waited for a price: it is no more, and `became` is what came of it."""
CONDITIONAL: Final = 1 << 60
"""Added to the id of an order that a venue keeps apart, as it is numbered apart."""
STATUSES: Final = frozenset({OPEN, FILLED, REJECTED, CANCELING}) | CANCELED
TIFS: Final = {"GTC": TimeInForce.GTC, "PO": TimeInForce.ALO, "IOC": TimeInForce.IOC, "FOK": TimeInForce.IOC}


@dataclass(frozen=True, slots=True)
class Shown:
    """An order as the venue states it, `status` in the library's words. `venue_id` is what cancels it.

    `became` is the venue's id of the order that came of one that has fired.
    """

    order_id: int
    venue_id: str
    client_name: str
    symbol: str
    side: Side
    coins: Decimal
    filled: Decimal
    average: Decimal
    limit_price: Decimal | None
    tif: TimeInForce
    reduce_only: bool
    trigger_price: Decimal | None
    is_take_profit: bool
    status: str
    time_ms: int
    became: str = ""


def order(found: Reply, symbol: str, market_id: str, contract: Decimal, now_ms: int) -> Shown:
    """An order of a market. What has no time of its own is of `now_ms`."""
    what = f"an order of {symbol}"
    same_market(found, symbol, market_id, what)
    status = _one_of(STATUSES, found.get("status"), f"the status of {what}")
    status = OPEN if status == CANCELING else status
    coins = price(found.get("amount"), f"{what}: its size") * contract
    filled = number(found.get("filled") or "0", f"{what}: its filled size", least=ZERO) * contract
    row = found.get("info") or {}
    waits_apart = "algoId" in row
    if waits_apart and status == FILLED:
        status = FIRED
    if filled > coins or (status == FILLED and filled != coins):
        raise DataError(f"{what} is {status} with {filled} of {coins} coins filled")
    when = found.get("lastUpdateTimestamp") or found.get("timestamp")
    return Shown(
        order_id=id_number(found.get("id"), f"{what}: its id") + CONDITIONAL * waits_apart,
        venue_id=str(found.get("id")),
        client_name=str(found.get("clientOrderId") or ""),
        symbol=symbol,
        side=side(found.get("side"), what),
        coins=coins,
        filled=filled,
        average=optional(found.get("average"), f"{what}: its average price") or ZERO,
        limit_price=optional(found.get("price"), f"{what}: its price"),
        tif=TIFS.get(str(found.get("timeInForce")), TimeInForce.GTC),
        reduce_only=found.get("reduceOnly") is True,
        trigger_price=optional(found.get("triggerPrice"), f"{what}: its trigger"),
        is_take_profit=found.get("takeProfitPrice") is not None,
        status=status,
        time_ms=now_ms if when is None else moment(when, f"{what}: its time"),
        became=str(row.get("actualOrderId") or "") if waits_apart else "",
    )


@dataclass(frozen=True, slots=True)
class Held:
    """A position, `coins` and `notional_usd` signed."""

    symbol: str
    coins: Decimal
    entry_price: Decimal
    mark: Decimal
    notional_usd: Decimal
    unrealised_usd: Decimal
    liquidation_price: Decimal | None
    margin_mode: MarginMode
    margin_usd: Decimal
    leverage: Decimal | None


def position(found: Reply, contract: Decimal) -> Held | None:
    """A position; None for a flat one. DataError also for one of two sides, which this program does not trade."""
    symbol = str(found.get("symbol"))
    what = f"the position of {symbol}"
    size = number(found.get("contracts") or "0", f"{what}: its size", least=ZERO) * contract
    if size == 0:
        return None
    if found.get("hedged") is True:
        raise DataError(f"{what} is one of two sides; switch the account to one-way mode")
    facing = _one_of(("long", "short"), found.get("side"), f"the side of {what}")
    sign = 1 if facing == "long" else -1
    entry = price(found.get("entryPrice"), f"{what}: its entry price")
    mark = price(found.get("markPrice"), f"{what}: its mark")
    return Held(
        symbol=symbol,
        coins=sign * size,
        entry_price=entry,
        mark=mark,
        notional_usd=sign * size * mark,
        unrealised_usd=number(found.get("unrealizedPnl") or "0", f"{what}: its profit"),
        liquidation_price=optional(found.get("liquidationPrice"), f"{what}: its liquidation price"),
        margin_mode=MarginMode.ISOLATED if found.get("marginMode") == "isolated" else MarginMode.CROSS,
        margin_usd=number(found.get("collateral") or "0", f"{what}: its margin"),
        leverage=optional(found.get("leverage"), f"{what}: its leverage"),
    )


@dataclass(frozen=True, slots=True)
class Booked:
    """A line of the account's ledger: `kind` in the venue's words, `usd` above 0 where the account received."""

    key: str
    time_ms: int
    kind: str
    symbol: str
    currency: str
    usd: Decimal


def booked(found: Reply, kind: str) -> Booked:
    """A line of the ledger. The venue's own row tells its market, where it has one."""
    what = f"a {kind[:30]} in the ledger"
    direction = _one_of(("in", "out"), found.get("direction"), f"the direction of {what}")
    amount = number(found.get("amount"), f"{what}: its amount", least=ZERO)
    row = found.get("info") or {}
    when = moment(found.get("timestamp"), f"{what}: its time")
    market = str(row.get("symbol") or row.get("instId") or "")
    return Booked(
        key=f"{found.get('id')}:{kind}:{market}:{row.get('tradeId') or ''}",
        time_ms=when,
        kind=kind,
        symbol=market,
        currency=str(found.get("currency") or ""),
        usd=amount if direction == "in" else -amount,
    )
