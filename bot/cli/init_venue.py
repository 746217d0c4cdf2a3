"""What `hedgerow init` asks the venue: whose the account is, which coins there are, and at the end whether all fits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

from bot.clock import utc
from bot.errors import ConfigError
from bot.signer.draft import Draft, DraftCoin, text
from bot.signer.requests import ADDRESS
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.identity import check_account, check_network, check_signer
from bot.venues.hyperliquid.parse_market import Context, contexts
from bot.venues.hyperliquid.parse_meta import Universe, universe
from bot.venues.hyperliquid.signing import Whose
from bot.venues.hyperliquid.wire import decode

T = TypeVar("T")
Listing = tuple[Universe, dict[str, Decimal], str]
"""The universe, prices by coin, and where the numbers are from."""

LEVERAGE: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What the venue said. `vault` is the account where it is not its own master; `agents` are the master's, by name."""

    network: str
    account: str
    master: str
    vault: str | None
    agents: tuple[str, ...]
    coins: tuple[DraftCoin, ...]
    universe: Universe
    source: str

    @property
    def sentence(self) -> str:
        """What the account is."""
        whose = "an account of its own" if self.vault is None else f"a sub-account or vault of {self.master}"
        numbers = ", ".join(f"{coin.name} is asset {coin.asset}" for coin in self.coins)
        return f"{self.account} is {whose} on {self.network}; {numbers}"

    def draft(self, agent: str, until_ms: int | None, capital_usd: int) -> Draft:
        """A first policy for an agent."""
        return Draft(
            network=self.network,  # type: ignore[arg-type]
            master=self.master,
            vault=self.vault,
            agent=agent,
            valid_until=None if until_ms is None else utc(until_ms),
            coins=self.coins,
            capital_usd=capital_usd,
            leverage=LEVERAGE,
            source=self.source,
        )

    @staticmethod
    def policy_text(draft: Draft) -> str:
        """The draft as a file."""
        return text(draft)

    def whose(self, agent: str) -> Whose:
        """What the signer will say of itself."""
        numbers = {coin.name: coin.asset for coin in self.coins}
        decimals = {coin.name: coin.size_decimals for coin in self.coins}
        return Whose(self.network, self.master, agent, numbers, self.vault, decimals)


def look(url: str, network: str, account: str, coins: tuple[str, ...], meta: Path | None) -> Found:
    """Ask the venue. ConfigError where the address can't be traded on, or a coin can't be traded."""
    if ADDRESS.fullmatch(account) is None:
        raise ConfigError(f"{account!r} is no address; it must be 0x and 40 hex digits")
    if not coins:
        raise ConfigError("there are no coins; name at least one, such as BTC")
    check_network(url, network)
    file = None if meta is None else _read(meta)

    async def ask(client: Client) -> Found:
        master, vault = await _master(client, account, network)
        listed = await client.info({"type": "extraAgents", "user": master})
        known, prices, source = await _coins(client, url, file)
        return Found(
            network,
            account,
            master,
            vault,
            tuple(name for name, _, _ in listed),
            tuple(_coin(coin, known, prices) for coin in coins),
            known,
            source,
        )

    return _asked(url, ask)


def check(url: str, network: str, found: Found, agent: str) -> tuple[str, ...]:
    """The checks of a daemon's start, in words. ConfigError where it would not start."""

    async def ask(client: Client) -> tuple[str, ...]:
        whose, coins = found.whose(agent), [coin.name for coin in found.coins]
        known: Universe = await client.info({"type": "meta"})
        check_signer(whose, network, found.account, coins, known)
        identity = await check_account(client, whose, coins, known)
        return (*identity.lines(), *(f"warning: {each}" for each in identity.warnings))

    return _asked(url, ask)


def _asked(url: str, ask: Callable[[Client], Awaitable[T]]) -> T:
    async def run() -> T:
        client = Client(url)
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(run())


async def _master(client: Client, account: str, network: str) -> tuple[str, str | None]:
    """(master, vault): whose agent may trade an account."""
    role = await client.info({"type": "userRole", "user": account})
    if role.kind == "agent":
        raise ConfigError(f"{account} is an agent's address; give the address it acts for, {role.of}")
    if role.kind == "missing":
        raise ConfigError(f"{account} is not known on {network}: deposit there first, then begin again")
    if role.kind == "user":
        return account, None
    if role.kind == "subAccount":
        return role.of, account
    return await client.info({"type": "vaultDetails", "vaultAddress": account}), account


async def _coins(client: Client, url: str, file: Listing | None) -> Listing:
    """The coins of a file, or of the venue; where the file has no prices, the venue's."""
    if file is None:
        known, listed = await client.info({"type": "metaAndAssetCtxs"})
        now_ms = await client.info({"type": "exchangeStatus"})
        told = zip(known.names, listed.text("mark"), strict=True)
        marks = {coin: Decimal(mark) for coin, mark in told if mark}
        return known, marks, f"the meta of {url} at {utc(now_ms)}"
    known, prices, source = file
    return known, prices or await client.info({"type": "allMids"}), source


def _read(meta: Path) -> Listing:
    """A `meta` or `metaAndAssetCtxs` reply that was saved; without prices where it has none."""
    try:
        node = decode(meta.read_bytes(), meta.name)
    except OSError as error:
        raise ConfigError(f"{meta} cannot be read: {error.strerror}") from None
    source = f"the file {meta.name!r}"
    if isinstance(node.value, list):
        known, listed = contexts(node)
        return known, _marks(known, listed), source
    return universe(node), {}, source


def _marks(known: Universe, listed: Sequence[Context | str]) -> dict[str, Decimal]:
    """Prices of the coins that can be read."""
    told = zip(known.names, listed, strict=True)
    return {coin: context.mark for coin, context in told if not isinstance(context, str)}


def _coin(coin: str, known: Universe, prices: dict[str, Decimal]) -> DraftCoin:
    place = known.place(coin)
    instrument = known.instrument(coin)
    if instrument.is_delisted:
        raise ConfigError(f"{coin} is delisted at the venue; choose another coin")
    if coin not in prices:
        raise ConfigError(f"the venue tells no price of {coin}; choose another coin")
    return DraftCoin(coin, place, instrument.size_decimals, prices[coin], instrument.max_leverage)
