"""The devnet's world: one exchange, one market around it, one clock, and who listens to them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol

import numpy as np

from bot.devnet import universe
from bot.devnet.market import Market, Moment
from bot.devnet.records import STREET, Json, Twap, UserRecords, WireOrder, fake_hash, trade_id
from bot.devnet.spot import Spot
from bot.devnet.statefile import FLOW, TIME
from bot.devnet.wire import text
from bot.errors import Refused, StateError
from bot.model.order import Order, Side
from bot.model.panel import HOUR_MS
from bot.sim.exchange import Exchange

SECOND_MS = 1000
LONGEST_STEP_MS: Final = 60_000
MOST_STEPS: Final = 60  # of the market at a time; more than that and steps grow longer
DAY_MS: Final = 86_400_000

_PASSING: Final = frozenset(
    {"market", "moment", "meta", "listeners", "due", "record", "speed", "paused"}
    | {"prints", "touched", "neighbours", "_tell", "_anchor", "_flow"}
)
"""What of a world is not kept over a restart: it is made anew, or it was for those who listened then."""

Listener = Callable[[str, str, Any], None]
"""Told the name of a channel, whom or which coin it is about, and what happened."""


class Neighbour(Protocol):
    """Another venue around the same market and the same clock, of which the world tells it."""

    def step(self) -> None:
        """Prices are those of `world.moment` from now on."""

    def settle(self, time_ms: int) -> None:
        """An hour has ended, and its funding is paid."""

    def others_trade(self) -> None:
        """Another moment of other traders has come."""

    def saved(self) -> Any:
        """Everything that it has to know again after a restart."""

    def restore(self, kept: Any) -> None:
        """Become what `saved` was taken of; StateError if that can't be."""

    def repeat(self, asked: list[Any]) -> Any:
        """Carry out again what it had written down as it came in, and return what it answers."""


