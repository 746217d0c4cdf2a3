"""A central exchange's signer without its socket, on a clock that the test moves."""

import json
import os
from pathlib import Path
from typing import Any

from bot.signer import cex_policy
from bot.signer.audit import AuditLog
from bot.signer.cex_engine import CexEngine
from bot.signer.cex_signing import CexKey
from bot.signer.clock import VenueClock
from bot.signer.engine import Peer
from bot.signer.nonces import Nonces

START_MS = 1_790_000_000_123
API_KEY, SECRET, PASSPHRASE = "publicpart-0123456789", "quietpart0123456789abcdef", "Quiet words 7!"
SYMBOLS = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT-SWAP"}
CONTRACTS = {"binance": "1", "bybit": "1", "okx": "0.01"}


def key(venue: str) -> CexKey:
    return CexKey(venue, API_KEY, SECRET, PASSPHRASE if venue == "okx" else "")


def policy(venue: str, **keys: Any) -> str:
    """A policy of a venue, with some of its top-level keys set otherwise."""
    head: dict[str, Any] = {
        "venue": venue,
        "network": "testnet",
        "agent": key(venue).address,
        "allow": sorted(cex_policy.KINDS),
        "tif": ["Alo", "Gtc", "Ioc"],
        "receive_window_ms": 30_000 if venue == "okx" else 5_000,
        "max_gross_usd": 15_000,
        "max_open_orders": 40,
        "turnover_usd_per_day": 50_000,
        "orders_per_min": 60,
        "reduces_per_min": 30,
        "cancels_per_min": 90,
        "actions_per_day": 4_000,
        "reference_max_age_ms": 3_000,
        "reference_max_step_bps_per_s": 50,
        "max_order_usd": 2_500,
        "collar_bps": 50,
    } | keys
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in head.items()) + (
        f'\n[symbols."{SYMBOLS[venue]}"]\nquote = "USDT"\ncontract_size = {CONTRACTS[venue]}\nsize_decimals = 4\n'
        "band = [40000, 250000]\nmax_position_usd = 10000\nmax_leverage = 5\n"
        "collar_reduce_bps = 200\ncollar_trigger_bps = 1000\n"
    )


class CexDesk:
    """An engine in a folder; `ask` gives the answer as a dictionary."""

    def __init__(self, folder: Path, venue: str, **keys: Any) -> None:
        self.folder, self.venue, self.symbol = folder, venue, SYMBOLS[venue]
        self.text = policy(venue, **keys)
        self.wall_ms, self.boot_ms, self.number = START_MS, 1_000_000, 0
        self.open()

    def open(self) -> None:
        """Start the signer on what is in its folder."""
        self.rules = cex_policy.parse(self.text.encode())
        self.nonces = Nonces(self.folder / "nonce")
        self.audit = AuditLog(self.folder / "audit.jsonl")
        clock = VenueClock(self.rules.judged, lambda: self.wall_ms, lambda: self.boot_ms)
        self.engine = CexEngine(self.rules, key(self.venue), self.nonces, self.audit, clock)

    def again(self) -> None:
        """Drop the signer as a kill would, and start it again."""
        self.nonces.close()
        os.close(self.audit._file)
        self.open()

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.wall_ms += ms
        self.boot_ms += ms

    def ask(self, do: str, **keys: Any) -> dict[str, Any]:
        """Send a request."""
        self.number += 1
        packet = json.dumps({"id": self.number, "do": do, **keys}).encode()
        answer: dict[str, Any] = json.loads(self.engine.handle(packet, Peer(1, 1)))
        return answer

    def cex(self, method: str, path: str, **params: str) -> dict[str, Any]:
        """Ask for a request to be signed."""
        return self.ask("cex", method=method, path=path, params=params)

    def ready(self, price: str = "50000", size: str = "0", through_nonce: int = 0) -> None:
        """Tell price and position."""
        held = {self.symbol: {"size": size, "buys": "0", "sells": "0"}}
        assert "ok" in self.ask("prices", prices={self.symbol: price}, at_ms=self.wall_ms)
        told = {"positions": held, "open_orders": 0, "through_nonce": through_nonce, "at_ms": self.wall_ms}
        assert "ok" in self.ask("positions", **told)

    def order(
        self, side: str = "buy", size: str = "0.01", price: str | None = "50000", *, reduce: bool = False
    ) -> str:
        """Ask for a limit or (without a price) market order of so many coins; the rule that denies it, or "ok"."""
        method, path, params = order(self.venue, side, size, price, reduce=reduce)
        return rule(self.cex(method, path, **params))


def rule(answer: dict[str, Any]) -> str:
    """The rule that denies, or "ok", or "locked"."""
    return str(answer["deny"]["rule"]) if "deny" in answer else next(k for k in answer if k != "id")


_names = iter(range(1, 10**9))


def order(
    venue: str, side: str, size: str, price: str | None, *, reduce: bool = False
) -> tuple[str, str, dict[str, str]]:
    """Method, path and parameters of an order; `size` in coins, of two contracts' decimals at OKX."""
    name = f"n{next(_names)}"
    if venue == "binance":
        params = {"symbol": SYMBOLS[venue], "side": side.upper(), "quantity": size, "newClientOrderId": name}
        params |= (
            {"type": "MARKET"} if price is None else {"type": "LIMIT", "timeInForce": "GTC", "price": price}
        )
        path = "/fapi/v1/order"
    elif venue == "bybit":
        params = {"category": "linear", "symbol": SYMBOLS[venue], "side": side.capitalize(), "qty": size}
        params |= {"orderLinkId": name, "orderType": "Market" if price is None else "Limit"}
        params |= {} if price is None else {"timeInForce": "GTC", "price": price}
        path = "/v5/order/create"
    else:
        contracts = f"{float(size) * 100:.2f}"
        params = {
            "instId": SYMBOLS[venue],
            "tdMode": "isolated",
            "side": side,
            "sz": contracts,
            "clOrdId": name,
        }
        params |= {"ordType": "market"} if price is None else {"ordType": "limit", "px": price}
        path = "/api/v5/trade/order"
    return "POST", path, params | ({"reduceOnly": "true"} if reduce else {})
