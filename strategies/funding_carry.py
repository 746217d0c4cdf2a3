"""Funding carry: stand on the side of the market that is being paid.

When longs pay shorts, the crowd is long and pays rent. This takes the other side when the rent expected over the hold,
decaying as it is known to, pays for getting in and out with something to spare, and stays until the rent is gone,
not until its sign flips: closing at every flip turns gains into fees. On a perpetual alone the position also carries
the price, so it steps aside from prices that run against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.strategy import (
    HOURS_PER_YEAR,
    Field,
    FloatArray,
    Hours,
    Opinion,
    Panel,
    Strategy,
    View,
    carry_apr,
    drift,
    exp,
    sign,
    where,
)


@dataclass(frozen=True)
class FundingCarry(Strategy):
    """Parameters: rates are yearly fractions, costs fractions of notional."""

    half_life_h: Hours = 24  # smoothing of the carry that is measured
    decay_h: Hours = 72  # half-life with which today's carry is expected to fade
    hold_h: Hours = 168  # hold that the carry must pay for
    round_trip_cost: float = 0.0011  # both fees and both half spreads
    hurdle: float = 0.0005  # what must be left after costs to enter
    exit_apr: float = 0.03  # below this carry the position is let go
    full_apr: float = 0.60  # carry at which the position is full
    max_headwind: float = 1.5  # usual two-day moves against the position above which nothing is entered
    give: float = 1.0  # as many more are borne before a position steps aside
    min_hold_h: Hours = 24  # a new position is given this long unless the price runs

    def __post_init__(self) -> None:
        if not 0 <= self.exit_apr < self.full_apr:
            raise ValueError(
                f"exit_apr must be at least 0 and below full_apr, found {self.exit_apr} and {self.full_apr}"
            )
        if self.give < 0:
            raise ValueError(f"give must be at least 0, found {self.give}")
        if min(self.half_life_h, self.decay_h, self.hold_h) < 1:
            raise ValueError("half_life_h, decay_h and hold_h must be at least 1")

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"carry": carry_apr(panel, self.half_life_h), "drift": drift(panel, hours=48)}

    def forecast(self, view: View) -> Opinion:
        rate, rent = abs(view.carry), self.expected_rent(abs(view.carry))
        side = -sign(view.carry)  # positive carry is earned by the short
        headwind = -side * view.drift
        enter = (rent > self.round_trip_cost + self.hurdle) & (headwind < self.max_headwind)
        holding = (view.previous != 0) & (sign(view.previous) == side)
        patient = (view.previous != 0) & (view.hours_held < self.min_hold_h)
        paid = holding & (rate > self.exit_apr)
        against = -sign(view.previous) * view.drift  # of the position held; 0 where there is none
        calm = against < self.max_headwind + self.give
        size = where(rate < self.full_apr, rate / self.full_apr, 1.0)
        kept = where(paid, size * side, view.previous)
        score = where((paid | patient) & calm, kept, where(enter, size * side, 0.0))
        return view.opinion(
            score,
            "{doing}: paid {paid:+.1%} a year, {rent:+.2%} expected over the hold; {headwind:+.1f} usual moves of headwind",
            edge=rent,
            doing=lambda: where(
                score > 0, "long", where(score < 0, "short", where(side > 0, "no long", "no short"))
            ),
            # A young position stays for a while even when the carry has turned, and then it is the one who pays.
            paid=lambda: where(sign(score) == -side, -rate, rate),
            rent=rent,
            headwind=headwind,
        )

    def expected_rent(self, rate: FloatArray) -> FloatArray:
        """Carry collected over `hold_h` while the rate halves every `decay_h`: `rate·τ·(1 − e^(−hold/τ))`."""
        tau = self.decay_h / 0.6931471805599453
        rent: FloatArray = rate / HOURS_PER_YEAR * tau * (1 - exp(-self.hold_h / tau))
        return rent
