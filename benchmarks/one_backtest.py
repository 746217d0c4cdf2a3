"""One measurement of the backtest benchmark, in this process: `make DIR COINS HOURS` or `run ENGINE DIR`.

Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def pipeline(folder: Path) -> dict[str, Any]:
    """The real pipeline; the run's time has the signals and the report's curves in it."""
    from benchmarks.standard_workload import workload_from
    from bot.research.backtest import run

    began = time.perf_counter()
    test = workload_from(folder)
    loaded = time.perf_counter()
    record = run(test)
    ended = time.perf_counter()
    return {
        "load_s": loaded - began,
        "wall_s": ended - loaded,
        "coins": len(test.panel.instruments),
        "hours": test.panel.rows,
        "final_equity": float(record.equity_end),
        "fills": len(record.fills),
        "liquidations": len(record.liquidations),
    }


def plain_loop(folder: Path) -> dict[str, Any]:
    """The tests' plain loop over the same tables."""
    from tests.research import plain_engine

    began = time.perf_counter()
    tables = plain_engine.read(folder)
    loaded = time.perf_counter()
    outcome = plain_engine.run(tables)
    ended = time.perf_counter()
    hours, coins = tables.close.shape
    return {
        "load_s": loaded - began,
        "wall_s": ended - loaded,
        "coins": coins,
        "hours": hours,
        "final_equity": outcome.final_equity,
        "fills": outcome.fills,
        "liquidations": outcome.liquidations,
    }


def peak_mib() -> float:
    """The most memory this process has held. The kernel's `ru_maxrss` may be the parent's, so it comes second."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Do what the arguments ask for, and print one line."""
    task, *arguments = sys.argv[1:]
    if task == "make":
        from benchmarks.made_up_market import make, write

        folder, coins, hours = arguments
        write(make(int(hours), int(coins)), Path(folder))
        print(json.dumps({"made": folder}))
        return
    engine, folder = arguments
    measure = {"pipeline": pipeline, "plain_loop": plain_loop}[engine]
    print(json.dumps({**measure(Path(folder)), "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
