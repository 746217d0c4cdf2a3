"""The simulated exchange, scenario by scenario, with numbers worked out by hand."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from bot.errors import Refused, StateError
from bot.model.account import Account, MarginMode
from bot.model.instrument import Instrument, MarginTier, simple_instrument
from bot.model.order import (
    Fill,
    FundingPayment,
    Liquidation,
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    TriggerKind,
)
from bot.sim.exchange import Exchange, FeeSchedule, Rules
from bot.sim.fees import HYPERLIQUID_PERPS

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
GTC, ALO, IOC = TimeInForce.GTC, TimeInForce.ALO, TimeInForce.IOC
STOP, TAKE_PROFIT = TriggerKind.STOP, TriggerKind.TAKE_PROFIT
CROSS, ISOLATED = MarginMode.CROSS, MarginMode.ISOLATED
FREE = FeeSchedule.flat(D(0), D(0))
NO_PARTIAL = Rules(fees=FREE, partial_liquidation_usd=D("1e12"))
DAY_MS = 86_400_000

ALT = simple_instrument("ALT", 0, 10)
DEC = simple_instrument("DEC", 1, 10)
TIERED = Instrument("TIERED", 0, (MarginTier(D(0), 10), MarginTier(D(3_000_000), 5)))
ALONE = Instrument("ALONE", 0, (MarginTier(D(0), 3),), only_isolated=True)
ALL = [ALT, DEC, TIERED, ALONE]


def exchange(rules: Rules | None = None, mark: Any = 100, **deposits: int) -> Exchange:
    """Every instrument marked at 100, no outside market, and accounts with these deposits."""
    venue = Exchange(ALL, rules or Rules(fees=FREE))
    for name, amount in (deposits or {"ann": 100_000, "bob": 100_000, "cat": 100_000}).items():
        venue.deposit(name, D(amount), 0)
    venue.set_marks({instrument.name: D(mark) for instrument in ALL}, 0)
    return venue


def order(side: Side, lots: int, price: Any = None, tif: TimeInForce | None = None, **more: Any) -> Order:
    limit = None if price is None else D(str(price))
    return Order(
        more.pop("id", "x"), more.pop("of", "ALT"), side, lots, limit, tif or (GTC if limit else IOC), **more
    )


def stop(
    side: Side, lots: int, price: Any, kind: TriggerKind = STOP, limit: Any = None, **more: Any
) -> Order:
    more.setdefault("reduce_only", True)
    return order(side, lots, limit, IOC, trigger=Trigger(kind, D(str(price))), **more)


def both(venue: Exchange, price: Any, of: str = "ALT", time_ms: int = 0) -> None:
    venue.quote(of, D(str(price)), D(str(price)), time_ms)


def fills(venue: Exchange, account: str | None = None) -> list[Fill]:
    return [event for name, event in venue.drain() if isinstance(event, Fill) and account in (None, name)]


def cancels(venue: Exchange) -> list[tuple[int, str]]:
    return [
        (event.order_id, event.reason)
        for _, event in venue.drain()
        if isinstance(event, OrderReport) and event.status is OrderStatus.CANCELED
    ]


def taken(venue: Exchange) -> list[Liquidation]:
    return [event for _, event in venue.drain() if isinstance(event, Liquidation)]


def gap(account: Account) -> D:
    """What the books are off by; the account's invariant says 0."""
    held = sum((p.cash_usd + p.cost_usd for p in account.positions.values()), D(0))
    owed = (
        account.deposits_usd
        + account.realised_usd
        + account.funding_usd
        - account.fees_usd
        - account.forfeited_usd
    )
    return account.cash_usd + held - owed


# Matching


def test_market_order_takes_the_outside_quote_and_pays_the_taker_fee() -> None:
    venue = exchange(Rules())
    venue.quote("ALT", D("99.9"), D("100.1"), 5)
    report = venue.submit("ann", order(BUY, 30), 5)
    (fill,) = fills(venue)
    assert (report.order_id, report.status, report.filled_lots, report.average_price) == (
        1,
        OrderStatus.FILLED,
        30,
        D("100.1"),
    )
    assert (fill.trade_id, fill.price, fill.notional_usd) == (1, D("100.1"), D(3003))
    assert fill.fee_usd == D("1.35135")  # 3003 × 0.045 %
    assert venue.accounts["ann"].cash_usd == D(100_000) - 3003 - D("1.35135")
    assert venue.accounts["ann"].lots("ALT") == 30


def test_gtc_takes_what_matches_and_rests_the_remainder() -> None:
    venue = exchange()
    venue.submit("ann", order(SELL, 40, 101), 1)
    report = venue.submit("bob", order(BUY, 100, 102), 2)
    assert (report.status, report.filled_lots, report.remaining_lots) == (OrderStatus.RESTING, 40, 60)
    assert report.average_price == 101  # the maker's price, not the taker's limit
    assert venue.open_orders("bob") == [report]
    assert venue.open_orders("ann") == []
    venue.quote("ALT", None, D(102), 3)
    (fill,) = [f for f in fills(venue) if f.time_ms == 3]
    assert (fill.lots, fill.price, fill.is_maker) == (60, D(102), True)
    assert venue.open_orders("bob") == []


def test_best_price_goes_first_then_the_oldest() -> None:
    venue = exchange()
    late = venue.submit("ann", order(SELL, 10, 101), 1).order_id
    cheap = venue.submit("bob", order(SELL, 10, 100), 2).order_id
    later = venue.submit("bob", order(SELL, 10, 101), 3).order_id
    venue.drain()
    venue.submit("cat", order(BUY, 25, 101), 4)
    makers = [(f.order_id, f.lots, f.price) for f in fills(venue) if f.is_maker]
    assert makers == [(cheap, 10, D(100)), (late, 10, D(101)), (later, 5, D(101))]


def test_each_trade_tells_the_taker_then_the_maker_then_how_the_makers_order_stands() -> None:
    venue = exchange()
    venue.submit("ann", order(SELL, 10, 100), 1)
    venue.drain()
    venue.submit("bob", order(BUY, 4), 2)
    told = [(name, type(event).__name__) for name, event in venue.drain()]
    assert told == [("bob", "Fill"), ("ann", "Fill"), ("ann", "OrderReport"), ("bob", "OrderReport")]


