"""The backtest's own duties: refusing gaps, warming up, settling what is delisted, and curves that add up."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from math import nan
from typing import Any

import numpy as np
import pytest

from bot.clock import utc
from bot.errors import DataError, StrategyError
from bot.model.account import MarginMode
from bot.model.order import Purpose, Side
from bot.model.panel import HOUR_MS, Panel
from bot.pipeline.mandate import Execution, Limits, Sizing
from bot.pipeline.market import Prepared
from bot.reports.record import RunRecord
from bot.research.assumptions import refuse_gaps
from bot.research.backtest import run
from bot.research.markets import synthetic_panel
from bot.sim.bars import Frictions
from bot.sim.coins import MAJORS
from bot.sim.exchange import FeeSchedule, Rules
from bot.strategy import Field, Opinion, Strategy, View
from bot.trader.observer import late_opinions
from strategies.extreme_funding_fade import ExtremeFundingFade
from strategies.funding_carry import FundingCarry
from tests.research.scripted import START_MS, Scripted, panel_of, scripted

D = Decimal
FREE = Rules(fees=FeeSchedule.flat(D(0), D(0)))


def end_of(row: int) -> int:
    return START_MS + (row + 1) * HOUR_MS


# Strategies that fail


@pytest.mark.parametrize(
    ("fails", "problem"),
    [
        ({"script": ((3, (2.0,)),)}, r"gave AAA a score of 2, which is outside −1 … \+1"),
        ({"script": ((3, (1.0, 1.0)),)}, r"gave scores of shape \(2,\) for 1 coins"),
        ({"script": ((3, (None,)),)}, "gave AAA a score of nan, which is outside −1 … \\+1"),
    ],
)
def test_a_strategy_that_fails_ends_a_backtest_with_its_name_and_the_hour(
    fails: dict[str, Any], problem: str
) -> None:
    panel = panel_of(10, close=[100.0] * 10)
    test = scripted(panel, strategies=[Scripted(**fails)])
    with pytest.raises(
        StrategyError, match=rf"^strategy s0 failed at 2025-01-01T04:00:00Z: forecast\(\) {problem}; mend it"
    ):
        run(test)


# Gaps


def two_coins(**gaps: list[int]) -> Panel:
    """Ten bars of AAA and BBB; a name is `FIELD_COIN`, its rows are unknown."""
    fields = {name: np.full((10, 2), 100.0) for name in ("close", "funding_rate")}
    fields["funding_rate"][:] = 1e-5
    for which, rows in gaps.items():
        field, coin = which.rsplit("_", 1)
        fields[field][rows, ("AAA", "BBB").index(coin)] = nan
    return panel_of(10, ("AAA", "BBB"), close=fields["close"], funding_rate=fields["funding_rate"])


def test_a_hole_in_the_prices_names_the_coin_how_many_hours_and_the_first() -> None:
    with pytest.raises(DataError) as error:
        refuse_gaps(two_coins(close_BBB=[3, 4, 7]))
    assert str(error.value) == (
        "BBB lacks close in 3 hours from 2025-01-01T04:00:00Z on; shorten the period, or set "
        'data.missing = "settle" to close what is held over long gaps and count the rest'
    )


def test_a_hole_in_the_funding_is_refused_like_one_in_the_prices() -> None:
    with pytest.raises(DataError, match=r"^AAA lacks funding_rate in 1 hours from 2025-01-01T06:00:00Z on"):
        run(scripted(two_coins(funding_rate_AAA=[5]), {0: (1.0, 0.0)}))


def test_a_coin_that_comes_late_has_no_hole_nor_has_a_last_bar_without_its_settlement() -> None:
    refuse_gaps(two_coins(close_BBB=[0, 1], funding_rate_AAA=[0, 9]))


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        ({"close_BBB": [9]}, "BBB has no close after 2025-01-01T09:00:00Z, 1 hours before the period ends"),
        (
            {"close_AAA": [7, 8, 9]},
            "AAA has no close after 2025-01-01T07:00:00Z, 3 hours before the period ends",
        ),
        ({"funding_rate_AAA": [8, 9]}, "AAA has no funding_rate after 2025-01-01T08:00:00Z, 2 hours before"),
    ],
)
def test_a_coin_that_ends_early_is_refused_with_its_last_hour_and_what_to_do(
    gap: dict[str, list[int]], said: str
) -> None:
    with pytest.raises(DataError) as error:
        run(scripted(two_coins(**gap), {0: (1.0, 1.0)}))
    assert str(error.value).startswith(said)
    assert str(error.value).endswith(
        "delisted, or not recorded further; end the period there, leave the coin out, or set "
        'data.missing = "settle" to close what is held at its last price'
    )


def test_a_coin_with_nothing_at_all_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"^BBB has no funding_rate at all in this period; leave it out"):
        refuse_gaps(two_coins(funding_rate_BBB=list(range(10))))


@pytest.mark.parametrize(("first_row", "left"), [(9, 1), (10, 0)])
def test_a_period_of_less_than_two_bars_is_refused(first_row: int, left: int) -> None:
    with pytest.raises(DataError, match=f"at least two bars, found {left}"):
        run(scripted(two_coins(), {}, first_row=first_row))


def test_unpaid_hours_are_counted_and_told() -> None:
    panel = two_coins(funding_rate_AAA=[3, 5])
    record = run(scripted(panel, {0: (-0.5, -0.5)}, settle_gaps=True, rules=FREE))
    paid = [(one.time_ms, one.instrument) for one in record.payments]
    assert len(paid) == 2 * 9 - 2
    assert (end_of(3), "AAA") not in paid
    assert (end_of(3), "BBB") in paid
    assert "2 settlements fell on held positions without a known rate; nothing was paid" in record.assumptions


# What a run rests on, said in its report


def test_a_run_says_how_orders_fill_and_what_stands_for_an_unknown_volume() -> None:
    record = run(scripted(two_coins(), {0: (1.0, 0.0)}, frictions=Frictions(2, 15)))
    fills, inside, volume = record.assumptions
    assert "half a spread of 2 bps and by 15 bps × √(order / bar's volume)" in fills
    assert "every position at its worst price at once" in inside
    assert (
        volume
        == "no volume is known: an order is taken to be 1% of its bar, and nothing bounds what is traded in it"
    )
    holes = panel_of(4, close=[100.0] * 4, volume_usd=np.array([1e6, nan, 1e6, 1e6])[:, None])
    (told,) = run(scripted(holes, {0: (1.0,)})).assumptions[2:3]
    assert told.startswith("where a bar's volume is unknown (25.0% of them) nothing is opened")
    known = panel_of(4, close=[100.0] * 4, volume_usd=np.full((4, 1), 1e6))
    assert len(run(scripted(known, {0: (1.0,)})).assumptions) == 2
    guarded = run(scripted(known, {0: (1.0,)}, execution=Execution(stop_loss=0.1)))
    told = "a stop fills at its level, or at the open where that is beyond it"
    assert len([each for each in guarded.assumptions if each.startswith(told)]) == 1


def test_capital_lent_twice_is_said() -> None:
    record = run(scripted(two_coins(), {0: (0.1, 0.0)}, {0: (0.0, 0.1)}, capital=[1.0, 0.5]))
    assert record.assumptions[0].startswith("the strategies' capital adds up to 1.5 × equity (s0 1 + s1 0.5)")
    assert (
        not run(scripted(two_coins(), {0: (0.1, 0.0)}, {}, capital=[0.5, 0.5]))
        .assumptions[0]
        .startswith("the str")
    )


@dataclass(frozen=True)
class Patient(Strategy):
    """Measures four hours back."""

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"before": panel.mark.lag(4)}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(0.0 * view.before, "so")


@pytest.mark.parametrize(
    ("first_row", "said"),
    [
        (0, ("strategy s0 needs up to 5 h of history and has 1 h at its first decision; its first opinion comes at "
            "2025-01-01T05:00:00Z")),
        (3, ("strategy s0 needs up to 5 h of history and has 4 h at its first decision; its first opinion comes at "
            "2025-01-01T05:00:00Z")),
        (4, ""),
    ],
)  # fmt: skip
def test_a_strategy_that_must_wait_for_history_says_until_when(first_row: int, said: str) -> None:
    test = scripted(two_coins(), strategies=[Patient()], first_row=first_row)
    told = [sentence for sentence in run(test).assumptions if sentence.startswith("strategy")]
    assert told == ([said] if said else [])


def test_a_strategy_that_will_never_have_its_data_says_so() -> None:
    panel = two_coins(close_AAA=list(range(10)), close_BBB=list(range(6)))
    told = run(scripted(panel, strategies=[Patient()], settle_gaps=True)).assumptions[0]
    assert told.endswith("comes at no hour of this data: what it measures is never known")


def test_what_a_live_market_has_yet_to_tell_is_waited_for_and_not_called_never() -> None:
    test = scripted(two_coins(close_AAA=list(range(10)), close_BBB=list(range(10))), strategies=[Patient()])
    prepared = Prepared.of(test.panel, test.instruments, test.mandate)
    (told,) = late_opinions(prepared, test.mandate, test.panel.rows - 1, goes_on=True)
    newest_ms, hours = test.panel.grid.time_ms(test.panel.rows - 1), prepared.tables[0].reach
    assert f"comes at {utc(newest_ms + hours * HOUR_MS)} at the latest" in told


def test_refused_orders_are_counted_by_the_venues_reason() -> None:
    # An order may go no further than the mark, and half a spread lies between: the venue has nothing at that price.
    panel = panel_of(5, close=[100.0] * 5, volume_usd=np.full((5, 1), 1e6))
    record = run(
        scripted(panel, {0: (1.0,)}, execution=Execution(slippage_bps=0.0), frictions=Frictions(10, 0))
    )
    reason = "Order could not immediately match against any resting orders."
    assert (record.refused, len(record.fills)) == ({reason: 4}, 0)
    assert record.assumptions[-1] == f"4 orders were refused by the simulated venue: 4 × {reason}"


def beside_the_model(record: RunRecord) -> list[str]:
    """What is said of this run and not of every run."""
    return [each for each in record.assumptions if not each.startswith(("orders fill", "inside a bar"))]


# What the data says that can't be true


def test_candles_that_contradict_themselves_are_counted_and_told() -> None:
    shape = (6, 2)
    fields: dict[str, Any] = {name: np.full(shape, 100.0) for name in ("open", "high", "low", "close")}
    fields["low"][2, 1] = 101  # above its high; open and close lie below it
    fields["open"][3, 0] = 99.99
    fields["close"][4, 0] = 100.01
    fields["high"][5, 0] = nan  # unknown is no contradiction
    record = run(scripted(panel_of(6, ("AAA", "BBB"), volume_usd=1e9, **fields), {0: (0.5, 0.5)}))
    assert beside_the_model(record) == [
        (
            "3 candles, the first of BBB at 2025-01-01T03:00:00Z, have a low above their high, or open or close outside "
            "of them; they are used as they are"
        )
    ]


def test_funding_beyond_the_cap_is_counted_and_told() -> None:
    rate = np.full((6, 2), 0.04)  # at the cap itself there is nothing to tell
    rate[1, 1], rate[3, 0] = 0.05, -0.5
    panel = panel_of(6, ("AAA", "BBB"), close=np.full((6, 2), 100.0), funding_rate=rate, volume_usd=1e9)
    record = run(scripted(panel, {0: (-0.5, 0.0)}, rules=FREE))
    assert [one.usd for one in record.payments] == [D(2_000), D(2_000), D(-2_000), D(2_000), D(2_000)]
    assert beside_the_model(record) == [
        (
            "2 funding rates, the first of BBB at 2025-01-01T02:00:00Z, are beyond the cap of 4.00% an hour; what was held "
            "paid the cap"
        )
    ]


# Volume


def test_what_a_bar_could_not_trade_is_wanted_again_in_the_next_and_told() -> None:
    volume = np.array([9e9, 20_000, 30_000, 9e9, 9e9, 10_000, 9e9, 9e9])[:, None]
    panel = panel_of(8, close=np.full(8, 100.0), volume_usd=volume)
    sizing = Sizing(1.0, no_trade_band=0.0, cooldown_h=0)
    record = run(scripted(panel, {0: (1.0,), 4: (0.0,)}, rules=FREE, sizing=sizing))
    # Of 1,000 coins 200, 300 and 500 are bought; of the 1,000 that are sold again 100 and 900.
    assert [fill.signed_lots for fill in record.fills] == [20_000, 30_000, 50_000, -10_000, -90_000]
    assert [fill.time_ms for fill in record.fills] == [end_of(row) for row in (0, 1, 2, 4, 5)]
    assert beside_the_model(record) == [
        "3 times an order found less volume in its bar than it asked for; the rest was left to the next decision"
    ]


def test_what_a_stop_could_not_trade_is_closed_in_the_next_bar_and_not_bought_back() -> None:
    close = np.array([100.0, 100.0, 90.0, 97.0, 97.0, 97.0, 97.0, 97.0])
    volume = np.where(np.arange(8) == 2, 9_500.0, 9e9)
    test = scripted(
        panel_of(8, close=close, volume_usd=volume),
        {0: (1.0,)},
        sizing=Sizing(1.0, no_trade_band=0.0, cooldown_h=3),
        execution=Execution(slippage_bps=float("inf"), stop_loss=0.05),
        rules=FREE,
    )
    told = [(fill.time_ms, fill.purpose.value, fill.signed_lots, fill.price) for fill in run(test).fills]
    assert told[:3] == [
        (end_of(0), "entry", 100_000, D(100)),
        (end_of(2), "stop", -10_000, D(95)),  # 9,500 USD at its level
        (end_of(2), "exit", -90_000, D(90)),  # at the open of the next bar
    ]
    assert all(time_ms >= end_of(2 + 3) for time_ms, *_ in told[3:])


# Delisting


def delisted(max_gap_h: int = 3) -> RunRecord:
    """AAA's price ends at 110 in row 4 of 12; it is held long, BBB short."""
    gone = list(range(5, 12))
    close, funding = np.full((12, 2), 100.0), np.full((12, 2), 0.0001)
    close[:, 0] = [100, 100, 100, 105, 110, *[nan] * 7]
    funding[gone, 0] = nan
    panel = panel_of(12, ("AAA", "BBB"), close=close, funding_rate=funding)
    return run(
        scripted(
            panel,
            {0: (0.5, -0.5)},
            settle_gaps=True,
            max_gap_h=max_gap_h,
            rules=Rules(fees=FeeSchedule.flat(D("0.001"), D(0))),
        )
    )


