"""Intervals of funding: listed, left out, unknown, changed."""

from math import isnan

import pytest

from bot.errors import DataError
from bot.venues.cex.intervals import binance_intervals, changes, rate_per_hour


def test_a_symbol_left_out_settles_every_eight_hours() -> None:
    listed = [{"symbol": "AUSDT", "fundingIntervalHours": 4}]
    assert binance_intervals(listed, ["AUSDT", "BTCUSDT"]) == {"AUSDT": 4, "BTCUSDT": 8}


@pytest.mark.parametrize("hours", [0, 3, 24, True, 8.0, "8", None])
def test_an_interval_that_is_none_is_unknown_and_so_is_its_rate(hours: object) -> None:
    found = binance_intervals([{"symbol": "AUSDT", "fundingIntervalHours": hours}], ["AUSDT"])["AUSDT"]
    assert found is None
    assert isnan(rate_per_hour(0.0001, found))


@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_every_interval_that_exchanges_have_is_known(hours: int) -> None:
    assert binance_intervals([{"symbol": "AUSDT", "fundingIntervalHours": hours}], ["AUSDT"]) == {
        "AUSDT": hours
    }


def test_two_rows_that_differ_are_refused() -> None:
    rows = [{"symbol": "AUSDT", "fundingIntervalHours": hours} for hours in (4, 8)]
    with pytest.raises(DataError, match="twice"):
        binance_intervals(rows, ["AUSDT"])


def test_a_rate_is_spread_over_its_own_interval() -> None:
    assert rate_per_hour(0.0008, 8) == pytest.approx(0.0001)
    assert rate_per_hour(-0.0008, 4) == pytest.approx(-0.0002)
    assert isnan(rate_per_hour(float("inf"), 8))


def test_a_change_is_told_once_and_the_rest_is_silent() -> None:
    assert changes({"A": 8, "B": 4, "C": 1}, {"A": 4, "B": 4, "D": 8}) == (
        "A settles funding every 4 h now; it was 8 h.",
    )
    assert changes({"A": 8}, {"A": None}) == ("A settles funding every unknown hours now; it was 8 h.",)
