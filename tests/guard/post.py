"""A guard on a devnet with time in the test's hands, beside the adapter that stands for the daemon."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.devnet.server import Server
from bot.guard.guard import Guard, Orders
from bot.guard.hands import Hands
from bot.guard.notes import Notes, path_of
from bot.guard.vigil import Vigil
from bot.journal import pulse
from bot.model.order import Order, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.venue_clock import VenueClock
from tests.venues.hyperliquid.sdk_signer import SdkSigns
from tests.venues.hyperliquid.test_on_devnet import COINS, START_MS, Desk

SILENT_S, CLOSE_S = 100.0, 1_000.0
ORDERS = Orders(SILENT_S, CLOSE_S, stop_loss=0.1, slippage_bps=50.0, poll_s=5.0)


class Wall:
    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms


class Post(Desk):
    """The daemon's part is the adapter's; the guard's is `guard`, and `passes` lets its clocks go on."""

    def __init__(self, devnet: Server, folder: Path, orders: Orders = ORDERS) -> None:
        super().__init__(devnet)
        self.orders, self.folder = orders, folder
        self.journal = folder / "journal.sqlite"
        self.wall, self.now_s = Wall(), 1_000.0
        self.pulse = pulse.Pulse(self.journal, self.wall)
        self.guards_signs = SdkSigns(
            {coin: k for k, coin in enumerate(COINS)},
            key=devnet.funded[0]["private_key"],
            first_nonce=START_MS + 500_000,
        )
        self.guard: Guard
        self.guards: list[Client] = []

    def stand(self) -> None:
        """Start a guard, on what one before has left."""
        client = Client(self.devnet.url, budget=WeightBudget(None))
        self.guards.append(client)
        instruments = tuple(self.instrument(coin) for coin in COINS)
        self.notes = Notes(path_of(self.journal), f"devnet {self.address}")
        clock = VenueClock(lambda: client.info({"type": "exchangeStatus"}))
        self.client = client
        self.guard = Guard(
            self.address,
            self.orders,
            Vigil(lambda: pulse.heard(self.pulse.path), self.notes, lambda: self.now_s, self.wall),
            self.notes,
            client,
            MarketData(client, instruments),
            instruments,
            # As on a real network, since a clock that a test moves is not a fast one.
            Hands(("testnet", self.address), client, self.guards_signs, clock, instruments, self.notes),
            self.guards_signs,
            lambda: self.now_s,
        )

    def passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall.ms += int(seconds * 1000)

    async def rounds(self, seconds: float, count: int = 1) -> None:
        """So many looks of the guard, each after so many seconds."""
        for _ in range(count):
            self.passes(seconds)
            await self.guard.round()

    def bid(self, coin: str = "ETH") -> Order:
        price = self.instrument(coin).round_price(self.mark(coin) * Decimal("0.95"))
        return self.order(coin, Side.BUY, 500, time_in_force=TimeInForce.ALO, limit_price=price)

    def stop(self, coin: str, lots: int, at: str = "0.8") -> Order:
        level = self.instrument(coin).round_price(self.mark(coin) * Decimal(at))
        self.number += 1
        return Order(
            f"d{self.number}-{coin}-stop",
            coin,
            Side.SELL,
            lots,
            reduce_only=True,
            trigger=Trigger(TriggerKind.STOP, level),
            purpose=Purpose.STOP,
        )

    async def bought(self, coin: str = "BTC", usd_value: int = 2_000) -> int:
        """Lots that the daemon now holds."""
        (report,) = await self.send(self.order(coin, Side.BUY, usd_value))
        assert report.filled_lots > 0
        return report.filled_lots

    async def by_hand(self, *orders: dict[str, Any]) -> None:
        """What the account's owner places, without a name."""
        action = {"type": "order", "orders": list(orders), "grouping": "na"}
        await self.venue._client.exchange(self.signs._signed(action, None).body)

    async def open_now(self) -> list[Any]:
        return list(
            await self.venue._client.info({"type": "frontendOpenOrders", "user": self.address}, urgent=True)
        )

    def held(self) -> dict[str, int]:
        """As the exchange has it."""
        positions = self.devnet.world.exchange.accounts[self.address].positions
        return {coin: position.lots for coin, position in positions.items()}


def play(post: Post, scene: Callable[[Post], Awaitable[None]]) -> None:
    async def run() -> None:
        await post.connect()
        post.pulse.beat()
        post.stand()
        try:
            await scene(post)
        finally:
            await post.venue.close()
            for client in post.guards:
                await client.close()

    asyncio.run(run())
