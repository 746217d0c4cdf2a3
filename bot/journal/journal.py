"""The daemon's diary: what was decided before anything is sent, what came of it after, each in one durable step."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from bot.errors import StateError
from bot.journal import codec, market
from bot.journal.codec import Row
from bot.journal.commands import Answer, Command
from bot.journal.file import APPLICATION_ID, OLDEST_SQLITE, SCHEMA_VERSION, Ownership, is_new, telling
from bot.journal.records import Checkpoint, CycleFacts, LastRun, RunFacts
from bot.model.decision import Decision, Finding, LotsArray, Memory, TradingState
from bot.model.order import OrderReport, Purpose
from bot.model.panel import FloatArray

_WAL_BYTES: Final = 16 << 20
_BUSY_MS: Final = 5_000
_NOT_ASKED_FOR: Final = (Purpose.LIQUIDATION, Purpose.SETTLEMENT)

_INSERT_DECISION: Final = """
INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    run_id = excluded.run_id, time_ms = excluded.time_ms, state = excluded.state,
    equity_usd = excluded.equity_usd, is_full = excluded.is_full"""
_FORGET_DECISION: Final = (
    "DELETE FROM forecast WHERE decision_id = ?",
    "DELETE FROM target WHERE decision_id = ?",
    "DELETE FROM finding WHERE decision_id = ?",
    "DELETE FROM cancel WHERE decision_id = ?",
    "DELETE FROM orders WHERE decision_id = ? AND status = 'planned'",
)
_INSERT_FORECAST: Final = "INSERT INTO forecast VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_TARGET: Final = "INSERT INTO target VALUES (?, ?, ?, ?)"
_INSERT_FINDING: Final = "INSERT INTO finding VALUES (?, ?, ?, ?, ?)"
_INSERT_CANCEL: Final = "INSERT OR IGNORE INTO cancel VALUES (?, ?, ?, ?, ?)"
_PLAN_ORDER: Final = """
INSERT INTO orders (client_id, decision_id, instrument, side, lots, limit_price, time_in_force, reduce_only,
    trigger_kind, trigger_price, purpose, created_ms, updated_ms, status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'planned') ON CONFLICT (client_id) DO NOTHING"""
# The venue's word, unless a newer one is there already; what is finished stays finished.
_REPORT_ORDER: Final = """
INSERT INTO orders (client_id, decision_id, instrument, side, lots, limit_price, time_in_force, reduce_only,
    trigger_kind, trigger_price, purpose, created_ms, updated_ms, status, order_id, filled_lots, average_price, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client_id) DO UPDATE SET
    status = excluded.status, order_id = excluded.order_id, filled_lots = excluded.filled_lots,
    average_price = excluded.average_price, reason = excluded.reason, updated_ms = excluded.updated_ms
