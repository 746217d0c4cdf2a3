"""Trading in bars: what happens within one is taken against the account, in a fixed order, and by hand-set prices."""

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pytest

from bot.model.account import MarginMode
from bot.model.decision import Cancel, OrderPlan
from bot.model.order import Fill, OrderStatus, Purpose
from bot.model.panel import HOUR_MS, FloatArray, Grid, Panel
from bot.sim.bar_market import BarMarket
from bot.sim.bars import Bar, Bars, Frictions, bar_of
from bot.sim.exchange import FeeSchedule, Rules
from bot.sim.holdings import Holdings
from tests.sim.hand_bars import (
    AAA,
    BBB,
    FREE,
    NONE,
    SMOOTH,
    D,
    Price,
    bar,
    guard,
    opened,
    rest,
    story,
    take,
    traded,
)

# Opening


def test_orders_trade_at_the_open_whatever_the_bar_does_later() -> None:
    market = opened()
    (report,) = market.open(bar(1, close=120, start=100, high=130, low=90), OrderPlan(orders=(take(10),)))
    assert (report.status, report.average_price) == (OrderStatus.FILLED, D(100))
    assert market.lots.tolist() == [10, 0]


@pytest.mark.parametrize(("lots", "price"), [(100, "100.03"), (-100, "99.97")])
def test_an_order_pays_half_the_spread_and_an_impact_that_grows_with_the_root_of_its_share(
    lots: int, price: str
) -> None:
    # 10,000 USD of 1,000,000: 2 bp + 10 bp × √0.01 = 3 bp.
    market = opened(frictions=Frictions(half_spread_bps=2.0, impact_bps=10.0))
    (report,) = market.open(bar(1, volume=1e6), OrderPlan(orders=(take(lots),)))
    assert float(report.average_price) == pytest.approx(float(price), rel=1e-12)


def test_four_times_the_size_has_twice_the_impact() -> None:
    frictions = Frictions(half_spread_bps=0.0, impact_bps=10.0)
    small, large = frictions.cost(10_000, 1e6), frictions.cost(40_000, 1e6)
    assert small == pytest.approx(1e-4)
    assert large == pytest.approx(2e-4)


# A hundredth of an unknown volume; all of a volume of 0; and never more than half the price.
@pytest.mark.parametrize(("volume", "cost"), [(nan, 3e-4), (0.0, 12e-4), (1e-12, 0.5)])
def test_what_an_order_costs_where_the_volume_says_little(volume: float, cost: float) -> None:
    assert Frictions(half_spread_bps=2.0, impact_bps=10.0).cost(10_000, volume) == pytest.approx(cost)


def test_without_an_open_nothing_trades_and_the_report_says_so() -> None:
    market = opened()
    first = bar(1, start=(nan, 50.0), close=(100.0, 50.0))
    missing, there = market.open(first, OrderPlan(orders=(take(10), take(10, "BBB"))))
    assert (missing.status, missing.reason) == (OrderStatus.REJECTED, "No price in this bar.")
    assert there.status is OrderStatus.FILLED
    assert market.lots.tolist() == [0, 10]


def test_a_cancel_of_an_order_that_is_gone_does_no_harm() -> None:
    market = opened()
    (report,) = traded(market, bar(1), rest(10, "90"))
    cancel = Cancel(report.order_id, "x", "AAA", "test")
    market.open(bar(2), OrderPlan(cancels=(cancel,)))
    assert not market.exchange.open_ids("me")
    assert market.open(bar(3), OrderPlan(cancels=(cancel,))) == []


# Within the bar


@pytest.mark.parametrize(("lots", "level", "wick"), [(100, "95", 80.0), (-100, "105", 120.0)])
def test_a_stop_trades_at_its_level_in_a_bar_that_goes_far_beyond(lots: int, level: str, wick: float) -> None:
    market = opened()
    traded(market, bar(1), take(lots))
    traded(market, bar(2), guard(-lots, level))
    third = bar(3, high=max(100.0, wick), low=min(100.0, wick))
    market.open(third, NONE)
    market.close(third)
    assert story(market) == [("stop", "AAA", -lots, D(level))]


def test_a_stop_whose_level_the_bar_does_not_reach_stays() -> None:
    market = opened()
    traded(market, bar(1), take(100))
    traded(market, bar(2), guard(-100, "95"))
    market.close(bar(3, low=95.01))
    assert story(market) == [("funding", "AAA", 100, D(0))]
    market.close(bar(4, low=95.0))
    assert story(market) == [("stop", "AAA", -100, D(95))]


def test_a_bar_that_opens_beyond_a_stop_trades_it_at_the_open() -> None:
    market = opened()
    traded(market, bar(1), take(100))
    traded(market, bar(2), guard(-100, "95"))
    third = bar(3, close=97, start=90)
    market.open(third, NONE)
    market.close(third)
    assert story(market) == [("stop", "AAA", -100, D(90))]


