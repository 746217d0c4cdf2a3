"""When the daemon should stop opening positions by itself: facts about its surroundings → alarms, each with its reason.

A pure function. An alarm begins as soon as a bound is reached. It ends when its fact has been well within the bound for
several looks in a row, so that what wavers around a bound doesn't switch trading on and off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

from bot.model.decision import TradingState

HEALTHY: Final = 0.8
"""An alarm can end once its fact is below that share of the bound."""

REDUCING, HALTED = TradingState.REDUCING, TradingState.HALTED


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is borne; units as in `Facts`."""

    max_failures: int = 3
    max_stale_share: float = 0.5
    stale_h: int = 2
    max_clock_offset_s: float = 2.0
    max_unexplained_usd: float = 25.0
    min_free_disk_mb: float = 200.0
    min_agent_days: float = 1.0
    heal_looks: int = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What the trader knows. None: not known, or there is no such thing here; that raises no alarm.

    `failures`: looks at the venue that failed in a row. `stale_share`: of the coins whose price and funding were known
    before, those without for `Bounds.stale_h`. `signer_problem`: why nothing can be signed. `clock_offset_s`: the venue's
    clock less the computer's. `twin`: why another daemon seems to trade the account. `unprotected`: coins whose stop or take-profit could not be
    placed. `unhedged`: USD of one leg by spread that could be neither hedged nor closed. `unexplained_*`: what the books differ from the venue by, since the operator accepted it.
    """

    failures: int = 0
    stale_share: float = 0.0
    signer_problem: str = ""
    agent_left_days: float | None = None
    clock_offset_s: float | None = None
    twin: str = ""
    unprotected: tuple[str, ...] = ()
    unhedged: Mapping[str, float] = field(default_factory=dict)
    unexplained_usd: float = 0.0
    unexplained_lots: Mapping[str, int] = field(default_factory=dict)
    free_disk_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a cause allows until it has healed; `well` counts the good looks in a row."""

    state: TradingState
    because: str
    well: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """One fact: `load` is 1 exactly at the bound; `state` is what it asks for from there on."""

    load: float
    state: TradingState
    because: str


Alarms = Mapping[str, Alarm]


def look(facts: Facts, alarms: Alarms, bounds: Bounds) -> dict[str, Alarm]:
    """The alarms, by cause, after one more look at the facts."""
    after: dict[str, Alarm] = {}
    for cause, reading in _readings(facts, bounds):
        before = alarms.get(cause)
        if reading.load >= 1:
            # While an alarm lasts it doesn't grow milder, for the same reason for which it doesn't end at once.
            worse = before is not None and before.state is HALTED
            after[cause] = Alarm(HALTED if worse else reading.state, reading.because)
        elif before is not None:
            well = before.well + 1 if reading.load < HEALTHY else 0
            if well < bounds.heal_looks:
                after[cause] = Alarm(before.state, before.because, well)
    return after


def verdict(alarms: Alarms) -> tuple[TradingState, str]:
    """What all alarms together allow, and their reasons."""
    if not alarms:
        return TradingState.ACTIVE, "all is well"
    halted = any(alarm.state is HALTED for alarm in alarms.values())
    return HALTED if halted else REDUCING, "; ".join(alarm.because for alarm in alarms.values())


def _readings(facts: Facts, bounds: Bounds) -> Iterator[tuple[str, Reading]]:
    yield (
        "venue",
        Reading(
            facts.failures / bounds.max_failures,
            REDUCING,
            f"the venue has not answered {facts.failures} times in a row",
        ),
    )
    yield (
        "data",
        Reading(
            facts.stale_share / bounds.max_stale_share,
            REDUCING,
            f"{facts.stale_share:.0%} of the coins have had no price or funding for {bounds.stale_h} h",
        ),
    )
    yield "signer", Reading(inf if facts.signer_problem else 0.0, HALTED, facts.signer_problem)
    yield "twin", Reading(inf if facts.twin else 0.0, HALTED, facts.twin)
    coins = ", ".join(facts.unprotected)
    bare = f"no stop or take-profit stands for {coins}: the venue or the signer refuses it; see the log"
    yield "protection", Reading(inf if facts.unprotected else 0.0, REDUCING, bare)
    legs = ", ".join(f"{usd:,.0f} USD of {name}" for name, usd in facts.unhedged.items())
    alone = f"{legs} is unhedged and could not be closed; look at both venues"
    yield "legs", Reading(inf if facts.unhedged else 0.0, REDUCING, alone)
    yield "agent", _agent(facts.agent_left_days, bounds)
    offset_s = facts.clock_offset_s or 0.0
    yield (
        "clock",
        Reading(
            abs(offset_s) / bounds.max_clock_offset_s,
            REDUCING,
            f"this computer's clock is {abs(offset_s):.1f} s {'behind' if offset_s > 0 else 'ahead of'} the venue's; set it",
        ),
    )
    yield "books", _books(facts, bounds)
    yield "disk", _disk(facts.free_disk_mb, bounds)


def _agent(left_days: float | None, bounds: Bounds) -> Reading:
    if left_days is None:
        return Reading(0.0, REDUCING, "")
    if left_days <= 0:
        return Reading(
            inf, HALTED, "the agent may not sign any more; rotate it with `hedgerow wallet rotate`"
        )
    because = (
        f"the agent's approval ends in {left_days * 24:.0f} hours; rotate it with `hedgerow wallet rotate`"
    )
    return Reading(bounds.min_agent_days / left_days, REDUCING, because)


def _books(facts: Facts, bounds: Bounds) -> Reading:
    lots = ", ".join(f"{count:+,} lots of {coin}" for coin, count in facts.unexplained_lots.items())
    usd = f"{facts.unexplained_usd:,.2f} USD"
    because = f"the books differ from the venue's by {' and '.join(filter(None, (usd, lots)))}; see `hedgerow ledger verify`"
    load = inf if facts.unexplained_lots else facts.unexplained_usd / bounds.max_unexplained_usd
    return Reading(load, REDUCING, because)


def _disk(free_mb: float | None, bounds: Bounds) -> Reading:
    if free_mb is None:
        return Reading(0.0, REDUCING, "")
    load = bounds.min_free_disk_mb / free_mb if free_mb > 0 else inf
    state = HALTED if load >= 4 else REDUCING  # a journal that can't be written to ends the daemon
    return Reading(load, state, f"only {free_mb:,.0f} MB are free on the journal's disk; make room")
