"""What is handed to the journal to be written down, and what it hands back to a run that continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bot.model.account import MarginMode
from bot.model.decision import Memory
from bot.model.instrument import Instrument
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, Transfer


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as it begins. `strategies` and `instruments` are in the order of every decision's and memory's axes.

    `source` says which market and account the books belong to (kind of source, seed, …). A journal holds one
    account's life, so a run of another source is refused.
    """

    name: str
    mode: str
    config: Mapping[str, Any]
    source: Mapping[str, Any]
    strategies: Sequence[str]
    instruments: Sequence[Instrument]
    started_wall_ms: int


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """The account's worth at a cycle's end. Profits and fees count from the account's opening, fees paid > 0.

    Exact: `equity = opening balance + price_pnl + funding_pnl − fees`. Gross and net are notionals at mark.
    """

    equity_usd: Decimal
    cash_usd: Decimal
    price_pnl_usd: Decimal
    funding_pnl_usd: Decimal
    fees_usd: Decimal
    gross_usd: Decimal
    net_usd: Decimal

    @property
    def deposits_usd(self) -> Decimal:
        """The opening balance and what was brought in since, less what was taken out."""
        return self.equity_usd - self.price_pnl_usd - self.funding_pnl_usd + self.fees_usd


@dataclass(frozen=True, slots=True)
class PositionFacts:
    """One position as it stands at a cycle's end; `funding_usd` was received (negative: paid) since it was opened."""

    instrument: str
    lots: int
    size_decimals: int
    entry_price: Decimal
    mark: Decimal
    notional_usd: Decimal
    unrealised_usd: Decimal
    liquidation_price: Decimal | None
    margin_mode: MarginMode
    opened_ms: int
    funding_usd: Decimal
    because: str


@dataclass(frozen=True, slots=True)
class StrategyPnl:
    """What one strategy has made since the account was opened; fees paid > 0."""

    strategy: str
    price_pnl_usd: Decimal
    funding_pnl_usd: Decimal
    fees_usd: Decimal


@dataclass(frozen=True, slots=True)
class CycleFacts:
    """What has happened up to `time_ms`, since the cycle before, and what the next one continues from.

    Fills, payments, transfers and liquidations already known are passed over, so telling them again does no harm. `positions`
    and `by_strategy` are the whole of it. `checkpoint` is what the venue and the trader go on from, as JSON values.
    """

    time_ms: int
    wall_ms: int
    equity: EquityPoint
    memory: Memory
    checkpoint: Mapping[str, Any]
    reports: Sequence[OrderReport] = ()
    fills: Sequence[Fill] = ()
    payments: Sequence[FundingPayment] = ()
    liquidations: Sequence[Liquidation] = ()
    positions: Sequence[PositionFacts] = ()
    by_strategy: Sequence[StrategyPnl] = ()
    transfers: Sequence[Transfer] = ()
    wallets: Mapping[str, float] | None = None  # equity of each, USD, where there are several
    is_cycle: bool = True  # else something that was asked for between two cycles


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The venue's state at `time_ms`, as it was given."""

    time_ms: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run in the journal; `last_ms` is the moment of its last cycle, None if it never got that far."""

    id: int
    name: str
    mode: str
    config: dict[str, Any]
    source: dict[str, Any]
    started_wall_ms: int
    ended_wall_ms: int | None
    last_ms: int | None
