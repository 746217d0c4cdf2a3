"""A journal that was deleted, damaged, cut short or filled its disk: it is noticed, told in one sentence, and survived."""

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.errors import StateError
from bot.journal.journal import Journal
from tests.journal.diary import HOUR_MS, NAMES, START_MS, STRATEGIES, Desk, facts, quiet_cycle

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "paper.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path) as opened:
        opened.begin_run(facts())
        opened.record_cycle(quiet_cycle(START_MS))
        yield opened


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def continued(path: Path) -> tuple[Any, ...]:
    """What a restart would go on from."""
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        return repr(journal.memory(STRATEGIES, NAMES)), journal.checkpoint()


# Deleted or replaced while a daemon runs


@pytest.mark.parametrize("file", ["", ".lock", "-wal", "-shm"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_is_gone_stops_the_writer_at_its_next_write(
    journal: Journal, path: Path, file: str, how: str
) -> None:
    gone = path.with_name(path.name + file)
    content = gone.read_bytes()
    gone.unlink()
    if how == "replaced":
        # Made while the old one is still held, so that it can't get the same inode.
        gone.write_bytes(content)
    with pytest.raises(
        StateError, match=rf"{gone.name} was deleted, moved or replaced .* start again"
    ) as caught:
        journal.record_cycle(quiet_cycle(START_MS + HOUR_MS))
    assert "\n" not in str(caught.value)


def test_two_that_got_past_the_lock_do_not_both_write(journal: Journal, path: Path) -> None:
    lock = path.with_name(path.name + ".lock")
    aside = lock.with_name("aside")
    lock.rename(aside)
    with Journal.open(path) as second:
        second.begin_run(facts())
        assert second.epoch == journal.epoch + 1
        aside.rename(lock)  # as it was: only the lease tells
        with pytest.raises(StateError, match=r"another daemon has taken it over \(epoch 2, this one has 1\)"):
            journal.record_cycle(quiet_cycle(START_MS + HOUR_MS))


def test_every_opening_to_write_has_a_higher_epoch_than_the_one_before(path: Path) -> None:
    epochs = []
    for _ in range(3):
        with Journal.open(path) as journal:
            epochs.append(journal.epoch)
    assert epochs == [1, 2, 3]


# What a restart goes on from


@pytest.mark.parametrize("table", ["memory", "checkpoint"])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("DELETE FROM {}", "it has cycles, but their {} is missing"),
        ("UPDATE {} SET content = replace(content, 0, 1)", "its {} is not what was written"),
        ("UPDATE {} SET time_ms = time_ms - 1", "its {} is not what was written"),
        ("UPDATE {} SET checksum = 'x'", "its {} is not what was written"),
    ],
    ids=["missing", "altered", "moved", "unsealed"],
)
def test_a_run_does_not_go_on_from_what_is_missing_or_was_altered(
    path: Path, table: str, damage: str, sentence: str
) -> None:
    Desk(path).hours(2).journal.close()
    execute(path, damage.format(table))
    with pytest.raises(StateError, match=sentence.format(table) + ".*restore a copy.*start a new journal"):
        continued(path)


@pytest.mark.parametrize("table", ["memory", "checkpoint"])
def test_a_run_does_not_go_on_from_an_earlier_cycle(path: Path, table: str) -> None:
    desk = Desk(path).hours(2)
    row = desk.journal._writer.one(f"SELECT * FROM {table}")
    assert row is not None
    desk.hours(1).journal.close()
    execute(path, f"REPLACE INTO {table} VALUES (?, ?, ?, ?)", *row)
    with pytest.raises(StateError, match=f"its {table} is not of its last cycle"):
        continued(path)


def test_cycles_that_were_all_deleted_are_not_taken_for_a_new_journal(path: Path) -> None:
    Desk(path).hours(2).journal.close()
    for table in ("equity", "memory", "checkpoint"):
        execute(path, f"DELETE FROM {table}")
    with pytest.raises(StateError, match="it has cycles, but their memory is missing"):
        continued(path)


def test_a_row_that_refers_to_a_missing_one_is_refused(path: Path) -> None:
    Desk(path).hours(2).journal.close()
    execute(path, "DELETE FROM run")
    with pytest.raises(StateError, match=r"it is damaged; .*rows refer to rows that are missing"):
        continued(path)


@pytest.mark.parametrize("damage", ["usd = usd + 1", "usd = '-'"])
def test_balances_that_were_altered_are_not_gone_on_from(path: Path, damage: str) -> None:
    Desk(path).hours(2).journal.close()
    execute(path, f"UPDATE balance SET {damage} WHERE account = 'CASH'")
    with pytest.raises(StateError, match=r"balances are not what was written.*restore a copy"):
        continued(path)


def test_a_flipped_bit_is_refused_or_does_no_harm(path: Path) -> None:
    Desk(path).hours(6).journal.close()
    whole, before = path.read_bytes(), continued(path)
    chance = random.Random(20)
    refusals = []
    for _ in range(250):
        path.write_bytes(flipped(whole, chance.randrange(len(whole)), chance))
        try:
            assert continued(path) == before
        except StateError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert not any("\n" in sentence for sentence in refusals)


