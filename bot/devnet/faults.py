"""Faults on demand: what a network and a busy venue do to requests and streams, at the odds asked for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bot.errors import Refused


@dataclass(frozen=True, slots=True)
class Chaos:
    """What goes wrong, and how often (0 to 1).

    `paths` are the requests concerned; one that ends in * is all that begin as it does. `lost_reply` and `executed_502` carry a request out and then close the
    connection or answer 502; `refused_502` answers 502 and does nothing; `rate_limited` answers 429 and does nothing.
    Of streamed frames, `drop_socket` closes the connection instead, the others send twice, late, or nothing at all.
    """

    seed: int = 0
    paths: tuple[str, ...] = ("/exchange", "/info")
    delay_ms: tuple[int, int] = (0, 0)
    lost_reply: float = 0.0
    executed_502: float = 0.0
    refused_502: float = 0.0
    rate_limited: float = 0.0
    drop_socket: float = 0.0
    duplicate_frame: float = 0.0
    reorder_frame: float = 0.0
    lose_frame: float = 0.0
    stale_feeds: bool = False
    refuse_sockets: bool = False

    @classmethod
    def of(cls, values: Any, before: Chaos) -> Chaos:
        """`before` with some values replaced. Raises Refused, with a sentence, on what is no setting."""
        if not isinstance(values, dict):
            raise Refused("chaos must be a JSON object of settings")
        known = {each.name: getattr(before, each.name) for each in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise Refused(f"there is no fault {name!r}; it must be one of {sorted(known)}")
            known[name] = _checked(name, value, known[name])
        return replace(before, **known)

    def shown(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _checked(name: str, value: Any, sample: Any) -> Any:
    if isinstance(sample, bool):
        right = isinstance(value, bool)
    elif isinstance(sample, tuple):
        kind = str if name == "paths" else int
        right = isinstance(value, list) and all(isinstance(each, kind) for each in value)
        right = right and (name == "paths" or (len(value) == 2 and 0 <= value[0] <= value[1]))
        value = tuple(value) if right else value
    elif isinstance(sample, float):
        right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    else:
        right = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not right:
        raise Refused(f"{name} can't be {value!r}; it must be like {sample!r}")
    return value


@dataclass(slots=True)
class Faults:
    """The dice: the same seed and the same requests meet the same faults."""

    chaos: Chaos = field(default_factory=Chaos)
    _dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311

    def set(self, values: Any) -> None:
        """Change what goes wrong from now on; a seed, or nothing at all, throws new dice."""
        self.chaos = Chaos.of(values, self.chaos) if values else Chaos()
        if not values or "seed" in values:
            self._dice = random.Random(self.chaos.seed)  # noqa: S311

    def delay_s(self) -> float:
        low, high = self.chaos.delay_ms
        return self._dice.uniform(low, high) / 1000 if high else 0.0

    def concerns(self, path: str) -> bool:
        """Whether a request of this path is one of those that faults are for."""
        return any(
            path.startswith(each[:-1]) if each.endswith("*") else path == each for each in self.chaos.paths
        )

    def strikes(self, name: str) -> bool:
        """Whether the fault happens this time."""
        odds = getattr(self.chaos, name)
        return bool(odds) and self._dice.random() < odds
