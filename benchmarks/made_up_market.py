"""A made-up market for benchmarks: hourly candles and funding of many coins, from a seed, in the data folder's tables.

Prices share one fat-tailed factor and have one each of their own; funding reverts within a day or two to the
interest floor, leans the way the price went, and jumps now and then, so that a fade of its extremes has work to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # 2024-01-01T00:00Z, the open of the first candle
SIZE_DECIMALS, MAX_LEVERAGE = 8, 40

FLOOR = 1.25e-5  # hourly funding at a premium of nothing
PERSISTENCE = 0.97
CAP = 0.04

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """Matrices of shape (hours, coins): row *t* is the candle that opens at hour *t*, and what settles at its end."""

    names: tuple[str, ...]
    open: Matrix
    high: Matrix
    low: Matrix
    close: Matrix
    volume: Matrix  # coins
    funding: Matrix  # per hour


def make(hours: int, coins: int, seed: int = 1, crash: tuple[int, float] | None = None) -> Market:
    """The market of a seed. `crash`: an hour, and what is left of every price at its low and close."""
    rng = np.random.default_rng(seed)
    shape = (hours, coins)
    sigma = rng.uniform(0.006, 0.016, coins)
    beta = rng.uniform(0.6, 1.6, coins)
    factor = 0.004 * rng.standard_t(4, (hours, 1))
    moves = np.clip(factor * beta + 0.5 * sigma * rng.standard_t(4, shape), -0.25, 0.25)
    if crash is not None:
        moves[crash[0]] = np.log(crash[1])
    first = np.exp(rng.uniform(np.log(0.05), np.log(50_000), coins))
    close = first * np.exp(np.cumsum(moves, axis=0))
    opened = np.concatenate([first[None, :], close[:-1]])
    wick_up, wick_down = (np.abs(rng.normal(0, 0.4, shape)) * sigma for _ in range(2))
    shocks = 4e-6 * rng.standard_t(3, shape) + 4e-5 * moves
    jumps = rng.random(shape) < 1 / 400
    shocks[jumps] += rng.normal(0, 1.2e-4, int(jumps.sum()))
    lean = np.empty(shape)
    now = np.zeros(coins)
    for hour in range(hours):
        now = PERSISTENCE * now + shocks[hour]
        lean[hour] = now
    return Market(
        names=tuple(f"M{column:04d}" for column in range(coins)),
        open=opened,
        high=np.maximum(opened, close) * (1 + wick_up),
        low=np.minimum(opened, close) * (1 - wick_down),
        close=close,
        volume=np.exp(rng.normal(12, 1, shape)),
        funding=np.clip(FLOOR + lean, -CAP, CAP),
    )


def write(market: Market, folder: Path) -> None:
    """The market as a data folder: two Parquet tables and the venue's `meta`."""
    folder.mkdir(parents=True, exist_ok=True)
    hours, coins = market.close.shape
    opens_ms = START_MS + HOUR_MS * np.arange(hours, dtype=np.int64)
    utc = pa.timestamp("ms", tz="UTC")
    names = pa.array(list(market.names) * hours)
    candles = {"ts": pa.array(np.repeat(opens_ms, coins)).cast(utc), "coin": names}
    for column in ("open", "high", "low", "close", "volume"):
        candles[column] = pa.array(getattr(market, column).reshape(-1))
    settlements = {
        "ts": pa.array(np.repeat(opens_ms + HOUR_MS, coins)).cast(utc),
        "coin": names,
        "funding_rate": pa.array(market.funding.reshape(-1)),
        "interval_h": pa.array(np.ones(hours * coins, dtype=np.int64)),
    }
    pq.write_table(pa.table(candles), folder / "hl_candles_1h.parquet", compression="zstd")
    pq.write_table(pa.table(settlements), folder / "hl_funding_1h.parquet", compression="zstd")
    assets = [
        {"name": name, "szDecimals": SIZE_DECIMALS, "maxLeverage": MAX_LEVERAGE} for name in market.names
    ]
    (folder / "meta.json").write_text(json.dumps({"universe": assets, "marginTables": []}))