def test_at_one_price_resting_orders_go_before_the_outside_market() -> None:
    venue = exchange()
    venue.submit("ann", order(SELL, 10, 100), 1)
    venue.quote("ALT", D(98), D(100), 1)
    venue.drain()
    venue.submit("bob", order(BUY, 15), 2)
    assert [(f.lots, f.is_maker) for f in fills(venue)] == [(10, False), (10, True), (5, False)]


def test_a_better_outside_price_goes_before_resting_orders() -> None:
    venue = exchange()
    venue.submit("ann", order(SELL, 10, 101), 1)
    venue.quote("ALT", D(98), D(100), 1)
    venue.drain()
    venue.submit("bob", order(BUY, 15, 101), 2)
    assert [(f.lots, f.price) for f in fills(venue)] == [(15, D(100))]


def test_own_resting_order_in_the_way_is_cancelled_and_the_taker_goes_on() -> None:
    venue = exchange()
    own = venue.submit("ann", order(SELL, 10, 100), 1).order_id
    venue.submit("bob", order(SELL, 10, 101), 1)
    venue.drain()
    report = venue.submit("ann", order(BUY, 10, 101), 2)
    assert (report.status, report.average_price) == (OrderStatus.FILLED, D(101))
    assert cancels(venue) == [(own, "selfTradeCanceled")]
    assert venue.accounts["ann"].lots("ALT") == 10


@pytest.mark.parametrize("price", [100, 101])
def test_post_only_is_refused_where_it_would_match(price: int) -> None:
    venue = exchange()
    venue.submit("ann", order(SELL, 10, 100), 1)
    report = venue.submit("bob", order(BUY, 10, price, ALO), 2)
    assert report.status is OrderStatus.REJECTED
    assert report.reason == "Post only order would have immediately matched."


def test_post_only_looks_at_the_outside_quote_and_rests_where_it_is_clear() -> None:
    venue = exchange()
    venue.quote("ALT", D(99), D(100), 1)
    assert venue.submit("bob", order(BUY, 10, 100, ALO), 2).status is OrderStatus.REJECTED
    assert venue.submit("bob", order(SELL, 10, 99, ALO), 2).status is OrderStatus.REJECTED
    assert venue.submit("bob", order(BUY, 10, "99.999", ALO), 2).status is OrderStatus.RESTING


def test_ioc_cancels_what_is_left_and_is_refused_if_nothing_matched() -> None:
    venue = exchange()
    nothing = venue.submit("bob", order(BUY, 10, 100, IOC), 1)
    assert nothing.reason == "Order could not immediately match against any resting orders."
    assert venue.submit("bob", order(BUY, 10), 1).reason == "No liquidity available for market order."
    venue.submit("ann", order(SELL, 4, 100), 1)
    partly = venue.submit("bob", order(BUY, 10, 100, IOC), 2)
    assert (partly.status, partly.filled_lots, partly.reason) == (
        OrderStatus.CANCELED,
        4,
        "iocCancelRejected",
    )
    assert venue.open_orders("bob") == []


def test_average_price_weighs_by_lots() -> None:
    venue = exchange()
    venue.submit("ann", order(SELL, 10, 100), 1)
    venue.submit("ann", order(SELL, 30, 104), 1)
    assert venue.submit("bob", order(BUY, 40, 104), 2).average_price == 103  # (1000 + 3120) / 40


def test_trading_through_fills_strictly_inside_the_range_at_the_orders_own_price() -> None:
    venue = exchange()
    at_low = venue.submit("ann", order(BUY, 10, 95), 1).order_id
    inside = [venue.submit("ann", order(BUY, 10, price), 1).order_id for price in (96, 97)]
    above = [venue.submit("bob", order(SELL, 10, price), 1).order_id for price in (104, 103, 105)]
    venue.drain()
    venue.trade_through("ALT", D(95), D(105), 2)
    assert [(f.order_id, f.price) for f in fills(venue)] == [
        (inside[1], D(97)),
        (inside[0], D(96)),
        (above[1], D(103)),
        (above[0], D(104)),
    ]
    assert [report.order_id for report in venue.open_orders("ann")] == [at_low]
    assert [report.order_id for report in venue.open_orders("bob")] == [above[2]]


def test_cancel_removes_an_open_order_and_refuses_any_other() -> None:
    venue = exchange()
    order_id = venue.submit("ann", order(BUY, 10, 99), 1).order_id
    with pytest.raises(Refused, match="never placed"):
        venue.cancel("bob", order_id, 2)
    assert venue.cancel("ann", order_id, 2).status is OrderStatus.CANCELED
    with pytest.raises(Refused, match="never placed"):
        venue.cancel("ann", order_id, 3)
    both(venue, 98, time_ms=4)
    assert fills(venue) == []


# Reduce-only


def test_reduce_only_is_refused_where_it_could_not_only_reduce() -> None:
    venue = exchange()
    both(venue, 100)
    text = "Reduce only order would increase position."
    assert venue.submit("ann", order(SELL, 10, reduce_only=True), 1).reason == text
    venue.submit("ann", order(BUY, 10), 1)
    assert venue.submit("ann", order(BUY, 10, reduce_only=True), 1).reason == text
    assert venue.submit("ann", order(SELL, 11, reduce_only=True), 1).reason == text
    assert venue.submit("ann", order(SELL, 10, reduce_only=True), 1).status is OrderStatus.FILLED


def test_resting_reduce_only_order_is_clipped_to_the_position_and_then_cancelled() -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    venue.quote("ALT", None, None, 1)
    first = venue.submit("ann", order(SELL, 10, 105, reduce_only=True), 2).order_id
    venue.submit("bob", order(BUY, 6, 102), 3)
    venue.submit("ann", order(SELL, 6, 102), 3)  # position 4, the order still asks for 10
    venue.drain()
    report = venue.submit("bob", order(BUY, 8, 105), 4)
    assert (report.status, report.filled_lots) == (OrderStatus.RESTING, 4)
    assert cancels(venue) == [(first, "reduceOnlyCanceled")]
    assert venue.accounts["ann"].positions == {}


def test_closing_a_position_cancels_its_reduce_only_orders_resting_before_waiting() -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    guard = venue.submit("ann", stop(SELL, 10, 90), 1).order_id
    exits = [
        venue.submit("ann", order(SELL, 10, price, reduce_only=True), 1).order_id for price in (110, 111)
    ]
    venue.drain()
    venue.submit("ann", order(SELL, 25), 2)  # through flat to short 15
    assert cancels(venue) == [(order_id, "reduceOnlyCanceled") for order_id in (*exits, guard)]


