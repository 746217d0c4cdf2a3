"""What a guard has to know after a restart: which silence it has met, what it has sent, and each step that it took."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from bot.errors import StateError
from bot.journal.pulse import Beat

log = structlog.get_logger("hedgerow")

VERSION: Final = 1
STEPS_KEPT: Final = 500


class Notes:
    """A file that is written anew, whole or not at all, at each change."""

    def __init__(self, path: Path, whose: str) -> None:
        """Take up what an earlier guard of the same account, told by `whose`, has left at `path`. StateError where that can't be."""
        self.path, self._whose = path, whose
        self.beat: Beat | None = None  # the last sign of life before the silence, or heard at all
        self.is_alarmed = False
        self.sent = 0
        self.hold_until_ms = (
            0  # of the venue's time: before, something that was sent may still be carried out
        )
        self.steps: list[dict[str, Any]] = []
        try:
            told = json.loads(path.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            raise StateError(f"the guard's notes {path} can't be read; move them away") from None
        self._take(told)

    def _take(self, told: Any) -> None:
        try:
            if (told["version"], told["whose"]) != (VERSION, self._whose):
                raise StateError(
                    f"the guard's notes {self.path} are of {told['whose']}, version {told['version']}, and this is "
                    f"{self._whose}, version {VERSION}; move them away"
                )
            self.beat = None if told["beat"] is None else Beat(**told["beat"])
            self.is_alarmed, self.sent = bool(told["is_alarmed"]), int(told["sent"])
            self.hold_until_ms, self.steps = int(told["hold_until_ms"]), list(told["steps"])
        except (KeyError, TypeError, ValueError):
            raise StateError(f"the guard's notes {self.path} can't be read; move them away") from None

    def step(self, at_ms: int, what: str, **more: Any) -> None:
        """Keep a step in mind; `save` writes it down."""
        self.steps = [*self.steps[1 - STEPS_KEPT :], {"at_ms": at_ms, "what": what, **more}]

    def save(self) -> None:
        """Write all of it down, and be sure that it lies on the disk; where it can't be, that is said.

        A full disk may be what the daemon died of: it must not keep its positions from their stops.
        """
        told = {
            "version": VERSION,
            "whose": self._whose,
            "beat": None if self.beat is None else asdict(self.beat),
            "is_alarmed": self.is_alarmed,
            "sent": self.sent,
            "hold_until_ms": self.hold_until_ms,
            "steps": self.steps,
        }
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(told, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            log.warning("the guard's notes can't be written", path=str(self.path), reason=error.strerror)


def path_of(journal: Path) -> Path:
    """Where the notes of the guard of a journal's daemon are."""
    real = journal.resolve()
    return real.with_name(f"{real.name}.guard")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only guard with these notes. StateError where there is another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"another guard works with {path}; stop it first") from None
        yield
    finally:
        os.close(descriptor)
