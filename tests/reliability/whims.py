"""A strategy that trades all the time: it wants something else of every coin every hour."""

import hashlib
from dataclasses import dataclass

import numpy as np

from bot.strategy import Field, Opinion, Panel, Strategy, View


@dataclass(frozen=True)
class Whims(Strategy):
    """Wants what seed and hour say; `size` 0 wants nothing."""

    seed: int = 1
    size: float = 1.0

    def signals(self, panel: Panel) -> dict[str, Field]:
        return {"price": panel.mark}

    def forecast(self, view: View) -> Opinion:
        drawn = hashlib.sha256(f"{self.seed} {view.time_ms}".encode()).digest()
        scores = np.array([(byte % 5 - 2) / 2 for byte in drawn[: len(view.instruments)]])
        return view.opinion(scores * self.size, "a whim")
