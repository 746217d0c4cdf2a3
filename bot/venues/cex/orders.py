"""Our orders and the venue's: one carries a client id and a purpose, the other the name that we gave it and an order id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from bot.model.account import MarginMode
from bot.model.attempt import Attempt
from bot.model.order import (
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    TriggerKind,
)
from bot.text import plain
from bot.venues.attempts import Attempts, epoch_of
from bot.venues.cex import wire
from bot.venues.cex.books import Market
from bot.venues.cex.differences import Differences
from bot.venues.cex.wire import Shown
from bot.venues.edge import lots_of

TAKER_SLIPPAGE: Final = Decimal("0.005")
FORGOTTEN_MS: Final = 120_000
"""What the venue tells of an account may be behind for so long at most."""

REMEMBERED: Final = 5_000

Key = tuple[str, int]
"""Instrument and the venue's order id, which is unique within one market only."""


def name_of(cloid: str) -> str:
    """What an attempt is called at the venue: its cloid without the 0x, which every exchange takes."""
    return cloid.removeprefix("0x")


def cloid_of_name(name: str) -> str | None:
    """The cloid behind a venue's client id; None for one that is not of our form."""
    cloid = f"0x{name}"
    return cloid if len(cloid) == 34 and epoch_of(cloid) is not None else None


def worst_price(order: Order, market: Market, mark: Decimal) -> Decimal | None:
    """What the order may pay at worst, on the market's grid; None for one that only reduces and takes any price."""
    instrument, up = market.instrument, order.side is Side.SELL
    if order.limit_price is not None:
        return instrument.round_price(order.limit_price, up=up)
    if order.reduce_only:
        return None
    return instrument.round_price(mark * (1 + order.side.sign * TAKER_SLIPPAGE), up=up)


def asked(
    order: Order,
    market: Market,
    differences: Differences,
    cloid: str,
    mode: MarginMode,
    worst: Decimal | None,
) -> tuple[Any, ...]:
    """The arguments of the library's `create_order`: symbol, type, side, contracts, price and parameters, all text.

    `worst` as `worst_price` says; what opens and takes the market is an IOC order with it.
    """
    instrument = market.instrument
    contracts = plain(instrument.size(order.lots) / market.contract)
    params: dict[str, Any] = {differences.new_client_id: name_of(cloid), **differences.always}
    kind, price = "market", None
    if order.trigger is not None:
        trigger = plain(instrument.round_price(order.trigger.price))
        stops = order.trigger.kind is TriggerKind.STOP
        params |= {"stopLossPrice" if stops else "takeProfitPrice": trigger, **differences.trigger}
    elif worst is not None:
        kind, price = "limit", plain(worst)
        params |= {
            TimeInForce.GTC: differences.rests,
            TimeInForce.IOC: differences.ioc,
            TimeInForce.ALO: differences.post_only,
        }[order.time_in_force]
    if order.reduce_only:
        params |= differences.reduce_only
    if differences.margin_mode_of == "order":
        params["marginMode"] = mode.value
    return market.symbol, kind, order.side.value, contracts, price, params


