"""How fast the signer signs, beside the venue's own library, and whether both say the same.

    python benchmarks/signing.py [--actions 20000] [--repeat 2000]

First random actions are signed by both and their HTTP bodies compared byte for byte; then one order, from typed request
to body, by both in turns; then `hedgerow signer run` is started. Prints one JSON object; times are medians in µs,
`_best` the quickest turn, `order_of_20` is a batch of twenty in one signature. `start_s` is from the command to the line
`ready:`, without `unlock_s`, which a keystore takes on purpose; `start_cpu_s` is what start and end use of a core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bot.signer import actions, draft, keystore, signing, wallet
from bot.signer.requests import (
    Cancel,
    IsolatedMargin,
    Leverage,
    Order,
    Place,
    ScheduleCancel,
    Trigger,
    plain,
)

ASSETS = {"BTC": 0, "ETH": 1, "SOL": 5, "kPEPE": 15, "@107": 10107, "xyz:GOLD": 110003}
COINS = tuple(ASSETS)
NOW_MS = 1_760_000_000_000
Request = Place | Cancel | Leverage | IsolatedMargin | ScheduleCancel | None


def random_number(rng: random.Random) -> int:
    """A price or size in 1e-8, with at most 15 digits: more than that the library's floats round."""
    step = 8 - rng.randint(0, 8)
    number: int = rng.randint(1, 10 ** rng.randint(1, 15 - step)) * 10**step
    return number


def random_order(rng: random.Random) -> Order:
    """Any order the protocol can say."""
    trigger = (
        Trigger(rng.choice(("tp", "sl")), random_number(rng), rng.random() < 0.5)
        if rng.random() < 0.3
        else None
    )
    return Order(
        rng.choice(COINS),
        rng.random() < 0.5,
        random_number(rng),
        random_number(rng),
        rng.random() < 0.3,
        f"0x{rng.getrandbits(128):032x}",
        None if trigger else rng.choice(("Alo", "Gtc", "Ioc")),
        trigger,
    )


def random_request(rng: random.Random) -> Request:
    """Any request that becomes an action; None is the noop."""
    kind = rng.randrange(10)
    if kind < 4:
        grouping = rng.choice(("na", "normalTpsl", "positionTpsl"))
        orders = tuple(random_order(rng) for _ in range(rng.randint(1, 20)))
        return Place("order", orders, grouping, 10_000)
    if kind == 4:
        orders = tuple(random_order(rng) for _ in range(rng.randint(1, 5)))
        oids = tuple(rng.getrandbits(rng.randint(1, 53)) for _ in orders)
        return Place("modify", orders, "na", 10_000, oids)
    if kind == 5:
        return Cancel("cancel", tuple((rng.choice(COINS), rng.getrandbits(45)) for _ in range(5)), fast=False)
    if kind == 6:
        cloids = tuple(
            (rng.choice(COINS), f"0x{rng.getrandbits(128):032x}") for _ in range(rng.randint(1, 20))
        )
        return Cancel("cancel_by_cloid", cloids, fast=False)
    if kind == 7:
        return Leverage("leverage", rng.choice(COINS), rng.randint(1, 50), rng.random() < 0.5)
    if kind == 8:
        return IsolatedMargin("isolated_margin", rng.choice(COINS), rng.randint(-(10**12), 10**12) or 1)
    return rng.choice(
        (ScheduleCancel("schedule_cancel", NOW_MS + 9_000), ScheduleCancel("schedule_cancel", None), None)
    )


def our_action(request: Request) -> actions.Action:
    """The action as the signer builds it."""
    if isinstance(request, Place):
        return actions.place(request, ASSETS)
    if isinstance(request, Cancel):
        return actions.cancel(request, ASSETS)
    if isinstance(request, Leverage):
        return actions.leverage(request, ASSETS)
    if isinstance(request, IsolatedMargin):
        return actions.isolated_margin(request, ASSETS)
    return actions.noop() if request is None else actions.schedule_cancel(request)


