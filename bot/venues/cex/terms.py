"""Where the adapter trades on a central exchange, what, and how patiently."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bot.errors import ConfigError
from bot.model.account import MarginMode
from bot.venues.venue_clock import Pace

NETWORKS = frozenset({"testnet", "devnet"})


@dataclass(frozen=True, slots=True)
class CexTerms:
    """Where and what. `coins` are the exchange's own bases (BTC, 1000PEPE); instruments are named `venue:BASE`.

    `service` says which of a venue's places to practise is meant, "demo" or "testnet"; there is none with real money.
    `url` is the base of all REST requests in place of the venue's own, which a devnet needs. `settle` is the currency
    of the contracts. `settle_s` is how long after the hour its settlement is waited for, `resolve_s` how long for what
    became of an order without an answer, `after_window_ms` how far beyond the end of its receive window the venue's
    clock must be before an order that it does not know is taken never to have arrived. `adopts`: orders under names of
    ours that the outbox doesn't hold are taken for somebody else's, instead of another daemon's.
    """

    venue: str
    network: str
    coins: tuple[str, ...]
    service: str = "demo"
    url: str | None = None
    settle: str = "USDT"
    leverage: int = 3
    margin_mode: MarginMode = MarginMode.CROSS
    history_h: int = 720
    timeout_s: float = 10.0
    settle_s: float = 60.0
    resolve_s: float = 90.0
    poll_s: float = 0.5
    after_window_ms: int = 10_000
    adopts: bool = False
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ConfigError(f"{self.venue}: network must be testnet or devnet, found {self.network!r}.")
        if (self.network == "devnet") != (self.url is not None):
            raise ConfigError(f"{self.venue}: a devnet has a url, and only a devnet.")
        if not self.coins or len(set(self.coins)) != len(self.coins):
            raise ConfigError(f"{self.venue}: coins must be named, and none of them twice.")

    @property
    def clock(self) -> Pace:
        """`pace`, knowing whether the time there is real: a devnet's alone may run as it likes."""
        return replace(self.pace, is_real=self.network != "devnet")

    def name(self, coin: str) -> str:
        """What the instrument of one of `coins` is called."""
        return f"{self.venue}:{coin}"
