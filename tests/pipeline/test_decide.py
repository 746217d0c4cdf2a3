import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bot import plugins
from bot.model.decision import Decision, Memory, Opinion, OrderPlan, Targets, apportion
from bot.model.instrument import simple_instrument
from bot.model.panel import HOUR_MS, Field, Panel
from bot.pipeline.decide import DAY_MS, decide, forecast, forget, open_day, remember
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot
from bot.pipeline.market import Prepared, rows_needed
from bot.pipeline.snapshot import Snapshot
from bot.pipeline.strategy import Strategy, View
from tests.pipeline.scene import FIRST, NOW_MS, decision_with, moment
from tests.signals.naive import made_up

nan = math.nan


@dataclass(frozen=True)
class Payee(Strategy):
    """Stands on the paid side of the last funding rate."""

    size: float = 1.0

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"rate": panel.funding_rate}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(-np.sign(view.rate) * self.size, "paid {rate:.4%} an hour")


def told(strategy: Strategy | None = None, **execution: Any) -> Mandate:
    limits = Limits(max_gross_leverage=10.0, max_net_leverage=10.0)
    slots = (Slot("payee", strategy or Payee(), 1.0),)
    return Mandate(slots, Sizing(position_size=0.1), limits, Execution(**execution))


def test_an_opinion_becomes_an_order_and_can_say_why() -> None:
    mandate = told()
    decision = decide(moment(mandate, funding_rate=(0.0002, -0.0001, 0.0)), mandate)
    assert decision.snapshot_id == f"{NOW_MS // 1000:x}"
    assert decision.time_ms == NOW_MS
    # 1,000 USD at 100 and at 50 a coin; a hundredth of a coin is a lot.
    assert decision.wanted.lots.tolist() == [-1000, 2000, 0]
    assert decision.allowed is decision.wanted
    assert [(o.instrument, o.signed_lots) for o in decision.plan.orders] == [("AAA", -1000), ("BBB", 2000)]
    assert [
        (f.strategy, f.instrument, f.score, f.because)
        for f in decision.forecasts(["payee"], ("AAA", "BBB", "CCC"))
    ] == [
        ("payee", "AAA", -1.0, "paid 0.0200% an hour"),
        ("payee", "BBB", 1.0, "paid -0.0100% an hour"),
    ]


def test_where_data_is_missing_nothing_is_opened() -> None:
    mandate = told()
    decision = decide(moment(mandate, funding_rate=(nan, 0.0001, 0.0001)), mandate)
    assert decision.opinions[0].scores.tolist() == [0.0, -1.0, -1.0]
    assert decision.allowed.lots[0] == 0
    assert [order.instrument for order in decision.plan.orders] == ["BBB", "CCC"]


@pytest.mark.parametrize("missing", ["funding_rate", "mark"])
def test_where_data_is_missing_nothing_is_closed_and_the_reason_says_so(missing: str) -> None:
    @dataclass(frozen=True)
    class Both(Payee):
        def signals(self, panel: Panel) -> Mapping[str, Field]:
            return {"rate": panel.funding_rate, "price": panel.mark}

    mandate = told(Both())
    mark, funding = np.full((30, 2), 100.0), np.full((30, 2), 0.0001)
    (mark if missing == "mark" else funding)[-1, 0] = nan
    snapshot = moment(
        mandate,
        mark,
        funding_rate=funding,
        lots=(-1000, -1000),
        entry=(99.0, 99.0),
        scores=[[-1.0, -1.0]],
    )
    decision = decide(snapshot, mandate)
    assert decision.opinions[0].scores.tolist() == [-1.0, -1.0]
    assert decision.opinions[0].reason(0) == "data incomplete, opinion held"
    assert decision.allowed.lots.tolist() == [-1000, -1000]
    assert not decision.plan


def test_silence_is_flat_where_the_data_was_there() -> None:
    mandate = told()
    snapshot = moment(mandate, (100.0,), lots=(-1000,), scores=[[-1.0]], funding_rate=(0.0,))
    decision = decide(snapshot, mandate)
    assert decision.opinions[0].scores.tolist() == [0.0]
    assert [(o.signed_lots, o.reduce_only) for o in decision.plan.orders] == [(1000, True)]


