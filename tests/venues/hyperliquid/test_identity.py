"""Every way to set up key, agent, account and coins wrongly has a sentence of its own, before anything is traded.

Most of it against a devnet, which approves agents and makes sub-accounts as the venue does; what it does not have
(unified accounts, vaults, spot money, delistings) is told by a server of recorded shapes.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import ConfigError, HedgerowError, Unavailable
from bot.signer import keystore, signing, wallet
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.identity import (
    Identity,
    agent_standing,
    check_account,
    check_network,
    check_signer,
)
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.hyperliquid.signing import Whose
from tests.venues.hyperliquid.fake import FakeVenue, serving

COINS = ("BTC", "ETH")
DAY_MS = 86_400_000
DAYS = 30


@dataclass
class Scene:
    """A devnet, two accounts with money, and an agent of the first."""

    server: Server
    owner: signing.SigningKey
    other: signing.SigningKey
    agent: str
    until_ms: int

    def whose(self, **changed: Any) -> Whose:
        told = Whose(
            "devnet", self.owner.address, self.agent, {"BTC": 0, "ETH": 1}, None, {"BTC": 5, "ETH": 4}
        )
        return replace(told, **changed)

    def sub_account(self, owner: signing.SigningKey) -> str:
        return str(self.door("create_sub_account", owner.address, "desk"))

    def door(self, what: str, *arguments: Any) -> Any:
        return getattr(self.server.door.identities, what)(*arguments)

    def approve(self, owner: signing.SigningKey, name: str, until_ms: int | None = None) -> str:
        address = wallet.nobody()
        full = name if until_ms is None else f"{name} valid_until {until_ms}"
        assert self.door("approve", owner.address, address, full, self.server.world.now_ms) == ""
        return address


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(Options(coins=COINS, history_h=2, flow=False, paused=True, funded=0)) as made:
        yield made


@pytest.fixture
def scene(server: Server) -> Scene:
    owner, other = (signing.SigningKey(keystore.new_secret(), "testnet") for _ in range(2))
    for key in (owner, other):
        server.world.fund(key.address, Decimal(10_000))
    made = Scene(server, owner, other, "", server.world.now_ms + DAYS * DAY_MS)
    made.agent = made.approve(owner, "desk", made.until_ms)
    return made


def asked(url: str, whose: Whose, **config: Any) -> Identity:
    """What the daemon's start makes of a signer and a config."""
    network, account = config.get("network", whose.network), config.get("account", whose.account)
    coins = config.get("coins", COINS)

    async def ask() -> Identity:
        client = Client(url)
        try:
            universe: Universe = await client.info({"type": "meta"})
            check_signer(whose, network, account, coins, universe)
            return await check_account(client, whose, coins, universe)
        finally:
            await client.close()

    return asyncio.run(ask())


def sentence(url: str, whose: Whose, **config: Any) -> str:
    with pytest.raises(ConfigError) as error:
        asked(url, whose, **config)
    text = str(error.value)
    assert "\n" not in text
    assert ";" in text or ":" in text, f"no word of what to do: {text}"
    return text


def test_a_right_setup_is_told_in_words_without_a_warning(scene: Scene) -> None:
    found = asked(scene.server.url, scene.whose())
    first, second = found.lines()

    assert (found.role, found.agent_name, found.agent_until_ms) == ("user", "desk", scene.until_ms)
    assert found.warnings == ()
    assert f"{scene.owner.address} is an account of its own, signed for by the agent desk" in first
    assert "perps hold $10000 with 0 positions, $10000 of it free" in second.replace(".0 ", " ").replace(
        ".0", ""
    )


def test_a_sub_account_is_right_with_its_master_and_the_masters_agent(scene: Scene) -> None:
    sub = scene.sub_account(scene.owner)
    scene.server.world.fund(sub, Decimal(500))
    found = asked(scene.server.url, scene.whose(vault=sub))

    assert (found.role, found.master, found.warnings) == ("subAccount", scene.owner.address, ())
    assert f"{sub} is a sub-account of {scene.owner.address}" in found.lines()[0]


