"""Crash runs: a short day, killed at one effect after the other, and the recovery from each with every invariant checked.

A day is short: an hour with faults and one decision, in which the daemon is killed, and the beginning of another without,
with one decision more, in which everything has to come right. Every fourth run is killed a second time, within or soon after its recovery.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from tests.simulation.faults import Plan
from tests.simulation.pairs import LEGS
from tests.simulation.run import Result, simulate

_DAY: Final = Plan(0, faulty_h=1, quiet_h=0.4, away_s=(1.0, 20.0, 400.0))
_LOSSES: Final = {"lost_reply": 0.1, "late": 0.1, "lost_request": 0.1}
_STORY: Final = {"twice": 0.15, "executed_502": 0.15, "garbled": 0.15}

DAYS: Final = (
    replace(_DAY, actions=_LOSSES, stop_loss=0.03),
    replace(_DAY, actions=_LOSSES, maker=True, lag=0.3),
    replace(_DAY, actions=_LOSSES, stop_loss=0.03, power=True),
    replace(_DAY, actions=_STORY, signer={"dies": 0.2}),
    replace(_DAY, actions=_STORY, stop_loss=0.01, slippage_bps=1.0, lag=0.5, longest_lag_s=30.0),
    replace(_DAY, actions=_LOSSES, signer={"gone_after": 0.1}, by_hand=True, power=True),
    replace(_DAY, reads={"cut": 0.01, "silent": 0.01}, stop_loss=0.02, coins=("BTC", "ETH", "SOL")),
)
"""Each of another kind; the seed says which."""

_LEGS: Final = replace(_DAY, coins=("BTC", "HYPE"), legs=LEGS, watch_s=30.0)

LEG_DAYS: Final = (
    replace(_LEGS, actions=_LOSSES),
    replace(_LEGS, actions=_STORY, power=True),
    replace(_LEGS, actions=_LOSSES, slippage_bps=1.0, lag=0.3),
    replace(_LEGS, reads={"cut": 0.01, "silent": 0.01}, signer={"dies": 0.1}),
    replace(_LEGS, actions=_LOSSES, taken="by hand", watch_s=10.0),
    replace(_LEGS, actions=_STORY, taken="liquidated", watch_s=10.0, power=True),
)
"""The same with two legs, perpetuals against spot; in the last two a leg is taken away, in each half of the day."""

AGAIN_EVERY: Final = 4


@dataclass
class Tally:
    """What came of many."""

    runs: int = 0
    crashes: int = 0
    legs_taken: int = 0  # by others than the daemon
    longest_unhedged_s: float = (
        0.0  # that one leg stood alone by the daemon's own orders, disturbances left out
    )
    longest_taken_s: float = 0.0  # by what others did, likewise
    bad: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count a run; one that was not killed is none."""
        crashes = result.crashes
        if crashes:
            self.runs += 1
            self.crashes += crashes
            self.legs_taken += result.legs_taken
            self.longest_unhedged_s = max(self.longest_unhedged_s, result.longest_unhedged_s)
            self.longest_taken_s = max(self.longest_taken_s, result.longest_taken_s)
        if result.violations:
            self.bad.append(result)


def day_of(seed: int, crash_at: Iterable[int] = (), *, legs: bool = False) -> Plan:
    """The short day that a seed stands for, killed at these effects."""
    days = LEG_DAYS if legs else DAYS
    return replace(days[seed % len(days)], seed=seed, crash_at=frozenset(crash_at))


def plans(seed: int, *, legs: bool = False) -> Iterator[Plan]:
    """Those of the day that a seed stands for: one for each effect that the day has while there are faults."""
    day = day_of(seed, legs=legs)
    effects = simulate(day).faulty_effects
    chance = random.Random(f"again {seed}")
    for at in range(1, effects + 1):
        again = {at + chance.randint(1, 60)} if at % AGAIN_EVERY == 0 else set()
        yield replace(day, crash_at=frozenset({at, *again}))


def crash_runs(seed: int, *, legs: bool = False) -> Iterator[Result]:
    """Without end, from seed to seed."""
    while True:
        for plan in plans(seed, legs=legs):
            yield simulate(plan)
        seed += 1
