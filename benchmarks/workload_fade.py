"""The standard workload's strategy: fade the funding of the last hour where it is extreme against its week."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.strategy import Field, Hours, Opinion, Panel, Strategy, View, moving_z, sign, strongest, where


@dataclass(frozen=True)
class WorkloadFade(Strategy):
    """Enter against extreme funding, leave when it is ordinary again; nothing else."""

    enter_z: float = 2.0
    exit_z: float = 0.5
    lookback_h: Hours = 168
    max_positions: int = 10

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"z": moving_z(panel.funding_rate, panel.grid.span(self.lookback_h))}

    def forecast(self, view: View) -> Opinion:
        extreme = abs(view.z)
        held = view.previous != 0
        stay = held & (extreme >= self.exit_z)
        free = self.max_positions - int(stay.sum())
        enter = strongest(extreme, ~held & (extreme > self.enter_z), free)
        score = where(stay, view.previous, where(enter, -sign(view.z), 0.0))
        return view.opinion(score, "funding z {z:+.1f}")
