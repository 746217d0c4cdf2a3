"""Carries out what a decision wants of spreads: both legs in turn, piece by piece, looking at the account after each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
import structlog

from bot.errors import ConfigError, Unavailable
from bot.model.decision import Decision, LotsArray, OrderPlan, client_id
from bot.model.instrument import HYPERLIQUID, Instrument, Kind
from bot.model.order import Fill, Order, Purpose, Side
from bot.model.panel import Panel
from bot.model.spread import Spread
from bot.pipeline.leg_group import (
    TOO_SMALL_A_CAP,
    End,
    Group,
    Move,
    Scene,
    is_uneven,
    least_cap_usd,
    next_move,
)
from bot.pipeline.legs import Legs, without_leg_orders
from bot.pipeline.mandate import Mandate
from bot.pipeline.placing import VENUES_OWN, bound
from bot.pipeline.underwriting import sheets
from bot.venues.venue import AccountState, Venue, VenueEvent

log = structlog.get_logger("hedgerow")

FIRST_PAUSE_S: Final = 0.5
"""After a leg's venue could not be reached; as many times that as attempts were made."""

WATCHES_PER_LOOK: Final = 10
WATCHES_PER_LOOK_UNHEARD: Final = 3
"""Where a leg's venue has no feed that tells of its fills."""

LOOKS: Final = 3
"""At the account after an order, before it is taken for unknown what became of it."""

Look = Callable[[], Awaitable[AccountState]]


@dataclass
class Turn:
    """A spread on its way: the `k`th, with how many orders, whether it has waited for room, and what a venue last failed at."""

    k: int
    group: Group
    moves: int = 0
    has_waited: bool = False
    problem: str = ""


