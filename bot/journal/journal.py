"""The daemon's diary: what was decided before anything is sent, what came of it after, each in one durable step."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bot.errors import StateError
from bot.journal import bookkeeping, codec, market, past
from bot.journal.attempts import Attempts
from bot.journal.codec import Row
from bot.journal.commands import Commands
from bot.journal.decisions import Decisions
from bot.journal.inputs import Inputs
from bot.journal.ledger import Books, Drift, Holding
from bot.journal.leftover import settle_leftovers
from bot.journal.past import Past
from bot.journal.records import Checkpoint, CycleFacts, LastRun, RunFacts
from bot.journal.standing import NOTHING, Standings, Unexplained
from bot.journal.writer import Writer
from bot.model.decision import Decision, Memory, TradingState
from bot.model.instrument import Instrument
from bot.model.order import OrderReport, Purpose
from bot.model.panel import FloatArray, Panel

_NOT_ASKED_FOR: Final = (Purpose.LIQUIDATION, Purpose.SETTLEMENT)

# The venue's word, unless a newer one is there already; what is finished stays finished.
_REPORT_ORDER: Final = """
INSERT INTO orders (client_id, decision_id, instrument, side, lots, limit_price, time_in_force, reduce_only,
    trigger_kind, trigger_price, purpose, created_ms, updated_ms, status, order_id, filled_lots, average_price, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client_id) DO UPDATE SET
    status = excluded.status, order_id = excluded.order_id, filled_lots = excluded.filled_lots,
    average_price = excluded.average_price, reason = excluded.reason, updated_ms = excluded.updated_ms
