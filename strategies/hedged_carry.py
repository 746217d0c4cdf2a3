"""Hedged carry: collect what one leg of a spread pays over the other, where that pays for getting in and out.

Each entry is underwritten. What is expected over the hold is the carry of today on its way back to its own mean, as fast
as it has gone there lately; against it stand the cost of both legs, in and out, a basis that is less favourable than usual,
and a premium for what the basis may still do. A position stays as long as it is expected to be paid: closing at every flip
of the sign is known to turn gains into fees, which `exit = "flip"` is there to show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bot.strategy import (
    HOURS_PER_YEAR,
    Field,
    FloatArray,
    Hours,
    Opinion,
    Panel,
    Strategy,
    View,
    basis,
    carry_apr,
    exp,
    funding_apr,
    half_life_h,
    maximum,
    moving_mean,
    moving_std,
    sign,
    where,
)


@dataclass(frozen=True)
class HedgedCarry(Strategy):
    """Parameters: rates are yearly fractions, costs fractions of one leg's notional."""

    half_life_h: Hours = 24  # smoothing of the carry that is measured
    lookback_h: Hours = 24 * 30  # over which mean, persistence and basis are measured
    hold_h: Hours = 24 * 14  # hold that the carry must pay for
    round_trip_cost: float = 0.0023  # fees and half spreads of both legs, in and out
    basis_premium: float = 0.5  # standard deviations of the basis that the carry must pay for besides
    hurdle: float = 0.0005  # what must be left after all of it to enter
    stay: float = 0.0  # expected carry over the hold below which a position is let go
    min_hold_h: Hours = 24 * 3  # a new position is given this long
    exit: Literal["value", "never", "flip"] = "value"  # flip: in and out with the sign of the last settlement

    def __post_init__(self) -> None:
        if min(self.half_life_h, self.hold_h) < 1 or self.lookback_h < 48:
            raise ValueError("half_life_h and hold_h must be at least 1, lookback_h at least 48")
        if self.exit not in ("value", "never", "flip"):
            raise ValueError(f'exit must be "value", "never" or "flip", found {self.exit!r}')

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        rows, gap = panel.grid.span(self.lookback_h), basis(panel)
        least = max(1, int(rows * 0.9))
        return {
            "carry": carry_apr(panel, self.half_life_h),
            "paid_last": funding_apr(panel),
            "usual": moving_mean(panel.funding_rate, rows, min_count=least) * HOURS_PER_YEAR,
            "fades_h": half_life_h(panel.funding_rate, 24, self.lookback_h),
            "gap": gap,
            "usual_gap": moving_mean(gap, rows, min_count=least),
            "gap_moves": moving_std(gap, rows, min_count=least),
        }

    def forecast(self, view: View) -> Opinion:
        expected = self.expected(view.carry, view.usual, view.fades_h)
        side = -sign(expected)  # who is short is paid a positive carry
        # Sold cheaper than usual against its hedge, the primary leg will cost that much when the gap closes.
        poor_basis = maximum(side * (view.gap - view.usual_gap), 0.0)
        cost = self.round_trip_cost + poor_basis + self.basis_premium * view.gap_moves
        enter = abs(expected) > cost + self.hurdle
        held = sign(view.previous)
        if self.exit == "flip":
            score = -sign(view.paid_last)
        else:
            worth = -held * expected  # to who holds it
            stays = (held != 0) & (
                (worth > self.stay) | (view.hours_held < self.min_hold_h) | (self.exit == "never")
            )
            score = where(stays, held, where(enter, side, 0.0))
        return view.opinion(
            score,
            "{doing}: {carry:+.1%} a year net now, {usual:+.1%} usually, halfway there in {fades_h:.0f} h: {expected:+.2%} "
            "expected over the hold against {cost:.2%}; basis {bps:+.1f} bps, usually {usual_bps:+.1f}",
            edge=where(score != 0, -sign(score) * expected, abs(expected)),
            doing=lambda: where(score < 0, "short", where(score > 0, "long", "out")),
            expected=expected,
            cost=cost,
            half_life_h=lambda: view.fades_h,
            round_trip=lambda: 0.0 * view.carry + self.round_trip_cost,
            poor_basis=lambda: poor_basis,
            basis_premium=lambda: self.basis_premium * view.gap_moves,
            hurdle=lambda: 0.0 * view.carry + self.hurdle,
            hold_h=lambda: 0.0 * view.carry + self.hold_h,
            bps=lambda: view.gap * 1e4,
            usual_bps=lambda: view.usual_gap * 1e4,
        )

    def expected(self, carry: FloatArray, usual: FloatArray, fades_h: FloatArray) -> FloatArray:
        """Carry over `hold_h` while its distance from the mean halves every `fades_h`: `m·H + (c − m)·τ(1 − e^(−H/τ))`."""
        tau = fades_h / 0.6931471805599453
        result: FloatArray = (
            usual * self.hold_h + (carry - usual) * tau * (1 - exp(-self.hold_h / tau))
        ) / HOURS_PER_YEAR
        return result
