"""Calm carry: stand on the paid side of funding, but only get in while prices are calm."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.strategy import Field, Opinion, Panel, Strategy, View, carry_apr, realised_volatility, sign, where


@dataclass(frozen=True)
class CalmCarry(Strategy):
    """One idea, four parameters, two methods."""

    enter_apr: float = 0.25  # carry, a fraction a year, that is worth getting in for
    exit_apr: float = 0.05  # carry below which there is nothing left to stay for
    calm: float = 0.80  # yearly volatility of the last week above which nothing is opened
    half_life_h: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.exit_apr < self.enter_apr:
            raise ValueError(
                f"exit_apr {self.exit_apr} must be at least 0 and below enter_apr {self.enter_apr}; lower it"
            )

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {
            "carry": carry_apr(panel, self.half_life_h),
            "volatility": realised_volatility(panel, hours=24 * 7),
        }

    def forecast(self, view: View) -> Opinion:
        side = -sign(view.carry)  # positive funding is paid by longs to shorts
        enter = (abs(view.carry) > self.enter_apr) & (view.volatility < self.calm)
        stay = (view.previous == side) & (abs(view.carry) > self.exit_apr)
        score = where(enter | stay, side, 0.0)
        return view.opinion(score, because="carry {carry:+.1%} a year, volatility {volatility:.0%}")
