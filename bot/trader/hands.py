"""What a trader lends to those who have something done by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.model.decision import Decision
from bot.model.instrument import Instrument
from bot.model.panel import FloatArray
from bot.pipeline.mandate import Mandate
from bot.trader.desk import Desk
from bot.trader.diary import Story
from bot.trader.observer import Observer
from bot.trader.pairs import Pairs
from bot.venues.venue import AccountState, VenueEvent


@dataclass
class Session:
    """What a trader has once it has started."""

    desk: Desk
    observer: Observer
    story: Story


class Hands(Protocol):
    """A trader that has started. `account` is as last looked at, `time_ms` the moment of the last observation."""

    account: AccountState | None
    pairs: Pairs
    instruments: tuple[Instrument, ...]
    mandate: Mandate
    time_ms: int

    @property
    def session(self) -> Session:
        """Its desk, observer and story."""
        ...

    async def looked(self) -> AccountState:
        """The account by a fresh question."""
        ...

    async def carry_out(
        self,
        decision: Decision,
        before: AccountState,
        market: Mapping[int, Mapping[str, FloatArray]] | None = None,
    ) -> Sequence[VenueEvent]:
        """Write a decision down, act on it, and write down what came of it; all that the venue said meanwhile."""
        ...
