import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.sim.generated import INSTRUMENTS, RULES, play
from tests.sim.side_by_side import SideBySide

GAMES, COMMANDS = 400, 60


@given(st.data())
@settings(max_examples=40)
def test_any_sequence_of_commands_is_answered_as_the_twin_answers_it(data: st.DataObject) -> None:
    def pick(sequence: Sequence[Any]) -> Any:
        return sequence[data.draw(st.integers(0, len(sequence) - 1))]

    pair = SideBySide(INSTRUMENTS, RULES)
    play(pair, pick, data.draw(st.integers(1, 30)))
    for what in pair.seen:
        event(what)


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """What happened in many long games, in each of which both exchanges agreed on everything."""
    total: Counter[str] = Counter()
    for seed in range(GAMES):
        pair = SideBySide(INSTRUMENTS, RULES)
        play(pair, random.Random(seed).choice, COMMANDS)
        total.update(pair.seen)
    return total


REFUSALS = (
    "Price must be divisible by tick size.",
    "No mark price.",
    "Order price cannot be more than 95% away from the reference price",
    "Reduce only order would increase position.",
    "Order must have minimum value of $10.",
    "Invalid TP/SL price.",
    "Order would cause position to exceed margin tier limit at current leverage",
    "Insufficient margin to place order.",
    "Post only order would have immediately matched.",
    "Order could not immediately match against any resting orders.",
    "No liquidity available for market order.",
)
CANCELS = (
    "canceled", "selfTradeCanceled", "reduceOnlyCanceled", "marginCanceled", "liquidatedCanceled", "iocCancelRejected",
)  # fmt: skip
TRIGGERS = (
    "trigger filled",
    "trigger reduceOnlyCanceled",
    "trigger Insufficient margin to place order.",
    "trigger Order could not immediately match against any resting orders.",
    "trigger No liquidity available for market order.",
    "reduce-only trigger clipped",
)
LIQUIDATIONS = (
    *(
        f"{kind} liquidation, {mode}"
        for kind in ("partial", "full", "backstop")
        for mode in ("cross", "isolated")
    ),
    "whole position within the cooldown",
    "partial again after the cooldown",
    "liquidated against an order",
    "several positions, backstop",
    "several positions, at market",
    "a debt forfeited",
)
TRADES = (
    "filled as taker", "filled as maker", "trade between accounts", "partly filled", "reduce-only order clipped",
    "partly closed", "turned around", "partly closed, isolated", "turned around, isolated", "rebate",
)  # fmt: skip
OTHERS = ("set_leverage refused", "cancel refused", "funding paid", "funding received", "funding capped")


@pytest.mark.parametrize("what", [*REFUSALS, *CANCELS, *TRIGGERS, *LIQUIDATIONS, *TRADES, *OTHERS])
def test_the_games_were_not_idle(seen: Counter[str], what: str) -> None:
    assert seen[what] > 0
