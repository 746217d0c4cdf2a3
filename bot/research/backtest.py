"""A strategy run over history: the daemon's own decisions, with the clock in our hands.

For each bar: trade at its open what was decided before it, live through it, settle funding at its end, then decide.
The same `decide`, exchange and bookkeeping run on paper; only the source of bars and the pace differ.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from bot.clock import utc
from bot.errors import DataError, StrategyError
from bot.model.account import MarginMode
from bot.model.decision import NO_ORDERS, AccountView, Decision, Memory
from bot.model.instrument import Instrument
from bot.model.money import ZERO, exact
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, OrderStatus
from bot.model.panel import FloatArray, Panel
from bot.pipeline.mandate import Mandate
from bot.pipeline.market import Prepared
from bot.reports.record import Curves, Deferred, Note, RunRecord, StrategyResult
from bot.reports.spreads import SpreadResults
from bot.research.assumptions import faults, modelled, refuse_gaps, volumes
from bot.sim.bar_market import BarMarket
from bot.sim.bars import Bar, Bars, Frictions
from bot.sim.exchange import Rules
from bot.sim.funding import FundingRound, made_out
from bot.sim.joint_market import JointMarket
from bot.trader.desk import Desk
from bot.trader.observer import late_opinions

ACCOUNT = "trader"
CHUNK_ROWS = 1024
COLLECT_AFTER = 20_000  # new objects

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Backtest:
    """What to run: a market, a mandate, and the venue's terms."""

    name: str
    panel: Panel
    instruments: tuple[Instrument, ...]
    mandate: Mandate
    equity_usd: Decimal = Decimal(100_000)
    rules: Rules = field(default_factory=Rules)
    frictions: Frictions = field(default_factory=Frictions)
    leverage: int = 5
    margin_mode: MarginMode = MarginMode.CROSS
    settle_gaps: bool = False  # else missing prices or funding refuse the run
    max_gap_h: int = 24
    first_row: int = 0  # decisions begin here; earlier rows only warm the signals up
    config: Mapping[str, object] = field(default_factory=dict)
    assumptions: Sequence[str] = ()
    wallets: Mapping[str, Decimal] = field(default_factory=dict)  # opening balances; none: all is one account
    wallet_rules: Mapping[str, Rules] = field(default_factory=dict)


def run(test: Backtest, progress: Progress | None = None) -> RunRecord:
    """Run it to the end.

    Raises DataError where data is missing and the test does not say what to do about it, and StrategyError where a
    strategy fails or gives an answer that can't be used.
    """
    began = time.perf_counter()
    if test.panel.rows - test.first_row < 2:
        raise DataError(
            f"{test.name}: a backtest needs at least two bars, found {test.panel.rows - test.first_row}"
        )
    if not test.settle_gaps:
        refuse_gaps(test.panel)
    runner = _Runner(test)
    with _seldom_collected():
        for row in range(test.first_row, test.panel.rows):
            runner.bar(row)
            if progress is not None and row % 256 == 0:
                progress(row - test.first_row, test.panel.rows - test.first_row)
    return runner.record(time.perf_counter() - began)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for cyclic garbage less often: a run makes many small values that are kept and hold no cycle.

    At Python's own thresholds the collector goes over the growing record of fills again and again, and finds nothing.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _opened(test: Backtest, time_ms: int) -> BarMarket | JointMarket:
    if test.wallets:
        return JointMarket.opened(
            ACCOUNT, test.instruments, test.wallet_rules, test.frictions, test.wallets, test.leverage, time_ms
        )
    return BarMarket.opened(
        ACCOUNT,
        test.instruments,
        test.rules,
        test.frictions,
        test.equity_usd,
        test.leverage,
        test.margin_mode,
        time_ms,
    )