def test_where_a_bar_reaches_the_stop_and_the_take_profit_the_stop_came_first() -> None:
    market = opened()
    traded(market, bar(1), take(100))
    traded(market, bar(2), guard(-100, "110", Purpose.TAKE_PROFIT), guard(-100, "95"))
    market.close(bar(3, high=112, low=94))
    assert story(market) == [("stop", "AAA", -100, D(95))]
    assert not market.exchange.open_ids("me")  # nothing is left to take profit on


def test_a_stop_pays_the_frictions_of_its_own_size() -> None:
    market = opened(frictions=Frictions(half_spread_bps=2.0, impact_bps=10.0))
    traded(market, bar(1), take(100))
    traded(market, bar(2), guard(-100, "95"))
    market.close(bar(3, low=94, volume=950_000))  # 9,500 of 950,000 USD: 3 bp below the level
    ((_, _, _, price),) = story(market)
    assert float(price) == pytest.approx(95 * (1 - 3e-4), rel=1e-12)


@pytest.mark.parametrize(("low", "filled"), [(89.99, True), (90.0, False), (95.0, False)])
def test_a_resting_order_fills_at_its_limit_only_if_the_bar_traded_through_it(
    low: float, filled: bool
) -> None:
    market = opened(rules=Rules(fees=FeeSchedule.flat(D("0.00045"), D("0.00015"))))
    traded(market, bar(1), rest(100, "90"))
    market.close(bar(2, low=low))
    fills = [event for event in market.take_events() if isinstance(event, Fill)]
    assert [(one.price, one.is_maker, one.fee_usd) for one in fills] == [
        (D(90), True, D("1.35"))  # 9,000 × 0.015 %
    ] * filled


def test_triggers_come_before_resting_orders_and_both_before_the_worst_prices() -> None:
    market = opened(equity=1_500)
    traded(market, bar(1), take(90))
    traded(market, bar(2), guard(-90, "96"), rest(50, "95"))
    market.close(bar(3, low=85))  # where 90 long would leave 1,500 − 1,350 against 382 of maintenance
    assert story(market) == [
        ("stop", "AAA", -90, D(96)),
        ("entry", "AAA", 50, D(95)),
        ("funding", "AAA", 50, D(0)),
    ]


def test_all_positions_are_marked_at_their_worst_prices_at_once() -> None:
    # 100 long and 100 short, each 10,000 USD; margin is 1,000 or so. Either wick alone costs 700, both 1,400.
    def after(low: Price, high: Price) -> list[str]:
        market = opened(equity=2_200)
        traded(market, bar(1), take(100), take(-100, "BBB"))
        market.close(bar(2, low=low, high=high))
        return [kind for kind, *_ in story(market) if kind != "funding"]

    assert after((93.0, 100.0), 100.0) == []
    assert after(100.0, (100.0, 107.0)) == []
    assert after((93.0, 100.0), (100.0, 107.0)) != []
    assert after(100.0, (107.0, 100.0)) == []  # a long's high does it no harm


def test_liquidation_is_at_the_worst_price_and_the_position_does_not_see_the_recovery_or_its_funding() -> (
    None
):
    # 100 at 100 on 1,000 USD: at 94.6 there are 460 against 473 of maintenance.
    market = opened(equity=1_000)
    traded(market, bar(1), take(100))
    market.close(bar(2, close=130, start=100, low=94.6, funding=-0.01))
    assert story(market) == [
        ("liquidation", "AAA", -100, D("94.6")),
        ("full", "AAA", 100, D("94.6")),
    ]
    assert market.equity_usd == pytest.approx(460.0)


def test_a_position_that_stays_just_above_its_margin_lives() -> None:
    market = opened(equity=1_000)
    traded(market, bar(1), take(100))
    market.close(bar(2, close=100, low=94.8))  # 480 against 474
    assert story(market) == [("funding", "AAA", 100, D(0))]


def test_what_a_partial_liquidation_left_falls_due_within_the_same_bar() -> None:
    # 2,000 at 100 on 20,000: at 94 there are 8,000 against 9,400; after a fifth 7,520: enough.
    eased = opened(equity=20_000)
    traded(eased, bar(1), take(2_000))
    eased.close(bar(2, low=94))
    assert [one for one in story(eased) if one[0] in {"partial", "full"}] == [("partial", "AAA", 400, D(94))]
    # at 93.2 6,400 against 9,320; after a fifth still against 7,456: all of it.
    gone = opened(equity=20_000)
    traded(gone, bar(1), take(2_000))
    gone.close(bar(2, low=93.2))
    assert [one for one in story(gone) if one[0] in {"partial", "full"}] == [
        ("partial", "AAA", 400, D("93.2")),
        ("full", "AAA", 1_600, D("93.2")),
    ]


