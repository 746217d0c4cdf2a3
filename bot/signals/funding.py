"""What the crowd pays to stay: funding, premium and basis, and how unusual they are."""

from __future__ import annotations

from bot.model.funding import HOURS_PER_YEAR
from bot.model.panel import Field, Panel
from bot.signals.windows import moving_average_exponential, moving_mean, moving_rank, moving_z


def funding_apr(panel: Panel, hours: float = 1) -> Field:
    """Simple yearly rate of the funding settled over the last `hours`, as a fraction; positive: longs pay."""
    return moving_mean(panel.funding_rate, panel.grid.span(hours)) * HOURS_PER_YEAR


def carry_apr(panel: Panel, half_life_h: int = 24) -> Field:
    """Yearly carry that a *short* of one unit of the instrument earns, exponentially smoothed; a fraction.

    For a perpetual alone that is its funding. Strategies that live on carry read this and nothing else of it, so
    that an instrument made of several legs only needs another panel column.
    """
    return smoothed(panel.funding_rate, half_life_h) * HOURS_PER_YEAR


def premium(panel: Panel) -> Field:
    """The averaged premium over the oracle behind the settled rate; it moves where the clamped rate is pinned.

    Where the venue publishes none, the part of the rate above its resting value stands for it: between −0.04 % and
    +0.06 % the two differ, since there the clamp hides the premium.
    """
    return panel.premium


def basis(panel: Panel) -> Field:
    """Mark price over the reference price, minus one; the oracle is the reference where no other is known."""
    reference = panel.reference
    if "reference" not in panel.fields:
        reference = panel.oracle
    result: Field = panel.mark / reference - 1.0
    return result


def zscore(field: Field, hours: float) -> Field:
    """How many standard deviations (ddof 0) of the last `hours` the present value lies from their mean."""
    return moving_z(field, field.grid.span(hours))


def percentile(field: Field, hours: float) -> Field:
    """Share of the last `hours` that the present value is above, 0 … 1."""
    return moving_rank(field, field.grid.span(hours))


def smoothed(field: Field, half_life_h: int) -> Field:
    """Exponentially weighted average; a value's weight halves every `half_life_h` hours. One hour in ten may lack."""
    half_life_rows = field.grid.span(half_life_h)
    return moving_average_exponential(field, half_life_rows, min_count=int(half_life_rows * 8 * 0.9))
