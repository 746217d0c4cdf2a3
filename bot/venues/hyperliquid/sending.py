"""Carrying out a plan: cancels first, then orders in batches, and the truth about each even where the reply is lost.

A signed body is sent at most once. Where its outcome is not known, the order is looked for by its cloid, and a noop
with the same nonce makes sure that what has not happened can't happen any more. Only the venue's word, or the venue's
clock beyond the expiry, ends the question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import structlog

from bot.errors import DataError, OutcomeUnknown, Refused, Unavailable, VenueError
from bot.model.attempt import Attempt, AttemptState, Proof
from bot.model.decision import Cancel
from bot.model.money import ZERO
from bot.model.order import Order, OrderReport, OrderStatus, TimeInForce
from bot.venues.attempts import Named, order_of
from bot.venues.edge import lots_of
from bot.venues.hyperliquid import parse_orders, signing
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.orders import Register, to_sign
from bot.venues.hyperliquid.parse_account import MarginState
from bot.venues.hyperliquid.parse_orders import Ending, Placed, StatusOf
from bot.venues.hyperliquid.signing import LARGEST_BATCH, NotSigned, Signed, Signs, Whose
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")

AFTER_EXPIRY_MS: Final = 10_000
DUPLICATE_NONCE: Final = "duplicate nonce"
NONCE: Final = "nonce"


@dataclass(frozen=True, slots=True)
class Lost:
    """A batch whose outcome is not known yet."""

    nonce: int
    expires_ms: int
    orders: tuple[Order, ...]
    cloids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds of our own time. `expires_s`: how long an order may be on its way. `resolve_s`: for what got lost."""

    expires_s: float = 15.0
    resolve_s: float = 60.0
    poll_s: float = 0.5


