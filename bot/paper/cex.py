"""The play-money account of a paper run at the simulated central exchange: its key, and what its signer signs.

The devnet makes key and secret and tells them once; they go into a keystore like any other's, whose password lies beside
it, since there is nothing to protect.
"""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.errors import ConfigError, StateError, Unavailable
from bot.paper.account import SCRYPT_N, TIMEOUT_S, post, private
from bot.paper.policy import BAND, Bounds, limits_of, places
from bot.signer import cex_signing, keystore, wallet
from bot.signer.policy import SignerConfigError

VENUE: Final = "binance"
QUOTE: Final = "USDT"
WINDOW_S: Final = 5.0
LONGEST_WINDOW_MS: Final = 86_400_000
PASSWORD: Final = "binance-password"  # noqa: S105 - the name of its file


@dataclass(frozen=True, slots=True)
class CexAccount:
    """Where the key is that may trade, and by what name its signer's policy knows it."""

    agent: str
    keystore: Path
    password: str


def cex_account_in(folder: Path) -> CexAccount | None:
    """The account of an earlier run; None where there is none. StateError where it can't be read."""
    found = sorted(folder.glob(f"devnet-{VENUE}-*.json"))
    if not found:
        return None
    try:
        stored = keystore.read(found[0])
        password = (folder / PASSWORD).read_text(encoding="utf-8").strip()
    except (OSError, ValueError, SignerConfigError) as error:
        raise StateError(
            f"the paper account in {folder} can't be used: {error}; restore it or remove {folder}"
        ) from None
    return CexAccount(stored.address, found[0], password)


def open_cex_account(folder: Path, url: str, usd: Decimal) -> CexAccount:
    """Have the exchange at `url` open an account with `usd`, and keep its key. Unavailable where it does not."""
    told = post(url, "/devnet/faucet", {"usdt": f"{usd:f}"})
    try:
        key = cex_signing.made(VENUE, told["api_key"], told["api_secret"], "")
    except (KeyError, TypeError, SignerConfigError):
        raise Unavailable(f"the exchange at {url} did not open an account") from None
    password = secrets.token_urlsafe(24)
    private(folder / PASSWORD, password)
    made = wallet.create_cex(folder, "devnet", key, password, SCRYPT_N)
    return CexAccount(made.address, made.path, password)


def cex_listed(url: str) -> dict[str, dict[str, Any]]:
    """What the exchange trades for USDT, by base coin: symbol, decimals of sizes, mark. Unavailable where it doesn't say."""
    listed, marks = _got(url, "/fapi/v1/exchangeInfo"), _got(url, "/fapi/v1/premiumIndex")
    by_symbol = {row["symbol"]: row["markPrice"] for row in marks}
    return {
        row["baseAsset"]: {
            "symbol": row["symbol"],
            "size_decimals": int(row["quantityPrecision"]),
            "mark": by_symbol[row["symbol"]],
        }
        for row in listed["symbols"]
        if row["quoteAsset"] == QUOTE and row["symbol"] in by_symbol
    }


def cex_policy_text(
    agent: str, coins: Sequence[str], listed: Mapping[str, Any], bounds: Bounds, speed: float
) -> str:
    """The policy of its signer as TOML; ConfigError for a coin that is not listed.

    A request may be as old as the signer's window, which is told in the market's time and so grows with its speed.
    """
    window_ms = min(int(WINDOW_S * 1000 * max(speed, 1.0)), LONGEST_WINDOW_MS)
    lines = [
        "# Written by `hedgerow run` at each start; changes are lost. Its limits are the config's [policy].",
        f'venue = "{VENUE}"',
        'network = "devnet"',
        "simulated_clock = true",
        f'agent = "{agent}"',
        'allow = ["order", "cancel", "leverage", "margin_mode", "position_mode", "query", "stream"]',
        'tif = ["Alo", "Gtc", "Ioc"]',
        "cross = true",
        f"receive_window_ms = {window_ms}",
        *limits_of(bounds, len(coins), speed),
    ]
    for coin in coins:
        found = listed.get(coin)
        if found is None:
            raise ConfigError(f"{VENUE} on the devnet does not list {coin}; it lists {', '.join(listed)}")
        mark = Decimal(found["mark"])
        lines += [
            "",
            f'[symbols."{found["symbol"]}"]',
            f'quote = "{QUOTE}"',
            "contract_size = 1",
            f"size_decimals = {found['size_decimals']}",
            f"band = [{places(mark / BAND)}, {places(mark * BAND)}]",
            f"max_position_usd = {bounds.max_position_usd:f}",
            f"max_leverage = {bounds.max_leverage}",
        ]
    return "\n".join(lines) + "\n"


def _got(url: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=TIMEOUT_S) as reply:  # noqa: S310 - http on loopback
            return json.loads(reply.read())
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unavailable(f"the exchange at {url} did not answer {path} ({error})") from None
