"""Attempts to place orders, written down before they leave: the journal's side of `bot.venues.venue.Outbox`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from bot.errors import StateError
from bot.journal import codec
from bot.journal.codec import Row
from bot.journal.writer import Writer
from bot.model.attempt import Attempt, AttemptState, Evidence, IllegalMove, Proof
from bot.model.order import Purpose, Side

_INSERT_ACTION: Final = "INSERT INTO action VALUES (?, ?, ?, ?, ?)"
_INSERT_ATTEMPT: Final = "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)"
_MOVE: Final = "UPDATE attempt SET state = ?, evidence = ?, resolved_ms = ? WHERE cloid = ?"
_FIND: Final = "SELECT * FROM attempt JOIN action USING (nonce) WHERE cloid = ?"
_OPEN: Final = (
    "SELECT * FROM attempt JOIN action USING (nonce) WHERE resolved_ms IS NULL ORDER BY nonce, attempt.rowid"
)
_SINCE: Final = (
    "SELECT * FROM attempt JOIN action USING (nonce) WHERE nonce >= ? ORDER BY nonce, attempt.rowid"
)
_OF: Final = "SELECT * FROM attempt JOIN action USING (nonce) WHERE client_id = ? ORDER BY attempt.rowid"
_USED: Final = ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID", "SQLITE_CONSTRAINT_UNIQUE")


class Attempts:
    """The outbox that a journal is. Every method is one transaction, on disk when it returns."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @property
    def epoch(self) -> int:
        """The number of the journal's present owner, higher than that of every owner before."""
        return self._writer.epoch

    def write(self, attempts: Sequence[Attempt]) -> None:
        """Write down what was signed, all of it or nothing, before a byte of it leaves: INTENT becomes SENT.

        StateError where a cloid or a nonce was used before; ValueError where orders of one nonce contradict each other.
        """
        sent = [each.sent(self._writer.epoch) for each in attempts]
        actions = {_action(each) for each in sent}
        if len({each.nonce for each in sent}) != len(actions):
            raise ValueError(
                "orders of one nonce are one action: they have one body, expiry and moment of sending"
            )
        rows = [_row(each) for each in sent]
        with self._writer.transaction() as connection:
            try:
                connection.executemany(_INSERT_ACTION, sorted(actions))
                connection.executemany(_INSERT_ATTEMPT, rows)
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorname not in _USED:
                    raise
                raise StateError(
                    f"journal {self._writer.path}: an order that was to be sent has the nonce or the cloid of one that "
                    f"was sent before ({', '.join(str(each.client_id) for each in sent)}); it is not sent: make sure "
                    f"that neither the journal nor the signer's state was restored from a copy"
                ) from None

    def move(self, cloid: str, state: AttemptState, evidence: Evidence) -> None:
        """Say what became of one; telling the same again changes nothing. IllegalMove where it can't be so."""
        self.move_all([(cloid, state, evidence)])

    def move_all(self, moves: Sequence[tuple[str, AttemptState, Evidence]]) -> None:
        """Say of several in one step, all of it or nothing."""
        with self._writer.transaction() as connection:
            for cloid, state, evidence in moves:
                row = connection.execute(_FIND, (cloid,)).fetchone()
                if row is None:
                    raise IllegalMove(f"attempt {cloid} was never written down")
                before = _attempt(row)
                after = before.moved(state, evidence)
                if after is not before:
                    ended_ms = evidence.at_ms if after.state.is_final else None
                    connection.execute(_MOVE, (after.state.value, _told(after.evidence), ended_ms, cloid))

    def open_attempts(self) -> Sequence[Attempt]:
        """All that have not ended, by nonce: at start, what has to be found out first."""
        return [_attempt(row) for row in self._writer.each(_OPEN)]

    def since(self, nonce: int) -> Sequence[Attempt]:
        """All from a nonce on, which is a time, whatever became of them."""
        return [_attempt(row) for row in self._writer.each(_SINCE, nonce)]

    def attempt(self, cloid: str) -> Attempt | None:
        """One, whatever became of it; None if it was never written down."""
        row = self._writer.one(_FIND, cloid)
        return None if row is None else _attempt(row)

    def attempts_of(self, client_id: str) -> Sequence[Attempt]:
        """Every attempt to place one order, oldest first."""
        return [_attempt(row) for row in self._writer.each(_OF, client_id)]


def _action(attempt: Attempt) -> tuple[int, str, int | None, int, int]:
    return attempt.nonce, attempt.body_sha256, attempt.expires_ms, attempt.sent_ms, attempt.epoch


def _row(attempt: Attempt) -> Row:
    return (
        attempt.cloid,
        attempt.nonce,
        attempt.client_id,
        attempt.decision_id,
        attempt.coin,
        attempt.side.value,
        attempt.lots,
        attempt.price,
        int(attempt.reduce_only),
        attempt.purpose.value,
        attempt.state.value,
    )


def _told(evidence: Evidence | None) -> str | None:
    if evidence is None:
        return None
    return codec.encode(
        {
            "proof": evidence.proof.value,
            "at_ms": evidence.at_ms,
            "detail": evidence.detail,
            "order_id": evidence.order_id,
            "filled_lots": evidence.filled_lots,
        }
    )


def _evidence(content: str | None) -> Evidence | None:
    if content is None:
        return None
    told = json.loads(content)
    return Evidence(
        Proof(told["proof"]), told["at_ms"], told["detail"], told["order_id"], told["filled_lots"]
    )


def _attempt(row: sqlite3.Row) -> Attempt:
    return Attempt(
        cloid=row["cloid"],
        client_id=row["client_id"],
        decision_id=row["decision_id"],
        coin=row["coin"],
        side=Side(row["side"]),
        lots=row["lots"],
        price=row["price"],
        reduce_only=bool(row["reduce_only"]),
        purpose=Purpose(row["purpose"]),
        nonce=row["nonce"],
        expires_ms=row["expires_ms"],
        body_sha256=row["body_sha256"],
        sent_ms=row["sent_ms"],
        epoch=row["epoch"],
        state=AttemptState(row["state"]),
        evidence=_evidence(row["evidence"]),
    )
