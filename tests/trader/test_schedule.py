"""What keeps a trader cycling, with a trader that only says what was asked of it; nothing here depends on the clock."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from bot.errors import Refused, StateError, Unavailable
from bot.trader import schedule as module
from bot.trader.schedule import Schedule
from bot.trader.trader import Trader

LONG_S = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(module, "LONGEST_RETRY_S", 0.006)
    monkeypatch.setattr(module, "COMMANDS_S", 0.02)


class FakeTrader:
    """A market whose next moment comes when `moments` says so, and a list of what was called."""

    is_to_finish = False
    account: object = None

    watch_s = 15.0

    def __init__(self, moments: int = 1_000) -> None:
        self.calls: list[str] = []
        self.pairs = SimpleNamespace(is_ending=False)
        self.cycles = 0
        self.pause_s: float | None = None
        self.moments = moments  # after these, due() waits for ever
        self.command = False
        self.waits = asyncio.Event()  # due() is waiting
        self.has_failed = asyncio.Event()
        self.troubles: list[BaseException] = []  # each raised by one cycle
        self.due_trouble: BaseException | None = None
        self.start_waits = False
        self.over = False  # what is cancelled from now on was left behind by the run
        self.last = False  # the recording ends with the next cycle
        self.on_cycle: Callable[[], None] = lambda: None
        self.on_obey: Callable[[], None] = lambda: None

    async def start(self) -> None:
        self.calls.append("start")
        if self.start_waits:
            await self._for_ever("start")

    async def due(self) -> None:
        if self.due_trouble is not None:
            error, self.due_trouble = self.due_trouble, None
            raise error
        if self.moments <= 0:
            await self._for_ever("due")
        for _ in range(10):  # a venue never answers at once
            await asyncio.sleep(0)
        self.moments -= 1

    async def _for_ever(self, what: str) -> None:
        self.waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not self.over:
                self.calls.append(f"{what} cancelled")
            raise

    async def cycle(self) -> bool:
        self.calls.append("cycle")
        self.on_cycle()
        if self.troubles:
            raise self.troubles.pop(0)
        if self.last:
            return False
        self.cycles += 1
        return True

    async def obey(self) -> None:
        if self.command:
            self.command = False
            self.calls.append("obey")
        self.on_obey()

    def has_command(self) -> bool:
        return self.command

    def failed(self) -> None:
        self.calls.append("failed")
        self.has_failed.set()

    async def watch(self) -> None:
        self.calls.append("watch")

    def summary(self) -> None:
        self.calls.append("summary")

    def end(self) -> None:
        self.calls.append("end")


def play(
    script: Callable[[FakeTrader, Schedule], Awaitable[None]] | None = None,
    *,
    cycles: int | None = None,
    run_clock: Any = None,
    **given: Any,
) -> FakeTrader:
    """Run a trader to its end beside a script; its error is raised."""

    async def both() -> FakeTrader:
        trader, schedule = FakeTrader(), Schedule(cycles)
        for name, value in given.items():
            setattr(trader, name, value)
        running = asyncio.ensure_future(schedule.run(cast("Trader", trader), run_clock))
        if script is not None:
            await script(trader, schedule)
        try:
            await asyncio.wait_for(running, LONG_S)
        finally:
            trader.over = True
            ended.append(trader)
        return trader

    ended.clear()
    return asyncio.run(both())


ended: list[FakeTrader] = []  # the last trader that was played, also where its run raised


# Its end


def test_it_ends_after_the_cycles_that_were_asked_for() -> None:
    assert play(cycles=3).calls == ["start", "cycle", "cycle", "cycle", "end"]


def test_it_ends_with_the_recording() -> None:
    assert play(last=True).calls == ["start", "cycle", "end"]


def test_a_wait_for_the_next_moment_is_cancelled_at_the_stop() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        schedule.stop()

    assert play(script, moments=1).calls == ["start", "cycle", "due cancelled", "end"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_is_not_caught_any_more_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        signal.raise_signal(number)

    assert play(script, moments=0).calls == ["start", "due cancelled", "end"]
    assert signal.getsignal(number) in {before, signal.SIG_DFL, signal.default_int_handler}


def test_nothing_more_is_obeyed_once_it_is_to_stop() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        trader.command = True
        schedule.stop()

    assert play(script, moments=0).calls == ["start", "due cancelled", "end"]


def test_the_cycle_in_progress_is_finished_and_no_other_begun() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        trader.on_cycle = schedule.stop

    assert play(script).calls == ["start", "cycle", "end"]


def test_a_stop_while_it_starts_ends_the_start_and_no_run_is_ended() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        schedule.stop()

    assert play(script, start_waits=True).calls == ["start", "start cancelled"]


def test_a_failure_of_something_beside_it_while_it_starts_is_raised() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        schedule.fail(StateError("the signer ended by itself"))

    with pytest.raises(StateError, match="ended by itself"):
        play(script, start_waits=True)
    assert ended[0].calls == ["start", "start cancelled"]


def test_the_first_failure_is_the_one_that_is_raised() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        schedule.fail(StateError("first"))
        schedule.fail(StateError("second"))

    with pytest.raises(StateError, match="first"):
        play(script, moments=0)
    assert "end" not in ended[0].calls


# What the operator wants


def test_a_command_is_obeyed_while_the_next_moment_is_still_waited_for() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        trader.command = True

        def stop_once_obeyed() -> None:
            if not trader.command:
                schedule.stop()

        trader.on_obey = stop_once_obeyed

    # The wait is begun anew afterwards, so that it ends once.
    assert play(script, moments=0).calls == ["start", "due cancelled", "obey", "end"]


def test_after_a_command_the_next_moment_is_waited_for_again() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        trader.moments = 1
        trader.command = True

    assert play(script, moments=0, cycles=1).calls == ["start", "due cancelled", "obey", "cycle", "end"]


def test_a_command_comes_before_the_cycle_that_is_due() -> None:
    assert play(command=True, cycles=1).calls == ["start", "obey", "cycle", "end"]


def test_a_command_is_obeyed_though_the_venue_fails() -> None:
    played = play(command=True, cycles=1, due_trouble=Unavailable("away"))
    assert played.calls == ["start", "obey", "failed", "cycle", "end"]


def test_what_is_to_be_done_again_soon_is_done_while_the_next_moment_is_waited_for() -> None:
    times = []

    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        def obeyed() -> None:
            times.append(1)
            if len(times) == 3:
                schedule.stop()

        trader.on_obey = obeyed

    played = play(script, moments=0, pause_s=0.001)
    assert played.calls == ["start", *["due cancelled"] * 3, "end"]


# Trouble


@pytest.mark.parametrize("trouble", [Unavailable, Refused])
def test_what_the_venue_fails_at_is_tried_again_less_and_less_often(trouble: type[Exception]) -> None:
    with capture_logs() as logs:
        played = play(cycles=1, troubles=[trouble("away") for _ in range(5)])
    assert played.calls == ["start", *["cycle", "failed"] * 5, "cycle", "end"]
    waits = [each["again_in_s"] for each in logs if each["event"] == "cycle failed"]
    assert waits == [0.001, 0.002, 0.004, 0.006, 0.006]  # doubled, up to the longest


def test_a_cycle_that_succeeds_makes_the_next_trouble_the_first_again() -> None:
    with capture_logs() as logs:

        async def script(trader: FakeTrader, schedule: Schedule) -> None:
            def trouble_again() -> None:
                if trader.calls.count("cycle") == 4:  # the third was good
                    trader.troubles = [Unavailable("away again")]

            trader.on_cycle = trouble_again

        play(script, cycles=2, troubles=[Unavailable("away"), Unavailable("away")])
    failures = [each["failures"] for each in logs if each["event"] == "cycle failed"]
    assert failures == [1, 2, 1]


def test_a_venue_that_fails_while_it_is_waited_for_is_tried_again_without_a_cycle() -> None:
    assert play(cycles=1, due_trouble=Unavailable("away")).calls == ["start", "failed", "cycle", "end"]


def test_a_stop_does_not_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 10_000.0)
    monkeypatch.setattr(module, "LONGEST_RETRY_S", 10_000.0)

    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.has_failed.wait()
        schedule.stop()

    assert play(script, troubles=[Unavailable("away")]).calls == ["start", "cycle", "failed", "end"]


def test_what_is_to_be_done_soon_does_not_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 10_000.0)
    monkeypatch.setattr(module, "LONGEST_RETRY_S", 10_000.0)
    played = play(cycles=1, troubles=[Unavailable("away")], pause_s=0.05)
    assert played.calls[:3] == ["start", "cycle", "failed"]
    assert played.calls[-2:] == ["cycle", "end"]


@pytest.mark.parametrize("error", [StateError("the disk is full"), ValueError("a mistake"), SystemExit(3)])
def test_any_other_error_ends_it_and_is_raised(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        play(troubles=[error])
    assert raised.value is error
    assert ended[0].calls == ["start", "cycle"]  # and the run is not said to have ended of its own accord


def test_an_error_at_the_start_is_raised() -> None:
    class Broken(FakeTrader):
        async def start(self) -> None:
            raise Unavailable("nobody there")

    with pytest.raises(Unavailable, match="nobody there"):
        asyncio.run(Schedule().run(cast("Trader", Broken())))


def test_a_journal_that_cant_be_asked_for_commands_ends_it() -> None:
    class Unreadable(FakeTrader):
        def has_command(self) -> bool:
            raise StateError("the journal is damaged")

    async def run() -> None:
        await asyncio.wait_for(Schedule().run(cast("Trader", Unreadable(0))), LONG_S)

    with pytest.raises(StateError, match="journal is damaged"):
        asyncio.run(run())


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_what_the_end_breaks_off_is_not_told_as_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, in_a_thread: bool
) -> None:
    monkeypatch.setattr(FakeTrader, "watch_s", 0.001)
    monkeypatch.setattr(module, "SUMMARY_S", 0.001)
    begun, may_end = threading.Event(), threading.Event()

    class Slow(FakeTrader):
        async def watch(self) -> None:
            if not in_a_thread:
                begun.set()
                await asyncio.Event().wait()

        def summary(self) -> None:
            if in_a_thread:
                begun.set()
                may_end.wait(LONG_S)

        async def cycle(self) -> bool:
            await asyncio.to_thread(begun.wait, LONG_S)
            raise StateError("the disk is full")

    async def run() -> None:
        try:
            await asyncio.wait_for(Schedule().run(cast("Trader", Slow(1))), LONG_S)
        finally:
            await asyncio.sleep(0)
            may_end.set()

    with pytest.raises(StateError, match="disk is full"):
        asyncio.run(run())
    assert [record for record in caplog.records if record.exc_info] == []


# A simulated market's time


def clock(calls: list[bool]) -> Any:
    async def run_clock(*, runs: bool) -> None:
        calls.append(runs)

    return run_clock


def test_the_markets_time_passes_while_it_is_looked_at_and_stands_before_and_after() -> None:
    seen: list[bool] = []
    during: list[list[bool]] = []
    play(cycles=2, run_clock=clock(seen), on_cycle=lambda: during.append(list(seen)))
    assert during == [[True], [True]]
    assert seen == [True, False]


def test_the_markets_time_does_not_pass_where_it_never_started() -> None:
    async def script(trader: FakeTrader, schedule: Schedule) -> None:
        await trader.waits.wait()
        schedule.stop()

    seen: list[bool] = []
    play(script, start_waits=True, run_clock=clock(seen))
    assert seen == []


def test_after_an_error_the_market_is_not_asked_for_anything() -> None:
    seen: list[bool] = []
    with pytest.raises(StateError):
        play(troubles=[StateError("the market ended by itself")], run_clock=clock(seen))
    assert seen == [True]
