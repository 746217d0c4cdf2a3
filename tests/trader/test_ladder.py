"""The kill ladder on a trader in this process: what is sent, what is kept, who overrules whom, cut off anywhere."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from bot.cli.status import _state as said
from bot.clock import HOUR_MS, ManualClock
from bot.errors import StateError, Unavailable
from bot.journal.commands import ask
from bot.journal.journal import Journal
from bot.journal.reader import read
from bot.journal.standing import Author, Standing, Unexplained, strongest
from bot.journal.status import status
from bot.model.decision import OrderPlan, TradingState
from bot.model.order import FundingPayment, Order, OrderReport, OrderStatus, Purpose
from bot.pipeline.mandate import Mandate, Style
from bot.trader.ladder import free_disk_mb, stale_share
from bot.trader.schedule import Schedule
from bot.trader.trader import Trader
from bot.trader.watchdog import Bounds
from bot.venues.simulated import SimulatedVenue
from bot.venues.venue import Condition, Observation
from tests.trader.paper import MANDATE, TERMS
from tests.trader.test_trader import Moody, PowerCut, synthetic

CONFIG = {"version": 1, "name": "paper", "mode": "paper", "limits": {"max_drawdown": 0.25}}
ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


class Watched(SimulatedVenue):
    """Keeps what is sent, refuses closing orders while `refuses` lasts, fails while `away`, loses power when told to."""

    def __init__(self) -> None:
        super().__init__(synthetic(), TERMS)
        self.sent: list[Order] = []
        self.refuses = 0
        self.away = False
        self.cut = False
        self.state = Condition()
        self.others: tuple[str, ...] = ()
        self.silent: tuple[str, ...] = ()  # of several venues, those that can't be asked

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        self.sent += plan.orders
        exits = [order for order in plan.orders if order.purpose is Purpose.EXIT]
        if exits and self.refuses:
            self.refuses -= 1
            return [OrderReport(0, 0, order, OrderStatus.REJECTED, reason="no liquidity") for order in exits]
        reports = await super().send(plan)
        if self.cut and plan:
            raise PowerCut
        return reports

    async def account(self) -> Any:
        if self.away:
            raise Unavailable("the venue is away")
        return replace(await super().account(), others=self.others, stale=self.silent)

    async def condition(self) -> Condition:
        return self.state


def put(path: Path, kind: str, **content: object) -> None:
    """As another process does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        row = (kind, json.dumps(content), time.time_ns() // 1_000_000)
        connection.execute("INSERT INTO command (kind, content, asked_wall_ms) VALUES (?, ?, ?)", row)


def answers(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT kind, state, answer FROM command ORDER BY id").fetchall()
    return [(kind, state, json.loads(answer or "{}")) for kind, state, answer in found]


def shown(path: Path) -> dict[str, Any]:
    with read(path) as reader:
        return status(reader, 0)


Life = Callable[[Trader, Watched], Awaitable[None]]


def live(
    path: Path, life: Life, mandate: Mandate = MANDATE, clock: ManualClock | None = None, **bounds: Any
) -> Watched:
    """A run on the journal at `path`; its venue."""
    venue = Watched()

    async def whole(journal: Journal) -> None:
        it = Trader(
            "paper", venue, mandate, journal, CONFIG, clock=clock or ManualClock(1), bounds=Bounds(**bounds)
        )
        await it.start()
        await life(it, venue)

    with Journal.open(path) as journal:
        asyncio.run(whole(journal))
    return venue


async def until_holding(it: Trader, at_least: int = 1) -> None:
    while it.account is None or len(it.account.positions) < at_least:
        assert await it.cycle()


async def cycle(it: Trader, count: int) -> None:
    for _ in range(count):
        assert await it.cycle()


async def obey_until_done(it: Trader) -> int:
    """How many attempts it takes."""
    attempts = 0
    while it.pause_s is not None or it.has_command():
        await it.obey()
        attempts += 1
        assert attempts < 20
    return attempts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_halted_sends_protection_and_nothing_else(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        put(path, "halt", state="halted", why="drill")
        await it.obey()
        venue.sent.clear()
        await cycle(it, 60)
        assert all(order.reduce_only for order in venue.sent)
        assert {order.purpose for order in venue.sent} <= {Purpose.STOP, Purpose.TAKE_PROFIT}
        put(path, "resume")
        await it.obey()
        await cycle(it, 60)
        assert Purpose.ENTRY in {order.purpose for order in venue.sent}

    live(path, life)
    assert [(kind, state, facts["state"]) for kind, state, facts in answers(path)] == [
        ("halt", "done", "halted"),
        ("resume", "done", "active"),
    ]


@pytest.mark.parametrize("state", ["halted", "reducing"])
def test_resting_orders_are_withdrawn_at_once_and_stops_stay(path: Path, state: str) -> None:
    maker = replace(MANDATE, execution=replace(MANDATE.execution, style=Style.MAKER))

    def purposes(it: Trader) -> set[Purpose]:
        assert it.account is not None
        return {report.order.purpose for report in it.account.view.open_orders}

    async def life(it: Trader, venue: Watched) -> None:
        await cycle(it, 1)
        while not purposes(it) >= {Purpose.ENTRY, Purpose.STOP}:
            await cycle(it, 1)
        put(path, "halt", state=state, why="drill")
        await it.obey()
        assert Purpose.ENTRY not in purposes(it)
        assert Purpose.STOP in purposes(it)

    live(path, life, maker)
    assert [facts["error"] for _, _, facts in answers(path)] == [None]
    assert shown(path)["state"] == state


def test_reducing_lets_positions_shrink_and_never_grow(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it, 2)
        put(path, "halt", state="reducing", why="drill")
        await it.obey()
        venue.sent.clear()
        held = it.account
        for _ in range(60):
            await cycle(it, 1)
            assert held is not None
            assert it.account is not None
            now, before = it.account.view.lots, held.view.lots
            assert (np.abs(now) <= np.abs(before)).all()
            assert (now * before >= 0).all()
            held = it.account
        assert Purpose.EXIT in {order.purpose for order in venue.sent}
        assert all(order.reduce_only for order in venue.sent)

    live(path, life)


def test_flatten_works_with_broken_strategies_and_no_new_market(path: Path) -> None:
    carry, fade = MANDATE.strategies
    broken = replace(MANDATE, strategies=(replace(carry, strategy=Moody(12, hurdle=0.0, from_ms=0)), fade))

    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        cycles = it.cycles
        moody = it.session.desk.mandate.strategies[0].strategy
        object.__setattr__(moody, "to_ms", 2**60)  # from now on it raises
        await cycle(it, 6)
        assert "carry" in it.session.desk.quarantined
        assert it.account is not None
        assert it.account.positions
        put(path, "flatten", why="enough")
        await it.obey()
        assert it.cycles == cycles + 6
        assert not it.account.positions
        assert not it.account.view.open_orders
        assert not it.session.desk.attribution.held_lots.any()

    live(path, life, broken)
    kind, state, facts = answers(path)[-1]
    assert (kind, state, facts["is_flat"], facts["attempts"]) == ("flatten", "done", True, 1)
    told = shown(path)
    assert (told["state"], told["is_flattening"], told["state_why"]) == ("halted", False, "flattened: enough")
    assert (told["positions"], told["open_orders"]) == (0, 0)
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT id, state FROM decision WHERE id IN (SELECT decision_id FROM finding WHERE rule = 'flatten')"
        ).fetchall()
    assert [state for _, state in found] == ["halted"]


def test_a_close_that_fails_is_made_anew_and_never_comes_back_as_an_open(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        venue.sent.clear()
        venue.refuses = 5
        put(path, "flatten")
        assert await obey_until_done(it) == 6
        assert it.account is not None
        assert not it.account.positions
        assert all(order.reduce_only for order in venue.sent)
        names = [order.client_id for order in venue.sent if order.purpose is Purpose.EXIT]
        assert len(set(names)) == len(names)
        # Each goes further than the one before, then they begin anew.
        first = [order for order in venue.sent if order.instrument == venue.sent[0].instrument][:5]
        sign = first[0].side.sign
        limits = [float(order.limit_price or 0) * sign for order in first]
        assert limits[:4] == sorted(limits[:4])
        assert limits[4] == limits[0]
        venue.sent.clear()
        await cycle(it, 30)
        assert not venue.sent

    live(path, life)
    assert answers(path)[-1][2]["attempts"] == 6


def test_cut_off_while_it_closes_the_next_start_goes_on_with_it(path: Path) -> None:
    async def cut_off(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        put(path, "flatten", why="enough")
        venue.cut = True
        with pytest.raises(PowerCut):
            await it.obey()

    live(path, cut_off)
    assert shown(path)["is_flattening"] is True

    async def goes_on(it: Trader, venue: Watched) -> None:
        assert it.pause_s == 0.0
        assert it.session.desk.state is HALTED
        assert it.account is not None
        assert it.account.positions  # this exchange lives in the checkpoint: what was cut off did not happen
        await it.obey()
        assert not it.account.positions
        assert all(order.reduce_only for order in venue.sent)

    live(path, goes_on)
    assert [(kind, state) for kind, state, _ in answers(path)] == [("flatten", "done")]
    assert shown(path)["state_why"] == "flattened: enough"


def test_nothing_is_called_flat_while_one_of_the_venues_can_not_be_asked(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        venue.silent = ("binance",)
        put(path, "flatten", why="enough")
        for _ in range(3):
            await it.obey()
            assert shown(path)["is_flattening"] is True
            assert answers(path)[0][1] == "begun"
        venue.silent = ()
        await it.obey()
        assert shown(path)["is_flattening"] is False

    live(path, life)
    kind, state, facts = answers(path)[0]
    assert (kind, state, facts["is_flat"]) == ("flatten", "done", True)


def test_while_one_venue_is_silent_status_says_what_is_held_elsewhere_now(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        assert shown(path)["unreached"] == {}
        venue.silent = ("binance",)
        account = await it.looked()
        held = {
            each.name: str(each.size(lots))
            for each, lots in zip(it.instruments, account.view.lots.tolist(), strict=True)
            if lots
        }
        assert held
        assert shown(path)["unreached"] == {"venues": ["binance"], "held_elsewhere": held}
        venue.silent = ()
        await it.looked()
        assert shown(path)["unreached"] == {}

    live(path, life)


def test_one_venue_of_several_that_is_silent_goes_on_counting_as_silence(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        it.failed()
        assert it._operator.ladder.is_failing
        venue.silent = ("binance",)
        await it.looked()
        assert it._operator.ladder.is_failing
        venue.silent = ()
        await it.looked()
        assert not it._operator.ladder.is_failing

    live(path, life)


def test_nothing_is_opened_or_resumed_on_the_word_of_one_of_two_venues(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        put(path, "halt", state="reducing", why="look")
        await it.obey()
        sent, venue.silent = len(venue.sent), ("binance",)
        put(path, "resume")
        put(path, "trade", coin="BTC", side="buy", usd="100")
        await it.obey()
        assert it.session.desk.state is REDUCING
        assert len(venue.sent) == sent
        venue.silent = ()
        put(path, "resume")
        await it.obey()
        assert it.session.desk.state is ACTIVE

    live(path, life)
    told = [(kind, state, facts.get("error", "")) for kind, state, facts in answers(path)]
    assert [(kind, state) for kind, state, _ in told] == [
        ("halt", "done"), ("resume", "refused"), ("trade", "refused"), ("resume", "done"),
    ]  # fmt: skip
    assert all("binance can't be asked now" in error for _, _, error in told[1:3])


def test_while_the_venue_is_away_a_halt_holds_already(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        venue.away = True
        put(path, "halt", state="halted", why="drill")
        with pytest.raises(Unavailable):
            await it.obey()
        assert it.session.desk.state is HALTED
        assert it.pause_s == 0.5  # it is tried again
        venue.away = False
        await it.obey()
        assert it.pause_s is None

    live(path, life)
    kind, state, facts = answers(path)[0]
    assert (kind, state, facts["error"], facts["state"]) == ("halt", "refused", "the venue is away", "halted")
    assert shown(path)["state"] == "halted"


class Absent(Watched):
    """Its market can't be had any more: either it fails, or nothing comes of asking."""

    fails = True
    gone = False

    def __init__(self) -> None:
        super().__init__()
        self.holds = asyncio.Event()

    async def observe(self) -> Observation | None:
        seen = await super().observe()
        if seen is not None and seen.account.positions:
            self.gone = True
            self.holds.set()
        return seen

    async def due(self) -> None:
        if self.gone and not self.fails:
            await asyncio.Event().wait()
        if self.gone:
            raise Unavailable("no market data")


@pytest.mark.parametrize("fails", [True, False])
def test_flatten_does_not_wait_for_a_market_that_does_not_come(path: Path, fails: bool) -> None:
    venue = Absent()
    venue.fails = fails
    schedule = Schedule()

    async def ask_when_it_holds(it: Trader) -> None:
        await venue.holds.wait()
        await asyncio.to_thread(ask, path, "flatten", {"why": "enough"}, 60)
        assert it.account is not None
        assert not it.account.positions
        schedule.stop()

    async def whole(journal: Journal) -> None:
        it = Trader("paper", venue, MANDATE, journal, CONFIG)
        asked = asyncio.ensure_future(ask_when_it_holds(it))
        await schedule.run(it)
        await asked

    with Journal.open(path) as journal:
        asyncio.run(whole(journal))
    assert answers(path)[0][1] == "done"
    assert shown(path)["state"] == "halted"


def test_a_stop_asked_for_while_the_venue_is_looked_at_binds_that_very_cycle(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        venue.sent.clear()
        put(path, "halt", state="halted", why="drill")
        await cycle(it, 40)
        assert not venue.sent

    live(path, life)
    assert shown(path)["state"] == "halted"


def test_a_stop_holds_from_when_it_is_heard_though_it_can_not_be_answered_yet(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await cycle(it, 1)
        put(path, "halt", state="halted", why="drill")
        assert it.has_command()
        assert shown(path)["state"] == "halted"
        assert it.session.desk.state is HALTED

    live(path, life)
    assert answers(path)[0][1] == "asked"


def test_what_this_daemon_does_not_trade_is_said_to_be_left(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        venue.others = ("WIF",)
        put(path, "flatten")
        await it.obey()
        assert it.account is not None
        assert not it.account.positions
        assert it.pause_s is None

    live(path, life)
    _, state, facts = answers(path)[0]
    assert (state, facts["is_flat"]) == ("refused", False)
    assert facts["error"] == "the account also holds WIF, which this daemon can't close"
    assert shown(path)["state_why"].startswith("flattened as far as possible")


def test_a_halt_does_not_end_a_flattening_and_a_resume_does(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        venue.refuses = 100
        put(path, "flatten")
        await it.obey()
        put(path, "halt", state="reducing")
        await it.obey()
        assert shown(path)["is_flattening"] is True
        put(path, "resume")
        await it.obey()
        assert it.pause_s is None
        assert it.session.desk.state is ACTIVE

    live(path, life)
    kind, state, facts = answers(path)[0]
    assert (kind, state) == ("flatten", "refused")
    assert "resumed before" in facts["error"]


def test_a_drawdown_stop_is_lifted_only_in_so_many_words(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        desk = it.session.desk
        desk.memory = replace(desk.memory, high_water_mark_usd=200_000.0)
        await cycle(it, 3)
        assert it.account is not None
        assert not it.account.positions
        assert shown(path)["is_drawn_down"] is True
        assert said(shown(path)) == (
            "drawdown: closed for good, resume with hedgerow resume --accept-drawdown"
        )
        put(path, "resume")
        await it.obey()
        assert desk.memory.high_water_mark_usd == 200_000.0
        put(path, "resume", accept_drawdown=True)
        await it.obey()
        assert desk.memory.high_water_mark_usd == it.account.view.equity_usd

    live(path, life)
    told = answers(path)
    assert [state for _, state, _ in told] == ["refused", "done"]
    assert "--accept-drawdown" in told[0][2]["error"]
    assert told[1][2]["drawdown_accepted"] is True
    assert shown(path)["is_drawn_down"] is False

    async def after(it: Trader, venue: Watched) -> None:
        assert it.session.desk.memory.high_water_mark_usd < 101_000.0  # it was on disk at once
        await until_holding(it)

    live(path, after)


def test_the_watchdog_takes_back_its_own_word_and_never_the_operators(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await cycle(it, 1)
        for _ in range(3):
            it.failed()
        assert it.session.desk.state is REDUCING
        assert shown(path)["state_by"] == "watchdog"
        put(path, "halt", state="halted", why="drill")
        await it.obey()
        await cycle(it, 5)  # the venue is well again
        assert it.session.desk.state is HALTED
        assert shown(path)["state_by"] == "operator"
        put(path, "resume")
        await it.obey()
        assert it.session.desk.state is ACTIVE
        venue.state = Condition(signer_problem="nothing can be signed: the signer is gone")
        await it.watch()
        put(path, "resume")
        await it.obey()
        assert it.session.desk.state is HALTED  # a resume doesn't overrule it
        venue.state = Condition()
        for state in (HALTED, HALTED, ACTIVE):
            await it.watch()
            assert it.session.desk.state is state

    live(path, life)
    assert answers(path)[-1][2]["why"] == "nothing can be signed: the signer is gone"


def test_books_that_differ_reduce_until_the_operator_takes_them_as_they_are(path: Path) -> None:
    async def life(it: Trader, venue: Watched) -> None:
        await until_holding(it)
        told = venue.take_events
        venue.take_events = lambda: tuple(  # type: ignore[method-assign]
            event for event in told() if not isinstance(event, FundingPayment)
        )
        while shown(path)["state"] == "active":
            await cycle(it, 1)
        assert abs(shown(path)["suspense_usd"]) >= 1
        venue.take_events = told  # type: ignore[method-assign]
        await cycle(it, 10)
        assert it.session.desk.state is REDUCING  # what is missing stays missing
        assert "the books differ from the venue's by" in shown(path)["state_why"]
        put(path, "resume")
        await it.obey()
        assert it.session.desk.state is ACTIVE
        await cycle(it, 5)
        assert it.session.desk.state is ACTIVE

    live(path, life, max_unexplained_usd=1.0)

    async def later(it: Trader, venue: Watched) -> None:
        await cycle(it, 2)
        assert it.session.desk.state is ACTIVE

    live(path, later, max_unexplained_usd=1.0)


def test_an_agents_warning_is_logged_once_a_day(path: Path) -> None:
    clock = ManualClock(1)

    async def life(it: Trader, venue: Watched) -> None:
        venue.state = Condition(agent_left_days=6.0, agent_warning="the agent's approval ends in 6.0 days")
        for _ in range(49):
            await it.watch()
            clock.advance(HOUR_MS)
        assert it.session.desk.state is ACTIVE

    with structlog.testing.capture_logs() as logs:
        live(path, life, clock=clock)
    assert len([each for each in logs if each["event"] == "agent"]) == 3  # at 0, 24 and 48 h


def test_an_order_that_nobody_waits_for_any_more_is_not_carried_out_by_the_next_start(path: Path) -> None:
    async def nothing(it: Trader, venue: Watched) -> None:
        await cycle(it, 1)

    live(path, nothing)
    put(path, "trade", coin="BTC", side="buy", usd="500")
    put(path, "halt", state="reducing", why="left")
    assert shown(path)["asked"] == ["trade", "halt"]

    async def life(it: Trader, venue: Watched) -> None:
        assert it.session.desk.state is REDUCING
        await it.obey()
        assert not venue.sent

    live(path, life)
    assert [(kind, state) for kind, state, _ in answers(path)] == [("trade", "refused"), ("halt", "done")]


def test_without_a_daemon_only_what_asks_for_less_risk_is_left(path: Path) -> None:
    Journal.open(path).close()
    assert ask(path, "halt", {"state": "halted", "why": ""}, 1).facts == {"left": True}
    for kind in ("resume", "trade"):
        with pytest.raises(StateError, match="no daemon is running"):
            ask(path, kind, {}, 1)
    assert [(kind, state) for kind, state, _ in answers(path)] == [("halt", "asked")]


def test_a_halt_that_is_not_answered_in_time_stands_and_a_trade_is_withdrawn(path: Path) -> None:
    with Journal.open(path):
        with pytest.raises(StateError, match="the halt stands, also after a restart"):
            ask(path, "halt", {"state": "halted", "why": ""}, 0.1)
        with pytest.raises(StateError, match="it was withdrawn"):
            ask(path, "trade", {}, 0.1)
    assert [(kind, state) for kind, state, _ in answers(path)] == [("halt", "asked"), ("trade", "refused")]


def test_what_allows_least_holds_and_of_two_alike_the_operators() -> None:
    def word(author: Author, state: TradingState) -> Standing:
        return Standing(author, state, 0, "")

    for operator in TradingState:
        for watchdog in TradingState:
            holds = strongest([word(Author.WATCHDOG, watchdog), word(Author.OPERATOR, operator)])
            assert holds is not None
            order = [ACTIVE, REDUCING, HALTED]
            assert order.index(holds.state) == max(order.index(operator), order.index(watchdog))
            assert (holds.author is Author.OPERATOR) == (order.index(operator) >= order.index(watchdog))
    assert strongest([]) is None


def test_the_state_is_kept_with_all_that_belongs_to_it(path: Path) -> None:
    accepted = Unexplained({"price": Decimal("-12.345678")}, {"BTC": -3})
    word = Standing(Author.OPERATOR, HALTED, 5, "because {x}", is_flattening=True, accepted=accepted)
    with Journal.open(path) as journal:
        journal.standings.say(word)
        journal.standings.say(Standing(Author.WATCHDOG, REDUCING, 6, "disk"))
    with Journal.open(path) as journal:
        assert journal.standings.load()[Author.OPERATOR] == word
    now = Unexplained({"price": Decimal(-10), "fees": Decimal(1)}, {"BTC": -3, "ETH": 2})
    assert now.beyond(accepted) == (Decimal("3.345678"), {"ETH": 2})


def test_a_coin_counts_as_stale_only_if_it_was_known_and_is_not_delisted() -> None:
    class Seen:
        all_fresh = False
        age_h = np.array([0.0, 1.0, 2.0, 5.0, np.inf, 9.0])
        instruments = tuple(
            replace(each, is_delisted=k == 5) for k, each in enumerate([synthetic().instruments[0]] * 6)
        )

    assert stale_share(Seen(), 2) == 0.5  # type: ignore[arg-type]
    Seen.age_h = np.full(6, np.inf)
    assert stale_share(Seen(), 2) == 1.0  # type: ignore[arg-type]


def test_free_disk_is_that_of_the_journals_folder(tmp_path: Path) -> None:
    free = free_disk_mb(tmp_path / "journal.sqlite")
    assert free is not None
    assert free > 1
    assert free_disk_mb(tmp_path / "missing" / "journal.sqlite") is None