def frozen(value: Any) -> Any:
    """A deep copy that compares: arrays as bytes."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {key: frozen(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(each) for each in value]
    if isinstance(value, Opinion | Targets | Decision | Memory | OrderPlan):
        names = [name for name in value.__slots__ if name != "values"]
        return {name: frozen(getattr(value, name)) for name in names}
    return copy.deepcopy(value)


NAMES = ("funding_carry", "extreme_funding_fade", "positioning")


def shipped() -> Mandate:
    slots = tuple(Slot(name, plugins.build(name, {}), 0.5) for name in NAMES)
    sizing = Sizing(position_size=0.2, volatility_target=0.3)
    return Mandate(slots, sizing, Limits(min_edge_ratio=1.0), Execution(stop_loss=0.1))


def run_through(panel: Panel, mandate: Mandate, rows: range) -> list[tuple[Decision, Snapshot]]:
    """Decide hour after hour, filling every order at once; each decision with what it was made from."""
    coins = [simple_instrument(name, 2, 10) for name in panel.instruments]
    prepared = Prepared.of(panel, coins, mandate)
    width = len(coins)
    base = moment(mandate, [100.0] * width, equity=100_000.0)
    account, memory = base.account, base.memory
    made = []
    for row in rows:
        snapshot = Snapshot(prepared.at(row), account, memory)
        decision = decide(snapshot, mandate)
        made.append((decision, snapshot))
        memory = replace(remember(memory, decision), held_lots=decision.allowed.by_strategy)
        lots = decision.allowed.lots
        entry = np.where(lots != 0, np.nan_to_num(prepared.at(row).mark, nan=100.0), 0.0)
        account = replace(account, lots=lots, entry_price=entry)
    return made


ROWS = range(500, 760)


def test_the_same_snapshot_gives_the_same_decision_and_changes_nothing_it_was_given() -> None:
    panel, mandate = made_up(760, width=3), shipped()
    before = frozen(dict(panel.fields))
    made = run_through(panel, mandate, ROWS)
    assert any(decision.plan for decision, _ in made)
    for decision, snapshot in reversed(made):
        kept = frozen([snapshot.memory, snapshot.account.lots, snapshot.account.entry_price])
        assert frozen(decide(snapshot, mandate)) == frozen(decision)
        assert frozen([snapshot.memory, snapshot.account.lots, snapshot.account.entry_price]) == kept
    assert frozen(dict(panel.fields)) == before


def test_deciding_over_the_live_tail_is_deciding_over_the_whole_history() -> None:
    panel, mandate = made_up(760, width=3), shipped()
    needed = rows_needed(mandate)
    coins = [simple_instrument(name, 2, 10) for name in panel.instruments]
    for decision, snapshot in run_through(panel, mandate, ROWS)[::13]:
        row = snapshot.market.row
        tail = Prepared.of(panel.slice(row + 1 - needed, row + 1), coins, mandate).at(-1)
        live = decide(replace(snapshot, market=tail), mandate)
        assert frozen(live) == frozen(decision)
        for k in range(3):
            for column in range(3):
                assert live.opinions[k].reason(column) == decision.opinions[k].reason(column)


def test_another_future_changes_no_decision() -> None:
    panel, mandate = made_up(760, width=3), shipped()
    cut = 650
    other = {name: values.copy() for name, values in panel.fields.items()}
    for values in other.values():
        values[cut + 1 :] *= -3.0
    changed = Panel(panel.grid, panel.instruments, other)
    past = range(ROWS.start, cut + 1)
    before = [frozen(decision) for decision, _ in run_through(panel, mandate, past)]
    after = [frozen(decision) for decision, _ in run_through(changed, mandate, past)]
    assert before == after


def test_every_strategy_is_asked_with_its_own_memory() -> None:
    seen = {}

    @dataclass(frozen=True)
    class Asked(Payee):
        name: str = ""

        def forecast(self, view: View) -> Opinion:
            seen[self.name] = (view.previous.tolist(), view.hours_held.tolist())
            return view.opinion(view.previous, "as before")

    mandate = Mandate((Slot("a", Asked(name="a"), 1.0), Slot("b", Asked(name="b"), 1.0)))
    snapshot = moment(mandate, (100.0, 50.0), scores=[[1.0, 0.0], [0.0, -0.5]])
    since = np.array([[NOW_MS - 5 * HOUR_MS, 0], [0, NOW_MS]])
    forecast(snapshot.market, replace(snapshot.memory, since_ms=since), mandate.strategies)
    assert seen == {"a": ([1.0, 0.0], [5.0, 0.0]), "b": ([0.0, -0.5], [0.0, 0.0])}


# What goes on from cycle to cycle


def test_memory_keeps_the_scores_and_the_moment_at_which_their_signs_began() -> None:
    memory = Memory.blank(1, 4, 1e5)
    first = remember(memory, decision_with(1.0, -0.5, 0.0, 0.2, time_ms=1000))
    assert first.scores.tolist() == [[1.0, -0.5, 0.0, 0.2]]
    assert first.since_ms.tolist() == [[1000, 1000, 0, 1000]]
    second = remember(first, decision_with(0.3, 0.5, 0.1, 0.0, time_ms=2000))
    assert second.since_ms.tolist() == [[1000, 2000, 2000, 2000]]  # flat since 2000
    assert first.since_ms.tolist() == [[1000, 1000, 0, 1000]]
    assert memory.scores.tolist() == [[0.0] * 4]


def test_memory_of_the_same_scores_is_the_same_memory() -> None:
    memory = remember(Memory.blank(1, 2, 1e5), decision_with(1.0, 0.0, time_ms=1000))
    assert remember(memory, decision_with(1.0, 0.0, time_ms=2000)) is memory
    resized = remember(memory, decision_with(0.5, 0.0, time_ms=2000))
    assert (resized.scores[0, 0], resized.since_ms[0, 0]) == (0.5, 1000)


def test_a_day_begins_at_midnight_utc_with_the_equity_of_its_first_cycle() -> None:
    memory = Memory.blank(1, 1, 1000.0)
    first = open_day(memory, 5 * DAY_MS + 7, 990.0)
    assert (first.day, first.day_open_usd, first.high_water_mark_usd) == (5, 990.0, 1000.0)
    assert open_day(first, 6 * DAY_MS - 1, 980.0) is first
    higher = open_day(first, 6 * DAY_MS - 1, 1010.0)
    assert (higher.day, higher.day_open_usd, higher.high_water_mark_usd) == (5, 990.0, 1010.0)
    second = open_day(higher, 6 * DAY_MS, 1005.0)
    assert (second.day, second.day_open_usd, second.high_water_mark_usd) == (6, 1005.0, 1010.0)
    assert open_day(higher, 6 * DAY_MS, 1020.0).high_water_mark_usd == 1020.0


def test_a_position_that_the_venue_closed_is_forgotten_by_all_and_rests() -> None:
    memory = replace(
        Memory.blank(2, 2, 1e5),
        scores=np.array([[1.0, -1.0], [0.5, 0.5]]),
        since_ms=np.array([[10, 20], [30, 40]]),
        held_lots=np.array([[100, -100], [50, 50]]),
    )
    after = forget(memory, 1, rest_until_ms=999)
    assert after.scores.tolist() == [[1.0, 0.0], [0.5, 0.0]]
    assert after.since_ms.tolist() == [[10, 0], [30, 0]]
    assert after.held_lots.tolist() == [[100, 0], [50, 0]]
    assert after.rest_until_ms.tolist() == [0, 999]
    assert memory.scores.tolist() == [[1.0, -1.0], [0.5, 0.5]]
    assert memory.rest_until_ms.tolist() == [0, 0]


def test_lots_are_apportioned_whole_with_the_largest_remainders_first() -> None:
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(-5, [3, 0, 1]) == [-4, 0, -1]
    assert apportion(50, [100, -50]) == [100, -50]
    with pytest.raises(ValueError, match="sum to 0"):
        apportion(5, [1, -1])


def test_the_clock_of_the_scene_is_the_panels() -> None:
    assert moment(told()).market.time_ms == NOW_MS == (FIRST + 29) * HOUR_MS
