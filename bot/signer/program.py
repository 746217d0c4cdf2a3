"""From files to a running signer: check, open, harden, and only then unlock the key."""

import contextlib
import getpass
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.signer import audit, cex_policy, cex_signing, hardening, keystore, policy, seal, server, signing
from bot.signer.cex_engine import CexEngine
from bot.signer.engine import UNLOCK, Engine
from bot.signer.expiry import expiry_warning
from bot.signer.nonces import Nonces
from bot.signer.policy import SignerConfigError

CREDENTIAL: Final = "hedgerow-keystore-password"
"""Name of the systemd credential that holds a keystore's password."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a signer is started with."""

    policy: Path
    keystore: Path
    state: Path | None = None
    socket: Path | None = None
    peer_uids: tuple[int, ...] = ()
    require_hardening: bool = False
    parent: int | None = None  # end with whoever holds the other end of this pipe


def default_state(agent: str, network: str) -> Path:
    """Where a key's nonces and audit log are kept: they belong to the key, not to a working directory."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    return Path(base) / "hedgerow" / "signer" / f"{network}-{agent}"


def default_socket(network: str) -> Path:
    """Where clients find the signer of a network."""
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/hedgerow-{os.geteuid()}"  # noqa: S108 - its folder is 0700 and checked
    return Path(base) / "hedgerow" / network / "sign.sock"


def password(environment: str | None = None, descriptor: int | None = None) -> str:
    """The keystore's password: from a file descriptor or an environment variable where one is named, from systemd, or
    typed without echo. Raises SignerConfigError where there is none.
    """
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, "rb") as file:
                return _text(file.read(4096), f"file descriptor {descriptor}")
        except OSError as error:
            raise SignerConfigError(
                f"file descriptor {descriptor} cannot be read: {error.strerror}"
            ) from None
    if environment is not None:
        # Taken out, so that no child inherits it; the kernel's copy can't be read once the process is not dumpable.
        found = os.environ.pop(environment, None)
        if not found:
            raise SignerConfigError(f"the environment variable {environment} is empty")
        return found
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / CREDENTIAL).is_file():
        return _text((Path(folder) / CREDENTIAL).read_bytes(), "the systemd credential")
    if not sys.stdin.isatty():
        raise SignerConfigError(
            f"there is no terminal to ask for the password at; use --password-fd or the systemd credential {CREDENTIAL}"
        )
    return getpass.getpass("Password of the keystore: ")


def remembered_password(path: Path) -> str:
    """The password of a keystore from the desktop's keyring. Raises SignerConfigError."""
    from bot.signer import remembered

    return remembered.recall_elsewhere(keystore.read(path).address)


def _text(found: bytes, where: str) -> str:
    try:
        text = found.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise SignerConfigError(f"{where} holds no password")
    return text


def run(setup: Setup, ask: Callable[[], str], say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises SignerConfigError before the first request where anything is not right."""
    cex = cex_policy.read(setup.policy)
    rules = cex.judged if cex else policy.read(setup.policy)
    where = cex.name if cex else rules.network
    stored = keystore.read(setup.keystore)
    _belong_together(rules, stored)
    state = setup.state or default_state(rules.agent, where)
    path = setup.socket or default_socket(where)
    uids = frozenset(setup.peer_uids) or frozenset({os.geteuid()})
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, server.hold(state))
        nonces = stack.enter_context(contextlib.closing(Nonces(state / "nonce")))
        log = stack.enter_context(contextlib.closing(audit.AuditLog(state / "audit.jsonl")))
        listening = stack.enter_context(contextlib.closing(server.listen(path)))
        stack.callback(path.unlink, missing_ok=True)
        if len(uids) > 1 or uids != {os.geteuid()}:
            path.chmod(0o666)  # its folder and SO_PEERCRED decide
        _harden(uids, setup.require_hardening, say)
        signing.self_test()
        secret = keystore.decrypt(stored.crypto, ask())
        sealed = seal.check(setup.policy, rules, stored, secret)
        engine = (
            CexEngine(cex, cex_signing.unpacked(secret), nonces, log)
            if cex
            else Engine(rules, signing.SigningKey(secret, rules.chain), nonces, log)
        )
        del secret
        serving = server.Server(listening, engine, log, uids, say, setup.parent)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: serving.stop())
        say(
            f"ready: {where}, agent {rules.agent} for account {rules.account}, {len(rules.coins)} coins, "
            f"policy {rules.sha256[:12]} {'sealed' if sealed else 'NOT SEALED'}, socket {path}, audit log {log.path}"
        )
        if engine.locked is not None:
            say(f"LOCKED, so nothing is signed: {engine.locked}; {UNLOCK}")
        for warning in _warnings(stored, rules):
            say(warning)
        serving.serve()
        say("stopped")


def unlock(setup: Setup, ask: Callable[[], str]) -> str | None:
    """Take back a stopped signer's lock, by whoever knows the keystore's password; why it was locked, None if it was not.

    Raises SignerConfigError.
    """
    cex, stored = cex_policy.read(setup.policy), keystore.read(setup.keystore)
    rules = cex.judged if cex else policy.read(setup.policy)
    _belong_together(rules, stored)
    state = setup.state or default_state(rules.agent, cex.name if cex else rules.network)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, server.hold(state))
        keystore.decrypt(stored.crypto, ask())
        log = stack.enter_context(contextlib.closing(audit.AuditLog(state / "audit.jsonl")))
        reason = log.lock
        if reason is not None:
            try:
                log.append({"kind": "unlock", "at_ms": int(time.time() * 1000)})
                log.sync()
            except OSError as error:
                raise SignerConfigError(f"{log.path} cannot be written: {error.strerror}") from None
        return reason


def _belong_together(rules: policy.Policy, stored: keystore.Keystore) -> None:
    if stored.address != rules.agent:
        raise SignerConfigError(
            f"keystore {stored.path} holds {stored.address}, but the policy is for agent {rules.agent}"
        )
    if stored.network is not None and stored.network != rules.network:
        raise SignerConfigError(
            f"keystore {stored.path} is for {stored.network}, but the policy is for {rules.network}"
        )
    if stored.revoked:
        raise SignerConfigError(
            f"keystore {stored.path} was revoked; make a new one with `hedgerow wallet new`"
        )


def _harden(uids: frozenset[int], required: bool, say: Callable[[str], None]) -> None:
    missing = []
    for measure in hardening.harden(uids):
        say(f"hardening: {measure.name}: {'yes' if measure.took_effect else 'NO'} ({measure.detail})")
        if not measure.took_effect:
            missing.append(measure.name)
    if missing and required:
        raise SignerConfigError(f"--require-hardening, but this did not take effect: {', '.join(missing)}")


def _warnings(stored: keystore.Keystore, rules: policy.Policy) -> Iterator[str]:
    known = [ms for ms in (stored.valid_until_ms, rules.agent_valid_until_ms) if ms is not None]
    warning = expiry_warning(min(known), int(time.time() * 1000)) if known else None
    if warning:
        yield f"warning: {warning}"
