"""The legs of spreads as one panel: perpetuals and spot of Hyperliquid, perpetuals of other venues, side by side.

A leg is named as the daemon names it: `BTC` a perpetual on Hyperliquid, `UBTC/USDC` a spot market there, `binance:BTC` a
perpetual elsewhere. Rows mean what they mean in `bot.data.store`; and a settlement belongs to the row of its hour, so that
`settled_funding` is what was paid at the very row and `funding_rate` the newest settlement by the hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bot.clock import HOUR_MS
from bot.data.meta import default_instrument
from bot.data.store import History, Query, load
from bot.data.tables import hour_utc, nearest
from bot.errors import DataError
from bot.model.instrument import HYPERLIQUID, Instrument, Kind, MarginTier, spot_instrument, underlying_of
from bot.model.money import ZERO
from bot.model.panel import FloatArray, Grid, Panel

SPOT: Final = "spot_candles_1h"
CEX_FUNDING: Final = "cex_funding"
PANEL: Final = "panel_1h"
CONTRACT: Final = "USDT"
CEX_LEVERAGE: Final = 20
FIELDS: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume_usd",
    "funding_rate",
    "settled_funding",
    "funding_interval_h",
    "premium",
    "open_interest",
)

Fields = dict[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg by its name, taken apart."""

    name: str
    venue: str
    kind: Kind

    @classmethod
    def of(cls, name: str) -> Leg:
        """What a name says. DataError where it says nothing."""
        venue, _, rest = name.rpartition(":")
        if not rest or (venue and not venue.isalnum()):
            raise DataError(f"{name!r} is no leg; legs are named like BTC, UBTC/USDC or binance:BTC")
        return cls(name, venue or HYPERLIQUID, Kind.SPOT if "/" in rest else Kind.PERP)


def load_legs(
    folder: Path, names: Sequence[str], start_ms: int | None = None, end_ms: int | None = None
) -> History:
    """The history of some legs, in the order named, over the hours of which all of them have prices.

    DataError for whatever is missing, unreadable, double or off the hour.
    """
    legs = [Leg.of(name) for name in dict.fromkeys(names)]
    if not legs:
        raise DataError("no leg was named; name some like BTC, UBTC/USDC or binance:BTC")
    notes: list[str] = []
    perps = [leg.name for leg in legs if (leg.venue, leg.kind) == (HYPERLIQUID, Kind.PERP)]
    ours = load(Query(folder, coins=tuple(perps), start_ms=start_ms, end_ms=end_ms)) if perps else None
    found: dict[str, tuple[Grid, Fields, Instrument]] = {}
    for leg in legs:
        if leg.kind is Kind.SPOT:
            found[leg.name] = _spot(folder, leg, notes)
        elif leg.venue != HYPERLIQUID:
            found[leg.name] = _elsewhere(folder, leg, notes)
    if ours is not None:
        for column, name in enumerate(ours.panel.instruments):
            fields = {
                field: values[:, column] for field, values in ours.panel.fields.items() if field in FIELDS
            }
            fields["settled_funding"] = fields["funding_rate"]
            fields["funding_interval_h"] = np.where(np.isfinite(fields["funding_rate"]), 1.0, np.nan)
            found[name] = ours.panel.grid, fields, ours.instruments[column]
        notes = [*ours.notes, *notes]
    grid = _common(found, start_ms, end_ms)
    if end_ms is not None and grid.end_ms < end_ms // HOUR_MS * HOUR_MS:
        notes.append(
            f"prices and settlements of all legs are recorded until {hour_utc(grid.end_ms)}; the run ends there"
        )
    fields = {name: _aligned(name, [found[leg.name] for leg in legs], grid) for name in FIELDS}
    fields = {name: values for name, values in fields.items() if not np.isnan(values).all()}
    fields |= dict.fromkeys(("mark", "oracle", "mid"), fields["close"])
    instruments = tuple(found[leg.name][2] for leg in legs)
    return History(
        Panel(grid, tuple(leg.name for leg in legs), fields), instruments, (), tuple(dict.fromkeys(notes))
    )


