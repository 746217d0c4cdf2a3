"""Answers to an order that can't be true are not believed: what became of it is asked for, and fills decide."""

from collections.abc import Callable
from typing import Any

import pytest

from bot.model.decision import OrderPlan
from bot.model.order import OrderStatus
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from tests.venues.hyperliquid.fake import FakeVenue
from tests.venues.hyperliquid.sdk_signer import SdkSigns
from tests.venues.hyperliquid.test_adapter import BUY, fills, play


def answers(venue: FakeVenue, size: str, *, is_done: bool) -> None:
    """Let the venue say of any order that `size` of it was filled, whether or not it carries it out."""
    plain: Callable[[dict[str, Any]], Any] = venue.exchange

    def exchange(body: dict[str, Any]) -> Any:
        if body["action"]["type"] != "order":
            return plain(body)
        if is_done:
            plain(body)
        return venue.answer("order", [{"filled": {"totalSz": size, "avgPx": "1.0", "oid": 77}}])

    venue.exchange = exchange  # type: ignore[method-assign]


@pytest.mark.parametrize("size", ["5.0", "0.02001", "0.0200001"])
def test_more_filled_than_was_asked_is_what_status_and_fills_say(size: str) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        answers(venue, size, is_done=True)
        (report,) = await adapter.send(OrderPlan((), (BUY,)))
        assert (report.status, report.filled_lots) == (OrderStatus.FILLED, 2_000)
        assert report.order_id == venue.oid
        await adapter.account()
        assert [fill.lots for fill in fills(adapter.take_events())] == [2_000]

    play(scene)


def test_more_filled_than_was_asked_where_nothing_was_is_nothing() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        answers(venue, "5.0", is_done=False)
        (report,) = await adapter.send(OrderPlan((), (BUY,)))
        assert (report.status, report.filled_lots) == (OrderStatus.REJECTED, 0)
        assert (await adapter.account()).view.lots.tolist() == [0, 0]

    play(scene)


def test_a_status_of_a_larger_order_than_was_sent_tells_of_no_more_than_was_asked() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        answers(venue, "5.0", is_done=True)
        plain = venue.order_status

        def order_status(asked: int | str) -> Any:
            told = plain(asked)
            if told["status"] == "order":
                told["order"]["order"] = told["order"]["order"] | {"origSz": "5.0"}
            return told

        venue.order_status = order_status  # type: ignore[method-assign]
        (report,) = await adapter.send(OrderPlan((), (BUY,)))
        assert (report.status, report.filled_lots, report.order.lots) == (OrderStatus.FILLED, 2_000, 2_000)

    play(scene)
