"""A keystore's password in the desktop's keyring (GNOME, KDE, macOS, Windows), by the library `keyring` where it is there.

The signer itself never loads that library and its backends: a short-lived program of its own reads the password and
hands it over through a pipe, before the signer gives up its right to start programs and open sockets.
"""

import subprocess
import sys
from typing import Any, Final

from bot.signer.policy import SignerConfigError
from bot.signer.requests import ADDRESS

SERVICE: Final = "hedgerow keystore"
LONGEST_WAIT_S: Final = 120.0
"""A locked keyring asks its owner first."""

INSTEAD: Final = "type the password, or use the systemd credential"


def remember(address: str, password: str) -> str:
    """Store an agent's password; the keyring's name. Raises SignerConfigError where there is no keyring to trust."""
    ring = _keyring()
    with _Told():
        ring.set_password(SERVICE, address, password)
    return str(ring.get_keyring().name)


def forget(address: str) -> None:
    """Remove an agent's password. Raises SignerConfigError where there is none."""
    ring = _keyring()
    with _Told():
        if ring.get_password(SERVICE, address) is None:
            raise SignerConfigError(f"the keyring holds no password of {address}")
        ring.delete_password(SERVICE, address)


def recall(address: str) -> str:
    """An agent's password. Raises SignerConfigError."""
    ring = _keyring()
    with _Told():
        found = ring.get_password(SERVICE, address)
    if found is None:
        raise SignerConfigError(
            f"the keyring holds no password of {address}; store it with `hedgerow wallet remember`"
        )
    return str(found)


def recall_elsewhere(address: str) -> str:
    """The same, read by a program of its own. Raises SignerConfigError."""
    if ADDRESS.fullmatch(address) is None:
        raise SignerConfigError(f"{address[:60]!r} is no address")
    command = [sys.executable, "-m", "bot.signer.remembered", address]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST_WAIT_S, check=False)  # noqa: S603 - our own module and an address
    except (OSError, subprocess.TimeoutExpired):
        raise SignerConfigError(f"the keyring did not answer; {INSTEAD}") from None
    if done.returncode != 0:
        raise SignerConfigError(done.stderr.decode("utf-8", "replace").strip()[-300:] or "the keyring failed")
    return done.stdout.decode("utf-8")


def _keyring() -> Any:
    try:
        import keyring
        from keyring.backends import fail
    except ImportError:
        raise SignerConfigError(
            f"the library keyring is not installed; install hedgerow[keyring], or {INSTEAD}"
        ) from None
    with _Told():
        backend = keyring.get_keyring()
    kind = f"{type(backend).__module__}.{type(backend).__qualname__}"
    if isinstance(backend, fail.Keyring) or kind == "keyring.backends.null.Keyring":
        raise SignerConfigError(f"this computer has no desktop keyring that is running; {INSTEAD}")
    if "plaintext" in kind.lower():
        raise SignerConfigError(f"the keyring {kind} would write the password down as it is; {INSTEAD}")
    return keyring


class _Told:
    """A backend's complaint as one of ours, without what it held."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        if kind is not None and not issubclass(kind, SignerConfigError) and issubclass(kind, Exception):
            raise SignerConfigError(
                f"the keyring refused ({kind.__name__}); unlock it, or {INSTEAD}"
            ) from None


def _main(arguments: list[str]) -> int:
    try:
        sys.stdout.buffer.write(recall(arguments[0]).encode())
    except SignerConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
