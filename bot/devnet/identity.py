"""Who may act for whom: nonces of signers, agents of masters, sub-accounts of both."""

from __future__ import annotations

import re
from bisect import insort
from dataclasses import dataclass
from typing import Final

from bot.devnet.signatures import keccak256

KEPT_NONCES: Final = 100
OLDEST_NONCE_MS: Final = 172_680_000  # two days less two minutes, as measured
NEWEST_NONCE_MS: Final = 86_280_000
LONGEST_AGENT_MS: Final = 180 * 86_400_000
NAMED_AGENTS: Final = 3
MOST_SUB_ACCOUNTS: Final = 10
MILLISECONDS: Final = re.compile("[0-9]{1,16}", re.ASCII)


class Nonces:
    """The highest nonces that a signer used; a new one must be above the least of them and unused."""

    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used: list[int] = []

    def refusal(self, nonce: int, now_ms: int) -> str:
        """Why a nonce may not be used at a time; empty if it may."""
        used = self._used
        lowest, highest = now_ms - OLDEST_NONCE_MS, now_ms + NEWEST_NONCE_MS
        if nonce <= lowest:
            return f"Invalid nonce: nonce too low {nonce} < {lowest}"
        if nonce >= highest:
            return f"Invalid nonce: nonce too high {nonce} > {highest}"
        if nonce in used:
            return f"Invalid nonce: duplicate nonce {nonce}"
        if len(used) >= KEPT_NONCES and nonce < used[0]:
            return f"Invalid nonce: nonce too low {nonce} < {used[0]}"
        return ""

    def use(self, nonce: int) -> None:
        insort(self._used, nonce)
        del self._used[:-KEPT_NONCES]


@dataclass(frozen=True, slots=True)
class Agent:
    """A key that may trade for a master until a time; the unnamed one has an empty name."""

    master: str
    name: str
    valid_until_ms: int


@dataclass(frozen=True, slots=True)
class SubAccount:
    """An account without a key of its own."""

    master: str
    name: str


class Identities:
    """All agents and sub-accounts, by address."""

    def __init__(self) -> None:
        self.longest_agent_ms = LONGEST_AGENT_MS
        self.agents: dict[str, Agent] = {}
        self.sub_accounts: dict[str, SubAccount] = {}
        self._nonces: dict[str, Nonces] = {}

    def nonces(self, signer: str) -> Nonces:
        return self._nonces.setdefault(signer, Nonces())

    def agent(self, address: str, now_ms: int) -> Agent | None:
        """The agent at an address, if it is one and has not expired."""
        agent = self.agents.get(address)
        return agent if agent is not None and now_ms < agent.valid_until_ms else None

    def agents_of(self, master: str, now_ms: int) -> dict[str, Agent]:
        return {
            address: agent
            for address, agent in self.agents.items()
            if agent.master == master and now_ms < agent.valid_until_ms
        }

    def sub_accounts_of(self, master: str) -> dict[str, SubAccount]:
        return {address: sub for address, sub in self.sub_accounts.items() if sub.master == master}

    def approve(self, master: str, address: str, name: str, now_ms: int) -> str:
        """Make an address the master's agent in place of the one of the same name; a refusal, or nothing.

        The name may end in ` valid_until <ms>`.
        """
        name, _, until = name.partition(" valid_until ")
        latest = now_ms + self.longest_agent_ms
        if until and not (MILLISECONDS.fullmatch(until) and now_ms < int(until) <= latest):
            return "Invalid agent valid until"
        if len(name) > 16:
            return "Extra agent name must be between 1 and 16 characters long"
        if address in self.agents and self.agents[address].master != master:
            return "Extra agent already used."
        others = {each: agent for each, agent in self.agents_of(master, now_ms).items() if agent.name != name}
        room = NAMED_AGENTS + 2 * len(self.sub_accounts_of(master))
        if name and sum(bool(agent.name) for agent in others.values()) >= room:
            return f"Too many extra agents for cumulative volume traded. Current limit is {room}"
        for each in [
            each for each, agent in self.agents.items() if agent.master == master and agent.name == name
        ]:
            del self.agents[each]
        if address != "0x" + "0" * 40:  # what revokes an agent
            self.agents[address] = Agent(master, name, int(until) if until else latest)
        return ""

    def create_sub_account(self, master: str, name: str) -> str | None:
        """The address of a new sub-account, which follows from the master's; None if there are too many."""
        number = len(self.sub_accounts_of(master))
        if number >= MOST_SUB_ACCOUNTS:
            return None
        address = "0x" + keccak256(f"sub-account {master} {number}".encode())[-20:].hex()
        self.sub_accounts[address] = SubAccount(master, name)
        return address

    def rename_sub_account(self, master: str, address: str, name: str) -> bool:
        """Give a sub-account another name; False if it isn't the master's."""
        sub = self.sub_accounts.get(address)
        if sub is None or sub.master != master:
            return False
        self.sub_accounts[address] = SubAccount(master, name)
        return True
