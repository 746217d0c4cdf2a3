import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bot.model.decision import NO_ORDERS, Cancel, OrderPlan, TradingState
from bot.model.instrument import simple_instrument
from bot.model.order import Order, OrderReport, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.pipeline.execution import plan, protect
from bot.pipeline.mandate import Execution, Style
from tests.pipeline.scene import INF, NOW_MS, mandate, moment, resting, targets, waiting

nan = math.nan
ID = f"{NOW_MS // 1000:x}"
TAKER = Execution(slippage_bps=50.0)
MAKER = Execution(style=Style.MAKER, half_spread=0.0001)
GUARDED = Execution(stop_loss=0.05, take_profit=0.10, stop_tolerance=0.1)


def planned(wanted: tuple[int, ...], execution: Execution = TAKER, **moment_: Any) -> OrderPlan:
    return plan(targets(wanted), moment(mandate(execution=execution), **moment_), execution)


def traded(given: OrderPlan) -> list[tuple[str, int, bool]]:
    return [(order.instrument, order.signed_lots, order.reduce_only) for order in given.orders]


# What is wanted minus what is held


def test_opening_takes_at_once_within_a_bound_rounded_to_the_near_side_of_the_tick() -> None:
    # 123.456 × 1.005 = 124.07328 and × 0.995 = 122.83872, at five significant figures.
    given = planned((300, -200), mark=(123.456, 123.456))
    assert given.cancels == ()
    assert given.orders == (
        Order(f"{ID}-AAA-entry", "AAA", Side.BUY, 300, Decimal("124.07")),
        Order(f"{ID}-BBB-entry", "BBB", Side.SELL, 200, Decimal("122.84")),
    )
    assert {order.time_in_force for order in given.orders} == {TimeInForce.IOC}


def test_without_a_bound_on_slippage_orders_have_no_limit_price() -> None:
    (order,) = planned((300,), Execution(slippage_bps=INF), mark=(100.0,)).orders
    assert order.limit_price is None


def test_nothing_to_do_is_nothing() -> None:
    assert planned((300,), mark=(100.0,), lots=(300,)) is NO_ORDERS


def test_only_what_is_missing_is_ordered() -> None:
    assert traded(planned((300, -300), mark=(100.0, 100.0), lots=(100, -100))) == [
        ("AAA", 200, False),
        ("BBB", -200, False),
    ]


def test_shrinking_is_a_reduce_only_exit() -> None:
    (order,) = planned((100,), mark=(100.0,), lots=(5000,)).orders
    assert (order.side, order.lots, order.reduce_only, order.purpose) == (Side.SELL, 4900, True, Purpose.EXIT)
    assert order.client_id == f"{ID}-AAA-exit"
    assert order.limit_price == Decimal("99.5")


def test_a_turn_is_a_close_and_then_an_opening() -> None:
    given = planned((-200, 0), mark=(100.0, 100.0), lots=(300, 0))
    assert traded(given) == [("AAA", -300, True), ("AAA", -200, False)]
    assert [order.purpose for order in given.orders] == [Purpose.EXIT, Purpose.ENTRY]


def test_closes_come_before_openings_over_all_instruments() -> None:
    given = planned((500, 0, -700), mark=(100.0, 100.0, 100.0), lots=(0, 400, 300))
    assert traded(given) == [
        ("BBB", -400, True),
        ("CCC", -300, True),
        ("AAA", 500, False),
        ("CCC", -700, False),
    ]


@pytest.mark.parametrize(
    ("held", "wanted", "orders"),
    [
        (0, 10, [("AAA", 10, False)]),  # exactly the 10 USD of the venue's minimum
        (0, 9, []),
        (0, -9, []),
        (100, 95, []),  # a partial close of 5 USD is refused by the venue
        (100, 90, [("AAA", -10, True)]),
        (5, 0, [("AAA", -5, True)]),  # the whole position may always be closed
        (5, -20, [("AAA", -5, True), ("AAA", -20, False)]),
        (5, -9, [("AAA", -5, True)]),
    ],
)
def test_orders_below_the_minimum_notional_are_left_out_but_for_the_last_close(
    held: int, wanted: int, orders: list[tuple[str, int, bool]]
) -> None:
    assert traded(planned((wanted,), mark=(100.0,), lots=(held,))) == orders


