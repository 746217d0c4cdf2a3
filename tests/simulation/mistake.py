"""What a mistake is that is made on purpose: patches of the program, and the runs in which it is looked for."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from tests.simulation.faults import Plan

Patches = Sequence[Any]
CALM = Plan(0, quiet_h=2)


@dataclass(frozen=True)
class Mutant:
    """A mistake, and the faults under which it matters."""

    name: str
    told_by: str  # the invariants that may tell it first
    patches: Callable[[], Patches]
    plan: Plan = CALM
    crashes: bool = False

    def plans(self) -> Iterator[Plan]:
        """Runs to look for it in."""
        for seed in itertools.count():
            dice = random.Random(seed)
            crash_at = frozenset(dice.randint(60, 500) for _ in range(5)) if self.crashes else frozenset()
            yield replace(self.plan, seed=seed, crash_at=crash_at)


@contextmanager
def made(mutant: Mutant) -> Iterator[None]:
    """Within, the mistake is in the program."""
    patches = mutant.patches()
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def of(owner: Any, name: str, wrong: Any) -> Any:
    return mock.patch.object(owner, name, wrong)
