"""Time as the bot keeps it: whole milliseconds UTC, from a clock that is handed in and never looked up."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bot.errors import ConfigError

HOUR_MS = 3_600_000
"""Milliseconds in an hour, the bar of every panel and the funding interval of Hyperliquid."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Whatever can say what time it is."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...


class WallClock:
    """The computer's own clock."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, by the operating system."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is moved: for backtests, simulated markets and tests."""

    __slots__ = ("time_ms",)

    def __init__(self, time_ms: int = 0) -> None:
        self.time_ms = time_ms

    def now_ms(self) -> int:
        """The time it was last moved to."""
        return self.time_ms

    def advance(self, milliseconds: int) -> int:
        """Move forward and return the new time; ValueError for a step back."""
        if milliseconds < 0:
            raise ValueError(f"a clock only moves forward, was asked to move by {milliseconds} ms")
        self.time_ms += milliseconds
        return self.time_ms


def utc(time_ms: int) -> str:
    """ISO 8601 with a Z: `2024-05-01T12:00:00Z`; milliseconds appear only where they are not zero."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds" if time_ms % 1000 else "seconds").replace("+00:00", "Z")


def parse_utc(text: str) -> int:
    """Milliseconds of `2024-05-01` (midnight) or of a full ISO 8601 moment; without an offset it is UTC.

    ConfigError for anything else.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(
            f"'{text}' is not a date; write it as 2024-05-01 or 2024-05-01T12:00:00Z (UTC)"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
