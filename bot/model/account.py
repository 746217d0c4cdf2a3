"""An account's books: cash, positions and what they are worth, kept exactly.

Cash is kept the way the venue keeps it (`totalRawUsd`): buying a position subtracts its whole value, so that
`equity = cash + Σ signed size × mark` with no further terms, and profit needs no bookkeeping of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from bot.model.instrument import Instrument
from bot.model.margin import liquidation_price, maintenance_margin
from bot.model.money import ZERO, usd
from bot.model.order import Fill, FundingPayment, Side


class MarginMode(StrEnum):
    """Whether a position draws on the whole account (cross) or only on the margin set aside for it (isolated)."""

    CROSS = "cross"
    ISOLATED = "isolated"


@dataclass(slots=True)
class Position:
    """A signed quantity held, with what it cost. `cash_usd` is used by isolated positions only (their raw USD)."""

    instrument: Instrument
    lots: int = 0
    cost_usd: Decimal = (
        ZERO  # signed: what the held lots were bought for (long > 0), for entry price and realised PnL
    )
    opened_ms: int = 0
    margin_mode: MarginMode = MarginMode.CROSS
    cash_usd: Decimal = ZERO

    @property
    def size(self) -> Decimal:
        return self.instrument.size(self.lots)

    @property
    def entry_price(self) -> Decimal:
        """Average price of the lots held; 0 when flat."""
        return self.cost_usd / self.size if self.lots else ZERO

    def notional_usd(self, mark: Decimal) -> Decimal:
        return self.instrument.notional(self.lots, mark)

    def unrealised_usd(self, mark: Decimal) -> Decimal:
        return self.notional_usd(mark) - self.cost_usd

    def trade(self, signed_lots: int, notional_usd: Decimal) -> Decimal:
        """Fold in a trade of `signed_lots` for the signed amount `notional_usd`; returns the profit it closed.

        The cost of the lots that leave is their share of the whole, rounded to a millionth so that cost and
        realised profit always add up to what was paid.
        """
        before, after = self.lots, self.lots + signed_lots
        if before == 0 or (before > 0) == (signed_lots > 0):
            self.lots, self.cost_usd = after, self.cost_usd + notional_usd
            return ZERO
        if abs(signed_lots) <= abs(before):
            cost_out = self.cost_usd if after == 0 else usd(self.cost_usd * -signed_lots / before)
            self.lots, self.cost_usd = after, self.cost_usd - cost_out
            return -notional_usd - cost_out
        closing = usd(notional_usd * -before / signed_lots)
        profit = -closing - self.cost_usd
        self.lots, self.cost_usd = after, notional_usd - closing
        return profit


@dataclass(slots=True)
class Account:
    """Cash and positions of one account, with running totals that add up to its equity.

    Invariant, exact: `cash + Σ position cash + Σ cost = deposits + realised price profit + funding − fees − forfeited`.
    `forfeited_usd` is margin that a liquidator took with the positions it took over; negative where it took a debt.
    """

    cash_usd: Decimal = ZERO
    positions: dict[str, Position] = field(default_factory=dict)
    deposits_usd: Decimal = ZERO
    realised_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    volume_usd: Decimal = ZERO
    forfeited_usd: Decimal = ZERO

    def deposit(self, amount_usd: Decimal) -> None:
        self.cash_usd += amount_usd
        self.deposits_usd += amount_usd

    def apply_fill(self, fill: Fill, position: Position, leverage: int = 1) -> None:
        """Fold the totals of a fill whose lots `position.trade` has taken in.

        `leverage` decides what an isolated position takes along from the account's cash as it grows.
        """
        notional = fill.notional_usd if fill.side is Side.BUY else -fill.notional_usd
        if position.margin_mode is MarginMode.ISOLATED:
            self.cash_usd += _settle_isolated(position, fill, notional, leverage) - fill.fee_usd
        else:
            self.cash_usd -= notional + fill.fee_usd
        self.realised_usd += fill.closed_pnl_usd
        self.fees_usd += fill.fee_usd
        self.volume_usd += fill.notional_usd
        if position.lots == 0:
            self.positions.pop(fill.instrument, None)
        else:
            self.positions[fill.instrument] = position

    def forfeit(self, amount_usd: Decimal) -> None:
        """Cash that goes to a liquidator; a negative amount is a debt that goes with the rest."""
        self.cash_usd -= amount_usd
        self.forfeited_usd += amount_usd

    def apply_funding(self, payment: FundingPayment) -> None:
        position = self.positions[payment.instrument]
        if position.margin_mode is MarginMode.ISOLATED:
            position.cash_usd += payment.usd
        else:
            self.cash_usd += payment.usd
        self.funding_usd += payment.usd

    def lots(self, instrument: str) -> int:
        position = self.positions.get(instrument)
        return position.lots if position else 0

    def equity_usd(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Cash and all positions at `marks`, isolated ones included."""
        return self.cash_usd + sum(
            (p.notional_usd(marks[name]) + p.cash_usd for name, p in self.positions.items()), ZERO
        )

    def cross_value_usd(self, marks: Mapping[str, Decimal]) -> Decimal:
        """What backs the cross positions."""
        return self.cash_usd + sum(
            (
                p.notional_usd(marks[n])
                for n, p in self.positions.items()
                if p.margin_mode is MarginMode.CROSS
            ),
            ZERO,
        )

    def maintenance_usd(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Maintenance margin of the cross positions."""
        return sum(
            (
                maintenance_margin(p.instrument, p.notional_usd(marks[n]))
                for n, p in self.positions.items()
                if p.margin_mode is MarginMode.CROSS
            ),
            ZERO,
        )

    def is_short(self, name: str, marks: Mapping[str, Decimal]) -> bool:
        """Whether what backs this position, and all others on cross margin with it, is below its maintenance margin."""
        position = self.positions.get(name)
        if position is not None and position.margin_mode is MarginMode.ISOLATED:
            notional = position.notional_usd(marks[name])
            return position.cash_usd + notional < maintenance_margin(position.instrument, notional)
        return self.cross_value_usd(marks) < self.maintenance_usd(marks)

    def liquidation_price(self, name: str, marks: Mapping[str, Decimal]) -> Decimal | None:
        """Mark price of `name` at which the venue takes over, all other prices unmoved; None if there is none."""
        position = self.positions[name]
        mark = marks[name]
        if position.margin_mode is MarginMode.ISOLATED:
            return liquidation_price(
                position.instrument, position.lots, mark, position.cash_usd + position.notional_usd(mark)
            )
        own = maintenance_margin(position.instrument, position.notional_usd(mark))
        others = self.maintenance_usd(marks) - own
        return liquidation_price(
            position.instrument, position.lots, mark, self.cross_value_usd(marks), others
        )


def _settle_isolated(position: Position, fill: Fill, notional_usd: Decimal, leverage: int) -> Decimal:
    """Pay a trade of signed `notional_usd` from the position's own cash; returns what the account's cash receives.

    Growing takes the new lots' initial margin from the account. Shrinking gives back the closed share of what the
    position is worth at the trade's price, closing all of it; turning around is closing and then growing.
    """
    traded, after = fill.signed_lots, position.lots
    before = after - traded
    if before * traded >= 0:
        margin = usd(position.instrument.notional(fill.lots, fill.price) / leverage)
        position.cash_usd += margin - notional_usd
        return -margin
    if before * after > 0:
        position.cash_usd -= notional_usd
        worth = position.cash_usd + position.notional_usd(fill.price)
        released = usd(worth * fill.lots / abs(before))
        position.cash_usd -= released
        return released
    closing = usd(notional_usd * -before / traded)  # as Position.trade splits it
    released = position.cash_usd - closing
    margin = usd(abs(position.notional_usd(fill.price)) / leverage)
    position.cash_usd = margin - (notional_usd - closing)
    return released - margin
