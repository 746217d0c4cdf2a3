"""The standard workload's strategy: fade the funding of the last hour where it is extreme against its week."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.strategy import (
    Field,
    Hours,
    Opinion,
    Panel,
    Strategy,
    View,
    count_nonzero,
    moving_z,
    sign,
    strongest,
    where,
)


@dataclass(frozen=True)
class WorkloadFade(Strategy):
    """Enter against extreme funding, leave when it is ordinary again; nothing else."""

    enter_z: float = 2.0
    exit_z: float = 0.5
    lookback_h: Hours = 168
    max_positions: int = 10

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        z = moving_z(panel.funding_rate, panel.grid.span(self.lookback_h))
        strength = abs(z)
        return {
            "z": z,
            "strength": strength,
            "extreme": strength > self.enter_z,
            "ordinary": strength < self.exit_z,
        }

    def forecast(self, view: View) -> Opinion:
        score = where(view.ordinary, 0.0, view.previous)
        free = self.max_positions - int(count_nonzero(score))
        if free > 0:
            enter = strongest(view.strength, view.extreme & (view.previous == 0), free)
            score[enter] = -sign(view.z[enter])
        return view.opinion(score, "funding z {z:+.1f}")
