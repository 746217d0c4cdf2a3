"""The centre: one pure function from what is true now to what to do about it.

Live, paper and backtest call this same function. It reads no clock and keeps no state: what earlier cycles left
behind comes in with the snapshot, and what this one leaves behind goes out through `remember`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bot.model.decision import Decision, Memory, Opinion
from bot.model.panel import HOUR_MS
from bot.model.rows import same
from bot.pipeline.execution import plan
from bot.pipeline.mandate import Mandate, Slot
from bot.pipeline.market import Market
from bot.pipeline.portfolio import construct
from bot.pipeline.risk import review
from bot.pipeline.snapshot import Snapshot
from bot.pipeline.strategy import View

DAY_MS = 24 * HOUR_MS


def decide(snapshot: Snapshot, mandate: Mandate) -> Decision:
    """Turn one view of the world into orders. Pure: same snapshot, same decision."""
    opinions = forecast(snapshot.market, snapshot.memory, mandate.strategies)
    wanted = construct(opinions, snapshot, mandate)
    allowed, findings = review(wanted, opinions, snapshot, mandate)
    orders = plan(allowed, snapshot, mandate.execution)
    return Decision(snapshot.id, snapshot.time_ms, opinions, wanted, allowed, findings, orders)


def forecast(market: Market, memory: Memory, strategies: Sequence[Slot]) -> tuple[Opinion, ...]:
    """Ask every strategy. Where its data is incomplete its last score stands: missing data never opens or closes."""
    opinions = []
    for k, (slot, table) in enumerate(zip(strategies, market.prepared.tables, strict=True)):
        previous = memory.scores[k]
        opinion = slot.strategy.forecast(
            View(table, market.row, market.time_ms, previous, memory.since_ms[k])
        )
        if not table.all_ready[market.row]:
            opinion = replace(opinion, scores=np.where(opinion.ready, opinion.scores, previous))
        scores = opinion.scores
        if getattr(scores, "shape", ()) != previous.shape:
            raise ValueError(
                f"strategy {slot.name} gave scores of shape {np.shape(scores)}, not {previous.shape}"
            )
        if not same(scores, previous) and np.count_nonzero(np.abs(scores) <= 1) < len(scores):  # NaN, too
            worst = market.prepared.panel.instruments[int(np.argmin(np.abs(scores) <= 1))]
            raise ValueError(
                f"strategy {slot.name} gave {worst} a score outside −1 … +1; mend its forecast()"
            )
        opinions.append(opinion)
    return tuple(opinions)


def remember(memory: Memory, decision: Decision) -> Memory:
    """The memory for the next cycle: the scores just given, and since when their signs stand."""
    scores = np.array([opinion.scores for opinion in decision.opinions])
    if same(scores, memory.scores):
        return memory
    changed = np.sign(scores) != np.sign(memory.scores)
    since_ms = memory.since_ms
    if np.count_nonzero(changed):
        since_ms = since_ms.copy()
        since_ms[changed] = decision.time_ms
    return Memory(
        scores,
        since_ms,
        memory.held_lots,
        memory.rest_until_ms,
        memory.high_water_mark_usd,
        memory.day,
        memory.day_open_usd,
    )


def open_day(memory: Memory, time_ms: int, equity_usd: float) -> Memory:
    """Keep the high-water mark, and the equity that the UTC day began with."""
    day = time_ms // DAY_MS
    if day != memory.day:
        return replace(
            memory,
            day=day,
            day_open_usd=equity_usd,
            high_water_mark_usd=max(memory.high_water_mark_usd, equity_usd),
        )
    if equity_usd > memory.high_water_mark_usd:
        return replace(memory, high_water_mark_usd=equity_usd)
    return memory


def forget(memory: Memory, column: int, rest_until_ms: int) -> Memory:
    """A position was closed by the venue (stop, liquidation, settlement): its opinions end and may not return soon."""
    scores, since, held = memory.scores.copy(), memory.since_ms.copy(), memory.held_lots.copy()
    rest = memory.rest_until_ms.copy()
    scores[:, column] = 0.0
    since[:, column] = 0
    held[:, column] = 0
    rest[column] = rest_until_ms
    return replace(memory, scores=scores, since_ms=since, held_lots=held, rest_until_ms=rest)
