"""The centre: one pure function from what is true now to what to do about it.

Live, paper and backtest call this same function. It reads no clock and keeps no state: what earlier cycles left
behind comes in with the snapshot, and what this one leaves behind goes out through `remember`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bot.model.decision import Decision, Finding, Memory, Opinion
from bot.model.panel import HOUR_MS
from bot.model.rows import same
from bot.pipeline.answer import answer
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
    opinions = forecast(snapshot.market, snapshot.memory, mandate.strategies, snapshot.quarantined)
    wanted = construct(opinions, snapshot, mandate)
    allowed, findings = review(wanted, opinions, snapshot, mandate)
    orders = plan(allowed, snapshot, mandate.execution)
    findings = _faults(mandate.strategies, opinions, snapshot.quarantined or {}) + findings
    return Decision(snapshot.id, snapshot.time_ms, opinions, wanted, allowed, findings, orders)


def forecast(
    market: Market,
    memory: Memory,
    strategies: Sequence[Slot],
    quarantined: Mapping[str, str] | None = None,
) -> tuple[Opinion, ...]:
    """Ask every strategy. Where its data is incomplete its last score stands: missing data never opens or closes.

    One that fails, or is `quarantined` (by name, with the reason), has an opinion with a `problem`: it holds.
    """
    opinions = []
    for k, (slot, table) in enumerate(zip(strategies, market.prepared.tables, strict=True)):
        previous = memory.scores[k]
        previous.flags.writeable = False  # of this view of the memory: a plugin can't rewrite what it said
        view = View(table, market.row, market.time_ms, previous, memory.since_ms[k])
        barred = quarantined.get(slot.name, "") if quarantined else ""
        opinion = answer(slot.strategy, table, view, barred)
        if slot.by_hand:
            opinion = replace(opinion, scores=np.sign(memory.held_lots[k]).astype(np.float64))
        opinions.append(opinion)
    return tuple(opinions)


def _faults(
    strategies: Sequence[Slot], opinions: Sequence[Opinion], quarantined: Mapping[str, str]
) -> tuple[Finding, ...]:
    """A finding for each strategy that gave no usable answer, under another name once it is not asked any more."""
    if not [opinion for opinion in opinions if opinion.problem]:
        return ()
    return tuple(
        Finding(
            f"{'quarantine' if slot.name in quarantined else 'strategy'} {slot.name}",
            "",
            f"no usable answer, it holds what it has: {opinion.problem}",
        )
        for slot, opinion in zip(strategies, opinions, strict=True)
        if opinion.problem
    )


def remember(memory: Memory, decision: Decision) -> Memory:
    """The memory for the next cycle: the scores just given, and since when their signs stand."""
    for opinion, said in zip(decision.opinions, memory.scores, strict=True):
        if not same(opinion.scores, said):
            break
    else:
        return memory
    scores = np.array([opinion.scores for opinion in decision.opinions])
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
    day, opened, highest = time_ms // DAY_MS, memory.day_open_usd, memory.high_water_mark_usd
    if day == memory.day and not equity_usd > highest:
        return memory
    return Memory(
        memory.scores,
        memory.since_ms,
        memory.held_lots,
        memory.rest_until_ms,
        max(highest, equity_usd),
        day,
        opened if day == memory.day else equity_usd,
    )


def forget(memory: Memory, column: int, rest_until_ms: int) -> Memory:
    """A position was closed by the venue (stop, liquidation, settlement): its opinions end and may not return soon."""
    scores, since, held = memory.scores.copy(), memory.since_ms.copy(), memory.held_lots.copy()
    rest = memory.rest_until_ms.copy()
    scores[:, column] = 0.0
    since[:, column] = 0
    held[:, column] = 0
    rest[column] = rest_until_ms
    return replace(memory, scores=scores, since_ms=since, held_lots=held, rest_until_ms=rest)
