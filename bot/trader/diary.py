"""What is written down of a cycle beyond the decision itself: the books, and what each position has come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bot.journal.records import EquityPoint, PositionFacts, StrategyPnl
from bot.model.decision import Decision
from bot.model.money import ZERO, usd
from bot.model.order import FundingPayment
from bot.model.panel import FloatArray
from bot.trader.attribution import Attribution
from bot.venues.venue import AccountState, VenueEvent

NO_OPINION = "no strategy asked for it"


class Story:
    """Of each position held: since when, what funding it has brought, and why it was opened."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        self._opened_ms: dict[str, int] = {}
        self._funding_usd: dict[str, Decimal] = {}
        self._because: dict[str, str] = {}
        self._lately: list[FundingPayment] = []  # heard since positions were told last
        for name, each in (saved or {}).items():
            self._opened_ms[name] = int(each["opened_ms"])
            self._funding_usd[name] = Decimal(each["funding_usd"])
            self._because[name] = str(each["because"])

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            name: {
                "opened_ms": opened_ms,
                "funding_usd": str(self._funding_usd[name]),
                "because": self._because[name],
            }
            for name, opened_ms in self._opened_ms.items()
        }

    def hear(self, events: Sequence[VenueEvent]) -> None:
        """Add what funding brought to the positions known, and keep it for those that are opened meanwhile."""
        for event in events:
            if isinstance(event, FundingPayment):
                self._lately.append(event)
                if event.instrument in self._funding_usd:
                    self._funding_usd[event.instrument] += event.usd

    def tell(
        self, account: AccountState, decision: Decision, strategies: Sequence[str], columns: Mapping[str, int]
    ) -> list[PositionFacts]:
        """The positions as they stand; one opened or turned since the last call was so for `decision`'s reasons."""
        held = {position.instrument.name: position for position in account.positions}
        for name in [name for name in self._opened_ms if name not in held]:
            del self._opened_ms[name], self._funding_usd[name], self._because[name]
        for name, position in held.items():
            if self._opened_ms.get(name) != position.opened_ms:
                since = (each for each in self._lately if each.instrument == name)
                paid = [each.usd for each in since if each.time_ms > position.opened_ms]
                self._opened_ms[name], self._funding_usd[name] = position.opened_ms, sum(paid, ZERO)
                self._because[name] = _reason(decision, columns[name], strategies)
        self._lately.clear()
        return [
            PositionFacts(
                instrument=name,
                lots=position.lots,
                size_decimals=position.instrument.size_decimals,
                entry_price=position.entry_price,
                mark=position.mark,
                notional_usd=position.notional_usd,
                unrealised_usd=position.unrealised_usd,
                liquidation_price=position.liquidation_price,
                margin_mode=position.margin_mode,
                opened_ms=position.opened_ms,
                funding_usd=self._funding_usd[name],
                because=self._because[name],
            )
            for name, position in held.items()
        ]


def _reason(decision: Decision, column: int, strategies: Sequence[str]) -> str:
    """What the strategies said that answer for the position."""
    parts = decision.allowed.by_strategy[:, column]
    said = [
        f"{strategies[k]}: {decision.opinions[k].reason(column)}" for k in range(len(strategies)) if parts[k]
    ]
    return "; ".join(said) or NO_OPINION


def equity_point(account: AccountState) -> EquityPoint:
    """The books as the journal keeps them."""
    values = [position.notional_usd for position in account.positions]
    return EquityPoint(
        equity_usd=account.equity_usd,
        cash_usd=account.cash_usd,
        price_pnl_usd=account.price_usd,
        funding_pnl_usd=account.funding_usd,
        fees_usd=account.fees_usd,
        gross_usd=sum((abs(value) for value in values), ZERO),
        net_usd=sum(values, ZERO),
    )


def by_strategy(attribution: Attribution, mark: FloatArray, strategies: Sequence[str]) -> list[StrategyPnl]:
    """What each strategy has come to, its open lots at `mark`."""
    return [
        StrategyPnl(
            name, usd(attribution.price_usd(k, mark)), attribution.funding_usd[k], attribution.fees_usd[k]
        )
        for k, name in enumerate(strategies)
    ]