def test_a_coin_that_stays_silent_is_settled_at_its_last_price_with_the_fee() -> None:
    record = delisted()
    (settled,) = [fill for fill in record.fills if fill.purpose is Purpose.SETTLEMENT]
    assert (settled.instrument, settled.side, settled.price) == ("AAA", Side.SELL, D(110))
    assert settled.time_ms == end_of(8)  # known last at row 4, silent for more than 3 h at row 8
    assert settled.fee_usd == D(55)  # 500 coins × 110 × 0.1 %
    assert "1 positions were settled at their last price after 3 h without one" in record.assumptions
    assert record.price_usd == D(5_000)  # 500 coins up 10, BBB flat
    assert "AAA" not in record.final_marks
    assert record.curves.equity[-1] == record.curves.equity[8] + 3 * 5  # BBB goes on being paid


def test_the_gap_allowed_decides_when() -> None:
    assert [f.time_ms for f in delisted(1).fills if f.purpose is Purpose.SETTLEMENT] == [end_of(6)]
    assert [f for f in delisted(24).fills if f.purpose is Purpose.SETTLEMENT] == []


# Stops


def test_a_coin_stopped_out_by_a_gap_rests_although_more_of_it_had_been_ordered() -> None:
    price = [100, 100, 100, 100, *[90] * 8]
    test = scripted(
        panel_of(12, close=price, open=price),
        {0: (0.5,), 3: (0.8,)},
        sizing=Sizing(1.0, no_trade_band=0.1, cooldown_h=4),
        execution=Execution(slippage_bps=float("inf"), stop_loss=0.05),
        rules=FREE,
    )
    told = [(fill.time_ms, fill.purpose.value, fill.signed_lots, fill.price) for fill in run(test).fills]
    assert told == [
        (end_of(0), "entry", 50_000, D(100)),
        (end_of(3), "stop", -50_000, D(90)),  # the bar opens beyond 95
        (end_of(3), "entry", 30_000, D(90)),  # had been sent
        (end_of(4), "exit", -30_000, D(90)),
        (end_of(7), "entry", 84_444, D(90)),  # four hours after the stop, 0.8 × 95,000 / 90
    ]


