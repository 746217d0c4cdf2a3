"""One life of the daemon: every effect that it has on the world passes here, and here it can be struck dead."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.journal.journal import Journal


class Crash(BaseException):
    """The daemon is dead. Nothing may catch it, and what cleans up after it has no effect any more."""


class Trace:
    """All that happened, as one hash, with the last of it in words."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._hash = hashlib.sha256()
        self.steps = 0
        self.last: deque[str] = deque(maxlen=40)

    def say(self, what: str, content: bytes = b"") -> None:
        """One step."""
        self.steps += 1
        line = f"{self.steps} {self._now_s():.6f} {what}"
        self._hash.update(line.encode() + hashlib.sha256(content).digest())
        self.last.append(line)

    def digest(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


class Life:
    """From a start to a crash or to the end. Effects are counted over all lives of a run."""

    def __init__(self, number: int, reached: Callable[[str], bool]) -> None:
        self.number = number
        self.is_dead = False
        self.ended = asyncio.get_running_loop().create_future()
        self._reached = reached

    def effect(self, what: str) -> None:
        """Somewhere that a process may die: before or after it has done something that lasts."""
        self.alive()
        if self._reached(what):
            self.is_dead = True
            if not self.ended.done():
                self.ended.set_result(what)
            raise Crash(what)

    def alive(self) -> None:
        """The dead do nothing."""
        if self.is_dead:
            raise Crash("dead already")


class HookedConnection:
    """The journal's connection, with a place to die before and after each commit."""

    def __init__(
        self, raw: sqlite3.Connection, life: Life, committed: Callable[[], None], torn: Callable[[], None]
    ) -> None:
        self.raw, self._life, self._committed, self._torn = raw, life, committed, torn

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "ROLLBACK":
            return self.raw.execute(statement)
        if statement != "COMMIT":
            self._life.alive()
            return self.raw.execute(statement, *values)
        try:
            self._life.effect("before commit")
        except Crash:
            self._torn()
            raise
        done = self.raw.execute(statement)
        self._committed()
        self._life.effect("after commit")
        return done

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        self._life.alive()
        return self.raw.executemany(statement, rows)

    @property
    def in_transaction(self) -> bool:
        return self.raw.in_transaction

    def close(self) -> None:
        self.raw.close()


def open_journal(
    path: Path,
    life: Life,
    committed: Callable[[sqlite3.Connection], None],
    torn: Callable[[sqlite3.Connection], None],
) -> tuple[Journal, sqlite3.Connection]:
    """The real journal with the hooks of a life in it, and the connection that is under them."""
    life.effect("before opening")
    journal = Journal.open(path)
    raw = journal._writer.connection
    hooked = HookedConnection(raw, life, lambda: committed(raw), lambda: torn(raw))
    journal._writer.connection = hooked  # type: ignore[assignment]
    return journal, raw


def kill_image(path: Path, folder: Path) -> Path:
    """A journal as a killed process leaves it: the file and its log as they are, nothing closed or tidied up."""
    folder.mkdir()
    for each in (path, path.with_name(f"{path.name}-wal")):
        if each.exists():
            shutil.copyfile(each, folder / each.name)
    return folder / path.name
