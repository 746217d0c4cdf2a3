"""A market of one coin on two venues, an account that outlives its traders, and what can go wrong with the second leg.

The venue is the simulated one; it lives on when a trader dies, and tells again what the journal does not hold yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from bot.errors import OutcomeUnknown, Unavailable, VenueError
from bot.journal.journal import Journal
from bot.model.account import MarginMode
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument, Kind, MarginTier, simple_instrument, spot_instrument
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side
from bot.model.panel import FloatArray, Grid, Panel
from bot.model.spread import Spread
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot
from bot.sim.bars import Frictions
from bot.sim.exchange import Rules
from bot.trader.pairs import Pairs
from bot.trader.trader import Trader
from bot.venues.simulated import SimulatedVenue, Terms
from bot.venues.sources import ReplaySource
from bot.venues.venue import AccountState, Condition, VenueEvent
from tests.pipeline.saying import Says

HERE = simple_instrument("BTC", 5, 40)
THERE = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 40),), venue="binance")
SPREAD = Spread(HERE, THERE)
COINS = spot_instrument("UBTC/USDC", 5, "UBTC")
CAP_USD = 4_000.0
PRICE = 100_000.0
HOURS = 60
INF = float("inf")
LOOSE = Limits(
    max_position_share=INF, max_gross_leverage=INF, max_net_leverage=INF, max_open_interest_share=INF,
    max_volume_share=INF, min_free_margin=-INF, min_liquidation_distance=0.0, stress_loss=INF,
    max_daily_loss=1.0, max_drawdown=1.0,
)  # fmt: skip


class Crash(BaseException):
    """The process dies."""


def market(
    prices: Sequence[float] = (PRICE,) * HOURS,
    hedge: Instrument = THERE,
    funding: tuple[float, float] = (1e-5, 1e-5),
) -> ReplaySource:
    """Both venues at the same price, hour by hour; every bar opens where the one before closed."""
    close = np.array([[price, price] for price in prices], dtype=np.float64)
    opened = np.vstack([close[:1], close[:-1]])
    fields = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "mark": close,
        "funding_rate": np.full(close.shape, 1.0) * funding,
        "volume_usd": np.full(close.shape, 1e9) * [1.0, 2.0],
    }
    panel = Panel(Grid(473_352, len(prices)), (HERE.name, hedge.name), fields)
    return ReplaySource(panel, (HERE, hedge), 10, 10, {"recorded": "two legs"})


@dataclass
class Faults:
    """What happens to the orders that are sent: by the number of the order, counted from 1 over all lives."""

    of: Mapping[int, str] = field(default_factory=dict)
    crash_after: int = 0
    leg: str = ""  # else only those of this leg count

    def of_number(self, number: int) -> str:
        return self.of.get(number, "")


class TwoLegs(SimulatedVenue):
    """The venue. `seen` is what was unhedged after each order, in coins; `told` all events, of which the first `heard` were read."""

    def __init__(
        self, source: ReplaySource, faults: Faults, leverage: int = 5, coin_fee: float = 0.0
    ) -> None:
        terms = Terms(
            Decimal(100_000), Rules(), Frictions(0.0, 0.0), leverage=leverage, margin_mode=MarginMode.ISOLATED
        )
        super().__init__(source, terms)
        self.spread = Spread(*source.instruments)
        self.coin_fee = coin_fee  # of what is bought on a spot market, in lots that never arrive
        self.faults, self.numbered = faults, 0
        self.seen: list[Fraction] = []
        self.told: list[VenueEvent] = []
        self.heard = 0
        self._panel: Panel | None = None
        self.looks_unhedged = 0
        self.blind = 0  # looks that fail from now on
        self.looks_stale = 0  # looks that tell `before`, as a venue of several is counted that can't be asked
        self.before: AccountState | None = None

    async def open(self, checkpoint: Mapping[str, Any] | None) -> Panel:
        if self._panel is None:
            self._panel = await super().open(None)
        self.heard = 0 if checkpoint is None else int(checkpoint["heard"])
        return self._panel

    def checkpoint(self) -> Mapping[str, Any]:
        return {"heard": self.heard}

    def take_events(self) -> tuple[VenueEvent, ...]:
        self.told += super().take_events()
        if self.looks_stale:
            return ()  # what it would tell of is not in the account yet
        new, self.heard = tuple(self.told[self.heard :]), len(self.told)
        return new

    async def observe(self) -> Any:
        seen = await super().observe()
        if seen is not None and self._panel is not None:
            self._panel = self._panel.append(seen.time_ms, seen.row, 10)
        return seen

    @property
    def unhedged(self) -> Fraction:
        lots = self._ready().lots
        return self.spread.unhedged(int(lots[0]), int(lots[1]))

    async def condition(self) -> Condition:
        self.told += super().take_events()
        return Condition(has_traded=self.heard < len(self.told))

    async def account(self) -> AccountState:
        if self.blind:
            self.blind -= 1
            raise Unavailable("the account can't be asked")
        if self.looks_stale and self.before is not None:
            self.looks_stale -= 1
            return self.before
        account = await super().account()
        self.looks_unhedged = self.looks_unhedged + 1 if abs(self.unhedged) >= self.spread.step else 0
        return account

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        reports: list[OrderReport] = []
        if plan.cancels:
            reports += await super().send(OrderPlan(plan.cancels))
        for order in plan.orders:
            if self.faults.leg in ("", order.instrument):
                self.numbered += 1
                reports += await self._one(order, self.faults.of_number(self.numbered))
                self.seen.append(self.unhedged)
                if self.numbered == self.faults.crash_after:
                    raise Crash
            else:
                reports += await super().send(OrderPlan((), (order,)))
                self.seen.append(self.unhedged)
        return reports

    async def _one(self, order: Order, fault: str) -> Sequence[OrderReport]:
        kind, _, much = fault.partition(" ")
        (leg,) = (each for each in self.spread.legs if each.name == order.instrument)
        if leg.kind is Kind.SPOT:
            # Such a market takes no order of less than its least, not even to close; and its fee comes out of the coins.
            if order.lots * PRICE / leg.lots_per_coin < leg.min_order_usd:
                kind = "rejected"
            elif order.side is Side.BUY:
                order = replace(order, lots=order.lots - ceil(order.lots * self.coin_fee))
        if kind == "rejected":
            report = OrderReport(self._bar_ms, 0, order, OrderStatus.REJECTED, reason="insufficient margin")
            self.told.append(report)
            return [report]
        if kind == "partial":
            part = max(1, order.lots * int(much) // 100)
            return await super().send(OrderPlan((), (replace(order, lots=part),))) if int(much) else ()
        if kind in {"unavailable", "rate_limited", "venue_down"}:
            raise Unavailable(f"the venue does not answer ({kind})")
        if kind == "blind":  # carried out, and then nobody can look
            self.blind = int(much)
            return await super().send(OrderPlan((), (order,)))
        if kind == "stale":  # carried out, and the account goes on telling what was before
            self.before, self.looks_stale = replace(await super().account(), stale=(leg.venue,)), int(much)
            return await super().send(OrderPlan((), (order,)))
        if kind == "raised_late":  # carried out, and what came after it failed
            await super().send(OrderPlan((), (order,)))
            raise Unavailable("the fills can't be asked for")
        if kind == "lost_request":
            raise OutcomeUnknown("no answer within 10 s")
        if kind == "lost_reply":
            await super().send(OrderPlan((), (order,)))
            raise OutcomeUnknown("no answer within 10 s")
        return await super().send(OrderPlan((), (order,)))

    @property
    def _bar_ms(self) -> int:
        return 0 if self._bar is None else self._bar.start_ms

    def bite(self, leg: Instrument, lots: int) -> None:
        """The venue takes a part of a position, without an order of ours."""
        assert self._bar is not None
        market = self._ready()
        market.sync_marks()
        side = Side.of(-market.account.lots(leg.name))
        order = Order(
            f"{lots}-{leg.name}-bite", leg.name, side, lots, reduce_only=True, purpose=Purpose.SETTLEMENT
        )
        mark = market.exchange.marks[leg.name]
        market.exchange.quote(leg.name, mark, mark, self._bar.start_ms)
        market.exchange.submit(market.name, order, self._bar.start_ms)
        market.exchange.withdraw_quotes((leg.name,))
        market._absorb()

    def take_away(self, name: str) -> None:
        """The venue closes a position: delisted, or to cover what another could not pay."""
        assert self._bar is not None
        self._ready().settle_at_last_price(name, self._bar.start_ms)


WALLETS = {"hyperliquid": 8_000.0, "binance": 92_000.0}


class Apart(TwoLegs):
    """Each leg has a wallet of its own, on cross margin, and a person may move money between the two."""

    moved = 0.0

    def _state(self, mark: FloatArray) -> AccountState:
        state = super()._state(mark)
        wallets = {
            name: usd + self.moved * (1 if name == HERE.wallet else -1) for name, usd in WALLETS.items()
        }
        for each in state.positions:
            wallets[each.instrument.wallet] += float(each.unrealised_usd)
        positions = tuple(replace(each, margin_mode=MarginMode.CROSS) for each in state.positions)
        return replace(
            state, positions=positions, view=replace(state.view, isolated_usd=None, wallet_usd=wallets)
        )


def mandate(score: float, cap_usd: float = CAP_USD, spread: Spread = SPREAD) -> Mandate:
    """The spread short, or not at all: a fifth of the account."""
    return Mandate(
        (Slot("carry", Says(score), 1.0, spreads=(spread,)),),
        Sizing(position_size=0.2, no_trade_band=0.1, cooldown_h=1),
        LOOSE,
        Execution(
            max_unhedged_usd=cap_usd, hedge_attempts=3, slippage_bps=20.0, unstopped=frozenset(each.name for each in spread.legs)
        ),
    )  # fmt: skip


async def no_pause(_: float) -> None:
    """Time is not what is tested."""


async def live(
    journal: Journal,
    venue: TwoLegs,
    told: Mandate,
    steps: int,
    between: Callable[[Trader], None] | None = None,
) -> Trader:
    """A trader's life of so many steps: a cycle, or what is to be finished, as the schedule drives it."""
    config = {"version": 1, "name": "two legs", "mode": "paper"}
    trader = Trader("two legs", venue, told, journal, config)
    trader.pairs = Pairs(told, venue.instruments, no_pause)
    await trader.start()
    for _ in range(steps):
        try:
            await trader.watch()
            if not await trader.cycle():
                break
        except VenueError:
            trader.failed()
        if between is not None:
            between(trader)
    return trader


def lives(path: Path, venue: TwoLegs, told: Mandate, steps: int) -> tuple[Trader, int]:
    """Traders on one journal, a new one for each that dies, until one has lived its steps; and how many died."""
    import asyncio

    died = 0
    while True:
        with Journal.open(path) as journal:
            try:
                return asyncio.run(live(journal, venue, told, steps)), died
            except Crash:
                died += 1
                venue.faults.crash_after = 0
            except (
                Unavailable
            ):  # a start whose question is not answered ends; whoever supervises it starts it again
                continue
