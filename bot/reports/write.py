"""Writes a finished run down: one JSON object, tables for a spreadsheet, and a page to read.

One sign convention throughout: every amount is its effect on equity, so fees that were paid are negative and
price + funding + fees = change of equity, in the JSON object, in each table's columns and on the page.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bot.errors import ConfigError, HedgerowError
from bot.model.money import ZERO, usd
from bot.model.panel import FloatArray
from bot.reports.metrics import metrics, trades_of
from bot.reports.record import RunRecord
from bot.reports.trades import Trade, round_trips
from bot.text import cell

#: The headline numbers, which stand at the top level of the JSON object as well as among all metrics.
_HEADLINES = (
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "turnover",
    "exposure_mean",
    "trades",
    "liquidations",
)


#: How the numbers are to be read, in words, for whoever has the JSON object alone.
CONVENTIONS = (
    "annualised by 365 days; Sharpe, Sortino, Omega, volatility and days are of daily equity at midnight UTC, risk-free 0",
    "trades are round trips from flat to flat: of a spread with both its legs, of a coin otherwise; by_coin counts each leg",
    "drawdown, exposure, margin use and liquidation distance look at every row",
    (
        "fractions, not per cent; amounts are effects on equity in USD: fees paid are negative, and price + funding + fees is "
        "the change of equity"
    ),
)


def iso_times(times_ms: NDArray[np.int64] | Sequence[int]) -> list[str]:
    """ISO 8601 in UTC, to the second unless some moment needs milliseconds."""
    moments = np.asarray(times_ms, dtype=np.int64)
    if moments.size == 0:
        return []
    unit: Literal["ms", "s"] = "ms" if np.any(moments % 1000) else "s"
    text: list[str] = np.datetime_as_string(
        moments.astype("datetime64[ms]"), unit=unit, timezone="UTC"
    ).tolist()
    return text


def pnl_split(price_usd: Decimal, funding_usd: Decimal, fees_usd: Decimal) -> dict[str, float]:
    """Price, funding, fees (given paid > 0, shown paid < 0) and their sum, each to a millionth of a dollar.

    Price takes up what rounding leaves, so that the parts still add up.
    """
    total = usd(price_usd + funding_usd - fees_usd)
    funding, fees = usd(funding_usd), -usd(fees_usd)
    parts = {"price": total - funding - fees, "funding": funding, "fees": fees, "total": total}
    return {name: float(part) + 0.0 for name, part in parts.items()}


def _by_coin(record: RunRecord, trades: Sequence[Trade]) -> list[dict[str, object]]:
    grouped: dict[str, list[Trade]] = defaultdict(list)
    for trade in trades:
        grouped[trade.instrument].append(trade)
    volume: dict[str, Decimal] = defaultdict(Decimal)
    for fill in record.fills:
        volume[fill.instrument] += fill.notional_usd
    rows: list[dict[str, object]] = []
    for coin in sorted(grouped):
        own = grouped[coin]
        split = pnl_split(
            sum((t.price_usd for t in own), ZERO),
            sum((t.funding_usd for t in own), ZERO),
            sum((t.fees_usd for t in own), ZERO),
        )
        rows.append({"coin": coin, **split, "trades": len(own), "traded_usd": float(usd(volume[coin]))})
    return rows


def plain(value: object) -> object:
    """The same value in JSON's own types; NaN and infinities become null, unknown things their text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(item) for item in value]
    return str(value)


def summary(
    record: RunRecord, trades: Sequence[Trade] | None = None, compare: Sequence[Mapping[str, object]] = ()
) -> dict[str, object]:
    """The JSON contract of `hedgerow backtest --json`; every number finite or None, see the metrics for units.

    `compare` are lines of other runs over the same data. `pnl` adds up to the change of equity; fees that were paid are negative. `trades` as in `metrics`.
    """
    trips = round_trips(record) if trades is None else trades
    numbers = metrics(record, trips)
    times = record.curves.times_ms
    first, last = iso_times(times[[0, -1]]) if times.size else (None, None)
    content: dict[str, object] = {
        "name": record.name,
        "config": record.config,
        "from": first,
        "to": last,
        "bars": int(times.size),
        "interval_h": record.interval_h,
        "instruments": record.instruments,
        "equity_start": usd(record.equity_start),
        "equity_end": usd(record.equity_end),
        "pnl": pnl_split(record.price_usd, record.funding_usd, record.fees_usd),
        **{name: numbers[name] for name in _HEADLINES},
        "trades_of": trades_of(record, trips),
        "wall_seconds": record.wall_seconds,
        "metrics": numbers,
        "by_strategy": [
            {"strategy": s.name, **pnl_split(s.price_usd, s.funding_usd, s.fees_usd)}
            for s in record.by_strategy
        ],
        "by_coin": _by_coin(record, trips),
        **({} if record.spreads is None else {"spreads": record.spreads.facts(record.equity_start)}),
        "findings": record.findings,
        "refused_orders": record.refused,
        "conventions": CONVENTIONS,
        "assumptions": record.assumptions,
    }
    if compare:
        content["compare"] = list(compare)
    return {key: plain(value) for key, value in content.items()}


