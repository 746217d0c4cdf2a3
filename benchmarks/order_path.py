"""How long an order takes from the decision to the bytes that may leave: named, signed by the signer, on disk.

    python benchmarks/order_path.py [--orders 2000] [--rounds 3] [--folder DIR]

The daemon's own `Sender` is given one planned order at a time. It writes the order as the venue wants it, asks a signer
process over its socket (policy, nonce, audit record and signature are made there), commits the attempt to the journal
with `synchronous=FULL`, and hands the body to the client, where the clock stops: nothing goes over a network. What is
told to the signer now and then (time, prices, positions) is not counted. `signer_ms` is the socket and the signer
alone, `commit_ms` the journal's commit alone, in the same rounds; the peer is the venue's own library, which signs in
the process and writes nothing down. Prints one JSON object; times are of all orders together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import sys
import tempfile
import time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bot.journal.journal import Journal
from bot.model.instrument import Instrument, simple_instrument
from bot.model.order import Order, Side
from bot.paper.children import Child
from bot.paper.policy import Bounds, policy_text
from bot.signer import wallet
from bot.signer.client import SignerClient
from bot.signer.signing import SigningKey
from bot.venues.attempts import Attempts
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.orders import Register
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.hyperliquid.sending import Patience, Sender
from bot.venues.hyperliquid.signing import Facts, Signed, SignerSocket, Signs, Whose
from bot.venues.hyperliquid.signing import Order as Asked
from bot.venues.hyperliquid.wire import Node, decode
from bot.venues.venue_clock import VenueClock

COINS: dict[str, tuple[int, int, int, Decimal]] = {
    "BTC": (0, 5, 40, Decimal(90_000)),
    "ETH": (1, 4, 25, Decimal(3_000)),
}
TOLD_EVERY = 50  # orders, after which the signer is told how things stand
LARGEST = Decimal(10) ** 11


class Stopwatch:
    """Stands for the client, the clock and the signer's port, and notes when each was reached."""

    def __init__(self, signs: Signs, start_ms: int) -> None:
        self.signs, self.now = signs, start_ms
        self.began_s = self.ready_s = self.signer_s = 0.0
        self.speed = 1.0

    def now_ms(self) -> int:
        return self.now

    def pinned(self) -> Whose:
        return self.signs.pinned()

    def order(self, orders: list[Asked], expires_in_ms: int) -> Signed:
        began_s = time.perf_counter()
        signed = self.signs.order(orders, expires_in_ms)
        self.signer_s = time.perf_counter() - began_s
        return signed

    async def make_room(self, actions: int = 1, *, urgent: bool = False) -> None:
        pass

    async def exchange(self, body: bytes) -> Node:
        self.ready_s = time.perf_counter()
        assert body.startswith(b"{")
        number = self.now % 1_000_000 + 1
        told = {"type": "order", "data": {"statuses": [{"resting": {"oid": number}}]}}
        return decode(json.dumps({"status": "ok", "response": told}), "the answer to an action")


def orders(count: int, start: int, instruments: list[Instrument]) -> list[Order]:
    """Orders of two coins, all different."""
    made = []
    for number in range(start, start + count):
        instrument = instruments[number % len(instruments)]
        price = instrument.round_price(COINS[instrument.name][3] * (1 - Decimal(number % 97) / 10_000))
        side = Side.BUY if number % 2 else Side.SELL
        made.append(
            Order(f"{number:x}-{instrument.name}-entry", instrument.name, side, 100 + number % 900, price)
        )
    return made


