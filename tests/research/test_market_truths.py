"""The market's rules that trading bots are known to get wrong, each held over the whole path.

The names count as the checklist of the field does: sign, intervals, settlement, oracle, formula, cap, margin tiers,
liquidation, churn, break-even, bookkeeping, look-ahead. What a rule should come to is worked out here in fractions or
comes from the venue's documentation.
"""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.standard_workload import OPEN_LIMITS
from bot.data.store import Query, load
from bot.errors import DataError
from bot.model.account import MarginMode
from bot.model.funding import FundingRate, RateKind, hourly_rate_from_premium
from bot.model.instrument import Instrument, MarginTier, simple_instrument
from bot.model.order import FundingPayment, Liquidation, Order, Side
from bot.model.panel import HOUR_MS, Panel
from bot.pipeline.mandate import Execution, Limits, Sizing
from bot.reports.record import RunRecord
from bot.research.backtest import run
from bot.research.markets import synthetic_panel
from bot.sim.bars import Frictions
from bot.sim.coins import MAJORS
from bot.sim.exchange import Exchange, FeeSchedule, Rules
from bot.strategy import Strategy
from strategies.extreme_funding_fade import ExtremeFundingFade
from strategies.funding_carry import FundingCarry
from strategies.positioning import Positioning
from tests.data.tables import at, candle, panel_row, rate, write, write_meta
from tests.research.scripted import START_MS, Scripted, panel_of, scripted

D = Decimal
FREE = FeeSchedule.flat(D(0), D(0))
LONG, SHORT = (1.0,), (-1.0,)


def hour_end(row: int) -> int:
    return START_MS + (row + 1) * HOUR_MS


# 1  Sign


@pytest.mark.parametrize("funding", [0.0001, -0.0001])
@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize("table", ["candles", "panel"])
def test_e7_01_longs_pay_shorts_when_funding_is_positive(
    tmp_path: Path, table: str, side: tuple[float], funding: float
) -> None:
    rows = 6
    write_meta(tmp_path, "BTC")
    if table == "candles":
        write(tmp_path, "hl_candles_1h", [candle(h, open=100.0, volume=1e4) for h in range(rows)])
        write(tmp_path, "hl_funding_1h", [rate(h + 1, value=funding) for h in range(rows)])
    else:
        bars = [panel_row(h, hl_funding=funding, hl_volume=1e4) for h in range(rows + 1)]
        write(tmp_path, "panel_1h", bars)
    query = Query(tmp_path, table="candles" if table == "candles" else "panel", end_ms=at(rows))
    history = load(query)
    strategy = Scripted(((0, side),), start_ms=at(0))
    record = run(scripted(history.panel, strategies=[strategy], instruments=history.instruments))
    (fill,) = record.fills
    assert fill.side is (Side.BUY if side == LONG else Side.SELL)
    assert len(record.payments) == rows - 1
    assert {one.usd > 0 for one in record.payments} == {(side == SHORT) == (funding > 0)}
    assert abs(record.funding_usd) == (rows - 1) * D("10.0")  # 100,000 USD × 0.01 %


@pytest.mark.real_data
def test_e7_01_in_recorded_history_the_perp_above_its_oracle_goes_with_a_positive_rate(
    real_data: Path,
) -> None:
    panel = load(Query(real_data, coins=("BTC", "ETH"))).panel
    premium, funding = panel.premium.values, panel.funding_rate.values
    for extreme, sign in ((premium > 0.0006, 1), (premium < -0.0006, -1)):
        known = extreme & np.isfinite(funding)
        assert known.sum() > 20
        assert (np.sign(funding[known]) == sign).all()


# 2  Intervals


def test_e7_02_the_same_yearly_rate_per_1_4_and_8_hours_is_one_rate() -> None:
    rates = [FundingRate(0.0001 * hours, hours, RateKind.REALISED, 1, "x") for hours in (1, 2, 4, 8)]
    assert {round(each.per_hour, 15) for each in rates} == {0.0001}
    assert {round(each.apr, 12) for each in rates} == {0.876}
    with pytest.raises(TypeError):
        _ = rates[0] < rates[3]


