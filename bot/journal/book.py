"""What is held, what was asked for, and what funding came of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final

from bot.clock import HOUR_MS
from bot.journal.reader import DAY_MS, ZERO, Facts, Reader, Row, decimal, in_coins, moment

HOURS_PER_YEAR: Final = 8760
_OPEN: Final = "status IN ('planned', 'resting', 'waiting')"


def positions(reader: Reader) -> Facts:
    """What is held, as of the last cycle. Sizes and notionals carry the position's sign.

    `liquidation_distance` is the relative price move to the liquidation price, None where there is none;
    `by_strategy` is whose it is, in signed coins; `unfinished` a decision of which nobody has told yet what came of it.
    """
    rows = reader.each("SELECT * FROM position ORDER BY instrument")
    amounts = ("equity_usd", "gross_usd", "net_usd")
    return {
        **moment("time", reader.last_ms),
        **{name: reader.last and Decimal(reader.last[name]) for name in amounts},
        "unfinished": reader.unfinished,
        "positions": [_position(row, reader.last_ms, _shares(reader, row)) for row in rows],
    }


def _shares(reader: Reader, row: Row) -> dict[str, Decimal]:
    """How many coins of a position each strategy holds, what was ordered by hand under its own name."""
    memory = reader.one("SELECT content FROM memory")
    saved = {} if memory is None else json.loads(memory["content"])["strategies"]
    held = {name: coins.get(row["instrument"], (0, 0, 0))[2] for name, coins in saved.items()}
    return {name: in_coins(lots, row["size_decimals"]) for name, lots in held.items() if lots}


def _position(row: Row, now_ms: int | None, shares: dict[str, Decimal]) -> Facts:
    mark, liquidation = Decimal(row["mark"]), decimal(row["liquidation_price"])
    reachable = liquidation is not None and mark
    return {
        "coin": row["instrument"],
        "side": "long" if row["lots"] > 0 else "short",
        "size": in_coins(row["lots"], row["size_decimals"]),
        "entry_price": Decimal(row["entry_price"]),
        "mark": mark,
        "notional_usd": Decimal(row["notional_usd"]),
        "unrealised_usd": Decimal(row["unrealised_usd"]),
        "funding_usd": Decimal(row["funding_usd"]),
        "liquidation_price": liquidation,
        "liquidation_distance": abs(float(liquidation / mark) - 1) if liquidation and reachable else None,
        "margin_mode": row["margin_mode"],
        **moment("opened", row["opened_ms"]),
        # What was opened after the cycle's moment, by a plan of that cycle or by hand, has been held for no time yet.
        "held_h": None if now_ms is None else max(0.0, (now_ms - row["opened_ms"]) / HOUR_MS),
        "by_strategy": shares,
        "because": row["because"],
    }


def orders(
    reader: Reader, *, everything: bool = False, limit: int | None = None, coin: str | None = None
) -> Facts:
    """Orders, newest first: those that are open, or with `everything` whatever became of them.

    `count` is how many there are, of which `orders` has the newest `limit`.
    """
    chosen = f"FROM orders WHERE (?1 IS NULL OR instrument = ?1) AND {'1' if everything else _OPEN}"
    count = reader.one(f"SELECT count(*) AS count {chosen}", coin)
    rows = reader.each(
        f"SELECT * {chosen} ORDER BY created_ms DESC, rowid DESC LIMIT ?2",
        coin,
        -1 if limit is None else limit,
    )
    return {
        **moment("time", reader.last_ms),
        "count": count and count["count"],
        "orders": [order_facts(reader, row) for row in rows],
    }


def order_facts(reader: Reader, row: Row) -> Facts:
    """One row of `orders`; its size and what of it was filled are > 0, the side says which way."""
    return {
        "client_id": row["client_id"],
        "order_id": row["order_id"],
        "decision": row["decision_id"],
        **moment("created", row["created_ms"]),
        **moment("updated", row["updated_ms"]),
        "coin": row["instrument"],
        "side": row["side"],
        "size": reader.size(row["instrument"], row["lots"]),
        "limit_price": decimal(row["limit_price"]),
        "trigger": row["trigger_kind"],
        "trigger_price": decimal(row["trigger_price"]),
        "time_in_force": row["time_in_force"],
        "reduce_only": bool(row["reduce_only"]),
        "purpose": row["purpose"],
        "status": row["status"],
        "filled": reader.size(row["instrument"], row["filled_lots"]),
        "average_price": decimal(row["average_price"]),
        "reason": row["reason"],
    }


def fill_facts(reader: Reader, row: Row) -> Facts:
    """One row of `fill`; fees that were paid are negative."""
    return {
        "trade_id": row["trade_id"],
        **moment("time", row["time_ms"]),
        "client_id": row["client_id"],
        "order_id": row["order_id"],
        "coin": row["instrument"],
        "side": row["side"],
        "size": reader.size(row["instrument"], row["lots"]),
        "price": Decimal(row["price"]),
        "notional_usd": Decimal(row["notional_usd"]),
        "fee_usd": -Decimal(row["fee_usd"]),
        "closed_pnl_usd": Decimal(row["closed_pnl_usd"]),
        "is_maker": bool(row["is_maker"]),
        "purpose": row["purpose"],
    }


# Whole millionths of a dollar are summed where the rows are, exactly and fast; max() makes SQLite take rate
# and interval from the row that has it.
_FUNDING_BY_COIN: Final = """
SELECT instrument, count(*) AS payments, max(time_ms), rate, interval_h,
    sum(CAST(round(usd * 1000000) AS INTEGER)) AS net,
    sum(CAST(round((usd > 0) * usd * 1000000) AS INTEGER)) AS received,
    sum(CAST(round((time_ms > ?3) * usd * 1000000) AS INTEGER)) AS last_day
