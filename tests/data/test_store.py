"""A panel's row holds what was known at its time, and what is missing is said."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import HOUR_MS
from bot.data.quality import describe
from bot.data.store import History, Query, load
from bot.errors import DataError
from tests.data.tables import at, candle, panel_row, rate, write, write_meta


def folder_of(folder: Path, candles: list[dict[str, Any]], rates: list[dict[str, Any]]) -> Path:
    write(folder, "hl_candles_1h", candles)
    write(folder, "hl_funding_1h", rates)
    write_meta(folder, "BTC", "ETH", "kPEPE")
    return folder


def column(history: History, field: str, coin: str = "BTC") -> list[float]:
    values: list[float] = history.panel.field(field).values[:, history.panel.instruments.index(coin)].tolist()
    return values


def refusal(query: Query) -> str:
    with pytest.raises(DataError) as caught:
        load(query)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_row_holds_the_bar_that_ended_and_the_funding_that_settled_at_its_time(tmp_path: Path) -> None:
    bars = [candle(0, close=100.0), candle(1, close=110.0)]
    history = load(Query(folder_of(tmp_path, bars, [rate(1, value=1e-5), rate(2, value=2e-5)])))
    assert history.panel.grid.times_ms.tolist() == [at(1), at(2)]
    assert column(history, "open") == [99.0, 109.0]
    assert column(history, "close") == [100.0, 110.0]
    assert column(history, "funding_rate") == [1e-5, 2e-5]


def test_volume_is_usd_at_the_typical_price_and_a_bar_without_volume_keeps_its_price(tmp_path: Path) -> None:
    bars = [candle(0, high=106.0, low=97.0, close=100.0, volume=2.0), candle(1, close=100.0, volume=0.0)]
    history = load(Query(folder_of(tmp_path, bars, [rate(1)])))
    assert column(history, "volume_usd") == [202.0, 0.0]
    assert column(history, "close") == [100.0, 100.0]


def test_marks_oracles_and_mids_are_the_close_itself_and_said_to_be(tmp_path: Path) -> None:
    history = load(Query(folder_of(tmp_path, [candle(0)], [rate(1)])))
    fields = history.panel.fields
    assert fields["mark"] is fields["oracle"] is fields["mid"] is fields["close"]
    assert "mark, oracle and mid are the bar's close" in history.notes


def test_missing_hours_are_nan_and_reported_never_filled(tmp_path: Path) -> None:
    bars = [candle(0, close=100.0), candle(3, close=103.0)]
    history = load(Query(folder_of(tmp_path, bars, [rate(1)])))
    np.testing.assert_array_equal(column(history, "close"), [100.0, np.nan, np.nan, 103.0])
    np.testing.assert_array_equal(column(history, "funding_rate"), [1e-5, np.nan, np.nan, np.nan])
    (close,) = [each for each in history.coverage if each.field == "close"]
    assert (close.first_ms, close.last_ms, close.rows) == (at(1), at(4), 2)
    assert (close.missing, close.longest_gap_h, close.gaps) == (2, 2, ((at(2), 2),))


def test_settlements_that_come_late_are_floored_to_their_hour(tmp_path: Path) -> None:
    rates = [rate(1 + 24 / 60, value=3e-5), rate(2 + 0.05 / 3600, value=4e-5)]
    history = load(Query(folder_of(tmp_path, [candle(0), candle(1)], rates)))
    assert column(history, "funding_rate") == [3e-5, 4e-5]


def test_a_stamp_that_belongs_to_neither_hour_is_refused(tmp_path: Path) -> None:
    sentence = refusal(Query(folder_of(tmp_path, [candle(0)], [rate(1 + 31 / 60)])))
    assert "BTC stamped 2024-03-01T01:31:00Z, more than 30 minutes after the hour" in sentence


def test_two_rows_of_a_coin_in_one_hour_are_refused(tmp_path: Path) -> None:
    rates = [rate(1, "ETH"), rate(1), rate(1.1)]
    sentence = refusal(Query(folder_of(tmp_path, [candle(0), candle(0, "ETH")], rates)))
    assert "hl_funding_1h.parquet has 2 rows of BTC in the hour of 2024-03-01 01:00" in sentence


@pytest.mark.parametrize(
    "ts_type",
    [pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns", tz="UTC"), pa.timestamp("s"), pa.int64()],
    ids=str,
)
def test_stamps_of_every_unit_mean_the_same_moment(tmp_path: Path, ts_type: pa.DataType) -> None:
    folder = folder_of(tmp_path, [candle(0)], [rate(1)])
    write(folder, "hl_candles_1h", [candle(0), candle(1)], ts_type)
    assert load(Query(folder)).panel.grid.times_ms.tolist() == [at(1), at(2)]


def test_stamps_in_seconds_are_not_taken_for_milliseconds(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0)], [rate(1)])
    write(folder, "hl_candles_1h", [candle(0) | {"ts": at(0) // 1000}], pa.int64())
    assert "convert it to milliseconds" in refusal(Query(folder))


def test_rates_that_cover_eight_hours_are_left_out_and_the_note_says_from_when_to_when(
    tmp_path: Path,
) -> None:
    bars = [candle(hour) for hour in range(12)]
    rates = [rate(2, interval_h=8), rate(10, interval_h=8), rate(11, value=2e-5)]
    history = load(Query(folder_of(tmp_path, bars, rates)))
    expected = np.full(12, np.nan)
    expected[10] = 2e-5
    np.testing.assert_array_equal(column(history, "funding_rate"), expected)
    told = (
        "2 funding rates covering other than 1 hour (8 h), 2024-03-01 02:00 to 2024-03-01 10:00, are left out"
    )
    assert told in history.notes


def test_a_rate_of_unknown_interval_is_left_out_and_counted(tmp_path: Path) -> None:
    rates = [rate(1, interval_h=None), rate(2)]
    history = load(Query(folder_of(tmp_path, [candle(0), candle(1)], rates)))
    np.testing.assert_array_equal(column(history, "funding_rate"), [np.nan, 1e-5])
    assert any(note.startswith("1 funding rate of unknown interval") for note in history.notes)


def test_a_table_of_rates_without_any_interval_blocks_use(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0)], [rate(1, interval_h=None)])
    assert "a rate without its interval can't be used" in refusal(Query(folder))
    write(folder, "hl_funding_1h", [{key: value for key, value in rate(1).items() if key != "interval_h"}])
    assert "has no column 'interval_h'; it has coin, funding_rate and ts" in refusal(Query(folder))


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0)], [rate(1)])
    write(folder, "hl_candles_1h", [{"ts": at(0), "coin": "BTC", "open": 1.0}])
    assert "no column 'high'; it has coin, open and ts" in refusal(Query(folder))


def test_a_missing_folder_or_table_is_named(tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path / 'no'}" in refusal(Query(tmp_path / "no"))
    assert "has no hl_candles_1h.parquet; it holds no Parquet tables" in refusal(Query(tmp_path))
    write(tmp_path, "hl_candles_1h", [candle(0)])
    assert "has no hl_funding_1h.parquet; it holds hl_candles_1h.parquet" in refusal(Query(tmp_path))


def test_a_file_that_is_not_parquet_or_cut_short_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(hour) for hour in range(200)], [rate(1)])
    path = folder / "hl_candles_1h.parquet"
    whole = path.read_bytes()
    for damaged in (b"", b"time,coin\n", whole[: len(whole) // 2], b"\0" * 400 + whole[400:]):
        path.write_bytes(damaged)
        assert "hl_candles_1h.parquet cannot be read as Parquet" in refusal(Query(folder))


def test_an_unknown_coin_is_answered_with_the_nearest_known_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0), candle(0, "kPEPE", 0.01, low=0.005, open=0.01)], [rate(1)])
    assert "no coin 'PEPE'; did you mean kPEPE" in refusal(Query(folder, coins=("BTC", "PEPE")))


def test_coins_come_in_the_order_asked_for_else_by_name(tmp_path: Path) -> None:
    bars = [candle(0, "ETH", 50.0), candle(0, "BTC", 100.0), candle(0, "kPEPE", 10.0)]
    folder = folder_of(tmp_path, bars, [rate(1, "ETH", 5e-5)])
    assert load(Query(folder)).panel.instruments == ("BTC", "ETH", "kPEPE")
    history = load(Query(folder, coins=("kPEPE", "ETH")))
    assert history.panel.instruments == tuple(each.name for each in history.instruments) == ("kPEPE", "ETH")
    np.testing.assert_array_equal(history.panel.funding_rate.values, [[np.nan, 5e-5]])
    assert "no funding rate for kPEPE" in history.notes


def test_a_range_cuts_by_row_time_and_takes_in_earlier_funding(tmp_path: Path) -> None:
    bars = [candle(hour, close=100.0 + hour) for hour in range(5, 9)]
    folder = folder_of(tmp_path, bars, [rate(hour) for hour in range(1, 10)])
    whole = load(Query(folder)).panel.grid
    assert (whole.start_ms, whole.end_ms) == (at(6), at(9))
    history = load(Query(folder, start_ms=at(2.5), end_ms=at(6.9)))
    assert history.panel.grid.times_ms.tolist() == [at(3), at(4), at(5), at(6)]
    np.testing.assert_array_equal(column(history, "close"), [np.nan, np.nan, np.nan, 105.0])
    assert column(history, "funding_rate") == [1e-5] * 4


def test_a_range_without_prices_is_refused_with_what_there_is(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(5)], [rate(1)])
    assert "it covers 2024-03-01 01:00 to 2024-03-01 06:00" in refusal(Query(folder, start_ms=at(100)))
    assert "holds no price of BTC" in refusal(Query(folder, end_ms=at(3), start_ms=at(1)))
    assert "is empty; the start must come first" in refusal(Query(folder, start_ms=at(3), end_ms=at(2)))


@pytest.mark.parametrize(
    ("field", "value"), [("close", 0.0), ("low", -1.0), ("open", np.inf), ("volume", -3.0)]
)
def test_prices_and_volumes_that_cannot_be_are_refused(tmp_path: Path, field: str, value: float) -> None:
    folder = folder_of(tmp_path, [candle(0), candle(1) | {field: value}], [rate(1)])
    assert f"column '{field}'" in refusal(Query(folder))


def test_a_null_price_is_unknown(tmp_path: Path) -> None:
    history = load(
        Query(folder_of(tmp_path, [candle(0), candle(1, close=5.0) | {"close": None}, candle(2)], [rate(1)]))
    )
    np.testing.assert_array_equal(column(history, "close"), [100.0, np.nan, 100.0])


def test_optional_tables_are_read_where_they_are(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0), candle(1)], [rate(1), rate(2)])
    write(
        folder, "hl_funding_premium_1h", [{"ts": at(2), "coin": "BTC", "premium": -2e-4, "funding_rate": 0.0}]
    )
    # A sample of any minute within an hour is known when that hour is over.
    write(folder, "hl_open_interest_1h", [{"ts": at(0.9), "coin": "BTC", "open_interest": 7.0}])
    history = load(Query(folder))
    np.testing.assert_array_equal(column(history, "premium"), [np.nan, -2e-4])
    np.testing.assert_array_equal(column(history, "open_interest"), [7.0, np.nan])


def test_without_meta_the_instruments_are_guessed_and_said_to_be(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0, close=65_000.0), candle(0, "kPEPE", 4.0)], [rate(1)])
    (folder / "meta.json").unlink()
    history = load(Query(folder))
    assert [(each.size_decimals, each.max_leverage, each.multiplier) for each in history.instruments] == [
        (5, 10, 1),
        (1, 10, 1000),
    ]
    assert history.notes[-1].startswith("instrument facts for BTC and kPEPE are defaults")


def test_a_panel_shifts_bars_and_samples_by_an_hour_but_not_settlements(tmp_path: Path) -> None:
    rows = [
        panel_row(0, hl_close=50.0, hl_funding=1e-5, hl_premium=1e-4, hl_oi_usd=5000.0, binance_close=51.0),
        panel_row(1, hl_close=60.0, hl_funding=2e-5, hl_premium=2e-4, hl_oi_usd=None, binance_close=61.0),
    ]
    write(tmp_path, "panel_1h", rows)
    history = load(Query(tmp_path, "panel", reference="binance"))
    assert history.panel.grid.times_ms.tolist() == [at(1), at(2)]
    assert column(history, "close") == [50.0, 60.0]
    assert column(history, "reference") == [51.0, 61.0]
    np.testing.assert_array_equal(column(history, "funding_rate"), [2e-5, np.nan])
    np.testing.assert_array_equal(column(history, "premium"), [2e-4, np.nan])
    np.testing.assert_array_equal(column(history, "open_interest"), [100.0, np.nan])
    assert column(history, "volume_usd") == [pytest.approx(2 * 250 / 3), pytest.approx(2 * 260 / 3)]


def test_estimates_stand_in_only_where_asked_and_are_counted(tmp_path: Path) -> None:
    rows = [
        panel_row(0, hl_funding_indicative=7e-5),
        panel_row(1, hl_funding=2e-5, hl_funding_indicative=8e-5),
    ]
    write(tmp_path, "panel_1h", rows)

    def rates(*funding: Literal["settled", "indicative"]) -> tuple[list[float], tuple[str, ...]]:
        history = load(Query(tmp_path, "panel", funding=funding))
        return column(history, "funding_rate"), history.notes

    values, _ = rates("settled")
    np.testing.assert_array_equal(values, [2e-5, np.nan])
    values, notes = rates("settled", "indicative")
    assert values == [2e-5, 8e-5]
    assert any(note.startswith("1 of the funding rates") and "running estimate" in note for note in notes)
    values, notes = rates("indicative", "settled")
    assert values == [7e-5, 8e-5]
    assert any(note.startswith("2 of the funding rates") for note in notes)
    values, _ = rates()
    assert np.isnan(values).all()


def test_okx_prices_come_without_volume_and_hyperliquid_prices_only_where_they_are(tmp_path: Path) -> None:
    rows = [panel_row(0, hl_close=None, hl_oi_usd=500.0), panel_row(1), panel_row(2, hl_close=None)]
    write(tmp_path, "panel_1h", rows)
    history = load(Query(tmp_path, "panel", prices="okx"))
    assert "volume_usd" not in history.panel.fields
    assert any("contracts of unknown size" in note for note in history.notes)
    np.testing.assert_array_equal(column(history, "open_interest"), [5.0, np.nan, np.nan])
    assert any(note.startswith("1 open interest is USD divided by the close") for note in history.notes)
    assert load(Query(tmp_path, "panel")).panel.grid.times_ms.tolist() == [at(2)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            {"table": "panel", "prices": "binance"},
            "panel_1h holds only closes of binance; choose the prices of hl or okx",
        ),
        ({"table": "panel", "reference": "hl"}, "choose another venue as the reference"),
        ({"prices": "okx"}, "prices 'okx' is only in panel_1h"),
        ({"reference": "binance"}, "reference 'binance' is only in panel_1h"),
        ({"funding": ("settled", "indicative")}, "hl_funding_1h holds settled rates only"),
    ],
)
def test_what_a_table_cannot_give_is_refused(tmp_path: Path, query: dict[str, Any], said: str) -> None:
    write(tmp_path, "panel_1h", [panel_row(0)])
    assert said in refusal(Query(tmp_path, **query))


@given(
    known=st.lists(st.lists(st.booleans(), min_size=30, max_size=30), min_size=1, max_size=3),
    seed=st.randoms(use_true_random=False),
)
def test_coverage_counts_every_hole_exactly(
    known: list[list[bool]], seed: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("holes")
    coins = [f"C{number}" for number in range(len(known))]
    bars = [
        candle(hour, coin) for coin, row in zip(coins, known, strict=True) for hour in range(30) if row[hour]
    ]
    # A coin that is always there fixes the grid.
    bars += [candle(hour, "ALL") for hour in range(30)]
    seed.shuffle(bars)
    history = load(Query(folder_of(folder, bars, [rate(1, "ALL")])))
    for coin, row in zip(coins, known, strict=True):
        if not any(row):
            assert coin not in history.panel.instruments
            continue
        (found,) = [each for each in history.coverage if (each.coin, each.field) == (coin, "close")]
        inside = "".join("x" if each else "." for each in row)
        holes = [hole for hole in inside.strip(".").split("x") if hole]
        assert found.rows == inside.count("x")
        assert found.missing == sum(map(len, holes))
        assert found.longest_gap_h == max(map(len, holes), default=0)
        assert [hours for _, hours in found.gaps] == list(map(len, holes))
        missing = {(start - at(1)) // HOUR_MS + step for start, hours in found.gaps for step in range(hours)}
        first, last = inside.index("x"), inside.rindex("x")
        assert missing == {hour for hour in range(first, last) if not row[hour]}
        np.testing.assert_array_equal(np.isfinite(column(history, "close", coin)), row)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_coins_keep_their_rows_however_names_and_row_groups_are_stored(
    tmp_path: Path, kind: pa.DataType
) -> None:
    bars = [candle(hour, coin, close) for coin, close in (("ETH", 50.0), ("BTC", 100.0)) for hour in range(3)]
    folder = folder_of(tmp_path, bars, [rate(1)])
    table = pq.read_table(folder / "hl_candles_1h.parquet")
    coins = table.column_names.index("coin")
    stored = table.set_column(coins, "coin", table["coin"].combine_chunks().dictionary_encode().cast(kind))
    pq.write_table(stored, folder / "hl_candles_1h.parquet", row_group_size=2)
    np.testing.assert_array_equal(load(Query(folder)).panel.close.values, [[100.0, 50.0]] * 3)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0)], [rate(1)])
    path = folder / "hl_candles_1h.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert "has no rows" in refusal(Query(folder))


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "BTC\n", "\x1b[31mBTC", "BTC,ETH", "", "x" * 41])
def test_a_coin_whose_name_is_none_is_refused_with_the_name_written_out(tmp_path: Path, name: str) -> None:
    said = refusal(Query(folder_of(tmp_path, [candle(0), candle(0, name)], [rate(1)])))
    assert "hl_candles_1h.parquet has a coin named" in said
    assert said.isprintable()
    assert "rename it or remove its rows" in said


WEEKS = 400


def rates_folder(folder: Path, value: float, coins: tuple[str, ...] = ("BTC",), beyond: int = 0) -> Path:
    """Hours of a rate that varies around `value` for BTC, and is the usual for others; a few are 5 % an hour."""
    bars = [candle(hour, coin) for coin in coins for hour in range(WEEKS)]
    rates = [
        rate(hour + 1, coin, (value if coin == "BTC" else 1.25e-5) * (1.5 if hour % 2 else 0.5))
        for coin in coins
        for hour in range(WEEKS)
    ]
    for row in rates[:beyond]:
        row["funding_rate"] = -0.05
    return folder_of(folder, bars, rates)


@pytest.mark.parametrize(("value", "word"), [(1.25e-3, "large"), (1.25e-7, "small")])
def test_rates_in_another_unit_are_doubted_first_of_all(tmp_path: Path, value: float, word: str) -> None:
    folder = rates_folder(tmp_path, value, ("BTC", "ETH"))
    note = load(Query(folder)).notes[0]
    assert note.startswith(f"CHECK THE UNIT: funding of BTC is unusually {word}, ")
    assert describe(folder)["tables"]["hl_funding_1h"]["verdict"].startswith(note)


@pytest.mark.parametrize("value", [2e-6, 1.25e-5, 3e-4])
def test_rates_of_usual_size_are_not_doubted(tmp_path: Path, value: float) -> None:
    folder = rates_folder(tmp_path, value, beyond=4)  # as many as an extreme listing may have
    assert not any("CHECK" in note for note in load(Query(folder)).notes)
    assert describe(folder)["tables"]["hl_funding_1h"]["doubts"] == []


def test_many_rates_beyond_the_cap_are_doubted(tmp_path: Path) -> None:
    note = load(Query(rates_folder(tmp_path, 1.25e-5, beyond=8))).notes[0]
    assert note.startswith(
        "CHECK THE UNIT: funding of BTC goes beyond the venue's cap of 4% an hour, that of BTC in 2%"
    )


def test_a_rate_of_more_than_the_whole_position_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [candle(0), candle(1)], [rate(1, value=-1.25), rate(2)])
    assert "says -1.25 for BTC in the row known at 2024-03-01 01:00, which cannot be" in refusal(
        Query(folder)
    )
    assert describe(folder)["tables"]["hl_funding_1h"]["verdict"].startswith(
        "1 funding rates are above 100 % an hour"
    )


def test_a_coin_whose_prices_end_early_is_noted_with_its_last_hour(tmp_path: Path) -> None:
    bars = [candle(0), candle(1), candle(2), candle(0, "ETH")]
    history = load(Query(folder_of(tmp_path, bars, [rate(1), rate(1, "ETH")])))
    assert "prices end before the data does for ETH (2024-03-01 01:00)" in history.notes
