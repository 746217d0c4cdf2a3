"""Drills with real processes, as an operator starts them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trader.daemon import ENVIRONMENT, TIMEOUT_S, ended


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with room for a socket's path in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


PROGRAM = """\
import os, signal, sys
signal.signal(signal.SIGINT, {"default": signal.SIG_DFL, "ignored": signal.SIG_IGN}[sys.argv[1]])
os.execv(sys.executable, [sys.executable, "-m", "bot", "drill", *sys.argv[2:]])
"""


def start(tmp: Path, *arguments: str, ctrl_c: str = "default") -> "subprocess.Popen[str]":
    # What becomes of Ctrl-C is inherited, so it is said here: whoever runs these tests in the background ignores it.
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, ctrl_c, *arguments],
        cwd=tmp,
        # What the operator's own environment says of a config must not reach the practice.
        env={**ENVIRONMENT, "TMPDIR": str(tmp), "HEDGEROW__MARKET__SPEED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


ALWAYS = {
    "it ended in order",
    "nothing that it started is left running",
    "trades were made at all",
    "no trade or payment is lost, doubled or another one",
    "no order is at the venue twice, unwritten, or otherwise than the journal says",
    "no order was signed twice",
    "the ledger derives to itself",
}
WITH_TWO_LEGS = {
    "it ended in order",
    "nothing that it started is left running",
    "the ledger derives to itself",
}
ITS_OWN = {
    "kill": {"its devnet and its signer ended with it", "it went on from its journal"},
    "twin": {
        "it was turned away, and told by whom",
        "the signer turned it away",
        "the second ones got no signature",
        "the first got some",
        "the first is not disturbed",
    },
    "lost-leg": {
        "the legs hold each other",
        "within 20 s",
        "it was closed once",
        "within 20 s of the start",
        "what is held is what Hyperliquid holds",
        "and so it is at Binance",
    },
    "dead-signer": {
        "trading is halted",
        "and the signer is named as the reason",
        "it says that the signer is gone",
        "it does not go on without",
        "its devnet ended with it",
        "trading is open again",
    },
}


@pytest.mark.parametrize("name", list(ITS_OWN))
def test_a_drill_passes_and_leaves_nothing_behind(short: Path, name: str) -> None:
    drill = start(short, name, "--json")
    said, wrong = drill.communicate(timeout=2 * TIMEOUT_S)
    assert drill.returncode == 0, said + wrong
    told = json.loads(said)
    assert (told["drill"], told["result"], told["folder"]) == (name, "PASS", None)
    checks = [step for step in told["steps"] if step["kind"] == "check"]
    always = WITH_TWO_LEGS if name == "lost-leg" else ALWAYS
    assert {step["text"] for step in checks} >= always | ITS_OWN[name]
    assert not any(step["problems"] for step in checks)
    assert list(short.iterdir()) == []


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


@pytest.mark.parametrize("inherited", ["default", "ignored"])
def test_ctrl_c_ends_all_that_it_started(short: Path, inherited: str) -> None:
    drill = start(short, "dead-signer", ctrl_c=inherited)
    assert drill.stdout is not None
    deadline = time.monotonic() + TIMEOUT_S
    while len(started := descendants(drill.pid)) < 3:  # the daemon, its devnet, its signer
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(drill.pid, signal.SIGINT)
    said, wrong = drill.communicate(timeout=TIMEOUT_S)
    assert drill.returncode == 130, said + wrong
    assert ended(started)
    assert list(short.iterdir()) == []
