"""Recorded history loads as it is, with its known holes named."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bot.clock import HOUR_MS, parse_utc
from bot.data.quality import describe
from bot.data.store import Query, load

pytestmark = pytest.mark.real_data


def looked_up(path: Path, coin: str, time_ms: int, column: str) -> float:
    table = pq.read_table(path, filters=[("coin", "==", coin)], columns=["ts", column])
    (value,) = table.filter(pc.equal(table["ts"].cast("int64"), time_ms))[column].to_pylist()
    assert isinstance(value, float)
    return value


def test_candles_of_every_coin_load_and_agree_with_the_tables(real_data: Path) -> None:
    history = load(Query(real_data))
    panel = history.panel
    assert len(panel.instruments) == 94
    assert panel.grid.start_ms == parse_utc("2024-08-14T15:00:00Z")
    assert panel.grid.end_ms == parse_utc("2025-06-01T00:00:00Z")
    btc = panel.instruments.index("BTC")
    for moment in ("2024-09-05T00:00:00Z", "2024-12-05T22:00:00Z", "2025-05-31T23:00:00Z"):
        time_ms = parse_utc(moment)
        row = panel.grid.row(time_ms)
        for field in ("open", "high", "low", "close"):
            there = looked_up(real_data / "hl_candles_1h.parquet", "BTC", time_ms - HOUR_MS, field)
            assert panel.field(field).values[row, btc] == there
        settled = looked_up(real_data / "hl_funding_1h.parquet", "BTC", time_ms, "funding_rate")
        assert panel.funding_rate.values[row, btc] == settled


def test_every_candle_and_every_hourly_rate_is_in_the_panel(real_data: Path) -> None:
    panel = load(Query(real_data, start_ms=0)).panel
    assert np.count_nonzero(np.isfinite(panel.close.values)) == 478_480
    assert np.count_nonzero(np.isfinite(panel.funding_rate.values)) == 923_264 - 1_110


def test_instruments_have_the_venues_tiers(real_data: Path) -> None:
    history = load(Query(real_data, coins=("BTC", "kPEPE")))
    btc, pepe = history.instruments
    assert [(int(tier.lower_bound_usd), tier.max_leverage) for tier in btc.tiers] == [
        (0, 40),
        (150_000_000, 20),
    ]
    assert (btc.size_decimals, pepe.multiplier) == (5, 1000)


def test_the_holes_of_the_majors_panel_are_reported(real_data: Path) -> None:
    history = load(
        Query(real_data, "panel", prices="okx", funding=("settled", "indicative"), reference="binance")
    )
    held_back = (parse_utc("2025-06-01T01:00:00Z"), 1344)
    closes = [each for each in history.coverage if each.field == "close"]
    assert len(closes) == 10
    assert all(each.gaps == (held_back,) and each.missing == 1344 for each in closes)
    (funding,) = [each for each in history.coverage if (each.coin, each.field) == ("BTC", "funding_rate")]
    assert (parse_utc("2023-07-02T20:00:00Z"), 1) in funding.gaps
    assert any("running estimate" in note for note in history.notes)


def test_estimates_are_close_to_the_settlement_an_hour_after_their_stamp(real_data: Path) -> None:
    settled = load(Query(real_data, "panel", coins=("BTC",))).panel.funding_rate
    estimated = load(Query(real_data, "panel", coins=("BTC",), funding=("indicative",))).panel.funding_rate
    both = np.isfinite(settled.values[:, 0]) & np.isfinite(estimated.values[:, 0])
    assert np.corrcoef(settled.values[both, 0], estimated.values[both, 0])[0, 1] > 0.92


def test_describe_counts_the_known_holes(real_data: Path) -> None:
    tables = describe(real_data)["tables"]
    assert tables["hl_candles_1h"]["missing_hours"] == 0
    assert tables["hl_funding_1h"]["interval_h"] == {"1": 922_154, "8": 1_110}
    assert {"start": "2023-07-02T20:00:00Z", "hours": 1} in tables["hl_funding_1h"]["per_coin"]["BTC"]["gaps"]
    assert tables["panel_1h"]["longest_gap_h"] == 1344
    assert all(table["duplicates"] == 0 for table in tables.values())