# Triggers


@pytest.mark.parametrize(
    ("held", "kind", "trigger", "short_of_it", "fires_at"),
    [
        (BUY, STOP, 90, "90.001", "90"),
        (BUY, TAKE_PROFIT, 110, "109.99", "110"),
        (SELL, STOP, 110, "109.99", "110"),
        (SELL, TAKE_PROFIT, 90, "90.001", "90"),
    ],
)
def test_trigger_fires_when_the_mark_reaches_it(
    held: Side, kind: TriggerKind, trigger: int, short_of_it: str, fires_at: str
) -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(held, 10), 1)
    waiting = venue.submit("ann", stop(held.opposite, 10, trigger, kind), 1)
    assert waiting.status is OrderStatus.WAITING
    assert venue.open_orders("ann") == [waiting]
    venue.set_marks({"ALT": D(short_of_it)}, 2)
    assert venue.accounts["ann"].lots("ALT") != 0
    venue.drain()
    venue.set_marks({"ALT": D(fires_at)}, 3)
    (fill,) = fills(venue)
    assert (fill.order_id, fill.lots, fill.is_maker) == (waiting.order_id, 10, False)
    assert venue.accounts["ann"].lots("ALT") == 0


@pytest.mark.parametrize(
    ("held", "kind", "trigger"),
    [(BUY, STOP, 100), (BUY, TAKE_PROFIT, 100), (SELL, STOP, 100), (SELL, TAKE_PROFIT, 100)],
)
def test_trigger_that_would_fire_at_once_is_refused(held: Side, kind: TriggerKind, trigger: int) -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(held, 10), 1)
    assert venue.submit("ann", stop(held.opposite, 10, trigger, kind), 1).reason == "Invalid TP/SL price."


def test_fired_stop_larger_than_the_position_is_clipped_and_its_brother_cancelled() -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    guard = venue.submit("ann", stop(SELL, 10, 90), 1).order_id
    brother = venue.submit("ann", stop(SELL, 10, 110, TAKE_PROFIT), 1).order_id
    venue.submit("ann", order(SELL, 7), 1)
    venue.drain()
    venue.set_marks({"ALT": D(89)}, 2)
    reports = {e.order_id: e for _, e in venue.drain() if isinstance(e, OrderReport)}
    assert (reports[guard].status, reports[guard].filled_lots) == (OrderStatus.FILLED, 3)
    assert reports[brother].reason == "reduceOnlyCanceled"
    assert venue.open_orders("ann") == []


def test_two_stops_that_fire_together_close_the_position_once() -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    first = venue.submit("ann", stop(SELL, 10, 90), 1).order_id
    venue.submit("ann", stop(SELL, 10, 91), 1)
    venue.drain()
    venue.set_marks({"ALT": D(89)}, 2)
    assert [(f.order_id, f.lots) for f in fills(venue)] == [(first, 10)]
    assert venue.accounts["ann"].lots("ALT") == 0


def test_fired_stop_limit_does_not_trade_beyond_its_limit() -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    guard = venue.submit("ann", stop(SELL, 10, 90, limit=88), 1).order_id
    both(venue, 87, time_ms=2)
    venue.drain()
    venue.set_marks({"ALT": D(89)}, 2)
    (report,) = [e for _, e in venue.drain() if isinstance(e, OrderReport)]
    assert (report.order_id, report.status) == (guard, OrderStatus.REJECTED)
    assert report.reason == "Order could not immediately match against any resting orders."
    assert venue.accounts["ann"].lots("ALT") == 10


def test_entry_trigger_reserves_nothing_and_needs_its_margin_when_it_fires() -> None:
    venue = exchange(ann=1_000)
    both(venue, 105)
    venue.submit("ann", stop(BUY, 40, 105, reduce_only=False), 1)
    assert venue.available_usd("ann") == 1_000
    venue.submit("ann", order(BUY, 40), 1)  # 4000 / 5 = 800 of 1000; bought 5 above the mark: 800 left
    assert venue.available_usd("ann") == 0
    venue.drain()
    venue.set_marks({"ALT": D(105)}, 2)
    (report,) = [e for _, e in venue.drain() if isinstance(e, OrderReport)]
    assert (report.status, report.reason) == (OrderStatus.REJECTED, "Insufficient margin to place order.")


# What is refused before matching


def test_prices_are_held_to_the_grid_and_the_band() -> None:
    venue = exchange()
    tick = "Price must be divisible by tick size."
    assert venue.submit("ann", order(BUY, 10, "99.9991"), 1).reason == tick
    assert venue.submit("ann", stop(SELL, 10, "90.0001"), 1).reason == tick
    band = "Order price cannot be more than 95% away from the reference price"
    assert venue.submit("ann", order(BUY, 10, "4.9999"), 1).reason == band
    assert venue.submit("ann", order(SELL, 10, "195.01"), 1).reason == band
    assert venue.submit("ann", order(BUY, 10, 5), 1).status is OrderStatus.RESTING
    assert venue.submit("ann", order(SELL, 10, 195), 1).status is OrderStatus.RESTING


def test_nothing_trades_before_there_is_a_mark() -> None:
    venue = Exchange([ALT])
    venue.deposit("ann", D(100), 0)
    both(venue, 100)
    assert venue.submit("ann", order(BUY, 1), 1).reason == "No mark price."


def test_orders_below_ten_dollars_are_refused_but_a_whole_remainder_can_be_closed() -> None:
    venue = exchange()
    both(venue, 100, "DEC")
    text = "Order must have minimum value of $10."
    assert venue.submit("ann", order(BUY, 1, "99.99", of="DEC"), 1).reason == text  # 0.1 × 99.99
    assert venue.submit("ann", order(BUY, 2, of="DEC"), 1).status is OrderStatus.FILLED
    venue.set_marks({"DEC": D(40)}, 2)
    both(venue, 40, "DEC", 2)
    assert venue.submit("ann", order(SELL, 1, of="DEC", reduce_only=True), 2).reason == text
    assert venue.submit("ann", order(SELL, 2, of="DEC"), 2).reason == text
    assert venue.submit("ann", stop(SELL, 1, 39, of="DEC"), 2).reason == text
    assert venue.submit("ann", stop(SELL, 2, 39, of="DEC"), 2).status is OrderStatus.WAITING
    assert venue.submit("ann", order(SELL, 2, of="DEC", reduce_only=True), 2).status is OrderStatus.FILLED


