"""The one connection that writes a journal: transactions that are on disk when they end, and a halt where they can't be."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

from bot.clock import WallClock
from bot.errors import StateError
from bot.journal.file import (
    APPLICATION_ID,
    OLDEST_SQLITE,
    SCHEMA_VERSION,
    Ownership,
    check_whole,
    is_new,
    telling,
)

# Writing over what is there is faster than growing the file, whose new length has to reach the disk as well.
_WAL_BYTES: Final = 1 << 20
_BUSY_MS: Final = 5_000


class Writer:
    """Writes for one process, until closed. Other threads wait for each other's transactions.

    `epoch` numbers those who have opened the journal to write; one who finds a higher number has been replaced.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, ownership: Ownership, epoch: int) -> None:
        self.path = path
        self.epoch = epoch
        self.connection = connection
        self._ownership = ownership
        self._guard = threading.Lock()
        self._is_closed = False
        self._has_failed = False
        real = path.resolve()
        self._wal = real.with_name(f"{real.name}-wal")
        watched = (real, self._wal, real.with_name(f"{real.name}-shm"))
        self._identities = {file: _identity(file) for file in watched}
        self._identities[ownership.path] = ownership.identity

    @classmethod
    def open(cls, path: Path) -> Self:
        """The journal at `path`, made with its folder if it is not there. StateError where it can't be used."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            raise StateError(f"SQLite {sqlite3.sqlite_version} is too old for the journal; install {oldest}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ownership = Ownership(path)
        except OSError as error:
            raise StateError(
                f"journal {path}: its folder can't be used ({error.strerror}); choose another journal.path"
            ) from None
        try:
            with telling(path):
                connection = _connect(path)
                try:
                    taken = (os.getpid(), WallClock().now_ms())
                    (epoch,) = connection.execute(
                        "INSERT INTO lease (pid, taken_wall_ms) VALUES (?, ?) RETURNING epoch", taken
                    ).fetchone()
                    return cls(path, connection, ownership, epoch)
                except BaseException:
                    connection.close()
                    raise
        except BaseException:
            ownership.release()
            raise

    def close(self) -> None:
        """Let go of the file; closing again does nothing."""
        with self._guard:
            if not self._is_closed:
                self._is_closed = True
                self.connection.close()
                self._ownership.release()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done within is on disk when it ends, or not at all. StateError where it can't be written."""
        connection = self.connection
        with self._guard, telling(self.path):
            self._refuse_where_lost()
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._refuse_where_replaced()
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                self._has_failed |= _is_grave(error)
                # SQLite may have rolled back itself, for instance on a full disk.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def one(self, statement: str, *values: object) -> sqlite3.Row | None:
        """The first row, if there is one."""
        with self._guard, telling(self.path):
            row: sqlite3.Row | None = self.connection.execute(statement, values).fetchone()
            return row

    def each(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Every row."""
        with self._guard, telling(self.path):
            return self.connection.execute(statement, values).fetchall()

    def tidy(self) -> None:
        """Move a log that has grown long into the file. Never done by a transaction, so that none waits for it.

        Where that fails nothing is lost: the log stays, and the next transaction says what is wrong with the disk.
        """
        with self._guard:
            try:
                if _identity(self._wal) is not None and self._wal.stat().st_size > _WAL_BYTES:
                    self.connection.execute("PRAGMA wal_checkpoint (PASSIVE)")
            except sqlite3.Error as error:
                self._has_failed |= _is_grave(error)

    def _refuse_where_lost(self) -> None:
        if self._has_failed:
            raise StateError(
                f"journal {self.path}: an earlier write failed, so nothing more is written; check the disk and start again"
            )
        for file, identity in self._identities.items():
            if _identity(file) != identity:
                raise StateError(
                    f"journal {self.path}: {file.name} was deleted, moved or replaced while this daemon was running, so "
                    f"what it writes would be lost; make sure that no other daemon runs on it and start again"
                )

    def _refuse_where_replaced(self) -> None:
        """Within a transaction, since only there nobody else can take over meanwhile."""
        (newest,) = self.connection.execute("SELECT max(epoch) FROM lease").fetchone()
        if newest != self.epoch:
            raise StateError(
                f"journal {self.path}: another daemon has taken it over (epoch {newest}, this one has {self.epoch}); "
                f"stop one of them"
            )


def _is_grave(error: BaseException) -> bool:
    """After a failed write or sync nobody knows what the disk holds, until it is read again from the start."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT"))


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # Private from the start: SQLite gives its own side files the same permissions.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StateError(f"journal {path}: {error.strerror}; choose another journal.path") from None
    # Transactions are said out loud (isolation_level=None); the guard keeps threads from mixing theirs.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        new = is_new(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        if new:
            schema = files("bot.journal").joinpath("schema.sql").read_text("utf-8")
            identity = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            connection.executescript(f"BEGIN IMMEDIATE; {schema} {_replay()} {identity} COMMIT;")
        else:
            check_whole(connection, path)
            there = connection.execute(
                "SELECT count(*) FROM sqlite_schema WHERE name IN ('input', 'opening', 'wallet')"
            )
            if there.fetchone()[0] < 3:
                connection.executescript(f"BEGIN IMMEDIATE; {_replay()} COMMIT;")  # of an earlier program
    except BaseException:
        connection.close()
        raise
    return connection


def _replay() -> str:
    return files("bot.journal").joinpath("replay.sql").read_text("utf-8")
