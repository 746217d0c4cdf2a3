"""Start-up checks: key → agent → account. That each belongs to the next, until when, and with what money.

What can't work is a ConfigError with a sentence of its own; what works but not for long, or not well, is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from bot.clock import utc
from bot.errors import ConfigError
from bot.model.money import ZERO
from bot.signer.draft import toml_key
from bot.signer.expiry import expiry_warning
from bot.venues.hyperliquid.balances import Balance, SpotState
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.parse_account import MarginState, Role
from bot.venues.hyperliquid.parse_meta import Listed, Universe, is_pair
from bot.venues.hyperliquid.signing import Whose

STANDARD: Final = ("default", "disabled", "dexAbstraction")
MODES: Final = {
    "unifiedAccount": "is in unifiedAccount mode: spot and perps share one balance, so the perp balance that is read "
    "here says nothing",
    "portfolioMargin": "is in portfolioMargin mode: spot holdings back its perps, by rules that are not reckoned here",
}
HOSTS: Final = {"api.hyperliquid.xyz": "mainnet", "api.hyperliquid-testnet.xyz": "testnet"}
LEAST_ORDER_USD: Final = Decimal(10)
STABLE: Final = ("USDC", "USDT0", "USDE", "USDH")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who trades for whom, as the venue tells it. `agent_until_ms` is None where the venue doesn't say."""

    account: str
    role: str
    master: str
    agent: str
    agent_name: str
    agent_until_ms: int | None
    mode: str
    margin: MarginState
    spot: tuple[Balance, ...]
    warnings: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """It in words, for whoever starts the daemon."""
        whose = {"user": "an account of its own", "subAccount": "a sub-account", "vault": "a vault"}[
            self.role
        ]
        of = "" if self.account == self.master else f" of {self.master}"
        if self.agent == self.master:
            by = "signed for by its own key"
        else:
            until = "" if self.agent_until_ms is None else f" until {utc(self.agent_until_ms)}"
            by = f"signed for by the agent {self.agent_name or 'without a name'} ({self.agent}){until}"
        held = ", ".join(f"{each.total:f} {each.token}" for each in self.spot if each.total) or "nothing"
        margin = self.margin
        perps = f"${margin.equity_usd:f} with {len(margin.positions)} positions, ${margin.withdrawable_usd:f} of it free"
        return (
            f"{self.account} is {whose}{of}, {by}",
            f"perps hold {perps}; spot, which backs no perp in this mode, holds {held}",
        )


def check_network(url: str, network: str) -> None:
    """ConfigError where a server is known to be of another network."""
    serves = HOSTS.get(urlsplit(url).hostname or "", network)
    if serves != network:
        raise ConfigError(
            f"{url} is the server of {serves} and the config says {network}; make them the same"
        )


async def listed_for(client: Client, coins: Iterable[str]) -> Universe | Listed:
    """What the venue lists; its spot markets only where some of the coins are of these. Raises what `client.info` does."""
    perps: Universe = await client.info({"type": "meta"})
    if not any(map(is_pair, coins)):
        return perps
    return Listed(perps, await client.info({"type": "spotMeta"}))


def check_signer(
    whose: Whose, network: str, account: str, coins: Sequence[str], universe: Universe | Listed
) -> None:
    """ConfigError where the signer signs for another network or account, or numbers or cuts a coin differently.

    DataError where the venue's word on a coin can't be read.
    """
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
        if coin not in whose.assets:
            raise ConfigError(
                f"{coin} is in the config and not in the signer's policy; add [coins.{toml_key(coin)}] there, or take it "
                "out here"
            )
        if whose.assets[coin] != place:
            raise ConfigError(
                f"{coin} is asset {place} at the venue and {whose.assets[coin]} in the signer's policy; renew the policy's meta"
            )
        decimals = universe.instrument(coin).size_decimals
        if whose.size_decimals.get(coin, decimals) != decimals:
            raise ConfigError(
                f"sizes of {coin} have {decimals} decimals at the venue and {whose.size_decimals[coin]} in the signer's "
                f"policy; renew the policy's meta"
            )


async def check_account(
    client: Client, whose: Whose, coins: Sequence[str], universe: Universe | Listed
) -> Identity:
    """Who trades for whom with what money. ConfigError where the account can't be traded on by this signer.

    Also raises what `client.info` does.
    """
    check_network(client.url, whose.network)
    account = whose.account
    role: Role = await client.info({"type": "userRole", "user": account})
    await _check_role(client, role, whose)
    now_ms: int = await client.info({"type": "exchangeStatus"})
    name, until_ms, warnings = await _agent(client, whose, now_ms)
    mode: str = await client.info({"type": "userAbstraction", "user": account})
    if mode not in STANDARD:
        what = MODES.get(mode, f"is in {mode} mode, which this program does not know")
        raise ConfigError(f"{account} {what}; switch the account to standard mode")
    margin: MarginState = await client.info({"type": "clearinghouseState", "user": account})
    spot: SpotState = await client.info({"type": "spotClearinghouseState", "user": account})
    warnings += _money(account, margin, spot.balances)
    if any(map(is_pair, coins)) and not spot.of("USDC").free:
        warnings += [f"{account} has no free USDC on spot to buy with; transfer some from perps to spot"]
    listed = {instrument.name: instrument for instrument in universe.instruments}
    warnings += [
        f"{coin} is delisted at the venue, so that it is only ever closed; take it out of the config"
        for coin in coins
        if coin in listed and listed[coin].is_delisted
    ]
    return Identity(
        account,
        role.kind,
        whose.master,
        whose.agent,
        name,
        until_ms,
        mode,
        margin,
        spot.balances,
        tuple(warnings),
    )