class Register:
    """Which orders are ours, and which of them were open when last looked at."""

    def __init__(self, markets: Sequence[Market], attempts: Attempts, forced: Mapping[str, Purpose]) -> None:
        self._forced = forced
        self.markets = {market.instrument.name: market for market in markets}
        self._by_symbol = {market.symbol: market for market in markets}
        self.attempts = attempts
        self.open: dict[Key, OrderReport] = {}
        self.venue_ids: dict[Key, str] = {}
        self.touched: set[str] = (
            set()
        )  # instruments with orders that are open, or were told of since the last look
        self._owed: dict[
            Key, tuple[int, int]
        ] = {}  # lots that the venue says have filled, and until when that counts
        self._names: dict[Key, tuple[str, Purpose]] = {}
        self.twins: set[str] = set()  # cloids of our form that the outbox doesn't hold
        self._adopted: set[str] = set()  # of these the operator has said that there is no other daemon

    def whose(self, instrument: str, order_id: int) -> tuple[str, Purpose]:
        """Client id and purpose of an order by its id; a stranger's is named for the id."""
        return self._names.get((instrument, order_id), (f"venue-{order_id}", Purpose.EXTERNAL))

    def knows(self, instrument: str, order_id: int) -> bool:
        """Whether it is known whose the order is."""
        return (instrument, order_id) in self._names

    def order(self, shown: Shown) -> Order:
        """The order that the venue shows, in our terms."""
        instrument = self._by_symbol[shown.symbol].instrument
        cloid = cloid_of_name(shown.client_name)
        known = self.attempts.whose(cloid)
        if known is None and cloid is not None and cloid not in self._adopted:
            self.twins.add(cloid)
        forced = (each for start, each in self._forced.items() if shown.client_name.startswith(start))
        purpose = next(forced, Purpose.EXTERNAL)
        client_id, purpose = known or (shown.client_name or f"venue-{shown.order_id}", purpose)
        self._remember((instrument.name, shown.order_id), client_id, purpose)
        self.venue_ids[instrument.name, shown.order_id] = shown.venue_id
        trigger = None
        if shown.trigger_price is not None:
            kind = TriggerKind.TAKE_PROFIT if shown.is_take_profit else TriggerKind.STOP
            trigger = Trigger(kind, shown.trigger_price)
        takes = shown.limit_price is None
        return Order(
            client_id=client_id,
            instrument=instrument.name,
            side=shown.side,
            lots=lots_of(instrument, shown.coins, "an order's size"),
            limit_price=shown.limit_price,
            time_in_force=TimeInForce.IOC if takes else shown.tif,
            reduce_only=shown.reduce_only,
            trigger=trigger,
            purpose=purpose,
        )

    def report(self, shown: Shown, order: Order | None = None) -> OrderReport:
        """The report of an order that the venue shows; of `order` where it is known what was asked for."""
        seen = self.order(shown)
        order = seen if order is None else order
        lots = lots_of(self.markets[seen.instrument].instrument, shown.filled, "what was filled")
        status, reason = OrderStatus.RESTING, ""
        if shown.status == wire.OPEN:
            status = OrderStatus.RESTING if order.trigger is None else OrderStatus.WAITING
        elif shown.status == wire.FILLED:
            status = OrderStatus.FILLED
        elif shown.status == wire.REJECTED:
            status, reason = OrderStatus.REJECTED, "the venue rejected it"
        else:
            status, reason = OrderStatus.CANCELED, shown.status
            if order.time_in_force is TimeInForce.IOC and lots:
                reason = "the rest could not match at once"
        return OrderReport(shown.time_ms, shown.order_id, order, status, lots, shown.average, reason)

    def note(self, report: OrderReport) -> None:
        """Keep what is open, and whose it is, up to date."""
        if not report.order_id:
            return
        key = report.order.instrument, report.order_id
        self.touched.add(report.order.instrument)
        if report.filled_lots and report.order_id < wire.CONDITIONAL:  # else the fills are another order's
            self._owed[key] = report.filled_lots, report.time_ms + FORGOTTEN_MS
        self._remember(key, report.order.client_id, report.order.purpose)
        if report.status.is_open:
            self.open[key] = report
        else:
            self.open.pop(key, None)

    def owed(self, filled: Callable[[str, int], tuple[int, Decimal]], now_ms: int) -> set[str]:
        """Instruments of which the venue says that more has filled than `filled` knows: what it tells of them is old."""
        self._owed = {
            key: (lots, until_ms)
            for key, (lots, until_ms) in self._owed.items()
            if filled(*key)[0] < lots and now_ms <= until_ms
        }
        return {name for name, _ in self._owed}

    def take_up(self, attempts: Sequence[Attempt], *, goes_on: bool) -> None:
        """Whose the orders are that an earlier run was told of; where its books go on, also what is to be in them."""
        for each in attempts:
            evidence = each.evidence
            if each.coin not in self.markets or evidence is None or not evidence.order_id:
                continue
            key = each.coin, evidence.order_id
            self._names[key] = each.client_id, each.purpose
            self.touched.add(each.coin)
            if goes_on and each.filled_lots and evidence.order_id < wire.CONDITIONAL:
                self._owed[key] = each.filled_lots, evidence.at_ms + FORGOTTEN_MS

    def untouch(self) -> None:
        """All has been looked at; what is open stays to be looked at."""
        self.touched = {name for name, _ in self.open}

    def adopt(self) -> None:
        """Take the orders of daemons like this one for somebody else's."""
        self._adopted |= self.twins
        self.twins.clear()

    def _remember(self, key: Key, client_id: str, purpose: Purpose) -> None:
        """Whose an order is; the oldest are forgotten, and asked for again where they matter."""
        self._names[key] = client_id, purpose
        if len(self._names) > REMEMBERED:
            oldest = next(each for each in self._names if each not in self.open)
            self._names.pop(oldest)
            self.venue_ids.pop(oldest, None)

    def state(self) -> dict[str, Any]:
        """Which orders were open, as JSON values."""
        return {
            "open": [
                [name, order_id, self.venue_ids.get((name, order_id), "")] for name, order_id in self.open
            ]
        }

    def restore(self, state: Mapping[str, Any]) -> list[Key]:
        """The orders that were open when `state` was taken."""
        keys = []
        for name, order_id, venue_id in state["open"]:
            key = str(name), int(order_id)
            keys.append(key)
            self.venue_ids[key] = str(venue_id) or str(int(order_id) % wire.CONDITIONAL)
        return keys


def rejected(order: Order, at_ms: int, reason: str) -> OrderReport:
    """The report of an order that came to nothing."""
    return OrderReport(at_ms, 0, order, OrderStatus.REJECTED, 0, Decimal(0), reason)