class Pairs:
    """The spreads of a mandate. `left` says of each that could not be evened what is too much of one leg, USD."""

    def __init__(
        self,
        mandate: Mandate,
        instruments: Sequence[Instrument],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._execution, self._sleep = mandate.execution, sleep
        self._instruments = tuple(instruments)
        names = tuple(instrument.name for instrument in instruments)
        self.legs = Legs.of(mandate.spreads, names)
        self._names = {leg.name for spread in mandate.spreads for leg in spread.legs}
        self.left: dict[str, float] = {}
        self._said: dict[str, str] = {}  # of a spread, about what can't be traded; once as long as it is so
        self._watched, self._could_sign = 0, True
        self.taken: set[str] = set()
        """Legs that a venue has taken, wholly or by part, since the last decision: what it wanted of them is no longer so."""
        self._taken_before: frozenset[str] = frozenset()
        """Before the decision that is carried out, and since the last one that was carried out to its end."""
        self.slowed: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
        """In which a made-up market that runs faster than anybody can trade goes slowly: from the first order to the last."""
        self.is_ending = False
        """Once set, what is under way is hedged and nothing new is begun."""
        heard = all(leg.venue == HYPERLIQUID for spread in mandate.spreads for leg in spread.legs)
        self._watches_per_look = WATCHES_PER_LOOK if heard else WATCHES_PER_LOOK_UNHEARD

    def __bool__(self) -> bool:
        return bool(self.legs.spreads)

    @property
    def watch_s(self) -> float:
        """How often to watch, seconds: a leg that the venue has taken must not be found out late."""
        return 3.0 if self else 15.0

    def want_a_look(self, *, can_sign: bool) -> bool:
        """To be asked at each watch: whether the account should be looked at though nothing was heard of it.

        A feed may be silent and nobody know, and a leg that the venue has taken must not be found out an hour late. Nor
        may one stand alone any longer once orders can be signed again, without which nothing could be done about it.
        """
        self._watched += 1
        is_back, self._could_sign = can_sign and not self._could_sign, can_sign
        return bool(self) and (is_back or self._watched % self._watches_per_look == 0)

    def has_leg(self, name: str) -> bool:
        """Whether an instrument is a leg of a spread."""
        return name in self._names

    def spoken_for(self, columns: Mapping[str, int]) -> dict[str, int]:
        """Of each instrument the column that opinions about it are in: a hedge has its primary leg's."""
        hedges = {spread.hedge.name: columns[spread.primary.name] for spread in self.legs.spreads}
        return {**columns, **hedges}

    def apart(self, decision: Decision) -> Decision:
        """The decision without orders for legs, which `bring` makes; what has been taken until now it knows of."""
        self._taken_before |= self.taken
        self.taken.clear()
        return without_leg_orders(decision, self._names)

    def carried_out(self) -> None:
        """The decision was, to its end: the next may grow again what had been taken before it."""
        self._taken_before = frozenset()

    def hear(self, events: Sequence[VenueEvent]) -> None:
        """Take note of legs that were liquidated, closed to cover another's loss, or settled."""
        own = {each.instrument for each in events if isinstance(each, Fill) and each.purpose in VENUES_OWN}
        self.taken |= own & self._names

    def opened(self, decision: Decision, account: AccountState, mandate: Mandate) -> list[dict[str, Any]]:
        """What is expected of each spread that a decision opens, as the journal keeps it."""
        told = sheets(decision, account.view, account.mark, self._instruments, mandate)
        return [sheet.facts() for sheet in told]

    def is_uneven(self, account: AccountState) -> bool:
        """Whether a leg is held that the other does not hedge, by a step or more, and that can be closed.

        Not where a leg's venue could not be asked: nothing may be done about it then.
        """
        return any(
            self._is_uneven(k, account) and not _blind(spread, account)
            for k, spread in enumerate(self.legs.spreads)
        )

    def leave(self, account: AccountState) -> None:
        """Say of spreads on venues that could not be asked that they are left as they are, once as long as it is so."""
        for k, spread in enumerate(self.legs.spreads):
            if blind := _blind(spread, account):
                self._leave(k, account, f"{', '.join(blind)} can't be asked")

    def unhedged(self, account: AccountState) -> dict[str, float]:
        """What of `left` is still so in the account; anything may have closed it, such as a flatten."""
        for k, spread in enumerate(self.legs.spreads):
            is_seen = not {leg.venue for leg in spread.legs} & set(account.stale)
            if spread.name in self.left and is_seen and not self._is_uneven(k, account):
                del self.left[spread.name]
        return dict(self.left)

    def alone(self, account: AccountState) -> dict[str, float]:
        """By spread, what of one leg the other does not hedge, USD, as far as the account was seen."""
        found = {}
        for k, spread in enumerate(self.legs.spreads):
            if self._is_uneven(k, account):
                coins = abs(float(spread.unhedged(*self._held(k, account.view.lots))))
                found[spread.name] = (
                    coins * float(account.mark[self.legs.primary[k]]) / spread.primary.multiplier
                )
        return found

    def part(self, account: AccountState | None, *, is_cut_off: bool) -> None:
        """Say what stands alone, or may, though nobody looks after it any more."""
        advice = "start it again, or close it at the venue"
        alone = {} if account is None else self.alone(account)
        for name, usd in alone.items():
            log.error("legs uneven", spread=name, usd=f"{usd:,.2f}", because="the daemon ends", advice=advice)
        if self and is_cut_off and not alone:
            log.error(
                "legs may be uneven", because="what was decided last was not done to its end", advice=advice
            )

    def check_cap(self, account: AccountState) -> None:
        """ConfigError where a spread can't be opened in pieces as small as they are to be.

        What is held already may have to be closed, so that for such a spread it is only logged.
        """
        for k, spread in enumerate(self.legs.spreads):
            least_usd = least_cap_usd(spread, self._usd_per_lot(k, account))
            if least_usd > self._execution.max_unhedged_usd:
                sentence = (
                    f"execution.max_unhedged_usd = {self._execution.max_unhedged_usd:g} is less than the smallest piece of "
                    f"{spread.name} that both venues trade; at today's prices it must be at least {ceil(least_usd):,}"
                )
                if not any(self._held(k, account.view.lots)):
                    raise ConfigError(sentence)
                log.warning("caution", found=sentence)

    async def bring(
        self,
        wanted: LotsArray,
        account: AccountState,
        decision_id: str,
        panel: Panel,
        venue: Venue,
        look: Look,
        may_open: Callable[[], bool],
    ) -> AccountState:
        """Bring every spread to what is `wanted` of it as far as it can be; the account after it.

        What a venue refuses is tried again or taken back. After every order the account is looked at, whatever was said
        of it; where that can't be, Unavailable or OutcomeUnknown ends it: nothing may be built on an order of which nobody
        knows what became. A leg that stands alone comes before everything else: it waits for no budget of requests, while a
        first leg waits until there is room for both. While a leg's venue is `stale` in the account neither leg is moved.
        Once a venue has `taken` a leg, nothing is begun any more, and that leg is not bought again: it has to be decided anew.
        The decision after that closes what is left of the other alone, whatever it wants; only the next may grow it again.
        """
        turns = [
            Turn(k, Group(spread, self._steps(k, wanted, account), thinner(spread, panel)))
            for k, spread in enumerate(self.legs.spreads)
        ]
        is_slow = False
        async with AsyncExitStack() as stack:
            while turns:
                turn = self._most_urgent(turns, account, may_open)
                spread = turn.group.spread
                if self.taken & {leg.name for leg in spread.legs}:
                    turns.remove(turn)
                    continue
                if blind := _blind(spread, account):
                    # Its positions are those of an earlier look: a move by them could double what an order has done since.
                    self._leave(turn.k, account, f"{', '.join(blind)} can't be asked")
                    turns.remove(turn)
                    continue
                scene = self._scene(turn, account, may_open)
                group, told = next_move(turn.group, scene)
                if isinstance(told, Move) and not told.hedges and (self.is_ending or self.taken):
                    told = End(0, "the daemon is to end" if self.is_ending else "a leg of another was taken")
                if isinstance(told, End):
                    self._ended(spread, told, scene, turn.moves, turn.problem)
                    turns.remove(turn)
                    continue
                if not (told.hedges or turn.has_waited) and await venue.room():
                    turn.has_waited = True
                    account = await look()  # prices, and what is allowed, are those of before the wait
                    continue
                turn.group, turn.moves, turn.has_waited = group, turn.moves + 1, False
                order = self._order(spread, told, scene, decision_id, turn.moves)
                if not is_slow:
                    await stack.enter_async_context(self.slowed())
                    is_slow = True
                try:
                    for said in await venue.send(OrderPlan((), (order,), urgent=told.hedges)):
                        turn.problem = said.reason or turn.problem
                except Unavailable as error:
                    # It may have been raised after the order was placed, by what came next.
                    turn.problem = str(error)
                    log.warning(
                        "a leg's venue can't be reached", coin=order.instrument, reason=turn.problem[:200]
                    )
                account = await self._looked(look, spread.legs[told.leg].venue)
                if self._held(turn.k, account.view.lots) == scene.held:
                    await self._sleep(FIRST_PAUSE_S * max(1, turn.group.attempts + turn.group.tries))
        return account

    def _steps(self, k: int, wanted: LotsArray, account: AccountState) -> int:
        """Of a spread, what is wanted; where a part of one leg was taken, no more than the other still hedges."""
        spread, primary = self.legs.spreads[k], self.legs.primary[k]
        steps = spread.steps(int(wanted[primary]))
        if not self._taken_before & {leg.name for leg in spread.legs} or not self._is_uneven(k, account):
            return steps
        left = spread.steps(int(self.legs.common(account.view.lots)[primary]))
        return min(steps, left, key=abs) if left * steps > 0 else 0

    def _most_urgent(
        self, turns: Sequence[Turn], account: AccountState, may_open: Callable[[], bool]
    ) -> Turn:
        """Whichever has a leg that stands alone; else the first."""
        for turn in turns:
            if not _blind(turn.group.spread, account):
                _, told = next_move(turn.group, self._scene(turn, account, may_open))
                if isinstance(told, Move) and told.hedges:
                    return turn
        return turns[0]

    def _scene(self, turn: Turn, account: AccountState, may_open: Callable[[], bool]) -> Scene:
        held = self._held(turn.k, account.view.lots)
        return Scene(held, self._usd_per_lot(turn.k, account), self._execution, may_open())

    async def _looked(self, look: Look, venue: str) -> AccountState:
        """The account after an order. Unavailable where the order's venue can't be asked what became of it."""
        for attempt in range(1, LOOKS + 1):
            try:
                account = await look()
                if venue not in account.stale:
                    return account
            except Unavailable:
                if attempt == LOOKS:
                    raise
            await self._sleep(FIRST_PAUSE_S * attempt)
        raise Unavailable(f"{venue} may have an order that is not seen yet, and can't be asked")

    def _ended(self, spread: Spread, end: End, scene: Scene, moves: int, problem: str) -> None:
        if end.unhedged_steps:
            usd = end.unhedged_steps * spread.primary_lots * scene.usd_per_lot[0]
            self.left[spread.name] = usd
            log.error(
                "legs uneven", spread=spread.name, usd=f"{usd:,.2f}", because=end.why, reason=problem[:200]
            )
            return
        self.left.pop(spread.name, None)
        self._say(spread, end, scene)
        if moves:
            log.info(
                "spread", name=spread.name, primary=scene.held[0], hedge=scene.held[1], orders=moves, because=end.why,
                **({"reason": problem[:200]} if end.why and problem else {}),
            )  # fmt: skip

    def _leave(self, k: int, account: AccountState, why: str) -> None:
        """Say once that held legs are left as they are, and what of them stands alone meanwhile."""
        spread = self.legs.spreads[k]
        usd = self.alone(account).get(spread.name)
        what = f"{why}; {'alone' if usd else 'even'}" if any(self._held(k, account.view.lots)) else ""
        if what and what != self._said.get(spread.name):
            if usd:
                log.error("legs uneven", spread=spread.name, usd=f"{usd:,.2f}", because=why)
            else:
                log.warning("legs left as they are", spread=spread.name, reason=why)
        self._said[spread.name] = what

    def _say(self, spread: Spread, end: End, scene: Scene) -> None:
        """Say what can't be traded, once as long as it is so."""
        what = "dust" if end.dust_usd else end.why if end.why == TOO_SMALL_A_CAP else ""
        if what and what != self._said.get(spread.name):
            if end.dust_usd:
                log.warning(
                    "dust",
                    spread=spread.name,
                    usd=f"{end.dust_usd:,.2f}",
                    because=f"{spread.hedge.name} takes no order so small; it stays, and is hedged with the next piece",
                )
            else:
                least_usd = least_cap_usd(spread, scene.usd_per_lot)
                log.warning(
                    "spread not opened", spread=spread.name, because=what, least_usd=f"{least_usd:,.2f}"
                )
        self._said[spread.name] = what

    def _is_uneven(self, k: int, account: AccountState) -> bool:
        held = self._held(k, account.view.lots)
        return is_uneven(self.legs.spreads[k], held, self._usd_per_lot(k, account))

    def _held(self, k: int, lots: LotsArray) -> tuple[int, int]:
        return int(lots[self.legs.primary[k]]), int(lots[self.legs.hedge[k]])

    def _usd_per_lot(self, k: int, account: AccountState) -> tuple[float, float]:
        primary, hedge = int(self.legs.primary[k]), int(self.legs.hedge[k])
        mark = account.mark
        return (
            float(mark[primary]) / self._instruments[primary].lots_per_coin,
            float(mark[hedge]) / self._instruments[hedge].lots_per_coin,
        )

    def _order(self, spread: Spread, move: Move, scene: Scene, decision_id: str, number: int) -> Order:
        leg, side = spread.legs[move.leg], Side.of(move.lots)
        mark = scene.usd_per_lot[move.leg] * leg.lots_per_coin
        return Order(
            client_id(decision_id, leg.name, f"leg{number}"),
            leg.name,
            side,
            abs(move.lots),
            bound(leg, side, mark, move.slippage_bps),
            reduce_only=move.reduce_only,
            purpose=Purpose.EXIT if move.reduce_only else Purpose.ENTRY,
        )


def _blind(spread: Spread, account: AccountState) -> list[str]:
    """Venues of its legs that could not be asked."""
    return sorted({leg.venue for leg in spread.legs} & set(account.stale))


def thinner(spread: Spread, panel: Panel) -> int:
    """The leg that is harder to trade, 0 the primary, 1 the hedge: by depth, else by volume; where neither is known, spot."""
    columns = [panel.instruments.index(leg.name) for leg in spread.legs]
    for name in ("depth_usd", "volume_usd"):
        if name in panel.fields:
            known = panel.fields[name][-1, columns]
            if np.isfinite(known).all():
                return int(known[1] < known[0])
    return int(spread.hedge.kind is Kind.SPOT)
