"""A disk that fails or fills up in the middle of a life: a safe stop in one sentence, and a start that goes on.

    python -m tests.reliability.disk [--seed 1]

A daemon and its signer trade on a devnet that lives on. strace makes calls of one of them on one file fail; what
it says is read, the disk is well again, it is started anew where it ended, and trades. At the end the journal is held
against the venue's books. Prints JSON; the exit code is 1 where a case or the books are not as they should be.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.reliability.books import Gathered, compare
from tests.reliability.kill import READY, cycles, prepare, settle, verify_ledger, wait_for_cycles
from tests.reliability.world import PATIENCE_S, Process, World

GOES_ON_S: Final = 1.0
STRACE: Final = shutil.which("strace")


@dataclass(frozen=True)
class Case:
    """Which calls of whom fail, how, on which file (of the journal or of the signer's state)."""

    victim: str
    file: str
    calls: str
    error: str
    stops: bool = True
    """Else it may go on: what could not be moved from the log into the file stays in the log."""

    @property
    def name(self) -> str:
        """In a few words."""
        return f"{self.victim}: {self.error} of {self.calls} on {self.file}"


JOURNAL: Final = (
    r"error: journal \S+: (the disk is full; make room|reading or writing it failed|an earlier write failed)"
)
CASES: Final = (
    Case("daemon", "journal.sqlite-wal", "pwrite64", "ENOSPC"),
    Case("daemon", "journal.sqlite-wal", "pwrite64", "EIO"),
    Case("daemon", "journal.sqlite-wal", "fdatasync,fsync", "EIO"),
    Case("daemon", "journal.sqlite-wal", "fdatasync,fsync", "ENOSPC"),
    Case("daemon", "journal.sqlite-wal", "pread64", "EIO"),
    Case("daemon", "journal.sqlite", "pwrite64", "ENOSPC", stops=False),
    Case("daemon", "journal.sqlite", "pwrite64", "EIO"),
    Case("daemon", "journal.sqlite", "fdatasync,fsync", "EIO"),
    Case("signer", "nonce", "pwrite64", "ENOSPC"),
    Case("signer", "nonce", "pwrite64", "EIO"),
    Case("signer", "nonce", "fdatasync", "EIO"),
    Case("signer", "audit.jsonl", "write", "ENOSPC"),
    Case("signer", "audit.jsonl", "write", "EIO"),
    Case("signer", "audit.jsonl", "fdatasync", "EIO"),
    Case("signer", "head.new", "write", "ENOSPC"),
    Case("signer", "head.new", "fsync", "EIO"),
)


class Failing:
    """strace on a running process; while it is there the calls fail."""

    def __init__(self, process: Process, path: Path, case: Case) -> None:
        assert STRACE is not None
        inject = f"inject={case.calls}:error={case.error}"
        # The signer's file `head.new` is made anew each time, so it is known by its name, not by an open descriptor.
        self.process = subprocess.Popen(
            [STRACE, "-f", "-qq", "-p", str(process.process.pid), "-P", str(path), "-e", f"trace={case.calls}",
             "-e", inject, "-o", str(path.parent / "strace.out")],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.told = path.parent / "strace.out"

    def struck(self) -> int:
        """How many calls have failed so far."""
        return self.told.read_text().count("(INJECTED)") if self.told.exists() else 0

    def until_struck(self) -> None:
        """Wait for the first."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not self.struck():
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                raise AssertionError(f"strace ended: {self.process.stderr.read()}")
            assert time.monotonic() < deadline_s, "no call failed"
            time.sleep(0.01)

    def end(self) -> int:
        """The disk is well again; how many calls failed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        failed = self.struck()
        self.told.unlink(missing_ok=True)
        return failed


def strike(world: World, case: Case) -> dict[str, Any]:
    """One case from the first failing call until it trades again; `wrong` says what was not as it should be."""
    wrong: list[str] = []
    if case.victim == "daemon":
        failing = Failing(world.daemon, world.journal.with_name(case.file), case)
        try:
            failing.until_struck()
            if case.stops:
                world.daemon.process.wait(PATIENCE_S)
            else:
                time.sleep(GOES_ON_S)
        finally:
            failed = failing.end()
        if case.stops:
            said = stopped_well(world, wrong)
            world.start_daemon()
            world.daemon.until(READY)
        else:
            said = "nothing; it goes on"
            if world.daemon.process.poll() is not None or "Traceback" in world.daemon.said():
                wrong.append(world.daemon.said()[-1000:])
    else:
        failing = Failing(world.signer, world.audit.with_name(case.file), case)
        try:
            failing.until_struck()
            time.sleep(GOES_ON_S)  # in which the daemon asks it for more
        finally:
            failed = failing.end()
        said = signer_after(world, wrong)
    wait_for_cycles(world, cycles(world.journal) + 2)
    return {"case": case.name, "calls_failed": failed, "said": said, "wrong": wrong}


def stopped_well(world: World, wrong: list[str]) -> str:
    """A daemon that has ended: its last words."""
    code = world.daemon.process.wait(PATIENCE_S)
    text = world.daemon.said()
    last = text.strip().splitlines()[-1]
    if code != 1:
        wrong.append(f"exit code {code}")
    if not re.match(JOURNAL, last):
        wrong.append(f"last words: {last[:300]}")
    if "Traceback" in text:
        wrong.append("a traceback: " + text[text.index("Traceback") - 300 :][:1500])
    return last.replace(str(world.journal), world.journal.name)


def signer_after(world: World, wrong: list[str]) -> str:
    """The signer is still there or has locked itself; in that case it is started again, as its sentence says."""
    text = world.signer.said()
    locked = re.findall("^locked: .*$", text, re.MULTILINE)
    said = locked[-1] if locked else "it refused what it could not write down"
    if "Traceback" in text + world.daemon.said():
        wrong.append("a traceback: " + text[-1000:])
    if world.signer.process.poll() is not None:
        wrong.append(f"the signer ended: {text[-300:]}")
    if locked:
        world.signer.end()
        world.start_signer()
        world.signer.until("ready:")
    if world.daemon.process.poll() is not None:
        wrong.append(f"the daemon ended: {world.daemon.said()[-300:]}")
        world.start_daemon()
        world.daemon.until(READY)
    return said


def run(folder: Path, seed: int, cases: tuple[Case, ...] = CASES) -> dict[str, Any]:
    """Every case one after another in one life of the account, then the books."""
    gathered, results = Gathered(), []
    with World(folder, seed) as world:
        prepare(world, 0)
        for case in cases:
            results.append(strike(world, case))
            gathered.ask(world)
        settle(world)
        gathered.ask(world)
        world.signer.end()
        assert world.devnet.end() == 0
        verdict = compare(world.journal, world.state, world.paper.account, gathered)
        verify_ledger(world, verdict)
        verify_audit(world, results)
    books = {"lost": verdict.lost, "doubled": verdict.doubled, "wrong": verdict.wrong}
    return {"cases": results, "books": books, "examples": verdict.examples, **verdict.counts}


def verify_audit(world: World, results: list[dict[str, Any]]) -> None:
    """The chain of the signer's log is whole."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "signer", "verify", str(world.audit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        results.append({"case": "audit log", "wrong": [done.stderr]})


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if STRACE is None:
        sys.exit("strace is not installed; it makes the calls fail")
    with tempfile.TemporaryDirectory(prefix="hedgerow-") as folder:
        shown = run(Path(folder), options.seed)
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    sys.exit(any(case["wrong"] for case in shown["cases"]) or any(shown["books"].values()))


if __name__ == "__main__":
    main()