async def measured(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """With a signer of a new key, and a journal, in `folder`."""
    secret = secrets.token_bytes(32)
    agent = SigningKey(secret, "testnet").address
    account = SigningKey(secrets.token_bytes(32), "testnet").address
    password = secrets.token_urlsafe(12)
    keystore = wallet.create(folder, "bench", "devnet", secret, password, 1 << 12)
    bounds = Bounds(*(LARGEST,) * 4, collar_bps=300, orders_per_min=20_000, max_leverage=20)
    listed = {
        name: {"asset": asset, "size_decimals": decimals, "max_leverage": leverage, "mark": str(mark)}
        for name, (asset, decimals, leverage, mark) in COINS.items()
    }
    policy = folder / "policy.toml"
    policy.write_text(policy_text(account, agent, list(COINS), listed, bounds, 3600.0))
    policy.chmod(0o600)
    socket = folder / "s"
    signer = await Child.start(
        "the signer",
        ["signer", "run", str(policy), "--keystore", str(keystore.path), "--state", str(folder / "state"),
         "--socket", str(socket)],
        folder / "log",
        lambda line: line.startswith("ready:"),
        timeout_s=60,
        secret=password.encode(),
    )  # fmt: skip
    try:
        with SignerClient(socket, 10.0) as client, Journal.open(folder / "journal.sqlite") as journal:
            return await paced(SignerSocket(client), journal, account, count, rounds)
    finally:
        await signer.stop()


async def paced(
    signs: SignerSocket, journal: Journal, account: str, count: int, rounds: int
) -> dict[str, Any]:
    """Order after order through a `Sender` that goes as far as the client."""
    signs.whose()
    watch = Stopwatch(signs, time.time_ns() // 1_000_000)
    instruments = [
        simple_instrument(name, decimals, leverage) for name, (_, decimals, leverage, _) in COINS.items()
    ]
    market = MarketData(cast("Client", watch), instruments)
    market.marks = cast("Any", {name: mark for name, (*_, mark) in COINS.items()})
    market.numbers.known = Universe(tuple(COINS), tuple(instruments))
    register = Register(instruments, Attempts("devnet", account, journal.attempts))
    sender = Sender(
        account,
        cast("Client", watch),
        cast("Signs", watch),
        cast("VenueClock", watch),
        market,
        register,
        Books(account, register),
        Patience(),
        asyncio.sleep,
    )
    whole: list[float] = []
    signing: list[float] = []
    for turn in range(rounds):
        for place, order in enumerate(orders(count, turn * count, instruments)):
            if place % TOLD_EVERY == 0:
                watch.now += 60_000
                prices = {name: str(mark) for name, mark in market.marks.items()}
                signs.tell(Facts(watch.now, watch.now, prices, {}, 0, sender.through_nonce))
            watch.now += 1
            watch.began_s = time.perf_counter()
            (report,) = await sender.place([order])
            if report.order_id == 0:
                raise SystemExit(f"an order did not go through: {report.reason}")
            whole.append(watch.ready_s - watch.began_s)
            signing.append(watch.signer_s)
    return {
        **spread("", whole),
        **spread("signer_", signing),
        **spread("commit_", committed(journal, min(count, 1000))),
        **peer(min(count, 300)),
        "orders": len(whole),
    }


def committed(journal: Journal, count: int) -> list[float]:
    """The journal's commit of one attempt, by itself."""
    from dataclasses import replace

    first = journal.attempts.open_attempts()[0]
    took = []
    for number in range(count):
        made = replace(
            first,
            cloid=f"0x{number:032x}",
            client_id=f"alone-{number}",
            nonce=number + 1,
            state=type(first.state).INTENT,
            evidence=None,
        )
        began_s = time.perf_counter()
        journal.attempts.write([made])
        took.append(time.perf_counter() - began_s)
    return took


def peer(count: int) -> dict[str, float]:
    """The venue's own library: an order as its users ask for it, to the JSON that it would send."""
    from eth_account import Account
    from hyperliquid.utils.signing import (
        order_request_to_order_wire,
        order_wires_to_order_action,
        sign_l1_action,
    )

    key = Account.from_key(secrets.token_bytes(32))
    took = []
    for number in range(count):
        began_s = time.perf_counter()
        wire = order_request_to_order_wire(
            {
                "coin": "BTC",
                "is_buy": True,
                "sz": 0.01,
                "limit_px": 90_000.0 - number,
                "order_type": {"limit": {"tif": "Ioc"}},
                "reduce_only": False,
                "cloid": None,
            },
            0,
        )
        action = order_wires_to_order_action([wire])
        nonce = 1_700_000_000_000 + number
        signature = sign_l1_action(key, action, None, nonce, None, False)
        json.dumps({"action": action, "nonce": nonce, "signature": signature, "vaultAddress": None})
        took.append(time.perf_counter() - began_s)
    return {"sdk_in_process_p50_ms": round(1000 * median(took), 4)}


def spread(name: str, seconds: list[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    return {
        f"{name}p50_ms": round(1000 * median(seconds), 4),
        f"{name}p99_ms": round(1000 * quantiles(seconds, n=100)[98], 4),
    }


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--orders", type=int, default=2000, help="orders a round (default 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument(
        "--folder", type=Path, help="where the journal is written; its disk is what is measured"
    )
    given = parser.parse_args()
    if given.orders < 100 or given.rounds < 1:
        parser.error("--orders must be at least 100 and --rounds at least 1")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        Path(name).chmod(0o700)
        found = asyncio.run(measured(Path(name), given.orders, given.rounds))
    libraries = ("hedgerow", "coincurve", "hyperliquid-python-sdk", "orjson")
    print(
        json.dumps(
            {
                "benchmark": "order_path",
                **found,
                "rounds": given.rounds,
                "cores": os.cpu_count(),
                "machine": platform.machine(),
                "python": platform.python_version(),
                "versions": {each: version(each) for each in libraries},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
