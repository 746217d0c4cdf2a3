"""How much prices move, and how far they have run."""

from __future__ import annotations

import numpy as np

from bot.model.funding import HOURS_PER_YEAR
from bot.model.panel import HOUR_MS, Field, Panel
from bot.signals.windows import moving_std


def log_return(panel: Panel, hours: float = 1) -> Field:
    """Logarithm of the mark price over the one `hours` ago."""
    price = panel.mark.apply(np.log)
    result: Field = price - price.lag(panel.grid.span(hours))
    return result


def realised_volatility(panel: Panel, hours: float = 24 * 7) -> Field:
    """Annualised standard deviation of the bars' log returns over the last `hours`, a fraction (365 days)."""
    rows = panel.grid.span(hours)
    one_bar = panel.mark.apply(np.log)
    returns = one_bar - one_bar.lag(1)
    bars_per_year = HOURS_PER_YEAR * HOUR_MS / panel.grid.interval_ms
    volatility: Field = moving_std(returns, rows, min_count=max(2, int(rows * 0.9))) * float(
        np.sqrt(bars_per_year)
    )
    return volatility


def drift(panel: Panel, hours: float = 48, volatility_h: float = 24 * 7) -> Field:
    """Log return over `hours` in units of what `volatility_h` of realised volatility makes usual for that time."""
    usual = realised_volatility(panel, volatility_h) * float(np.sqrt(hours / HOURS_PER_YEAR))
    result: Field = log_return(panel, hours) / usual
    return result
