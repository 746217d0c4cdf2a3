"""Trading in bars where it hurts: prices that gap past stops and margin, and bars in which too little was traded."""

from decimal import Decimal
from math import inf, nan
from random import Random

import numpy as np
import pytest

from bot.model.account import MarginMode
from bot.model.decision import OrderPlan
from bot.model.order import Fill, OrderReport, OrderStatus, TimeInForce
from bot.sim.bar_market import BarMarket
from bot.sim.bars import Bar, Frictions
from bot.sim.holdings import Holdings
from tests.sim.hand_bars import SMOOTH, D, bar, guard, opened, rest, story, take, traded

EVERY_MODE = pytest.mark.parametrize("mode", list(MarginMode))


def through(market: BarMarket, this: Bar, *orders: object) -> list[OrderReport]:
    """The whole bar, opened as a backtest does, with nothing forgotten."""
    reports = market.open(this, OrderPlan(orders=orders))  # type: ignore[arg-type]
    market.close(this)
    return reports


def held(level: str | None, mode: MarginMode = MarginMode.CROSS) -> BarMarket:
    """100 long at 100 on 1,000 USD, all of it margin, with a stop at `level`."""
    market = opened(equity=1_000, mode=mode)
    traded(market, bar(1), take(100))
    if level is not None:
        traded(market, bar(2), guard(-100, level))
    return market


# Margin at the open


@EVERY_MODE
def test_a_gap_that_leaves_margin_enough_trades_the_stop_at_the_open(mode: MarginMode) -> None:
    market = held("95", mode)
    through(market, bar(3, start=94.8))  # 480 against 5 % of 9,480 = 474
    assert story(market) == [("stop", "AAA", -100, D("94.8"))]
    assert market.equity_usd == pytest.approx(480)


@EVERY_MODE
@pytest.mark.parametrize("level", ["95", "90", None])
def test_a_gap_past_the_margin_liquidates_at_the_open_whatever_stop_there_is(
    mode: MarginMode, level: str | None
) -> None:
    market = held(level, mode)
    through(market, bar(3, start=94, low=80))  # 400 against 470, above two thirds of it
    assert story(market) == [("liquidation", "AAA", -100, D(94)), ("full", "AAA", 100, D(94))]
    assert market.equity_usd == pytest.approx(400)
    assert not market.exchange.open_ids("me")


@EVERY_MODE
@pytest.mark.parametrize("start", [92.0, 85.0, 40.0])  # what is left is 200, −500, −5,000
def test_a_gap_past_everything_ends_at_nothing_and_not_in_a_debt(mode: MarginMode, start: float) -> None:
    market = held("95", mode)
    through(market, bar(3, start=start))
    assert [kind for kind, *_ in story(market)] == ["liquidation", "backstop"]
    assert market.equity_usd == pytest.approx(0, abs=1e-9)
    assert market.account.forfeited_usd == D(1_000) + 100 * (D(start) - 100)


def test_a_short_is_liquidated_by_a_gap_upward() -> None:
    market = opened(equity=1_000)
    traded(market, bar(1), take(-100))
    traded(market, bar(2), guard(100, "105"))
    through(market, bar(3, start=106))  # 400 against 530, above 353
    assert story(market) == [("liquidation", "AAA", 100, D(106)), ("full", "AAA", -100, D(106))]


def test_liquidation_at_the_open_comes_before_resting_orders_and_before_what_was_decided() -> None:
    market = held("95")
    traded(market, bar(3), rest(50, "96"))
    leave = take(-100, reduce_only=True)
    (report,) = through(market, bar(4, start=94), leave)
    assert story(market) == [("liquidation", "AAA", -100, D(94)), ("full", "AAA", 100, D(94))]
    assert report.status is OrderStatus.REJECTED


