"""What became of each spread that was held: fills and payments put together, from flat to flat, against what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from bot.model.instrument import Kind
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose
from bot.model.panel import HOUR_MS
from bot.model.spread import Spread
from bot.pipeline.underwriting import Stated


@dataclass(frozen=True, slots=True)
class PairTrade:
    """One spread from flat to flat, or to the end of what is known. USD; `fees_usd` paid > 0.

    `notional_usd` is the primary leg's at its largest. `expected_usd` is the edge that the strategy stated when it
    went in, before costs, on that notional; `expected_cost_usd` what it reckoned with against it. `first` and `last` are
    the fills that opened and closed it.
    """

    spread: str
    side: str  # of the primary leg: short or long
    opened_ms: int
    closed_ms: int | None
    notional_usd: float
    expected_usd: float | None
    expected_cost_usd: float | None
    funding_usd: Decimal
    basis_usd: Decimal
    fees_usd: Decimal
    hours: float
    because: str = ""
    hold_h: float | None = None  # the hold that was in mind
    funding_in_hold_usd: float | None = None  # of its first `hold_h`; None before they are over
    first: Fill | None = None
    last: Fill | None = None

    @property
    def legs(self) -> tuple[str, str]:
        """Names of the primary leg and its hedge."""
        primary, _, hedge = self.spread.partition("~")
        return primary, hedge

    @property
    def is_open(self) -> bool:
        return self.closed_ms is None

    @property
    def net_usd(self) -> Decimal:
        return self.funding_usd + self.basis_usd - self.fees_usd


Event = Fill | FundingPayment | Liquidation

StatedAt = Callable[[Fill], tuple[Stated, str]]
"""What was stated of a spread, and why, by the decision that a fill opened it for."""


def pair_trades(
    spread: Spread,
    events: Iterable[Event],
    stated: StatedAt,
    last: Mapping[str, Decimal],
    end_ms: int,
) -> list[PairTrade]:
    """Of one spread's legs, `events` in the order in which they happened; `last` has the prices at the end, of each leg.

    The basis is what prices made of both legs, less what a liquidator kept. Coins on a spot market that no order can sell are flat too: they are taken at the price at which the rest went, and
    come into the next trade at it.
    """
    legs = {leg.name: leg for leg in spread.legs}
    found: list[PairTrade] = []
    held, now = dict.fromkeys(legs, 0), _Open()
    for event in events:
        if isinstance(event, FundingPayment):
            now.paid.append((event.time_ms, event.usd))
            continue
        if isinstance(event, Liquidation):
            # What a liquidator kept goes with the position that it took, which its fill may have closed already.
            if now.first is None and found:
                found[-1] = replace(found[-1], basis_usd=found[-1].basis_usd - event.forfeited_usd)
            else:
                now.cash -= event.forfeited_usd
            continue
        if now.first is None:
            now.first, now.paid = event, []
        held[event.instrument] += event.signed_lots
        now.cash -= event.notional_usd if event.signed_lots > 0 else -event.notional_usd
        now.fees += event.fee_usd
        now.prices[event.instrument] = event.price
        if event.instrument == spread.primary.name:
            value = abs(float(legs[event.instrument].notional(held[event.instrument], event.price)))
            if value > now.notional:
                now.notional, now.side = value, "long" if held[event.instrument] > 0 else "short"
        if held[spread.primary.name] == 0 and _is_flat(spread, held[spread.hedge.name], event, now):
            dust = legs[spread.hedge.name].notional(
                held[spread.hedge.name], now.prices.get(spread.hedge.name, ZERO)
            )
            now.cash += dust
            found.append(now.ended(spread, stated, event, end_ms))
            now = _Open(cash=-dust)
    if any(held.values()) and now.first is not None:
        now.cash += sum((legs[name].notional(lots, last[name]) for name, lots in held.items() if lots), ZERO)
        found.append(now.ended(spread, stated, None, end_ms))
    return found


def _is_flat(spread: Spread, lots: int, last: Fill, now: _Open) -> bool:
    """Whether nothing is left of the hedge after a fill, or no more than a spot market lets nobody sell."""
    if lots == 0:
        return True
    price = now.prices.get(spread.hedge.name)
    if spread.hedge.kind is not Kind.SPOT or last.purpose is Purpose.ENTRY or price is None:
        return False
    return abs(spread.hedge.notional(lots, price)) < spread.hedge.min_order_usd


@dataclass(slots=True)
class _Open:
    """A pair trade that goes on."""

    cash: Decimal = ZERO
    fees: Decimal = ZERO
    side: str = ""
    notional: float = 0.0
    first: Fill | None = None
    paid: list[tuple[int, Decimal]] = field(default_factory=list)
    prices: dict[str, Decimal] = field(default_factory=dict)

    def ended(self, spread: Spread, stated: StatedAt, last: Fill | None, end_ms: int) -> PairTrade:
        """All that it came to; `last` is the fill that closed it."""
        assert self.first is not None
        opened_ms, closed_ms = self.first.time_ms, None if last is None else last.time_ms
        said, because = stated(self.first)
        hold_ms = opened_ms + (said.hold_h or 0.0) * HOUR_MS
        within = None
        if said.hold_h is not None and end_ms >= hold_ms:
            within = float(sum((usd for at_ms, usd in self.paid if at_ms <= hold_ms), ZERO))
        return PairTrade(
            spread.name, self.side, opened_ms, closed_ms, self.notional,
            said.usd(said.expected, self.notional), said.usd(said.cost, self.notional),
            sum((usd for _, usd in self.paid), ZERO), self.cash, self.fees,
            ((end_ms if closed_ms is None else closed_ms) - opened_ms) / HOUR_MS,
            because, said.hold_h, within, self.first, last,
        )  # fmt: skip
