"""What the outbox holds of every attempt after each thing that can become of it: its state, and how that is known."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from bot.errors import OutcomeUnknown
from bot.model.attempt import Attempt, AttemptState, Proof
from bot.model.decision import Cancel, OrderPlan
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side, TimeInForce
from bot.venues.attempts import EPOCHS, MARK, cloid_of, epoch_of
from bot.venues.hyperliquid import client as http
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.sending import AFTER_EXPIRY_MS
from bot.venues.outbox import MemoryOutbox
from tests.venues.hyperliquid.fake import FakeVenue, serving
from tests.venues.hyperliquid.sdk_signer import SdkSigns
from tests.venues.hyperliquid.test_adapter import ASSETS, BUY, STOP, reports, terms_of

S = AttemptState
EXPIRES_MS = 15_000
REST = replace(BUY, client_id="d1-BTC-rest", time_in_force=TimeInForce.GTC, limit_price=Decimal(49_000))


class Desk:
    """A venue, its account's outbox, and the adapters that come and go between the two."""

    def __init__(self, venue: FakeVenue, signs: SdkSigns) -> None:
        self.venue, self.signs = venue, signs
        self.outbox = MemoryOutbox(epoch=3)
        self.adapter: HyperliquidVenue

    async def start(self, checkpoint: Any = None) -> HyperliquidVenue:
        """A run's start, after the end of the one before."""
        self.adapter = await HyperliquidVenue.connect(terms_of(self.venue), self.signs, self.outbox)
        await self.adapter.open(checkpoint)
        return self.adapter

    async def send(self, *orders: Order) -> list[OrderReport]:
        return list(await self.adapter.send(OrderPlan(orders=orders)))

    def known(self, order: Order = BUY) -> tuple[AttemptState, Proof, int]:
        """State, proof and filled lots of the only attempt to place an order."""
        (attempt,) = self.outbox.attempts_of(order.client_id)
        return told(attempt)

    def orders_sent(self) -> int:
        return sum(
            request["path"] == "/exchange" and request["action"]["type"] == "order"
            for request in self.venue.requests
        )


def told(attempt: Attempt) -> tuple[AttemptState, Proof, int]:
    assert attempt.evidence is not None
    return attempt.state, attempt.evidence.proof, attempt.filled_lots


def play(scene: Callable[[Desk], Awaitable[None]]) -> None:
    signs = SdkSigns(ASSETS)
    venue = FakeVenue(signs.address)
    desk = Desk(venue, signs)

    async def run() -> None:
        async with serving(venue):
            await desk.start()
            try:
                await scene(desk)
            finally:
                await desk.adapter.close()

    asyncio.run(run())


# What the venue's answer says


def test_what_fills_at_once_is_known_by_the_reply() -> None:
    async def scene(desk: Desk) -> None:
        (report,) = await desk.send(BUY)
        assert desk.known() == (S.FILLED, Proof.REPLY, 2_000)
        (attempt,) = desk.outbox.attempts_of(BUY.client_id)
        assert attempt.evidence is not None
        assert attempt.evidence.order_id == report.order_id
        assert desk.outbox.open_attempts() == []

    play(scene)


def test_an_attempt_is_written_as_it_was_signed_before_it_leaves() -> None:
    async def scene(desk: Desk) -> None:
        seen: list[tuple[Attempt, ...]] = []

        def answered(asked: dict[str, Any], reply: Any) -> None:
            if asked.get("action", {}).get("type") == "order":
                seen.append(tuple(desk.outbox.open_attempts()))

        desk.venue.answered = answered
        await desk.send(BUY)
        ((attempt,),) = seen
        body = next(r for r in desk.venue.requests if r.get("action", {}).get("type") == "order")
        (wire,) = body["action"]["orders"]
        assert (attempt.state, attempt.evidence, attempt.epoch) == (S.SENT, None, 3)
        assert (attempt.cloid, attempt.price, attempt.nonce) == (wire["c"], wire["p"], body["nonce"])
        assert attempt.expires_ms == body["expiresAfter"] == desk.venue.now_ms + EXPIRES_MS
        assert (attempt.client_id, attempt.decision_id, attempt.coin) == (BUY.client_id, "d1", "BTC")
        assert (attempt.side, attempt.lots, attempt.reduce_only, attempt.purpose) == (
            Side.BUY,
            2_000,
            False,
            Purpose.ENTRY,
        )

    play(scene)


