"""Reads a journal, also while the daemon writes it, and answers in plain dicts of exact numbers and text.

Amounts are `Decimal`, ratios `float`, moments ISO 8601 text beside their milliseconds. Imports nothing heavy, since
`hedgerow status` is asked often. Nothing here needs the daemon to be alive.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.clock import HOUR_MS, utc
from bot.errors import StateError
from bot.journal.file import is_new, owner, telling

Facts = dict[str, Any]

DAY_MS: Final = 24 * HOUR_MS
HOURS_PER_YEAR: Final = 8760
ZERO: Final = Decimal(0)
_BUSY_MS: Final = 5_000


class Reader:
    """One moment of a journal: every question asked of it sees the same cycle."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def all(self, query: str, *values: object) -> list[Mapping[str, Any]]:
        """Every row."""
        return [dict(row) for row in self._connection.execute(query, values)]

    def one(self, query: str, *values: object) -> Facts | None:
        """The first row, if there is one."""
        row = self._connection.execute(query, values).fetchone()
        return None if row is None else dict(row)

    def size_decimals(self) -> dict[str, int]:
        """Decimals of a lot by instrument."""
        return dict(
            tuple(row) for row in self._connection.execute("SELECT name, size_decimals FROM instrument")
        )


@contextmanager
def read(path: Path) -> Iterator[Reader]:
    """Open a journal to look at; StateError, one sentence, if there is none or it can't be read."""
    if not path.exists():
        raise StateError(
            f"no journal at {path}; start a run with `hedgerow run CONFIG` or name one with --journal"
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
    def opened(mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        return connection

    # Reading a WAL needs a side file; in a folder that can't be written to, a journal at rest is read without one.
    at_rest = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    return opened("immutable=1" if at_rest else "mode=ro")


def status(reader: Reader, now_wall_ms: int) -> Facts:
    """How the newest run is doing. `daemon` is running, stopped, or gone (it ended without saying so)."""
    run = reader.one("SELECT * FROM run ORDER BY id DESC LIMIT 1")
    if run is None:
        raise StateError(f"journal {reader.path} has no run yet; start one with `hedgerow run CONFIG`")
    pid = owner(reader.path)
    over = "gone" if run["ended_wall_ms"] is None else "stopped"
    seen = run["last_wall_ms"]
    last = reader.one("SELECT * FROM decision ORDER BY time_ms DESC LIMIT 1")
    return {
        "journal": str(reader.path),
        "daemon": over if pid is None else "running",
        "alive": pid is not None,
        "pid": pid,
        "run": run["id"],
        "name": run["name"],
        "mode": run["mode"],
        "source": json.loads(run["source"]),
        "started": utc(run["started_wall_ms"]),
        "cycles": run["cycles"],
        "last_cycle_age_s": None if seen is None else max(0, now_wall_ms - seen) / 1000,
        "state": last and last["state"],
        **moment("time", run["last_ms"]),
        **_worth(reader),
        "last_decision": last and {"id": last["id"], **moment("time", last["time_ms"])},
        "findings": findings_of(reader, last["time_ms"]) if last else [],
        **_counts(reader),
    }


def _worth(reader: Reader) -> Facts:
    point = reader.one("SELECT * FROM equity ORDER BY time_ms DESC LIMIT 1")
    if point is None:
        nothing = ("equity_usd", "opening_usd", "pnl", "today_usd", "drawdown", "gross_usd", "net_usd")
        return dict.fromkeys(nothing)
    equity, total = Decimal(point["equity_usd"]), split(point)
    day_start_ms = (point["time_ms"] - 1) // DAY_MS * DAY_MS
    before = reader.one("SELECT * FROM equity WHERE time_ms <= ? ORDER BY time_ms DESC LIMIT 1", day_start_ms)
    peak = max(_peak(reader), float(equity))
    return {
        "equity_usd": equity,
        "opening_usd": equity - total["net_usd"],
        "pnl": total,
        "today_usd": total["net_usd"] - (split(before)["net_usd"] if before else ZERO),
        "drawdown": 1 - float(equity) / peak if peak > 0 else None,
        "gross_usd": Decimal(point["gross_usd"]),
        "net_usd": Decimal(point["net_usd"]),
    }


def _peak(reader: Reader) -> float:
    """The high-water mark that the risk rules go by."""
    memory = reader.one("SELECT content FROM memory")
    return 0.0 if memory is None else float(json.loads(memory["content"])["high_water_mark_usd"])


def _counts(reader: Reader) -> Facts:
    counts = reader.one(
        "SELECT (SELECT count(*) FROM position) AS positions,"
        " (SELECT count(*) FROM orders WHERE status IN ('resting', 'waiting')) AS open_orders,"
        " (SELECT count(*) FROM orders WHERE status = 'planned') AS unanswered_orders,"
        " (SELECT count(*) FROM fill) AS fills,"
        " (SELECT count(*) FROM liquidation) AS liquidations"
    )
    assert counts is not None
    return counts


def findings_of(reader: Reader, time_ms: int) -> list[Mapping[str, Any]]:
    """The rules that bound in the decision at `time_ms`, as it or the one it repeats was written down."""
    return reader.all(
        "SELECT rule, instrument, detail FROM finding WHERE decision_id ="
        " (SELECT id FROM decision WHERE is_full = 1 AND time_ms <= ? ORDER BY time_ms DESC LIMIT 1)"
        " ORDER BY number",
        time_ms,
    )


def positions(reader: Reader) -> Facts:
    """What is held, as of the last cycle; `liquidation_distance` is a relative price move."""
    rows = [_position(row) for row in reader.all("SELECT * FROM position ORDER BY instrument")]
    point = reader.one("SELECT * FROM equity ORDER BY time_ms DESC LIMIT 1")
    if point is None:
        return {
            **moment("time", None),
            "positions": rows,
            **dict.fromkeys(("equity_usd", "gross_usd", "net_usd")),
        }
    amounts = {name: Decimal(point[name]) for name in ("equity_usd", "gross_usd", "net_usd")}
    return {**moment("time", point["time_ms"]), "positions": rows, **amounts}


def _position(row: Mapping[str, Any]) -> Facts:
    mark = Decimal(row["mark"])
    liquidation = None if row["liquidation_price"] is None else Decimal(row["liquidation_price"])
    return {
        "instrument": row["instrument"],
        "side": "long" if row["lots"] > 0 else "short",
        "size": size(row["lots"], row["size_decimals"]),
        "entry_price": Decimal(row["entry_price"]),
        "mark": mark,
        "notional_usd": Decimal(row["notional_usd"]),
        "unrealised_usd": Decimal(row["unrealised_usd"]),
        "funding_usd": Decimal(row["funding_usd"]),
        "liquidation_price": liquidation,
        "liquidation_distance": None
        if liquidation is None or not mark
        else abs(float(liquidation / mark) - 1),
        "margin_mode": row["margin_mode"],
        **moment("opened", row["opened_ms"]),
        "because": row["because"],
    }


def orders(reader: Reader, last: int | None = None) -> list[Facts]:
    """Open orders, oldest first; with `last`, the newest that many whatever became of them, newest first."""
    if last is None:
        rows = reader.all(
            "SELECT * FROM orders WHERE status IN ('planned', 'resting', 'waiting') ORDER BY created_ms, rowid"
        )
    else:
        rows = reader.all("SELECT * FROM orders ORDER BY created_ms DESC, rowid DESC LIMIT ?", last)
    decimals = reader.size_decimals()
    return [order_facts(row, decimals) for row in rows]


def order_facts(row: Mapping[str, Any], decimals: Mapping[str, int]) -> Facts:
    """One row of `orders`."""
    places = decimals.get(row["instrument"])
    return {
        "client_id": row["client_id"],
        "order_id": row["order_id"],
        "decision": row["decision_id"],
        "instrument": row["instrument"],
        "side": row["side"],
        "size": size(row["lots"], places),
        "filled": size(row["filled_lots"], places),
        "limit_price": _decimal(row["limit_price"]),
        "trigger": row["trigger_kind"],
        "trigger_price": _decimal(row["trigger_price"]),
        "time_in_force": row["time_in_force"],
        "reduce_only": bool(row["reduce_only"]),
        "purpose": row["purpose"],
        "status": row["status"],
        "average_price": _decimal(row["average_price"]),
        "reason": row["reason"],
        **moment("created", row["created_ms"]),
        **moment("updated", row["updated_ms"]),
    }


def funding(reader: Reader, last: int = 20, instrument: str | None = None) -> Facts:
    """Funding by coin and in sum, and the newest `last` payments; received > 0. The last 24 h end with the run."""
    newest = reader.one("SELECT max(time_ms) AS time_ms FROM equity")
    end_ms = newest["time_ms"] if newest and newest["time_ms"] is not None else None
    rows = reader.all(
        "SELECT * FROM funding WHERE ?1 IS NULL OR instrument = ?1 ORDER BY time_ms", instrument
    )
    decimals = reader.size_decimals()
    coins: dict[str, Facts] = {}
    for row in rows:
        amount = Decimal(row["usd"])
        coin = coins.setdefault(row["instrument"], _no_funding(row["instrument"]))
        coin["payments"] += 1
        coin["received_usd" if amount > 0 else "paid_usd"] += abs(amount)
        coin["net_usd"] += amount
        if end_ms is not None and row["time_ms"] > end_ms - DAY_MS:
            coin["last_24h_usd"] += amount
        coin["last_rate_apr"] = float(row["rate_per_hour"]) * HOURS_PER_YEAR
    totals = ("payments", "received_usd", "paid_usd", "net_usd", "last_24h_usd")
    return {
        **moment("time", end_ms),
        "total": {name: sum((coin[name] for coin in coins.values()), ZERO) for name in totals}
        | {"payments": len(rows)},
        "coins": sorted(coins.values(), key=lambda coin: (coin["net_usd"], coin["instrument"])),
        "payments": [_payment(row, decimals) for row in reversed(rows[max(0, len(rows) - last) :])],
    }


def _no_funding(instrument: str) -> Facts:
    amounts = dict.fromkeys(("received_usd", "paid_usd", "net_usd", "last_24h_usd"), ZERO)
    return {"instrument": instrument, "payments": 0, **amounts, "last_rate_apr": None}


def _payment(row: Mapping[str, Any], decimals: Mapping[str, int]) -> Facts:
    return {
        **moment("time", row["time_ms"]),
        "instrument": row["instrument"],
        "size": size(row["lots"], decimals.get(row["instrument"])),
        "oracle": Decimal(row["oracle"]),
        "rate_per_hour": Decimal(row["rate_per_hour"]),
        "rate_apr": float(row["rate_per_hour"]) * HOURS_PER_YEAR,
        "usd": Decimal(row["usd"]),
    }


def split(row: Mapping[str, Any]) -> dict[str, Decimal]:
    """Profit since the account was opened, as `price + funding − fees = net`, from a row that has the three."""
    price, funded = Decimal(row["price_pnl_usd"]), Decimal(row["funding_pnl_usd"])
    fees = Decimal(row["fees_usd"])
    return {"price_usd": price, "funding_usd": funded, "fees_usd": fees, "net_usd": price + funded - fees}


def moment(name: str, time_ms: int | None) -> Facts:
    """A moment twice: for people under `name`, for programs under `name_ms`."""
    return {name: None if time_ms is None else utc(time_ms), f"{name}_ms": time_ms}


def size(lots: int, size_decimals: int | None) -> Decimal | None:
    """Lots in coins; None for a coin whose lots were never told."""
    return None if size_decimals is None else Decimal(lots).scaleb(-size_decimals)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
