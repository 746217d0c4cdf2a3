"""The actions that move money: between users, between the perpetual and the spot wallet, to sub-accounts and away."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from bot.devnet.exchange_actions import Exchange
from bot.devnet.records import Json
from bot.devnet.spot import USDC
from bot.devnet.wire import ADDRESS, NUMBER, Fields, Malformed, text
from bot.devnet.world import World
from bot.errors import Refused
from bot.model.money import MICRO_USD, ZERO

WITHDRAWAL_FEE_USD: Final = Decimal(1)
ACTIVATION_FEE_USD: Final = Decimal(1)  # what the first transfer to a new account costs its sender
TOO_LITTLE: Final = "Insufficient balance for token transfer"
PERP, SPOT = "", "spot"


def _amount(value: str, decimals: int = 6) -> Decimal:
    """A positive amount of so many decimals. Malformed if it is no number, Refused if it is nothing or too fine."""
    if not NUMBER.fullmatch(value):
        raise Malformed
    amount = Decimal(value)
    if amount <= 0:
        raise Refused("Send amount cannot be zero")
    if -int(amount.normalize().as_tuple().exponent) > decimals:
        raise Refused(f"Send amount must have at most {decimals} decimals")
    return amount


def _token(world: World, named: str) -> tuple[str, int]:
    """A token of `NAME:0xid` and its decimals. Raises Refused on one that isn't listed."""
    token = world.spot.token_of(named)
    if token is None:
        raise Refused(f"Unknown token {named}")
    return token, world.spot.decimals(token)


def _take(world: World, user: str, wallet: str, token: str, amount: Decimal) -> None:
    if wallet == SPOT:
        world.spot.exchange.withdraw(user, token, amount)
        return
    try:
        world.exchange.withdraw(user, amount, world.now_ms)
    except Refused:
        raise Refused(TOO_LITTLE) from None


def give(world: World, user: str, wallet: str, token: str, amount: Decimal) -> None:
    """Credit one wallet of a user, whose account is opened if there is none."""
    world.exchange.deposit(user, amount if wallet == PERP else ZERO, world.now_ms)
    if wallet == SPOT:
        world.spot.exchange.join(user, world.exchange.traded(user))
        world.spot.exchange.deposit(user, token, amount, world.spot.usd_value(token, amount))


def _activation_fee(world: World, giver: str, taker: str, wallet: str, needed: Decimal) -> Decimal:
    """The fee of a transfer; `needed` dollars are to leave the same wallet beside it. Raises Refused if that can't be."""
    if world.exists(taker):
        return ZERO
    spot = world.spot.wallet(giver)
    free = world.exchange.withdrawable_usd(giver)
    if wallet == SPOT:
        free = spot.free("USDC") if spot is not None else ZERO
    if needed + ACTIVATION_FEE_USD > free:
        raise Refused(TOO_LITTLE)
    return ACTIVATION_FEE_USD


def _charge(world: World, user: str, wallet: str, fee: Decimal) -> None:
    if fee and wallet == SPOT:
        world.spot.exchange.charge(user, "USDC", fee)
    elif fee:
        world.exchange.charge(user, fee, world.now_ms)


def _write(world: World, parties: tuple[str, ...], delta: Json) -> None:
    for party in dict.fromkeys(parties):
        world.write_ledger(party, delta)


def _usd_send(door: Exchange, user: str, action: Fields) -> None:
    world, destination = door.world, action.address("destination")
    amount = _amount(action.string("amount"))
    if destination == user:
        raise Refused("Invalid send")
    fee = _activation_fee(world, user, destination, PERP, amount)
    _take(world, user, PERP, USDC.name, amount)
    _charge(world, user, PERP, fee)
    give(world, destination, PERP, USDC.name, amount)
    delta = {
        "type": "internalTransfer",
        "usdc": text(amount),
        "user": user,
        "destination": destination,
        "fee": text(fee),
    }
    _write(world, (user, destination), delta)


def _spot_send(door: Exchange, user: str, action: Fields) -> None:
    world, destination = door.world, action.address("destination")
    token, decimals = _token(world, action.string("token"))
    amount = _amount(action.string("amount"), decimals)
    if destination == user:
        raise Refused("Invalid send")
    fee = _activation_fee(world, user, destination, SPOT, amount if token == USDC.name else ZERO)
    _take(world, user, SPOT, token, amount)
    _charge(world, user, SPOT, fee)
    give(world, destination, SPOT, token, amount)
    _write(world, (user, destination), _spot_delta(world, user, destination, token, amount, fee, action))


def _spot_delta(
    world: World, user: str, destination: str, token: str, amount: Decimal, fee: Decimal, action: Fields
) -> Json:
    return {
        "type": "spotTransfer",
        "token": token,
        "amount": text(amount),
        "usdcValue": text(world.spot.usd_value(token, amount)),
        "user": user,
        "destination": destination,
        "fee": text(fee),
        "nativeTokenFee": "0.0",
        "nonce": action.optional_integer("time"),
        "feeToken": "USDC",
    }


