"""Why: from a decision, an order, a trade or a coin back to what was believed, wanted, allowed and done."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from bot.errors import ConfigError
from bot.journal.book import fill_facts, order_facts
from bot.journal.reader import Facts, Reader, Row, moment
from bot.journal.status import WRITTEN_IN, finding_facts

# A coin's latest change is the last decision that asked for something; failing that, the last that spoke of it. Of several
# of one moment it is the one whose orders were written down last.
_CHANGED: Final = """
SELECT decision.* FROM decision JOIN (
    SELECT coalesce(decision_id, substr(client_id, 1, instr(client_id, '-') - 1)) AS id, max(rowid) AS number
        FROM orders WHERE instrument = ?1 GROUP BY 1
    UNION ALL SELECT decision_id, 0 FROM cancel WHERE instrument = ?1) USING (id)
WHERE ?2 IS NULL OR time_ms <= ?2 ORDER BY time_ms DESC, number DESC LIMIT 1"""
_SPOKEN_OF: Final = """
SELECT decision.* FROM decision WHERE id IN (
    SELECT decision_id FROM forecast WHERE instrument = ?1 UNION SELECT decision_id FROM target WHERE instrument = ?1
    UNION SELECT decision_id FROM finding WHERE instrument = ?1)
ORDER BY time_ms DESC LIMIT 1"""
_NEWEST: Final = "SELECT * FROM decision ORDER BY time_ms DESC LIMIT 1"

LONGEST: Final = 19
"""Digits of a number: what the journal keeps in 63 bits."""

_PARTS: Final = ("forecasts", "targets", "findings", "cancels", "orders", "fills", "liquidations")
# The protection of what a decision opened bears the decision's id, with a + for each try; so does each order for a leg of
# a spread, which is made from what the one before it brought.
_MINE: Final = {
    "forecast": "SELECT * FROM forecast WHERE decision_id = ?1 AND (?2 IS NULL OR instrument IN (?2, ?3))"
    " ORDER BY instrument, strategy",
    "target": "SELECT * FROM target WHERE decision_id = ?1 AND (?2 IS NULL OR instrument = ?2) ORDER BY instrument",
    "finding": "SELECT * FROM finding WHERE decision_id = ?1 AND (?2 IS NULL OR instrument IN (?2, ?3, ''))"
    " ORDER BY number",
    "cancel": "SELECT * FROM cancel WHERE decision_id = ?1 AND (?2 IS NULL OR instrument = ?2) ORDER BY order_id",
    "orders": "SELECT * FROM orders WHERE (decision_id = ?1 OR client_id BETWEEN ?1 || '+' AND ?1 || '-~')"
    " AND (?2 IS NULL OR instrument = ?2) ORDER BY rowid",
    "fill": "SELECT fill.* FROM orders JOIN fill USING (client_id)"
    " WHERE (decision_id = ?1 OR client_id BETWEEN ?1 || '+' AND ?1 || '-~')"
    " AND (?2 IS NULL OR orders.instrument = ?2) ORDER BY time_ms, fill.rowid",
}
_HEDGED: Final = (
    "SELECT json_extract(text, '$.legs[0]') AS coin FROM event WHERE kind = 'underwriting'"
    " AND json_extract(text, '$.legs[1]') = ? ORDER BY id DESC LIMIT 1"
)
"""The primary leg of a spread by its hedge: opinions are about that, and what a rule cuts of it it cuts of both."""
_SINCE: Final = """
SELECT * FROM fill WHERE instrument = ?1 AND time_ms >= ?2
    AND client_id NOT IN (SELECT client_id FROM orders WHERE decision_id = ?3)
    AND client_id NOT BETWEEN ?3 || '-' AND ?3 || '-~' ORDER BY time_ms, rowid"""


def explain(reader: Reader, name: str) -> Facts:
    """The story behind `name`: a decision's id, `latest`, an order's client id, a coin, a trade's or an order's number.

    Tried in this order; for all but a decision the story is cut to one coin. A coin's story is of its latest change,
    with what the venue did to it `since` and what the newest decision thinks of it `now`; an order that protects a
    position has the story of the decision that opened it. ConfigError for a name that the journal doesn't know.
    """
    decision = reader.one(_NEWEST) if name == "latest" else _decision(reader, name.lower())
    if decision is not None:
        return _story(reader, "decision", decision["id"], decision, None)
    order = reader.one("SELECT * FROM orders WHERE client_id = ?", name)
    if order is not None:
        return _of_order(reader, "order", name, order)
    coin = reader.find_coin(name)
    if coin is not None:
        return _of_coin(reader, coin)
    number, _, market = name.partition(":")
    if number.isdecimal() and len(number) <= LONGEST and int(number) < 1 << 63:
        return _of_number(reader, int(number), market)
    # Orders that the venue makes itself, such as a liquidation's, are known by their fills only.
    fill = reader.one("SELECT * FROM fill WHERE client_id = ? ORDER BY time_ms, rowid", name)
    if fill is not None:
        return _of_venue(reader, "order", name, fill)
    raise _unknown(name)


def has_spreads(reader: Reader) -> bool:
    """Whether it was written down what was expected of any."""
    return reader.one("SELECT 1 FROM event WHERE kind = 'underwriting'") is not None


def _of_coin(reader: Reader, coin: str) -> Facts:
    decision = reader.one(_CHANGED, coin, None) or reader.one(_SPOKEN_OF, coin)
    if decision is None:
        raise ConfigError(
            f"no decision has spoken of {coin} yet: no strategy scored it and no rule found anything; "
            f"`hedgerow explain latest` shows what they did speak of"
        )
    story = _story(reader, "coin", coin, decision, coin)
    began_ms = min((each["time_ms"] for each in story["fills"]), default=decision["time_ms"])
    since = reader.each(_SINCE, coin, began_ms, decision["id"])
    newest = reader.one(_NEWEST)
    assert newest is not None
    now = _story(reader, "decision", newest["id"], newest, coin)
    same = story["decision"]["written_in"] == now["decision"]["written_in"]
    parts = ("decision", "forecasts", "targets", "findings")
    return {
        **story,
        "since": [fill_facts(reader, row) for row in since],
        "now": None if same else {part: now[part] for part in parts},
    }


def _of_number(reader: Reader, number: int, market: str) -> Facts:
    """Two venues may give one number: then only `number:market` says which is meant."""
    fills = list(
        reader.each(
            "SELECT * FROM fill WHERE trade_id = ?1 AND ?2 IN ('', instrument) ORDER BY instrument",
            number,
            market,
        )
    )
    if len(fills) > 1:
        choices = " or ".join(f"{number}:{each['instrument']}" for each in fills)
        raise ConfigError(f"there is more than one trade {number}; ask for {choices}")
    if fills:
        fill = fills[0]
        order = reader.one("SELECT * FROM orders WHERE client_id = ?", fill["client_id"])
        if order is None:
            return _of_venue(reader, "trade", str(number), fill)
        return _of_order(reader, "trade", str(number), order)
    order = reader.one("SELECT * FROM orders WHERE order_id = ?1 AND ?2 IN ('', instrument)", number, market)
    if order is None:
        raise _unknown(f"{number}:{market}" if market else str(number))
    return _of_order(reader, "order", order["client_id"], order)


def _of_order(reader: Reader, kind: str, name: str, order: Row) -> Facts:
    if order["decision_id"] is not None:
        decision = _decision(reader, order["decision_id"])
        return _story(reader, kind, name, decision, order["instrument"])
    fills = reader.each("SELECT * FROM fill WHERE client_id = ? ORDER BY time_ms, rowid", order["client_id"])
    # What rests at the venue as protection names the decision that it protects the outcome of, or else belongs to the
    # change of the position that was the last one before.
    protects = order["purpose"] in {"stop", "take_profit"}
    decision = _decision(reader, order["client_id"].partition("-")[0])
    if not protects and decision is not None:
        return _story(reader, kind, name, decision, order["instrument"])
    if protects:
        decision = _decision(reader, order["client_id"].partition("-")[0].rstrip("+")) or reader.one(
            _CHANGED, order["instrument"], order["created_ms"]
        )
    return {
        **_story(reader, kind, name, decision, order["instrument"]),
        "is_protection": protects,
        "cancels": [],
        "orders": [order_facts(reader, order)],
        "fills": [fill_facts(reader, row) for row in fills],
    }


def _of_venue(reader: Reader, kind: str, name: str, fill: Row) -> Facts:
    """The venue's own doing: a liquidation or a settlement, which no decision asked for."""
    liquidations = reader.each(
        "SELECT * FROM liquidation WHERE instrument = ? AND time_ms = ?", fill["instrument"], fill["time_ms"]
    )
    return {
        **_story(reader, kind, name, None, fill["instrument"]),
        "fills": [fill_facts(reader, fill)],
        "liquidations": [
            {"kind": row["kind"], "price": Decimal(row["price"]), "usd": -Decimal(row["forfeited_usd"])}
            for row in liquidations
        ],
    }


