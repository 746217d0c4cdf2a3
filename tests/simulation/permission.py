"""Nothing that opens leaves while that is not allowed, or on what was true long ago (I14)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from tests.simulation.notes import Notes

OLDEST_DECISION_S: Final = 3600 + 600
"""A decision is of a full hour; what is planned at its end may take some minutes to leave."""

_NOT_THERE: Final = "nothing can be signed"


class Permission:
    """The last words of operator and watchdog as they are on disk, and what the signer has answered since."""

    def __init__(self, notes: Notes, now_ms: Callable[[], int]) -> None:
        self._notes, self._now_ms = notes, now_ms
        self._words: dict[str, str] = {}
        self._whys: dict[str, str] = {}
        self._answers = 0

    def committed(self, journal: sqlite3.Connection) -> None:
        """A transaction has ended: the words may be others now."""
        for author, state, why in journal.execute("SELECT author, state, why FROM standing"):
            before, because = self._words.get(author), self._whys.get(author, "")
            if author == "watchdog" and state == "active" and before == "halted" and _NOT_THERE in because:
                self._notes.must(
                    self._answers > 0,
                    "I14",
                    "the watchdog allows trading, and the signer has not answered since it was gone",
                )
            self._words[author], self._whys[author] = state, why

    def restarted(self) -> None:
        """A new daemon looks for itself: its watchdog's word begins anew, the operator's must not."""
        self._words.pop("watchdog", None)

    def looked(self, *, well: bool) -> None:
        """The signer was asked how it is."""
        self._answers = self._answers + 1 if well else 0

    def leaves(self, client_id: str) -> None:
        """An order that may open is about to leave."""
        held_back = {author: state for author, state in self._words.items() if state != "active"}
        self._notes.must(not held_back, "I14", f"{client_id} may open, and leaves while it is {held_back}")
        age_s = self._now_ms() / 1000 - int(client_id[:8], 16)
        self._notes.must(
            age_s <= OLDEST_DECISION_S, "I14", f"{client_id} rests on what was true {age_s:.0f} s ago"
        )
