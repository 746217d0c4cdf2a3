"""Re-derives the ledger from the rows that were written down, by other means than those that wrote it, and says what differs.

Amounts are whole numbers here, of 10⁻⁴⁰ dollars, so that no step rounds but where a venue does. Raw rows are what was told: fills, payments,
liquidations, transfers, equity. Only the opening, and what stands in suspense, are taken as booked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from typing import Any, Final

from bot.clock import utc
from bot.journal.funding_check import funding_check
from bot.journal.reader import Facts, Reader, Row, moment

DIGITS: Final = 40
MICRO: Final = 10 ** (DIGITS - 6)
_WIDE: Final = Context(prec=200)

# The raw row behind each entry, by kind; an entry of another kind has none.
_SOURCES: Final = {
    "fill": "SELECT trade_id || ':' || instrument AS reference, * FROM fill",
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
        self.usd: dict[str, int] = defaultdict(int)
        self.lots: dict[str, int] = defaultdict(int)
        self.lots_at: dict[str, list[tuple[int, int]]] = defaultdict(list)  # coin → (time, change) as told
        self.differences: list[Facts] = []
        self._totals = dict.fromkeys(("FUNDING", "FEES", "TRANSFERS"), 0)  # what is in suspense included
        self.at_cycle: dict[int, dict[str, int]] = {}  # cycle → these at its end
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
            self.at_cycle[entry["cycle_ms"]] = dict(self._totals)
        for kind, left in rows.items():
            for reference in left:
                self._differs(f"{kind} {reference}", "is not booked", "there is such a row")

    def _differs(self, what: str, ledger: object, derived: object) -> None:
        self.differences.append(difference(what, ledger, derived))

    def _as_booked(self, entry: Row, postings: list[Row]) -> None:
        for posting in postings:
            self._add(posting["account"], _units(posting["usd"]))
            self._move(posting["account"], entry["time_ms"], posting["lots"])

    def _add(self, account: str, units: int) -> None:
        self.usd[account] += units
        name, _, part = account.partition(":")
        total = part.upper() if name == "SUSPENSE" else name
        if total in self._totals:
            self._totals[total] += units

    def _move(self, account: str, time_ms: int, lots: int) -> None:
        if lots:
            self.lots[account] += lots
            if account.startswith("POSITION:"):
                self.lots_at[account[9:]].append((time_ms, lots))

    def _fill(self, row: Row) -> None:
        coin, sign = row["instrument"], 1 if row["side"] == "buy" else -1
        position = f"POSITION:{coin}"
        traded, notional, fee = sign * row["lots"], _units(row["notional_usd"]), _units(row["fee_usd"])
        held = self.lots[position]
        # What of the trade closes, and what of it opens: the first takes its share of the cost with it.
        closing = min(abs(traded), abs(held)) if held * traded < 0 else 0
        cost = self.usd[position]
        proceeds = leaving = 0
        if closing:
            proceeds = _to_micros(sign * notional * closing, abs(traded))
            leaving = cost if closing == abs(held) else _to_micros(cost * closing, abs(held))
        self._add(position, sign * notional - proceeds - leaving)
        self._add(f"REALISED:{coin}", proceeds + leaving)
        self._add(f"FEES:{coin}", fee)
        self._add("CASH", -sign * notional - fee)
        self._move(position, row["time_ms"], traded)

    def _funding(self, row: Row) -> None:
        self._add("CASH", _units(row["usd"]))
        self._add(f"FUNDING:{row['instrument']}", -_units(row["usd"]))

    def _transfer(self, row: Row) -> None:
        self._add("CASH", _units(row["usd"]))
        self._add("TRANSFERS", -_units(row["usd"]))

    def _forfeit(self, row: Row) -> None:
        self._add("CASH", -_units(row["forfeited_usd"]))
        self._add(f"FORFEITED:{row['instrument']}", _units(row["forfeited_usd"]))


def difference(what: str, ledger: object, derived: object) -> Facts:
    """One thing that differs."""
    return {"what": what, "ledger": ledger, "derived": derived}


def _in_usd(what: str, ledger: int, derived: int) -> Facts:
    return difference(what, _dollars(ledger), _dollars(derived))


def _units(text: str) -> int:
    return int(Decimal(text).scaleb(DIGITS, _WIDE))


def _dollars(units: int) -> Decimal:
    return Decimal(units).scaleb(-DIGITS, _WIDE).normalize(_WIDE)


def _to_micros(numerator: int, denominator: int = 1) -> int:
    """A quotient to whole millionths of a dollar, a half to the even one."""
    micros, rest = divmod(numerator, denominator * MICRO)
    twice = 2 * rest - denominator * MICRO
    return (micros + (twice > 0 or (twice == 0 and micros % 2 == 1))) * MICRO


def _sums(rows: Iterator[Row], key: str) -> tuple[dict[Any, int], dict[Any, int]]:
    usd: dict[Any, int] = defaultdict(int)
    lots: dict[Any, int] = defaultdict(int)
    for row in rows:
        usd[row[key]] += _units(row["usd"])
        lots[row[key]] += row["lots"]
    return usd, lots


def _unbalanced(reader: Reader) -> Iterator[Facts]:
    """Entries whose postings do not sum to 0."""
    usd, _ = _sums(reader.each("SELECT * FROM posting"), "entry_id")
    names = {row["id"]: f"{row['kind']} {row['reference']}" for row in reader.each("SELECT * FROM entry")}
    for number, total in usd.items():
        if total:
            yield _in_usd(f"sum of entry {number}, {names.get(number, 'which is missing')}", total, 0)
    for number, name in names.items():
        if number not in usd:
            yield difference(f"entry {number}, {name}", "has no postings", "has some")


def _balances(reader: Reader, derived: Mapping[str, int], lots: Mapping[str, int]) -> Iterator[Facts]:
    """Balances against the sums of postings, and these against what the raw rows come to."""
    posted, posted_lots = _sums(reader.each("SELECT * FROM posting"), "account")
    balance, balance_lots = _sums(reader.each("SELECT * FROM balance"), "account")
    for account in sorted({*posted, *balance, *derived}):
        told = ((balance, posted, "sum of postings"), (posted, derived, "raw rows"))
        for ledger, other, name in told:
            if ledger.get(account, 0) != other.get(account, 0):
                yield _in_usd(f"{account} against the {name}", ledger.get(account, 0), other.get(account, 0))
        if not balance_lots.get(account, 0) == posted_lots.get(account, 0) == lots.get(account, 0):
            yield difference(f"lots of {account}", balance_lots.get(account, 0), lots.get(account, 0))


def _venue(reader: Reader, walk: _Walk) -> Iterator[Facts]:
    """What the venue said at each cycle's end, against what the raw rows come to by then."""
    positions = {row["instrument"]: row for row in reader.each("SELECT * FROM position")}
    coins = {account[9:] for account, lots in walk.lots.items() if account.startswith("POSITION:") and lots}
    value = 0
    for coin in sorted({*positions, *coins}):
        row = positions.get(coin)
        lots = walk.lots.get(f"POSITION:{coin}", 0)
        if lots != (row["lots"] if row else 0):
            yield difference(f"lots of {coin} against the venue's", lots, row["lots"] if row else 0)
        if row:
            value += _units(row["mark"]) * row["lots"] // 10 ** row["size_decimals"]
    if reader.last is not None:
        equity = _units(reader.last["equity_usd"])
        if 2 * abs(walk.usd["CASH"] + value - equity) > MICRO:
            yield _in_usd("equity against the venue's", walk.usd["CASH"] + value, equity)
    cycles = sorted(walk.at_cycle)
    for row in reader.each("SELECT * FROM equity ORDER BY time_ms"):
        # A cycle in which nothing was booked leaves the totals as they were.
        before = bisect_right(cycles, row["time_ms"])
        totals = walk.at_cycle[cycles[before - 1]] if before else {}
        equity, price, paid, fees = (
            _units(row[name]) for name in ("equity_usd", "price_pnl_usd", "funding_pnl_usd", "fees_usd")
        )
        told = {"FUNDING": -paid, "FEES": fees, "TRANSFERS": -(equity - price - paid + fees)}
        for name, amount in told.items():
            if totals.get(name, 0) != amount:
                yield _in_usd(f"{name} at {utc(row['time_ms'])}", totals.get(name, 0), amount)


def _rows(reader: Reader) -> Iterator[Facts]:
    """Raw rows that contradict themselves: what a trade was worth is its size at its price."""
    for row in reader.each("SELECT * FROM fill"):
        decimals = reader.size_decimals.get(row["instrument"])
        if decimals is not None:
            worth = _to_micros(_units(row["price"]) * row["lots"], 10**decimals)
            if worth != _units(row["notional_usd"]):
                yield _in_usd(f"worth of trade {row['trade_id']}", _units(row["notional_usd"]), worth)


def _suspense(walk: _Walk) -> Iterator[Facts]:
    for account, usd in sorted(walk.usd.items()):
        if account.startswith("SUSPENSE:") and (usd or walk.lots.get(account)):
            what = f"{account}, which the venue states and nothing explains"
            if walk.lots.get(account):
                what += f" ({-walk.lots[account]:+,} lots)"
            yield _in_usd(what, -usd, 0)
