"""The books by double entry: every fill, payment, transfer and forfeit moves money between accounts and none into thin air.

    CASH            what is there, positions bought subtracted     POSITION:coin    lots held, and what they cost
    REALISED:coin   profit of what was closed                      FUNDING:coin     received and paid
    FEES:coin       paid to the venue                              FORFEITED:coin   margin that a liquidator kept
    TRANSFERS       brought in and taken out                       SUSPENSE:part    what the venue says and nothing explains

Postings of an entry sum to 0, exactly. An account of ours that grows is > 0, so income stands negative: what was earned
is owed to the owner. Then, whatever happened,

    equity = CASH + Σ lots × mark = −TRANSFERS − Σ REALISED − Σ FUNDING − Σ FEES − Σ FORFEITED − Σ SUSPENSE + unrealised

and each cycle's end is held against the venue's own word. What differs is booked to SUSPENSE, so that it is seen, and
so that the next difference is told by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, Final, Self

from bot.errors import StateError
from bot.model.money import ZERO, usd
from bot.model.order import Fill, FundingPayment, Liquidation, Transfer

CASH: Final = "CASH"
TRANSFERS: Final = "TRANSFERS"
PARTS: Final = ("price", "funding", "fees", "transfers")
LOTS: Final = "lots"
"""SUSPENSE:lots:coin has the lots that the venue says are held and no fill explains."""
UNEXPLAINED: Final = (LOTS, "suspense")
"""The kinds of entries that book what the venue says and nothing explains."""


@dataclass(frozen=True, slots=True)
class Posting:
    """What one entry does to one account."""

    account: str
    usd: Decimal
    lots: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `reference` tells it from others of its kind. ValueError where it does not sum to 0."""

    time_ms: int
    kind: str
    reference: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        total = sum((posting.usd for posting in self.postings), ZERO)
        if total:
            raise ValueError(
                f"the postings of {self.kind} {self.reference} sum to {total}, they must sum to 0"
            )


@dataclass(frozen=True, slots=True)
class Holding:
    """A position by the venue's word: signed lots, and what one is worth at its mark."""

    lots: int
    lot_usd: Decimal

    @classmethod
    def at(cls, lots: int, mark: Decimal, size_decimals: int) -> Self:
        """At a mark price per coin."""
        return cls(lots, mark.scaleb(-size_decimals))

    @property
    def usd(self) -> Decimal:
        """What all of it is worth; negative for a short."""
        return self.lots * self.lot_usd


@dataclass(frozen=True, slots=True)
class Stated:
    """The account by the venue's word, totals since the books were opened: fees paid > 0."""

    time_ms: int
    equity_usd: Decimal
    price_usd: Decimal
    funding_usd: Decimal
    fees_usd: Decimal
    held: Mapping[str, Holding]

    @property
    def transfers_usd(self) -> Decimal:
        """What was brought in, the opening balance included, less what was taken out."""
        return self.equity_usd - self.price_usd - self.funding_usd + self.fees_usd


@dataclass(frozen=True, slots=True)
class Drift:
    """What the venue says and nothing explains, as its effect on equity: a part in dollars, or a coin's lots."""

    part: str
    usd: Decimal
    coin: str = ""
    lots: int = 0


