"""Positioning: trade two regimes, small, where price, open interest, volume and funding agree.

Fresh money that moves price without paying up for it tends to be early; a crowd that pays up tends to be late. So this
follows fresh longs and fresh shorts while funding is still ordinary, and does nothing in any other regime.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.strategy import (
    Field,
    Hours,
    Opinion,
    Panel,
    Regime,
    Strategy,
    View,
    regime,
    regime_labels,
    stress,
    where,
    zscore,
)


@dataclass(frozen=True)
class Positioning(Strategy):
    """Parameters: `score` is the size of an opinion, `calm` the stress above which it has none."""

    score: float = 0.5
    calm: float = 0.5
    max_z: float = 1.0  # funding more unusual than this is a crowd already
    max_hold_h: Hours = 48
    rest_h: Hours = 24  # after leaving, so that a hold that has run out is not simply begun again

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {
            "regime": regime(panel),
            "stress": stress(panel),
            "funding_z": zscore(panel.funding_rate, hours=24 * 14),
        }

    def forecast(self, view: View) -> Opinion:
        early = (abs(view.funding_z) < self.max_z) & (view.stress < self.calm)
        following = where(
            view.regime == Regime.FRESH_LONGS, 1.0, where(view.regime == Regime.FRESH_SHORTS, -1.0, 0.0)
        )
        fresh = where(early, following * self.score, 0.0)
        staying = (view.previous != 0) & (view.hours_held < self.max_hold_h) & (view.stress < self.calm)
        score = where(staying, view.previous, where(view.hours_flat >= self.rest_h, fresh, 0.0))
        return view.opinion(
            score,
            "{doing}, funding z {funding_z:+.1f}, stress {stress:.2f}",
            doing=lambda: regime_labels(view.regime),
        )