def test_refused_orders_have_ids_and_reports_too() -> None:
    venue = exchange()
    report = venue.submit("ann", order(BUY, 10), 1)
    assert (report.order_id, report.status) == (1, OrderStatus.REJECTED)
    assert venue.drain() == [("ann", report)]
    assert venue.drain() == []
    assert venue.submit("ann", order(BUY, 10, 99), 1).order_id == 2


def test_unknown_names_and_times_that_go_back_are_errors() -> None:
    venue = exchange()
    with pytest.raises(Refused, match="no account 'dan'"):
        venue.submit("dan", order(BUY, 10), 1)
    with pytest.raises(Refused, match="no instrument 'ZZZ'"):
        venue.submit("ann", order(BUY, 10, of="ZZZ"), 1)
    with pytest.raises(Refused, match="negative"):
        venue.deposit("ann", D(-1), 1)
    with pytest.raises(Refused, match="above 0"):
        venue.set_marks({"ALT": D(0)}, 1)
    with pytest.raises(ValueError, match="can't go back"):
        venue.quote("ALT", None, None, 0)


# Margin


def test_cross_margin_counts_resting_orders_on_their_worse_side() -> None:
    venue = exchange(ann=1_000)  # 5x: 5000 of notional, 50 lots
    assert venue.submit("ann", order(BUY, 50, 99), 1).status is OrderStatus.RESTING
    refused = venue.submit("ann", order(BUY, 1, 99), 1)
    assert (refused.status, refused.reason) == (OrderStatus.REJECTED, "Insufficient margin to place order.")
    assert (
        venue.submit("ann", order(SELL, 50, 101), 1).status is OrderStatus.RESTING
    )  # only one side can be worst
    assert venue.submit("ann", order(SELL, 1, 101), 1).status is OrderStatus.REJECTED
    assert venue.available_usd("ann") == 0


def test_orders_that_bring_a_position_down_need_no_margin() -> None:
    venue = exchange(ann=1_000)
    both(venue, 100)
    venue.submit("ann", order(BUY, 50), 1)
    venue.set_marks({"ALT": D(90)}, 2)  # value 500, margin 900: nothing more may be opened
    assert venue.submit("ann", order(BUY, 1), 2).reason == "Insufficient margin to place order."
    assert venue.submit("ann", order(SELL, 100, 101), 2).status is OrderStatus.RESTING  # at worst short 50
    assert venue.submit("ann", order(SELL, 1), 2).reason == "Insufficient margin to place order."


def test_profit_of_one_cross_position_backs_another() -> None:
    venue = exchange(ann=1_000)
    both(venue, 100)
    both(venue, 100, "DEC")
    venue.submit("ann", order(BUY, 50), 1)
    assert venue.submit("ann", order(BUY, 1, of="DEC"), 1).status is OrderStatus.REJECTED
    venue.set_marks({"ALT": D(110)}, 2)  # value 1500, margin 1100, free 400 = 2000 at 5x = 200 tenths
    assert venue.submit("ann", order(BUY, 201, of="DEC"), 2).status is OrderStatus.REJECTED
    assert venue.submit("ann", order(BUY, 200, of="DEC"), 2).status is OrderStatus.FILLED


def test_leverage_decides_the_initial_margin() -> None:
    venue = exchange(ann=1_000)
    both(venue, 100)
    venue.set_leverage("ann", "ALT", 10, CROSS, 1)
    assert venue.submit("ann", order(BUY, 101), 1).status is OrderStatus.REJECTED
    assert venue.submit("ann", order(BUY, 100), 1).status is OrderStatus.FILLED


def test_large_positions_may_not_use_the_leverage_of_small_ones() -> None:
    venue = exchange(ann=10_000_000)
    both(venue, 100, "TIERED")
    venue.set_leverage("ann", "TIERED", 6, CROSS, 1)
    text = "Order would cause position to exceed margin tier limit at current leverage"
    assert venue.submit("ann", order(BUY, 30_000, of="TIERED"), 1).reason == text  # 3M: 5x from there on
    assert venue.submit("ann", order(BUY, 29_999, of="TIERED"), 1).status is OrderStatus.FILLED
    assert venue.submit("ann", order(BUY, 1, 99, of="TIERED"), 1).reason == text
    venue.set_leverage("ann", "TIERED", 5, CROSS, 1)
    assert venue.submit("ann", order(BUY, 1, of="TIERED"), 1).status is OrderStatus.FILLED
    with pytest.raises(Refused, match="margin tier"):
        venue.set_leverage("ann", "TIERED", 6, CROSS, 1)


def test_isolated_orders_are_paid_from_free_cross_margin() -> None:
    venue = exchange(ann=1_000)
    venue.set_leverage("ann", "ALT", 4, ISOLATED, 0)
    both(venue, 100)
    both(venue, 100, "DEC")
    venue.submit("ann", order(BUY, 250, of="DEC"), 1)  # 2500 / 5 = 500 of the 1000
    assert venue.submit("ann", order(BUY, 21), 1).reason == "Insufficient margin to place order."
    assert venue.submit("ann", order(BUY, 20), 1).status is OrderStatus.FILLED  # 2000 / 4 = 500
    assert venue.available_usd("ann") == 0
    assert venue.submit("ann", order(BUY, 1, 99), 1).reason == "Insufficient margin to place order."


def test_a_resting_order_whose_margin_is_gone_is_cancelled_when_it_would_trade() -> None:
    venue = exchange(ann=1_000, bob=100_000)
    both(venue, 100, "DEC")
    poor = venue.submit("ann", order(BUY, 20, 99), 1).order_id  # 400
    venue.submit("ann", order(BUY, 300, of="DEC"), 1)  # 600
    venue.set_marks({"DEC": D(99)}, 2)
    venue.drain()
    report = venue.submit("bob", order(SELL, 20, 99), 2)
    assert cancels(venue) == [(poor, "marginCanceled")]
    assert (report.status, report.filled_lots) == (OrderStatus.RESTING, 0)


