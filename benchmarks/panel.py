"""How fast a reply about all coins becomes a row: bytes of metaAndAssetCtxs, through the parse edge, into arrays.

    python benchmarks/panel.py [FILE] [--coins 200] [--repeat 400]

FILE is a recorded reply; without it one is made up from a seed, a quarter of its coins with nulls as of those that are
not traded. Every way is measured in turns. Prints one JSON object, times in ms, `row_ms` the median and `_best` the
quickest turn:

    row         as the daemon reads it: grammar, bounds, keys, universe and columns, exact texts kept for orders
    new_meta    the same where the universe changed since the last reply, so that it is taken apart anew
    exact       value by value with json and Decimal, which decides wherever there is a doubt
    unchecked   orjson and float() into the same arrays: nothing is checked, nothing exact is kept
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import orjson

from bot.model.panel import FloatArray
from bot.venues.hyperliquid import contexts
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.replies import read_reply
from bot.venues.hyperliquid.wire import decode

REQUEST = {"type": "metaAndAssetCtxs"}
LIBRARIES = ("hedgerow", "msgspec", "numpy", "orjson")


def made_up(coins: int) -> list[Any]:
    """A reply of the venue's form."""
    rng = random.Random(20260101)
    universe, listed = [], []
    for k in range(coins):
        price = 10 ** rng.uniform(-3, 5)
        near = [f"{price * (1 + rng.gauss(0, 1e-4)):.5g}" for _ in range(6)]
        plain = [f"{float(text):.6f}".rstrip("0").rstrip(".") for text in near]
        silent = k % 4 == 3
        universe.append({"szDecimals": k % 6, "name": f"C{k}", "maxLeverage": 10, "marginTableId": 52})
        listed.append(
            {
                "funding": f"{rng.gauss(0, 2e-5):.10f}",
                "openInterest": f"{10 ** rng.uniform(3, 8):.2f}",
                "prevDayPx": plain[0],
                "dayNtlVlm": f"{10 ** rng.uniform(4, 9):.10f}",
                "premium": None if silent else f"{rng.gauss(0, 3e-4):.10f}",
                "oraclePx": plain[1],
                "markPx": plain[2],
                "midPx": None if silent else plain[3],
                "impactPxs": None if silent else plain[4:6],
                "dayBaseVlm": f"{10 ** rng.uniform(3, 8):.2f}",
            }
        )
    tiers = [{"lowerBound": "0.0", "maxLeverage": 10}, {"lowerBound": "3000000.0", "maxLeverage": 5}]
    return [{"universe": universe, "marginTables": [[52, {"description": "", "marginTiers": tiers}]]}, listed]


def unchecked(body: bytes) -> dict[str, FloatArray]:
    """The peer: the arrays and nothing else."""
    _, listed = orjson.loads(body)
    row = {}
    for name, key in (("mark", "markPx"), ("oracle", "oraclePx"), ("open_interest", "openInterest")):
        row[name] = np.array([float(each[key]) for each in listed])
    row["predicted_funding"] = np.array([float(each["funding"]) for each in listed])
    row["mid"] = np.array([np.nan if each["midPx"] is None else float(each["midPx"]) for each in listed])
    return row


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a recorded reply")
    parser.add_argument("--coins", type=int, default=200, help="how many coins (default 200)")
    parser.add_argument("--repeat", type=int, default=400, help="turns (default 400)")
    options = parser.parse_args()
    if options.coins < 1 or options.repeat < 1:
        parser.error("needs at least one coin and one turn")
    reply = made_up(options.coins) if options.file is None else json.loads(options.file.read_bytes())
    reply[0]["universe"], reply[1] = reply[0]["universe"][: options.coins], reply[1][: options.coins]
    body = json.dumps(reply, separators=(",", ":")).encode()
    known, _ = contexts.read(body)
    market = MarketData(Client("http://127.0.0.1", budget=WeightBudget(None)), known.instruments)

    def row() -> dict[str, FloatArray]:
        market.take(*read_reply(REQUEST, body))
        return market.now()

    def exact() -> dict[str, FloatArray]:
        market.take(*contexts.read_exactly(decode(body, contexts.REPLY)))
        return market.now()

    count = 0

    def new_meta() -> dict[str, FloatArray]:
        nonlocal count
        count += 1
        other = body.replace(b'"universe"', b'"n":%d,"universe"' % count, 1)
        market.take(*read_reply(REQUEST, other))
        return market.now()

    ways: dict[str, tuple[int, Callable[[], dict[str, FloatArray]]]] = {
        "row": (1, row),
        "unchecked": (1, lambda: unchecked(body)),
        "new_meta": (10, new_meta),
        "exact": (10, exact),
    }
    expected, same = unchecked(body), True
    for _, way in ways.values():
        made = way()
        same = same and all(np.array_equal(made[name], expected[name], equal_nan=True) for name in expected)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.repeat):
        for name, (every, way) in ways.items():
            if turn % every == 0:
                began_s = time.perf_counter()
                way()
                times[name].append((time.perf_counter() - began_s) * 1000)
    result: dict[str, Any] = {
        "benchmark": "panel",
        "data": "made up" if options.file is None else options.file.name,
    }
    for name, taken in times.items():
        result[f"{name}_ms"] = round(median(taken), 4)
        result[f"{name}_ms_best"] = round(min(taken), 4)
    result |= {
        "ratio_to_exact": round(result["exact_ms"] / result["row_ms"], 1),
        "ratio_to_unchecked": round(result["unchecked_ms"] / result["row_ms"], 2),
        "all_ways_say_the_same": same,
        "was_read_quickly": contexts.read_quickly(body) is not None,
        "coins": len(known.instruments),
        "bytes": len(body),
        "repeat": options.repeat,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
