"""The long runs: a year of simulated days with a fault in every hour, or crash runs by the thousand.

    python -m tests.simulation.soak --days 365 --coins 8 [--seed 0]
    python -m tests.simulation.soak --crash-runs 100000 [--seed 0]

A year is lived in chapters, each with a seed, an exchange and a journal of its own, all in one process: its memory, its
open files and the journal's log are measured all along, and must not grow. A line tells of each chapter as it ends, with
the seed to go on from. The last line is JSON; the exit code is 1 where anything was violated or has grown.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.simulation.crash_runs import Tally, crash_runs
from tests.simulation.faults import Plan, plan_of
from tests.simulation.run import Run, simulate

COINS: Final = ("BTC", "ETH", "SOL", "HYPE", "XRP", "SUI", "DOGE", "LINK")
CHAPTER_DAYS: Final = 5
DAY_H: Final = 24
QUIET_H: Final = 2
AWAY_S: Final = (1.0, 20.0, 20.0, 400.0, 1500.0)
MB: Final = 1e6
MOST_MB_PER_MONTH: Final = 1.0
MOST_WAL_BYTES: Final = 8 << 20
"""The log is moved into the journal once it is longer than 1 MB; a cycle and its orders may come on top of that."""

TELL_EVERY: Final = 500


def resident_mb() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def open_files() -> int:
    """Handles that this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@dataclass
class Measured:
    """Of one process, over all that it has simulated."""

    memory_mb: list[float] = field(default_factory=list)  # at the end of each chapter
    files: list[int] = field(default_factory=list)  # likewise
    most_memory_mb: float = 0.0
    most_files: int = 0
    largest_wal_bytes: int = 0

    def hour(self, run: Run) -> None:
        """An hour of a chapter begins."""
        self.most_memory_mb = max(self.most_memory_mb, resident_mb())
        self.most_files = max(self.most_files, open_files())
        wal = run.journal.with_name(f"{run.journal.name}-wal")
        if wal.exists():
            self.largest_wal_bytes = max(self.largest_wal_bytes, wal.stat().st_size)

    def chapter(self) -> None:
        """A chapter has ended, and nothing of it is left."""
        gc.collect()
        self.memory_mb.append(resident_mb())
        self.files.append(open_files())

    def growth_mb_per_month(self, chapter_days: float) -> float:
        """From the first third of the chapters to the last; the very first ones warm up."""
        ends = self.memory_mb[2:]
        third = len(ends) // 3
        if not third:
            return 0.0
        grown = median(ends[-third:]) - median(ends[:third])
        return grown / (chapter_days * (len(ends) - third) / 30)


def chapter_of(seed: int, days: int, coins: int) -> Plan:
    """A plan of some days: the odds of its seed, and a fault in each hour whatever they are."""
    drawn = plan_of(seed)
    return Plan(
        seed,
        faulty_h=days * DAY_H - QUIET_H,
        quiet_h=QUIET_H,
        lag=drawn.lag / 10,
        longest_lag_s=drawn.longest_lag_s,
        maker=drawn.maker,
        stop_loss=drawn.stop_loss,
        by_hand=drawn.by_hand,
        halts=seed % 5 == 4,
        power=seed % 7 == 3,
        coins=COINS[:coins],
        weather=True,
        away_s=AWAY_S,
    )


def soak(asked: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Chapter after chapter, until there are enough days."""
    measured, struck, violations = Measured(), Counter[str](), list[str]()
    days, lives, attempts, fills, quiet_hours, seed = 0, 0, 0, 0, 0, asked.seed
    cpu_s, trace = time.process_time(), hashlib.sha256()
    while days < asked.days:
        length = min(asked.chapter_days, asked.days - days)
        result = simulate(chapter_of(seed, length, asked.coins), measured.hour)
        measured.chapter()
        days, lives = days + length, lives + result.lives
        attempts += sum(n for name, n in result.counts.items() if name.startswith("attempts "))
        fills += result.counts.get("attempts filled", 0)
        quiet_hours += result.quiet_hours
        struck.update(result.struck)
        violations += [f"seed {seed}: {each}" for each in result.violations]
        if result.violations:
            _say(result.story())
        trace.update(result.digest.encode())
        seed += 1
        _say(
            f"day {days} of {asked.days}: {lives} lives, {struck.total()} faults, {len(violations)} violations, "
            f"{measured.memory_mb[-1]:.1f} MB, {measured.files[-1]} files, goes on with --seed {seed}"
        )
    growth = measured.growth_mb_per_month(asked.chapter_days)
    ends, files = measured.memory_mb, measured.files
    told = {
        "days": days,
        "coins": asked.coins,
        "seeds": [asked.seed, seed - 1],
        "faults": struck.total(),
        "hours_without_fault": quiet_hours,
        "lives": lives,
        "attempts": attempts,
        "attempts_filled": fills,
        "trace": trace.hexdigest(),
        "violations": len(violations),
        "first_violations": violations[:5],
        "rss_mb": {
            "start": round(ends[0], 1),
            "middle": round(ends[len(ends) // 2], 1),
            "end": round(ends[-1], 1),
            "most": round(measured.most_memory_mb, 1),
            "growth_per_month": round(growth, 3),
        },
        "open_files": {
            "start": files[0],
            "middle": files[len(files) // 2],
            "end": files[-1],
            "most": measured.most_files,
        },
        "largest_wal_bytes": measured.largest_wal_bytes,
        "cpu_s": round(time.process_time() - cpu_s, 1),
        "faults_by_kind": dict(sorted(struck.items())),
    }
    grown = growth > MOST_MB_PER_MONTH or files[-1] > files[0] or measured.largest_wal_bytes > MOST_WAL_BYTES
    return told, not violations and not quiet_hours and not grown


def kill(asked: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Crash runs, until there are enough."""
    tally, cpu_s = Tally(), time.process_time()
    seed = asked.seed
    for result in crash_runs(seed, legs=asked.legs):
        before = tally.runs
        tally.add(result)
        if result.violations:
            _say(result.story())
        seed = result.plan.seed
        if tally.runs % TELL_EVERY == 0 and tally.runs != before:
            _say(
                f"{tally.runs} of {asked.crash_runs} crash runs, {tally.crashes} crashes, {len(tally.bad)} bad, "
                f"{resident_mb():.1f} MB, goes on with --seed {seed}"
            )
        if tally.runs >= asked.crash_runs:
            break
    told = {
        "crash_runs": tally.runs,
        "crashes": tally.crashes,
        "bad": len(tally.bad),
        "legs_taken": tally.legs_taken,
        "longest_unhedged_s": round(tally.longest_unhedged_s, 1),
        "longest_taken_s": round(tally.longest_taken_s, 1),
        "seeds": [asked.seed, seed],
        "rss_mb": round(resident_mb(), 1),
        "cpu_s": round(time.process_time() - cpu_s, 1),
    }
    return told, not tally.bad


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """0 where nothing was violated and nothing has grown."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--coins", type=int, default=len(COINS), choices=range(1, len(COINS) + 1))
    parser.add_argument("--chapter-days", type=int, default=CHAPTER_DAYS)
    parser.add_argument("--crash-runs", type=int, default=0, help="so many of these instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--legs", action="store_true", help="crash runs of days with two legs")
    asked = parser.parse_args()
    told, is_well = kill(asked) if asked.crash_runs else soak(asked)
    _say(json.dumps(told))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