def test_leverage_settings_that_make_no_sense_are_refused() -> None:
    venue = exchange(ann=1_000)
    for leverage in (0, 11, -1):
        with pytest.raises(Refused, match="Invalid leverage value"):
            venue.set_leverage("ann", "ALT", leverage, CROSS, 1)
    with pytest.raises(Refused, match="Cross margin is not allowed"):
        venue.set_leverage("ann", "ALONE", 2, CROSS, 1)
    assert venue.leverage("ann", "ALONE") == (3, ISOLATED)
    assert venue.leverage("ann", "ALT") == (5, CROSS)
    both(venue, 100, time_ms=1)
    venue.submit("ann", order(BUY, 40), 1)
    with pytest.raises(Refused, match="Cannot switch leverage type"):
        venue.set_leverage("ann", "ALT", 5, ISOLATED, 1)
    venue.set_leverage("ann", "ALT", 4, CROSS, 1)  # 4000 / 4 = 1000, just enough
    with pytest.raises(Refused, match="Cross position does not have sufficient margin"):
        venue.set_leverage("ann", "ALT", 3, CROSS, 1)
    assert venue.leverage("ann", "ALT") == (4, CROSS)


def test_lowering_the_leverage_of_an_isolated_position_needs_its_own_margin() -> None:
    venue = exchange(ann=10_000)
    venue.set_leverage("ann", "ALT", 5, ISOLATED, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 50), 1)
    with pytest.raises(Refused, match="Isolated position does not have sufficient margin"):
        venue.set_leverage("ann", "ALT", 4, ISOLATED, 1)
    venue.set_marks({"ALT": D(110)}, 2)  # worth 1500 on 5500: 4x asks for 1375
    venue.set_leverage("ann", "ALT", 4, ISOLATED, 2)
    assert venue.leverage("ann", "ALT") == (4, ISOLATED)


# Isolated books


