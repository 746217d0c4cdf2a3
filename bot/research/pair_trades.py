"""A run's fills and payments put together to what became of each spread it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from bot.clock import HOUR_MS
from bot.model.decision import Decision
from bot.model.instrument import Kind
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Purpose
from bot.model.panel import FloatArray
from bot.model.spread import Spread
from bot.pipeline.mandate import Mandate
from bot.reports.spreads import PairTrade, SpreadResults

Event = Fill | FundingPayment


def spread_results(
    mandate: Mandate,
    names: Sequence[str],
    fills: Sequence[Fill],
    payments: Sequence[FundingPayment],
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
            trades += _trades(spread, row, columns[0], fills, payments, decisions, last, end_ms)
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
    decisions: Mapping[int, Decision],
    last: Mapping[str, Decimal],
    end_ms: int,
) -> list[PairTrade]:
    legs = {leg.name: leg for leg in spread.legs}
    events: list[Event] = [each for each in payments if each.instrument in legs]
    events += [each for each in fills if each.instrument in legs]
    # What settles at an hour is paid on what was held before anything trades at it.
    # And what turns goes out before it comes in.
    events.sort(
        key=lambda e: (e.time_ms, isinstance(e, Fill), isinstance(e, Fill) and e.purpose is Purpose.ENTRY)
    )
    found: list[PairTrade] = []
    held, now = dict.fromkeys(legs, 0), _Open()
    for event in events:
        if isinstance(event, FundingPayment):
            now.paid.append((event.time_ms, event.usd))
            continue
        if not any(held.values()):
            now = _Open(event.time_ms)
        held[event.instrument] += event.signed_lots
        now.cash -= event.notional_usd if event.signed_lots > 0 else -event.notional_usd
        now.fees += event.fee_usd
        if event.instrument == spread.primary.name:
            value = abs(float(legs[event.instrument].notional(held[event.instrument], event.price)))
            if value > now.notional:
                now.notional, now.side = value, "long" if held[event.instrument] > 0 else "short"
        if not any(held.values()):
            found.append(now.ended(spread, row, column, decisions, event.time_ms, end_ms))
            now = _Open()
    if any(held.values()):
        now.cash += sum((legs[name].notional(lots, last[name]) for name, lots in held.items()), ZERO)
        found.append(now.ended(spread, row, column, decisions, None, end_ms))
    return found


class _Open:
    """A pair trade that goes on."""

    def __init__(self, opened_ms: int = 0) -> None:
        self.opened_ms, self.side, self.notional = opened_ms, "", 0.0
        self.cash = self.fees = ZERO
        self.paid: list[tuple[int, Decimal]] = []

    def ended(
        self,
        spread: Spread,
        row: int,
        column: int,
        decisions: Mapping[int, Decision],
        closed_ms: int | None,
        end_ms: int,
    ) -> PairTrade:
        decision = decisions.get(self.opened_ms)
        expected = cost = hold_h = None
        because = ""
        if decision is not None:
            opinion = decision.opinions[row]
            because = opinion.reason(column)
            if opinion.edge is not None and np.isfinite(opinion.edge[column]):
                expected = float(opinion.edge[column]) * self.notional
            if "cost" in opinion.values and np.isfinite(opinion.values["cost"][column]):
                cost = float(opinion.values["cost"][column]) * self.notional
            if "hold_h" in opinion.values and np.isfinite(opinion.values["hold_h"][column]):
                hold_h = float(opinion.values["hold_h"][column])
        until_ms = end_ms if closed_ms is None else closed_ms
        hold_ms = self.opened_ms + (hold_h or 0.0) * HOUR_MS
        within = None
        if hold_h is not None and end_ms >= hold_ms:
            within = float(sum((usd for at_ms, usd in self.paid if at_ms <= hold_ms), ZERO))
        funding = sum((usd for _, usd in self.paid), ZERO)
        return PairTrade(
            spread.name, self.side, self.opened_ms, closed_ms, self.notional, expected, cost,
            funding, self.cash, self.fees, (until_ms - self.opened_ms) / HOUR_MS, because, hold_h, within,
        )  # fmt: skip
