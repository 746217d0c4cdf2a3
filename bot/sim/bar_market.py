"""Time passes in bars: the simulated exchange driven by open, high, low and close instead of a live order flow.

At a bar's open everything is marked there and margin is called first; then resting orders that it reaches fill, the
triggers that it lies beyond fire, and what was decided at the last bar's end is filled, moved by half the spread and by the impact of its size on
the bar's volume. Within the bar the order of events is not known, so it is taken against the account: triggers fire
first, at their level, but not where the account would have been short of margin before; then resting orders that were
traded through fill at their limit; then every position is marked at its worst price at once and liquidated if that is
too much. Funding settles at the bar's end on what is still held. What orders trade is bounded by the bar's volume, what
the venue closes is not.
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
    TimeInForce,
    TriggerKind,
)
from bot.model.panel import FloatArray
from bot.sim.bars import LARGEST_COST, Bar, Frictions
from bot.sim.exchange import Exchange, Rules
from bot.sim.funding import FundingRound
from bot.sim.holdings import Holdings
from bot.sim.levels import Levels
from bot.sim.liquidity import Liquidity

VENUES_OWN = (Purpose.LIQUIDATION, Purpose.SETTLEMENT)

TapeEvent = OrderReport | Fill | FundingPayment | FundingRound | Liquidation


class BarMarket:
    """One account's trading on an exchange whose outside market comes in bars.

    Beside the exchange's exact books it keeps the account as vectors over the instruments: `holdings`, and `mark` as
    carried. `events` collects what happened, in order, until `take_events`.
    """

    def __init__(
        self, exchange: Exchange, account: str, instruments: Sequence[Instrument], frictions: Frictions
    ) -> None:
        self.exchange = exchange
        self.name = account
        self.account: Account = exchange.accounts[account]
        self.instruments = tuple(instruments)
        self.columns = {instrument.name: column for column, instrument in enumerate(instruments)}
        self.mark = np.zeros(len(self.instruments))
        self.leverage = np.array([float(exchange.leverage(account, i.name)[0]) for i in instruments])
        on_cross = np.array([exchange.leverage(account, i.name)[1] is MarginMode.CROSS for i in instruments])
        self._on_cross = None if on_cross.all() else on_cross
        self.unpaid_hours = 0  # settlements of held positions whose rate is unknown
        self.short_of_volume = 0  # times that an order found less volume than it asked for
        self._events: list[TapeEvent] = []
        self._untold: FloatArray | None = None  # marks of what is held that the exchange has not been told
        self._cap = float(exchange.rules.funding_cap_per_hour)
        self._dearest = LARGEST_COST + float(max(tier.taker for tier in exchange.rules.fees.tiers))
        self.liquidity = Liquidity(frictions, [float(instrument.lot) for instrument in instruments])
        self.holdings = Holdings(self.account, self.instruments, self.columns, self._cap)
        self._levels = Levels(len(self.instruments))
        self._open_orders: Sequence[OrderReport] | None = None

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
        return self.holdings.equity_usd(self.mark)

    @property
    def lots(self) -> LotsArray:
        """Signed lots held."""
        return self.holdings.lots

    @property
    def isolated_usd(self) -> FloatArray | None:
        """What backs each isolated position at the carried marks; NaN on cross margin, None where all are on it."""
        return None if self._on_cross is None else self.holdings.isolated_usd(self._on_cross, self.mark)

    @property
    def view(self) -> AccountView:
        """The account as a decision looks at it."""
        held = self.holdings
        return AccountView(
            self.equity_usd, held.lots, held.entry_price, self.leverage, self.open_orders, self.isolated_usd
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
        opening = self._opening(bar)
        danger = self.holdings.in_danger(opening, opening)
        if not (plan.orders or danger or self._reached(bar.open)):
            return []
        if danger:
            self.sync_marks()  # what has no price in this bar keeps its last one
            self._call_margin(bar, bar.open, time_ms)
        met = self._meet_open_orders(bar, bar.open, time_ms)
        funded = not met and not danger and self._can_fund(plan.orders, opening)
        names = [*met, *(order.instrument for order in plan.orders)]
        if not funded:
            names += self.account.positions
        self._set_marks(names, opening, time_ms, solvent=not met and not danger)
        self._untold = opening if funded else None
        self.exchange.withdraw_quotes(met)
        self._absorb()
        reports = [self._submit(order, bar, time_ms, funded) for order in plan.orders]
        self._absorb()
        return reports

    def close(self, bar: Bar) -> None:
        """Live through the rest of the bar: triggers, resting orders, liquidation, then funding at its end."""
        danger = self.holdings.in_danger(bar.low, bar.high)
        if danger and self.holdings.in_danger(opening := self._opening(bar), opening):
            self.sync_marks()
            self._call_margin(bar, bar.open, bar.start_ms)
        if self.open_orders and self._levels.reached(bar.low, bar.high):
            self.sync_marks()
            self._fire_triggers(bar)
            self._trade_through(bar)
            danger = self.holdings.in_danger(bar.low, bar.high)
        if danger:
            self._call_margin(bar, np.where(self.lots > 0, bar.low, bar.high), bar.end_ms)
        self.mark = bar.mark
        if self.account.positions:
            self._settle(bar, solvent=not danger)
        self.liquidity.taken.clear()

    def sync_marks(self) -> None:
        """Tell the exchange the marks of what is held, where nobody has needed them since the last bar."""
        marks, self._untold = self._untold, None
        if marks is not None:
            self._set_marks(self.account.positions, marks, self.exchange.now_ms, solvent=True)

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
        self.exchange.withdraw_quotes((name,))
        self._absorb()
        return report

    # The parts of a bar

    def _opening(self, bar: Bar) -> FloatArray:
        """The marks at the open: what has no price in this bar keeps its last one."""
        return bar.open if bar.all_open else np.where(bar.open > 0, bar.open, self.mark)

    def _can_fund(self, orders: Sequence[Order], prices: FloatArray) -> bool:
        """Whether it is plain that all these orders find the initial margin that they need; nothing else may rest."""
        if any(report.status is OrderStatus.RESTING for report in self.open_orders):
            return False
        return self.holdings.can_fund(orders, prices, self.leverage, self._dearest)

    def _submit(self, order: Order, bar: Bar, time_ms: int, funded: bool) -> OrderReport:
        column = self.columns[order.instrument]
        price = float(bar.open[column])
        if not price > 0:
            return OrderReport(time_ms, 0, order, OrderStatus.REJECTED, reason="No price in this bar.")
        if order.trigger is not None:
            return self.exchange.submit(self.name, order, time_ms)
        if self.liquidity.bounds(bar):
            self._absorb()  # what the orders before it have taken
        posted = order.time_in_force is TimeInForce.ALO  # it only has to see whether it would take
        self._offer(column, price, order.lots, bar, time_ms, order.reduce_only, in_full=posted)
        report = self.exchange.submit(self.name, order, time_ms, funded=funded)
        self.exchange.withdraw_quotes((order.instrument,))
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
            marks = {**self.exchange.marks, order.instrument: order.trigger.price}
            if self.account.is_short(order.instrument, marks):
                continue  # liquidation was there before
            self._offer(column, level, order.lots, bar, bar.end_ms, order.reduce_only)
            self.exchange.set_marks({order.instrument: order.trigger.price}, bar.end_ms)
            self.exchange.withdraw_quotes((order.instrument,))
            self._absorb()

    def _trade_through(self, bar: Bar) -> None:
        resting = (each.order.instrument for each in self.open_orders if each.status is OrderStatus.RESTING)
        for name in dict.fromkeys(resting):
            column = self.columns[name]
            opened = float(bar.open[column])
            if opened > 0:
                left = self.liquidity.left(column, opened, bar, reducing=False)
                low, high = exact(bar.low[column]), exact(bar.high[column])
                self.exchange.trade_through(name, low, high, bar.end_ms, lots=left)
        self._absorb()

    def _call_margin(self, bar: Bar, prices: FloatArray, time_ms: int) -> None:
        """Mark every position at `prices`, with a market there to be liquidated into, until nothing falls due."""
        held = [name for name in self.account.positions if prices[self.columns[name]] > 0]
        for name in held:
            column = self.columns[name]
            self._offer(column, float(prices[column]), self.account.lots(name), bar, time_ms, in_full=True)
        marks = {name: exact(prices[self.columns[name]]) for name in held}
        before: dict[str, int] = {}
        while (lots := {name: position.lots for name, position in self.account.positions.items()}) != before:
            before = lots  # what a partial liquidation left falls due again within the same bar
            self.exchange.call_margin(marks, time_ms)
        self.exchange.withdraw_quotes(held)
        self._absorb()

    def _settle(self, bar: Bar, solvent: bool) -> None:
        """Mark at the bar's end and settle funding, at once for the whole book where nothing can be liquidated."""
        met = self._meet_open_orders(bar, bar.mark, bar.end_ms)
        if met or not solvent:
            before = self.lots
            self._set_marks((*self.account.positions, *met), bar.mark, bar.end_ms)
            self._untold = None
            self.exchange.withdraw_quotes(met)
            self._absorb()
            solvent = solvent and self.lots is before
        else:
            self._untold = bar.mark
        if not (solvent and not self.holdings.isolated and self._settle_at_once(bar)):
            self.sync_marks()
            self._settle_each(bar)

    def _settle_at_once(self, bar: Bar) -> bool:
        rate = bar.funding_rate
        if not bar.all_paid:
            rate = np.clip(np.where(self.lots, rate, 0.0), -self._cap, self._cap)
            if np.isnan(rate).any():
                return False
        settled = FundingRound.of(
            bar.end_ms, self.instruments, self.lots, self.holdings.size, bar.oracle, rate
        )
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

    def _offer(
        self,
        column: int,
        price: float,
        lots: int,
        bar: Bar,
        time_ms: int,
        reducing: bool = False,
        in_full: bool = False,
    ) -> None:
        """Let the outside market trade around `price`, as far from it as an order of `lots` moves it.

        It has what the bar's volume has left, unless it must be good for `lots` in full.
        """
        left = None if in_full else self.liquidity.left(column, price, bar, reducing)
        traded = abs(lots)
        if left is not None and left < traded:
            self.short_of_volume += 1
            traded = left
        bid, ask = self.liquidity.around(column, price, traded, bar)
        self.exchange.offer(self.instruments[column].name, bid, ask, left, time_ms)

    def _reached(self, prices: FloatArray) -> list[Order]:
        """The open orders of coins with a price, if prices reach any at all."""
        reports = self.open_orders
        if not self._levels.reached(prices, prices):
            return []
        return [report.order for report in reports if prices[self.columns[report.order.instrument]] > 0]

    def _meet_open_orders(self, bar: Bar, prices: FloatArray, time_ms: int) -> list[str]:
        """Fill the resting orders that `prices` reach and offer triggers a market; the instruments looked at."""
        reached = self._reached(prices)
        if not reached:
            return []
        self.sync_marks()
        resting: dict[str, int] = {}
        waiting: dict[str, list[Order]] = {}
        for order in reached:
            if order.trigger is None:
                resting[order.instrument] = max(resting.get(order.instrument, 0), order.lots)
            else:
                waiting.setdefault(order.instrument, []).append(order)
        for name, lots in resting.items():
            column = self.columns[name]
            price = float(prices[column])
            left = self.liquidity.left(column, price, bar, reducing=False)
            bid, ask = self.liquidity.around(column, price, lots if left is None else min(lots, left), bar)
            self.exchange.trade_through(name, ask, bid, time_ms, lots=left, touching=True)
        self._absorb()
        for name, orders in waiting.items():
            column, largest = self.columns[name], max(order.lots for order in orders)
            reducing = all(order.reduce_only for order in orders)
            self._offer(column, float(prices[column]), largest, bar, time_ms, reducing)
        return [*resting, *waiting]

    def _set_marks(
        self, names: Iterable[str], prices: FloatArray, time_ms: int, solvent: bool = False
    ) -> None:
        columns = self.columns
        marks = {name: exact(price) for name in names if (price := float(prices[columns[name]])) > 0}
        if marks:
            self.exchange.set_marks(marks, time_ms, solvent=solvent)

    def _absorb(self) -> None:
        """Take over what the exchange reports, and bring the vectors up to date with it."""
        events = self.exchange.drain()
        if not events:
            return
        self._open_orders = None
        traded: set[str] = set()
        for account, event in events:
            if account == self.name:
                self._events.append(event)
                if type(event) is Fill:
                    traded.add(event.instrument)
                    if event.purpose not in VENUES_OWN:
                        self.liquidity.take(self.columns[event.instrument], event.lots)
        if traded:
            self.holdings.update(traded)