class _Runner:
    """The loop's state: exchange, desk, and the curves as they grow."""

    def __init__(self, test: Backtest) -> None:
        self.test = test
        self.prepared = Prepared.of(test.panel, test.instruments, test.mandate)
        self.bars = Bars(test.panel, float(test.rules.funding_cap_per_hour))
        self.silent = self.bars.silent_rows > test.max_gap_h * 3_600_000 / test.panel.grid.interval_ms
        self.any_silent: list[bool] = np.any(self.silent, axis=1).tolist()
        start_ms = test.panel.grid.time_ms(test.first_row) - test.panel.grid.interval_ms
        self.market = _opened(test, start_ms)
        equity = float(test.equity_usd)
        memory = Memory.blank(len(test.mandate.strategies), len(test.instruments), equity)
        self.desk = Desk(test.mandate, test.instruments, memory)
        self.guarded = (
            test.mandate.execution.stop_loss is not None or test.mandate.execution.take_profit is not None
        )
        self.plan = NO_ORDERS
        self.fills: list[Fill] = []
        self.payments: list[FundingPayment | FundingRound] = []
        self.liquidations: list[Liquidation] = []
        self.told: list[Decision] = []
        self.findings: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.settled = 0
        self.given_up_ms: int | None = None  # when the drawdown rule first closed everything
        rows, width = test.panel.rows - test.first_row, len(test.instruments)
        self.equity, self.funding, self.fees = np.empty(rows), np.zeros(rows), np.zeros(rows)
        self.sizes = np.zeros((rows, width))
        # What backs each isolated position, NaN on cross margin; None where there is no isolated instrument.
        self.isolated = None if self.market.isolated_usd is None else np.zeros((rows, width))
        self.wallets = np.zeros((rows, len(test.wallets)))

    def bar(self, row: int) -> None:
        """One bar, then one decision."""
        market, bar = self.market, self.bars.at(row)
        if self.plan or market.open_orders:
            held = market.lots
            market.open(bar, self.plan)
            if self.guarded and market.lots is not held:
                self._protect(bar)
        market.close(bar)
        if self.any_silent[row]:
            self._settle_silent(row, bar)
        self._absorb()
        view = self.market.view
        self._draw(row, view)
        decision = self.desk.decide(self.prepared.at(row), view)
        self.plan = decision.plan
        if decision.findings:
            self._refuse_faults(decision)
            self.findings.update(finding.rule for finding in decision.findings)
            if self.given_up_ms is None and any(found.rule == "drawdown" for found in decision.findings):
                self.given_up_ms = decision.time_ms
        if decision.plan.orders:
            self.told.append(decision)

    def _refuse_faults(self, decision: Decision) -> None:
        """A daemon goes on without a strategy that fails; results without it would be another strategy's."""
        for slot, opinion in zip(self.test.mandate.strategies, decision.opinions, strict=True):
            if opinion.problem:
                raise StrategyError(
                    f"strategy {slot.name} failed at {utc(decision.time_ms)}: {opinion.problem}; mend it and run again"
                )

    def _protect(self, bar: Bar) -> None:
        """Positions opened at this bar's open get their triggers before the bar is lived through."""
        plan = self.desk.protection(self.market.view, bar.open, f"{bar.start_ms // 1000:x}+")
        if plan:
            self.market.open(bar, plan)

    def _settle_silent(self, row: int, bar: Bar) -> None:
        for column in np.flatnonzero(self.silent[row] & (self.market.lots != 0)):
            self.market.settle_at_last_price(self.test.instruments[column].name, bar.end_ms)
            self.settled += 1

    def _absorb(self) -> None:
        events = self.market.take_events()
        if not events:
            return
        self.desk.absorb(events, self.market.lots)
        for event in events:
            if type(event) is FundingRound or type(event) is FundingPayment:
                self.payments.append(event)
            elif type(event) is Fill:
                self.fills.append(event)
            elif type(event) is Liquidation:
                self.liquidations.append(event)
            elif type(event) is OrderReport and event.status is OrderStatus.REJECTED:
                self.refused[event.reason] += 1

    def _draw(self, row: int, view: AccountView) -> None:
        at, account = row - self.test.first_row, self.market.account
        self.equity[at] = view.equity_usd
        if self.isolated is not None:
            self.isolated[at] = view.isolated_usd
        self.funding[at] = account.funding_usd
        self.fees[at] = account.fees_usd
        self.sizes[at] = self.market.holdings.size
        if view.wallet_usd is not None:
            self.wallets[at] = list(view.wallet_usd.values())

    def _notes(self) -> list[Note]:
        """Why each order went out."""
        names, notes = self.prepared.panel.instruments, []
        hedged = {each.hedge.name: each.primary.name for each in self.test.mandate.spreads}
        for decision in self.told:
            time_ms = decision.time_ms
            for name in dict.fromkeys(order.instrument for order in decision.plan.orders):
                column, hedges = names.index(hedged.get(name, name)), name in hedged
                for slot, opinion in zip(self.test.mandate.strategies, decision.opinions, strict=True):
                    because, score = opinion.reason(column), float(opinion.scores[column])
                    if hedges:
                        because, score = f"hedges {hedged[name]}: {because}", -score
                    notes.append(Note(time_ms, name, slot.name, score, because))
                notes.extend(
                    Note(time_ms, name, finding.rule, 0.0, finding.detail)
                    for finding in decision.findings
                    if finding.instrument in ("", name)
                )
        return notes

    def record(self, wall_seconds: float) -> RunRecord:
        test, account = self.test, self.market.account
        grid = test.panel.grid.slice(test.first_row, test.panel.rows)
        marks = {name: exact(self.market.mark[self.market.columns[name]]) for name in account.positions}
        equity_end = account.equity_usd(marks)
        price = equity_end - test.equity_usd - account.funding_usd + account.fees_usd
        by_strategy = [
            StrategyResult(
                slot.name,
                self.desk.attribution.price_usd(k, self.market.mark),
                self.desk.attribution.funding_usd[k],
                self.desk.attribution.fees_usd[k],
            )
            for k, slot in enumerate(test.mandate.strategies)
        ]
        return RunRecord(
            name=test.name,
            config=test.config,
            instruments=test.panel.instruments,
            lots_per_coin={i.name: i.lots_per_coin for i in test.instruments},
            interval_h=grid.interval_ms / 3_600_000,
            equity_start=test.equity_usd,
            equity_end=equity_end,
            price_usd=price,
            funding_usd=account.funding_usd,
            fees_usd=account.fees_usd,
            curves=self._curves(grid.times_ms, equity_end),
            fills=self.fills,
            payments=Deferred(lambda: made_out(self.payments)),
            liquidations=self.liquidations,
            notes=Deferred(self._notes),
            final_marks=marks,
            by_strategy=by_strategy,
            findings=dict(self.findings),
            refused=dict(self.refused),
            assumptions=[*test.assumptions, *self._assumed()],
            wall_seconds=wall_seconds,
            spreads=self._spreads(),
        )

    def _spreads(self) -> SpreadResults | None:
        test, market = self.test, self.market
        if not isinstance(market, JointMarket) or not test.mandate.spreads:
            return None
        from bot.research.pair_trades import spread_results

        return spread_results(
            test.mandate,
            test.panel.instruments,
            self.fills,
            made_out(self.payments),
            self.liquidations,
            self.told,
            self.sizes,
            self.bars.mark[test.first_row :],
            market.leverage,
            ({name: float(usd) for name, usd in test.wallets.items()}, market.wallet_usd),
            test.panel.grid.interval_ms,
            test.panel.grid.end_ms,
        )

    def _curves(self, times_ms: np.ndarray, equity_end: Decimal) -> Curves:
        rows = len(self.equity)
        self.equity[-1] = float(equity_end)
        gross, net, distance, margin = np.empty(rows), np.empty(rows), np.empty(rows), np.empty(rows)
        for start in range(0, rows, CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            offset = self.test.first_row
            value = self.sizes[chunk] * self.bars.mark[start + offset : start + offset + CHUNK_ROWS]
            gross[chunk], net[chunk] = np.abs(value).sum(axis=1), value.sum(axis=1)
            margin[chunk] = (np.abs(value) / self.market.leverage).sum(axis=1)
            distance[chunk] = self._nearest(value, self.equity[chunk], chunk)
        price = self.equity - float(self.test.equity_usd) - self.funding + self.fees
        return Curves(times_ms, self.equity, price, self.funding, self.fees, gross, net, distance, margin)

    def _nearest(self, value: FloatArray, equity: FloatArray, chunk: slice) -> FloatArray:
        """The smallest single price move per row that liquidates something."""
        tiers = self.prepared.tiers
        if isinstance(self.market, JointMarket):
            each = [
                tiers.liquidation_distance(
                    np.where(np.isin(np.arange(value.shape[1]), wallet.columns), value, 0.0),
                    self.wallets[chunk, k],
                ).min(axis=1)
                for k, wallet in enumerate(self.market.wallets)
            ]
            return np.min(each, axis=0)  # type: ignore[no-any-return]
        if self.isolated is None:
            nearest: FloatArray = tiers.liquidation_distance(value, equity).min(axis=1)
            return nearest
        backing = self.isolated[chunk]
        on_cross = np.isnan(backing)
        shared = equity - np.where(on_cross, 0.0, backing).sum(axis=1)
        cross = tiers.liquidation_distance(np.where(on_cross, value, 0.0), shared)
        alone = tiers.isolated_distance(np.where(on_cross, 0.0, value), np.nan_to_num(backing))
        return np.minimum(cross, alone).min(axis=1)  # type: ignore[no-any-return]

    def _assumed(self) -> list[str]:
        test, market = self.test, self.market
        sentences = [
            *test.mandate.cautions(),
            *test.mandate.protection_cautions(
                test.leverage, isolated=test.margin_mode is MarginMode.ISOLATED, is_daemon=False
            ),
            *late_opinions(self.prepared, test.mandate, test.first_row),
            *modelled(test.frictions, has_stops=self.guarded),
            *volumes(self.bars),
            *faults(
                test.panel.slice(test.first_row, test.panel.rows), float(test.rules.funding_cap_per_hour)
            ),
        ]
        if test.mandate.spreads:
            sentences.append(
                "both legs of a spread are sent together at a bar's open; one whose hedge is refused or finds too little "
                "volume stands alone until the next bar, while the daemon would take it back at once"
            )
        if self.refused:
            reasons = "; ".join(f"{times:,} × {reason}" for reason, times in self.refused.most_common(5))
            sentences.append(
                f"{self.refused.total():,} orders were refused by the simulated venue: {reasons}"
            )
        if market.unpaid_hours:
            sentences.append(
                f"{market.unpaid_hours} settlements fell on held positions without a known rate; nothing was paid"
            )
        if market.short_of_volume:
            sentences.append(
                f"{market.short_of_volume} times an order found less volume in its bar than it asked for; the rest "
                "was left to the next decision"
            )
        if self.settled:
            sentences.append(
                f"{self.settled} positions were settled at their last price after {test.max_gap_h} h without one"
            )
        if self.given_up_ms is not None:
            sentences.append(
                f"the drawdown rule closed everything at {utc(self.given_up_ms)}, and keeps it closed for good"
            )
        forfeited = market.account.forfeited_usd
        if forfeited != ZERO:
            sentences.append(
                f"{forfeited:,.2f} USD of margin went to the liquidator; it is part of the price result"
            )
        return sentences