WHERE excluded.updated_ms >= orders.updated_ms
    AND (orders.status IN ('planned', 'resting', 'waiting') OR excluded.status NOT IN ('resting', 'waiting'))"""
_INSERT_FILL: Final = (
    "INSERT INTO fill VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (trade_id) DO NOTHING"
)
_INSERT_FUNDING: Final = (
    "INSERT INTO funding VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (time_ms, instrument) DO NOTHING"
)
_INSERT_LIQUIDATION: Final = "INSERT INTO liquidation VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_INSERT_EQUITY: Final = "INSERT OR REPLACE INTO equity VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_STRATEGY_PNL: Final = "INSERT INTO strategy_pnl VALUES (?, ?, ?, ?)"
_INSERT_POSITION: Final = "INSERT INTO position VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_MARKET: Final = "INSERT OR REPLACE INTO market VALUES (?, ?)"
_SET_MEMORY: Final = "INSERT OR REPLACE INTO memory VALUES (1, ?, ?)"
_SET_CHECKPOINT: Final = "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?)"
_COUNT_CYCLE: Final = "UPDATE run SET cycles = cycles + 1, last_ms = ?, last_wall_ms = ? WHERE id = ?"
_INSERT_RUN: Final = """
INSERT INTO run (name, mode, config, source, pid, started_wall_ms) VALUES (?, ?, ?, ?, ?, ?)"""


class Journal:
    """The one writer of a journal. Every method that records is one transaction, on disk when it returns.

    A context manager. Raises StateError, one sentence, where the file can't be used: not a journal, of another
    version, held by another daemon, disk full, read-only.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, ownership: Ownership) -> None:
        self.path = path
        self._connection = connection
        self._ownership = ownership
        self._guard = threading.Lock()
        self._is_closed = False
        self._run_id: int | None = None
        self._strategies: tuple[str, ...] = ()
        self._instruments: tuple[str, ...] = ()
        self._last: _Gist | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """The journal at `path`, made with its folder if it is not there, owned by this process until closed."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            raise StateError(f"SQLite {sqlite3.sqlite_version} is too old for the journal; install {oldest}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ownership = Ownership(path)
        except OSError as error:
            raise StateError(
                f"journal {path}: its folder can't be used ({error.strerror}); choose another journal.path"
            ) from None
        try:
            return cls(path, _connect(path), ownership)
        except BaseException:
            ownership.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; closing again does nothing."""
        with self._guard:
            if not self._is_closed:
                self._is_closed = True
                self._connection.close()
                self._ownership.release()

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
        with self._transaction() as connection:
            self._list_instruments(connection, facts)
            run_id = connection.execute(_INSERT_RUN, row).lastrowid
        assert run_id is not None
        self._run_id = run_id
        self._strategies = tuple(facts.strategies)
        self._instruments = tuple(instrument.name for instrument in facts.instruments)
        self._last = None
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
        with self._transaction() as connection:
            connection.execute("UPDATE run SET ended_wall_ms = ? WHERE id = ?", (ended_wall_ms, self._run()))

    def record_decision(self, decision: Decision, state: TradingState, equity_usd: Decimal) -> None:
        """Write a decision down with what it rests on and the orders it asks for; call it before they leave.

        One that believes, wants and finds what the last one did and asks for nothing is written as a row only.
        The same decision told again replaces what was planned, not what the venue has already answered.
        """
        gist = _Gist.of(decision)
        is_full = bool(decision.plan) or self._last is None or not gist.repeats(self._last)
        row = (gist.id, self._run(), decision.time_ms, state.value, str(equity_usd), int(is_full))
        with self._transaction() as connection:
            for statement in _FORGET_DECISION:
                connection.execute(statement, (gist.id,))
            connection.execute(_INSERT_DECISION, row)
            if is_full:
                self._write_in_full(connection, decision, gist)
        self._last = gist

    def _write_in_full(self, connection: sqlite3.Connection, decision: Decision, gist: _Gist) -> None:
        name, instruments = decision.snapshot_id, self._instruments
        scored, aimed = gist.changed_or_nonzero(self._last)
        forecasts: list[Row] = [
            (
                name,
                self._strategies[row],
                instruments[column],
                float(decision.opinions[row].scores[column]),
                decision.opinions[row].reason(column),
                int(decision.wanted.by_strategy[row, column]),
                int(decision.allowed.by_strategy[row, column]),
            )
            for row, column in scored
        ]
        wanted, allowed = decision.wanted.lots, decision.allowed.lots
        targets = [(name, instruments[c], int(wanted[c]), int(allowed[c])) for c in aimed]
        findings = [(name, n, f.rule, f.instrument, f.detail) for n, f in enumerate(decision.findings)]
        cancels = [(name, c.client_id, c.order_id, c.instrument, c.because) for c in decision.plan.cancels]
        orders = [codec.order_row(order, name, decision.time_ms) for order in decision.plan.orders]
        connection.executemany(_INSERT_FORECAST, forecasts)
        connection.executemany(_INSERT_TARGET, targets)
        connection.executemany(_INSERT_FINDING, findings)
        connection.executemany(_INSERT_CANCEL, cancels)
        connection.executemany(_PLAN_ORDER, orders)

    def record_cycle(self, facts: CycleFacts) -> None:
        """Write down all that a cycle brought, with the memory and the checkpoint that a restart continues from."""
        run_id, point = self._run(), facts.equity
        amounts = (point.equity_usd, point.cash_usd, point.price_pnl_usd, point.funding_pnl_usd)
        equity = (facts.time_ms, *map(str, (*amounts, point.fees_usd, point.gross_usd, point.net_usd)))
        memory = codec.encode_memory(facts.memory, self._strategies, self._instruments)
        checkpoint = None if facts.checkpoint is None else codec.encode(facts.checkpoint)
        totals = [
            (s.strategy, str(s.price_pnl_usd), str(s.funding_pnl_usd), str(s.fees_usd))
            for s in facts.by_strategy
        ]
        rows = [(at_ms, market.encode(row, self._instruments)) for at_ms, row in facts.market.items()]
        with self._transaction() as connection:
            connection.executemany(_REPORT_ORDER, _reports(facts.reports))
            connection.executemany(_INSERT_FILL, map(codec.fill_row, facts.fills))
            connection.executemany(_INSERT_FUNDING, map(codec.payment_row, facts.payments))
            connection.executemany(_INSERT_LIQUIDATION, map(codec.liquidation_row, facts.liquidations))
            connection.execute(_INSERT_EQUITY, equity)
            connection.execute("DELETE FROM position")
            connection.executemany(_INSERT_POSITION, map(codec.position_row, facts.positions))
            connection.execute("DELETE FROM strategy_pnl")
            connection.executemany(_INSERT_STRATEGY_PNL, totals)
            connection.execute(_SET_MEMORY, (facts.time_ms, memory))
            if checkpoint is not None:
                connection.execute(_SET_CHECKPOINT, (facts.time_ms, checkpoint))
            connection.executemany(_INSERT_MARKET, rows)
            connection.execute(_COUNT_CYCLE, (facts.time_ms, facts.wall_ms, run_id))

    def record_event(self, time_ms: int, kind: str, text: str) -> None:
        """Write down something worth knowing later that has no table of its own."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO event (run_id, time_ms, kind, text) VALUES (?, ?, ?, ?)",
                (self._run_id, time_ms, kind, text),
            )

    def memory(self, strategies: Sequence[str], instruments: Sequence[str]) -> Memory | None:
        """What the last cycle left behind, on the axes given; None before the first."""
        row = self._one("SELECT content FROM memory")
        return None if row is None else codec.decode_memory(row["content"], strategies, instruments)

    def checkpoint(self) -> Checkpoint | None:
        """The venue's last saved state; None if there is none."""
        row = self._one("SELECT time_ms, content FROM checkpoint")
        return None if row is None else Checkpoint(row["time_ms"], json.loads(row["content"]))

    def market_rows(self, start_ms: int, instruments: Sequence[str]) -> dict[int, dict[str, FloatArray]]:
        """The market as it was seen from `start_ms` on, on the axis given."""
        with self._guard, telling(self.path):
            found = self._connection.execute("SELECT * FROM market WHERE time_ms >= ?", (start_ms,))
            return {row["time_ms"]: market.decode(row["content"], instruments) for row in found}

    def take_command(self) -> Command | None:
        """The oldest command that has not been answered, now marked as begun; None where there is none."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT * FROM command WHERE state = 'asked' ORDER BY id LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            connection.execute("UPDATE command SET state = 'begun' WHERE id = ?", (row["id"],))
            return Command(row["id"], row["kind"], json.loads(row["content"]))

    def has_command(self) -> bool:
        """Whether a command waits to be taken."""
        return self._one("SELECT 1 FROM command WHERE state = 'asked' LIMIT 1") is not None

    def answer_command(self, command: Command, answer: Answer, wall_ms: int) -> None:
        """Say what became of a command that was taken."""
        row = ("done" if answer.done else "refused", json.dumps(answer.facts), wall_ms, command.id)
        with self._transaction() as connection:
            connection.execute(
                "UPDATE command SET state = ?, answer = ?, answered_wall_ms = ? WHERE id = ?", row
            )

    def last_run(self) -> LastRun | None:
        """The newest run; None in a new journal."""
        row = self._one("SELECT * FROM run ORDER BY id DESC LIMIT 1")
        if row is None:
            return None
        return LastRun(
            row["id"],
            row["name"],
            row["mode"],
            json.loads(row["config"]),
            json.loads(row["source"]),
            row["started_wall_ms"],
            row["ended_wall_ms"],
            row["last_ms"],
        )

    def unanswered(self) -> tuple[str, ...]:
        """Client ids of orders that were written down but that the venue has not spoken about, oldest first."""
        with self._guard, telling(self.path):
            found = self._connection.execute(
                "SELECT client_id FROM orders WHERE status = 'planned' ORDER BY created_ms, rowid"
            )
            return tuple(row["client_id"] for row in found)

    def _run(self) -> int:
        if self._run_id is None:
            raise ValueError("begin_run() comes first")
        return self._run_id

    def _one(self, statement: str) -> sqlite3.Row | None:
        with self._guard, telling(self.path):
            row: sqlite3.Row | None = self._connection.execute(statement).fetchone()
            return row

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        with self._guard, telling(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back itself, for instance on a full disk.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


class _Gist:
    """What of a decision has to change for it to be worth writing down in full."""

    __slots__ = ("findings", "id", "scores", "targets")

    def __init__(
        self, name: str, scores: FloatArray, targets: LotsArray, findings: tuple[Finding, ...]
    ) -> None:
        self.id = name
        self.scores = scores
        self.targets = targets
        self.findings = findings

    @classmethod
    def of(cls, decision: Decision) -> _Gist:
        scores = np.array([opinion.scores for opinion in decision.opinions])
        targets = np.concatenate([decision.wanted.by_strategy, decision.allowed.by_strategy])
        return cls(decision.snapshot_id, scores, targets, decision.findings)

    def repeats(self, other: _Gist) -> bool:
        return (
            self.id != other.id  # told again, it must not become a row that refers to itself
            and self.findings == other.findings
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.targets, other.targets)
        )

    def changed_or_nonzero(self, last: _Gist | None) -> tuple[list[tuple[int, int]], list[int]]:
        """(strategy, instrument) of the forecasts, and instruments of the targets, that are worth a row."""
        scored, aimed = self.scores != 0, self.targets.any(axis=0)
        if last is not None:
            scored |= last.scores != 0
            aimed |= last.targets.any(axis=0)
        return [(row, column) for row, column in np.argwhere(scored).tolist()], np.flatnonzero(aimed).tolist()


def _connect(path: Path) -> sqlite3.Connection:
    with telling(path):
        try:
            # Private from the start: SQLite gives its own side files the same permissions.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StateError(f"journal {path}: {error.strerror}; choose another journal.path") from None
        # Transactions are said out loud (isolation_level=None); the guard keeps threads from mixing theirs.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            new = is_new(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            if new:
                schema = files("bot.journal").joinpath("schema.sql").read_text("utf-8")
                identity = (
                    f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
                )
                connection.executescript(f"BEGIN IMMEDIATE; {schema} {identity} COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection


def _reports(reports: Sequence[OrderReport]) -> Iterator[Row]:
    """Rows of the orders that were asked for; what the venue does itself is told by its fills."""
    return (codec.report_row(report) for report in reports if report.order.purpose not in _NOT_ASKED_FOR)


def _difference(last: LastRun, mode: str, source: Mapping[str, Any]) -> str:
    if last.mode != mode:
        return f"mode was {last.mode}, now {mode}"
    key = next(key for key in {**last.source, **source} if last.source.get(key) != source.get(key))
    return f"{key} was {last.source.get(key)}, now {source.get(key)}"
