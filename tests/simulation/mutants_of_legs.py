"""Mistakes with two legs, each made on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bot.journal.journal import Journal
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument
from bot.model.order import Fill
from bot.pipeline import leg_group
from bot.pipeline.leg_group import End, Group, Move, Scene
from bot.trader import pairs
from bot.trader.pairs import Pairs
from bot.venues.attempts import Attempts
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.parse_account import VenueFill
from bot.venues.hyperliquid.tokens import Tokens
from bot.venues.venue import AccountState
from tests.simulation.faults import Plan
from tests.simulation.mistake import Mutant, Patches, of
from tests.simulation.pairs import LEGS


def _cap_is_ignored() -> Patches:
    def wrong(group: Group, scene: Scene) -> tuple[Group, Move | End]:
        return leg_group.next_move(
            group, replace(scene, execution=replace(scene.execution, max_unhedged_usd=1e9))
        )

    return [of(pairs, "next_move", wrong)]


def _hedge_is_forgotten() -> Patches:
    def wrong(group: Group, scene: Scene) -> tuple[Group, Move | End]:
        group, told = leg_group.next_move(group, scene)
        return (group, End(0, "done")) if isinstance(told, Move) and told.hedges else (group, told)

    return [of(pairs, "next_move", wrong)]


def _hedge_waits_for_room() -> Patches:
    """As it was before the simulation told how long a leg stood alone by it."""
    real = HyperliquidVenue.send

    async def room(self: HyperliquidVenue) -> bool:
        return False

    async def send(self: HyperliquidVenue, plan: OrderPlan) -> Any:
        return await real(self, replace(plan, urgent=False))

    return [of(HyperliquidVenue, "room", room), of(HyperliquidVenue, "send", send)]


def _hedge_is_sent_twice() -> Patches:
    real = HyperliquidVenue.send

    async def send(self: HyperliquidVenue, plan: OrderPlan) -> Any:
        told = await real(self, plan)
        return [*told, *await real(self, plan)] if plan.urgent else told

    return [of(HyperliquidVenue, "send", send), of(Attempts, "may_be_sent", lambda self, client_id: True)]


def _taken_leg_is_passed_over() -> Patches:
    return [of(Pairs, "is_uneven", lambda self, account: False)]


def _goes_on_without_a_look() -> Patches:
    real = Pairs._looked
    before: dict[int, AccountState] = {}

    async def wrong(self: Pairs, look: Any, venue: str) -> AccountState:
        seen = await real(self, look, venue)
        told, before[id(self)] = before.get(id(self), seen), seen
        return told

    return [of(Pairs, "_looked", wrong)]


def _uneven_legs_are_left() -> Patches:
    return [
        of(Pairs, "is_uneven", lambda self, lots: False),
        of(Journal, "was_cut_off", lambda self, time_ms: False),
    ]


def _fee_in_coins_breaks_no_lots() -> Patches:
    real = Tokens.take

    def wrong(self: Tokens, told: VenueFill, instrument: Instrument, fill: Fill) -> Iterator[Fill]:
        return (each for each in real(self, told, instrument, fill) if each.trade_id > 0)

    return [of(Tokens, "take", wrong)]


_LEGS = Plan(0, quiet_h=2, coins=("BTC", "HYPE"), legs=LEGS)
_LOST = {"lost_reply": 0.2, "late": 0.1, "lost_request": 0.1}

MUTANTS = (
    Mutant("one leg may run ahead of the other without a bound", "I19", _cap_is_ignored, _LEGS),
    Mutant("a leg is not hedged", "I19", _hedge_is_forgotten, _LEGS),
    Mutant("a hedge waits for the budget of requests", "I19", _hedge_waits_for_room, _LEGS),
    Mutant("a hedge is sent twice", "I1", _hedge_is_sent_twice, _LEGS),
    Mutant(
        "a leg that somebody has taken away is passed over", "I19", _taken_leg_is_passed_over,
        replace(_LEGS, taken="by hand", watch_s=10.0),
    ),
    Mutant(
        "the next leg's order is made on the account of before the last", "I19 I13 I4", _goes_on_without_a_look, _LEGS
    ),
    Mutant(
        "legs that a crash left apart are not looked for at a start", "I19", _uneven_legs_are_left,
        replace(_LEGS, actions=_LOST, away_s=(1.0,)), crashes=True,
    ),
    Mutant("a fee in coins breaks no lots", "I3 I15 I4", _fee_in_coins_breaks_no_lots, _LEGS),
)  # fmt: skip
