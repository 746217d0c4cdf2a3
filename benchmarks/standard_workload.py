"""The standard workload as the bot runs it: the fade's mandate with every limit open, on a venue of two fees.

The rules are those of `tests/research/plain_engine.py`, which must come to the same money.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from benchmarks.workload_fade import WorkloadFade
from bot.data.store import Query, load
from bot.model.instrument import Instrument
from bot.model.panel import Panel
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot
from bot.research.backtest import Backtest
from bot.sim.bars import Frictions
from bot.sim.exchange import FeeSchedule, Rules

INFINITE = float("inf")
HUGE = 1e12  # for limits that are multiplied with equity, which may be 0

#: Nothing is ever cut.
OPEN_LIMITS = Limits(
    max_position_share=HUGE,
    max_gross_leverage=HUGE,
    max_net_leverage=HUGE,
    max_open_interest_share=INFINITE,
    max_volume_share=INFINITE,
    max_data_age_h=1_000_000,
    max_mark_deviation=INFINITE,
    min_free_margin=-HUGE,
    min_liquidation_distance=0.0,
    stress_loss=HUGE,
    max_daily_loss=HUGE,
    max_drawdown=HUGE,
)


def workload(
    panel: Panel, instruments: Sequence[Instrument], position_size: float = 0.3, max_positions: int = 10
) -> Backtest:
    """The run over a panel.

    What the plain rules do not know is switched off: resizing of what is held, rests after a liquidation,
    liquidation by parts, the backstop, spread, impact, and the bound that a bar's volume sets to what is traded in it.
    """
    mandate = Mandate(
        strategies=(Slot("fade", WorkloadFade(max_positions=max_positions), capital=1.0),),
        sizing=Sizing(position_size=position_size, no_trade_band=INFINITE, cooldown_h=0),
        limits=OPEN_LIMITS,
        execution=Execution(slippage_bps=INFINITE),
    )
    rules = Rules(
        fees=FeeSchedule.flat(Decimal("0.00045"), Decimal("0.00015")),
        partial_liquidation_usd=Decimal("Infinity"),
        backstop_ratio=Decimal(0),
    )
    return Backtest(
        name="standard workload",
        panel=panel,
        instruments=tuple(instruments),
        mandate=mandate,
        rules=rules,
        frictions=Frictions(0, 0, INFINITE),
        leverage=40,
    )


def workload_from(folder: Path) -> Backtest:
    """The run over a data folder, read as any backtest reads it."""
    history = load(Query(folder))
    return workload(history.panel, history.instruments)
