"""A central exchange behind the venue port: one account on it, seen by the hour and traded through a signer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, Self

import structlog

from bot.clock import WallClock
from bot.errors import DataError, Refused, StateError, Unavailable
from bot.model.attempt import Proof
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument
from bot.model.order import FundingPayment, Order, OrderReport, Purpose
from bot.model.panel import HOUR_MS, Panel
from bot.text import plain
from bot.venues.attempts import Attempts
from bot.venues.cex import exchange as exchanges
from bot.venues.cex import wire
from bot.venues.cex.account_reader import AccountReader
from bot.venues.cex.books import OVERLAP_MS, Books, Market
from bot.venues.cex.client import Client
from bot.venues.cex.differences import Differences, differences_of
from bot.venues.cex.exchange import Signs
from bot.venues.cex.lookup import Lookup
from bot.venues.cex.market_data import MarketData
from bot.venues.cex.orders import FORGOTTEN_MS, Key, Register, rejected
from bot.venues.cex.sending import Sender
from bot.venues.cex.startup import (
    check_funding,
    check_key,
    check_signer,
    check_whose,
    find_markets,
    one_way,
    reached,
    set_leverage,
    whose_account,
)
from bot.venues.cex.telling import Teller, signer_problem
from bot.venues.cex.terms import CexTerms
from bot.venues.edge import as_unavailable, check_version
from bot.venues.polarity import PaidFunding, check_polarity
from bot.venues.venue import AccountState, Condition, Observation, Outbox, VenueEvent
from bot.venues.venue_clock import Hours, VenueClock

log = structlog.get_logger("hedgerow")

STATE_VERSION: Final = 1
FARTHEST: Final = Decimal(2)
SENT_BEFORE: Final = "sent before"


class CexVenue:
    """One account on one exchange; made by `connect`, which learns what can be traded."""

    def __init__(
        self,
        terms: CexTerms,
        differences: Differences,
        signs: Signs,
        client: Client,
        clock: VenueClock,
        markets: Sequence[Market],
        outbox: Outbox,
        account: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._terms, self._differences, self._signs, self._client = terms, differences, signs, client
        self._clock, self._outbox = clock, outbox
        self._markets = {market.instrument.name: market for market in markets}
        self.instruments: tuple[Instrument, ...] = tuple(market.instrument for market in markets)
        self._account = account
        self._attempts = Attempts(terms.network, f"{terms.venue}:{account}", outbox)
        self._register = Register(markets, self._attempts, differences.forced)
        self._books = Books(terms.venue, terms.settle, markets, differences, self._register.whose)
        self._market = MarketData(client, markets, differences)
        self._lookup = Lookup(client, differences, clock.now_ms)
        self._reader = AccountReader(
            terms, differences, client, self._lookup, self._market, markets, self._register, self._books, clock.now_ms, sleep
        )  # fmt: skip
        self._sender = Sender(
            terms, differences, client, self._lookup, clock, self._register, self._mark, sleep
        )
        self._teller = Teller(signs, clock, self._market, self._reader, self._sender, self._look)
        self._levered: set[str] = set()
        self._distrust = ""  # why funding is not what the adapter takes it for
        self._events: list[VenueEvent] = []
        market = self._market
        self._hours = Hours(clock, market.is_settled, market.history, sleep, terms.settle_s, terms.history_h)

    @classmethod
    async def connect(
        cls,
        terms: CexTerms,
        signer: Signs,
        outbox: Outbox,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Self:
        """Learn what the exchange trades, that signer and key are what the config says, and switch to one-way mode.

        What is sent is written to `outbox` first. ConfigError where they are not; Unavailable where the exchange or the
        signer does not answer.
        """
        differences = differences_of(terms.venue, terms.service)

        async def ask_ms() -> int:
            return wire.moment(await client.ask("fetch_time"), "the venue's time")

        clock = VenueClock(ask_ms, now_s, sleep, terms.clock)
        exchange = exchanges.made(terms, differences, signer, clock.now_ms)
        client = Client(exchange, differences, clock.look)
        try:
            with as_unavailable():
                check_whose(signer, terms)  # first, since it needs no network
                await reached(clock, terms, exchange)
                markets = await find_markets(client, terms, differences)
                check_signer(signer, terms, markets)
                await check_key(client, terms, differences)
                await one_way(client, terms, differences)
                account = await whose_account(client, differences)
            return cls(terms, differences, signer, client, clock, markets, outbox, account, sleep)
        except BaseException:
            await client.close()
            raise

    async def end(self) -> None:
        """The run ends in order; what rests rests on."""

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Exchange, network, account and contracts; where the server stands, and by which key, may change."""
        return {
            "venue": self._terms.venue,
            "network": self._terms.network,
            "service": self._terms.service,
            "account": self._account,
            "coins": [instrument.name for instrument in self.instruments],
        }

    async def open(self, checkpoint: Mapping[str, Any] | None) -> Panel:
        """Read the account, going on from a checkpoint's cursors, and the market's history up to the full hour."""
        check_version(checkpoint, STATE_VERSION)
        with as_unavailable():
            await self._clock.look()
            self._books.overlap_ms = int(OVERLAP_MS * self._clock.speed)
            await self._market.refresh()
            earlier: list[Key] = []
            if checkpoint is None:
                await self._reader.begin(self._clock.now_ms())
            else:
                self._books.restore(checkpoint["books"])
                self._sender.settled_nonce = int(checkpoint["settled_nonce"])
                earlier = self._register.restore(checkpoint["orders"])
            since_ms = min(self._books.from_ms(), self._clock.now_ms() - FORGOTTEN_MS)
            known = [*self._attempts.at_venue(), *self._outbox.since(since_ms)]
            self._register.take_up(known, goes_on=checkpoint is not None)
            self._sender.take_up()
            panel = await self._hours.begin()
            self._tell(await self._sender.resolve())
            for name, order_id in earlier:
                await self._take_up_open(name, order_id)
            await self._look(with_ledger=True)
        self._meet_a_twin()
        markets = list(self._markets.values())
        agree = await check_funding(
            self._client, self._terms, self._differences, panel, self._market, markets
        )
        log.info("funding is read as the venue means it", settlements=agree)
        return panel

    async def _take_up_open(self, name: str, order_id: int) -> None:
        """An order that was open in an earlier run: what became of it, or that it is still open."""
        venue_id = self._register.venue_ids[name, order_id]
        shown = await self._lookup.by_id(self._markets[name], order_id, venue_id)
        if shown is not None:
            self._tell([self._register.report(shown)])

    def _meet_a_twin(self) -> None:
        """StateError where another daemon of this kind trades the account: two that both steer it undo each other."""
        twins = self._register.twins
        if twins and not self._terms.adopts:
            raise StateError(
                f"the account at {self._terms.venue} has an order that a daemon of this program sent and that this "
                f"journal does not hold ({min(twins)}); stop the other, or run with its journal, or, where there is no "
                "other, start once with --adopt, which takes its orders for somebody else's"
            )
        self._register.adopt()

    # Seeing

    async def due(self) -> None:
        """When the next full hour has come by the venue's clock and its funding is settled."""
        with _looking():
            await self._hours.due()

    async def observe(self) -> Observation | None:
        """The newest full hour; hours slept through are told as far as the venue's history knows them."""
        await self.due()
        with _looking():
            time_ms, missed = await self._hours.newest()
            row = await self._market.row(time_ms)
            self._tell(await self._sender.resolve())
            await self._look(with_ledger=True)
            state = self._reader.state()
        self._hours.told_ms = time_ms
        return Observation(time_ms, row, state, self.take_events(), missed)

    async def _look(self, *, with_ledger: bool = False) -> None:
        events = await self._reader.look(with_ledger=with_ledger)
        if with_ledger:
            self._books.completed(self._reader.seen_ms, self._register.open)
        self._check_payments([each for each in events if isinstance(each, FundingPayment)])
        self._tell(events)

    def _check_payments(self, payments: Sequence[FundingPayment]) -> None:
        """What was paid on our own positions is the last word on funding's sign; opening ends where it disagrees."""
        for each in payments:
            mark = self._market.marks.get(each.instrument)
            if mark is None or not each.lots:
                continue
            coins = float(self._markets[each.instrument].instrument.size(each.lots))
            # The price that a payment was made at is reckoned from it; one that is far off says that the amount is.
            is_near = bool(each.oracle) and FARTHEST > each.oracle / mark > 1 / FARTHEST
            price = each.oracle if is_near else mark
            paid = PaidFunding(coins, float(price), float(each.rate), float(each.usd))
            try:
                check_polarity(self._terms.venue, [paid])
            except DataError as error:
                self._distrust = str(error)
                log.exception("funding is not as it is read", found=str(error))

    async def account(self) -> AccountState:
        """The account now."""
        with _looking():
            await self._clock.look()
            self._tell(await self._sender.resolve())
            await self._market.refresh()
            await self._look(with_ledger=self._clock.now_ms() // HOUR_MS > self._books.complete_ms // HOUR_MS)
            return self._reader.state()

    async def room(self) -> bool:
        """An order and a look cost little of what these venues allow a minute."""
        return False

    async def condition(self) -> Condition:
        """Of the signer and the clocks."""
        problem = self._distrust or signer_problem(self._signs)
        offset_s = None
        if self._clock.venue_ms and self._terms.network != "devnet":
            offset_s = (self._clock.now_ms() - WallClock().now_ms()) / 1000
        twin = f"orders of another daemon: {min(self._register.twins)}" if self._register.twins else ""
        return Condition(signer_problem=problem, clock_offset_s=offset_s, twin=twin)

    def take_events(self) -> tuple[VenueEvent, ...]:
        """What is new, in the order in which it was learned."""
        events, self._events = tuple(self._events), []
        return events

    def checkpoint(self) -> Mapping[str, Any]:
        """Cursors and totals; what was sent is in the outbox."""
        return {
            "version": STATE_VERSION,
            "books": self._reader.books(),
            "orders": self._register.state(),
            "settled_nonce": self._sender.settled_nonce,
        }

    # Trading

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        """Cancels, then orders. OutcomeUnknown where the venue can't be brought to say what became of one."""
        if not plan:
            return ()
        with _looking():
            await self._clock.look()
            reports = await self._sender.cancel(plan.cancels)
            self._tell(reports)
            self._tell(await self._sender.resolve())
            if not plan.orders:
                return reports
            await self._teller.tell()
            placed = [await self._place(order) for order in plan.orders]
            try:
                await self._look()
            except Unavailable as error:  # what was placed has been told
                log.warning("account not read after trading", reason=str(error)[:200])
        return [*reports, *placed]

    async def _place(self, order: Order) -> OrderReport:
        """One order; what became of those before it stands, so it is told why it was not sent, and not raised."""
        try:
            ready = await self._prepared(order)
            if isinstance(ready, OrderReport):
                if ready.reason != SENT_BEFORE:
                    self._events.append(ready)
                return ready
            if not self._terms.clock.is_real:  # its time may have gone far since the last look
                await self._clock.look()
            report = await self._sender.place(ready)
        except Unavailable as error:
            report = rejected(order, self._clock.now_ms(), f"not sent: {error}"[:200])
        self._tell([report])
        return report

    async def _prepared(self, order: Order) -> Order | OrderReport:
        """The order as it can be sent now: nothing twice, reduce-only no larger than the position; or why it is not."""
        reason = "" if self._attempts.may_be_sent(order.client_id) else SENT_BEFORE
        if not reason and order.reduce_only:
            held = -self._books.account.lots(order.instrument) * order.side.sign
            if held <= 0:
                reason = "there is nothing left to reduce"
            elif order.lots > held:
                order = replace(order, lots=held)
        if not reason and not order.reduce_only:
            reason = self._distrust or await self._lever(order.instrument)
        return rejected(order, self._clock.now_ms(), reason) if reason else order

    async def _lever(self, name: str) -> str:
        """Make sure of a contract's leverage and mode; why not, where that can't be."""
        if name in self._levered:
            return ""
        market = self._markets[name]
        leverage = self._reader.leverage_of(market.instrument)
        try:
            await set_leverage(self._client, self._terms, self._differences, market, leverage)
        except (Refused, Unavailable) as error:
            return f"leverage {leverage} {self._terms.margin_mode.value} could not be set: {error}"
        self._levered.add(name)
        return ""

    def _mark(self, name: str) -> str | None:
        mark = self._market.marks.get(name)
        return None if mark is None else plain(mark)

    def _tell(self, events: Sequence[VenueEvent]) -> None:
        reports = [event for event in events if isinstance(event, OrderReport)]
        for report in reports:
            self._register.note(report)
        self._attempts.told(
            [each for each in reports if each.order.purpose is not Purpose.EXTERNAL], Proof.STATUS
        )
        self._events.extend(events)


@contextmanager
def _looking() -> Iterator[None]:
    """As `as_unavailable`; and a question that is refused (a ban, a key that is gone) has no answer either, while the run lasts."""
    try:
        with as_unavailable():
            yield
    except Refused as refusal:
        raise Unavailable(f"the venue can't be asked: {refusal}") from None
