"""`hedgerow data describe`: what a folder holds, and what is unusual about it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli.data import data
from bot.data.quality import describe
from bot.errors import DataError
from tests.data.tables import candle, panel_row, rate, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path, "hl_candles_1h", [candle(0), candle(1, volume=0.0), candle(4), candle(4), candle(0, "ETH")]
    )
    rates = [rate(8, interval_h=8), rate(16, interval_h=8), rate(17, value=0.0000125), rate(18), rate(20)]
    write(tmp_path, "hl_funding_1h", rates)
    write(tmp_path, "cex_funding", [rate(8)])
    return tmp_path


def test_gaps_duplicates_and_bars_without_volume_are_counted(folder: Path) -> None:
    facts = describe(folder)["tables"]["hl_candles_1h"]
    assert (facts["rows"], facts["coins"]) == (5, 2)
    assert (facts["first"], facts["last"]) == ("2024-03-01T00:00:00Z", "2024-03-01T04:00:00Z")
    assert (facts["gaps"], facts["missing_hours"], facts["longest_gap_h"]) == (1, 2, 2)
    assert facts["duplicates"] == 1
    assert facts["zero_volume_share"] == pytest.approx(1 / 5)
    assert facts["per_coin"]["BTC"]["gaps"] == [{"start": "2024-03-01T02:00:00Z", "hours": 2}]
    assert facts["verdict"].startswith("1 duplicate rows: remove them before use")


def test_a_rate_of_eight_hours_leaves_no_gap_and_is_no_default(folder: Path) -> None:
    facts = describe(folder)["tables"]["hl_funding_1h"]
    assert facts["interval_h"] == {"1": 3, "8": 2}
    assert (facts["gaps"], facts["missing_hours"]) == (1, 1)
    assert facts["default_funding_share"] == pytest.approx(1 / 3)
    assert "2 of 8 h" in facts["verdict"]


def test_a_panel_says_how_much_of_each_column_is_known(tmp_path: Path) -> None:
    write(tmp_path, "panel_1h", [panel_row(0, hl_funding=1e-5), panel_row(1)])
    known = describe(tmp_path)["tables"]["panel_1h"]["known_share"]
    assert (known["okx_close"], known["hl_funding"], known["hl_premium"]) == (1.0, 0.5, 0.0)


def test_files_that_are_not_read_are_named(folder: Path) -> None:
    assert describe(folder)["other_files"] == ["cex_funding.parquet"]


def test_a_table_that_cannot_be_read_does_not_hide_the_others(folder: Path) -> None:
    (folder / "hl_candles_1h.parquet").write_bytes(b"nonsense")
    tables = describe(folder)["tables"]
    assert not tables["hl_candles_1h"]["readable"]
    assert "cannot be read as Parquet" in tables["hl_candles_1h"]["verdict"]
    assert tables["hl_funding_1h"]["readable"]
    assert CliRunner().invoke(data, ["describe", str(folder)]).exit_code == 2


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="did you mean BTC"):
        describe(folder, coins=["BTCC"])
    with pytest.raises(DataError, match="did you mean hl_candles_1h"):
        describe(folder, tables=["candles_1h"])
    with pytest.raises(DataError, match=r"has no panel_1h\.parquet"):
        describe(folder, tables=["panel_1h"])
    with pytest.raises(DataError, match="there is no folder"):
        describe(folder / "no")


def test_the_command_prints_a_table_or_one_json_object(folder: Path) -> None:
    shown = CliRunner().invoke(data, ["describe", str(folder)])
    assert shown.exit_code == 0
    assert "hl_candles_1h: 1 duplicate rows" in shown.output
    printed = CliRunner().invoke(
        data, ["describe", str(folder), "--json", "--coins", "BTC", "--table", "hl_candles_1h"]
    )
    facts = json.loads(printed.output)
    assert list(facts["tables"]) == ["hl_candles_1h"]
    assert list(facts["tables"]["hl_candles_1h"]["per_coin"]) == ["BTC"]


def test_help_has_an_example() -> None:
    assert "Example:  hedgerow data describe" in CliRunner().invoke(data, ["describe", "--help"]).output
