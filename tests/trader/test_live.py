"""A live run from nothing: `init`, the signer and the daemon as a person starts them, on a devnet in the venue's place."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from tests.trader.daemon import ENVIRONMENT, TIMEOUT_S, hedgerow, journal_rows

PASSWORD = b"correct horse battery"


def piped(secret: bytes) -> int:
    """A file descriptor that a secret can be read from."""
    reading, writing = os.pipe()
    os.write(writing, secret)
    os.close(writing)
    return reading


def command(folder: Path, *arguments: str, secrets: tuple[int, ...] = ()) -> "subprocess.Popen[str]":
    environment = {**ENVIRONMENT, "XDG_STATE_HOME": str(folder / "s"), "XDG_RUNTIME_DIR": str(folder / "r")}
    return subprocess.Popen(
        [sys.executable, "-m", "bot", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=secrets,
    )


def set_up(folder: Path, devnet: Server) -> None:
    funded = devnet.funded[0]
    key, password = piped(funded["private_key"].encode()), piped(PASSWORD)
    options = {
        "--network": "devnet",
        "--url": devnet.url,
        "--account": funded["address"],
        "--coins": "BTC,ETH",
        "--capital": "20000",
        "--name": "desk",
        "--days": "30",
        "--approve": "key",
        "--key-fd": str(key),
        "--password-fd": str(password),
    }
    made = command(
        folder, "init", "--non-interactive", *(part for pair in options.items() for part in pair),
        secrets=(key, password),
    )  # fmt: skip
    said = made.communicate(timeout=TIMEOUT_S)[0]
    for each in (key, password):
        os.close(each)
    assert made.returncode == 0, said


@pytest.fixture
def folder() -> Iterator[Path]:
    """One whose path leaves room for a socket's, however many runs pytest has counted on this machine."""
    with tempfile.TemporaryDirectory(prefix="hedgerow-") as made:
        yield Path(made)


def test_a_newcomers_keys_sign_what_the_daemon_decides_on_a_venue(folder: Path) -> None:
    hour_ms = 3_600_000
    start_ms = 1_790_000_000_000 // hour_ms * hour_ms - 1_800_000
    options = Options(coins=("BTC", "ETH"), history_h=1500, start_ms=start_ms, speed=1.0, agent_days=180)
    (folder / "r").mkdir(mode=0o700)
    with running(options) as devnet:
        set_up(folder, devnet)
        password = piped(PASSWORD)
        (keystore,) = (folder / "keys").glob("*.json")
        signer = command(
            folder, "signer", "run", "signer-policy-devnet.toml", "--keystore", str(keystore),
            "--password-fd", str(password), secrets=(password,),
        )  # fmt: skip
        os.close(password)
        assert signer.stdout is not None
        lines = [""]
        while not lines[-1].startswith("ready:"):
            lines.append(signer.stdout.readline())
            assert lines[-1], "".join(lines)
        daemon = command(folder, "run", "hyperliquid-devnet.toml")
        journal = folder / "state" / "hyperliquid-devnet.sqlite"
        deadline = time.monotonic() + TIMEOUT_S
        while not journal_rows(journal, "SELECT 1 FROM checkpoint"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        traded = hedgerow(folder, "trade", "BTC", "buy", "300", "--tp", "4%", "hyperliquid-devnet.toml")
        assert traded.returncode == 0, traded.stdout + traded.stderr
        assert "entry buy" in traded.stdout
        assert "take_profit sell" in traded.stdout
        daemon.terminate()
        said = daemon.communicate(timeout=TIMEOUT_S)[0]
        assert daemon.returncode == 0, said
        signer.terminate()
        signer.communicate(timeout=TIMEOUT_S)
        assert signer.returncode == 0

        account = devnet.world.exchange.accounts[devnet.funded[0]["address"]]
        ((lots,),) = journal_rows(journal, "SELECT lots FROM position")
        assert account.positions["BTC"].lots == lots
        ((kept,),) = journal_rows(journal, "SELECT count(*) FROM attempt WHERE state = 'acked'")
        assert kept >= 1  # the take-profit rests, though the daemon is gone
        assert hedgerow(folder, "ledger", "verify", "hyperliquid-devnet.toml").returncode == 0
