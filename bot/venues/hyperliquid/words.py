"""The venue's words: which are asked for, and which are of a moment already looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bot.model.instrument import Instrument
from bot.venues.hyperliquid.parse_account import LedgerRow, VenueFill, VenueFunding

Timed = TypeVar("Timed", VenueFill, VenueFunding, LedgerRow)


def subscriptions(
    account: str, instruments: Sequence[Instrument], wire: Callable[[str], str] = lambda name: name
) -> list[Mapping[str, Any]]:
    """What the feed is asked for: the account's fills and funding, and of each live coin its bars and best prices."""
    coins = [wire(instrument.name) for instrument in instruments if not instrument.is_delisted]
    return [
        {"type": "userFills", "user": account},
        {"type": "userFundings", "user": account},
        *({"type": "candle", "coin": coin, "interval": "1h"} for coin in coins),
        *({"type": "bbo", "coin": coin} for coin in coins),
    ]


def until(rows: Sequence[Timed], time_ms: int) -> tuple[list[Timed], list[Timed]]:
    """Rows up to a time, and those after it."""
    return [each for each in rows if each.time_ms <= time_ms], [
        each for each in rows if each.time_ms > time_ms
    ]
