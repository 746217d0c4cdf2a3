"""Profit and loss from what was written down: in sum, by day, by coin and by strategy, each adding up exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from bot.clock import utc
from bot.journal.ledger import Books, Holding
from bot.journal.reader import DAY_MS, PARTS, ZERO, Facts, Reader, Split, minus, moment, split


def pnl(reader: Reader) -> Facts:
    """`price + funding + fees = total` in every row, `opening_usd + transfers_usd + total = equity_usd`; days, strategies
    with `unattributed`, and coins with `suspense` and `rounding_usd` each sum to `pnl`.

    Coins are the ledger's. What the venue says of the account and nothing explains is in `suspense`, in
    `unexplained_transfers_usd` and in `unexplained_lots`, and what no strategy answers for in `unattributed`; they are 0
    or empty unless something was missed. `rounding_usd` is what the venue's sum, to the millionth, is above that of
    the coins. A UTC day has what came after its first midnight up to and including its last, and `today` is the one
    that the last cycle belongs to.
    """
    total = split(reader.last)
    books, held = ledger(reader)
    coins = {coin: _summed(books.of_coin(coin, held)) for coin in books.coins()}
    suspense = books.suspense()
    unexplained = _summed(suspense)
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
        "suspense": unexplained,
        "unexplained_transfers_usd": suspense["transfers"],
        "unexplained_lots": books.unexplained_lots(),
        "rounding_usd": total["total"] - _sum(coins.values())["total"] - unexplained["total"],
        "days": _by_day(reader),
    }


def worth(reader: Reader) -> Facts:
    """Equity at the end of the last cycle, what the account was opened with, and what was brought in since."""
    if reader.last is None:
        return {"equity_usd": None, "opening_usd": None, "transfers_usd": None}
    equity = Decimal(reader.last["equity_usd"])
    moved = sum((Decimal(row["usd"]) for row in reader.each("SELECT usd FROM transfer")), ZERO)
    opening = equity - split(reader.last)["total"] - moved
    return {"equity_usd": equity, "opening_usd": opening, "transfers_usd": moved}


def ledger(reader: Reader) -> tuple[Books, dict[str, Holding]]:
    """The ledger's balances, and what is held at the last cycle's marks."""
    held = {
        row["instrument"]: Holding.at(row["lots"], Decimal(row["mark"]), row["size_decimals"])
        for row in reader.each("SELECT * FROM position")
    }
    return Books.load(reader.each("SELECT * FROM balance")), held


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


def _summed(parts: Mapping[str, Decimal]) -> Split:
    """Price, funding and fees, and their sum."""
    price, funding, fees = (parts[name] for name in ("price", "funding", "fees"))
    return {"price": price, "funding": funding, "fees": fees, "total": price + funding + fees}


def _sum(rows: Iterable[Split]) -> Split:
    sums = split(None)
    for row in rows:
        for part in PARTS:
            sums[part] += row[part]
    return sums
