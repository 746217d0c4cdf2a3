"""POST /info about accounts: positions, orders, fills, funding, transfers, fees, roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bot.devnet import info_spot, twap
from bot.devnet.clearinghouse import account, clearinghouse_state, known
from bot.devnet.exchange_actions import Exchange
from bot.devnet.info import context, main_dex
from bot.devnet.info_neutral import NEUTRAL_OF_USER
from bot.devnet.orders import leverage_value
from bot.devnet.records import Json
from bot.devnet.wire import CLOID, Fields, Malformed, ServerFault, cut, text
from bot.devnet.world import DAY_MS, World
from bot.model.money import ZERO, usd
from bot.sim.fees import HYPERLIQUID_SPOT

MOST_ROWS: Final = 500
MOST_FILLS: Final = 2000


def open_orders(world: World, user: str) -> list[Json]:
    """Open orders, newest first, in the short shape."""
    return [order.basic() for order in reversed(known(world, user).open_orders())]


def frontend_open_orders(world: World, user: str) -> list[Json]:
    """The same in the long shape."""
    return [order.full() for order in reversed(known(world, user).open_orders())]


def order_status(world: World, user: str, order_id: int | str) -> Json:
    """One order by either id."""
    order = known(world, user).find(order_id)
    if order is None:
        return {"status": "unknownOid"}
    return {"status": "order", "order": order.status_row()}


def active_asset_data(world: World, user: str, coin: str) -> Json:
    """Leverage of a coin, and how much more of it could be bought and sold."""
    instrument, mark = world.instruments[coin], world.exchange.marks[coin]
    if not world.exists(user):
        leverage, value, free, held = min(20, instrument.max_leverage), None, ZERO, ZERO
    else:
        leverage, _ = world.exchange.leverage(user, coin)
        value = leverage_value(world, user, coin)
        free = max(ZERO, world.exchange.available_usd(user))
        held = instrument.size(account(world, user).lots(coin))
    room = []
    for sign in (1, -1):
        closing = max(ZERO, -held * sign)  # closing frees its own margin, and as much may be opened again
        room.append((free, cut(free * leverage / mark + 2 * closing, instrument.size_decimals)))
    return {
        "user": user,
        "coin": coin,
        "leverage": value or {"type": "cross", "value": leverage},
        "maxTradeSzs": [text(size) for _, size in room],
        "availableToTrade": [text(usd(amount)) for amount, _ in room],
        "markPx": text(mark),
    }


def user_fees(world: World, user: str) -> Json:
    """Rates by volume, with the days that made them."""
    schedule = world.exchange.rules.fees
    volume = world.exchange.volume_14d_usd(user, world.now_ms) if world.exists(user) else ZERO
    spot = HYPERLIQUID_SPOT
    taker, maker = schedule.rate(False, volume), schedule.rate(True, volume)
    zero = {"bpsOfMaxSupply": "0.0", "discount": "0.0"}
    days = known(world, user).day_volume
    return {
        "dailyUserVlm": [
            {"date": date, "userCross": text(row[0]), "userAdd": text(row[1]), "exchange": "0.0"}
            for date, row in list(days.items())[-15:]
        ],
        "feeSchedule": {
            "cross": text(schedule.tiers[0].taker),
            "add": text(schedule.tiers[0].maker),
            "spotCross": text(spot.tiers[0].taker),
            "spotAdd": text(spot.tiers[0].maker),
            "tiers": {
                "vip": [
                    {
                        "ntlCutoff": text(tier.above_usd),
                        "cross": text(tier.taker),
                        "add": text(tier.maker),
                        "spotCross": text(also.taker),
                        "spotAdd": text(also.maker),
                    }
                    for tier, also in zip(schedule.tiers[1:], spot.tiers[1:], strict=True)
                ],
                "mm": [],
            },
            "referralDiscount": "0.04",
            "stakingDiscountTiers": [zero],
        },
        "userCrossRate": text(taker),
        "userAddRate": text(maker),
        "userSpotCrossRate": text(spot.rate(False, volume)),
        "userSpotAddRate": text(spot.rate(True, volume)),
        "activeReferralDiscount": "0.0",
        "trial": None,
        "feeTrialEscrow": "0.0",
        "nextTrialAvailableTimestamp": None,
        "stakingLink": None,
        "activeStakingDiscount": zero,
    }


def user_role(door: Exchange, user: str) -> Json:
    """Whether an address is a user, an agent, a sub-account or nothing."""
    agent = door.identities.agent(user, door.world.now_ms)
    if agent is not None:
        return {"role": "agent", "data": {"user": agent.master}}
    sub = door.identities.sub_accounts.get(user)
    if sub is not None:
        return {"role": "subAccount", "data": {"master": sub.master}}
    return {"role": "user" if door.world.exists(user) else "missing"}


def extra_agents(door: Exchange, user: str) -> list[Json]:
    """The named agents."""
    agents = door.identities.agents_of(user, door.world.now_ms)
    return [
        {"name": agent.name, "address": address, "validUntil": agent.valid_until_ms}
        for address, agent in agents.items()
        if agent.name
    ]


def sub_accounts(door: Exchange, user: str) -> list[Json] | None:
    """Sub-accounts with their states; None without any."""
    rows = [
        {
            "name": sub.name,
            "subAccountUser": address,
            "master": user,
            "clearinghouseState": clearinghouse_state(door.world, address),
            "spotState": info_spot.state(door.world, address),
        }
        for address, sub in door.identities.sub_accounts_of(user).items()
    ]
    return rows or None


def _sub_accounts_by_dex(door: Exchange, user: str, _: Fields) -> Any:
    rows = sub_accounts(door, user)
    for row in rows or ():
        row["dexToClearinghouseState"] = [["", row.pop("clearinghouseState")]]
    return rows


def portfolio(world: World, user: str) -> list[Any]:
    """Hourly account values and profits over four spans, the perpetuals' ones being the same."""
    records = known(world, user)
    rows: list[list[Any]] = []
    for name, days in (("day", 1), ("week", 7), ("month", 30), ("allTime", 100_000)):
        since = world.now_ms - days * DAY_MS
        points = [point for point in records.equity if point[0] >= since]
        held = account(world, user)
        value = held.equity_usd(world.exchange.marks)
        points.append((world.now_ms, value, value - held.deposits_usd))
        rows.append(
            [
                name,
                {
                    "accountValueHistory": [[time_ms, text(usd(each))] for time_ms, each, _ in points],
                    "pnlHistory": [[time_ms, text(usd(each))] for time_ms, _, each in points],
                    "vlm": text(records.cum_volume),
                },
            ]
        )
    return rows + [["perp" + str(name)[0].upper() + str(name)[1:], row] for name, row in rows]


