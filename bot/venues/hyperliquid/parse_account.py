"""An account on the wire: margin and positions, fills, funding, ledger, limits and roles."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from bot.model.account import MarginMode
from bot.model.money import ZERO
from bot.model.order import Side
from bot.venues.hyperliquid.parse_market import LARGEST_RATE, side
from bot.venues.hyperliquid.wire import LARGEST_AMOUNT, Node

PERP, SPOT = "", "spot"  # the main dex and the spot wallet, as transfers name them
UNTOUCHED: Final = ("liquidation", "spotTransfer", "spotGenesis", "deployGasAuction", "cStakingTransfer",
                    "activateDexAbstraction", "accountActivationGas")  # fmt: skip
"""Ledger rows that leave the perp balance as it is, or whose effect fills tell already."""


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """A position as the venue shows it. `margin_usd` is what backs an isolated one now, its profit included."""

    coin: str
    size: Decimal
    entry_price: Decimal
    value_usd: Decimal
    unrealised_usd: Decimal
    liquidation_price: Decimal | None
    margin_usd: Decimal
    margin_mode: MarginMode
    leverage: int


@dataclass(frozen=True, slots=True)
class MarginState:
    """A `clearinghouseState` reply: equity of all, cash that backs the cross positions, what may be withdrawn."""

    time_ms: int
    equity_usd: Decimal
    cross_cash_usd: Decimal
    withdrawable_usd: Decimal
    positions: tuple[VenuePosition, ...]


@dataclass(frozen=True, slots=True)
class VenueFill:
    """A trade of the account, sizes in coins, fee > 0 paid in `fee_token`."""

    trade_id: int
    time_ms: int
    coin: str
    side: Side
    price: Decimal
    size: Decimal
    before: Decimal  # the position that it met, signed
    closed_pnl_usd: Decimal
    fee: Decimal
    fee_token: str
    order_id: int
    is_maker: bool
    direction: str
    cloid: str | None
    liquidated: str | None  # whose position was liquidated by it, where the venue says so
    liquidation_method: str | None

    @property
    def key(self) -> tuple[int, str, int]:
        """What makes it itself: trade ids repeat across coins and times."""
        return (self.time_ms, self.coin, self.trade_id)


@dataclass(frozen=True, slots=True)
class VenueFunding:
    """A funding payment: `usd` received (negative: paid) on `size` coins at an hourly `rate`.

    `samples` > 1: several settlements in one row, the size being their mean.
    """

    time_ms: int
    coin: str
    usd: Decimal
    size: Decimal
    rate: Decimal
    samples: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A movement of money that is neither trade nor funding; `perp_usd` is its effect on the perp balance.

    None where this program does not know the effect of such a row. `spot_usd` is its effect on the USDC on spot.
    """

    time_ms: int
    hash: str
    kind: str
    perp_usd: Decimal | None
    spot_usd: Decimal = ZERO


def margin_state(node: Node) -> MarginState:
    """A `clearinghouseState` reply. DataError also where its sums contradict each other."""
    whole, cross = node["marginSummary"], node["crossMarginSummary"]
    positions: dict[str, VenuePosition] = {}
    for each in node["assetPositions"].items():
        each["type"].choice("oneWay")
        position = _position(each["position"])
        if position.coin in positions:
            each.refuse(f"holds {position.coin!r} a second time")
        positions[position.coin] = position
    equity, cash = whole["accountValue"].number(), whole["totalRawUsd"].number()
    value = sum((p.value_usd if p.size > 0 else -p.value_usd for p in positions.values()), ZERO)
    if abs(cash + value - equity) > Decimal("0.01") + abs(equity) * Decimal("0.000001"):
        node.refuse(f"says equity {equity} where cash and positions make {cash + value}")
    return MarginState(
        time_ms=node["time"].time_ms(),
        equity_usd=equity,
        cross_cash_usd=cross["totalRawUsd"].number(),
        withdrawable_usd=node["withdrawable"].number(),
        positions=tuple(positions.values()),
    )


