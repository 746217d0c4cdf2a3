"""A strategy asked about one moment whose signals are written down by hand, or led through a panel."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bot.model.decision import Memory, Opinion
from bot.model.instrument import simple_instrument
from bot.model.panel import HOUR_MS, FloatArray, Panel
from bot.pipeline.decide import forecast, remember
from bot.pipeline.mandate import Mandate, Slot
from bot.pipeline.market import Prepared
from bot.pipeline.strategy import SignalTable, Strategy, View
from tests.pipeline.scene import decision_with

NOW_MS = 500_000 * HOUR_MS


def asked(
    strategy: Strategy,
    *,
    previous: float | Sequence[float] = 0.0,
    held_h: float = 0.0,
    flat_h: float | None = None,
    **signals: Any,
) -> Opinion:
    """The strategy's opinion where its signals are these; several values are several coins."""
    values = {name: np.atleast_2d(np.asarray(each, dtype=np.float64)) for name, each in signals.items()}
    width = max(each.shape[1] for each in values.values())
    values = {name: np.broadcast_to(each, (1, width)) for name, each in values.items()}
    ready = np.logical_and.reduce(
        [np.isfinite(each) for name, each in values.items() if name not in strategy.optional]
    )
    coins = tuple(f"COIN{k}" for k in range(width))
    table = SignalTable(coins, values, ready, 1, [bool(ready.all())])
    before = np.broadcast_to(np.asarray(previous, dtype=np.float64), (width,))
    left = 0 if flat_h is None else NOW_MS - int(flat_h * HOUR_MS)
    since = np.where(before != 0, NOW_MS - int(held_h * HOUR_MS), left)
    return strategy.forecast(View(table, 0, NOW_MS, before, since))


def scores(strategy: Strategy, **moment: Any) -> list[float]:
    given: list[float] = asked(strategy, **moment).scores.tolist()
    return given


def score(strategy: Strategy, **moment: Any) -> float:
    (only,) = scores(strategy, **moment)
    return only


def led_through(strategy: Strategy, panel: Panel, first: int = 0) -> FloatArray:
    """Scores hour by hour with the memory that the daemon would keep, shape (hours, coins)."""
    slots = (Slot("it", strategy, 1.0),)
    coins = [simple_instrument(name, 2, 10) for name in panel.instruments]
    prepared = Prepared.of(panel, coins, Mandate(slots))
    memory = Memory.blank(1, len(coins), 1e5)
    given = []
    for row in range(first, panel.rows):
        market = prepared.at(row)
        (opinion,) = forecast(market, memory, slots)
        given.append(opinion.scores)
        memory = remember(memory, decision_with(*opinion.scores.tolist(), time_ms=market.time_ms))
    return np.array(given)
