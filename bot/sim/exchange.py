"""A perpetual futures exchange as a state machine: orders, marks and funding go in, fills and payments come out.

It is pure: no clock, no network, no randomness. Every call is told the time, which may not go back, and the same
calls always give the same books. The outside market is a quote of unlimited size beside the accounts' own orders.
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from bot.errors import Refused
from bot.model.account import Account, MarginMode
from bot.model.instrument import Instrument
from bot.model.money import usd
from bot.model.order import Order, OrderReport, OrderStatus, TimeInForce, Trigger, TriggerKind
from bot.sim import state as saved
from bot.sim.book import Book, Level, LiveOrder
from bot.sim.clearing import Clearing, Event, Member, Rules
from bot.sim.fees import FeeSchedule, TradedVolume
from bot.sim.liquidation import liquidate
from bot.sim.matching import Matching

__all__ = ["Event", "Exchange", "FeeSchedule", "Rules"]

NEVER_PLACED = "Order was never placed, already canceled, or filled."


class Exchange:
    """Accounts that trade perpetual futures with each other and with an outside market."""

    def __init__(self, instruments: Sequence[Instrument], rules: Rules | None = None) -> None:
        self._instruments = {instrument.name: instrument for instrument in instruments}
        self._clearing = Clearing(self._instruments, rules or Rules())
        self._matching = Matching(self._instruments, self._clearing)
        self._now_ms = 0

    @property
    def accounts(self) -> dict[str, Account]:
        return self._clearing.accounts

    @property
    def now_ms(self) -> int:
        """The latest time it was told."""
        return self._now_ms

    @property
    def rules(self) -> Rules:
        return self._clearing.rules

    @property
    def marks(self) -> dict[str, Decimal]:
        return self._clearing.marks

    @property
    def books(self) -> dict[str, Book]:
        """Resting orders and the outside quote of every instrument, to look at."""
        return self._matching.books

    def leverage(self, account: str, instrument: str) -> tuple[int, MarginMode]:
        member = self._clearing.member(account)
        self._clearing.instrument(instrument)
        return self._clearing.leverage(member, instrument), self._clearing.mode(member, instrument)

    def available_usd(self, account: str) -> Decimal:
        """Cross value not needed as initial margin by positions and resting orders; may be negative."""
        value, needed = self._clearing.margin(self._clearing.member(account))
        return value - needed

    def volume_14d_usd(self, account: str, time_ms: int) -> Decimal:
        """What decides the account's fee tier: traded notional of the 14 full UTC days before."""
        return self._clearing.member(account).traded.last_14d_usd(time_ms)

    def traded(self, account: str) -> TradedVolume:
        """What the account traded by day; what it trades elsewhere may be added."""
        return self._clearing.member(account).traded

    def open_orders(self, account: str) -> list[OrderReport]:
        """Orders that rest or wait for their trigger, oldest first."""
        return [
            live.report(OrderStatus.WAITING if live.order.trigger else OrderStatus.RESTING, live.updated_ms)
            for live in self._clearing.member(account).open.values()
        ]

    def open_ids(self, account: str) -> KeysView[int]:
        """Ids of the orders that rest or wait; cheap to ask for on every bar."""
        return self._clearing.member(account).open.keys()

    def drain(self) -> list[Event]:
        """What happened since the last call, in order, each with the account it happened to."""
        events, self._matching.events = self._matching.events, []
        return events

    def deposit(self, account: str, amount_usd: Decimal, time_ms: int) -> None:
        """Credit an account, and open it if it is new. Raises Refused on a negative amount."""
        self._advance(time_ms)
        if amount_usd < 0:
            raise Refused(f"a deposit can't be negative, found {amount_usd}")
        self._clearing.join(account).account.deposit(usd(amount_usd))

    def set_leverage(
        self, account: str, instrument: str, leverage: int, mode: MarginMode, time_ms: int
    ) -> None:
        """Choose leverage and margin mode for an account's orders in an instrument. Raises Refused on bad values."""
        self._advance(time_ms)
        self._clearing.set_leverage(self._clearing.member(account), instrument, leverage, mode)

    def withdraw(self, account: str, amount_usd: Decimal, time_ms: int) -> None:
        """Take money out of an account. Raises Refused on more than `withdrawable_usd`, or on nothing."""
        self._advance(time_ms)
        if not 0 < usd(amount_usd) <= self.withdrawable_usd(account):
            raise Refused("Insufficient balance for withdrawal")
        self._clearing.member(account).account.deposit(-usd(amount_usd))

    def withdrawable_usd(self, account: str) -> Decimal:
        """Cross value above the initial margin of positions and orders and above a tenth of what is held."""
        return self._clearing.withdrawable_usd(self._clearing.member(account))

    def charge(self, account: str, amount_usd: Decimal, time_ms: int) -> None:
        """Take a fee that is not the exchange's own, such as one for whoever built the client."""
        self._advance(time_ms)
        books = self._clearing.member(account).account
        books.cash_usd -= usd(amount_usd)
        books.fees_usd += usd(amount_usd)

    def add_margin(self, account: str, instrument: str, amount_usd: Decimal, time_ms: int) -> None:
        """Move cash to an isolated position's margin, or back if negative. Raises Refused if it may not be."""
        self._advance(time_ms)
        self._clearing.instrument(instrument)
        self._clearing.add_margin(self._clearing.member(account), instrument, usd(amount_usd))

    def reserve_order_id(self) -> int:
        """An id for an order that will be submitted later, under which it can be spoken of until then."""
        return self._matching.next_order_id()

    def submit(
        self,
        account: str,
        order: Order,
        time_ms: int,
        order_id: int | None = None,
        *,
        funded: bool = False,
    ) -> OrderReport:
        """Place an order. A refusal is a report like any other; Refused is raised for unknown names only.

        `funded` spares adding up the margin where the caller has shown already that there is enough.
        """
        self._advance(time_ms)
        member, instrument = self._clearing.member(account), self._clearing.instrument(order.instrument)
        matching = self._matching
        live = LiveOrder(order_id or matching.next_order_id(), account, order, time_ms)
        reason = self._refusal(member, instrument, order)
        if not reason and order.trigger is not None:
            matching.admit(live)
            return matching.report(live, OrderStatus.WAITING, time_ms)
        if not reason and not order.reduce_only:
            reason = self._clearing.refusal(member, order.instrument, order.signed_lots, funded)
        if reason:
            return matching.report(live, OrderStatus.REJECTED, time_ms, reason)
        if order.time_in_force is TimeInForce.ALO and self.books[order.instrument].can_match(
            live.sign, live.price
        ):
            reason = "Post only order would have immediately matched."
            return matching.report(live, OrderStatus.REJECTED, time_ms, reason)
        return self._execute(live, time_ms)

    def cancel(self, account: str, order_id: int, time_ms: int, reason: str = "canceled") -> OrderReport:
        """Cancel an open order. Raises Refused if the account has none of that id."""
        self._advance(time_ms)
        live = self._clearing.member(account).open.get(order_id)
        if live is None:
            raise Refused(NEVER_PLACED)
        return self._matching.cancel(live, reason, time_ms)

    def quote(self, instrument: str, bid: Decimal | None, ask: Decimal | None, time_ms: int) -> None:
        """Set the outside market's prices; resting orders that they reach fill at their own limit."""
        self._advance(time_ms)
        self._clearing.instrument(instrument)
        book = self.books[instrument]
        book.clear()
        book.bid, book.ask = bid, ask
        self._meet_outside(instrument, time_ms)

    def offer(self, instrument: str, bid: Decimal, ask: Decimal, lots: int | None, time_ms: int) -> None:
        """As `quote`, for incoming orders alone: `lots` at each price (None: any number), and nothing that rests fills."""
        self._advance(time_ms)
        self._clearing.instrument(instrument)
        book = self.books[instrument]
        if lots is None:
            book.clear()
            book.bid, book.ask = bid, ask
        else:
            book.deepen(((bid, lots),) if lots else (), ((ask, lots),) if lots else ())

    def withdraw_quotes(self, instruments: Iterable[str]) -> None:
        """Take the outside market away from these instruments."""
        for instrument in instruments:
            self.books[instrument].clear()

    def quote_depth(
        self, instrument: str, bids: Sequence[Level], asks: Sequence[Level], time_ms: int
    ) -> None:
        """As `quote`, with `(price, lots)` of every price the outside market trades at, best first."""
        self._advance(time_ms)
        self._clearing.instrument(instrument)
        self.books[instrument].deepen(bids, asks)
        self._meet_outside(instrument, time_ms)

    def _meet_outside(self, instrument: str, time_ms: int) -> None:
        book = self.books[instrument]
        bid, ask = book.bid, book.ask
        if ask is not None and book.best(1) is not None:
            self._matching.sweep(instrument, 1, ask, time_ms, touching=True)
        if bid is not None and book.best(-1) is not None:
            self._matching.sweep(instrument, -1, bid, time_ms, touching=True)

    def trade_through(
        self,
        instrument: str,
        low: Decimal,
        high: Decimal,
        time_ms: int,
        *,
        lots: int | None = None,
        touching: bool = False,
    ) -> None:
        """The outside market traded from `low` to `high`: resting orders strictly inside fill at their own limit.

        With `touching` those at the very ends do too. `lots` is the most that is traded, None any number.
        """
        self._advance(time_ms)
        self._clearing.instrument(instrument)
        left = self._matching.sweep(instrument, 1, low, time_ms, touching=touching, most=lots)
        self._matching.sweep(instrument, -1, high, time_ms, touching=touching, most=left)

    def set_marks(self, marks: Mapping[str, Decimal], time_ms: int, *, solvent: bool = False) -> None:
        """Set mark prices, fire the triggers they reach, then liquidate what they leave short of margin.

        `solvent` spares the last step where the caller has shown already that no account can fall short.
        """
        self._advance(time_ms)
        self._take_marks(marks)
        if self._matching.waiting:
            for name, mark in marks.items():
                self._fire_triggers(name, mark, time_ms)
        if solvent:
            self._clearing.forget_floors()
        else:
            liquidate(self._matching, time_ms, marks_moved=True)

    def call_margin(self, marks: Mapping[str, Decimal], time_ms: int) -> None:
        """Set mark prices and liquidate what they leave short of margin, before any trigger gets to see them."""
        self._advance(time_ms)
        self._take_marks(marks)
        liquidate(self._matching, time_ms, marks_moved=True)

    def _take_marks(self, marks: Mapping[str, Decimal]) -> None:
        for name, mark in marks.items():
            if name not in self._instruments or not mark > 0:
                raise Refused(f"a mark must be above 0 and of a listed instrument, found {name!r} at {mark}")
        self.marks.update(marks)

    def settle_funding(
        self,
        rates_per_hour: Mapping[str, Decimal],
        oracles: Mapping[str, Decimal],
        time_ms: int,
        *,
        solvent: bool = False,
    ) -> None:
        """Pay one hour's funding on the positions held at this instant, then liquidate who can't bear it.

        `solvent` as in `set_marks`; it must hold after the payments.
        """
        self._advance(time_ms)
        self._clearing.settle_funding(rates_per_hour, oracles, time_ms, self._matching.events)
        if not solvent:
            liquidate(self._matching, time_ms, marks_moved=False)

    def pay_funding(self, account: str, amount_usd: Decimal, time_ms: int) -> None:
        """Book funding that the caller settled himself on all of an account's cross positions, by the same rule.

        It must leave the account solvent, and nothing is reported of it.
        """
        self._advance(time_ms)
        books = self._clearing.member(account).account
        books.cash_usd += amount_usd
        books.funding_usd += amount_usd

    def delist(self, instrument: str, price: Decimal, time_ms: int) -> None:
        """Settle an instrument for good: orders are cancelled, positions closed at `price` without a fee.

        It has no mark from then on, so that nothing can be ordered in it.
        """
        self._advance(time_ms)
        self._clearing.instrument(instrument)
        if not price > 0:
            raise Refused(f"{instrument} must be settled at a price above 0, found {price}")
        self._matching.delist(instrument, price, time_ms)

    def state(self) -> dict[str, Any]:
        """Everything needed to continue, exact and ready for JSON. Drain the events first: they are not part of it."""
        return saved.dump(self._matching, self._now_ms)

    @classmethod
    def restore(
        cls, instruments: Sequence[Instrument], rules: Rules | None, state: Mapping[str, Any]
    ) -> Exchange:
        """The exchange that `state` was taken from; it continues with the same ids and the same answers."""
        exchange = cls(instruments, rules)
        exchange._now_ms = saved.load(exchange._matching, state)
        return exchange

    def _advance(self, time_ms: int) -> None:
        if time_ms < self._now_ms:
            raise ValueError(f"the exchange is at {self._now_ms} ms and can't go back to {time_ms} ms")
        self._now_ms = time_ms

    def _refusal(self, member: Member, instrument: Instrument, order: Order) -> str:
        """Why an order can't be placed whatever margin there is; empty if it can."""
        limit, trigger = order.limit_price, order.trigger
        if (limit is not None and not instrument.is_on_grid(limit)) or (
            trigger is not None and not instrument.is_on_grid(trigger.price)
        ):
            return "Price must be divisible by tick size."
        mark = self.marks.get(instrument.name)
        if mark is None:
            return "No mark price."
        if limit is not None and abs(limit - mark) > self._clearing.rules.price_band * mark:
            return "Order price cannot be more than 95% away from the reference price"
        held = member.account.lots(instrument.name)
        if order.reduce_only and (
            held * order.signed_lots >= 0 or (trigger is None and order.lots > abs(held))
        ):
            return "Reduce only order would increase position."
        price = trigger.price if trigger is not None else limit if limit is not None else mark
        if order.lots * instrument.lot * price < instrument.min_order_usd and not (
            order.reduce_only and order.lots == abs(held)
        ):
            return "Order must have minimum value of $10."
        if trigger is not None and _fires(trigger, order.signed_lots > 0, mark):
            return "Invalid TP/SL price."
        return ""

    def _execute(self, live: LiveOrder, time_ms: int) -> OrderReport:
        matching, order = self._matching, live.order
        matching.take(live, time_ms)
        if not live.remaining:
            return matching.report(live, OrderStatus.FILLED, time_ms)
        if order.trigger is None and order.time_in_force is not TimeInForce.IOC:
            matching.admit(live)
            return matching.report(live, OrderStatus.RESTING, time_ms)
        if live.filled_lots:
            return matching.report(live, OrderStatus.CANCELED, time_ms, "iocCancelRejected")
        reason = "Order could not immediately match against any resting orders."
        if order.limit_price is None:
            reason = "No liquidity available for market order."
        return matching.report(live, OrderStatus.REJECTED, time_ms, reason)

    def _fire_triggers(self, name: str, mark: Decimal, time_ms: int) -> None:
        waiting = self._matching.waiting.get(name)
        if not waiting:
            return
        fired = [
            live
            for live in waiting.values()
            if live.order.trigger and _fires(live.order.trigger, live.sign > 0, mark)
        ]
        for live in fired:
            member, order = self._clearing.members[live.account], live.order
            if live.order_id not in member.open:  # an earlier one closed the position it was to reduce
                continue
            self._matching.withdraw(live)
            if order.reduce_only:
                live.remaining = min(live.remaining, abs(member.account.lots(name)))
            elif reason := self._clearing.refusal(member, name, order.signed_lots):
                self._matching.report(live, OrderStatus.REJECTED, time_ms, reason)
                continue
            if order.time_in_force is not TimeInForce.IOC:  # a stop with a limit rests from now on
                live.order = replace(order, trigger=None)
            self._execute(live, time_ms)


def _fires(trigger: Trigger, buying: bool, mark: Decimal) -> bool:
    """A stop fires as the mark moves against the position it guards, a take-profit as it moves in its favour."""
    if buying == (trigger.kind is TriggerKind.STOP):
        return mark >= trigger.price
    return mark <= trigger.price
