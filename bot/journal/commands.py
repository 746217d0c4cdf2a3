"""What an operator asks of the running daemon: rows that other programs add to the journal and the daemon answers."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.errors import StateError
from bot.journal.file import is_new, owner, telling
from bot.journal.writer import Writer

STANDING: Final = ("halt", "flatten")
"""Wishes that stand until they are carried out: nobody who asked for less risk has to ask again."""

_BUSY_MS: Final = 5_000
_POLL_S: Final = 0.05
_WITHDRAW: Final = "UPDATE command SET state = 'refused', answer = '{}' WHERE id = ? AND state = 'asked'"
_OLDEST_S: Final = 900.0
_EARLIEST_S: Final = -60.0  # clocks are set back

STALE: Final = "stale"
"""A wish that nobody waits for any more, in place of its kind; it is refused."""

UNREADABLE: Final = "unreadable"
"""A wish that is no JSON object, in place of its kind; it is refused."""


@dataclass(frozen=True, slots=True)
class Command:
    """One wish, not answered yet."""

    id: int
    kind: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a wish; `facts` are JSON values."""

    done: bool
    facts: Mapping[str, Any]


class Commands:
    """The daemon's side: what is asked, each taken once, and its answer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def waiting(self) -> bool:
        """Whether a command waits to be taken."""
        return self._writer.one("SELECT 1 FROM command WHERE state = 'asked' LIMIT 1") is not None

    def standing(self) -> list[Command]:
        """Wishes for less risk that wait to be taken, oldest first."""
        rows = self._writer.each("SELECT * FROM command WHERE state = 'asked' ORDER BY id")
        return [command for command in map(_command, rows) if command.kind in STANDING]

    def refuse_left_over(self, wall_ms: int) -> int:
        """Refuse what was asked of an earlier run and nobody waits for any more; how much that was.

        What stands is kept.
        """
        answer = json.dumps({"error": "the run that it was asked of had ended; ask again"})
        with self._writer.transaction() as connection:
            return connection.execute(
                "UPDATE command SET state = 'refused', answer = ?, answered_wall_ms = ?"
                " WHERE state = 'asked' AND kind NOT IN (?, ?)",
                (answer, wall_ms, *STANDING),
            ).rowcount

    def take(self) -> Command | None:
        """The oldest that has not been taken; None where there is none. It is begun from now on, and never again."""
        with self._writer.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM command WHERE state = 'asked' ORDER BY id LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            connection.execute("UPDATE command SET state = 'begun' WHERE id = ?", (row["id"],))
        return _command(row)

    def answer(self, command: Command, answer: Answer, wall_ms: int) -> None:
        """Say what became of one that was taken."""
        row = ("done" if answer.done else "refused", json.dumps(answer.facts), wall_ms, command.id)
        with self._writer.transaction() as connection:
            connection.execute(
                "UPDATE command SET state = ?, answer = ?, answered_wall_ms = ? WHERE id = ?", row
            )

    def answer_begun(self, kind: str, answer: Answer, wall_ms: int) -> None:
        """Say what became of all of a kind that were taken and not answered, by this run or by one before it."""
        row = ("done" if answer.done else "refused", json.dumps(answer.facts), wall_ms, kind)
        with self._writer.transaction() as connection:
            connection.execute(
                "UPDATE command SET state = ?, answer = ?, answered_wall_ms = ? WHERE kind = ? AND state = 'begun'",
                row,
            )


def ask(path: Path, kind: str, content: Mapping[str, Any], timeout_s: float) -> Answer:
    """Hand a command to the daemon that writes the journal at `path`, and wait for its answer.

    One that stands is left for the next start where no daemon is running: the answer is not done, and says `left`.
    StateError for any other where there is none, and where none answers in time; a wish that doesn't stand is
    withdrawn then if it was not taken up.
    """
    stands = kind in STANDING
    runs = owner(path) is not None
    if not runs and not stands:
        raise StateError(f"no daemon is running on journal {path}; start one with `hedgerow run`")
    with telling(path), closing(_connect(path)) as connection:
        if is_new(connection, path):
            raise StateError(f"journal {path} is empty; start a run with `hedgerow run CONFIG`")
        wall_ms = time.time_ns() // 1_000_000
        row = (kind, json.dumps(content), wall_ms)
        number = connection.execute(
            "INSERT INTO command (kind, content, asked_wall_ms) VALUES (?, ?, ?)", row
        ).lastrowid
        if not runs:
            return Answer(done=False, facts={"left": True})
        withdrawn = False
        try:
            until_s = time.monotonic() + timeout_s
            while time.monotonic() < until_s:
                time.sleep(_POLL_S)
                state, answer = connection.execute(
                    "SELECT state, answer FROM command WHERE id = ?", (number,)
                ).fetchone()
                if state in {"done", "refused"}:
                    return Answer(state == "done", json.loads(answer))
        finally:  # also where whoever asked was interrupted: nobody wants to be obeyed later
            if not stands:
                withdrawn = connection.execute(_WITHDRAW, (number,)).rowcount > 0
    if stands:
        raise StateError(
            f"the daemon has not finished within {timeout_s:g} s; the {kind} stands, also after a restart, so look at "
            "`hedgerow status` and its log"
        )
    if withdrawn:
        raise StateError(
            f"the daemon did not take the command up within {timeout_s:g} s, so it was withdrawn; see its log"
        )
    raise StateError(
        f"the daemon has begun the command but not answered within {timeout_s:g} s; look at `hedgerow orders` and "
        "its log before asking again"
    )


def _command(row: sqlite3.Row) -> Command:
    """What was asked; of a kind of its own where it can't or must not be carried out."""
    try:
        content = json.loads(row["content"])
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return Command(row["id"], UNREADABLE, {})
    age_s = (time.time_ns() // 1_000_000 - row["asked_wall_ms"]) / 1000
    if row["kind"] not in STANDING and not _EARLIEST_S <= age_s <= _OLDEST_S:
        return Command(row["id"], STALE, {})
    return Command(row["id"], row["kind"], content)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
