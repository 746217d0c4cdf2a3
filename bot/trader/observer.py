"""Keeps as much of the market's past as the strategies need, and makes it ready for the next decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bot.clock import HOUR_MS, utc
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

    def before_next(self, now_ms: int) -> int:
        """`now_ms`, or where rows that are to come are of an earlier time the last moment before them.

        The next is the newest that has ended, or the one before where a venue tells it late.
        """
        grid = self.panel.grid
        newest_ms = now_ms - now_ms % grid.interval_ms
        return min(now_ms, max(grid.end_ms + grid.interval_ms, newest_ms - grid.interval_ms) - 1)

    def recall(self, rows: Mapping[int, Mapping[str, FloatArray]]) -> None:
        """Put back what was seen live at the times of `rows`, which a venue's history may not tell (open interest)."""
        grid = self.panel.grid
        fields = {name: values.copy() for name, values in self.panel.fields.items()}
        for time_ms, seen in rows.items():
            row = grid.row(time_ms)
            if time_ms % grid.interval_ms or not 0 <= row < grid.rows:
                continue
            for name, values in seen.items():
                if name not in fields:
                    fields[name] = np.full((grid.rows, len(self._instruments)), np.nan)
                np.copyto(fields[name][row], values, where=np.isfinite(values))
        self.panel = Panel(grid, self.panel.instruments, fields)

    def now(self, mark: FloatArray) -> Market:
        """The newest row's moment with the prices of now; 0 is no price."""
        fields = {name: values for name, values in self.panel.fields.items() if name != "mark"}
        marks = self.panel.mark.values.copy()
        marks[-1] = np.where(mark > 0, mark, np.nan)
        panel = Panel(self.panel.grid, self.panel.instruments, {**fields, "mark": marks})
        return Prepared.of(panel, self._instruments, self._mandate).at(-1)

    def pass_over(self, time_ms: int, row: Mapping[str, FloatArray]) -> None:
        """Take in a row that nothing was decided on."""
        self.panel = self.panel.append(time_ms, row, self.rows)

    def cautions(self) -> tuple[str, ...]:
        """What should be known before the first cycle: capital lent twice, strategies that must wait for history."""
        prepared = Prepared.of(self.panel, self._instruments, self._mandate)
        return (
            *self._mandate.cautions(),
            *late_opinions(prepared, self._mandate, self.panel.rows - 1, goes_on=True),
        )

    def see(self, time_ms: int, row: Mapping[str, FloatArray]) -> Market:
        """Take in the market's newest row and return the moment it makes."""
        self.panel = self.panel.append(time_ms, row, self.rows)
        return Prepared.of(self.panel, self._instruments, self._mandate).at(-1)


def late_opinions(
    prepared: Prepared, mandate: Mandate, first_row: int, *, goes_on: bool = False
) -> tuple[str, ...]:
    """A sentence for each strategy that can have no opinion yet at the first row to decide on, and when it can.

    Where the panel ends before, the moment follows from what the strategy needs, and it may come earlier. A panel that
    `goes_on` is the past of a live market: what no venue tells of the past (open interest) is seen from now on.
    """
    grid, sentences = prepared.panel.grid, []
    hours = grid.interval_ms / HOUR_MS
    for slot, table in zip(mandate.strategies, prepared.tables, strict=True):
        known = np.asarray(table.ready[first_row:].any(axis=1))
        if table.problem or (len(known) and known[0]):
            continue
        if known.any():
            begins = utc(grid.time_ms(first_row + int(np.argmax(known))))
        elif goes_on:
            begins = f"{utc(grid.time_ms(first_row + table.reach))} at the latest, where the market tells what it measures"
        elif table.reach > grid.rows:
            begins = f"{utc(grid.time_ms(table.reach - 1))} at the latest"
        else:
            begins = "no hour of this data: what it measures is never known"
        sentences.append(
            f"strategy {slot.name} needs up to {table.reach * hours:g} h of history and has {(first_row + 1) * hours:g} h "
            f"at its first decision; its first opinion comes at {begins}"
        )
    return tuple(sentences)
