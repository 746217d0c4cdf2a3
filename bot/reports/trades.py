"""Turns a run's fills into round trips: from flat to flat, each with its price, funding and fee result and its reason.

The books are exact: over all round trips, price, funding and fees add up to the run's own totals to the last digit.
A fill that turns a position around is split in two, its fee and value pro rata, the remainder going to the second part.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from operator import attrgetter

from bot.errors import DataError
from bot.model.money import ZERO, usd
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side
from bot.reports.record import Note, RunRecord

HOUR_MS = 3_600_000
_AVERAGE = Context(prec=12)  # an average price is read, not booked

#: What is said of an exit that no strategy asked for.
_OWN_WORDS: Mapping[str, str] = {
    "stop": "the stop was reached",
    "take_profit": "the take-profit was reached",
    "settlement": "closed at the last price: delisting, or the end of the data",
    "liquidation": "the venue liquidated it: margin fell below maintenance",
}


@dataclass(frozen=True, slots=True)
class Trade:
    """One position from flat to flat. Open ones are valued at the run's final mark; `fees_usd` paid is above 0.

    `entry_price` and `exit_price` are averages over all that was added and all that was taken off.
    `exit_purpose` is the last fill's purpose, "flip" where it opened the other side, "open" while there is none.
    """

    instrument: str
    side: Side
    opened_ms: int
    closed_ms: int | None
    lots_max: int
    entry_price: Decimal
    exit_price: Decimal | None
    price_usd: Decimal
    funding_usd: Decimal
    fees_usd: Decimal
    hours: float  # held; up to the run's end while open
    fills: int
    exit_purpose: str
    because: str
    because_exit: str

    @property
    def net_usd(self) -> Decimal:
        return self.price_usd + self.funding_usd - self.fees_usd

    @property
    def is_open(self) -> bool:
        return self.closed_ms is None


@dataclass(slots=True)
class _Holding:
    """A round trip while it is being put together."""

    side: Side
    opened_ms: int
    lots: int = 0  # signed
    lots_max: int = 0
    bought_lots: int = 0  # added, of either side
    bought_usd: Decimal = ZERO
    sold_lots: int = 0  # taken off
    sold_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    forfeited_usd: Decimal = ZERO
    fills: int = 0
    closed_ms: int | None = None
    exit_purpose: str = "open"

    def add(self, lots: int, notional_usd: Decimal, fee_usd: Decimal) -> None:
        self.lots += lots * self.side.sign
        self.lots_max = max(self.lots_max, abs(self.lots))
        self.bought_lots += lots
        self.bought_usd += notional_usd
        self.fees_usd += fee_usd
        self.fills += 1

    def take_off(self, lots: int, notional_usd: Decimal, fee_usd: Decimal) -> None:
        self.lots -= lots * self.side.sign
        self.sold_lots += lots
        self.sold_usd += notional_usd
        self.fees_usd += fee_usd
        self.fills += 1


def _fold(holdings: list[_Holding], fill: Fill) -> None:
    """Take a fill into the holding that is open, opening or closing one where it does."""
    held = holdings[-1] if holdings and holdings[-1].lots else None
    if held is None or held.side is fill.side:
        if held is None:
            held = _Holding(fill.side, fill.time_ms)
            holdings.append(held)
        held.add(fill.lots, fill.notional_usd, fill.fee_usd)
        return
    closing = min(fill.lots, abs(held.lots))
    opening = fill.lots - closing
    if opening == 0:
        held.take_off(closing, fill.notional_usd, fill.fee_usd)
    else:
        notional_usd = usd(fill.notional_usd * closing / fill.lots)
        fee_usd = usd(fill.fee_usd * closing / fill.lots)
        held.take_off(closing, notional_usd, fee_usd)
        turned = _Holding(fill.side, fill.time_ms)
        turned.add(opening, fill.notional_usd - notional_usd, fill.fee_usd - fee_usd)
        holdings.append(turned)
    if held.lots == 0:
        held.closed_ms = fill.time_ms
        purpose = Purpose.EXIT if fill.purpose is Purpose.ENTRY else fill.purpose
        held.exit_purpose = "flip" if opening and purpose is Purpose.EXIT else purpose.value


def _paid_at(lots: int, fills: Sequence[Fill], following: int, payment: FundingPayment) -> int:
    """Up to which fill the books must be before a payment: so far that the position is the one that was paid on.

    Who held over the instant pays, so a payment comes before the fills of its own moment, unless only a later
    position of that moment has the payment's size.
    """
    ahead = following
    while lots != payment.lots and ahead < len(fills) and fills[ahead].time_ms == payment.time_ms:
        lots += fills[ahead].signed_lots
        ahead += 1
    return ahead if lots == payment.lots else following


def _holdings(instrument: str, fills: Sequence[Fill], payments: Sequence[FundingPayment]) -> list[_Holding]:
    """All round trips of one instrument; fills and payments in time order."""
    holdings: list[_Holding] = []
    following = 0
    for payment in payments:
        while following < len(fills) and fills[following].time_ms < payment.time_ms:
            _fold(holdings, fills[following])
            following += 1
        lots = holdings[-1].lots if holdings else 0
        if lots != payment.lots:
            upto = _paid_at(lots, fills, following, payment)
            for fill in fills[following:upto]:
                _fold(holdings, fill)
            following = upto
        if not holdings:
            raise DataError(
                f"{instrument} was paid funding at {payment.time_ms} ms before its first fill; the run's record is incomplete"
            )
        holdings[-1].funding_usd += payment.usd
    for fill in fills[following:]:
        _fold(holdings, fill)
    return holdings


def _forfeit(holdings: Sequence[_Holding], liquidation: Liquidation) -> None:
    """Charge margin lost to a backstop to the round trip that it ended."""
    if not holdings:
        raise DataError(
            f"{liquidation.instrument} was liquidated without a fill; the run's record is incomplete"
        )
    ended = [h for h in holdings if h.closed_ms == liquidation.time_ms and h.exit_purpose == "liquidation"]
    before = [h for h in holdings if h.opened_ms <= liquidation.time_ms]
    (ended or before or list(holdings))[-1].forfeited_usd += liquidation.forfeited_usd


class _Reasons:
    """The notes of one instrument, found by time."""

    def __init__(self, notes: Iterable[Note]) -> None:
        self._notes = sorted(notes, key=attrgetter("time_ms"))
        self._times = [note.time_ms for note in self._notes]

    def latest(self, after_ms: int, until_ms: int, side: Side | None) -> str:
        """What was said last in (after, until]; of several at one moment, who speaks loudest for `side`."""
        end = bisect_right(self._times, until_ms)
        if end == 0 or self._times[end - 1] <= after_ms:
            return ""
        start = bisect_right(self._times, self._times[end - 1] - 1)
        sign = side.sign if side else 0
        return max(self._notes[start:end], key=lambda note: note.score * sign).because


def _exit_reason(held: _Holding, reasons: _Reasons) -> str:
    if held.closed_ms is None:
        return ""
    if held.exit_purpose in _OWN_WORDS:
        said = reasons.latest(held.closed_ms - 1, held.closed_ms, None)
        return said or _OWN_WORDS[held.exit_purpose]
    return reasons.latest(held.opened_ms, held.closed_ms, held.side.opposite)


def position_value_usd(instrument: str, lots: int, record: RunRecord) -> Decimal:
    """Signed value of an open position at the run's final mark, unrounded as in the account's equity."""
    mark = record.final_marks.get(instrument)
    if mark is None:
        raise DataError(f"{instrument} is still open but has no final mark; the run's record is incomplete")
    return lots * mark / record.lots_per_coin[instrument]


def _trade(instrument: str, held: _Holding, record: RunRecord, reasons: _Reasons, previous_ms: int) -> Trade:
    sign = held.side.sign
    price_usd = sign * (held.sold_usd - held.bought_usd) - held.forfeited_usd
    if held.lots:
        price_usd += position_value_usd(instrument, held.lots, record)
    per_coin = record.lots_per_coin[instrument]
    ended_ms = int(record.curves.times_ms[-1]) if held.closed_ms is None else held.closed_ms
    exit_price = (
        _AVERAGE.divide(held.sold_usd * per_coin, Decimal(held.sold_lots)) if held.sold_lots else None
    )
    return Trade(
        instrument=instrument,
        side=held.side,
        opened_ms=held.opened_ms,
        closed_ms=held.closed_ms,
        lots_max=held.lots_max,
        entry_price=_AVERAGE.divide(held.bought_usd * per_coin, Decimal(held.bought_lots)).normalize(),
        exit_price=None if exit_price is None or held.closed_ms is None else exit_price.normalize(),
        price_usd=price_usd,
        funding_usd=held.funding_usd,
        fees_usd=held.fees_usd,
        hours=max(0, ended_ms - held.opened_ms) / HOUR_MS,
        fills=held.fills,
        exit_purpose=held.exit_purpose,
        because=reasons.latest(previous_ms, held.opened_ms, held.side),
        because_exit=_exit_reason(held, reasons),
    )


def round_trips(record: RunRecord) -> list[Trade]:
    """All round trips of a run in the order they were opened, those still open included.

    Sums over them equal `record.price_usd`, `funding_usd` and `fees_usd` exactly.
    Raises DataError if a payment has no position, or an open position no final mark.
    """
    by_time = attrgetter("time_ms")
    fills: dict[str, list[Fill]] = defaultdict(list)
    payments: dict[str, list[FundingPayment]] = defaultdict(list)
    notes: dict[str, list[Note]] = defaultdict(list)
    losses: dict[str, list[Liquidation]] = defaultdict(list)
    for fill in sorted(record.fills, key=by_time):
        fills[fill.instrument].append(fill)
    for payment in sorted(record.payments, key=by_time):
        payments[payment.instrument].append(payment)
    for note in record.notes:
        notes[note.instrument].append(note)
    for liquidation in record.liquidations:
        if liquidation.forfeited_usd:
            losses[liquidation.instrument].append(liquidation)
    trades: list[Trade] = []
    for instrument in {**fills, **payments, **losses}:
        holdings = _holdings(instrument, fills[instrument], payments[instrument])
        for liquidation in losses[instrument]:
            _forfeit(holdings, liquidation)
        reasons = _Reasons(notes[instrument])
        previous_ms = -1
        for held in holdings:
            trades.append(_trade(instrument, held, record, reasons, previous_ms))
            previous_ms = held.opened_ms
    return sorted(trades, key=attrgetter("opened_ms"))
