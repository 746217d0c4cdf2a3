"""The outbox: an attempt whose commit returned is there whatever dies, one whose did not is wholly absent."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import StateError
from bot.journal.journal import Journal
from bot.model.attempt import Attempt, AttemptState, Evidence, IllegalMove, Proof
from bot.model.order import Purpose, Side
from bot.venues.outbox import MemoryOutbox
from bot.venues.venue import Outbox

REPOSITORY = Path(__file__).resolve().parents[2]
NONCE = 1_700_000_000_000
S = AttemptState
ACK = Evidence(Proof.REPLY, NONCE + 30, "resting", 77)
LOST = Evidence(Proof.NO_ANSWER, NONCE + 40, "timed out")


def attempt(number: int, place: int = 0, **changes: object) -> Attempt:
    made = Attempt(
        cloid=f"0xb0{number:06x}{place:02x}",
        client_id=f"{number:x}-BTC-{place}",
        decision_id=f"{number:x}",
        coin="BTC",
        side=Side.SELL if place % 2 else Side.BUY,
        lots=10 + place,
        price="60000.5",
        reduce_only=bool(place % 2),
        purpose=Purpose.EXIT if place % 2 else Purpose.ENTRY,
        nonce=NONCE + number,
        expires_ms=NONCE + number + 15_000,
        body_sha256=f"{number:064x}",
        sent_ms=NONCE + number + 1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def batch(number: int, count: int = 3) -> list[Attempt]:
    """Orders that were signed as one action."""
    return [attempt(number, place) for place in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.sqlite"


@pytest.fixture(params=["journal", "memory"])
def outbox(request: pytest.FixtureRequest, path: Path) -> Iterator[Outbox]:
    if request.param == "memory":
        yield MemoryOutbox()
        return
    with Journal.open(path) as journal:
        yield journal.attempts


# What every outbox does


def test_what_was_written_is_open_until_it_ends(outbox: Outbox) -> None:
    outbox.write(batch(2))
    outbox.write([attempt(1, expires_ms=None, decision_id=None)])
    late, *three = outbox.open_attempts()
    assert late == attempt(1, expires_ms=None, decision_id=None, state=S.SENT, epoch=outbox.epoch)
    assert three == [replace(each, state=S.SENT, epoch=outbox.epoch) for each in batch(2)]
    first, second, third = (each.cloid for each in three)
    outbox.move(first, S.REJECTED, Evidence(Proof.REPLY, NONCE + 30, "Insufficient margin"))
    outbox.move(second, S.ACKED, ACK)
    assert [(each.cloid, each.state) for each in outbox.open_attempts()] == [
        (late.cloid, S.SENT),
        (second, S.ACKED),
        (third, S.SENT),
    ]
    known = outbox.attempt(second)
    assert known is not None
    assert known.evidence == ACK
    ended = outbox.attempt(first)
    assert ended is not None
    assert (ended.state, ended.evidence) == (
        S.REJECTED,
        Evidence(Proof.REPLY, NONCE + 30, "Insufficient margin"),
    )
    assert outbox.attempt("0xb0") is None


def test_what_got_lost_is_found_or_fenced_or_expires(outbox: Outbox) -> None:
    outbox.write(batch(1))
    cloids = [each.cloid for each in batch(1)]
    outbox.move_all([(cloid, S.UNKNOWN, LOST) for cloid in cloids])
    outbox.move_all(
        [
            (cloids[0], S.FILLED, Evidence(Proof.STATUS, NONCE + 50, "filled", 7, 10)),
            (cloids[1], S.FENCED, Evidence(Proof.FENCE, NONCE + 60)),
            (cloids[2], S.EXPIRED, Evidence(Proof.EXPIRY, NONCE + 60_000)),
        ]
    )
    assert outbox.open_attempts() == []
    assert [outbox.attempt(cloid).state for cloid in cloids] == [S.FILLED, S.FENCED, S.EXPIRED]  # type: ignore[union-attr]


def test_telling_the_same_again_changes_nothing(outbox: Outbox) -> None:
    outbox.write([attempt(1)])
    cloid = attempt(1).cloid
    for _ in range(2):
        outbox.move(cloid, S.CANCELED, Evidence(Proof.REPLY, NONCE + 30, "first", 7, 4))
    outbox.move(cloid, S.CANCELED, Evidence(Proof.STATUS, NONCE + 90, "second", 7, 4))
    ended = outbox.attempt(cloid)
    assert ended is not None
    assert ended.evidence == Evidence(Proof.REPLY, NONCE + 30, "first", 7, 4)


def test_a_cloid_or_a_nonce_that_was_used_is_never_used_again(outbox: Outbox) -> None:
    outbox.write(batch(1))
    outbox.move(attempt(1).cloid, S.REJECTED, Evidence(Proof.NOT_SENT, NONCE, "connection refused"))
    again = attempt(2, cloid=attempt(1).cloid)
    same_nonce = attempt(3, nonce=NONCE + 1)
    twice = attempt(4, 1, cloid=attempt(4).cloid)
    for wrong in ([again], [attempt(5), again], [same_nonce], [attempt(4), twice]):
        with pytest.raises(StateError, match="sent before") as caught:
            outbox.write(wrong)
        assert wrong[0].body_sha256 not in str(caught.value)
    assert [each.nonce for each in outbox.open_attempts()] == [NONCE + 1] * 2
    for number in (4, 5):
        assert outbox.attempt(attempt(number).cloid) is None


def test_several_moves_are_made_together_or_not_at_all(outbox: Outbox) -> None:
    outbox.write(batch(1))
    one, two, _ = (each.cloid for each in batch(1))
    with pytest.raises(IllegalMove, match="can't become fenced"):
        outbox.move_all([(one, S.ACKED, ACK), (two, S.FENCED, Evidence(Proof.FENCE, NONCE))])
    with pytest.raises(IllegalMove, match="never written down"):
        outbox.move_all([(one, S.ACKED, ACK), ("0xb0", S.ACKED, ACK)])
    assert {each.state for each in outbox.open_attempts()} == {S.SENT}


def test_what_has_ended_is_neither_sent_nor_moved_again(outbox: Outbox) -> None:
    with pytest.raises(IllegalMove, match="an attempt is made once"):
        outbox.write([attempt(1), replace(attempt(2), state=S.SENT)])
    assert outbox.open_attempts() == []


# What the journal does beside


def test_orders_of_one_nonce_are_of_one_body(path: Path) -> None:
    with Journal.open(path) as journal:
        for change in ({"body_sha256": "0" * 64}, {"expires_ms": None}, {"sent_ms": 5}):
            with pytest.raises(ValueError, match="one action"):
                journal.attempts.write([attempt(1), attempt(1, 1, **change)])
        assert journal.attempts.open_attempts() == []


def test_a_restart_finds_what_is_open_under_a_higher_epoch(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.attempts.write(batch(1))
        journal.attempts.move(attempt(1).cloid, S.UNKNOWN, LOST)
        before = journal.attempts.open_attempts()
    with Journal.open(path) as journal:
        assert journal.attempts.open_attempts() == before
        assert {each.epoch for each in before} == {journal.attempts.epoch - 1}
        journal.attempts.write([attempt(2)])
        assert journal.attempts.open_attempts()[-1].epoch == journal.attempts.epoch


def test_nothing_is_written_for_an_owner_who_was_replaced(path: Path) -> None:
    with Journal.open(path) as journal:
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("INSERT INTO lease VALUES (9, 1, 1)")
        with pytest.raises(StateError, match="taken it over"):
            journal.attempts.write(batch(1))
        assert journal.attempts.open_attempts() == []


def test_one_write_is_one_sync_and_has_no_body_in_it(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.attempts.write(batch(1))
        statements: list[str] = []
        journal._writer.connection.set_trace_callback(statements.append)
        journal.attempts.write(batch(2, 32))
        journal._writer.connection.set_trace_callback(None)
    assert [each for each in statements if each.split()[0] in ("BEGIN", "COMMIT")] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    with closing(sqlite3.connect(path)) as connection:
        columns = [
            row[1]
            for table in ("action", "attempt")
            for row in connection.execute(f"PRAGMA table_info({table})")
        ]
    assert [name for name in columns if "body" in name or "signature" in name] == ["body_sha256"]


# Whatever dies

AT_EVERY_STATEMENT = """
import os, signal, sys
from pathlib import Path
from bot.journal.journal import Journal
from tests.journal.test_attempts import ACK, S, batch

