"""How fast the backtest is: the standard workload through the real pipeline, and through a plain loop as its peer.

    python benchmarks/backtest.py [DIR] [--repeat 3] [--coins 100] [--hours 17520] [--no-scaling]

DIR is a data folder with the workload's tables; without it a market of the same kind is made up from a seed. Prints
one JSON object. Every measurement is a process of its own, and the two engines take turns, so that a noisy machine
is unfair to both. Half and double the coins and hours are always of the made-up market.

`wall_s` is the run itself, signals included; reading the tables is `load_s`; both are medians. `peak_mib` is the
whole process with its libraries, reading included. The plain loop knows one strategy, no orders, no tiers and no
reports: it says how fast this machine is today, not how fast a backtest should be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
ENGINES = ("pipeline", "plain_loop")
LIBRARIES = ("hedgerow", "numpy", "bottleneck", "pyarrow")


def child(*arguments: str) -> Any:
    """What a fresh process says on its last line, as JSON."""
    command = [sys.executable, "-m", "benchmarks.one_backtest", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(folder: Path, engines: tuple[str, ...], repeat: int) -> dict[str, dict[str, Any]]:
    """Each engine over the folder `repeat` times, in turns."""
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    for _ in range(repeat):
        for engine in engines:
            runs[engine].append(child("run", engine, str(folder)))
    return {engine: summary(each) for engine, each in runs.items()}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the times, the best one beside them, and what was the same in all runs."""
    first = runs[0]
    outcome = ("coins", "hours", "final_equity", "fills", "liquidations")
    wall_s = median(run["wall_s"] for run in runs)
    bar_coins = first["coins"] * first["hours"]
    return {
        "wall_s": round(wall_s, 4),
        "wall_s_best": round(min(run["wall_s"] for run in runs), 4),
        "load_s": round(median(run["load_s"] for run in runs), 4),
        "bar_coins": bar_coins,
        "bar_coins_per_s": round(bar_coins / wall_s),
        "us_per_bar_coin": round(1e6 * wall_s / bar_coins, 4),
        "us_per_bar": round(1e6 * wall_s / first["hours"], 2),
        "peak_mib": round(max(run["peak_mib"] for run in runs), 1),
        **{name: first[name] for name in outcome},
        "same_outcome_every_time": all(run[name] == first[name] for run in runs for name in outcome),
    }


def scaling(folder: Path, coins: int, hours: int, repeat: int) -> list[dict[str, Any]]:
    """The made-up market at its size, and at half and double the coins and the hours."""
    sizes = [(coins, hours), (coins // 2, hours), (2 * coins, hours), (coins, hours // 2), (coins, 2 * hours)]
    folders = [folder / f"{n}x{t}" for n, t in sizes]
    for (n, t), place in zip(sizes, folders, strict=True):
        child("make", str(place), str(n), str(t))
    turns = [[child("run", "pipeline", str(place)) for place in folders] for _ in range(repeat)]
    rows = [summary(list(runs)) for runs in zip(*turns, strict=True)]
    for row in rows:
        row["cost_ratio"] = round(row["us_per_bar_coin"] / rows[0]["us_per_bar_coin"], 3)
    return rows


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="data folder of the workload")
    parser.add_argument("--repeat", type=int, default=3, help="runs per measurement (default 3)")
    parser.add_argument("--coins", type=int, default=100, help="coins of the made-up market (default 100)")
    parser.add_argument("--hours", type=int, default=17_520, help="its hours (default 17520, two years)")
    parser.add_argument("--no-scaling", action="store_true", help="leave out half and double the size")
    options = parser.parse_args()
    if options.repeat < 1 or options.coins < 2 or options.hours < 400:
        parser.error("needs at least one run, two coins and 400 hours")
    if options.folder is not None and not (options.folder / "hl_candles_1h.parquet").is_file():
        parser.error(
            f"{options.folder} has no hl_candles_1h.parquet; name a folder with the workload's tables"
        )
    with tempfile.TemporaryDirectory(prefix="hedgerow-bench-") as made:
        folder = options.folder
        if folder is None:
            folder = Path(made) / "standard"
            child("make", str(folder), str(options.coins), str(options.hours))
        engines = measured(folder.resolve(), ENGINES, options.repeat)
        ours, plain = engines["pipeline"], engines["plain_loop"]
        sizes = (
            [] if options.no_scaling else scaling(Path(made), options.coins, options.hours, options.repeat)
        )
    result = {
        "benchmark": "backtest",
        "data": "made up" if options.folder is None else options.folder.name,
        **ours,
        "plain_loop": plain,
        "ratio_to_plain_loop": round(ours["wall_s"] / plain["wall_s"], 3),
        "equity_difference": abs(ours["final_equity"] / plain["final_equity"] - 1),
        "scaling": sizes,
        "repeat": options.repeat,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