def _withdraw(door: Exchange, user: str, action: Fields) -> None:
    action.address("destination")
    amount = _amount(action.string("amount"))
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


def _usd_class_transfer(door: Exchange, user: str, action: Fields) -> None:
    """Between the two wallets of a user, or (`1.5 subaccount:0x…`) of a sub-account."""
    world, to_perp = door.world, action.boolean("toPerp")
    value, _, sub = action.string("amount").partition(" subaccount:")
    if sub:
        if not ADDRESS.fullmatch(sub):
            raise Malformed
        user = _own_sub_account(door, user, "0x" + sub.removeprefix("0x").lower())
    amount = _amount(value)
    source, target = (SPOT, PERP) if to_perp else (PERP, SPOT)
    _take(world, user, source, USDC.name, amount)
    give(world, user, target, USDC.name, amount)
    world.write_ledger(user, {"type": "accountClassTransfer", "usdc": text(amount), "toPerp": to_perp})


def _own_sub_account(door: Exchange, master: str, address: str) -> str:
    sub = door.identities.sub_accounts.get(address)
    if sub is None or sub.master != master:
        raise Refused(f"Vault not registered: {address}")
    return address


def _send_asset(door: Exchange, user: str, action: Fields) -> None:
    """The general transfer: of one token, from one wallet of anybody's to one of anybody else's."""
    world, destination = door.world, action.address("destination")
    giver = user
    if sub := action.string("fromSubAccount"):
        if not ADDRESS.fullmatch(sub):
            raise Malformed
        giver = _own_sub_account(door, user, "0x" + sub.removeprefix("0x").lower())
    source, target = action.string("sourceDex"), action.string("destinationDex")
    if {source, target} - {PERP, SPOT}:
        raise Refused("Invalid perp DEX")
    token, decimals = _token(world, action.string("token"))
    if token != USDC.name and PERP in {source, target}:
        raise Refused(f"Token {token} is not the collateral of this perp DEX")
    amount = _amount(action.string("amount"), 6 if PERP in {source, target} else decimals)
    if action.of["type"] == "agentSendAsset" and destination != giver:
        raise Refused("Destination must be the account itself")
    if destination == giver and source == target:
        raise Refused("Invalid send")
    fee = _activation_fee(world, giver, destination, source, amount if token == USDC.name else ZERO)
    _take(world, giver, source, token, amount)
    _charge(world, giver, source, fee)
    give(world, destination, target, token, amount)
    delta = {
        "type": "send",
        "user": giver,
        "destination": destination,
        "sourceDex": source,
        "destinationDex": target,
        "token": token,
        "amount": text(amount),
        "usdcValue": text(world.spot.usd_value(token, amount)),
        "fee": text(fee),
        "nativeTokenFee": "0.0",
        "nonce": action.integer("nonce"),
        "feeToken": "USDC",
    }
    _write(world, (giver, destination), delta)


def _sub_account_transfer(door: Exchange, user: str, action: Fields) -> None:
    sub, amount = action.address("subAccountUser"), action.integer("usd") * MICRO_USD
    _own_sub_account(door, user, sub)
    giver, taker = (user, sub) if action.boolean("isDeposit") else (sub, user)
    _take(door.world, giver, PERP, USDC.name, amount)
    give(door.world, taker, PERP, USDC.name, amount)
    delta = {"type": "subAccountTransfer", "usdc": text(amount), "user": giver, "destination": taker}
    _write(door.world, (giver, taker), delta)


def _sub_account_spot_transfer(door: Exchange, user: str, action: Fields) -> None:
    world, sub = door.world, action.address("subAccountUser")
    token, decimals = _token(world, action.string("token"))
    amount = _amount(action.string("amount"), decimals)
    _own_sub_account(door, user, sub)
    giver, taker = (user, sub) if action.boolean("isDeposit") else (sub, user)
    _take(world, giver, SPOT, token, amount)
    give(world, taker, SPOT, token, amount)
    _write(world, (giver, taker), _spot_delta(world, giver, taker, token, amount, ZERO, action))


def _vault_transfer(door: Exchange, user: str, action: Fields) -> None:  # noqa: ARG001
    """There are no vaults."""
    action.boolean("isDeposit"), action.integer("usd")
    raise Refused(f"Vault not registered: {action.address('vaultAddress')}")


TRANSFERS: Final[dict[str, Callable[[Exchange, str, Fields], Any]]] = {
    "usdSend": _usd_send,
    "spotSend": _spot_send,
    "withdraw3": _withdraw,
    "usdClassTransfer": _usd_class_transfer,
    "sendAsset": _send_asset,
    "agentSendAsset": _send_asset,
    "subAccountTransfer": _sub_account_transfer,
    "subAccountSpotTransfer": _sub_account_spot_transfer,
    "vaultTransfer": _vault_transfer,
}
