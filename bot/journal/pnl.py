"""Profit and loss from what was written down: in sum, by day, by coin and by strategy, each adding up exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from itertools import chain
from typing import Final

from bot.clock import utc
from bot.journal.reader import DAY_MS, PARTS, Facts, Reader, Split, minus, moment, split

# Payments of any kind are in millionths of a dollar, and there are many of them, so whole millionths are summed where
# the rows are, exactly and fast. Price is what fills have closed, less margin that went to a liquidator.
_BY_COIN: Final = """
SELECT instrument AS coin, 'price' AS part, sum(CAST(round(closed_pnl_usd * 1000000) AS INTEGER)) AS micros
    FROM fill GROUP BY instrument
UNION ALL SELECT instrument, 'price', -sum(CAST(round(forfeited_usd * 1000000) AS INTEGER))
    FROM liquidation GROUP BY instrument
UNION ALL SELECT instrument, 'funding', sum(CAST(round(usd * 1000000) AS INTEGER)) FROM funding GROUP BY instrument
UNION ALL SELECT instrument, 'fees', -sum(CAST(round(fee_usd * 1000000) AS INTEGER)) FROM fill GROUP BY instrument"""


def pnl(reader: Reader) -> Facts:
    """`price + funding + fees = total` in every row, `opening_usd + total = equity_usd`; days, coins and strategies
    each sum to `pnl`.

    What the coins' fills, payments and positions can't explain of the account's own totals is in `suspense`, and what
    no strategy answers for in `unattributed`; they are 0 unless something was missed. A UTC day has what came after
    its first midnight up to and including its last, and `today` is the one that the last cycle belongs to.
    """
    total = split(reader.last)
    coins = _by_coin(reader)
    strategies = {
        row["strategy"]: split(row) for row in reader.each("SELECT * FROM strategy_pnl ORDER BY strategy")
    }
    return {
        **moment("time", reader.last_ms),
        **worth(reader),
        "pnl": total,
        "today": today(reader),
        "strategies": [{"strategy": name, **row} for name, row in strategies.items()],
        "unattributed": minus(total, _sum(strategies.values())) if strategies else None,
        "coins": [{"coin": name, **row} for name, row in sorted(coins.items())],
        "suspense": minus(total, _sum(coins.values())),
        "days": _by_day(reader),
    }


def worth(reader: Reader) -> Facts:
    """Equity at the end of the last cycle, and what the account was opened with."""
    if reader.last is None:
        return {"equity_usd": None, "opening_usd": None}
    equity = Decimal(reader.last["equity_usd"])
    return {"equity_usd": equity, "opening_usd": equity - split(reader.last)["total"]}


def today(reader: Reader) -> Facts | None:
    """The UTC day that the last cycle belongs to; None before the first cycle."""
    if reader.last is None:
        return None
    start_ms = _day_of(reader.last["time_ms"]) * DAY_MS
    before = reader.one("SELECT * FROM equity WHERE time_ms <= ? ORDER BY time_ms DESC LIMIT 1", start_ms)
    return {"day": utc(start_ms)[:10], **minus(split(reader.last), split(before))}


def _day_of(time_ms: int) -> int:
    """What is settled or closed at midnight belongs to the day that ends then."""
    return (time_ms - 1) // DAY_MS


def _by_day(reader: Reader) -> list[Facts]:
    # max() makes SQLite take the other columns from the row that has it.
    rows = reader.each(
        "SELECT max(time_ms) AS time_ms, equity_usd, price_pnl_usd, funding_pnl_usd, fees_usd"
        " FROM equity GROUP BY (time_ms - 1) / ? ORDER BY time_ms",
        DAY_MS,
    )
    days, before = [], split(None)
    for row in rows:
        after = split(row)
        day = utc(_day_of(row["time_ms"]) * DAY_MS)[:10]
        days.append({"day": day, **minus(after, before), "equity_usd": Decimal(row["equity_usd"])})
        before = after
    return days


def _by_coin(reader: Reader) -> dict[str, Split]:
    coins: dict[str, Split] = defaultdict(lambda: split(None))
    paid = ((row["coin"], row["part"], Decimal(row["micros"]).scaleb(-6)) for row in reader.each(_BY_COIN))
    held = (
        (row["instrument"], "price", Decimal(row["unrealised_usd"]))
        for row in reader.each("SELECT instrument, unrealised_usd FROM position")
    )
    for coin, part, amount in chain(paid, held):
        coins[coin][part] += amount
        coins[coin]["total"] += amount
    return coins


def _sum(rows: Iterable[Split]) -> Split:
    sums = split(None)
    for row in rows:
        for part in PARTS:
            sums[part] += row[part]
    return sums
