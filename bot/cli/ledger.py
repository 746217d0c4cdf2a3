"""`hedgerow ledger`: the books by double entry, and whether they are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bot.cli.reading import clock, journaled, opened, show_json, signed, table


@click.group(epilog="Example:  hedgerow ledger verify config/paper.toml")
def ledger() -> None:
    """Check the books that every fill, payment and transfer is entered in."""


@ledger.command(epilog="Example:  hedgerow ledger verify config/paper.toml --json")
@journaled
@click.pass_context
def verify(
    context: click.Context, config_file: Path | None, journal_file: Path | None, as_json: bool
) -> None:
    """Derive the books again from the fills, payments, transfers and equity written down, and say what differs.

    Leaves with exit code 1 if anything does. Funding is held against position × oracle price × rate, hour by hour; what
    the venue states and nothing explains stands in SUSPENSE and is a difference too.
    """
    from bot.journal.verify import verify as of

    with opened(config_file, journal_file) as reader:
        facts = of(reader)
    if as_json:
        show_json(facts)
    else:
        _show(facts)
    if not facts["is_right"]:
        context.exit(1)


def _show(facts: dict[str, Any]) -> None:
    paid = facts["funding"]
    if facts["differences"]:
        table(
            ("what", "ledger", "derived"),
            [(each["what"], str(each["ledger"]), str(each["derived"])) for each in facts["differences"]],
            text=("what",),
        )
    if paid["rows"]:
        table(
            ("settled", "coin", "due", "paid", "difference"),
            [
                (
                    clock(row["time"]),
                    row["coin"],
                    *(signed(row[f"{name}_usd"]) for name in ("due", "paid", "difference")),
                )
                for row in paid["rows"][-20:]
            ],
            text=("settled", "coin"),
        )
    click.echo(
        f"{facts['entries']:,} entries of {facts['cycles']:,} cycles, {len(facts['differences'])} differences. Funding of "
        f"{paid['hours']:,} hours: due {signed(paid['due_usd'])}, paid {signed(paid['paid_usd'])} USD"
        + (f"; {paid['unknown']:,} could not be reckoned" if paid["unknown"] else "")
        + (
            f"; of {paid['unseen']:,} the market was not seen, so only their size was held against it"
            if paid["unseen"]
            else ""
        )
        + "."
    )
    for coin, hours in paid["unverified"].items():
        click.echo(
            f"Whether the funding of {coin} is right is unknown: of {hours:,} hours the rate was seen and the oracle price never."
        )
