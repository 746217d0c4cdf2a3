"""From opinions to quantities: the only place where floats become lots, rounded toward zero."""

from __future__ import annotations

import numpy as np

from bot.model.decision import BoolArray, LotsArray, Opinion, Targets, apportion
from bot.model.rows import largest
from bot.pipeline.legs import Legs
from bot.pipeline.mandate import Mandate, Slot
from bot.pipeline.market import Market
from bot.pipeline.snapshot import Snapshot


def construct(opinions: tuple[Opinion, ...], snapshot: Snapshot, mandate: Mandate) -> Targets:
    """The book that the strategies want together, each sized on its own capital.

    A strategy's position is `score × capital × equity × position_size`, cut to the volatility target where one is
    set. Inside the no-trade band it keeps the lots it has, so opinions that waver don't churn; without a price, too.
    Strategies that disagree are netted before anything is traded.
    """
    market, memory, sizing = snapshot.market, snapshot.memory, mandate.sizing
    equity, legs = max(0.0, snapshot.account.equity_usd), market.prepared.legs
    resting = (
        memory.rest_until_ms > market.time_ms if largest(memory.rest_until_ms) > market.time_ms else None
    )
    parts = []
    for k, (opinion, slot) in enumerate(zip(opinions, mandate.strategies, strict=True)):
        held = memory.held_lots[k]
        if slot.by_hand or opinion.problem:
            parts.append(held.copy())  # not a lot more, and none less but by a rule
            continue
        capital = slot.capital * equity
        size_usd: float | np.ndarray = sizing.position_size * capital
        volatility = market.volatility
        if volatility is not None and sizing.volatility_target is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                # A price that has not moved has an unknown risk, not none: NaN and 0 both leave no position.
                size_usd = np.minimum(size_usd, capital * sizing.volatility_target / volatility)
            size_usd = np.where(np.isfinite(size_usd) & (volatility > 0), size_usd, 0.0)
        exact = opinion.scores * size_usd / market.usd_per_lot
        if market.all_fresh:
            wanted = exact.astype(np.int64)  # truncates toward zero
        else:
            wanted = np.where(market.priced, exact, 0.0).astype(np.int64)
            wanted = np.where(market.priced, wanted, held)
        keep = np.sign(wanted) * held > 0
        if sizing.no_trade_band != np.inf:
            keep &= np.abs(wanted - held) <= sizing.no_trade_band * np.abs(wanted)
        np.copyto(wanted, held, where=keep)
        if resting is not None:
            wanted[resting] = 0
        if not slot.spreads and legs.spreads:  # a leg is its spread's alone
            wanted[legs.primary] = wanted[legs.hedge] = 0
        parts.append(_with_hedges(wanted, held, slot, market, resting) if slot.spreads else wanted)
    if len(parts) == 1:
        return Targets(wanted := parts[0], wanted[np.newaxis])
    by_strategy = np.array(parts)
    return Targets(by_strategy.sum(axis=0), by_strategy)


def _with_hedges(
    wanted: LotsArray, held: LotsArray, slot: Slot, market: Market, resting: BoolArray | None
) -> LotsArray:
    """What is wanted of the primary legs, and of their hedges as much as it takes; both as held where one has no price."""
    legs = Legs.of(slot.spreads, market.prepared.panel.instruments)
    hedged = legs.hedged(wanted, held, market.usd_per_lot)
    if resting is not None:
        hedged = legs.held_where(resting[legs.primary] | resting[legs.hedge], hedged, np.zeros_like(hedged))
    blind = ~(market.priced[legs.primary] & market.priced[legs.hedge])
    return legs.held_where(blind, hedged, held)


def shrunk(targets: Targets, lots: LotsArray) -> Targets:
    """The targets with `lots` in place of their sum; strategies give way in proportion to what they wanted."""
    by_strategy = targets.by_strategy
    changed = np.flatnonzero(lots != targets.lots)
    if len(changed):
        by_strategy = by_strategy.copy()
        if len(by_strategy) == 1:
            by_strategy[0] = lots
        else:
            for column in changed:
                parts = by_strategy[:, column].tolist()
                by_strategy[:, column] = apportion(int(lots[column]), parts)
    return Targets(lots, by_strategy)
