"""Where the adapter trades, for whom, what, and how patiently."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bot.model.account import MarginMode
from bot.venues.hyperliquid import feed as feeds
from bot.venues.hyperliquid import sending
from bot.venues.hyperliquid.budget import WEIGHT_PER_MINUTE
from bot.venues.hyperliquid.client import TIMEOUT_S
from bot.venues.venue_clock import Pace


@dataclass(frozen=True, slots=True)
class Terms:
    """Where, whose and what. `account` is the address whose books are traded: master, sub-account or vault.

    `weight_per_minute` None switches the request budget off, for a venue that has no limit. `settle_s` is how long
    after the hour its settlement is waited for, `fills_s` how long for the fills of what was filled at once. `switch_s`
    is how far ahead the venue's dead man's switch is set; None: not at all. `adopts`: what a start finds under names of
    ours that the outbox doesn't hold is taken for somebody else's, instead of a twin's.
    """

    url: str
    network: str
    account: str
    coins: tuple[str, ...]
    leverage: int = 5
    margin_mode: MarginMode = MarginMode.CROSS
    history_h: int = 720
    timeout_s: float = TIMEOUT_S
    weight_per_minute: int | None = WEIGHT_PER_MINUTE
    settle_s: float = 60.0
    fills_s: float = 5.0
    switch_s: float | None = None
    adopts: bool = False
    pace: Pace = field(default_factory=Pace)
    sending: sending.Patience = field(default_factory=sending.Patience)
    feed: feeds.Patience = field(default_factory=feeds.Patience)

    @property
    def clock(self) -> Pace:
        """`pace`, knowing whether the time there is real: a devnet's alone may run as it likes."""
        return replace(self.pace, is_real=self.network != "devnet")
