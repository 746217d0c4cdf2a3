"""Orders of a run that was cut off: its venue's word was lost with it, or it never came to send them.

The attempts tell what became of them. Without this they would be listed as planned, and so as open, for ever.
"""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from typing import Any, Final

from bot.model.attempt import AttemptState

NEVER_SENT: Final = "the run ended before it was sent"
_LEFT: Final = """
SELECT * FROM orders WHERE status = 'planned' AND created_ms < (SELECT max(time_ms) FROM decision)"""
_LATEST: Final = "SELECT * FROM attempt WHERE client_id = ? ORDER BY rowid DESC LIMIT 1"
_FILLS: Final = "SELECT lots, price FROM fill WHERE client_id = ?"
_TELL: Final = """
UPDATE orders SET status = ?, order_id = ?, filled_lots = ?, average_price = ?, reason = ?, updated_ms = ?
WHERE client_id = ?"""
_UNTOLD: Final = (AttemptState.SENT, AttemptState.UNKNOWN)
_STATUS: Final = {
    AttemptState.FILLED: "filled",
    AttemptState.CANCELED: "canceled",
    AttemptState.REJECTED: "rejected",
    AttemptState.FENCED: "rejected",
    AttemptState.EXPIRED: "rejected",
}


def settle_leftovers(connection: sqlite3.Connection, time_ms: int) -> None:
    """Say at `time_ms` what became of every order that is still planned though its decision is not the latest."""
    for order in connection.execute(_LEFT).fetchall():
        attempt = connection.execute(_LATEST, (order["client_id"],)).fetchone()
        if attempt is None:
            told: tuple[Any, ...] = ("canceled", None, 0, None, NEVER_SENT, time_ms)
        elif (state := AttemptState(attempt["state"])) in _UNTOLD:
            continue  # the venue has yet to be asked
        else:
            evidence = json.loads(attempt["evidence"])
            rests = "resting" if order["trigger_kind"] is None else "waiting"
            lots, average = _filled(connection, order["client_id"])
            lots = max(lots, evidence["filled_lots"])
            detail, at_ms = evidence["detail"], evidence["at_ms"]
            told = (_STATUS.get(state, rests), evidence["order_id"], lots, average, detail, at_ms)
        connection.execute(_TELL, (*told, order["client_id"]))


def _filled(connection: sqlite3.Connection, client_id: str) -> tuple[int, str | None]:
    """Lots filled and their average price, by the fills."""
    fills = connection.execute(_FILLS, (client_id,)).fetchall()
    lots = sum(fill["lots"] for fill in fills)
    if not lots:
        return 0, None
    return lots, str(sum(fill["lots"] * Decimal(fill["price"]) for fill in fills) / lots)