def test_at_an_open_that_does_no_harm_resting_orders_come_before_triggers() -> None:
    market = opened()
    traded(market, bar(1), take(100))
    traded(market, bar(2), guard(-100, "95"), rest(10, "96"))
    through(market, bar(3, start=94))
    assert story(market)[:2] == [("entry", "AAA", 10, D(96)), ("stop", "AAA", -100, D(94))]


# Margin within the bar


@EVERY_MODE
@pytest.mark.parametrize(("level", "low"), [("94", 93.5), ("94", 85.0), ("80", 70.0)])
def test_a_stop_beyond_the_liquidation_price_does_not_save_the_account(
    mode: MarginMode, level: str, low: float
) -> None:
    market = held(level, mode)  # below 94.74 there is less than the maintenance margin
    through(market, bar(3, low=low))
    kinds = [kind for kind, *_ in story(market)]
    assert kinds == ["liquidation", "full" if low == 93.5 else "backstop"]
    assert market.equity_usd == pytest.approx(350 if low == 93.5 else 0, abs=1e-9)


@EVERY_MODE
def test_a_stop_short_of_the_liquidation_price_does(mode: MarginMode) -> None:
    market = held("96", mode)
    through(market, bar(3, low=70))
    assert story(market) == [("stop", "AAA", -100, D(96))]
    assert market.equity_usd == pytest.approx(600)


# Volume


def thin(volume: float, **more: float) -> Bar:
    return bar(4, volume=volume, **more)


@pytest.mark.parametrize(
    ("share", "volume", "filled"),
    [(1.0, 1_000.0, 10), (0.25, 1_000.0, 2), (1.0, 99.0, 0), (1.0, 0.0, 0), (1.0, nan, 0), (inf, 0.0, 50)],
)
def test_an_order_takes_no_more_than_its_share_of_the_bars_volume(
    share: float, volume: float, filled: int
) -> None:
    market = opened(frictions=Frictions(0.0, 0.0, share))
    (report,) = through(market, thin(volume), take(50))
    assert report.filled_lots == market.lots[0] == filled
    expected = {0: OrderStatus.REJECTED, 50: OrderStatus.FILLED}.get(filled, OrderStatus.CANCELED)
    assert report.status is expected
    assert market.short_of_volume == (filled < 50)


def test_a_source_without_volumes_bounds_nothing() -> None:
    market = opened()
    through(market, bar(1), take(50))
    assert (market.lots[0], market.short_of_volume) == (50, 0)


def test_impact_is_of_what_was_traded() -> None:
    market = opened(frictions=Frictions(half_spread_bps=2.0, impact_bps=10.0))
    (report,) = through(market, thin(1_000), take(50))  # all of the volume: 2 + 10 bp
    assert (report.filled_lots, report.average_price) == (10, D("100.12"))


def test_all_orders_of_a_bar_share_its_volume_and_the_next_bar_has_its_own() -> None:
    market = opened()
    reports = market.open(thin(1_000), OrderPlan(orders=(take(7), take(7), take(7, "BBB"))))
    assert [report.filled_lots for report in reports] == [7, 3, 7]
    more = market.open(thin(1_000), OrderPlan(orders=(take(7, "BBB"),)))  # the same bar again
    assert [report.filled_lots for report in more] == [3]
    market.close(thin(1_000))
    (fresh,) = market.open(bar(5, volume=1_000), OrderPlan(orders=(take(7),)))
    assert fresh.filled_lots == 7


@pytest.mark.parametrize(("volume", "left"), [(1_000.0, 90), (0.0, 100), (nan, 0)])
def test_closing_is_bounded_too_unless_the_volume_is_unknown(volume: float, left: int) -> None:
    market = opened()
    traded(market, bar(1), take(100))
    through(market, thin(volume), take(-100, reduce_only=True))
    assert market.lots[0] == left


