"""Disks that fail or fill up under real processes, and at every single call. All: `python -m tests.reliability.disk`."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bot.journal.journal import Journal
from bot.signer import audit
from tests.journal.diary import HOUR_MS, START_MS, facts, quiet_cycle
from tests.reliability.books import Gathered, compare
from tests.reliability.disk import CASES, STRACE, run, stopped_well
from tests.reliability.kill import READY, cycles, prepare, settle, verify_ledger, wait_for_cycles
from tests.reliability.world import ENVIRONMENT, World
from tests.signer.support import Desk, order

needs_strace = pytest.mark.skipif(STRACE is None, reason="strace, which makes calls fail, is not installed")


@needs_strace
@pytest.mark.slow
def test_a_daemon_and_a_signer_whose_disk_fails_stop_in_a_sentence_and_go_on_with_the_venues_books(
    tmp_path: Path,
) -> None:
    shown = run(tmp_path, 5, (CASES[0], CASES[2], CASES[5], CASES[-1]))
    assert [case for case in shown["cases"] if case["wrong"]] == []
    assert shown["books"] == {"lost": 0, "doubled": 0, "wrong": 0}, shown["examples"]
    assert all(case["calls_failed"] for case in shown["cases"])


# A real file system that is full


def fill(ballast: Path) -> None:
    """Leave no room at all."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert shutil.disk_usage(ballast.parent).free == 0


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", ["8m"], indirect=True)
def test_a_full_disk_stops_both_safely_and_when_there_is_room_they_go_on(
    tmp_path: Path, small_disk: Path
) -> None:
    ballast, gathered, wrong = small_disk / "ballast", Gathered(), list[str]()
    with World(tmp_path / "world", 6, disk=small_disk) as world:
        prepare(world, 0)
        fill(ballast)
        said = stopped_well(world, wrong)
        assert "Traceback" not in world.signer.said()
        assert wrong == []
        assert said.startswith("error: journal journal.sqlite: the disk is full; make room and start again")
        ballast.unlink()
        if "locked" in world.signer.said():
            world.signer.end()
            world.start_signer()
            world.signer.until("ready:")
        world.start_daemon()
        world.daemon.until(READY)
        wait_for_cycles(world, cycles(world.journal) + 2)
        settle(world)
        gathered.ask(world)
        world.signer.end()
        assert world.devnet.end() == 0
        verdict = compare(world.journal, world.state, world.paper.account, gathered)
        verify_ledger(world, verdict)
        assert (verdict.lost, verdict.doubled, verdict.wrong) == (0, 0, 0), verdict.examples
        audit.verify(world.audit, audit.read_head(world.audit.with_name("head")))


# Every call

WRITER = """
import sys
from pathlib import Path
from bot.errors import StateError
from tests.journal.diary import Desk
done = 0
try:
    desk = Desk(Path(sys.argv[1]))
    while done < 12:
        desk.hour()
        done += 1
    desk.journal.close()
except StateError as error:
    print(done, error, sep="\\n")
"""


def whole_cycles(path: Path, told: int) -> None:
    """The journal holds the cycles that were told, and maybe the one whose sync failed; it goes on from there."""
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        row = journal._writer.one("SELECT count(*) AS cycles FROM equity")
        assert row is not None
        assert row["cycles"] in {told, told + 1}
        checkpoint = journal.checkpoint()
        if row["cycles"]:
            assert checkpoint is not None
            assert checkpoint.time_ms == START_MS + row["cycles"] * HOUR_MS
        journal.record_cycle(quiet_cycle(START_MS + (row["cycles"] + 1) * HOUR_MS))


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize(
    ("call", "places"),
    [("pwrite64", range(10, 260, 41)), ("fdatasync", range(1, 20, 3)), ("ftruncate", (1,))],
)
def test_whichever_call_on_the_journal_fails_whole_cycles_are_left(
    tmp_path: Path, call: str, places: range, error: str
) -> None:
    assert STRACE is not None
    for place in places:
        path = tmp_path / str(place) / "paper.sqlite"
        done = subprocess.run(
            [STRACE, "-f", "-qq", "-P", str(path), "-P", f"{path}-wal", "-o", str(tmp_path / "strace"),
             "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={place}",
             sys.executable, "-c", WRITER, str(path)],
            env=ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        said = done.stdout.splitlines()
        assert len(said) in {0, 2}, said  # a clean-up that fails at the close is nobody's loss
        whole_cycles(path, int(said[0]) if said else 12)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_whichever_call_of_the_signer_fails_no_nonce_comes_twice_and_each_signature_is_in_the_log(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, refused = 0, 0
    while True:
        place += 1
        folder = tmp_path / str(place)
        folder.mkdir()
        desk, calls = Desk(folder), 0

        def failing(real: Callable[..., Any], at: int = place) -> Callable[..., Any]:
            def call(*asked: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at:
                    raise OSError(number, os.strerror(number))
                return real(*asked)

            return call

        answers: list[dict[str, Any]] = []
        with monkeypatch.context() as patched:
            for name in ("pwrite", "write", "fdatasync", "fsync"):
                patched.setattr(os, name, failing(getattr(os, name)))
            desk.ready()
            for _ in range(3):
                desk.wait(1_500)
                desk.ready()
                answers.append(desk.ask("order", orders=[order()], grouping="na", expires_in_ms=9_000))
                try:
                    desk.audit.sync()
                except OSError:
                    break  # the server locks it, and it has to be started again
        desk.again()
        desk.ready()
        desk.wait(1_000)
        desk.ready()
        answers.append(desk.ask("order", orders=[order()], grouping="na", expires_in_ms=9_000))
        assert "ok" in answers[-1], answers
        given = [answer["ok"]["nonce"] for answer in answers if "ok" in answer]
        assert given == sorted(set(given))
        log = folder / "audit.jsonl"
        written = [
            record["nonce"]
            for record in audit.read(log, audit.read_head(folder / "head"))
            if record["kind"] == "sign"
        ]
        assert set(given) <= set(written)
        refused += len(answers) - len(given)
        desk.close()
        if calls < place:
            break
    assert place > 10
    assert refused > 4
