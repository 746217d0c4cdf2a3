"""A small desk on the simulated exchange that keeps a journal: real fills, payments and a liquidation, by seed."""

import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from bot.journal.journal import Journal
from bot.journal.ledger import Drift
from bot.journal.records import CycleFacts, EquityPoint, PositionFacts, RunFacts, StrategyPnl
from bot.model.account import Account, MarginMode
from bot.model.decision import (
    Cancel,
    Decision,
    Finding,
    Memory,
    Opinion,
    OrderPlan,
    Targets,
    TradingState,
    client_id,
)
from bot.model.instrument import simple_instrument
from bot.model.money import ZERO, usd
from bot.model.order import Fill, FundingPayment, Liquidation, Order, OrderReport, Purpose, Side, TimeInForce
from bot.sim.exchange import Exchange

HOUR_MS = 3_600_000
START_MS = 1_714_521_600_000  # 2024-05-01T00:00:00Z
WALL_MS = 1_800_000_000_000
STRATEGIES = ("carry", "fade")
INSTRUMENTS = (
    simple_instrument("BTC", 5, 40),
    simple_instrument("ETH", 4, 25),
    simple_instrument("DOGE", 0, 10),
)
NAMES = tuple(instrument.name for instrument in INSTRUMENTS)
DEPOSIT = Decimal(100_000)
FINDING = Finding("concentration", "ETH", "wanted 12,000 USD, one position may have 10,000 USD")


def facts(**changes: object) -> RunFacts:
    """A run of this desk."""
    given = {
        "name": "desk",
        "mode": "paper",
        "config": {"version": 1, "name": "desk"},
        "source": {"market": "synthetic", "seed": 7},
        "strategies": STRATEGIES,
        "instruments": INSTRUMENTS,
        "started_wall_ms": WALL_MS,
    }
    return RunFacts(**{**given, **changes})  # type: ignore[arg-type]


def decision(
    time_ms: int,
    scores: Sequence[Sequence[float]],
    lots: Sequence[Sequence[int]] | None = None,
    findings: Sequence[Finding] = (),
    plan: OrderPlan | None = None,
) -> Decision:
    """A decision with one row of scores, and of wanted lots, per strategy; allowed is wanted."""
    opinions = tuple(
        Opinion(
            np.array(row),
            "funding z {z:+.1f} is extreme",
            {"z": np.array(row) * -3},
            np.ones(len(row), np.bool_),
        )
        for row in scores
    )
    by_strategy = np.array(lots if lots is not None else np.zeros(np.shape(scores)), np.int64)
    targets = Targets(by_strategy.sum(axis=0), by_strategy)
    return Decision(
        f"{time_ms // 1000:x}", time_ms, opinions, targets, targets, tuple(findings), plan or OrderPlan()
    )


def quiet_cycle(time_ms: int, **changes: object) -> CycleFacts:
    """A cycle in which nothing happened."""
    given = {
        "time_ms": time_ms,
        "wall_ms": WALL_MS,
        "equity": EquityPoint(DEPOSIT, DEPOSIT, ZERO, ZERO, ZERO, ZERO, ZERO),
        "memory": Memory.blank(len(STRATEGIES), len(NAMES), 100_000.0),
        "checkpoint": {},
    }
    return CycleFacts(**{**given, **changes})  # type: ignore[arg-type]


