"""The actions of `/exchange` that are not orders: leverage, margin, agents, sub-accounts, and a table of them all."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from bot.devnet import orders, twap
from bot.devnet.exchange_actions import Exchange
from bot.devnet.refused_actions import REFUSED
from bot.devnet.transfers import TRANSFERS
from bot.devnet.wire import NUMBER, Fields, Malformed
from bot.devnet.world import DAY_MS, World
from bot.errors import Refused
from bot.model.account import MarginMode
from bot.model.money import MICRO_USD, ZERO

VOLUME_FOR_SCHEDULED_CANCELS_USD: Final = 1_000_000
MOST_SCHEDULED_CANCELS_A_DAY: Final = 10
REQUEST_PRICE_USD: Final = Decimal("0.0005")
BAD_SUB_ACCOUNT_NAME: Final = "Sub-account name must be between 1 and 16 characters long"


def _coin(world: World, action: Fields) -> str:
    asset = action.integer("asset")
    if asset >= len(world.names):
        raise Refused(orders.UNKNOWN_ASSET)
    return world.names[asset]


def _update_leverage(door: Exchange, user: str, action: Fields) -> None:
    coin, leverage = _coin(door.world, action), action.integer("leverage")
    mode = MarginMode.CROSS if action.boolean("isCross") else MarginMode.ISOLATED
    door.world.exchange.set_leverage(user, coin, leverage, mode, door.world.now_ms)
    door.world.touched.add(user)


def _update_isolated_margin(door: Exchange, user: str, action: Fields) -> None:
    action.boolean("isBuy")
    coin, amount = _coin(door.world, action), action.signed("ntli") * MICRO_USD
    door.world.exchange.add_margin(user, coin, amount, door.world.now_ms)
    door.world.touched.add(user)


def _top_up_isolated_margin(door: Exchange, user: str, action: Fields) -> None:
    """Add what brings an isolated position's leverage down to the one named."""
    world, coin, leverage = door.world, _coin(door.world, action), action.decimal("leverage")
    position = world.exchange.accounts[user].positions.get(coin)
    if leverage <= 0:
        raise Refused("Invalid leverage value")
    if position is None:
        raise Refused("Cannot update margin for empty position.")
    notional = position.notional_usd(world.exchange.marks[coin])
    missing = abs(notional) / leverage - position.cash_usd - notional
    if position.margin_mode is MarginMode.ISOLATED and missing <= 0:
        raise Refused("Position does not have sufficient margin for reduction.")
    world.exchange.add_margin(user, coin, missing, world.now_ms)
    world.touched.add(user)


def _reserve_request_weight(door: Exchange, user: str, action: Fields) -> None:
    weight, world = action.integer("weight"), door.world
    action.optional_address("destination")
    price = weight * REQUEST_PRICE_USD
    if not 0 < price <= world.exchange.withdrawable_usd(user):
        raise Refused("Insufficient balance for withdrawal")
    world.exchange.charge(user, price, world.now_ms)
    world.records(user).reserved_requests += weight


def _schedule_cancel(door: Exchange, user: str, action: Fields) -> None:
    world, records = door.world, door.world.records(user)
    time_ms = action.optional_integer("time")
    if records.cum_volume < VOLUME_FOR_SCHEDULED_CANCELS_USD:
        raise Refused(
            "Cannot set scheduled cancel time until enough volume traded. "
            f"Required: ${VOLUME_FOR_SCHEDULED_CANCELS_USD}. Traded: ${records.cum_volume.normalize():f}."
        )
    if time_ms is not None and time_ms < world.now_ms + 5000:
        raise Refused("Scheduled cancel time must be at least 5 seconds in the future")
    day = world.now_ms // DAY_MS
    if time_ms is not None and records.schedule_cancels.get(day, 0) >= MOST_SCHEDULED_CANCELS_A_DAY:
        raise Refused("Too many scheduled cancels today")
    records.schedule_cancel_ms = time_ms


def cancel_scheduled(world: World) -> None:
    """Cancel the orders of users whose time has come."""
    for user, records in world.users.items():
        if records.schedule_cancel_ms is not None and records.schedule_cancel_ms <= world.now_ms:
            records.schedule_cancel_ms = None
            day = world.now_ms // DAY_MS
            records.schedule_cancels[day] = records.schedule_cancels.get(day, 0) + 1
            orders.cancel_all(world, user, "scheduledCancel")


def _twap_order(door: Exchange, user: str, action: Fields) -> Any:
    return twap.place(door.world, user, action)


def _twap_cancel(door: Exchange, user: str, action: Fields) -> Any:
    return twap.cancel(door.world, user, action)


def _set_referrer(door: Exchange, user: str, action: Fields) -> None:
    records = door.world.records(user)
    code = action.string("code")
    if not 1 <= len(code) <= 20:
        raise Malformed
    if records.referrer is not None:
        raise Refused("Referrer already set.")
    records.referrer = code


def _noop(door: Exchange, user: str, action: Fields) -> None:  # noqa: ARG001
    return


