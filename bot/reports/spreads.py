"""What came of each spread that was held: what was expected at the entry, and what funding, basis and fees made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bot.clock import utc
from bot.model.funding import HOURS_PER_YEAR
from bot.model.money import ZERO
from bot.pipeline.pair_trades import PairTrade


@dataclass(frozen=True, slots=True)
class SpreadResults:
    """All of a run's. `tied_usd_mean`: margin of both legs and spot in full, over the hours in which any was held.

    `unhedged_hours` are those at whose end one leg held a step or more that the other did not hedge.
    """

    trades: Sequence[PairTrade]
    tied_usd_mean: float
    held_hours: float
    run_hours: float
    unhedged_hours: float
    unhedged_usd_worst: float
    wallets_start: Mapping[str, float]
    wallets_end: Mapping[str, float]
    risks: Sequence[str] = field(default_factory=tuple)

    def facts(self, equity_start: Decimal) -> dict[str, Any]:
        """As JSON values; fees as their effect on equity."""
        trades = self.trades
        funding, basis = (
            sum((getattr(each, name) for each in trades), ZERO) for name in ("funding_usd", "basis_usd")
        )
        fees = sum((each.fees_usd for each in trades), ZERO)
        net, years = float(funding + basis - fees), self.held_hours / HOURS_PER_YEAR
        known = [
            each for each in trades if each.expected_usd is not None and each.funding_in_hold_usd is not None
        ]
        expected = sum(each.expected_usd or 0.0 for each in known)
        realised = sum(each.funding_in_hold_usd or 0.0 for each in known)
        tied = self.tied_usd_mean
        return {
            "pair_trades": [trade_facts(each) for each in trades],
            "pnl": {"funding": float(funding), "basis": float(basis), "fees": -float(fees), "total": net},
            "expected_carry": expected,
            "realised_carry": realised,
            "realised_to_expected": realised / expected if expected else None,
            "tied_capital_mean": tied,
            "return_on_tied_capital": net / tied / years if tied > 0 and years > 0 else None,
            "return_on_all_capital": net / float(equity_start) / (self.run_hours / HOURS_PER_YEAR)
            if self.run_hours
            else None,
            "held_hours": self.held_hours,
            "unhedged_hours": self.unhedged_hours,
            "unhedged_usd_worst": self.unhedged_usd_worst,
            "wallets": {
                name: {"start": start, "end": self.wallets_end[name]}
                for name, start in self.wallets_start.items()
            },
            "risks": list(self.risks),
        }


def trade_facts(trade: PairTrade) -> dict[str, Any]:
    """As JSON values; fees as their effect on equity."""
    return {
        "spread": trade.spread,
        "side": trade.side,
        "opened": utc(trade.opened_ms),
        "closed": None if trade.closed_ms is None else utc(trade.closed_ms),
        "hours": trade.hours,
        "notional": trade.notional_usd,
        "expected_carry": trade.expected_usd,
        "expected_cost": trade.expected_cost_usd,
        "hold_h": trade.hold_h,
        "funding_in_hold": trade.funding_in_hold_usd,
        "funding": float(trade.funding_usd),
        "basis": float(trade.basis_usd),
        "fees": -float(trade.fees_usd),
        "net": float(trade.net_usd),
        "because": trade.because,
    }