def live(path, last, step):
    journal = Journal.open(path)
    journal.attempts.write(batch(1))
    count = 0
    def die(statement):
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
    journal._writer.connection.set_trace_callback(die)
    if step == "write":
        journal.attempts.write(batch(2))
    else:
        journal.attempts.move_all([(each.cloid, S.ACKED, ACK) for each in batch(1)])
    path.with_suffix(".returned").touch()
    os.kill(os.getpid(), signal.SIGKILL)

folder, step, last = Path(sys.argv[1]), sys.argv[2], 0
while not [*folder.glob("*.returned")]:
    last += 1
    child = os.fork()
    if child == 0:
        live(folder / f"{last}.sqlite", last, step)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
print(last)
"""


@pytest.mark.parametrize("step", ["write", "move"])
def test_killed_before_any_statement_it_is_all_there_or_not_at_all(tmp_path: Path, step: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_STATEMENT, str(tmp_path), step],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    kills = int(done.stdout)
    assert kills > 5
    old, new = ({each.cloid for each in batch(number)} for number in (1, 2))
    for last in range(1, kills + 1):
        with Journal.open(tmp_path / f"{last}.sqlite") as journal:
            found = {each.cloid: each.state for each in journal.attempts.open_attempts()}
        has_returned = last == kills
        if step == "write":
            assert found == dict.fromkeys(old | new if has_returned else old, S.SENT)
        else:
            assert found == dict.fromkeys(old, S.ACKED if has_returned else S.SENT)


FOR_EVER = """
import sys
from pathlib import Path
from bot.journal.journal import Journal
from tests.journal.test_attempts import ACK, S, batch
with Journal.open(Path(sys.argv[1])) as journal:
    number = 0
    while True:
        number += 1
        journal.attempts.write(batch(number))
        print(f"sent {number}", flush=True)
        journal.attempts.move(batch(number)[0].cloid, S.ACKED, ACK)
        print(f"acked {number}", flush=True)