def test_without_a_price_no_order_can_be_placed() -> None:
    given = planned((300, 300), mark=(nan, 100.0), lots=(-100, 0), entry=(100.0, 0.0))
    assert traded(given) == [("BBB", 300, False)]


def test_a_maker_posts_entries_at_its_own_side_of_the_book_but_exits_take() -> None:
    given = planned((300, -300, 0), MAKER, mark=(123.456, 123.456, 100.0), lots=(0, 0, 200))
    # One basis point below and above 123.456: 123.4437 and 123.4683, rounded away from the market.
    assert [(o.instrument, o.limit_price, o.time_in_force) for o in given.orders] == [
        ("CCC", Decimal("99.5"), TimeInForce.IOC),
        ("AAA", Decimal("123.44"), TimeInForce.ALO),
        ("BBB", Decimal("123.47"), TimeInForce.ALO),
    ]


def test_prices_have_no_more_decimals_than_the_lot_leaves_them() -> None:
    # Six decimals less the lot's four: cents, though 1.2345 has but five figures.
    coins = [simple_instrument("AAA", 4, 10)]
    (order,) = planned((300_000,), mark=(1.2345,), instruments=coins).orders
    assert order.limit_price == Decimal("1.24")


# Minus what is resting


def test_a_resting_order_that_still_serves_stands_and_only_the_rest_is_added() -> None:
    order = resting("AAA", 200, "99.9")
    assert planned((200,), MAKER, mark=(100.0,), open_orders=[order]) == OrderPlan()
    given = planned((500,), MAKER, mark=(100.0,), open_orders=[order])
    assert given.cancels == ()
    assert traded(given) == [("AAA", 300, False)]


def test_of_a_resting_order_only_what_is_not_filled_yet_counts() -> None:
    order = resting("AAA", 200, "99.9", filled=150)
    given = planned((500,), MAKER, mark=(100.0,), lots=(150,), open_orders=[order])
    assert given.cancels == ()
    assert traded(given) == [("AAA", 300, False)]


@pytest.mark.parametrize(
    ("order", "wanted", "because"),
    [
        (resting("AAA", 200, "99.4"), 200, "price moved away"),  # 60 bps, 50 allowed
        (resting("AAA", 200, "100"), 100, "no longer wanted"),
        (resting("AAA", -200, "100"), 200, "no longer wanted"),
        (resting("AAA", 200, "100"), 0, "no longer wanted"),
    ],
)
def test_a_resting_order_that_no_longer_serves_is_withdrawn_and_counts_for_nothing(
    order: OrderReport, wanted: int, because: str
) -> None:
    given = planned((wanted,), MAKER, mark=(100.0,), open_orders=[order])
    assert given.cancels == (Cancel(1, "before-1", "AAA", because),)
    assert traded(given) == ([("AAA", wanted, False)] if wanted else [])


@pytest.mark.parametrize("state", list(TradingState))
def test_what_somebody_else_has_placed_neither_serves_nor_is_withdrawn(state: TradingState) -> None:
    ours = resting("AAA", 200, "100")
    external = replace(ours, order=replace(ours.order, purpose=Purpose.EXTERNAL))
    given = planned((200,), MAKER, mark=(100.0,), open_orders=[external], state=state)
    assert given.cancels == ()
    assert traded(given) == ([] if state is TradingState.HALTED else [("AAA", 200, False)])


def test_a_strangers_stop_is_not_taken_for_ours() -> None:
    own = plan(targets((200,)), moment(mandate(execution=GUARDED), mark=(100.0,), lots=(200,)), GUARDED)
    assert {order.purpose for order in own.orders} == {Purpose.STOP, Purpose.TAKE_PROFIT}
    external = waiting("AAA", -200, "95", purpose=Purpose.EXTERNAL)
    given = planned((200,), GUARDED, mark=(100.0,), lots=(200,), open_orders=[external])
    assert given == own


