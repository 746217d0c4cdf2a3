"""Something goes wrong in every hour, whatever the odds say: a question fails, and one thing more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from tests.simulation.faults import ACTION_FAULTS, READ_FAULTS, SIGNER_FAULTS, Dice
from tests.simulation.network import Network

KINDS: Final = ("crash", "action", "action", "signer", "lag", "storm", "nothing")
LONGEST_LIFE_EFFECTS: Final = 80


class Weather:
    """Of one run; `kill` has the daemon die after so many effects more."""

    def __init__(self, dice: Dice, network: Network, kill: Callable[[int], None]) -> None:
        self._dice, self._network, self._kill = dice, network, kill
        self._chance = random.Random(f"weather {dice.plan.seed}")
        self._loop = asyncio.get_running_loop()
        self._before = 0
        self.hours = self.quiet_hours = 0

    def hour(self) -> None:
        """An hour begins: count what the last one has brought, and say what this one brings."""
        struck = self._dice.struck.total()
        if self.hours and struck == self._before:
            self.quiet_hours += 1
        self._before, self.hours = struck, self.hours + 1
        chance = self._chance
        # Early enough that somebody asks again within the hour.
        self._loop.call_later(chance.uniform(30, 1500), self._force, "read", chance.choice(READ_FAULTS))
        self._loop.call_later(chance.uniform(30, 3300), self._strike, chance.choice(KINDS))

    def _force(self, kind: str, fault: str) -> None:
        if not self._dice.quiet:
            self._dice.forced[kind] = fault

    def _strike(self, kind: str) -> None:
        if self._dice.quiet:
            return
        if kind == "action":
            self._force("action", self._chance.choice(ACTION_FAULTS))
        elif kind == "signer":
            self._force("signer", self._chance.choice(SIGNER_FAULTS))
        elif kind == "lag":
            self._force("lag", "lag")
        elif kind == "storm":
            self._dice.struck["storm"] += 1
            self._network.storm(self._chance.uniform(10, 300))
        elif kind == "crash":
            self._dice.struck["crash"] += 1
            self._kill(self._chance.randint(1, LONGEST_LIFE_EFFECTS))
