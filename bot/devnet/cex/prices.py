"""Prices and funding of the devnet's Binance: the market's, at a small basis of their own.

The middle of a symbol is its coin's, moved by a part of what the coin's own premium is and by a basis of a few
hundredths of a percent that changes from hour to hour. All of it is a function of the market, the seed and the time,
linear within an hour, so that candles and quotes agree and the past is the same at every speed. A settlement pays a
share of the hourly rates that the coin settled at over the interval, and a part that sways over days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zlib import crc32

import numpy as np

from bot.devnet.cex.listing import Listing
from bot.devnet.market import STEPS, Market, Moment
from bot.model.panel import HOUR_MS, FloatArray

DAY_MS: Final = 24 * HOUR_MS
BASIS_BPS, LARGEST_BASIS_BPS = 1.5, 5.0
SHARE_OF_PREMIUM: Final = 0.5
MARK_TO_MIDDLE: Final = 0.8  # how far the mark leans from the index to the middle
SHARE_OF_FUNDING: Final = 0.7
SWAY_PER_8H: Final = (2e-5, 8e-5)
SWAY_DAYS: Final = (3.0, 9.0)
BLOCK: Final = 256  # hours whose dice are thrown at once
TIMES_VOLUME, TIMES_INTEREST = 4.0, 1.8  # of the coin's on the other venue

Bar = tuple[float, float, float, float, float]  # open, high, low, close, volume in USD


@dataclass(frozen=True, slots=True)
class Quotes:
    """Arrays over the symbols at one moment; volumes in USD, open interest in contracts' coins."""

    mid: FloatArray
    mark: FloatArray
    index: FloatArray
    volume_usd_day: FloatArray
    open_interest: FloatArray
    spread_bps: FloatArray