def test_e7_02_a_rate_per_8_hours_is_never_paid_as_an_hourly_one(tmp_path: Path) -> None:
    write_meta(tmp_path, "BTC")
    write(tmp_path, "hl_candles_1h", [candle(h) for h in range(9)])
    settled = [rate(h + 1, value=0.0008, interval_h=8 if h == 7 else 1) for h in range(9)]
    write(tmp_path, "hl_funding_1h", settled)
    history = load(Query(tmp_path))
    test = scripted(
        history.panel,
        strategies=[Scripted(((0, LONG),), start_ms=at(0))],
        instruments=history.instruments,
    )
    with pytest.raises(DataError, match="BTC lacks funding_rate in 1 hours"):
        run(test)
    record = run(replace(test, settle_gaps=True))
    assert at(8) not in {one.time_ms for one in record.payments}
    assert len(record.payments) == 7
    assert any("1 settlements fell on held positions" in sentence for sentence in record.assumptions)
    assert any("covering other than 1 hour (8 h)" in note for note in history.notes)


def test_e7_02_a_rate_without_its_interval_is_refused(tmp_path: Path) -> None:
    write_meta(tmp_path, "BTC")
    write(tmp_path, "hl_candles_1h", [candle(h) for h in range(4)])
    write(tmp_path, "hl_funding_1h", [rate(h + 1, interval_h=None) | {"interval_h": None} for h in range(4)])
    with pytest.raises(DataError, match="interval"):
        load(Query(tmp_path))
    with pytest.raises(ValueError, match="interval"):
        FundingRate(0.0001, None, RateKind.REALISED, 1, "x")  # type: ignore[arg-type]


# 4  Settlement


def traded_around_settlement(opened_ms: int, closed_ms: int) -> list[int]:
    """When a position that lived from one time to another was paid; settlements are on the hour."""
    venue = Exchange([simple_instrument("AAA", 0, 10)], Rules(fees=FREE))
    venue.deposit("ann", D(10_000), 0)
    venue.set_marks({"AAA": D(100)}, 0)
    venue.quote("AAA", D(100), D(100), 0)
    orders = {
        opened_ms: Order("in", "AAA", Side.SELL, 10),
        closed_ms: Order("out", "AAA", Side.BUY, 10, reduce_only=True),
    }
    for time_ms in sorted({*orders, HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS}):
        if time_ms in orders:
            venue.submit("ann", orders[time_ms], time_ms)
        if time_ms % HOUR_MS == 0:
            venue.settle_funding({"AAA": D("0.0001")}, {"AAA": D(100)}, time_ms)
    return [event.time_ms for _, event in venue.drain() if isinstance(event, FundingPayment)]


SECOND = 1000


@pytest.mark.parametrize(
    ("opened_ms", "closed_ms", "paid_hours"),
    [
        (
            HOUR_MS - SECOND,
            HOUR_MS + SECOND,
            [1],
        ),  # two seconds that hold a settlement: the whole hour's rate
        (HOUR_MS + SECOND, 2 * HOUR_MS - SECOND, []),  # an hour less two seconds without one: nothing
        (HOUR_MS + SECOND, 2 * HOUR_MS + SECOND, [2]),
        (HOUR_MS - SECOND, 3 * HOUR_MS - SECOND, [1, 2]),
    ],
)
def test_e7_04_only_what_is_held_at_the_instant_of_settlement_is_paid(
    opened_ms: int, closed_ms: int, paid_hours: list[int]
) -> None:
    assert traded_around_settlement(opened_ms, closed_ms) == [hour * HOUR_MS for hour in paid_hours]


def test_e7_04_what_is_decided_at_a_settlement_is_paid_from_the_next_one_on() -> None:
    record = run(scripted(panel_of(8, close=100, funding_rate=0.0001), {2: SHORT, 5: (0.0,)}))
    opened, closed = record.fills
    assert (opened.time_ms, closed.time_ms) == (hour_end(2), hour_end(5))  # right after those settlements
    assert [one.time_ms for one in record.payments] == [hour_end(3), hour_end(4), hour_end(5)]


# 5  Oracle


