"""The real signer in this process: its engine with its real nonce file and audit log, which dies on its own account."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
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

    def _start(self) -> Engine:
        rules = policy.parse(self._text.encode())
        nonces, audit = _Nonces(self.folder / "nonce"), _AuditLog(self.folder / "audit.jsonl")
        nonces.step = audit.step = self._step
        clock = VenueClock(rules, lambda: self._wall_ms() + self._step_ms, lambda: int(self._loop_s() * 1000))
        self._files = nonces, audit
        return Engine(rules, SigningKey(self._secret, "testnet"), nonces, audit, clock)

    def _step(self) -> None:
        if self._steps_left:
            self._steps_left -= 1
            if not self._steps_left:
                raise SignerDied

    def handle(self, packet: bytes, do: str, connection: int) -> bytes:
        """An answer, or SignerGone."""
        fault = self._dice.draw(self._dice.plan.signer) if do in SIGNING else ""
        if self._loop_s() < self._down_until_s and not self._dice.quiet:
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
        self._down_until_s = self._loop_s() + self._dice.random.choice((0.0, 0.0, 0.0, 3.0, 40.0))
        self._step_ms = self._dice.random.choice((-1_900, -1_900, 0, 1_500))

    def drop(self) -> None:
        """Lose all that it has in memory, its files left as they are."""
        if self._files is not None:
            nonces, audit = self._files
            nonces.close()
            os.close(audit._file)
        self.engine = self._files = None


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
