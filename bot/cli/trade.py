"""`hedgerow trade`: an order by hand, given to the running daemon, down the same guarded path as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bot.cli.reading import journal_of, journaled, show_json

TIMEOUT_S = 75.0  # the venue's request budget may make a daemon wait for a minute


def _distance(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A distance from the entry price, written `2%` or `0.02`, as a fraction."""
    if value is None:
        return None
    text = value.strip()
    try:
        fraction = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction < 10:
        raise click.BadParameter(f"{value!r} is not a distance; write it as 2% or 0.02", param=parameter)
    return fraction


@click.command(epilog="Example:  hedgerow trade BTC buy 200 --sl 2% config/paper.toml")
@click.argument("coin")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("usd", type=click.FloatRange(0, 1e9, min_open=True))
@click.option(
    "--sl",
    "stop_loss",
    callback=_distance,
    metavar="DISTANCE",
    help="Rest a stop so far from the entry price: 2% or 0.02.",
)
@click.option(
    "--tp", "take_profit", callback=_distance, metavar="DISTANCE", help="Rest a take-profit so far from it."
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(1, 600), default=TIMEOUT_S, show_default=True, metavar="S",
    help="Seconds to wait for the daemon's answer.",
)  # fmt: skip
@journaled
def trade(
    config_file: Path | None,
    journal_file: Path | None,
    as_json: bool,
    coin: str,
    side: str,
    usd: float,
    stop_loss: float | None,
    take_profit: float | None,
    timeout_s: float,
) -> None:
    """Buy or sell COIN for so many USD at market, by the running daemon's account.

    The order passes the same risk rules and the same signer as the strategies' orders do; what they forbid is said,
    and the exit code is 1. What is bought by hand is kept until it is sold by hand, or until a rule or a stop closes
    it; buying against a strategy's short makes that smaller. The protective distances hold for the coin's whole
    position while it lasts.
    """
    from bot.journal.commands import ask

    wish = {"coin": coin, "side": side, "usd": str(usd), "stop_loss": stop_loss, "take_profit": take_profit}
    answer = ask(journal_of(config_file, journal_file), "trade", wish, timeout_s)
    if as_json:
        show_json({"done": answer.done, **answer.facts})
    else:
        for line in _lines(answer.facts):
            click.echo(line)
    if not answer.done:
        click.get_current_context().exit(1)


def _lines(facts: Any) -> list[str]:
    lines = [f"{each['rule']}: {each['detail']}" for each in facts.get("findings", ())]
    for order in facts.get("orders", ()):
        price = f" at {order['average_price']}" if order["average_price"] else ""
        level = f", trigger {order['trigger_price']}" if order["trigger_price"] else ""
        reason = f": {order['reason']}" if order["reason"] else ""
        lines.append(
            f"{order['purpose']} {order['side']} {order['size']} {order['coin']}{level}: {order['status']}, "
            f"{order['filled']} filled{price}{reason}"
        )
    if facts.get("error"):
        lines.append(str(facts["error"]))
    if facts.get("decision"):
        lines.append(f"see hedgerow explain {facts['decision']}")
    return lines