def test_e7_05_funding_is_paid_on_the_oracle_price_while_the_mark_decides_equity() -> None:
    panel = panel_of(4, close=100, oracle=90, funding_rate=0.001)
    record = run(scripted(panel, {0: SHORT}, rules=Rules(fees=FREE)))
    assert [one.usd for one in record.payments] == [D("90.0")] * 3  # 1,000 coins × 90 × 0.1 %
    assert {one.oracle for one in record.payments} == {D(90)}
    assert record.curves.equity[-1] == 100_000 + 3 * 90  # no price profit: the mark did not move
    assert record.curves.gross[-1] == 100_000


# 6  Formula, 7  Cap


def documented_rate(premium: Fraction) -> Fraction:
    """Per hour: an eighth of `P + clamp(0.01 % − P, −0.05 %, 0.05 %)`, within ±4 %."""
    pull = Fraction(1, 10_000) - premium
    pull = min(max(pull, Fraction(-5, 10_000)), Fraction(5, 10_000))
    return min(max((premium + pull) / 8, Fraction(-4, 100)), Fraction(4, 100))


def test_e7_06_a_premium_of_one_percent_costs_the_documented_rate() -> None:
    assert documented_rate(Fraction(1, 100)) == Fraction("0.0011875")  # 0.95 % per 8 h, 0.11875 % an hour
    assert hourly_rate_from_premium(0.01) == pytest.approx(0.0011875, rel=1e-12)


@pytest.mark.parametrize("premium", ["-0.0004", "-0.0001", "0", "0.0001", "0.0003", "0.0006"])
def test_e7_06_inside_the_clamp_the_rate_is_the_interest_and_says_nothing_of_the_premium(
    premium: str,
) -> None:
    assert hourly_rate_from_premium(float(premium)) == pytest.approx(1.25e-5, rel=1e-9)


def test_e7_06_the_synthetic_markets_funding_follows_from_its_premium() -> None:
    panel = synthetic_panel([MAJORS["BTC"], MAJORS["WIF"]], 500, seed=3)
    premium, funding = panel.premium.values.ravel(), panel.funding_rate.values.ravel()
    expected = [float(documented_rate(Fraction(value))) for value in premium]
    assert funding == pytest.approx(expected, rel=1e-9, abs=1e-15)
    pinned = np.isclose(funding, 1.25e-5, rtol=1e-9)
    assert 0.05 < pinned.mean() < 0.95  # both branches were walked


@pytest.mark.real_data
def test_e7_06_recorded_rates_follow_from_recorded_premiums(real_data: Path) -> None:
    panel = load(Query(real_data, coins=("BTC", "ETH"))).panel
    premium, funding = panel.premium.values, panel.funding_rate.values
    known = np.isfinite(premium) & np.isfinite(funding)
    assert known.sum() > 5_000
    expected = np.array([float(documented_rate(Fraction(value))) for value in premium[known]])
    assert (
        np.abs(funding[known] - expected) < 2e-8
    ).mean() > 0.99  # recorded with a limited number of digits


@pytest.mark.parametrize("mode", list(MarginMode))
@pytest.mark.parametrize(("funding", "paid"), [(0.10, "4000"), (-0.10, "-4000"), (0.03, "3000")])
def test_e7_07_no_hour_costs_more_than_four_percent(funding: float, paid: str, mode: MarginMode) -> None:
    panel = panel_of(4, close=100, funding_rate=[0.0, 0.0, funding, 0.0])
    record = run(scripted(panel, {0: SHORT}, rules=Rules(fees=FREE), margin_mode=mode))
    assert [one.usd for one in record.payments] == [D(0), D(paid), D(0)]
    assert hourly_rate_from_premium(3 * funding * 8) == (0.04 if funding > 0 else -0.04)


# 8  Tiers

TIERS = ((0, 10), (50_000, 5))
TIERED = Instrument("AAA", 2, tuple(MarginTier(D(bound), leverage) for bound, leverage in TIERS))
FEE = Fraction(45, 100_000)


def margin_by_bracket(notional: Fraction) -> Fraction:
    """Each bracket of the notional at its own rate, half the initial margin at its leverage."""
    bounds = [Fraction(bound) for bound, _ in TIERS] + [notional]
    total = Fraction(0)
    for (lower, leverage), upper in zip(TIERS, bounds[1:], strict=True):
        total += max(min(upper, notional) - lower, Fraction(0)) * Fraction(1, 2 * leverage)
    return total


