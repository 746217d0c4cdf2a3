"""Everything that a client can ask a devnet, and requests that are signed as clients sign them."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from eth_account.signers.local import LocalAccount
from hyperliquid.utils import signing

from bot.devnet.info import MARKET
from bot.devnet.info_account import ACCOUNT

Ask = Callable[[dict[str, Any]], Any]

_last_nonce = 0


def nonce() -> int:
    """The computer's milliseconds, or the next after the last one."""
    global _last_nonce  # noqa: PLW0603
    _last_nonce = max(_last_nonce + 1, time.time_ns() // 1_000_000)
    return _last_nonce


def signed(wallet: LocalAccount, action: dict[str, Any], vault: str | None = None) -> dict[str, Any]:
    """The body of POST /exchange for an action that is hashed as a whole."""
    number = nonce()
    signature = signing.sign_l1_action(wallet, action, vault, number, None, False)
    return {"action": action, "nonce": number, "signature": signature, "vaultAddress": vault}


def user_signed(wallet: LocalAccount, action: dict[str, Any], name: str, fields: str) -> dict[str, Any]:
    """The same for an action whose fields are signed; `fields` as `type name,type name`, the nonce last."""
    kinds = [dict(zip(("type", "name"), each.split(), strict=True)) for each in fields.split(",")]
    chain = [{"name": "hyperliquidChain", "type": "string"}]
    number = nonce()
    action = action | {kinds[-1]["name"]: number}
    signature = signing.sign_user_signed_action(
        wallet, action, chain + kinds, f"HyperliquidTransaction:{name}", False
    )
    return {"action": action, "nonce": number, "signature": signature, "vaultAddress": None}


def everything(ask: Ask, coins: Iterable[str], users: Iterable[str], orders: Iterable[int]) -> dict[str, Any]:
    """The answer to every question about the coins, the users and the orders, at one time."""
    answers: dict[str, Any] = {}

    def put(body: dict[str, Any], *about: Any) -> None:
        answers[" ".join([body["type"], *map(str, about)])] = ask(body)

    for kind in MARKET:
        for coin in coins:
            base = {"type": kind, "coin": coin, "startTime": 0, "id": 56}
            for interval in ("15m", "1h", "1d") if kind == "candleSnapshot" else ("",):
                request = {"coin": coin, "interval": interval, "startTime": 0}
                put(base | {"req": request}, coin, interval)
    for user in users:
        for kind in ACCOUNT:
            for coin in coins if kind == "activeAssetData" else ("",):
                base = {"type": kind, "user": user, "coin": coin, "startTime": 0, "builder": user}
                for order in orders if kind == "orderStatus" else (1,):
                    put(base | {"oid": order}, user, coin, order)
    return answers