def web_data(door: Exchange, user: str) -> Json:
    """What the venue's own page shows of a user, in one object."""
    world = door.world
    agents = door.identities.agents_of(user, world.now_ms)
    unnamed = next(((a, agent) for a, agent in agents.items() if not agent.name), None)
    return {
        "clearinghouseState": clearinghouse_state(world, user),
        "leadingVaults": [],
        "totalVaultEquity": "0.0",
        "openOrders": frontend_open_orders(world, user),
        "agentAddress": unnamed[0] if unnamed else None,
        "agentValidUntil": unnamed[1].valid_until_ms if unnamed else None,
        "cumLedger": text(account(world, user).deposits_usd),
        "meta": world.meta,
        "assetCtxs": [context(world, name) for name in world.names],
        "serverTime": world.now_ms,
        "isVault": False,
        "user": user,
        "twapStates": twap.states(world, user),
        "spotState": info_spot.state(world, user),
        "spotAssetCtxs": info_spot.contexts(world),
    }


def web_data_3(door: Exchange, user: str) -> Json:
    """Its successor's, which leaves the rest to other channels."""
    page = web_data(door, user)
    names = ("agentAddress", "agentValidUntil", "cumLedger", "serverTime", "isVault", "user")
    state = {name: page[name] for name in names}
    state["dexAbstractionEnabled"] = known(door.world, user).dex_abstraction
    return {"userState": state, "perpDexStates": [{"totalVaultEquity": "0.0"}]}


def _between(rows: list[Json], fields: Fields) -> list[Json]:
    start_ms, end_ms = fields.optional_integer("startTime"), fields.optional_integer("endTime")
    if start_ms is None:
        if end_ms is not None:
            raise ServerFault
        start_ms = 0
    return [row for row in rows if start_ms <= row["time"] and (end_ms is None or row["time"] <= end_ms)]


def _fills_by_time(door: Exchange, user: str, fields: Fields) -> Any:
    rows = _between(list(known(door.world, user).fills), fields)
    if fields.of.get("reversed"):
        rows.reverse()
    return rows[:MOST_FILLS]


