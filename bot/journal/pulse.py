"""The daemon's sign of life: a small file beside the journal, written anew every few seconds while it makes progress.

The journal itself can't say it: between two decisions of a live run lies an hour in which nothing is written.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bot.clock import Clock, WallClock

LENGTH: Final = 160
"""Always the same, so that it is written over in place: that takes no room on a disk that is full."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One sign. Two are the same one only where all of it is; `ended`: the daemon has ended in order."""

    pid: int
    number: int
    wall_ms: int
    ended: bool = False


class Pulse:
    """Written by one daemon, which holds the journal."""

    def __init__(self, journal: Path, clock: Clock | None = None) -> None:
        self.path = path_of(journal)
        self._clock = clock or WallClock()
        self._number = 0

    def beat(self, *, ended: bool = False) -> None:
        """Give a sign. OSError where it can't be written."""
        self._number += 1
        told = json.dumps(asdict(Beat(os.getpid(), self._number, self._clock.now_ms(), ended)))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, told.ljust(LENGTH - 1).encode() + b"\n", 0)
        finally:
            os.close(descriptor)


def path_of(journal: Path) -> Path:
    """Where a journal's sign of life is."""
    real = journal.resolve()
    return real.with_name(f"{real.name}.alive")


def heard(path: Path) -> Beat | None:
    """The last sign; None where there is none, or none that can be read."""
    try:
        told = json.loads(path.read_bytes())
        beat = Beat(**told)
    except (OSError, ValueError, TypeError):
        return None
    known = (beat.pid, beat.number, beat.wall_ms, beat.ended)
    return beat if tuple(map(type, known)) == (int, int, int, bool) else None
