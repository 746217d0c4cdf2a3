"""Both legs of a spread brought to what is wanted, a bounded piece at a time.

It is level-triggered like everything else: the next move follows from what both legs hold now, so that a lost answer, a
partial fill or a restart changes nothing but what is held. The thinner leg goes first, no further than may stand
unhedged; what it got is hedged at once; a hedge that can't be had is tried again at a worse price, and then what was to
be hedged is taken back. What closes is never opened again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from bot.model.spread import Spread
from bot.pipeline.legs import SPARE
from bot.pipeline.mandate import Execution

FIRST_ATTEMPTS = 2
"""Times that the first leg is tried without getting a step; then it is left to the next decision."""


@dataclass(frozen=True, slots=True)
class Group:
    """A spread on its way to `steps` (signed). `first` is the leg that goes first: 0 the primary, 1 the hedge.

    `tries` of the first leg brought nothing in a row, `attempts` left the legs uneven; `stalls` are those of them in a row
    that changed nothing, since `held`. `why` says what the group was turned back for; empty if it was not.
    """

    spread: Spread
    steps: int
    first: int = 1
    tries: int = 0
    attempts: int = 0
    stalls: int = 0
    held: tuple[int, int] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """Trade `lots` (signed) of a leg, as far as `slippage_bps` from mark; `hedges` what is unhedged already."""

    leg: int
    lots: int
    reduce_only: bool
    slippage_bps: float
    hedges: bool


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more can be done now. `unhedged_steps` is what one leg has more than the other, in whole steps."""

    unhedged_steps: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What holds while a group is carried out: what both legs hold, a lot's worth at mark, and what is allowed.

    Without `may_open` nothing grows: what is uneven is evened by closing.
    """

    held: tuple[int, int]
    usd_per_lot: tuple[float, float]
    execution: Execution
    may_open: bool


def next_move(group: Group, scene: Scene) -> tuple[Group, Move | End]:
    """What to do now, and the group as it goes on from there."""
    at = _steps(group.spread, scene.held)
    if abs(at[0] - at[1]) < 1:
        return _next_piece(replace(group, attempts=0, stalls=0), at, scene)
    stalls = group.stalls + 1 if group.held == scene.held else 0
    return _evened(replace(group, tries=0, stalls=stalls, held=scene.held), at, scene)


def _evened(group: Group, at: tuple[Fraction, Fraction], scene: Scene) -> tuple[Group, Move | End]:
    """The leg that is farther from what is wanted follows the other, or the other comes back to it."""
    gap, most = int(abs(at[0] - at[1])), scene.execution.hedge_attempts
    leg = 0 if abs(at[0] - group.steps) >= abs(at[1] - group.steps) else 1
    mine, other = at[leg], at[1 - leg]
    is_between = (mine - group.steps) * (other - group.steps) <= 0
    wanted = group.steps if is_between else int(other)
    if abs(wanted) > abs(mine) and (not scene.may_open or group.attempts >= most):
        why = f"no hedge in {most} attempts" if scene.may_open else "nothing may be opened"
        turned = replace(group, steps=int(mine), attempts=0, stalls=0, held=None, why=why)
        return next_move(turned, scene)
    if group.stalls > most:
        return group, End(gap, group.why or "what is too much of one leg could not be closed")
    move = _move(group.spread, leg, wanted, scene, group.attempts, hedges=True)
    if _is_large_enough(group.spread, move, scene):
        return replace(group, attempts=group.attempts + 1), move
    # No venue takes so small an order: both legs go down by what they take, the larger first.
    larger = 0 if abs(at[0]) > abs(at[1]) else 1
    lower = max(0, int(abs(at[1 - larger])) - _least_steps(group.spread, scene))
    steps = lower if at[larger] > 0 else -lower
    move = _move(group.spread, larger, steps, scene, group.attempts, hedges=True)
    why = "a remainder too small to be hedged"
    return replace(group, steps=steps, attempts=group.attempts + 1, why=why), move


def _next_piece(group: Group, at: tuple[Fraction, Fraction], scene: Scene) -> tuple[Group, Move | End]:
    """Both legs are even: the first one goes on by what may stand unhedged."""
    now = int(at[group.first])
    goal = 0 if now * group.steps < 0 else group.steps  # out first, then in on the other side
    left, step_usd = abs(goal - now), group.spread.primary_lots * scene.usd_per_lot[0]
    if left == 0 or (abs(goal) > abs(now) and not scene.may_open):
        return group, End(0, group.why)
    if group.tries >= FIRST_ATTEMPTS:
        return group, End(0, group.why or "the first leg found nothing to trade with")
    if not step_usd > 0:
        return group, End(0, "there is no price")
    least = _least_steps(group.spread, scene)
    piece = min(left, max(least, int(scene.execution.max_unhedged_usd / step_usd)))
    if 0 < left - piece < least:
        piece = max(
            left - least, min(least, left)
        )  # what is left then is large enough for an order of its own
    wanted = now + (piece if goal > now else -piece)
    move = _move(group.spread, group.first, wanted, scene, group.tries, hedges=False)
    if not _is_large_enough(group.spread, move, scene):
        return group, End(0, "what is left is less than the venue's smallest order")
    return replace(group, tries=group.tries + 1), move


def _steps(spread: Spread, held: tuple[int, int]) -> tuple[Fraction, Fraction]:
    """The position of the spread that each leg stands for, in steps."""
    return Fraction(held[0], spread.primary_lots), Fraction(-held[1], spread.hedge_lots)


def _lots_per_step(spread: Spread, leg: int) -> int:
    return spread.primary_lots if leg == 0 else -spread.hedge_lots


def _move(spread: Spread, leg: int, wanted: int, scene: Scene, failures: int, *, hedges: bool) -> Move:
    before, after = scene.held[leg], wanted * _lots_per_step(spread, leg)
    closes = abs(after) < abs(before) and after * before >= 0
    return Move(leg, after - before, closes, scene.execution.slippage_bps * (1 + failures), hedges)


def _least_steps(spread: Spread, scene: Scene) -> int:
    """The fewest steps of which both legs' orders are large enough for their venues."""
    least = 1
    for leg, instrument in enumerate(spread.legs):
        step_usd = abs(_lots_per_step(spread, leg)) * scene.usd_per_lot[leg]
        if step_usd > 0:
            least = max(least, ceil(SPARE * float(instrument.min_order_usd) / step_usd))
    return least


def _is_large_enough(spread: Spread, move: Move, scene: Scene) -> bool:
    """Whether a venue takes an order of that size; a position may be closed whatever it is worth."""
    is_all = move.reduce_only and scene.held[move.leg] + move.lots == 0
    return is_all or abs(move.lots) * scene.usd_per_lot[move.leg] >= float(
        spread.legs[move.leg].min_order_usd
    )
