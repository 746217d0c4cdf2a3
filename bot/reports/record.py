"""What a run leaves behind: the exact books and the hourly curves that every report is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from bot.model.order import Fill, FundingPayment, Liquidation
from bot.model.panel import FloatArray
from bot.reports.spreads import SpreadResults

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Note:
    """Why an order went out: one strategy's forecast (or a rule's finding) on one instrument at one moment."""

    time_ms: int
    instrument: str
    source: str  # strategy or rule
    score: float
    because: str


class Deferred(Sequence[T]):
    """A sequence that is made when somebody first looks into it: a sweep over many runs never does."""

    def __init__(self, make: Callable[[], list[T]]) -> None:
        self._make: Callable[[], list[T]] | None = make
        self._items: list[T] = []

    def _made(self) -> list[T]:
        if self._make is not None:
            self._items, self._make = self._make(), None
        return self._items

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._made()[index]

    def __len__(self) -> int:
        return len(self._made())

    def __iter__(self) -> Iterator[T]:
        return iter(self._made())


@dataclass(frozen=True, slots=True)
class Curves:
    """Per row, after everything that happened up to it, shape (rows,); USD unless said otherwise."""

    times_ms: NDArray[np.int64]
    equity: FloatArray
    price_pnl: FloatArray  # cumulative
    funding_pnl: FloatArray  # cumulative, received > 0
    fees: FloatArray  # cumulative, paid > 0
    gross: FloatArray
    net: FloatArray
    liquidation_distance: FloatArray  # smallest relative price move that liquidates; inf when flat
    margin: FloatArray | None = None  # initial margin of what is held


@dataclass(frozen=True, slots=True)
class StrategyResult:
    """What one strategy made of its share of the account, fees counted as paid."""

    name: str
    price_usd: Decimal
    funding_usd: Decimal
    fees_usd: Decimal

    @property
    def total_usd(self) -> Decimal:
        return self.price_usd + self.funding_usd - self.fees_usd


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run. Exact: `price + funding − fees = equity_end − equity_start`."""

    name: str
    config: Mapping[str, object]
    instruments: tuple[str, ...]
    lots_per_coin: Mapping[str, int]
    interval_h: float
    equity_start: Decimal
    equity_end: Decimal
    price_usd: Decimal
    funding_usd: Decimal
    fees_usd: Decimal  # paid > 0
    curves: Curves
    fills: Sequence[Fill]
    payments: Sequence[FundingPayment]
    liquidations: Sequence[Liquidation]
    notes: Sequence[Note]
    final_marks: Mapping[str, Decimal]  # of the positions still open
    by_strategy: Sequence[StrategyResult] = ()
    findings: Mapping[str, int] = field(default_factory=dict)  # rule -> times it bound
    refused: Mapping[str, int] = field(default_factory=dict)  # the venue's reason -> orders it refused
    assumptions: Sequence[str] = ()  # sentences: what stood in for what, what was missing
    wall_seconds: float = 0.0
    spreads: SpreadResults | None = None
