"""What the kill ladder asks for, by hand-made accounts: which orders go, which stay, and what closes a position."""

from decimal import Decimal

import numpy as np
import pytest

from bot.model.decision import AccountView, Finding, Memory, OrderPlan, TradingState
from bot.model.instrument import simple_instrument, spot_instrument
from bot.model.order import (
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    TriggerKind,
)
from bot.pipeline.closing import closing, dust_usd, is_flat, withdrawals, word
from bot.pipeline.mandate import Execution

INSTRUMENTS = (
    simple_instrument("BTC", 5, 40),
    simple_instrument("ETH", 4, 25),
    simple_instrument("SOL", 2, 20),
)
MARK = np.array([50_000.0, 2_000.0, 0.0])
MAKER = TimeInForce.GTC


def resting(number: int, coin: str, purpose: Purpose, *, reduce_only: bool) -> OrderReport:
    trigger = Trigger(TriggerKind.STOP, Decimal(40_000)) if purpose is Purpose.STOP else None
    order = Order(f"x-{number}", coin, Side.SELL, 5, Decimal(50_000), MAKER, reduce_only, trigger, purpose)
    return OrderReport(0, number, order, OrderStatus.RESTING)


ENTRY = resting(1, "BTC", Purpose.ENTRY, reduce_only=False)
EXIT = resting(2, "BTC", Purpose.EXIT, reduce_only=True)
STOP = resting(3, "BTC", Purpose.STOP, reduce_only=True)
ORPHAN = resting(4, "ETH", Purpose.STOP, reduce_only=True)
EXTERNAL = resting(5, "ETH", Purpose.EXTERNAL, reduce_only=False)
ALL = (ENTRY, EXIT, STOP, ORPHAN, EXTERNAL)


def account(lots: list[int], orders: tuple[OrderReport, ...] = ()) -> AccountView:
    return AccountView(1000.0, np.array(lots), np.abs(MARK), np.ones(3), orders)


@pytest.mark.parametrize(
    ("state", "numbers"),
    [(TradingState.ACTIVE, []), (TradingState.REDUCING, [1]), (TradingState.HALTED, [1, 2])],
)
def test_a_state_withdraws_what_it_forbids_and_never_a_stop_nor_a_strangers_order(
    state: TradingState, numbers: list[int]
) -> None:
    cancels = withdrawals(account([7, 0, 0], ALL), state, "drill")
    assert [cancel.order_id for cancel in cancels] == numbers
    assert all(cancel.because == "drill" for cancel in cancels)


def test_everything_is_closed_by_orders_that_only_reduce() -> None:
    plan = closing(
        account([7, -30, 4], ALL), MARK, INSTRUMENTS, "abcf1", Execution(slippage_bps=50), 0, "enough"
    )
    assert [cancel.order_id for cancel in plan.cancels] == [
        1,
        2,
        5,
    ]  # both stops guard something until it is gone
    told = [
        (o.client_id, o.side, o.lots, o.limit_price, o.reduce_only, o.purpose, o.time_in_force)
        for o in plan.orders
    ]
    taking = (True, Purpose.EXIT, TimeInForce.IOC)
    assert told == [
        ("abcf1-BTC-exit", Side.SELL, 7, Decimal(49750), *taking),  # 50 bps below 50,000
        ("abcf1-ETH-exit", Side.BUY, 30, Decimal(2010), *taking),  # and above 2,000
        ("abcf1-SOL-exit", Side.SELL, 4, None, *taking),  # no price is known here
    ]


def test_a_stop_without_a_position_goes_too() -> None:
    plan = closing(account([0, 0, 0], ALL), MARK, INSTRUMENTS, "abcf1", Execution(), 0, "enough")
    assert [cancel.order_id for cancel in plan.cancels] == [1, 2, 3, 4, 5]
    assert plan.orders == ()


@pytest.mark.parametrize(
    ("attempt", "slippage_bps", "limit"),
    [
        (0, 50.0, 49750),
        (1, 50.0, 49500),
        (2, 50.0, 49250),
        (3, 50.0, 49000),
        (4, 50.0, 49750),
        (0, 0.0, 49950),
    ],
)
def test_each_attempt_goes_further_from_mark_up_to_four_times(
    attempt: int, slippage_bps: float, limit: int
) -> None:
    execution = Execution(slippage_bps=slippage_bps)
    (order,) = closing(account([7, 0, 0]), MARK, INSTRUMENTS, "m", execution, attempt, "").orders
    assert order.limit_price == limit


def test_flat_is_nothing_held_and_nothing_open() -> None:
    assert is_flat(account([0, 0, 0]), MARK, INSTRUMENTS)
    assert not is_flat(account([0, 1, 0]), MARK, INSTRUMENTS)
    assert not is_flat(account([0, 0, 0], (STOP,)), MARK, INSTRUMENTS)


def test_coins_that_no_order_can_sell_are_left_and_count_as_flat_but_not_without_a_price() -> None:
    spot = (*INSTRUMENTS[:2], spot_instrument("UBTC/USDC", 5, "UBTC"))
    # 19 lots at 50,000 are 9.50 USD, 20 lots are 10.
    for lots, price, is_dust in ((19, 50_000.0, True), (20, 50_000.0, False), (19, 0.0, False)):
        held, mark = account([7, 0, lots]), np.array([50_000.0, 2_000.0, price])
        orders = closing(held, mark, spot, "m", Execution(), 0, "").orders
        assert [each.instrument for each in orders] == (["BTC"] if is_dust else ["BTC", "UBTC/USDC"])
        assert is_flat(account([0, 0, lots]), mark, spot) == is_dust
        assert dust_usd(held, mark, spot) == ({"UBTC/USDC": pytest.approx(9.5)} if is_dust else {})


def test_a_word_that_no_strategy_was_asked_for_keeps_what_they_hold_or_closes_it() -> None:
    memory = Memory.blank(2, 3, 1000.0)
    memory.held_lots[:] = [[7, 0, 0], [-2, 3, 0]]
    finding = Finding("flatten", "", "everything is to be closed: drill {0}")
    kept = word(memory, 3_600_000, "h1", OrderPlan(), finding)
    assert kept.snapshot_id == "e10h1"
    assert kept.allowed.lots.tolist() == [5, 3, 0]
    closed = word(memory, 3_600_000, "f1", OrderPlan(), finding, wanted=np.zeros((2, 3), np.int64))
    assert closed.wanted.lots.tolist() == [5, 3, 0]
    assert closed.allowed.by_strategy.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert closed.opinions[0].reason(0) == "not asked: everything is to be closed: drill {0}"
