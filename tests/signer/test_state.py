"""What must outlive a kill: nonces, budgets, the audit log."""

import json
import os
import random
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bot.signer import audit, signing
from bot.signer.nonces import Nonces
from bot.signer.policy import SignerConfigError
from bot.signer.requests import Refusal
from tests.signer.support import START_MS, Desk, changed, order

GIVING = """
import sys, time
from pathlib import Path
from bot.signer.nonces import Nonces
nonces = Nonces(Path(sys.argv[1]))
now = int(sys.argv[2])
while True:
    print(nonces.next(now), flush=True)
    now += 7
"""
"""Gives out nonces until it is killed."""


def test_nonces_never_come_twice_whenever_the_program_is_killed(tmp_path: Path) -> None:
    given: list[int] = []
    rng = random.Random(5)
    for _ in range(12):
        start = str(START_MS + rng.randint(-5_000, 5_000))
        with subprocess.Popen(
            [sys.executable, "-c", GIVING, str(tmp_path / "nonce"), start], stdout=subprocess.PIPE, text=True
        ) as giving:
            assert giving.stdout is not None
            given += [int(giving.stdout.readline()) for _ in range(rng.randint(1, 400))]
            giving.send_signal(signal.SIGKILL)
            given += [
                int(line) for line in giving.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            ]

    assert all(later > earlier for earlier, later in pairwise(given))


def test_a_nonce_is_durable_before_it_is_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nonces = Nonces(tmp_path / "nonce")
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append(int((tmp_path / "nonce").read_text())))

    for now in range(START_MS, START_MS + 5_000, 3):
        assert nonces.next(now) <= synced[-1]


def test_a_clock_that_goes_back_gets_higher_nonces_all_the_same(tmp_path: Path) -> None:
    nonces = Nonces(tmp_path / "nonce")
    assert nonces.next(START_MS) == START_MS
    assert nonces.next(START_MS - 40_000) == START_MS + 1
    with pytest.raises(Refusal, match="nonce_ahead"):
        nonces.next(START_MS - 60_000)


def test_a_disk_that_does_not_keep_the_mark_gets_no_nonce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonces = Nonces(tmp_path / "nonce")

    def full(_: int) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(Refusal, match="storage"):
        nonces.next(START_MS)


def test_a_damaged_nonce_file_is_not_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "nonce").write_text("17900")
    with pytest.raises(SignerConfigError, match="damaged"):
        Nonces(tmp_path / "nonce")


def test_a_restart_resets_no_budget_no_cloid_and_no_nonce(tmp_path: Path) -> None:
    desk = Desk(tmp_path, changed(turnover_usd_per_day=5000))
    desk.ready()
    first = order(size="0.05")
    nonce = desk.ask("order", orders=[first], grouping="na", expires_in_ms=9_000)["ok"]["nonce"]
    left = desk.ask("status")["ok"]["left"]
    desk.again()

    assert desk.ask("status")["ok"]["left"] == left
    assert desk.order(order()) == "reference"
    desk.ready()
    assert desk.order(first) == "cloid_used"
    assert desk.order(order(size="0.05")) == "ok"
    assert desk.order(order(size="0.0001")) == "turnover_usd"
    assert desk.rule("fence", nonce=nonce) == "ok"


