"""The simulated venue in this process: the exchange of `bot.sim` over a market whose bars come from a source.

A bar is in progress from the moment it opens: what is sent trades at its open, and `observe` lives through the rest of
it. That is the backtest's order of events, so a replayed recording gives the same fills, payments and books.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import structlog

from bot.errors import Refused
from bot.model.account import Account, MarginMode
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument
from bot.model.money import usd
from bot.model.order import OrderReport
from bot.model.panel import HOUR_MS, FloatArray, Panel
from bot.sim.bar_market import BarMarket
from bot.sim.bars import Bar, Frictions, bar_of
from bot.sim.exchange import Exchange, Rules
from bot.sim.funding import FundingRound, made_out
from bot.venues.edge import check_version
from bot.venues.sources import Row, Source
from bot.venues.venue import AccountState, Condition, HeldPosition, Observation, VenueEvent

log = structlog.get_logger("hedgerow")

ACCOUNT = "trader"
STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Terms:
    """What the account begins with, and how the venue charges. A coin silent for over `max_gap_h` is settled."""

    equity_usd: Decimal = Decimal(100_000)
    rules: Rules = field(default_factory=Rules)
    frictions: Frictions = field(default_factory=Frictions)
    leverage: int = 5
    margin_mode: MarginMode = MarginMode.CROSS
    max_gap_h: int = 24


class SimulatedVenue:
    """One account on the simulated exchange; `observe` moves time on by a bar."""

    def __init__(self, source: Source, terms: Terms) -> None:
        self._source, self._terms = source, terms
        self._market: BarMarket | None = None
        self._bar: Bar | None = None
        self._row: Row | None = None
        self._silent_h = np.zeros(len(source.instruments), np.int64)
        self._source_state: Mapping[str, Any] = {}

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The market's."""
        return self._source.instruments

    @property
    def identity(self) -> Mapping[str, Any]:
        """The market, and the opening balance that the books rest on."""
        return {
            "venue": "simulated",
            **self._source.identity,
            "opening_equity_usd": str(self._terms.equity_usd),
        }

    async def open(self, checkpoint: Mapping[str, Any] | None) -> Panel:
        """Open the account, or restore it with its orders and the bar that was in progress."""
        check_version(checkpoint, STATE_VERSION)
        panel = self._source.begin(None if checkpoint is None else checkpoint["source"])
        if checkpoint is None:
            terms = self._terms
            self._market = BarMarket.opened(
                ACCOUNT,
                self.instruments,
                terms.rules,
                terms.frictions,
                terms.equity_usd,
                terms.leverage,
                terms.margin_mode,
                panel.grid.end_ms,
            )
            self._market.mark = np.nan_to_num(panel.mark.values[-1])
        else:
            exchange = Exchange.restore(self.instruments, self._terms.rules, checkpoint["exchange"])
            self._apply_leverage(exchange)
            self._market = BarMarket(exchange, ACCOUNT, self.instruments, self._terms.frictions)
            self._market.mark = np.array(checkpoint["mark"], np.float64)
            self._market.liquidity.taken = dict(checkpoint.get("taken", ()))
            self._silent_h = np.array(checkpoint["silent_h"], np.int64)
        self._begin_bar(panel.grid.end_ms)
        return panel

    async def due(self) -> None:
        """Always: a bar passes when it is observed."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _apply_leverage(self, exchange: Exchange) -> None:
        """Leverage and margin mode as the terms say now; where that is refused, they stay as they were."""
        changed, kept = [], []
        for each in self.instruments:
            mode = MarginMode.ISOLATED if each.only_isolated else self._terms.margin_mode
            wanted = (min(self._terms.leverage, each.max_leverage), mode)
            if exchange.leverage(ACCOUNT, each.name) == wanted:
                continue
            try:
                exchange.set_leverage(ACCOUNT, each.name, *wanted, exchange.now_ms)
                changed.append(each.name)
            except Refused as refusal:
                kept.append(f"{each.name}: {refusal}")
        if changed or kept:
            wanted_now = f"{self._terms.leverage}× {self._terms.margin_mode.value}"
            log.warning("leverage changed", to=wanted_now, coins=", ".join(changed), kept="; ".join(kept))

    async def observe(self) -> Observation | None:
        """Live through the bar in progress and begin the next; None when a recording has ended."""
        market, bar, row = self._ready(), self._bar, self._row
        if bar is None or row is None:
            return None
        market.close(bar)
        self._silent_h = np.where(np.isfinite(row["mark"]), 0, self._silent_h + 1)
        for column in np.flatnonzero((self._silent_h > self._terms.max_gap_h) & (market.lots != 0)).tolist():
            market.settle_at_last_price(self.instruments[column].name, bar.end_ms)
        state = self._state(market.mark)
        self._begin_bar(bar.end_ms)
        return Observation(bar.end_ms, row, state, self.take_events())

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        """Trade at the open of the bar in progress; where the market has ended, nothing can be sent any more."""
        market = self._ready()
        if self._bar is None or not (plan or market.open_orders):
            return ()
        return market.open(self._bar, plan)

    async def account(self) -> AccountState:
        """The books now, at the prices of the bar in progress."""
        market = self._ready()
        if self._bar is None:
            return self._state(market.mark)
        return self._state(np.where(np.isfinite(self._bar.open), self._bar.open, market.mark))

    async def room(self) -> bool:
        """Nothing is limited here."""
        return False

    async def condition(self) -> Condition:
        """Nothing is needed to trade here."""
        return Condition()

    def take_events(self) -> tuple[VenueEvent, ...]:
        """Reports, fills, payments and liquidations, in order."""
        told = self._ready().take_events()
        return tuple(
            event
            for each in told
            for event in (made_out([each]) if isinstance(each, FundingRound) else (each,))
        )

    def checkpoint(self) -> Mapping[str, Any]:
        """The exchange, and how to come to the bar in progress again."""
        market = self._ready()
        market.sync_marks()
        return {
            "version": STATE_VERSION,
            "source": self._source_state,
            "exchange": market.exchange.state(),
            "mark": market.mark.tolist(),
            "taken": list(market.liquidity.taken.items()),
            "silent_h": self._silent_h.tolist(),
        }

    def _begin_bar(self, start_ms: int) -> None:
        self._source_state = self._source.state()
        self._row = self._source.next()
        market = self._ready()
        self._bar = (
            None
            if self._row is None
            else bar_of(
                start_ms,
                start_ms + HOUR_MS,
                self._row,
                market.mark,
                float(self._terms.rules.funding_cap_per_hour),
            )
        )

    def _ready(self) -> BarMarket:
        if self._market is None:
            raise ValueError("open() comes first")
        return self._market

    def _state(self, mark: FloatArray) -> AccountState:
        market = self._ready()
        market.sync_marks()
        exchange, account = market.exchange, market.account
        marks = {name: exchange.marks[name] for name in account.positions}
        return AccountState(
            view=market.view,
            mark=mark,
            equity_usd=usd(account.equity_usd(marks)),
            cash_usd=usd(account.cash_usd),
            deposits_usd=account.deposits_usd,
            funding_usd=account.funding_usd,
            fees_usd=account.fees_usd,
            positions=tuple(_held(account, name, marks) for name in account.positions),
        )


def _held(account: Account, name: str, marks: Mapping[str, Decimal]) -> HeldPosition:
    position, mark = account.positions[name], marks[name]
    return HeldPosition(
        instrument=position.instrument,
        lots=position.lots,
        entry_price=position.entry_price,
        mark=mark,
        notional_usd=usd(position.notional_usd(mark)),
        unrealised_usd=usd(position.unrealised_usd(mark)),
        liquidation_price=account.liquidation_price(name, marks),
        margin_mode=position.margin_mode,
        opened_ms=position.opened_ms,
    )