class Sender:
    """Sends for one account."""

    def __init__(
        self,
        account: str,
        client: Client,
        signs: Signs,
        clock: VenueClock,
        market: MarketData,
        register: Register,
        books: Books,
        patience: Patience,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._account, self._client, self._signs = account, client, signs
        self._clock, self._market, self._books = clock, market, books
        self._register, self._attempts = register, register.attempts
        self._patience, self._sleep = patience, sleep
        self.lost: list[Lost] = []
        self._waited_for = -1  # the nonce of a batch that was waited for already, in vain
        self._found_lost: list[OrderReport] = []  # not handed out yet since a later batch is not found
        self.settled_nonce = 0

    @property
    def through_nonce(self) -> int:
        """The last nonce up to which every outcome is known."""
        return min([self.settled_nonce, *(each.nonce - 1 for each in self.lost)])

    # Cancels

    async def cancel(self, cancels: Sequence[Cancel]) -> list[OrderReport]:
        """Withdraw orders; what is no longer open is reported as what it became."""
        reports: list[OrderReport] = []
        for start in range(0, len(cancels), LARGEST_BATCH):
            batch = cancels[start : start + LARGEST_BATCH]
            reasons = await self._cancel(batch)
            for each, reason in zip(batch, reasons, strict=True):
                report = await self._after_cancel(each, reason)
                if report is not None:
                    reports.append(report)
        return reports

    async def _cancel(self, batch: Sequence[Cancel]) -> Sequence[str | None]:
        """Reasons why not, empty where it was cancelled, None where that is not known."""
        if not batch:
            return ()
        try:
            await self._client.make_room(len(batch), urgent=True)
            whose = self._signs.pinned()
            stale = self._market.numbers.stale((each.instrument for each in batch), whose)
            if stale:
                log.warning("cancels not sent", reason="; ".join(stale.values()))
                told = iter(await self._cancel([each for each in batch if each.instrument not in stale]))
                return [None if each.instrument in stale else next(told) for each in batch]
            signed = self._signs.cancel([(each.instrument, each.order_id) for each in batch])
            answer = await self._client.exchange(signed.body)
            reasons = parse_orders.canceled(answer, len(batch))
            self.settled_nonce = max(self.settled_nonce, signed.nonce)
        except (VenueError, DataError) as error:
            # A cancel changes no position; the next look at the open orders shows what came of it.
            log.warning("cancel not confirmed", orders=len(batch), reason=str(error)[:200])
            return [None] * len(batch)
        return reasons

    async def _after_cancel(self, cancel: Cancel, reason: str | None) -> OrderReport | None:
        before = self._register.open.get(cancel.order_id)
        if reason == "" and before is not None:
            lots, average = self._books.filled(cancel.order_id)
            return OrderReport(
                self._clock.now_ms(),
                cancel.order_id,
                before.order,
                OrderStatus.CANCELED,
                lots,
                average,
                cancel.because,
            )
        return None if reason is None else await self.ended(cancel.order_id)

    async def ended(self, order: int | str) -> OrderReport | None:
        """What became of an order by its id or cloid; None while the venue does not say, or says that it is open."""
        return self.outcome(await self._status(order))

    def outcome(self, found: StatusOf | None) -> OrderReport | None:
        """The report of an order that the venue says has ended; None for one that is open or not known."""
        if found is None or found.ending in {Ending.OPEN, Ending.UNKNOWN}:
            return None
        return self._register.ended(found, self._books.filled(found.order.order_id))

    async def _status(self, order: int | str) -> StatusOf | None:
        request = {"type": "orderStatus", "user": self._account, "oid": order}
        found: StatusOf | None = await self._client.info(request, urgent=True)
        return found

    # Orders

    async def place(self, orders: Sequence[Order], *, urgent: bool = False) -> list[OrderReport]:
        """Send orders in sequence; those that only reduce, and those that only add liquidity, go apart from the others.

        What is `urgent` waits for no budget.

        OutcomeUnknown where the venue can't be brought to say what became of a batch; what follows is not sent then.
        """
        reports: list[OrderReport] = []
        for batch in _batches(orders):
            reports += await self._batch(list(batch), urgent=urgent)
        return reports

    async def _batch(self, orders: list[Order], *, urgent: bool = False) -> list[OrderReport]:
        refused: list[OrderReport] = []
        signed: Signed | None = None
        wire: list[signing.Order] = []
        while orders and signed is None:
            try:
                reduces = all(order.reduce_only for order in orders)
                await self._client.make_room(len(orders), urgent=urgent or reduces)
                whose = self._signs.pinned()
                wire = self._wire(orders, whose)
                signed = self._signs.order(wire, self._expires_in_ms(whose))
            except NotSigned as refusal:
                if refusal.index is None or refusal.index >= len(orders):
                    return refused + [self._rejected(each, str(refusal)) for each in orders]
                refused.append(self._rejected(orders.pop(refusal.index), str(refusal)))
            except Unavailable as error:
                return refused + [self._rejected(each, f"not sent: {error}") for each in orders]
        if signed is None:
            return refused
        self._attempts.write(
            [Named(order, told.cloid, told.price) for order, told in zip(orders, wire, strict=True)],
            nonce=signed.nonce, expires_ms=signed.expires_after_ms, body=signed.body, at_ms=self._clock.now_ms(),
        )  # fmt: skip
        reports = await self._send(signed, orders, tuple(each.cloid for each in wire))
        return refused + reports

    def _wire(self, orders: Sequence[Order], whose: Whose) -> list[signing.Order]:
        wire: list[signing.Order] = []
        for order in orders:
            instrument = self._register.instrument(order.instrument)
            mark = self._market.marks.get(order.instrument)
            if instrument is None or mark is None:
                raise NotSigned("the coin has no price at the venue", len(wire))
            if why := self._market.numbers.why_not(order.instrument, whose):
                raise NotSigned(why, len(wire))
            wire.append(to_sign(order, instrument, mark, self._attempts.cloid(order.client_id)))
        return wire

    def _expires_in_ms(self, whose: Whose) -> int:
        """As long as we are patient, in the venue's time, and within what the policy allows."""
        shortest_ms, longest_ms = whose.expires_ms
        return max(shortest_ms, min(int(self._patience.expires_s * 1000 * self._clock.speed), longest_ms))

    async def _send(
        self, signed: Signed, orders: Sequence[Order], cloids: tuple[str, ...]
    ) -> list[OrderReport]:
        """Send what has been written down; what became of it, if that takes a while."""
        at_ms = self._clock.now_ms
        try:
            answer = await self._client.exchange(signed.body)
            told = parse_orders.placed(answer, len(orders))
            reports = [self._report(each, placed) for each, placed in zip(orders, told, strict=True)]
        except Refused as refusal:
            if NONCE in str(refusal).lower():  # taken before: by this very body, where it was delivered twice
                return await self._unknown(signed, orders, cloids, str(refusal))
            reports = [self._rejected(each, str(refusal)) for each in orders]
            self._attempts.told(reports, Proof.REPLY)
        except Unavailable as error:
            self._attempts.ended(cloids, AttemptState.REJECTED, Proof.NOT_SENT, at_ms(), str(error)[:200])
            reports = [self._rejected(each, f"not sent: {error}") for each in orders]
        except (OutcomeUnknown, DataError) as error:
            return await self._unknown(signed, orders, cloids, str(error))
        else:
            self._attempts.told(reports, Proof.REPLY)
        self.settled_nonce = max(self.settled_nonce, signed.nonce)
        return reports

    async def _unknown(
        self, signed: Signed, orders: Sequence[Order], cloids: tuple[str, ...], why: str
    ) -> list[OrderReport]:
        """It may have been carried out: nobody knows before the venue has been asked."""
        log.warning("outcome unknown", orders=len(orders), reason=why[:200])
        at_ms = self._clock.now_ms()
        self._attempts.ended(cloids, AttemptState.UNKNOWN, Proof.NO_ANSWER, at_ms, why[:200])
        self.lost.append(Lost(signed.nonce, signed.expires_after_ms or at_ms, tuple(orders), cloids))
        return await self.resolve()

    def _report(self, order: Order, placed: Placed) -> OrderReport:
        instrument = self._register.instrument(order.instrument)
        assert instrument is not None
        status = placed.status
        if status is OrderStatus.RESTING and order.trigger is not None:
            status = OrderStatus.WAITING
        lots = lots_of(instrument, placed.filled, "what was filled") if placed.filled else 0
        if lots > order.lots:
            raise DataError(f"{placed.filled} {order.instrument} are said to be filled of an order for less")
        reason = placed.reason
        if status is OrderStatus.FILLED and lots < order.lots:
            status, reason = OrderStatus.CANCELED, "the rest could not match at once"
        return OrderReport(
            self._clock.now_ms(), placed.order_id or 0, order, status, lots, placed.average_price, reason
        )

    def _rejected(self, order: Order, reason: str) -> OrderReport:
        return OrderReport(self._clock.now_ms(), 0, order, OrderStatus.REJECTED, 0, ZERO, reason)

    # What got lost

    def take_up(self) -> None:
        """At a start: what an earlier run had written down to send is lost until the venue says what became of it."""
        by_nonce: dict[int, list[Attempt]] = {}
        for attempt in self._attempts.unanswered():
            by_nonce.setdefault(attempt.nonce, []).append(attempt)
        for nonce, attempts in by_nonce.items():
            cloids = tuple(each.cloid for each in attempts)
            unsaid = [each.cloid for each in attempts if each.state is AttemptState.SENT]
            why = "the run ended before there was an answer"
            self._attempts.ended(unsaid, AttemptState.UNKNOWN, Proof.NO_ANSWER, self._clock.now_ms(), why)
            log.warning("outcome unknown", orders=len(attempts), reason=why)
            expires_ms = attempts[0].expires_ms or self._clock.now_ms()
            self.lost.append(Lost(nonce, expires_ms, tuple(map(order_of, attempts)), cloids))

    async def resolve(self) -> list[OrderReport]:
        """Find out what became of every lost batch. OutcomeUnknown where the venue can't be brought to say."""
        while self.lost:
            self._found_lost += await self._resolve(self.lost[0])
            self.settled_nonce = max(self.settled_nonce, self.lost[0].nonce)
            del self.lost[0]
        found, self._found_lost = self._found_lost, []
        return found

    async def _resolve(self, lost: Lost) -> list[OrderReport]:
        """Evidence for each order of a batch: found by cloid, voided by a fence, or beyond its expiry and not found."""
        found: dict[str, OrderReport] = {}
        voided, waited_s, error = False, 0.0, ""
        patience_s = 0.0 if lost.nonce == self._waited_for else self._patience.resolve_s
        while True:
            try:
                venue_ms = await self._clock.look()
                beyond_ms = lost.expires_ms + AFTER_EXPIRY_MS
                if venue_ms > beyond_ms and not voided:
                    # What it tells of the account may be of an earlier moment than its clock.
                    venue_ms = min(venue_ms, await self._state_ms())
                dead = voided or venue_ms > beyond_ms
                for order, cloid in zip(lost.orders, lost.cloids, strict=True):
                    if cloid not in found and (report := await self._found(order, cloid)) is not None:
                        found[cloid] = report
                        self._attempts.told([report], Proof.STATUS)
                if len(found) == len(lost.orders):
                    return [found[cloid] for cloid in lost.cloids]
                if dead:
                    return self._without(lost, found, venue_ms, voided=voided)
                if voided := await self._fence(lost.nonce):
                    continue
            except (Unavailable, DataError) as failure:
                error = str(failure)
            if waited_s >= patience_s:
                self._waited_for = lost.nonce
                raise OutcomeUnknown(
                    f"{len(lost.orders)} orders may have been carried out and the venue does not say "
                    f"({error or 'not found, not expired'}); nothing else is sent before it does"
                )
            await self._sleep(self._patience.poll_s)
            waited_s += self._patience.poll_s

    def _without(
        self, lost: Lost, found: Mapping[str, OrderReport], at_ms: int, *, voided: bool
    ) -> list[OrderReport]:
        """The reports of a batch of which some were not carried out and can't be any more."""
        gone = [cloid for cloid in lost.cloids if cloid not in found]
        why = "voided before it was carried out" if voided else "expired before it was carried out"
        if voided:
            self._attempts.ended(gone, AttemptState.FENCED, Proof.FENCE, at_ms, why)
        else:
            self._attempts.ended(gone, AttemptState.EXPIRED, Proof.EXPIRY, at_ms, why)
        return [
            found.get(cloid) or self._rejected(order, why)
            for order, cloid in zip(lost.orders, lost.cloids, strict=True)
        ]

    async def _state_ms(self) -> int:
        """Of which moment the account is that the venue tells now."""
        state: MarginState = await self._client.info(
            {"type": "clearinghouseState", "user": self._account}, urgent=True
        )
        return state.time_ms

    async def _found(self, order: Order, cloid: str) -> OrderReport | None:
        """The order if the venue knows it, open or ended."""
        told = await self._status(cloid)
        if told is None:
            return None
        if told.ending is Ending.UNKNOWN:
            raise DataError(f"the venue calls an order {told.word!r}, which this program does not know")
        by_fills = self._books.filled(told.order.order_id)
        report = self._register.ended(told, by_fills)
        if report is None:
            return None
        # Only fills can tell of more than was asked.
        return replace(report, order=order, filled_lots=by_fills[0] or min(report.filled_lots, order.lots))

    async def _fence(self, nonce: int) -> bool:
        """Whether a noop took the nonce, so that what it was given out for can't happen any more."""
        try:
            await self._client.make_room(urgent=True)
            signed = self._signs.fence(nonce)
            parse_orders.done(await self._client.exchange(signed.body))
        except (Refused, OutcomeUnknown) as answer:
            if DUPLICATE_NONCE not in str(answer):
                log.warning("fence not confirmed", reason=str(answer)[:200])
            return False
        return True

    # Leverage

    async def set_leverage(self, coin: str, leverage: int, *, is_cross: bool, urgent: bool = False) -> None:
        """Set a coin's leverage and margin mode where they are not so already. Refused, or Unavailable where unsure."""
        request = {"type": "activeAssetData", "user": self._account, "coin": coin}
        for _ in range(2):
            now, mode = await self._client.info(request, urgent=True)
            if now == leverage and (mode.value == "cross") == is_cross:
                return
            await self._client.make_room(urgent=urgent)
            if why := self._market.numbers.why_not(coin, self._signs.pinned()):
                raise NotSigned(why)
            signed = self._signs.leverage(coin, leverage, is_cross=is_cross)
            try:
                parse_orders.done(await self._client.exchange(signed.body))
            except (OutcomeUnknown, DataError):
                continue  # look again: to set it twice does no harm
            self.settled_nonce = max(self.settled_nonce, signed.nonce)
            return
        raise Unavailable(f"the leverage of {coin} could not be set; trying again later")


def _batches(orders: Sequence[Order]) -> Iterator[Sequence[Order]]:
    # What closes and protects goes apart from what opens, so that no limit on opening refuses both.
    for _, run in groupby(orders, key=lambda o: (o.reduce_only, o.time_in_force is TimeInForce.ALO)):
        together = list(run)
        for start in range(0, len(together), LARGEST_BATCH):
            yield together[start : start + LARGEST_BATCH]