def test_what_rests_is_acked_until_it_is_cancelled() -> None:
    async def scene(desk: Desk) -> None:
        (report,) = await desk.send(REST)
        assert desk.known(REST) == (S.ACKED, Proof.REPLY, 0)
        assert [each.client_id for each in desk.outbox.open_attempts()] == [REST.client_id]
        await desk.adapter.account()
        assert desk.known(REST) == (S.ACKED, Proof.REPLY, 0)
        await desk.adapter.send(OrderPlan((Cancel(report.order_id, REST.client_id, "BTC", "moved"),)))
        assert desk.known(REST) == (S.CANCELED, Proof.STATUS, 0)
        assert desk.outbox.open_attempts() == []

    play(scene)


def test_what_takes_a_part_and_cant_have_the_rest_is_cancelled_with_that_part() -> None:
    async def scene(desk: Desk) -> None:
        place = desk.venue.place

        def half(wire: dict[str, Any]) -> Any:
            size = Decimal(wire["s"]) / 4
            answer = place({**wire, "s": str(size)})
            desk.venue.orders[desk.venue.oid] |= {"origSz": wire["s"], "sz": "0.0"}
            desk.venue.statuses[desk.venue.oid] = "iocCancelRejected"
            return answer

        desk.venue.place = half  # type: ignore[method-assign]
        (report,) = await desk.send(BUY)
        assert (report.status, report.filled_lots) == (OrderStatus.CANCELED, 500)
        assert desk.known() == (S.CANCELED, Proof.REPLY, 500)

    play(scene)


def test_one_refused_order_of_a_batch_is_rejected_by_the_reply_and_the_other_is_not() -> None:
    async def scene(desk: Desk) -> None:
        small = replace(BUY, client_id="d1-ETH-entry", instrument="ETH", lots=10)  # $2.50
        await desk.send(small, BUY)
        assert desk.known(small) == (S.REJECTED, Proof.REPLY, 0)
        assert desk.known() == (S.FILLED, Proof.REPLY, 2_000)
        one, other = (desk.outbox.attempts_of(each.client_id)[0] for each in (small, BUY))
        assert (one.nonce, one.body_sha256) == (other.nonce, other.body_sha256)
        assert one.cloid != other.cloid
        assert one.evidence is not None
        assert "minimum value of $10" in one.evidence.detail

    play(scene)


def test_an_action_that_the_venue_could_not_read_is_rejected_by_the_reply() -> None:
    async def scene(desk: Desk) -> None:
        desk.venue.faults["/exchange"].extend(["", "422"])
        (report,) = await desk.send(BUY)
        assert report.status is OrderStatus.REJECTED
        assert desk.known() == (S.REJECTED, Proof.REPLY, 0)

    play(scene)


def test_what_the_signer_forbids_leaves_no_attempt() -> None:
    async def scene(desk: Desk) -> None:
        desk.signs.denied = {"BTC"}
        await desk.send(BUY)
        assert desk.outbox.attempts_of(BUY.client_id) == []
        desk.signs.denied = set()
        await desk.send(BUY)
        assert desk.known() == (S.FILLED, Proof.REPLY, 2_000)

    play(scene)


# What never left, and what was sent before


def test_what_did_not_leave_may_be_sent_again_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(replace(BUY, client_id="d0-BTC-entry"))  # leverage is set
        post = http.Client._post

        async def refused(self: http.Client, path: str, body: Any) -> tuple[int, bytes]:
            if path == "/exchange":
                # What a connection to a port where nobody listens ends with, a real one.
                async with aiohttp.ClientSession() as session, session.post(nobody, data=body):
                    pass
            return await post(self, path, body)

        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        nobody = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await server.wait_closed()
        with monkeypatch.context() as patched:
            patched.setattr(http.Client, "_post", refused)
            (report,) = await desk.send(BUY)
        assert report.status is OrderStatus.REJECTED
        assert report.reason.startswith("not sent: ")
        assert desk.known() == (S.REJECTED, Proof.NOT_SENT, 0)
        (again,) = await desk.send(BUY)
        assert again.status is OrderStatus.FILLED
        first, second = desk.outbox.attempts_of(BUY.client_id)
        assert told(first) == (S.REJECTED, Proof.NOT_SENT, 0)
        assert told(second) == (S.FILLED, Proof.REPLY, 2_000)
        names = [cloid_of("devnet", desk.venue.account, BUY.client_id, number, 3) for number in (1, 2)]
        assert [first.cloid, second.cloid] == names
        assert len(set(names)) == 2

    play(scene)


