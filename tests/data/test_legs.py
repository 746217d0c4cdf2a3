from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.clock import HOUR_MS, parse_utc
from bot.data.legs import load_legs
from bot.errors import DataError
from bot.model.instrument import Kind
from tests.data.tables import at, candle, panel_row, rate, write

nan = float("nan")
HOURS = 30


def spot(
    hours: float, pair: str = "UBTC/USDC", close: float = 99.0, venue: str = "hyperliquid"
) -> dict[str, Any]:
    return {**candle(hours, "BTC", close), "venue": venue, "pair": pair}


def settlement(
    hours: float, value: float, every_h: int = 8, coin: str = "BTC", contract: str = "USDT"
) -> dict[str, Any]:
    return {
        "ts": at(hours), "venue": "binance", "coin": coin, "contract": contract, "funding_rate": value,
        "interval_h": every_h, "source": "test",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "hl_candles_1h", [candle(h, close=100.0 + h) for h in range(HOURS)])
    write(tmp_path, "hl_funding_1h", [rate(h, value=1e-5 * h) for h in range(HOURS + 1)])
    write(
        tmp_path,
        "spot_candles_1h",
        [spot(h, close=99.0 + h) for h in range(3, HOURS)]
        + [spot(h, "BTC/USDT", venue="binance") for h in range(HOURS)],
    )
    write(
        tmp_path,
        "panel_1h",
        [panel_row(h, binance_close=101.0 + h, binance_volume=3.0) for h in range(HOURS)],
    )
    write(
        tmp_path,
        "cex_funding",
        [
            settlement(0, 8e-5),
            settlement(8, 16e-5),
            settlement(16, -8e-5),
            settlement(20, 4e-5, 4),
            settlement(8, 9.0, contract="coin-margined"),
            settlement(8, 9.0, coin="ETH"),
        ],
    )
    return tmp_path


def test_spot_stands_beside_its_perpetual_and_pays_nothing(folder: Path) -> None:
    history = load_legs(folder, ["BTC", "UBTC/USDC"])
    panel = history.panel
    assert panel.instruments == ("BTC", "UBTC/USDC")
    assert panel.grid.start_ms == at(4)  # the first hour of which both are known: a bar is known when it ends
    assert panel.close.values[0].tolist() == [103.0, 102.0]
    assert panel.settled_funding.values[0].tolist() == [pytest.approx(4e-5), 0.0]
    assert [each.kind for each in history.instruments] == [Kind.PERP, Kind.SPOT]
    assert history.instruments[1].underlying == "BTC"
    # Ten coins at (high + low + close) / 3 = close.
    assert panel.volume_usd.values[0, 1] == pytest.approx(10 * 102.0)


def test_a_settlement_stands_at_its_hour_and_nothing_between(folder: Path) -> None:
    panel = load_legs(folder, ["BTC", "binance:BTC"]).panel

    def row(hours: float, name: str) -> float:
        return float(panel.field(name).values[panel.grid.row(at(hours)), 1])

    assert row(8, "settled_funding") == 16e-5
    assert [row(h, "settled_funding") for h in (1, 7, 9, 15)] == [0.0] * 4
    # What is known of the rate is the newest settlement, by the hour; the one to come is not.
    assert row(7, "funding_rate") == pytest.approx(1e-5)
    assert row(8, "funding_rate") == row(15, "funding_rate") == pytest.approx(2e-5)
    assert (row(19, "funding_interval_h"), row(20, "funding_interval_h")) == (8, 4)
    assert row(20, "funding_rate") == pytest.approx(1e-5)
    # Its first bar has nothing to open at; the next opens where it closed.
    assert row(2, "open") == row(1, "close") == 101.0
    assert row(5, "volume_usd") == pytest.approx(3 * 105.0)


def test_a_settlement_that_is_missing_leaves_its_hours_unknown(folder: Path) -> None:
    panel = load_legs(folder, ["binance:BTC"]).panel
    settled = panel.settled_funding.values[:, 0]
    first = panel.grid.row(at(21))
    assert np.isnan(settled[first:]).all()  # the one at 24 is not recorded, nor any after it
    assert np.isfinite(settled[:first]).all()
    known = np.isfinite(panel.funding_rate.values[:, 0])
    assert known[: panel.grid.row(at(24))].all()
    assert not known[panel.grid.row(at(24)) :].any()


def test_an_interval_that_grew_shorter_between_two_settlements_is_no_hole(folder: Path) -> None:
    panel = load_legs(folder, ["binance:BTC"]).panel
    between = panel.settled_funding.values[panel.grid.row(at(17)) : panel.grid.row(at(20)), 0]
    assert between.tolist() == [0.0, 0.0, 0.0]


def test_a_period_is_cut_to_what_was_asked_for(folder: Path) -> None:
    panel = load_legs(folder, ["BTC", "UBTC/USDC"], at(10), at(12)).panel
    assert (panel.grid.start_ms, panel.rows) == (at(10), 3)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no leg was named"),
        (["binance:"], "is no leg"),
        (["BTC", "UETH/USDC"], "has no 'UETH/USDC'"),
        (["kraken:BTC"], "no column|no price|can't be read"),
        (["binance:ETH"], "no rows of ETH"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(folder: Path, names: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_legs(folder, names)


def test_two_rows_of_one_hour_are_refused(folder: Path) -> None:
    write(folder, "spot_candles_1h", [spot(3), spot(3)])
    with pytest.raises(DataError, match="two rows of one hour"):
        load_legs(folder, ["UBTC/USDC"])


def test_legs_without_an_hour_in_common_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="no hour in common"):
        load_legs(folder, ["UBTC/USDC", "binance:BTC"], at(100), at(200))


@pytest.mark.real_data
def test_recorded_legs_are_as_recorded(real_data: Path) -> None:
    panel = load_legs(real_data, ["BTC", "UBTC/USDC", "binance:BTC"]).panel
    row = panel.grid.row(parse_utc("2025-05-20T08:00:00Z"))
    assert panel.grid.interval_ms == HOUR_MS
    known = {
        name: panel.field(name).values[row] for name in ("close", "settled_funding", "funding_interval_h")
    }
    assert np.isfinite(known["close"]).all()
    assert known["funding_interval_h"].tolist() == pytest.approx([1.0, nan, 8.0], nan_ok=True)
    # Within a fifth of a per cent of each other, as the same coin on three markets is.
    assert known["close"].max() / known["close"].min() < 1.002
    # Six settlements in two days at Binance, 48 here.
    two_days = panel.settled_funding.values[row - 47 : row + 1]
    assert np.count_nonzero(two_days[:, 2]) == 6
    assert np.count_nonzero(two_days[:, 0]) == 48
