"""`hedgerow positions`: what is held, what it earns, and how far its liquidation is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bot.cli.reading import (
    UNKNOWN,
    amount,
    clock,
    journaled,
    number,
    opened,
    price,
    ratio,
    show_json,
    signed,
    table,
    unfinished,
)

_COLUMNS = (
    "coin",
    "side",
    "size",
    "entry",
    "mark",
    "notional",
    "unrealised",
    "funding",
    "liq. price",
    "distance",
    "held h",
    "whose",
    "because",
)


@click.command(epilog="Example:  hedgerow positions config/paper.toml --json")
@journaled
def positions(config_file: Path | None, journal_file: Path | None, as_json: bool) -> None:
    """List what is held as of the last cycle.

    Sizes are in coins, short ones negative; whose says who holds how much of it; funding is what was received since the position was opened; distance is
    how far the price may move to where the venue takes over.
    """
    from bot.journal.book import positions as of

    with opened(config_file, journal_file) as reader:
        facts = of(reader)
    if as_json:
        show_json(facts)
        return
    held = facts["positions"]
    if not held:
        click.echo(f"nothing is held at {clock(facts['time'])}" if facts["time"] else "no cycle yet")
        if facts["unfinished"]:
            click.echo(unfinished(facts))
        return
    table(_COLUMNS, [_row(each) for each in held], text=("coin", "side", "whose"), prose="because")
    gross, net, equity = (amount(facts[name]) for name in ("gross_usd", "net_usd", "equity_usd"))
    if facts["unfinished"]:
        click.echo(unfinished(facts))
    click.echo(f"At {clock(facts['time'])}: gross {gross}, net {net}, equity {equity} USD.")


def _row(position: dict[str, Any]) -> tuple[str, ...]:
    return (
        position["coin"],
        position["side"],
        number(position["size"]),
        price(position["entry_price"]),
        price(position["mark"]),
        amount(position["notional_usd"]),
        signed(position["unrealised_usd"]),
        signed(position["funding_usd"]),
        price(position["liquidation_price"]),
        ratio(position["liquidation_distance"], ".1%"),
        ratio(position["held_h"], ",.0f"),
        _whose(position["by_strategy"]),
        position["because"],
    )


def _whose(shares: dict[str, Any]) -> str:
    """The one who holds it, or each of several with what is theirs."""
    if len(shares) == 1:
        return next(iter(shares))
    return ", ".join(f"{name} {number(size)}" for name, size in shares.items()) or UNKNOWN
