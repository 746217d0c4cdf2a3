"""What is expected of a spread when it is opened, and what it may cost: written down then, held against what came of it.

All rates are fractions of the primary leg's notional over the hold in mind. What a strategy does not state is not known, and
stays so: nothing is put in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

import numpy as np

from bot.model.decision import AccountView, Decision, LotsArray, Opinion
from bot.model.funding import HOURS_PER_YEAR
from bot.model.instrument import Instrument, Kind
from bot.model.panel import FloatArray
from bot.model.spread import Spread
from bot.pipeline.joint import Book, Scenario, deaths, play
from bot.pipeline.mandate import Mandate

BEYOND = 1 + 1e-6
"""By so much a price goes further than where a leg dies, so that it does."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a strategy says of a spread: funding expected over `hold_h`, on its way back to usual with a half-life of
    `half_life_h`, against a `cost` that is made of getting in and out of both legs, a basis less favourable than usual
    and a premium for what it may still do; `hurdle` is what must be left. None: not stated.
    """

    expected: float | None = None
    cost: float | None = None
    hold_h: float | None = None
    half_life_h: float | None = None
    round_trip: float | None = None
    poor_basis: float | None = None
    basis_premium: float | None = None
    hurdle: float | None = None

    @classmethod
    def of(cls, opinion: Opinion, column: int) -> Self:
        """Of one instrument, as far as the opinion says it: the edge, and values of these names."""
        names = [each.name for each in fields(cls) if each.name != "expected"]
        edge = opinion.edge
        return cls(
            None if edge is None else _number(edge[column]),
            **{name: _said(opinion, name, column) for name in names},
        )

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """From JSON values; what a later program added is passed over."""
        return cls(**{each.name: told.get(each.name) for each in fields(cls)})

    def usd(self, rate: float | None, notional_usd: float) -> float | None:
        """A rate in dollars."""
        return None if rate is None else rate * notional_usd


UNSAID = Stated()


@dataclass(frozen=True, slots=True)
class Worst:
    """What a leg's liquidation costs, its coin moving alone and nothing being left of its wallet.

    `price` is the mark at which it comes; None where its own margin is all that it can lose.
    """

    leg: str
    price: float | None
    loss_usd: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """A spread as a decision opens it: what was stated, at which notional of the primary leg, with how much capital tied
    (margin of both legs, spot in full), and the worst that either leg can do; empty where the wallets are not known.
    """

    decision_id: str
    strategy: str
    spread: str
    legs: tuple[str, str]
    side: str
    notional_usd: float
    tied_usd: float
    stated: Stated
    worst: tuple[Worst, ...] = ()

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """From JSON values."""
        return cls(
            told["decision"],
            told["strategy"],
            told["spread"],
            (told["legs"][0], told["legs"][1]),
            told["side"],
            told["notional_usd"],
            told["tied_usd"],
            Stated.read(told["stated"]),
            tuple(Worst(each["leg"], each["price"], each["loss_usd"]) for each in told["worst"]),
        )

    @property
    def return_on_tied(self) -> float | None:
        """A year, after costs, on the capital tied; None where one of its parts is not stated."""
        said = self.stated
        if said.expected is None or said.cost is None or not said.hold_h or not self.tied_usd > 0:
            return None
        gain_usd = (said.expected - said.cost) * self.notional_usd
        return gain_usd / self.tied_usd * HOURS_PER_YEAR / said.hold_h

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "decision": self.decision_id,
            "strategy": self.strategy,
            "spread": self.spread,
            "legs": list(self.legs),
            "side": self.side,
            "notional_usd": self.notional_usd,
            "tied_usd": self.tied_usd,
            "return_on_tied": self.return_on_tied,
            "stated": asdict(self.stated),
            "worst": [asdict(each) for each in self.worst],
        }


def sheets(
    decision: Decision,
    account: AccountView,
    mark: FloatArray,
    instruments: Sequence[Instrument],
    mandate: Mandate,
) -> list[Sheet]:
    """Of each spread that a decision opens, or turns."""
    names = [each.name for each in instruments]
    found = []
    for slot, opinion in zip(mandate.strategies, decision.opinions, strict=True):
        for spread in slot.spreads:
            columns = [names.index(leg.name) for leg in spread.legs]
            wanted, held = (int(lots[columns[0]]) for lots in (decision.allowed.lots, account.lots))
            is_new = spread.steps(held) == 0 or held * wanted < 0
            if spread.steps(wanted) == 0 or not is_new or not (mark[columns] > 0).all():
                continue
            usd = [
                abs(float(leg.size(int(decision.allowed.lots[k]))) * mark[k])
                for leg, k in zip(spread.legs, columns, strict=True)
            ]
            tied = sum(
                value if leg.kind is Kind.SPOT else value / float(account.leverage[k])
                for value, leg, k in zip(usd, spread.legs, columns, strict=True)
            )
            found.append(
                Sheet(
                    decision.snapshot_id,
                    slot.name,
                    spread.name,
                    (spread.primary.name, spread.hedge.name),
                    "short" if wanted < 0 else "long",
                    usd[0],
                    float(tied),
                    Stated.of(opinion, columns[0]),
                    worst(spread, decision.allowed.lots, account, mark, instruments),
                )
            )
    return found


def worst(
    spread: Spread, lots: LotsArray, account: AccountView, mark: FloatArray, instruments: Sequence[Instrument]
) -> tuple[Worst, ...]:
    """What the liquidation of either leg costs once `lots` are held of all instruments; empty where it is not known."""
    names, found = [each.name for each in instruments], []
    isolated = account.isolated_usd
    for leg in spread.legs:
        k = names.index(leg.name)
        if isolated is not None and not np.isnan(isolated[k]):
            margin = abs(float(leg.size(int(lots[k]))) * float(mark[k])) / float(account.leverage[k])
            found.append(Worst(leg.name, None, margin))
    if found or isolated is not None:
        return tuple(found)
    book = Book.of_account(instruments, lots, mark, account.wallet_usd, account.equity_usd)
    if book is None:
        return ()
    legs = {leg.name: leg for leg in spread.legs}
    for death in deaths(book):
        if death.name not in legs or not isfinite(death.move):
            continue
        side = 1 if death.price > float(mark[names.index(death.name)]) else -1
        outcome = play(book, Scenario({legs[death.name].underlying: side * death.move * BEYOND}, {}))
        found.append(Worst(death.name, death.price, book.equity_usd - outcome.after.equity_usd))
    return tuple(found)


def _said(opinion: Opinion, name: str, column: int) -> float | None:
    try:
        return _number(opinion.values[name][column])
    except Exception:  # noqa: BLE001 - a plugin's value, or none of that name; nothing is traded on it
        return None


def _number(value: Any) -> float | None:
    return float(value) if isfinite(value) else None
