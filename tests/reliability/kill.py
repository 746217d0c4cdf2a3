"""kill -9 of the daemon, the signer or both while they trade on a devnet that lives on: nothing lost, nothing doubled.

    python -m tests.reliability.kill --rounds 200 --seed 1 [--fills 100000] [--keep DIR]

Two rounds in three strike within 60 ms after a signature was made, so that the order is being written down, under way,
or just answered; the others at any moment. What was killed is started again at once, and the next round begins when
it trades. Prints JSON; the exit code is 1 where anything was lost, doubled or differs to the last digit. Ctrl-C ends it
after the round in progress, and what was done is compared.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.reliability.books import Gathered, Verdict, compare
from tests.reliability.bulk import fill_up
from tests.reliability.world import ENVIRONMENT, PATIENCE_S, World

VICTIMS: Final = ("daemon", "signer", "both")
READY: Final = "run goes on"
SIGNED_S: Final = 0.06
ANY_S: Final = 1.5
NETWORK: Final = {"paths": ["/exchange"], "delay_ms": [5, 50], "lost_reply": 0.03}
"""What lies between: without it an order would be answered before a kill could strike."""


@dataclass
class Rounds:
    """What the rounds came to."""

    killed: Counter[str] = field(default_factory=Counter)
    open_attempts: int = 0
    """Rounds in which the daemon's journal held an attempt without an answer when it was killed."""
    ready_s: list[float] = field(default_factory=list)
    ready_cpu_s: list[float] = field(default_factory=list)
    """Of the daemon alone: what a start costs, whoever else wants the processors meanwhile."""


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def attempts_open(journal: Path) -> bool:
    """Whether something was under way when the daemon died."""
    with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT 1 FROM attempt WHERE state IN ('sent', 'unknown') LIMIT 1"
        ).fetchone()
    return found is not None


def cycles(journal: Path) -> int:
    """Whole cycles in the journal."""
    with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM equity").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def wait_for_cycles(world: World, count: int) -> None:
    """Until the journal holds so many."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not world.journal.exists() or cycles(world.journal) < count:
        assert world.daemon.process.poll() is None, world.daemon.said()[-3000:]
        assert time.monotonic() < deadline_s, world.daemon.said()[-3000:]
        time.sleep(0.02)


def prepare(world: World, fills: int) -> None:
    """A journal of a first quiet cycle and of `fills` fills, and everybody up and trading."""
    world.write_config(0.0)
    world.start_signer()
    world.signer.until("ready:")
    world.start_daemon()
    world.daemon.until("run begins")
    world.run_clock(runs=True)
    wait_for_cycles(world, 1)
    assert world.daemon.end() == 0, world.daemon.said()
    world.run_clock(runs=False)
    if fills:
        fill_up(world.journal, fills)
    world.write_config(1.0)
    world.start_daemon()
    world.daemon.until(READY)
    world.run_clock(runs=True)
    wait_for_cycles(world, cycles(world.journal) + 1)
    world.post("/devnet/chaos", {"seed": world.seed, **NETWORK})


def strike(world: World, dice: random.Random) -> None:
    """Wait for the moment."""
    if dice.random() < 1 / 3:
        time.sleep(dice.uniform(0, ANY_S))
        return
    size, deadline_s = world.audit.stat().st_size, time.monotonic() + 5
    while world.audit.stat().st_size == size and time.monotonic() < deadline_s:
        time.sleep(0.0005)
    time.sleep(dice.uniform(0, SIGNED_S))


def kill_one(world: World, victim: str, result: Rounds) -> None:
    """Kill and start again; when the daemon is ready is measured from its start to the line in its log."""
    victims = ["signer", "daemon"] if victim == "both" else [victim]
    for each in victims:
        getattr(world, each).process.send_signal(signal.SIGKILL)
    for each in victims:
        getattr(world, each).kill()
    result.killed[victim] += 1
    if victim != "signer":
        result.open_attempts += attempts_open(world.journal)
    began_s = time.monotonic()
    if victim != "daemon":
        world.start_signer()
        world.signer.until("ready:")
    if victim != "signer":
        world.start_daemon()
        world.daemon.until(READY)
        result.ready_s.append(time.monotonic() - began_s)
        result.ready_cpu_s.append(cpu_s(world.daemon.process.pid))


def settle(world: World) -> None:
    """Let it come to rest, and end everybody in order."""
    world.post("/devnet/chaos", {"lost_reply": 0.0})
    wait_for_cycles(world, cycles(world.journal) + 2)
    assert world.daemon.end() == 0, world.daemon.said()[-3000:]
    world.run_clock(runs=False)


def run(
    rounds: int, seed: int, fills: int, folder: Path, victims: tuple[str, ...] = VICTIMS
) -> dict[str, Any]:
    """All of it; what came of it as JSON values."""
    dice, result, gathered = random.Random(seed), Rounds(), Gathered()
    began_s = time.monotonic()
    with World(folder, seed) as world:
        prepare(world, fills)
        size_mib = world.journal.stat().st_size / (1 << 20)
        with _ended_early() as ended:
            while result.killed.total() < rounds and not ended:
                strike(world, dice)
                kill_one(world, victims[result.killed.total() % len(victims)], result)
                gathered.ask(world)
                wait_for_cycles(world, cycles(world.journal) + 1)
                _tell(result.killed.total(), rounds)
        settle(world)
        gathered.ask(world)
        assert world.signer.end() == 0
        assert world.devnet.end() == 0
        verdict = compare(world.journal, world.state, world.paper.account, gathered)
        verify_ledger(world, verdict)
    return {
        "rounds": result.killed.total(),
        "seed": seed,
        "killed": dict(result.killed),
        "killed_with_an_order_under_way": result.open_attempts,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "wrong": verdict.wrong,
        "examples": verdict.examples,
        **verdict.counts,
        "fills_before": fills,
        "journal_mib": round(size_mib, 1),
        "ready_s": _summary(result.ready_s),
        "ready_cpu_s": _summary(result.ready_cpu_s),
        "wall_s": round(time.monotonic() - began_s, 1),
    }


@contextmanager
def _ended_early() -> Iterator[list[int]]:
    """Not empty once somebody has had enough."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _summary(seconds: list[float]) -> dict[str, float | None]:
    if not seconds:
        return {"median": None, "worst": None}
    return {"median": round(statistics.median(seconds), 2), "worst": round(max(seconds), 2)}


def verify_ledger(world: World, verdict: Verdict) -> None:
    """`hedgerow ledger verify` derives the books again from the raw rows."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "ledger", "verify", "config.toml"],
        cwd=world.folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        verdict.say("wrong", [done.stdout + done.stderr])


def _tell(number: int, rounds: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{number}/{rounds}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--fills", type=int, default=100_000, help="fills in the journal before the first round"
    )
    parser.add_argument("--keep", type=Path, help="work in this folder, which must be empty, and leave it")
    options = parser.parse_args()
    place: Any = (
        contextlib.nullcontext(options.keep)
        if options.keep
        else tempfile.TemporaryDirectory(prefix="hedgerow-")
    )
    with place as folder:
        shown = run(options.rounds, options.seed, options.fills, Path(folder))
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    sys.exit(bool(shown["lost"] or shown["doubled"] or shown["wrong"]))


if __name__ == "__main__":
    main()
