"""Start-up checks: that the signer signs for this account and these coins, and that the account is one to trade on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.errors import ConfigError
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.hyperliquid.signing import Whose

STANDARD: Final = ("default", "disabled", "dexAbstraction")


def check_signer(whose: Whose, network: str, account: str, coins: Sequence[str], universe: Universe) -> None:
    """ConfigError where the signer signs for another network or account, or numbers a coin differently."""
    if whose.network != network:
        raise ConfigError(
            f"the signer signs for {whose.network} and the config says {network}; make them the same"
        )
    if whose.account != account.lower():
        raise ConfigError(
            f"the signer signs for the account {whose.account} and the config says {account.lower()}; make them the same"
        )
    for coin in coins:
        place = universe.place(coin)
        signed = whose.assets.get(coin)
        if signed is not None and signed != place:
            raise ConfigError(
                f"{coin} is asset {place} at the venue and {signed} in the signer's policy; renew the policy's meta"
            )


async def check_account(client: Client, account: str) -> None:
    """ConfigError where the address is an agent's, or the account is one whose perp balance says nothing."""
    role = await client.info({"type": "userRole", "user": account})
    if role == "agent":
        raise ConfigError(
            f"{account} is an agent's address, whose books are empty; put the address of the account it acts for"
        )
    mode = await client.info({"type": "userAbstraction", "user": account})
    if mode not in STANDARD:
        raise ConfigError(
            f"{account} is in {mode} mode, where perp margin is not its own; switch the account to standard mode"
        )
