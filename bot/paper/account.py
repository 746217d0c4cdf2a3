"""The play-money account of a paper run: made once, approved like a real one, kept beside the journal.

The account's own key is made, signs the approval of an agent, and is thrown away, so that what is left can trade and
never withdraw. The agent's key is in an encrypted keystore like any other; its password lies beside it, since there is
nothing to protect.
"""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.errors import StateError, Unavailable
from bot.model.money import ZERO
from bot.signer import keystore, signing, wallet
from bot.signer.policy import SignerConfigError

NAME: Final = "paper"
SCRYPT_N: Final = 1 << 12  # quick: the password is in the next file
APPROVED_MS: Final = 50 * 365 * 86_400_000
TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class PaperAccount:
    """Whose books are traded, and where the key that may do so is."""

    account: str
    agent: str
    keystore: Path
    password: str


def account_in(folder: Path) -> PaperAccount | None:
    """The account of an earlier run; None where there is none. StateError where it can't be read."""
    found = sorted(folder.glob(f"devnet-{NAME}-*.json"))
    if not found:
        return None
    try:
        stored = keystore.read(found[0])
        password = (folder / "password").read_text(encoding="utf-8").strip()
    except (OSError, ValueError, SignerConfigError) as error:
        raise StateError(
            f"the paper account in {folder} can't be used: {error}; restore it or remove {folder}"
        ) from None
    if stored.account is None or not password:
        raise StateError(f"the paper account in {folder} is not whole; remove {folder} to begin anew")
    return PaperAccount(stored.account, stored.address, found[0], password)


def open_account(
    folder: Path, url: str, equity_usd: Decimal, now_ms: int, *, spot_usd: Decimal = ZERO
) -> PaperAccount:
    """Fund a new account on the devnet at `url`, approve a new agent for it and keep the agent's key.

    `equity_usd` goes to the perp account and `spot_usd` to the spot wallet beside it. `now_ms` is the devnet's time.
    Unavailable where the devnet does not answer as it should.
    """
    master, secret = keystore.new_secret(), keystore.new_secret()
    owner = signing.SigningKey(master, "testnet")
    agent = signing.SigningKey(secret, "testnet").address
    post(url, "/devnet/faucet", {"user": owner.address, "usdc": str(equity_usd)})
    if spot_usd:
        post(url, "/devnet/faucet", {"user": owner.address, "token": "USDC", "amount": str(spot_usd)})
    nonce = wallet.now_ms()
    until_ms = now_ms + APPROVED_MS
    action = {
        **signing.approve_agent_action(agent, f"{NAME} valid_until {until_ms}", nonce, "testnet"),
        "signatureChainId": signing.WALLET_CHAIN,
    }
    body = signing.body(action, nonce, owner.sign_user(action), None, None)
    answer = post(url, "/exchange", json.loads(body))
    if answer.get("status") != "ok":
        raise Unavailable(f"the devnet did not approve the paper agent ({answer.get('response')})")
    password = secrets.token_urlsafe(24)
    private(folder / "password", password)
    made = wallet.create(folder, NAME, "devnet", secret, password, SCRYPT_N)
    made = wallet.mark_approved(made, owner.address, until_ms)
    return PaperAccount(owner.address, agent, made.path, password)


def post(url: str, path: str, body: Mapping[str, Any]) -> Any:
    """A reply of the devnet on this machine. Unavailable where there is none that can be read."""
    request = urllib.request.Request(  # noqa: S310 - the URL is the devnet's own, which is http on loopback
        f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
            return json.loads(reply.read())
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unavailable(f"the devnet at {url} did not answer {path} ({error})") from None


def private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
