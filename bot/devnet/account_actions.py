"""The actions of `/exchange` that are not orders: leverage, margin, transfers, agents, sub-accounts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from bot.devnet import orders
from bot.devnet.exchange_actions import Exchange
from bot.devnet.wire import NUMBER, Fields, Malformed, text
from bot.devnet.world import DAY_MS, World
from bot.errors import Refused
from bot.model.account import MarginMode
from bot.model.money import MICRO_USD, ZERO

WITHDRAWAL_FEE_USD: Final = Decimal(1)
VOLUME_FOR_SCHEDULED_CANCELS_USD: Final = 1_000_000
MOST_SCHEDULED_CANCELS_A_DAY: Final = 10
SHORTEST_TWAP_MINUTES, LONGEST_TWAP_MINUTES = 5, 10_080
LEAST_TWAP_USD: Final = 100


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


def _twap_order(door: Exchange, user: str, action: Fields) -> Any:  # noqa: ARG001
    twap = action.inner("twap")
    asset, size, minutes = twap.integer("a"), twap.decimal("s"), twap.integer("m")
    twap.boolean("b"), twap.boolean("r"), twap.boolean("t")
    if asset >= len(door.world.names):
        raise Refused(orders.UNKNOWN_ASSET)
    mark = door.world.exchange.marks[door.world.names[asset]]
    error = "TWAP orders are not supported by this devnet."
    if not SHORTEST_TWAP_MINUTES <= minutes <= LONGEST_TWAP_MINUTES:
        error = f"Invalid TWAP duration: {minutes} min(s)"
    elif size * mark < LEAST_TWAP_USD:
        error = f"TWAP order value too small. Min is ${LEAST_TWAP_USD}."
    return {"type": "twapOrder", "data": {"status": {"error": error}}}


def _twap_cancel(door: Exchange, user: str, action: Fields) -> Any:  # noqa: ARG001
    action.integer("a"), action.integer("t")
    error = "TWAP was never placed, already canceled, or filled."
    return {"type": "twapCancel", "data": {"status": {"error": error}}}


def _set_referrer(door: Exchange, user: str, action: Fields) -> None:
    records = door.world.records(user)
    code = action.string("code")
    if records.referrer is not None:
        raise Refused("Referrer already set.")
    records.referrer = code


def _noop(door: Exchange, user: str, action: Fields) -> None:  # noqa: ARG001
    return


def _create_sub_account(door: Exchange, user: str, action: Fields) -> Any:
    name = action.string("name")
    if not 1 <= len(name) <= 16:
        raise Refused("Sub-account name must be between 1 and 16 characters long")
    address = door.identities.create_sub_account(user, name)
    if address is None:
        raise Refused("Too many sub-accounts.")
    door.world.exchange.deposit(address, ZERO, door.world.now_ms)
    return {"type": "createSubAccount", "data": address}


def _sub_account_transfer(door: Exchange, user: str, action: Fields) -> None:
    sub, amount = action.address("subAccountUser"), action.integer("usd") * MICRO_USD
    known = door.identities.sub_accounts.get(sub)
    if known is None or known.master != user:
        raise Refused(f"Vault not registered: {sub}")
    giver, taker = (user, sub) if action.boolean("isDeposit") else (sub, user)
    _move(door.world, giver, taker, amount)
    delta = {"type": "subAccountTransfer", "usdc": text(amount), "user": giver, "destination": taker}
    for party in (giver, taker):
        door.world.write_ledger(party, delta)


def _move(world: World, giver: str, taker: str, amount: Decimal) -> None:
    try:
        world.exchange.withdraw(giver, amount, world.now_ms)
    except Refused:
        raise Refused("Insufficient balance for token transfer") from None
    world.exchange.deposit(taker, amount, world.now_ms)


def _amount(action: Fields) -> Decimal:
    value = action.string("amount")
    if not NUMBER.fullmatch(value) or Decimal(value) != Decimal(value).quantize(MICRO_USD):
        raise Malformed
    return Decimal(value)


def _usd_send(door: Exchange, user: str, action: Fields) -> None:
    destination, amount = action.address("destination"), _amount(action)
    if amount <= 0:
        raise Refused("Send amount cannot be zero")
    if destination == user:
        raise Refused("Invalid send")
    fee = ZERO if door.world.exists(destination) else Decimal(1)  # what a new account costs
    if amount + fee > door.world.exchange.withdrawable_usd(user):
        raise Refused("Insufficient balance for token transfer")
    _move(door.world, user, destination, amount)
    if fee:
        door.world.exchange.charge(user, fee, door.world.now_ms)
    delta = {
        "type": "internalTransfer",
        "usdc": text(amount),
        "user": user,
        "destination": destination,
        "fee": text(fee),
    }
    for party in (user, destination):
        door.world.write_ledger(party, delta)


def _withdraw(door: Exchange, user: str, action: Fields) -> None:
    action.address("destination")
    amount = _amount(action)
    if amount <= WITHDRAWAL_FEE_USD:
        raise Refused("Insufficient balance for withdrawal")
    door.world.exchange.withdraw(user, amount, door.world.now_ms)
    delta = {
        "type": "withdraw",
        "usdc": text(amount - WITHDRAWAL_FEE_USD),
        "nonce": action.integer("time"),
        "fee": text(WITHDRAWAL_FEE_USD),
    }
    door.world.write_ledger(user, delta)


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
    mode = action.string("abstraction")
    if mode not in {"disabled", "i"}:
        raise Refused("Account abstraction is not supported by this devnet.")
    door.world.records(user).abstraction = "disabled"


ACTIONS: Final[dict[str, Callable[[Exchange, str, Fields], Any]]] = {
    "updateLeverage": _update_leverage,
    "updateIsolatedMargin": _update_isolated_margin,
    "scheduleCancel": _schedule_cancel,
    "twapOrder": _twap_order,
    "twapCancel": _twap_cancel,
    "setReferrer": _set_referrer,
    "noop": _noop,
    "createSubAccount": _create_sub_account,
    "subAccountTransfer": _sub_account_transfer,
    "usdSend": _usd_send,
    "withdraw3": _withdraw,
    "approveAgent": _approve_agent,
    "approveBuilderFee": _approve_builder_fee,
    "userSetAbstraction": _set_abstraction,
    "agentSetAbstraction": _set_abstraction,
}
