"""`hedgerow data`: what a folder of market data holds, and what is missing from it."""

import json
from pathlib import Path
from typing import Any

import click


@click.group(epilog="Example:  hedgerow data describe DIR")
def data() -> None:
    """Look at a folder of market data."""


@data.command(epilog="Example:  hedgerow data describe DIR --table hl_funding_1h --coins BTC,ETH --json")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--table", "tables", multiple=True, metavar="NAME", help="Only this table; may be given more than once."
)
@click.option("--coins", default="", metavar="COIN,COIN", help="Only these coins.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every gap of every coin.")
@click.pass_context
def describe(
    context: click.Context, folder: Path, tables: tuple[str, ...], coins: str, as_json: bool
) -> None:
    """Say what each table in FOLDER covers, its gaps, and what in it is unusual.

    The exit code is 2 if a table cannot be read.
    """
    from bot.data import quality

    wanted = tuple(coin.strip() for coin in coins.split(",") if coin.strip())
    facts = quality.describe(folder, tables, wanted)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        _print(facts)
    if not all(table["readable"] for table in facts["tables"].values()):
        context.exit(2)


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("table", no_wrap=True)
    for heading in ("rows", "coins", "first", "last", "missing h", "longest h"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, table in facts["tables"].items():
        if table["readable"]:
            counts = (table["missing_hours"], table["longest_gap_h"])
            days = (_day(table["first"]), _day(table["last"]))
            shown.add_row(name, f"{table['rows']:,}", str(table["coins"]), *days, *(f"{n:,}" for n in counts))
        else:
            shown.add_row(name, *("–" for _ in range(6)))
    console = Console()
    console.print(shown)
    for name, table in facts["tables"].items():
        console.print(f"{name}: {table['verdict']}", markup=False, highlight=False, soft_wrap=True)
    if facts["other_files"]:
        console.print(
            f"not read: {', '.join(facts['other_files'])}", markup=False, highlight=False, soft_wrap=True
        )


def _day(moment: str | None) -> str:
    return "–" if moment is None else moment[:10]
