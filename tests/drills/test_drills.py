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


def start(tmp: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bot", "drill", *arguments],
        cwd=tmp,
        # What the operator's own environment says of a config must not reach the practice.
        env={**ENVIRONMENT, "TMPDIR": str(tmp), "HEDGEROW__MARKET__SPEED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", ["kill", "twin", "dead-signer"])
def test_a_drill_passes_and_leaves_nothing_behind(short: Path, name: str) -> None:
    drill = start(short, name, "--json")
    said, wrong = drill.communicate(timeout=2 * TIMEOUT_S)
    assert drill.returncode == 0, said + wrong
    told = json.loads(said)
    assert (told["drill"], told["result"], told["folder"]) == (name, "PASS", None)
    checks = [step for step in told["steps"] if step["kind"] == "check"]
    assert len(checks) >= 10
    assert not any(step["problems"] for step in checks)
    assert list(short.iterdir()) == []


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def test_ctrl_c_ends_all_that_it_started(short: Path) -> None:
    drill = start(short, "dead-signer")
    assert drill.stdout is not None
    deadline = time.monotonic() + TIMEOUT_S
    while len(started := descendants(drill.pid)) < 3:  # the daemon, its devnet, its signer
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(drill.pid, signal.SIGINT)
    drill.communicate(timeout=TIMEOUT_S)
    assert drill.returncode == 130
    assert ended(started)
    assert list(short.iterdir()) == []
