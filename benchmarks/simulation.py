"""How fast the whole agent is simulated, and whether anything went wrong.

    python benchmarks/simulation.py [--seconds 30] [--seed 0]

Runs seeds for as long as was asked, then a short day killed at effect after effect. Prints one JSON object: simulated
hours per second of a core and of the clock, runs and crashes, and the seeds with violations.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.simulation.faults import Plan, plan_of
from tests.simulation.run import simulate

SHORT = Plan(
    77, faulty_h=2, quiet_h=2, stop_loss=0.03, actions={"lost_reply": 0.1, "late": 0.1, "lost_request": 0.1}
)


def seeds(first: int, seconds: float) -> dict[str, Any]:
    """Whole runs by their seeds."""
    began_s, cpu_s, runs, lives, simulated_s = time.perf_counter(), time.process_time(), 0, 0, 0.0
    bad: list[int] = []
    attempts = 0
    while time.perf_counter() - began_s < seconds:
        result = simulate(plan_of(first + runs))
        runs, lives, simulated_s = runs + 1, lives + result.lives, simulated_s + result.simulated_s
        attempts += sum(count for name, count in result.counts.items() if name.startswith("attempts "))
        if result.violations:
            bad.append(result.plan.seed)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return {
        "runs": runs,
        "starts": lives,
        "attempts": attempts,
        "simulated_days": round(simulated_s / 86_400, 2),
        "simulated_hours_per_s": round(simulated_s / 3600 / took_s, 1),
        "simulated_hours_per_cpu_s": round(simulated_s / 3600 / cpu_s, 1),
        "runs_per_cpu_s": round(runs / cpu_s, 1),
        "bad_seeds": bad,
    }


def crashes(seconds: float) -> dict[str, Any]:
    """One day, killed at each of its effects in turn, and at two of them after that."""
    effects = simulate(SHORT).effects
    began_s, cpu_s, runs = time.perf_counter(), time.process_time(), 0
    bad: list[list[int]] = []
    while time.perf_counter() - began_s < seconds:
        first, again = runs % effects + 1, runs // effects
        crash_at = {first} if not again else {first, first + 7 * again}
        if simulate(replace(SHORT, crash_at=frozenset(crash_at))).violations:
            bad.append(sorted(crash_at))
        runs += 1
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return {
        "effects": effects,
        "runs": runs,
        "runs_per_s": round(runs / took_s, 1),
        "runs_per_cpu_s": round(runs / cpu_s, 1),
        "bad_crashes": bad,
    }


def main() -> int:
    """0 where nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    told = {"seeds": seeds(asked.seed, asked.seconds / 2), "crashes": crashes(asked.seconds / 2)}
    print(json.dumps(told, indent=2))
    return 1 if told["seeds"]["bad_seeds"] or told["crashes"]["bad_crashes"] else 0


if __name__ == "__main__":
    sys.exit(main())
