"""Everything a decision may look at: one moment of market, account, memory and trading state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.model.decision import AccountView, Memory, TradingState
from bot.model.frozen import quickly_made
from bot.pipeline.mandate import Guard
from bot.pipeline.market import Market


@quickly_made
@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is true at one moment, as far as the trader knows.

    `guards` are the operator's own protective distances by instrument. `suffix` tells apart what is decided at one
    moment besides the cycle's own decision.
    `quarantined` are strategies that are not asked any more, by name, and why.
    """

    market: Market
    account: AccountView
    memory: Memory
    state: TradingState = TradingState.ACTIVE
    guards: Mapping[str, Guard] | None = None
    suffix: str = ""
    quarantined: Mapping[str, str] | None = None

    @property
    def time_ms(self) -> int:
        return self.market.time_ms

    @property
    def id(self) -> str:
        """Names the decision made from this snapshot and, with it, its orders: the moment in hexadecimal seconds."""
        return f"{self.market.time_ms // 1000:x}{self.suffix}"
