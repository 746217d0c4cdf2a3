"""Price, open interest, volume and funding read together.

Each alone says little: rising open interest is fresh longs or fresh shorts depending on price, and a crowd only when
it also pays to stay. The regimes are descriptions, not predictions; `positioning` in the strategies folder trades
two of them, small.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bot.model.panel import Field, FloatArray, Panel
from bot.signals.flow import open_interest_change, volume_surge
from bot.signals.funding import zscore
from bot.signals.volatility import drift, realised_volatility


class Regime(IntEnum):
    """What traders have been doing over the last day."""

    QUIET = 0  # price within its usual range, or open interest unchanged
    FRESH_LONGS = 1  # price up, open interest up
    SHORT_COVERING = 2  # price up, open interest down
    FRESH_SHORTS = 3  # price down, open interest up
    LONG_EXIT = 4  # price down, open interest down
    CROWDED_LONGS = 5  # fresh longs on heavy volume that pay unusually much to stay
    CROWDED_SHORTS = 6  # fresh shorts on heavy volume that pay unusually much to stay
    CASCADE = 7  # open interest collapses on a burst of volume while price runs: forced closing

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", " ")


LABELS = np.array([*(each.label for each in Regime), "unknown"])


def regime_labels(codes: FloatArray) -> NDArray[np.str_]:
    """The regimes in words, for a because; "unknown" for NaN."""
    labels: NDArray[np.str_] = LABELS[np.where(np.isfinite(codes), codes, len(Regime)).astype(np.int64)]
    return labels


HOURS = 24
FUNDING_HOURS = 24 * 14
MOVE = 0.5  # usual daily moves
FLOW = 0.01  # relative change of open interest in a day
CROWD_Z = 1.0
CROWD_SURGE = 1.0
CASCADE_FLOW = -0.10
CASCADE_SURGE = 2.0
CASCADE_MOVE = 1.5


def regime(panel: Panel) -> Field:
    """A `Regime` code per row and instrument; NaN where price, open interest, volume or funding is unknown."""
    move, flow = drift(panel, HOURS), open_interest_change(panel, HOURS)
    surge, crowd = volume_surge(panel), zscore(panel.funding_rate, FUNDING_HOURS)
    up, down = (move > MOVE).values, (move < -MOVE).values
    growing, shrinking = (flow > FLOW).values, (flow < -FLOW).values
    heavy = (surge > CROWD_SURGE).values
    cascade = (
        (flow < CASCADE_FLOW).values & (surge > CASCADE_SURGE).values & (abs(move) > CASCADE_MOVE).values
    )
    code = np.select(
        [
            cascade,
            up & growing & heavy & (crowd > CROWD_Z).values,
            down & growing & heavy & (crowd < -CROWD_Z).values,
            up & growing,
            up & shrinking,
            down & growing,
            down & shrinking,
        ],
        [
            float(Regime.CASCADE),
            float(Regime.CROWDED_LONGS),
            float(Regime.CROWDED_SHORTS),
            float(Regime.FRESH_LONGS),
            float(Regime.SHORT_COVERING),
            float(Regime.FRESH_SHORTS),
            float(Regime.LONG_EXIT),
        ],
        float(Regime.QUIET),
    )
    inputs = (move, flow, surge, crowd)
    known = np.logical_and.reduce([np.isfinite(field.values) for field in inputs])
    return Field(np.where(known, code, np.nan), panel.grid, max(field.reach for field in inputs))


def stress(panel: Panel) -> Field:
    """How strained positioning is, 0 (calm) … 1: any one gauge at its extreme, or several half-way, is enough.

    Gauges: funding z-score, flow out of open interest, volume surge, and the last day's volatility against its
    fortnight. They are joined as independent alarms, `1 − Π (1 − gauge)`. NaN where price or funding is unknown;
    an unknown open interest or volume sounds no alarm, which `scan` points out.
    """
    funding = _ramp(abs(zscore(panel.funding_rate, FUNDING_HOURS)), 1.5, 4.0)
    ratio = realised_volatility(panel, 24) / realised_volatility(panel, 24 * 14)
    volatility = _ramp(ratio, 1.25, 3.0)
    outflow = _ramp(-open_interest_change(panel, HOURS), 0.05, 0.30)
    surge = _ramp(volume_surge(panel), 1.5, 5.0)
    calm = (1.0 - funding.values) * (1.0 - volatility.values)
    for optional in (outflow, surge):
        calm = calm * (1.0 - np.nan_to_num(optional.values, nan=0.0))
    reach = max(field.reach for field in (funding, volatility, outflow, surge))
    return Field(1.0 - calm, panel.grid, reach)


def _ramp(field: Field, start: float, full: float) -> Field:
    """0 up to `start`, 1 from `full` on, a straight line between."""

    def line(values: FloatArray) -> FloatArray:
        return np.clip((values - start) / (full - start), 0.0, 1.0)

    return field.apply(line)