def _sdk_order(order: Order) -> dict[str, Any]:
    from hyperliquid.utils.types import Cloid

    kind: dict[str, Any] = {"limit": {"tif": order.tif}}
    if order.trigger is not None:
        told = order.trigger
        kind = {
            "trigger": {
                "triggerPx": float(plain(told.price_e8)),
                "isMarket": told.is_market,
                "tpsl": told.kind,
            }
        }
    return {
        "coin": order.coin,
        "is_buy": order.is_buy,
        "sz": float(plain(order.size_e8)),
        "limit_px": float(plain(order.price_e8)),
        "order_type": kind,
        "reduce_only": order.reduce_only,
        "cloid": Cloid.from_str(order.cloid),
    }


def sdk_action(request: Request) -> Any:
    """The action as the venue's library builds it; what its Exchange class spells out inline is spelled out here."""
    from hyperliquid.utils import signing as sdk

    if isinstance(request, Place):
        told: list[Any] = [_sdk_order(order) for order in request.orders]
        wires = [sdk.order_request_to_order_wire(order, ASSETS[order["coin"]]) for order in told]
        if request.do == "order":
            return sdk.order_wires_to_order_action(wires, None, request.grouping)
        pairs = zip(request.replaces, wires, strict=True)
        return {"type": "batchModify", "modifies": [{"oid": oid, "order": wire} for oid, wire in pairs]}
    if isinstance(request, Cancel):
        if request.do == "cancel":
            return {"type": "cancel", "cancels": [{"a": ASSETS[c], "o": o} for c, o in request.cancels]}
        pairs_of = request.cancels
        return {
            "type": "cancelByCloid",
            "cancels": [{"asset": ASSETS[coin], "cloid": cloid} for coin, cloid in pairs_of],
        }
    if isinstance(request, Leverage):
        return {
            "type": "updateLeverage",
            "asset": ASSETS[request.coin],
            "isCross": request.is_cross,
            "leverage": request.leverage,
        }
    if isinstance(request, IsolatedMargin):
        asset, amount = ASSETS[request.coin], sdk.float_to_usd_int(request.usd_micro / 1e6)
        return {"type": "updateIsolatedMargin", "asset": asset, "isBuy": True, "ntli": amount}
    if request is None:
        return {"type": "noop"}
    return {"type": "scheduleCancel"} | ({} if request.time_ms is None else {"time": request.time_ms})


def our_body(
    key: signing.SigningKey, request: Request, nonce: int, vault: str | None, expires: int | None
) -> str:
    """From typed request to what is sent."""
    action = our_action(request)
    signature = key.sign_l1(key.connection_id(action, vault, nonce, expires))
    return signing.body(action, nonce, signature, vault, expires)


def sdk_body(
    wallet: Any, mainnet: bool, request: Request, nonce: int, vault: str | None, expires: int | None
) -> str:
    """The same by the venue's library."""
    from hyperliquid.utils import signing as sdk

    action = sdk_action(request)
    signature = sdk.sign_l1_action(wallet, action, vault, nonce, expires, mainnet)
    envelope = {
        "action": action,
        "nonce": nonce,
        "signature": signature,
        "vaultAddress": vault,
        "expiresAfter": expires,
    }
    return json.dumps(envelope, separators=(",", ":"))


def compare(number: int, seed: int, keys: int = 400) -> int:
    """How many of so many random actions the two sign differently."""
    from eth_account import Account

    rng = random.Random(seed)
    wallets = []
    for _ in range(keys):
        secret = rng.randbytes(32)
        network: signing.Network = rng.choice(("mainnet", "testnet"))
        wallets.append((signing.SigningKey(secret, network), Account.from_key(secret)))
    mismatches = 0
    for _ in range(number):
        key, wallet = rng.choice(wallets)
        vault = f"0x{rng.getrandbits(160):040x}" if rng.random() < 0.3 else None
        expires = NOW_MS + rng.randint(1, 10**6) if rng.random() < 0.5 else None
        request, nonce = random_request(rng), NOW_MS + rng.randint(0, 10**9)
        theirs = sdk_body(wallet, key.network == "mainnet", request, nonce, vault, expires)
        mismatches += our_body(key, request, nonce, vault, expires) != theirs
    return mismatches


