"""The daemon as a process with its children, its journal, and the books that its exchange left."""

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
stop_loss = 0.15

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


def journal_rows(journal: Path, query: str) -> list[tuple[Any, ...]]:
    """What a running daemon's journal answers; nothing where it is not there yet."""
    if not journal.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # its tables are not there yet
        return []


def cycles(journal: Path) -> int:
    found = journal_rows(journal, "SELECT count(*) FROM equity")
    return int(found[0][0]) if found else 0


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def journal_agrees_with_the_exchange(folder: Path) -> int:
    """Hold fills, funding, positions and fees of the journal to the exchange's own; the number of fills."""
    account, records = exchange_books(folder)
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite")) as connection:
        fills = connection.execute("SELECT trade_id, instrument, lots, price, fee_usd FROM fill").fetchall()
        funding = connection.execute("SELECT time_ms, instrument, usd FROM funding").fetchall()
        held = dict(connection.execute("SELECT instrument, lots FROM position").fetchall())
        last = connection.execute("SELECT * FROM equity ORDER BY time_ms DESC LIMIT 1").fetchone()
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
    return len(fills)
