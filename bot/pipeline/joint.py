"""A book over several wallets: what is left unhedged, which leg dies first and at which price, and what would save it.

Money does not flow between wallets by itself: what the hedge has gained does not keep a perpetual from its liquidation. All
numbers are tier-exact; `Stress` takes every liquidation at its worst, nothing being left of the wallet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Self

import numpy as np

from bot.model.decision import LotsArray
from bot.model.instrument import Instrument, Kind
from bot.model.panel import FloatArray

HALVINGS = 80


@dataclass(frozen=True, slots=True)
class Held:
    """One position: signed size in the instrument's own coins, at entry and mark prices in USD."""

    instrument: Instrument
    size: float
    entry: float
    mark: float

    @property
    def usd(self) -> float:
        """Signed notional at mark."""
        return self.size * self.mark

    @property
    def underlying_size(self) -> float:
        """Signed, in coins of what it is about."""
        return self.size * self.instrument.multiplier


@dataclass(frozen=True, slots=True)
class Book:
    """Positions, and the equity of every wallet that they are in."""

    held: tuple[Held, ...]
    wallets: Mapping[str, float]

    @classmethod
    def of_account(
        cls,
        instruments: Sequence[Instrument],
        lots: LotsArray,
        mark: FloatArray,
        wallet_usd: Mapping[str, float] | None,
        equity_usd: float,
    ) -> Self | None:
        """What would be held at mark; None where the equity of several wallets is not told apart, or a price is missing."""
        held = tuple(
            Held(instruments[k], float(instruments[k].size(int(lots[k]))), float(mark[k]), float(mark[k]))
            for k in np.flatnonzero(lots).tolist()
        )
        named = {each.instrument.wallet for each in held}
        if (wallet_usd is None and len(named) > 1) or not all(each.mark > 0 for each in held):
            return None
        return cls(held, dict(wallet_usd) if wallet_usd is not None else dict.fromkeys(named, equity_usd))

    def of(self, wallet: str) -> tuple[Held, ...]:
        """The positions of a wallet."""
        return tuple(each for each in self.held if each.instrument.wallet == wallet)

    @property
    def equity_usd(self) -> float:
        return sum(self.wallets.values())


@dataclass(frozen=True, slots=True)
class Delta:
    """What a book is net long of one underlying."""

    underlying: str
    coins: float
    usd: float
    gross_usd: float


def deltas(held: Sequence[Held]) -> list[Delta]:
    """By underlying, the largest imbalance first."""
    found: dict[str, list[Held]] = {}
    for each in held:
        found.setdefault(each.instrument.underlying, []).append(each)
    return sorted(
        (
            Delta(
                name,
                sum(each.underlying_size for each in own),
                sum(each.usd for each in own),
                sum(abs(each.usd) for each in own),
            )
            for name, own in found.items()
        ),
        key=lambda delta: -abs(delta.usd),
    )


@dataclass(frozen=True, slots=True)
class Margin:
    """One wallet's margin, USD, and how far prices may move until it is called; inf where nothing can.

    `up` and `down` are relative moves of all its prices together. Spot balances have no margin.
    """

    wallet: str
    equity_usd: float
    gross_usd: float
    maintenance_usd: float
    up: float
    down: float


@dataclass(frozen=True, slots=True)
class Death:
    """Where one leg dies if its price moves alone: the mark, and the relative move; inf where none can do it."""

    name: str
    wallet: str
    price: float
    move: float
    adl_rank: float


def margins(book: Book) -> list[Margin]:
    """Of every wallet."""
    found = []
    for name, equity in book.wallets.items():
        own = book.of(name)
        on_margin = [each for each in own if each.instrument.kind is Kind.PERP]
        gross = sum(abs(each.usd) for each in own)

        def spare(move: float, own: Sequence[Held] = on_margin, equity: float = equity) -> float:
            return equity + sum(each.usd for each in own) * move - _maintenance(own, 1 + move)

        up, down = (_first(lambda m, s=sign: spare(s * m), far) for sign, far in ((1, 1e4), (-1, 1.0)))  # type: ignore[misc]
        if not on_margin:
            up = down = inf
        found.append(Margin(name, equity, gross, _maintenance(on_margin, 1.0), up, down))
    return found


def deaths(book: Book) -> list[Death]:
    """Of every perpetual leg, the nearest first."""
    found = []
    for each in book.held:
        if each.instrument.kind is not Kind.PERP or not each.size:
            continue
        wallet = each.instrument.wallet
        equity, own = book.wallets.get(wallet, 0.0), book.of(wallet)
        rest = sum(_maintenance([other], 1.0) for other in own if other is not each)
        side = 1 if each.size > 0 else -1

        def spare(
            move: float, one: Held = each, equity: float = equity, rest: float = rest, side: int = side
        ) -> float:
            return equity - abs(one.usd) * move - rest - _maintenance([one], 1 - side * move)

        move = _first(spare, 1.0 if side > 0 else 1e4)
        profit = side * (each.mark / each.entry - 1) if each.entry > 0 else 0.0
        rank = max(0.0, profit) * abs(each.usd) / equity if equity > 0 else 0.0
        price = each.mark * (1 - side * move) if move < inf else (0.0 if side > 0 else inf)
        found.append(Death(each.instrument.name, wallet, price, move, rank))
    return sorted(found, key=lambda death: death.move)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens: relative moves of prices by underlying (`""`: all), of single instruments beside that (a depeg), funding
    paid by longs at a rate per hour for some hours, and venues where nothing can be done meanwhile."""

    moves: Mapping[str, float]
    depegs: Mapping[str, float]
    funding_per_h: float = 0.0
    hours: float = 0.0
    down: frozenset[str] = frozenset()

    def move(self, instrument: Instrument) -> float:
        """The relative move of one instrument's price."""
        moved = self.moves.get(instrument.underlying, self.moves.get("", 0.0))
        return (1 + moved) * (1 + self.depegs.get(instrument.name, 0.0)) - 1