async def _check_role(client: Client, role: Role, whose: Whose) -> None:
    """That the account is what the policy takes it for: an account, or with `vault` the master's sub-account or vault."""
    account, master = whose.account, whose.master
    if role.kind == "agent":
        raise ConfigError(
            f"{account} is an agent's address, whose books are empty; put the address of the account it acts for, {role.of}"
        )
    if role.kind == "missing":
        raise ConfigError(
            f"the venue knows no account {account}: nothing was ever deposited to it on {whose.network}; deposit there, or "
            f"correct the address"
        )
    if role.kind == "user":
        if whose.vault is not None:
            raise ConfigError(
                f"the signer's policy names {account} as its vault and it is an ordinary account; put it as `account` and "
                f"take `vault` out"
            )
        return
    kind = "sub-account" if role.kind == "subAccount" else "vault"
    owner = role.of or await client.info({"type": "vaultDetails", "vaultAddress": account})
    if whose.vault is None:
        raise ConfigError(
            f"{account} is a {kind} of {owner}, so its orders would go to no books of its own; put account = {owner} and "
            f"vault = {account} in the signer's policy"
        )
    if owner != master:
        raise ConfigError(
            f"{account} is a {kind} of {owner}, and the signer's policy has it as one of {master}; put account = {owner} "
            f"and an agent that it approved"
        )


async def _agent(client: Client, whose: Whose, now_ms: int) -> tuple[str, int | None, list[str]]:
    """The agent's name, until when it may sign, and what to warn of. ConfigError where it may not."""
    agent, master = whose.agent, whose.master
    if agent == master:
        return "", None, [
            f"the signer holds {master}'s own key, which can withdraw; make an agent with `hedgerow wallet new`"
        ]  # fmt: skip
    role: Role = await client.info({"type": "userRole", "user": agent})
    listed = await client.info({"type": "extraAgents", "user": master})
    rows = {address: (name, until_ms) for name, address, until_ms in listed}
    name, until_ms = rows.get(agent, ("", None))
    if role.kind == "agent" and role.of != master:
        raise ConfigError(
            f"{agent} is an agent of {role.of}, and the signer's policy has it as one of {master}; correct the policy's "
            f"account, or approve another agent"
        )
    if role.kind not in {"agent", "missing"}:
        raise ConfigError(
            f"{agent}, the signer's key, is an account of its own and no agent; make an agent with `hedgerow wallet new`"
        )
    ended_ms = until_ms if until_ms is not None else whose.agent_until_ms
    if ended_ms is not None and ended_ms <= now_ms:
        raise ConfigError(
            f"the approval of the agent {agent} expired at {utc(ended_ms)}; replace it with `hedgerow wallet rotate`"
        )
    if role.kind == "missing" and agent not in rows:
        raise ConfigError(
            f"{agent} is not approved as an agent of {master}, or no longer; approve it with `hedgerow wallet "
            f"approve-agent --send`, or replace it with `hedgerow wallet rotate` if it once was"
        )
    if agent not in rows:
        return "", None, [
            f"the agent {agent} has no name, so the venue doesn't tell when its approval ends; approve one with a name"
        ]  # fmt: skip
    warning = None if until_ms is None else expiry_warning(until_ms, now_ms)
    return name, until_ms, [] if warning is None else [warning]


def _money(account: str, margin: MarginState, spot: Sequence[Balance]) -> list[str]:
    """What to warn of: nothing to trade with, or money where it does not help."""
    if margin.equity_usd >= LEAST_ORDER_USD or margin.positions:
        return []
    idle = [each for each in spot if each.token in STABLE and each.total > ZERO]
    if idle:
        held = " and ".join(f"{each.total:f} {each.token}" for each in idle)
        has = f"{account} has ${margin.equity_usd:f} to trade perps with"
        return [f"{has} while {held} lie in its spot wallet; transfer USDC from spot to perps"]
    return [
        f"{account} has ${margin.equity_usd:f}, less than the venue's smallest order of ${LEAST_ORDER_USD}; deposit first"
    ]


async def agent_standing(client: Client, whose: Whose, now_ms: int) -> tuple[int | None, str | None]:
    """Until when the agent may sign (None: nobody says), and what to say of it today.

    `now_ms` is the venue's time; one that may not sign any more, for whatever reason, may until then. Raises what
    `client.info` does.
    """
    try:
        _, until_ms, warnings = await _agent(client, whose, now_ms)
    except ConfigError as error:
        return now_ms, str(error)
    return until_ms, warnings[0] if warnings else None
