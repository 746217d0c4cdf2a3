"""The two promises of anything that is measured over a panel, put to the test, whatever measures it.

A measurement is a function of a panel that gives arrays by name and says how many rows back the deepest of them
reaches. It must not know the future, and its last row over that many rows must be its last row over everything.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from bot.model.panel import Field, FloatArray, Panel
from bot.pipeline.strategy import SignalTable, Strategy

Measure = Callable[[Panel], tuple[Mapping[str, FloatArray], int]]


def of_signal(signal: Callable[[Panel], Field]) -> Measure:
    def measure(panel: Panel) -> tuple[Mapping[str, FloatArray], int]:
        field = signal(panel)
        return {"signal": field.values}, field.reach

    return measure


def of_strategy(strategy: Strategy) -> Measure:
    def measure(panel: Panel) -> tuple[Mapping[str, FloatArray], int]:
        table = SignalTable.of(strategy, panel)
        return {**table.values, "ready": table.ready.astype(np.float64)}, table.reach

    return measure


def looks_ahead(measure: Measure, panel: Panel, rows: list[int]) -> list[str]:
    """Names of what moves at or before one of `rows` when everything after it is another."""
    before, _ = measure(panel)
    caught = []
    for row in rows:
        for how, other in other_futures(panel, row):
            after, _ = measure(other)
            caught += [
                f"{name} before row {row}, {how}"
                for name in before
                if not same_bits(before[name][: row + 1], after[name][: row + 1])
            ]
    return caught


def depends_on_more_than_its_reach(measure: Measure, panel: Panel, rows: list[int]) -> list[str]:
    """Names of what differs, in the last row, between the whole history and the tail that was said to be enough."""
    whole, reach = measure(panel)
    caught = []
    for row in rows:
        for extra in (0, 1, 37):
            tail, _ = measure(panel.slice(max(0, row + 1 - reach - extra), row + 1))
            caught += [
                f"{name} at row {row}, {reach} + {extra} rows"
                for name in whole
                if not same_bits(whole[name][row], tail[name][-1])
            ]
    return caught


def other_futures(panel: Panel, row: int) -> Iterator[tuple[str, Panel]]:
    """The panel with other values after `row`: scaled by chance, unknown, absurd, and cut off."""
    draw = np.random.default_rng(row)
    for how in ("by chance", "unknown", "absurd"):
        fields = {name: values.copy() for name, values in panel.fields.items()}
        for values in fields.values():
            if how == "by chance":
                values[row + 1 :] *= draw.uniform(-2, 2, values[row + 1 :].shape)
            else:
                values[row + 1 :] = np.nan if how == "unknown" else 1e15
        yield how, Panel(panel.grid, panel.instruments, fields)
    yield "cut off", panel.slice(0, row + 1)


def same_bits(left: FloatArray, right: FloatArray) -> bool:
    unknown = np.isnan(left)
    if left.shape != right.shape or not np.array_equal(unknown, np.isnan(right)):
        return False
    return left[~unknown].tobytes() == right[~unknown].tobytes()