def _position(node: Node) -> VenuePosition:
    size, leverage = node["szi"].number(), node["leverage"]
    if size == 0:
        node["szi"].refuse("is 0, which is no position")
    liquidation = node["liquidationPx"]
    mode = leverage["type"].choice("cross", "isolated")
    return VenuePosition(
        coin=node["coin"].name(),
        size=size,
        entry_price=node["entryPx"].price(),
        value_usd=node["positionValue"].amount(),
        unrealised_usd=node["unrealizedPnl"].number(),
        # Of a crumb of a position it lies beyond any price that a market could have.
        liquidation_price=None if liquidation.is_null else liquidation.amount() or None,
        margin_usd=node["marginUsed"].number(),
        margin_mode=MarginMode(mode),
        leverage=leverage["value"].whole(1, 1000),
    )


def fills(node: Node) -> tuple[VenueFill, ...]:
    """Fills in the order of time. A trade that stands twice is refused; newest first or oldest first is both well."""
    found = [fill(each) for each in node.items()]
    seen: set[tuple[int, str, int, int]] = set()
    for each in found:
        key = (*each.key, each.order_id)
        if key in seen:
            node.refuse(f"holds trade {each.trade_id} of {each.coin} twice")
        seen.add(key)
    times = [each.time_ms for each in found]
    if times != sorted(times):
        found.reverse()
        if times != sorted(times, reverse=True):
            node.refuse("is neither newest first nor oldest first")
    return tuple(found)


def fill(node: Node) -> VenueFill:
    """One fill."""
    size = node["sz"].amount()
    if size == 0:
        node["sz"].refuse("is 0, which is no trade")
    cloid, liquidation = node.maybe("cloid"), node.maybe("liquidation")
    whose = None if liquidation is None else liquidation.maybe("liquidatedUser")
    return VenueFill(
        trade_id=node["tid"].whole(),
        time_ms=node["time"].time_ms(),
        coin=node["coin"].name(),
        side=side(node["side"]),
        price=node["px"].price(),
        size=size,
        before=node["startPosition"].number(),
        closed_pnl_usd=node["closedPnl"].number(),
        fee=node["fee"].number(),
        fee_token=node["feeToken"].text(),
        order_id=node["oid"].whole(),
        is_maker=not node["crossed"].flag(),
        direction=node["dir"].text(),
        cloid=None if cloid is None else cloid.cloid(),
        liquidated=None if whose is None else whose.address(),
        liquidation_method=None if liquidation is None else liquidation["method"].text(),
    )


def fundings(node: Node) -> tuple[VenueFunding, ...]:
    """A `userFunding` reply, in the order of time; one coin paid twice at one moment is refused."""
    found = []
    for each in node.items():
        delta = each["delta"]
        delta["type"].choice("funding")
        found.append(funding(delta, each["time"].time_ms()))
    return _once(node, found)


def funding_events(node: Node) -> tuple[VenueFunding, ...]:
    """The rows of a `userFundings` frame."""
    return _once(node, [funding(each, each["time"].time_ms()) for each in node.items()])


def _once(node: Node, found: list[VenueFunding]) -> tuple[VenueFunding, ...]:
    keys = [(each.time_ms, each.coin) for each in found]
    if len(set(keys)) != len(keys):
        node.refuse("holds a payment twice")
    return tuple(sorted(found, key=lambda each: each.time_ms))


def funding(node: Node, time_ms: int) -> VenueFunding:
    """One payment; its direction must be the one that size and rate say."""
    usd, size, rate = node["usdc"].number(), node["szi"].number(), node["fundingRate"].number(LARGEST_RATE)
    samples = node.maybe("nSamples")
    count = 1 if samples is None else samples.whole(1, 10_000)
    if count == 1 and usd * size * rate > 0:
        node["usdc"].refuse(f"has the sign of a receipt reversed ({usd} on {size} at {rate})")
    return VenueFunding(time_ms, node["coin"].name(), usd, size, rate, count)


def ledger(node: Node, account: str) -> tuple[LedgerRow, ...]:
    """A `userNonFundingLedgerUpdates` reply as `account` sees it, in the order of time."""
    rows = [
        LedgerRow(
            each["time"].time_ms(),
            each["hash"].hash(),
            each["delta"]["type"].text(),
            _bounded(each["delta"], _effect(each["delta"], account)),
            _bounded(each["delta"], _spot_effect(each["delta"], account)) or ZERO,
        )
        for each in node.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.time_ms))


