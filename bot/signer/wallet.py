"""An agent's life: made, approved by the account's owner, replaced, revoked. Its address is never used twice.

The venue forgets an agent's nonces with the agent, so what it had signed could be played back if it came again.
"""

import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bot.signer import cex_signing, keystore, signing
from bot.signer.keystore import Keystore
from bot.signer.policy import NETWORKS, SignerConfigError

MAX_DAYS: Final = 180
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval to be signed by the account's owner."""

    action: dict[str, Any]
    nonce: int
    valid_until_ms: int

    @property
    def typed_data(self) -> dict[str, Any]:
        """What a browser or hardware wallet is given (`eth_signTypedData_v4`)."""
        return signing.typed_data(self.action)

    def signed_by(self, signature: signing.Signature, account: str) -> str:
        """The HTTP body, if this account signed. Raises SignerConfigError."""
        try:
            signer = signing.recover(signing.user_signed_digest(self.action), signature)
        except ValueError as error:
            raise SignerConfigError(f"{error}; sign the payload again") from None
        if signer != account:
            raise SignerConfigError(
                f"the signature is by {signer}, not by {account}; sign with the account's key"
            )
        return signing.body(self.action, self.nonce, signature, None, None)


def now_ms() -> int:
    """The computer's clock."""
    return time.time_ns() // 1_000_000


def create(
    folder: Path, name: str, network: str, secret: bytes, password: str, n: int = keystore.SCRYPT_N
) -> Keystore:
    """Encrypt a key into a new keystore. Raises SignerConfigError for a name, a key or an address that can't be used."""
    if network not in NETWORKS:
        raise SignerConfigError(f"network {network!r} is none of {', '.join(sorted(NETWORKS))}")
    if not 1 <= len(name) <= 16 or not name.isascii() or not name.replace("-", "").isalnum():
        raise SignerConfigError(f"name {name!r} must be 1 to 16 letters, digits and -")
    if len(password) < 8:
        raise SignerConfigError("the password has fewer than 8 characters; choose a longer one")
    try:
        address = signing.SigningKey(secret, "testnet").address
    except ValueError as error:
        raise SignerConfigError(str(error)) from None
    return _stored(folder, name, network, address, secret, password, n)


def create_cex(
    folder: Path, network: str, key: cex_signing.CexKey, password: str, n: int = keystore.SCRYPT_N
) -> Keystore:
    """Encrypt a central exchange's key into a new keystore. Raises SignerConfigError."""
    if network not in NETWORKS - {"mainnet"}:
        raise SignerConfigError(f"network {network!r} is neither testnet nor devnet")
    if len(password) < 8:
        raise SignerConfigError("the password has fewer than 8 characters; choose a longer one")
    return _stored(folder, key.venue, network, key.address, key.packed(), password, n)


def _stored(
    folder: Path, name: str, network: str, address: str, secret: bytes, password: str, n: int
) -> Keystore:
    for known in keystore.listed(folder):
        if known.address == address:
            raise SignerConfigError(
                f"{address} is in {known.path} already, and an agent's address is used once"
            )
    path = folder / f"{network}-{name}-{address[2:10]}.json"
    crypto = keystore.encrypt(secret, password, n)
    made = Keystore(path, address, name, network, None, None, approved=False, revoked=False, crypto=crypto)
    keystore.write(made)
    return made


def secret_from(text: str) -> bytes:
    """A private key typed in as 64 hex digits, with or without 0x. The complaint does not repeat it."""
    digits = text.strip().removeprefix("0x")
    try:
        secret = bytes.fromhex(digits)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise SignerConfigError("what was entered is not a private key of 64 hex digits")
    return secret


def approval(
    agent: str, name: str, network: str, days: int, chain_id: str = signing.WALLET_CHAIN
) -> Approval:
    """The approval of an agent under a name until so many days from now. Raises SignerConfigError."""
    if not 1 <= days <= MAX_DAYS:
        raise SignerConfigError(f"an approval lasts 1 to {MAX_DAYS} days, not {days}")
    nonce = now_ms()
    until_ms = nonce + days * DAY_MS
    chain: signing.Network = "mainnet" if network == "mainnet" else "testnet"
    action = signing.approve_agent_action(agent, f"{name} valid_until {until_ms}", nonce, chain)
    return Approval({**action, "signatureChainId": chain_id}, nonce, until_ms)


def approve_with(wanted: Approval, master: bytes, network: str) -> tuple[str, str]:
    """Sign with the master key, which is not kept: (the account, the HTTP body)."""
    try:
        key = signing.SigningKey(master, "mainnet" if network == "mainnet" else "testnet")
    except ValueError as error:
        raise SignerConfigError(str(error)) from None
    if key.address == wanted.action["agentAddress"]:
        raise SignerConfigError("this is the agent's own key; enter the key of the account that approves it")
    return key.address, wanted.signed_by(key.sign_user(wanted.action), key.address)


def signature_from(text: str) -> signing.Signature:
    """A wallet's signature, 0x and 130 hex digits. Raises SignerConfigError."""
    try:
        found = bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 65:
        raise SignerConfigError("a signature is 0x and 130 hex digits; copy it whole from the wallet")
    v = found[64] + 27 if found[64] < 27 else found[64]
    return signing.Signature(
        hex(int.from_bytes(found[:32], "big")), hex(int.from_bytes(found[32:64], "big")), v
    )


def mark_approved(stored: Keystore, account: str, valid_until_ms: int) -> Keystore:
    """Note whose agent it is and until when."""
    changed = replace(stored, account=account, valid_until_ms=valid_until_ms, approved=True)
    keystore.write(changed)
    return changed


def mark_revoked(stored: Keystore) -> Keystore:
    """Note that it must not be used again; the file stays, so that its address does too."""
    changed = replace(stored, revoked=True)
    keystore.write(changed)
    return changed


def nobody() -> str:
    """An address whose key nobody has: approving it under an agent's name ends that agent at the venue."""
    return "0x" + secrets.token_bytes(20).hex()