class World:
    """Everything behind the wire. Not safe for threads: the server's loop is the only caller."""

    def __init__(
        self,
        market: Market,
        start_ms: int,
        seed: int,
        tell: Callable[[World], None],
        *,
        flow: bool = True,
        speed: float = 1.0,
        paused: bool = False,
    ) -> None:
        self.market = market
        self.instruments = {each.name: each for each in market.instruments}
        self.names = [each.name for each in market.instruments]
        self.column = {name: i for i, name in enumerate(self.names)}
        self.exchange = Exchange(market.instruments)
        self._tell = tell
        self.meta = universe.meta(market.instruments)
        self.spot = Spot(market, seed)
        self.speed, self.paused = speed, paused
        self.now_ms = self.quoted_ms = start_ms
        self.users: dict[str, UserRecords] = {}
        self.dormant: dict[int, Order] = {}  # children that wait for their parent to fill
        self.twaps: dict[int, Twap] = {}  # those that run
        self.slices: dict[int, int] = {}  # orders of the moment that are slices of a TWAP → its number
        self.touched: set[str] = set()  # users whose account changed since somebody last looked
        self.tape: dict[str, deque[Json]] = {
            name: deque(maxlen=200) for name in (*self.names, *self.spot.pairs)
        }
        self.prints: list[Json] = []  # trades since somebody last looked
        self.listeners: list[Listener] = []
        self.due: list[Callable[[], None]] = []  # what else is to be looked at when time has passed
        self.neighbours: dict[str, Neighbour] = {}
        self.record: Callable[[list[Any]], None] = lambda _: None
        """Told each input that comes from no request, before it has an effect."""
        self.wall_time_ms = 0
        self.street_trades = 0
        self._flow = np.random.default_rng((seed, 1)) if flow else None
        self._anchor = (time.monotonic(), start_ms)
        self.exchange.deposit(STREET, Decimal(10) ** 13, start_ms)
        market.reaches(start_ms)
        self.moment: Moment = market.moment(start_ms)
        self._step(start_ms)

    # --- time

    def wall_ms(self) -> int:
        """What the clients' clocks said when the signed request at hand came in."""
        return self.wall_time_ms

    def set_speed(self, speed: float, *, paused: bool) -> None:
        """From now on let time pass `speed` times as fast as outside, or stand."""
        self.catch_up()
        self.speed, self.paused = speed, paused
        self._anchor = (time.monotonic(), self.now_ms)

    def catch_up(self) -> None:
        """Let the time pass that should have by now."""
        if not self.paused:
            began, then_ms = self._anchor
            self.advance_to(then_ms + int((time.monotonic() - began) * SECOND_MS * self.speed))

    def advance(self, milliseconds: int) -> None:
        """Let time pass at once, whatever the speed."""
        self.advance_to(self.now_ms + milliseconds)
        self._anchor = (time.monotonic(), self.now_ms)

    def advance_to(self, time_ms: int) -> None:
        """Walk the market to a time, hour by hour with their settlements; pauses where the source ends."""
        if self.now_ms < time_ms:
            self.record([TIME, time_ms])
        while self.now_ms < time_ms:
            step = max(LONGEST_STEP_MS, (time_ms - self.now_ms) // MOST_STEPS)
            hour_end = (self.now_ms // HOUR_MS + 1) * HOUR_MS
            upto = min(time_ms, self.now_ms + step, hour_end)
            if not self.market.reaches(upto):
                self.paused = True
                return
            if self.market.moves(self.quoted_ms, upto):
                self._step(upto)
            self.now_ms = upto
            if upto == hour_end:
                self._settle(upto)
            for look in self.due:
                look()

    def tick(self) -> None:
        """What a moment of real time brings: the clock, and trades of others."""
        self.catch_up()
        if self._flow is not None and not self.paused:
            self.record([FLOW])
            self.others_trade()

    def _step(self, time_ms: int) -> None:
        self.now_ms = self.quoted_ms = time_ms
        self.moment = moment = self.market.moment(time_ms)
        marks: dict[str, Decimal] = {}
        ladders = self.market.ladders(moment)
        for column, (name, instrument) in enumerate(self.instruments.items()):
            marks[name] = instrument.round_price(Decimal(repr(float(moment.mark[column]))))
            bids, asks = ladders[column]
            self.exchange.quote_depth(name, bids, asks, time_ms)
        self.exchange.set_marks(marks, time_ms)
        self.spot.step(moment)
        self.pump()
        for each in self.neighbours.values():
            each.step()

    def requote(self) -> None:
        """Take the market's prices at this moment, as after they have changed of themselves."""
        self._step(self.now_ms)

    def _settle(self, time_ms: int) -> None:
        rates, _, oracles = self.market.settled(self.market.hour(time_ms) - 1)
        self.exchange.settle_funding(
            {name: Decimal(f"{rates[i]:.10f}") for i, name in enumerate(self.names)},
            {name: self.oracle(name, oracles[i]) for i, name in enumerate(self.names)},
            time_ms,
        )
        self.pump()
        for user, account in self.exchange.accounts.items():
            if user != STREET:
                value = account.equity_usd(self.exchange.marks)
                records = self.records(user)
                records.equity.append((time_ms, value, value - account.deposits_usd))
                records.forget(time_ms // DAY_MS)
        for each in self.neighbours.values():
            each.settle(time_ms)

    def oracle(self, name: str, price: float | None = None) -> Decimal:
        """The oracle price of a coin, now or as given, on the grid that the venue prints it on."""
        value = float(self.moment.oracle[self.column[name]]) if price is None else float(price)
        return self.instruments[name].round_price(Decimal(repr(value)))

    # --- others

    def others_trade(self) -> None:
        """A moment's trades of other traders, by the dice."""
        assert self._flow is not None
        for column in range(len(self.names)):
            if self._flow.random() < 0.3:
                self._someone_trades(self._flow, column)
        for trade in self.spot.someone_trades(self._flow, self.now_ms):
            self._street_trades(*trade)
        self.pump()
        for each in self.neighbours.values():
            each.others_trade()

    def _someone_trades(self, dice: np.random.Generator, column: int) -> None:
        """Another trader takes a little from the book: the oldest order at the best price first."""
        name = self.names[column]
        side = Side.BUY if dice.random() < 0.5 else Side.SELL
        book = self.exchange.books[name]
        outside, resting = book.depth(-side.sign), book.best(-side.sign)
        if not outside:
            return
        price, lots = outside[0]
        lots = max(1, int(lots * dice.uniform(0.02, 0.3)))
        if resting is not None and resting.price is not None and (resting.price - price) * side.sign <= 0:
            self.exchange.submit(STREET, Order("flow", name, side, lots), self.now_ms)
            self.pump()
            return
        self._street_trades(name, side, price, lots)

    def _street_trades(self, name: str, side: Side, price: Decimal, lots: int) -> None:
        self.street_trades += 1
        number = trade_id(-self.street_trades)
        self.print_trade(name, side, price, lots, self.now_ms, number, [STREET, STREET])

    def print_trade(
        self, name: str, side: Side, price: Decimal, lots: int, time_ms: int, number: int, users: list[str]
    ) -> None:
        """Put a trade on the tape."""
        row: Json = {
            "coin": name,
            "side": "B" if side is Side.BUY else "A",
            "px": text(price),
            "sz": text((self.spot.pairs.get(name) or self.instruments[name]).size(lots)),
            "hash": fake_hash("block", time_ms, number),
            "time": time_ms,
            "tid": number,
            "users": users,
        }
        self.tape[name].append(row)
        self.prints.append(row)

    # --- users

    def records(self, user: str) -> UserRecords:
        """What is remembered of a user, who needs no account."""
        records = self.users.get(user)
        if records is None:
            records = self.users[user] = UserRecords()
        return records

    def exists(self, user: str) -> bool:
        return user in self.exchange.accounts

    def fund(self, user: str, amount_usd: Decimal) -> None:
        """Money from nowhere, as a deposit."""
        self.exchange.deposit(user, amount_usd, self.now_ms)
        self.write_ledger(user, {"type": "deposit", "usdc": text(amount_usd)})

    def write_ledger(self, user: str, delta: Mapping[str, Any]) -> None:
        """Remember a transfer, and tell."""
        records = self.records(user)
        row = {
            "time": self.now_ms,
            "hash": fake_hash("ledger", user, records.transfers),
            "delta": dict(delta),
        }
        records.ledger.append(row)
        records.transfers += 1
        self.touched.add(user)
        self.emit("userNonFundingLedgerUpdates", user, row)

    def set_status(self, order: WireOrder, status: str, time_ms: int) -> None:
        """Give an order a status, remember it, and tell its owner."""
        order.status, order.status_ms = status, time_ms
        row = order.status_row()
        self.records(order.user).order_history.append(row)
        update = {"order": order.basic(), "status": status, "statusTimestamp": time_ms}
        self.emit("orderUpdates", order.user, update)
        self.emit("userHistoricalOrders", order.user, row)
        self.touched.add(order.user)

    def cancel_quietly(self, user: str, order_id: int, reason: str) -> None:
        """Cancel what may be gone already."""
        order = self.records(user).orders.get(order_id)
        if order is None or not order.is_open:
            return
        if order_id in self.dormant:
            del self.dormant[order_id]
            self.set_status(order, reason, self.now_ms)
            return
        exchange = self.spot.exchange if order.coin in self.spot.pairs else self.exchange
        try:
            exchange.cancel(user, order_id, self.now_ms, reason)
        except Refused:
            return

    def saved(self) -> dict[str, Any]:
        """Everything that it has to know again after a restart."""
        kept = {name: each for name, each in vars(self).items() if name not in _PASSING}
        kept["flow"] = None if self._flow is None else self._flow.bit_generator.state
        return kept

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Become what `saved` was taken of. Raises StateError if the market lists other instruments by now."""
        kept = dict(kept)
        flow = kept.pop("flow")
        before, now = (
            [(each.name, each.size_decimals) for each in listed]
            for listed in (kept["instruments"].values(), self.market.instruments)
        )
        if before != now:
            raise StateError(
                f"the devnet's state is of {before}, but the market lists {now} (names with decimals of sizes); go on with "
                "what wrote it or name another file"
            )
        vars(self).update(kept)
        self.meta = universe.meta(
            tuple(self.instruments.values())
        )  # their margin tiers are still the ones of then
        if self._flow is not None:
            self._flow.bit_generator.state = flow
        self.moment = self.market.moment(self.quoted_ms)
        self._anchor = (time.monotonic(), self.now_ms)

    def pump(self) -> None:
        """Tell what the exchange did."""
        self._tell(self)

    def emit(self, channel: str, subject: str, data: Any) -> None:
        for listener in self.listeners:
            listener(channel, subject, data)
