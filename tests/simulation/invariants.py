"""What must hold whatever happens, checked after every event from the outside: venue, journal file and audit log.

Nothing here uses the code that it checks: rows are read with plain SQL, money is added up anew, the audit chain and the
names of orders are hashed again by their definitions.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.devnet.records import UserRecords, WireOrder
from bot.devnet.world import World
from bot.trader.trader import Trader
from tests.simulation import ending, restored
from tests.simulation.money import Money
from tests.simulation.notes import Notes, Violation
from tests.simulation.pairs import Apart, SpotSide
from tests.simulation.permission import Permission
from tests.simulation.signatures import Signatures

NETWORK: Final = "devnet"
OWN: Final = "0xb001"
FINAL: Final = frozenset({"filled", "canceled", "rejected", "fenced", "expired"})
NEVER_AT_VENUE: Final = frozenset({"fenced", "expired"})
EVIDENCE: Final = {
    "filled": {"reply", "status", "fills"},
    "canceled": {"reply", "status"},
    "rejected": {"reply", "status", "not_sent"},
    "fenced": {"fence"},
    "expired": {"expiry"},
}
_ATTEMPTS: Final = (
    "SELECT attempt.rowid, cloid, nonce, client_id, state, evidence, lots, epoch, expires_ms, coin, side, price,"
    " reduce_only FROM attempt JOIN action USING (nonce)"
)
_ALL: Final = f"{_ATTEMPTS} ORDER BY attempt.rowid"
_NEW: Final = f"{_ATTEMPTS} WHERE attempt.rowid > ? ORDER BY attempt.rowid"
_ONE: Final = f"{_ATTEMPTS} WHERE cloid = ?"


@dataclass(frozen=True, slots=True)
class Written:
    """An attempt as the journal holds it durably."""

    cloid: str
    nonce: int
    client_id: str
    state: str
    evidence: Mapping[str, Any]
    lots: int
    epoch: int
    number: int  # among the attempts of its order
    asked: tuple[str, bool, Decimal, bool]  # coin, whether it buys, price, whether it only reduces

    @property
    def proof(self) -> str | None:
        """By what its state is known."""
        return self.evidence.get("proof")

    @property
    def is_final(self) -> bool:
        """Whether nothing more can become of it."""
        return self.state in FINAL


class Watch:
    """Told of every event of a run; its notes say what was wrong."""

    def __init__(
        self,
        world: World,
        account: str,
        notes: Notes,
        signatures: Signatures,
        now_ms: Callable[[], int],
        most_usd: Decimal,
        legs: Mapping[str, str],
        watch_s: float,
        *,
        is_had: bool,
    ) -> None:
        self.world, self.account, self.notes = world, account, notes
        self.signatures = signatures
        self.permission = Permission(notes, now_ms)
        self.trader: Trader | None = None  # of the life that is lived
        self.gets_all_it_wants = True  # and no signer's budget is in between
        self._most_usd = most_usd
        self._durable: dict[str, Written] = {}
        self._open: set[str] = set()  # cloids
        self._siblings: dict[str, list[str]] = defaultdict(list)  # client id → cloids
        self._client_ids: dict[str, str] = {}  # by cloid
        self.spot = SpotSide(world, account)
        self.apart = Apart(self.spot, legs, notes, lambda: now_ms() / 1000, watch_s, is_had=is_had)
        self.money = Money(world, account, notes, self._client_ids, self.spot)
        self._latest_row = 0
        self._at_venue: dict[str, list[int]] = defaultdict(list)  # cloid → order ids
        self._latest_order = 0
        self._left: Counter[str] = Counter()  # cloid → how many bodies with it have left
        self._payloads: dict[int, bytes] = {}  # nonce → what but a noop was sent with it
        self._cycles = 0
        self._epoch = 0
        self._is_new_life = True

    @property
    def violations(self) -> list[Violation]:
        """What was wrong, in order."""
        return self.notes.violations

    def violate(self, invariant: str, found: str) -> None:
        """Write a violation down."""
        self.notes.violate(invariant, found)

    def counts(self) -> dict[str, int]:
        """How often each invariant was checked, and what there was to check it on."""
        states = Counter(each.state for each in self._durable.values())
        return {
            **self.notes.checked,
            **{f"attempts {state}": n for state, n in states.items()},
            "cycles": self._cycles,
        }

    # Actions

    def leaves(self, body: bytes) -> None:
        """An action is about to leave this computer."""
        told, must = json.loads(body), self.notes.must
        action, nonce = told["action"], told["nonce"]
        known = nonce in self.signatures.nonces or action["type"] == "noop"
        must(known, "I11", f"nonce {nonce} is in no line of the audit log")
        if action["type"] != "noop":
            before = self._payloads.setdefault(nonce, body)
            must(before == body, "I9", f"two payloads have nonce {nonce}")
        for order in action.get("orders", ()):
            cloid = str(order.get("c"))
            must(cloid.startswith(OWN), "I18", f"an order leaves with cloid {cloid}")
            must(cloid in self._durable, "I2", f"{cloid} leaves and is not in the journal")
            self._left[cloid] += 1
            must(self._left[cloid] == 1, "I1", f"{cloid} was sent {self._left[cloid]} times")
            if (written := self._durable.get(cloid)) is not None:
                self._as_written(written, order)

    def _as_written(self, written: Written, order: Mapping[str, Any]) -> None:
        """What leaves is what was written down, and allowed."""
        coin, buys, price, reduces = written.asked
        # The wire has no word for a sale on spot that only reduces; every one does.
        told = (order["b"], Decimal(order["p"]), not order["b"] if self.spot.is_spot(coin) else order["r"])
        size = Decimal(order["s"]) * 10 ** self.spot.decimals(coin)
        same = told == (buys, price, reduces) and size == written.lots
        self.notes.must(same, "I2", f"{written.cloid} leaves as {order} and is {written} in the journal")
        if not told[2]:
            self.permission.leaves(written.client_id)

    def arrived(self, body: bytes, answer: bytes) -> None:
        """The venue has carried an action out, or not."""
        told = json.loads(body)
        action = told["action"]
        for order in action.get("orders", ()):
            self._arrived(str(order.get("c")))
        marks = self.world.exchange.marks
        for coin, position in self.world.exchange.accounts[self.account].positions.items():
            value = abs(position.notional_usd(marks[coin]))
            bound = self._most_usd * Decimal("1.05")
            self.notes.must(value <= bound, "I13", f"{value:.0f} USD of {coin} are held")
        self.apart.look()
        if action["type"] == "noop" and b'"status":"ok"' in answer:
            self.signatures.fenced(told["nonce"])
        self.signatures.reserve(self.records.open_orders())

    @property
    def records(self) -> UserRecords:
        """What the venue knows of the account."""
        return self.world.records(self.account)

    def venue_orders(self) -> Mapping[str, list[WireOrder]]:
        """Every order that the venue still knows, by its name."""
        found: dict[str, list[WireOrder]] = defaultdict(list)
        for order in self.records.orders.values():
            if order.cloid is not None:
                found[order.cloid].append(order)
        return found

    def _named(self, cloid: str) -> list[WireOrder]:
        """The venue's orders of one name; it numbers them in the order in which they come."""
        orders = self.records.orders
        fresh = []
        for order in reversed(orders.values()):
            if order.order_id <= self._latest_order:
                break
            fresh.append(order)
        for order in reversed(fresh):
            self._latest_order = max(self._latest_order, order.order_id)
            if order.cloid is not None:
                self._at_venue[order.cloid].append(order.order_id)
        return [orders[number] for number in self._at_venue.get(cloid, ()) if number in orders]

    def _arrived(self, cloid: str) -> None:
        found, must = self._named(cloid), self.notes.must
        must(len(found) <= 1, "I1", f"{cloid} is {len(found)} orders at the venue")
        for order in found:
            self.signatures.accepted(cloid, order)
        written = self._durable.get(cloid)
        if written is None:
            return
        made = sum(len(self._named(each)) for each in self._siblings[written.client_id])
        must(made <= 1, "I1", f"order {written.client_id} was placed {made} times at the venue")
        self.agrees(written, found)

    def agrees(self, written: Written, orders: list[WireOrder]) -> None:
        """No final state that the venue contradicts."""
        must = self.notes.must
        if written.state in NEVER_AT_VENUE or written.proof == "not_sent":
            must(not orders, "I8", f"{written.cloid} is {written.state} and is at the venue")
        if written.proof == "not_sent":
            must(written.cloid not in self._left, "I8", f"{written.cloid} was not sent, and had left")
        if written.state == "rejected" and orders:
            dead = orders[0].remaining == orders[0].size and not orders[0].is_open
            must(dead, "I8", f"{written.cloid} is rejected and lives")
        if written.state in {"filled", "canceled"}:
            ended = bool(orders) and not orders[0].is_open
            must(ended, "I8", f"{written.cloid} is {written.state} and the venue knows it otherwise")
            if ended and written.state == "filled":
                filled = orders[0].status == "filled"
                must(filled, "I8", f"{written.cloid} is filled, not {orders[0].status}")

    # The journal

    def begins(self) -> None:
        """A life begins."""
        self._is_new_life, self.trader = True, None
        self.permission.restarted()

    def attempts(self) -> list[Written]:
        """All that were written down."""
        return list(self._durable.values())

    def committed(self, journal: sqlite3.Connection) -> None:
        """A transaction has ended, and is on disk."""
        if self._is_new_life:
            self._is_new_life = False
            self._begun(journal)
        (cycles,) = journal.execute("SELECT coalesce(sum(cycles), 0) FROM run").fetchone()
        rows = journal.execute(_NEW, (self._latest_row,)).fetchall()
        for cloid in sorted(self._open):
            rows += journal.execute(_ONE, (cloid,)).fetchall()
        self._take(rows)
        self.permission.committed(journal)
        if cycles != self._cycles:
            self._cycles = cycles
            (synchronous,) = journal.execute("PRAGMA synchronous").fetchone()
            self.notes.must(synchronous == 2, "I2", "the journal is not synchronous")
            self.money.check(journal)
            if self.trader is not None:
                restored.check(journal, self.trader, self.notes)

    def _begun(self, journal: sqlite3.Connection) -> None:
        """What a new owner finds: everything that had left, under a number of its own."""
        (epoch,) = journal.execute("SELECT max(epoch) FROM lease").fetchone()
        self.notes.must(epoch > self._epoch, "I18", f"a life has epoch {epoch}, as one before it")
        # What the power failed in the writing of may be there whole: that is of the life before.
        self.look_at_all(journal)
        self._epoch = epoch

    def look_at_all(self, journal: sqlite3.Connection) -> None:
        """Every attempt that was ever written down, also those that had ended: they stay, and stay ended."""
        rows = journal.execute(_ALL).fetchall()
        there = {row[1] for row in rows}
        gone = [cloid for cloid in self._durable if cloid not in there and cloid in self._left]
        self.notes.must(not gone, "I2", f"{gone[:3]} had left, and the journal has lost them")
        for cloid in [each for each in self._durable if each not in there]:
            self._forget(cloid)  # written down, but neither synced nor sent when the power failed
        self._latest_row = max((row[0] for row in rows), default=0)
        self._take(rows)

    def _forget(self, cloid: str) -> None:
        written = self._durable.pop(cloid)
        self._open.discard(cloid)
        self._siblings[written.client_id].remove(cloid)

    def _take(self, rows: Iterable[Any]) -> None:
        changed = [fresh for row in rows if (fresh := self._changed(row)) is not None]
        live = Counter(self._client_ids[cloid] for cloid in self._open)
        for client_id, count in live.items():
            self.notes.must(count <= 1, "I1", f"order {client_id} has {count} attempts alive")
        for each in changed:
            if each.is_final:
                known = each.proof in EVIDENCE[each.state]
                self.notes.must(known, "I7", f"{each.cloid} is {each.state} by {each.proof}")
                self.agrees(each, self._named(each.cloid))

    def _changed(self, row: Any) -> Written | None:
        """The attempt in a row; None where it is known so already."""
        number, cloid, nonce, client_id, state, evidence, lots, epoch, expires_ms, *asked = row
        coin, side, price, reduce_only = asked
        must, before = self.notes.must, self._durable.get(cloid)
        told: dict[str, Any] = {} if evidence is None else json.loads(evidence)
        if before is not None and before.state == state and before.evidence == told:
            return None
        if before is None:
            self._siblings[client_id].append(cloid)
            self._client_ids[cloid] = client_id
        count = len(self._siblings[client_id]) if before is None else before.number
        order = (coin, side == "buy", Decimal(price), bool(reduce_only))
        fresh = Written(cloid, nonce, client_id, state, told, lots, epoch, count, order)
        if before is None:
            self._name(fresh)
        elif before.is_final:
            must(before.state == state, "I7", f"{cloid} was {before.state} and becomes {state}")
        if state == "expired":
            must(told["at_ms"] > (expires_ms or 0), "I7", f"{cloid} is expired before its time")
        self._durable[cloid] = fresh
        self._latest_row = max(self._latest_row, number)
        if fresh.is_final:
            self._open.discard(cloid)
        else:
            self._open.add(cloid)
        return fresh

    def _name(self, written: Written) -> None:
        told = "\0".join((NETWORK, self.account, written.client_id, str(written.number)))
        cloid = f"{OWN}{written.epoch % 65536:04x}{hashlib.sha256(told.encode()).hexdigest()[:24]}"
        self.notes.must(cloid == written.cloid, "I18", f"{written.cloid} should be {cloid}")
        self.notes.must(
            written.epoch == self._epoch,
            "I18",
            f"{written.cloid} is of epoch {written.epoch}, not {self._epoch}",
        )

    # The signer, and the end

    def signed(self) -> None:
        """The signer has answered a request for a signature: read what it wrote before."""
        self.signatures.read()

    def settled(self, path: Path, trader: Trader | None) -> None:
        """All is quiet."""
        ending.settled(self, path, trader)