@dataclass(slots=True)
class Books:
    """The accounts' balances: `usd` and `lots` by name. Built from entries alone."""

    usd: dict[str, Decimal] = field(default_factory=dict)
    lots: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """The books from rows with `account`, `usd` as text, and `lots`. StateError where they are not what was written."""
        books = cls()
        try:
            for row in rows:
                books.usd[row["account"]] = Decimal(row["usd"])
                if row["lots"]:
                    books.lots[row["account"]] = row["lots"]
            with localcontext(prec=100):
                total = sum(books.usd.values(), ZERO)
        except ArithmeticError:
            total = Decimal("NaN")
        if total != 0:
            raise StateError(
                f"the journal's balances are not what was written: they sum to {total} instead of 0; restore a copy of the "
                f"file, or close what the account holds and start a new journal"
            )
        return books

    def copy(self) -> Books:
        """The same, to go on from without touching these."""
        return Books(dict(self.usd), dict(self.lots))

    def book(self, entry: Entry) -> Entry:
        """Take an entry in."""
        for posting in entry.postings:
            self.usd[posting.account] = self.usd.get(posting.account, ZERO) + posting.usd
            if posting.lots:
                self.lots[posting.account] = self.lots.get(posting.account, 0) + posting.lots
        return entry

    # What happened, as entries

    def open(
        self, time_ms: int, deposits_usd: Decimal, equity_usd: Decimal, held: Mapping[str, Holding]
    ) -> Entry:
        """The account as it is found: what is held is taken in at its mark, so that profit counts from here.

        What positions have gained since `deposits_usd` was read, up to `equity_usd`, is taken off their cost.
        """
        costs = {coin: each.usd for coin, each in held.items()}
        if costs:
            largest = max(costs, key=lambda coin: (abs(costs[coin]), coin))
            costs[largest] -= equity_usd - deposits_usd
        cash = deposits_usd - sum(costs.values(), ZERO)
        positions = [Posting(f"POSITION:{coin}", costs[coin], each.lots) for coin, each in held.items()]
        opening = (Posting(CASH, cash), *positions, Posting(TRANSFERS, -deposits_usd))
        return self.book(Entry(time_ms, "opening", "", opening))

    def fill(self, fill: Fill) -> Entry:
        """A trade: cash for lots and their fee, and the profit of what it closed at its average cost."""
        paid = fill.notional_usd if fill.signed_lots > 0 else -fill.notional_usd
        profit = self._closed_usd(fill.instrument, fill.signed_lots, paid)
        postings = (
            Posting(CASH, -paid - fill.fee_usd),
            Posting(f"POSITION:{fill.instrument}", paid + profit, fill.signed_lots),
            Posting(f"REALISED:{fill.instrument}", -profit),
            Posting(f"FEES:{fill.instrument}", fill.fee_usd),
        )
        return self.book(Entry(fill.time_ms, "fill", f"{fill.trade_id}:{fill.instrument}", postings))

    def _closed_usd(self, coin: str, traded: int, paid: Decimal) -> Decimal:
        """Profit that a trade of signed `traded` lots for the signed amount `paid` closes, to the millionth."""
        account = f"POSITION:{coin}"
        held, cost = self.lots.get(account, 0), self.usd.get(account, ZERO)
        if held * traded >= 0:
            return ZERO
        if abs(traded) < abs(held):
            return -paid - usd(cost * -traded / held)
        return usd(paid * held / traded) - cost

    def payment(self, payment: FundingPayment) -> Entry:
        """Funding received or paid."""
        reference = f"{payment.time_ms}:{payment.instrument}"
        postings = (Posting(CASH, payment.usd), Posting(f"FUNDING:{payment.instrument}", -payment.usd))
        return self.book(Entry(payment.time_ms, "funding", reference, postings))

    def transfer(self, transfer: Transfer) -> Entry:
        """Money brought in or taken out."""
        postings = (Posting(CASH, transfer.usd), Posting(TRANSFERS, -transfer.usd))
        return self.book(Entry(transfer.time_ms, "transfer", transfer.reference, postings))

    def forfeit(self, event: Liquidation) -> Entry:
        """Margin that went to a liquidator; what was closed is told by fills."""
        reference = f"{event.time_ms}:{event.instrument}:{event.kind}:{event.lots}:{event.price}"
        postings = (
            Posting(CASH, -event.forfeited_usd),
            Posting(f"FORFEITED:{event.instrument}", event.forfeited_usd),
        )
        return self.book(Entry(event.time_ms, "forfeit", reference, postings))

    # Against the venue's word

    def compare(self, stated: Stated) -> tuple[list[Entry], list[Drift]]:
        """Book what the venue says and nothing explains to SUSPENSE; lots first, so that values are of the same lots."""
        entries, drifts = [], []
        coins = sorted({*stated.held, *(name[9:] for name in self.lots if name.startswith("POSITION:"))})
        for coin in coins:
            entry = self._compare_lots(stated, coin)
            if entry is not None:
                moved = entry.postings[1]
                entries.append(self.book(entry))
                drifts.append(Drift(LOTS, -moved.usd, coin, -moved.lots))
        parts = self.parts(stated.held)
        told = {
            "price": stated.price_usd,
            "funding": stated.funding_usd,
            "fees": -stated.fees_usd,
            "transfers": stated.transfers_usd,
        }
        postings: list[Posting] = []
        for part in PARTS:
            # All that is booked is in whole millionths; less than half of one is how the venue rounds its sum.
            missing = usd(told[part] - parts[part])
            if missing:
                postings += [Posting(f"SUSPENSE:{part}", -missing)]
                drifts.append(Drift(part, missing))
        if postings:
            cash = -sum((posting.usd for posting in postings), ZERO)
            reference = str(stated.time_ms)
            entry = Entry(stated.time_ms, "suspense", reference, (Posting(CASH, cash), *postings))
            entries.append(self.book(entry))
        return entries, drifts

    def _compare_lots(self, stated: Stated, coin: str) -> Entry | None:
        held, found = f"POSITION:{coin}", stated.held.get(coin)
        lots = self.lots.get(held, 0)
        missing = (0 if found is None else found.lots) - lots
        if not missing:
            return None
        suspended = f"SUSPENSE:{LOTS}:{coin}"
        value = self._value_of(missing, suspended, held, found)
        # A position that is gone takes all of its cost with it.
        rest = self.usd.get(held, ZERO) + value if lots + missing == 0 else ZERO
        postings = [Posting(held, value - rest, missing), Posting(suspended, -value, -missing)]
        if rest:
            postings.append(Posting(f"REALISED:{coin}", rest))
        return Entry(stated.time_ms, LOTS, f"{stated.time_ms}:{coin}", tuple(postings))

    def _value_of(self, missing: int, suspended: str, held: str, found: Holding | None) -> Decimal:
        """What unexplained lots are taken in at: what they were given up at where they were, else the mark, else cost."""
        value, owed = ZERO, self.lots.get(suspended, 0)
        if owed * missing > 0:  # some of what was unexplained has been explained since
            back = min(abs(owed), abs(missing)) * (1 if missing > 0 else -1)
            value = self.usd[suspended] if back == owed else usd(self.usd[suspended] * back / owed)
            missing -= back
        if missing and found is not None:
            value += missing * found.lot_usd
        elif missing and self.lots.get(held):
            value += self.usd[held] * missing / self.lots[held]
        return value

    # Sums

    def parts(self, held: Mapping[str, Holding]) -> dict[str, Decimal]:
        """The account's totals as their effect on equity, what is in suspense included; held lots at `held`."""
        sums = {part: -self.usd.get(f"SUSPENSE:{part}", ZERO) for part in PARTS}
        sums["transfers"] -= self.usd.get(TRANSFERS, ZERO)
        for coin in self.coins():
            for part, amount in self.of_coin(coin, held).items():
                sums[part] += amount
        for account in self.usd:
            if account.startswith(f"SUSPENSE:{LOTS}:"):
                sums["price"] -= self.usd[account]
        return sums

    def of_coin(self, coin: str, held: Mapping[str, Holding]) -> dict[str, Decimal]:
        """What a coin has brought: price, funding, fees, as their effect on equity."""
        names = ("REALISED", "FORFEITED", "FUNDING", "FEES")
        realised, forfeited, funding, fees = (-self.usd.get(f"{name}:{coin}", ZERO) for name in names)
        value = held[coin].usd if coin in held else ZERO
        unrealised = value - self.usd.get(f"POSITION:{coin}", ZERO)
        return {"price": realised + forfeited + unrealised, "funding": funding, "fees": fees}

    def coins(self) -> list[str]:
        """Every coin that an account is kept for."""
        own = ("POSITION:", "REALISED:", "FORFEITED:", "FUNDING:", "FEES:")
        return sorted({name.partition(":")[2] for name in self.usd if name.startswith(own)})

    def suspense(self) -> dict[str, Decimal]:
        """What nothing explains, part by part, as its effect on equity; unexplained lots count as price."""
        parts = {part: -self.usd.get(f"SUSPENSE:{part}", ZERO) for part in PARTS}
        for account, amount in self.usd.items():
            if account.startswith(f"SUSPENSE:{LOTS}:"):
                parts["price"] -= amount
        return parts

    def unexplained_lots(self) -> dict[str, int]:
        """Signed lots by coin that are held and that no fill explains."""
        name = f"SUSPENSE:{LOTS}:"
        return {
            account[len(name) :]: -lots
            for account, lots in self.lots.items()
            if lots and account.startswith(name)
        }
