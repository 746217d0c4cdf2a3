"""What must hold once all is quiet: nothing is open, everything is known, and what was wanted is held."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot.journal.reader import read
from bot.journal.verify import verify
from bot.trader.trader import Trader
from tests.simulation.pairs import effect

if TYPE_CHECKING:
    from tests.simulation.invariants import Watch

DUST_USD: Final = Decimal(5)
REFUSALS: Final = ("refused by its rule position_usd", "Post only order would have immediately matched")
"""By which an order in full order comes to nothing: a policy's cap, a market that moved on before it could rest."""


def settled(watch: Watch, path: Path, trader: Trader | None) -> None:
    """Look at everything once more."""
    must = watch.notes.must
    if trader is None:
        watch.notes.violate("I16", "no life reached the end")
        return
    with closing(sqlite3.connect(path)) as journal:
        watch.money.check(journal)
        watch.look_at_all(journal)
        checkpoint = json.loads(journal.execute("SELECT content FROM checkpoint").fetchone()[0])
        until_ms = checkpoint["venue"]["books"]["complete_ms"]
        _answered(watch, until_ms)
        fills = {row[0] for row in journal.execute("SELECT trade_id FROM fill")}
        theirs = {row["tid"] for row in watch.records.fills if row["time"] <= until_ms}
        must(theirs <= fills, "I3", f"trades {sorted(theirs - fills)[:5]} are not in the journal")
        funding = {tuple(row) for row in journal.execute("SELECT time_ms, instrument FROM funding")}
        paid = {
            (row["time"], row["delta"]["coin"]) for row in watch.records.funding if row["time"] <= until_ms
        }
        must(paid <= funding, "I4", f"funding {sorted(paid - funding)[:5]} is not in the journal")
        _position(watch, journal, [row for row in watch.records.fills if row["tid"] not in fills])
    waiting = Counter(
        (order.coin, order.trigger_kind) for order in watch.records.open_orders() if order.trigger_kind
    )
    must(all(n == 1 for n in waiting.values()), "I1", f"of one kind wait {dict(waiting)}")
    watch.apart.ended()
    with read(path) as reader:
        differences = verify(reader)["differences"]
    must(not differences, "I5", f"the ledger can't be verified: {differences[:3]}")
    if watch.gets_all_it_wants:
        with closing(sqlite3.connect(path)) as journal:
            _reached(watch, trader, journal)


def _answered(watch: Watch, until_ms: int) -> None:
    """Every attempt has ended, or rested when the account was last looked at."""
    at_venue = watch.venue_orders()
    orders = [each for found in at_venue.values() for each in found]
    resting = {each.cloid for each in orders if each.is_open or each.status_ms > until_ms}
    for each in watch.attempts():
        waits = each.state in {"acked", "partial"} and each.cloid in resting
        watch.notes.must(
            each.is_final or waits, "I16", f"{each.client_id} ({each.cloid}) is still {each.state}"
        )
        if each.is_final:
            watch.agrees(each, at_venue.get(each.cloid, []))


def _position(watch: Watch, journal: sqlite3.Connection, later: list[dict[str, Any]]) -> None:
    must, traded = watch.notes.must, Counter[str]()
    for coin, side, lots in journal.execute("SELECT instrument, side, lots FROM fill"):
        traded[coin] += lots if side == "buy" else -lots
    tokens: dict[str, Decimal] = defaultdict(Decimal)
    later_usdc = Decimal(0)
    spot_rows = [row for row in later if watch.spot.is_spot(row["coin"])]
    later = [row for row in later if not watch.spot.is_spot(row["coin"])]
    for row in spot_rows:
        title = watch.spot.title(row["coin"])
        brought, usdc, _ = effect(row, title)
        tokens[title] += brought
        later_usdc += usdc
    for row in later:
        lots = int(Decimal(row["sz"]) * 10 ** watch.spot.decimals(row["coin"]))
        traded[row["coin"]] += lots if row["side"] == "B" else -lots
    account = watch.world.exchange.accounts[watch.account]
    held = watch.spot.held(tokens)
    must({c: n for c, n in traded.items() if n} == held, "I3", f"{held} is held, {dict(traded)} was traded")
    (told,) = journal.execute("SELECT usd FROM balance WHERE account = 'CASH'").fetchone()
    cash = Decimal(told)
    for row in later:
        sign = 1 if row["side"] == "B" else -1
        cash -= Decimal(row["px"]) * Decimal(row["sz"]) * sign + Decimal(row["fee"])
    paid = {tuple(row) for row in journal.execute("SELECT time_ms, instrument FROM funding")}
    for row in watch.records.funding:
        if (row["time"], row["delta"]["coin"]) not in paid:
            cash += Decimal(row["delta"]["usdc"])
    # Of a trade that is not told yet the venue's rounding is not known.
    theirs = account.cash_usd + watch.spot.usdc() - later_usdc
    # What of tokens is less than a lot is carried in cash at what it cost; the adapter's own tests hold that to the digit.
    spare = DUST_USD if watch.apart.has_legs else Decimal("0.000001") * len(later)
    must(abs(cash - theirs) <= spare, "I4", f"CASH comes to {cash}, the venue's is {theirs}")


def _reached(watch: Watch, trader: Trader, journal: sqlite3.Connection) -> None:
    """What is held is what was last allowed, but for what rests, is too small to order, or was stopped out since.

    Nor what is refused for a good reason: orders by hand come to the signer's cap in the course of days.
    """
    session = trader._session
    assert session is not None
    targets = session.desk.targets
    if targets is None:
        watch.notes.violate("I16", "nothing was decided since the last start")
        return
    orders = watch.records.orders.values()
    resting = {
        watch.spot.title(order.coin) for order in orders if order.is_open and order.trigger_price is None
    }
    refused = {
        coin
        for coin, reason, _ in journal.execute(
            "SELECT instrument, reason, max(created_ms) FROM orders WHERE purpose = 'entry' GROUP BY 1"
        )
        if any(refusal in reason for refusal in REFUSALS)
    }
    for column, instrument in enumerate(session.desk.instruments):
        wanted, held = int(targets[:, column].sum()), watch.spot.lots(instrument.name)
        worth = abs(wanted - held) * watch.spot.mark(instrument.name) / instrument.lots_per_coin
        near = worth < 2 * instrument.min_order_usd or instrument.name in resting | refused or held == 0
        watch.notes.must(near, "I16", f"{held} lots of {instrument.name} are held, {wanted} were wanted")