WHERE excluded.updated_ms >= orders.updated_ms
    AND (orders.status IN ('planned', 'resting', 'waiting') OR excluded.status NOT IN ('resting', 'waiting'))"""
_INSERT_EQUITY: Final = "INSERT OR REPLACE INTO equity VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_WALLET: Final = "INSERT OR REPLACE INTO wallet VALUES (?, ?, ?)"
_INSERT_STRATEGY_PNL: Final = "INSERT INTO strategy_pnl VALUES (?, ?, ?, ?)"
_INSERT_POSITION: Final = "INSERT INTO position VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_MARKET: Final = "INSERT OR REPLACE INTO market VALUES (?, ?)"
_SET_MEMORY: Final = "INSERT OR REPLACE INTO memory VALUES (1, ?, ?, ?)"
_SET_CHECKPOINT: Final = "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?)"
_COUNT_CYCLE: Final = "UPDATE run SET cycles = cycles + ?, last_ms = ?, last_wall_ms = ? WHERE id = ?"
SHEET: Final = "underwriting"
"""Kind of the events that say what is expected of a spread."""

TO_MOVE: Final = "to_move"
UNREACHED: Final = "unreached"
"""Kind of the events that say what a person should move between wallets; the newest is what stands."""

_INSERT_EVENT: Final = "INSERT INTO event (run_id, time_ms, kind, text) VALUES (?, ?, ?, ?)"
_FORGET_SHEETS: Final = "DELETE FROM event WHERE kind = ? AND text GLOB ?"
_INSERT_RUN: Final = """
INSERT INTO run (name, mode, config, source, pid, started_wall_ms) VALUES (?, ?, ?, ?, ?, ?)"""


class Journal:
    """The one writer of a journal. Every method that records is one transaction, on disk when it returns.

    A context manager. Raises StateError, one sentence, where the file can't be used: not a journal, of another
    version, held by another daemon, damaged, deleted under its feet, disk full, read-only. `attempts` is the outbox of a
    venue that sends, `commands` what the operator asks, `standings` what is allowed.
    """

    def __init__(self, path: Path, writer: Writer) -> None:
        self.path = path
        self._writer = writer
        self.attempts = Attempts(writer)
        self.commands = Commands(writer)
        self.standings = Standings(writer)
        self._run_id: int | None = None
        self._strategies: tuple[str, ...] = ()
        self._instruments: tuple[str, ...] = ()
        self._decisions: Decisions | None = None
        self._books: Books | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """The journal at `path`, made with its folder if it is not there, owned by this process until closed."""
        return cls(path, Writer.open(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; closing again does nothing."""
        self._writer.close()

    @property
    def epoch(self) -> int:
        """How many times the journal has been opened to write, this time included: the number of its present owner."""
        return self._writer.epoch

    def begin_run(self, facts: RunFacts) -> int:
        """Start a run and return its id. StateError if the books here belong to another market or account."""
        last = self.last_run()
        source = json.loads(codec.encode(facts.source))
        if last is not None and (last.mode, last.source) != (facts.mode, source):
            raise StateError(
                f"journal {self.path} holds the books of another account ({_difference(last, facts.mode, source)}); "
                f"give this run another journal.path or move the file away"
            )
        config = codec.encode(facts.config)
        row = (facts.name, facts.mode, config, codec.encode(source), os.getpid(), facts.started_wall_ms)
        with self._writer.transaction() as connection:
            self._list_instruments(connection, facts)
            run_id = connection.execute(_INSERT_RUN, row).lastrowid
        assert run_id is not None
        self._run_id = run_id
        self._strategies = tuple(facts.strategies)
        self._instruments = tuple(instrument.name for instrument in facts.instruments)
        self._decisions = Decisions(run_id, self._strategies, self._instruments)
        balances = [dict(row) for row in self._writer.each("SELECT * FROM balance")]
        self._books = Books.load(balances) if balances else None
        return run_id

    def _list_instruments(self, connection: sqlite3.Connection, facts: RunFacts) -> None:
        known = dict(connection.execute("SELECT name, size_decimals FROM instrument"))
        for instrument in facts.instruments:
            before = known.get(instrument.name, instrument.size_decimals)
            if before != instrument.size_decimals:
                raise StateError(
                    f"journal {self.path} counts {instrument.name} in lots of {before} decimals, the venue now "
                    f"in {instrument.size_decimals}; start a new journal"
                )
        rows = [(i.name, i.size_decimals) for i in facts.instruments if i.name not in known]
        connection.executemany("INSERT INTO instrument VALUES (?, ?)", rows)

    def end_run(self, ended_wall_ms: int) -> None:
        """Say that the run ended of its own accord."""
        with self._writer.transaction() as connection:
            connection.execute("UPDATE run SET ended_wall_ms = ? WHERE id = ?", (ended_wall_ms, self._run()))

    def record_opening(self, instruments: Sequence[Instrument], panel: Panel, tail_rows: int) -> None:
        """Write down what a run begins with, so that its decisions can be made again; once, before the first of them.

        `tail_rows` is how many rows of the market a decision looks at.
        """
        run_id, names, grid = self._run(), panel.instruments, panel.grid
        earlier = self._writer.each(
            "SELECT * FROM opening WHERE run_id < ? ORDER BY run_id DESC LIMIT 8", run_id
        )
        rows = self._writer.each("SELECT * FROM market WHERE time_ms >= ?", grid.start_ms)
        known = Past(
            {row["run_id"]: past.decode(row["content"]) for row in earlier},
            {row["time_ms"]: row["content"] for row in rows},
        )
        told = ((time_ms, known.before(run_id, time_ms, names)) for time_ms in grid.times_ms.tolist())
        found = {at_ms: row for at_ms, row in told if row is not None}
        content = past.encode(instruments, panel, tail_rows, found)
        with self._writer.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO opening VALUES (?, ?)", (run_id, content))

    def record_decision(
        self,
        decision: Decision,
        state: TradingState,
        equity_usd: Decimal,
        inputs: Inputs | None = None,
        market_rows: Mapping[int, Mapping[str, FloatArray]] | None = None,
        sheets: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write a decision down with what it rests on and the orders it asks for; call it before they leave.

        `inputs` and the new `market_rows` (by their time) are what it was made from, `sheets` what is expected of the
        spreads that it opens, as JSON values that begin with the `decision`. One that believes, wants and finds
        what the last one did and asks for nothing is written as a row only. The same decision told again replaces what
        was planned, not what the venue has already answered.
        """
        self._run()
        decisions = self._decisions
        assert decisions is not None
        seen = [(at_ms, market.encode(row, self._instruments)) for at_ms, row in (market_rows or {}).items()]
        with self._writer.transaction() as connection:
            gist = decisions.write(connection, decision, state, equity_usd, inputs)
            connection.executemany(_INSERT_MARKET, seen)
            connection.execute(_FORGET_SHEETS, (SHEET, f'{{"decision":"{decision.snapshot_id}",*'))
            notes = [(self._run_id, decision.time_ms, SHEET, codec.encode(each)) for each in sheets]
            connection.executemany(_INSERT_EVENT, notes)
        decisions.last = gist

    def open_books(
        self,
        time_ms: int,
        deposits_usd: Decimal,
        equity_usd: Decimal,
        held: Mapping[str, Holding],
        *,
        memory: Memory | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin the ledger with the account as it is found, before its first cycle. ValueError where there was one.

        `deposits_usd` is what profit is to be counted from; `equity_usd` may be off it by what `held` has gained since.
        With `memory` and `checkpoint` a run that is cut off in its first cycle goes on from here.
        """
        if self._writer.one("SELECT 1 FROM equity") is not None:
            raise ValueError("the books are open, and a cycle has been written down in them")
        with self._writer.transaction() as connection:
            books = bookkeeping.open_books(connection, time_ms, deposits_usd, equity_usd, held)
            if memory is not None and checkpoint is not None:
                told = codec.encode_memory(memory, self._strategies, self._instruments)
                connection.execute(_SET_MEMORY, _sealed(time_ms, told))
                connection.execute(_SET_CHECKPOINT, _sealed(time_ms, codec.encode(checkpoint)))
        self._books = books

    def record_cycle(self, facts: CycleFacts) -> Sequence[Drift]:
        """Write down all that a cycle brought, with the memory and the checkpoint that a restart continues from.

        Returns what the venue says of the account and nothing explains, empty where the books agree with it: it is in
        SUSPENSE from now on.
        """
        run_id, point = self._run(), facts.equity
        amounts = (point.equity_usd, point.cash_usd, point.price_pnl_usd, point.funding_pnl_usd)
        equity = (facts.time_ms, *map(str, (*amounts, point.fees_usd, point.gross_usd, point.net_usd)))
        memory = codec.encode_memory(facts.memory, self._strategies, self._instruments)
        checkpoint = codec.encode(facts.checkpoint)
        totals = [
            (s.strategy, str(s.price_pnl_usd), str(s.funding_pnl_usd), str(s.fees_usd))
            for s in facts.by_strategy
        ]
        wallets = [(facts.time_ms, name, f"{value:.6f}") for name, value in (facts.wallets or {}).items()]
        with self._writer.transaction() as connection:
            # An account whose opening was not told began with nothing but what the venue says was brought in.
            books = (
                bookkeeping.open_books(connection, facts.time_ms, *(facts.equity.deposits_usd,) * 2, {})
                if self._books is None
                else self._books.copy()
            )
            connection.executemany(_REPORT_ORDER, _reports(facts.reports))
            drifts = bookkeeping.book_cycle(connection, books, facts)
            if facts.is_cycle:
                settle_leftovers(connection, facts.time_ms)
            connection.execute(_INSERT_EQUITY, equity)
            connection.executemany(_INSERT_WALLET, wallets)
            connection.execute("DELETE FROM position")
            connection.executemany(_INSERT_POSITION, map(codec.position_row, facts.positions))
            connection.execute("DELETE FROM strategy_pnl")
            connection.executemany(_INSERT_STRATEGY_PNL, totals)
            connection.execute(_SET_MEMORY, _sealed(facts.time_ms, memory))
            connection.execute(_SET_CHECKPOINT, _sealed(facts.time_ms, checkpoint))
            connection.execute(_COUNT_CYCLE, (int(facts.is_cycle), facts.time_ms, facts.wall_ms, run_id))
        self._books = books
        self._writer.tidy()
        return drifts

    def unexplained(self) -> Unexplained:
        """What the venue states of the account and the ledger can't explain, as of the last cycle."""
        return NOTHING if self._books is None else Unexplained.of(self._books)

    def record_event(self, time_ms: int, kind: str, text: str) -> None:
        """Write down something worth knowing later that has no table of its own."""
        with self._writer.transaction() as connection:
            connection.execute(_INSERT_EVENT, (self._run_id, time_ms, kind, text))

    def newest_event(self, kind: str) -> str | None:
        """The text of the newest event of a kind; None where there is none."""
        row = self._writer.one("SELECT text FROM event WHERE kind = ? ORDER BY id DESC LIMIT 1", kind)
        return None if row is None else str(row["text"])

    def memory(self, strategies: Sequence[str], instruments: Sequence[str]) -> Memory | None:
        """What the last cycle left behind, on the axes given; None before the first."""
        found = self._left_behind("memory", "SELECT * FROM memory")
        return None if found is None else codec.decode_memory(found["content"], strategies, instruments)

    def checkpoint(self) -> Checkpoint | None:
        """The venue's state at the end of the last cycle; None before the first."""
        found = self._left_behind("checkpoint", "SELECT * FROM checkpoint")
        return None if found is None else Checkpoint(found["time_ms"], json.loads(found["content"]))

    def _left_behind(self, what: str, query: str) -> sqlite3.Row | None:
        """What the last cycle left. StateError where that is missing, of another cycle, or not what was written."""
        last = self._writer.one(
            "SELECT max(time_ms) AS time_ms FROM (SELECT max(time_ms) AS time_ms FROM equity"
            " UNION ALL SELECT max(last_ms) FROM run)"
        )
        last_ms = None if last is None else last["time_ms"]
        row = self._writer.one(query)
        wrong = ""
        if row is None:
            wrong = "" if last_ms is None else f"it has cycles, but their {what} is missing"
        elif row["checksum"] != codec.checksum(row["time_ms"], row["content"]):
            wrong = f"its {what} is not what was written"
        elif last_ms is not None and row["time_ms"] != last_ms:
            wrong = f"its {what} is not of its last cycle"
        if wrong:
            raise StateError(
                f"journal {self.path}: {wrong}, so a run can't go on from it; restore a copy of the file, or close "
                f"what the account holds and start a new journal"
            )
        return row

    def market_rows(self, start_ms: int, instruments: Sequence[str]) -> dict[int, dict[str, FloatArray]]:
        """The market as it was seen from `start_ms` on, on the axis given."""
        found = self._writer.each("SELECT * FROM market WHERE time_ms >= ?", start_ms)
        return {row["time_ms"]: market.decode(row["content"], instruments) for row in found}

    def was_cut_off(self, until_ms: int) -> bool:
        """Whether the newest decision, of a moment up to `until_ms`, has no account of what came of it."""
        row = self._writer.one(
            "SELECT (SELECT max(time_ms) FROM decision) AS decided, (SELECT max(time_ms) FROM equity) AS accounted"
        )
        decided, accounted = (None, None) if row is None else (row["decided"], row["accounted"])
        return decided is not None and decided <= until_ms and (accounted is None or decided > accounted)

    def last_run(self) -> LastRun | None:
        """The newest run; None in a new journal."""
        row = self._writer.one("SELECT * FROM run ORDER BY id DESC LIMIT 1")
        if row is None:
            return None
        try:
            config, source = json.loads(row["config"]), json.loads(row["source"])
        except ValueError:
            raise StateError(
                f"journal {self.path}: its last run is not what was written; restore a copy of the file, or close what "
                f"the account holds and start a new journal"
            ) from None
        times = (row["started_wall_ms"], row["ended_wall_ms"], row["last_ms"])
        return LastRun(row["id"], row["name"], row["mode"], config, source, *times)

    def unanswered(self) -> tuple[str, ...]:
        """Client ids of orders that were written down but that the venue has not spoken about, oldest first."""
        found = self._writer.each(
            "SELECT client_id FROM orders WHERE status = 'planned' ORDER BY created_ms, rowid"
        )
        return tuple(row["client_id"] for row in found)

    def _run(self) -> int:
        if self._run_id is None:
            raise ValueError("begin_run() comes first")
        return self._run_id


def _sealed(time_ms: int, content: str) -> Row:
    return time_ms, content, codec.checksum(time_ms, content)


def _reports(reports: Sequence[OrderReport]) -> Iterator[Row]:
    """Rows of the orders that were asked for; what the venue does itself is told by its fills."""
    return (codec.report_row(report) for report in reports if report.order.purpose not in _NOT_ASKED_FOR)


def _difference(last: LastRun, mode: str, source: Mapping[str, Any]) -> str:
    if last.mode != mode:
        return f"mode was {last.mode}, now {mode}"
    key = next(key for key in {**last.source, **source} if last.source.get(key) != source.get(key))
    return f"{key} was {last.source.get(key)}, now {source.get(key)}"
