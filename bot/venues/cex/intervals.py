"""How often each contract settles funding, which exchanges change while positions are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from bot.errors import DataError

INTERVALS_H = frozenset({1, 2, 4, 8})
BINANCE_DEFAULT_H = 8  # of contracts that fundingInfo does not list


def binance_intervals(
    funding_info: Sequence[Mapping[str, Any]], symbols: Sequence[str]
) -> dict[str, int | None]:
    """Hours per symbol by `GET /fapi/v1/fundingInfo`; None where the listed number is none that is known.

    DataError where one symbol is listed twice and differently.
    """
    listed: dict[str, int | None] = {}
    for row in funding_info:
        symbol, hours = row.get("symbol"), row.get("fundingIntervalHours")
        known = hours if type(hours) is int and hours in INTERVALS_H else None
        if not isinstance(symbol, str):
            raise DataError("binance: fundingInfo has a row without a symbol.")
        if listed.setdefault(symbol, known) != known:
            raise DataError(f"binance: fundingInfo lists {symbol} twice, with different intervals.")
    return {symbol: listed.get(symbol, BINANCE_DEFAULT_H) for symbol in symbols}


def rate_per_hour(rate: float, interval_h: int | None) -> float:
    """The simple hourly rate of one settled for its interval; NaN where either is not known, never a guess."""
    return rate / interval_h if interval_h is not None and isfinite(rate) else nan


def changes(before: Mapping[str, int | None], now: Mapping[str, int | None]) -> tuple[str, ...]:
    """A sentence for each symbol whose interval is another than it was."""
    return tuple(
        f"{symbol} settles funding every {_told(now[symbol])} now; it was {_told(before[symbol])}."
        for symbol in sorted(before.keys() & now.keys())
        if before[symbol] != now[symbol]
    )


def _told(hours: int | None) -> str:
    return "unknown hours" if hours is None else f"{hours} h"
