"""Time passes in bars: the simulated exchange driven by open, high, low and close instead of a live order flow.

Orders decided at a bar's end are filled at the next bar's open, moved by half the spread and by the impact of their
size on the bar's volume. Within the bar the order of events is not known, so it is taken against the account:
triggers fire first (at their level, or at the open if it lies beyond), then resting orders that were traded through
fill at their limit, then every position is marked at its worst price at once and liquidated if that is too much.
Funding settles at the bar's end on what is still held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from bot.model.account import Account, MarginMode
from bot.model.decision import LotsArray, OrderPlan
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
from bot.model.panel import FloatArray, Panel
from bot.sim.exchange import Exchange

BPS = 1e-4
UNKNOWN_VOLUME_SHARE = 0.01  # of the bar's volume that an order is taken to be where the volume is unknown


TapeEvent = OrderReport | Fill | FundingPayment | Liquidation


@dataclass(frozen=True, slots=True)
class Frictions:
    """What trading at the open costs besides fees: half the spread, plus `impact_bps × √(order / bar volume)`."""

    half_spread_bps: float = 1.0
    impact_bps: float = 10.0

    def cost(self, order_usd: float, volume_usd: float) -> float:
        """Relative distance from the open at which an order of this size fills."""
        share = order_usd / volume_usd if volume_usd > 0 else UNKNOWN_VOLUME_SHARE
        return (self.half_spread_bps + self.impact_bps * float(share**0.5)) * BPS


@dataclass(slots=True)
class Bar:
    """One bar for all instruments, arrays of shape (instruments,); made anew for every bar, so not frozen.

    `open`, `funding_rate` and `volume_usd` are NaN where unknown. `low`, `high`, `mark` and `oracle` carry the last
    known mark over bars that are missing, and are 0 before an instrument's first.
    """

    start_ms: int
    end_ms: int
    open: FloatArray
    high: FloatArray
    low: FloatArray
    mark: FloatArray
    oracle: FloatArray
    funding_rate: FloatArray  # per hour, settled at end_ms
    volume_usd: FloatArray


class Bars:
    """A panel's rows as bars."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        mark = panel.mark.values
        rows = np.arange(panel.rows)[:, None]
        last = np.maximum.accumulate(np.where(np.isfinite(mark), rows, -1), axis=0)
        carried = np.where(last >= 0, np.take_along_axis(mark, np.maximum(last, 0), axis=0), 0.0)
        self.mark = carried
        self.silent_rows = np.where(last >= 0, rows - last, 0)  # bars since the price was last known
        self.open = panel.open.values
        self.low = _or_else(panel.low.values, carried)
        self.high = _or_else(panel.high.values, carried)
        own_oracle = "oracle" in panel.fields and panel.fields["oracle"] is not panel.fields["mark"]
        self.oracle = _or_else(panel.oracle.values, carried) if own_oracle else carried
        self.funding_rate = panel.funding_rate.values
        self.volume_usd = panel.volume_usd.values

    def at(self, row: int) -> Bar:
        end_ms, mark = self.panel.grid.time_ms(row), self.mark[row]
        return Bar(
            end_ms - self.panel.grid.interval_ms,
            end_ms,
            self.open[row],
            self.high[row],
            self.low[row],
            mark,
            mark if self.oracle is self.mark else self.oracle[row],
            self.funding_rate[row],
            self.volume_usd[row],
        )


def bar_of(start_ms: int, end_ms: int, row: Mapping[str, FloatArray], before: FloatArray) -> Bar:
    """One bar from a row of panel fields as they arrive; `before` are the marks carried so far."""
    mark = _or_else(row["mark"], before)
    unknown = np.full(mark.shape, np.nan)
    return Bar(
        start_ms,
        end_ms,
        row.get("open", unknown),
        _or_else(row.get("high", unknown), mark),
        _or_else(row.get("low", unknown), mark),
        mark,
        _or_else(row.get("oracle", unknown), mark),
        row.get("funding_rate", unknown),
        row.get("volume_usd", unknown),
    )