Wrong = Callable[[Scene], tuple[Whose, dict[str, Any]]]
MISTAKES: dict[str, tuple[Wrong, str]] = {
    "the account is an agent's address": (
        lambda s: (s.whose(master=s.agent, agent=s.approve(s.owner, "b")), {}),
        "is an agent's address, whose books are empty; put the address of the account it acts for, {owner}",
    ),
    "the agent is not approved": (
        lambda s: (s.whose(agent="0x" + "12" * 20), {}),
        "is not approved as an agent of {owner}, or no longer",
    ),
    "the agent is another account's": (
        lambda s: (s.whose(agent=s.approve(s.other, "desk")), {}),
        "is an agent of {other}, and the signer's policy has it as one of {owner}",
    ),
    "the agent has expired": (
        lambda s: (s.whose(agent=s.approve(s.owner, "old", s.server.world.now_ms + 1)), {"later_ms": 1_000}),
        "is not approved as an agent of {owner}, or no longer",
    ),
    "the agent has expired, and the policy knows when": (
        lambda s: (
            s.whose(
                agent=s.approve(s.owner, "old", s.server.world.now_ms + 1),
                agent_until_ms=s.server.world.now_ms + 1,
            ),
            {"later_ms": 1_000},
        ),
        "expired at 20",
    ),
    "the signer's key is an account of its own": (
        lambda s: (s.whose(agent=s.other.address), {}),
        "is an account of its own and no agent",
    ),
    "a sub-account of somebody else": (
        lambda s: (s.whose(vault=s.sub_account(s.other)), {}),
        "is a sub-account of {other}, and the signer's policy has it as one of {owner}",
    ),
    "a sub-account that the policy takes for an account": (
        lambda s: (s.whose(master=s.sub_account(s.owner)), {}),
        "is a sub-account of {owner}, so its orders would go to no books of its own; put account = {owner} and vault =",
    ),
    "an account that the policy takes for a vault": (
        lambda s: (s.whose(vault=s.other.address), {}),
        "names {other} as its vault and it is an ordinary account",
    ),
    "an account to which nothing was deposited": (
        lambda s: (s.whose(master="0x" + "34" * 20), {}),
        "the venue knows no account 0x3434343434343434343434343434343434343434: nothing was ever deposited",
    ),
    "a signer of another network": (
        lambda s: (s.whose(network="testnet"), {"network": "devnet"}),
        "the signer signs for testnet and the config says devnet",
    ),
    "a signer of another account": (
        lambda s: (s.whose(), {"account": s.other.address}),
        "the signer signs for the account {owner} and the config says {other}",
    ),
    "an asset of another number": (
        lambda s: (s.whose(assets={"BTC": 0, "ETH": 2}), {}),
        "ETH is asset 1 at the venue and 2 in the signer's policy",
    ),
    "sizes of other decimals": (
        lambda s: (s.whose(size_decimals={"BTC": 4}), {}),
        "sizes of BTC have 5 decimals at the venue and 4 in the signer's policy",
    ),
    "a coin that the venue does not list": (
        lambda s: (s.whose(), {"coins": ("BTC", "NOPE")}),
        "the venue lists no perpetual 'NOPE'",
    ),
    "a coin that the policy does not know": (
        lambda s: (s.whose(assets={"BTC": 0}), {}),
        "ETH is in the config and not in the signer's policy",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_its_own_sentence(scene: Scene, mistake: str) -> None:
    make, words = MISTAKES[mistake]
    whose, config = make(scene)
    if later_ms := config.pop("later_ms", 0):
        scene.server.world.advance(later_ms)

    told = sentence(scene.server.url, whose, **config)
    assert words.format(owner=scene.owner.address, other=scene.other.address) in told


def test_no_two_mistakes_share_a_sentence() -> None:
    opening = [words.partition("{")[0] + words.rpartition("}")[2] for _, words in MISTAKES.values()]
    # An expired agent looks like one that was never approved, to who does not know when it ended.
    assert len(set(opening)) == len(opening) - 1


@pytest.mark.parametrize(
    ("left_days", "words"),
    [
        (14.5, None),
        (13.9, "ends in 13.9 days; rotate it soon"),
        (6.5, "rotate it this week"),
        (0.5, "within a day"),
    ],
)
def test_an_approval_that_ends_soon_is_warned_of(scene: Scene, left_days: float, words: str | None) -> None:
    until_ms = scene.server.world.now_ms + round(left_days * DAY_MS)
    whose = scene.whose(agent=scene.approve(scene.owner, "short", until_ms))
    warnings = asked(scene.server.url, whose).warnings

    assert [words in each for each in warnings] == [True] if words else warnings == ()


def test_a_watcher_asked_daily_warns_at_14_7_and_1_days_and_says_when_it_is_over(scene: Scene) -> None:
    told: dict[int, str] = {}

    async def watch() -> None:
        client = Client(scene.server.url, budget=WeightBudget(None))
        try:
            for day in range(DAYS + 2):
                now_ms = scene.until_ms - (DAYS - day) * DAY_MS
                _, said = await agent_standing(client, scene.whose(), now_ms)
                if said is not None:
                    told[DAYS - day] = said
        finally:
            await client.close()

    asyncio.run(watch())
    assert list(told) == [*range(14, -2, -1)]
    assert {"soon" in told[d] for d in range(8, 15)} == {True}
    assert {"this week" in told[d] for d in range(2, 8)} == {True}
    assert "within a day" in told[1]
    assert all("expired at" in told[d] for d in (0, -1))


def test_a_watcher_notices_an_agent_that_was_replaced(scene: Scene) -> None:
    scene.approve(scene.owner, "desk")  # of the same name, as by another computer

    async def watch() -> str | None:
        client = Client(scene.server.url, budget=WeightBudget(None))
        try:
            return (await agent_standing(client, scene.whose(), scene.server.world.now_ms))[1]
        finally:
            await client.close()

    assert "is not approved as an agent" in (asyncio.run(watch()) or "")


def test_the_accounts_own_key_and_an_agent_without_a_name_are_warned_of(scene: Scene) -> None:
    (own,) = asked(scene.server.url, scene.whose(agent=scene.owner.address)).warnings
    assert "own key, which can withdraw" in own
    (nameless,) = asked(scene.server.url, scene.whose(agent=scene.approve(scene.owner, ""))).warnings
    assert "has no name" in nameless


def test_an_empty_sub_account_is_warned_of(scene: Scene) -> None:
    (empty,) = asked(scene.server.url, scene.whose(vault=scene.sub_account(scene.owner))).warnings
    assert "less than the venue's smallest order of $10; deposit first" in empty


ACCOUNT, AGENT, LEADER = "0x" + "aa" * 20, "0x" + "bb" * 20, "0x" + "cc" * 20
EMPTY = {"accountValue": "0.0", "totalNtlPos": "0.0", "totalRawUsd": "0.0", "totalMarginUsed": "0.0"}
NOTHING = {
    "marginSummary": EMPTY,
    "crossMarginSummary": EMPTY,
    "crossMaintenanceMarginUsed": "0.0",
    "withdrawable": "0.0",
    "assetPositions": [],
    "time": 1_780_000_000_000,
}
SPOT = {"balances": [{"coin": "USDC", "token": 0, "total": "2500.5", "hold": "0.0", "entryNtl": "0.0"}]}


def told_by_fake(answers: dict[str, Any], **changed: Any) -> Identity | str:
    venue = FakeVenue(ACCOUNT)
    venue.agents.add(AGENT)
    venue.answers.update(answers)
    whose = replace(Whose("devnet", ACCOUNT, AGENT, {"BTC": 0, "ETH": 1}), **changed)

    async def run() -> Identity | str:
        async with serving(venue):
            client = Client(venue.url)
            try:
                universe = await client.info({"type": "meta"})
                return await check_account(client, whose, COINS, universe)
            except HedgerowError as error:
                return f"{type(error).__name__}: {error}"
            finally:
                await client.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("answers", "changed", "words"),
    [
        ({"userAbstraction": "unifiedAccount"}, {}, "unifiedAccount mode: spot and perps share one balance"),
        ({"userAbstraction": "portfolioMargin"}, {}, "portfolioMargin mode: spot holdings back its perps"),
        ({"userAbstraction": "somethingNew"}, {}, "somethingNew mode, which this program does not know"),
        (
            {"userRole": {"role": "vault"}, "vaultDetails": {"leader": LEADER}},
            {"vault": "0x" + "dd" * 20},
            f"is a vault of {LEADER}, and the signer's policy has it as one of {ACCOUNT}",
        ),
        (
            {"userRole": {"role": "vault"}, "vaultDetails": {"leader": LEADER}},
            {},
            f"is a vault of {LEADER}, so its orders would go to no books of its own",
        ),
    ],
)
def test_what_a_devnet_does_not_have_has_its_sentence_too(
    answers: dict[str, Any], changed: dict[str, Any], words: str
) -> None:
    told = told_by_fake(answers, **changed)
    assert isinstance(told, str)
    assert told.startswith("ConfigError")
    assert words in told


def test_an_expired_agent_that_the_venue_still_lists_is_said_to_have_expired() -> None:
    ended = {"name": "desk", "address": AGENT, "validUntil": 1_767_776_120_478}
    told = told_by_fake({"extraAgents": [ended]})
    assert isinstance(told, str)
    assert "expired at 2026-01-07T08:55:20.478Z; replace it" in told


def test_a_perp_balance_of_nothing_with_money_in_spot_is_explained() -> None:
    found = told_by_fake({"clearinghouseState": NOTHING, "spotClearinghouseState": SPOT})
    assert isinstance(found, Identity)
    (warning,) = found.warnings
    assert "$0.0 to trade perps with while 2500.5 USDC lie in its spot wallet; transfer USDC" in warning
    assert "holds 2500.5 USDC" in found.lines()[1]


def test_a_delisted_coin_is_warned_of() -> None:
    universe = [
        {"name": "BTC", "szDecimals": 5, "maxLeverage": 40, "marginTableId": 40},
        {"name": "ETH", "szDecimals": 4, "maxLeverage": 25, "marginTableId": 25, "isDelisted": True},
    ]
    found = told_by_fake({"meta": {"universe": universe, "marginTables": []}})
    assert isinstance(found, Identity)
    assert [each.partition(" at the venue")[0] for each in found.warnings] == ["ETH is delisted"]


def test_a_question_without_an_answer_is_never_taken_for_a_right_setup() -> None:
    venue = FakeVenue(ACCOUNT)
    venue.agents.add(AGENT)

    async def run() -> None:
        async with serving(venue):
            client = Client(venue.url)
            try:
                universe = await client.info({"type": "meta"})
                venue.faults["/info"].append("502 before")
                whose = Whose("devnet", ACCOUNT, AGENT, {"BTC": 0, "ETH": 1})
                with pytest.raises(Unavailable):
                    await check_account(client, whose, COINS, universe)
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "network", "right"),
    [
        ("https://api.hyperliquid.xyz", "mainnet", True),
        ("https://api.hyperliquid.xyz", "testnet", False),
        ("https://api.hyperliquid-testnet.xyz", "testnet", True),
        ("https://api.hyperliquid-testnet.xyz", "mainnet", False),
        ("http://127.0.0.1:3001", "devnet", True),
    ],
)
def test_a_server_of_another_network_is_not_asked(url: str, network: str, right: bool) -> None:
    if right:
        check_network(url, network)
        return
    with pytest.raises(ConfigError, match="is the server of"):
        check_network(url, network)
