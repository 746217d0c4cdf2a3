"""`hedgerow explain`: from a decision, an order, a trade or a coin back to why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bot.cli.orders import show as show_orders
from bot.cli.reading import (
    UNKNOWN,
    amount,
    clock,
    journaled,
    number,
    opened,
    price,
    ratio,
    say,
    show_json,
    signed,
    table,
)

_Facts = dict[str, Any]

LEAST_H = 24
"""Hours that a spread must have been held for its return to be told for a year."""


@click.command(epilog="Example:  hedgerow explain BTC      (or: explain latest, explain 6631e880 --json)")
@click.argument("name", metavar="ID")
@journaled
def explain(name: str, config_file: Path | None, journal_file: Path | None, as_json: bool) -> None:
    """Say why a decision was taken or an order was sent: what was measured, believed, wanted, allowed and done.

    ID is a decision, `latest`, an order's client id, a coin (its latest change), or the number of a trade or an order.
    Sizes are in coins.
    """
    from bot.journal.explain import explain as of
    from bot.journal.explain import has_spreads

    with opened(config_file, journal_file) as reader:
        story = {**of(reader, name), "spreads": []}
        if has_spreads(reader):
            from bot.reports.spread_stories import with_spreads  # needs numpy, which most stories do without

            story = with_spreads(reader, story)
    if as_json:
        show_json(story)
        return
    _head(story)
    _reasons(story)
    _deeds(story)
    for spread in story["spreads"]:
        _spread(spread)
    if story.get("since"):
        say("What the venue did since, on its own or for an order that rested there:")
        _fills(story["since"])
    if story.get("now"):
        newest = story["now"]["decision"]
        say(
            f"Now, in decision {newest['id']} of {clock(newest['time'])}, which asked for nothing in {story['coin']}:"
        )
        _reasons(story["now"])


def _head(story: _Facts) -> None:
    what = {"coin": "the latest change of"}.get(story["kind"], story["kind"])
    decision = story["decision"]
    if decision is None:
        about = f"{story['kind']} {story['id']} in {story['coin']}"
        say(f"No decision asked for {about}: the venue did that itself, or a person.")
        return
    if story["is_protection"]:
        say(f"Order {story['orders'][0]['client_id']} protects what the decision below brought about.")
    asked = "" if story["kind"] == "decision" else f", {what} {story['id']}"
    equity = amount(decision["equity_usd"])
    say(
        f"Decision {decision['id']} of {clock(decision['time'])}{asked}: {decision['state']}, equity {equity} USD."
    )
    repeats = decision["repeats"]
    if repeats is not None:
        say(
            f"It repeats decision {repeats['id']} of {clock(repeats['time'])}, which is shown here: nothing that it "
            f"believes, wants or found has changed since, and it asked for no order itself."
        )


def _reasons(story: _Facts) -> None:
    """What was believed and measured, what came of it, and which rules changed that."""
    if story["forecasts"]:
        table(
            ("coin", "strategy", "score", "wanted", "allowed", "because"),
            [
                (
                    row["coin"],
                    row["strategy"],
                    f"{row['score']:+.2f}",
                    number(row["wanted"]),
                    number(row["allowed"]),
                    row["because"],
                )
                for row in story["forecasts"]
            ],
            text=("coin", "strategy"),
            prose="because",
        )
    elif story["decision"]:
        say("No strategy had an opinion.")
    if story["targets"]:
        table(
            ("coin", "wanted", "allowed", ""),
            [
                (row["coin"], number(row["wanted"]), number(row["allowed"]), _cut(row))
                for row in story["targets"]
            ],
            text=("coin", ""),
        )
    if story["findings"]:
        table(
            ("rule", "coin", "finding"),
            [(row["rule"], row["coin"] or "book", row["detail"]) for row in story["findings"]],
            text=("rule", "coin"),
            prose="finding",
        )
    elif story["decision"]:
        say("No rule spoke.")


def _cut(target: _Facts) -> str:
    if target["wanted"] == target["allowed"]:
        return ""
    return "refused by the rules" if not target["allowed"] else "cut by the rules"


def _deeds(story: _Facts) -> None:
    """What was asked of the venue, and what it did."""
    for cancel in story["cancels"]:
        say(f"Withdrew order {cancel['client_id']} in {cancel['coin']}: {cancel['because']}.")
    if story["orders"]:
        show_orders(story["orders"])
    elif story["decision"]:
        say("It asked for no order.")
    if story["fills"]:
        _fills(story["fills"])
    for taken in story["liquidations"]:
        say(
            f"Liquidation, {taken['kind']}, at {number(taken['price'])}; margin that went with it: "
            f"{signed(taken['usd'])} USD."
        )


def _spread(told: _Facts) -> None:
    """What was expected of a spread that was opened or closed here, and what came of it."""
    sheet, closed = told["sheet"], told["closed"]
    until = (
        "is held still" if closed is None else f"closed by decision {told['closed_by']} at {clock(closed)}"
    )
    mind = "" if told["hold_h"] is None else f" of the {told['hold_h']:,.0f} h in mind"
    say(
        f"Spread {told['spread']}, {told['side']}, {told['notional']:,.2f} USD: opened by decision {told['opened_by']} at "
        f"{clock(told['opened'])}, {until}, {told['hours']:,.0f} h{mind}."
    )
    expected, cost = told["expected_carry"], told["expected_cost"]
    left = None if expected is None or cost is None else expected - cost
    hoped = None if sheet is None else sheet["return_on_tied"]
    # Getting in and out counts once: over some hours, or before the hold is over, it would be no year's return.
    is_told = told["hours"] >= LEAST_H and (closed is not None or told["hours"] >= (told["hold_h"] or 0))
    came = told["return_on_tied"] if is_told else None
    table(
        ("usd", "expected", "realised"),
        [
            ("funding in the hold in mind", _usd(expected), _usd(told["funding_in_hold"])),
            ("funding", UNKNOWN, _usd(told["funding"])),
            ("basis", UNKNOWN, _usd(told["basis"])),
            ("fees", UNKNOWN, _usd(told["fees"])),
            ("all costs reckoned with", _usd(None if cost is None else -cost), UNKNOWN),
            ("net", _usd(left), _usd(told["net"])),
            ("a year on capital tied", ratio(hoped, "+.1%"), ratio(came, "+.1%")),
        ],
        text=("usd",),
    )
    if sheet is None:
        return
    said = sheet["stated"]
    parts = [
        f"{name} {said[key]:.2%}"
        for name, key in (
            ("in and out of both legs", "round_trip"),
            ("a poor basis", "poor_basis"),
            ("a premium for the basis", "basis_premium"),
            ("the hurdle", "hurdle"),
        )
        if said[key] is not None
    ]
    if parts:
        halves = (
            "" if said["half_life_h"] is None else f"; the carry's half-life was {said['half_life_h']:,.0f} h"
        )
        say(f"Held against it: {', '.join(parts)} of the notional{halves}.")
    for each in sheet["worst"]:
        at = "" if each["price"] is None else f" at {each['price']:,.6g}"
        say(f"A liquidation of {each['leg']}{at} was reckoned to cost up to {each['loss_usd']:,.2f} USD.")


def _usd(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+z,.2f}"


def _fills(fills: list[_Facts]) -> None:
    table(
        ("filled at", "coin", "side", "size", "price", "usd", "fee", "closed pnl", "purpose", "trade"),
        [
            (
                clock(fill["time"]),
                fill["coin"],
                fill["side"],
                number(fill["size"]),
                price(fill["price"]),
                amount(fill["notional_usd"]),
                signed(fill["fee_usd"]),
                signed(fill["closed_pnl_usd"]) if fill["closed_pnl_usd"] else UNKNOWN,
                fill["purpose"] + (" (maker)" if fill["is_maker"] else ""),
                str(fill["trade_id"]),
            )
            for fill in fills
        ],
        text=("filled at", "coin", "side", "purpose"),
    )