def _or_else(values: FloatArray, other: FloatArray) -> FloatArray:
    if values is other:
        return values
    known = np.isfinite(values)
    return values if known.all() else np.where(known, values, other)


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
        self.unpaid_hours = 0  # settlements of held positions whose rate is unknown
        self._events: list[TapeEvent] = []
        self._lot = np.array([float(instrument.lot) for instrument in instruments])
        cap = float(exchange.rules.funding_cap_per_hour)
        self._rate = np.array([max(float(rate) for _, rate, _ in i.maintenance) + cap for i in instruments])
        self._after_margin = np.zeros(
            width
        )  # size less the most that margin and funding can take of it, in coins
        self._isolated: dict[str, int] = {}
        for name in self.account.positions:
            self._mirror(name)

    @property
    def equity_usd(self) -> float:
        """Cash and positions at the carried marks."""
        equity = float(self.account.cash_usd) + float(self.size @ self.mark)
        return equity + sum(float(self.account.positions[name].cash_usd) for name in self._isolated)

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
        if not plan.orders and not open_ids:
            return []
        quoted = self._quote_open_orders(bar, bar.open, time_ms)
        ordered = (order.instrument for order in plan.orders)
        self._set_marks((*self.account.positions, *quoted, *ordered), bar.open, time_ms)
        self._withdraw_quotes(quoted, time_ms)
        reports = [self._submit(order, bar, time_ms) for order in plan.orders]
        self._absorb()
        return reports

    def close(self, bar: Bar) -> None:
        """Live through the rest of the bar: triggers, resting orders, liquidation, then funding at its end."""
        if self.exchange.open_ids(self.name):
            self._fire_triggers(bar)
            self._trade_through(bar)
            self._absorb()
        solvent = True
        if self.account.positions and self._in_danger(bar):
            solvent = False
            self._mark_at_worst(bar)
            self._absorb()
        self.mark = bar.mark
        if self.account.positions:
            self._settle(bar, solvent)
            self._absorb()

    def settle_at_last_price(self, name: str, time_ms: int) -> OrderReport:
        """Close a position at the last known mark, as a venue settles a delisted instrument; the taker fee applies."""
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
        reports = self.exchange.open_orders(self.name)
        waiting = [report for report in reports if report.status is OrderStatus.WAITING]
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

    def _in_danger(self, bar: Bar) -> bool:
        """Whether the bar's worst prices and its funding could liquidate anything; never False when they could.

        The bound takes every position in its highest margin tier and its funding at the cap, all at worst prices.
        """
        worst = np.where(self.size > 0, bar.low, bar.high)
        spare = float(self.account.cash_usd) + float(self._after_margin @ worst)
        for name, column in self._isolated.items():
            backed = float(self._after_margin[column] * worst[column])
            if backed + float(self.account.positions[name].cash_usd) <= 0:
                return True
            spare -= backed
        return spare <= 0

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
        rates, oracles = {}, {}
        quoted = self._quote_open_orders(bar, bar.mark, bar.end_ms)
        self._set_marks((*self.account.positions, *quoted), bar.mark, bar.end_ms, solvent and not quoted)
        self._withdraw_quotes(quoted, bar.end_ms)
        marks, columns = self.exchange.marks, self.columns
        oracle_is_mark = bar.oracle is bar.mark
        for name in self.account.positions:
            column = columns[name]
            rate = float(bar.funding_rate[column])
            if isnan(rate):
                self.unpaid_hours += 1
                continue
            rates[name] = exact(rate)
            oracles[name] = marks[name] if oracle_is_mark else exact(float(bar.oracle[column]))
        self.exchange.settle_funding(rates, oracles, bar.end_ms, solvent=solvent)

    # Quotes, marks and mirrors

    def _quote(self, column: int, price: float, lots: int, bar: Bar, time_ms: int) -> None:
        """Let the outside market bid and offer around `price`, as far from it as an order of `lots` would move it."""
        cost = self.frictions.cost(abs(lots) * self._lot[column] * price, float(bar.volume_usd[column]))
        bid, ask = (
            (exact(price),) * 2 if cost == 0 else (exact(price * (1 - cost)), exact(price * (1 + cost)))
        )
        self.exchange.quote(self.instruments[column].name, bid, ask, time_ms)

    def _quote_open_orders(self, bar: Bar, prices: FloatArray, time_ms: int) -> list[str]:
        """A market at `prices` for every instrument with open orders, so that what it reaches can trade."""
        if not self.exchange.open_ids(self.name):
            return []
        sizes: dict[str, int] = {}
        for report in self.exchange.open_orders(self.name):
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
                if type(event) is Fill:
                    self._mirror(event.instrument)

    def _mirror(self, name: str) -> None:
        column, position = self.columns[name], self.account.positions.get(name)
        lots = position.lots if position else 0
        size = lots * self._lot[column]
        self.lots = self.lots.copy()  # a snapshot may still hold the old one
        self.lots[column] = lots
        self.size[column] = size
        self._after_margin[column] = size - abs(size) * self._rate[column]
        self.entry_price[column] = float(position.entry_price) if position else 0.0
        self._isolated.pop(name, None)
        if position and position.margin_mode is MarginMode.ISOLATED:
            self._isolated[name] = column
