"""Re-derives the ledger from the rows that were written down, by other means than those that wrote it, and says what differs.

Amounts are fractions here, so that no step rounds but where a venue does. Raw rows are what was told: fills, payments,
liquidations, transfers, equity. Only the opening, and what stands in suspense, are taken as booked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from bot.journal.funding_check import funding_check
from bot.journal.reader import Facts, Reader, Row, moment

MICROS: Final = 1_000_000
HALF_MICRO: Final = Fraction(1, 2 * MICROS)

# The raw row behind each entry, by kind; an entry of another kind has none.
_SOURCES: Final = {
    "fill": "SELECT CAST(trade_id AS TEXT) AS reference, * FROM fill",
    "funding": "SELECT time_ms || ':' || instrument AS reference, * FROM funding",
    "transfer": "SELECT * FROM transfer",
    "forfeit": "SELECT time_ms || ':' || instrument || ':' || kind || ':' || lots || ':' || price AS reference, *"
    " FROM liquidation WHERE forfeited_usd + 0 <> 0",
}


def verify(reader: Reader) -> Facts:
    """`differences`, each with what it is about, what the ledger says and what was derived; none if all is well.

    `funding` holds payments against what the position, the oracle price and the rate of each hour ask for.
    """
    walk = _Walk(reader)
    paid = funding_check(reader, walk.lots_at)
    counts = reader.one(
        "SELECT (SELECT count(*) FROM entry) AS entries, (SELECT count(*) FROM posting) AS postings,"
        " (SELECT count(*) FROM equity) AS cycles"
    )
    assert counts is not None
    differences = [
        *_unbalanced(reader),
        *walk.differences,
        *_balances(reader, walk.usd, walk.lots),
        *_venue(reader, walk),
        *_rows(reader),
        *_suspense(walk),
        *(row for row in paid.pop("wrong")),
    ]
    return {
        **moment("time", reader.last_ms),
        **counts,
        "is_right": not differences,
        "differences": differences,
        "funding": paid,
    }


class _Walk:
    """Goes through the entries in their order and does again, from the raw rows, what each did."""

    def __init__(self, reader: Reader) -> None:
        self.usd: dict[str, Fraction] = defaultdict(Fraction)
        self.lots: dict[str, int] = defaultdict(int)
        self.lots_at: dict[str, list[tuple[int, int]]] = defaultdict(list)  # coin → (time, change) as told
        self.differences: list[Facts] = []
        self.at_cycle: dict[int, dict[str, Fraction]] = {}  # cycle → totals at its end
        rows: dict[str, dict[str, Row]] = {
            kind: {row["reference"]: row for row in reader.each(query)} for kind, query in _SOURCES.items()
        }
        postings: dict[int, list[Row]] = defaultdict(list)
        for row in reader.each("SELECT * FROM posting"):
            postings[row["entry_id"]].append(row)
        for entry in reader.each("SELECT * FROM entry ORDER BY id"):
            kind, reference = entry["kind"], entry["reference"]
            if kind not in rows:
                self._as_booked(entry, postings[entry["id"]])
            elif reference in rows[kind]:
                getattr(self, f"_{kind}")(rows[kind].pop(reference))
            else:
                self._differs(f"{kind} {reference}", "is booked", "no such row")
            self.at_cycle[entry["cycle_ms"]] = dict(self.usd)
        for kind, left in rows.items():
            for reference in left:
                self._differs(f"{kind} {reference}", "is not booked", "there is such a row")

    def _differs(self, what: str, ledger: object, derived: object) -> None:
        self.differences.append(difference(what, ledger, derived))

    def _as_booked(self, entry: Row, postings: list[Row]) -> None:
        for posting in postings:
            self.usd[posting["account"]] += Fraction(posting["usd"])
            self._move(posting["account"], entry["time_ms"], posting["lots"])

    def _move(self, account: str, time_ms: int, lots: int) -> None:
        if lots:
            self.lots[account] += lots
            if account.startswith("POSITION:"):
                self.lots_at[account[9:]].append((time_ms, lots))

    def _fill(self, row: Row) -> None:
        coin, sign = row["instrument"], 1 if row["side"] == "buy" else -1
        position = f"POSITION:{coin}"
        traded, notional, fee = sign * row["lots"], Fraction(row["notional_usd"]), Fraction(row["fee_usd"])
        held = self.lots[position]
        # What of the trade closes, and what of it opens: the first takes its share of the cost with it.
        closing = min(abs(traded), abs(held)) if held * traded < 0 else 0
        proceeds = _to_micros(sign * notional * closing / abs(traded))
        cost = self.usd[position]
        leaving = (
            cost
            if closing == abs(held)
            else _to_micros(cost * closing / abs(held))
            if closing
            else Fraction(0)
        )
        if closing == 0:
            proceeds = leaving = Fraction(0)
        self.usd[position] += sign * notional - proceeds - leaving
        self.usd[f"REALISED:{coin}"] += proceeds + leaving
        self.usd[f"FEES:{coin}"] += fee
        self.usd["CASH"] -= sign * notional + fee
        self._move(position, row["time_ms"], traded)

    def _funding(self, row: Row) -> None:
        self.usd["CASH"] += Fraction(row["usd"])
        self.usd[f"FUNDING:{row['instrument']}"] -= Fraction(row["usd"])

    def _transfer(self, row: Row) -> None:
        self.usd["CASH"] += Fraction(row["usd"])
        self.usd["TRANSFERS"] -= Fraction(row["usd"])

    def _forfeit(self, row: Row) -> None:
        self.usd["CASH"] -= Fraction(row["forfeited_usd"])
        self.usd[f"FORFEITED:{row['instrument']}"] += Fraction(row["forfeited_usd"])


def difference(what: str, ledger: object, derived: object) -> Facts:
    """One thing that differs, its amounts as decimals."""
    return {"what": what, "ledger": _told(ledger), "derived": _told(derived)}


def _told(value: object) -> object:
    return Decimal(value.numerator) / Decimal(value.denominator) if isinstance(value, Fraction) else value


def _to_micros(value: Fraction) -> Fraction:
    return Fraction(round(value * MICROS), MICROS)


def _sums(rows: Iterator[Row], key: str) -> tuple[dict[Any, Fraction], dict[Any, int]]:
    usd: dict[Any, Fraction] = defaultdict(Fraction)
    lots: dict[Any, int] = defaultdict(int)
    for row in rows:
        usd[row[key]] += Fraction(row["usd"])
        lots[row[key]] += row["lots"]
    return usd, lots


def _unbalanced(reader: Reader) -> Iterator[Facts]:
    """Entries whose postings do not sum to 0."""
    usd, _ = _sums(reader.each("SELECT * FROM posting"), "entry_id")
    names = {row["id"]: f"{row['kind']} {row['reference']}" for row in reader.each("SELECT * FROM entry")}
    for number, total in usd.items():
        if total:
            yield difference(f"sum of entry {number}, {names.get(number, 'which is missing')}", total, 0)
    for number, name in names.items():
        if number not in usd:
            yield difference(f"entry {number}, {name}", "has no postings", "has some")


def _balances(reader: Reader, derived: Mapping[str, Fraction], lots: Mapping[str, int]) -> Iterator[Facts]:
    """Balances against the sums of postings, and these against what the raw rows come to."""
    posted, posted_lots = _sums(reader.each("SELECT * FROM posting"), "account")
    balance, balance_lots = _sums(reader.each("SELECT * FROM balance"), "account")
    for account in sorted({*posted, *balance, *derived}):
        told = ((balance, posted, "sum of postings"), (posted, derived, "raw rows"))
        for ledger, other, name in told:
            if ledger.get(account, 0) != other.get(account, 0):
                yield difference(
                    f"{account} against the {name}", ledger.get(account, 0), Fraction(other.get(account, 0))
                )
        if not balance_lots.get(account, 0) == posted_lots.get(account, 0) == lots.get(account, 0):
            yield difference(f"lots of {account}", balance_lots.get(account, 0), lots.get(account, 0))


def _venue(reader: Reader, walk: _Walk) -> Iterator[Facts]:
    """What the venue said at each cycle's end, against what the raw rows come to by then."""
    positions = {row["instrument"]: row for row in reader.each("SELECT * FROM position")}
    coins = {account[9:] for account, lots in walk.lots.items() if account.startswith("POSITION:") and lots}
    value = Fraction(0)
    for coin in sorted({*positions, *coins}):
        row = positions.get(coin)
        lots = walk.lots.get(f"POSITION:{coin}", 0)
        if lots != (row["lots"] if row else 0):
            yield difference(f"lots of {coin} against the venue's", lots, row["lots"] if row else 0)
        if row:
            value += Fraction(row["mark"]) * row["lots"] / 10 ** row["size_decimals"]
    if reader.last is not None:
        equity = Fraction(reader.last["equity_usd"])
        if abs(walk.usd["CASH"] + value - equity) > HALF_MICRO:
            yield difference("equity against the venue's", walk.usd["CASH"] + value, equity)
    cycles = sorted(walk.at_cycle)
    for row in reader.each("SELECT * FROM equity ORDER BY time_ms"):
        # A cycle in which nothing was booked leaves the totals as they were.
        before = bisect_right(cycles, row["time_ms"])
        totals = walk.at_cycle[cycles[before - 1]] if before else {}
        equity, price, paid, fees = (
            Fraction(row[name]) for name in ("equity_usd", "price_pnl_usd", "funding_pnl_usd", "fees_usd")
        )
        told = {"FUNDING": -paid, "FEES": fees, "TRANSFERS": -(equity - price - paid + fees)}
        for name, amount in told.items():
            suspended = totals.get(f"SUSPENSE:{name.lower()}", Fraction(0))
            booked = suspended + sum(
                usd for account, usd in totals.items() if account.partition(":")[0] == name
            )
            if booked != amount:
                yield difference(f"{name} at {moment('at', row['time_ms'])['at']}", booked, amount)


def _rows(reader: Reader) -> Iterator[Facts]:
    """Raw rows that contradict themselves: what a trade was worth is its size at its price."""
    for row in reader.each("SELECT * FROM fill"):
        decimals = reader.size_decimals.get(row["instrument"])
        if decimals is not None:
            worth = _to_micros(Fraction(row["price"]) * row["lots"] / 10**decimals)
            if worth != Fraction(row["notional_usd"]):
                yield difference(f"worth of trade {row['trade_id']}", Fraction(row["notional_usd"]), worth)


def _suspense(walk: _Walk) -> Iterator[Facts]:
    for account, usd in sorted(walk.usd.items()):
        if account.startswith("SUSPENSE:") and (usd or walk.lots.get(account)):
            what = f"{account}, which the venue states and nothing explains"
            if walk.lots.get(account):
                what += f" ({-walk.lots[account]:+,} lots)"
            yield difference(what, -usd, 0)
