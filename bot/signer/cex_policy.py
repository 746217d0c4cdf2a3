"""What a signer for a central exchange may sign: a TOML file of its own, in which everything that is not allowed is denied.

Limits in dollars, rates and collars are those of `bot.signer.policy`; a symbol takes the place of a coin, and sizes are
judged in coins (contracts times `contract_size`).
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.signer import policy
from bot.signer.policy import Policy, SignerConfigError
from bot.signer.requests import E8

SYMBOLS: Final = {
    "binance": r"[A-Z0-9]+{quote}",
    "bybit": r"[A-Z0-9]+{quote}",
    "okx": r"[A-Z0-9]+-{quote}-SWAP",
}
"""Venue → the form of its linear perpetuals' names: what is margined in coins has no place for dollars to be counted."""
KINDS: Final = frozenset(
    {"order", "cancel", "leverage", "margin_mode", "position_mode", "dead_man", "query", "stream"}
)
NETWORKS: Final = frozenset({"testnet", "devnet"})
QUOTES: Final = frozenset({"USDT", "USDC"})
OKX_WINDOW_MS: Final = 30_000
"""How long OKX takes a request after its timestamp; it cannot be told another time."""

LONGEST_WINDOW_MS: Final = 60_000
SIMULATED_WINDOW_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class CexPolicy:
    """The venue, what may be asked of it, the coins in one contract of a symbol (1e-8), and the limits."""

    venue: str
    allow: frozenset[str]
    contracts_e8: Mapping[str, int]
    receive_window_ms: int
    judged: Policy

    @property
    def name(self) -> str:
        """Venue and network: the default name of socket and state folder."""
        return f"{self.venue}-{self.judged.network}"


def read(path: Path) -> CexPolicy | None:
    """The policy in a file that others cannot write; None where it names no venue. Raises SignerConfigError."""
    text = policy.content(path)
    return parse(text) if "venue" in _table(text) else None


def limits(path: Path) -> Policy:
    """The limits of a policy's file of either kind. Raises SignerConfigError."""
    found = read(path)
    return found.judged if found else policy.read(path)


def parse(text: bytes) -> CexPolicy:
    """The policy in a file's bytes. Raises SignerConfigError."""
    table = _table(text)
    keys = policy.Keys(table, "")
    venue, network = keys.take("venue"), keys.take("network")
    if not isinstance(venue, str) or venue not in SYMBOLS:
        raise keys.wrong("venue", f"must be one of {', '.join(sorted(SYMBOLS))}")
    if not isinstance(network, str) or network not in NETWORKS:
        raise keys.wrong("network", f"must be one of {', '.join(sorted(NETWORKS))}")
    allow = keys.chosen("allow", KINDS)
    longest = OKX_WINDOW_MS if venue == "okx" else LONGEST_WINDOW_MS
    if table.get("simulated_clock") is True:  # told in its own time, which may run as fast as it likes
        longest = max(longest, SIMULATED_WINDOW_MS)
    window_ms = keys.integer("receive_window_ms", OKX_WINDOW_MS if venue == "okx" else 1, longest)
    symbols = keys.take("symbols")
    if not isinstance(symbols, dict):
        raise keys.wrong("symbols", "must be a table for each symbol")
    coins, contracts = {}, {}
    for number, (symbol, found) in enumerate(symbols.items()):
        one = policy.Keys(found, f"symbols.{symbol}")
        quote = one.take("quote")
        if not isinstance(quote, str) or quote not in QUOTES:
            raise one.wrong("quote", f"must be one of {', '.join(sorted(QUOTES))}")
        if re.fullmatch(SYMBOLS[venue].format(quote=quote), symbol) is None:
            raise one.wrong("", f"is not the name of a perpetual in {quote} at {venue}")
        contracts[symbol] = one.scaled("contract_size", one.take("contract_size"), E8)
        if contracts[symbol] == 0 or (venue != "okx" and contracts[symbol] != E8):
            raise one.wrong("contract_size", "must be above 0, and 1 where sizes are told in coins")
        rest = {key: value for key, value in found.items() if key not in {"quote", "contract_size"}}
        if "asset" in rest:
            raise one.wrong("asset", "is not a key of a policy; check its spelling")
        coins[symbol] = {**rest, "asset": number}
    own = {"venue", "allow", "receive_window_ms", "symbols"}
    for key in ("account", "vault", "coins", "expires_ms", "opening_triggers"):
        if key in table:
            raise keys.wrong(key, "is not a key of a policy for a central exchange")
    judged = {key: value for key, value in table.items() if key not in own}
    judged |= {
        "account": judged.get("agent"),
        "allow": [],
        "coins": coins,
        "expires_ms": [window_ms, window_ms],
    }
    limits = policy.build(judged, hashlib.sha256(text).hexdigest())
    return CexPolicy(venue, allow, contracts, window_ms, limits)


def _table(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8"), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SignerConfigError(f"policy: not TOML: {error}") from None
