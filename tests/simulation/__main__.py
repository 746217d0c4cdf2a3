"""One run, or many, told in full: `python -m tests.simulation --seed N [--runs N | --crash-at N [N]] [--legs]`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.crash_runs import day_of
from tests.simulation.faults import plan_of
from tests.simulation.run import simulate


def main() -> int:
    """0 where nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--crash-at", type=int, nargs="+", help="the short day of a crash run, killed at these effects"
    )
    parser.add_argument("--legs", action="store_true", help="short days with two legs")
    asked = parser.parse_args()
    bad = 0
    for seed in range(asked.seed, asked.seed + asked.runs):
        is_day = asked.crash_at or asked.legs
        result = simulate(day_of(seed, asked.crash_at or (), legs=asked.legs) if is_day else plan_of(seed))
        told = f"seed {seed}: {result.lives} lives, {result.effects} effects, {result.steps} steps, {result.digest[:16]}"
        sys.stdout.write(f"{told}\n")
        if result.violations:
            bad += 1
            sys.stdout.write(f"{result.story()}\n")
        elif asked.runs == 1:
            sys.stdout.write(f"{result.counts}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
