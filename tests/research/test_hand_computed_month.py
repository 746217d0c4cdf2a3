"""January 2025 of one coin, worked out by hand: a short that is opened, added to and closed.

    price     2000 until the 11th, then 2100, from the 21st 1900; the oracle stands 2 below it all month
    funding   +0.01 % an hour until the 16th, then −0.005 %, from the 26th +0.02 %
    decided   on the 2nd to be short for half the equity, on the 13th for all of it, on the 30th to be flat
    costs     taker fee 0.045 %, half a spread of 2 bp; lots of 0.01 coins; 10,000 USD at the start

Dates are midnight UTC at which the day named begins. What is decided at midnight trades at the open of the hour that
begins then, after the settlement of midnight and before the next one.

    date   what                                                                     price     funding     fee     equity
    2nd    10,000 × ½ / 2000 = 2.50 coins, sold at 1999.60:
           2.5 × 0.40 spread, 4999.00 × 0.045 % fee                                 −1.00                2.249550
    11th   9 days × 24 × 2.5 × 1998 × 0.01 % = 216 × 0.4995                                  107.892            10,104.642450
    13th   2.5 × 100 lost; 48 × 2.5 × 2098 × 0.01 % = 48 × 0.5245                 −250.00     25.176             9,879.818450
           9,879.82 / 2100 = 4.7046 → 4.70, so 2.20 more at 2099.58:
           2.2 × 0.42 spread, 4619.076 × 0.045 % fee, rounded down                  −0.924               2.078584
    16th   72 × 4.7 × 2098 × 0.01 % = 72 × 0.98606                                            70.99632           9,947.812186
    21st   120 × 4.7 × 2098 × −0.005 % = 120 × −0.49303                                      −59.1636            9,888.648586
    26th   4.7 × 200 won; 120 × 4.7 × 1898 × −0.005 % = 120 × −0.44603             940.00    −53.5236           10,775.124986
    30th   96 × 4.7 × 1898 × 0.02 % = 96 × 1.78412                                           171.27552          10,946.400506
           4.70 bought at 1900.38: 4.7 × 0.38 spread, 8931.786 × 0.045 % fee        −1.786               4.019303
    month                                                                          686.29    262.65264  8.347437  10,940.595203
"""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest

from bot.model.instrument import simple_instrument
from bot.model.order import Side
from bot.model.panel import HOUR_MS
from bot.pipeline.mandate import Sizing
from bot.reports.record import RunRecord
from bot.research.backtest import run
from bot.sim.bars import Frictions
from bot.sim.exchange import FeeSchedule, Rules
from tests.research.scripted import START_MS, panel_of, scripted

HOURS = 31 * 24
D = Decimal
CENT = D("0.01")


def hour(day: int) -> int:
    """The bar that begins at midnight of a day of the month."""
    return (day - 1) * 24


def stretches(*values: tuple[int, float]) -> np.ndarray:
    """One value a bar: each from its day on, until the next."""
    series = np.empty(HOURS)
    for day, value in values:
        series[hour(day) :] = value
    return series


def month(scores: Sequence[float]) -> RunRecord:
    price = stretches((1, 2000), (11, 2100), (21, 1900))
    panel = panel_of(
        HOURS,
        ("COIN",),
        close=price,
        oracle=price - 2,
        funding_rate=stretches((1, 0.0001), (16, -0.00005), (26, 0.0002)),
    )
    script = dict(zip((hour(2) - 1, hour(13) - 1, hour(30) - 1), ([score] for score in scores), strict=True))
    return run(
        scripted(
            panel,
            script,
            instruments=[simple_instrument("COIN", 2, 10)],
            sizing=Sizing(position_size=1.0, no_trade_band=0.25),
            equity_usd=D(10_000),
            rules=Rules(fees=FeeSchedule.flat(D("0.00045"), D("0.00015"))),
            frictions=Frictions(half_spread_bps=2.0, impact_bps=0.0),
        )
    )


@pytest.fixture(scope="module")
def short() -> RunRecord:
    return month((-0.5, -1.0, 0.0))


EQUITY = {
    2: "10000.00",
    11: "10104.64",
    13: "9879.82",
    16: "9947.81",
    21: "9888.65",
    26: "10775.12",
    30: "10946.40",
    31: "10940.60",
}
FUNDING = {  # received since the 1st
    2: "0",
    11: "107.892",
    13: "133.068",
    16: "204.06432",
    21: "144.90072",
    26: "91.37712",
    30: "262.65264",
    31: "262.65264",
}
FEES = {2: "0", 11: "2.24955", 13: "2.24955", 16: "4.328134", 30: "4.328134", 31: "8.347437"}


@pytest.mark.parametrize("day", EQUITY)
def test_equity_is_right_to_the_cent_at_the_days_beginning(short: RunRecord, day: int) -> None:
    assert D(short.curves.equity[hour(day) - 1]).quantize(CENT) == D(EQUITY[day])


@pytest.mark.parametrize("day", FUNDING)
def test_funding_received_until_the_days_beginning(short: RunRecord, day: int) -> None:
    until_ms = START_MS + hour(day) * HOUR_MS
    received = sum((one.usd for one in short.payments if one.time_ms <= until_ms), D(0))
    assert received == D(FUNDING[day])
    assert short.curves.funding_pnl[hour(day) - 1] == pytest.approx(float(FUNDING[day]), abs=1e-9)


@pytest.mark.parametrize("day", FEES)
def test_fees_paid_until_the_days_beginning(short: RunRecord, day: int) -> None:
    assert short.curves.fees[hour(day) - 1] == pytest.approx(float(FEES[day]), abs=1e-9)


def test_the_three_fills_stand_at_their_hour_size_price_and_fee(short: RunRecord) -> None:
    found = [
        (one.time_ms, one.side, one.lots, round(one.price, 9), one.notional_usd, one.fee_usd)
        for one in short.fills
    ]
    assert found == [
        (START_MS + hour(2) * HOUR_MS, Side.SELL, 250, D("1999.6"), D("4999.000000"), D("2.249550")),
        (START_MS + hour(13) * HOUR_MS, Side.SELL, 220, D("2099.58"), D("4619.076000"), D("2.078584")),
        (START_MS + hour(30) * HOUR_MS, Side.BUY, 470, D("1900.38"), D("8931.786000"), D("4.019303")),
    ]


def test_the_months_totals_are_right_to_the_millionth(short: RunRecord) -> None:
    assert short.price_usd == D("686.29")
    assert short.funding_usd == D("262.65264")
    assert short.fees_usd == D("8.347437")
    assert short.equity_end == D("10940.595203")
    assert len(short.payments) == 28 * 24  # an hour each from the 2nd to the 29th
    assert short.liquidations == []


def test_a_short_is_paid_while_funding_is_positive_and_pays_while_it_is_negative(short: RunRecord) -> None:
    negative = range(START_MS + hour(16) * HOUR_MS + 1, START_MS + hour(26) * HOUR_MS + 1)
    assert {one.usd > 0 for one in short.payments if one.time_ms not in negative} == {True}
    assert {one.usd < 0 for one in short.payments if one.time_ms in negative} == {True}


def test_a_long_of_the_same_size_pays_what_the_short_was_paid(short: RunRecord) -> None:
    long = month((0.5, 0.5, 0.0))
    until_ms = START_MS + hour(13) * HOUR_MS  # from here on the short is larger

    def early(record: RunRecord) -> list[D]:
        return [one.usd for one in record.payments if one.time_ms <= until_ms]

    assert early(long) == [-amount for amount in early(short)]
    assert sum(early(long)) == D("-133.068")