def _common(
    found: dict[str, tuple[Grid, Fields, Instrument]], start_ms: int | None, end_ms: int | None
) -> Grid:
    first, last = -(10**12), 10**12
    for grid, fields, _ in found.values():
        known = np.flatnonzero(np.isfinite(fields["close"]))
        first, last = max(first, grid.first + int(known[0])), min(last, grid.first + int(known[-1]))
        settled = np.flatnonzero(np.isfinite(fields["settled_funding"]))
        if len(settled):  # the newest bar often comes without its own settlement
            last = min(last, grid.first + int(settled[-1]) + 1)
    if start_ms is not None:
        first = max(first, -(-start_ms // HOUR_MS))
    if end_ms is not None:
        last = min(last, end_ms // HOUR_MS)
    if first > last:
        spans = ", ".join(
            f"{name} {hour_utc(grid.start_ms)} to {hour_utc(grid.end_ms)}"
            for name, (grid, _, _) in found.items()
        )
        raise DataError(f"the legs have no hour in common in the range asked for; there are {spans}")
    return Grid(first, last - first + 1)


def _aligned(name: str, legs: Sequence[tuple[Grid, Fields, Instrument]], grid: Grid) -> FloatArray:
    columns = []
    for own, fields, _ in legs:
        column = np.full(grid.rows, np.nan)
        values = fields.get(name)
        if values is not None:
            start, stop = max(grid.first, own.first), min(grid.first + grid.rows, own.first + own.rows)
            column[start - grid.first : stop - grid.first] = values[start - own.first : stop - own.first]
        columns.append(column)
    return np.column_stack(columns)


# Spot on Hyperliquid


def _spot(folder: Path, leg: Leg, notes: list[str]) -> tuple[Grid, Fields, Instrument]:
    """Spot pays no funding, and that is known."""
    table = _rows(folder, SPOT, ("pair", "open", "high", "low", "close", "volume"), venue=leg.venue)
    pair = leg.name.rpartition(":")[2]
    _refuse_unknown(folder, SPOT, pair, table["pair"].unique().to_pylist())
    table = table.filter(pc.equal(table["pair"], pair))
    hours = _hours(table, f"{SPOT}, {leg.name}") + 1  # a bar is known when it ends
    grid, at = _grid(hours, f"{SPOT}, {leg.name}")
    fields = {name: _placed(table[name], grid, at) for name in ("open", "high", "low", "close")}
    typical = (fields["high"] + fields["low"] + fields["close"]) / 3
    fields["volume_usd"] = _placed(table["volume"], grid, at) * typical
    paid = np.where(np.isfinite(fields["close"]), 0.0, np.nan)
    fields |= {"funding_rate": paid, "settled_funding": paid}
    price = float(np.nanmedian(fields["close"]))
    lot = default_instrument(pair, price)
    notes.append(f"the lot of {leg.name} is guessed from its price")
    token = pair.partition("/")[0]
    return grid, fields, spot_instrument(leg.name, lot.size_decimals, token, leg.venue)


# Perpetuals elsewhere


def _elsewhere(folder: Path, leg: Leg, notes: list[str]) -> tuple[Grid, Fields, Instrument]:
    base = leg.name.rpartition(":")[2]
    close, volume = f"{leg.venue}_close", f"{leg.venue}_volume"
    columns = (
        pq.read_schema(folder / f"{PANEL}.parquet").names if (folder / f"{PANEL}.parquet").is_file() else []
    )
    bars = [f"{leg.venue}_{name}" for name in ("open", "high", "low")]
    has_bars, has_volume = set(bars) <= set(columns), volume in columns
    wanted = (close, *(bars if has_bars else ()), *((volume,) if has_volume else ()))
    underlying, multiplier = underlying_of(leg.name)
    coin = underlying if multiplier == 1 else f"k{underlying}"
    table = _rows(folder, PANEL, wanted, coin=coin)
    known = table.filter(pc.is_valid(table[close]))
    if not len(known):
        raise DataError(f"{folder / PANEL}.parquet has no price of {leg.name}")
    hours = _hours(known, f"{PANEL}, {leg.name}") + 1
    grid, at = _grid(hours, f"{PANEL}, {leg.name}")
    fields: Fields = {"close": _placed(known[close], grid, at)}
    if has_bars:
        fields |= {name: _placed(known[f"{leg.venue}_{name}"], grid, at) for name in ("open", "high", "low")}
    else:
        before = np.concatenate([[np.nan], fields["close"][:-1]])
        fields["open"] = np.where(np.isfinite(fields["close"]), before, np.nan)
        fields["high"] = np.fmax(fields["open"], fields["close"])
        fields["low"] = np.fmin(fields["open"], fields["close"])
        notes.append(
            f"of {leg.name} only closes are recorded: each bar opens at the one before, and has no wicks"
        )
    if has_volume:
        fields["volume_usd"] = _placed(known[volume], grid, at) * fields["close"]
    fields |= _settlements(folder, leg, coin, grid)
    price = float(np.nanmedian(fields["close"]))
    lot = default_instrument(base, price)
    notes.append(f"lot and margin of {leg.name} are guessed: {CEX_LEVERAGE}x, from its price")
    instrument = Instrument(
        leg.name,
        lot.size_decimals,
        (MarginTier(ZERO, CEX_LEVERAGE),),
        multiplier=multiplier,
        venue=leg.venue,
        quote=CONTRACT,
    )
    return grid, fields, instrument


def _settlements(folder: Path, leg: Leg, coin: str, grid: Grid) -> Fields:
    """What was paid at each hour: a rate where a settlement fell on it, 0 between two that follow each other, else unknown."""
    table = _rows(folder, CEX_FUNDING, ("contract", "funding_rate", "interval_h"), venue=leg.venue, coin=coin)
    table = table.filter(pc.equal(table["contract"], CONTRACT)).sort_by("ts")
    settled, rate, interval = (np.full(grid.rows, np.nan) for _ in range(3))
    hours = _hours(table, f"{CEX_FUNDING}, {leg.name}")
    if len(hours) != len(set(hours.tolist())):
        raise DataError(f"{folder / CEX_FUNDING}.parquet has two settlements of {leg.name} in one hour")
    rates, intervals = table["funding_rate"].to_pylist(), table["interval_h"].to_pylist()
    for hour, value, every_h in zip(hours.tolist(), rates, intervals, strict=True):
        if value is None or every_h is None or every_h <= 0:
            continue
        row = hour - grid.first
        between = slice(max(0, row - every_h + 1), max(0, min(row, grid.rows)))
        settled[between] = 0.0
        if 0 <= row < grid.rows:
            settled[row] = value
        valid = slice(max(0, row), max(0, min(row + every_h, grid.rows)))
        rate[valid], interval[valid] = value / every_h, every_h
    return {"settled_funding": settled, "funding_rate": rate, "funding_interval_h": interval}


# Tables


def _rows(folder: Path, name: str, columns: Sequence[str], **equal: str) -> Any:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise DataError(f"{path} is not there; it holds what a leg of a spread needs")
    try:
        filters = [(column, "=", value) for column, value in equal.items()]
        table = pq.read_table(path, columns=["ts", *columns, *equal], filters=filters)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({str(error).splitlines()[0]})") from None
    if not len(table):
        what = " ".join(equal.values())
        raise DataError(f"{path} has no rows of {what}")
    return table


def _refuse_unknown(folder: Path, table: str, asked: str, known: Sequence[str]) -> None:
    if asked not in known:
        raise DataError(f"{folder / table}.parquet has no {asked!r}; {nearest(asked, sorted(known))}")


def _hours(table: Any, what: str) -> Any:
    times = pc.cast(pc.cast(table["ts"], pa.timestamp("ms")), pa.int64()).to_numpy()
    late = times % HOUR_MS
    if len(late) and int(late.max()) >= HOUR_MS // 2:
        raise DataError(f"{what} has a stamp {int(late.max()) // 60_000} minutes after the hour")
    return times // HOUR_MS


def _grid(hours: Any, what: str) -> tuple[Grid, Any]:
    if len(np.unique(hours)) != len(hours):
        raise DataError(f"{what} has two rows of one hour")
    grid = Grid(int(hours.min()), int(hours.max() - hours.min()) + 1)
    return grid, hours - grid.first


def _placed(column: Any, grid: Grid, at: Any) -> FloatArray:
    values = np.full(grid.rows, np.nan)
    values[at] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    return values
