"""`hedgerow orders`: what was asked for, what became of it, and which decision asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bot.cli.reading import (
    COIN,
    UNKNOWN,
    clock,
    journaled,
    number,
    opened,
    price,
    show_json,
    table,
)

_COLUMNS = (
    "time",
    "coin",
    "side",
    "size",
    "price",
    "purpose",
    "status",
    "filled",
    "average",
    "decision",
    "client id",
    "reason",
)
_TEXT = ("time", "coin", "side", "purpose", "status", "decision", "client id")


@click.command(epilog="Example:  hedgerow orders --all --coin BTC --limit 50")
@journaled
@click.option("--all", "everything", is_flag=True, help="Finished orders too.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Only the newest; with --all 20, else all open ones."
)
@COIN
def orders(
    config_file: Path | None,
    journal_file: Path | None,
    as_json: bool,
    everything: bool,
    limit: int | None,
    coin: str | None,
) -> None:
    """List open orders, or with --all whatever became of them, newest first.

    A `planned` order was written down and the venue's answer to it has not been. `hedgerow explain` takes a client id
    or a decision.
    """
    from bot.journal.book import orders as of

    newest = 20 if everything and limit is None else limit
    with opened(config_file, journal_file) as reader:
        chosen = None if coin is None else reader.coin(coin)
        facts = of(reader, everything=everything, limit=newest, coin=chosen)
    if as_json:
        show_json(facts)
        return
    if not facts["orders"]:
        click.echo("no orders yet" if everything else "no open orders; list finished ones with --all")
        return
    show(facts["orders"])
    if facts["count"] > len(facts["orders"]):
        click.echo(f"The newest {len(facts['orders']):,} of {facts['count']:,}; ask for more with --limit N.")


def show(rows: list[dict[str, Any]]) -> None:
    """Print orders as a table, a column that no order has anything in left out."""
    cells = [_row(order) for order in rows]
    used = [name != "reason" or any(row[column] for row in cells) for column, name in enumerate(_COLUMNS)]
    columns = [name for name, wanted in zip(_COLUMNS, used, strict=True) if wanted]
    kept = [[cell for cell, wanted in zip(row, used, strict=True) if wanted] for row in cells]
    table(columns, kept, text=_TEXT, prose="reason" if "reason" in columns else "")


def _row(order: dict[str, Any]) -> tuple[str, ...]:
    return (
        clock(order["created"]),
        order["coin"],
        order["side"],
        number(order["size"]),
        _price(order),
        order["purpose"] + (" reduce" if order["reduce_only"] else ""),
        order["status"],
        number(order["filled"]),
        price(order["average_price"]),
        order["decision"] or UNKNOWN,
        order["client_id"],
        order["reason"],
    )


def _price(order: dict[str, Any]) -> str:
    """Where it trades: at a limit, at the market, or once a trigger is crossed."""
    limit = "market" if order["limit_price"] is None else price(order["limit_price"])
    if order["trigger"] is None:
        return limit
    return f"{limit} at {number(order['trigger_price'])}"