@pytest.mark.parametrize("order", [BUY, REST])
def test_an_order_that_was_sent_before_leaves_no_second_attempt(order: Order) -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(order)
        before = list(desk.outbox.attempts_of(order.client_id))
        (again,) = await desk.send(order)
        assert (again.status, again.reason) == (OrderStatus.REJECTED, "sent before")
        assert desk.outbox.attempts_of(order.client_id) == before
        assert desk.orders_sent() == 1

    play(scene)


def test_one_that_the_venue_rejected_is_not_sent_again_either() -> None:
    async def scene(desk: Desk) -> None:
        small = replace(BUY, lots=10)
        await desk.send(small)
        (again,) = await desk.send(small)
        assert again.reason == "sent before"
        assert desk.known() == (S.REJECTED, Proof.REPLY, 0)

    play(scene)


# What got lost


@pytest.mark.parametrize("fault", ["502 after", "cut after", "html"])
def test_what_was_carried_out_though_its_reply_was_lost_is_known_by_its_status(fault: str) -> None:
    async def scene(desk: Desk) -> None:
        desk.venue.faults["/exchange"].extend(["", fault])
        await desk.send(BUY)
        assert desk.known() == (S.FILLED, Proof.STATUS, 2_000)

    play(scene)


def test_what_rests_though_its_reply_was_lost_is_acked_by_its_status() -> None:
    async def scene(desk: Desk) -> None:
        desk.venue.faults["/exchange"].extend(["", "502 after"])
        (report,) = await desk.send(REST)
        assert report.status is OrderStatus.RESTING
        assert desk.known(REST) == (S.ACKED, Proof.STATUS, 0)

    play(scene)


def test_what_never_arrived_is_fenced() -> None:
    async def scene(desk: Desk) -> None:
        desk.venue.faults["/exchange"].extend(["", "502 before"])
        await desk.send(BUY)
        assert desk.known() == (S.FENCED, Proof.FENCE, 0)
        (again,) = await desk.send(BUY)
        assert again.reason == "sent before"

    play(scene)


def test_what_can_be_neither_found_nor_fenced_is_unknown_until_well_past_its_expiry() -> None:
    async def scene(desk: Desk) -> None:
        desk.venue.faults["/exchange"].extend(["", *["502 before"] * 1_000])
        with pytest.raises(OutcomeUnknown):
            await desk.send(BUY)
        assert desk.known() == (S.UNKNOWN, Proof.NO_ANSWER, 0)
        (attempt,) = desk.outbox.attempts_of(BUY.client_id)
        assert attempt.expires_ms == desk.venue.now_ms + EXPIRES_MS
        desk.venue.now_ms += EXPIRES_MS + AFTER_EXPIRY_MS
        with pytest.raises(OutcomeUnknown):
            await desk.adapter.account()
        assert desk.known() == (S.UNKNOWN, Proof.NO_ANSWER, 0)
        desk.venue.now_ms += 1
        await desk.adapter.account()
        assert desk.known() == (S.EXPIRED, Proof.EXPIRY, 0)

    play(scene)


def test_nothing_else_is_sent_while_an_outcome_is_unknown() -> None:
    async def scene(desk: Desk) -> None:
        desk.venue.faults["/exchange"].extend(["", *["502 before"] * 1_000])
        other = replace(BUY, client_id="d2-BTC-entry")
        for order in (BUY, other):
            with pytest.raises(OutcomeUnknown):
                await desk.send(order)
        assert desk.outbox.attempts_of(other.client_id) == []
        assert desk.orders_sent() == 1

    play(scene)


# Over a restart


