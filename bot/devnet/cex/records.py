"""What the devnet's Binance remembers of each account: orders, conditional orders, trades, income."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from bot.devnet.cex.listing import USDT, Listing
from bot.model.money import ZERO

Json = dict[str, Any]
MOST_CLOSED, MOST_ROWS = 4000, 10_000
OPEN: Final = frozenset({"NEW", "PARTIALLY_FILLED"})


def money(value: Decimal) -> str:
    """An amount of USDT as the venue prints it."""
    return f"{value:.8f}"


@dataclass(slots=True)
class CexOrder:
    """One order as its owner sees it; lots are the listing's, prices 0 where the order names none."""

    order_id: int
    listing: Listing
    side: str
    kind: str
    lots: int
    price: Decimal
    time_in_force: str
    client_id: str
    time_ms: int
    reduce_only: bool = False
    original_kind: str = ""  # of the conditional order that it comes from
    stop_price: Decimal = ZERO
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    status: str = "NEW"
    filled_lots: int = 0
    quote_usd: Decimal = ZERO
    updated_ms: int = 0

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def average_price(self) -> Decimal:
        return self.quote_usd / self.listing.instrument.size(self.filled_lots) if self.filled_lots else ZERO

    def row(self) -> Json:
        """As in the queries of orders."""
        listing = self.listing
        return {
            "orderId": self.order_id,
            "symbol": listing.symbol,
            "status": self.status,
            "clientOrderId": self.client_id,
            "price": listing.price(self.price),
            "avgPrice": f"{self.average_price:.{listing.price_decimals + 3}f}",
            "origQty": listing.quantity(self.lots),
            "executedQty": listing.quantity(self.filled_lots),
            "cumQuote": money(self.quote_usd),
            "timeInForce": self.time_in_force,
            "type": self.kind,
            "reduceOnly": self.reduce_only,
            "closePosition": self.close_position,
            "side": self.side,
            "positionSide": "BOTH",
            "stopPrice": listing.price(self.stop_price),
            "workingType": self.working_type,
            "priceProtect": False,
            "origType": self.original_kind or self.kind,
            "priceMatch": "NONE",
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "goodTillDate": 0,
            "time": self.time_ms,
            "updateTime": self.updated_ms,
        }

    def placed(self) -> Json:
        """As in the replies to placing and cancelling it."""
        row = self.row()
        del row["time"]
        return row | {"cumQty": row["executedQty"]}


@dataclass(slots=True)
class Conditional:
    """An order that waits for a price; when that is reached an order of its own comes of it."""

    algo_id: int
    listing: Listing
    side: str
    kind: str
    lots: int  # 0: the whole position
    price: Decimal
    trigger_price: Decimal
    rising: bool  # whether it waits for the price to rise to that of its trigger
    working_type: str
    time_in_force: str
    client_id: str
    time_ms: int
    reduce_only: bool
    status: str = "NEW"
    triggered_ms: int = 0
    updated_ms: int = 0
    order_id: int | None = None

    @property
    def is_open(self) -> bool:
        return self.status == "NEW"

    @property
    def close_position(self) -> bool:
        return self.lots == 0

    def row(self, order: CexOrder | None) -> Json:
        """As in the queries of conditional orders; `order` is the one that came of it."""
        listing, is_limit = self.listing, self.kind in {"STOP", "TAKE_PROFIT"}
        row: Json = {
            "algoId": self.algo_id,
            "clientAlgoId": self.client_id,
            "algoType": "CONDITIONAL",
            "orderType": self.kind,
            "symbol": listing.symbol,
            "side": self.side,
            "positionSide": "BOTH",
            "timeInForce": self.time_in_force,
            "quantity": listing.quantity(self.lots),
            "algoStatus": self.status,
            "triggerPrice": listing.price(self.trigger_price),
            "price": listing.price(self.price),
            "icebergQuantity": None,
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "workingType": self.working_type,
            "priceMatch": "NONE",
            "closePosition": self.close_position,
            "priceProtect": False,
            "reduceOnly": self.reduce_only,
            "createTime": self.time_ms,
            "updateTime": self.updated_ms,
            "triggerTime": self.triggered_ms,
            "goodTillDate": 0,
        }
        return row | {
            "actualOrderId": "" if order is None else str(order.order_id),
            "actualPrice": "0" if order is None else f"{order.average_price:.{listing.price_decimals + 3}f}",
            "actualQty": listing.quantity(0 if order is None else order.filled_lots),
            "actualType": "" if order is None else "LIMIT" if is_limit else "MARKET",
            **dict.fromkeys(("tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice"), listing.price(ZERO)),
            "tpOrderType": "",
        }


@dataclass(slots=True)
class Records:
    """Everything about one account that the exchange itself forgets; rows are oldest first."""

    orders: dict[int, CexOrder] = field(default_factory=dict)
    live: dict[int, CexOrder] = field(default_factory=dict)  # the open ones, and a few that have ended since
    by_client_id: dict[str, int] = field(default_factory=dict)  # the newest order of each
    conditionals: dict[int, Conditional] = field(default_factory=dict)
    waits: dict[int, Conditional] = field(default_factory=dict)  # likewise
    trades: deque[Json] = field(default_factory=lambda: deque(maxlen=MOST_ROWS))
    income: deque[Json] = field(default_factory=lambda: deque(maxlen=MOST_ROWS))
    forced: dict[int, str] = field(default_factory=dict)  # orders of the venue's own → why
    updated_ms: dict[str, int] = field(default_factory=dict)  # when a symbol's position changed last
    is_hedged: bool = False
    cancel_at_ms: dict[str, int] = field(default_factory=dict)  # symbol → when its orders are cancelled

    def add(self, order: CexOrder) -> None:
        self.orders[order.order_id] = self.live[order.order_id] = order
        self.by_client_id[order.client_id] = order.order_id
        if len(self.orders) > 2 * MOST_CLOSED:
            for each in [each for each in self.orders.values() if not each.is_open][:MOST_CLOSED]:
                del self.orders[each.order_id]
                self.live.pop(each.order_id, None)
                if self.by_client_id.get(each.client_id) == each.order_id:
                    del self.by_client_id[each.client_id]

    def wait(self, order: Conditional) -> None:
        self.conditionals[order.algo_id] = self.waits[order.algo_id] = order
        if len(self.conditionals) > 2 * MOST_CLOSED:
            for each in [each for each in self.conditionals.values() if not each.is_open][:MOST_CLOSED]:
                del self.conditionals[each.algo_id]
                self.waits.pop(each.algo_id, None)

    def open_orders(self, symbol: str | None = None) -> list[CexOrder]:
        """Those that rest, oldest first, of one symbol or of all."""
        self.live = {number: each for number, each in self.live.items() if each.is_open}
        return [each for each in self.live.values() if symbol in {None, each.listing.symbol}]

    def waiting(self, symbol: str | None = None) -> list[Conditional]:
        """Conditional orders that have not fired, oldest first, of one symbol or of all."""
        self.waits = {number: each for number, each in self.waits.items() if each.is_open}
        return [each for each in self.waits.values() if symbol in {None, each.listing.symbol}]

    def earn(self, symbol: str, kind: str, amount: Decimal, time_ms: int, number: int, trade_id: str) -> None:
        """Write down income; what was paid is negative."""
        self.income.append(
            {
                "symbol": symbol,
                "incomeType": kind,
                "income": money(amount),
                "asset": USDT,
                "info": trade_id if kind != "FUNDING_FEE" else kind,
                "time": time_ms,
                "tranId": number,
                "tradeId": trade_id,
            }
        )