def test_an_order_on_an_instrument_without_a_price_is_withdrawn() -> None:
    given = planned((200,), MAKER, mark=(nan,), open_orders=[resting("AAA", 200, "100")])
    assert [cancel.because for cancel in given.cancels] == ["price moved away"]
    assert given.orders == ()


def test_two_resting_orders_that_together_are_too_much_are_not_both_kept() -> None:
    orders = [resting("AAA", 200, "100"), resting("AAA", 150, "100", order_id=2)]
    given = planned((300,), MAKER, mark=(100.0,), open_orders=orders)
    assert [cancel.order_id for cancel in given.cancels] == [2]
    assert traded(given) == [("AAA", 100, False)]


# Halted


def test_halted_means_only_cancels_and_protection() -> None:
    orders = [resting("AAA", 200, "100"), waiting("BBB", -300, "47.5", order_id=2)]
    given = planned(
        (500, 0),
        GUARDED,
        mark=(100.0, 50.0),
        lots=(100, 300),
        open_orders=orders,
        state=TradingState.HALTED,
    )
    assert given.cancels == (Cancel(1, "before-1", "AAA", "trading is halted"),)
    # AAA was unprotected, BBB lacks only its take-profit.
    assert [(o.instrument, o.purpose, o.reduce_only) for o in given.orders] == [
        ("AAA", Purpose.STOP, True),
        ("AAA", Purpose.TAKE_PROFIT, True),
        ("BBB", Purpose.TAKE_PROFIT, True),
    ]


def test_halted_without_protection_sends_nothing_at_all() -> None:
    assert not planned((500,), mark=(100.0,), lots=(100,), state=TradingState.HALTED)


# Protective triggers


def test_each_position_gets_a_stop_and_a_take_profit_from_its_entry_price() -> None:
    given = planned((300, -300), GUARDED, mark=(100.0, 50.0), lots=(300, -300), entry=(101.0, 49.0))
    assert given.orders == (
        Order(
            f"{ID}-AAA-stop",
            "AAA",
            Side.SELL,
            300,
            reduce_only=True,
            trigger=Trigger(TriggerKind.STOP, Decimal("95.950")),  # 101 × 0.95
            purpose=Purpose.STOP,
        ),
        Order(
            f"{ID}-AAA-take_profit",
            "AAA",
            Side.SELL,
            300,
            reduce_only=True,
            trigger=Trigger(TriggerKind.TAKE_PROFIT, Decimal("111.10")),
            purpose=Purpose.TAKE_PROFIT,
        ),
        Order(
            f"{ID}-BBB-stop",
            "BBB",
            Side.BUY,
            300,
            reduce_only=True,
            trigger=Trigger(TriggerKind.STOP, Decimal("51.450")),  # 49 × 1.05
            purpose=Purpose.STOP,
        ),
        Order(
            f"{ID}-BBB-take_profit",
            "BBB",
            Side.BUY,
            300,
            reduce_only=True,
            trigger=Trigger(TriggerKind.TAKE_PROFIT, Decimal("44.100")),
            purpose=Purpose.TAKE_PROFIT,
        ),
    )


STOP_ONLY = Execution(stop_loss=0.05, stop_tolerance=0.1)


@pytest.mark.parametrize(
    ("resting_at", "replaced"),
    [
        ("95", False),
        ("95.4", False),
        ("94.6", False),
        ("95.6", True),
        ("94.4", True),
    ],  # a tenth of 5 % is 0.5 %
)
def test_a_stop_stands_until_its_price_is_off_by_more_than_the_tolerance(
    resting_at: str, replaced: bool
) -> None:
    stop = waiting("AAA", -300, resting_at)
    given = planned((300,), STOP_ONLY, mark=(100.0,), lots=(300,), entry=(100.0,), open_orders=[stop])
    if not replaced:
        assert not given
        return
    assert given.cancels == (Cancel(1, "before-1", "AAA", "size or entry price changed"),)
    assert [(o.purpose, o.trigger and o.trigger.price) for o in given.orders] == [(Purpose.STOP, Decimal(95))]


def test_a_stop_of_another_size_is_replaced() -> None:
    stop = waiting("AAA", -200, "95")
    given = planned((300,), STOP_ONLY, mark=(100.0,), lots=(300,), entry=(100.0,), open_orders=[stop])
    assert [cancel.order_id for cancel in given.cancels] == [1]
    assert traded(given) == [("AAA", -300, True)]