def test_isolated_position_takes_margin_along_and_gives_it_back_in_proportion() -> None:
    venue = exchange(ann=1_000)
    account = venue.accounts["ann"]
    venue.set_leverage("ann", "ALT", 5, ISOLATED, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    assert (account.cash_usd, account.positions["ALT"].cash_usd) == (D(800), D(-800))
    both(venue, 110, time_ms=2)
    venue.submit("ann", order(SELL, 4), 2)
    # −800 + 440 + 6 × 110 = 300 is what the position is worth; 4 of 10 of that comes back
    assert (account.cash_usd, account.positions["ALT"].cash_usd) == (D(920), D(-480))
    assert account.realised_usd == 40
    venue.submit("ann", order(SELL, 6), 2)
    assert (account.cash_usd, account.positions) == (D(1_100), {})
    assert gap(account) == 0


def test_isolated_position_that_turns_around_is_closed_and_opened_anew() -> None:
    venue = exchange(ann=1_000)
    account = venue.accounts["ann"]
    venue.set_leverage("ann", "ALT", 5, ISOLATED, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    both(venue, 110, time_ms=2)
    venue.submit("ann", order(SELL, 15), 2)
    # closing gives −800 + 1100 = 300; being short 5 at 110 takes 110 of margin
    position = account.positions["ALT"]
    assert (account.cash_usd, position.lots, position.cash_usd, position.opened_ms) == (D(990), -5, D(660), 2)
    assert position.entry_price == 110
    assert gap(account) == 0


# Fees and funding


def test_fee_is_rounded_down_to_a_millionth() -> None:
    venue = exchange(Rules(), mark=D("66.653"))
    venue.submit("ann", order(SELL, 1, "66.653"), 1)
    venue.submit("bob", order(BUY, 1), 1)
    taker, maker = fills(venue)
    assert maker.fee_usd == D("0.009997")  # 66.653 × 0.015 % = 0.00999795
    assert taker.fee_usd == D("0.029993")  # 66.653 × 0.045 % = 0.02999385


def test_rebates_are_rounded_down_too() -> None:
    venue = exchange(Rules(fees=FeeSchedule.flat(D(0), D("-0.00001"))), mark=D("66.653"))
    venue.submit("ann", order(SELL, 1, "66.653"), 1)
    venue.submit("bob", order(BUY, 1), 1)
    assert venue.accounts["ann"].fees_usd == D("-0.000667")


def test_fee_tiers_start_above_their_volume() -> None:
    assert HYPERLIQUID_PERPS.rate(False, D(5_000_000)) == D("0.00045")
    assert HYPERLIQUID_PERPS.rate(False, D("5000000.01")) == D("0.0004")
    assert HYPERLIQUID_PERPS.rate(True, D(10) ** 10) == 0
    assert HYPERLIQUID_PERPS.rate(False, D(10) ** 10) == D("0.00024")
    with pytest.raises(ValueError, match="must start at a volume of 0"):
        FeeSchedule(())


def test_volume_counts_from_the_next_day_on_and_for_fourteen_days() -> None:
    venue = exchange(Rules(), ann=10_000_000)
    both(venue, 100)
    venue.submit("ann", order(BUY, 30_000), 10)  # 3M each way, 6M on day 0
    venue.submit("ann", order(SELL, 30_000), 10)
    rates = {}
    for day, time_ms in [(0, DAY_MS - 1), (1, DAY_MS), (14, 15 * DAY_MS - 1), (15, 15 * DAY_MS)]:
        venue.drain()
        venue.submit("ann", order(BUY, 10), time_ms)
        (fill,) = fills(venue)
        rates[day] = fill.fee_usd / fill.notional_usd
    assert rates == {0: D("0.00045"), 1: D("0.0004"), 14: D("0.0004"), 15: D("0.00045")}


def test_funding_is_paid_on_the_oracle_price_by_longs_to_shorts() -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    venue.submit("bob", order(SELL, 10), 1)
    venue.drain()
    venue.settle_funding({"ALT": D("0.0001")}, {"ALT": D("101.5")}, 3_600_000)
    paid = [(name, e.usd) for name, e in venue.drain() if isinstance(e, FundingPayment)]
    assert paid == [("ann", D("-0.1015")), ("bob", D("0.1015"))]
    assert venue.accounts["ann"].funding_usd == D("-0.1015")


@pytest.mark.parametrize(("rate", "paid"), [("0.05", "-40"), ("-0.05", "40")])
def test_funding_rate_is_capped(rate: str, paid: str) -> None:
    venue = exchange()
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    venue.settle_funding({"ALT": D(rate)}, {"ALT": D(100)}, 3_600_000)
    assert venue.accounts["ann"].funding_usd == D(paid)


def test_only_what_is_held_at_the_instant_of_settlement_is_paid_on() -> None:
    venue = exchange()
    both(venue, 100)
    rates, oracles = {"ALT": D("0.0001")}, {"ALT": D(100), "DEC": D(100)}
    venue.submit("ann", order(BUY, 10), 3_599_999)
    venue.submit("bob", order(BUY, 10), 3_599_999)
    venue.submit("bob", order(SELL, 10), 3_599_999)
    venue.drain()
    venue.settle_funding(rates, oracles, 3_600_000)
    assert [name for name, event in venue.drain() if isinstance(event, FundingPayment)] == ["ann"]
    venue.settle_funding({}, oracles, 7_200_000)
    venue.settle_funding(rates, {}, 7_200_000)
    assert venue.drain() == []


def test_funding_of_an_isolated_position_comes_from_its_own_margin() -> None:
    venue = exchange(ann=1_000)
    venue.set_leverage("ann", "ALT", 5, ISOLATED, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 1)
    venue.settle_funding({"ALT": D("0.01")}, {"ALT": D(100)}, 3_600_000)
    assert (venue.accounts["ann"].cash_usd, venue.accounts["ann"].positions["ALT"].cash_usd) == (
        D(800),
        D(-810),
    )
    assert gap(venue.accounts["ann"]) == 0


# Liquidation


@pytest.mark.parametrize(
    ("mode", "deposit", "side", "lots", "safe", "liquidated"),
    [
        # long 4M, cash −3.03M. At 80: worth 170,000; 3.2M × 10 % − 150,000 = 170,000
        (CROSS, 970_000, BUY, 40_000, "80", "79.999"),
        # the same with more cash, at the tiers' border: 3M − 2.85M = 150,000 = 3M × 5 %
        (CROSS, 1_150_000, BUY, 40_000, "75", "74.999"),
        # short 3M. At 115: 3.645M − 3.45M = 195,000 = 3.45M × 10 % − 150,000
        (CROSS, 645_000, SELL, 30_000, "115", "115.01"),
        # margin 750,000 on 3.75M at 5x, whatever else there is: 37,500 × m − 3M against 3,750 × m − 150,000
        (ISOLATED, 9_000_000, BUY, 37_500, "84.45", "84.44"),
        (ISOLATED, 9_000_000, SELL, 37_500, "112.72", "112.73"),
    ],
)
def test_liquidation_starts_at_the_price_the_tiers_say(
    mode: MarginMode, deposit: int, side: Side, lots: int, safe: str, liquidated: str
) -> None:
    venue = exchange(NO_PARTIAL, ann=deposit)
    venue.set_leverage("ann", "TIERED", 5, mode, 0)
    both(venue, 100, "TIERED")
    assert venue.submit("ann", order(side, lots, of="TIERED"), 0).status is OrderStatus.FILLED
    price = venue.accounts["ann"].liquidation_price("TIERED", venue.marks)
    assert price is not None
    assert min(D(safe), D(liquidated)) <= price <= max(D(safe), D(liquidated))
    both(venue, liquidated, "TIERED", 1)
    venue.set_marks({"TIERED": D(safe)}, 1)
    assert taken(venue) == []
    venue.set_marks({"TIERED": D(liquidated)}, 2)
    signed = lots if side is BUY else -lots
    assert taken(venue) == [Liquidation(2, "TIERED", signed, D(liquidated), "full")]
    assert venue.accounts["ann"].positions == {}
    assert gap(venue.accounts["ann"]) == 0


def two_thousand_long() -> Exchange:
    """Long 2000 at 100 with 20,000: cash −180,000, maintenance 5 %."""
    venue = exchange(ann=20_000)
    venue.set_leverage("ann", "ALT", 10, CROSS, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 2_000), 0)
    venue.drain()
    return venue


def test_a_large_position_loses_a_fifth_first_then_all_within_thirty_seconds() -> None:
    venue = two_thousand_long()
    both(venue, "94.7", time_ms=1_000)
    venue.set_marks({"ALT": D("94.7")}, 1_000)  # 189,400 − 180,000 = 9,400 < 9,470
    assert taken(venue) == [Liquidation(1_000, "ALT", 400, D("94.7"), "partial")]
    assert venue.accounts["ann"].cash_usd == -142_120
    both(venue, "93.4", time_ms=30_999)
    venue.set_marks({"ALT": D("93.5")}, 30_999)  # 7,480 on both sides: not below
    assert taken(venue) == []
    venue.set_marks({"ALT": D("93.4")}, 30_999)  # 7,320 < 7,472
    assert taken(venue) == [Liquidation(30_999, "ALT", 1_600, D("93.4"), "full")]
    assert venue.accounts["ann"].cash_usd == 7_320


def test_after_thirty_seconds_it_is_a_fifth_again() -> None:
    venue = two_thousand_long()
    both(venue, "94.7", time_ms=1_000)
    venue.set_marks({"ALT": D("94.7")}, 1_000)
    both(venue, "93.4", time_ms=31_000)
    venue.drain()
    venue.set_marks({"ALT": D("93.4")}, 31_000)
    assert taken(venue) == [Liquidation(31_000, "ALT", 320, D("93.4"), "partial")]


def test_liquidation_cancels_orders_pays_taker_fees_and_meets_the_book_first() -> None:
    rules = Rules(fees=FeeSchedule.flat(D("0.0005"), D("0.0001")), partial_liquidation_usd=D("1e9"))
    venue = exchange(rules, ann=21_000, bob=100_000)
    venue.set_leverage("ann", "ALT", 10, CROSS, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 2_000), 0)  # fee 100, cash −179,100
    mine = [
        venue.submit("ann", order(SELL, 10, 190), 0).order_id,
        venue.submit("ann", stop(SELL, 2_000, 50), 0).order_id,
    ]
    both(venue, 94, time_ms=1)
    venue.submit("bob", order(BUY, 500, "93.5"), 1)
    venue.quote("ALT", D("93"), D("95"), 1)
    venue.drain()
    venue.set_marks({"ALT": D("94.2")}, 1)  # 9,300 < 9,420
    events = venue.drain()
    canceled = [
        e.order_id for _, e in events if isinstance(e, OrderReport) and e.reason == "liquidatedCanceled"
    ]
    assert canceled == mine
    sold = [e for name, e in events if isinstance(e, Fill) and name == "ann"]
    assert [(f.lots, f.price, f.fee_usd, f.purpose) for f in sold] == [
        (500, D("93.5"), D("23.375"), Purpose.LIQUIDATION),
        (1_500, D("93"), D("69.75"), Purpose.LIQUIDATION),
    ]
    (event,) = [e for _, e in events if isinstance(e, Liquidation)]
    assert (event.lots, event.price, event.kind) == (2_000, D("93.125"), "full")
    assert venue.accounts["bob"].lots("ALT") == 500
    assert gap(venue.accounts["ann"]) == gap(venue.accounts["bob"]) == 0


