"""The venues that the contract is asked of, each with the market's time in the test's hands.

A place opens its venue as the daemon would, lets hours pass, and can be cut off. What it is not able to do it says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, Final

import numpy as np

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.model.decision import Cancel, OrderPlan
from bot.model.instrument import Instrument, MarginTier, simple_instrument
from bot.model.order import Order, OrderReport, Side
from bot.model.panel import HOUR_MS, Grid, Panel
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.feed import Patience as FeedPatience
from bot.venues.hyperliquid.sending import Patience
from bot.venues.hyperliquid.terms import Terms
from bot.venues.joint import JointVenue
from bot.venues.outbox import MemoryOutbox
from bot.venues.simulated import SimulatedVenue
from bot.venues.simulated import Terms as SimulatedTerms
from bot.venues.sources import ReplaySource
from bot.venues.venue import AccountState, Observation, Venue, VenueEvent
from tests.venues.hyperliquid.sdk_signer import SdkSigns

START_MS: Final = 1_790_000_000_000
EQUITY_USD: Final = 100_000


class Place(ABC):
    """One venue with one account, and a journal of what it said."""

    settles_h = 1
    """Hours between two settlements of funding of what `coin` names."""

    rests = True
    """Whether a GTC order may wait in a book there."""

    has_wire = True
    """Whether there is something between the venue and its exchange that can be cut."""

    def __init__(self, stack: ExitStack) -> None:
        self.events: list[VenueEvent] = []
        self.outbox = MemoryOutbox()
        self.number = 0
        self.stack = stack
        self.venue: Venue
        self.panel: Panel

    @abstractmethod
    async def connect(self) -> Venue:
        """A new adapter to the same account."""

    @abstractmethod
    async def pass_hour(self) -> None:
        """Let time pass until the next full hour is over."""

    def cut(self) -> None:
        """From now on nothing is answered."""
        raise NotImplementedError

    @property
    def coin(self) -> str:
        """What the tests trade."""
        return self.venue.instruments[0].name

    @property
    def instrument(self) -> Instrument:
        return self.venue.instruments[0]

    # What a trader does

    async def open(self, checkpoint: Mapping[str, Any] | None = None) -> None:
        """As a start does."""
        self.venue = await self.connect()
        self.panel = await self.venue.open(checkpoint)
        await self.account()

    async def again(self) -> None:
        """Stop and start, going on from the checkpoint."""
        self.hear()
        kept = self.venue.checkpoint()
        await self.venue.close()
        await self.open(kept)

    async def account(self) -> AccountState:
        state = await self.venue.account()
        self.hear()
        return state

    async def observe(self) -> Observation:
        await self.pass_hour()
        seen = await self.venue.observe()
        assert seen is not None
        self.events += seen.events
        return seen

    async def send(self, *orders: Order, cancels: tuple[Cancel, ...] = ()) -> Sequence[OrderReport]:
        reports = await self.venue.send(OrderPlan(cancels, orders))
        self.hear()
        return reports

    def hear(self) -> None:
        self.events += self.venue.take_events()

    def of(self, kind: type) -> list[Any]:
        """What was told, by kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def order(self, side: Side, usd: int, **keys: Any) -> Order:
        self.number += 1
        mark = float((await self.account()).mark[0])
        lots = max(1, round(usd / mark * self.instrument.lots_per_coin))
        return Order(f"d{self.number}-{self.coin}-entry", self.coin, side, lots, **keys)


class Simulated(Place):
    """The exchange in this process, over bars."""

    rests = False  # an order that rests in it trades by the bars, not by a book
    has_wire = False

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self._source = _source(simple_instrument("BTC", 5, 40), 50_000.0)

    async def connect(self) -> Venue:
        return SimulatedVenue(self._source, SimulatedTerms(Decimal(EQUITY_USD)))

    async def pass_hour(self) -> None:
        """An hour passes by being observed."""


class Joint(Place):
    """Two simulated venues as one."""

    rests = False
    has_wire = False

    async def connect(self) -> Venue:
        there = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 20),), venue="binance")
        terms = SimulatedTerms(Decimal(EQUITY_USD // 2))
        return JointVenue(
            {
                "hyperliquid": SimulatedVenue(_source(simple_instrument("BTC", 5, 40), 50_000.0), terms),
                "binance": SimulatedVenue(_source(there, 50_010.0), terms),
            }
        )

    async def pass_hour(self) -> None:
        """An hour passes by being observed."""


class Hyperliquid(Place):
    """The live adapter on a devnet."""

    def __init__(self, stack: ExitStack, coins: tuple[str, ...] = ("BTC", "ETH")) -> None:
        super().__init__(stack)
        options = Options(coins=("BTC", "ETH"), history_h=48, flow=False, paused=True, start_ms=START_MS)
        self.devnet: Server = stack.enter_context(running(options))
        self._signs = SdkSigns(
            {coin: k for k, coin in enumerate(("BTC", "ETH"))}, key=self.devnet.funded[0]["private_key"]
        )
        self._terms = Terms(
            self.devnet.url,
            "devnet",
            self._signs.address,
            coins,
            history_h=24,
            weight_per_minute=None,
            timeout_s=5,
            settle_s=2,
            sending=Patience(expires_s=15, resolve_s=5, poll_s=0.05),
            feed=FeedPatience(first_retry_s=0.02, longest_retry_s=0.2),
        )

    async def connect(self) -> Venue:
        return await HyperliquidVenue.connect(self._terms, self._signs, self.outbox)

    async def pass_hour(self) -> None:
        world = self.devnet.world
        world.advance_to((world.now_ms // HOUR_MS + 1) * HOUR_MS + 1000)

    def cut(self) -> None:
        self.devnet.faults.set({"refused_502": 1.0})


def _source(instrument: Instrument, price: float) -> ReplaySource:
    """A flat market in which longs pay."""
    rows, first = 60, 30
    flat = {name: np.full((rows, 1), price) for name in ("open", "high", "low", "close", "mark", "oracle")}
    flat |= {"funding_rate": np.full((rows, 1), 1e-4), "volume_usd": np.full((rows, 1), 1e9)}
    panel = Panel(Grid(START_MS // HOUR_MS, rows), (instrument.name,), flat)
    return ReplaySource(panel, (instrument,), first, first, {"recorded": instrument.name})


PLACES: Final = {"simulated": Simulated, "joint": Joint, "hyperliquid": Hyperliquid}
