"""The daemon as a process, with the exchange and the signer that it starts: stopped, killed, started again, given orders."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.clock import parse_utc
from bot.devnet.start import Options, build
from bot.paper.account import account_in

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = """
version = 1
name = "daemon test"
mode = "paper"

[market]
seed = 3
coins = ["BTC", "SOL", "DOGE"]
speed = 7_200
warmup_h = 400
start = "2024-03-01"

[policy]
max_order_usd = 60_000

[execution]
stop_loss = 0.2

[[strategies]]
plugin = "funding_carry"
[strategies.parameters]
hurdle = 0.0

[journal]
path = "state/journal.sqlite"

[logs]
format = "json"
"""
TIMEOUT_S = 90.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def hedgerow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class Daemon:
    def __init__(self, folder: Path, *options: str) -> None:
        self.journal = folder / "state" / "journal.sqlite"
        self.log = folder / "log"
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bot", "run", "config.toml", *options],
                cwd=folder,
                env=ENVIRONMENT,
                stderr=stderr,
            )

    def wait_for_cycles(self, count: int) -> None:
        """Until the journal holds that many."""
        deadline = time.monotonic() + TIMEOUT_S
        while cycles(self.journal) < count:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def wait_for(self, event: str) -> None:
        """Until the log has it."""
        deadline = time.monotonic() + TIMEOUT_S
        while event not in [each["event"] for each in self.events()]:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)

    def said(self) -> str:
        return self.log.read_text()

    def events(self) -> list[dict[str, Any]]:
        whole = self.said().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def cycles(journal: Path) -> int:
    if not journal.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM equity").fetchone()[0])
    except sqlite3.OperationalError:  # its tables are not there yet
        return 0


def ended(pids: list[int]) -> bool:
    """Whether all of them are gone within some seconds."""
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


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


def exchange_books(folder: Path) -> tuple[Any, Any]:
    """The account and what is remembered of it, as the exchange itself left them."""
    state = folder / "state" / "journal" / "devnet.state"
    options = Options(
        seed=3, coins=("BTC", "SOL", "DOGE"), start_ms=parse_utc("2024-03-01"), history_h=400, agent_days=18_615,
        paused=True, state=state,
    )  # fmt: skip
    server = build(options)
    try:
        paper = account_in(folder / "state" / "journal")
        assert paper is not None
        account = server.world.exchange.accounts[paper.account]
        return account, server.world.records(paper.account)
    finally:
        assert server.keeper is not None
        server.keeper.close()


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

    account, records = exchange_books(folder)
    with closing(sqlite3.connect(daemon.journal)) as connection:
        fills = connection.execute("SELECT trade_id, instrument, lots, price, fee_usd FROM fill").fetchall()
        funding = connection.execute("SELECT time_ms, instrument, usd FROM funding").fetchall()
        held = dict(connection.execute("SELECT instrument, lots FROM position").fetchall())
        last = connection.execute("SELECT * FROM equity ORDER BY time_ms DESC LIMIT 1").fetchone()
    assert len(fills) > 3
    theirs = {(row["tid"], row["coin"], Decimal(row["px"]), Decimal(row["fee"])) for row in records.fills}
    assert {(row[0], row[1], Decimal(row[3]), Decimal(row[4])) for row in fills} == theirs
    assert len(fills) == len(records.fills)
    # The exchange lives on for a moment after the last cycle: it may have settled an hour more.
    known_ms = max(row[0] for row in funding)
    paid = {
        (row["time"], row["delta"]["coin"], Decimal(row["delta"]["usdc"]))
        for row in records.funding
        if row["time"] <= known_ms
    }
    assert {(row[0], row[1], Decimal(row[2])) for row in funding} == paid
    assert {name: position.lots for name, position in account.positions.items()} == held
    assert Decimal(last[5]) == account.fees_usd


def test_a_child_that_dies_ends_the_daemon_with_a_sentence_and_the_next_start_goes_on(folder: Path) -> None:
    for which in (0, 1):
        daemon = Daemon(folder)
        daemon.wait_for_cycles(cycles(daemon.journal) + 2)
        children = daemon.children()
        os.kill(children[which], signal.SIGKILL)
        assert daemon.process.wait(TIMEOUT_S) == 1, daemon.said()
        last = daemon.said().splitlines()[-1]
        assert last.startswith("error: the ")
        assert "ended by itself" in last
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
