"""What comes in and goes out: open interest and volume.

Open interest is compared with itself at the same venue, never across venues: they count it differently. In coins it
is flow; in dollars it also moves with price, so the dollar change is split into the two.
"""

from __future__ import annotations

from bot.model.panel import Field, Panel
from bot.signals.windows import moving_mean


def change(field: Field, hours: float) -> Field:
    """Relative change over the last `hours`, as a fraction."""
    result: Field = field / field.lag(field.grid.span(hours)) - 1.0
    return result


def open_interest_change(panel: Panel, hours: float = 24) -> Field:
    """Relative change of open interest in coins over `hours`: contracts opened minus contracts closed."""
    return change(panel.open_interest, hours)


def open_interest_usd_split(panel: Panel, hours: float = 24) -> tuple[Field, Field]:
    """Change of open interest in USD over `hours` as (price part, flow part), fractions of its level then.

    `Δ(P·Q) = Q_then·ΔP + P_now·ΔQ`, exact, so the parts add up to the whole change.
    """
    lag = panel.grid.span(hours)
    price, coins = panel.mark, panel.open_interest
    price_then, coins_then = price.lag(lag), coins.lag(lag)
    level = price_then * coins_then
    return coins_then * (price - price_then) / level, price * (coins - coins_then) / level


def volume_surge(panel: Panel, hours: float = 6, baseline_h: float = 24 * 14) -> Field:
    """Volume of the last `hours` relative to the usual: 1 is as always, 3 is three times as much."""
    recent = moving_mean(panel.volume_usd, panel.grid.span(hours))
    usual = moving_mean(
        panel.volume_usd, panel.grid.span(baseline_h), min_count=int(panel.grid.span(baseline_h) * 0.9)
    )
    result: Field = recent / usual
    return result
