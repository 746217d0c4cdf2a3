"""What must hold whatever happens, checked after every event from the outside: venue, journal file and audit log.

Nothing here uses the code that it checks: rows are read with plain SQL, money is added up anew, the audit chain and the
names of orders are hashed again by their definitions.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.devnet.records import UserRecords, WireOrder
from bot.devnet.world import World
from bot.journal.reader import read
from bot.journal.verify import verify
from bot.trader.trader import Trader
from tests.simulation.life import Trace

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
    "SELECT cloid, nonce, client_id, state, evidence, lots, epoch, expires_ms FROM attempt JOIN action USING (nonce) "
    "ORDER BY attempt.rowid"
)
MANY: Final = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be: which invariant, what was found, at which step and virtual second."""

    invariant: str
    found: str
    step: int
    at_s: float

    def __str__(self) -> str:
        return f"{self.invariant} at step {self.step} ({self.at_s:.1f} s): {self.found}"


@dataclass(frozen=True, slots=True)
class Written:
    """An attempt as the journal holds it durably."""

    cloid: str
    nonce: int
    client_id: str
    state: str
    proof: str | None
    evidence: dict[str, Any]
    lots: int
    epoch: int
    number: int  # among the attempts of its order


class Watch:
    """Told of every event of a run; keeps what was wrong."""

    def __init__(self, world: World, account: str, audit: Path, trace: Trace, most_usd: Decimal) -> None:
        self.world, self.account, self.trace = world, account, trace
        self.violations: list[Violation] = []
        self._most_usd = most_usd
        self._durable: dict[str, Written] = {}
        self._left: dict[str, int] = {}  # cloid → how many bodies with it have left
        self._payloads: dict[int, bytes] = {}  # nonce → what but a noop was sent with it
        self._cycles = 0
        self._books_ms = 0
        self._audit, self._audit_offset, self._audit_hash, self._audit_lines = audit, 0, "0" * 64, 0
        self._signed: dict[int, str] = {}  # nonce → hash of the action, noops left out
        self._latest_nonce = 0
        self._bodies: set[str] = set()
        self._checked: Counter[str] = Counter()

    def violate(self, invariant: str, found: str) -> None:
        """Write a violation down; a broken run breaks a lot, of which the first is what counts."""
        if len(self.violations) < MANY:
            now_s = self.trace._now_s()
            self.violations.append(Violation(invariant, found, self.trace.steps, now_s))

    def _must(self, holds: bool, invariant: str, found: str) -> None:
        self._checked[invariant] += 1
        if not holds:
            self.violate(invariant, found)

    def counts(self) -> dict[str, int]:
        """How often each invariant was checked, and what there was to check it on."""
        states = Counter(each.state for each in self._durable.values())
        return {
            **self._checked,
            **{f"attempts {state}": n for state, n in states.items()},
            "cycles": self._cycles,
        }

    # Actions

    def leaves(self, body: bytes) -> None:
        """An action is about to leave this computer."""
        told = json.loads(body)
        action, nonce = told["action"], told["nonce"]
        self._must(
            nonce in self._signed or action["type"] == "noop",
            "I11",
            f"nonce {nonce} is in no line of the audit log",
        )
        if action["type"] != "noop":
            before = self._payloads.setdefault(nonce, body)
            self._must(before == body, "I9", f"two payloads have nonce {nonce}")
        for order in action.get("orders", ()):
            cloid = str(order.get("c"))
            self._must(cloid.startswith(OWN), "I18", f"an order leaves with cloid {cloid}")
            self._must(cloid in self._durable, "I2", f"{cloid} leaves and is not in the journal")
            self._left[cloid] = self._left.get(cloid, 0) + 1
            self._must(self._left[cloid] == 1, "I1", f"{cloid} was sent {self._left[cloid]} times")

    def arrived(self, body: bytes, answer: bytes) -> None:
        """The venue has carried an action out, or not."""
        told = json.loads(body)["action"]
        for order in told.get("orders", ()):
            self._at_venue(str(order.get("c")))
        marks = self.world.exchange.marks
        for coin, position in self.world.exchange.accounts[self.account].positions.items():
            value = abs(position.notional_usd(marks[coin]))
            self._must(
                value <= self._most_usd * Decimal("1.05"), "I13", f"{value:.0f} USD of {coin} are held"
            )

    @property
    def _records(self) -> UserRecords:
        return self.world.records(self.account)

    def _venue_orders(self) -> dict[str, list[WireOrder]]:
        found: dict[str, list[WireOrder]] = defaultdict(list)
        for order in self._records.orders.values():
            if order.cloid is not None:
                found[order.cloid].append(order)
        return found

    def _at_venue(self, cloid: str) -> None:
        at_venue = self._venue_orders()
        written = self._durable.get(cloid)
        self._must(len(at_venue[cloid]) <= 1, "I1", f"{cloid} is {len(at_venue[cloid])} orders at the venue")
        if written is None:
            return
        siblings = [each.cloid for each in self._durable.values() if each.client_id == written.client_id]
        made = sum(len(at_venue[each]) for each in siblings)
        self._must(made <= 1, "I1", f"order {written.client_id} was placed {made} times at the venue")
        self._agrees(written, at_venue[cloid])

    def _agrees(self, written: Written, orders: list[WireOrder]) -> None:
        """No final state that the venue contradicts."""
        if written.state in NEVER_AT_VENUE or written.proof == "not_sent":
            self._must(not orders, "I8", f"{written.cloid} is {written.state} and is at the venue")
        if written.proof == "not_sent":
            self._must(written.cloid not in self._left, "I8", f"{written.cloid} was not sent, and had left")
        if written.state == "rejected" and orders:
            self._must(
                orders[0].remaining == orders[0].size and not orders[0].is_open,
                "I8",
                f"{written.cloid} is rejected and lives",
            )
        if written.state in {"filled", "canceled"}:
            ended = bool(orders) and not orders[0].is_open
            self._must(ended, "I8", f"{written.cloid} is {written.state} and the venue knows it otherwise")
            if ended and written.state == "filled":
                self._must(
                    orders[0].status == "filled", "I8", f"{written.cloid} is filled, not {orders[0].status}"
                )

    # The journal

    def committed(self, journal: sqlite3.Connection) -> None:
        """A transaction has ended, and is on disk."""
        rows = journal.execute(_ATTEMPTS).fetchall()
        seen: Counter[str] = Counter()
        changed: list[Written] = []
        live: Counter[str] = Counter()
        for cloid, nonce, client_id, state, evidence, lots, epoch, expires_ms in rows:
            seen[client_id] += 1
            if state not in FINAL:
                live[client_id] += 1
            before = self._durable.get(cloid)
            told: dict[str, Any] = {} if evidence is None else json.loads(evidence)
            if before is not None and before.state == state and before.evidence == told:
                continue
            fresh = Written(
                cloid, nonce, client_id, state, told.get("proof"), told, lots, epoch, seen[client_id]
            )
            if before is None:
                self._named(fresh)
            elif before.state in FINAL:
                self._must(before.state == state, "I7", f"{cloid} was {before.state} and becomes {state}")
            if state == "expired":
                self._must(told["at_ms"] > (expires_ms or 0), "I7", f"{cloid} is expired before its time")
            self._durable[cloid] = fresh
            changed.append(fresh)
        for client_id, count in live.items():
            self._must(count <= 1, "I1", f"order {client_id} has {count} attempts alive")
        at_venue = self._venue_orders() if changed else {}
        for each in changed:
            if each.state in FINAL:
                self._must(
                    each.proof in EVIDENCE[each.state], "I7", f"{each.cloid} is {each.state} by {each.proof}"
                )
                self._agrees(each, at_venue.get(each.cloid, []))
        (cycles,) = journal.execute("SELECT coalesce(sum(cycles), 0) FROM run").fetchone()
        if cycles != self._cycles:
            self._cycles = cycles
            (synchronous,) = journal.execute("PRAGMA synchronous").fetchone()
            self._must(synchronous == 2, "I2", "the journal is not synchronous")
            self.books(journal)

    def _named(self, written: Written) -> None:
        told = "\0".join((NETWORK, self.account, written.client_id, str(written.number)))
        cloid = f"{OWN}{written.epoch % 65536:04x}{hashlib.sha256(told.encode()).hexdigest()[:24]}"
        self._must(cloid == written.cloid, "I18", f"{written.cloid} should be {cloid}")

    def books(self, journal: sqlite3.Connection) -> None:
        """The ledger against the raw rows, and these against what the venue has on record."""
        sums: dict[int, Decimal] = defaultdict(Decimal)
        balances: dict[str, Decimal] = defaultdict(Decimal)
        lots: dict[str, int] = defaultdict(int)
        for entry, account, usd, moved in journal.execute("SELECT entry_id, account, usd, lots FROM posting"):
            sums[entry] += Decimal(usd)
            balances[account] += Decimal(usd)
            lots[account] += moved
        wrong = [entry for entry, total in sums.items() if total]
        self._must(not wrong, "I5", f"entries {wrong[:5]} do not sum to 0")
        odd = journal.execute(
            "SELECT kind, reference FROM entry WHERE kind IN ('lots', 'suspense')"
        ).fetchall()
        self._must(not odd, "I4", f"nothing explains {[tuple(row) for row in odd[:3]]}")
        cash, traded = Decimal(0), Counter[str]()
        for usd, _ in journal.execute("SELECT usd, kind FROM transfer"):
            cash += Decimal(usd)
        opening = journal.execute(
            "SELECT account, usd, lots FROM posting JOIN entry ON entry.id = entry_id WHERE kind = 'opening'"
        ).fetchall()
        cash += sum((Decimal(usd) for account, usd, _ in opening if account == "CASH"), Decimal(0))
        for account, _, held in opening:
            if held:
                traded[account.removeprefix("POSITION:")] += held
        cash += self._fills(journal, traded) + self._funding(journal)
        suspended = sum((usd for name, usd in balances.items() if name.startswith("SUSPENSE:")), Decimal(0))
        if not suspended and not any(n for name, n in lots.items() if name.startswith("SUSPENSE:")):
            self._must(balances["CASH"] == cash, "I4", f"CASH is {balances['CASH']}, the rows come to {cash}")
            booked = {
                name.removeprefix("POSITION:"): n
                for name, n in lots.items()
                if name.startswith("POSITION:") and n
            }
            self._must(
                booked == {coin: n for coin, n in traded.items() if n},
                "I3",
                f"{booked} is booked, {dict(traded)} traded",
            )

    def _fills(self, journal: sqlite3.Connection, traded: Counter[str]) -> Decimal:
        """What the fills paid, each held against the venue's own; adds the lots to `traded`."""
        theirs = {row["tid"]: row for row in self._records.fills}
        cash, seen = Decimal(0), set()
        rows = journal.execute(
            "SELECT trade_id, instrument, side, lots, price, notional_usd, fee_usd, client_id FROM fill"
        )
        for number, coin, side, lots, price, notional, fee, client_id in rows:
            sign = 1 if side == "buy" else -1
            cash -= sign * Decimal(notional) + Decimal(fee)
            traded[coin] += sign * lots
            self._must(number not in seen, "I6", f"trade {number} is there twice")
            seen.add(number)
            row = theirs.get(number)
            if row is None:
                self.violate("I6", f"trade {number} is not the venue's")
                continue
            size = Decimal(row["sz"]) * 10 ** self.world.instruments[coin].size_decimals
            told = (
                row["coin"],
                "buy" if row["side"] == "B" else "sell",
                size,
                Decimal(row["px"]),
                Decimal(row["fee"]),
            )
            same = told == (coin, side, lots, Decimal(price), Decimal(fee))
            self._must(same, "I3", f"trade {number} is {told} at the venue and otherwise in the journal")
            written = self._durable.get(str(row.get("cloid")))
            if written is not None:
                self._must(written.client_id == client_id, "I18", f"trade {number} is of {written.client_id}")
        return cash

    def _funding(self, journal: sqlite3.Connection) -> Decimal:
        theirs = {
            (row["time"], row["delta"]["coin"]): Decimal(row["delta"]["usdc"])
            for row in self._records.funding
        }
        cash, seen = Decimal(0), set()
        for time_ms, coin, usd in journal.execute("SELECT time_ms, instrument, usd FROM funding"):
            cash += Decimal(usd)
            key = (time_ms, coin)
            self._must(
                key not in seen and theirs.get(key) == Decimal(usd), "I6", f"funding {key} is not the venue's"
            )
            seen.add(key)
        return cash

    # The signer

    def signed(self) -> None:
        """The signer has answered a request for a signature: read what it wrote before."""
        with self._audit.open("rb") as file:
            file.seek(self._audit_offset)
            lines = file.readlines()
        for line in lines:
            rest, _, tail = line.rpartition(b',"hash":"')
            digest = hashlib.sha256(self._audit_hash.encode() + rest).hexdigest()
            self._must(
                tail == f'{digest}"}}\n'.encode(),
                "I11",
                f"line {self._audit_lines + 1} breaks the audit chain",
            )
            self._audit_hash, self._audit_lines = digest, self._audit_lines + 1
            self._audit_offset += len(line)
            record = json.loads(line)
            if record["kind"] != "sign":
                continue
            nonce = record["nonce"]
            if record["do"] == "fence":
                self._must(
                    nonce in self._signed, "I9", f"a fence of nonce {nonce}, which was never given out"
                )
                continue
            self._must(nonce > self._latest_nonce, "I9", f"nonce {nonce} follows {self._latest_nonce}")
            self._latest_nonce = max(nonce, self._latest_nonce)
            self._signed[nonce] = record["connection_id"]

    # The end

    def settled(self, path: Path, trader: Trader | None) -> None:
        """All is quiet: nothing is open, everything is known, and what was wanted is held."""
        if trader is None:
            self.violate("I16", "no life reached the end")
            return
        with closing(sqlite3.connect(path)) as journal:
            self.books(journal)
            checkpoint = json.loads(journal.execute("SELECT content FROM checkpoint").fetchone()[0])
            until_ms = checkpoint["venue"]["books"]["complete_ms"]
            self._answered(until_ms)
            fills = {row[0] for row in journal.execute("SELECT trade_id FROM fill")}
            theirs = {row["tid"] for row in self._records.fills if row["time"] <= until_ms}
            self._must(theirs <= fills, "I3", f"trades {sorted(theirs - fills)[:5]} are not in the journal")
            funding = {tuple(row) for row in journal.execute("SELECT time_ms, instrument FROM funding")}
            paid = {
                (row["time"], row["delta"]["coin"])
                for row in self._records.funding
                if row["time"] <= until_ms
            }
            self._must(paid <= funding, "I4", f"funding {sorted(paid - funding)[:5]} is not in the journal")
            self._position(journal, later=[row for row in self._records.fills if row["tid"] not in fills])
        with read(path) as reader:
            differences = verify(reader)["differences"]
        self._must(not differences, "I5", f"the ledger can't be verified: {differences[:3]}")
        self._reached(trader)

    def _answered(self, until_ms: int) -> None:
        """Every attempt has ended, or rested when the account was last looked at."""
        orders = self._records.orders.values()
        resting = {each.cloid for each in orders if each.is_open or each.status_ms > until_ms}
        for each in self._durable.values():
            settled = each.state in FINAL or (each.state in {"acked", "partial"} and each.cloid in resting)
            self._must(settled, "I16", f"{each.client_id} ({each.cloid}) is still {each.state}")
            if each.state in FINAL:
                self._agrees(each, self._venue_orders().get(each.cloid, []))

    def _position(self, journal: sqlite3.Connection, later: list[dict[str, Any]]) -> None:
        traded: Counter[str] = Counter()
        for coin, side, lots in journal.execute("SELECT instrument, side, lots FROM fill"):
            traded[coin] += lots if side == "buy" else -lots
        for row in later:
            lots = int(Decimal(row["sz"]) * 10 ** self.world.instruments[row["coin"]].size_decimals)
            traded[row["coin"]] += lots if row["side"] == "B" else -lots
        account = self.world.exchange.accounts[self.account]
        held = {coin: position.lots for coin, position in account.positions.items()}
        self._must(
            {c: n for c, n in traded.items() if n} == held, "I3", f"{held} is held, {dict(traded)} was traded"
        )
        (told,) = journal.execute("SELECT usd FROM balance WHERE account = 'CASH'").fetchone()
        cash = Decimal(told)
        for row in later:
            cash -= Decimal(row["px"]) * Decimal(row["sz"]) * (1 if row["side"] == "B" else -1) + Decimal(
                row["fee"]
            )
        paid = {tuple(row) for row in journal.execute("SELECT time_ms, instrument FROM funding")}
        for row in self._records.funding:
            if (row["time"], row["delta"]["coin"]) not in paid:
                cash += Decimal(row["delta"]["usdc"])
        # Of a trade that is not told yet the venue's rounding is not known.
        near = abs(cash - account.cash_usd) <= Decimal("0.000001") * len(later)
        self._must(near, "I4", f"CASH comes to {cash}, the venue's is {account.cash_usd}")

    def _reached(self, trader: Trader) -> None:
        """What is held is what was last allowed, but for what rests, is too small to order, or was stopped out since."""
        session, account = trader._session, self.world.exchange.accounts[self.account]
        assert session is not None
        targets = session.desk.targets
        if targets is None:
            self.violate("I16", "nothing was decided since the last start")
            return
        resting = {
            order.coin
            for order in self._records.orders.values()
            if order.is_open and order.trigger_price is None
        }
        for column, instrument in enumerate(session.desk.instruments):
            wanted, held = int(targets[:, column].sum()), account.lots(instrument.name)
            worth = abs(wanted - held) * self.world.exchange.marks[instrument.name] / instrument.lots_per_coin
            near = worth < 2 * instrument.min_order_usd or instrument.name in resting or held == 0
            self._must(near, "I16", f"{held} lots of {instrument.name} are held, {wanted} were wanted")
