"""What the risk rules look at: the book in USD, with what is still in flight counted on its worse side.

A resting order may fill at any moment, or not at all, and a cancel may come too late. So a book is never measured as
if only the fills came that help it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.model.decision import BoolArray, LotsArray, Opinion, Targets
from bot.model.instrument import Kind
from bot.model.panel import FloatArray
from bot.model.rows import largest, total
from bot.pipeline.mandate import Mandate
from bot.pipeline.placing import PROTECTIVE
from bot.pipeline.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Exposure:
    """A book in USD: `usd` signed per instrument, and its net if all in flight fills upward, and downward."""

    usd: FloatArray
    long: float
    short: float

    @property
    def gross(self) -> float:
        return float(np.abs(self.usd).sum())

    @property
    def net(self) -> float:
        """The larger imbalance, whichever its side."""
        return max(self.long, -self.short)


@dataclass(slots=True)
class Load:
    """The book as wanted, in USD: each position's size, gross, net, and the largest. Made anew for every review, so not frozen."""

    by_instrument: FloatArray
    gross: float
    net: float
    largest: float


@dataclass(slots=True)
class Case:
    """What the rules look at, worked out once: prices for every column that has one, exposure still in flight.

    Made anew for every review, so not frozen.
    """

    snapshot: Snapshot
    mandate: Mandate
    targets: Targets
    opinions: Sequence[Opinion]
    held: LotsArray
    price: FloatArray  # USD per lot; the entry price where no mark is known now, 0 where nothing is
    equity: float
    buying: LotsArray | None  # lots of resting orders that could still open, per side; None: no such order
    selling: LotsArray | None
    wanted: Load

    @classmethod
    def of(cls, targets: Targets, opinions: Sequence[Opinion], snapshot: Snapshot, mandate: Mandate) -> Case:
        market, account = snapshot.market, snapshot.account
        price, all_fresh = market.usd_per_lot, market.all_fresh
        if not all_fresh:
            price = np.where(market.priced, price, account.entry_price / market.prepared.lots_per_coin)
        buying, selling = _in_flight(snapshot) if account.open_orders else (None, None)
        if buying is None and all_fresh:
            usd = targets.lots * price
            net = abs(total(usd))
        else:
            book = _exposure(targets.lots, price, account.lots, buying, selling)
            usd, net = book.usd, book.net
        gross = np.abs(usd)
        wanted = Load(gross, total(gross), net, largest(gross))
        return cls(
            snapshot,
            mandate,
            targets,
            opinions,
            account.lots,
            price,
            account.equity_usd,
            buying,
            selling,
            wanted,
        )

    def exposure(self, lots: LotsArray) -> Exposure:
        """The book if `lots` were held, or what resting orders could make of it where that is worse."""
        return _exposure(lots, self.price, self.held, self.buying, self.selling)

    def standing(self, lots: LotsArray) -> Exposure:
        """The book if `lots` were held and nothing were in flight."""
        return _exposure(lots, self.price, self.held, None, None)

    def own_margin(self, lots: LotsArray, backing: FloatArray) -> FloatArray:
        """What would back each isolated position if `lots` were held, 0 on cross margin.

        What stays keeps its share of `backing`, the account's `isolated_usd`; what is added brings its initial margin.
        """
        held, wanted = np.abs(self.held), np.abs(lots)
        kept = np.where(lots * np.sign(self.held) > 0, np.minimum(held, wanted), 0)
        added = _usd(wanted - kept, self.price) / self.snapshot.account.leverage
        share = np.divide(kept, held, out=np.zeros_like(added), where=held > 0)
        return np.where(np.isnan(backing), 0.0, np.nan_to_num(backing) * share + added)

    @property
    def wallets(self) -> tuple[tuple[BoolArray, float, bool], ...]:
        """Of each wallet: the columns that are traded with it, its equity, and whether it is one of spot balances."""
        equities = self.snapshot.account.wallet_usd
        instruments = self.snapshot.market.instruments
        if equities is None:
            return ((np.ones(len(instruments), dtype=np.bool_), self.equity, False),)
        owners = {each.wallet: each.kind is Kind.SPOT for each in instruments}
        return tuple(
            (np.array([each.wallet == name for each in instruments]), equities.get(name, 0.0), is_spot)
            for name, is_spot in owners.items()
        )

    def fits(self, lots: LotsArray, load: float, room: float) -> bool:
        """Whether the book as first wanted is within a limit already, so that a rule need not look closer.

        Rules before it can only have shrunk the book; but a hedge that shrank may have left a larger net.
        """
        return load <= room and lots is self.targets.lots

    def names(self, columns: BoolArray) -> list[str]:
        instruments = self.snapshot.market.prepared.panel.instruments
        return [instruments[column] for column in np.flatnonzero(columns)]


def _in_flight(snapshot: Snapshot) -> tuple[LotsArray, LotsArray] | tuple[None, None]:
    """Lots of open orders that could still open a position, bought and sold; None where there is no such order."""
    account, names = snapshot.account, snapshot.market.prepared.panel.instruments
    opening = [
        report
        for report in account.open_orders
        if not report.order.reduce_only and report.order.purpose not in PROTECTIVE
    ]
    if not opening:
        return None, None
    buying, selling = np.zeros_like(account.lots), np.zeros_like(account.lots)
    for report in opening:
        side = buying if report.order.signed_lots > 0 else selling
        side[names.index(report.order.instrument)] += report.remaining_lots
    return buying, selling


def _exposure(
    lots: LotsArray, price: FloatArray, held: LotsArray, buying: LotsArray | None, selling: LotsArray | None
) -> Exposure:
    if buying is None or selling is None:
        value = _usd(lots, price)
        net = float(value.sum())
        return Exposure(value, net, net)
    moving = buying + selling > 0
    long = np.where(moving, np.maximum(lots, held + buying), lots)
    short = np.where(moving, np.minimum(lots, held - selling), lots)
    # The larger of the two; where neither is larger than what is wanted, that.
    worse = np.where(np.abs(long) > np.abs(short), long, short)
    worse = np.where(np.abs(worse) > np.abs(lots), worse, lots)
    return Exposure(_usd(worse, price), float(_usd(long, price).sum()), float(_usd(short, price).sum()))


def _usd(lots: LotsArray, price: FloatArray) -> FloatArray:
    # A column without any price yet holds nothing; NaN × 0 must not spread.
    value: FloatArray = np.where(lots != 0, lots * price, 0.0)
    return value
