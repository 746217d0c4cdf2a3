"""`hedgerow pnl`: profit and loss split into price, funding and fees, by strategy, coin and day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from bot.cli.reading import amount, clock, journaled, opened, show_json, signed, table
from bot.model.money import MICRO_USD

_PARTS: Final = ("price", "funding", "fees", "total")


@click.command(epilog="Example:  hedgerow pnl config/paper.toml --days 7")
@journaled
@click.option(
    "--days", type=click.IntRange(min=1), default=14, show_default=True, help="Days to list; JSON has all."
)
def pnl(config_file: Path | None, journal_file: Path | None, as_json: bool, days: int) -> None:
    """Split what was made since the account was opened into price, funding and fees.

    Fees that were paid are negative, so price + funding + fees = total, in every row, and opening balance + total =
    equity but for transfers. Coins are the ledger's, and `not explained` is what the venue states beyond it. A UTC day
    ends with its last midnight's funding.
    """
    from bot.journal.pnl import pnl as of

    with opened(config_file, journal_file) as reader:
        facts = of(reader)
    if as_json:
        show_json(facts)
        return
    if facts["equity_usd"] is None:
        click.echo("nothing has been made or lost yet: no cycle has been written down")
        return
    _table("", [("since opening", facts["pnl"]), (f"today, {facts['today']['day']}", facts["today"])])
    _table("strategy", [(row["strategy"], row) for row in facts["strategies"]], facts["unattributed"])
    _table("coin", [(row["coin"], row) for row in facts["coins"]], facts["suspense"])
    table(
        ("day", *_PARTS, "equity"),
        [(row["day"], *_cells(row), amount(row["equity_usd"])) for row in facts["days"][-days:]],
        text=("day",),
    )
    moved = f", transfers {signed(facts['transfers_usd'])}" if facts["transfers_usd"] else ""
    click.echo(
        f"At {clock(facts['time'])}: opened with {amount(facts['opening_usd'])}{moved}, made "
        f"{signed(facts['pnl']['total'])}, equity {amount(facts['equity_usd'])} USD."
    )
    if facts["unexplained_transfers_usd"]:
        click.echo(f"Transfers that nothing explains: {signed(facts['unexplained_transfers_usd'])} USD.")
    for coin, lots in facts["unexplained_lots"].items():
        click.echo(f"Lots that no fill explains: {lots:+,} of {coin}.")


def _table(
    heading: str, rows: Iterable[tuple[str, Mapping[str, Any]]], rest: Mapping[str, Any] | None = None
) -> None:
    """One row a name, and what they leave of the whole, if they do."""
    named = [*rows]
    if rest is not None and any(
        abs(usd) >= MICRO_USD for usd in rest.values()
    ):  # strategies divide what is whole
        named.append(("not explained", rest))
    if named:
        table((heading, *_PARTS), [(name, *_cells(row)) for name, row in named], text=(heading,))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(signed(row[part]) for part in _PARTS)
