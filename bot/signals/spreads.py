"""A panel in which the column of each spread's primary leg tells of the spread: what strategies on spreads are shown.

Carry strategies read it as they read any other: `funding_rate` is what a long unit of the spread pays an hour, net of what
its hedge is paid; `reference` is the hedge's price, so that `basis` is that between the legs. What limits a position is
taken from the leg that allows less. Columns that are no spread's primary leg are unknown throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bot.model.instrument import Kind
from bot.model.panel import FloatArray, Panel
from bot.model.spread import Spread

LEAST = ("volume_usd", "depth_usd")
"""Fields of which the smaller one counts."""

ADDED = ("spread_bps",)
"""Fields that both legs cost."""

NET = ("funding_rate", "predicted_funding", "settled_funding")
"""Rates of the primary leg less those of the hedge; spot pays none."""


def spread_panel(panel: Panel, spreads: Sequence[Spread]) -> Panel:
    """The panel as a strategy on `spreads` sees it. ValueError where a leg has no column."""
    columns = {name: column for column, name in enumerate(panel.instruments)}
    missing = [leg.name for each in spreads for leg in each.legs if leg.name not in columns]
    if missing:
        raise ValueError(f"the panel has no column of {missing[0]}, a leg of a spread")
    primaries = np.array([columns[each.primary.name] for each in spreads], dtype=np.intp)
    hedges = np.array([columns[each.hedge.name] for each in spreads], dtype=np.intp)
    scale = np.array([each.hedge_per_primary for each in spreads])
    on_spot = np.array([each.hedge.kind is Kind.SPOT for each in spreads], dtype=np.bool_)

    def merged(values: FloatArray, combine: Callable[[FloatArray, FloatArray], FloatArray]) -> FloatArray:
        told = np.full(values.shape, np.nan)
        told[:, primaries] = combine(values[:, primaries], values[:, hedges])
        return told

    def net(ours: FloatArray, theirs: FloatArray) -> FloatArray:
        return ours - np.where(on_spot, 0.0, theirs)

    fields: dict[str, FloatArray] = {}
    for name, values in panel.fields.items():
        if name in NET:
            fields[name] = merged(values, net)
        elif name in LEAST:
            fields[name] = merged(values, np.minimum)
        elif name in ADDED:
            fields[name] = merged(values, np.add)
        else:
            fields[name] = merged(values, lambda ours, _: ours)
    values_shape = (panel.rows, len(columns))
    for name in ("mark", "close"):
        if name in panel.fields:
            hedge_price = panel.fields[name][:, hedges] * scale
            fields["reference"] = np.full(values_shape, np.nan)
            fields["reference"][:, primaries] = hedge_price
            break
    return Panel(panel.grid, panel.instruments, fields)
