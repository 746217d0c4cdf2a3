"""What of a position is bare, by what the venue shows."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.guard.scene import scene
from bot.model.account import MarginMode
from bot.model.instrument import simple_instrument
from bot.model.order import Side, Trigger, TriggerKind
from bot.venues.hyperliquid.parse_account import MarginState, VenuePosition
from bot.venues.hyperliquid.parse_orders import VenueOrder

D = Decimal
BTC, ETH = simple_instrument("BTC", 5, 40), simple_instrument("ETH", 4, 25)
STOP = VenueOrder(
    "BTC", Side.SELL, D(90), D("0.003"), D("0.003"), 7, 1_000,
    reduce_only=True, trigger=Trigger(TriggerKind.STOP, D(90)), is_market=True,
)  # fmt: skip


def bare(*shown: VenueOrder, size: str = "0.005") -> list[int]:
    position = VenuePosition(
        "BTC", D(size), D(100), abs(D(size)) * 100, D(0), None, D(1), MarginMode.CROSS, 10
    )
    margin = MarginState(1_000, D(100), D(100), D(100), (position,))
    return [int(each) for each in scene(shown, margin, {"BTC": "100"}, (BTC, ETH)).bare]


def test_what_no_stop_would_close_is_bare() -> None:
    assert bare() == [500, 0]
    assert bare(STOP) == [200, 0]
    assert bare(STOP, replace(STOP, order_id=8, remaining=D("0.001"))) == [100, 0]
    assert bare(STOP, STOP) == [0, 0]
    assert bare(replace(STOP, original=D(0), remaining=D(0))) == [0, 0]  # of the whole position


def test_a_short_one_is_closed_by_stops_that_buy() -> None:
    assert bare(replace(STOP, side=Side.BUY), size="-0.005") == [-200, 0]
    assert bare(STOP, size="-0.005") == [-500, 0]


@pytest.mark.parametrize(
    "other",
    [
        replace(STOP, side=Side.BUY),
        replace(STOP, reduce_only=False),
        replace(STOP, trigger=Trigger(TriggerKind.TAKE_PROFIT, D(110))),
        replace(STOP, trigger=None),
        replace(STOP, coin="ETH"),
    ],
    ids=["would buy more", "could open", "takes profit", "rests in the book", "of another coin"],
)
def test_what_is_no_stop_of_this_position_protects_nothing(other: VenueOrder) -> None:
    assert bare(other) == [500, 0]
    # Nor where it is made for a whole position, whatever its size.
    assert bare(replace(other, original=D(0), remaining=D(0))) == [500, 0]