# Warm-up


def test_rows_before_the_first_feed_signals_and_are_not_traded() -> None:
    panel = synthetic_panel([MAJORS["BTC"], MAJORS["WIF"]], 500, seed=4)
    carry = FundingCarry(round_trip_cost=0.0, hurdle=-0.001, max_headwind=9.0)
    warm = run(scripted(panel, strategies=[carry], first_row=300))
    cold = run(scripted(panel.slice(300, 500), strategies=[carry]))
    assert len(warm.curves.equity) == 200
    assert warm.curves.times_ms[0] == panel.grid.time_ms(300)
    assert warm.curves.equity[0] == 100_000
    assert min(fill.time_ms for fill in warm.fills) == panel.grid.time_ms(300)  # decided with the first row
    assert min(fill.time_ms for fill in cold.fills) > panel.grid.time_ms(
        450
    )  # eight half-lives of 24 h, or nine tenths


# Curves


def busy(strategies: list[Strategy]) -> tuple[Panel, RunRecord]:
    coins = [MAJORS[name] for name in ("BTC", "HYPE", "DOGE", "kPEPE")]
    panel = synthetic_panel(coins, 900, seed=21)
    test = scripted(
        panel,
        strategies=strategies,
        capital=[1.5] * len(strategies),
        sizing=Sizing(position_size=0.5, no_trade_band=0.2),
        limits=Limits(max_gross_leverage=4.0, max_net_leverage=3.0, min_liquidation_distance=0.05),
        execution=Execution(stop_loss=0.03),
        frictions=Frictions(1.0, 5.0),
        first_row=100,
    )
    return panel, run(test)


