"""The coins of the synthetic market: for each, the handful of numbers that make it behave like the real one.

The numbers are measured on hourly Hyperliquid history (candles 2024-09 to 2025-05, funding 2023-06 to 2025-05,
premium 2024-2025, open interest 2025-12 to 2026-01); `MAJORS` says column by column which comes from where.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

#: Hourly standard deviation of the common factor's return: BTC's, in the table of hourly perp candles.
MARKET_VOLATILITY_1H = 0.0055


@dataclass(frozen=True, slots=True)
class CoinModel:
    """One coin's calibration. Rates and premiums are fractions, money is USD.

    `volatility_1h` is the standard deviation of hourly log returns, `beta` the sensitivity to a common factor with
    BTC's volatility, so `beta * MARKET_VOLATILITY_1H / volatility_1h` is the correlation with that factor and must
    lie in [-1, 1]. `premium_persistence` is the share of the premium's variance that decays over two weeks instead of
    hours, `premium_shock` the mean size of a rare dislocation, which is three times out of four a negative one.
    """

    name: str
    size_decimals: int
    max_leverage: int
    price: float
    volatility_1h: float
    beta: float
    premium_mean: float
    premium_sd: float
    premium_persistence: float
    premium_shock: float
    open_interest_usd: float
    open_interest_volatility_1h: float
    volume_usd_day: float
    spread_bps: float

    def __post_init__(self) -> None:
        positive = (
            "price",
            "volatility_1h",
            "premium_sd",
            "open_interest_usd",
            "open_interest_volatility_1h",
            "volume_usd_day",
            "spread_bps",
        )
        for field in positive:
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{self.name}: {field} must be a finite number above 0, found {value!r}")
        if not abs(self.market_correlation) <= 1:
            raise ValueError(
                f"{self.name}: beta {self.beta} needs more volatility than {self.volatility_1h}; lower beta to "
                f"{self.volatility_1h / MARKET_VOLATILITY_1H:.3f} or less"
            )
        if not 0 <= self.premium_persistence <= 1:
            raise ValueError(
                f"{self.name}: premium_persistence must be within [0, 1], found {self.premium_persistence}"
            )
        if not (math.isfinite(self.premium_mean) and 0 <= self.premium_shock < math.inf):
            raise ValueError(
                f"{self.name}: premium_mean must be finite and premium_shock finite and not negative"
            )

    @property
    def market_correlation(self) -> float:
        """Correlation of the hourly return with the common factor."""
        return self.beta * MARKET_VOLATILITY_1H / self.volatility_1h


# Where the columns come from.
#   size_decimals, max_leverage  the venue's `meta`
#   price            last close of the hourly candles, 2025-05-31
#   volatility       standard deviation of hourly log returns of the perp, in %
#   beta             regression on BTC over the 3,900 h common to these coins. BTC's own is below 1 because the factor is
#                    the crowd, not BTC: it gives BTC's correlation with the others (real: 0.54 to 0.79)
#   premium mean/sd  in bp. BTC and ETH: measured. Others: found from mean funding and the share of hours at the default
#                    rate, then drawn in by a tenth, since those begin in 2023 when premiums were wilder
#   premium shock    in bp, from the worst hourly funding on record
#   open interest    in $m: BTC, ETH, SOL, HYPE, DOGE measured; others one day's volume, about the ratio of those five
#   oi volatility    standard deviation of hourly log changes in coins, in %: measured for the same five
#   volume           in $m a day: mean close * volume
#   spread           in bp. BTC and ETH: median of recorded books. Others: median gap from close to next open
_MAJORS = """
name      dec lev     price  vol%  beta  mean   sd shock      oi  oi%   volume spread
BTC         5  40    104585  0.55  0.88  1.84  5.5     8    2260  1.45  1986.6   0.14
ETH         4  25      2529  0.80  1.23  0.68  5.7    12    2687  1.15  1166.8   0.34
SOL         2  20    156.35  0.99  1.44  1.50  7.0    12     546  1.40   454.1   0.77
HYPE        2  10    32.696  1.85  1.80  5.00  6.5    20     779  1.20   225.9   0.78
XRP         0  20    2.1729  1.18  1.48  0.50  6.3    12     120  1.50   122.1   1.80
FARTCOIN    1  10     1.074  3.10  2.98  4.50  8.5    20      84  2.00    83.8   4.20
kPEPE       0  10  0.011639  1.50  1.78  3.50  8.5    30      79  1.80    79.4   3.10
SUI         1  10     3.245  1.36  1.73  0.30  8.0    20      72  1.60    71.9   2.60
DOGE        0  10   0.19237  1.20  1.56  2.50  8.0    20      45  2.00    66.2   2.30
WIF         0   5   0.85053  1.63  1.88  5.00  7.0    60      25  2.00    24.7   5.10
LINK        1  10    13.957  1.14  1.61  1.70  6.5    12      21  1.60    20.9   3.40
AAVE        2  10    246.88  1.22  1.60  1.80  6.5    12      21  1.60    20.6   3.60
BNB         3  10    657.86  0.61  0.70 -1.00  6.2    20      17  1.50    16.5   1.90
AVAX        2  10    20.792  1.09  1.51  0.50  7.2    20      16  1.60    15.9   3.20
NEAR        1  10    2.4191  1.19  1.56  3.20  6.5    15       5  1.80     5.0   5.60
ARB         1  10   0.33956  1.14  1.48  1.00  6.8    15       5  1.80     4.6   4.50
"""


def _read(table: str) -> Mapping[str, CoinModel]:
    coins = {}
    for line in table.strip().splitlines()[1:]:
        name, decimals, leverage, *numbers = line.split()
        price, volatility, beta, mean, sd, shock, interest, interest_change, volume, spread = map(
            float, numbers
        )
        coins[name] = CoinModel(
            name=name,
            size_decimals=int(decimals),
            max_leverage=int(leverage),
            price=price,
            volatility_1h=volatility / 100,
            beta=beta,
            premium_mean=mean / 1e4,
            premium_sd=sd / 1e4,
            # BTC's premium autocorrelation is 0.95, 0.82, 0.71, 0.45 at 1, 8, 24, 168 h; this share meets them all.
            premium_persistence=0.80,
            premium_shock=shock / 1e4,
            open_interest_usd=interest * 1e6,
            open_interest_volatility_1h=interest_change / 100,
            volume_usd_day=volume * 1e6,
            spread_bps=spread,
        )
    return MappingProxyType(coins)


#: Sixteen large coins, most traded first.
MAJORS: Mapping[str, CoinModel] = _read(_MAJORS)


def small_coins(count: int, seed: int) -> tuple[CoinModel, ...]:
    """Made-up coins ALT001, ALT002 … with the spread of character that 94 real ones have.

    Volatility follows the measured quantiles over coins (10 % 1.05, 25 % 1.19, 50 % 1.37, 75 % 1.85, 90 % 2.42 % per
    hour); premiums are shorter-lived and their dislocations larger than those of `MAJORS`, as funding's
    autocorrelation at 24 h (median 0.41) and 1 % quantile (median -0.83 bp per hour) are; volume and open interest
    fall off as they do down the venue's list.
    """
    generator = np.random.default_rng(seed)
    coins = []
    for number in range(1, count + 1):
        level = float(
            np.interp(generator.random(), (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0), _VOLATILITY_QUANTILES)
        )
        volume = 1e6 * float(np.exp(generator.normal(0.8, 1.5)))
        coins.append(
            CoinModel(
                name=f"ALT{number:03d}",
                size_decimals=int(generator.integers(0, 3)),
                max_leverage=int(generator.choice((3, 5, 10))),
                price=float(np.exp(generator.normal(-0.5, 1.8))),
                volatility_1h=level / 100,
                beta=float(generator.uniform(0.55, 0.75)) * level / 100 / MARKET_VOLATILITY_1H,
                premium_mean=float(generator.normal(1.0, 2.5)) / 1e4,
                premium_sd=float(generator.uniform(5.0, 9.0)) / 1e4,
                premium_persistence=float(generator.uniform(0.25, 0.6)),
                premium_shock=float(np.exp(generator.normal(3.4, 0.7))) / 1e4,
                open_interest_usd=volume * float(np.exp(generator.normal(0.0, 0.4))),
                open_interest_volatility_1h=float(generator.uniform(1.3, 2.2)) / 100,
                volume_usd_day=volume,
                spread_bps=float(np.clip(6.0 * (volume / 5e6) ** -0.4, 1.5, 40.0)),
            )
        )
    return tuple(coins)


_VOLATILITY_QUANTILES = (0.9, 1.05, 1.19, 1.37, 1.85, 2.42, 3.0)