def test_what_was_in_flight_before_a_restart_still_counts_as_if_it_filled(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    assert [desk.order(order(size="0.05")) for _ in range(4)] == ["ok"] * 4
    desk.again()
    desk.ready()

    assert desk.order(order(size="0.0001")) == "position_usd"


@pytest.mark.parametrize("step", ["nonce", "audit", "signature"])
def test_a_kill_between_two_steps_costs_a_nonce_and_never_a_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A child does one step and dies as by kill -9; then the signer starts on what it left."""
    desk = Desk(tmp_path, changed(turnover_usd_per_day=2500))
    desk.ready()
    first, second = order(size="0.05"), order(size="0.05")
    child = os.fork()
    if child == 0:

        def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        if step == "nonce":
            monkeypatch.setattr(desk.audit, "append", die)
        elif step == "audit":
            monkeypatch.setattr(signing.SigningKey, "sign_l1", die)
        else:
            monkeypatch.setattr(signing, "body", die)
        desk.order(first)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    desk.again()
    desk.ready()
    answer = desk.ask("order", orders=[second], grouping="na", expires_in_ms=9_000)

    if step == "nonce":  # nothing was written down, so nothing can have been signed
        assert answer["ok"]["nonce"] > START_MS
    else:
        assert answer["deny"]["rule"] == "turnover_usd"
    cancel = desk.ask("cancel", cancels=[{"coin": "BTC", "oid": 1}], fast=False)
    assert cancel["ok"]["nonce"] > START_MS


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An audit log of 30 lines whose head was exported at its end."""
    written = audit.AuditLog(tmp_path / "audit.jsonl")
    for n in range(30):
        written.append({"kind": "sign", "nonce": START_MS + n, "turnover": n * 1_000})
    written.close()
    return tmp_path / "audit.jsonl"


def broken(log: Path, lines: list[bytes]) -> bool:
    log.write_bytes(b"".join(lines))
    try:
        audit.verify(log, audit.read_head(log.with_name("head")))
    except audit.BrokenChain:
        return True
    return False


def test_an_untouched_log_is_whole(log: Path) -> None:
    assert audit.verify(log, audit.read_head(log.with_name("head"))).sequence == 30


def test_every_dropped_or_swapped_line_and_every_cut_is_seen(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    for n in range(30):
        assert broken(log, lines[:n] + lines[n + 1 :]), n
        assert broken(log, lines[:n]), n
        if n:
            assert broken(log, [*lines[: n - 1], lines[n], lines[n - 1], *lines[n + 1 :]]), n
    assert not broken(log, lines)


def test_lines_swapped_doubled_or_put_in_anywhere_are_seen(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    for first in range(30):
        for second in range(first + 1, 30):
            swapped = lines.copy()
            swapped[first], swapped[second] = lines[second], lines[first]
            assert broken(log, swapped), (first, second)
        assert broken(log, [*lines[: first + 1], *lines[first:]]), first
        assert broken(log, [*lines[:first], b'{"sequence":%d,"kind":"deny"}\n' % (first + 1), *lines[first:]])


def test_every_changed_byte_and_every_cut_anywhere_is_seen(log: Path) -> None:
    whole = log.read_bytes()
    rng = random.Random(3)
    for place in range(len(whole)):
        bent = bytearray(whole)
        bent[place] ^= 1 << rng.randrange(8)
        assert broken(log, [bytes(bent)]), place
        assert broken(log, [whole[:place]]), place


def test_every_changed_byte_of_the_exported_head_is_seen(log: Path) -> None:
    head = log.with_name("head")
    whole = head.read_bytes()
    assert whole.endswith(b"}\n")
    for place in range(len(whole) - 1):  # the line's end says nothing
        bent = bytearray(whole)
        bent[place] ^= 1
        head.write_bytes(bytes(bent))
        with pytest.raises(audit.BrokenChain):
            audit.verify(log, audit.read_head(head))


def test_a_rewritten_log_with_right_hashes_is_not_the_exported_one(log: Path) -> None:
    head = audit.read_head(log.with_name("head"))
    log.unlink()
    log.with_name("head").unlink()
    other = audit.AuditLog(log)
    for n in range(30):
        other.append({"kind": "sign", "nonce": START_MS + n, "turnover": 0})
    other.close()

    with pytest.raises(audit.BrokenChain, match="is not the one whose hash was exported"):
        audit.verify(log, head)


def test_a_signer_does_not_start_on_a_log_that_was_tampered_with(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    assert desk.order(order()) == "ok"
    desk.audit.sync()
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"turnover":500000000', b'"turnover":000000000'))

    with pytest.raises(audit.BrokenChain):
        desk.again()


def test_a_line_torn_by_a_power_cut_is_left_out_and_the_log_goes_on(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b'{"sequence":31,"kind":"si')
    again = audit.AuditLog(log)
    again.append({"kind": "sign"})
    again.close()

    assert audit.verify(log).sequence == 31


def test_a_full_disk_leaves_the_log_as_it_was_and_nothing_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:20]))
    assert desk.order(order()) == "storage"
    monkeypatch.undo()
    assert desk.order(order()) == "ok"
    desk.audit.sync()

    kinds = [record["kind"] for record in audit.read(tmp_path / "audit.jsonl")]
    assert kinds == ["start", "sign"]
    assert json.loads((tmp_path / "head").read_text())["sequence"] == 2