def _bounded(delta: Node, effect: Decimal | None) -> Decimal | None:
    """An amount and its fee may each be within bounds where their sum is not."""
    if effect is not None and abs(effect) > LARGEST_AMOUNT:
        delta.refuse(f"moves {effect} USD, which is beyond what can be")
    return effect


def _effect(delta: Node, account: str) -> Decimal | None:
    kind = delta["type"].text()
    if kind in UNTOUCHED:
        return ZERO
    if (vault := delta.maybe("vault")) is not None and vault.address() == account:
        # Somebody's money in our vault is added to its books; what leaves is not told exactly.
        return delta["usdc"].amount() if kind in {"vaultDeposit", "vaultCreate"} else None
    if kind in {"deposit", "vaultDistribution", "vaultLeaderCommission"}:
        return delta["usdc"].number()
    if kind == "withdraw":
        return -delta["usdc"].amount() - delta["fee"].amount()
    if kind == "accountClassTransfer":
        return delta["usdc"].amount() if delta["toPerp"].flag() else -delta["usdc"].amount()
    if kind in {"internalTransfer", "subAccountTransfer"}:
        fee = delta.maybe("fee")
        if delta["destination"].address() == account:
            return delta["usdc"].amount()
        return -delta["usdc"].amount() - (ZERO if fee is None else fee.amount())
    if kind in {"vaultDeposit", "vaultCreate"}:
        return -delta["usdc"].amount()
    if kind == "vaultWithdraw":
        return delta["netWithdrawnUsd"].number()
    return _sent(delta, account, PERP) if kind == "send" else None


def _spot_effect(delta: Node, account: str) -> Decimal:
    """Of other tokens than USDC nothing is told here: that they came or went is seen by the balance."""
    kind = delta["type"].text()
    if kind == "accountClassTransfer":
        return -delta["usdc"].amount() if delta["toPerp"].flag() else delta["usdc"].amount()
    if kind == "spotTransfer" and delta["token"].text() == "USDC":
        fee = delta.maybe("fee")
        if delta["destination"].address() == account:
            return delta["amount"].amount()
        return -delta["amount"].amount() - (ZERO if fee is None else fee.amount())
    return _sent(delta, account, SPOT) if kind == "send" else ZERO


def _sent(delta: Node, account: str, wallet: str) -> Decimal:
    if delta["token"].text() != "USDC":
        return ZERO
    effect = ZERO
    if delta["user"].address() == account and delta["sourceDex"].text() == wallet:
        effect -= delta["amount"].amount()
    if delta["destination"].address() == account and delta["destinationDex"].text() == wallet:
        effect += delta["amount"].amount()
    return effect


@dataclass(frozen=True, slots=True)
class Role:
    """What an address is: `user`, `agent`, `subAccount`, `vault` or `missing`; `of` is an agent's or sub-account's master."""

    kind: str
    of: str | None = None


def role(node: Node) -> Role:
    """A `userRole` reply."""
    kind = node["role"].choice("user", "agent", "subAccount", "vault", "missing")
    if kind in {"agent", "subAccount"}:
        return Role(kind, node["data"]["user" if kind == "agent" else "master"].address())
    return Role(kind)


def leader(node: Node) -> str:
    """A `vaultDetails` reply: whose vault it is."""
    return node["leader"].address()


def requests_left(node: Node) -> int:
    """A `userRateLimit` reply: how many actions the address may still send; negative beyond its limit."""
    surplus = node.maybe("nRequestsSurplus")
    bought = 0 if surplus is None else surplus.whole()
    return node["nRequestsCap"].whole() + bought - node["nRequestsUsed"].whole()


def leverage_set(node: Node) -> tuple[int, MarginMode]:
    """An `activeAssetData` reply: the leverage and margin mode set for a coin, whether or not it is held."""
    leverage = node["leverage"]
    return leverage["value"].whole(1, 1000), MarginMode(leverage["type"].choice("cross", "isolated"))


def agents(node: Node) -> tuple[tuple[str, str, int | None], ...]:
    """An `extraAgents` reply: name, address, valid until (ms) or None."""
    found = []
    for each in node.items():
        until = each.maybe("validUntil")
        found.append(
            (each["name"].text(), each["address"].address(), None if until is None else until.time_ms())
        )
    return tuple(found)
