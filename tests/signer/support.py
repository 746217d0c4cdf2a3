"""A signer without its socket, on a clock that the test moves."""

import json
import os
from pathlib import Path
from typing import Any

from bot.signer import policy
from bot.signer.audit import AuditLog
from bot.signer.engine import Engine, Peer, VenueClock
from bot.signer.nonces import Nonces
from bot.signer.signing import SigningKey

SECRET = bytes.fromhex("0123456789012345678901234567890123456789012345678901234567890123")
AGENT = "0x14791697260e4c9a71f18484c9f997b308e59325"
START_MS = 1_790_000_000_000
PEER = Peer(1, 1)

POLICY = f"""
network = "testnet"
account = "0x00000000000000000000000000000000000000aa"
agent = "{AGENT}"
allow = ["order", "modify", "cancel", "cancel_by_cloid", "leverage", "isolated_margin", "schedule_cancel", "fence"]
tif = ["Alo", "Gtc", "Ioc"]
max_gross_usd = 15000
max_open_orders = 40
turnover_usd_per_day = 50000
isolated_margin_usd_per_day = 1000
orders_per_min = 60
reduces_per_min = 30
cancels_per_min = 90
actions_per_day = 4000
expires_ms = [5000, 15000]
reference_max_age_ms = 3000
reference_max_step_bps_per_s = 50
max_order_usd = 2500
collar_bps = 50
collar_reduce_bps = 200
collar_trigger_bps = 1000

[coins.BTC]
asset = 3
size_decimals = 5
band = [40000, 250000]
max_position_usd = 10000
max_leverage = 5

[coins.ETH]
asset = 4
size_decimals = 4
band = [800, 12000.5]
max_order_usd = 1000
max_position_usd = 8000
collar_bps = 75
max_leverage = 4
"""


def changed(**keys: Any) -> str:
    """The policy with some of its top-level keys set otherwise."""
    lines = POLICY.splitlines()
    for key, value in keys.items():
        lines = [line for line in lines if not line.startswith(f"{key} = ") or key == "band"]
        lines.insert(0, f"{key} = {json.dumps(value)}")
    return "\n".join(lines)


class Desk:
    """An engine in a folder; `ask` gives the answer as a dictionary."""

    def __init__(self, folder: Path, text: str = POLICY) -> None:
        self.folder, self.text = folder, text
        self.wall_ms, self.boot_ms = START_MS, 1_000_000
        self.number = 0
        self.open()

    def open(self) -> None:
        """Start the signer on what is in its folder."""
        self.rules = policy.parse(self.text.encode())
        self.nonces = Nonces(self.folder / "nonce")
        self.audit = AuditLog(self.folder / "audit.jsonl")
        clock = VenueClock(self.rules, lambda: self.wall_ms, lambda: self.boot_ms)
        self.engine = Engine(self.rules, SigningKey(SECRET, "testnet"), self.nonces, self.audit, clock)

    def again(self) -> None:
        """Drop the signer as a kill would, and start it again."""
        self.close()
        self.engine.limits = None  # type: ignore[assignment]
        self.open()

    def close(self) -> None:
        """Close its files as a kill would, nothing being synced."""
        self.nonces.close()
        os.close(self.audit._file)

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.wall_ms += ms
        self.boot_ms += ms

    def ask(self, do: str, **keys: Any) -> dict[str, Any]:
        """Send a request."""
        self.number += 1
        packet = json.dumps({"id": self.number, "do": do, **keys}).encode()
        answer: dict[str, Any] = json.loads(self.engine.handle(packet, PEER))
        assert answer.pop("id") == self.number
        return answer

    def rule(self, do: str, **keys: Any) -> str:
        """The rule that denies a request, or "ok", or "locked"."""
        answer = self.ask(do, **keys)
        return str(answer["deny"]["rule"]) if "deny" in answer else next(iter(answer))

    def ready(self, btc: str = "50000", eth: str = "2000", **held: str) -> None:
        """Tell prices and positions."""
        self.ask("prices", prices={"BTC": btc, "ETH": eth}, at_ms=self.wall_ms)
        positions = {coin: {"size": size, "buys": "0", "sells": "0"} for coin, size in held.items()}
        answer = self.ask(
            "positions", positions=positions, open_orders=0, through_nonce=0, at_ms=self.wall_ms
        )
        assert "ok" in answer

    def order(self, *orders: dict[str, Any], grouping: str = "na", expires_in_ms: int = 10_000) -> str:
        """Ask for orders; the rule or "ok"."""
        return self.rule("order", orders=list(orders), grouping=grouping, expires_in_ms=expires_in_ms)


_cloids = iter(range(1, 10**9))


def order(side: str = "buy", size: str = "0.01", price: str = "50000", **keys: Any) -> dict[str, Any]:
    """An order that the policy lets pass once prices and positions are known."""
    return {
        "coin": "BTC",
        "side": side,
        "size": size,
        "price": price,
        "reduce_only": False,
        "cloid": f"0x{next(_cloids):032x}",
        "tif": "Gtc",
        "trigger": None,
    } | keys


def trigger(kind: str, fires: str, **keys: Any) -> dict[str, Any]:
    """A reduce-only sell that waits for its trigger, with its limit there too."""
    condition = {"kind": kind, "price": fires, "is_market": True}
    return order("sell", price=fires, reduce_only=True, tif=None, trigger=condition) | keys