@pytest.fixture(scope="module")
def both() -> tuple[Panel, RunRecord]:
    fade = ExtremeFundingFade(enter_z=1.5, lookback_h=72, max_volatility=9.0)
    return busy([FundingCarry(max_headwind=3.0), fade])


def test_at_every_row_price_and_funding_less_fees_are_the_change_of_equity(
    both: tuple[Panel, RunRecord],
) -> None:
    curves = both[1].curves
    parts = curves.price_pnl + curves.funding_pnl - curves.fees
    assert curves.equity - 100_000 == pytest.approx(parts, abs=1e-6, rel=0)


def test_funding_and_fee_curves_are_the_running_sums_of_the_records(both: tuple[Panel, RunRecord]) -> None:
    record = both[1]
    times = record.curves.times_ms
    for curve, events in (
        (record.curves.funding_pnl, [(one.time_ms, float(one.usd)) for one in record.payments]),
        (record.curves.fees, [(one.time_ms, float(one.fee_usd)) for one in record.fills]),
    ):
        assert len(events) > 30
        before = [sum(usd for at, usd in events if at < time) for time in times[::97]]
        until = [sum(usd for at, usd in events if at <= time) for time in times[::97]]
        for low, value, high in zip(before, curve[::97], until, strict=True):
            # A fill at the row's own moment is this bar's end or the next one's open.
            assert min(low, high) - 1e-6 <= value <= max(low, high) + 1e-6
    assert record.curves.funding_pnl[-1] == pytest.approx(float(record.funding_usd), abs=1e-6)
    assert record.curves.fees[-1] == pytest.approx(float(record.fees_usd), abs=1e-6)


