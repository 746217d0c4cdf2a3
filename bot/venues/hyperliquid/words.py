"""What to make of the venue's words: which of them are of a moment already looked at, and those that can't be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from bot.errors import DataError, Unavailable
from bot.venues.hyperliquid.parse_account import LedgerRow, VenueFill, VenueFunding

Timed = TypeVar("Timed", VenueFill, VenueFunding, LedgerRow)


def until(rows: Sequence[Timed], time_ms: int) -> tuple[list[Timed], list[Timed]]:
    """Rows up to a time, and those after it."""
    return [each for each in rows if each.time_ms <= time_ms], [
        each for each in rows if each.time_ms > time_ms
    ]


@contextmanager
def as_unavailable() -> Iterator[None]:
    """What can't be read is not known, and a later look may find it readable: never taken for an answer."""
    try:
        yield
    except DataError as error:
        raise Unavailable(f"the venue's word could not be used: {error}") from None
