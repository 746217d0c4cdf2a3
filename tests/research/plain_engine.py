"""The standard workload's rules in one plain loop, with floats, written without anything of the bot.

Hour by hour: trade at the open what was decided at the last close, exits first (4.5 bps of the value traded); if
equity with longs at the low and shorts at the high is below 1.25 % of what is held there, close everything at those
prices; pay funding at the close; decide. Numpy computes one window's mean and deviation at a time, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

FEE = 0.00045
MAINTENANCE = 0.0125


@dataclass(frozen=True)
class Rates:
    """The numbers of the rules that a test may change."""

    equity: float = 100_000.0
    position_size: float = 0.3
    max_positions: int = 10
    lookback: int = 168
    enter_z: float = 2.0
    exit_z: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """What a run came to; `liquidations` counts the positions closed by force."""

    final_equity: float
    fills: int
    liquidations: int
    funding: float
    fees: float


@dataclass(frozen=True)
class Tables:
    """Matrices of shape (hours, coins), in the order of the hours and of the coins' names."""

    open: Matrix
    high: Matrix
    low: Matrix
    close: Matrix
    funding: Matrix


def read(folder: Path) -> Tables:
    """The tables of a data folder in which every coin has every hour."""
    prices = ("open", "high", "low", "close")
    candles = _matrices(folder / "hl_candles_1h.parquet", prices)
    funding = _matrices(folder / "hl_funding_1h.parquet", ("funding_rate",))
    return Tables(**candles, funding=funding["funding_rate"])


def _matrices(path: Path, columns: tuple[str, ...]) -> dict[str, Matrix]:
    table = pq.read_table(path, columns=["ts", "coin", *columns]).sort_by(
        [("ts", "ascending"), ("coin", "ascending")]
    )
    coins = len(table["coin"].unique())
    return {name: table[name].to_numpy().reshape(-1, coins) for name in columns}


def run(data: Tables, rules: Rates = Rates()) -> Outcome:
    """Trade the rules over the data; it ends early when nothing is left."""
    cash, funding, fees = rules.equity, 0.0, 0.0
    fills = liquidations = 0
    held: dict[int, float] = {}
    exits: list[int] = []
    entries: dict[int, float] = {}
    for hour in range(len(data.close)):
        opened, high, low, close = data.open[hour], data.high[hour], data.low[hour], data.close[hour]
        trades = [(coin, -held.pop(coin)) for coin in exits if coin in held]
        trades += list(entries.items())
        for coin, quantity in trades:
            value = quantity * float(opened[coin])
            cash -= value + FEE * abs(value)
            fees += FEE * abs(value)
            fills += 1
        held.update(entries)

        worst = {coin: float(low[coin] if quantity > 0 else high[coin]) for coin, quantity in held.items()}
        equity = cash + sum(quantity * worst[coin] for coin, quantity in held.items())
        if held and equity < MAINTENANCE * sum(abs(q) * worst[coin] for coin, q in held.items()):
            for coin, quantity in held.items():
                value = quantity * worst[coin]
                cash += value - FEE * abs(value)
                fees += FEE * abs(value)
                fills += 1
                liquidations += 1
            held = {}
            if cash <= 0:
                break

        for coin, quantity in held.items():
            paid = quantity * float(close[coin]) * float(data.funding[hour, coin])
            cash -= paid
            funding -= paid

        exits, entries = [], {}
        if hour + 1 < rules.lookback:
            continue
        window = data.funding[hour + 1 - rules.lookback : hour + 1]
        z = (window[-1] - window.mean(axis=0)) / window.std(axis=0)
        exits = [coin for coin in held if abs(z[coin]) < rules.exit_z]
        free = rules.max_positions - (len(held) - len(exits))
        extreme = [coin for coin in range(len(z)) if abs(z[coin]) > rules.enter_z and coin not in held]
        equity = cash + sum(quantity * float(close[coin]) for coin, quantity in held.items())
        for coin in sorted(extreme, key=lambda coin: -abs(z[coin]))[: max(free, 0)]:
            quantity = rules.position_size * equity / float(close[coin])
            entries[coin] = -quantity if z[coin] > 0 else quantity
    last = data.close[-1]
    equity = cash + sum(quantity * float(last[coin]) for coin, quantity in held.items())
    return Outcome(equity, fills, liquidations, funding, fees)