def _slices_by_time(door: Exchange, user: str, fields: Fields) -> Any:
    rows = _between([piece["fill"] for piece in known(door.world, user).twap_fills], fields)[:MOST_FILLS]
    return [{"fill": row, "twapId": row["twapId"]} for row in rows]


def _order_status(door: Exchange, user: str, fields: Fields) -> Any:
    order_id = fields.of.get("oid")
    if isinstance(order_id, str) and not CLOID.fullmatch(order_id):
        raise Malformed
    return order_status(door.world, user, fields.order_id("oid"))


def _active_asset_data(door: Exchange, user: str, fields: Fields) -> Any:
    coin = fields.string("coin")
    return active_asset_data(door.world, user, coin) if coin in door.world.instruments else None


def _perps(state: Callable[[World, str], Any]) -> Callable[[Exchange, str, Fields], Any]:
    def answer(door: Exchange, user: str, fields: Fields) -> Any:
        main_dex(fields)
        return state(door.world, user)

    return answer


def _rate_limit(door: Exchange, user: str, _: Fields) -> Any:
    records = known(door.world, user)
    return {
        "cumVlm": text(records.cum_volume),
        "nRequestsUsed": records.requests,
        "nRequestsCap": 10_000 + int(records.cum_volume),
        "nRequestsSurplus": records.reserved_requests,
    }


def _referral(door: Exchange, user: str, _: Fields) -> Any:
    records = known(door.world, user)
    return {
        "referredBy": None
        if records.referrer is None
        else {"referrer": "0x" + "0" * 40, "code": records.referrer},
        "cumVlm": text(records.cum_volume),
        "unclaimedRewards": "0.0",
        "claimedRewards": "0.0",
        "builderRewards": "0.0",
        "tokenToState": [],
        "referrerState": {"stage": "needToTrade", "data": {"required": "10000.0"}},
        "rewardHistory": [],
    }


def _max_builder_fee(door: Exchange, user: str, fields: Fields) -> Any:
    return known(door.world, user).builders.get(fields.address("builder"), 0)


ACCOUNT: Final[dict[str, Callable[[Exchange, str, Fields], Any]]] = {
    "clearinghouseState": _perps(clearinghouse_state),
    "spotClearinghouseState": lambda door, user, _: info_spot.state(door.world, user),
    "openOrders": _perps(open_orders),
    "frontendOpenOrders": _perps(frontend_open_orders),
    "orderStatus": _order_status,
    "historicalOrders": lambda door, user, _: list(known(door.world, user).order_history)[:-2001:-1],
    "userFills": lambda door, user, _: list(known(door.world, user).fills)[: -MOST_FILLS - 1 : -1],
    "userFillsByTime": _fills_by_time,
    "userFunding": lambda door, user, fields: _between(known(door.world, user).funding, fields)[:MOST_ROWS],
    "userNonFundingLedgerUpdates": lambda door, user, fields: _between(
        known(door.world, user).ledger, fields
    )[:MOST_ROWS],
    "userRateLimit": _rate_limit,
    "userFees": lambda door, user, _: user_fees(door.world, user),
    "userRole": lambda door, user, _: user_role(door, user),
    "extraAgents": lambda door, user, _: extra_agents(door, user),
    "subAccounts": lambda door, user, _: sub_accounts(door, user),
    "subAccounts2": _sub_accounts_by_dex,
    "activeAssetData": _active_asset_data,
    "userAbstraction": lambda door, user, _: known(door.world, user).abstraction,
    "userDexAbstraction": lambda door, user, _: known(door.world, user).dex_abstraction,
    "portfolio": lambda door, user, _: portfolio(door.world, user),
    "referral": _referral,
    "maxBuilderFee": _max_builder_fee,
    "approvedBuilders": lambda door, user, _: list(known(door.world, user).builders),
    "userTwapSliceFills": lambda door, user, _: list(known(door.world, user).twap_fills)[
        : -MOST_FILLS - 1 : -1
    ],
    "userTwapSliceFillsByTime": _slices_by_time,
    "twapHistory": lambda door, user, _: list(known(door.world, user).twap_history)[: -MOST_FILLS - 1 : -1],
    **NEUTRAL_OF_USER,
    "webData2": lambda door, user, _: web_data(door, user),
}
