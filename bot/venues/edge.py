"""What every adapter makes of a venue's word: whole lots or nothing, and what can't be read is not known."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from bot.errors import DataError, StateError, Unavailable
from bot.model.instrument import Instrument


def lots_of(instrument: Instrument, coins: Decimal, what: str) -> int:
    """A size in whole lots. DataError where it lies between two."""
    lots = instrument.lots(coins)
    if instrument.size(lots) != coins:
        raise DataError(
            f"{what} of {instrument.name} is {coins}, which is not a multiple of {instrument.lot}"
        )
    return lots


@contextmanager
def as_unavailable() -> Iterator[None]:
    """What can't be read is not known, and a later look may find it readable: never taken for an answer."""
    try:
        yield
    except DataError as error:
        raise Unavailable(f"the venue's word could not be used: {error}") from None


def check_version(checkpoint: Mapping[str, Any] | None, version: int) -> None:
    """StateError where a checkpoint is of another version of what a venue keeps in it."""
    if checkpoint is not None and checkpoint.get("version") != version:
        raise StateError(
            f"the journal's checkpoint is of version {checkpoint.get('version')!r}, this program reads {version}; "
            "start a new journal"
        )


async def all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All at once; the first failure ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