def tier_case(side: int, mode: MarginMode) -> tuple[Fraction, Fraction]:
    """Coins and what backs them at the entry price of 100, for 100,000 USD of equity as the test sets it up."""
    coins = Fraction(540 if side > 0 else 450)
    if mode is MarginMode.ISOLATED:
        return coins, coins * 100 / 5
    return coins, Fraction(12_000) - coins * 100 * FEE


def price_of_liquidation(side: int, coins: Fraction, backing: Fraction) -> float:
    """Where what backs the position meets its margin, by bisection."""
    safe, lost = Fraction(100), Fraction(50 if side > 0 else 150)
    for _ in range(60):
        price = (safe + lost) / 2
        value = backing + side * coins * (price - 100)
        if value < margin_by_bracket(coins * price):
            lost = price
        else:
            safe = price
    return float(safe)


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("mode", [MarginMode.CROSS, MarginMode.ISOLATED])
@pytest.mark.parametrize("side", [1, -1])
def test_e7_08_liquidation_is_where_the_tier_at_that_price_says(
    side: int, mode: MarginMode, beyond: bool
) -> None:
    coins, backing = tier_case(side, mode)
    level = price_of_liquidation(side, coins, backing)
    at_entry, at_level = coins * 100, coins * Fraction(level)
    assert (at_entry > 50_000) != (at_level > 50_000)  # the price that counts is in the other tier
    touched = level * (1 - side * 1e-7) if beyond else level * (1 + side * 1e-7)
    wick = [100.0, 100.0, 100.0, touched, 100.0]
    panel = panel_of(5, close=100, low=wick) if side > 0 else panel_of(5, close=100, high=wick)
    record = run(
        scripted(
            panel,
            {0: (float(side),), 3: (0.0,)},
            instruments=[TIERED],
            sizing=Sizing(position_size=float(coins * 100 / 12_000), no_trade_band=float("inf")),
            equity_usd=D(12_000),
            leverage=5,
            margin_mode=mode,
            rules=Rules(fees=FeeSchedule.flat(D("0.00045"), D("0.00045"))),
        )
    )
    assert record.fills[0].lots == 100 * coins
    assert len(record.liquidations) == int(beyond)
    closed = record.fills[1]
    assert closed.time_ms == hour_end(3)
    assert float(closed.price) == pytest.approx(touched if beyond else 100.0, rel=1e-12)


# 9  Liquidation by parts

LARGE = simple_instrument("AAA", 0, 10)  # maintenance 5 %


def large_long() -> Exchange:
    """2,000 coins at 100 on 20,000 USD; maintenance is 5 % of what they are worth."""
    venue = Exchange([LARGE], Rules(fees=FREE))
    venue.deposit("ann", D(20_000), 0)
    venue.set_leverage("ann", "AAA", 10, MarginMode.CROSS, 0)
    venue.set_marks({"AAA": D(100)}, 0)
    venue.quote("AAA", D(100), D(100), 0)
    venue.submit("ann", Order("in", "AAA", Side.BUY, 2_000), 0)
    venue.drain()
    return venue


def marked(venue: Exchange, price: str, second: int) -> list[tuple[int, str]]:
    """The liquidations of a mark that is also the market: lots and kind."""
    venue.quote("AAA", D(price), D(price), second * 1000)
    venue.set_marks({"AAA": D(price)}, second * 1000)
    found = [event for _, event in venue.drain() if isinstance(event, Liquidation)]
    return [(one.lots, one.kind) for one in found]


def test_e7_09_a_fifth_first_then_all_of_it_within_thirty_seconds() -> None:
    # At 94.5: value 20,000 − 11,000 = 9,000 < 9,450 = 5 % of 189,000; above two thirds of it.
    venue = large_long()
    assert marked(venue, "94.5", 1) == [(400, "partial")]
    # 1,600 left: value 9,000 ≥ 7,560. At 93: 9,000 − 2,400 = 6,600 < 7,440.
    assert marked(venue, "93", 30) == [(1_600, "full")]


def test_e7_09_after_thirty_seconds_it_is_a_fifth_again() -> None:
    venue = large_long()
    assert marked(venue, "94.5", 1) == [(400, "partial")]
    assert marked(venue, "93", 31) == [(320, "partial")]


