"""Two legs held against each other: a perpetual, and what stands for the same coin on another market or venue.

A *long* unit of a spread is one coin of the underlying long in the primary leg and one short in the hedge, so that it pays
the primary's funding and is paid the hedge's. Carry is mostly earned short: the perpetual sold, the coin held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

from bot.model.instrument import BRIDGED, HYPERLIQUID, Instrument, Kind


@dataclass(frozen=True, slots=True)
class Spread:
    """A primary perpetual and its hedge, of one underlying.

    `step` is the smallest quantity, in coins of the underlying, that both legs can hold to the last lot; one step is
    `primary_lots` of the one and `hedge_lots` of the other. ValueError where the two can't be a spread.
    """

    primary: Instrument
    hedge: Instrument
    step: Fraction = field(init=False)
    primary_lots: int = field(init=False)
    hedge_lots: int = field(init=False)

    def __post_init__(self) -> None:
        if self.primary.kind is not Kind.PERP:
            raise ValueError(f"{self.primary.name}: the primary leg of a spread must be a perpetual")
        if self.primary.name == self.hedge.name:
            raise ValueError(f"{self.primary.name} can't be hedged with itself")
        if self.primary.underlying != self.hedge.underlying:
            raise ValueError(
                f"{self.name}: {self.primary.name} is of {self.primary.underlying}, {self.hedge.name} of "
                f"{self.hedge.underlying}; the legs of a spread must be of one coin"
            )
        ours, theirs = _lot(self.primary), _lot(self.hedge)
        step = Fraction(
            lcm(ours.numerator * theirs.denominator, theirs.numerator * ours.denominator),
            ours.denominator * theirs.denominator,
        )
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "primary_lots", int(step / ours))
        object.__setattr__(self, "hedge_lots", int(step / theirs))

    @property
    def name(self) -> str:
        return f"{self.primary.name}~{self.hedge.name}"

    @property
    def legs(self) -> tuple[Instrument, Instrument]:
        return self.primary, self.hedge

    @property
    def can_be_long(self) -> bool:
        """Long, its hedge is short, which a spot market can't be without a loan."""
        return self.hedge.kind is Kind.PERP

    @property
    def hedge_per_primary(self) -> float:
        """Coins of the hedge that are worth one coin of the primary."""
        return self.primary.multiplier / self.hedge.multiplier

    @property
    def risks(self) -> tuple[str, ...]:
        """What can part the legs besides the basis, a sentence each."""
        found = []
        if self.hedge.kind is Kind.SPOT:
            token = next((name for name, coin in BRIDGED.items() if coin == self.hedge.underlying), None)
            if token is not None and self.hedge.name.startswith(token):
                found.append(f"{token} is a bridged token: it can come off {self.hedge.underlying}'s price")
        if self.primary.quote != self.hedge.quote:
            found.append(
                f"the legs are paid in {self.primary.quote} and {self.hedge.quote}: the two can come apart"
            )
        if self.primary.venue != self.hedge.venue:
            found.append(
                f"margin lies apart on {self.primary.venue} and {self.hedge.venue}, and only a person can move it"
            )
        return tuple(found)

    def steps(self, primary_lots: int) -> int:
        """Whole steps in a signed position of the primary leg, rounded toward zero; none long where that can't be."""
        steps = abs(primary_lots) // self.primary_lots
        if primary_lots < 0:
            return -steps
        return steps if self.can_be_long else 0

    def lots(self, steps: int) -> tuple[int, int]:
        """Signed lots of both legs at a signed number of steps."""
        return steps * self.primary_lots, -steps * self.hedge_lots

    def unhedged(self, primary_lots: int, hedge_lots: int) -> Fraction:
        """Coins of the underlying that one leg is long, net of the other; 0 where they cancel out."""
        return primary_lots * _lot(self.primary) + hedge_lots * _lot(self.hedge)


def _lot(instrument: Instrument) -> Fraction:
    """Coins of the underlying in one lot."""
    return Fraction(instrument.lot) * instrument.multiplier


def find_spreads(instruments: Iterable[Instrument]) -> tuple[Spread, ...]:
    """Every pair that can be held: perpetuals against spot, and perpetuals of two venues, of one underlying.

    Hyperliquid's perpetual is the primary where there is one. Delisted ones are left out.
    """
    listed = [each for each in instruments if not each.is_delisted]
    perps = sorted(
        (each for each in listed if each.kind is Kind.PERP), key=lambda each: each.venue != HYPERLIQUID
    )
    spots = [each for each in listed if each.kind is Kind.SPOT]
    found = []
    for place, primary in enumerate(perps):
        others = [each for each in perps[place + 1 :] if each.venue != primary.venue]
        found += [
            Spread(primary, hedge) for hedge in (*spots, *others) if hedge.underlying == primary.underlying
        ]
    return tuple(found)


def pairs(spreads: Sequence[Spread]) -> dict[str, Spread]:
    """Spreads by the name of their primary leg. ValueError where two would share one."""
    by_primary: dict[str, Spread] = {}
    for each in spreads:
        if each.primary.name in by_primary:
            raise ValueError(
                f"{each.primary.name} is the primary leg of two spreads, {by_primary[each.primary.name].name} and "
                f"{each.name}; give one of them to another strategy"
            )
        by_primary[each.primary.name] = each
    return by_primary
