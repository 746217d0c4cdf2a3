"""A strategy that says what a test says."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bot.model.decision import Opinion
from bot.model.panel import Field, Panel
from bot.pipeline.strategy import Strategy, View


@dataclass(frozen=True)
class Says(Strategy):
    """One score for every instrument whose price it sees."""

    score: float = 0.0

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"mark": panel.mark}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(np.full(len(view.mark), self.score), "told so")
