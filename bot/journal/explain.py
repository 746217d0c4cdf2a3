"""Why: from a decision, an order, a trade or a coin back to what was believed, wanted, allowed and done."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from bot.errors import StateError
from bot.journal.reader import Facts, Reader, moment, order_facts, size

_ABOUT_COIN: Final = """
SELECT id FROM decision WHERE id IN (
    SELECT decision_id FROM forecast WHERE instrument = ?1 UNION SELECT decision_id FROM target WHERE instrument = ?1
    UNION SELECT decision_id FROM finding WHERE instrument = ?1
    UNION SELECT decision_id FROM orders WHERE instrument = ?1
    UNION SELECT decision_id FROM cancel WHERE instrument = ?1)
ORDER BY time_ms DESC LIMIT 1"""


def explain(reader: Reader, name: str) -> Facts:
    """The story behind `name`: a decision's id, `latest`, an order's client id, a coin, a trade's or an order's number.

    Tried in this order; for all but a decision the story is cut to one coin. StateError if there is no such thing.
    """
    if name == "latest":
        newest = reader.one("SELECT id FROM decision ORDER BY time_ms DESC LIMIT 1")
        if newest is not None:
            return _story(reader, "decision", newest["id"], newest["id"], None)
    if reader.one("SELECT id FROM decision WHERE id = ?", name.lower()) is not None:
        return _story(reader, "decision", name.lower(), name.lower(), None)
    order = reader.one("SELECT * FROM orders WHERE client_id = ?", name)
    if order is not None:
        return _of_order(reader, "order", name, order)
    coin = reader.one(
        "SELECT name FROM instrument WHERE name = ?1 COLLATE NOCASE ORDER BY name = ?1 DESC", name
    )
    if coin is not None:
        about = reader.one(_ABOUT_COIN, coin["name"])
        if about is None:
            raise StateError(
                f"no decision has been about {coin['name']} yet; see what was with `hedgerow orders --all`"
            )
        return _story(reader, "coin", coin["name"], about["id"], coin["name"])
    if name.isdigit() and len(name) < 19:
        return _of_number(reader, int(name))
    raise _unknown(name)


def _of_number(reader: Reader, number: int) -> Facts:
    fill = reader.one("SELECT * FROM fill WHERE trade_id = ?", number)
    if fill is None:
        order = reader.one("SELECT * FROM orders WHERE order_id = ?", number)
        if order is None:
            raise _unknown(str(number))
        return _of_order(reader, "order", order["client_id"], order)
    order = reader.one("SELECT * FROM orders WHERE client_id = ?", fill["client_id"])
    if order is not None:
        return _of_order(reader, "trade", str(number), order)
    # The venue's own doing: a liquidation or a settlement, which no decision asked for.
    return {
        **_story(reader, "trade", str(number), None, fill["instrument"]),
        "fills": [_fill(fill, reader.size_decimals())],
        "liquidations": reader.all(
            "SELECT kind, price, forfeited_usd FROM liquidation WHERE instrument = ? AND time_ms = ?",
            fill["instrument"],
            fill["time_ms"],
        ),
    }


def _of_order(reader: Reader, kind: str, name: str, order: Mapping[str, Any]) -> Facts:
    story = _story(reader, kind, name, order["decision_id"], order["instrument"])
    if order["decision_id"] is None:
        decimals = reader.size_decimals()
        fills = reader.all("SELECT * FROM fill WHERE client_id = ? ORDER BY trade_id", order["client_id"])
        story |= {"orders": [order_facts(order, decimals)], "fills": [_fill(row, decimals) for row in fills]}
    return story


def _story(reader: Reader, kind: str, name: str, decision_id: str | None, instrument: str | None) -> Facts:
    """A decision and all that hangs on it; `written_in` is the one it repeats, or itself."""
    story: Facts = {
        "kind": kind,
        "id": name,
        "instrument": instrument,
        "decision": None,
        **{
            part: []
            for part in ("forecasts", "targets", "findings", "cancels", "orders", "fills", "liquidations")
        },
    }
    decision = reader.one("SELECT * FROM decision WHERE id = ?", decision_id)
    if decision is None:
        return story
    full = reader.one(
        "SELECT id FROM decision WHERE is_full = 1 AND time_ms <= ? ORDER BY time_ms DESC LIMIT 1",
        decision["time_ms"],
    )
    written_in = decision["id"] if full is None else full["id"]
    decimals = reader.size_decimals()
    return {
        **story,
        "decision": {
            "id": decision["id"],
            **moment("time", decision["time_ms"]),
            "state": decision["state"],
            "equity_usd": Decimal(decision["equity_usd"]),
            "written_in": written_in,
        },
        "forecasts": [_aim(row, decimals) for row in _of(reader, "forecast", written_in, instrument)],
        "targets": [_aim(row, decimals) for row in _of(reader, "target", written_in, instrument)],
        "findings": [
            {part: row[part] for part in ("rule", "instrument", "detail")}
            for row in _of(reader, "finding", written_in, instrument)
        ],
        "cancels": [
            {part: row[part] for part in ("client_id", "order_id", "instrument", "because")}
            for row in _of(reader, "cancel", decision["id"], instrument)
        ],
        "orders": [order_facts(row, decimals) for row in _of(reader, "orders", decision["id"], instrument)],
        "fills": [_fill(row, decimals) for row in _of(reader, "fill", decision["id"], instrument)],
    }


_OF: Final = {
    "forecast": "SELECT * FROM forecast WHERE decision_id = ?1 AND (?2 IS NULL OR instrument = ?2)"
    " ORDER BY instrument, strategy",
    "target": "SELECT * FROM target WHERE decision_id = ?1 AND (?2 IS NULL OR instrument = ?2) ORDER BY instrument",
    "finding": "SELECT * FROM finding WHERE decision_id = ?1 AND (?2 IS NULL OR instrument IN (?2, '')) ORDER BY number",
    "cancel": "SELECT * FROM cancel WHERE decision_id = ?1 AND (?2 IS NULL OR instrument = ?2) ORDER BY order_id",
    "orders": "SELECT * FROM orders WHERE decision_id = ?1 AND (?2 IS NULL OR instrument = ?2) ORDER BY rowid",
    "fill": "SELECT fill.* FROM orders JOIN fill USING (client_id) WHERE decision_id = ?1"
    " AND (?2 IS NULL OR orders.instrument = ?2) ORDER BY trade_id",
}


def _of(reader: Reader, table: str, decision_id: str, instrument: str | None) -> list[Mapping[str, Any]]:
    return reader.all(_OF[table], decision_id, instrument)


def _aim(row: Mapping[str, Any], decimals: Mapping[str, int]) -> Facts:
    """A forecast or a target, its lots in coins."""
    places = decimals.get(row["instrument"])
    kept = {part: row[part] for part in ("strategy", "instrument", "score", "because") if part in row}
    return {**kept, "wanted": size(row["wanted_lots"], places), "allowed": size(row["allowed_lots"], places)}


def _fill(row: Mapping[str, Any], decimals: Mapping[str, int]) -> Facts:
    amounts = ("price", "notional_usd", "fee_usd", "closed_pnl_usd")
    return {
        "trade_id": row["trade_id"],
        **moment("time", row["time_ms"]),
        "client_id": row["client_id"],
        "instrument": row["instrument"],
        "side": row["side"],
        "size": size(row["lots"], decimals.get(row["instrument"])),
        **{name: Decimal(row[name]) for name in amounts},
        "is_maker": bool(row["is_maker"]),
        "purpose": row["purpose"],
    }


def _unknown(name: str) -> StateError:
    return StateError(
        f"the journal knows no decision, order, coin or trade '{name}'; `hedgerow orders --all` lists orders, "
        f"'latest' is the last decision"
    )
