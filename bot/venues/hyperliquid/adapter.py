"""Hyperliquid behind the venue port: one account on it, seen by the hour and traded through a signer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self

import structlog

from bot.model.attempt import Proof
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument, Kind
from bot.model.order import Order, OrderReport, OrderStatus
from bot.model.panel import HOUR_MS, Panel
from bot.venues.attempts import Attempts
from bot.venues.edge import as_unavailable, check_version
from bot.venues.hyperliquid import feed as feeds
from bot.venues.hyperliquid.account_reader import AHEAD_MS, AccountReader, Setting
from bot.venues.hyperliquid.books import OVERLAP_MS, Books
from bot.venues.hyperliquid.budget import PIECE_RESERVE, WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.condition import Conditions
from bot.venues.hyperliquid.held import within
from bot.venues.hyperliquid.identity import check_account, check_signer, listed_for
from bot.venues.hyperliquid.leverage import Leverage
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.orders import FORGOTTEN_MS, Register
from bot.venues.hyperliquid.others import Others
from bot.venues.hyperliquid.parse_account import VenueFill, VenueFunding
from bot.venues.hyperliquid.parse_meta import Listed, Universe
from bot.venues.hyperliquid.polarity import check_funding
from bot.venues.hyperliquid.replacing import NOT_WITHDRAWN, Replacing
from bot.venues.hyperliquid.sending import Sender
from bot.venues.hyperliquid.signing import Signs
from bot.venues.hyperliquid.switch import Switch
from bot.venues.hyperliquid.telling import Teller
from bot.venues.hyperliquid.terms import Terms
from bot.venues.hyperliquid.words import subscriptions, until
from bot.venues.venue import AccountState, Condition, Observation, Outbox, VenueEvent
from bot.venues.venue_clock import Hours, VenueClock

log = structlog.get_logger("hedgerow")

STATE_VERSION: Final = 1
SENT_BEFORE: Final = "sent before"

ACTIONS_KEPT: Final = 200
"""Actions of an address's budget that are kept for cancels and for orders that only reduce."""


