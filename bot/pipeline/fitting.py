"""How rules cut a book: no increase, or as much less of it as fits; never more of it, never the other side.

What is already held may outgrow a limit by `SLACK` before it is cut back, otherwise prices that drift would trade all day.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bot.model.decision import BoolArray, Finding, LotsArray
from bot.pipeline.exposure import Case, Exposure

SLACK = 1.1

Findings = tuple[Finding, ...]
Verdict = tuple[LotsArray, Findings]


def no_larger(lots: LotsArray, than: LotsArray) -> bool:
    """No position grew and none changed sides."""
    return bool(((np.abs(lots) <= np.abs(than)) & (lots * np.sign(than) >= 0)).all())


def kept_part(lots: LotsArray, held: LotsArray) -> LotsArray:
    """The part of the targets that is held already: never an increase, a turn becomes flat."""
    same = lots * np.sign(held) > 0
    return np.where(same, np.sign(lots) * np.minimum(np.abs(lots), np.abs(held)), 0)


def only_reduce(lots: LotsArray, case: Case, where: BoolArray | bool, rule: str, because: str) -> Verdict:
    """Nothing grows `where` it is so; with a finding for each instrument that would have."""
    kept = np.where(where, kept_part(lots, case.held), lots)
    cut = kept != lots
    if not cut.any():
        return lots, ()
    return kept, tuple(Finding(rule, name, f"no increase: {because}") for name in case.names(cut))


def fit(
    lots: LotsArray,
    case: Case,
    rule: str,
    load: Callable[[Exposure], float],
    because: str,
    fixed: LotsArray | int = 0,
) -> Verdict:
    """Scale the book until `load` of its exposure (1 = exactly at the limit) fits: increases first, then what is held.

    `load` must not rise as positions shrink in proportion. Twenty halvings put the factor within a millionth. `fixed`
    is a part of the book that is not touched; `lots` is the rest. What is held is measured without the orders in
    flight, which are withdrawn when nothing may grow: they can stop increases, but not close a position that fits.
    """
    before = load(case.exposure(fixed + lots))
    if before <= 1:
        return lots, ()
    kept = kept_part(lots, case.held)
    if load(case.standing(fixed + kept)) > SLACK:
        what = "positions cut"
        fitted = _largest(lambda f: (kept * f).astype(np.int64), lambda x: load(case.standing(fixed + x)))
    elif load(case.exposure(fixed + kept)) > 1:
        fitted, what = kept, "no increase"
    else:
        what = "increases cut"
        fitted = _largest(
            lambda f: kept + ((lots - kept) * f).astype(np.int64), lambda x: load(case.exposure(fixed + x))
        )
    if np.array_equal(fitted, lots):
        return lots, ()
    return fitted, (Finding(rule, "", f"{what}: {because.format(before)}"),)


def _largest(book: Callable[[float], LotsArray], load: Callable[[LotsArray], float]) -> LotsArray:
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if load(book(middle)) <= 1 else (low, middle)
    return book(low)


def ratio(load: float, room: float) -> float:
    """How much of `room` a load takes; infinite where there is none."""
    if room > 0:
        return float(load / room)
    return float("inf") if load > 0 else 0.0
