"""When a schedule gives a sign of life, and when it is right that it gives none."""

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from bot.errors import StateError
from bot.journal.pulse import Beat, Pulse, heard
from bot.trader import schedule as module
from bot.trader.schedule import LONGEST_WORK_S, Schedule
from bot.trader.trader import Trader
from tests.trader.test_schedule import FakeTrader


@pytest.fixture
def pulse(tmp_path: Path) -> Pulse:
    return Pulse(tmp_path / "journal.sqlite")


def ran(trader: FakeTrader, pulse: Pulse, cycles: int | None = 3) -> Beat | None:
    """The last sign of a run."""
    asyncio.run(Schedule(cycles, pulse).run(cast("Trader", trader)))
    return heard(pulse.path)


def test_a_run_that_ends_in_order_says_so(pulse: Pulse) -> None:
    beat = ran(FakeTrader(), pulse)
    assert beat is not None
    assert beat.ended
    assert beat.number >= 2


def test_one_that_ends_by_an_error_does_not(pulse: Pulse) -> None:
    trader = FakeTrader()
    trader.troubles = [StateError("the disk failed")]
    with pytest.raises(StateError):
        ran(trader, pulse)
    beat = heard(pulse.path)
    assert beat is not None
    assert not beat.ended


def test_one_that_does_not_come_to_its_start_gives_none(pulse: Pulse) -> None:
    class Broken(FakeTrader):
        async def start(self) -> None:
            raise StateError("another journal")

    with pytest.raises(StateError):
        ran(Broken(), pulse)
    assert heard(pulse.path) is None


def test_signs_go_on_between_two_cycles_that_lie_far_apart(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    trader = FakeTrader(moments=0)

    async def watched() -> None:
        schedule = Schedule(None, pulse)
        running = asyncio.ensure_future(schedule.run(cast("Trader", trader)))
        while (beat := heard(pulse.path)) is None or beat.number < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        trader.over = True
        schedule.stop()
        await running

    asyncio.run(asyncio.wait_for(watched(), 30))
    assert "cycle" not in trader.calls


def test_whoever_is_stuck_in_a_cycle_gives_none(pulse: Pulse) -> None:
    schedule = at_work(pulse, FakeTrader())
    asyncio.run(schedule._beat())
    before = heard(pulse.path)
    assert schedule._busy_since_s is not None
    schedule._busy_since_s -= LONGEST_WORK_S + 1
    asyncio.run(schedule._beat())
    assert heard(pulse.path) == before is not None


def test_a_cycle_that_takes_long_is_not_stuck_as_long_as_the_account_is_looked_at(pulse: Pulse) -> None:
    """As legs are, piece by piece, where the venue takes few requests a minute."""
    trader = FakeTrader()
    schedule = at_work(pulse, trader)
    for number in (1, 2, 3):
        assert schedule._busy_since_s is not None
        schedule._busy_since_s -= LONGEST_WORK_S + 1
        trader.account = object()
        asyncio.run(schedule._beat())
        beat = heard(pulse.path)
        assert beat is not None
        assert beat.number == number


def at_work(pulse: Pulse, trader: FakeTrader) -> Schedule:
    schedule = Schedule(None, pulse)
    schedule._trader = cast("Trader", trader)
    schedule._busy_since_s = time.monotonic()
    return schedule


def test_a_sign_that_can_not_be_written_is_told_once_and_ends_nothing(pulse: Pulse) -> None:
    pulse.path.mkdir()
    with capture_logs() as said:
        ran(FakeTrader(), pulse)
    assert [each["event"] for each in said if "sign of life" in each["event"]] == [
        "no sign of life can be given; a guard would act"
    ]
