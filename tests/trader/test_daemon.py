"""The daemon as a process, with the exchange and the signer that it starts: stopped, killed, started again, given orders."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from tests.trader.daemon import (
    CONFIG,
    TIMEOUT_S,
    Daemon,
    cycles,
    ended,
    folder,
    hedgerow,
    journal_agrees_with_the_exchange,
)

__all__ = ["folder"]  # the fixture


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_run_closed_and_nothing_left_running(
    folder: Path, number: signal.Signals
) -> None:
    daemon = Daemon(folder)
    daemon.wait_for_cycles(3)
    children = daemon.children()
    assert len(children) == 2
    assert daemon.end(number) == 0, daemon.said()
    names = [event["event"] for event in daemon.events()]
    assert "run begins" in names
    assert names[-1] == "run ends"
    assert ended(children)
    assert not (folder / "state" / "journal" / "sign.sock").exists()
    with closing(sqlite3.connect(daemon.journal)) as connection:
        assert connection.execute("SELECT ended_wall_ms IS NOT NULL FROM run").fetchall() == [(1,)]
        assert connection.execute("SELECT count(*) FROM orders WHERE status = 'planned'").fetchone() == (0,)


def test_killed_at_any_moment_nothing_is_lost_or_doubled(folder: Path) -> None:
    done = 0
    for _ in range(3):
        daemon = Daemon(folder)
        daemon.wait_for_cycles(done + 3)
        children = daemon.children()
        daemon.end(signal.SIGKILL)
        assert ended(children)
        done = cycles(daemon.journal)
    daemon = Daemon(folder, "--cycles", "10")
    assert daemon.process.wait(TIMEOUT_S) == 0, daemon.said()
    assert cycles(daemon.journal) >= done + 10
    assert "run goes on" in [event["event"] for event in daemon.events()]

    assert journal_agrees_with_the_exchange(folder) > 3


def test_a_child_that_dies_ends_the_daemon_with_a_sentence_and_the_next_start_goes_on(folder: Path) -> None:
    for which in (0, 1):
        daemon = Daemon(folder)
        daemon.wait_for_cycles(cycles(daemon.journal) + 2)
        children = daemon.children()
        os.kill(children[which], signal.SIGKILL)
        assert daemon.process.wait(TIMEOUT_S) == 1, daemon.said()
        last = daemon.said().splitlines()[-1]
        assert last.startswith("error: the ")
        assert "was killed (signal 9)" in last
        assert ended(children)
    daemon = Daemon(folder, "--cycles", "2")
    assert daemon.process.wait(TIMEOUT_S) == 0, daemon.said()


def test_an_order_by_hand_goes_the_guarded_way_and_shows(folder: Path) -> None:
    (folder / "config.toml").write_text(CONFIG.replace("hurdle = 0.0", "hurdle = 100.0"))
    daemon = Daemon(folder)
    daemon.wait_for_cycles(2)
    done = hedgerow(folder, "trade", "BTC", "buy", "200", "--sl", "2%", "config.toml", "--json")
    assert done.returncode == 0, done.stderr + daemon.said()
    facts = json.loads(done.stdout)
    entry = next(order for order in facts["orders"] if order["purpose"] == "entry")
    assert (entry["status"], entry["side"]) == ("filled", "buy")
    stop = next(order for order in facts["orders"] if order["purpose"] == "stop")
    distance = Decimal(stop["trigger_price"]) / Decimal(entry["average_price"]) - 1
    assert abs(distance + Decimal("0.02")) < Decimal("0.002")
    shown = json.loads(hedgerow(folder, "positions", "config.toml", "--json").stdout)
    (bitcoin,) = [row for row in shown["positions"] if row["coin"] == "BTC"]
    assert bitcoin["size"] > 0
    assert "manual: asked for by hand" in bitcoin["because"]

    refused = hedgerow(folder, "trade", "BTC", "sell", "90000", "config.toml", "--json")
    assert refused.returncode == 1
    orders = json.loads(refused.stdout)["orders"]
    assert any("order_usd" in order["reason"] for order in orders), orders
    unknown = hedgerow(folder, "trade", "ETH", "buy", "200", "config.toml")
    assert unknown.returncode == 1
    assert "is not traded by this daemon" in unknown.stdout
    assert daemon.end(signal.SIGTERM) == 0
    nobody = hedgerow(folder, "trade", "BTC", "buy", "200", "config.toml")
    assert nobody.returncode == 1
    assert "no daemon is running" in nobody.stderr


def test_a_second_daemon_on_the_same_journal_is_turned_away(folder: Path) -> None:
    first = Daemon(folder)
    first.wait_for_cycles(1)
    second = hedgerow(folder, "run", "config.toml")
    assert first.end(signal.SIGTERM) == 0
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "journal" in second.stderr


def test_an_exchange_whose_journal_is_gone_is_not_taken_for_new(folder: Path) -> None:
    daemon = Daemon(folder, "--cycles", "1")
    assert daemon.process.wait(TIMEOUT_S) == 0, daemon.said()
    daemon.journal.unlink()
    again = hedgerow(folder, "run", "config.toml")
    assert again.returncode == 1
    assert "put the journal back, or remove" in again.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('coins = ["BTC", "SOL", "DOGE"]', 'coins = ["BTC", "SOLL"]'),
        ('plugin = "funding_carry"', 'plugin = "funding_cary"'),
        ("hurdle = 0.0", "hurdel = 0.0"),
        ('mode = "paper"', 'mode = "backtest"'),
        ("seed = 3", "seed = -3"),
        ('"SOL", "DOGE"', '"SOL", "SOL"'),
    ],
)
def test_a_wrong_config_is_one_sentence_and_leaves_nothing_behind(
    folder: Path, change: str, said: str
) -> None:
    (folder / "config.toml").write_text(CONFIG.replace(change, said))
    daemon = Daemon(folder)
    assert daemon.process.wait(TIMEOUT_S) == 2, daemon.said()
    assert daemon.said().startswith("error: ")
    assert daemon.said().count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "log"]


def test_data_for_a_market_that_is_made_up_is_refused(folder: Path) -> None:
    daemon = Daemon(folder, "--data", ".")
    assert daemon.process.wait(TIMEOUT_S) == 2
    assert "--data would not be used" in daemon.said()
    assert not (folder / "state").exists()
