"""Carrying out a plan: cancels first, then orders one by one, and the truth about each even where the reply is lost.

A signed request is sent at most once. Where its outcome is not known, the order is looked for by the name that we gave
it. There is no fence here: only the venue's clock beyond the end of the receive window, and two of its lists that do not
know the order, end the question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog

from bot.errors import DataError, OutcomeUnknown, Refused, Unavailable, VenueError
from bot.model.attempt import AttemptState, Proof
from bot.model.decision import Cancel
from bot.model.order import Order, OrderReport, OrderStatus
from bot.signer.cex_client import SignedRequest
from bot.text import plain
from bot.venues.attempts import Named, order_of
from bot.venues.cex.books import Market
from bot.venues.cex.client import Client
from bot.venues.cex.differences import Differences
from bot.venues.cex.lookup import APART, Lookup
from bot.venues.cex.orders import Register, asked, name_of, rejected, worst_price
from bot.venues.cex.terms import CexTerms
from bot.venues.cex.wire import CONDITIONAL
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")


@dataclass(frozen=True, slots=True)
class Lost:
    """An order whose outcome is not known yet."""

    nonce: int
    sent_ms: int
    expires_ms: int
    order: Order
    cloid: str


class Sender:
    """Sends for one account. `mark` gives the newest price of an instrument as text."""

    def __init__(
        self,
        terms: CexTerms,
        differences: Differences,
        client: Client,
        lookup: Lookup,
        clock: VenueClock,
        register: Register,
        mark: Callable[[str], str | None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._terms, self._differences = terms, differences
        self._client, self._lookup = client, lookup
        self._clock, self._register = clock, register
        self._attempts, self._mark, self._sleep = register.attempts, mark, sleep
        self.lost: list[Lost] = []
        self._waited_for = -1  # the nonce of an order that was waited for already, in vain
        self._found: list[OrderReport] = []  # not handed out yet, since a later order is not found
        self.settled_nonce = 0

    @property
    def through_nonce(self) -> int:
        """The last nonce up to which every outcome is known."""
        return min([self.settled_nonce, *(each.nonce - 1 for each in self.lost)])

    # Cancels

    async def cancel(self, cancels: Sequence[Cancel]) -> list[OrderReport]:
        """Withdraw orders; what is no longer open is reported as what it became."""
        reports = []
        for each in cancels:
            report = await self._cancel(each)
            if report is not None:
                reports.append(report)
        return reports

    async def _cancel(self, cancel: Cancel) -> OrderReport | None:
        market = self._register.markets[cancel.instrument]
        key = cancel.instrument, cancel.order_id
        venue_id = self._register.venue_ids.get(key, str(cancel.order_id % CONDITIONAL))
        apart = dict(APART) if cancel.order_id >= CONDITIONAL else {}
        try:
            await self._client.ask("cancel_order", venue_id, market.symbol, apart)
        except VenueError as error:
            # A cancel changes no position; what became of the order is asked for in any case.
            log.warning("cancel not confirmed", order=cancel.order_id, reason=str(error)[:200])
        try:
            shown = await self._lookup.by_id(market, cancel.order_id, venue_id)
            report = None if shown is None else self._register.report(shown)
        except (VenueError, DataError) as error:
            log.warning("order not told", order=cancel.order_id, reason=str(error)[:200])
            return None
        if report is None or report.status.is_open:
            return None
        before = self._register.open.get(key)
        order = report.order if before is None else before.order
        reason = cancel.because if report.status is OrderStatus.CANCELED else report.reason
        return OrderReport(
            report.time_ms, report.order_id, order, report.status, report.filled_lots, report.average_price, reason
        )  # fmt: skip

    # Orders

    async def place(self, order: Order) -> OrderReport:
        """Send an order. OutcomeUnknown where the venue can't be brought to say what became of it."""
        market = self._register.markets[order.instrument]
        cloid = self._attempts.cloid(order.client_id)
        price = self._mark(order.instrument)
        if price is None:
            return rejected(order, self._clock.now_ms(), "not sent: the contract has no price at the venue")
        worst = worst_price(order, market, Decimal(price))
        if worst is not None:
            price = plain(worst)
        left: list[SignedRequest] = []

        def before_leaving(signed: SignedRequest) -> None:
            self._attempts.write(
                [Named(order, cloid, price)],
                nonce=signed.nonce,
                expires_ms=signed.expires_after_ms,
                body=f"{signed.query}{signed.body}".encode(),
                at_ms=self._clock.now_ms(),
            )
            left.append(signed)

        arguments = asked(order, market, self._differences, cloid, self._terms.margin_mode, worst)
        try:
            told = await self._client.order(before_leaving, *arguments)
        except (Refused, Unavailable) as error:  # Unavailable is the venue's word too, once it has left
            report = rejected(order, self._clock.now_ms(), f"{'' if left else 'not sent: '}{error}"[:200])
        except OutcomeUnknown as error:
            if left:
                return await self._unknown(order, cloid, left[0], str(error))
            return rejected(order, self._clock.now_ms(), f"not sent: {error}"[:200])
        else:
            try:
                report = await self._told(order, market, told, cloid)
            except (VenueError, DataError) as error:
                return await self._unknown(order, cloid, left[0], str(error))
        if left:
            self._attempts.told([report], Proof.REPLY)
            self.settled_nonce = max(self.settled_nonce, left[0].nonce)
        return report

    async def _told(self, order: Order, market: Market, told: Any, cloid: str) -> OrderReport:
        """The report by the reply to an order; where that is its number only, the order is asked for."""
        if told.get("status") is None:
            shown = await self._lookup.by_name(market, name_of(cloid))
        else:
            shown = self._lookup.shown(told, market)
        if shown is None:
            raise DataError("the venue took an order and does not know it")
        if shown.side is not order.side or shown.coins != market.instrument.size(order.lots):
            raise DataError(
                f"the reply to an order is of {shown.side} {shown.coins}, which was not asked for"
            )
        return self._register.report(shown, order)

    async def _unknown(self, order: Order, cloid: str, signed: SignedRequest, why: str) -> OrderReport:
        """It may have been carried out: nobody knows before the venue has been asked."""
        log.warning("outcome unknown", coin=order.instrument, reason=why[:200])
        at_ms = self._clock.now_ms()
        self._attempts.ended([cloid], AttemptState.UNKNOWN, Proof.NO_ANSWER, at_ms, why[:200])
        self.lost.append(Lost(signed.nonce, signed.timestamp_ms, signed.expires_after_ms, order, cloid))
        return (await self.resolve())[-1]

    # What got lost

    def take_up(self) -> None:
        """At a start: what an earlier run had written down to send is lost until the venue says what became of it."""
        for attempt in self._attempts.unanswered():
            if attempt.coin not in self._register.markets:
                continue
            why = "the run ended before there was an answer"
            if attempt.state is AttemptState.SENT:
                at_ms = self._clock.now_ms()
                self._attempts.ended([attempt.cloid], AttemptState.UNKNOWN, Proof.NO_ANSWER, at_ms, why)
            log.warning("outcome unknown", coin=attempt.coin, reason=why)
            expires_ms = attempt.expires_ms or attempt.sent_ms
            self.lost.append(
                Lost(attempt.nonce, attempt.sent_ms, expires_ms, order_of(attempt), attempt.cloid)
            )

    async def resolve(self) -> list[OrderReport]:
        """Find out what became of every lost order. OutcomeUnknown where the venue can't be brought to say.

        Each is waited for once; a later look asks anew, and does not keep waiting what else there is to be done.
        """
        while self.lost:
            lost = self.lost[0]
            self._found.append(await self._resolve(lost))
            self.settled_nonce = max(self.settled_nonce, lost.nonce)
            del self.lost[0]
        found, self._found = self._found, []
        return found

    async def _resolve(self, lost: Lost) -> OrderReport:
        waited_s, error = 0.0, ""
        patience_s = 0.0 if lost.nonce == self._waited_for else self._terms.resolve_s
        while True:
            try:
                # The clock first: what is looked for after it can't have come later.
                is_past = await self._clock.look() > lost.expires_ms + self._terms.after_window_ms
                at_ms = self._clock.venue_ms
                market, name = self._register.markets[lost.order.instrument], name_of(lost.cloid)
                shown = await self._lookup.by_name(market, name)
                if shown is None and is_past:
                    since_ms = lost.sent_ms - self._terms.after_window_ms
                    shown = await self._lookup.listed(market, since_ms, name)
                if shown is not None:
                    found = self._register.report(shown)
                    report = OrderReport(
                        found.time_ms, found.order_id, lost.order, found.status,
                        min(found.filled_lots, lost.order.lots), found.average_price, found.reason,
                    )  # fmt: skip
                    self._attempts.told([report], Proof.STATUS)
                    return report
                if is_past:
                    why = "expired before it was carried out"
                    self._attempts.ended([lost.cloid], AttemptState.EXPIRED, Proof.EXPIRY, at_ms, why)
                    return rejected(lost.order, at_ms, why)
            except (Refused, Unavailable, DataError) as failure:  # a refused question has no answer
                error = str(failure)
            if waited_s >= patience_s:
                self._waited_for = lost.nonce
                raise OutcomeUnknown(
                    "an order may have been carried out and the venue does not say "
                    f"({error or 'not found, not expired'}); nothing else is sent before it does"
                )
            await self._sleep(self._terms.poll_s)
            waited_s += self._terms.poll_s
