"""`hedgerow whatif`: which leg dies first, what a move would do, and what would save the book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bot.cli.reading import journaled, opened, show_json, table


@click.command(
    epilog="Example:  hedgerow whatif --hold BTC=-0.5 --hold UBTC/USDC=0.5 --mark BTC=95000 --mark UBTC/USDC=94950 "
    "--equity hyperliquid=20000 --equity 'hyperliquid spot=50000' --price 40%"
)
@click.option("--price", default="", metavar="PERCENT", help="All prices move by so much, such as -25%.")
@click.option(
    "--coin", "coins", multiple=True, metavar="COIN=PERCENT", help="One coin moves by so much instead."
)
@click.option(
    "--depeg", "depegs", multiple=True, metavar="NAME=PERCENT", help="One leg comes off its coin by so much."
)
@click.option(
    "--funding", default="", metavar="PERCENT/h", help="Longs pay so much an hour, such as 0.01%/h."
)
@click.option("--hours", default=8.0, show_default=True, help="For so long.")
@click.option("--venue-down", "down", multiple=True, metavar="VENUE", help="Nothing can be traded there.")
@click.option(
    "--distance",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    default=25.0,
    show_default=True,
    metavar="PERCENT",
    help="How far liquidations should be.",
)
@click.option(
    "--hold",
    "holdings",
    multiple=True,
    metavar="NAME=SIZE",
    help="A book told by hand: coins, short below 0.",
)
@click.option("--mark", "prices", multiple=True, metavar="NAME=PRICE", help="Of what is held, USD.")
@click.option(
    "--equity",
    "equities",
    multiple=True,
    metavar="WALLET=USD",
    help="hyperliquid, 'hyperliquid spot', binance …",
)
@journaled
def whatif(
    config_file: Path | None,
    journal_file: Path | None,
    as_json: bool,
    price: str,
    coins: tuple[str, ...],
    depegs: tuple[str, ...],
    funding: str,
    hours: float,
    down: tuple[str, ...],
    distance: float,
    holdings: tuple[str, ...],
    prices: tuple[str, ...],
    equities: tuple[str, ...],
) -> None:
    """Play a move on the book of a journal, which is only read, or on one that is told by hand.

    Every liquidation is taken at its worst: nothing is left of the wallet, and what it hedged stands alone. Margins are
    tier-exact; of a perpetual that is told by hand they are those of a coin that allows 20x.
    """
    from bot.research.whatif import book_by_hand, book_of, scenario_of, told
    from bot.research.whatif import whatif as play

    scenario = scenario_of(price, coins, depegs, funding, hours, down)
    time: dict[str, Any] = {}
    notes: list[str] = []
    if holdings:
        book = book_by_hand(holdings, equities, prices)
    else:
        with opened(config_file, journal_file) as reader:
            (book, notes), time = book_of(reader), told(reader)
    facts = {**time, **play(book, scenario, distance / 100), "notes": notes}
    if as_json:
        show_json(facts)
        return
    _print(facts)


def _print(facts: dict[str, Any]) -> None:
    click.echo(f"equity {facts['equity_usd']:,.2f} → {facts['equity_after_usd']:,.2f} USD: price {facts['price_usd']:+,.2f}, "
               f"funding {facts['funding_usd']:+,.2f}, margin lost {facts['margin_lost_usd']:+,.2f}")  # fmt: skip
    table(
        ("wallet", "equity", "after", "gross", "maintenance", "called at", "or at"),
        [
            (
                each["wallet"],
                f"{each['equity_usd']:,.2f}",
                f"{each['after_usd']:,.2f}",
                f"{each['gross_usd']:,.0f}",
                f"{each['maintenance_usd']:,.0f}",
                _percent(each["called_down"]),
                _percent(each["called_up"]),
            )
            for each in facts["wallets"]
        ],
        text=("wallet",),
    )
    if facts["legs"]:
        table(
            ("leg, alone", "dies at", "move", "ADL rank"),
            [
                (
                    each["coin"],
                    "never" if each["liquidation_price"] is None else f"{each['liquidation_price']:,.6g}",
                    _percent(each["move"]),
                    f"{each['adl_rank']:.3f}",
                )
                for each in facts["legs"]
            ],
            text=("leg, alone",),
        )
    for each in facts["liquidated"]:
        click.echo(
            f"{each['wallet']} is liquidated {each['at']:.0%} of the way, with {each['equity_there_usd']:,.2f} USD left in it"
        )
    for name, when in (("delta", "now"), ("delta_after", "after")):
        said = ", ".join(
            f"{each['coins']:+,.6g} {each['underlying']} ({each['usd']:+,.0f} USD)" for each in facts[name]
        )
        click.echo(f"net {when}: {said or 'nothing'}")
    if facts["stuck"]:
        left = ", ".join(
            f"{each['usd']:+,.0f} USD of {each['underlying']}" for each in facts["delta_if_closed"]
        )
        click.echo(
            f"can't be traded: {', '.join(facts['stuck'])}; if the rest were closed, {left} would stand alone"
        )
    for note in facts["notes"]:
        click.echo(f"note: {note}")
    for each in facts["rescue"]:
        click.echo(
            f"to be {facts['wanted_distance']:.0%} from a liquidation, {each['wallet']} needs {each['transfer_usd']:,.2f} USD "
            f"more, which a person has to move there, or positions of {each['or_shrink_to']:.0%} of their size"
        )


def _percent(value: float | None) -> str:
    return "never" if value is None else f"{value:+.1%}"