def test_exposure_curves_are_what_the_fills_left_at_the_rows_marks(both: tuple[Panel, RunRecord]) -> None:
    panel, record = both
    curves = record.curves
    for row in range(0, len(curves.equity), 89):
        lots = dict.fromkeys(panel.instruments, 0)
        paid = {p.instrument: p.lots for p in record.payments if p.time_ms == curves.times_ms[row]}
        lots |= paid  # every rate is known, so what is held at the row is what was paid on
        marks = panel.mark.values[panel.grid.row(int(curves.times_ms[row]))]
        values = [
            lots[name] / record.lots_per_coin[name] * marks[c] for c, name in enumerate(panel.instruments)
        ]
        assert curves.gross[row] == pytest.approx(sum(map(abs, values)), abs=1e-6)
        assert curves.net[row] == pytest.approx(sum(values), abs=1e-6)
    assert curves.gross.max() > 50_000


def test_the_liquidation_distance_is_the_nearest_single_move_that_meets_maintenance(
    both: tuple[Panel, RunRecord],
) -> None:
    curves = both[1].curves
    assert np.isinf(curves.liquidation_distance[curves.gross == 0]).all()
    # One coin long at 4 × equity with 1.25 % maintenance: (1 − 4 × 0.0125) / (4 × (1 − 0.0125)) = 24.05 %.
    record = run(
        scripted(panel_of(4, close=100.0), {0: (1.0,)}, sizing=Sizing(4.0, no_trade_band=9.0), rules=FREE)
    )
    assert record.curves.liquidation_distance[-1] == pytest.approx(0.95 / 3.95, rel=1e-9)


