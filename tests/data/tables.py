"""Small data folders, written as users would have them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bot.clock import HOUR_MS, parse_utc

START_MS = parse_utc("2024-03-01T00:00:00Z")
UTC_MS = pa.timestamp("ms", tz="UTC")


def at(hours: float) -> int:
    """Milliseconds `hours` after the start of every folder here."""
    return START_MS + int(hours * HOUR_MS)


def write(folder: Path, table: str, rows: Sequence[Mapping[str, Any]], ts_type: pa.DataType = UTC_MS) -> None:
    """Rows as dictionaries; `ts` in milliseconds."""
    columns = {
        name: [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)
    }
    arrays = {name: pa.array(values) for name, values in columns.items() if name != "ts"}
    stamps = pa.array(columns["ts"], pa.int64())
    arrays["ts"] = stamps if ts_type == pa.int64() else stamps.cast(UTC_MS).cast(ts_type)
    pq.write_table(pa.table(arrays), folder / f"{table}.parquet")


def candle(hours: float, coin: str = "BTC", close: float = 100.0, **more: Any) -> dict[str, Any]:
    bar = {"open": close - 1, "high": close + 2, "low": close - 2, "close": close, "volume": 10.0}
    return {"ts": at(hours), "coin": coin} | bar | more


def rate(hours: float, coin: str = "BTC", value: float = 1e-5, interval_h: int | None = 1) -> dict[str, Any]:
    return {"ts": at(hours), "coin": coin, "funding_rate": value, "interval_h": interval_h}


def panel_row(hours: float, coin: str = "BTC", **more: float | None) -> dict[str, Any]:
    """A row of panel_1h with OKX and Hyperliquid bars and everything else null."""
    names = ("open", "high", "low", "close")
    bars = {f"{venue}_{name}": 100.0 for venue in ("okx", "hl") for name in names}
    others = (
        "hl_funding",
        "hl_premium",
        "hl_funding_indicative",
        "hl_oi_usd",
        "binance_close",
        "bybit_close",
    )
    volumes = {"okx_volume_contracts": 5.0, "hl_volume": 2.0, "binance_volume": None, "bybit_volume": None}
    return {"ts": at(hours), "coin": coin} | bars | volumes | dict.fromkeys(others) | more


def write_meta(folder: Path, *coins: str) -> None:
    universe = [{"name": coin, "szDecimals": 3, "maxLeverage": 20, "marginTableId": 20} for coin in coins]
    (folder / "meta.json").write_text(json.dumps({"universe": universe, "marginTables": []}))
