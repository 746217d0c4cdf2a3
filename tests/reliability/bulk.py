"""A journal that has seen much: as many fills as are asked for, put into one through its own door."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Final

from bot.journal.journal import Journal
from bot.journal.records import CycleFacts, EquityPoint, RunFacts
from bot.model.attempt import Attempt, AttemptState, Evidence, Proof
from bot.model.instrument import simple_instrument
from bot.model.order import Fill, Order, OrderReport, OrderStatus, Purpose, Side, TimeInForce

FIRST_TRADE: Final = 1 << 61
"""Trade ids of what is made up here begin where no venue's are."""

HOUR_MS: Final = 3_600_000
FILLS_A_CYCLE: Final = 50
PRICE: Final = Decimal(100)
COIN: Final = "BTC"
LOTS: Final = 1_000
SIZE_DECIMALS: Final = 5
WORTH_USD: Final = PRICE * LOTS / 10**SIZE_DECIMALS


def fill_up(path: Path, fills: int) -> None:
    """Add `fills` fills, each of an order with its attempt, to a journal that holds nothing now.

    They are round trips that neither gain nor cost anything, hours before what the journal knows, so that its books stay
    what they were. Everything that a daemon writes with a fill is written: reports, attempts, entries and equity.
    """
    with closing(sqlite3.connect(path)) as connection:
        last = connection.execute("SELECT * FROM equity ORDER BY time_ms DESC LIMIT 1").fetchone()
        listed = connection.execute("SELECT name, size_decimals FROM instrument").fetchall()
        assert connection.execute("SELECT count(*) FROM position").fetchone() == (0,)
    assert dict(listed)[COIN] == SIZE_DECIMALS
    with Journal.open(path) as journal:
        before = journal.last_run()
        assert before is not None
        strategies = (*(each["name"] for each in before.config["strategies"]), "manual")
        instruments = [simple_instrument(name, decimals, 5) for name, decimals in listed]
        names = tuple(name for name, _ in listed)
        journal.begin_run(
            RunFacts(before.name, before.mode, before.config, before.source, strategies, instruments, before.started_wall_ms)
        )  # fmt: skip
        memory, checkpoint = journal.memory(strategies, names), journal.checkpoint()
        assert memory is not None
        assert checkpoint is not None
        equity = EquityPoint(*(Decimal(each) for each in last[1:]))
        cycles = -(-fills // FILLS_A_CYCLE)
        for number in range(cycles + 1):
            time_ms = last[0] - (cycles - number) * HOUR_MS
            count = min(FILLS_A_CYCLE, fills - number * FILLS_A_CYCLE)
            orders = list(_orders(number * FILLS_A_CYCLE, count))
            attempts = [
                _attempt(order, number * FILLS_A_CYCLE + k, time_ms) for k, order in enumerate(orders)
            ]
            if attempts:
                journal.attempts.write(attempts)
                journal.attempts.move_all([(each.cloid, *_ended(k, each)) for k, each in enumerate(attempts)])
            journal.record_cycle(
                CycleFacts(
                    time_ms=time_ms,
                    wall_ms=before.started_wall_ms,
                    equity=equity,
                    memory=memory,
                    checkpoint=checkpoint.state,
                    reports=[
                        OrderReport(time_ms, FIRST_TRADE + k, order, OrderStatus.FILLED, LOTS, PRICE)
                        for k, order in enumerate(orders)
                    ],
                    fills=[
                        _fill(order, number * FILLS_A_CYCLE + k, time_ms) for k, order in enumerate(orders)
                    ],
                )
            )
        journal.end_run(before.started_wall_ms)


def _orders(first: int, count: int) -> Iterator[Order]:
    for number in range(first, first + count):
        yield Order(
            client_id=f"past{number:x}-0",
            instrument=COIN,
            side=Side.SELL if number % 2 else Side.BUY,
            lots=LOTS,
            limit_price=PRICE,
            time_in_force=TimeInForce.IOC,
            reduce_only=False,
            trigger=None,
            purpose=Purpose.EXIT if number % 2 else Purpose.ENTRY,
        )


def _attempt(order: Order, number: int, time_ms: int) -> Attempt:
    hashed = hashlib.sha256(order.client_id.encode()).hexdigest()
    return Attempt(
        cloid=f"0xb0010000{hashed[:24]}",
        client_id=order.client_id,
        decision_id=None,
        coin=order.instrument,
        side=order.side,
        lots=order.lots,
        price=str(PRICE),
        reduce_only=False,
        purpose=order.purpose,
        nonce=number + 1,
        expires_ms=time_ms + 10_000,
        body_sha256=hashed,
        sent_ms=time_ms,
    )


def _ended(number: int, attempt: Attempt) -> tuple[AttemptState, Evidence]:
    evidence = Evidence(Proof.REPLY, attempt.sent_ms, "", FIRST_TRADE + number, attempt.lots)
    return AttemptState.FILLED, evidence


def _fill(order: Order, number: int, time_ms: int) -> Fill:
    return Fill(
        trade_id=FIRST_TRADE + number,
        time_ms=time_ms,
        instrument=COIN,
        side=order.side,
        lots=LOTS,
        price=PRICE,
        notional_usd=WORTH_USD,
        fee_usd=Decimal(0),
        is_maker=False,
        client_id=order.client_id,
        order_id=FIRST_TRADE + number,
        purpose=order.purpose,
    )