def in_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeat: int
) -> tuple[list[float], list[float]]:
    """µs of processor time a call of both, taking turns of 20 calls.

    By the clock only the slower one would pay for what else the machine does: its turns do not fit into one slice.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(1, repeat // 20)):
        for spent, call in zip(times, (ours, theirs), strict=True):
            start = time.thread_time()
            for _ in range(20):
                call()
            spent.append((time.thread_time() - start) * 1e6 / 20)
    return times


def measured(batch: int, repeat: int) -> dict[str, float]:
    """One action of so many orders by both."""
    from eth_account import Account

    rng = random.Random(1)
    secret = rng.randbytes(32)
    key, wallet = signing.SigningKey(secret, "testnet"), Account.from_key(secret)
    request = Place("order", tuple(random_order(rng) for _ in range(batch)), "na", 10_000)
    ours, theirs = in_turns(
        lambda: our_body(key, request, NOW_MS, None, NOW_MS + 10_000),
        lambda: sdk_body(wallet, False, request, NOW_MS, None, NOW_MS + 10_000),
        repeat,
    )
    return {
        "ours_us": round(median(ours), 1),
        "sdk_us": round(median(theirs), 1),
        "ratio_vs_sdk": round(median(theirs) / median(ours), 2),
        "ours_us_best": round(min(ours), 1),
        "sdk_us_best": round(min(theirs), 1),
    }


def started(repeat: int) -> dict[str, float]:
    """Seconds until a signer is ready whose keystore opens at once, and seconds that a real one takes to open."""
    starts, password = [], "correct horse battery"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        stored = wallet.create(home / "keys", "desk", "devnet", keystore.new_secret(), password, n=1 << 4)
        coins = tuple(
            draft.DraftCoin(name, place, 5, Decimal(50_000), 40) for name, place in (("BTC", 0), ("ETH", 1))
        )
        first = draft.Draft(
            "devnet", "0x" + "aa" * 20, None, stored.address, None, coins, 1_000, 3, "no meta"
        )
        rules = home / "policy.toml"
        rules.write_text(draft.text(first))
        rules.chmod(0o600)
        command = [sys.executable, "-m", "bot", "signer", "run", str(rules), "--keystore", str(stored.path)]
        command += ["--state", str(home / "state"), "--socket", str(home / "run" / "s"), "--password-fd", "0"]
        for _ in range(repeat):
            start = time.perf_counter()
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(password)
                process.stdin.close()
                if not any(line.startswith("ready:") for line in process.stdout):
                    raise SystemExit("the signer did not start")
                starts.append(time.perf_counter() - start)
                process.terminate()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        crypto = keystore.encrypt(keystore.new_secret(), password)
        start = time.perf_counter()
        keystore.decrypt(crypto, password)
        unlock = time.perf_counter() - start
    best, middle = round(min(starts), 3), round(median(starts), 3)
    cpu = round((used.ru_utime + used.ru_stime) / repeat, 3)
    return {"start_s": middle, "start_s_best": best, "start_cpu_s": cpu, "unlock_s": round(unlock, 2)}


def main() -> None:
    """Compare, measure, print."""
    options = argparse.ArgumentParser(description="Signing against the venue's own library.")
    options.add_argument("--actions", type=int, default=20_000)
    options.add_argument("--repeat", type=int, default=2_000)
    chosen = options.parse_args()
    from eth_keys.backends import get_backend

    result: dict[str, Any] = measured(1, chosen.repeat)
    result["order_of_20"] = measured(20, max(1, chosen.repeat // 10))
    result["compared"] = chosen.actions
    result["mismatches"] = compare(chosen.actions, seed=20_260_101)
    result |= started(5)
    libraries = ("coincurve", "hyperliquid-python-sdk", "eth-account", "msgpack", "orjson", "pycryptodome")
    result["sdk_backend"] = type(get_backend()).__name__
    result["versions"] = {"python": platform.python_version()} | {name: version(name) for name in libraries}
    result["cores"] = os.cpu_count()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
