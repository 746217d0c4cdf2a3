"""`hedgerow data`: what a folder of market data holds, what is missing from it, and a made-up one."""

import json
from pathlib import Path
from typing import Any

import click

from bot.text import printable


@click.group(epilog="Example:  hedgerow data describe DIR")
def data() -> None:
    """Look at a folder of market data, or make one up."""


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


@data.command(epilog="Example:  hedgerow data generate out/market --days 365 --coins BTC,ETH,SOL")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--coins", default="", metavar="COIN,COIN", help="Only these coins; by default all sixteen.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Of the market.")
@click.option(
    "--from", "start", default="2024-01-01", show_default=True, metavar="DATE", help="First hour (UTC)."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object: the files written, and of what."
)
def generate(folder: Path, coins: str, days: int, seed: int, start: str, as_json: bool) -> None:
    """Make up a market's history and write it into FOLDER, a new one, as a recording would be.

    Prices, funding, premium, open interest and volume behave like Hyperliquid's, but nothing in them happened: good for
    trying the bot out, worth nothing as evidence.
    """
    from bot.clock import HOUR_MS, parse_utc, utc
    from bot.data.generate import generate as write
    from bot.data.tables import nearest
    from bot.errors import ConfigError
    from bot.sim.coins import MAJORS

    wanted = [coin.strip() for coin in coins.split(",") if coin.strip()] or list(MAJORS)
    for coin in wanted:
        if coin not in MAJORS:
            raise ConfigError(f"the synthetic market has no coin {coin!r}; {nearest(coin, list(MAJORS))}")
    start_ms = parse_utc(start) // HOUR_MS * HOUR_MS
    written = [
        str(path) for path in write(folder, [MAJORS[coin] for coin in wanted], days * 24, seed, start_ms)
    ]
    if as_json:
        facts = {"files": written, "coins": wanted, "hours": days * 24, "seed": seed, "start": utc(start_ms)}
        click.echo(json.dumps(facts))
    else:
        click.echo("\n".join(written))


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
        console.print(printable(f"{name}: {table['verdict']}"), markup=False, highlight=False, soft_wrap=True)
    if facts["other_files"]:
        console.print(
            printable(f"not read: {', '.join(facts['other_files'])}"),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _day(moment: str | None) -> str:
    return "–" if moment is None else moment[:10]
