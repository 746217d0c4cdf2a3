"""`hedgerow status`: whether the daemon lives, what the account is worth, what it last decided."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bot.cli.reading import (
    UNKNOWN,
    amount,
    clock,
    journaled,
    opened,
    pairs,
    ratio,
    show_json,
    signed,
    table,
    unfinished,
)


@click.command(epilog="Example:  hedgerow status config/paper.toml --json")
@journaled
def status(config_file: Path | None, journal_file: Path | None, as_json: bool) -> None:
    """Say how the running daemon is doing, or how the last one ended.

    Reads the journal only: CONFIG's, the one named by --journal, or state/paper.sqlite. The daemon is `running`,
    `stopped` (it said goodbye) or `gone` (it did not). Times are the market's, which a simulation may run fast.
    """
    from bot.journal.status import status as of

    with opened(config_file, journal_file) as reader:
        facts = of(reader, time.time_ns() // 1_000_000)
    if as_json:
        show_json(facts)
        return
    pairs(_lines(facts))
    if facts["findings"]:
        table(
            ("rule", "coin", "finding"),
            [(each["rule"], each["coin"] or "book", each["detail"]) for each in facts["findings"]],
            text=("rule", "coin"),
            prose="finding",
        )


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "daemon", _daemon(facts)
    yield "run", f"{facts['name']}, {facts['mode']}, journal {facts['journal']}"
    if facts["equity_usd"] is None:
        yield "time", "no cycle has been written down yet"
    else:
        yield "time", f"{clock(facts['time'])}, {facts['cycles']:,} cycles in this run"
        yield "state", _state(facts)
        moved = f", transfers {signed(facts['transfers_usd'])}" if facts["transfers_usd"] else ""
        opening = amount(facts["opening_usd"])
        yield "equity", f"{amount(facts['equity_usd'])} USD, opened with {opening}{moved}"
        yield "pnl", _split(facts["pnl"])
        yield "today", f"{_split(facts['today'])}, {facts['today']['day']}"
        if facts["suspense_usd"] or facts["unexplained_lots"]:
            yield "books", f"{_unexplained(facts)}; see hedgerow ledger verify"
        high = amount(facts["high_water_mark_usd"])
        yield "drawdown", f"{ratio(facts['drawdown'], '.2%')} below the high of {high}"
        gross, net = (ratio(facts[f"{name}_leverage"], ".2f") for name in ("gross", "net"))
        yield "leverage", f"gross {gross}, net {net}"
        if facts["unreached"]:
            held = facts["unreached"]["held_elsewhere"]
            others = ", ".join(f"{size} {name}" for name, size in held.items()) or "nothing"
            venues = ", ".join(facts["unreached"]["venues"])
            yield "unreached", f"{venues} can't be asked; elsewhere {others} is held now"
            yield "", "equity and positions are those of the last whole cycle"
        for each in facts["to_move"]:
            part = "" if each["usd"] >= each["needed_usd"] else f" of {each['needed_usd']:,.2f} that it needs"
            yield (
                "transfer",
                (
                    f"move {each['usd']:,.2f} USD{part} from {each['source']} to {each['target']}: {each['because']}, "
                    f"as of {clock(each['time'])}"
                ),
            )
        yield "positions", str(facts["positions"])
        yield "orders", f"{facts['open_orders']} open, {facts['unanswered_orders']} unanswered"
        yield "so far", f"{facts['fills']:,} fills, {facts['liquidations']} liquidations"
    if facts["unfinished"]:
        yield "unfinished", unfinished(facts)
    last = facts["last_decision"]
    if last is not None:
        yield "decision", f"{last['id']} of {clock(last['time'])}, see hedgerow explain {last['id']}"
        yield "findings", str(len(facts["findings"]) or "none")


def _state(facts: dict[str, Any]) -> str:
    state = "flattening" if facts["is_flattening"] else facts["state"] or UNKNOWN
    if state not in {"active", UNKNOWN}:
        by = f" by the {facts['state_by']}" if facts["state_by"] else ""
        since = f" since {clock(facts['state_since_wall'])} UTC" if facts["state_since_wall"] else ""
        why = f": {facts['state_why']}" if facts["state_why"] else ""
        end = "; end it with hedgerow resume" if facts["state_by"] == "operator" else ""
        state = f"{state}{by}{since}{why}{end}"
    if facts["is_drawn_down"]:
        closed = "drawdown: closed for good, resume with hedgerow resume --accept-drawdown"
        state = closed if state == "active" else f"{state}; {closed}"
    if facts["asked"]:
        state = f"{state}; not taken up yet: {', '.join(facts['asked'])}"
    return state


def _daemon(facts: dict[str, Any]) -> str:
    age = facts["last_cycle_age_s"]
    seen = "no cycle yet" if age is None else f"last cycle {_ago(age)} ago"
    if facts["daemon"] == "running":
        return f"running (pid {facts['pid'] or 'unknown'}), {seen}"
    if facts["daemon"] == "stopped":
        return f"stopped at {clock(facts['ended_wall'])} UTC, {seen}"
    return f"gone: it ended without saying so, {seen}; start it again and it goes on from there"


def _unexplained(facts: dict[str, Any]) -> str:
    lots = "".join(f", {lots:+,} lots of {coin}" for coin, lots in facts["unexplained_lots"].items())
    return f"nothing explains {signed(facts['suspense_usd'])} USD{lots} that the venue states"


def _split(parts: dict[str, Any]) -> str:
    named = ", ".join(f"{name} {signed(parts[name])}" for name in ("price", "funding", "fees"))
    return f"{signed(parts['total'])} USD ({named})"


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
