"""Funding that was paid against funding that was due: the position at the settlement × oracle price × rate, hour by hour.

Three accounts that know nothing of each other: the position from the fills, rate and oracle price from the market as it
was seen, and the payment as the venue told it.
"""

from __future__ import annotations

import json
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import isfinite, nan
from typing import Final

from bot.clock import HOUR_MS, utc
from bot.journal.reader import Facts, Reader, Row
from bot.model.funding import CAP_PER_H

MICROS: Final = 1_000_000
SMALL_USD: Final = Fraction(1, 10)
RATE_DIGITS: Final = Fraction(1, 10**9)
"""Venues print rates with ten decimals."""

LARGEST_DEVIATION: Final = Fraction(1, 20)
"""How far a payment may be off what the market's oracle price asks for: venue and market are read at different moments."""


def funding_check(reader: Reader, moves: Mapping[str, Sequence[tuple[int, int]]]) -> Facts:
    """Sums of what was due and what was paid, `rows` for each hour and coin where the two are not the same.

    `moves` has (time, change of lots) by coin. What is due is reckoned with the market's rate and, since that is read at
    another moment than the venue's, with the payment's own oracle price where the market's is near it. `unseen` are the
    payments of hours of which the market was not seen, so that nothing but the size could be checked; an hour with neither
    is counted in `unknown`, and so is one whose rate is known and whose oracle price is not. `unverified` has the coins of
    which no hour could be reckoned for want of that, with their hours: whether these are right is not known. A payment of the last hour may still come: `pending`. `wrong` are the rows that can't be right.
    """
    paid = {(_hour(row["time_ms"]), row["instrument"]): row for row in reader.each("SELECT * FROM funding")}
    settled = _seen(reader)
    held = {coin: _Held(changes) for coin, changes in moves.items()}
    last_ms = reader.last_ms or 0
    due_total = paid_total = Fraction(0)
    rows: list[Facts] = []
    wrong: list[Facts] = []
    unknown = unseen = pending = 0
    blind, reckoned = Counter[str](), set[str]()
    hours = {(hour, coin) for coin, each in held.items() for hour in each.hours(last_ms)}
    for hour, coin in sorted(hours | paid.keys()):
        payment, market = paid.get((hour, coin)), settled.get((hour, coin))
        if payment is None and (hour + 1) * HOUR_MS > last_ms:
            pending += 1
            continue
        if market is not None and market["oracle"] is None:
            if payment is None and not Fraction(market["rate"]):
                continue  # nothing was due, whatever the price
            unknown, blind[coin] = unknown + 1, blind[coin] + 1
            decimals = reader.size_decimals.get(coin)
            if payment is not None and decimals is not None:
                # By its own oracle price, which nobody else has told: size and rate can be wrong all the same.
                own, got = {**market, "oracle": payment["oracle"]}, Fraction(payment["usd"])
                due = _due(payment["lots"], decimals, own)
                if why := _why(
                    payment, own, held[coin].at(hour) if coin in held else set(), due, got, decimals
                ):
                    wrong.append(_wrong(hour, coin, why, got, due))
            continue
        unseen += market is None and payment is not None
        terms = _terms(payment, market)
        lots = held[coin].at(hour) if coin in held else set()
        size = payment["lots"] if payment else next(iter(lots)) if len(lots) == 1 else None
        decimals = reader.size_decimals.get(coin)
        if terms is None or size is None or decimals is None:
            unknown += 1
            continue
        reckoned.add(coin)
        due = _due(size, decimals, terms)
        got = Fraction(payment["usd"]) if payment else Fraction(0)
        due_total, paid_total = due_total + due, paid_total + got
        why = _why(payment, market, lots, due, got, decimals)
        if due != got or why:
            rows.append(_row(hour, coin, due, got, why))
        if why:
            wrong.append(_wrong(hour, coin, why, got, due))
    return {
        "hours": len(hours | paid.keys()),
        "unknown": unknown,
        "unseen": unseen,
        "unverified": {coin: hours for coin, hours in sorted(blind.items()) if coin not in reckoned},
        "pending": pending,
        "due_usd": _number(due_total),
        "paid_usd": _number(paid_total),
        "difference_usd": _number(paid_total - due_total),
        "rows": rows,
        "wrong": wrong,
    }


def _seen(reader: Reader) -> dict[tuple[int, str], Row]:
    """Rate and oracle price of each hour and coin, as far as the market was seen; None for an oracle price that was not."""
    found: dict[tuple[int, str], Row] = {}
    for row in reader.each("SELECT * FROM market"):
        coins, fields = _fields(row["content"])
        hourly = fields.get("funding_rate")
        if hourly is None:
            continue
        oracles = fields.get("oracle", array("d", [nan]) * len(coins))
        settled = fields.get("settled_funding", hourly)
        for coin, at_once, an_hour, oracle in zip(coins, settled, hourly, oracles, strict=True):
            rate = at_once if isfinite(at_once) else an_hour
            if isfinite(rate):
                capped = max(-CAP_PER_H, min(CAP_PER_H, rate))
                known = repr(oracle) if oracle > 0 else None
                found[_hour(row["time_ms"]), coin] = {"oracle": known, "rate": repr(capped)}
    return found


def _wrong(hour: int, coin: str, why: str, got: Fraction, due: Fraction) -> Facts:
    what = f"funding of {coin} at {utc(hour * HOUR_MS)}: {why}"
    return {"what": what, "ledger": _number(got), "derived": _number(due)}


def _fields(content: bytes) -> tuple[list[str], dict[str, array[float]]]:
    """A row as `bot.journal.market` wrote it, read without numpy: looking into a journal has to be quick."""
    length = int.from_bytes(content[:4], "big")
    coins, names = json.loads(content[4 : 4 + length])
    values = array("d", zlib.decompress(content[4 + length :]))
    width = len(coins)
    return coins, {name: values[k * width : (k + 1) * width] for k, name in enumerate(names)}


def _terms(payment: Row | None, market: Row | None) -> Row | None:
    """What the payment is reckoned with."""
    if payment is None or market is None:
        return market or payment
    near = abs(Fraction(payment["oracle"]) / Fraction(market["oracle"]) - 1) <= LARGEST_DEVIATION
    return {"oracle": (payment if near else market)["oracle"], "rate": market["rate"]}


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
    if market is not None and abs(Fraction(payment["rate"]) - Fraction(market["rate"])) > RATE_DIGITS:
        return f"its rate is {payment['rate']}, the market's was {market['rate']}"
    if market is not None and abs(due - got) > max(abs(due) * LARGEST_DEVIATION, Fraction(1, MICROS)):
        return "it is far from what the market's oracle price and rate ask for"
    return ""


def _due(lots: int, decimals: int, terms: Row) -> Fraction:
    """Longs pay shorts where the rate is positive."""
    exact = -lots * Fraction(terms["oracle"]) * Fraction(terms["rate"]) / 10**decimals
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
