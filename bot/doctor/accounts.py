"""The accounts that a live config names, each at its venue and with its signer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bot.model.instrument import HYPERLIQUID
from bot.settings import Settings
from bot.signer.program import default_socket


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `name` is the venue's, `coins` what is traded there as the config writes it.

    `address` and `url` are None where the venue is a central exchange's own service, which `service` then says.
    """

    name: str
    network: str
    coins: tuple[str, ...]
    signer: Path
    url: str | None = None
    address: str | None = None
    service: str = ""

    @property
    def is_cex(self) -> bool:
        """Whether it is at a central exchange."""
        return self.name != HYPERLIQUID

    @property
    def instruments(self) -> tuple[str, ...]:
        """What its instruments are called."""
        return tuple(f"{self.name}:{coin}" for coin in self.coins) if self.is_cex else self.coins


def accounts_of(settings: Settings) -> tuple[Account, ...]:
    """Those of a live config; a backtest has none, and a paper run makes its own."""
    if settings.mode != "live":
        return ()
    found = []
    venue = settings.venue
    if venue is not None:
        found.append(
            Account(
                HYPERLIQUID,
                venue.network,
                venue.coins,
                venue.signer or default_socket(venue.network),
                venue.url,
                venue.account.lower(),
            )
        )
    for name, cex in settings.cex.items():
        signer = cex.signer or default_socket(f"{name}-{cex.network}")
        found.append(Account(name, cex.network, cex.coins, signer, cex.url, None, cex.service))
    return tuple(found)