def write(record: RunRecord, out: Path, compare: Sequence[Mapping[str, object]] = ()) -> list[Path]:
    """Write report.json, report.html and the tables trades, fills, funding, liquidations and equity into the folder `out`.

    Each file appears whole or not at all, replacing an earlier one. Raises HedgerowError if the folder can't be
    written.
    """
    from bot.reports.page import render

    trades = round_trips(record)
    facts = summary(record, trades, compare)
    contents: dict[str, Callable[[], str]] = {
        "report.json": lambda: json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "trades.csv": lambda: _csv(_TRADES, _trade_rows(record, trades)),
        "fills.csv": lambda: _csv(_FILLS, _fill_rows(record)),
        "funding.csv": lambda: _csv(_FUNDING, _payment_rows(record)),
        "liquidations.csv": lambda: _csv(_LIQUIDATIONS, _liquidation_rows(record)),
        "equity.csv": lambda: _csv(_EQUITY, _equity_rows(record)),
        "report.html": lambda: render(record, facts, trades),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        return [_replace(out / name, content()) for name, content in contents.items()]
    except OSError as error:
        raise HedgerowError(_unwritable(out, error)) from error


def prepare(out: Path) -> None:
    """Make the folder `out` and try whether it takes files, before hours are spent on what shall stand there.

    ConfigError if it is a file or does not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        _replace(out / "report.json.try", "").unlink()
    except OSError as error:
        raise ConfigError(_unwritable(out, error)) from error


def _unwritable(out: Path, error: OSError) -> str:
    cause = f"{out} is a file" if out.is_file() else error.strerror or str(error)
    return f"the report can't be written to {out} ({cause}); choose another folder with --out"


def _replace(path: Path, text: str) -> Path:
    """Write beside the file, then take its place in one step."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
    return path


_TRADES = (
    "coin", "side", "opened", "closed", "hours", "size_max", "entry_price", "exit_price", "price_usd", "funding_usd",
    "fees_usd", "net_usd", "fills", "exit", "because", "because_exit",
)  # fmt: skip
_FILLS = (
    "time", "coin", "side", "size", "price", "notional_usd", "fee_usd", "closed_pnl_usd", "liquidity", "purpose",
    "trade_id", "order_id", "client_id",
)  # fmt: skip
_FUNDING = ("time", "coin", "size", "oracle", "rate", "interval_h", "usd")
_LIQUIDATIONS = ("time", "coin", "side", "size", "price", "kind", "forfeited_usd")
_EQUITY = ("time", "equity", "price", "funding", "fees", "gross", "net", "liquidation_distance")


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


class _Sizes(dict[tuple[str, int], Decimal]):
    """Sizes in coins by (instrument, lots), worked out once each: a position is paid on for many hours."""

    def __init__(self, lots_per_coin: Mapping[str, int]) -> None:
        super().__init__()
        self._lots_per_coin = lots_per_coin

    def __missing__(self, key: tuple[str, int]) -> Decimal:
        instrument, lots = key
        size = self[key] = Decimal(lots) / self._lots_per_coin[instrument]
        return size


def _trade_rows(record: RunRecord, trades: Sequence[Trade]) -> Iterable[Sequence[object]]:
    sizes = _Sizes(record.lots_per_coin)
    opened = iso_times([trade.opened_ms for trade in trades])
    closed = iso_times([trade.opened_ms if trade.closed_ms is None else trade.closed_ms for trade in trades])
    for trade, start, end in zip(trades, opened, closed, strict=True):
        yield (
            trade.instrument, trade.side.value, start, "" if trade.is_open else end, round(trade.hours, 6),
            sizes[trade.instrument, trade.lots_max], f"{trade.entry_price:f}",
            "" if trade.exit_price is None else f"{trade.exit_price:f}", trade.price_usd, trade.funding_usd,
            -trade.fees_usd, trade.net_usd, trade.fills, trade.exit_purpose, trade.because, trade.because_exit,
        )  # fmt: skip


def _fill_rows(record: RunRecord) -> Iterable[Sequence[object]]:
    sizes = _Sizes(record.lots_per_coin)
    for time, f in zip(iso_times([f.time_ms for f in record.fills]), record.fills, strict=True):
        yield (
            time, f.instrument, f.side.value, sizes[f.instrument, f.lots], f.price, f.notional_usd, -f.fee_usd,
            f.closed_pnl_usd, "maker" if f.is_maker else "taker", f.purpose.value, f.trade_id, f.order_id, f.client_id,
        )  # fmt: skip


def _payment_rows(record: RunRecord) -> Iterable[Sequence[object]]:
    sizes = _Sizes(record.lots_per_coin)
    payments = record.payments
    return zip(
        iso_times([p.time_ms for p in payments]),
        [p.instrument for p in payments],
        [sizes[p.instrument, p.lots] for p in payments],
        [p.oracle for p in payments],
        [p.rate for p in payments],
        [p.interval_h for p in payments],
        [p.usd for p in payments],
        strict=True,
    )


def _liquidation_rows(record: RunRecord) -> Iterable[Sequence[object]]:
    """Margin that the liquidator kept is part of the price result, here as what it did to equity."""
    sizes = _Sizes(record.lots_per_coin)
    for time, one in zip(
        iso_times([one.time_ms for one in record.liquidations]), record.liquidations, strict=True
    ):
        side, size = ("long" if one.lots > 0 else "short"), sizes[one.instrument, abs(one.lots)]
        yield time, one.instrument, side, size, one.price, one.kind, usd(-one.forfeited_usd)


def _column(values: FloatArray, decimals: int) -> list[float | str]:
    """Rounded, and empty where there is no number (a flat book has no liquidation distance)."""
    rounded = (np.round(values, decimals) + 0.0).tolist()
    return [value if math.isfinite(value) else "" for value in rounded]


def _equity_rows(record: RunRecord) -> Iterable[Sequence[object]]:
    c = record.curves
    money = (c.equity, c.price_pnl, c.funding_pnl, -c.fees, c.gross, c.net)
    return zip(
        iso_times(c.times_ms),
        *(_column(m, 6) for m in money),
        _column(c.liquidation_distance, 8),
        strict=True,
    )
