"""Funding that was paid against funding that was due: the position at the settlement × oracle price × rate, hour by hour."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Final

from bot.clock import HOUR_MS, utc
from bot.journal.reader import Facts, Reader, Row

MICROS: Final = 1_000_000
SMALL_USD: Final = Fraction(1, 10)
LARGEST_DEVIATION: Final = Fraction(1, 20)
"""How far a payment may be off what the market's oracle price asks for: venue and market are read at different moments."""


def funding_check(reader: Reader, moves: Mapping[str, Sequence[tuple[int, int]]]) -> Facts:
    """Sums of what was due and what was paid, `rows` for each hour and coin where the two are not the same.

    `moves` has (time, change of lots) by coin. Where the journal has no settlement of an hour and coin, the payment's own
    price and rate are taken; an hour without either is counted in `unknown`. `wrong` are the rows that can't be right.
    """
    paid = {(_hour(row["time_ms"]), row["instrument"]): row for row in reader.each("SELECT * FROM funding")}
    settled = {
        (_hour(row["time_ms"]), row["instrument"]): row for row in reader.each("SELECT * FROM settlement")
    }
    held = {coin: _Held(changes) for coin, changes in moves.items()}
    last_ms = reader.last_ms or 0
    due_total = paid_total = Fraction(0)
    rows: list[Facts] = []
    wrong: list[Facts] = []
    unknown = 0
    hours = {(hour, coin) for coin, each in held.items() for hour in each.hours(last_ms)}
    for hour, coin in sorted(hours | paid.keys()):
        payment, market = paid.get((hour, coin)), settled.get((hour, coin))
        terms = market or payment
        lots = held[coin].at(hour) if coin in held else set()
        size = payment["lots"] if payment else next(iter(lots)) if len(lots) == 1 else None
        decimals = reader.size_decimals.get(coin)
        if terms is None or size is None or decimals is None:
            unknown += 1
            continue
        due = _due(size, decimals, terms)
        got = Fraction(payment["usd"]) if payment else Fraction(0)
        due_total, paid_total = due_total + due, paid_total + got
        why = _why(payment, market, lots, due, got, decimals)
        if due != got or why:
            rows.append(_row(hour, coin, due, got, why))
        if why:
            what = f"funding of {coin} at {utc(hour * HOUR_MS)}: {why}"
            wrong.append({"what": what, "ledger": _number(got), "derived": _number(due)})
    return {
        "hours": len(hours | paid.keys()),
        "unknown": unknown,
        "due_usd": _number(due_total),
        "paid_usd": _number(paid_total),
        "difference_usd": _number(paid_total - due_total),
        "rows": rows,
        "wrong": wrong,
    }


def _why(
    payment: Row | None, market: Row | None, lots: set[int], due: Fraction, got: Fraction, decimals: int
) -> str:
    """What can't be right about a payment, or about there being none; empty if nothing."""
    if payment is None:
        return "it was due and never told" if due else ""
    if payment["lots"] not in lots:
        return f"paid on {payment['lots']:+,} lots, held were {' or '.join(f'{each:+,}' for each in sorted(lots))}"
    own = _due(payment["lots"], decimals, payment)
    # A small payment is rounded too much to tell its oracle price, which is then one that was read a little later.
    if abs(own - got) > max(
        abs(own) * LARGEST_DEVIATION if abs(got) < SMALL_USD else Fraction(0), Fraction(1, MICROS)
    ):
        return "it is not its own size × oracle × rate"
    if market is not None and abs(due - got) > max(abs(due) * LARGEST_DEVIATION, Fraction(1, MICROS)):
        return "it is far from what the market's oracle price and rate ask for"
    return ""


def _due(lots: int, decimals: int, terms: Row) -> Fraction:
    """Longs pay shorts where the rate is positive."""
    exact = -lots * Fraction(terms["oracle"]) * Fraction(terms["rate_per_hour"]) / 10**decimals
    return Fraction(round(exact * MICROS), MICROS)


class _Held:
    """Lots of one coin over time."""

    def __init__(self, changes: Sequence[tuple[int, int]]) -> None:
        ordered = sorted(changes, key=lambda change: change[0])
        self._times = [time_ms for time_ms, _ in ordered]
        self._lots = [0, *accumulate(lots for _, lots in ordered)]

    def at(self, hour: int) -> set[int]:
        """What may have been held at the settlement: what happened in the very millisecond may be before or after it."""
        first, last = (find(self._times, hour * HOUR_MS) for find in (bisect_left, bisect_right))
        return set(self._lots[first : last + 1])

    def hours(self, last_ms: int) -> list[int]:
        """Hours before `last_ms` at whose settlement something was certainly held."""
        begun = range(-(-self._times[0] // HOUR_MS), -(-last_ms // HOUR_MS)) if self._times else range(0)
        return [hour for hour in begun if 0 not in self.at(hour)]


def _hour(time_ms: int) -> int:
    """The settlement that a payment belongs to, whatever milliseconds it is late."""
    return round(time_ms / HOUR_MS)


def _row(hour: int, coin: str, due: Fraction, got: Fraction, why: str) -> Facts:
    return {
        "time": utc(hour * HOUR_MS),
        "time_ms": hour * HOUR_MS,
        "coin": coin,
        "due_usd": _number(due),
        "paid_usd": _number(got),
        "difference_usd": _number(got - due),
        "wrong": why or None,
    }


def _number(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
