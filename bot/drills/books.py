"""The books of both sides, the daemon's journal and the exchange's own, and what is wrong between them.

What judges is pure: it takes two books and returns sentences, none where they agree. What reads them is below.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.model.attempt import MOVES, AttemptState
from bot.venues.hyperliquid.parse_orders import Ending, ending

NOT_FOUND_OUT: Final = (AttemptState.INTENT, AttemptState.SENT, AttemptState.UNKNOWN)
# Each is known by nothing but the venue's word or its trades.
MUST_BE_THERE: Final = (
    AttemptState.ACKED,
    AttemptState.PARTIAL,
    AttemptState.FILLED,
    AttemptState.CANCELED,
)
ENDINGS: Final = {
    AttemptState.ACKED: Ending.OPEN,
    AttemptState.PARTIAL: Ending.OPEN,
    AttemptState.FILLED: Ending.FILLED,
    AttemptState.CANCELED: Ending.CANCELED,  # filled in part or not at all: how far, the trades tell
    AttemptState.REJECTED: Ending.REJECTED,
}
"""What the venue calls an order of each state that it knows of."""
_FEW: Final = 3


@dataclass(frozen=True, slots=True)
class Books:
    """One side's word: trades, payments, what is held (in coins) and the fees in all."""

    fills: tuple[tuple[int, str, Decimal, Decimal, Decimal], ...]  # trade, coin, size, price, fee
    payments: tuple[tuple[int, str, Decimal], ...]  # time, coin, USD
    held: Mapping[str, Decimal]
    fees_usd: Decimal


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the journal says of an order that was sent: its name at the venue, our name, and where it stands."""

    cloid: str
    client_id: str
    state: AttemptState


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature by the signer's own log: for which process, of which orders."""

    pid: int
    orders: tuple[str, ...]


# Judging


def apart(journal: Books, exchange: Books) -> list[str]:
    """What the journal lost, doubled or got wrong. The exchange may have settled an hour more than the journal knows."""
    known_ms = max((time_ms for time_ms, _, _ in journal.payments), default=-1)
    paid = [row for row in exchange.payments if row[0] <= known_ms]
    return [
        *_counted("trade", journal.fills, exchange.fills),
        *_counted("funding payment", journal.payments, paid),
        *_held(journal.held, exchange.held),
        *(
            [f"fees of {journal.fees_usd} USD in the journal, {exchange.fees_usd} at the exchange"]
            if journal.fees_usd != exchange.fees_usd
            else []
        ),
    ]


def _counted(what: str, ours: Iterable[tuple[Any, ...]], theirs: Iterable[tuple[Any, ...]]) -> list[str]:
    mine, other = Counter(ours), Counter(theirs)
    lost, made_up = other - mine, mine - other
    return [
        *(f"the journal has not the {what} {_word(row)}" for row in list(lost)[:_FEW]),
        *(f"the exchange has not the {what} {_word(row)}" for row in list(made_up)[:_FEW]),
    ]


def _held(ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal]) -> list[str]:
    return [
        f"the journal holds {ours.get(coin, Decimal(0))} {coin}, the exchange {theirs.get(coin, Decimal(0))}"
        for coin in sorted({*ours, *theirs})
        if ours.get(coin, Decimal(0)) != theirs.get(coin, Decimal(0))
    ]


def _word(row: tuple[Any, ...]) -> str:
    return " ".join(map(str, row))


def misplaced(attempts: Sequence[Attempt], at_venue: Mapping[str, str]) -> list[str]:
    """Orders that are at the venue twice, without having been written down, or otherwise than the journal says.

    `at_venue`: status by cloid.
    """
    problems = []
    known = {attempt.cloid: attempt for attempt in attempts}
    placed = Counter(known[cloid].client_id for cloid in at_venue if cloid in known)
    problems += [f"order {name} is at the venue {count} times" for name, count in placed.items() if count > 1]
    problems += [
        f"the venue has order {cloid}, which the journal never wrote down"
        for cloid in at_venue
        if cloid not in known
    ]
    for attempt in attempts:
        status = at_venue.get(attempt.cloid)
        if attempt.state in NOT_FOUND_OUT:
            problems.append(f"what became of order {attempt.client_id} was not found out")
        elif attempt.state in MUST_BE_THERE and status is None:
            problems.append(
                f"the venue does not know order {attempt.client_id}, {attempt.state} in the journal"
            )
        elif status is not None and ending(status) not in _honest(attempt.state):
            problems.append(
                f"order {attempt.client_id} is {attempt.state} in the journal, {status} at the venue"
            )
    return problems


def _honest(state: AttemptState) -> set[Ending]:
    """What the venue may say of an order: the same, or what may follow, since it lives a moment longer than the journal.

    What has ended stays what it is, and what never came about is not there.
    """
    return {ENDINGS[each] for each in (state, *MOVES[state]) if each in ENDINGS}


def strangers(signed: Sequence[Signed], pids: Iterable[int]) -> list[str]:
    """Signatures that a process got which may have none."""
    allowed = set(pids)
    others = Counter(each.pid for each in signed if each.pid not in allowed)
    return [f"process {pid} got {count} signatures" for pid, count in others.items()]


def signed_twice(signed: Sequence[Signed]) -> list[str]:
    """Orders that were signed more than once under one name."""
    counts = Counter(cloid for each in signed for cloid in each.orders)
    return [f"order {cloid} was signed {count} times" for cloid, count in counts.items() if count > 1]


# Reading


def of_journal(path: Path) -> Books:
    """The daemon's, at rest or not."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        decimals = dict(connection.execute("SELECT name, size_decimals FROM instrument").fetchall())
        fills = connection.execute("SELECT trade_id, instrument, lots, price, fee_usd FROM fill").fetchall()
        paid = connection.execute("SELECT time_ms, instrument, usd FROM funding").fetchall()
        held = connection.execute("SELECT instrument, lots FROM position").fetchall()
        fees = connection.execute("SELECT fees_usd FROM equity ORDER BY time_ms DESC LIMIT 1").fetchone()

    def size(coin: str, lots: int) -> Decimal:
        return Decimal(lots).scaleb(-decimals[coin]).normalize()

    return Books(
        tuple((tid, coin, size(coin, lots), Decimal(price).normalize(), Decimal(fee).normalize())
              for tid, coin, lots, price, fee in fills),
        tuple((time_ms, coin, Decimal(usd).normalize()) for time_ms, coin, usd in paid),
        {coin: size(coin, lots) for coin, lots in held if lots},
        Decimal(fees[0]) if fees else Decimal(0),
    )  # fmt: skip


def attempts_of(path: Path) -> list[Attempt]:
    """What the journal says of every order that was sent."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT cloid, client_id, state FROM attempt ORDER BY rowid").fetchall()
    return [Attempt(cloid, client_id, AttemptState(state)) for cloid, client_id, state in rows]


def signed_in(log: Path) -> list[Signed]:
    """The signatures of a signer's audit log."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        if told["kind"] == "sign":
            found.append(Signed(told["pid"], tuple(order[5] for order in told["orders"] if order[5])))
    return found


def denied_in(log: Path, rule: str) -> dict[int, int]:
    """How often each process was refused by a rule, by the signer's audit log."""
    told = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return dict(
        Counter(each["pid"] for each in told if each.get("kind") == "deny" and each.get("rule") == rule)
    )