def test_an_isolated_position_dies_alone() -> None:
    market = opened(mode=MarginMode.ISOLATED)
    traded(market, bar(1), take(100), take(100, "BBB"))
    market.close(bar(2, low=(94.6, 100.0)))  # a tenth of 10,000 is its margin: 460 against 473
    assert story(market) == [
        ("liquidation", "AAA", -100, D("94.6")),
        ("full", "AAA", 100, D("94.6")),
        ("funding", "BBB", 100, D(0)),
    ]


# Funding


def test_funding_settles_last_on_what_is_still_held_at_the_oracle_price() -> None:
    market = opened()
    traded(market, bar(1), take(100), take(-100, "BBB"))
    traded(market, bar(2), guard(-100, "95"))
    market.close(
        bar(3, close=(100.0, 50.0), low=(94.0, 50.0), high=(100.0, 100.0), oracle=(99.0, 49.0), funding=0.001)
    )
    assert story(market) == [
        ("stop", "AAA", -100, D(95)),
        ("funding", "BBB", -100, D("4.9")),  # 100 × 49 × 0.1 %
    ]
    assert market.account.funding_usd == D("4.9")


def test_a_position_opened_in_the_bar_pays_at_its_end() -> None:
    market = opened()
    first = bar(1, funding=(0.001, -0.002))
    market.open(first, OrderPlan(orders=(take(100), take(100, "BBB"))))
    market.close(first)
    assert story(market)[2:] == [("funding", "AAA", 100, D(-10)), ("funding", "BBB", 100, D(20))]


def test_funding_beyond_the_venues_cap_is_paid_at_the_cap() -> None:
    market = opened()
    traded(market, bar(1), take(-100))
    market.close(bar(2, funding=0.25))
    assert story(market) == [("funding", "AAA", -100, D(400))]  # 4 % of 10,000


def test_hours_without_a_known_rate_are_counted_for_what_is_held_and_nothing_is_paid() -> None:
    market = opened()
    traded(market, bar(1), take(100))
    market.close(bar(2, funding=(0.001, nan)))  # BBB isn't held
    assert market.unpaid_hours == 0
    assert story(market) == [("funding", "AAA", 100, D(-10))]
    traded(market, bar(3), take(100, "BBB"))
    market.close(bar(4, funding=(nan, 0.001)))
    assert market.unpaid_hours == 1
    assert story(market) == [("funding", "BBB", 100, D(-10))]


def test_funding_can_liquidate_at_the_bars_end() -> None:
    market = opened(equity=1_000)
    traded(market, bar(1), take(100))
    market.close(bar(2, close=95, funding=0.03))  # 500 against 475, then 285 to pay
    kinds = [kind for kind, *_ in story(market)]
    assert kinds[0] == "funding"
    assert market.account.funding_usd == D(-285)


# Settlement, gaps and mirrors


def test_a_delisted_instrument_is_settled_at_its_last_price_with_the_taker_fee() -> None:
    market = opened(rules=Rules(fees=FeeSchedule.flat(D("0.001"), D(0))))
    traded(market, bar(1), take(100), take(-7, "BBB"))
    market.close(bar(2, close=(110.0, 90.0)))
    gone = bar(3, start=(nan, 90.0), close=(110.0, 90.0), funding=(nan, 0.0))  # the last mark is carried
    market.close(gone)
    market.take_events()
    report = market.settle_at_last_price("AAA", gone.end_ms)
    (fill,) = [event for event in market.take_events() if isinstance(event, Fill)]
    assert (fill.purpose, fill.signed_lots, fill.price) == (Purpose.SETTLEMENT, -100, D(110))
    assert (fill.fee_usd, fill.closed_pnl_usd) == (D(11), D(1_000))
    assert report.status is OrderStatus.FILLED
    assert market.lots.tolist() == [0, -7]


def test_a_coin_without_a_price_keeps_its_last_mark_at_the_venue_while_others_trade() -> None:
    market = opened(equity=10_000)
    traded(market, bar(1), take(100))
    market.close(bar(2, close=(60.0, 100.0), low=(60.0, 100.0)))
    assert market.lots.tolist() == [100, 0]
    silent = bar(3, start=(nan, 100.0), close=(60.0, 100.0))
    # 6,000 USD are left and AAA takes 600 of initial margin at its last mark: BBB can have 54,000, no more.
    (large,) = market.open(silent, OrderPlan(orders=(take(541, "BBB"),)))
    assert (large.status, large.reason) == (OrderStatus.REJECTED, "Insufficient margin to place order.")
    (fits,) = market.open(silent, OrderPlan(orders=(take(540, "BBB"),)))
    assert fits.status is OrderStatus.FILLED


