"""The random processes that the synthetic market is made of, and the coins' calibration as arrays.

Every process has unit variance and one row; what a row does to prices, funding or open interest is told in
`bot.sim.synthetic`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.sim.coins import MARKET_VOLATILITY_1H, CoinModel

FloatArray = NDArray[np.float64]

# The processes, each of unit variance: (time constant in hours, correlation of two coins). Time constant 0 is noise,
# new every hour. Correlations are chosen so that |returns| of two majors correlate about 0.4 (real 0.59) and premiums
# of BTC and ETH about 0.6 (real 0.75, but hourly funding of 30 coins only 0.36).
PROCESSES = (
    ("RETURN", 0.0, math.nan),  # the coin's own correlation with the market stands in for the second number
    ("TREND", 24.0, 0.0),  # the past day's returns, exponentially forgotten
    ("VOLATILITY_SLOW", 250.0, 0.80),
    ("VOLATILITY_FAST", 7.0, 0.75),
    ("VOLATILITY_NOW", 0.0, 0.60),
    ("PREMIUM_SLOW", 380.0, 0.75),
    ("PREMIUM_FAST", 15.0, 0.50),
    ("PREMIUM_FLASH", 2.0, 0.20),
    ("PREMIUM_AVERAGE", 0.0, 0.0),  # what an hour's average sees and its two ends don't
    ("INTEREST", 0.0, 0.20),
    ("VOLUME_SLOW", 300.0, 0.50),
    ("VOLUME_FAST", 5.0, 0.40),
    ("VOLUME_NOW", 0.0, 0.10),
    ("SPREAD", 3.0, 0.20),
    ("GAP", 0.0, 0.0),
)
(
    RETURN, TREND, VOLATILITY_SLOW, VOLATILITY_FAST, VOLATILITY_NOW, PREMIUM_SLOW, PREMIUM_FAST, PREMIUM_FLASH,
    PREMIUM_AVERAGE, INTEREST, VOLUME_SLOW, VOLUME_FAST, VOLUME_NOW, SPREAD, GAP,
) = range(len(PROCESSES))  # fmt: skip

# Log volatility is the sum of these parts and the time of week; its variance of about 0.4 gives an excess kurtosis of
# about 3 (exp(4 * 0.4) - 1) = 12 (real median 10) and autocorrelations of |return| of 0.21, 0.09, 0.12 at 1, 8, 24 h
# (real majors: 0.22, 0.13, 0.13).
VOLATILITY_WEIGHTS = np.sqrt(np.array([[0.10], [0.10], [0.13]]))
_VOLATILITY_MEAN_LOG = 0.06  # what the feedback's skew and the jumps add, found by running it
# Log of mean over median hourly volume that all its parts make, found by running it.
_VOLUME_MEAN_LOG = 0.53
# What a return moves open interest in USD by at once, for a coin of BTC's volatility.
_INTEREST_IN_USD = 0.75

# BTC by hour of the day (UTC): mean |return| over its mean, and mean log volume less its mean. Saturday and Sunday
# have 0.9 and 0.7 less log volume than a working day.
_ABSOLUTE_RETURN_BY_HOUR = (
    0.98, 1.14, 0.95, 0.85, 0.72, 0.69, 0.82, 0.81, 0.78, 0.79, 0.72, 0.76,
    0.82, 1.33, 1.65, 1.54, 1.15, 1.31, 1.14, 1.15, 1.04, 0.98, 1.04, 0.84,
)  # fmt: skip
_LOG_VOLUME_BY_HOUR = (
    0.06, 0.09, -0.07, -0.26, -0.35, -0.49, -0.44, -0.41, -0.39, -0.44, -0.47, -0.38,
    -0.14, 0.35, 0.72, 0.64, 0.48, 0.42, 0.29, 0.29, 0.27, 0.15, 0.08, 0.0,
)  # fmt: skip
_FIRST_SATURDAY = 2  # the Unix epoch began on a Thursday
_WEEKEND_LOG_VOLATILITY = -0.25
_WEEKEND_LOG_VOLUME = (-0.9, -0.7)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The coins' calibration as arrays, computed once.

    A coin's draw for a process is `own * its normal + shared * the market's`; the process becomes
    `keep * itself + renew * draw`.
    """

    own: FloatArray  # (process, N) weight of a coin's own draw
    shared: FloatArray  # (process, N) weight of the market's draw
    keep: FloatArray  # (process, 1)
    renew: FloatArray  # (process, 1)
    season_volatility: FloatArray  # (168,) log, from Thursday 00:00 UTC
    season_volume: FloatArray  # (168,) log
    volatility: FloatArray  # these and all below (N,)
    log_price: FloatArray
    premium_mean: FloatArray
    premium_sd: FloatArray
    premium_weights: FloatArray  # (3, N) slow, fast, flash
    premium_shock: FloatArray
    interest_coins: FloatArray
    interest_volatility: FloatArray
    interest_lag: FloatArray
    log_volume: FloatArray
    spread_bps: FloatArray

    @classmethod
    def of(cls, coins: Sequence[CoinModel]) -> Calibration:
        def column(field: str) -> FloatArray:
            return np.array([getattr(coin, field) for coin in coins], dtype=np.float64)

        hours = np.array([time_constant for _, time_constant, _ in PROCESSES])[:, None]
        keep = np.where(hours > 0, np.exp(-1 / np.maximum(hours, 1e-9)), 0.0)
        correlation = np.repeat(np.array([[common] for *_, common in PROCESSES]), len(coins), axis=1)
        shared = np.sqrt(correlation)
        # Volatility that a coin doesn't share dilutes the correlation of returns; this puts it back.
        alone = float(
            (VOLATILITY_WEIGHTS**2 * (1 - correlation[VOLATILITY_SLOW : VOLATILITY_NOW + 1])).sum(0)[0]
        )
        shared[RETURN] = np.clip(column("market_correlation") * math.exp(alone / 2), -1.0, 1.0)

        volatility, persistence = column("volatility_1h"), column("premium_persistence")
        season_volatility, season_volume = _seasons()
        # A mean square of 1 keeps each coin's standard deviation at its calibration.
        return cls(
            own=np.sqrt(1 - shared**2),
            shared=shared,
            keep=keep,
            renew=np.sqrt(1 - keep**2),
            season_volatility=season_volatility - float((VOLATILITY_WEIGHTS**2).sum()) - _VOLATILITY_MEAN_LOG,
            season_volume=season_volume,
            volatility=volatility,
            log_price=np.log(column("price")),
            premium_mean=column("premium_mean"),
            premium_sd=column("premium_sd"),
            premium_weights=np.sqrt(
                np.stack([persistence, 0.6 * (1 - persistence), 0.4 * (1 - persistence)])
            ),
            premium_shock=column("premium_shock"),
            interest_coins=column("open_interest_usd") / column("price"),
            interest_volatility=column("open_interest_volatility_1h"),
            interest_lag=1 - _INTEREST_IN_USD * np.sqrt(np.minimum(1.0, MARKET_VOLATILITY_1H / volatility)),
            log_volume=np.log(column("volume_usd_day") / 24) - _VOLUME_MEAN_LOG,
            spread_bps=column("spread_bps"),
        )


def _seasons() -> tuple[FloatArray, FloatArray]:
    """Log volatility and log volume by hour of the week (168,), of mean square and of mean 1 when exponentiated."""
    volatility = np.log(np.tile(_ABSOLUTE_RETURN_BY_HOUR, 7))
    volume = np.tile(_LOG_VOLUME_BY_HOUR, 7)
    for day, log_volume in enumerate(_WEEKEND_LOG_VOLUME, start=_FIRST_SATURDAY):
        hours = slice(24 * day, 24 * day + 24)
        volatility[hours] += _WEEKEND_LOG_VOLATILITY
        volume[hours] += log_volume
    return volatility - 0.5 * np.log(np.exp(2 * volatility).mean()), volume - np.log(np.exp(volume).mean())
