"""Writes the ledger: the raw rows that are new in a cycle, their entries, and the balances that come of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from bot.journal import codec
from bot.journal.ledger import UNEXPLAINED, Books, Drift, Entry, Holding, Stated
from bot.journal.records import CycleFacts, EquityPoint, PositionFacts

# Nothing is booked of a row that is there already.
_INSERT_FILL: Final = "INSERT INTO fill VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (trade_id, instrument) DO NOTHING"
_INSERT_FUNDING: Final = (
    "INSERT INTO funding VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (time_ms, instrument) DO NOTHING"
)
_INSERT_LIQUIDATION: Final = "INSERT INTO liquidation VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_INSERT_TRANSFER: Final = "INSERT INTO transfer VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_INSERT_ENTRY: Final = "INSERT INTO entry (time_ms, cycle_ms, kind, reference) VALUES (?, ?, ?, ?)"
# What nothing explains may be found twice at one moment, as where orders are given by hand between two hours.
_COUNT_ALIKE: Final = (
    "SELECT count(*) FROM entry WHERE kind = ? AND (reference = ? OR reference GLOB ? || '#*')"
)
_INSERT_POSTING: Final = "INSERT INTO posting VALUES (?, ?, ?, ?)"
_SET_BALANCE: Final = "INSERT OR REPLACE INTO balance VALUES (?, ?, ?)"


def open_books(
    connection: sqlite3.Connection,
    time_ms: int,
    deposits_usd: Decimal,
    equity_usd: Decimal,
    held: Mapping[str, Holding],
) -> Books:
    """Begin the ledger anew with the account as it is found; returns its books."""
    for forget in ("DELETE FROM posting", "DELETE FROM entry", "DELETE FROM balance"):
        connection.execute(forget)
    books = Books()
    _write(connection, time_ms, [books.open(time_ms, deposits_usd, equity_usd, held)], books)
    return books


def book_cycle(connection: sqlite3.Connection, books: Books, facts: CycleFacts) -> list[Drift]:
    """Write down what is new, book it to `books`, and hold these against what the venue says of the account."""
    new: list[Entry] = []

    def is_new(statement: str, row: codec.Row) -> bool:
        return connection.execute(statement, row).rowcount == 1

    new += [books.fill(each) for each in facts.fills if is_new(_INSERT_FILL, codec.fill_row(each))]
    for taken in facts.liquidations:
        if is_new(_INSERT_LIQUIDATION, codec.liquidation_row(taken)) and taken.forfeited_usd:
            new.append(books.forfeit(taken))
    new += [
        books.payment(each) for each in facts.payments if is_new(_INSERT_FUNDING, codec.payment_row(each))
    ]
    new += [
        books.transfer(each) for each in facts.transfers if is_new(_INSERT_TRANSFER, codec.transfer_row(each))
    ]
    entries, drifts = books.compare(_stated(facts.time_ms, facts.equity, facts.positions))
    _write(connection, facts.time_ms, [*new, *entries], books)
    return drifts


def _write(connection: sqlite3.Connection, cycle_ms: int, entries: Sequence[Entry], books: Books) -> None:
    touched: set[str] = set()
    for entry in entries:
        reference = entry.reference
        if entry.kind in UNEXPLAINED:
            (alike,) = connection.execute(_COUNT_ALIKE, (entry.kind, reference, reference)).fetchone()
            reference += f"#{alike + 1}" if alike else ""
        row = (entry.time_ms, cycle_ms, entry.kind, reference)
        number = connection.execute(_INSERT_ENTRY, row).lastrowid
        connection.executemany(
            _INSERT_POSTING, [(number, each.account, str(each.usd), each.lots) for each in entry.postings]
        )
        touched.update(posting.account for posting in entry.postings)
    balances = [(name, str(books.usd[name]), books.lots.get(name, 0)) for name in sorted(touched)]
    connection.executemany(_SET_BALANCE, balances)


def _stated(time_ms: int, point: EquityPoint, positions: Sequence[PositionFacts]) -> Stated:
    return Stated(
        time_ms,
        point.equity_usd,
        point.price_pnl_usd,
        point.funding_pnl_usd,
        point.fees_usd,
        _held(positions),
    )


def _held(positions: Sequence[PositionFacts]) -> dict[str, Holding]:
    return {each.instrument: Holding.at(each.lots, each.mark, each.size_decimals) for each in positions}
