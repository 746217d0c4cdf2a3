"""Both legs of a spread brought to what is wanted, a bounded piece at a time.

It is level-triggered like everything else: the next move follows from what both legs hold now, so that a lost answer, a
partial fill or a restart changes nothing but what is held. The thinner leg goes first, no further than may stand
unhedged; what it got is hedged at once; a hedge that can't be had is tried again at a worse price, and then what was to
be hedged is taken back. What closes is never opened again.

A spot market takes its fee out of the coins that are bought, so that what was received is known only afterwards: where a
spread grows, its spot leg goes first whichever is thinner, and the perpetual hedges what came of it. What is less than
a step, or too small for an order, is no reason to trade: it is made up for with the next piece, or stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, nan

from bot.model.instrument import Kind
from bot.model.spread import Spread
from bot.pipeline.closing import WIDEST
from bot.pipeline.legs import SPARE
from bot.pipeline.mandate import Execution

FIRST_ATTEMPTS = 2
"""Times that the first leg is tried without getting a step; then it is left to the next decision."""


TOO_SMALL_A_CAP = "the smallest piece of it is more than execution.max_unhedged_usd"


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
    """Nothing more can be done now. `unhedged_steps` is what one leg has more than the other, in whole steps.

    `dust_usd` are coins on a spot market that are not wanted, and worth less than any order that it takes.
    """

    unhedged_steps: int
    why: str = ""
    dust_usd: float = 0.0


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
    is_even, stands = abs(at[0] - at[1]) < 1, group.held == scene.held
    if not all(usd > 0 for usd in scene.usd_per_lot):
        return group, End(int(abs(at[0] - at[1])), "there is no price")
    tries = group.tries if stands or (is_even and group.steps) else 0
    group = replace(group, held=scene.held, tries=tries)
    if is_even:
        return _next_piece(replace(group, attempts=0, stalls=0), at, scene)
    return _evened(replace(group, stalls=group.stalls + 1 if stands else 0), at, scene)


def is_uneven(spread: Spread, held: tuple[int, int], usd_per_lot: tuple[float, float]) -> bool:
    """Whether one leg holds a step or more that the other does not hedge; coins that no order can sell are none."""
    at = _steps(spread, held)
    is_dust = held[0] == 0 and spread.hedge.kind is Kind.SPOT and _is_dust(spread, held[1], usd_per_lot[1])
    return abs(at[0] - at[1]) >= 1 and not is_dust


def least_cap_usd(spread: Spread, usd_per_lot: tuple[float, float]) -> float:
    """The least `execution.max_unhedged_usd` with which a spread can be opened at these prices; NaN without them."""
    if not all(usd > 0 for usd in usd_per_lot):
        return nan
    return _least_steps(spread, usd_per_lot, grows=True) * spread.primary_lots * usd_per_lot[0]


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
    if not group.why:  # No venue takes so small an order: it is hedged with the next piece, if there is one.
        further, told = _next_piece(replace(group, attempts=0), at, scene)
        if isinstance(told, Move) and not told.reduce_only:
            return further, told
    # Both legs go down by what the venues take, the larger first.
    larger = 0 if abs(at[0]) > abs(at[1]) else 1
    least = _least_steps(group.spread, scene.usd_per_lot)
    lower = int(abs(at[1 - larger])) - least
    if lower < (1 if group.steps else least):
        lower = 0
    steps = lower if at[larger] > 0 else -lower
    move = _move(group.spread, larger, steps, scene, group.attempts, hedges=True)
    why = group.why or "a remainder too small to be hedged"
    lowered = replace(group, steps=steps, attempts=group.attempts + 1, why=why)
    return (lowered, move) if _is_large_enough(group.spread, move, scene) else _cleared(lowered, at, scene)


def _next_piece(group: Group, at: tuple[Fraction, Fraction], scene: Scene) -> tuple[Group, Move | End]:
    """Both legs are even, as nearly as orders can make them: the first one goes on by what may stand unhedged."""
    spread = group.spread
    first = group.first
    if spread.hedge.kind is Kind.SPOT and abs(group.steps) > abs(int(at[0])):
        first = 1
    now = int(at[first])
    goal = 0 if now * group.steps < 0 else group.steps  # out first, then in on the other side
    left, grows = abs(goal - now), abs(goal) > abs(now)
    if left == 0:
        return _cleared(group, at, scene) if group.steps == 0 else (group, End(0, group.why))
    if grows and not scene.may_open:
        return group, End(0, group.why)
    if group.tries >= FIRST_ATTEMPTS:
        return group, End(0, group.why or "the first leg found nothing to trade with")
    least = _least_steps(spread, scene.usd_per_lot, grows=grows)
    most = int(scene.execution.max_unhedged_usd / (spread.primary_lots * scene.usd_per_lot[0]))
    if grows:
        ahead = int((at[first] - at[1 - first]) * (1 if goal > now else -1))
        most -= max(0, ahead)
        if left < least:
            return group, End(0, group.why or "what is left is less than the venues' smallest order")
        if most < least:
            return group, End(0, group.why or TOO_SMALL_A_CAP)
    piece = min(left, max(least, most))
    if 0 < left - piece < least:  # what is left then is to be large enough for an order of its own
        piece = left - least if left >= 2 * least else piece if grows else left
    wanted = now + (piece if goal > now else -piece)
    move = _move(spread, first, wanted, scene, group.tries, hedges=False)
    if _is_large_enough(spread, move, scene):
        return replace(group, tries=group.tries + 1), move
    if group.steps == 0:
        return _cleared(group, at, scene)
    return group, End(0, group.why or "what is left is less than the venue's smallest order")


def _cleared(group: Group, at: tuple[Fraction, Fraction], scene: Scene) -> tuple[Group, Move | End]:
    """Nothing is wanted: what is left is closed whole, a leg at a time, as far as the venues take it."""
    spread, dust_usd = group.spread, 0.0
    for leg in (0, 1):
        move = _move(spread, leg, 0, scene, group.tries, hedges=False)
        if move.lots and _is_large_enough(spread, move, scene):
            if group.tries >= FIRST_ATTEMPTS:
                return group, End(int(abs(at[0] - at[1])), group.why or "what is left could not be closed")
            return replace(group, tries=group.tries + 1), move
        dust_usd += abs(move.lots) * scene.usd_per_lot[leg]
    return group, End(0, group.why, dust_usd)


def _steps(spread: Spread, held: tuple[int, int]) -> tuple[Fraction, Fraction]:
    """The position of the spread that each leg stands for, in steps."""
    return Fraction(held[0], spread.primary_lots), Fraction(-held[1], spread.hedge_lots)


def _lots_per_step(spread: Spread, leg: int) -> int:
    return spread.primary_lots if leg == 0 else -spread.hedge_lots


def _move(spread: Spread, leg: int, wanted: int, scene: Scene, failures: int, *, hedges: bool) -> Move:
    before, after = scene.held[leg], wanted * _lots_per_step(spread, leg)
    closes = abs(after) < abs(before) and after * before >= 0
    return Move(leg, after - before, closes, scene.execution.slippage_bps * min(1 + failures, WIDEST), hedges)


def _least_steps(spread: Spread, usd_per_lot: tuple[float, float], *, grows: bool = False) -> int:
    """The fewest steps of which both legs' orders are large enough for their venues, a fee in coins taken off."""
    least = 1
    for leg, instrument in enumerate(spread.legs):
        step_usd = abs(_lots_per_step(spread, leg)) * usd_per_lot[leg]
        least = max(least, ceil(SPARE * float(instrument.min_order_usd) / step_usd))
    return least + (grows and spread.hedge.kind is Kind.SPOT)


def _is_large_enough(spread: Spread, move: Move, scene: Scene) -> bool:
    """Whether a venue takes an order of that size; a perpetual may be closed whatever it is worth, coins not."""
    is_all = move.reduce_only and scene.held[move.leg] + move.lots == 0
    can_be_any = is_all and spread.legs[move.leg].kind is Kind.PERP
    usd = abs(move.lots) * scene.usd_per_lot[move.leg]
    return can_be_any or usd >= float(spread.legs[move.leg].min_order_usd)


def _is_dust(spread: Spread, lots: int, usd_per_lot: float) -> bool:
    return usd_per_lot > 0 and abs(lots) * usd_per_lot < float(spread.hedge.min_order_usd)
