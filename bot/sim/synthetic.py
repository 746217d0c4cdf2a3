"""A made-up perpetual-futures market in hourly bars that moves, pays funding and panics like the real one.

It lets a paper daemon run for years in minutes, with no network and the same history for everyone who names the same
seed. All coins share one clock and one `numpy` generator: a step draws one matrix of normals (process × coin, plus a
column for the market), mixes the market into the coins, and updates every mean-reverting process at once. What those
processes mean, and the measurement each constant stands for, is written beside the constant.

Prices are not rounded to the venue's tick, sizes not to its lots: that is the exchange's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bot.errors import DataError
from bot.model.funding import CAP_PER_H, CLAMP_PER_8H, INTEREST_PER_8H
from bot.sim.coins import MAJORS, CoinModel
from bot.sim.processes import (
    GAP,
    INTEREST,
    PREMIUM_AVERAGE,
    PREMIUM_FAST,
    PREMIUM_FLASH,
    PREMIUM_SLOW,
    PROCESSES,
    RETURN,
    SPREAD,
    TREND,
    VOLATILITY_FAST,
    VOLATILITY_NOW,
    VOLATILITY_SLOW,
    VOLATILITY_WEIGHTS,
    VOLUME_FAST,
    VOLUME_NOW,
    VOLUME_SLOW,
    Calibration,
)

__all__ = ["FIELDS", "HOUR_MS", "MAJORS", "CoinModel", "MarketBar", "SyntheticMarket", "hourly_rates"]

FloatArray = NDArray[np.float64]

HOUR_MS = 3_600_000
STATE_VERSION = 1

#: The values of a bar, in the units of a panel's fields; `premium` is the hour's average that `funding_rate` is
#: computed from, `mid` equals `close`.
FIELDS = (
    "open",
    "high",
    "low",
    "close",
    "mark",
    "oracle",
    "mid",
    "funding_rate",
    "predicted_funding",
    "premium",
    "open_interest",
    "volume_usd",
    "spread_bps",
)

# Rows of `bot.sim.processes.PROCESSES`.
_SHORT_LIVED = slice(PREMIUM_FAST, PREMIUM_FLASH + 1)
_PUSHED = slice(PREMIUM_SLOW, PREMIUM_FAST + 1)

# A large move of either sign makes the next hours volatile: correlation of |return| with the fast part's innovation.
_VOLATILITY_FEEDBACK = 0.5
_ABSOLUTE_NORMAL_MEAN, _ABSOLUTE_NORMAL_SD = math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)

# Prices are pulled back to where they began with a half-life of a year: too little to be traded on (1 % of a week's
# variance), enough that the wildest coin does not leave the world in three years.
_PRICE_REVERSION = math.log(2) / 8760
# News about one coin: once in 4,000 h, five ordinary hours' size.
_JUMP_PROBABILITY, _JUMP_SIZE = 1 / 4000, 5.0
# Beyond this many ordinary hours' size a move liquidates positions: excess counted up to the second number.
_STRESS_FROM, _STRESS_MOST = 2.5, 8.0

# The premium's shape: its slow part is flattened (over weeks a premium sits high or low rather than in the middle) and
# the whole skewed, x + 0.16 (x^2 - 1). Quartiles and 1 % quantiles of BTC's premium, in standard deviations from the
# mean, are -1.56, -0.85, -0.15, 0.74, 2.58; this makes -1.76, -0.82, -0.07, 0.73, 2.45: the
# dislocations below lengthen the negative tail.
_PREMIUM_FLAT_SD = 0.6279  # of tanh of a unit normal
_PREMIUM_SKEW = 0.16
# Correlation of the slow and the fast part's innovations with the hour's return. All of the premium's innovations grow
# with volatility, which is what makes its hourly changes fat-tailed (real excess kurtosis BTC 72, ETH 16) and, with
# these, gives 0.15 between them and the return (real 0.18-0.19) and 0.2 between premium and the past day's return.
_PREMIUM_PUSH = np.array([[0.5], [0.25]])
_PREMIUM_REST = np.sqrt(1 - _PREMIUM_PUSH**2)
_PREMIUM_AVERAGE_SD = 0.15
# Dislocations: once in 1,000 h, gone after six; a crash adds a tenth of the premium's standard deviation, downward,
# per ordinary hour's size in excess (real: BTC's premium falls 0.8 bp in an hour of -2 %).
_DISLOCATION_PROBABILITY, _DISLOCATION_NEGATIVE, _DISLOCATION_HOURS = 1 / 1000, 0.75, 6.0
_CRASH_DISLOCATION = 0.10

# Open interest in coins, as a log deviation from its level. Pulled back over 300 h (real autocorrelation 0.8 at 24 h,
# 0.4 at 168 h); builds with the past day's trend and with fresh premium; a crash cuts 2 % per excess unit, a squeeze
# half of that (real: BTC -1.6 % in the hour of a -2.5 % move, -2.8 % in the next).
_INTEREST_HOURS = 300.0
_INTEREST_TREND, _INTEREST_PREMIUM = 0.06, 0.25
_INTEREST_CRASH, _INTEREST_SQUEEZE = 0.02, 0.01
# For a few hours a return moves open interest in USD by less than itself, and least in coins whose price swings widely
# (real: correlation of the hourly change with the return 0.2-0.55 in USD, -0.03 to -0.45 in coins). By how much less is
# the calibration's `interest_lag`, for how long:
_INTEREST_LAG_HOURS = 3.0

# Log volume: standard deviations of the slow, the fast and the momentary part (real autocorrelation 0.84, 0.56, 0.62
# at 1, 8, 24 h), and what it gains from volatility, from the hour's own move and from liquidations.
_VOLUME_WEIGHTS = np.array([[0.60], [0.45], [0.20]])
_VOLUME_VOLATILITY, _VOLUME_MOVE, _VOLUME_STRESS = 0.5, 0.6, 0.15

# Log spread: BTC's 95 % quantile is six times the median, ETH's three.
_SPREAD_WEIGHT, _SPREAD_VOLATILITY, _SPREAD_STRESS = 0.45, 0.8, 0.2
# Log of the median that all this makes over the calibrated one, found by running it.
_SPREAD_MEDIAN_LOG = -0.36

# Rows of the levels that are not stationary unit processes.
_LOG_ORACLE, _DISLOCATION, _DEVIATION, _LAG, _LAST_CLOSE, _LAST_PREMIUM, _LAST_SPREAD = range(7)


@dataclass(frozen=True, slots=True)
class MarketBar:
    """One hour that ends at `time_ms`: the candle closed, and the funding settled, at that moment.

    `values` has every name of `FIELDS`, each a read-only float64 array (N,) in the order of the market's coins.
    """

    time_ms: int
    values: Mapping[str, FloatArray]


def hourly_rates(premiums: FloatArray) -> FloatArray:
    """Hyperliquid's hourly funding for average premiums of any shape: (P + clamp(0.01 % - P, ±0.05 %)) / 8, ±4 %.

    Written as the clamp of the interest part into [P - 0.05 %, P + 0.05 %], which is the same and leaves the default
    rate exact.
    """
    per_8h = np.maximum(premiums - CLAMP_PER_8H, np.minimum(premiums + CLAMP_PER_8H, INTEREST_PER_8H))
    return cast("FloatArray", np.maximum(np.minimum(per_8h / 8, CAP_PER_H), -CAP_PER_H))


class SyntheticMarket:
    """Coins that trade for ever, one hour per `next()`; the same coins, seed and start give the same bars.

    `start_ms` is the moment the first bar opens and must be on the hour. Raises ValueError for anything else that is
    not a market: no coin, two of one name.
    """

    __slots__ = ("_coins", "_fixed", "_generator", "_levels", "_processes", "_time_ms")

    def __init__(self, coins: Sequence[CoinModel], seed: int, start_ms: int) -> None:
        if not coins or len({coin.name for coin in coins}) < len(coins):
            raise ValueError(f"a market needs coins of distinct names, found {[coin.name for coin in coins]}")
        if start_ms < 0 or start_ms % HOUR_MS:
            raise ValueError(
                f"the first bar must open on the hour, found {start_ms} ms; round it to {HOUR_MS} ms"
            )
        self._coins = tuple(coins)
        self._fixed = Calibration.of(self._coins)
        self._time_ms = int(start_ms)
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._processes = self._innovations()  # unit variance, so a draw of them is a draw of their long run
        self._levels = np.zeros((7, len(coins)))
        self._levels[_LOG_ORACLE] = self._fixed.log_price
        premium = self._instant_premium()
        self._levels[_LAST_PREMIUM] = premium
        self._levels[_LAST_CLOSE] = np.exp(self._fixed.log_price) * (1 + premium)
        self._levels[_LAST_SPREAD] = self._fixed.spread_bps

    @property
    def coins(self) -> tuple[CoinModel, ...]:
        return self._coins

    @property
    def time_ms(self) -> int:
        """End of the last bar, or the start before the first."""
        return self._time_ms

    def next(self) -> MarketBar:
        """The next hour."""
        fixed, levels = self._fixed, self._levels
        hour = self._time_ms // HOUR_MS % 168
        out = np.empty((len(FIELDS), len(self._coins)))
        new = self._innovations()

        log_volatility = (
            VOLATILITY_WEIGHTS[:2] * self._processes[VOLATILITY_SLOW : VOLATILITY_FAST + 1]
        ).sum(axis=0) + (VOLATILITY_WEIGHTS[2, 0] * new[VOLATILITY_NOW] + fixed.season_volatility[hour])
        volatility = fixed.volatility * np.exp(log_volatility)
        change = self._advance(new, volatility)
        moves = change / fixed.volatility  # in ordinary hours' size
        crash = np.minimum(np.maximum(-_STRESS_FROM - moves, 0.0), _STRESS_MOST)
        squeeze = np.minimum(np.maximum(moves - _STRESS_FROM, 0.0), _STRESS_MOST)
        levels[_DISLOCATION] -= (_CRASH_DISLOCATION * fixed.premium_sd) * crash

        last_premium = levels[_LAST_PREMIUM].copy()
        premium = self._instant_premium()
        out[9] = (
            0.5 * (last_premium + premium) + (_PREMIUM_AVERAGE_SD * fixed.premium_sd) * new[PREMIUM_AVERAGE]
        )
        out[7] = out[9]
        out[8] = premium
        out[7:9] = hourly_rates(out[7:9])
        self._prices(out, new[GAP], premium, volatility)
        out[10] = self._open_interest(new, change, crash, squeeze)
        self._activity(out, new, log_volatility, moves, crash + squeeze, hour)

        levels[_LAST_CLOSE] = out[3]
        levels[_LAST_PREMIUM] = premium
        levels[_LAST_SPREAD] = out[12]
        self._time_ms += HOUR_MS
        out.flags.writeable = False
        return MarketBar(self._time_ms, MappingProxyType(dict(zip(FIELDS, out, strict=True))))

    def _innovations(self) -> FloatArray:
        """Unit normals, process × coin, with the market mixed in."""
        drawn = self._generator.standard_normal((len(PROCESSES), len(self._coins) + 1))
        return self._fixed.own * drawn[:, :-1] + self._fixed.shared * drawn[:, -1:]

    def _advance(self, new: FloatArray, volatility: FloatArray) -> FloatArray:
        """Move oracle prices, processes and dislocations an hour on; the log change of the oracle price (N,)."""
        fixed, levels, generator = self._fixed, self._levels, self._generator
        ordinary = new[RETURN]
        change: FloatArray = volatility * ordinary - _PRICE_REVERSION * (
            levels[_LOG_ORACLE] - fixed.log_price
        )
        levels[_DISLOCATION] *= math.exp(-1 / _DISLOCATION_HOURS)
        luck = generator.random(ordinary.size)
        if luck.min() < _JUMP_PROBABILITY:
            hit = luck < _JUMP_PROBABILITY
            change = change + hit * fixed.volatility * generator.normal(0.0, _JUMP_SIZE, ordinary.size)
        if luck.max() > 1 - _DISLOCATION_PROBABILITY:
            hit = luck > 1 - _DISLOCATION_PROBABILITY
            sign = np.where(generator.random(ordinary.size) < _DISLOCATION_NEGATIVE, -1.0, 1.0)
            size = fixed.premium_shock * generator.standard_exponential(ordinary.size)
            levels[_DISLOCATION] += hit * sign * size
        levels[_LOG_ORACLE] += change

        new[TREND] = ordinary
        new[_PUSHED] = _PREMIUM_PUSH * ordinary + _PREMIUM_REST * new[_PUSHED]
        new[PREMIUM_SLOW : PREMIUM_AVERAGE + 1] *= volatility / fixed.volatility
        surprise = (np.abs(ordinary) - _ABSOLUTE_NORMAL_MEAN) * (_VOLATILITY_FEEDBACK / _ABSOLUTE_NORMAL_SD)
        new[VOLATILITY_FAST] = surprise + math.sqrt(1 - _VOLATILITY_FEEDBACK**2) * new[VOLATILITY_FAST]
        self._processes *= fixed.keep
        self._processes += fixed.renew * new
        return change

    def _instant_premium(self) -> FloatArray:
        fixed = self._fixed
        slow = np.tanh(self._processes[PREMIUM_SLOW]) * (fixed.premium_weights[0] / _PREMIUM_FLAT_SD)
        shape = slow + (fixed.premium_weights[1:] * self._processes[_SHORT_LIVED]).sum(axis=0)
        shape += _PREMIUM_SKEW * (shape * shape - 1)
        return cast("FloatArray", fixed.premium_mean + fixed.premium_sd * shape + self._levels[_DISLOCATION])

    def _prices(self, out: FloatArray, gap: FloatArray, premium: FloatArray, volatility: FloatArray) -> None:
        """Fill open, high, low, close, mark, oracle and mid."""
        oracle = np.exp(self._levels[_LOG_ORACLE])
        close = oracle * (1 + premium)
        half_spread = 0.5e-4 * self._levels[_LAST_SPREAD]
        opening = self._levels[_LAST_CLOSE] * (1 + half_spread * np.minimum(np.maximum(gap, -2.0), 2.0))
        # The highest point of a Brownian path from open to close, and the lowest by the mirrored law.
        path = np.log(close / opening)
        chance = self._generator.standard_exponential((2, path.size))
        reach = np.sqrt(path * path + (2 * volatility * volatility) * chance)
        out[0] = opening
        out[1] = np.maximum(opening * np.exp(0.5 * (path + reach[0])), np.maximum(opening, close))
        out[2] = np.minimum(opening * np.exp(0.5 * (path - reach[1])), np.minimum(opening, close))
        out[3] = close
        # The venue's mark is the median of three: oracle plus a short average of the premium, the book's middle, and
        # other venues' perpetuals, which share about half of the premium.
        averaged, elsewhere = 0.7 * premium + 0.3 * out[9], 0.5 * premium
        low, high = np.minimum(averaged, premium), np.maximum(averaged, premium)
        out[4] = oracle * (1 + np.maximum(low, np.minimum(high, elsewhere)))
        out[5] = oracle
        out[6] = close

    def _open_interest(
        self, new: FloatArray, change: FloatArray, crash: FloatArray, squeeze: FloatArray
    ) -> FloatArray:
        """Open interest in coins (N,)."""
        fixed, deviation, lag = self._fixed, self._levels[_DEVIATION], self._levels[_LAG]
        flow = _INTEREST_PREMIUM * new[PREMIUM_FAST] + math.sqrt(1 - _INTEREST_PREMIUM**2) * new[INTEREST]
        flow += _INTEREST_TREND * self._processes[TREND]
        deviation *= 1 - 1 / _INTEREST_HOURS
        deviation += fixed.interest_volatility * flow - (
            _INTEREST_CRASH * crash + _INTEREST_SQUEEZE * squeeze
        )
        lag *= math.exp(-1 / _INTEREST_LAG_HOURS)
        lag += fixed.interest_lag * change
        return cast("FloatArray", fixed.interest_coins * np.exp(deviation - lag))

    def _activity(
        self,
        out: FloatArray,
        new: FloatArray,
        log_volatility: FloatArray,
        moves: FloatArray,
        stress: FloatArray,
        hour: int,
    ) -> None:
        """Fill volume and spread."""
        fixed, processes = self._fixed, self._processes
        log_volume = fixed.log_volume + fixed.season_volume[hour]
        log_volume = log_volume + _VOLUME_VOLATILITY * log_volatility + _VOLUME_MOVE * np.log1p(np.abs(moves))
        log_volume += (_VOLUME_WEIGHTS[:2] * processes[VOLUME_SLOW : VOLUME_FAST + 1]).sum(axis=0)
        log_volume += _VOLUME_WEIGHTS[2, 0] * new[VOLUME_NOW] + _VOLUME_STRESS * stress
        out[11] = np.exp(log_volume)
        log_spread = _SPREAD_WEIGHT * processes[SPREAD] + _SPREAD_VOLATILITY * log_volatility
        out[12] = fixed.spread_bps * np.exp(log_spread + _SPREAD_STRESS * stress - _SPREAD_MEDIAN_LOG)

    def state(self) -> dict[str, object]:
        """Everything `restore` needs, as JSON: numbers come back exactly, the generator's large integers are text."""
        generator = cast("dict[str, Any]", self._generator.bit_generator.state)
        return {
            "version": STATE_VERSION,
            "time_ms": self._time_ms,
            "coins": [coin.name for coin in self._coins],
            "generator": {
                "state": str(generator["state"]["state"]),
                "inc": str(generator["state"]["inc"]),
                "has_uint32": generator["has_uint32"],
                "uinteger": generator["uinteger"],
            },
            "processes": self._processes.tolist(),
            "levels": self._levels.tolist(),
        }

    @classmethod
    def restore(cls, coins: Sequence[CoinModel], state: Mapping[str, object]) -> SyntheticMarket:
        """The market that `state()` described, going on bit by bit as that one would have.

        Raises DataError when the state is of another version, of other coins, or incomplete.
        """
        names = [coin.name for coin in coins]
        if state.get("version") != STATE_VERSION or state.get("coins") != names:
            raise DataError(
                f"a saved synthetic market of version {state.get('version')} with coins {state.get('coins')} can't go "
                f"on as version {STATE_VERSION} with {names}; start a new one or name the same coins in the same order"
            )
        saved = cast("Any", state)
        market = cls(coins, 0, 0)
        try:
            generator = saved["generator"]
            market._generator.bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {"state": int(generator["state"]), "inc": int(generator["inc"])},
                "has_uint32": generator["has_uint32"],
                "uinteger": generator["uinteger"],
            }
            market._time_ms = int(saved["time_ms"])
            processes, levels = np.array(saved["processes"], float), np.array(saved["levels"], float)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the saved synthetic market is damaged ({error}); start a new one") from error
        if processes.shape != market._processes.shape or levels.shape != market._levels.shape:
            raise DataError(
                f"the saved synthetic market is damaged (shapes {processes.shape}, {levels.shape})"
            )
        market._processes, market._levels = processes, levels
        return market
