"""The journal as a file: whose it is, whether it is one at all, and what is wrong when SQLite says no."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bot.errors import StateError

APPLICATION_ID: Final = 1212434263  # "HDGW"
SCHEMA_VERSION: Final = 4
OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
_LOCK_PATIENCE_S: Final = 0.5

_SENTENCES: Final = {
    "SQLITE_FULL": "the disk is full; make room and start again",
    "SQLITE_READONLY": "it can't be written to; give yourself write permission or choose another journal.path",
    "SQLITE_PERM": "it can't be opened; give yourself permission or choose another journal.path",
    "SQLITE_CANTOPEN": "it can't be opened; check that the folder is there and that you may read and write it",
    "SQLITE_NOTADB": "it is not a journal; choose another journal.path or move the file away",
    "SQLITE_CORRUPT": "it is damaged; move it away and restore a copy, or start a new journal",
    "SQLITE_BUSY": "another program is using it; close that program and try again",
    "SQLITE_LOCKED": "another program is using it; close that program and try again",
    "SQLITE_IOERR": "reading or writing it failed; check the disk",
}


def problem(path: Path, error: sqlite3.Error) -> StateError:
    """The sentence for what SQLite says: what is wrong with the journal and what to do."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if str(error).startswith("Could not decode"):  # Python's own, which quotes the whole of the text
        name = "SQLITE_CORRUPT"
    family = "_".join(name.split("_")[:2])
    return StateError(
        f"journal {path}: {_SENTENCES.get(family, f'{error} ({name or type(error).__name__})')}"
    )


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StateError."""
    try:
        yield
    except sqlite3.Error as error:
        raise problem(path, error) from error
    except UnicodeDecodeError as error:
        # A name or SQLite's own message that quotes one, no longer text.
        raise StateError(f"journal {path}: {_SENTENCES['SQLITE_CORRUPT']}") from error


def is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether there is nothing in the file yet; StateError if it holds anything but a journal of this version."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id == 0 and version == 0 and tables == 0:
        return True
    if application_id != APPLICATION_ID:
        raise StateError(
            f"journal {path}: it is some other program's database; choose another journal.path or move it away"
        )
    if version != SCHEMA_VERSION:
        raise StateError(
            f"journal {path}: it is of version {version}, this program reads {SCHEMA_VERSION}; "
            f"use the program that wrote it or choose another journal.path"
        )
    return False


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """StateError if pages, indexes or the types in them contradict each other, as after a bit has flipped on the disk."""
    (found,) = connection.execute("PRAGMA integrity_check (1)").fetchone()
    if found == "ok":
        (found,) = connection.execute("SELECT count(*) FROM pragma_foreign_key_check").fetchone()
        if not found:
            return
        found = f"{found} rows refer to rows that are missing"
    said = " ".join(str(found).split())
    raise StateError(f"journal {path}: {_SENTENCES['SQLITE_CORRUPT']} ({said})")


class Ownership:
    """The right to write a journal, held by one process at a time and let go of when it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = _lock_path(path)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        # Readers hold the lock for an instant to see whether somebody else does, hence the patience.
        while not _try_lock(self._descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                pid = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
                os.close(self._descriptor)
                raise StateError(
                    f"another daemon (pid {pid or 'unknown'}) is writing journal {path}; "
                    f"stop it or give this one another journal.path"
                )
            time.sleep(0.01)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file that is locked, whatever its name leads to by now."""
        held = os.fstat(self._descriptor)
        return held.st_dev, held.st_ino

    def release(self) -> None:
        """Let another process have it. The lock's file stays, since deleting it would let two processes in."""
        os.close(self._descriptor)


def owner(path: Path) -> int | None:
    """Process id of the daemon that is writing the journal now; None if there is none."""
    try:
        descriptor = os.open(_lock_path(path), os.O_RDONLY)
    except OSError:
        return None
    try:
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return None
        told = os.pread(descriptor, 20, 0).strip()
        return int(told) if told.isdigit() else 0
    finally:
        os.close(descriptor)


def _lock_path(path: Path) -> Path:
    real = path.resolve()  # two names of one file share one lock
    return real.with_name(f"{real.name}.lock")


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
