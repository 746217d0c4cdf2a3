"""Opens a journal to look at, also while a daemon writes it and after one has died.

Answers are plain dicts of exact numbers and text. One convention for all of them: every amount is its effect on
equity, so fees and funding that were paid are negative, and price + funding + fees = total. Amounts are `Decimal`,
ratios `float`, moments ISO 8601 text beside their milliseconds, sizes in coins. Imports nothing heavy, since
`hedgerow status` is asked often.
"""

from __future__ import annotations

import difflib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from bot.clock import HOUR_MS, utc
from bot.errors import ConfigError, StateError
from bot.journal.file import is_new, telling

Facts = dict[str, Any]
Row = Mapping[str, Any]
Split = dict[str, Decimal]

DAY_MS: Final = 24 * HOUR_MS
ZERO: Final = Decimal(0)
PARTS: Final = ("price", "funding", "fees", "total")
_BUSY_MS: Final = 5_000


class Reader:
    """One moment of a journal: every question asked of it sees the same cycle."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def each(self, query: str, *values: object) -> Iterator[Row]:
        """Every row, one at a time."""
        return map(dict, self._connection.execute(query, values))

    def one(self, query: str, *values: object) -> Facts | None:
        """The first row, if there is one."""
        row = self._connection.execute(query, values).fetchone()
        return None if row is None else dict(row)

    @cached_property
    def size_decimals(self) -> dict[str, int]:
        """Decimals of a lot by coin."""
        return {row["name"]: row["size_decimals"] for row in self.each("SELECT * FROM instrument")}

    @cached_property
    def last(self) -> Facts | None:
        """The account's worth at the end of the last cycle, as it was written down; None before the first."""
        return self.one("SELECT * FROM equity ORDER BY time_ms DESC LIMIT 1")

    @property
    def last_ms(self) -> int | None:
        """The moment of the last cycle, by the market's clock; None before the first."""
        return None if self.last is None else self.last["time_ms"]

    @property
    def unfinished(self) -> str | None:
        """The newest decision where what came of it is not written down: it is being carried out, or was cut off."""
        row = self.one("SELECT id, time_ms FROM decision ORDER BY time_ms DESC LIMIT 1")
        is_told = row is None or (self.last_ms is not None and row["time_ms"] <= self.last_ms)
        return None if row is None or is_told else str(row["id"])

    def coin(self, name: str) -> str:
        """The coin's name as the journal writes it, whatever its capitals; ConfigError if it knows none like it."""
        known = self.find_coin(name)
        if known is not None:
            return known
        if not self.size_decimals:
            raise ConfigError(f"journal {self.path} has no coin yet; start a run with `hedgerow run CONFIG`")
        near = difflib.get_close_matches(name.upper(), self.size_decimals, n=1)
        names = sorted(self.size_decimals)
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        what = f"did you mean {near[0]}?" if near else f"it has {listed}"
        raise ConfigError(f"journal {self.path} has no coin '{name}'; {what}")

    def find_coin(self, name: str) -> str | None:
        """As `coin`, but None for a name that the journal doesn't know."""
        if name in self.size_decimals:
            return name
        return next((known for known in self.size_decimals if known.lower() == name.lower()), None)

    def size(self, coin: str, lots: int) -> Decimal | None:
        """Lots in coins; None for a coin whose lots were never told."""
        decimals = self.size_decimals.get(coin)
        return None if decimals is None else in_coins(lots, decimals)


@contextmanager
def read(path: Path) -> Iterator[Reader]:
    """Open a journal to look at; StateError, one sentence, if there is none or it can't be read."""
    if not path.exists():
        raise StateError(
            f"no journal at {path}; start a run with `hedgerow run CONFIG`, or name a journal with --journal PATH"
        )
    with telling(path):
        connection = _connect(path)
        try:
            if is_new(connection, path):
                raise StateError(f"journal {path} is empty; start a run with `hedgerow run CONFIG`")
            connection.execute("BEGIN")
            yield Reader(path, connection)
        finally:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    # Reading a WAL needs a side file; in a folder that can't be written to, a journal at rest is read without one.
    real = path.resolve()
    at_rest = not os.access(real.parent, os.W_OK) and not real.with_name(f"{real.name}-wal").exists()
    mode = "immutable=1" if at_rest else "mode=ro"
    connection = sqlite3.connect(f"{real.as_uri()}?{mode}", uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    return connection


def split(row: Row | None) -> Split:
    """Profit since the account was opened, from a row that has the three parts; all 0 for None."""
    if row is None:
        return dict.fromkeys(PARTS, ZERO)
    price, funding = Decimal(row["price_pnl_usd"]), Decimal(row["funding_pnl_usd"])
    fees = -Decimal(row["fees_usd"])
    return {"price": price, "funding": funding, "fees": fees, "total": price + funding + fees}


def minus(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> Split:
    """The difference, part by part."""
    return {part: one[part] - other[part] for part in PARTS}


def moment(name: str, time_ms: int | None) -> Facts:
    """A moment twice: for people under `name`, for programs under `name_ms`."""
    return {name: None if time_ms is None else utc(time_ms), f"{name}_ms": time_ms}


def in_coins(lots: int, size_decimals: int) -> Decimal:
    """Lots in coins, exactly."""
    return Decimal(lots).scaleb(-size_decimals)


def decimal(text: str | None) -> Decimal | None:
    """An amount that may be absent."""
    return None if text is None else Decimal(text)
