"""The venue's books as its own process tells them, gathered as it goes on, against the journal's at the end."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.clock import parse_utc
from bot.devnet.start import Options, build
from tests.reliability.bulk import FIRST_TRADE
from tests.reliability.world import COINS, HISTORY_H, SEED, START, World

PAGE: Final = 2_000
SHOWN: Final = 5


@dataclass
class Gathered:
    """Everything that the venue has told of the account; it forgets the oldest itself. Keys are what makes a row itself."""

    fills: dict[tuple[int, str, int], dict[str, Any]] = field(default_factory=dict)
    funding: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, set[int]] = field(default_factory=dict)  # by cloid
    nameless: set[int] = field(default_factory=set)  # orders without one: the bot never sends such

    def ask(self, world: World) -> None:
        """Add what is new."""
        user = world.paper.account
        since_ms = max((row["time"] for row in self.fills.values()), default=0)
        for row in _pages(world, "userFillsByTime", since_ms):
            self.fills[row["time"], row["coin"], row["tid"]] = row
        since_ms = max((row["time"] for row in self.funding.values()), default=0)
        for row in _pages(world, "userFunding", since_ms):
            self.funding[row["time"], row["delta"]["coin"]] = row
        for row in world.info({"type": "historicalOrders", "user": user}):
            self._order(row["order"])
        for row in world.info({"type": "frontendOpenOrders", "user": user}):
            self._order(row)

    def _order(self, row: dict[str, Any]) -> None:
        if row.get("cloid") is None:
            self.nameless.add(row["oid"])
        else:
            self.orders.setdefault(row["cloid"], set()).add(row["oid"])


def _pages(world: World, kind: str, since_ms: int) -> Iterable[dict[str, Any]]:
    while True:
        rows = world.info({"type": kind, "user": world.paper.account, "startTime": since_ms})
        yield from rows
        if len(rows) < 500 or rows[-1]["time"] == since_ms:
            return
        since_ms = rows[-1]["time"]


@dataclass
class Verdict:
    """What the journal lacks, what it has twice or too much, and what else differs; examples in words."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def say(self, kind: str, what: Iterable[object]) -> None:
        """Count every one of `what`."""
        for each in what:
            setattr(self, kind, getattr(self, kind) + 1)
            if len(self.examples) < SHOWN:
                self.examples.append(f"{kind}: {each}"[:300])


def compare(journal: Path, state: Path, account: str, gathered: Gathered) -> Verdict:
    """Hold the journal against the devnet's file, once both have ended: every row and the last digit of the cash."""
    verdict = Verdict()
    with closing(sqlite3.connect(journal)) as connection:

        def rows(query: str, *values: object) -> list[tuple[Any, ...]]:
            return connection.execute(query, values).fetchall()

        own = rows(
            "SELECT trade_id, time_ms, instrument, lots, price, fee_usd, client_id FROM fill WHERE trade_id < ?",
            FIRST_TRADE,
        )
        payments = rows("SELECT time_ms, instrument, usd FROM funding")
        held = dict(rows("SELECT instrument, lots FROM position"))
        balances = dict(rows("SELECT account, usd FROM balance"))
        (fees,) = rows("SELECT fees_usd FROM equity ORDER BY time_ms DESC LIMIT 1")[0]
        attempts = rows("SELECT cloid, client_id, state, resolved_ms FROM attempt WHERE nonce >= 1000000")
        known = {row[0] for row in attempts}
        planned = rows("SELECT client_id FROM orders WHERE status = 'planned'")
        asked = dict(rows("SELECT client_id, lots FROM orders"))
        (last_ms,) = rows("SELECT max(time_ms) FROM equity")[0]
    # Fills: the venue's, all of them, each once.
    theirs = {
        (row["tid"], row["time"], row["coin"], Decimal(row["px"]), Decimal(row["fee"]))
        for row in gathered.fills.values()
    }
    ours = Counter((row[0], row[1], row[2], Decimal(row[4]), Decimal(row[5])) for row in own)
    verdict.say("lost", theirs - ours.keys())
    verdict.say("doubled", [each for each, count in ours.items() if count > 1 or each not in theirs])
    # Orders: at the venue once for a cloid, every one of them written down, none filled beyond what was asked.
    verdict.say("doubled", [cloid for cloid, ids in gathered.orders.items() if len(ids) > 1])
    verdict.say(
        "wrong", [f"order {cloid} was never written down" for cloid in gathered.orders.keys() - known]
    )
    verdict.say("wrong", [f"order {oid} has no cloid" for oid in gathered.nameless])
    filled: Counter[str] = Counter()
    for row in own:
        filled[row[6]] += row[3]
    verdict.say("doubled", [f"{name} filled {lots} of {asked.get(name)}" for name, lots in filled.items() if lots > asked.get(name, 0)])  # fmt: skip
    verdict.say("wrong", [f"{row[1]} stays {row[2]}" for row in attempts if row[2] in {"sent", "unknown"}])
    verdict.say("wrong", [f"{row[0]} stays planned" for row in planned])
    # Funding up to the last cycle.
    due = {
        (row["time"], row["delta"]["coin"], Decimal(row["delta"]["usdc"]))
        for row in gathered.funding.values()
        if row["time"] <= last_ms
    }
    paid = Counter((row[0], row[1], Decimal(row[2])) for row in payments)
    verdict.say("lost", due - paid.keys())
    verdict.say(
        "doubled", [each for each, n in paid.items() if n > 1 or (each not in due and each[0] <= last_ms)]
    )
    # The exchange's own account.
    exchange = _account(state, account)
    late = sum((Decimal(row["delta"]["usdc"]) for row in gathered.funding.values()
                if (row["time"], row["delta"]["coin"], Decimal(row["delta"]["usdc"])) not in paid), Decimal(0))  # fmt: skip
    if Decimal(balances["CASH"]) + late != exchange.cash_usd:
        verdict.say("wrong", [f"cash {balances['CASH']} where the venue has {exchange.cash_usd}"])
    if Decimal(fees) != exchange.fees_usd:
        verdict.say("wrong", [f"fees {fees} where the venue has {exchange.fees_usd}"])
    lots = {name: position.lots for name, position in exchange.positions.items()}
    if lots != held:
        verdict.say("wrong", [f"positions {held} where the venue has {lots}"])
    suspended = {name: usd for name, usd in balances.items() if name.startswith("SUSPENSE") and Decimal(usd)}
    verdict.say("wrong", [f"{name} {usd}" for name, usd in suspended.items()])
    verdict.counts = {
        "fills": len(own),
        "payments": len(payments),
        "orders": len(gathered.orders),
        "attempts": len(attempts),
        "fenced": sum(row[2] == "fenced" for row in attempts),
        "expired": sum(row[2] == "expired" for row in attempts),
    }
    return verdict


def _account(state: Path, account: str) -> Any:
    options = Options(
        seed=SEED, coins=COINS, start_ms=parse_utc(START), history_h=HISTORY_H, agent_days=18_615, paused=True,
        state=state,
    )  # fmt: skip
    server = build(options)
    try:
        return server.world.exchange.accounts[account]
    finally:
        assert server.keeper is not None
        server.keeper.close()
