"""A run's fills and payments put together to what became of each spread it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from bot.clock import HOUR_MS
from bot.model.decision import Decision
from bot.model.instrument import Kind
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose
from bot.model.panel import FloatArray
from bot.model.spread import Spread
from bot.pipeline.mandate import Mandate
from bot.pipeline.pair_trades import Event, PairTrade, pair_trades
from bot.pipeline.underwriting import UNSAID, Stated
from bot.reports.spreads import SpreadResults


def spread_results(
    mandate: Mandate,
    names: Sequence[str],
    fills: Sequence[Fill],
    payments: Sequence[FundingPayment],
    liquidations: Sequence[Liquidation],
    told: Sequence[Decision],
    sizes: FloatArray,
    marks: FloatArray,
    leverage: FloatArray,
    wallets: tuple[Mapping[str, float], Mapping[str, float]],
    interval_ms: int,
    end_ms: int,
) -> SpreadResults:
    """`sizes` (coins held) and `marks` have shape (rows, instruments); `wallets` are opening and closing equities."""
    decisions = {decision.time_ms: decision for decision in told}
    trades: list[PairTrade] = []
    uneven = np.zeros(len(sizes))
    for row, slot in enumerate(mandate.strategies):
        for spread in slot.spreads:
            columns = [names.index(leg.name) for leg in spread.legs]
            last = {
                leg.name: Decimal(repr(float(marks[-1, k])))
                for leg, k in zip(spread.legs, columns, strict=True)
            }
            trades += _trades(spread, row, columns[0], fills, payments, liquidations, decisions, last, end_ms)
            step = float(spread.step)
            coins = [leg.multiplier * sizes[:, k] for leg, k in zip(spread.legs, columns, strict=True)]
            alone = np.abs(coins[0] + coins[1])
            price = marks[:, columns[0]] / spread.primary.multiplier
            uneven += np.where(alone >= step * (1 - 1e-9), alone * price, 0.0)
    on_spot = np.array(
        [
            any(leg.kind is Kind.SPOT for s in mandate.spreads for leg in s.legs if leg.name == n)
            for n in names
        ]
    )
    tied = (np.abs(sizes) * np.nan_to_num(marks) / np.where(on_spot, 1.0, leverage)).sum(axis=1)
    held = tied > 0
    hours = interval_ms / HOUR_MS
    return SpreadResults(
        sorted(trades, key=lambda trade: trade.opened_ms),
        float(tied[held].mean()) if held.any() else 0.0,
        float(held.sum()) * hours,
        len(sizes) * hours,
        float((uneven > 0).sum()) * hours,
        float(uneven.max(initial=0.0)),
        *wallets,
        tuple(dict.fromkeys(risk for spread in mandate.spreads for risk in spread.risks)),
    )


def _trades(
    spread: Spread,
    row: int,
    column: int,
    fills: Sequence[Fill],
    payments: Sequence[FundingPayment],
    liquidations: Sequence[Liquidation],
    decisions: Mapping[int, Decision],
    last: Mapping[str, Decimal],
    end_ms: int,
) -> list[PairTrade]:
    legs = {leg.name for leg in spread.legs}
    events: list[Event] = [
        each for some in (payments, fills, liquidations) for each in some if each.instrument in legs
    ]
    # What settles at an hour is paid on what was held before anything trades at it.
    # And what turns goes out before it comes in.
    events.sort(
        key=lambda e: (
            e.time_ms,
            not isinstance(e, FundingPayment),
            isinstance(e, Fill) and e.purpose is Purpose.ENTRY,
            isinstance(e, Liquidation),
        )
    )

    def stated(first: Fill) -> tuple[Stated, str]:
        decision = decisions.get(first.time_ms)
        if decision is None:
            return UNSAID, ""
        opinion = decision.opinions[row]
        return Stated.of(opinion, column), opinion.reason(column)

    return pair_trades(spread, events, stated, last, end_ms)
