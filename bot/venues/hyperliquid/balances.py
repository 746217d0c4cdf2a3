"""Spot balances on the wire, and which of an account's dollars back its positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from bot.model.money import ZERO
from bot.venues.hyperliquid.parse_account import MarginState
from bot.venues.hyperliquid.wire import Node

ONE_BALANCE: Final = ("unifiedAccount", "portfolioMargin")
"""Modes of an account in which spot and perps share a balance, which the spot state tells."""


@dataclass(frozen=True, slots=True)
class Balance:
    """A spot token held; `hold` is bound in open orders. `index` is the token's, None for what is none (outcomes)."""

    token: str
    index: int | None
    total: Decimal
    hold: Decimal
    entry_usd: Decimal  # what was paid for it

    @property
    def free(self) -> Decimal:
        """What no order binds."""
        return self.total - self.hold


@dataclass(frozen=True, slots=True)
class SpotState:
    """A `spotClearinghouseState` reply.

    `after_maintenance` says, by token index, what is left of it beyond what positions need; only accounts whose spot
    and perp balances are one have it.
    """

    balances: tuple[Balance, ...]
    is_portfolio: bool = False
    after_maintenance: Mapping[int, Decimal] = field(default_factory=dict)

    def of(self, token: str) -> Balance:
        """A token's balance; nothing of it where it is not listed."""
        for each in self.balances:
            if each.token == token:
                return each
        return Balance(token, None, ZERO, ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class Backing:
    """Where an account's dollars are, by its mode.

    With separate balances `perp_usd` is the perp account's equity and `spot_usdc` can't back a position before it is
    moved. With one balance the perp account's own numbers mean nothing, and `perp_usd` is None.
    """

    mode: str
    perp_usd: Decimal | None
    spot_usdc: Decimal
    held_usdc: Decimal  # of `spot_usdc`, bound in orders

    @property
    def sentence(self) -> str:
        """What there is, in one sentence."""
        held = f" ({self.held_usdc:f} of them in orders)" if self.held_usdc else ""
        if self.perp_usd is None:
            return f"the account is in {self.mode} mode: one balance of {self.spot_usdc:f} USDC{held} backs spot and perps"
        return (
            f"the perp account is worth {self.perp_usd:f} USDC, and {self.spot_usdc:f} USDC{held} are on spot"
        )


def backing(mode: str, margin: MarginState, spot: SpotState) -> Backing:
    """Put together from a `userAbstraction`, a `clearinghouseState` and a `spotClearinghouseState` reply."""
    dollars = spot.of("USDC")
    perp_usd = None if mode in ONE_BALANCE else margin.equity_usd
    return Backing(mode, perp_usd, dollars.total, dollars.hold)


def spot_state(node: Node) -> SpotState:
    """A `spotClearinghouseState` reply."""
    found: dict[str, Balance] = {}
    for each in node["balances"].items():
        coin, index, entry = each["coin"].name(), each.maybe("token"), each.maybe("entryNtl")
        if coin in found:
            each.refuse(f"lists {coin!r} a second time")
        total, hold = each["total"].amount(), each["hold"].amount()
        if hold > total:
            each["hold"].refuse(f"is more than there is ({hold} of {total})")
        found[coin] = Balance(
            coin,
            None if index is None else index.whole(0, 10**12),
            total,
            hold,
            ZERO if entry is None else entry.number(),
        )
    portfolio, listed = node.maybe("portfolioMarginEnabled"), node.maybe("tokenToAvailableAfterMaintenance")
    after: dict[int, Decimal] = {}
    for entry in () if listed is None else listed.items():
        token, left = entry.pair()
        if (number := token.whole(0, 10**12)) in after:
            entry.refuse(f"lists token {number} a second time")
        after[number] = left.number()
    return SpotState(tuple(found.values()), portfolio is not None and portfolio.flag(), after)
