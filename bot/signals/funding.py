"""What the crowd pays to stay: funding, premium and basis, and how unusual they are."""

from __future__ import annotations

import numpy as np

from bot.model.funding import HOURS_PER_YEAR
from bot.model.panel import Field, Panel
from bot.signals.windows import (
    HALF_LIVES,
    moving_average_exponential,
    moving_mean,
    moving_rank,
    moving_std,
    moving_z,
)


def funding_apr(panel: Panel, hours: float = 1) -> Field:
    """Simple yearly rate of the funding settled over the last `hours`, as a fraction; positive: longs pay."""
    apr: Field = moving_mean(panel.funding_rate, panel.grid.span(hours)) * HOURS_PER_YEAR
    return apr


def carry_apr(panel: Panel, half_life_h: int = 24) -> Field:
    """Yearly carry that a *short* of one unit of the instrument earns, exponentially smoothed; a fraction.

    For a perpetual alone that is its funding. Strategies that live on carry read this and nothing else of it, so
    that an instrument made of several legs only needs another panel column.
    """
    apr: Field = smoothed(panel.funding_rate, half_life_h) * HOURS_PER_YEAR
    return apr


def premium(panel: Panel) -> Field:
    """The averaged premium over the oracle behind the settled rate; it moves where the clamped rate is pinned.

    Between −0.04 % and +0.06 % over 8 h the clamp hides it from the rate, so where the venue publishes none it is
    unknown, and nothing is made up from the rate.
    """
    return panel.premium


def basis(panel: Panel) -> Field:
    """Mark price over the reference price, minus one; the oracle is the reference where no other is known."""
    reference = panel.reference
    if "reference" not in panel.fields:
        reference = panel.oracle
    result: Field = panel.mark / reference - 1.0
    return result


def persistence(field: Field, lag_h: float = 24, hours: float = 24 * 30) -> Field:
    """Autocorrelation of the last `hours` at a distance of `lag_h`, −1 … 1; unknown where nothing varied.

    Of a rate that fades to its mean by the same share each hour it is `0.5 ** (lag_h / half_life)`.
    """
    rows = field.grid.span(hours)
    past, least = field.lag(field.grid.span(lag_h)), _most(rows)
    both = field + 0.0 * past  # known where both are
    before = past + 0.0 * field
    mean, mean_before = moving_mean(both, rows, min_count=least), moving_mean(before, rows, min_count=least)
    covariance = moving_mean(both * before, rows, min_count=least) - mean * mean_before
    spread = moving_std(both, rows, min_count=least) * moving_std(before, rows, min_count=least)
    result: Field = (covariance / spread).apply(
        lambda values: np.where(np.isfinite(values), np.clip(values, -1.0, 1.0), np.nan)
    )
    return result


def half_life_h(field: Field, lag_h: float = 24, hours: float = 24 * 30) -> Field:
    """Hours in which a rate's distance from its mean halves, as measured over the last `hours`; 1 … 10,000.

    It follows from `persistence`: `lag · ln 2 / −ln ρ`; what does not persist at all has the shortest.
    """
    measured = persistence(field, lag_h, hours)
    return measured.apply(
        lambda rho: np.clip(lag_h * np.log(2) / -np.log(np.clip(rho, 1e-9, 1 - 1e-9)), 1.0, 1e4)
    )


def zscore(field: Field, hours: float) -> Field:
    """How many standard deviations (ddof 0) of the last `hours` the present value lies from their mean.

    One hour in ten may lack: else one missing hour would silence a strategy for the whole window.
    """
    rows = field.grid.span(hours)
    return moving_z(field, rows, min_count=_most(rows))


def percentile(field: Field, hours: float) -> Field:
    """Share of the other values of the last `hours` that the present one is above, 0 … 1. One hour in ten may lack."""
    rows = field.grid.span(hours)
    return moving_rank(field, rows, min_count=_most(rows))


def smoothed(field: Field, half_life_h: int) -> Field:
    """Exponentially weighted average; a value's weight halves every `half_life_h` hours. One hour in ten may lack."""
    half_life_rows = field.grid.span(half_life_h)
    return moving_average_exponential(field, half_life_rows, min_count=_most(half_life_rows * HALF_LIVES))


def _most(rows: int) -> int:
    return max(1, int(rows * 0.9))
