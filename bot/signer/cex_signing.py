"""A central exchange's API key, and its three ways to sign a request. Values need no escaping: `cex_grammar` lets none through that do."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from bot.signer.policy import PolicyNetwork, SignerConfigError

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
BOOLEANS: Final = frozenset({"reduceOnly", "closeOnTrigger"})
INTEGERS: Final = frozenset({"positionIdx", "triggerDirection", "mode"})
"""What stands in a JSON body as another type than text."""


@dataclass(frozen=True, slots=True)
class CexKey:
    """An API key with its secret, and OKX's passphrase. `network` is that of the policy's `chain`."""

    venue: str
    api_key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(default="", repr=False)
    network: str = "testnet"

    @property
    def address(self) -> str:
        """What policy and keystore call the key by: of its public part's SHA-256 the first 20 bytes."""
        return "0x" + hashlib.sha256(f"{self.venue}:{self.api_key}".encode()).hexdigest()[:40]

    def packed(self) -> bytes:
        """What a keystore encrypts."""
        parts = {
            "venue": self.venue,
            "api_key": self.api_key,
            "secret": self.secret,
            "passphrase": self.passphrase,
        }
        return json.dumps(parts).encode("ascii")


def unpacked(content: bytes) -> CexKey:
    """The key in a keystore's content. Raises SignerConfigError, which does not repeat it."""
    try:
        found = json.loads(content)
        parts = [found[name] for name in ("venue", "api_key", "secret", "passphrase")]
        if len(found) != 4 or not all(type(part) is str for part in parts):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise SignerConfigError(
            "the keystore holds no key of a central exchange; make one with `hedgerow wallet import-cex`"
        ) from None
    return made(*parts)


def made(venue: str, api_key: str, secret: str, passphrase: str) -> CexKey:
    """A key, if its parts can be one. Raises SignerConfigError, which does not repeat them."""
    for what, text in (("API key", api_key), ("secret", secret)):
        if not 8 <= len(text) <= 256 or not text.isascii() or not text.replace("-", "").isalnum():
            raise SignerConfigError(f"the {what} is not 8 to 256 letters, digits and -; copy it whole")
    if not passphrase.isascii() or not passphrase.isprintable() or bool(passphrase) != (venue == "okx"):
        raise SignerConfigError("OKX's keys have a passphrase of plain characters, and only those")
    return CexKey(venue, api_key, secret, passphrase)


def signed(
    key: CexKey,
    network: PolicyNetwork,
    method: str,
    path: str,
    params: Mapping[str, str],
    now_ms: int,
    window_ms: int,
    *,
    by_key_only: bool = False,
) -> dict[str, Any]:
    """`headers`, `query` and `body` of a request as the venue wants them; `by_key_only` where it takes no signature."""
    if key.venue == "binance":
        return _binance(key, method, params, now_ms, window_ms, by_key_only=by_key_only)
    if key.venue == "bybit":
        return _bybit(key, method, params, now_ms, window_ms)
    return _okx(key, network, method, path, params, now_ms)


def _binance(
    key: CexKey, method: str, params: Mapping[str, str], now_ms: int, window_ms: int, *, by_key_only: bool
) -> dict[str, Any]:
    headers = {"X-MBX-APIKEY": key.api_key}
    if by_key_only:
        return {"headers": {**headers, "Content-Type": FORM}, "query": "", "body": _joined(params)}
    text = _joined({"timestamp": str(now_ms), **params, "recvWindow": str(window_ms)})
    text += f"&signature={_digest(key, text).hex()}"
    if method in {"GET", "DELETE"}:
        return {"headers": headers, "query": text, "body": ""}
    return {"headers": {**headers, "Content-Type": FORM}, "query": "", "body": text}


def _bybit(
    key: CexKey, method: str, params: Mapping[str, str], now_ms: int, window_ms: int
) -> dict[str, Any]:
    query, body = ("", _body(params)) if method == "POST" else (_joined(params), "")
    headers = {
        "Content-Type": JSON,
        "X-BAPI-API-KEY": key.api_key,
        "X-BAPI-TIMESTAMP": str(now_ms),
        "X-BAPI-RECV-WINDOW": str(window_ms),
        "X-BAPI-SIGN": _digest(key, f"{now_ms}{key.api_key}{window_ms}{query}{body}").hex(),
    }
    return {"headers": headers, "query": query, "body": body}


def _okx(
    key: CexKey, network: PolicyNetwork, method: str, path: str, params: Mapping[str, str], now_ms: int
) -> dict[str, Any]:
    seconds, millis = divmod(now_ms, 1000)
    stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"
    query, body = (_joined(params), "") if method == "GET" else ("", _body(params) if params else "")
    asked = f"{path}?{query}" if query else path
    digest = _digest(key, f"{stamp}{method}{asked}{body}")
    headers = {
        "OK-ACCESS-KEY": key.api_key,
        "OK-ACCESS-PASSPHRASE": key.passphrase,
        "OK-ACCESS-TIMESTAMP": stamp,
        "OK-ACCESS-SIGN": base64.b64encode(digest).decode("ascii"),
    }
    if method != "GET":
        headers["Content-Type"] = JSON
    if network == "testnet":
        headers["x-simulated-trading"] = "1"
    return {"headers": headers, "query": query, "body": body}


def _digest(key: CexKey, text: str) -> bytes:
    return hmac.digest(key.secret.encode("ascii"), text.encode("ascii"), "sha256")


def _joined(params: Mapping[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in params.items())


def _body(params: Mapping[str, str]) -> str:
    typed: dict[str, Any] = dict(params)
    for name, value in params.items():
        if name in BOOLEANS:
            typed[name] = value == "true"
        elif name in INTEGERS:
            typed[name] = int(value)
    return json.dumps(typed, separators=(",", ":"))