def test_what_was_sent_when_the_run_ended_is_taken_up_and_resolved_before_anything_else() -> None:
    async def scene(desk: Desk) -> None:
        saved = desk.adapter.checkpoint()

        def dies(asked: dict[str, Any], reply: Any) -> None:
            if asked.get("action", {}).get("type") == "order":
                # The record as a killed run leaves it: sent, and not a word of what came of it.
                (sent,) = desk.outbox.open_attempts()
                assert sent.state is S.SENT
                left.append(sent)

        left: list[Attempt] = []
        desk.venue.answered = dies
        await desk.send(BUY)
        await desk.adapter.close()
        desk.venue.answered = lambda asked, reply: None
        desk.outbox = MemoryOutbox(epoch=4)
        desk.outbox._attempts = {left[0].cloid: left[0]}
        desk.venue.faults["/exchange"].extend(["502 before"] * 1_000)
        desk.venue.hidden = 1_000
        with pytest.raises(OutcomeUnknown):
            await desk.start(saved)
        assert desk.known() == (S.UNKNOWN, Proof.NO_ANSWER, 0)
        await desk.adapter.close()

        desk.venue.faults["/exchange"].clear()
        desk.venue.hidden = 0
        before = desk.orders_sent()
        await desk.start(saved)
        assert desk.known() == (S.FILLED, Proof.STATUS, 2_000)
        assert desk.orders_sent() == before
        (report,) = [
            each for each in reports(desk.adapter.take_events()) if each.order.client_id == BUY.client_id
        ]
        assert (report.status, report.filled_lots) == (OrderStatus.FILLED, 2_000)
        (again,) = await desk.send(BUY)
        assert again.reason == "sent before"

    play(scene)


def test_a_stop_that_fired_while_nobody_looked_is_filled_by_its_status() -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(BUY)
        (stop,) = await desk.send(STOP)
        assert desk.known(STOP) == (S.ACKED, Proof.REPLY, 0)
        saved = desk.adapter.checkpoint()
        await desk.adapter.close()
        desk.venue.now_ms += 1_000
        desk.venue.fire(stop.order_id)
        await desk.start(saved)
        assert desk.known(STOP) == (S.FILLED, Proof.STATUS, 2_000)

    play(scene)


def test_a_stop_is_found_by_the_record_even_where_the_checkpoint_is_older_than_it() -> None:
    async def scene(desk: Desk) -> None:
        await desk.send(BUY)
        saved = desk.adapter.checkpoint()
        (stop,) = await desk.send(STOP)
        await desk.adapter.close()
        desk.venue.now_ms += 1_000
        desk.venue.fire(stop.order_id)
        await desk.start(saved)
        assert desk.known(STOP) == (S.FILLED, Proof.STATUS, 2_000)
        (ended,) = [r for r in reports(desk.adapter.take_events()) if r.order.client_id == STOP.client_id]
        assert (ended.order.purpose, ended.status) == (Purpose.STOP, OrderStatus.FILLED)

    play(scene)


# Names


def test_a_cloid_is_worked_out_again_and_tells_its_epoch() -> None:
    # The first 24 digits of SHA-256 of "devnet\\0" "0xabc\\0" "d1-BTC-entry\\0" "1".
    digest = "b2570167e807a296cdbcc477"
    assert cloid_of("devnet", "0xABC", "d1-BTC-entry", 1, 3) == f"0x{MARK}0003{digest}"
    assert epoch_of(f"0x{MARK}0003{digest}") == 3
    assert epoch_of(cloid_of("devnet", "0xabc", "x", 1, EPOCHS - 1)) == EPOCHS - 1
    assert epoch_of(cloid_of("devnet", "0xabc", "x", 1, EPOCHS + 7)) == 7  # it counts on from 0
    assert epoch_of("0x" + "ab" * 16) is None
    assert epoch_of(None) is None


def test_every_part_of_an_attempt_changes_its_cloid() -> None:
    names = {
        cloid_of(*each)
        for each in (
            ("devnet", "0xabc", "d1-BTC-entry", 1, 3),
            ("testnet", "0xabc", "d1-BTC-entry", 1, 3),
            ("devnet", "0xabd", "d1-BTC-entry", 1, 3),
            ("devnet", "0xabc", "d2-BTC-entry", 1, 3),
            ("devnet", "0xabc", "d1-BTC-entry", 2, 3),
            ("devnet", "0xabc", "d1-BTC-entry", 1, 4),
        )
    }
    assert len(names) == 6
    assert {len(each) for each in names} == {34}
