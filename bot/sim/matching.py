"""Matching: how an order meets the book and the outside market, and what a trade does to other open orders."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from bot.model.money import usd
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side
from bot.sim.book import Book, LiveOrder
from bot.sim.clearing import Clearing, Event, Member


class Matching:
    """The books of all instruments and the orders waiting for their trigger."""

    def __init__(self, names: Iterable[str], clearing: Clearing) -> None:
        self.clearing = clearing
        self.books = {name: Book() for name in names}
        self.waiting: dict[str, dict[int, LiveOrder]] = {}
        self.events: list[Event] = []
        self.last_order_id = 0
        self.last_trade_id = 0

    def next_order_id(self) -> int:
        self.last_order_id += 1
        return self.last_order_id

    def next_trade_id(self) -> int:
        self.last_trade_id += 1
        return self.last_trade_id

    def report(self, live: LiveOrder, status: OrderStatus, time_ms: int, reason: str = "") -> OrderReport:
        """Tell the order's account how it stands."""
        report = live.report(status, time_ms, reason)
        self.events.append((live.account, report))
        return report

    def admit(self, live: LiveOrder) -> None:
        """Put an order where it rests or, with a trigger, waits."""
        member, order = self.clearing.members[live.account], live.order
        member.open[live.order_id] = live
        if order.reduce_only:
            member.reducing.setdefault(order.instrument, {})[live.order_id] = live
        if order.trigger is not None:
            self.waiting.setdefault(order.instrument, {})[live.order_id] = live
            return
        self.books[order.instrument].add(live)
        if not order.reduce_only:
            working = member.working.setdefault(order.instrument, [0, 0])
            working[0 if live.sign > 0 else 1] += live.remaining

    def withdraw(self, live: LiveOrder) -> None:
        """Take an order from where it rests or waits."""
        member, order = self.clearing.members[live.account], live.order
        name = order.instrument
        del member.open[live.order_id]
        if order.reduce_only:
            reducing = member.reducing[name]
            del reducing[live.order_id]
            if not reducing:
                del member.reducing[name]
        if order.trigger is not None:
            waiting = self.waiting[name]
            del waiting[live.order_id]
            if not waiting:
                del self.waiting[name]
            return
        self.books[name].remove(live)
        if not order.reduce_only:
            self._release(member, live, live.remaining)

    def cancel(self, live: LiveOrder, reason: str, time_ms: int) -> OrderReport:
        self.withdraw(live)
        return self.report(live, OrderStatus.CANCELED, time_ms, reason)

    def take(self, taker: LiveOrder, time_ms: int) -> None:
        """Match an incoming order as far as it goes: best price first, then the oldest, then the outside market."""
        book = self.books[taker.order.instrument]
        sign, limit = taker.sign, taker.price
        while taker.remaining:
            maker, price = book.best(-sign), book.outside(-sign)
            if maker is not None:
                assert maker.price is not None
                if price is None or not _worse(maker.price, price, sign):
                    price = maker.price
                else:
                    maker = None
            if price is None or (limit is not None and _worse(price, limit, sign)):
                return
            if maker is None:
                lots = book.outside_lots(-sign, taker.remaining)
                book.consume(-sign, lots)
                self._trade(taker, None, lots, price, time_ms)
            elif maker.account == taker.account:
                self.cancel(maker, "selfTradeCanceled", time_ms)
            elif lots := self._available(maker, taker.remaining, time_ms):
                self._trade(taker, maker, lots, price, time_ms)

    def sweep(
        self, name: str, sign: int, limit: Decimal, time_ms: int, *, touching: bool, most: int | None = None
    ) -> int | None:
        """Fill resting orders of one side whose limit is beyond `limit` (or, `touching`, equal to it) from outside.

        `most` is how many lots the outside market trades with them, None any number; returns what is left of it.
        """
        book = self.books[name]
        while most != 0 and (maker := book.best(sign)) is not None:
            price = maker.price
            assert price is not None
            if not (_worse(price, limit, sign) or (touching and price == limit)):
                break
            wanted = maker.remaining if most is None else min(maker.remaining, most)
            if lots := self._available(maker, wanted, time_ms):
                self._trade(None, maker, lots, price, time_ms)
                most = None if most is None else most - lots
        return most

    def _available(self, maker: LiveOrder, wanted: int, time_ms: int) -> int:
        """Lots that a resting order can trade now; an order that can't is cancelled and gives 0."""
        member = self.clearing.members[maker.account]
        held = member.account.lots(maker.order.instrument)
        lots = min(wanted, maker.remaining)
        if maker.order.reduce_only:
            assert held * maker.sign < 0, (
                "an order that can't reduce was to be cancelled when that came about"
            )
            return min(lots, abs(held))
        if abs(held + lots * maker.sign) > abs(held):
            value, needed = self.clearing.margin(member)
            if needed > value:
                self.cancel(maker, "marginCanceled", time_ms)
                return 0
        return lots

    def _trade(
        self, taker: LiveOrder | None, maker: LiveOrder | None, lots: int, price: Decimal, time_ms: int
    ) -> None:
        clearing, events = self.clearing, self.events
        either = taker or maker
        assert either is not None
        name = either.order.instrument
        notional = usd(clearing.instruments[name].notional(lots, price))
        trade_id = self.next_trade_id()
        if taker is not None:
            fill = clearing.trade(
                taker, lots, price, notional, is_maker=False, trade_id=trade_id, time_ms=time_ms
            )
            events.append((taker.account, fill))
        if maker is not None:
            if lots == maker.remaining:
                self.withdraw(maker)
            elif not maker.order.reduce_only:
                self._release(clearing.members[maker.account], maker, lots)
            fill = clearing.trade(
                maker, lots, price, notional, is_maker=True, trade_id=trade_id, time_ms=time_ms
            )
            events.append((maker.account, fill))
            self.report(maker, OrderStatus.RESTING if maker.remaining else OrderStatus.FILLED, time_ms)
        if taker is not None:
            self.drop_stale(clearing.members[taker.account], name, time_ms)
        if maker is not None:
            self.drop_stale(clearing.members[maker.account], name, time_ms)

    def close_at(self, member: Member, name: str, price: Decimal, purpose: Purpose, time_ms: int) -> None:
        """The venue closes a whole position at `price`, past the book and without a fee."""
        held = member.account.lots(name)
        order = Order(purpose.value, name, Side.of(-held), abs(held), purpose=purpose)
        live = LiveOrder(self.next_order_id(), member.name, order, time_ms)
        fill = self.clearing.trade(
            live,
            abs(held),
            price,
            usd(self.clearing.instruments[name].notional(abs(held), price)),
            is_maker=False,
            trade_id=self.next_trade_id(),
            time_ms=time_ms,
            free=True,
        )
        self.events.append((member.name, fill))

    def delist(self, name: str, price: Decimal, time_ms: int) -> None:
        """Cancel all orders of an instrument, then close all its positions at `price`."""
        members = self.clearing.members.values()
        orders = [
            live for member in members for live in member.open.values() if live.order.instrument == name
        ]
        for live in sorted(orders, key=lambda live: live.order_id):
            self.cancel(live, "delistedCanceled", time_ms)
        for member in members:
            if member.account.lots(name):
                self.close_at(member, name, price, Purpose.SETTLEMENT, time_ms)
        self.books[name] = Book()
        self.clearing.marks.pop(name, None)

    def drop_stale(self, member: Member, name: str, time_ms: int) -> None:
        """Cancel reduce-only orders that no longer reduce: first those that rest, then those that wait."""
        reducing = member.reducing.get(name)
        if not reducing:
            return
        held = member.account.lots(name)
        stale = [live for live in reducing.values() if live.sign * held >= 0]
        for live in sorted(stale, key=lambda live: live.order.trigger is not None):
            self.cancel(live, "reduceOnlyCanceled", time_ms)

    @staticmethod
    def _release(member: Member, live: LiveOrder, lots: int) -> None:
        working = member.working[live.order.instrument]
        working[0 if live.sign > 0 else 1] -= lots
        if working == [0, 0]:
            del member.working[live.order.instrument]


def _worse(price: Decimal, than: Decimal, sign: int) -> bool:
    """Whether a price is worse for who buys (1) or sells (−1)."""
    return price > than if sign > 0 else price < than