FROM (SELECT time_ms, instrument, rate, interval_h, usd + 0 AS usd FROM funding)
WHERE time_ms >= ?1 AND (?2 IS NULL OR instrument = ?2) GROUP BY instrument ORDER BY instrument"""


def funding(
    reader: Reader, *, coin: str | None = None, since_ms: int | None = None, limit: int = 20
) -> Facts:
    """Funding received (> 0) and paid (< 0) since `since_ms`, by coin and in sum, and the newest `limit` payments.

    `last_24h` ends with the last cycle. Rates are per hour, whatever the interval that they were settled for, APR is × 8760
    without compounding; None where the interval is not known.
    """
    end_ms = reader.last_ms
    start_ms = 0 if since_ms is None else since_ms
    coins = [_coin(row) for row in reader.each(_FUNDING_BY_COIN, start_ms, coin, (end_ms or 0) - DAY_MS)]
    payments = reader.each(
        "SELECT * FROM funding WHERE time_ms >= ?1 AND (?2 IS NULL OR instrument = ?2)"
        " ORDER BY time_ms DESC, instrument LIMIT ?3",
        start_ms,
        coin,
        limit,
    )
    amounts = ("received_usd", "paid_usd", "usd", "last_24h_usd")
    return {
        **moment("time", end_ms),
        **moment("since", since_ms),
        "total": {
            "payments": sum(row["payments"] for row in coins),
            **{name: sum((row[name] for row in coins), ZERO) for name in amounts},
        },
        "coins": coins,
        "payments": [_payment(reader, row) for row in payments],
    }


def _coin(row: Row) -> Facts:
    usd, received = (Decimal(row[name]).scaleb(-6) for name in ("net", "received"))
    return {
        "coin": row["instrument"],
        "payments": row["payments"],
        "received_usd": received,
        "paid_usd": usd - received,
        "usd": usd,
        "last_24h_usd": Decimal(row["last_day"]).scaleb(-6),
        "last_rate_apr": apr(per_hour(row)),
    }


def _payment(reader: Reader, row: Row) -> Facts:
    return {
        **moment("time", row["time_ms"]),
        "coin": row["instrument"],
        "size": reader.size(row["instrument"], row["lots"]),
        "oracle": Decimal(row["oracle"]),
        "rate_per_hour": per_hour(row),
        "interval_h": row["interval_h"],
        "rate_apr": apr(per_hour(row)),
        "usd": Decimal(row["usd"]),
    }


def per_hour(row: Row) -> Decimal | None:
    """The simple hourly rate of a settlement; None where its interval is not known."""
    return Decimal(row["rate"]) / row["interval_h"] if row["interval_h"] else None


def apr(rate_per_hour: Decimal | None) -> float | None:
    """A rate per hour for a year, without compounding."""
    return None if rate_per_hour is None else float(rate_per_hour * HOURS_PER_YEAR)
