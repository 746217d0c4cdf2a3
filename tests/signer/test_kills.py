"""kill -9 at every line of the signer's code that runs while it signs, syncs and starts: what must hold afterwards.

A child process does the work and kills itself when it reaches the k-th line; the next signer starts on what it left.
"""

import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bot.signer import audit, signing
from tests.signer.support import START_MS, Desk, changed, order

SIGNER = tuple(f"bot/signer/{name}.py" for name in ("engine", "audit", "nonces", "limits", "kept", "clock"))
TURNOVER_USD = 5_000  # two orders of $2,500


@dataclass
class Left:
    """What a killed child had done. `was_signing`: the key was used. `answer`: what had reached the client, if whole."""

    finished: bool
    was_signing: bool
    answer: dict[str, Any] | None


def die_at(line: int) -> None:
    """Kill this process when it reaches the so-maniest line of the signer's code from now on."""
    passed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.endswith(SIGNER):
            return None
        if event == "line":
            passed += 1
            if passed == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def killed(work: Callable[[], object], line: int) -> Left:
    """Do the work in a child that dies at a line."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sign = signing.SigningKey.sign_l1

            def watched(key: signing.SigningKey, connection_id: bytes) -> signing.Signature:
                os.write(write, b"S")
                return sign(key, connection_id)

            setattr(signing.SigningKey, "sign_l1", watched)  # noqa: B010 - for this child alone
            die_at(line)
            answer = work()
            sys.settrace(None)
            os.write(write, json.dumps(answer, default=str).encode() + b"\n")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    told = b""
    while select.select([read], [], [], 30)[0] and (piece := os.read(read, 1 << 16)):
        told += piece
    os.close(read)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child fell over"
    text = told.removeprefix(b"S")
    return Left(
        not os.WIFSIGNALED(status), told[:1] == b"S", json.loads(text) if text[-1:] == b"\n" else None
    )


def keep(desk: Desk) -> None:
    """What the server does now and then."""
    desk.engine.tick()
    desk.engine.kept.write()


def signs(folder: Path) -> list[dict[str, Any]]:
    return [record for record in audit.read(folder / "audit.jsonl") if record["kind"] == "sign"]


def test_a_kill_at_any_line_while_it_signs_reuses_no_nonce_and_gives_no_budget_back(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    desk = Desk(origin, changed(turnover_usd_per_day=TURNOVER_USD))
    desk.ready()
    assert desk.order(order(size="0.05")) == "ok"
    given = signs(origin)[0]["nonce"]
    line, seen = 0, {"nothing": 0, "counted": 0, "answered": 0}
    while True:
        line += 1
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(origin, folder)
        asked = order(size="0.05")
        child = Desk(folder, desk.text)
        child.wait(1 if line % 2 else 3_000)  # within the block of nonces that is reserved, and beyond it
        child.ready()

        def work(child: Desk = child, asked: dict[str, Any] = asked) -> dict[str, Any]:
            return child.ask("order", orders=[asked], grouping="na", expires_in_ms=9_000)

        left = killed(work, line)
        child.again()
        child.ready()
        written = signs(folder)[1:]
        mark = int((folder / "nonce").read_text())

        # What was signed, or may have been, stands in the log with its nonce below the mark, and is counted.
        assert len(written) == 1 or not left.was_signing
        assert left.answer is None or left.answer["ok"]["nonce"] == written[0]["nonce"]
        assert all(given < record["nonce"] <= mark for record in written)
        left_usd = child.ask("status")["ok"]["left"]["turnover_usd_per_day"]
        assert left_usd == ("0" if written else "2500")
        assert child.order(asked) == ("cloid_used" if written else "ok")
        cancel = child.ask("cancel", cancels=[{"coin": "BTC", "oid": 1}], fast=False)["ok"]
        assert cancel["nonce"] > max([given, *(record["nonce"] for record in signs(folder)[:-1])])
        seen["answered" if left.answer else "counted" if written else "nothing"] += 1
        child.close()
        if left.finished:
            break

    assert line > 100
    assert seen["answered"] == 1
    assert min(seen["nothing"], seen["counted"]) > 10


@pytest.mark.parametrize("what", ["sync", "start", "keep"])
def test_a_kill_at_any_line_of_a_sync_or_a_start_leaves_a_log_that_the_next_start_takes(
    tmp_path: Path, what: str
) -> None:
    origin, folder = tmp_path / "origin", tmp_path / "copy"
    origin.mkdir()
    desk = Desk(origin, changed(turnover_usd_per_day=TURNOVER_USD))
    desk.ready()
    assert desk.order(order(size="0.05")) == "ok"
    if what == "start":
        with (origin / "audit.jsonl").open("ab") as file:
            file.write(b'{"sequence":99,"kind":"sig')  # torn by a kill before
    line = 0
    while True:
        line += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(origin, folder)
        if what == "start":
            left = killed(lambda: Desk(folder, desk.text), line)
        else:
            child = Desk(folder, desk.text)
            child.wait(3_000)
            child.ready(btc="50001")
            left = killed(child.audit.sync if what == "sync" else partial(keep, child), line)
            child.close()
        after = Desk(folder, desk.text)
        assert after.ask("status")["ok"]["left"]["turnover_usd_per_day"] == "2500"
        assert [record["nonce"] for record in signs(folder)] == [START_MS]
        kept = after.engine.kept.memory.references["BTC"]
        assert kept in {(5_000_000_000_000, START_MS), (5_000_100_000_000, START_MS + 3_000)}
        assert what != "keep" or not left.finished or kept[1] > START_MS
        after.close()
        if left.finished:
            break
    assert line > 10
