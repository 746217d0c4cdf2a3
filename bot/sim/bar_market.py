"""Time passes in bars: the simulated exchange driven by open, high, low and close instead of a live order flow.

Orders decided at a bar's end are filled at the next bar's open, moved by half the spread and by the impact of their
size on the bar's volume. Within the bar the order of events is not known, so it is taken against the account:
triggers fire first (at their level, or at the open if it lies beyond), then resting orders that were traded through
fill at their limit, then every position is marked at its worst price at once and liquidated if that is too much.
Funding settles at the bar's end on what is still held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import isnan

import numpy as np

from bot.model.account import Account, MarginMode
from bot.model.decision import AccountView, LotsArray, OrderPlan
from bot.model.instrument import Instrument
from bot.model.money import exact
from bot.model.order import (
    Fill,
    FundingPayment,
    Liquidation,
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    TriggerKind,
)
from bot.model.panel import FloatArray
from bot.sim.bars import Bar, Frictions
from bot.sim.exchange import Exchange, Rules
from bot.sim.funding import FundingRound
from bot.sim.levels import Levels

TapeEvent = OrderReport | Fill | FundingPayment | FundingRound | Liquidation


class BarMarket:
    """One account's trading on an exchange whose outside market comes in bars.

    Beside the exchange's exact books it keeps the account as vectors over the instruments: `lots`, `size` (coins),
    `entry_price`, and `mark` as carried. `events` collects what happened, in order, until `take_events`.
    """

    def __init__(
        self, exchange: Exchange, account: str, instruments: Sequence[Instrument], frictions: Frictions
    ) -> None:
        self.exchange = exchange
        self.name = account
        self.account: Account = exchange.accounts[account]
        self.instruments = tuple(instruments)
        self.frictions = frictions
        self.columns = {instrument.name: column for column, instrument in enumerate(instruments)}
        width = len(self.instruments)
        self.lots: LotsArray = np.zeros(width, np.int64)
        self.size = np.zeros(width)
        self.entry_price = np.zeros(width)
        self.mark = np.zeros(width)
        self.leverage = np.array([float(exchange.leverage(account, i.name)[0]) for i in instruments])
        on_cross = np.array([exchange.leverage(account, i.name)[1] is MarginMode.CROSS for i in instruments])
        self._on_cross = None if on_cross.all() else on_cross
        self.unpaid_hours = 0  # settlements of held positions whose rate is unknown
        self._events: list[TapeEvent] = []
        self._marks_are_behind = False
        self._cap = float(exchange.rules.funding_cap_per_hour)
        self._lot = np.array([float(instrument.lot) for instrument in instruments])
        self._rate = np.array(
            [max(float(rate) for _, rate, _ in i.maintenance) + self._cap for i in instruments]
        )
        # Size less the most that margin and funding can take of it, in coins.
        self._longs_after_margin, self._shorts_after_margin = np.zeros(width), np.zeros(width)
        self._isolated: dict[str, int] = {}
        self._levels = Levels(width)
        self._open_orders: Sequence[OrderReport] | None = None
        for name in self.account.positions:
            self._mirror(name)

    @classmethod
    def opened(
        cls,
        account: str,
        instruments: Sequence[Instrument],
        rules: Rules,
        frictions: Frictions,
        equity_usd: Decimal,
        leverage: int,
        mode: MarginMode,
        time_ms: int,
    ) -> BarMarket:
        """A market with one new account on it, funded, and its leverage set as far as each instrument allows."""
        exchange = Exchange(instruments, rules)
        exchange.deposit(account, equity_usd, time_ms)
        for each in instruments:
            own_mode = MarginMode.ISOLATED if each.only_isolated else mode
            exchange.set_leverage(account, each.name, min(leverage, each.max_leverage), own_mode, time_ms)
        return cls(exchange, account, instruments, frictions)

    @property
    def equity_usd(self) -> float:
        """Cash and positions at the carried marks."""
        equity = float(self.account.cash_usd) + float(np.dot(self.size, self.mark))
        for name in self._isolated:
            equity += float(self.account.positions[name].cash_usd)
        return equity

    @property
    def isolated_usd(self) -> FloatArray | None:
        """What backs each isolated position at the carried marks; NaN on cross margin, None where all are on it."""
        if self._on_cross is None:
            return None
        backing = np.where(self._on_cross, np.nan, 0.0)
        for name, column in self._isolated.items():
            backing[column] = (
                float(self.account.positions[name].cash_usd) + self.size[column] * self.mark[column]
            )
        return backing

    @property
    def view(self) -> AccountView:
        """The account as a decision looks at it."""
        return AccountView(
            self.equity_usd, self.lots, self.entry_price, self.leverage, self.open_orders, self.isolated_usd
        )

    @property
    def open_orders(self) -> Sequence[OrderReport]:
        """Orders that rest or wait, oldest first."""
        if self._open_orders is None:
            self._absorb()
            self._open_orders = self.exchange.open_orders(self.name)
            self._levels.of(self._open_orders, self.columns)
        return self._open_orders

    def take_events(self) -> list[TapeEvent]:
        """Fills, payments, reports and liquidations since the last call, in the order in which they happened."""
        self._absorb()
        events, self._events = self._events, []
        return events

    def open(self, bar: Bar, plan: OrderPlan) -> list[OrderReport]:
        """Carry out at the open what was decided before it: cancel, then trade. Returns a report per order."""
        time_ms, open_ids = bar.start_ms, self.exchange.open_ids(self.name)
        for cancel in plan.cancels:
            if cancel.order_id in open_ids:
                self.exchange.cancel(self.name, cancel.order_id, time_ms)
        if plan.cancels:
            self._absorb()
        quoted = self._quote_open_orders(bar, bar.open, time_ms)
        if not plan.orders and not quoted:
            return []
        ordered = (order.instrument for order in plan.orders)
        if self._marks_are_behind and not (bar.open[self.lots != 0] > 0).all():
            self.sync_marks()  # what has no price in this bar keeps its last one
        self._marks_are_behind = False
        solvent = not quoted and not self._in_danger(bar.open, bar.open)
        self._set_marks((*self.account.positions, *quoted, *ordered), bar.open, time_ms, solvent)
        self._withdraw_quotes(quoted, time_ms)
        reports = [self._submit(order, bar, time_ms) for order in plan.orders]
        self._absorb()
        return reports

    def close(self, bar: Bar) -> None:
        """Live through the rest of the bar: triggers, resting orders, liquidation, then funding at its end."""
        if self.open_orders and self._levels.reached(bar.low, bar.high):
            self.sync_marks()
            self._fire_triggers(bar)
            self._trade_through(bar)
            self._absorb()
        solvent = True
        if self.account.positions and self._in_danger(bar.low, bar.high):
            solvent = False
            self._mark_at_worst(bar)
            self._absorb()
        self.mark = bar.mark
        if self.account.positions:
            self._settle(bar, solvent)

    def sync_marks(self) -> None:
        """Tell the exchange the marks of what is held, where nobody has needed them since the last bar."""
        if self._marks_are_behind:
            self._marks_are_behind = False
            now_ms = self.exchange.now_ms
            self._set_marks(self.account.positions, self.mark, now_ms, solvent=True)

    def settle_at_last_price(self, name: str, time_ms: int) -> OrderReport:
        """Close a position at the last known mark, as a venue settles a delisted instrument; the taker fee applies."""
        self.sync_marks()
        lots, mark = self.account.lots(name), self.exchange.marks[name]
        client_id = f"{time_ms // 1000:x}-{name}-settlement"
        order = Order(
            client_id, name, Side.of(-lots), abs(lots), reduce_only=True, purpose=Purpose.SETTLEMENT
        )
        self.exchange.quote(name, mark, mark, time_ms)
        report = self.exchange.submit(self.name, order, time_ms)
        self._withdraw_quotes([name], time_ms)
        self._absorb()
        return report

    # The parts of a bar

    def _submit(self, order: Order, bar: Bar, time_ms: int) -> OrderReport:
        column = self.columns[order.instrument]
        price = float(bar.open[column])
        if not price > 0:
            reason = "No price in this bar."
            return OrderReport(time_ms, 0, order, OrderStatus.REJECTED, reason=reason)
        if order.trigger is not None:
            return self.exchange.submit(self.name, order, time_ms)
        self._quote(column, price, order.lots, bar, time_ms)
        report = self.exchange.submit(self.name, order, time_ms)
        self._withdraw_quotes([order.instrument], time_ms)
        return report

    def _fire_triggers(self, bar: Bar) -> None:
        waiting = [report for report in self.open_orders if report.status is OrderStatus.WAITING]
        waiting.sort(key=lambda report: (report.order.purpose is not Purpose.STOP, report.order_id))
        for report in waiting:
            order, column = report.order, self.columns[report.order.instrument]
            opened = float(bar.open[column])
            gone = report.order_id not in self.exchange.open_ids(self.name)
            if gone or order.trigger is None or not opened > 0:
                continue
            level = float(order.trigger.price)
            rising = (order.side is Side.BUY) == (order.trigger.kind is TriggerKind.STOP)
            if (bar.high[column] < level) if rising else (bar.low[column] > level):
                continue
            self._quote(column, level, order.lots, bar, bar.end_ms)
            self.exchange.set_marks({order.instrument: order.trigger.price}, bar.end_ms)
            self._withdraw_quotes([order.instrument], bar.end_ms)

    def _trade_through(self, bar: Bar) -> None:
        for report in self.exchange.open_orders(self.name):
            column = self.columns[report.order.instrument]
            if report.status is OrderStatus.RESTING and bar.open[column] > 0:
                low, high = exact(bar.low[column]), exact(bar.high[column])
                self.exchange.trade_through(report.order.instrument, low, high, bar.end_ms)

    def _in_danger(self, low: FloatArray, high: FloatArray) -> bool:
        """Whether prices between these and a settlement could liquidate anything; never False when they could.

        The bound takes every position in its highest margin tier and its funding at the cap, all at worst prices.
        An unknown price is a danger.
        """
        longs, shorts = self._longs_after_margin, self._shorts_after_margin
        spare = float(self.account.cash_usd) + float(np.dot(longs, low) + np.dot(shorts, high))
        if self._isolated:
            worst = np.where(self.size > 0, low, high)
            for name, column in self._isolated.items():
                backed = float((longs[column] + shorts[column]) * worst[column])
                if not backed + float(self.account.positions[name].cash_usd) > 0:
                    return True
                spare -= backed
        return not spare > 0

    def _mark_at_worst(self, bar: Bar) -> None:
        """Mark every position at its worst price of the bar, with a market there to be liquidated into."""
        worst = np.where(self.size > 0, bar.low, bar.high)
        held = list(self.account.positions)
        for name in held:
            self._quote(
                self.columns[name], float(worst[self.columns[name]]), self.account.lots(name), bar, bar.end_ms
            )
        before: dict[str, int] = {}
        while (lots := {name: position.lots for name, position in self.account.positions.items()}) != before:
            before = lots  # what a partial liquidation left falls due again within the same bar
            self._set_marks(held, worst, bar.end_ms)
        self._withdraw_quotes(held, bar.end_ms)

    def _settle(self, bar: Bar, solvent: bool) -> None:
        """Mark at the bar's end and settle funding, at once for the whole book where nothing can be liquidated."""
        quoted = self._quote_open_orders(bar, bar.mark, bar.end_ms)
        if quoted or not solvent:
            before = self.lots
            self._set_marks((*self.account.positions, *quoted), bar.mark, bar.end_ms)
            self._withdraw_quotes(quoted, bar.end_ms)
            self._absorb()
            solvent = solvent and self.lots is before
        else:
            self._marks_are_behind = True
        if not (solvent and not self._isolated and self._settle_at_once(bar)):
            self.sync_marks()
            self._settle_each(bar)

    def _settle_at_once(self, bar: Bar) -> bool:
        rate = bar.funding_rate
        if not bar.all_paid:
            rate = np.clip(np.where(self.lots, rate, 0.0), -self._cap, self._cap)
            if np.isnan(rate).any():
                return False
        settled = FundingRound.of(bar.end_ms, self.instruments, self.lots, self.size, bar.oracle, rate)
        if settled is None:
            return False
        self.exchange.pay_funding(self.name, settled.usd, bar.end_ms)
        self._events.append(settled)
        return True

    def _settle_each(self, bar: Bar) -> None:
        rates, oracles, marks = {}, {}, self.exchange.marks
        for name in self.account.positions:
            column = self.columns[name]
            rate, oracle = float(bar.funding_rate[column]), float(bar.oracle[column])
            if isnan(rate):
                self.unpaid_hours += 1
                continue
            rates[name] = exact(rate)
            oracles[name] = marks[name] if oracle == bar.mark[column] else exact(oracle)
        self.exchange.settle_funding(rates, oracles, bar.end_ms)
        self._absorb()

    # Quotes, marks and mirrors

    def _quote(self, column: int, price: float, lots: int, bar: Bar, time_ms: int) -> None:
        """Let the outside market bid and offer around `price`, as far from it as an order of `lots` would move it."""
        cost = self.frictions.cost(abs(lots) * self._lot[column] * price, float(bar.volume_usd[column]))
        bid, ask = (
            (exact(price),) * 2 if cost == 0 else (exact(price * (1 - cost)), exact(price * (1 + cost)))
        )
        self.exchange.quote(self.instruments[column].name, bid, ask, time_ms)

    def _quote_open_orders(self, bar: Bar, prices: FloatArray, time_ms: int) -> list[str]:
        """A market at `prices` for every instrument with open orders, if it reaches any, so that they can trade."""
        sizes: dict[str, int] = {}
        reports = self.open_orders
        if not self._levels.reached(prices, prices):
            return []
        for report in reports:
            sizes[report.order.instrument] = max(sizes.get(report.order.instrument, 0), report.order.lots)
        quoted = [name for name in sizes if prices[self.columns[name]] > 0]
        for name in quoted:
            self._quote(self.columns[name], float(prices[self.columns[name]]), sizes[name], bar, time_ms)
        return quoted

    def _withdraw_quotes(self, names: Iterable[str], time_ms: int) -> None:
        for name in names:
            self.exchange.quote(name, None, None, time_ms)

    def _set_marks(
        self, names: Iterable[str], prices: FloatArray, time_ms: int, solvent: bool = False
    ) -> None:
        columns = self.columns
        marks = {name: exact(price) for name in names if (price := float(prices[columns[name]])) > 0}
        if marks:
            self.exchange.set_marks(marks, time_ms, solvent=solvent)

    def _absorb(self) -> None:
        """Take over what the exchange reports, and bring the vectors up to date with it."""
        for account, event in self.exchange.drain():
            if account == self.name:
                self._events.append(event)
                self._open_orders = None
                if type(event) is Fill:
                    self._mirror(event.instrument)

    def _mirror(self, name: str) -> None:
        column, position = self.columns[name], self.account.positions.get(name)
        lots = position.lots if position else 0
        size = lots * self._lot[column]
        self.lots, self.size = self.lots.copy(), self.size.copy()  # a snapshot may still hold the old ones
        self.lots[column] = lots
        self.size[column] = size
        after_margin = size - abs(size) * self._rate[column]
        self._longs_after_margin[column] = after_margin if size > 0 else 0.0
        self._shorts_after_margin[column] = after_margin if size < 0 else 0.0
        self.entry_price = self.entry_price.copy()
        self.entry_price[column] = float(position.entry_price) if position else 0.0
        self._isolated.pop(name, None)
        if position and position.margin_mode is MarginMode.ISOLATED:
            self._isolated[name] = column
