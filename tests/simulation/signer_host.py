"""The real signer in this process: its engine with its real nonce file and audit log, which dies on its own account."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bot.signer import policy
from bot.signer.audit import AuditLog
from bot.signer.client import SignerClient, SignerGone
from bot.signer.engine import Engine, Peer, VenueClock
from bot.signer.nonces import Nonces
from bot.signer.signing import SigningKey
from tests.simulation.faults import Dice
from tests.simulation.life import Life, Trace

SIGNING: Final = ("order", "cancel", "leverage", "fence")
AUDIT_SYNC_S: Final = 0.05


class SignerDied(BaseException):
    """Between two steps of a signature."""


class _Nonces(Nonces):
    step: Callable[[], None]

    def next(self, now_ms: int) -> int:
        self.step()
        nonce = super().next(now_ms)
        self.step()
        return nonce


class _AuditLog(AuditLog):
    step: Callable[[], None]

    def append(self, record: dict[str, Any]) -> None:
        self.step()
        super().append(record)
        self.step()


class SignerHost:
    """Starts the signer, and starts it again some time after it has died."""

    def __init__(
        self,
        folder: Path,
        text: str,
        secret: bytes,
        clock: tuple[Callable[[], int], Callable[[], float]],
        dice: Dice,
        trace: Trace,
    ) -> None:
        self.folder, self._text, self._secret = folder, text, secret
        self._wall_ms, self._loop_s = clock
        self._dice, self._trace = dice, trace
        self._steps_left = 0  # until it dies; 0 is never
        self._down_until_s = 0.0
        self._step_ms = 0  # how far its computer's clock is off
        self.engine: Engine | None = None
        self._files: tuple[Nonces, AuditLog] | None = None
        self.signed: Callable[[], None] = lambda: None
        self.looked: Callable[[bool], None] = lambda well: None
        self._appended_s = 0.0
        self._synced: dict[int, bytes] = {}  # file → what of it would outlive a power cut

    def _start(self) -> Engine:
        rules = policy.parse(self._text.encode())
        nonces, audit = _Nonces(self.folder / "nonce"), _AuditLog(self.folder / "audit.jsonl")
        nonces.step = audit.step = self._step
        clock = VenueClock(rules, lambda: self._wall_ms() + self._step_ms, lambda: int(self._loop_s() * 1000))
        self._files = nonces, audit
        # What it found at its start had been synced by then, or is lost with the rest.
        self._synced = {nonces._file: os.pread(nonces._file, 64, 0), audit._file: b"%d" % audit._size}
        return Engine(rules, SigningKey(self._secret, "testnet"), nonces, audit, clock)

    def _step(self) -> None:
        if self._steps_left:
            self._steps_left -= 1
            if not self._steps_left:
                raise SignerDied

    def handle(self, packet: bytes, do: str, connection: int) -> bytes:
        """An answer, or SignerGone."""
        fault = self._dice.draw(self._dice.plan.signer, "signer") if do in SIGNING else ""
        is_down = self._loop_s() < self._down_until_s and not self._dice.quiet
        if do == "status":
            self.looked(not is_down)
        if is_down:
            raise SignerGone("the signer is down")
        if fault == "gone":
            raise SignerGone("the signer was too slow")
        if fault == "denies":
            denial = {"rule": "simulated", "limit": None, "value": None, "index": None}
            return json.dumps({"id": json.loads(packet)["id"], "deny": denial}).encode()
        if self.engine is None:
            self.engine = self._start()
        self._steps_left = self._dice.random.choice((1, 2, 3, 4, 4, 4)) if fault == "dies" else 0
        try:
            with self._syncs():
                answer = self.engine.handle(packet, Peer(1, 1, connection))
        except SignerDied:
            self._die()
            raise SignerGone("the signer has died") from None
        finally:
            self._steps_left = 0
        if do in SIGNING:
            self._trace.say(f"signer {do} {fault}", answer)
            self.signed()
        if fault == "gone_after":
            raise SignerGone("the answer was lost")
        return answer

    def hang_up(self, connection: int) -> None:
        """A daemon has gone."""
        if self.engine is not None:
            self.engine.hang_up(connection)

    def _die(self) -> None:
        self._trace.say("signer dies")
        self.drop()
        longest_s = self._dice.plan.signer_gone_s
        down_s = self._dice.random.choice((0.0, 0.0, 0.0, 3.0, longest_s))
        self._dice.disturbed(down_s)
        self._down_until_s = self._loop_s() + down_s
        self._step_ms = self._dice.random.choice((-1_900, -1_900, 0, 1_500))

    # Power

    @contextmanager
    def _syncs(self) -> Iterator[None]:
        """Keep in mind what is synced; the log's own thread does so every 50 ms, and whoever asks later finds it done."""
        if not self._dice.plan.power:
            yield
            return
        self._sync_log()
        real = os.fdatasync

        def fdatasync(file: int) -> None:
            real(file)
            self._synced[file] = os.pread(file, 64, 0)

        os.fdatasync = fdatasync  # type: ignore[assignment]
        try:
            yield
        finally:
            os.fdatasync = real
        self._appended_s = self._loop_s()

    def _sync_log(self) -> None:
        if self._files is not None and self._loop_s() > self._appended_s + AUDIT_SYNC_S:
            log = self._files[1]
            log.sync()
            self._synced[log._file] = b"%d" % log._size

    def power_cut(self) -> None:
        """The computer stops: of what was not synced some is lost, and all that was in memory."""
        if self._files is None:
            return
        self._sync_log()
        nonces, log = self._files
        path = log.path
        kept = int(self._synced.get(log._file, b"0"))
        os.ftruncate(log._file, self._dice.random.randint(kept, max(kept, log._size)))
        if (mark := self._synced.get(nonces._file)) is not None:
            os.ftruncate(nonces._file, 0)
            os.pwrite(nonces._file, mark, 0)
        self.drop()
        self._trace.say(f"power cut at {path.stat().st_size} of {log._size} bytes of the audit log")

    def drop(self) -> None:
        """Lose all that it has in memory, its files left as they are."""
        if self._files is not None:
            nonces, audit = self._files
            nonces.close()
            os.close(audit._file)
        self.engine = self._files = None
        self._synced.clear()


class SignerLink(SignerClient):
    """The daemon's own client; its packets reach the engine without a socket."""

    def __init__(self, host: SignerHost, life: Life) -> None:
        super().__init__("in this process")
        self._host, self._life = host, life

    def _exchange(self, packet: bytes, number: int) -> dict[str, Any]:
        do = str(json.loads(packet)["do"])
        self._life.effect(f"before sign {do}") if do in SIGNING else self._life.alive()
        answer: dict[str, Any] = json.loads(self._host.handle(packet, do, self._life.number))
        if do in SIGNING:
            self._life.effect(f"after sign {do}")
        return answer
