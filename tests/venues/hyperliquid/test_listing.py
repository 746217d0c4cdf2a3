"""The venue's list while the daemon runs: coins of others that can't be read, and numbers that are no longer ours."""

from typing import Any

import pytest
import structlog

from bot.errors import Unavailable
from bot.model.decision import Cancel, OrderPlan
from bot.model.order import Order, OrderStatus, Side
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from tests.venues.hyperliquid.fake import UNIVERSE, FakeVenue
from tests.venues.hyperliquid.sdk_signer import SdkSigns
from tests.venues.hyperliquid.test_adapter import BUY, STOP, play

NEW = {"name": "NEW", "szDecimals": 0, "maxLeverage": 5, "marginTableId": 5}
ETHER = Order("d1-ETH-entry", "ETH", Side.BUY, 2_000)  # $500


def spoil(venue: FakeVenue, spoilt: str, odd: dict[str, Any]) -> None:
    """Let the context of a coin have odd values."""

    def ctx(coin: str) -> dict[str, Any]:
        return FakeVenue.ctx(venue, coin) | (odd if coin == spoilt else {})

    venue.ctx = ctx  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ({}, {"oraclePx": "0.0"}),
        ({}, {"markPx": None}),
        ({"isDelisted": True}, {"markPx": "0.0", "oraclePx": "0.0"}),
        ({"szDecimals": 9}, {}),
        ({"maxLeverage": 0}, {}),
        ({"marginTableId": {"new": "kind"}}, {"funding": []}),
    ],
)
def test_nonsense_of_a_coin_that_is_not_traded_is_said_once_and_stops_nothing(
    listed: dict[str, Any], told: dict[str, Any]
) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.universe, venue.marks = [*UNIVERSE, NEW | listed], venue.marks | {"NEW": venue.marks["ETH"]}
        spoil(venue, "NEW", told)
        with structlog.testing.capture_logs() as lines:
            (report,) = await adapter.send(OrderPlan((), (BUY,)))
            account = await adapter.account()
        assert report.status is OrderStatus.FILLED
        assert account.view.lots.tolist() == [2_000, 0]
        assert [line["coins"] for line in lines if line["event"] == "coins passed over"] == ["NEW"]

    play(scene)


@pytest.mark.parametrize("odd", [{"oraclePx": "0.0"}, {"markPx": None}, {"funding": "NaN"}])
def test_a_traded_coin_that_can_not_be_read_is_refused(odd: dict[str, Any]) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        spoil(venue, "ETH", odd)
        with pytest.raises(Unavailable, match=f"ETH: .*{next(iter(odd))}"):
            await adapter.account()
        with pytest.raises(Unavailable, match="ETH"):
            await adapter.send(OrderPlan((), (BUY,)))
        assert venue.actions == []

    play(scene)


def test_a_traded_coin_listed_in_a_way_that_can_not_be_read_is_refused() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.universe = [UNIVERSE[0], UNIVERSE[1] | {"maxLeverage": 0}]
        with pytest.raises(Unavailable, match=r"ETH: .*maxLeverage"):
            await adapter.send(OrderPlan((), (BUY,)))
        venue.universe = [*UNIVERSE, UNIVERSE[0]]
        with pytest.raises(Unavailable, match="lists 'BTC' a second time"):
            await adapter.send(OrderPlan((), (BUY,)))
        assert venue.actions == []

    play(scene)


def test_nothing_is_signed_with_a_number_that_is_another_coins_now() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan((), (BUY,)))
        (stop,) = await adapter.send(OrderPlan((), (STOP,)))
        assert (await adapter.condition()).signer_problem == ""
        before = len(venue.actions)
        venue.universe, venue.marks = [NEW, *UNIVERSE], venue.marks | {"NEW": venue.marks["BTC"]}
        await adapter.account()
        cancels = (Cancel(stop.order_id, STOP.client_id, "BTC", "moved"),)
        told = await adapter.send(OrderPlan(cancels, (ETHER,)))
        assert [(each.status, each.order.instrument) for each in told] == [(OrderStatus.REJECTED, "ETH")]
        assert "ETH is asset 2 at the venue now and 1 in the signer's policy" in told[0].reason
        assert "restart to learn the new list" in told[0].reason
        assert len(venue.actions) == before
        problem = (await adapter.condition()).signer_problem
        assert "BTC is asset 1 at the venue now and 0 in the signer's policy" in problem
        assert "restart to learn the new list" in problem
        assert (await adapter.account()).view.lots.tolist() == [2_000, 0]  # what is held is still known
        venue.universe = UNIVERSE
        (again,) = await adapter.send(OrderPlan((), (ETHER,)))
        assert again.status is OrderStatus.FILLED
        assert (await adapter.condition()).signer_problem == ""

    play(scene)


def test_a_coin_whose_number_is_still_right_can_be_closed_while_another_moved() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        await adapter.send(OrderPlan((), (BUY,)))
        (stop,) = await adapter.send(OrderPlan((), (STOP,)))
        venue.universe = [UNIVERSE[0], NEW, UNIVERSE[1]]
        venue.marks = venue.marks | {"NEW": venue.marks["ETH"]}
        await adapter.account()
        sell = Order("d2-BTC-exit", "BTC", Side.SELL, 2_000, reduce_only=True)
        cancels = (Cancel(stop.order_id, STOP.client_id, "BTC", "moved"), Cancel(77, "d0", "ETH", "moved"))
        told = await adapter.send(OrderPlan(cancels, (sell, ETHER)))
        assert {each.order.client_id: each.status for each in told} == {
            STOP.client_id: OrderStatus.CANCELED,
            sell.client_id: OrderStatus.FILLED,
            ETHER.client_id: OrderStatus.REJECTED,
        }
        assert venue.sizes == {}
        assert [action["type"] for action in venue.actions[-2:]] == ["cancel", "order"]
        assert len(venue.actions[-2]["cancels"]) == 1

    play(scene)


def test_a_lot_that_changed_is_not_signed_for() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        venue.universe = [UNIVERSE[0], UNIVERSE[1] | {"szDecimals": 2}]
        (refused, filled) = await adapter.send(OrderPlan((), (ETHER, BUY)))
        assert (refused.order.instrument, refused.status) == ("ETH", OrderStatus.REJECTED)
        assert "have 2 decimals at the venue now" in refused.reason
        assert filled.status is OrderStatus.FILLED
        assert "restart to learn the new list" in (await adapter.condition()).signer_problem

    play(scene)


def test_a_signer_that_was_started_again_with_other_numbers_is_not_asked() -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue, signs: SdkSigns) -> None:
        signs.assets["ETH"], signs.assets["BTC"] = 0, 1
        (report,) = await adapter.send(OrderPlan((), (ETHER,)))
        assert report.status is OrderStatus.REJECTED
        assert "ETH is asset 1 at the venue now and 0 in the signer's policy" in report.reason
        assert venue.actions == []

    play(scene)
