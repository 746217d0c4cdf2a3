"""What a guard does at the venue: cancels, and orders that can only reduce. What became of each is said and noted.

A body is sent at most once. Where its outcome is not known, nothing more is placed before the venue's clock is past the
moment at which it could still be carried out, and then the account is looked at anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import structlog

from bot.errors import DataError, OutcomeUnknown, Unavailable, VenueError
from bot.guard.notes import Notes
from bot.guard.scene import MARK, Scene
from bot.model.decision import Cancel
from bot.model.instrument import Instrument
from bot.model.order import Order, OrderStatus
from bot.text import plain
from bot.venues.hyperliquid import parse_orders, signing
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.orders import to_sign
from bot.venues.hyperliquid.sending import AFTER_EXPIRY_MS
from bot.venues.hyperliquid.signing import LARGEST_BATCH, Facts, NotSigned, Signs
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")

EXPIRES_S: Final = 15.0


class Hands:
    """One account's."""

    def __init__(
        self,
        whose: tuple[str, str],
        client: Client,
        signs: Signs,
        clock: VenueClock,
        instruments: Sequence[Instrument],
        notes: Notes,
    ) -> None:
        """`whose` are network and account."""
        self._whose, self._client, self._signs, self._clock = whose, client, signs, clock
        self._instruments = {instrument.name: instrument for instrument in instruments}
        self._notes = notes

    async def inform(self, scene: Scene, prices: Mapping[str, Decimal]) -> int:
        """Tell the signer what is so now; the venue's time."""
        now_ms = await self._clock.look()
        told = {coin: plain(prices[coin]) for coin in self._instruments if coin in prices}
        self._signs.tell(
            Facts(now_ms, now_ms, told, scene.holdings, len(scene.account.open_orders), through_nonce=0)
        )
        return now_ms

    async def withdraw(self, cancels: Sequence[Cancel], now_ms: int) -> None:
        """Cancel orders. VenueError where that did not go through, or is not known to have."""
        for start in range(0, len(cancels), LARGEST_BATCH):
            batch = cancels[start : start + LARGEST_BATCH]
            for each in batch:
                self._notes.step(now_ms, "withdraws", coin=each.instrument, order=each.order_id)
            self._notes.save()
            await self._client.make_room(len(batch), urgent=True)
            signed = self._signs.cancel([(each.instrument, each.order_id) for each in batch])
            reasons = parse_orders.canceled(await self._client.exchange(signed.body), len(batch))
            for each, reason in zip(batch, reasons, strict=True):
                log.warning(
                    "guard withdrew an order",
                    coin=each.instrument,
                    order=each.order_id,
                    because=each.because,
                    refused=reason,
                )

    async def place(self, orders: Sequence[Order], prices: Mapping[str, Decimal], now_ms: int) -> None:
        """Place orders, all of which only reduce. VenueError where that did not go through, or is not known to have."""
        assert all(order.reduce_only for order in orders)
        if now_ms < self._notes.hold_until_ms:
            raise Unavailable(
                f"what was sent before may still be carried out for {(self._notes.hold_until_ms - now_ms) / 1000:.0f} s"
            )
        priced = [order for order in orders if order.instrument in prices]
        for start in range(0, len(priced), LARGEST_BATCH):
            await self._batch(list(priced[start : start + LARGEST_BATCH]), prices, now_ms)
        # After the others, which it must not keep from theirs.
        if unpriced := sorted({order.instrument for order in orders} - prices.keys()):
            raise Unavailable(f"no price is known for {', '.join(unpriced)}: nothing was placed there")

    async def _batch(self, orders: list[Order], prices: Mapping[str, Decimal], now_ms: int) -> None:
        denied: list[str] = []
        while orders:
            wire = [self._wire(order, prices) for order in orders]
            await self._client.make_room(len(orders), urgent=True)
            try:
                signed = self._signs.order(wire, self._expires_in_ms())
            except NotSigned as refusal:
                if refusal.index is None or refusal.index >= len(orders):
                    raise
                order = orders.pop(refusal.index)
                denied.append(f"{order.instrument}: {refusal}")
                continue
            for each in wire:
                self._notes.step(now_ms, "places", coin=each.coin, side=each.side, size=each.size,
                                 trigger=each.trigger and each.trigger.price, cloid=each.cloid)  # fmt: skip
            # Before it leaves: where this process dies now, the next one waits as if there had been no answer.
            self._notes.hold_until_ms = (signed.expires_after_ms or now_ms) + AFTER_EXPIRY_MS
            self._notes.save()
            await self._send(signed, orders)
            break
        if denied:
            raise Unavailable(f"the guard's signer refused {'; '.join(denied)}")

    async def _send(self, signed: signing.Signed, orders: Sequence[Order]) -> None:
        try:
            told = parse_orders.placed(await self._client.exchange(signed.body), len(orders))
        except (OutcomeUnknown, DataError):
            raise
        except VenueError:
            self._answered()
            raise
        self._answered()
        refused = []
        for order, placed in zip(orders, told, strict=True):
            log.warning(
                "guard placed a stop" if order.trigger is not None else "guard placed an order to close",
                coin=order.instrument,
                side=order.side.value,
                lots=order.lots,
                at=None if order.trigger is None else str(order.trigger.price),
                status=placed.status.value,
                filled=str(placed.filled),
                order=placed.order_id,
                refused=placed.reason,
            )
            if placed.status is OrderStatus.REJECTED:
                refused.append(f"{order.instrument}: {placed.reason}")
        if refused:
            raise Unavailable(f"the venue refused {'; '.join(refused)}")

    def _answered(self) -> None:
        self._notes.hold_until_ms = 0
        self._notes.save()

    def _wire(self, order: Order, prices: Mapping[str, Decimal]) -> signing.Order:
        self._notes.sent += 1
        told = "\0".join((*self._whose, order.client_id, str(self._notes.sent)))
        cloid = f"0x{MARK}{self._notes.sent % (1 << 32):08x}{hashlib.sha256(told.encode()).hexdigest()[:20]}"
        return to_sign(order, self._instruments[order.instrument], prices[order.instrument], cloid)

    def _expires_in_ms(self) -> int:
        # Nothing but a simulated venue's time runs at a speed of its own.
        speed = self._clock.speed if self._whose[0] == "devnet" else 1.0
        shortest_ms, longest_ms = self._signs.pinned().expires_ms
        return max(shortest_ms, min(int(EXPIRES_S * 1000 * speed), longest_ms))
