"""`hedgerow funding`: every payment with its size, oracle price and rate, and what they come to by coin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.reading import (
    COIN,
    clock,
    journaled,
    number,
    opened,
    price,
    ratio,
    show_json,
    signed,
    table,
)

if TYPE_CHECKING:
    from bot.journal.reader import Reader


@click.command(epilog="Example:  hedgerow funding --coin BTC --since 7d --limit 24")
@journaled
@COIN
@click.option(
    "--since", metavar="DATE|7d|24h", help="Only from here on: a UTC date, or so long before the last cycle."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Payments to list, newest first.",
)
def funding(
    config_file: Path | None,
    journal_file: Path | None,
    as_json: bool,
    coin: str | None,
    since: str | None,
    limit: int,
) -> None:
    """List funding by coin and the newest payments; received is positive, paid negative.

    A payment is −size × oracle price × rate of the hour, for what was held when it settled. Sums are over all
    payments, listed or not. APR is the hourly rate × 8760.
    """
    from bot.journal.book import funding as of

    with opened(config_file, journal_file) as reader:
        chosen = None if coin is None else reader.coin(coin)
        facts = of(reader, coin=chosen, since_ms=_since(reader, since), limit=limit)
    if as_json:
        show_json(facts)
        return
    if not facts["coins"]:
        click.echo("no funding payments" + (f" since {clock(facts['since'])}" if facts["since"] else " yet"))
        return
    total = {**facts["total"], "coin": "total", "last_rate_apr": None}
    table(
        ("coin", "payments", "received", "paid", "net", "last 24 h", "last APR"),
        [_coin(row) for row in (*facts["coins"], total)],
        text=("coin",),
    )
    table(
        ("time", "coin", "size", "oracle", "rate/h", "APR", "usd"),
        [_payment(row) for row in facts["payments"]],
        text=("time", "coin"),
    )
    count, listed = total["payments"], len(facts["payments"])
    if count > listed:
        click.echo(f"The newest {listed:,} of {count:,} payments; ask for more with --limit N.")


def _since(reader: Reader, text: str | None) -> int | None:
    from bot.clock import HOUR_MS, parse_utc

    if text is None:
        return None
    length = re.fullmatch(r"(\d{1,6})([hd])", text.strip())
    if length is None:
        return parse_utc(text)
    hours = int(length[1]) * (24 if length[2] == "d" else 1)
    # What settled exactly so long ago lies outside: 24h is the last 24 settlements.
    return max(0, (reader.last_ms or 0) - hours * HOUR_MS + 1)


def _coin(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["coin"],
        f"{row['payments']:,}",
        *(signed(row[name]) for name in ("received_usd", "paid_usd", "usd", "last_24h_usd")),
        ratio(row["last_rate_apr"], "+.2%"),
    )


def _payment(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        clock(row["time"]),
        row["coin"],
        number(row["size"]),
        price(row["oracle"]),
        ratio(row["rate_per_hour"], "+.6%"),
        ratio(row["rate_apr"], "+.2%"),
        f"{row['usd']:+,.6f}",
    )