class Prices:
    """What the symbols cost, now and in the past."""

    def __init__(self, market: Market, listed: Mapping[str, Listing], seed: int) -> None:
        self._market, self._listed, self._seed = market, list(listed.values()), seed
        self._columns = np.array([each.column for each in self._listed], int)
        self._row = {name: row for row, name in enumerate(listed)}
        self._block = lru_cache(maxsize=64)(self._basis_of)
        draws = [np.random.default_rng((seed, 12, crc32(name.encode()))).random(3) for name in listed]
        size, period, phase = np.array(draws, float).reshape(-1, 3).T
        self._sway = SWAY_PER_8H[0] + (SWAY_PER_8H[1] - SWAY_PER_8H[0]) * size
        self._sway_days = SWAY_DAYS[0] + (SWAY_DAYS[1] - SWAY_DAYS[0]) * period
        self._phase = 2 * np.pi * phase

    def quotes(self, moment: Moment) -> Quotes:
        """The symbols at a moment of the market."""
        into = (moment.time_ms - self._market.first_ms) % HOUR_MS / HOUR_MS
        first, last = self._factors(self._market.hour(moment.time_ms))
        factors = first + (last - first) * into
        columns = self._columns
        return Quotes(
            moment.mid[columns] * factors[0],
            moment.mid[columns] * factors[1],
            moment.oracle[columns],
            moment.volume_usd_day[columns] * TIMES_VOLUME,
            moment.open_interest[columns] * TIMES_INTEREST,
            moment.spread_bps[columns],
        )

    def mark_at(self, symbol: str, hour_end_ms: int) -> float:
        """The mark as an hour ended, or as the next began."""
        hour, row = self._market.hour(hour_end_ms), self._row[symbol]
        opening = self._market.bar(min(hour, self._market.newest))["open"][self._columns[row]]
        return float(opening * self._factors(hour)[0][1, row])

    # --- funding

    def funding(self, symbol: str, settles_ms: int, interval_h: int, cap: float) -> float | None:
        """What a settlement of the past pays for its whole interval; None if the market doesn't know its hours."""
        market, row = self._market, self._row[symbol]
        hours = range(market.hour(settles_ms) - interval_h, market.hour(settles_ms))
        if hours[0] < market.oldest or hours[-1] > market.newest:
            return None
        paid = sum(float(market.bar(hour)["funding_rate"][self._columns[row]]) for hour in hours)
        return self._rate(row, paid, settles_ms, interval_h, cap)

    def expected_funding(
        self, symbol: str, settles_ms: int, interval_h: int, cap: float, moment: Moment
    ) -> float:
        """What the next settlement pays if its hours go on as they went so far."""
        market, row = self._market, self._row[symbol]
        first, now = market.hour(settles_ms) - interval_h, market.hour(moment.time_ms)
        over = range(max(first, market.oldest), min(now, market.newest + 1))
        rates = [float(market.bar(hour)["funding_rate"][self._columns[row]]) for hour in over]
        rates.append(float(moment.funding[self._columns[row]]))
        return self._rate(row, sum(rates) / len(rates) * interval_h, settles_ms, interval_h, cap)

    def _rate(self, row: int, paid: float, settles_ms: int, interval_h: int, cap: float) -> float:
        days = settles_ms / DAY_MS
        sway = self._sway[row] * np.sin(2 * np.pi * days / self._sway_days[row] + self._phase[row])
        rate = SHARE_OF_FUNDING * paid + float(sway) * interval_h / 8
        return round(float(np.clip(rate, -cap, cap)), 8)

    # --- the past

    def bar(self, symbol: str, hour: int, what: int = 0) -> Bar:
        """An hour of the middle (`what` 0), of the mark (1) or of the index (2)."""
        row = self._row[symbol]
        bar, column = self._market.bar(hour), self._columns[row]
        first, last = (float(each[what, row]) for each in self._factors(hour))
        return (
            float(bar["open"][column]) * first,
            float(bar["high"][column]) * max(first, last),
            float(bar["low"][column]) * min(first, last),
            float(bar["close"][column]) * last,
            float(bar["volume_usd"][column]) * TIMES_VOLUME,
        )

    def path(self, symbol: str, hour: int, what: int = 0) -> FloatArray:
        """The same through an hour, shape (STEPS + 1,)."""
        row = self._row[symbol]
        first, last = (float(each[what, row]) for each in self._factors(hour))
        path: FloatArray = self._market.path(hour)[:, self._columns[row]] * np.linspace(
            first, last, STEPS + 1
        )
        return path

    def open_interest(self, symbol: str, hour_end_ms: int) -> float:
        """As an hour ended, in the contract's coins."""
        bar = self._market.bar(min(self._market.hour(hour_end_ms) - 1, self._market.newest))
        return float(bar["open_interest"][self._columns[self._row[symbol]]]) * TIMES_INTEREST

    def _factors(self, hour: int) -> tuple[FloatArray, FloatArray]:
        """What the market's middles are multiplied by as an hour begins and as it ends, for the middle,
        the mark and the index."""
        return self._factor(hour), self._factor(hour + 1)

    def _factor(self, hour: int) -> FloatArray:
        """As an hour begins."""
        bar = self._market.bar(min(hour - 1, self._market.newest))
        premium = (bar["close"] / bar["oracle"] - 1)[self._columns]
        middle = (1 + SHARE_OF_PREMIUM * premium) * (1 + self._basis(hour)) / (1 + premium)
        index = 1 / (1 + premium)
        return np.stack([middle, index + MARK_TO_MIDDLE * (middle - index), index])

    def _basis(self, hour: int) -> FloatArray:
        """As an hour begins, as a fraction of the price."""
        block, place = divmod(hour, BLOCK)
        basis: FloatArray = self._block(block)[place]
        return basis

    def _basis_of(self, block: int) -> FloatArray:
        """Of many hours at once, shape (BLOCK, symbols): dice are dear to make and cheap to throw."""
        seeds = [(self._seed, 11, crc32(name.encode()), block) for name in self._row]
        drawn = np.array([np.random.default_rng(seed).standard_normal(BLOCK) for seed in seeds])
        basis: FloatArray = np.clip(BASIS_BPS * drawn.T, -LARGEST_BASIS_BPS, LARGEST_BASIS_BPS) / 1e4
        return basis