def _create_sub_account(door: Exchange, user: str, action: Fields) -> Any:
    name = action.string("name")
    if not 1 <= len(name) <= 16:
        raise Refused(BAD_SUB_ACCOUNT_NAME)
    address = door.identities.create_sub_account(user, name)
    if address is None:
        raise Refused("Too many sub-accounts.")
    door.world.exchange.deposit(address, ZERO, door.world.now_ms)
    return {"type": "createSubAccount", "data": address}


def _sub_account_modify(door: Exchange, user: str, action: Fields) -> None:
    sub, name = action.address("subAccountUser"), action.string("name")
    if not 1 <= len(name) <= 16:
        raise Refused(BAD_SUB_ACCOUNT_NAME)
    if not door.identities.rename_sub_account(user, sub, name):
        raise Refused(f"Vault not registered: {sub}")


def _approve_agent(door: Exchange, user: str, action: Fields) -> None:
    address, name = action.address("agentAddress"), action.optional_string("agentName") or ""
    if door.world.exists(address):
        raise Refused("Cannot use existing user as agent.")
    reason = door.identities.approve(user, address, name, door.world.now_ms)
    if reason:
        raise Refused(reason)


def _approve_builder_fee(door: Exchange, user: str, action: Fields) -> None:
    builder, rate = action.address("builder"), action.string("maxFeeRate")
    if not rate.endswith("%") or not NUMBER.fullmatch(rate[:-1]):
        raise Malformed
    tenths = Decimal(rate[:-1]) * 1000  # of a basis point
    if not 0 <= tenths <= 1000:
        raise Refused("Builder fee rate is too high.")
    door.world.records(user).builders[builder] = int(tenths)


def _set_abstraction(door: Exchange, user: str, action: Fields) -> None:
    """Perpetuals and spot keep separate wallets; of the modes that may be asked for, that is `disabled`."""
    mode = action.string("abstraction")
    if mode not in {"disabled", "i", "dexAbstraction", "unifiedAccount", "portfolioMargin", "u", "p"}:
        raise Malformed
    if mode not in {"disabled", "i"}:
        raise Refused("Account abstraction is not supported by this devnet.")
    if "user" in action.of:
        user = _oneself(door, user, action)
    door.world.records(user).abstraction = "disabled"


def _oneself(door: Exchange, user: str, action: Fields) -> str:
    named = action.address("user")
    sub = door.identities.sub_accounts.get(named)
    if named != user and (sub is None or sub.master != user):
        raise Refused(f"Vault not registered: {named}")
    return named


def _dex_abstraction(door: Exchange, user: str, action: Fields) -> None:
    """There is one dex, so it makes no difference, but it is remembered."""
    on = True
    if "enabled" in action.of:
        user, on = _oneself(door, user, action), action.boolean("enabled")
    door.world.records(user).dex_abstraction = on


def _set_display_name(door: Exchange, user: str, action: Fields) -> None:
    name = action.string("displayName")
    if len(name) > 20:
        raise Malformed
    door.world.records(user).display_name = name


def _register_referrer(door: Exchange, user: str, action: Fields) -> None:
    action.string("code")
    volume = door.world.records(user).cum_volume
    raise Refused(f"Cannot generate referral code until enough volume traded. Traded: ${volume:.2f}.")


def _evm_user_modify(door: Exchange, user: str, action: Fields) -> None:  # noqa: ARG001
    """Which blocks of a chain that isn't there; nothing comes of it."""
    action.boolean("usingBigBlocks")


def _spot_user(door: Exchange, user: str, action: Fields) -> None:  # noqa: ARG001
    """Whether dust is swept, which it never is."""
    action.inner("toggleSpotDusting").boolean("optOut")


def _claim_rewards(door: Exchange, user: str, action: Fields) -> None:  # noqa: ARG001
    raise Refused("No rewards to claim")


ACTIONS: Final[dict[str, Callable[[Exchange, str, Fields], Any]]] = {
    "updateLeverage": _update_leverage,
    "updateIsolatedMargin": _update_isolated_margin,
    "scheduleCancel": _schedule_cancel,
    "twapOrder": _twap_order,
    "twapCancel": _twap_cancel,
    "setReferrer": _set_referrer,
    "noop": _noop,
    "createSubAccount": _create_sub_account,
    "subAccountModify": _sub_account_modify,
    "topUpIsolatedOnlyMargin": _top_up_isolated_margin,
    "reserveRequestWeight": _reserve_request_weight,
    "approveAgent": _approve_agent,
    "approveBuilderFee": _approve_builder_fee,
    "userSetAbstraction": _set_abstraction,
    "agentSetAbstraction": _set_abstraction,
    "userDexAbstraction": _dex_abstraction,
    "agentEnableDexAbstraction": _dex_abstraction,
    "setDisplayName": _set_display_name,
    "registerReferrer": _register_referrer,
    "evmUserModify": _evm_user_modify,
    "spotUser": _spot_user,
    "claimRewards": _claim_rewards,
    **TRANSFERS,
    **REFUSED,
}