"""


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_a_random_moment_nothing_that_was_acknowledged_is_lost(path: Path, seed: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", FOR_EVER, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(random.Random(seed).uniform(0, 0.1))  # by no means exact: any moment will do
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(10) == -signal.SIGKILL
    said = ["sent 1", *writer.stdout.read().splitlines()]
    writer.stdout.close()
    holds_whole_actions(path, max(int(line.split()[1]) for line in said if line.startswith("sent ")))


def holds_whole_actions(path: Path, at_least: int, at_most: int | None = None) -> int:
    """Actions are there one after the other, each with all its orders; returns how many."""
    with Journal.open(path) as journal:
        found = journal.attempts.open_attempts()
    count = len(found) // 3
    assert [each.cloid for each in found] == [
        each.cloid for number in range(1, count + 1) for each in batch(number)
    ]
    # An action's first order was acknowledged before the next was sent.
    assert all(found[3 * k].state is S.ACKED for k in range(count - 1))
    assert count >= at_least
    assert at_most is None or count <= at_most
    return count


def test_a_log_cut_off_by_a_power_failure_leaves_whole_actions(path: Path, tmp_path: Path) -> None:
    lengths = []
    with Journal.open(path) as journal:
        log = path.with_name(path.name + "-wal")
        for number in range(1, 6):
            journal.attempts.write(batch(number))
            lengths.append(log.stat().st_size)
            journal.attempts.move(batch(number)[0].cloid, S.ACKED, ACK)
        content = log.read_bytes()
        shutil.copy(path, tmp_path / "file")
    copy = tmp_path / "cut" / "paper.sqlite"
    copy.parent.mkdir()
    for length in range(lengths[0], len(content) + 1, 1030):
        for old in copy.parent.iterdir():
            old.unlink()
        shutil.copy(tmp_path / "file", copy)
        copy.with_name(copy.name + "-wal").write_bytes(content[:length])
        durable = sum(each <= length for each in lengths)
        holds_whole_actions(copy, durable, durable)


def test_a_disk_that_takes_nothing_more_means_that_nothing_is_sent(path: Path) -> None:
    with Journal.open(path) as journal:
        connection = journal._writer.connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StateError, match="the disk is full"):  # noqa: PT012 - which of them fails is not known
            for number in range(1, 1000):
                journal.attempts.write(batch(number, 8))
        assert number > 1
        assert len(journal.attempts.open_attempts()) == 8 * (number - 1)
        assert journal.attempts.attempt(attempt(number).cloid) is None
