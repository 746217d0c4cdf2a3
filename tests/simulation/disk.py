"""What a power cut leaves of the journal: all that was synced, and of what was written since then only a part."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Final

SECTOR_BYTES: Final = 512
FULL: Final = 2


class Disk:
    """Under one life's journal. SQLite syncs its log at the end of a commit, where it is asked to be `FULL`."""

    def __init__(self, journal: Path, chance: random.Random) -> None:
        self._files = (journal, journal.with_name(f"{journal.name}-wal"))
        self._chance = chance
        self._synced = self._written()
        self._torn: tuple[bytes, ...] | None = None

    def _written(self) -> tuple[bytes, ...]:
        return tuple(file.read_bytes() if file.exists() else b"" for file in self._files)

    def committed(self, raw: sqlite3.Connection) -> None:
        """A transaction has ended; what is on the disk now stays there, if it was synced."""
        (synchronous,) = raw.execute("PRAGMA synchronous").fetchone()
        if synchronous >= FULL:
            self._synced = self._written()

    def torn(self, raw: sqlite3.Connection) -> None:
        """The power fails within a commit, while it writes."""
        raw.execute("COMMIT")
        self._torn = self._part()

    def _part(self) -> tuple[bytes, ...]:
        return tuple(
            _prefix(before, after, self._chance)
            for before, after in zip(self._synced, self._written(), strict=True)
        )

    def cut(self, folder: Path) -> Path:
        """The files as the next start finds them, in a folder of their own."""
        left = self._part() if self._torn is None else self._torn
        folder.mkdir()
        for file, content in zip(self._files, left, strict=True):
            (folder / file.name).write_bytes(content)
        return folder / self._files[0].name


def _prefix(before: bytes, after: bytes, chance: random.Random) -> bytes:
    """Of the sectors that have changed the first few, in the order in which they lie."""
    if len(after) < len(before):
        return chance.choice((before, after))
    longer = before + bytes(len(after) - len(before))
    changed = [
        at
        for at in range(0, len(after), SECTOR_BYTES)
        if after[at : at + SECTOR_BYTES] != longer[at : at + SECTOR_BYTES] or at >= len(before)
    ]
    kept = changed[: chance.randint(0, len(changed))]
    if len(kept) == len(changed):
        return after
    left = bytearray(before)
    for at in kept:
        left[at : at + SECTOR_BYTES] = after[at : at + SECTOR_BYTES]
    return bytes(left)
