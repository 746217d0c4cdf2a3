"""Every signal by name, with its usual parameters: what tests go through and `scan` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.model.panel import Field, Panel
from bot.signals import flow, funding, regime, volatility

SIGNALS: Mapping[str, Callable[[Panel], Field]] = {
    "funding_apr": funding.funding_apr,
    "funding_apr_24h": lambda panel: funding.funding_apr(panel, 24),
    "carry_apr": funding.carry_apr,
    "funding_z": lambda panel: funding.zscore(panel.funding_rate, 24 * 14),
    "funding_percentile": lambda panel: funding.percentile(panel.funding_rate, 24 * 14),
    "funding_persistence": lambda panel: funding.persistence(panel.funding_rate, 24, 24 * 14),
    "funding_half_life_h": lambda panel: funding.half_life_h(panel.funding_rate, 24, 24 * 14),
    "premium": funding.premium,
    "premium_z": lambda panel: funding.zscore(panel.premium, 24 * 14),
    "basis": funding.basis,
    "open_interest_change": flow.open_interest_change,
    "open_interest_price_part": lambda panel: flow.open_interest_usd_split(panel)[0],
    "open_interest_flow_part": lambda panel: flow.open_interest_usd_split(panel)[1],
    "volume_surge": flow.volume_surge,
    "log_return": volatility.log_return,
    "realised_volatility": volatility.realised_volatility,
    "drift": volatility.drift,
    "regime": regime.regime,
    "stress": regime.stress,
}
