"""What the devnet remembers of each user: orders and their statuses, fills, funding, transfers."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bot.devnet.wire import text
from bot.model.money import ZERO

STREET = "0x" + "57" * 20
"""Who is on the other side of a trade with the outside market."""

NO_HASH = "0x" + "0" * 64
MOST_FILLS, MOST_ORDERS, MOST_ROWS = 10_000, 4000, 10_000
KEPT_DAYS = 31
Json = dict[str, Any]


def fake_hash(*parts: object) -> str:
    """A transaction hash for something that was never on a chain."""
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


def trade_id(number: int) -> int:
    """Fifty bits or so that look like nothing, as the venue's are."""
    return int(fake_hash("trade", number)[2:14], 16)


@dataclass(slots=True)
class WireOrder:
    """One order as its owner sees it. `size` and `remaining` are in coins; 0 for "the whole position"."""

    order_id: int
    user: str
    coin: str
    is_buy: bool
    limit_price: Decimal
    size: Decimal
    timestamp_ms: int
    tif: str | None
    reduce_only: bool = False
    cloid: str | None = None
    trigger_price: Decimal | None = None
    trigger_is_market: bool = False
    trigger_kind: str = ""  # "tp" or "sl"
    is_position_tpsl: bool = False
    builder: tuple[str, int] | None = None  # address, tenths of a basis point
    children: list[WireOrder] = field(default_factory=list)
    siblings: list[int] = field(default_factory=list)
    status: str = "open"
    status_ms: int = 0
    remaining: Decimal = ZERO
    triggered: bool = False

    @property
    def is_open(self) -> bool:
        return self.status in {"open", "triggered"}

    def basic(self) -> Json:
        """As in `openOrders` and `orderUpdates`."""
        row: Json = {
            "coin": self.coin,
            "side": "B" if self.is_buy else "A",
            "limitPx": text(self.limit_price),
            "sz": text(self.remaining),
            "oid": self.order_id,
            "timestamp": self.timestamp_ms,
            "origSz": text(self.size),
        }
        if self.cloid is not None:
            row["cloid"] = self.cloid
        if self.reduce_only:
            row["reduceOnly"] = True
        return row

    def full(self) -> Json:
        """As in `frontendOpenOrders`, `orderStatus` and `historicalOrders`."""
        is_trigger = self.trigger_price is not None
        condition = "N/A"
        if self.trigger_price is not None:
            rising = self.is_buy == (self.trigger_kind == "sl")
            condition = (
                f"Price {'above' if rising else 'below'} {text(self.trigger_price).removesuffix('.0')}"
            )
        return {
            "coin": self.coin,
            "side": "B" if self.is_buy else "A",
            "limitPx": text(self.limit_price),
            "sz": text(self.remaining),
            "oid": self.order_id,
            "timestamp": self.timestamp_ms,
            "triggerCondition": condition,
            "isTrigger": is_trigger,
            "triggerPx": text(self.trigger_price or ZERO),
            "children": [child.full() for child in self.children if child.is_open],
            "isPositionTpsl": self.is_position_tpsl,
            "reduceOnly": self.reduce_only,
            "orderType": self._kind(),
            "origSz": text(self.size),
            "tif": None if is_trigger else self.tif,
            "cloid": self.cloid,
        }

    def _kind(self) -> str:
        if self.trigger_price is None:
            return "Market" if self.tif == "FrontendMarket" else "Limit"
        kind = "Stop" if self.trigger_kind == "sl" else "Take Profit"
        return f"{kind} {'Market' if self.trigger_is_market else 'Limit'}"

    def status_row(self) -> Json:
        return {"order": self.full(), "status": self.status, "statusTimestamp": self.status_ms}


