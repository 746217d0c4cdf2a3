"""How long a person waits: for help, for the status of a daemon, for a daemon's first decision; and what it weighs.

    python benchmarks/startup.py [--repeat 5] [--speed 7200]

Prints one JSON object. Every figure is the median over processes of their own, after one of each that is not counted
(it writes the byte code). `help_ms` and `status_ms` are from start to exit; `ready_ms` is from the start of
`hedgerow run` with config/paper.toml and a new journal until its first cycle stands in the journal. The market is as
fast as `--speed` says: at the config's own 3600 the first simulated hour alone takes a second. `rss_mib` is the daemon's
resident memory after 50 cycles.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parent.parent
HEDGEROW = (sys.executable, "-m", "bot")
CONFIG = REPOSITORY / "config" / "paper.toml"
#: Byte code is written even where this machine's Python is told not to: a user's is, and imports are slow without.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
LIBRARIES = ("hedgerow", "click", "numpy", "pydantic", "structlog", "apscheduler")
SETTLED_CYCLES = 50
PATIENCE_S = 120.0
POLL_S = 0.002


def timed_ms(*arguments: str) -> float:
    """Milliseconds from the start of a command to its exit; it must succeed."""
    began = time.perf_counter()
    command = [*HEDGEROW, *arguments]
    subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def cycles(journal: Path) -> int:
    """Cycles that stand in the journal; 0 while there is none."""
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=1.0)) as connection:
            row = connection.execute("SELECT sum(cycles) FROM run").fetchone()
    except sqlite3.OperationalError:
        return 0  # not made yet, or just being made
    return int(row[0] or 0)


def reached(journal: Path, count: int, daemon: subprocess.Popen[bytes]) -> None:
    """Wait until so many cycles are written; SystemExit where the daemon ends first, or takes for ever."""
    until = time.monotonic() + PATIENCE_S
    while cycles(journal) < count:
        if daemon.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"the daemon did not come to {count} cycles; run it by hand to see why")
        time.sleep(POLL_S)


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(told.stdout) / 1024


def daemon(journal: Path, speed: float) -> tuple[float, float]:
    """(milliseconds to the first cycle, resident MiB after some) of a daemon on a new journal."""
    options = ("--set", f"journal.path={json.dumps(str(journal))}", "--set", f"market.speed={speed}")
    # Its log goes nowhere: a pipe that nobody empties would stop it.
    began = time.perf_counter()
    process = subprocess.Popen(
        [*HEDGEROW, "run", str(CONFIG), *options],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    try:
        reached(journal, 1, process)
        ready_ms = (time.perf_counter() - began) * 1000
        reached(journal, SETTLED_CYCLES, process)
        return ready_ms, resident_mib(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def measured(repeat: int, speed: float) -> Mapping[str, float]:
    """All figures, each a median."""
    found: dict[str, list[float]] = {name: [] for name in ("help_ms", "status_ms", "ready_ms", "rss_mib")}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeat + 1):
            journal = Path(folder) / f"{number}.sqlite"
            ready_ms, rss_mib = daemon(journal, speed)
            help_ms, status_ms = timed_ms("--help"), timed_ms("status", "--journal", str(journal))
            if number:  # the first of each only warms up
                for name, value in zip(found, (help_ms, status_ms, ready_ms, rss_mib), strict=True):
                    found[name].append(value)
    return {name: round(median(values), 1) for name, values in found.items()}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="processes of each kind (default 5)")
    parser.add_argument(
        "--speed", type=float, default=7_200, help="simulated seconds a second (default 7200)"
    )
    given = parser.parse_args()
    if given.repeat < 1 or given.speed <= 0:
        parser.error("--repeat must be at least 1 and --speed above 0")
    facts = {
        **measured(given.repeat, given.speed),
        "repeat": given.repeat,
        "speed": given.speed,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
    }
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