def test_backstop_takes_positions_at_the_mark_and_all_that_is_left() -> None:
    venue = two_thousand_long()
    venue.set_marks({"ALT": D("90.5")}, 1)  # worth 1,000 < ⅔ of 9,050; no market is needed
    events = venue.drain()
    (fill,) = [e for _, e in events if isinstance(e, Fill)]
    assert (fill.side, fill.lots, fill.price, fill.fee_usd, fill.purpose) == (
        SELL,
        2_000,
        D("90.5"),
        D(0),
        Purpose.LIQUIDATION,
    )
    assert [e for _, e in events if isinstance(e, Liquidation)] == [
        Liquidation(1, "ALT", 2_000, D("90.5"), "backstop", D(1_000))
    ]
    account = venue.accounts["ann"]
    assert (account.cash_usd, account.forfeited_usd, account.positions) == (D(0), D(1_000), {})
    assert gap(account) == 0


def test_backstop_takes_over_debts_as_well() -> None:
    venue = two_thousand_long()
    venue.set_marks({"ALT": D(80)}, 1)
    assert (venue.accounts["ann"].cash_usd, venue.accounts["ann"].forfeited_usd) == (D(0), D(-20_000))


def test_backstop_of_an_isolated_position_leaves_the_rest_alone() -> None:
    venue = exchange(ann=50_000)
    venue.set_leverage("ann", "ALT", 10, ISOLATED, 0)
    both(venue, 100)
    both(venue, 100, "DEC")
    venue.submit("ann", order(BUY, 2_000), 0)  # 20,000 of margin
    venue.submit("ann", order(BUY, 100, of="DEC"), 0)
    gone = venue.submit("ann", order(BUY, 10, 80), 0).order_id
    kept = venue.submit("ann", order(BUY, 10, 80, of="DEC"), 0).order_id
    venue.drain()
    venue.set_marks({"ALT": D("90.5")}, 1)
    events = venue.drain()
    assert [e for _, e in events if isinstance(e, Liquidation)] == [
        Liquidation(1, "ALT", 2_000, D("90.5"), "backstop", D(1_000))
    ]
    assert [e.order_id for _, e in events if isinstance(e, OrderReport)] == [gone]
    assert [report.order_id for report in venue.open_orders("ann")] == [kept]
    account = venue.accounts["ann"]
    assert (account.cash_usd, account.forfeited_usd, list(account.positions)) == (
        D(29_000),
        D(1_000),
        ["DEC"],
    )
    assert gap(account) == 0


def test_without_a_backstop_the_market_decides() -> None:
    venue = exchange(Rules(fees=FREE, backstop_ratio=D(0), partial_liquidation_usd=D("1e9")), ann=20_000)
    venue.set_leverage("ann", "ALT", 10, CROSS, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 2_000), 0)
    both(venue, 89, time_ms=1)
    venue.set_marks({"ALT": D("90.5")}, 1)
    assert venue.accounts["ann"].cash_usd == -2_000


def test_without_anyone_to_sell_to_a_position_stays() -> None:
    venue = two_thousand_long()
    venue.quote("ALT", None, D(100), 1)
    venue.set_marks({"ALT": D("94.7")}, 1)
    assert venue.drain() == []
    assert venue.accounts["ann"].lots("ALT") == 2_000
    venue.quote("ALT", D("94.7"), D(100), 2)
    venue.set_marks({"ALT": D("94.7")}, 2)
    assert [e.kind for e in taken(venue)] == ["partial"]


def test_cross_positions_go_by_maintenance_margin_until_the_account_is_safe() -> None:
    venue = exchange(NO_PARTIAL, ann=3_000)
    venue.set_leverage("ann", "ALT", 10, CROSS, 0)
    venue.set_leverage("ann", "DEC", 10, CROSS, 0)
    both(venue, 100)
    both(venue, 100, "DEC")
    venue.submit("ann", order(BUY, 100, of="DEC"), 0)  # 1,000
    venue.submit("ann", order(BUY, 250), 0)  # 25,000; together cash −23,000
    both(venue, "93", time_ms=1)
    venue.set_marks({"ALT": D("93")}, 1)  # 24,250 − 23,000 = 1,250 > 1,212.5
    assert taken(venue) == []
    venue.set_marks({"ALT": D("92.8")}, 2)  # 1,200 < 1,210
    assert [(e.instrument, e.lots) for e in taken(venue)] == [("ALT", 250)]
    assert venue.accounts["ann"].lots("DEC") == 100


def test_funding_can_liquidate() -> None:
    venue = two_thousand_long()
    both(venue, 95, time_ms=1)
    venue.set_marks({"ALT": D(95)}, 1)  # 10,000 against 9,500
    venue.settle_funding({"ALT": D("0.0026")}, {"ALT": D(95)}, 2)  # pays 494: 9,506
    assert taken(venue) == []
    venue.settle_funding({"ALT": D("0.0001")}, {"ALT": D(95)}, 3)  # pays 19: 9,487
    assert [e.kind for e in taken(venue)] == ["partial"]


def test_delisting_settles_every_position_and_ends_trading() -> None:
    venue = exchange(Rules(), ann=10_000, bob=10_000)
    venue.set_leverage("bob", "ALT", 5, ISOLATED, 0)
    both(venue, 100)
    venue.submit("ann", order(BUY, 10), 0)
    venue.submit("bob", order(SELL, 10), 0)
    fees = venue.accounts["ann"].fees_usd
    orders = [
        venue.submit("bob", order(BUY, 5, 90), 0).order_id,
        venue.submit("ann", stop(SELL, 10, 90), 0).order_id,
    ]
    venue.drain()
    venue.delist("ALT", D(103), 1)
    events = venue.drain()
    assert [e.order_id for _, e in events if isinstance(e, OrderReport)] == orders
    closed = [(who, e.side, e.price, e.fee_usd, e.purpose) for who, e in events if isinstance(e, Fill)]
    assert closed == [
        ("ann", SELL, D(103), D(0), Purpose.SETTLEMENT),
        ("bob", BUY, D(103), D(0), Purpose.SETTLEMENT),
    ]
    assert venue.accounts["ann"].cash_usd == 10_030 - fees
    assert venue.accounts["bob"].cash_usd == 9_970 - fees
    assert venue.submit("ann", order(BUY, 10), 2).reason == "No mark price."
    with pytest.raises(Refused, match="above 0"):
        venue.delist("DEC", D(0), 2)