def test_every_flipped_bit_in_what_a_restart_goes_on_from_is_refused(path: Path) -> None:
    Desk(path).hours(6).journal.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")  # pages that are no longer used may hold older ones
    whole, chance = path.read_bytes(), random.Random(21)
    for text in (b'{"strategies":', b'{"version":1,"now_ms":', b'"accounts":', b'"cash_usd":"'):
        start = whole.index(text)
        for place in range(start, start + len(text) + 3):
            path.write_bytes(flipped(whole, place, chance))
            with pytest.raises(StateError, match=r"not what was written|damaged"):
                continued(path)


def flipped(content: bytes, place: int, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def test_a_log_cut_off_anywhere_leaves_whole_cycles(path: Path, tmp_path: Path) -> None:
    desk = Desk(path).hours(4)
    log = path.with_name(path.name + "-wal").read_bytes()
    shutil.copy(path, tmp_path / "file")
    copy = tmp_path / "cut" / "paper.sqlite"
    copy.parent.mkdir()
    frame = 24 + 4096
    found = set()
    for length in [*range(32, len(log) + 1, frame), *range(1000, len(log), 5 * frame)]:
        for old in copy.parent.iterdir():
            old.unlink()
        shutil.copy(tmp_path / "file", copy)
        copy.with_name(copy.name + "-wal").write_bytes(log[:length])
        with Journal.open(copy) as journal:
            checkpoint = journal.checkpoint()
            cycles = journal._writer.one("SELECT count(*) AS n FROM equity")
        assert cycles is not None
        found.add(cycles["n"])
        if cycles["n"]:
            assert checkpoint is not None
            assert checkpoint.time_ms == START_MS + cycles["n"] * HOUR_MS
    assert found == set(range(5))
    desk.journal.close()


# A disk that has no room or fails

WRITER = """
import resource, sys
from pathlib import Path
from bot.errors import StateError
from tests.journal.diary import Desk
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
desk = Desk(Path(sys.argv[1]))
done = 0
try:
    while done < 3000:
        desk.hour()
        done += 1
except StateError as error:
    print(done, str(error), sep="\\n")
    try:
        desk.journal.record_event(0, "note", "")
        print("it wrote on")
    except StateError as again:
        print(again)
"""


def write_until_it_fails(path: Path, *limit: str) -> list[str]:
    """Cycles written whole, what the failing one said, and what a write after that said."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), *limit],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def holds_whole_cycles(path: Path, count: int) -> None:
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        checkpoint = journal.checkpoint()
        assert checkpoint is not None
        assert checkpoint.time_ms == START_MS + count * HOUR_MS
        row = journal._writer.one("SELECT count(*) AS cycles, max(time_ms) AS last FROM equity")
        assert row is not None
        assert tuple(row) == (count, checkpoint.time_ms)
        # The decision may be ahead by the one whose cycle failed; it goes on from there.
        journal.record_cycle(quiet_cycle(checkpoint.time_ms + HOUR_MS))


def test_a_disk_that_fills_up_keeps_whole_cycles_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    path = small_disk / "paper.sqlite"
    cycles, said, again = write_until_it_fails(path)
    assert said == f"journal {path}: the disk is full; make room and start again"
    assert int(cycles) > 5
    assert again
    ballast.unlink()
    holds_whole_cycles(path, int(cycles))


@pytest.mark.parametrize(
    ("name", "stops"), [("SQLITE_IOERR_FSYNC", True), ("SQLITE_CORRUPT", True), ("SQLITE_FULL", False)]
)
def test_a_log_that_cannot_be_moved_into_the_file_stops_the_next_write_where_the_disk_failed(
    path: Path, name: str, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        """The connection, whose checkpoints fail."""

        def __init__(self, real: sqlite3.Connection) -> None:
            self.real = real

        def __getattr__(self, what: str) -> Any:
            return getattr(self.real, what)

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if "wal_checkpoint" not in statement:
                return self.real.execute(statement, *values)
            error = sqlite3.DatabaseError("it failed")
            error.sqlite_errorname = name
            raise error

    monkeypatch.setattr("bot.journal.writer._WAL_BYTES", 0)
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        real = journal._writer.connection
        journal._writer.connection = Failing(real)  # type: ignore[assignment]
        journal.record_cycle(quiet_cycle(START_MS))  # it is on disk: what fails afterwards undoes nothing
        if stops:
            with pytest.raises(StateError, match="an earlier write failed, so nothing more is written"):
                journal.record_cycle(quiet_cycle(START_MS + HOUR_MS))
        else:
            journal.record_cycle(quiet_cycle(START_MS + HOUR_MS))


def test_a_write_that_fails_halfway_keeps_whole_cycles_and_nothing_is_written_after_it(path: Path) -> None:
    cycles, said, again = write_until_it_fails(path, str(1_000_000))
    assert said == f"journal {path}: reading or writing it failed; check the disk"
    assert again.startswith(
        f"journal {path}: an earlier write failed, so nothing more is written; check the disk"
    )
    assert int(cycles) > 5
    holds_whole_cycles(path, int(cycles))
