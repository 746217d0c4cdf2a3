"""When the symbols of the devnet's Binance settle funding: every so many hours, which the venue may change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bot.devnet.cex.listing import Listing
from bot.model.panel import HOUR_MS

INTERVALS_H: Final = (1, 2, 4, 8)
LONGEST_H: Final = 8

Changes = dict[str, list[tuple[int, int]]]
"""By symbol: from when on, and how many hours; oldest first."""


def interval_h(changes: Changes, listing: Listing, at_ms: int) -> int:
    """Hours between settlements as they are at a time."""
    known = changes.get(listing.symbol, ())
    return next((hours for since_ms, hours in reversed(known) if since_ms <= at_ms), listing.interval_h)


def settles(changes: Changes, listing: Listing, at_ms: int) -> bool:
    """Whether funding is paid at a time; a change at that very time comes too late."""
    return at_ms % (interval_h(changes, listing, at_ms - 1) * HOUR_MS) == 0


def covered_h(changes: Changes, listing: Listing, at_ms: int) -> int:
    """For how many hours a settlement pays: those since the one before."""
    earlier = range(at_ms - HOUR_MS, at_ms - LONGEST_H * HOUR_MS, -HOUR_MS)
    return (
        next((at_ms - each for each in earlier if settles(changes, listing, each)), LONGEST_H * HOUR_MS)
        // HOUR_MS
    )


def following(changes: Changes, listing: Listing, at_ms: int) -> int:
    """When the next settlement is, if nothing changes until then."""
    interval_ms = interval_h(changes, listing, at_ms) * HOUR_MS
    return (at_ms // interval_ms + 1) * interval_ms


def settlements(changes: Changes, listing: Listing, first_ms: int, last_ms: int) -> Iterator[int]:
    """The settlements from a time to another, both included."""
    for at in range(-(-first_ms // HOUR_MS) * HOUR_MS, last_ms + 1, HOUR_MS):
        if settles(changes, listing, at):
            yield at
