"""Of several venues, which can't be asked, and what the others hold meanwhile: written down as it changes.

The books close with whole cycles, and while a venue is silent there are none: what a person reads of positions is older
than what was closed at the venue that still answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bot.journal.journal import UNREACHED, Journal
from bot.model.instrument import Instrument
from bot.venues.venue import AccountState


class Reach:
    """Of one account."""

    def __init__(self, instruments: Sequence[Instrument], journal: Journal) -> None:
        self._instruments, self._journal = tuple(instruments), journal
        self._told: Any = None

    def look(self, time_ms: int, account: AccountState) -> None:
        """To be called after each look at the account; writes nothing where nothing has changed."""
        found: dict[str, Any] = {}
        if account.stale:
            held = {
                each.name: str(each.size(lots))
                for each, lots in zip(self._instruments, account.view.lots.tolist(), strict=True)
                if lots and each.venue not in account.stale
            }
            found = {"venues": list(account.stale), "held_elsewhere": held}
        if self._told is None:  # an earlier run may have ended while one was silent
            text = self._journal.newest_event(UNREACHED)
            self._told = {} if text is None else json.loads(text)
        if found != self._told:
            self._journal.record_event(time_ms, UNREACHED, json.dumps(found))
            self._told = found