def panel(**fields: Sequence[float]) -> Panel:
    columns = {name: np.array(values, dtype=np.float64)[:, None] for name, values in fields.items()}
    return Panel(Grid(10, len(fields["mark"])), ("AAA",), columns)


def test_bars_carry_the_last_mark_over_a_gap_and_count_the_silence() -> None:
    known = [nan, 100, nan, nan, 110]
    bars = Bars(panel(mark=known, open=known, high=known, low=known, funding_rate=[0, 0, nan, 0, 0]))
    assert [float(bars.at(r).mark[0]) for r in range(5)] == [0, 100, 100, 100, 110]
    assert bars.silent_rows[:, 0].tolist() == [0, 0, 1, 2, 0]
    gap = bars.at(2)
    assert (gap.start_ms, gap.end_ms) == (11 * HOUR_MS, 12 * HOUR_MS)  # row 2 ends at hour 12
    assert np.isnan(gap.open[0])
    assert (gap.low[0], gap.high[0], gap.oracle[0]) == (100, 100, 100)
    assert np.isnan(gap.funding_rate[0])
    assert gap.volume_usd is None  # nobody says what was traded


def test_a_live_row_makes_the_same_bar_as_the_panel() -> None:
    data = panel(
        mark=[100, nan],
        oracle=[99, nan],
        open=[98, nan],
        high=[103, nan],
        low=[97, nan],
        funding_rate=[1e-5, nan],
    )
    bars, before = Bars(data), np.zeros(1)
    for at in range(2):
        fields = {name: values[at] for name, values in data.fields.items()}
        live, told = (
            bar_of(data.grid.time_ms(at) - HOUR_MS, data.grid.time_ms(at), fields, before),
            bars.at(at),
        )
        for part in Bar.__dataclass_fields__:
            # A history knows the oracle of a silent hour from before; a live row starts from the mark.
            if part != "oracle" or at == 0:
                one, other = getattr(live, part), getattr(told, part)
                assert one is other or np.array_equal(one, other, equal_nan=True), part
        before = live.mark


def test_the_vectors_say_what_the_exchanges_books_say() -> None:
    market = opened(rules=Rules())
    rng = np.random.default_rng(4)
    price = np.array([100.0, 100.0])
    for hour in range(1, 60):
        start, price = price, price * np.exp(rng.normal(0, 0.01, 2))
        this = bar(hour, close=price, start=start, funding=rng.normal(0, 1e-3, 2))
        lots = int(rng.integers(-60, 60)) or 1
        market.open(this, OrderPlan(orders=(take(lots, ("AAA", "BBB")[hour % 2]),)))
        market.close(this)
        account = market.account
        assert market.lots.tolist() == [account.lots("AAA"), account.lots("BBB")]
        marks = {"AAA": D(repr(float(price[0]))), "BBB": D(repr(float(price[1])))}
        assert market.equity_usd == pytest.approx(float(account.equity_usd(marks)), abs=1e-6)
        for column, name in enumerate(("AAA", "BBB")):
            held = account.positions.get(name)
            entry = float(held.entry_price) if held else 0.0
            assert market.holdings.entry_price[column] == entry


class Careful(Holdings):
    """Looks closely at every bar, as if each were dangerous."""

    def in_danger(self, low: FloatArray, high: FloatArray) -> bool:
        return True


@pytest.mark.parametrize("mode", list(MarginMode))
@pytest.mark.parametrize("seed", range(6))
def test_the_quick_look_at_a_bar_never_misses_a_liquidation(seed: int, mode: MarginMode) -> None:
    told: list[list[tuple[Any, ...]]] = []
    for kind in (Holdings, Careful):
        rng = np.random.default_rng(seed)
        market = BarMarket.opened("me", (AAA, BBB), FREE, SMOOTH, D(10_000), 10, mode, 0)
        market.holdings = kind(market.account, (AAA, BBB), market.columns, 0.04)
        told.append([])
        price = np.array([100.0, 100.0])
        for hour in range(1, 150):
            start, price = price, price * np.exp(rng.normal(0, 0.02, 2))
            wicks = np.exp(np.abs(rng.normal(0, 0.01, (2, 2))))
            this = bar(
                hour,
                close=price,
                start=start,
                high=np.fmax(start, price) * wicks[0],
                low=np.fmin(start, price) / wicks[1],
                funding=rng.normal(0, 2e-3, 2),
            )
            want = int(rng.integers(-900, 900)) or 1
            orders = (take(want, ("AAA", "BBB")[hour % 2]),) if hour % 7 < 2 else ()
            market.open(this, OrderPlan(orders=orders))
            market.close(this)
            told[-1] += sorted(story(market), key=str)  # a settlement's payments have no order
            told[-1].append(("equity", round(market.equity_usd, 6)))
    assert told[0] == told[1]
    assert any(one[0] in {"full", "backstop", "partial"} for one in told[0])
