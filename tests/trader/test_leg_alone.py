"""What is written down and said of a leg that stands alone: while its venue is silent, and when the daemon ends."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.errors import Unavailable
from bot.journal.journal import Journal
from bot.journal.reader import read
from bot.journal.verify import verify
from bot.model.decision import OrderPlan
from bot.model.order import OrderReport
from bot.model.panel import HOUR_MS
from bot.venues.venue import AccountState
from tests.trader.two_legs import SPREAD, THERE, Faults, TwoLegs, live, mandate, market


@pytest.mark.parametrize("hours", [1, 3])
def test_a_leg_that_is_taken_after_an_hour_has_ended_is_booked_before_that_hours_row(
    tmp_path: Path, hours: int
) -> None:
    # The next hour has ended and was not looked at yet, as where one of two venues tells of it late.
    venue = TwoLegs(market(), Faults())

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 3)
        now, hour_ms = venue.account, trader.time_ms

        async def late() -> AccountState:
            return replace(await now(), time_ms=hour_ms + hours * HOUR_MS + 1)

        venue.take_away(THERE.name)
        venue.account = late  # type: ignore[method-assign]
        await trader.watch()
        cycles = trader.cycles
        await trader.cycle()
        assert (trader.cycles, venue._ready().lots.tolist()) == (cycles, [0, 0])
        venue.account = now  # type: ignore[method-assign]
        for _ in range(hours - 1):  # of these nothing is told any more
            await venue.observe()
        await trader.cycle()
        assert trader.time_ms == hour_ms + hours * HOUR_MS
        with read(tmp_path / "j") as reader:
            told = [row["time_ms"] for row in reader.each("SELECT time_ms FROM equity ORDER BY time_ms")]
        assert told[-2:] == [hour_ms + max(1, hours - 1) * HOUR_MS - 1, trader.time_ms]

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
    with read(tmp_path / "j") as reader:
        assert verify(reader)["differences"] == []


def test_a_leg_that_stands_alone_while_its_venue_is_silent_is_said_once_and_when_the_daemon_ends(
    tmp_path: Path,
) -> None:
    venue = TwoLegs(market(), Faults())
    silent, decisions = False, list[int]()

    async def account() -> AccountState:
        return replace(await TwoLegs.account(venue), stale=(THERE.venue,) if silent else ())

    async def story(journal: Journal) -> None:
        nonlocal silent
        trader = await live(journal, venue, mandate(-1.0), 0)
        venue.account = account  # type: ignore[method-assign]
        real = venue.send

        async def first_leg_alone(plan: OrderPlan) -> Sequence[OrderReport]:
            nonlocal silent
            if silent and plan.orders:
                raise Unavailable("the venue does not answer")
            silent = silent or bool(plan.orders)
            return await real(plan)

        venue.send = first_leg_alone  # type: ignore[method-assign]
        for _ in range(6):
            await trader.watch()
            with pytest.raises(Unavailable, match="binance can't be asked"):
                await trader.cycle()
        trader.end()
        with read(tmp_path / "j") as reader:
            decisions.append(len(list(reader.each("SELECT id FROM decision"))))
        silent, venue.send = False, real  # type: ignore[method-assign]
        for _ in range(2):
            await trader.cycle()
        assert SPREAD.unhedged(*venue._ready().lots.tolist()) == 0

    with capture_logs() as said, Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
    told = [(each["usd"], each["because"]) for each in said if each["event"] == "legs uneven"]
    assert told == [("4,000.00", "binance can't be asked"), ("4,000.00", "the daemon ends")]
    assert not [each for each in said if each["event"] == "legs left as they are"]
    # What that venue's part is worth now nobody knows, so that the equity told is none of one moment.
    assert [each["as_last_seen"] for each in said if each["event"] == "standing"] == ["binance"]
    assert decisions == [
        1
    ]  # while nothing can be done nothing is decided, and nothing held against what is not seen
    assert not [each for each in said if each["event"] == "books differ from the venue's"]
    with read(tmp_path / "j") as reader:
        assert verify(reader)["differences"] == []


def test_a_daemon_that_ends_without_knowing_what_became_of_a_leg_says_so(tmp_path: Path) -> None:
    venue = TwoLegs(market(), Faults({1: "blind 9"}))

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 1)
        trader.end()

    with capture_logs() as said, Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
    assert [each["log_level"] for each in said if each["event"] == "legs may be uneven"] == ["error"]