def test_a_second_stop_for_the_same_position_is_withdrawn() -> None:
    stops = [waiting("AAA", -300, "95"), waiting("AAA", -300, "95", order_id=2)]
    given = planned((300,), STOP_ONLY, mark=(100.0,), lots=(300,), entry=(100.0,), open_orders=stops)
    assert [cancel.order_id for cancel in given.cancels] == [2]
    assert given.orders == ()


def test_a_stop_whose_position_is_gone_is_withdrawn() -> None:
    given = planned((0,), STOP_ONLY, mark=(100.0,), open_orders=[waiting("AAA", -300, "95")])
    assert given == OrderPlan((Cancel(1, "before-1", "AAA", "its position is gone"),), ())


def test_a_stop_is_no_resting_order_that_could_serve_or_stand_in_the_way() -> None:
    stop = waiting("AAA", -300, "95")
    given = planned((0,), STOP_ONLY, mark=(100.0,), lots=(300,), entry=(100.0,), open_orders=[stop])
    # The close goes out, and until it is filled the stop stands.
    assert given.cancels == ()
    assert [(o.purpose, o.signed_lots) for o in given.orders] == [(Purpose.EXIT, -300)]


@pytest.mark.parametrize(
    ("lots", "mark", "purpose"),
    [
        (300, 95.0, Purpose.STOP),
        (300, 90.0, Purpose.STOP),
        (300, 110.0, Purpose.TAKE_PROFIT),
        (-300, 105.0, Purpose.STOP),
        (-300, 89.0, Purpose.TAKE_PROFIT),
    ],
)
def test_where_price_is_beyond_the_level_already_the_position_is_closed_at_once(
    lots: int, mark: float, purpose: Purpose
) -> None:
    given = planned((lots,), GUARDED, mark=(mark,), lots=(lots,), entry=(100.0,))
    at_once = [order for order in given.orders if order.trigger is None]
    assert [(o.purpose, o.signed_lots, o.reduce_only, o.limit_price) for o in at_once] == [
        (purpose, -lots, True, None)
    ]
    assert len(given.orders) == 2


def test_a_resting_stop_that_price_has_jumped_over_is_replaced_by_a_close_at_once() -> None:
    given = planned(
        (300,), STOP_ONLY, mark=(90.0,), lots=(300,), entry=(100.0,), open_orders=[waiting("AAA", -300, "95")]
    )
    assert [cancel.order_id for cancel in given.cancels] == [1]
    assert [order.trigger for order in given.orders] == [None]


def test_without_a_mark_a_stop_can_still_be_placed_from_the_entry_price() -> None:
    given = planned((300,), STOP_ONLY, mark=(nan,), lots=(300,), entry=(100.0,))
    assert [order.trigger and order.trigger.price for order in given.orders] == [Decimal(95)]


def test_a_level_that_no_price_can_reach_gets_no_trigger() -> None:
    given = planned((-300,), Execution(take_profit=1.0), mark=(100.0,), lots=(-300,), entry=(100.0,))
    assert given.orders == ()
    stale = waiting("AAA", 300, "1", purpose=Purpose.TAKE_PROFIT)
    given = planned(
        (-300,), Execution(take_profit=1.0), mark=(100.0,), lots=(-300,), entry=(100.0,), open_orders=[stale]
    )
    assert [cancel.order_id for cancel in given.cancels] == [1]


def test_protection_alone_leaves_other_orders_be() -> None:
    snapshot = moment(
        mandate(execution=STOP_ONLY), (100.0,), lots=(300,), open_orders=[resting("AAA", 200, "100")]
    )
    given = protect(snapshot.account, np.array([100.0]), snapshot.market.instruments, "later", STOP_ONLY)
    assert given.cancels == ()
    assert [order.client_id for order in given.orders] == ["later-AAA-stop"]
    settled = moment(mandate(execution=STOP_ONLY), (100.0,))
    assert (
        protect(settled.account, np.array([100.0]), settled.market.instruments, "x", STOP_ONLY) is NO_ORDERS
    )