class HyperliquidVenue:
    """One account; made by `connect`, which learns what can be traded."""

    def __init__(
        self,
        terms: Terms,
        signs: Signs,
        client: Client,
        universe: Universe | Listed,
        outbox: Outbox,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terms, self._signs, self._client = terms, signs, client
        self._account = terms.account.lower()
        self.instruments: tuple[Instrument, ...] = tuple(map(universe.instrument, terms.coins))
        self._clock = VenueClock(
            lambda: client.info({"type": "exchangeStatus"}, urgent=True), now_s, sleep, terms.clock
        )
        self._market = MarketData(client, self.instruments, universe.wire)
        self._attempts = Attempts(terms.network, self._account, outbox)
        self._register = Register(self.instruments, self._attempts, universe.wire)
        self._others = Others(self._register)
        trades_spot = any(each.kind is Kind.SPOT for each in self.instruments)
        self._books = Books(self._account, self._register, trades_spot=trades_spot)
        self._replacing = Replacing(self._register, self._books)
        self._setting = Setting(terms.leverage, terms.margin_mode)
        self._reader = AccountReader(
            self._account, client, self._market, self.instruments, self._register, self._books, self._setting, sleep
        )  # fmt: skip
        self._sender = Sender(
            self._account, client, signs, self._clock, self._market, self._register, self._books, terms.sending, sleep
        )  # fmt: skip
        self._teller = Teller(
            signs, client, self._clock, self._market, self._reader, self._sender, self._look
        )
        self._leverage = Leverage(self._register, self._setting, self._sender)
        self._conditions = Conditions(client, signs, self._clock, terms, numbers=self._market.numbers)
        self._switch = Switch(self._account, client, signs, self._clock, terms.switch_s)
        self._earlier: set[int] = set()  # open in an earlier run, and not accounted for yet
        self._events: list[VenueEvent] = []
        self._heard_fills: list[VenueFill] = []  # by the feed, not counted yet
        self._heard_fundings: list[VenueFunding] = []
        market, clock = self._market, self._clock
        self._hours = Hours(clock, market.is_settled, market.history, sleep, terms.settle_s, terms.history_h)
        self._seen_ms = 0
        self._actions_left = ACTIONS_KEPT + 1
        self.feed = feeds.Feed(
            client.url,
            subscriptions(self._account, self.instruments, universe.wire),
            self._hear,
            self._mend,
            patience=terms.feed,
        )

    @classmethod
    async def connect(
        cls,
        terms: Terms,
        signs: Signs,
        outbox: Outbox,
        client: Client | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Learn what the venue trades, and that account and signer are what the config says.

        What is sent is written to `outbox` first. Without a `client` one is made by the terms.
        ConfigError where they are not; Unavailable where the venue or the signer does not answer.
        """
        if client is None:
            client = Client(
                terms.url, timeout_s=terms.timeout_s, budget=WeightBudget(terms.weight_per_minute)
            )
        try:
            with as_unavailable():
                universe = await listed_for(client, terms.coins)
                whose = signs.whose()
                check_signer(whose, terms.network, terms.account, terms.coins, universe)
                found = await check_account(client, whose, terms.coins, universe)
            for line in found.lines():
                log.info("account", found=line)
            for warning in found.warnings:
                log.warning("account", found=warning)
            return cls(terms, signs, client, universe, outbox, now_s=now_s)
        except BaseException:
            await client.close()
            raise

    async def end(self) -> None:
        """The run ends in order: what rests may rest on, so the venue's switch must not take it."""
        await self._switch.clear()

    async def close(self) -> None:
        """Hang up."""
        await self.feed.close()
        await self._client.close()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Network and account; where the server stands may change."""
        return {
            "venue": "hyperliquid",
            "network": self._terms.network,
            "account": self._account,
            "coins": [instrument.name for instrument in self.instruments],
        }

    async def open(self, checkpoint: Mapping[str, Any] | None) -> Panel:
        """Read the account, going on from a checkpoint's cursors, and the market's history up to the full hour."""
        check_version(checkpoint, STATE_VERSION)
        with as_unavailable():
            self._signs.clock(await self._clock.look())
            await self._market.refresh()
            if checkpoint is None:
                await self._reader.begin()
            else:
                self._earlier |= self._restore(checkpoint)
                since_ms, coins = self._clock.now_ms() - FORGOTTEN_MS, {i.name for i in self.instruments}
                self._reader.owe(self._attempts.filled_since(since_ms, coins), self._clock.now_ms())
            if any(not each.reduce_only for each in self._attempts.at_venue()):
                self._switch.suspect()
            self._register.take_up(self._attempts.at_venue())
            resting = [each.evidence for each in self._attempts.at_venue()]
            self._earlier |= {each.order_id for each in resting if each is not None and each.order_id}
            self._sender.take_up()
            self._tell(await self._sender.resolve())
            await self._look()
            await self._settlements_and_transfers()
            self._others.meet_a_twin(adopts=self._terms.adopts)
            panel = await self._hours.begin()
        await check_funding(self._client, self.instruments, panel)
        self.feed.start()
        return panel

    def _restore(self, checkpoint: Mapping[str, Any]) -> set[int]:
        self._books.restore(checkpoint["books"])
        self._sender.settled_nonce = int(checkpoint["settled_nonce"])
        return set(self._register.restore(checkpoint["orders"]))

    async def due(self) -> None:
        """When the next full hour has come by the venue's clock and its funding is settled."""
        with as_unavailable():
            await self._hours.due()

    async def observe(self) -> Observation | None:
        """The newest full hour; hours slept through are told as far as the venue's history knows them."""
        await self.due()
        with as_unavailable():
            time_ms, missed = await self._hours.newest()
            row = await self._market.row(time_ms)
            await self._look()
            await self._settlements_and_transfers()
            state = self._reader.state()
        self._hours.told_ms = time_ms
        return Observation(time_ms, row, state, self.take_events(), missed)

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        """Cancels, then orders. OutcomeUnknown where the venue can't be brought to say what became of one."""
        if not plan:
            return ()
        with as_unavailable():
            self._signs.clock(await self._clock.look())
            self._replacing.begin(plan.cancels)
            reports = await self._sender.cancel(plan.cancels)
            self._tell(reports)
            found = await self._sender.resolve()
            self._tell(found)
            if not plan.orders:
                return reports
            await self._teller.tell()
            orders, refused = await self._prepared(plan.orders, urgent=plan.urgent)
            # The venue said none of it: what was sent under the same id stands as it was told.
            self._events += [each for each in refused if each.reason != SENT_BEFORE]
            urgent = plan.urgent or all(order.reduce_only for order in orders)
            await self._teller.renew(urgent=urgent)
            if any(order.trigger is not None for order in orders):
                await self._switch.clear()
            placed = await self._sender.place(orders, urgent=urgent)
            self._tell(placed)
            self._tell(await self._reader.await_fills(self._clock.now_ms, self._terms.fills_s))
        return [*reports, *refused, *placed]

    async def _prepared(
        self, orders: Sequence[Order], *, urgent: bool
    ) -> tuple[list[Order], list[OrderReport]]:
        """What may be sent as it is now: nothing twice, reduce-only orders no larger than the position."""
        view = self._reader.state().view
        lots = dict(zip((i.name for i in self.instruments), view.lots.tolist(), strict=True))
        ready: list[Order] = []
        refused: list[OrderReport] = []
        for order in orders:
            reason = "" if self._attempts.may_be_sent(order.client_id) else SENT_BEFORE
            if not reason:
                # The order as it can be sent.
                instrument, held = self._register.instrument(order.instrument), lots.get(order.instrument, 0)
                order, reason = within(order, instrument, held, view.open_orders)  # noqa: PLW2901
            if not reason and not order.reduce_only and self._actions_left <= ACTIONS_KEPT:
                reason = (
                    f"only {self._actions_left} actions are left to the address; they are kept for closing"
                )
            if not reason and not order.reduce_only and order.instrument in self._replacing.unsure:
                reason = NOT_WITHDRAWN
            if not reason and not order.reduce_only:
                reason = await self._leverage.sure(order.instrument, urgent=urgent)
            if reason:
                refused.append(
                    OrderReport(self._clock.now_ms(), 0, order, OrderStatus.REJECTED, reason=reason)
                )
            else:
                ready.append(order)
        return ready, refused

    async def room(self) -> bool:
        """For both legs of a piece."""
        return await self._client.budget.rest(PIECE_RESERVE)

    async def account(self) -> AccountState:
        """The account now."""
        with as_unavailable():
            self._tell(await self._sender.resolve())
            await self._market.refresh(urgent=True)
            await self._look()
            if self._seen_ms // HOUR_MS > self._books.complete_ms // HOUR_MS:
                # An hour has ended since it was last asked what was paid: that is in the equity already.
                await self._settlements_and_transfers(urgent=True)
            return self._reader.state()

    async def condition(self) -> Condition:
        """Of the signer, its agent's approval and the clocks. Says by the way that this program lives."""
        await self._switch.watch()
        heard = bool(self._heard_fills)
        return replace(await self._conditions.now(), twin=self._others.twin, has_traded=heard)

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

    # Looking

    async def _look(self) -> None:
        """Read the account; what was open (or was so in an earlier run) and no longer is gets its report."""
        self._books.overlap_ms = int(OVERLAP_MS * self._clock.speed)
        events, became = await self._reader.look(self._earlier)
        self._tell(events)
        assert self._reader.margin is not None
        self._seen_ms = self._reader.margin.time_ms
        self._earlier -= {report.order_id for report in self._reader.listed}
        for order_id, found in became.items():
            report = self._sender.outcome(found)
            if report is not None:
                self._tell([report])
                self._earlier.discard(order_id)
            elif found is not None:
                self._register.keep(found, self._books.filled(order_id))
            else:
                self._register.forget(order_id, self._seen_ms)
        self._others.see(self._reader.orders)
        self._take_heard()
        await self._switch.see(self._reader.shown)

    async def _settlements_and_transfers(self, *, urgent: bool = False) -> None:
        start_ms, end_ms = self._books.from_ms(), self._seen_ms + AHEAD_MS
        payments, _ = until(await self._reader.fundings(start_ms, end_ms, urgent=urgent), self._seen_ms)
        self._tell(self._books.take_fundings(payments, self._market.oracles))
        moved, _ = until(await self._reader.ledger(start_ms, end_ms, urgent=urgent), self._seen_ms)
        self._tell(self._books.take_ledger(moved))
        self._books.completed(self._seen_ms)
        self._actions_left = await self._client.info(
            {"type": "userRateLimit", "user": self._account}, urgent=urgent
        )

    def _tell(self, events: Sequence[VenueEvent]) -> None:
        reports = [event for event in events if isinstance(event, OrderReport)]
        for report in reports:
            self._register.note(report)
        self._replacing.ended(reports)
        # What has filled long ago has been told of, and may be forgotten.
        recent = [each for each in reports if each.time_ms >= self._books.from_ms()]
        self._reader.owe(((each.order_id, each.filled_lots) for each in recent), self._clock.now_ms())
        self._attempts.told(reports, Proof.STATUS)
        self._events.extend(events)

    # The feed

    def _hear(self, channel: str, data: Any, connection: int) -> None:
        if channel == "candle":
            self._market.heard.candle(data, connection)
        elif channel == "bbo":
            self._market.heard.best(data, connection)
        elif channel == "userFills":
            self._heard_fills += data
        elif channel == "userFundings":
            self._heard_fundings += data

    async def _mend(self) -> None:
        """Fetch what the feed may have missed while it was not there."""
        with as_unavailable():
            now_ms = self._clock.now_ms()
            self._heard_fills += await self._reader.fills(self._books.from_ms(), now_ms + AHEAD_MS)
            self._heard_fundings += await self._reader.fundings(self._books.from_ms(), now_ms + AHEAD_MS)

    def _take_heard(self) -> None:
        """Count what was heard, as far as the account's word of now has it in it; what came later waits for the next."""
        fills, self._heard_fills = until(self._heard_fills, self._seen_ms)
        fundings, self._heard_fundings = until(self._heard_fundings, self._seen_ms)
        self._tell(self._books.take_fills(fills))
        self._tell(self._books.take_fundings(fundings, self._market.oracles))
