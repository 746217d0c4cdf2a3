"""The desk between two cycles: shares, memory and rests follow from what the venue did."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from benchmarks.standard_workload import OPEN_LIMITS
from bot.model.decision import NO_ORDERS, AccountView, Decision, Memory, TradingState
from bot.model.instrument import simple_instrument
from bot.model.order import (
    Fill,
    FundingPayment,
    Liquidation,
    Order,
    Purpose,
    Side,
    Transfer,
    TriggerKind,
)
from bot.model.panel import HOUR_MS, Panel
from bot.pipeline.mandate import Execution, Mandate, Sizing, Slot
from bot.pipeline.market import Prepared
from bot.trader.desk import Desk
from tests.research.scripted import INFINITE, START_MS, Scripted, panel_of

D = Decimal
AAA, BBB = simple_instrument("AAA", 2, 10), simple_instrument("BBB", 2, 10)
EQUITY = 10_000.0

Script = dict[int, tuple[float, float]]


class Scene:
    """A desk over a panel of two coins, and an account that does whatever the orders ask, at the next mark."""

    def __init__(self, panel: Panel, *scripts: Script, execution: Execution | None = None) -> None:
        slots = tuple(
            Slot(f"s{k}", Scripted(tuple(sorted(script.items()))), 1.0) for k, script in enumerate(scripts)
        )
        sizing = Sizing(position_size=0.1, no_trade_band=INFINITE, cooldown_h=5)
        mandate = Mandate(slots, sizing, OPEN_LIMITS, execution or Execution(slippage_bps=INFINITE))
        self.prepared = Prepared.of(panel, (AAA, BBB), mandate)
        self.desk = Desk(mandate, (AAA, BBB), Memory.blank(len(slots), 2, EQUITY))
        self.lots = np.zeros(2, np.int64)
        self.entry = np.zeros(2)
        self.trades = 0

    def decide(self, row: int, equity: float = EQUITY) -> Decision:
        view = AccountView(equity, self.lots, self.entry, np.full(2, 10.0))
        return self.desk.decide(self.prepared.at(row), view)

    def fill(self, order: Order, row: int, lots: int | None = None) -> Fill:
        """A fill of the order (or of some of its lots) at the open of the bar after `row`."""
        price = D(repr(float(self.prepared.mark[row, ("AAA", "BBB").index(order.instrument)])))
        count = order.lots if lots is None else lots
        self.trades += 1
        return Fill(
            self.trades,
            START_MS + (row + 1) * HOUR_MS,
            order.instrument,
            order.side,
            count,
            price,
            AAA.notional(count, price),
            D("0.01"),
            False,
            order.client_id,
            self.trades,
            order.purpose,
        )

    def hear(self, *fills: Fill) -> None:
        self.lots = self.lots.copy()
        for each in fills:
            self.lots[("AAA", "BBB").index(each.instrument)] += each.signed_lots
        self.desk.absorb(list(fills), self.lots)

    def cycle(self, row: int) -> Decision:
        """Decide, and have everything filled."""
        decision = self.decide(row)
        self.hear(*(self.fill(order, row) for order in decision.plan.orders))
        return decision

    def held(self) -> list[list[int]]:
        shares: list[list[int]] = self.desk.memory.held_lots.tolist()
        assert shares == self.desk.attribution.held_lots.tolist()
        return shares


def flat_market(rows: int = 20, prices: tuple[float, ...] = ()) -> Panel:
    close = np.full((rows, 2), 100.0)
    close[: len(prices), 0] = prices
    return panel_of(rows, ("AAA", "BBB"), close=close)


def closing(scene: Scene, column: int, purpose: Purpose) -> Order:
    lots = int(scene.lots[column])
    name = ("AAA", "BBB")[column]
    return Order("venue", name, Side.of(-lots), abs(lots), purpose=purpose)


def test_a_fill_makes_what_each_strategy_holds_what_it_wanted() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0)}, {0: (0.5, -1.0)})
    decision = scene.cycle(0)
    assert [(o.instrument, o.signed_lots) for o in decision.plan.orders] == [("AAA", 1500), ("BBB", -1000)]
    assert scene.held() == [[1000, 0], [500, -1000]]  # 1,000 USD each at 100 in lots of 0.01
    assert not scene.cycle(1).plan


def test_opposite_wishes_are_netted_and_change_hands_inside_without_an_order() -> None:
    scene = Scene(
        flat_market(prices=(100, 110)), {0: (1.0, 0.0), 1: (0.0, 0.0)}, {0: (-1.0, 0.0), 1: (0.0, 0.0)}
    )
    assert scene.cycle(0).plan == NO_ORDERS
    assert scene.held() == [[1000, 0], [-1000, 0]]
    assert scene.cycle(1).plan == NO_ORDERS
    assert scene.held() == [[0, 0], [0, 0]]
    mark = scene.prepared.mark[1]
    books = scene.desk.attribution
    assert [books.price_usd(k, mark) for k in (0, 1)] == [D(100), D(-100)]  # ten coins, 10 USD
    assert books.fees_usd == [D(0), D(0)]


def test_an_order_for_the_difference_fills_both_sides_of_a_disagreement() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0)}, {0: (-0.25, 0.0)})
    (order,) = scene.cycle(0).plan.orders
    assert order.signed_lots == 750
    assert scene.held() == [[1000, 0], [-250, 0]]


def test_a_partial_fill_leaves_each_strategy_as_far_along_as_the_other() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0)}, {0: (0.5, 0.0)})
    (order,) = scene.decide(0).plan.orders
    scene.hear(scene.fill(order, 0, lots=600))
    assert scene.held() == [[400, 0], [200, 0]]


def test_a_stop_out_ends_the_opinions_and_rests_the_coin() -> None:
    scene = Scene(flat_market(), {0: (1.0, -1.0)}, {0: (0.5, 0.0)})
    scene.cycle(0)
    scene.cycle(1)
    scene.hear(scene.fill(closing(scene, 0, Purpose.STOP), 2))
    memory = scene.desk.memory
    assert scene.held() == [[0, -1000], [0, 0]]
    assert memory.scores.tolist() == [[0.0, -1.0], [0.0, 0.0]]
    assert memory.since_ms[:, 0].tolist() == [0, 0]
    assert memory.since_ms[0, 1] == START_MS + HOUR_MS  # the other coin's opinion stands since row 0
    stopped_ms = START_MS + 3 * HOUR_MS
    assert memory.rest_until_ms.tolist() == [stopped_ms + 5 * HOUR_MS, 0]
    for row in range(2, 7):
        assert not scene.decide(row).plan.orders, row  # the strategies still want it; the desk rests
    assert scene.prepared.at(7).time_ms == stopped_ms + 5 * HOUR_MS
    (order,) = scene.decide(7).plan.orders
    assert (order.instrument, order.signed_lots) == ("AAA", 1500)


def test_a_coin_rests_also_where_an_order_of_the_same_bar_opened_it_again_after_the_stop() -> None:
    scene = Scene(flat_market(), {0: (0.5, 0.0), 1: (1.0, 0.0)})
    scene.cycle(0)
    scene.desk.mandate = replace(scene.desk.mandate, sizing=Sizing(0.1, no_trade_band=0.1, cooldown_h=5))
    (more,) = scene.decide(1).plan.orders
    assert more.signed_lots == 500
    stopped = scene.fill(closing(scene, 0, Purpose.STOP), 1)
    scene.hear(stopped, scene.fill(more, 1))  # the bar opened beyond the stop
    assert scene.held() == [[500, 0]]
    assert scene.desk.memory.rest_until_ms[0] == stopped.time_ms + 5 * HOUR_MS
    (order,) = scene.decide(2).plan.orders
    assert (order.signed_lots, order.reduce_only) == (-500, True)


@pytest.mark.parametrize("purpose", [Purpose.LIQUIDATION, Purpose.SETTLEMENT, Purpose.TAKE_PROFIT])
def test_whatever_closes_a_position_at_the_venue_rests_the_coin(purpose: Purpose) -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0)})
    scene.cycle(0)
    scene.hear(scene.fill(closing(scene, 0, purpose), 1))
    assert scene.desk.memory.rest_until_ms[0] == START_MS + (2 + 5) * HOUR_MS
    assert scene.held() == [[0, 0]]


def test_a_close_of_ones_own_does_not_rest_the_coin() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0), 1: (0.0, 0.0), 2: (1.0, 0.0)})
    scene.cycle(0)
    scene.cycle(1)
    assert scene.held() == [[0, 0]]
    assert scene.desk.memory.rest_until_ms.tolist() == [0, 0]
    assert scene.cycle(2).plan.orders


def test_a_part_taken_by_the_venue_shrinks_the_shares_and_rests_nothing() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0)}, {0: (0.5, 0.0)})
    scene.cycle(0)
    scene.hear(scene.fill(closing(scene, 0, Purpose.LIQUIDATION), 1, lots=300))
    assert scene.held() == [[800, 0], [400, 0]]
    assert scene.desk.memory.rest_until_ms.tolist() == [0, 0]
    assert scene.desk.memory.scores[:, 0].tolist() == [1.0, 0.5]


def test_payments_and_forfeits_reach_the_strategies() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0)}, {0: (0.5, 0.0)})
    scene.cycle(0)
    scene.desk.absorb([FundingPayment(0, "AAA", 1500, D(100), D("0.0001"), D("-0.15"))], scene.lots)
    assert scene.desk.attribution.funding_usd == [D("-0.1"), D("-0.05")]
    close = scene.fill(closing(scene, 0, Purpose.LIQUIDATION), 1)
    scene.lots[0] = 0
    scene.desk.absorb([close, Liquidation(0, "AAA", 1500, D(100), "backstop", D(30))], scene.lots)
    # bought and sold at 100; what is left is the margin that was kept
    assert scene.desk.attribution.cash_usd == [D(-20), D(-10)]


def test_the_memory_knows_the_best_equity_and_what_the_day_began_with() -> None:
    scene = Scene(flat_market(60), {0: (0.0, 0.0)})
    for row, equity in ((0, 10_000.0), (5, 11_000.0), (10, 9_000.0), (22, 9_500.0)):
        scene.decide(row, equity)
    assert scene.desk.memory.high_water_mark_usd == 11_000
    assert scene.desk.memory.day_open_usd == 10_000
    scene.decide(23, 9_600.0)  # midnight
    assert scene.desk.memory.day_open_usd == 9_600
    assert scene.desk.memory.high_water_mark_usd == 11_000


def test_a_halted_desk_orders_nothing_and_a_reducing_one_only_closes() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0), 2: (0.0, 1.0)})
    scene.desk.state = TradingState.HALTED
    assert not scene.decide(0).plan.orders
    scene.desk.state = TradingState.ACTIVE
    scene.cycle(1)
    scene.desk.state = TradingState.REDUCING
    (order,) = scene.decide(2).plan.orders
    assert (order.instrument, order.signed_lots, order.reduce_only) == ("AAA", -1000, True)


def test_protection_is_asked_for_where_the_mandate_has_a_stop() -> None:
    view = AccountView(EQUITY, np.array([1000, 0]), np.array([100.0, 0.0]), np.full(2, 10.0))
    mark = np.array([100.0, 100.0])
    bare = Scene(flat_market(), {0: (1.0, 0.0)})
    assert bare.desk.protection(view, mark, "x") == NO_ORDERS
    guarded = Scene(flat_market(), {0: (1.0, 0.0)}, execution=Execution(stop_loss=0.05))
    (order,) = guarded.desk.protection(view, mark, "x").orders
    assert order.trigger is not None
    assert (order.trigger.kind, order.trigger.price) == (TriggerKind.STOP, D("95.0"))
    assert (order.signed_lots, order.reduce_only) == (-1000, True)


def test_a_desk_that_was_written_down_divides_the_next_fill_as_the_old_one_would() -> None:
    scene = Scene(flat_market(), {0: (1.0, 0.0)}, {0: (-0.25, 0.0)})
    (order,) = scene.decide(0).plan.orders
    saved, memory = scene.desk.saved(), scene.desk.memory
    again = Desk(scene.desk.mandate, (AAA, BBB), memory)
    again.restore(saved)
    late = scene.fill(order, 0)
    again.absorb([late], np.array([750, 0]))
    assert again.memory.held_lots.tolist() == [[1000, 0], [-250, 0]]
    assert again.attribution.cash_usd == [D(-1000), D(250)]


def test_what_is_taken_out_is_no_drawdown_and_what_is_brought_in_no_gain() -> None:
    scene = Scene(panel_of(4, ("AAA", "BBB"), close=100.0), {})
    scene.decide(1)
    before = scene.desk.memory
    scene.desk.absorb([Transfer(START_MS, D("-4000.5"), "withdraw", "0xa")], scene.lots)
    memory = scene.desk.memory
    assert (memory.high_water_mark_usd, memory.day_open_usd) == (EQUITY - 4000.5, EQUITY - 4000.5)
    scene.desk.absorb([Transfer(START_MS, D(4000.5), "deposit", "0xb")], scene.lots)
    assert scene.desk.memory == before
