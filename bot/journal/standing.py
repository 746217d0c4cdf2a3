"""The trading state as it is kept: the operator's word and the watchdog's, each the last one, with its time and reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from bot.journal.ledger import Books
from bot.journal.writer import Writer
from bot.model.money import ZERO
from bot.model.state import TradingState

STRENGTH: Final = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)

_SAY: Final = "INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?, ?)"


class Author(StrEnum):
    """Whose word it is."""

    OPERATOR = "operator"
    WATCHDOG = "watchdog"


@dataclass(frozen=True, slots=True)
class Unexplained:
    """What the venue states of the account and the books can't explain: dollars by part, signed lots by coin."""

    usd: Mapping[str, Decimal] = field(default_factory=dict)
    lots: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, books: Books) -> Self:
        usd = {part: amount for part, amount in books.suspense().items() if amount}
        return cls(usd, books.unexplained_lots())

    def beyond(self, accepted: Unexplained) -> tuple[Decimal, dict[str, int]]:
        """What has come to it since it was `accepted`: dollars, whichever way, and lots."""
        parts, coins = {*self.usd, *accepted.usd}, {*self.lots, *accepted.lots}
        usd = sum((abs(self.usd.get(p, ZERO) - accepted.usd.get(p, ZERO)) for p in parts), ZERO)
        lots = {c: self.lots.get(c, 0) - accepted.lots.get(c, 0) for c in sorted(coins)}
        return usd, {coin: count for coin, count in lots.items() if count}


NOTHING: Final = Unexplained()


@dataclass(frozen=True, slots=True)
class Standing:
    """What one author allows, since when by the computer's clock, and why.

    `is_flattening`: halted, and everything is being closed until the venue says that nothing is left. `accepted` is
    what the books could not explain when the operator last resumed.
    """

    author: Author
    state: TradingState
    since_wall_ms: int
    why: str
    is_flattening: bool = False
    accepted: Unexplained = NOTHING

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        told = json.loads(row["accepted"])
        accepted = Unexplained(
            {str(part): Decimal(amount) for part, amount in told.get("usd", {}).items()},
            {str(coin): int(lots) for coin, lots in told.get("lots", {}).items()},
        )
        return cls(
            Author(row["author"]),
            TradingState(row["state"]),
            row["since_wall_ms"],
            row["why"],
            bool(row["is_flattening"]),
            accepted,
        )

    def says_as(self, other: Standing) -> bool:
        """Whether it is the same word, whenever it was said."""
        return (self.state, self.is_flattening, self.accepted, self.why) == (
            other.state,
            other.is_flattening,
            other.accepted,
            other.why,
        )


def strongest(standings: Iterable[Standing]) -> Standing | None:
    """The one that holds: what allows least, and of two alike the operator's. None of none."""
    ordered = sorted(standings, key=lambda each: each.author)
    return max(ordered, key=lambda each: STRENGTH.index(each.state), default=None)


class Standings:
    """The daemon's side: what was last said, and saying it anew."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def load(self) -> dict[Author, Standing]:
        """The last word of each author who has said one."""
        read = map(Standing.read, map(dict, self._writer.each("SELECT * FROM standing")))
        return {standing.author: standing for standing in read}

    def say(self, standing: Standing) -> None:
        """From now on it holds, also after a restart: on disk when this returns."""
        accepted = {
            "usd": {part: str(amount) for part, amount in standing.accepted.usd.items()},
            "lots": dict(standing.accepted.lots),
        }
        row = (
            standing.author.value,
            standing.state.value,
            int(standing.is_flattening),
            standing.since_wall_ms,
            standing.why,
            json.dumps(accepted),
        )
        with self._writer.transaction() as connection:
            connection.execute(_SAY, row)
