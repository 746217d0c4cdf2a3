"""Two simulated venues side by side as one, and what is said when one of them can't be reached."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.errors import OutcomeUnknown, StateError, Unavailable
from bot.model.attempt import Attempt, AttemptState, Evidence, Proof
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument, MarginTier, simple_instrument
from bot.model.order import Fill, Order, OrderReport, Purpose, Side
from bot.model.panel import Grid, Panel
from bot.venues.joint import NONCES_APART, JointVenue, OwnOutbox
from bot.venues.outbox import MemoryOutbox
from bot.venues.simulated import SimulatedVenue, Terms
from bot.venues.sources import ReplaySource
from bot.venues.venue import AccountState, Condition, Observation

BTC = simple_instrument("BTC", 5, 40)
THERE = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 20),), venue="binance")
FIRST = 473_352


class Fickle(SimulatedVenue):
    """Raises what it is told to, before or after the real thing."""

    def __init__(self, source: ReplaySource, equity_usd: int) -> None:
        super().__init__(source, Terms(Decimal(equity_usd)))
        self.sending: Exception | None = None
        self.looking: Exception | None = None
        self.observing: Exception | None = None

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        if self.sending is not None:
            raise self.sending
        return await super().send(plan)

    async def observe(self) -> Observation | None:
        if self.observing is not None:
            raise self.observing
        return await super().observe()

    async def account(self) -> AccountState:
        if self.looking is not None:
            raise self.looking
        return await super().account()


def source(instrument: Instrument, price: float, first: int, rows: int, **fields: float) -> ReplaySource:
    flat = {name: np.full((rows, 1), price) for name in ("open", "high", "low", "close", "mark")}
    flat |= {
        name: np.full((rows, 1), value)
        for name, value in {"funding_rate": 1e-5, "volume_usd": 1e9, **fields}.items()
    }
    panel = Panel(Grid(FIRST, rows), (instrument.name,), flat)
    return ReplaySource(panel, (instrument,), first, first, {"recorded": instrument.name})


def pair(first: int = 5, other_first: int = 5) -> tuple[JointVenue, Fickle, Fickle]:
    here = Fickle(source(BTC, 100.0, first, 40, open_interest=7.0), 10_000)
    there = Fickle(source(THERE, 101.0, other_first, 40), 5_000)
    return JointVenue({"hyperliquid": here, "binance": there}), here, there


def buy(name: str, lots: int) -> Order:
    return Order(f"a-{name}-entry", name, Side.BUY, lots)


async def started(
    checkpoint: Mapping[str, Any] | None = None, **given: int
) -> tuple[JointVenue, Fickle, Fickle, Panel]:
    venue, here, there = pair(**given)
    return venue, here, there, await venue.open(checkpoint)


def test_markets_and_accounts_stand_side_by_side() -> None:
    async def story() -> None:
        venue, _, _, panel = await started()
        assert panel.instruments == ("BTC", "binance:BTC")
        assert panel.mark.last.tolist() == [100.0, 101.0]
        assert panel.open_interest.last.tolist() == pytest.approx([7.0, np.nan], nan_ok=True)
        await venue.send(OrderPlan((), (buy("BTC", 100_000), buy("binance:BTC", 2_000))))
        account = await venue.account()
        assert account.view.lots.tolist() == [100_000, 2_000]
        assert account.view.wallet_usd is not None
        assert set(account.view.wallet_usd) == {"hyperliquid", "binance"}
        assert sum(account.view.wallet_usd.values()) == pytest.approx(float(account.equity_usd))
        assert account.deposits_usd == 15_000
        # 1 coin of 100 and 2 of 101, a basis point and the impact apart; 0.045 % of it are fees.
        assert float(account.fees_usd) == pytest.approx(302 * 0.00045, rel=2e-3)
        assert (
            account.equity_usd
            == account.deposits_usd + account.price_usd + account.funding_usd - account.fees_usd
        )
        seen = await venue.observe()
        assert seen is not None
        assert seen.row["mark"].tolist() == [100.0, 101.0]
        assert [type(event).__name__ for event in seen.events].count("Fill") == 2
        assert [each.instrument.name for each in seen.account.positions] == ["BTC", "binance:BTC"]

    asyncio.run(story())


def test_an_hour_that_one_has_not_told_yet_is_waited_for() -> None:
    async def story() -> None:
        venue, _, _, panel = await started(first=7, other_first=5)
        assert panel.grid.end_ms == (FIRST + 6) * 3_600_000
        assert not np.isnan(panel.mark.values[-1]).any()
        seen = await venue.observe()
        assert seen is not None
        assert seen.time_ms == (FIRST + 7) * 3_600_000

    asyncio.run(story())


def test_what_one_has_told_is_not_lost_while_another_does_not_answer() -> None:
    async def story() -> None:
        venue, _, there, _ = await started()
        await venue.send(OrderPlan((), (buy("BTC", 100_000),)))
        there.observing = Unavailable("no route")
        with pytest.raises(Unavailable):
            await venue.observe()
        there.observing = None
        seen = await venue.observe()
        assert seen is not None
        assert seen.time_ms == (FIRST + 5) * 3_600_000
        assert "Fill" in [type(event).__name__ for event in seen.events]
        assert not seen.missed

    asyncio.run(story())


def test_what_one_has_told_is_there_before_its_checkpoint_is_asked_for() -> None:
    async def story() -> None:
        venue, _, there, _ = await started()
        await venue.send(OrderPlan((), (buy("BTC", 100_000),)))
        there.observing = Unavailable("no route")
        with pytest.raises(Unavailable):
            await venue.observe()
        told = venue.take_events()  # whoever writes the checkpoint down now has written these down too
        assert "Fill" in [type(event).__name__ for event in told]
        kept = venue.checkpoint()
        again, _, _, _ = await started(kept)
        assert "Fill" not in [type(event).__name__ for event in again.take_events()]
        assert (await again.account()).view.lots.tolist() == [100_000, 0]

    asyncio.run(story())


def test_a_moment_that_was_kept_comes_with_the_newest_word_of_the_account() -> None:
    async def story() -> None:
        venue, _, there, _ = await started()
        there.observing = Unavailable("no route")
        with pytest.raises(Unavailable):
            await venue.observe()
        await venue.send(OrderPlan((), (buy("BTC", 100_000),)))
        account = await venue.account()
        fills = [event for event in venue.take_events() if isinstance(event, Fill)]
        assert [fill.lots for fill in fills] == [100_000]
        there.observing = None
        seen = await venue.observe()
        assert seen is not None
        assert seen.account.view.lots.tolist() == account.view.lots.tolist() == [100_000, 0]
        assert not [event for event in seen.events if isinstance(event, Fill)]

    asyncio.run(story())


def test_an_hour_that_the_first_has_told_is_not_lost_where_its_next_fails() -> None:
    async def story() -> None:
        venue, here, there, _ = await started()
        there_observes, hours = there.observe, 0

        async def two_at_once() -> Observation | None:
            await there_observes()
            return await there_observes()

        async def fails_at_the_second() -> Observation | None:
            nonlocal hours
            hours += 1
            if hours == 2:
                raise Unavailable("no route")
            return await SimulatedVenue.observe(here)

        there.observe = two_at_once  # type: ignore[method-assign]
        here.observe = fails_at_the_second  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await venue.observe()
        there.observe = there_observes  # type: ignore[method-assign]
        seen = await venue.observe()
        assert seen is not None
        ((missed_ms, row),) = seen.missed
        assert missed_ms == (FIRST + 5) * 3_600_000
        assert row["mark"][0] == 100.0

    asyncio.run(story())


def test_what_is_told_while_an_hour_ends_in_the_opening_is_not_lost() -> None:
    async def story() -> None:
        venue, here, there = pair(first=7, other_first=5)
        await there.open(None)
        await there.send(OrderPlan((), (buy("binance:BTC", 2_000),)))
        opened = there.open
        there.open = lambda checkpoint: _given(there)  # type: ignore[method-assign]
        await venue.open(None)
        assert "Fill" in [type(event).__name__ for event in venue.take_events()]
        assert opened is not None
        assert here is not there

    asyncio.run(story())


async def _given(venue: SimulatedVenue) -> Panel:
    """The history, of an account that is open already."""
    return venue._source.begin({"time_ms": (FIRST + 5) * 3_600_000})


def test_it_goes_on_from_its_checkpoint() -> None:
    async def story() -> None:
        venue, _, _, _ = await started()
        await venue.send(OrderPlan((), (buy("binance:BTC", 2_000),)))
        venue.take_events()
        saved, before = venue.checkpoint(), await venue.account()
        again, _, _, _ = await started(saved)
        after = await again.account()
        assert after.equity_usd == before.equity_usd
        assert after.view.lots.tolist() == [0, 2_000]
        with pytest.raises(StateError, match="other venues"):
            await JointVenue({"hyperliquid": again}).open(saved)

    asyncio.run(story())


def test_a_venue_that_is_down_is_counted_as_last_seen_and_named() -> None:
    async def story() -> None:
        venue, here, there, _ = await started()
        await venue.account()
        there.sending = there.looking = Unavailable("no route")
        with pytest.raises(Unavailable):
            await venue.send(OrderPlan((), (buy("BTC", 100_000), buy("binance:BTC", 2_000))))
        account = await venue.account()
        assert account.stale == ("binance",)
        assert account.view.lots.tolist() == [100_000, 0]  # the other's order was carried out all the same
        here.looking = Unavailable("no route either")
        with pytest.raises(Unavailable):
            await venue.account()

    asyncio.run(story())


def test_a_venue_that_does_not_say_what_became_of_an_order_bars_no_look_at_the_others() -> None:
    async def story() -> None:
        venue, here, there, _ = await started()
        await venue.account()
        there.sending = there.looking = OutcomeUnknown("no answer within 60 s")
        with pytest.raises(OutcomeUnknown):
            await venue.send(OrderPlan((), (buy("BTC", 100_000), buy("binance:BTC", 2_000))))
        account = await venue.account()
        assert account.stale == ("binance",)
        assert account.view.lots.tolist() == [100_000, 0]
        here.looking = Unavailable("no route")
        with pytest.raises(OutcomeUnknown):
            await venue.account()

    asyncio.run(story())


def test_what_may_have_happened_weighs_more_than_what_has_not() -> None:
    async def story() -> None:
        venue, here, there, _ = await started()
        here.sending, there.sending = Unavailable("a"), OutcomeUnknown("b")
        with pytest.raises(OutcomeUnknown):
            await venue.send(OrderPlan((), (buy("BTC", 1_000_000), buy("binance:BTC", 2_000))))
        here.looking, there.looking = Unavailable("a"), OutcomeUnknown("b")
        with pytest.raises(OutcomeUnknown):
            await venue.account()

    asyncio.run(story())


def test_one_outbox_serves_several_venues() -> None:
    def attempt(name: str, nonce: int) -> Attempt:
        return Attempt(
            f"c-{name}", f"a-{name}-entry", "a", name, Side.BUY, 5, "100", False, Purpose.ENTRY, nonce, None, "00", nonce
        )  # fmt: skip

    shared = MemoryOutbox()
    ours, theirs = OwnOutbox(shared, ["BTC"], 0), OwnOutbox(shared, ["binance:BTC"], 1)
    ours.write([attempt("BTC", 1000)])
    theirs.write([attempt("binance:BTC", 1000)])  # in the same millisecond
    assert [each.nonce for each in shared.open_attempts()] == [1000, 1000 + NONCES_APART]
    for each, name in ((ours, "BTC"), (theirs, "binance:BTC")):
        assert [(found.coin, found.nonce) for found in each.open_attempts()] == [(name, 1000)]
        assert [found.coin for found in each.since(1000)] == [name]
        assert not each.since(1001)
        assert each.attempt(f"c-{name}") is not None
        assert len(each.attempts_of(f"a-{name}-entry")) == 1
    assert ours.attempt("c-binance:BTC") is None
    theirs.move("c-binance:BTC", AttemptState.ACKED, Evidence(Proof.REPLY, 1001, order_id=4))
    assert [found.coin for found in shared.open_attempts()] == ["BTC", "binance:BTC"]


def test_two_of_one_name_are_refused() -> None:
    _, here, _ = pair()
    with pytest.raises(ValueError, match="named BTC"):
        JointVenue({"a": here, "b": here})


def test_the_condition_is_the_worst_of_all() -> None:
    class Told(Fickle):
        said = Condition()

        async def condition(self) -> Condition:
            return self.said

    async def story() -> None:
        here = Told(source(BTC, 100.0, 5, 40), 10_000)
        there = Told(source(THERE, 101.0, 5, 40), 5_000)
        venue = JointVenue({"hyperliquid": here, "binance": there})
        assert await venue.condition() == Condition()
        here.said = Condition(agent_left_days=9.0, clock_offset_s=1.0, agent_warning="soon")
        there.said = Condition(
            "no key", agent_left_days=3.0, clock_offset_s=-4.0, twin="another", has_traded=True
        )
        told = await venue.condition()
        assert told.signer_problem == "binance: no key"
        assert (told.agent_left_days, told.clock_offset_s) == (3.0, -4.0)
        assert (told.agent_warning, told.twin) == ("hyperliquid: soon", "binance: another")
        assert told.has_traded

    asyncio.run(story())


def test_funding_of_both_is_added_up() -> None:
    async def story() -> None:
        venue, here, there, _ = await started()
        await venue.send(OrderPlan((), (buy("BTC", 100_000), buy("binance:BTC", 2_000))))
        await venue.observe()
        total = await venue.account()
        each = [await here.account(), await there.account()]
        assert all(one.funding_usd < 0 for one in each)
        assert total.funding_usd == sum(one.funding_usd for one in each)
        assert total.cash_usd == sum(one.cash_usd for one in each)

    asyncio.run(story())
