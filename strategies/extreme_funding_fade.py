"""Extreme-funding fade: lean against a crowd that pays too much to stay and has begun to leave.

Extreme funding alone is no signal: level and reward are not even monotonic, and trends carry it for weeks. The crowd
must be extreme in funding or premium *and* visibly stop winning: open interest falls, or price stalls against it.
Violent markets are left alone, a time stop ends what does not work. Paper first: its published record is mixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bot.strategy import (
    Field,
    Hours,
    Opinion,
    Panel,
    Strategy,
    View,
    drift,
    nan_to_num,
    open_interest_change,
    realised_volatility,
    sign,
    strongest,
    where,
    zscore,
)


@dataclass(frozen=True)
class ExtremeFundingFade(Strategy):
    """Parameters: z-scores over `lookback_h`; moves in usual moves; volatility annualised."""

    enter_z: float = 2.5
    exit_z: float = 0.5
    lookback_h: Hours = 24 * 14
    stall: float = 0.25  # the crowd's six-hour move may not exceed this many usual moves
    unwinding: float = -0.01  # relative change of open interest in six hours that counts as leaving
    max_volatility: float = 2.0  # above this nothing is opened
    time_stop_h: Hours = 72
    rest_h: Hours = 24  # after leaving, so that a time stop is not undone an hour later
    max_positions: int = 5

    optional: ClassVar[frozenset[str]] = frozenset({"premium_z", "flow"})

    def __post_init__(self) -> None:
        if not 0 <= self.exit_z < self.enter_z:
            raise ValueError(
                f"exit_z must be at least 0 and below enter_z, found {self.exit_z} and {self.enter_z}"
            )

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {
            "funding_z": zscore(panel.funding_rate, self.lookback_h),
            "premium_z": zscore(panel.premium, self.lookback_h),
            "flow": open_interest_change(panel, hours=6),
            "move": drift(panel, hours=6),
            "volatility": realised_volatility(panel, hours=24 * 7),
        }

    def forecast(self, view: View) -> Opinion:
        premium_z = where(
            abs(nan_to_num(view.premium_z)) > abs(view.funding_z), view.premium_z, view.funding_z
        )
        z = where(sign(premium_z) == sign(view.funding_z), premium_z, view.funding_z)
        crowd = sign(z)
        leaving = nan_to_num(view.flow) < self.unwinding
        stalled = crowd * view.move < self.stall
        held = view.previous != 0
        stay = (
            held
            & (abs(z) > self.exit_z)
            & (crowd == -sign(view.previous))
            & (view.hours_held < self.time_stop_h)
        )
        enter = (
            ~held & (abs(z) > self.enter_z) & (leaving | stalled) & (view.volatility < self.max_volatility)
        ) & (view.hours_flat >= self.rest_h)
        taken = stay | (held & ~view.ready)  # without data a position stays, and takes its place
        enter &= strongest(abs(z), enter, self.max_positions - int(taken.sum()))
        score = where(stay, view.previous, where(enter, -crowd, 0.0))
        return view.opinion(
            score,
            "crowd at z {z:+.1f}; its last 6 h moved {move:+.1f} usual moves, open interest {flow:+.1%}",
            z=z,
        )
