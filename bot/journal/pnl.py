"""Profit and loss from what was written down: in sum, by day, by coin and by strategy, each adding up exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from bot.clock import utc
from bot.journal.reader import DAY_MS, ZERO, Facts, Reader, moment, split

Split = dict[str, Decimal]

PARTS: Final = ("price_usd", "funding_usd", "fees_usd", "net_usd")


def pnl(reader: Reader) -> Facts:
    """`price + funding − fees = net` for every row; days, coins and strategies each sum to `total`.

    What the coins' fills, payments and positions can't explain of the account's own totals is in `suspense`, and what
    no strategy answers for in `unattributed`; they are 0 unless something was missed. A UTC day has what came after
    its first midnight up to and including its last.
    """
    point = reader.one("SELECT * FROM equity ORDER BY time_ms DESC LIMIT 1")
    total = _nothing() if point is None else split(point)
    coins = _by_coin(reader)
    strategies = {
        row["strategy"]: split(row) for row in reader.all("SELECT * FROM strategy_pnl ORDER BY strategy")
    }
    equity = None if point is None else Decimal(point["equity_usd"])
    return {
        **moment("time", None if point is None else point["time_ms"]),
        "equity_usd": equity,
        "opening_usd": None if equity is None else equity - total["net_usd"],
        "total": total,
        "days": _by_day(reader),
        "coins": [{"instrument": name, **row} for name, row in sorted(coins.items())],
        "suspense": _minus(total, _sum(coins.values())),
        "strategies": [{"strategy": name, **row} for name, row in strategies.items()],
        "unattributed": _minus(total, _sum(strategies.values())) if strategies else None,
    }


def _by_day(reader: Reader) -> list[Facts]:
    rows = reader.all(
        "SELECT max(time_ms) AS time_ms, (time_ms - 1) / ? AS day, equity_usd, price_pnl_usd, funding_pnl_usd, fees_usd"
        " FROM equity GROUP BY day ORDER BY day",
        DAY_MS,
    )
    days, before = [], _nothing()
    for row in rows:
        after = split(row)
        day = {"day": utc(row["day"] * DAY_MS)[:10], **_minus(after, before)}
        days.append({**day, "equity_usd": Decimal(row["equity_usd"])})
        before = after
    return days


def _by_coin(reader: Reader) -> dict[str, Split]:
    """Price is what fills have closed and positions stand at, less margin that went to a liquidator."""
    coins: dict[str, Split] = defaultdict(_nothing)
    for row in reader.all("SELECT instrument, closed_pnl_usd, fee_usd FROM fill"):
        coin = coins[row["instrument"]]
        coin["price_usd"] += Decimal(row["closed_pnl_usd"])
        coin["fees_usd"] += Decimal(row["fee_usd"])
    for row in reader.all("SELECT instrument, usd FROM funding"):
        coins[row["instrument"]]["funding_usd"] += Decimal(row["usd"])
    for row in reader.all("SELECT instrument, unrealised_usd FROM position"):
        coins[row["instrument"]]["price_usd"] += Decimal(row["unrealised_usd"])
    for row in reader.all("SELECT instrument, forfeited_usd FROM liquidation"):
        coins[row["instrument"]]["price_usd"] -= Decimal(row["forfeited_usd"])
    for coin in coins.values():
        coin["net_usd"] = coin["price_usd"] + coin["funding_usd"] - coin["fees_usd"]
    return coins


def _nothing() -> Split:
    return dict.fromkeys(PARTS, ZERO)


def _minus(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> Split:
    return {part: one[part] - other[part] for part in PARTS}


def _sum(rows: Iterable[Split]) -> Split:
    sums = _nothing()
    for row in rows:
        for part in PARTS:
            sums[part] += row[part]
    return sums
