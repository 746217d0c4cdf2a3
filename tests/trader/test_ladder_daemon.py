"""The kill ladder on a daemon with its exchange and signer as processes: what is halted stays so, and flat is flat."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.trader.daemon import (
    Daemon,
    cycles,
    ended,
    exchange_books,
    folder,
    hedgerow,
)

__all__ = ["folder"]  # the fixture

ENTRIES = "SELECT count(*) FROM orders WHERE purpose = 'entry'"
HELD = "SELECT count(*) FROM position"


def one(journal: Path, query: str) -> Any:
    with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchone()[0]


def facts(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = hedgerow(folder, *arguments, "config.toml", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


def holding(folder: Path, *options: str) -> Daemon:
    """A daemon that holds something."""
    daemon = Daemon(folder, *options)
    daemon.wait_for_cycles(1)
    while not one(daemon.journal, HELD):
        daemon.wait_for_cycles(cycles(daemon.journal) + 1)
    return daemon


def kill(daemon: Daemon) -> None:
    children = daemon.children()
    daemon.end(signal.SIGKILL)
    assert ended(children)


def test_a_halt_holds_through_a_kill_until_it_is_resumed(folder: Path) -> None:
    daemon = holding(folder)
    told = facts(folder, "halt", "--why", "drill {1}")
    assert (told["state"], told["by"], told["why"]) == ("halted", "operator", "drill {1}")
    entries = one(daemon.journal, ENTRIES)
    refused = facts(folder, "trade", "BTC", "buy", "200", code=1)
    assert "trading is halted (drill {1})" in refused["error"]
    kill(daemon)

    daemon = Daemon(folder)
    daemon.wait_for_cycles(cycles(daemon.journal) + 30)
    assert one(daemon.journal, ENTRIES) == entries
    shown = facts(folder, "status")
    assert (shown["state"], shown["state_by"], shown["state_why"]) == ("halted", "operator", "drill {1}")
    assert "halted by the operator since 20" in hedgerow(folder, "status", "config.toml").stdout
    assert one(daemon.journal, "SELECT state FROM decision ORDER BY time_ms DESC LIMIT 1") == "halted"

    assert facts(folder, "halt", "--reduce-only")["state"] == "reducing"
    daemon.wait_for_cycles(cycles(daemon.journal) + 10)
    assert one(daemon.journal, ENTRIES) == entries
    assert facts(folder, "resume")["state"] == "active"
    assert facts(folder, "status")["state"] == "active"
    assert daemon.end(signal.SIGTERM) == 0, daemon.said()


def test_flatten_closes_all_at_once_and_stays_halted(folder: Path) -> None:
    daemon = holding(folder)
    assert daemon.end(signal.SIGTERM) == 0, daemon.said()
    done = cycles(daemon.journal)
    # In real time the next hour is far away.
    daemon = Daemon(folder, "--set", "market.speed=1")
    daemon.wait_for("run goes on")
    assert facts(folder, "flatten", "--timeout", "60")["is_flat"] is True
    assert cycles(daemon.journal) <= done + 1  # one hour may have ended while nobody looked
    shown = facts(folder, "status")
    assert (shown["positions"], shown["open_orders"], shown["state"]) == (0, 0, "halted")
    assert (shown["is_flattening"], shown["state_why"]) == (False, "flattened: asked for by the operator")
    kill(daemon)
    account, _ = exchange_books(folder)
    assert not any(position.lots for position in account.positions.values())

    entries = one(daemon.journal, ENTRIES)
    daemon = Daemon(folder, "--cycles", "30")
    assert daemon.process.wait(90) == 0, daemon.said()
    assert one(daemon.journal, ENTRIES) == entries
    assert one(daemon.journal, HELD) == 0
    assert hedgerow(folder, "ledger", "verify", "config.toml").returncode == 0


def test_what_is_asked_while_no_daemon_runs_is_what_the_next_start_begins_with(folder: Path) -> None:
    daemon = holding(folder)
    kill(daemon)
    entries = one(daemon.journal, ENTRIES)
    told = hedgerow(folder, "flatten", "config.toml")
    assert told.returncode == 1
    assert "nothing was closed; the next start closes everything first" in told.stdout
    assert facts(folder, "status")["asked"] == ["flatten"]
    nobody = hedgerow(folder, "resume", "config.toml")
    assert nobody.returncode == 1
    assert "no daemon is running" in nobody.stderr

    daemon = Daemon(folder, "--cycles", "5")
    assert daemon.process.wait(90) == 0, daemon.said()
    assert (one(daemon.journal, HELD), one(daemon.journal, ENTRIES)) == (0, entries)
    assert one(daemon.journal, "SELECT state FROM command WHERE kind = 'flatten'") == "done"
    assert facts(folder, "halt", "--why", "still")["left"] is True
    assert facts(folder, "status")["state"] == "halted"
