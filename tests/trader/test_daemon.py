"""The daemon as a process: started, asked to stop, killed, started twice, and started again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = """
version = 1
name = "daemon test"
mode = "paper"

[market]
seed = 3
coins = ["BTC", "SOL", "DOGE"]
speed = 72_000
warmup_h = 400

[[strategies]]
plugin = "funding_carry"
[strategies.parameters]
hurdle = 0.0

[journal]
path = "state/journal.sqlite"

[logs]
format = "json"
"""
TIMEOUT_S = 60.0


class Daemon:
    def __init__(self, folder: Path, *options: str) -> None:
        self.journal = folder / "state" / "journal.sqlite"
        command = [sys.executable, "-m", "bot", "run", "config.toml", *options]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        self.log = folder / "log"
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=stderr)

    def wait_for_cycles(self, count: int) -> None:
        """Until the journal holds that many."""
        deadline = time.monotonic() + TIMEOUT_S
        while cycles(self.journal) < count:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)

    def said(self) -> str:
        return self.log.read_text()


def cycles(journal: Path) -> int:
    if not journal.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM equity").fetchone()[0])
    except sqlite3.OperationalError:  # its tables are not there yet
        return 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_between_cycles_with_its_run_closed(folder: Path, number: signal.Signals) -> None:
    daemon = Daemon(folder)
    daemon.wait_for_cycles(5)
    assert daemon.end(number) == 0, daemon.said()
    events = [json.loads(line)["event"] for line in daemon.said().splitlines()]
    assert events[0] == "run begins"
    assert events[-1] == "run ends"
    with closing(sqlite3.connect(daemon.journal)) as connection:
        assert connection.execute("SELECT ended_wall_ms IS NOT NULL FROM run").fetchall() == [(1,)]
        assert connection.execute("SELECT count(*) FROM orders WHERE status = 'planned'").fetchone() == (0,)


def test_killed_at_any_moment_it_goes_on_as_if_it_had_never_been(folder: Path) -> None:
    done = 0
    for _ in range(3):
        daemon = Daemon(folder)
        daemon.wait_for_cycles(done + 4)
        daemon.end(signal.SIGKILL)
        done = cycles(daemon.journal)
    daemon = Daemon(folder, "--cycles", "20")
    assert daemon.process.wait(TIMEOUT_S) == 0, daemon.said()
    total = cycles(daemon.journal)
    assert total == done + 20

    (folder / "whole").mkdir()
    (folder / "whole" / "config.toml").write_text(CONFIG)
    whole = Daemon(folder / "whole", "--cycles", str(total))
    assert whole.process.wait(TIMEOUT_S) == 0, whole.said()
    query = "SELECT * FROM fill UNION ALL SELECT time_ms, equity_usd, funding_pnl_usd, 0,0,0,0,0,0,0,0,0,0 FROM equity"
    with closing(sqlite3.connect(daemon.journal)) as ours, closing(sqlite3.connect(whole.journal)) as theirs:
        assert ours.execute(query).fetchall() == theirs.execute(query).fetchall()
        assert ours.execute("SELECT count(*) FROM fill").fetchone()[0] > 0


def test_a_second_daemon_on_the_same_journal_is_turned_away(folder: Path) -> None:
    first = Daemon(folder)
    first.wait_for_cycles(1)
    second = subprocess.run(
        [sys.executable, "-m", "bot", "run", "config.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert first.end(signal.SIGTERM) == 0
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "journal" in second.stderr


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
