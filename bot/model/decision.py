"""The five nouns in the order in which they flow: signal → forecast → target → order → fill, and the decision.

Inside `decide` everything is a vector over instruments, one row per strategy where strategies differ; the rows a
person reads (`Forecast`, `Target`) are made from the vectors when they are written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.model.frozen import quickly_made
from bot.model.order import Order, OrderReport
from bot.model.panel import FloatArray
from bot.model.state import TradingState as TradingState  # noqa: PLC0414 - one of the nouns told here

LotsArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class _Unknown(float):
    """What a sentence says of a number that is not known, whatever form it asks for."""

    def __format__(self, form: str) -> str:
        return "?"


_UNKNOWN = _Unknown("nan")


class _Column(dict[str, float | str]):
    """One instrument's entries of vectors by name, looked up as a template asks for them; vectors may hold words."""

    def __init__(self, values: Mapping[str, NDArray[Any]], column: int) -> None:
        self._values = values
        self._column = column

    def __missing__(self, name: str) -> float | str:
        value = self._values[name][self._column]
        if isinstance(value, str):
            return str(value)
        return float(value) if np.isfinite(value) else _UNKNOWN


@quickly_made
@dataclass(frozen=True, slots=True)
class Opinion:
    """What one strategy believes about every instrument at one moment: scores −1 … +1, shape (instruments,).

    `because` is a template over `values`, filled in per instrument only when the opinion is written down. Where
    `ready` is False the data was not complete and the score is the previous one. `edge`, where a strategy states it,
    is what it expects to earn over the hold it has in mind, as a fraction of notional and before costs. `problem` says
    why a strategy has no usable answer: then its scores are the previous ones and it keeps the lots that it holds.
    """

    scores: FloatArray
    because: str
    values: Mapping[str, NDArray[Any]]
    ready: BoolArray
    edge: FloatArray | None = None
    problem: str = ""

    def reason(self, column: int) -> str:
        """The sentence for one instrument; a template that can't be filled is told, not raised."""
        if self.problem:
            return f"no usable answer, position held: {self.problem}"
        if not self.ready[column]:
            return "data incomplete, opinion held"
        try:
            return self.filled(column)
        except Exception as error:  # noqa: BLE001 - a plugin's template; the sentence is only read by people
            return f"{self.because} [can't be filled: {type(error).__name__}: {error}]"

    def filled(self, column: int) -> str:
        """The template filled in for one instrument; raises whatever is wrong with it."""
        return self.because.format_map(_Column(self.values, column))


@dataclass(frozen=True, slots=True)
class Forecast:
    """One strategy's belief about one instrument, as it is journaled."""

    strategy: str
    instrument: str
    score: float
    because: str


@quickly_made
@dataclass(frozen=True, slots=True)
class Targets:
    """The book wanted: signed lots per instrument, and the part of it each strategy answers for.

    `lots` has shape (instruments,); `by_strategy` (strategies, instruments) and sums to `lots`.
    """

    lots: LotsArray
    by_strategy: LotsArray


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that bound: what it saw, on which instrument (empty: the whole book), and what it did about it."""

    rule: str
    instrument: str
    detail: str


@quickly_made
@dataclass(frozen=True, slots=True)
class AccountView:
    """The account as the venue states it at one moment, aligned with the market's instruments.

    `lots` signed, shape (instruments,); `entry_price` 0 where flat; `leverage` as set at the venue; `open_orders`
    everything resting or waiting. `isolated_usd` is what backs each position on isolated margin now (0 where there is
    none yet), NaN for instruments on cross margin, and None where all are. `wallet_usd` is the equity of each wallet
    (see `Instrument.wallet`) where there are several: what one has lost another does not pay for.
    """

    equity_usd: float
    lots: LotsArray
    entry_price: FloatArray
    leverage: FloatArray
    open_orders: Sequence[OrderReport] = ()
    isolated_usd: FloatArray | None = None
    wallet_usd: Mapping[str, float] | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier cycles left behind, kept in the journal, so that a restart forgets nothing.

    `scores`, `since_ms` and `held_lots` have shape (strategies, instruments): last score, when its sign began, flat being
    one (0: never had another), and the lots attributed to the strategy. `rest_until_ms` (instruments,) bars re-entry
    after a stop.
    """

    scores: FloatArray
    since_ms: LotsArray
    held_lots: LotsArray
    rest_until_ms: LotsArray
    high_water_mark_usd: float
    day: int  # UTC day number
    day_open_usd: float

    @classmethod
    def blank(cls, strategies: int, instruments: int, equity_usd: float) -> Memory:
        shape = (strategies, instruments)
        return cls(
            np.zeros(shape),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(instruments, np.int64),
            equity_usd,
            -1,
            equity_usd,
        )

    def holding(self, held_lots: LotsArray) -> Memory:
        """The same with other lots held."""
        return Memory(
            self.scores,
            self.since_ms,
            held_lots,
            self.rest_until_ms,
            self.high_water_mark_usd,
            self.day,
            self.day_open_usd,
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """A request to withdraw an open order."""

    order_id: int
    client_id: str
    instrument: str
    because: str


@dataclass(frozen=True, slots=True)
class OrderPlan:
    """What to send: cancels first, then orders in sequence; `urgent` where what an order hedges stands alone already."""

    cancels: tuple[Cancel, ...] = ()
    orders: tuple[Order, ...] = ()
    urgent: bool = False

    def __bool__(self) -> bool:
        return bool(self.cancels or self.orders)


NO_ORDERS = OrderPlan()


@quickly_made
@dataclass(frozen=True, slots=True)
class Decision:
    """One cycle's answer, complete: what was believed, wanted, allowed and why, and what to send."""

    snapshot_id: str
    time_ms: int
    opinions: tuple[Opinion, ...]
    wanted: Targets
    allowed: Targets
    findings: tuple[Finding, ...]
    plan: OrderPlan

    def forecasts(self, strategies: Sequence[str], instruments: Sequence[str]) -> list[Forecast]:
        """The opinions worth a line: every nonzero score."""
        return [
            Forecast(strategy, instruments[column], float(opinion.scores[column]), opinion.reason(column))
            for strategy, opinion in zip(strategies, self.opinions, strict=True)
            for column in np.flatnonzero(opinion.scores).tolist()
        ]


def client_id(snapshot_id: str, instrument: str, leg: str) -> str:
    """The client id of an order: a function of the decision it belongs to, so a retry carries the same one."""
    return f"{snapshot_id}-{instrument}-{leg}"


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """`total` split in proportion to `weights`, in whole lots: largest remainder first, ties to the earlier.

    Weights of both signs are allowed as long as their sum is not 0; the parts always sum to `total`.
    """
    weight = sum(weights)
    if weight == 0:
        raise ValueError("weights that sum to 0 can't apportion anything")
    exact = [Decimal(total) * w / weight for w in weights]
    parts = [int(share.to_integral_value(rounding="ROUND_FLOOR")) for share in exact]
    short = total - sum(parts)
    order = sorted(range(len(parts)), key=lambda k: (parts[k] - exact[k], k))
    for k in order[:short]:
        parts[k] += 1
    return parts
