"""Keeps as much of the market's past as the strategies need, and makes it ready for the next decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.model.instrument import Instrument
from bot.model.panel import FloatArray, Panel
from bot.pipeline.mandate import Mandate
from bot.pipeline.market import Market, Prepared, rows_needed


class Observer:
    """The tail of a panel that grows at one end and is cut at the other.

    Its newest row decides the same as the whole history would, bit for bit: `rows_needed` says how long it must be.
    """

    def __init__(self, panel: Panel, instruments: Sequence[Instrument], mandate: Mandate) -> None:
        self.rows = rows_needed(mandate, panel.grid.interval_ms)
        self.panel = panel.tail(self.rows)
        self._instruments = tuple(instruments)
        self._mandate = mandate

    def see(self, time_ms: int, row: Mapping[str, FloatArray]) -> Market:
        """Take in the market's newest row and return the moment it makes."""
        self.panel = self.panel.append(time_ms, row, self.rows)
        return Prepared.of(self.panel, self._instruments, self._mandate).at(-1)
