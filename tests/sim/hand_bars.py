"""Bars and orders by hand for the tests of trading in bars: two coins of 5 % maintenance margin, no fees, no frictions."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from bot.model.account import MarginMode
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument, simple_instrument
from bot.model.order import (
    Fill,
    FundingPayment,
    Liquidation,
    Order,
    OrderReport,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    TriggerKind,
)
from bot.model.panel import HOUR_MS, FloatArray
from bot.sim.bar_market import BarMarket
from bot.sim.bars import Bar, Frictions
from bot.sim.exchange import FeeSchedule, Rules
from bot.sim.funding import FundingRound

D = Decimal
FREE = Rules(fees=FeeSchedule.flat(D(0), D(0)))
AAA, BBB = simple_instrument("AAA", 0, 10), simple_instrument("BBB", 0, 10)  # maintenance 5 %
SMOOTH = Frictions(half_spread_bps=0.0, impact_bps=0.0)
NONE = OrderPlan()

Price = float | Sequence[float] | FloatArray


def opened(
    *,
    equity: int = 100_000,
    rules: Rules = FREE,
    frictions: Frictions = SMOOTH,
    mode: MarginMode = MarginMode.CROSS,
    instruments: Sequence[Instrument] = (AAA, BBB),
) -> BarMarket:
    return BarMarket.opened("me", instruments, rules, frictions, D(equity), 10, mode, 0)


def row(value: Price) -> FloatArray:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), 2).copy()


def bar(
    hour: int,
    close: Price = 100.0,
    *,
    start: Price | None = None,
    high: Price | None = None,
    low: Price | None = None,
    oracle: Price | None = None,
    funding: Price = 0.0,
    volume: Price | None = None,
) -> Bar:
    """The bar of an hour; it opens at its close and has no wicks unless said otherwise."""
    mark = row(close)
    begin = mark if start is None else row(start)
    return Bar(
        hour * HOUR_MS,
        (hour + 1) * HOUR_MS,
        begin,
        np.fmax(begin, mark) if high is None else row(high),
        np.fmin(begin, mark) if low is None else row(low),
        mark,
        mark if oracle is None else row(oracle),
        row(funding),
        None if volume is None else row(volume),
    )


def take(lots: int, of: str = "AAA", **more: Any) -> Order:
    return Order(f"{of}{lots}", of, Side.of(lots), abs(lots), **more)


def rest(lots: int, price: str, of: str = "AAA") -> Order:
    return take(lots, of, limit_price=D(price), time_in_force=TimeInForce.GTC)


def guard(lots: int, level: str, purpose: Purpose = Purpose.STOP, of: str = "AAA") -> Order:
    kind = TriggerKind.STOP if purpose is Purpose.STOP else TriggerKind.TAKE_PROFIT
    return take(lots, of, reduce_only=True, trigger=Trigger(kind, D(level)), purpose=purpose)


def traded(market: BarMarket, first: Bar, *orders: Order) -> list[OrderReport]:
    """Carry out orders at a bar's open and live through it; what happened so far is forgotten."""
    reports = market.open(first, OrderPlan(orders=orders))
    market.close(first)
    market.take_events()
    return reports


def story(market: BarMarket) -> list[tuple[Any, ...]]:
    """What happened since, without the reports: fills, payments and liquidations in their order."""
    told: list[tuple[Any, ...]] = []
    for event in market.take_events():
        if isinstance(event, Fill):
            told.append((event.purpose.value, event.instrument, event.signed_lots, event.price))
        elif isinstance(event, Liquidation):
            told.append((event.kind, event.instrument, event.lots, event.price))
        elif isinstance(event, FundingRound):
            told += [("funding", one.instrument, one.lots, one.usd) for _, one in event.payments()]
        elif isinstance(event, FundingPayment):
            told.append(("funding", event.instrument, event.lots, event.usd))
    return told