def test_e7_09_below_two_thirds_of_maintenance_the_backstop_takes_position_and_margin() -> None:
    # At 93: value 6,000 < ⅔ × 9,300 = 6,200.
    venue = large_long()
    assert marked(venue, "93", 1) == [(2_000, "backstop")]
    account = venue.accounts["ann"]
    assert (account.cash_usd, account.forfeited_usd, account.positions) == (D(0), D(6_000), {})
    just_above = large_long()  # at 93.2: value 6,400 ≥ ⅔ × 9,320 = 6,213
    assert marked(just_above, "93.2", 1) == [(400, "partial")]


def test_e7_09_a_bar_takes_the_rest_too_and_the_backstop_its_margin() -> None:
    """An hour holds many half minutes: what is still short of margin after the fifth goes in the same bar."""

    def with_low(low: float) -> RunRecord:
        panel = panel_of(4, close=100, low=[100, 100, low, 100])
        return run(
            scripted(
                panel,
                {0: (1.0,), 2: (0.0,)},
                instruments=[LARGE],
                sizing=Sizing(position_size=10.0, no_trade_band=float("inf")),
                equity_usd=D(20_000),
                rules=Rules(fees=FREE),
            )
        )

    eased = with_low(94.5)  # after a fifth the rest is backed again
    assert [(one.lots, one.kind) for one in eased.liquidations] == [(400, "partial")]
    rest = with_low(93.2)  # 6,400 < 7,456 = 5 % of 1,600 × 93.2
    assert [(one.lots, one.kind) for one in rest.liquidations] == [(400, "partial"), (1_600, "full")]
    assert rest.equity_end == D(6_400)
    gone = with_low(93)
    assert [(one.kind, one.forfeited_usd) for one in gone.liquidations] == [("backstop", D(6_000))]
    assert gone.equity_end == D(0)
    assert gone.price_usd == D(-20_000)


# 13  Churn


def flipping_rates() -> np.ndarray:
    """270 periods of 8 h, mostly positive, with a flip in every fourth or so, as recorded on one venue."""
    rng = np.random.default_rng(182)
    per_period = np.where(rng.random(270) < 0.78, 2.8e-5, -1e-5)
    return np.repeat(per_period, 8)


def test_e7_13_carry_sits_through_flips_of_the_sign_that_a_naive_close_would_pay_for() -> None:
    rates = flipping_rates()
    flips = int((np.diff(np.sign(rates)) != 0).sum())
    assert 52 <= flips <= 93
    price = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 1e-5, len(rates))))
    panel = panel_of(len(rates), close=price, funding_rate=rates, volume_usd=1e9)
    warm = FundingCarry().half_life_h * 8
    script: dict[int, tuple[float, ...]] = {}
    for row in range(warm, len(rates)):
        if row == warm or np.sign(rates[row]) != np.sign(rates[row - 1]):
            script[row] = SHORT if rates[row] > 0 else (0.0,)
    sizing, frictions = Sizing(1.0, no_trade_band=0.25), Frictions(half_spread_bps=2.0, impact_bps=0.0)
    naive = run(scripted(panel, script, sizing=sizing, frictions=frictions))
    # All of it wherever there is something to earn, and blind to price: only what flips do to it is seen.
    carry = FundingCarry(full_apr=0.05, max_headwind=100.0)
    patient = run(scripted(panel, strategies=[carry], sizing=sizing, frictions=frictions))
    assert len(naive.fills) > 0.8 * flips
    assert naive.funding_usd > 0
    assert naive.equity_end < naive.equity_start  # what it earned went to the venue and the spread
    assert len(patient.fills) <= flips / 6
    assert patient.equity_end > patient.equity_start * D("1.02")


# 14  Break-even


