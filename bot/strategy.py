"""What a strategy plugin may import: the base class, the view and opinion, the signals, and a few array helpers.

    from bot.strategy import Field, Hours, Opinion, Panel, Strategy, View, zscore

Everything here is stable for plugin authors; the rest of the bot is not theirs to reach.
"""

from numpy import (
    clip,
    count_nonzero,
    exp,
    isfinite,
    log,
    maximum,
    minimum,
    nan_to_num,
    sign,
    where,
    zeros_like,
)

from bot.model.decision import Opinion
from bot.model.funding import HOURS_PER_YEAR
from bot.model.panel import Field, FloatArray, Panel
from bot.pipeline.strategy import Hours, Strategy, View
from bot.signals.flow import change, open_interest_change, open_interest_usd_split, volume_surge
from bot.signals.funding import (
    basis,
    carry_apr,
    funding_apr,
    half_life_h,
    percentile,
    persistence,
    premium,
    smoothed,
    zscore,
)
from bot.signals.regime import Regime, regime, regime_labels, stress
from bot.signals.volatility import drift, log_return, realised_volatility
from bot.signals.windows import moving_mean, moving_std, moving_sum, moving_z

__all__ = [
    "HOURS_PER_YEAR",
    "Field",
    "FloatArray",
    "Hours",
    "Opinion",
    "Panel",
    "Regime",
    "Strategy",
    "View",
    "basis",
    "carry_apr",
    "change",
    "clip",
    "count_nonzero",
    "drift",
    "exp",
    "funding_apr",
    "half_life_h",
    "isfinite",
    "log",
    "log_return",
    "maximum",
    "minimum",
    "moving_mean",
    "moving_std",
    "moving_sum",
    "moving_z",
    "nan_to_num",
    "open_interest_change",
    "open_interest_usd_split",
    "percentile",
    "persistence",
    "premium",
    "realised_volatility",
    "regime",
    "regime_labels",
    "sign",
    "smoothed",
    "stress",
    "strongest",
    "volume_surge",
    "where",
    "zeros_like",
    "zscore",
]


def strongest(strength: FloatArray, wanted: FloatArray, count: int) -> FloatArray:
    """True for the `count` instruments of highest `strength` among those `wanted`; ties go to the earlier column."""
    chosen: FloatArray = zeros_like(strength, dtype=bool)
    if count > 0 and count_nonzero(wanted):
        ranked = where(wanted, -strength, float("inf")).argsort(kind="stable")[:count]
        chosen[ranked] = wanted[ranked]
    return chosen
