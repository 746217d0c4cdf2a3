"""What goes wrong in one run: drawn from its seed, so that the same seed meets the same faults."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

ACTION_FAULTS: Final = (
    "not_connected",  # refused before a byte has left
    "lost_request",  # the connection breaks, and nothing has arrived
    "lost_reply",  # it breaks after the action was carried out
    "late",  # no answer in time; the request arrives all the same, within its expiry or beyond it
    "twice",  # arrives a second time, by a retry of somebody in between
    "executed_502",
    "refused_502",
    "too_many",  # 429, nothing done
    "garbled",  # carried out, and the answer can't be read
)
# A list that is empty where it should not be is a fault that a plan may ask for: "empty". No seed draws it, since a venue
# that tells a lie, and not nothing, is found out only by what it tells later.
READ_FAULTS: Final = ("cut", "silent", "bad_gateway", "too_many", "garbled")
SIGNER_FAULTS: Final = ("gone", "gone_after", "denies", "dies")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Odds are 0 to 1 for each request; `crash_at` are the numbers of effects at which the daemon dies.

    Faults end after `faulty_h` hours, and `quiet_h` more follow in which everything has to come right.
    """

    seed: int
    faulty_h: int = 3
    quiet_h: float = 3
    actions: Mapping[str, float] = field(default_factory=dict)
    reads: Mapping[str, float] = field(default_factory=dict)
    reads_of: str = ""  # the one kind of question that `reads` are of; empty for all
    signer: Mapping[str, float] = field(default_factory=dict)
    lag: float = 0.0  # odds that what users are told stands still after an action
    longest_lag_s: float = 6.0
    storm: float = 0.0  # odds per hour that everything answers 429 for some minutes
    crash_at: frozenset[int] = frozenset()
    maker: bool = False
    stop_loss: float | None = None
    by_hand: bool = False  # orders of an operator, in between
    coins: tuple[str, ...] = ("BTC", "ETH")
    halts: bool = False  # an operator halts, flattens and resumes
    power: bool = False  # crashes are power cuts: what was not synced is lost, and the signer stops as well
    signer_gone_s: float = 40.0  # how long it may take until a signer that has died is there again
    turnover_usd: int = 10_000_000  # the signer's budget of a day
    slippage_bps: float = 100.0
    away_s: tuple[float, ...] = (1.0, 20.0, 20.0, 400.0, 4000.0)  # how long a dead daemon stays so
    legs: tuple[tuple[str, str], ...] = ()  # perpetuals and the spot markets that they are held against
    watch_s: float = 300.0  # the least between two watches of the daemon's; a real one's are 3 or 15 s
    taken: str = ""  # how a leg is taken away at the venue: "by hand" or "liquidated"; empty for not at all
    weather: bool = False  # at least one fault in every hour, whatever the odds


def plan_of(seed: int) -> Plan:
    """A whole run by its seed alone."""
    dice = random.Random(f"plan {seed}")
    heavy = dice.choice((0.0, 0.05, 0.15, 0.45))  # the share of actions that something happens to

    def odds(names: tuple[str, ...], total: float) -> dict[str, float]:
        some = dice.sample(names, dice.randint(1, len(names)))
        return {name: total / len(some) for name in sorted(some)}

    crashes = dice.choice((0, 0, 1, 1, 2, 2, 3, 5))
    return Plan(
        seed,
        faulty_h=dice.randint(2, 4),
        actions=odds(ACTION_FAULTS, heavy),
        reads=odds(READ_FAULTS, dice.choice((0.0, 0.0, 0.02, 0.1))),
        signer=odds(SIGNER_FAULTS, dice.choice((0.0, 0.0, 0.05, 0.2))),
        lag=dice.choice((0.0, 0.0, 0.3)),
        longest_lag_s=dice.choice((6.0, 30.0)),
        storm=dice.choice((0.0, 0.0, 0.0, 0.3)),
        # Lives are of about 200 effects; the later ones fall into recoveries of the earlier.
        crash_at=frozenset(dice.randint(1, 160 * (k + 1)) for k in range(crashes)),
        maker=dice.random() < 0.3,
        stop_loss=dice.choice((None, 0.01, 0.03)),
        by_hand=dice.random() < 0.4,
    )


class Dice:
    """Draws faults for a plan, until they are over."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.quiet = False
        self.random = random.Random(f"faults {plan.seed}")
        self.forced: dict[str, str] = {}  # kind of request → the fault that strikes the next of it
        self.struck: Counter[str] = Counter()
        self.disturbed: Callable[[float], None] = lambda seconds: None
        """Told of each fault, and how long it lasts beyond the request that it struck."""

    def draw(self, odds: Mapping[str, float], kind: str) -> str:
        """The fault that strikes a request of a kind this time; empty for none."""
        fault = "" if self.quiet else self.forced.pop(kind, "") or self._drawn(odds)
        if fault:
            self.struck[f"{kind} {fault}"] += 1
            self.disturbed(0.0)
        return fault

    def _drawn(self, odds: Mapping[str, float]) -> str:
        if not odds:
            return ""
        rest = self.random.random()
        for name, share in odds.items():
            rest -= share
            if rest < 0:
                return name
        return ""

    def happens(self, odds: float) -> bool:
        """Whether something happens."""
        return not self.quiet and bool(odds) and self.random.random() < odds

    def between(self, low: float, high: float) -> float:
        """A number."""
        return self.random.uniform(low, high)