@pytest.mark.parametrize(
    ("apr", "half_life_h", "break_even_h"),
    [
        (0.20, 24, None),
        (0.20, 72, 364),
        (0.20, 168, 130),
        (0.50, 24, None),
        (0.50, 72, 51),
        (0.50, 168, 44),
        (1.00, 24, 30),
        (1.00, 72, 22),
        (2.00, 24, 12),
        (2.00, 168, 10),
    ],
)
def test_e7_14_carry_enters_only_where_the_decaying_rate_pays_for_the_round_trip_of_0_23_percent(
    apr: float, half_life_h: int, break_even_h: int | None
) -> None:
    rows = 220
    price = 100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 1e-5, rows)))
    panel = panel_of(rows, close=price, funding_rate=apr / 8760)

    def enters(hold_h: int) -> bool:
        strategy = FundingCarry(
            decay_h=half_life_h, hold_h=hold_h, round_trip_cost=0.0023, hurdle=0.0, max_headwind=100.0
        )
        fills = run(scripted(panel, strategies=[strategy])).fills
        return bool(fills)

    if break_even_h is None:
        assert not enters(100_000)
    else:
        assert enters(break_even_h + 1)
        assert not enters(break_even_h - 1)


@pytest.mark.parametrize(("ratio", "enters"), [(0.0, True), (1.5, True), (4.0, False)])
def test_e7_14_risk_refuses_what_does_not_earn_its_costs_times_over(ratio: float, enters: bool) -> None:
    # 40 % APR, halving every 72 h, over a week: 0.4 / 8760 × 103.9 × (1 − e^(−168/103.9)) = 0.38 % against 0.14 %.
    panel = panel_of(
        220,
        close=100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 1e-5, 220))),
        funding_rate=0.4 / 8760,
    )
    test = scripted(
        panel,
        strategies=[FundingCarry(max_headwind=100.0)],
        limits=replace(OPEN_LIMITS, min_edge_ratio=ratio),
        execution=Execution(slippage_bps=float("inf"), taker_fee=0.0005, half_spread=0.0002),
    )
    record = run(test)
    assert bool(record.fills) is enters
    assert ("edge_over_costs" in record.findings) is not enters


# 18  Books


def hectic(panel: Panel, execution: Execution) -> RunRecord:
    """Three strategies that disagree, on thin margin, one coin isolated: everything that moves money happens."""
    return run(
        scripted(
            panel,
            strategies=[
                FundingCarry(max_headwind=9.0),
                ExtremeFundingFade(enter_z=1.5, lookback_h=72, max_volatility=9.0),
                Positioning(calm=1.0, score=1.0),
            ],
            capital=[4.0, 4.0, 2.0],
            instruments=[
                replace(simple_instrument(name, 2, 10), only_isolated=name == "WIF")
                for name in panel.instruments
            ],
            sizing=Sizing(position_size=1.0, no_trade_band=0.25, cooldown_h=6),
            execution=execution,
            leverage=10,
        )
    )


def rebuilt_equity(record: RunRecord, panel: Panel) -> list[float]:
    """Equity at every row from the record's fills, payments and forfeits alone.

    A fill at a row's own moment belongs to its bar or to the next one's open; what was paid on then says which.
    """
    fills = sorted(record.fills, key=lambda fill: fill.trade_id)
    paid = defaultdict(dict)  # type: defaultdict[int, dict[str, FundingPayment]]
    for one in record.payments:
        paid[one.time_ms][one.instrument] = one
    cash, done, equity = Fraction(record.equity_start), 0, []
    lots = dict.fromkeys(panel.instruments, 0)
    for row in range(panel.rows):
        time_ms = panel.grid.time_ms(row)
        held = {name: one.lots for name, one in paid[time_ms].items()}
        while done < len(fills) and fills[done].time_ms <= time_ms:
            now = {name: count for name, count in lots.items() if count}
            if fills[done].time_ms == time_ms and now == held:
                break
            fill = fills[done]
            cash -= fill.side.sign * Fraction(fill.notional_usd) + Fraction(fill.fee_usd)
            lots[fill.instrument] += fill.signed_lots
            done += 1
        cash += sum((Fraction(one.usd) for one in paid[time_ms].values()), Fraction(0))
        cash -= sum(
            (Fraction(x.forfeited_usd) for x in record.liquidations if x.time_ms == time_ms), Fraction(0)
        )
        value = sum(
            (
                Fraction(lots[name], record.lots_per_coin[name]) * Fraction(panel.mark.values[row, column])
                for column, name in enumerate(panel.instruments)
            ),
            Fraction(0),
        )
        equity.append(float(cash + value))
    return equity