@pytest.mark.parametrize("start", [100.0, 90.0])
def test_a_stop_trades_what_the_bar_has_and_is_gone(start: float) -> None:
    market = opened()
    traded(market, bar(1), take(100))
    traded(market, bar(2), guard(-100, "95"))
    price = min(start, 95.0)
    through(market, thin(20 * price, start=start, close=start, low=90))
    assert story(market)[0] == ("stop", "AAA", -20, Decimal(str(price)).normalize())
    assert market.lots[0] == 80
    assert not market.exchange.open_ids("me")
    assert market.short_of_volume == 1


def test_a_resting_order_takes_what_is_left_after_the_orders_before_it_and_goes_on_resting() -> None:
    market = opened()
    traded(market, bar(1), rest(50, "90"))
    through(market, thin(3_000, low=89), take(10))  # 30 at the open's price
    fills = [event for event in market.take_events() if isinstance(event, Fill)]
    assert [(one.lots, one.price, one.is_maker) for one in fills] == [(10, D(100), False), (20, D(90), True)]
    (resting,) = market.open_orders
    assert (resting.filled_lots, resting.remaining_lots) == (20, 30)
    through(market, bar(5, start=85, volume=850))  # it opens beyond the limit
    assert [one.lots for one in market.take_events() if isinstance(one, Fill)] == [10]


def test_a_post_only_order_that_would_take_is_refused_although_there_is_nothing_to_take() -> None:
    market = opened()
    order = take(10, limit_price=D(101), time_in_force=TimeInForce.ALO)
    (report,) = through(market, thin(0.0), order)
    assert report.status is OrderStatus.REJECTED
    assert market.short_of_volume == 0


@EVERY_MODE
@pytest.mark.parametrize("volume", [0.0, nan, 100.0])
def test_a_liquidation_happens_whatever_the_volume(mode: MarginMode, volume: float) -> None:
    market = held(None, mode)
    through(market, thin(volume, low=94.5))  # 450 against 472.5
    assert [kind for kind, *_ in story(market)] == ["liquidation", "full"]
    assert (market.lots[0], market.short_of_volume) == (0, 0)


def test_a_settlement_happens_whatever_the_volume() -> None:
    market = opened(frictions=SMOOTH)
    traded(market, bar(1), take(100))
    through(market, thin(0.0))
    market.settle_at_last_price("AAA", bar(4).end_ms)
    assert market.lots[0] == 0


# Initial margin, by the quick look and by the sum


@pytest.mark.parametrize("seed", range(40))
def test_the_quick_look_at_initial_margin_refuses_and_allows_what_the_sum_does(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lived_through() -> tuple[
        list[tuple[OrderStatus, str]], list[tuple[object, ...]], dict[str, Decimal], Decimal
    ]:
        chance, reports = Random(seed), []
        market = opened(equity=1_000)
        for hour in range(1, 13):
            prices = [
                chance.choice([90.0, 100.0, 111.0]),
                chance.choice([9.0, 10.0, nan if hour > 1 else 10.0]),
            ]
            orders = [
                take(chance.choice([-1, 1]) * chance.randint(1, most), of)
                for of, most in (("AAA", 60), ("BBB", 600))
                if chance.random() < 0.8
            ]
            now = bar(hour, [prices[0], 10.0], start=prices)
            reports += [(report.status, report.reason) for report in through(market, now, *orders)]
        market.sync_marks()
        marks = {name: market.exchange.marks[name] for name in market.account.positions}
        return reports, story(market), marks, market.account.cash_usd

    quick = lived_through()
    monkeypatch.setattr(Holdings, "can_fund", lambda *_: False)
    assert lived_through() == quick


def test_the_quick_look_leaves_what_is_close_to_the_sum() -> None:
    market = opened(equity=1_000)
    prices, leverage = np.array([100.0, 100.0]), np.array([10.0, 10.0])
    few, many, beyond = take(10), take(99), take(101)
    assert market.holdings.can_fund([few], prices, leverage, 0.0)
    assert not market.holdings.can_fund([many, few], prices, leverage, 0.0)
    assert not market.holdings.can_fund([beyond], prices, leverage, 0.0)
    assert not market.holdings.can_fund([take(60)], prices, leverage, 0.5)