class Desk:
    """Trades two coins at random and holds a leveraged third one into a crash."""

    def __init__(self, path: Path, seed: int = 1) -> None:
        self.journal = Journal.open(path)
        self.journal.begin_run(facts())
        self.random = random.Random(seed)
        self.exchange = Exchange(INSTRUMENTS)
        self.exchange.deposit("desk", DEPOSIT, START_MS)
        self.exchange.set_leverage("desk", "DOGE", 10, MarginMode.ISOLATED, START_MS)
        self.prices = {"BTC": 60_000.0, "ETH": 3_000.0, "DOGE": 0.15}
        self.time_ms = START_MS
        self.fills: list[Fill] = []
        self.payments: list[FundingPayment] = []
        self.liquidations: list[Liquidation] = []
        self.decisions: list[Decision] = []
        self.misses: Callable[[object], bool] | None = None  # events that are not told
        self.counts_missed_funding = True
        self.missed: list[object] = []
        self.drifts: list[list[Drift]] = []
        self.journal.open_books(START_MS, DEPOSIT, DEPOSIT, {})

    @property
    def account(self) -> Account:
        return self.exchange.accounts["desk"]

    def hours(self, count: int, crash_at: int | None = None) -> "Desk":
        for number in range(count):
            self.hour(crash=number == crash_at)
        return self

    def hour(self, *, crash: bool = False) -> None:
        """Decide and trade at this hour's prices, then let the next hour come."""
        self._quote()
        self._trade()
        self.time_ms += HOUR_MS
        for name in self.prices:
            self.prices[name] *= 1 + self.random.uniform(-0.01, 0.01)
        if crash:
            self.prices["DOGE"] *= 0.8
        self._quote()
        marks = self.exchange.marks
        rates = {name: Decimal(self.random.randint(-200, 300)) / 10_000_000 for name in NAMES}
        self.exchange.settle_funding(rates, marks, self.time_ms)
        self._record()

    def _quote(self) -> None:
        marks = {}
        for instrument in INSTRUMENTS:
            mark = instrument.round_price(Decimal(repr(self.prices[instrument.name])))
            marks[instrument.name] = mark
            spread = mark / 10_000
            bid, ask = (instrument.round_price(mark + s * spread, up=s > 0) for s in (-1, 1))
            self.exchange.quote(instrument.name, bid, ask, self.time_ms)
        self.exchange.set_marks(marks, self.time_ms)

    def _trade(self) -> None:
        name = f"{self.time_ms // 1000:x}"
        held = [self.account.lots(coin) for coin in NAMES]
        wanted = [self.random.randint(-20_000, 20_000), self.random.randint(-50_000, 50_000)]
        wanted.append(200_000 if not self.decisions else held[2])
        need = [want - have for want, have in zip(wanted, held, strict=True)]
        orders = [
            Order(client_id(name, coin, "entry"), coin, Side.of(lots), abs(lots))
            for coin, lots in zip(NAMES, need, strict=True)
            if lots
        ]
        low = INSTRUMENTS[0].round_price(self.exchange.marks["BTC"] * Decimal("0.9"))
        orders.append(Order(client_id(name, "BTC", "rest"), "BTC", Side.BUY, 100, low, TimeInForce.GTC))
        cancels = [
            Cancel(report.order_id, report.order.client_id, report.order.instrument, "price moved away")
            for report in self.exchange.open_orders("desk")
        ]
        scores = [[float(np.sign(lots)) / 2 for lots in wanted], [0.0, float(np.sign(wanted[1])), 0.0]]
        split = [[wanted[0], wanted[1] - wanted[1] // 2, wanted[2]], [0, wanted[1] // 2, 0]]
        decided = decision(self.time_ms, scores, split, (FINDING,), OrderPlan(tuple(cancels), tuple(orders)))
        self.decisions.append(decided)
        self.journal.record_decision(decided, TradingState.ACTIVE, self.equity_usd())
        for cancel in cancels:
            self.exchange.cancel("desk", cancel.order_id, self.time_ms)
        for order in orders:
            self.exchange.submit("desk", order, self.time_ms)

    def equity_usd(self) -> Decimal:
        return self.account.equity_usd(self.exchange.marks)

    def _record(self) -> None:
        events: list[object] = [event for _, event in self.exchange.drain()]
        if self.misses is not None:
            self.missed += [event for event in events if self.misses(event)]
            events = [event for event in events if event not in self.missed]
        fills = [event for event in events if isinstance(event, Fill)]
        payments = [event for event in events if isinstance(event, FundingPayment)]
        liquidations = [event for event in events if isinstance(event, Liquidation)]
        self.fills += fills
        self.payments += payments
        self.liquidations += liquidations
        drifts = self.journal.record_cycle(
            CycleFacts(
                self.time_ms,
                WALL_MS + self.time_ms - START_MS,
                self.point(),
                Memory.blank(len(STRATEGIES), len(NAMES), 100_000.0),
                self.exchange.state(),
                [event for event in events if isinstance(event, OrderReport)],
                fills,
                payments,
                liquidations,
                self.positions(),
                self.by_strategy(),
            )
        )
        self.drifts.append(list(drifts))

    def point(self) -> EquityPoint:
        account, marks = self.account, self.exchange.marks
        equity = self.equity_usd()
        funding = account.funding_usd
        if not self.counts_missed_funding:
            funding -= sum((each.usd for each in self.missed if isinstance(each, FundingPayment)), ZERO)
        price = equity - DEPOSIT - funding + account.fees_usd
        values = [position.notional_usd(marks[name]) for name, position in account.positions.items()]
        gross = sum((abs(value) for value in values), ZERO)
        return EquityPoint(
            equity, account.cash_usd, price, funding, account.fees_usd, gross, sum(values, ZERO)
        )

    def positions(self) -> list[PositionFacts]:
        marks = self.exchange.marks
        return [
            PositionFacts(
                name,
                position.lots,
                position.instrument.size_decimals,
                usd(position.entry_price),
                marks[name],
                position.notional_usd(marks[name]),
                position.unrealised_usd(marks[name]),
                self.account.liquidation_price(name, marks),
                position.margin_mode,
                position.opened_ms,
                sum((p.usd for p in self.payments if p.instrument == name), ZERO),
                "carry: funding z +1.5 is extreme",
            )
            for name, position in self.account.positions.items()
        ]

    def by_strategy(self) -> list[StrategyPnl]:
        """The fader answers for a tenth of everything."""
        point = self.point()
        amounts = (point.price_pnl_usd, point.funding_pnl_usd, point.fees_usd)
        fade = [usd(amount / 10) for amount in amounts]
        carry = [amount - part for amount, part in zip(amounts, fade, strict=True)]
        return [StrategyPnl("carry", *carry), StrategyPnl("fade", *fade)]


def purpose_of(fills: Sequence[Fill], purpose: Purpose) -> list[Fill]:
    return [fill for fill in fills if fill.purpose is purpose]