@pytest.mark.parametrize(
    ("execution", "must_happen"),
    [
        (Execution(stop_loss=0.04, take_profit=0.06), {"entry", "exit", "stop", "take_profit"}),
        (Execution(), {"entry", "exit", "liquidation"}),
    ],
)
def test_e7_18_price_and_funding_less_fees_are_the_change_of_equity_to_the_millionth(
    execution: Execution, must_happen: set[str]
) -> None:
    coins = [MAJORS[name] for name in ("BTC", "FARTCOIN", "WIF", "kPEPE")]
    panel = synthetic_panel(coins, 1_500, seed=11)
    record = hectic(panel, execution)
    assert {fill.purpose.value for fill in record.fills} >= must_happen
    change = record.equity_end - record.equity_start
    assert record.price_usd + record.funding_usd - record.fees_usd == change
    assert sum((one.usd for one in record.payments), D(0)) == record.funding_usd
    assert sum((fill.fee_usd for fill in record.fills), D(0)) == record.fees_usd
    for part, whole in (
        ("price_usd", record.price_usd),
        ("funding_usd", record.funding_usd),
        ("fees_usd", record.fees_usd),
    ):
        by_strategy = sum((getattr(each, part) for each in record.by_strategy), D(0))
        assert abs(by_strategy - whole) <= D("0.000001"), part
    assert record.curves.equity == pytest.approx(rebuilt_equity(record, panel), abs=1e-6, rel=0)
    shares = record.curves.price_pnl + record.curves.funding_pnl - record.curves.fees
    assert record.curves.equity - 100_000 == pytest.approx(shares, abs=1e-6, rel=0)


# 23  Look-ahead

SHIPPED: dict[str, Strategy] = {
    "carry": FundingCarry(),
    "fade": ExtremeFundingFade(enter_z=1.5, lookback_h=96, max_volatility=9.0),
    "positioning": Positioning(calm=1.0),
}


def with_another_future(panel: Panel, now: int) -> Panel:
    """The panel as it is until row `now`, and beyond it a market gone mad."""
    rng = np.random.default_rng(now)
    fields = {key: values.copy() for key, values in panel.fields.items()}
    shaken = np.exp(rng.normal(0, 0.3, (panel.rows - now - 1, len(panel.instruments))))
    for key in ("open", "high", "low", "close", "mark", "oracle", "mid"):
        fields[key][now + 1 :] *= shaken
    for key in ("funding_rate", "predicted_funding", "premium"):
        fields[key][now + 1 :] *= -20
    for key in ("open_interest", "volume_usd"):
        fields[key][now + 1 :] *= 3 * shaken
    return replace(panel, fields=fields)


@pytest.mark.parametrize("name", SHIPPED)
def test_e7_23_another_future_changes_no_decision_fill_or_dollar_of_the_past(name: str) -> None:
    panel = synthetic_panel([MAJORS[coin] for coin in ("BTC", "HYPE", "WIF", "DOGE")], 600, seed=5)

    def result(of: Panel) -> RunRecord:
        return run(
            scripted(
                of,
                strategies=[SHIPPED[name]],
                limits=Limits(),
                execution=Execution(stop_loss=0.05, take_profit=0.1),
                sizing=Sizing(volatility_target=0.2),
            )
        )

    first = result(panel)
    decided = sorted(
        {panel.grid.row(note.time_ms) for note in first.notes if note.time_ms < panel.grid.end_ms}
    )
    assert len(decided) >= 5
    # Look most closely where something was decided: a glance at the very next hour would have changed it.
    for now in decided[:: -(-len(decided) // 8)]:
        now_ms = panel.grid.time_ms(now)
        for other in (with_another_future(panel, now).slice(0, now + 30), panel.slice(0, now + 1)):
            record = result(other)
            for kind in ("notes", "payments", "liquidations", "fills"):
                # What is decided now trades in a bar that they don't share.
                until_ms = now_ms - 1 if kind == "fills" else now_ms
                seen = [
                    [one for one in getattr(each, kind) if one.time_ms <= until_ms]
                    for each in (first, record)
                ]
                assert seen[0] == seen[1], (kind, now)
            assert (first.curves.equity[:now] == record.curves.equity[:now]).all()