@dataclass(frozen=True, slots=True)
class Called:
    """A wallet that is liquidated on the way: how far along (0 … 1), at which marks, and with what it had then."""

    wallet: str
    at: float
    marks: Mapping[str, float]
    equity_usd: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario comes to. `after` is the book with what died taken out of it; `reachable` what could still be closed."""

    after: Book
    called: tuple[Called, ...]
    price_usd: float
    funding_usd: float
    lost_margin_usd: float
    reachable: tuple[Held, ...]
    stuck: tuple[Held, ...]


def play(book: Book, scenario: Scenario) -> Outcome:
    """Prices go in a straight line to where they end, funding is paid evenly on the way."""
    after, wallets, called = [], {}, []
    price = funding = lost = 0.0
    for name, equity in book.wallets.items():
        own = book.of(name)
        on_margin = [each for each in own if each.instrument.kind is Kind.PERP]
        moved = {each.instrument.name: scenario.move(each.instrument) for each in own}
        gain = sum(each.usd * moved[each.instrument.name] for each in own)
        # On average a position is worth the middle of where it begins and ends.
        paid = -sum(
            each.usd * (1 + moved[each.instrument.name] / 2) * scenario.funding_per_h * scenario.hours
            for each in on_margin
        )

        def spare(
            share: float,
            own: Sequence[Held] = on_margin,
            equity: float = equity,
            total: float = gain + paid,
            moved: Mapping[str, float] = moved,
        ) -> float:
            needed = sum(_maintenance([each], 1 + share * moved[each.instrument.name]) for each in own)
            return equity + share * total - needed

        at = _first(spare, 1.0) if on_margin else inf
        if at <= 1.0:
            left = equity + at * (gain + paid)
            marks = {each.instrument.name: each.mark * (1 + at * moved[each.instrument.name]) for each in own}
            called.append(Called(name, at, marks, left))
            price, funding, lost = price + at * gain, funding + at * paid, lost + left
            wallets[name] = 0.0
            continue
        price, funding = price + gain, funding + paid
        wallets[name] = equity + gain + paid
        after += [
            Held(each.instrument, each.size, each.entry, each.mark * (1 + moved[each.instrument.name]))
            for each in own
        ]
    stuck = tuple(each for each in after if each.instrument.venue in scenario.down)
    reachable = tuple(each for each in after if each.instrument.venue not in scenario.down)
    return Outcome(Book(tuple(after), wallets), tuple(called), price, funding, lost, reachable, stuck)


@dataclass(frozen=True, slots=True)
class Rescue:
    """What brings a wallet back to a wanted distance: money that a person moves there, or smaller positions."""

    wallet: str
    transfer_usd: float
    shrink_to: float


def rescues(book: Book, distance: float) -> list[Rescue]:
    """Of every wallet some price of which is nearer to a liquidation than `distance`."""
    found = []
    for name, equity in book.wallets.items():
        own = [each for each in book.of(name) if each.instrument.kind is Kind.PERP]

        def needed(scale: float, own: Sequence[Held] = own) -> float:
            return equity_needed_usd(own, distance, scale)

        if own and needed(1.0) > equity:
            low, high = 0.0, 1.0
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                low, high = (middle, high) if needed(middle) <= equity else (low, middle)
            found.append(Rescue(name, needed(1.0) - equity, low))
    return found


def equity_needed_usd(own: Sequence[Held], distance: float, scale: float = 1.0) -> float:
    """Equity with which the liquidation of each leg alone is at least so far away, if all were `scale` times as large."""
    most = 0.0
    for one in own:
        ratio = 1 + (distance if one.size < 0 else -distance)
        rest = _maintenance([other for other in own if other is not one], 1.0, scale)
        most = max(most, rest + _maintenance([one], ratio, scale) + scale * abs(one.usd) * distance)
    return most


def _maintenance(own: Sequence[Held], price_ratio: float, scale: float = 1.0) -> float:
    """Margin that positions need at so many times their mark, if they were `scale` times as large."""
    return sum(
        max(
            abs(each.usd) * scale * price_ratio * float(rate) - float(deduction)
            for _, rate, deduction in each.instrument.maintenance
        )
        for each in own
    )


def _first(spare: Callable[[float], float], far: float) -> float:
    """The first x from 0 to `far` at which what is spare is used up; inf where it never is.

    What is spare is a straight line less a convex one, so that it is used up once and stays so on that side.
    """
    if spare(0.0) <= 0:
        return 0.0
    if spare(far) > 0:
        return inf
    low, high = 0.0, far
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if spare(middle) > 0 else (low, middle)
    return high