def _decision(reader: Reader, name: str) -> Facts | None:
    return reader.one("SELECT * FROM decision WHERE id = ?", name)


def _story(reader: Reader, kind: str, name: str, decision: Row | None, coin: str | None) -> Facts:
    """A decision and all that hangs on the one it was `written_in`: itself, or the one that it `repeats`."""
    story: Facts = {"kind": kind, "id": name, "coin": coin, "is_protection": False, "decision": None}
    story |= {part: [] for part in _PARTS}
    if decision is None:
        return story
    full = decision if decision["is_full"] else reader.one(WRITTEN_IN, decision["time_ms"])
    assert full is not None, "a run's first decision is always written in full"

    hedged = None if coin is None else reader.one(_HEDGED, coin)

    def rows(table: str) -> Iterator[Row]:
        told = (full["id"], coin, None if hedged is None else hedged["coin"])
        return reader.each(_MINE[table], *told[: 3 if "?3" in _MINE[table] else 2])

    return {
        **story,
        "decision": {
            "id": decision["id"],
            **moment("time", decision["time_ms"]),
            "state": decision["state"],
            "equity_usd": Decimal(decision["equity_usd"]),
            "written_in": full["id"],
            "repeats": None if decision["is_full"] else {"id": full["id"], **moment("time", full["time_ms"])},
        },
        "forecasts": [_forecast(reader, row) for row in rows("forecast")],
        "targets": [_aim(reader, row) for row in rows("target")],
        "findings": [finding_facts(row) for row in rows("finding")],
        "cancels": [_cancel(row) for row in rows("cancel")],
        "orders": [order_facts(reader, row) for row in rows("orders")],
        "fills": [fill_facts(reader, row) for row in rows("fill")],
    }


def _forecast(reader: Reader, row: Row) -> Facts:
    return {
        "strategy": row["strategy"],
        "score": row["score"],
        **_aim(reader, row),
        "because": row["because"],
    }


def _aim(reader: Reader, row: Row) -> Facts:
    """What of a forecast or a target was wanted and what was allowed, in coins with their sign."""
    coin = row["instrument"]
    wanted, allowed = (reader.size(coin, row[name]) for name in ("wanted_lots", "allowed_lots"))
    return {"coin": coin, "wanted": wanted, "allowed": allowed}


def _cancel(row: Row) -> Facts:
    names = ("client_id", "order_id", "because")
    return {"coin": row["instrument"], **{name: row[name] for name in names}}


def _unknown(name: str) -> ConfigError:
    return ConfigError(
        f"the journal knows no decision, order, trade or coin '{name}'; "
        f"`hedgerow orders --all` lists orders with their decisions, `hedgerow explain latest` tells the last one"
    )
