"""Keys at rest: Web3 Secret Storage V3 files (scrypt, AES-128-CTR), as other wallets read and write them.

A file is 0600 in a folder of 0700, or it is not used. The standard library and the cipher that signing needs anyway do
it all, so that the signer's process holds few libraries and few copies of the key.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.signer.policy import SignerConfigError
from bot.signer.signing import ORDER_OF_CURVE, keccak256

SCRYPT_N: Final = 1 << 18
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
_MAX_MEMORY: Final = 1 << 31


class WrongPassword(SignerConfigError):
    """The password does not open the keystore."""


@dataclass(frozen=True, slots=True)
class Keystore:
    """What a keystore file says without its password. Times in milliseconds, None where unknown."""

    path: Path
    address: str
    name: str
    network: str | None
    account: str | None
    valid_until_ms: int | None
    approved: bool
    revoked: bool
    crypto: dict[str, Any]
    sealed: bool = False  # its policy has a seal


def new_secret() -> bytes:
    """A fresh private key."""
    while True:
        secret = secrets.token_bytes(32)
        if 0 < int.from_bytes(secret, "big") < ORDER_OF_CURVE:
            return secret


def encrypt(secret: bytes, password: str, n: int = SCRYPT_N) -> dict[str, Any]:
    """The `crypto` part of a V3 file. `n` is scrypt's cost."""
    salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    derived = _scrypt(password, salt, n, SCRYPT_R, SCRYPT_P, 32)
    text = _aes_ctr(derived[:16], iv, secret)
    return {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": iv.hex()},
        "ciphertext": text.hex(),
        "kdf": "scrypt",
        "kdfparams": {"dklen": 32, "n": n, "r": SCRYPT_R, "p": SCRYPT_P, "salt": salt.hex()},
        "mac": keccak256(derived[16:32] + text).hex(),
    }


def decrypt(crypto: dict[str, Any], password: str) -> bytes:
    """The private key's 32 bytes. Raises WrongPassword, or SignerConfigError for a file of another kind."""
    try:
        if crypto["cipher"] != "aes-128-ctr":
            raise SignerConfigError(
                f"the keystore's cipher {str(crypto['cipher'])[:40]!r} is not aes-128-ctr"
            )
        parameters, text = crypto["kdfparams"], bytes.fromhex(crypto["ciphertext"])
        derived = _derive(crypto["kdf"], parameters, password)
        mac, iv = bytes.fromhex(crypto["mac"]), bytes.fromhex(crypto["cipherparams"]["iv"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SignerConfigError("the keystore is not a V3 file; import the key again") from None
    if not hmac.compare_digest(keccak256(derived[16:32] + text), mac):
        raise WrongPassword("the password does not open this keystore")
    return _aes_ctr(derived[:16], iv, text)


def _derive(kdf: str, parameters: dict[str, Any], password: str) -> bytes:
    salt = bytes.fromhex(parameters["salt"])
    if parameters["dklen"] != 32:
        raise ValueError
    if kdf == "scrypt":
        n, r, p = int(parameters["n"]), int(parameters["r"]), int(parameters["p"])
        if 128 * n * r * p > _MAX_MEMORY:
            raise SignerConfigError("the keystore asks for more memory than 2 GiB; it is not one of ours")
        return _scrypt(password, salt, n, r, p, 32)
    if kdf == "pbkdf2" and parameters["prf"] == "hmac-sha256":
        rounds = int(parameters["c"])
        if not 1 <= rounds <= 10**8:
            raise ValueError
        return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds, 32)
    raise SignerConfigError("the keystore's key derivation is neither scrypt nor pbkdf2 with hmac-sha256")


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    needed = 128 * r * (n + p + 2) + (1 << 20)
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=needed, dklen=length)


def _aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    from Crypto.Cipher import AES

    cipher = AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=int.from_bytes(iv, "big"))
    return bytes(cipher.encrypt(data))


def read(path: Path) -> Keystore:
    """A keystore file, after a look at who else could read it. Raises SignerConfigError."""
    try:
        _private(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        ours = found.get("hedgerow", {})
        crypto = found.get("crypto", found.get("Crypto"))
        digits = str(found["address"]).lower().removeprefix("0x")
        if found["version"] != 3 or len(bytes.fromhex(digits)) != 20 or not isinstance(crypto, dict):
            raise ValueError
        return Keystore(
            path=path,
            address="0x" + digits,
            name=str(ours.get("name", path.stem)),
            network=ours.get("network"),
            account=ours.get("account"),
            valid_until_ms=ours.get("valid_until_ms"),
            approved=bool(ours.get("approved", False)),
            revoked=bool(ours.get("revoked", False)),
            crypto=crypto,
            sealed=bool(ours.get("sealed", False)),
        )
    except OSError as error:
        raise SignerConfigError(f"keystore {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SignerConfigError(f"keystore {path} is not a V3 file") from None


def _private(path: Path) -> None:
    for what, allowed in ((path, 0o600), (path.parent, 0o700)):
        found = what.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & ~allowed:
            raise SignerConfigError(
                f"{what} is open to others ({stat.S_IMODE(found.st_mode):04o}); chown it to you and chmod it {allowed:o}"
            )


def write(keystore: Keystore) -> None:
    """Write a keystore's file as a whole, 0600 in 0700. Raises SignerConfigError."""
    path = keystore.path
    content = {
        "version": 3,
        "id": str(uuid.uuid4()),
        "address": keystore.address[2:],
        "crypto": keystore.crypto,
        "hedgerow": {
            "name": keystore.name,
            "network": keystore.network,
            "account": keystore.account,
            "valid_until_ms": keystore.valid_until_ms,
            "approved": keystore.approved,
            "revoked": keystore.revoked,
            "sealed": keystore.sealed,
        },
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _private(path)
    except OSError as error:
        raise SignerConfigError(f"keystore {path} cannot be written: {error.strerror}") from None


def listed(folder: Path) -> list[Keystore]:
    """Every keystore of a folder, by name; files that are none are left out."""
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        with contextlib.suppress(SignerConfigError):
            found.append(read(path))
    return found
