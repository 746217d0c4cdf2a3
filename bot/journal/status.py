"""How the newest run is doing: whether its daemon lives, what the account is worth, what the rules say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from bot.errors import StateError
from bot.journal.file import owner
from bot.journal.pnl import ledger, today, worth
from bot.journal.reader import Facts, Reader, Row, moment, split
from bot.journal.standing import Standing, strongest

# The decision in which the one at a moment was last written in full: itself, or the one that it repeats.
WRITTEN_IN: Final = (
    "SELECT id, time_ms FROM decision WHERE is_full = 1 AND time_ms <= ? ORDER BY time_ms DESC LIMIT 1"
)


def status(reader: Reader, now_wall_ms: int) -> Facts:
    """What the newest run says of itself. `daemon` is running, stopped, or gone (it ended without saying so).

    Leverages are notional at mark over equity, `drawdown` a fraction of the highest equity that the risk rules have
    seen, `today` the UTC day of the last cycle, `suspense_usd` what nothing explains. `state` is what is allowed, `state_by`
    operator or watchdog; `asked` are commands that nobody has taken up yet; `to_move` what a person should move between
    wallets; `unreached` which venues can't be asked, and what is held elsewhere meanwhile; `unfinished` a decision of which nobody
    has told yet what came of it; `is_drawn_down`: the drawdown rule keeps everything closed. StateError if no run has begun.
    """
    run = reader.one("SELECT * FROM run ORDER BY id DESC LIMIT 1")
    if run is None:
        raise StateError(f"journal {reader.path} has no run yet; start one with `hedgerow run CONFIG`")
    pid = owner(reader.path)
    over = "gone" if run["ended_wall_ms"] is None else "stopped"
    seen = run["last_wall_ms"]
    last = reader.one("SELECT * FROM decision ORDER BY time_ms DESC LIMIT 1")
    exposure = _exposure(reader)
    return {
        "journal": str(reader.path),
        "daemon": over if pid is None else "running",
        "pid": pid or None,  # 0: it lives, but has not said who it is
        "run": run["id"],
        "name": run["name"],
        "mode": run["mode"],
        "source": json.loads(run["source"]),
        **moment("started_wall", run["started_wall_ms"]),
        **moment("ended_wall", run["ended_wall_ms"]),
        "cycles": run["cycles"],
        "last_cycle_age_s": None if seen is None else max(0, now_wall_ms - seen) / 1000,
        **moment("time", reader.last_ms),
        **_standing(reader, last),
        **worth(reader),
        "pnl": split(reader.last),
        "today": today(reader),
        **_unexplained(reader),
        **exposure,
        "is_drawn_down": _is_drawn_down(json.loads(run["config"]), exposure),
        **_counts(reader),
        "to_move": _to_move(reader),
        "unreached": _unreached(reader),
        "unfinished": reader.unfinished,
        "last_decision": last and {"id": last["id"], **moment("time", last["time_ms"])},
        "findings": findings_at(reader, last["time_ms"]) if last else [],
    }


def _standing(reader: Reader, last: Row | None) -> Facts:
    """What is allowed, by whose word, since when and why; before anybody has said a word, what the last decision had."""
    words = [Standing.read(row) for row in reader.each("SELECT * FROM standing")]
    holds = strongest(words)
    asked = reader.each("SELECT kind FROM command WHERE state = 'asked' ORDER BY id")
    return {
        "state": last and last["state"] if holds is None else holds.state.value,
        "is_flattening": any(word.is_flattening for word in words),
        "state_by": holds and holds.author.value,
        **moment("state_since_wall", None if holds is None else holds.since_wall_ms),
        "state_why": holds and holds.why,
        "asked": [row["kind"] for row in asked],
    }


def _to_move(reader: Reader) -> list[Facts]:
    """What a person should move between wallets, as the trader last wrote it down; empty while nothing is to be moved."""
    row = reader.one("SELECT * FROM event WHERE kind = 'to_move' ORDER BY id DESC LIMIT 1")
    return (
        []
        if row is None
        else [{**each, **moment("time", row["time_ms"])} for each in json.loads(row["text"])]
    )


def _unreached(reader: Reader) -> Facts:
    """Venues that can't be asked, with the coins that the others hold meanwhile; empty while all answer."""
    row = reader.one("SELECT text FROM event WHERE kind = 'unreached' ORDER BY id DESC LIMIT 1")
    return {} if row is None else dict(json.loads(row["text"]))


def _is_drawn_down(config: Mapping[str, Any], exposure: Facts) -> bool | None:
    """Whether equity is so far below its high that the rule keeps everything closed; None where that is not known."""
    limit, drawdown = config.get("limits", {}).get("max_drawdown"), exposure["drawdown"]
    return None if limit is None or drawdown is None else drawdown >= limit


def _unexplained(reader: Reader) -> Facts:
    """What the venue says of the account and the ledger can't explain; 0 and empty unless something was missed."""
    books, _ = ledger(reader)
    lots = books.unexplained_lots()
    return {"suspense_usd": sum(books.suspense().values(), Decimal(0)), "unexplained_lots": lots}


def _exposure(reader: Reader) -> Facts:
    if reader.last is None:
        names = (
            "high_water_mark_usd",
            "drawdown",
            "gross_usd",
            "net_usd",
            "gross_leverage",
            "net_leverage",
        )
        return dict.fromkeys(names)
    equity = Decimal(reader.last["equity_usd"])
    gross, net = Decimal(reader.last["gross_usd"]), Decimal(reader.last["net_usd"])
    high = max(_high_water_mark(reader), equity)
    return {
        "high_water_mark_usd": high,
        "drawdown": float(1 - equity / high) if high > 0 else None,
        "gross_usd": gross,
        "net_usd": net,
        "gross_leverage": float(gross / equity) if equity > 0 else None,
        "net_leverage": float(net / equity) if equity > 0 else None,
    }


def _high_water_mark(reader: Reader) -> Decimal:
    """The one that the risk rules go by."""
    memory = reader.one("SELECT content FROM memory")
    return Decimal(0 if memory is None else repr(json.loads(memory["content"])["high_water_mark_usd"]))


def _counts(reader: Reader) -> Facts:
    counts = reader.one(
        "SELECT (SELECT count(*) FROM position) AS positions,"
        " (SELECT count(*) FROM orders WHERE status IN ('resting', 'waiting')) AS open_orders,"
        " (SELECT count(*) FROM orders WHERE status = 'planned') AS unanswered_orders,"
        " (SELECT count(*) FROM fill) AS fills,"
        " (SELECT count(*) FROM liquidation) AS liquidations"
    )
    assert counts is not None
    return counts


def findings_at(reader: Reader, time_ms: int) -> list[Facts]:
    """The rules that bound in the decision at `time_ms`, as it or the one it repeats was written down."""
    full = reader.one(WRITTEN_IN, time_ms)
    if full is None:
        return []
    query = "SELECT * FROM finding WHERE decision_id = ? ORDER BY number"
    return [finding_facts(row) for row in reader.each(query, full["id"])]


def finding_facts(row: Row) -> Facts:
    """One row of `finding`; `coin` is None for the whole book."""
    return {"rule": row["rule"], "coin": row["instrument"] or None, "detail": row["detail"]}