# Random sequences


def act(venue: Exchange, dice: random.Random, time_ms: int) -> None:
    """One random thing that may happen at an exchange."""
    name = dice.choice(["ALT", "DEC", "TIERED", "ALONE"])
    account = dice.choice(["ann", "bob", "cat"])
    mark = venue.marks[name]
    instrument = next(i for i in ALL if i.name == name)
    near = instrument.round_price(mark * D(str(round(dice.uniform(0.96, 1.04), 4))))
    side = dice.choice([BUY, SELL])
    lots = int(dice.choice([3, 40, 400, 3_000]) * instrument.lots_per_coin * dice.uniform(0.5, 1.5))
    kind = dice.randrange(12)
    if kind < 5:
        tif = dice.choice([GTC, GTC, ALO, IOC])
        venue.submit(
            account, Order("r", name, side, lots, near, tif, reduce_only=dice.random() < 0.2), time_ms
        )
    elif kind == 5:
        held = venue.accounts[account].lots(name)
        asked = dice.choice([lots, abs(held) or lots])
        venue.submit(
            account, Order("m", name, Side.of(-held), asked, reduce_only=dice.random() < 0.5), time_ms
        )
    elif kind == 6:
        trigger = Trigger(dice.choice([STOP, TAKE_PROFIT]), near)
        reduce = dice.random() < 0.7
        venue.submit(account, Order("t", name, side, lots, reduce_only=reduce, trigger=trigger), time_ms)
    elif kind == 7:
        away = dice.uniform(0.001, 0.02)
        bid, ask = (instrument.round_price(mark * D(str(round(1 + d, 5)))) for d in (-away, away))
        venue.quote(name, dice.choice([bid, bid, None]), dice.choice([ask, ask, None]), time_ms)
    elif kind == 8:
        venue.trade_through(name, min(mark, near), max(mark, near), time_ms)
    elif kind == 9:
        moves = {n: m * D(str(round(dice.uniform(0.93, 1.07), 4))) for n, m in venue.marks.items()}
        venue.set_marks({n: i.round_price(moves[n]) for n, i in ((i.name, i) for i in ALL)}, time_ms)
    elif kind == 10:
        rates = {n: D(str(round(dice.uniform(-0.003, 0.003), 6))) for n in venue.marks}
        venue.settle_funding(rates, venue.marks, time_ms)
    else:
        open_orders = venue.open_orders(account)
        if open_orders and dice.random() < 0.5:
            venue.cancel(account, dice.choice(open_orders).order_id, time_ms)
        else:
            mode = dice.choice([CROSS, ISOLATED])
            try:
                venue.set_leverage(account, name, dice.randint(1, 10), mode, time_ms)
            except Refused:
                venue.deposit(account, D(dice.randint(1, 5_000)), time_ms)


@pytest.mark.parametrize("seed", range(8))
def test_books_add_up_whatever_happens(seed: int) -> None:
    dice = random.Random(seed)
    venue = exchange(Rules(), ann=300_000, bob=100_000, cat=20_000)
    events = []
    for step in range(600):
        act(venue, dice, step * 7_000)
        events += venue.drain()
    kinds = {type(event).__name__ for _, event in events}
    assert kinds == {"Fill", "OrderReport", "FundingPayment", "Liquidation"}
    for name, account in venue.accounts.items():
        own = [event for who, event in events if who == name]
        traded = [event for event in own if isinstance(event, Fill)]
        assert gap(account) == 0
        assert account.fees_usd == sum(f.fee_usd for f in traded)
        assert account.realised_usd == sum(f.closed_pnl_usd for f in traded)
        assert account.funding_usd == sum(e.usd for e in own if isinstance(e, FundingPayment))
        assert account.forfeited_usd == sum(e.forfeited_usd for e in own if isinstance(e, Liquidation))
        for instrument in venue.marks:
            assert account.lots(instrument) == sum(
                f.signed_lots for f in traded if f.instrument == instrument
            )
        for report in venue.open_orders(name):
            held = account.lots(report.order.instrument)
            assert not report.order.reduce_only or held * report.order.signed_lots < 0
    ids = [event.trade_id for _, event in events if isinstance(event, Fill)]
    assert sorted(set(ids)) == list(range(1, max(ids) + 1))
    for book in venue.books.values():
        buys, sells = book.resting(1), book.resting(-1)
        assert [(-(live.price or 0), live.order_id) for live in buys] == sorted(
            (-(o.price or 0), o.order_id) for o in buys
        )
        if buys and sells:
            assert (buys[0].price or 0) < (sells[0].price or 0)


@pytest.mark.parametrize("seed", range(8))
def test_a_restored_exchange_goes_on_as_if_nothing_had_happened(seed: int) -> None:
    dice = random.Random(1_000 + seed)
    venue = exchange(Rules(), ann=300_000, bob=100_000, cat=20_000)
    for step in range(150):
        act(venue, dice, step * 7_000)
    venue.drain()
    restored = Exchange.restore(ALL, Rules(), json.loads(json.dumps(venue.state())))
    assert restored.state() == venue.state()
    again = random.Random()
    again.setstate(dice.getstate())
    for step in range(150, 400):
        act(venue, dice, step * 7_000)
        act(restored, again, step * 7_000)
        assert restored.drain() == venue.drain()
    assert restored.state() == venue.state()
    assert restored.accounts == venue.accounts


def test_state_is_refused_while_it_would_lose_events_or_does_not_fit() -> None:
    venue = exchange()
    venue.submit("ann", order(BUY, 10, 99), 1)
    with pytest.raises(StateError, match="1 events would be lost"):
        venue.state()
    venue.drain()
    state = venue.state()
    with pytest.raises(StateError, match="listed"):
        Exchange.restore([DEC], None, state)
    with pytest.raises(StateError, match="version"):
        Exchange.restore(ALL, None, {**state, "version": 0})
