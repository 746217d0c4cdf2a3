"""Backtests told by hand: a panel from a few numbers, and a strategy that says what the script says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.standard_workload import OPEN_LIMITS
from bot.model.instrument import Instrument, simple_instrument
from bot.model.panel import HOUR_MS, Field, FloatArray, Grid, Panel
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot
from bot.research.backtest import Backtest
from bot.sim.bars import Frictions
from bot.strategy import Opinion, Strategy, View

START_MS = 1_735_689_600_000  # 2025-01-01T00:00Z, the open of the first bar
INFINITE = float("inf")


@dataclass(frozen=True)
class Scripted(Strategy):
    """From each named row on, these scores, one per instrument, until the next; flat before the first."""

    script: tuple[tuple[int, tuple[float, ...]], ...] = ()
    start_ms: int = START_MS

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"price": panel.mark}

    def forecast(self, view: View) -> Opinion:
        row = (view.time_ms - self.start_ms) // HOUR_MS - 1
        said: tuple[float, ...] = (0.0,) * len(view.instruments)
        for since, scores in self.script:
            if since <= row:
                said = scores
        return view.opinion(np.array(said), "row {price:.0f} of the script")


def panel_of(rows: int, coins: Sequence[str] = ("AAA",), start_ms: int = START_MS, **fields: Any) -> Panel:
    """A panel whose fields are numbers, one value a row, or matrices.

    Prices not given follow `close`: a bar opens at the close before it and has no wicks; mark and oracle are the
    close. Row 0 ends one hour after `start_ms`.
    """
    shape = (rows, len(coins))
    given = {name: _matrix(values, shape) for name, values in fields.items()}
    close = given["close"]
    before = np.vstack([close[:1], close[:-1]])
    opened = given.setdefault("open", np.where(np.isfinite(before), before, close))
    given.setdefault("high", np.fmax(opened, close))
    given.setdefault("low", np.fmin(opened, close))
    given.setdefault("mark", close)
    given.setdefault("oracle", given["mark"])
    given.setdefault("funding_rate", np.zeros(shape))
    return Panel(Grid(start_ms // HOUR_MS + 1, rows), tuple(coins), given)


def _matrix(values: Any, shape: tuple[int, int]) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    return np.broadcast_to(array, shape).copy()


def scripted(
    panel: Panel,
    *scripts: Mapping[int, Sequence[float]],
    instruments: Sequence[Instrument] | None = None,
    capital: Sequence[float] | None = None,
    sizing: Sizing | None = None,
    limits: Limits = OPEN_LIMITS,
    execution: Execution | None = None,
    strategies: Sequence[Strategy] | None = None,
    **more: Any,
) -> Backtest:
    """A backtest of one scripted strategy per script; a score of 1 is the strategy's whole capital by default."""
    if strategies is None:
        strategies = [
            Scripted(tuple((row, tuple(float(s) for s in scores)) for row, scores in sorted(script.items())))
            for script in scripts
        ]
    slots = tuple(
        Slot(f"s{k}", strategy, 1.0 if capital is None else capital[k])
        for k, strategy in enumerate(strategies)
    )
    execution = execution or Execution(slippage_bps=INFINITE)
    sizing = sizing or Sizing(position_size=1.0, no_trade_band=INFINITE, cooldown_h=0)
    instruments = instruments or [simple_instrument(name, 2, 40) for name in panel.instruments]
    test = Backtest(
        name="scripted",
        panel=panel,
        instruments=tuple(instruments),
        mandate=Mandate(slots, sizing, limits, execution),
        frictions=Frictions(0, 0),
        leverage=10,
    )
    return replace(test, **more)
