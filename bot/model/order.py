"""What is asked of a venue (orders), what it says about it (reports), and what came of it (fills, payments)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from bot.model.frozen import quickly_made
from bot.model.money import ZERO


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY

    @classmethod
    def of(cls, lots: int) -> Side:
        """The side that brings a position of signed `lots` about."""
        return cls.BUY if lots > 0 else cls.SELL


class TimeInForce(StrEnum):
    """How long an order stands."""

    GTC = "gtc"  # rests until filled or cancelled
    ALO = "alo"  # add liquidity only: refused if it would match at once
    IOC = "ioc"  # what can't match at once is cancelled


class TriggerKind(StrEnum):
    """Whether a trigger bounds a loss or takes a gain; with the side it says which way the price must cross."""

    STOP = "stop"
    TAKE_PROFIT = "take_profit"


@dataclass(frozen=True, slots=True)
class Trigger:
    """Holds an order back until the mark price crosses `price` in the direction its kind implies."""

    kind: TriggerKind
    price: Decimal


class Purpose(StrEnum):
    """Why an order was placed; decides how it is replaced, journaled and reported."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP = "stop"
    TAKE_PROFIT = "take_profit"
    LIQUIDATION = "liquidation"
    SETTLEMENT = "settlement"  # the venue closed the position at its last price: delisting, or the data's end
    EXTERNAL = "external"  # the account's, but placed by somebody else: it counts in risk, and is left alone


@quickly_made
@dataclass(frozen=True, slots=True)
class Order:
    """A request to trade `lots` (> 0) of an instrument. Without a limit price it takes what the market offers."""

    client_id: str
    instrument: str
    side: Side
    lots: int
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.IOC
    reduce_only: bool = False
    trigger: Trigger | None = None
    purpose: Purpose = Purpose.ENTRY

    def __post_init__(self) -> None:
        if self.lots <= 0:
            raise ValueError(f"an order's lots must be above 0, found {self.lots}; the side carries the sign")
        if self.limit_price is None and self.time_in_force is not TimeInForce.IOC:
            raise ValueError("an order that may rest needs a limit price")

    @property
    def signed_lots(self) -> int:
        return self.lots if self.side is Side.BUY else -self.lots


class OrderStatus(StrEnum):
    """Where in its life an order is."""

    RESTING = "resting"
    WAITING = "waiting"  # a trigger order that has not fired
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"

    @property
    def is_open(self) -> bool:
        return self in (OrderStatus.RESTING, OrderStatus.WAITING)


@quickly_made
@dataclass(frozen=True, slots=True)
class OrderReport:
    """The venue's word on one order at `time_ms`; `reason` is empty unless it was refused or cancelled."""

    time_ms: int
    order_id: int
    order: Order
    status: OrderStatus
    filled_lots: int = 0
    average_price: Decimal = ZERO
    reason: str = ""

    @property
    def remaining_lots(self) -> int:
        return self.order.lots - self.filled_lots if self.status.is_open else 0


@quickly_made
@dataclass(frozen=True, slots=True)
class Fill:
    """A trade that happened. `closed_pnl_usd` is the price profit of the part that reduced a position, before fees."""

    trade_id: int
    time_ms: int
    instrument: str
    side: Side
    lots: int
    price: Decimal
    notional_usd: Decimal
    fee_usd: Decimal
    is_maker: bool
    client_id: str
    order_id: int
    purpose: Purpose
    closed_pnl_usd: Decimal = ZERO

    @property
    def signed_lots(self) -> int:
        return self.lots if self.side is Side.BUY else -self.lots


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """One settlement on one position: `usd` is what the account received (negative: paid).

    `rate` is the fraction of notional that was settled, for all the `interval_h` hours of it; None where these are not known.
    """

    time_ms: int
    instrument: str
    lots: int
    oracle: Decimal
    rate: Decimal
    usd: Decimal
    interval_h: int | None = 1


@dataclass(frozen=True, slots=True)
class Liquidation:
    """A position the venue took over; `forfeited_usd` is remaining margin that went with it (backstop).

    `lots` carries the sign of the position that was closed.
    """

    time_ms: int
    instrument: str
    lots: int
    price: Decimal
    kind: str  # "partial", "full" or "backstop"
    forfeited_usd: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money brought to the account (`usd` > 0) or taken away; `reference` is the venue's own name for it.

    `kind` in the venue's words: deposit, withdraw, accountClassTransfer, …
    """

    time_ms: int
    usd: Decimal
    kind: str
    reference: str
