"""A venue that outlives its client: a devnet, a signer and a daemon, each a process of its own that can be killed alone."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

from bot.paper.account import PaperAccount, open_account
from bot.paper.policy import Bounds, listed_in, policy_text

REPOSITORY: Final = Path(__file__).resolve().parents[2]
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
COINS: Final = ("BTC", "SOL", "DOGE")
EQUITY_USD: Final = Decimal(1_000_000)
SPEED: Final = 7_200.0
PATIENCE_S: Final = 90.0
START: Final = "2024-03-01"
HISTORY_H: Final = 100
SEED: Final = 3
CONFIG: Final = """
version = 1
name = "reliability"
mode = "live"

[venue]
network = "devnet"
url = "{url}"
account = "{account}"
coins = {coins}
signer = "{socket}"
history_h = 48

[sizing]
position_size = 0.02
no_trade_band = 0.1
cooldown_h = 0

[limits]
max_open_interest_share = 1.0
max_volume_share = 1.0
max_daily_loss = 0.99
max_drawdown = 0.99
max_data_age_h = 1000

[execution]
slippage_bps = 200
stop_loss = 0.3

[watchdog]
max_failures = 1000
min_free_disk_mb = 0.001
max_clock_offset_s = 1e9

[[strategies]]
plugin = "tests.reliability.whims:Whims"
name = "whims"
[strategies.parameters]
seed = {seed}
size = {size}

[journal]
path = "{journal}"

[logs]
format = "json"
"""


class Process:
    """A program whose output goes to a file."""

    def __init__(self, log: Path, command: list[str], cwd: Path, fds: tuple[int, ...] = ()) -> None:
        self.log, self.began_s = log, time.monotonic()
        self._from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=cwd,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                start_new_session=True,
            )

    def said(self) -> str:
        """Since this process began."""
        with self.log.open("rb") as file:
            file.seek(self._from)
            return file.read().decode("utf-8", "replace")

    def until(self, *words: str) -> float:
        """Wait until it has said one of the words; seconds since it was started. AssertionError where it ends before."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not any(word in self.said() for word in words):
            assert self.process.poll() is None, self.said()[-3000:]
            assert time.monotonic() < deadline_s, self.said()[-3000:]
            time.sleep(0.005)
        return time.monotonic() - self.began_s

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class World:
    """The three of them in a folder; on `disk`, where it is given, lie the journal and the signer's state."""

    def __init__(self, folder: Path, seed: int, speed: float = SPEED, disk: Path | None = None) -> None:
        self.folder, self.seed, self.speed = folder, seed, speed
        disk = disk or folder
        self.journal = disk / "journal.sqlite"
        self.socket = folder / "sign.sock"
        self.state = folder / "devnet.state"
        self.audit = disk / "signer" / "audit.jsonl"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # as the keystore asks
        self.processes: list[Process] = []
        self._lifelines = os.pipe()  # what is started ends with this process, however that ends
        options = ["--port", "0", "--coins", ",".join(COINS), "--seed", str(SEED), "--start", START]
        options += ["--history-h", str(HISTORY_H), "--agent-days", "18615", "--speed", str(speed), "--paused"]
        options += ["--state", str(self.state), "--parent-fd", str(self._lifelines[0])]
        self.devnet = self._start("devnet.log", ["-m", "bot", "devnet", *options])
        self.devnet.until('"url"')
        self.url = str(json.loads(self.devnet.said().splitlines()[0])["url"])
        now_ms = int(self.info({"type": "exchangeStatus"})["time"])
        self.paper: PaperAccount = open_account(folder, self.url, EQUITY_USD, now_ms)
        self._write_policy()
        self.signer: Process
        self.daemon: Process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in reversed(self.processes):
            if each.process.poll() is None:
                each.kill()
        for end in self._lifelines:
            os.close(end)

    def _start(self, log: str, command: list[str], fds: tuple[int, ...] = ()) -> Process:
        self.processes = [each for each in self.processes if each.process.poll() is None]
        started = Process(self.folder / log, command, self.folder, (*fds, self._lifelines[0]))
        self.processes.append(started)
        return started

    def _write_policy(self) -> None:
        bounds = Bounds(
            max_order_usd=Decimal(500_000),
            max_position_usd=Decimal(500_000),
            max_gross_usd=Decimal(2_000_000),
            turnover_usd_per_day=Decimal(1_000_000_000),
            collar_bps=600,
            orders_per_min=20_000,
            max_leverage=5,
        )
        listed = listed_in(self.info({"type": "metaAndAssetCtxs"}))
        text = policy_text(self.paper.account, self.paper.agent, COINS, listed, bounds, self.speed)
        (self.folder / "policy.toml").write_text(text)

    def write_config(self, size: float) -> None:
        """What the daemon is to do; at `size` 0 it trades nothing."""
        text = CONFIG.format(
            url=self.url, account=self.paper.account, coins=json.dumps(COINS), socket=self.socket,
            journal=self.journal, seed=self.seed, size=size,
        )  # fmt: skip
        (self.folder / "config.toml").write_text(text)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A reply of the devnet."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return json.loads(reply.read())

    def info(self, body: dict[str, Any]) -> Any:
        """A reply to a question."""
        return self.post("/info", body)

    def run_clock(self, *, runs: bool) -> None:
        """Let the venue's time pass, or stand."""
        self.post("/devnet/clock", {"speed": self.speed, "paused": not runs})

    def start_signer(self) -> None:
        """Begin to start it."""
        reading, writing = os.pipe()
        os.write(writing, self.paper.password.encode())
        os.close(writing)
        command = ["-m", "bot", "signer", "run", "policy.toml", "--keystore", str(self.paper.keystore)]
        command += ["--state", str(self.audit.parent), "--socket", str(self.socket)]
        command += ["--parent-fd", str(self._lifelines[0])]
        self.signer = self._start("signer.log", [*command, "--password-fd", str(reading)], (reading,))
        os.close(reading)

    def start_daemon(self) -> None:
        """Begin to start it."""
        command = ["-m", "tests.reliability.at_speed", str(self.speed), "config.toml"]
        self.daemon = self._start("daemon.log", command)
