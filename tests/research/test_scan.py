"""The board says how old what it shows is, and whether a rate has settled."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import cli
from tests.data.tables import candle, panel_row, rate, write, write_meta


def scanned(folder: Path, *options: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["scan", "--data", str(folder), "--json", *options])
    assert done.exit_code == 0, done.output
    facts: dict[str, Any] = json.loads(done.output)
    return facts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ETH pays most but ended 10 h ago; BTC and kPEPE go on, BTC with the higher rate."""
    last = {"BTC": 400, "kPEPE": 400, "ETH": 390}
    paid = {"BTC": 2e-5, "kPEPE": 1e-5, "ETH": 9e-4}
    write(tmp_path, "hl_candles_1h", [candle(hour, coin) for coin in last for hour in range(last[coin])])
    rates = [rate(hour + 1, coin, paid[coin]) for coin in last for hour in range(last[coin])]
    write(tmp_path, "hl_funding_1h", rates)
    write_meta(tmp_path, *last)
    return tmp_path


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("funding_apr", ["BTC", "kPEPE", "ETH"]),
        ("coin", ["BTC", "kPEPE", "ETH"]),
        ("stress", ["BTC", "kPEPE", "ETH"]),
    ],
)
def test_a_stale_coin_is_listed_last_and_marked(folder: Path, sort: str, order: list[str]) -> None:
    rows = scanned(folder, "--sort", sort)["coins"]
    assert [row["coin"] for row in rows] == order
    assert [row["stale"] for row in rows] == [False, False, True]
    told = CliRunner().invoke(cli, ["scan", "--data", str(folder), "--sort", sort]).output
    assert "ETH (stale)" in told
    assert "BTC (stale)" not in told
    assert "stale: no data of the last hours; listed last, as it was then" in told


def test_asked_about_an_earlier_hour_the_same_coin_is_not_stale(folder: Path) -> None:
    rows = scanned(folder, "--at", "2024-03-17T06:00:00Z", "--sort", "funding_apr")["coins"]
    assert (rows[0]["coin"], rows[0]["stale"]) == ("ETH", False)


def test_settled_rates_are_called_settled(folder: Path) -> None:
    assert {row["funding_kind"] for row in scanned(folder)["coins"]} == {"settled"}
    told = CliRunner().invoke(cli, ["scan", "--data", str(folder)]).output
    assert "APR: last settled funding;" in told
    assert "~" not in told


def test_a_running_estimate_is_not_called_settled(tmp_path: Path) -> None:
    rows = [panel_row(hour, "BTC", hl_funding=1e-5) for hour in range(10)]
    rows += [panel_row(hour, "ETH", hl_funding_indicative=3e-5) for hour in range(10)]
    write(tmp_path, "panel_1h", rows)
    write_meta(tmp_path, "BTC", "ETH")
    kinds = {row["coin"]: row["funding_kind"] for row in scanned(tmp_path)["coins"]}
    assert kinds == {"BTC": "settled", "ETH": "estimate"}
    told = CliRunner().invoke(cli, ["scan", "--data", str(tmp_path)]).output
    assert "APR: last funding, settled or (~) the venue's running estimate;" in told
    assert "~+26.3%" in told
