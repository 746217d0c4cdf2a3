"""What leaves a guard's hands, and for how long nothing else does."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from bot.errors import OutcomeUnknown, Unavailable
from bot.guard.hands import Hands
from bot.guard.notes import Notes
from bot.model.instrument import simple_instrument
from bot.model.order import Order, Purpose, Side, TimeInForce
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.sending import AFTER_EXPIRY_MS
from bot.venues.hyperliquid.wire import Node
from bot.venues.venue_clock import VenueClock
from tests.venues.hyperliquid.sdk_signer import SdkSigns

COINS = ("BTC", "ETH", "SOL")
PRICES = {coin: Decimal(100) for coin in COINS}
NOW_MS = 1_790_000_000_000


class Venue:
    """Takes what is sent, and answers that it rests, or not at all."""

    speed = 1.0

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.is_silent = False

    async def make_room(self, count: int, *, urgent: bool) -> None:
        pass

    async def exchange(self, body: bytes) -> Node:
        self.sent.append(json.loads(body))
        if self.is_silent:
            raise OutcomeUnknown("no answer")
        count = len(self.sent[-1]["action"]["orders"])
        statuses = [{"resting": {"oid": 1 + k}} for k in range(count)]
        return Node({"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}, "answer")

    def coins(self) -> list[str]:
        """Of the last action."""
        return [COINS[order["a"]] for order in self.sent[-1]["action"]["orders"]]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.venue = Venue()
        self.notes = Notes(folder / "x.guard", "testnet 0xa")
        signs = SdkSigns({coin: k for k, coin in enumerate(COINS)})
        signs.venue_ms = NOW_MS
        self.hands = Hands(
            ("testnet", "0xa"),
            cast("Client", self.venue),
            signs,
            cast("VenueClock", self.venue),
            [simple_instrument(coin, 3, 20) for coin in COINS],
            self.notes,
        )

    def place(self, *coins: str, prices: dict[str, Decimal] = PRICES, now_ms: int = NOW_MS) -> None:
        orders = [
            Order(
                f"g-{coin}-exit", coin, Side.SELL, 200, Decimal(99), TimeInForce.IOC,
                reduce_only=True, purpose=Purpose.EXIT,
            )
            for coin in coins
        ]  # fmt: skip
        asyncio.run(self.hands.place(orders, prices, now_ms))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_coins_without_a_price_are_named_after_the_others_were_placed(bench: Bench) -> None:
    with pytest.raises(Unavailable, match="no price is known for ETH, SOL:"):
        bench.place("SOL", "BTC", "ETH", prices={"BTC": Decimal(100)})
    assert (len(bench.venue.sent), bench.venue.coins()) == (1, ["BTC"])
    with pytest.raises(Unavailable, match="no price is known for BTC:"):
        bench.place("BTC", prices={})
    bench.place("SOL", "BTC", "ETH")
    assert (len(bench.venue.sent), bench.venue.coins()) == (2, ["SOL", "BTC", "ETH"])


def test_after_an_unknown_outcome_nothing_is_placed_until_well_past_its_expiry(bench: Bench) -> None:
    bench.venue.is_silent = True
    with pytest.raises(OutcomeUnknown):
        bench.place("BTC")
    expires_ms = bench.venue.sent[0]["expiresAfter"]
    bench.venue.is_silent = False
    # The venue's answers may be of an earlier moment than its clock.
    for early_ms in (NOW_MS, expires_ms + 1, expires_ms + AFTER_EXPIRY_MS - 1):
        with pytest.raises(Unavailable, match="may still be carried out"):
            bench.place("BTC", now_ms=early_ms)
    assert len(bench.venue.sent) == 1
    bench.place("BTC", now_ms=expires_ms + AFTER_EXPIRY_MS)
    assert len(bench.venue.sent) == 2
    bench.place("BTC")  # what was answered holds nothing up
