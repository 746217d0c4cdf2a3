"""What a signer says of itself, held against what the config may ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from bot.doctor.accounts import Account
from bot.doctor.finding import Finding, failed, ok, warning
from bot.pipeline.closing import WIDEST
from bot.settings import Settings
from bot.signer.client import SignerClient, SignerError

STARTED_BY: Final = "`hedgerow signer run POLICY --keystore KEYSTORE`"
SYMBOLS: Final = {"binance": "{}USDT", "bybit": "{}USDT", "okx": "{}-USDT-SWAP"}
"""Exchange → the name of a base coin's perpetual in its requests, by which the signer's policy knows it."""

ASKED: Final = {
    True: ("order", "cancel", "leverage", "margin_mode", "position_mode", "query"),
    False: ("order", "cancel", "leverage", "fence"),
}
"""What a daemon asks for at a central exchange, and on Hyperliquid."""


def signer(
    account: Account, settings: Settings, *, is_needed: bool
) -> tuple[list[Finding], dict[str, Any] | None]:
    """What is found of an account's signer, and what it says of itself; None where it does not answer.

    One that does not is a failure only where it `is_needed`.
    """
    check = f"{account.name} signer"
    with SignerClient(account.signer) as client:
        try:
            told = client.status()
        except SignerError as error:
            at = "" if not account.signer.exists() else f" (it says: {error})"
            said = f"no signer answers at {account.signer}{at}; start it with {STARTED_BY}"
            return [(failed if is_needed else warning)(check, said)], None
    whose = _whose(account, told)
    if whose:
        return [failed(check, whose)], None
    return [*_state(check, account, told), *_policy(account, settings, told)], told


def _whose(account: Account, told: Mapping[str, Any]) -> str:
    """Why the signer can't be this account's, as a sentence; empty where it is."""
    venue = told.get("venue")
    if venue != (account.name if account.is_cex else None):
        return f"the signer at {account.signer} signs for {venue or 'Hyperliquid'}; name the one of {account.name}"
    if told["network"] != account.network:
        return (
            f"the signer at {account.signer} signs for {told['network']} and the config says {account.network}; "
            f"make them the same"
        )
    books = str(told["vault"] or told["account"]).lower()
    if account.address is not None and books != account.address:
        return f"the signer signs for the account {books} and the config says {account.address}; make them the same"
    return ""


def _state(check: str, account: Account, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether it signs."""
    state = told["state"]
    if state in {"locked", "storage"}:
        remedy = told["remedy"] or "make room on its disk"
        yield failed(check, f"the signer at {account.signer} signs nothing: {told['reason']}; {remedy}")
    elif state == "reducing":
        yield warning(
            check,
            "after many denials the signer signs only what reduces for some minutes; read its audit log",
        )
    else:
        agent = f"with the API key {told['agent']}" if account.is_cex else f"by the agent {told['agent']}"
        yield ok(check, f"it answers at {account.signer} and signs for {account.network} {agent}")


def _policy(account: Account, settings: Settings, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the policy allows what the config may ask for: failed where it is refused for certain."""
    check = f"{account.name} policy"
    refused, tighter = _refused(account, settings, told), list(_tighter(account, settings, told))
    if refused:
        yield failed(check, f"the signer would refuse what this config asks for: {'; '.join(refused)}")
    for each in tighter:
        yield warning(check, each)
    if not refused and not tighter:
        yield ok(check, f"it allows what the config may ask for, for {', '.join(account.coins)}")


def _refused(account: Account, settings: Settings, told: Mapping[str, Any]) -> list[str]:
    execution, leverage = settings.execution, settings.account.leverage
    found = []
    missing = [kind for kind in ASKED[account.is_cex] if kind not in told["allow"]]
    if missing:
        found.append(f"add {', '.join(missing)} to the policy's allow")
    tif = "Ioc" if execution.style == "taker" else "Alo"
    if tif not in told["tif"]:
        found.append(f'execution.style = "{execution.style}" needs "{tif}" in the policy\'s tif')
    if settings.account.margin_mode == "cross" and not told["cross"]:
        found.append('account.margin_mode = "cross" needs cross = true in the policy')
    for coin in account.coins:
        limits = told["limits"].get(_named(account, coin))
        if limits is None:
            kind = "symbols" if account.is_cex else "coins"
            found.append(
                f"{coin} is not in the policy, so add [{kind}.{_named(account, coin)}] or take it out of the config"
            )
            continue
        if limits["max_leverage"] < leverage:
            found.append(
                f"account.leverage = {leverage} is above the {limits['max_leverage']} that the policy has for {coin}"
            )
        # A hedge is tried again at a worse price each time, and so is what closes.
        times = min(execution.hedge_attempts, WIDEST) if settings.has_spreads else 1
        for collar, most in (("collar_bps", times), ("collar_reduce_bps", WIDEST)):
            if limits[collar] < execution.slippage_bps * most:
                again = f", up to {most} times it," if most > 1 else ""
                found.append(
                    f"execution.slippage_bps = {execution.slippage_bps:g}{again} allows prices that {collar} = "
                    f"{limits[collar]} of {coin} refuses"
                )
    return found


def _tighter(account: Account, settings: Settings, told: Mapping[str, Any]) -> Iterator[str]:
    """Where the policy's dollars are fewer than the config's: the daemon would be denied at its largest."""
    piece = Decimal(str(settings.execution.max_unhedged_usd))
    for coin in account.coins if settings.has_spreads else ():
        limits = told["limits"].get(_named(account, coin))
        if limits and Decimal(limits["max_order_usd"]) < piece:
            yield (
                f"execution.max_unhedged_usd = {piece:f}, what a spread is opened by at once, is above max_order_usd = "
                f"{limits['max_order_usd']} of {coin} in the policy, and such a piece is refused; lower the one or raise the other"
            )
    wanted = settings.limits.max_position_usd
    if wanted is None:
        yield "the config has no limits.max_position_usd, so that orders may be denied by the policy's dollars; set one below them"
        return
    for coin in account.coins:
        limits = told["limits"].get(_named(account, coin))
        for key in ("max_position_usd", "max_order_usd") if limits else ():
            if Decimal(limits[key]) < wanted:
                yield f"limits.max_position_usd = {wanted:f} is above {key} = {limits[key]} of {coin} in the policy; lower the one or raise the other"


def _named(account: Account, coin: str) -> str:
    """What the policy calls a coin."""
    return SYMBOLS[account.name].format(coin) if account.is_cex else coin