def test_the_distance_of_an_isolated_position_is_that_of_its_own_margin() -> None:
    # Long one equity at 4 × on its own margin, 1.25 % maintenance: (25 % − 1.25 %) / (1 − 1.25 %) = 24.05 % away, and
    # the 75 % of equity that back nothing do not help.
    test = scripted(panel_of(4, close=100.0), {0: (1.0,)}, sizing=Sizing(1.0, no_trade_band=9.0), rules=FREE)
    record = run(replace(test, leverage=4, margin_mode=MarginMode.ISOLATED))
    assert record.curves.liquidation_distance[-1] == pytest.approx(0.2375 / 0.9875, rel=1e-6)


def test_the_strategies_sum_to_the_account(both: tuple[Panel, RunRecord]) -> None:
    record = both[1]
    assert [each.name for each in record.by_strategy] == ["s0", "s1"]
    assert all(each.fees_usd > 0 for each in record.by_strategy)
    assert sum((each.price_usd for each in record.by_strategy), D(0)) == record.price_usd
    assert sum((each.funding_usd for each in record.by_strategy), D(0)) == record.funding_usd
    assert sum((each.fees_usd for each in record.by_strategy), D(0)) == record.fees_usd
    total = sum((each.total_usd for each in record.by_strategy), D(0))
    assert total == record.equity_end - record.equity_start


def test_two_halves_of_the_capital_in_one_strategy_are_the_whole() -> None:
    script = {2: (0.6,), 5: (-0.4,), 8: (0.0,)}
    panel = panel_of(
        12, close=[100, 101, 99, 103, 104, 100, 98, 97, 99, 99, 99, 99], funding_rate=[3e-4, -1e-4] * 6
    )
    whole = run(scripted(panel, script))
    halves = run(scripted(panel, script, script, capital=[0.5, 0.5]))
    assert [fill.signed_lots for fill in halves.fills] == pytest.approx(
        [fill.signed_lots for fill in whole.fills], abs=1
    )
    first, second = halves.by_strategy
    assert float(first.total_usd) == pytest.approx(float(second.total_usd), abs=1e-5)
    assert float(halves.equity_end) == pytest.approx(float(whole.equity_end), abs=2.0)


def test_notes_say_why_each_order_went_out() -> None:
    record = run(scripted(panel_of(6, close=100.0), {1: (0.5,), 3: (0.0,)}))
    assert [(note.time_ms, note.instrument, note.source, note.score) for note in record.notes] == [
        (end_of(1), "AAA", "s0", 0.5),
        (end_of(3), "AAA", "s0", 0.0),
    ]
    assert record.notes[0].because == "row 100 of the script"


def test_findings_count_the_rules_that_bound() -> None:
    limits = Limits(max_position_share=0.3, max_gross_leverage=9.0, max_net_leverage=9.0)
    record = run(scripted(panel_of(6, close=100.0), {1: (1.0,)}, limits=limits))
    assert record.findings["position_size"] >= 1
    (fill,) = record.fills
    assert fill.notional_usd == D(30_000)


def test_the_same_test_gives_the_same_record_twice(both: tuple[Panel, RunRecord]) -> None:
    fade = ExtremeFundingFade(enter_z=1.5, lookback_h=72, max_volatility=9.0)
    again = busy([FundingCarry(max_headwind=3.0), fade])[1]
    first = both[1]
    assert list(again.fills) == list(first.fills)
    assert list(again.payments) == list(first.payments)
    assert again.equity_end == first.equity_end
    assert np.array_equal(again.curves.equity, first.curves.equity)


def test_progress_is_told_from_the_first_traded_row_to_the_last() -> None:
    told: list[tuple[int, int]] = []
    test = replace(scripted(panel_of(600, close=100.0), {}), first_row=10)
    run(test, lambda done, rows: told.append((done, rows)))
    assert told[0][0] >= 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {rows for _, rows in told} == {590}
