"""The ledger against the raw rows of the journal, and these against what the venue has on record (I3 to I6)."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bot.devnet.records import UserRecords
from bot.devnet.world import World
from tests.simulation.notes import Notes
from tests.simulation.pairs import SpotSide, effect


class Money:
    """Looks at the whole journal each time; `client_ids` tells whose order a cloid was written down for."""

    def __init__(
        self, world: World, account: str, notes: Notes, client_ids: Mapping[str, str], spot: SpotSide
    ) -> None:
        self._world, self._account, self._notes = world, account, notes
        self._client_ids, self._spot = client_ids, spot

    @property
    def _records(self) -> UserRecords:
        return self._world.records(self._account)

    def check(self, journal: sqlite3.Connection) -> None:
        """Everything that can be added up."""
        must = self._notes.must
        sums: dict[int, Decimal] = defaultdict(Decimal)
        balances: dict[str, Decimal] = defaultdict(Decimal)
        lots: dict[str, int] = defaultdict(int)
        for entry, account, usd, moved in journal.execute("SELECT entry_id, account, usd, lots FROM posting"):
            sums[entry] += Decimal(usd)
            balances[account] += Decimal(usd)
            lots[account] += moved
        wrong = [entry for entry, total in sums.items() if total]
        must(not wrong, "I5", f"entries {wrong[:5]} do not sum to 0")
        odd = journal.execute(
            "SELECT kind, reference FROM entry WHERE kind IN ('lots', 'suspense')"
        ).fetchall()
        must(not odd, "I4", f"nothing explains {[tuple(row) for row in odd[:3]]}")
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
        if suspended or any(n for name, n in lots.items() if name.startswith("SUSPENSE:")):
            return
        must(balances["CASH"] == cash, "I4", f"CASH is {balances['CASH']}, the rows come to {cash}")
        booked = {
            name.removeprefix("POSITION:"): n
            for name, n in lots.items()
            if name.startswith("POSITION:") and n
        }
        must(
            booked == {coin: n for coin, n in traded.items() if n},
            "I3",
            f"{booked} is booked, {dict(traded)} traded",
        )

    def _fills(self, journal: sqlite3.Connection, traded: Counter[str]) -> Decimal:
        """What the fills paid, each held against the venue's own; adds the lots to `traded`."""
        must = self._notes.must
        theirs = {row["tid"]: row for row in self._records.fills}
        cash, seen = Decimal(0), set()
        rows = journal.execute(
            "SELECT trade_id, instrument, side, lots, price, notional_usd, fee_usd, client_id FROM fill"
        )
        for number, coin, side, lots, price, notional, fee, client_id in rows:
            sign = 1 if side == "buy" else -1
            cash -= sign * Decimal(notional) + Decimal(fee)
            traded[coin] += sign * lots
            must(number not in seen, "I6", f"trade {number} is there twice")
            seen.add(number)
            row = theirs.get(abs(number))
            if row is None:
                self._notes.violate("I6", f"trade {number} is not the venue's")
                continue
            if number < 0:  # lots that a fee in coins broke into
                named = self._spot.title(row["coin"]) == coin and Decimal(row["px"]) == Decimal(price)
                must(named and self._spot.is_spot(coin), "I6", f"trade {number} is of no fee in coins")
                continue
            told = _told(row, self._spot)
            must(
                told == (coin, side, lots, Decimal(price), Decimal(fee)),
                "I3",
                f"trade {number} is {told} at the venue and otherwise in the journal",
            )
            written = self._client_ids.get(str(row.get("cloid")))
            if written is not None:
                must(written == client_id, "I18", f"trade {number} is of {written}")
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
            told = key not in seen and theirs.get(key) == Decimal(usd)
            self._notes.must(told, "I6", f"funding {key} is not the venue's")
            seen.add(key)
        return cash


def _told(row: Mapping[str, Any], spot: SpotSide) -> tuple[str, str, Decimal, Decimal, Decimal]:
    """A fill as the venue has it, in the journal's terms."""
    coin = spot.title(row["coin"])
    size = Decimal(row["sz"]) * 10 ** spot.decimals(coin)
    fee = effect(row, coin)[2] if spot.is_spot(coin) else Decimal(row["fee"])
    return coin, "buy" if row["side"] == "B" else "sell", size, Decimal(row["px"]), fee
