"""What a run's checkers write down: how often each invariant was looked at, and what was wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.simulation.life import Trace

MANY = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be: which invariant, what was found, at which step and virtual second."""

    invariant: str
    found: str
    step: int
    at_s: float

    def __str__(self) -> str:
        return f"{self.invariant} at step {self.step} ({self.at_s:.1f} s): {self.found}"


class Notes:
    """Of one run, shared by all of its checkers."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.violations: list[Violation] = []
        self.checked: Counter[str] = Counter()

    def violate(self, invariant: str, found: str) -> None:
        """Write a violation down; a broken run breaks a lot, of which the first is what counts."""
        if len(self.violations) < MANY:
            now_s = self.trace._now_s()
            self.violations.append(Violation(invariant, found, self.trace.steps, now_s))

    def must(self, holds: bool, invariant: str, found: str) -> None:
        """Look at one thing that must hold."""
        self.checked[invariant] += 1
        if not holds:
            self.violate(invariant, found)
