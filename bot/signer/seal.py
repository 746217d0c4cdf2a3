"""A policy's seal: that it is the one which whoever knows the keystore's password has agreed to.

The seal is a MAC over the policy's hash, under a key that is derived from the agent's private key and so needs the
password. It lies beside the policy; the keystore notes that there is one, so that it can't just be deleted.
"""

import contextlib
import hashlib
import hmac
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from bot.signer import keystore
from bot.signer.keystore import Keystore
from bot.signer.policy import Policy, SignerConfigError

_PURPOSE: Final = b"hedgerow policy seal 1"


def path_of(policy: Path) -> Path:
    """Where a policy's seal lies."""
    return policy.with_name(f"{policy.name}.seal")


def _seal(rules: Policy, secret: bytes) -> str:
    key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
    return hmac.new(key, rules.sha256.encode("ascii"), hashlib.sha256).hexdigest()


def make(policy: Path, rules: Policy, stored: Keystore, secret: bytes) -> None:
    """Seal a policy that was read. Raises SignerConfigError where it is another agent's or nothing can be written."""
    if stored.address != rules.agent:
        raise SignerConfigError(
            f"keystore {stored.path} holds {stored.address}, but the policy is for agent {rules.agent}"
        )
    target = path_of(policy)
    fresh = target.with_name(f".{target.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(_seal(rules, secret) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as error:
        raise SignerConfigError(f"{target} cannot be written: {error.strerror}") from None
    keystore.write(replace(stored, sealed=True))


def check(policy: Path, rules: Policy, stored: Keystore, secret: bytes) -> bool:
    """Whether the policy is sealed. Raises SignerConfigError where its seal is another's, or gone."""
    again = f"look at what changed, then seal it with `hedgerow signer policy seal {policy} --keystore {stored.path}`"
    try:
        found = path_of(policy).read_bytes()
    except FileNotFoundError:
        if stored.sealed:
            raise SignerConfigError(f"policy {policy} was sealed and its seal is gone; {again}") from None
        return False
    except OSError as error:
        raise SignerConfigError(f"{path_of(policy)} cannot be read: {error.strerror}") from None
    if not hmac.compare_digest(found.strip(), _seal(rules, secret).encode("ascii")):
        raise SignerConfigError(f"policy {policy} is not the one that was sealed; {again}")
    return True
