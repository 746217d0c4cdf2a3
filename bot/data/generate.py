"""A data folder of made-up history, in the shape of recorded ones, for trying things out without a download."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bot.data.sources import CANDLES, FUNDING, OPEN_INTEREST, PREMIUM
from bot.errors import DataError
from bot.model.panel import HOUR_MS, FloatArray, Panel
from bot.sim.coins import CoinModel
from bot.sim.history import history
from bot.sim.synthetic import SyntheticMarket

STAMP = pa.timestamp("ms", tz="UTC")


def generate(folder: Path, coins: Sequence[CoinModel], hours: int, seed: int, start_ms: int) -> list[Path]:
    """Write candles, settled funding with its premium, open interest and `meta.json` into a new or empty folder.

    DataError if there is something in it already, or it can't be written to.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; name a new folder, so that nothing recorded is overwritten")
    panel = history(SyntheticMarket(coins, seed, start_ms), hours)
    field = {name: values.ravel(order="F") for name, values in panel.fields.items()}  # coin after coin
    typical = (field["high"] + field["low"] + field["close"]) / 3
    bars = {name: field[name] for name in ("open", "high", "low", "close")}
    tables: dict[str, tuple[int, Mapping[str, FloatArray]]] = {
        CANDLES: (1, {**bars, "volume": field["volume_usd"] / typical}),
        FUNDING: (0, {"funding_rate": field["funding_rate"], "interval_h": np.ones(len(typical))}),
        PREMIUM: (0, {"funding_rate": field["funding_rate"], "premium": field["premium"]}),
        OPEN_INTEREST: (1, {"open_interest": field["open_interest"]}),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [
            _write(folder / f"{name}.parquet", panel, lag_h, columns)
            for name, (lag_h, columns) in tables.items()
        ]
        meta = folder / "meta.json"
        meta.write_text(json.dumps(_meta(coins), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} can't be written to ({error.strerror}); name another folder") from None
    return [*paths, meta]


def _write(path: Path, panel: Panel, lag_h: int, columns: Mapping[str, FloatArray]) -> Path:
    """One table; a row known at T is stamped `lag_h` hours before."""
    stamps = np.tile(panel.grid.times_ms - lag_h * HOUR_MS, len(panel.instruments))
    names = pa.array(panel.instruments).take(
        pa.array(np.repeat(np.arange(len(panel.instruments)), panel.rows))
    )
    data = {"ts": pa.array(stamps, pa.int64()).cast(STAMP), "coin": names.dictionary_encode()}
    pq.write_table(pa.table({**data, **{name: pa.array(each) for name, each in columns.items()}}), path)
    return path


def _meta(coins: Sequence[CoinModel]) -> dict[str, Any]:
    """What the venue's `meta` reply would say of the coins."""
    return {
        "universe": [
            {"name": coin.name, "szDecimals": coin.size_decimals, "maxLeverage": coin.max_leverage}
            for coin in coins
        ]
    }