@dataclass(slots=True)
class Twap:
    """An order that is carried out in slices; sizes in coins."""

    twap_id: int
    user: str
    asset: int
    coin: str
    is_buy: bool
    size: Decimal
    reduce_only: bool
    minutes: int
    randomize: bool
    started_ms: int
    slices_done: int = 0
    executed: Decimal = ZERO
    executed_usd: Decimal = ZERO

    def state(self) -> Json:
        """As in `twapHistory` and `twapStates`."""
        return {
            "coin": self.coin,
            "user": self.user,
            "side": "B" if self.is_buy else "A",
            "sz": text(self.size),
            "executedSz": text(self.executed),
            "executedNtl": text(self.executed_usd),
            "minutes": self.minutes,
            "reduceOnly": self.reduce_only,
            "randomize": self.randomize,
            "timestamp": self.started_ms,
        }


class UserRecords:
    """Everything about one user that the exchange itself forgets; lists are oldest first."""

    def __init__(self) -> None:
        self.orders: dict[int, WireOrder] = {}
        self.by_cloid: dict[str, int] = {}
        self.order_history: deque[Json] = deque(maxlen=MOST_ORDERS)
        self.fills: deque[Json] = deque(maxlen=MOST_FILLS)
        self.twap_fills: deque[Json] = deque(maxlen=MOST_FILLS)
        self.twap_history: deque[Json] = deque(maxlen=MOST_ORDERS)
        self.funding: list[Json] = []
        self.ledger: list[Json] = []
        self.transfers = 0  # rows that were ever in it
        self.position: dict[str, int] = {}  # lots, as the fills so far leave them
        self.paid_funding: dict[str, list[Decimal]] = {}  # coin → paid in all, since open, since change
        self.builders: dict[str, int] = {}  # approved: address → tenths of a basis point
        self.referrer: str | None = None
        self.cum_volume = ZERO
        self.day_volume: dict[str, list[Decimal]] = {}  # date → taker, maker
        self.requests = 0
        self.schedule_cancel_ms: int | None = None
        self.schedule_cancels: dict[int, int] = {}  # UTC day → how often it fired
        self.abstraction = "default"
        self.dex_abstraction = False
        self.display_name = ""
        self.reserved_requests = 0
        self.equity: list[tuple[int, Decimal, Decimal]] = []  # time, account value, profit

    def forget(self, today: int) -> None:
        """Let go of what nobody can ask for any more, `today` being days since the epoch; called now and then."""
        for rows in (self.funding, self.ledger, self.equity):
            del rows[:-MOST_ROWS]
        for date in list(self.day_volume)[:-KEPT_DAYS]:
            del self.day_volume[date]
        for day in [each for each in self.schedule_cancels if each < today]:
            del self.schedule_cancels[day]

    def add_order(self, order: WireOrder) -> None:
        self.orders[order.order_id] = order
        if order.cloid is not None:
            self.by_cloid[order.cloid] = order.order_id
        if len(self.orders) > 2 * MOST_ORDERS:
            done = [each for each in self.orders.values() if not each.is_open][:MOST_ORDERS]
            for each in done:
                del self.orders[each.order_id]
                if each.cloid is not None and self.by_cloid.get(each.cloid) == each.order_id:
                    del self.by_cloid[each.cloid]

    def find(self, order_id: int | str) -> WireOrder | None:
        """An order by the exchange's id or the client's."""
        if isinstance(order_id, str):
            number = self.by_cloid.get(order_id)
            return None if number is None else self.orders.get(number)
        return self.orders.get(order_id)

    def open_orders(self) -> list[WireOrder]:
        return [order for order in self.orders.values() if order.is_open]

    def pay_funding(self, coin: str, paid: Decimal) -> None:
        totals = self.paid_funding.setdefault(coin, [ZERO, ZERO, ZERO])
        self.paid_funding[coin] = [total + paid for total in totals]

    def position_changed(self, coin: str, *, opened: bool) -> None:
        totals = self.paid_funding.setdefault(coin, [ZERO, ZERO, ZERO])
        totals[2] = ZERO
        if opened:
            totals[1] = ZERO
