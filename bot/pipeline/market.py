"""The market made ready for deciding: a panel, every strategy's signals over it, and the conditions risk looks at.

`Prepared` is computed once over a whole history, or over the live tail; `Market` is one of its rows. That is all
the difference there is between research and live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bot.errors import ConfigError
from bot.model.decision import BoolArray
from bot.model.instrument import Instrument
from bot.model.margin import TierTable
from bot.model.panel import HOUR_MS, FloatArray, Grid, Panel
from bot.model.spread import Spread
from bot.pipeline.legs import Legs
from bot.pipeline.mandate import Limits, Mandate, Sizing, Slot
from bot.pipeline.strategy import SignalTable, reach_of, what_failed
from bot.signals.spreads import spread_panel
from bot.signals.volatility import realised_volatility
from bot.signals.windows import moving_mean

DAY_H = 24


@dataclass(frozen=True)
class Conditions:
    """What risk must know of every instrument at every row; shape (rows, instruments).

    `priced`: a mark is known now. `fresh`: mark and settled funding are. `age_h`: hours since both last were.
    `sane`: the mark does not contradict the oracle. `cap_usd`: what open interest and volume allow, inf where
    unknown. `volatility`: annualised, NaN where unknown, None where not asked for.
    """

    priced: BoolArray
    fresh: BoolArray
    sane: BoolArray
    age_h: FloatArray
    cap_usd: FloatArray
    volatility: FloatArray | None
    reach: int
    all_fresh: Sequence[bool]  # per row, so that nothing more is looked at where all is well
    all_sane: Sequence[bool]
    capped: bool

    @classmethod
    def of(cls, panel: Panel, limits: Limits, sizing: Sizing) -> Conditions:
        mark, funding = panel.mark.values, panel.funding_rate.values
        priced = np.isfinite(mark)
        known = priced & np.isfinite(funding)
        # Where there is nothing to tell, one value stands for all.
        agrees = np.broadcast_to(np.True_, mark.shape)
        if panel.fields.get("oracle") is not panel.fields.get("mark"):
            with np.errstate(invalid="ignore"):
                agrees = ~(np.abs(mark / panel.oracle.values - 1) > limits.max_mark_deviation)
        age_h = np.broadcast_to(0.0, mark.shape)
        if not known.all():
            rows = np.arange(panel.rows)[:, None]
            last = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
            age_h = np.where(last < 0, np.inf, (rows - last) * (panel.grid.interval_ms / HOUR_MS))
        reach = int(np.ceil(limits.max_data_age_h * HOUR_MS / panel.grid.interval_ms)) + 2
        cap = np.broadcast_to(np.inf, mark.shape)
        capped = False
        if "volume_usd" in panel.fields and np.isfinite(limits.max_volume_share):
            day = moving_mean(panel.volume_usd, panel.grid.span(DAY_H), min_count=panel.grid.span(DAY_H) // 2)
            capped = True
            cap = np.fmin(cap, day.values * panel.grid.span(DAY_H) * limits.max_volume_share)
            reach = max(reach, day.reach)
        if "open_interest" in panel.fields and np.isfinite(limits.max_open_interest_share):
            capped = True
            cap = np.fmin(cap, panel.open_interest.values * mark * limits.max_open_interest_share)
        volatility = None
        if sizing.volatility_target is not None:
            measured = realised_volatility(panel, sizing.volatility_lookback_h)
            volatility, reach = measured.values, max(reach, measured.reach)
        all_fresh: list[bool] = np.all(known, axis=1).tolist()
        all_sane: list[bool] = np.all(agrees, axis=1).tolist()
        return cls(priced, known, agrees, age_h, cap, volatility, reach, all_fresh, all_sane, capped)


@dataclass(frozen=True)
class Prepared:
    """A panel with everything `decide` reads already measured."""

    panel: Panel
    instruments: tuple[Instrument, ...]
    tables: tuple[SignalTable, ...]
    conditions: Conditions
    tiers: TierTable
    lots_per_coin: FloatArray
    mark: FloatArray
    usd_per_lot: FloatArray  # at mark
    spreads: tuple[Spread, ...] = ()

    @classmethod
    def of(cls, panel: Panel, instruments: Sequence[Instrument], mandate: Mandate) -> Prepared:
        if panel.instruments != tuple(instrument.name for instrument in instruments):
            raise ValueError("the panel's columns and the instruments must be the same, in the same order")
        lots_per_coin = np.array([float(instrument.lots_per_coin) for instrument in instruments])
        return cls(
            panel,
            tuple(instruments),
            tuple(SignalTable.measured(slot.strategy, _seen_by(slot, panel)) for slot in mandate.strategies),
            Conditions.of(panel, mandate.limits, mandate.sizing),
            TierTable.of(instruments),
            lots_per_coin,
            panel.mark.values,
            panel.mark.values / lots_per_coin,
            mandate.spreads,
        )

    @cached_property
    def legs(self) -> Legs:
        """The columns of all spreads that are traded."""
        return Legs.of(self.spreads, self.panel.instruments)

    def at(self, row: int) -> Market:
        """One row; negative rows count from the newest."""
        return Market(self, row % self.panel.rows if row < 0 else row)


class Market:
    """One moment of a prepared panel."""

    __slots__ = ("prepared", "row", "time_ms")

    def __init__(self, prepared: Prepared, row: int) -> None:
        self.prepared = prepared
        self.row = row
        self.time_ms = prepared.panel.grid.time_ms(row)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        return self.prepared.instruments

    @property
    def mark(self) -> FloatArray:
        """Mark price per instrument, NaN where unknown now."""
        row: FloatArray = self.prepared.mark[self.row]
        return row

    @property
    def usd_per_lot(self) -> FloatArray:
        row: FloatArray = self.prepared.usd_per_lot[self.row]
        return row

    @property
    def all_fresh(self) -> bool:
        """Every price and funding rate is known now."""
        return self.prepared.conditions.all_fresh[self.row]

    @property
    def all_sane(self) -> bool:
        return self.prepared.conditions.all_sane[self.row]

    @property
    def priced(self) -> BoolArray:
        row: BoolArray = self.prepared.conditions.priced[self.row]
        return row

    @property
    def fresh(self) -> BoolArray:
        row: BoolArray = self.prepared.conditions.fresh[self.row]
        return row

    @property
    def sane(self) -> BoolArray:
        row: BoolArray = self.prepared.conditions.sane[self.row]
        return row

    @property
    def age_h(self) -> FloatArray:
        row: FloatArray = self.prepared.conditions.age_h[self.row]
        return row

    @property
    def cap_usd(self) -> FloatArray:
        row: FloatArray = self.prepared.conditions.cap_usd[self.row]
        return row

    @property
    def volatility(self) -> FloatArray | None:
        measured = self.prepared.conditions.volatility
        return None if measured is None else measured[self.row]


def _seen_by(slot: Slot, panel: Panel) -> Panel:
    return spread_panel(panel, slot.spreads) if slot.spreads else panel


def rows_needed(mandate: Mandate, interval_ms: int = HOUR_MS) -> int:
    """How long a live tail must be for one decision to equal the one over the whole history.

    ConfigError where a strategy's signals fail even over an empty market.
    """
    empty = Panel(Grid(0, 1, interval_ms), ("NONE",), {"volume_usd": np.full((1, 1), np.nan)})
    conditions = Conditions.of(empty, mandate.limits, mandate.sizing)
    return max([conditions.reach, *(_reach(slot, interval_ms) for slot in mandate.strategies)])


def _reach(slot: Slot, interval_ms: int) -> int:
    try:
        return reach_of(slot.strategy, interval_ms)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"strategy {slot.name} can't say what it measures: {what_failed(error)}; mend its signals()"
        ) from error
