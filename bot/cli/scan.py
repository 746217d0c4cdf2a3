"""`hedgerow scan`: the positioning board of recorded data, or of a config's made-up market."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.config import DATA, OVERRIDES
from bot.text import printable

if TYPE_CHECKING:
    from bot.research.scan import Scan

SORTABLE = (
    "stress",
    "coin",
    "funding_apr",
    "funding_z",
    "open_interest_usd",
    "open_interest_change",
    "volume_surge",
    "realised_volatility",
    "drift",
    "basis_bps",
)


@click.command(epilog="Example:  hedgerow scan --data DIR --at 2026-01-15 --coins BTC,ETH --json")
@click.argument("config_file", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@OVERRIDES
@DATA
@click.option(
    "--table", type=click.Choice(["candles", "panel"]), help="Read this table only; by default all."
)
@click.option("--prices", type=click.Choice(["hl", "okx"]), help="Whose prices of panel_1h to use.")
@click.option(
    "--at", metavar="DATE", help="Show the board as it was then (UTC); by default where the data ends."
)
@click.option("--coins", default="", metavar="COIN,COIN", help="Only these coins.")
@click.option(
    "--sort", type=click.Choice(SORTABLE), default="stress", show_default=True, help="Order, highest first."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def scan(
    config_file: Path | None,
    overrides: tuple[str, ...],
    folder: Path | None,
    table: str | None,
    prices: str | None,
    at: str | None,
    coins: str,
    sort: str,
    as_json: bool,
) -> None:
    """Show who is positioned how: funding, open interest, volume, basis, regime and stress.

    Reads the folder given by --data or by CONFIG's [data] section; a paper CONFIG without recorded data shows its
    synthetic market after the warm-up. Each coin is shown at its latest hour, unknown values as –, and why. Coins whose
    latest hour is long past are listed last.
    """
    from bot.clock import parse_utc

    at_ms = None if at is None else parse_utc(at)
    wanted = tuple(coin.strip() for coin in coins.split(",") if coin.strip())
    found = _scan(config_file, overrides, folder, table, prices, at_ms, wanted)
    rows = sorted(found.rows, key=lambda row: _order(row, sort))
    if as_json:
        from bot.clock import utc

        click.echo(json.dumps({"at": utc(found.at_ms), "coins": rows, "notes": found.notes}, allow_nan=False))
    else:
        _print(rows, found)


def _scan(
    config_file: Path | None,
    overrides: tuple[str, ...],
    folder: Path | None,
    table: str | None,
    prices: str | None,
    at_ms: int | None,
    coins: tuple[str, ...],
) -> "Scan":
    from bot import settings
    from bot.research.scan import scan_folder, scan_synthetic

    if config_file is None:
        if folder is None:
            raise click.UsageError("name a CONFIG or a folder of market data with --data DIR")
        return scan_folder(folder, table, prices, at_ms, coins)
    loaded = settings.load(config_file, overrides)
    recorded = loaded.data is not None and (loaded.market is None or loaded.market.source == "replay")
    if recorded and loaded.data is not None:
        folder = folder or loaded.data.folder
        table, prices = table or loaded.data.table, prices or _prices(loaded.data)
        coins, at_ms = coins or loaded.data.coins, at_ms if at_ms is not None else loaded.data.end_ms
    if folder is not None:
        return scan_folder(folder, table, prices, at_ms, coins)
    if recorded or loaded.market is None:
        raise click.UsageError(f"{config_file} names no data folder; name one with --data DIR")
    market = loaded.market
    unlisted = [coin for coin in coins if coin not in market.coins]
    if unlisted:
        raise click.UsageError(f"{config_file} has no coin {unlisted[0]}; it has {', '.join(market.coins)}")
    result = scan_synthetic(market.coins, market.seed, max(market.warmup_h, 1), at_ms or market.start_ms)
    return replace(result, rows=tuple(row for row in result.rows if not coins or row["coin"] in coins))


def _prices(data: Any) -> str | None:
    return data.prices if data.table == "panel" and data.prices in {"hl", "okx"} else None


def _order(row: dict[str, Any], key: str) -> tuple[bool, bool, Any]:
    """Stale coins last, whatever they once were; then what is unknown."""
    value = row[key]
    if isinstance(value, str):
        return (row["stale"], False, value)
    return (row["stale"], value is None, 0.0 if value is None else -value)


def _print(rows: list[dict[str, Any]], found: "Scan") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from bot.clock import utc

    board = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    board.add_column("coin", no_wrap=True)
    for heading in (
        "age",
        "price",
        "APR",
        "24 h",
        "z",
        "basis",
        "OI $m",
        "OI 24 h",
        "volume",
        "vol.",
        "drift",
    ):
        board.add_column(heading, justify="right", no_wrap=True)
    board.add_column("regime", no_wrap=True)
    board.add_column("stress", justify="right", no_wrap=True)
    for row in rows:
        interest = row["open_interest_usd"]
        board.add_row(
            f"{row['coin']} (stale)" if row["stale"] else row["coin"],
            _age(row["age_h"]),
            _as(row["price"], ",.6g"),
            ("~" if row["funding_kind"] == "estimate" else "") + _as(row["funding_apr"], "+.1%"),
            _as(row["funding_apr_24h"], "+.1%"),
            _as(row["funding_z"], "+.1f"),
            _as(row["basis_bps"], "+.1f"),
            _as(None if interest is None else interest / 1e6, ",.1f"),
            _as(row["open_interest_change"], "+.1%"),
            _as(row["volume_surge"], ".2f"),
            _as(row["realised_volatility"], ".0%"),
            _as(row["drift"], "+.1f"),
            row["regime"] or "–",
            _as(row["stress"], ".2f"),
        )
    console = Console()
    # A line that the terminal wraps can be read, a column that is cut off can't.
    console.width = max(
        console.width, console.measure(board, options=console.options.update(width=1000)).maximum
    )
    console.print(board)

    def say(line: str) -> None:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    funding = "last settled funding"
    if any(row["funding_kind"] == "estimate" for row in rows):
        funding = "last funding, settled or (~) the venue's running estimate"
    say(
        f"As of {utc(found.at_ms)}. APR: {funding}; z: over 14 days; basis in bps; volume: last 6 h against "
        "14 days; vol.: of a week, yearly; drift: two days in usual moves; stress: 0 to 1."
    )
    if any(row["stale"] for row in rows):
        say("stale: no data of the last hours; listed last, as it was then")
    for note in found.notes:
        say(note)
    for reason, coins in _reasons(rows).items():
        say(f"unknown for {coins}: {reason}")


def _reasons(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Each reason once, with the coins it holds for, so that ninety coins don't fill a screen."""
    from bot.data.tables import listed

    together: dict[str, list[str]] = {}
    for row in rows:
        for reason in row["unknown"]:
            together.setdefault(reason, []).append(row["coin"])
    return {
        reason: f"all {len(rows)} coins" if len(coins) == len(rows) > 1 else listed(coins)
        for reason, coins in together.items()
    }


def _as(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _age(hours: float) -> str:
    return f"{hours:.0f} h" if hours < 100 else f"{hours / 24:.0f} d"
