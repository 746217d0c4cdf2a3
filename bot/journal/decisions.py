"""How a decision becomes rows: in full where it says something new, else as one row that refers to the last full one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import numpy as np

from bot.journal import codec
from bot.journal import inputs as given
from bot.journal.codec import Row
from bot.journal.inputs import Inputs
from bot.model.decision import Decision, Finding, LotsArray, TradingState
from bot.model.panel import FloatArray

_INSERT_DECISION: Final = """
INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    run_id = excluded.run_id, time_ms = excluded.time_ms, state = excluded.state,
    equity_usd = excluded.equity_usd, is_full = excluded.is_full"""
_FORGET_DECISION: Final = (
    "DELETE FROM forecast WHERE decision_id = ?",
    "DELETE FROM target WHERE decision_id = ?",
    "DELETE FROM finding WHERE decision_id = ?",
    "DELETE FROM cancel WHERE decision_id = ?",
    "DELETE FROM input WHERE decision_id = ?",
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
_INSERT_INPUT: Final = "INSERT OR REPLACE INTO input VALUES (?, ?, ?, ?)"


class Decisions:
    """Writes a run's decisions. `last` is the gist of the last one that is on disk, None before the first."""

    def __init__(self, run_id: int, strategies: Sequence[str], instruments: Sequence[str]) -> None:
        self._run_id, self._strategies, self._instruments = run_id, tuple(strategies), tuple(instruments)
        self.last: Gist | None = None

    def write(
        self,
        connection: sqlite3.Connection,
        decision: Decision,
        state: TradingState,
        equity_usd: Decimal,
        inputs: Inputs | None = None,
    ) -> Gist:
        """Write it within a transaction; returns what `last` is to be once that has ended."""
        gist = Gist.of(decision)
        is_full = bool(decision.plan) or self.last is None or not gist.repeats(self.last)
        if not is_full:
            assert self.last is not None
            gist.written_in = self.last.written_in
        known = connection.execute("SELECT 1 FROM decision WHERE id = ?", (gist.id,)).fetchone()
        for statement in _FORGET_DECISION:
            connection.execute(statement, (gist.id,))
        row = (gist.id, self._run_id, decision.time_ms, state.value, str(equity_usd), int(is_full))
        connection.execute(_INSERT_DECISION, row)
        if is_full:
            self._write_in_full(connection, decision, gist)
        if inputs is not None:
            told_again = decision.plan if known else None
            content = given.encode(inputs, self._strategies, self._instruments, told_again)
            connection.execute(_INSERT_INPUT, (gist.id, self._run_id, gist.written_in, content))
        return gist

    def _write_in_full(self, connection: sqlite3.Connection, decision: Decision, gist: Gist) -> None:
        name, instruments = decision.snapshot_id, self._instruments
        scored, aimed = gist.changed_or_nonzero(self.last)
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


class Gist:
    """What of a decision has to change for it to be worth writing down in full. `written_in` is where it is so."""

    __slots__ = ("findings", "id", "scores", "targets", "written_in")

    def __init__(
        self, name: str, scores: FloatArray, targets: LotsArray, findings: tuple[Finding, ...]
    ) -> None:
        self.id = self.written_in = name
        self.scores = scores
        self.targets = targets
        self.findings = findings

    @classmethod
    def of(cls, decision: Decision) -> Gist:
        scores = np.array([opinion.scores for opinion in decision.opinions])
        targets = np.concatenate([decision.wanted.by_strategy, decision.allowed.by_strategy])
        return cls(decision.snapshot_id, scores, targets, decision.findings)

    def repeats(self, other: Gist) -> bool:
        return (
            self.id != other.id  # told again, it must not become a row that refers to itself
            and self.findings == other.findings
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.targets, other.targets)
        )

    def changed_or_nonzero(self, last: Gist | None) -> tuple[list[tuple[int, int]], list[int]]:
        """(strategy, instrument) of the forecasts, and instruments of the targets, that are worth a row."""
        scored, aimed = self.scores != 0, self.targets.any(axis=0)
        if last is not None:
            scored |= last.scores != 0
            aimed |= last.targets.any(axis=0)
        return [(row, column) for row, column in np.argwhere(scored).tolist()], np.flatnonzero(aimed).tolist()
