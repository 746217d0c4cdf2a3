"""Orders whose answer was lost with the run that sent them, or that were never sent, do not stay open for ever."""

from decimal import Decimal
from pathlib import Path

import pytest

from bot.journal.journal import Journal
from bot.journal.leftover import NEVER_SENT
from bot.model.attempt import Attempt, AttemptState, Evidence, Proof
from bot.model.decision import OrderPlan, TradingState
from bot.model.order import Order, Purpose, Side, TimeInForce, Trigger, TriggerKind
from tests.journal.diary import HOUR_MS, START_MS, decision, facts, quiet_cycle

S, P = AttemptState, Proof
CLIENT_ID = "a-BTC-entry"


def order(trigger: Trigger | None = None) -> Order:
    return Order(
        CLIENT_ID, "BTC", Side.BUY, 9, Decimal(60_000), TimeInForce.IOC, False, trigger, Purpose.ENTRY
    )


def attempt() -> Attempt:
    return Attempt(
        "0xb0", CLIENT_ID, None, "BTC", Side.BUY, 9, "60000.0", False, Purpose.ENTRY, 7, 9, "00", START_MS
    )


def after(
    path: Path, *moves: tuple[AttemptState, Evidence], trigger: Trigger | None = None
) -> tuple[object, ...]:
    """The order's row after the next cycle of a run that knows it by its attempt alone; no moves: it has none."""
    scores = [[0.0, 0.0, 0.0]] * 2
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        plan = OrderPlan((), (order(trigger),))
        journal.record_decision(decision(START_MS, scores, plan=plan), TradingState.ACTIVE, Decimal(1))
        if moves:
            journal.attempts.write([attempt()])
            for move in moves:
                journal.attempts.move("0xb0", *move)
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        journal.record_cycle(quiet_cycle(START_MS))
        before = journal._writer.one("SELECT status FROM orders")
        assert before is not None
        assert before["status"] == "planned"  # it may be sent yet, by the same decision
        journal.record_decision(decision(START_MS + HOUR_MS, scores), TradingState.ACTIVE, Decimal(1))
        journal.record_cycle(quiet_cycle(START_MS + HOUR_MS))
        row = journal._writer.one("SELECT status, filled_lots, order_id, reason FROM orders")
        assert row is not None
        return tuple(row)


def test_what_was_never_sent_is_not_open(tmp_path: Path) -> None:
    assert after(tmp_path / "j.sqlite") == ("canceled", 0, None, NEVER_SENT)


LOST = (S.UNKNOWN, Evidence(P.NO_ANSWER, START_MS))


@pytest.mark.parametrize(
    ("moves", "row"),
    [
        ([(S.FILLED, Evidence(P.REPLY, START_MS, "", 5, 9))], ("filled", 9, 5, "")),
        ([(S.CANCELED, Evidence(P.STATUS, START_MS, "no match", 5, 4))], ("canceled", 4, 5, "no match")),
        ([(S.REJECTED, Evidence(P.REPLY, START_MS, "no margin"))], ("rejected", 0, None, "no margin")),
        ([LOST, (S.FENCED, Evidence(P.FENCE, START_MS, "voided"))], ("rejected", 0, None, "voided")),
        ([LOST, (S.EXPIRED, Evidence(P.EXPIRY, START_MS, "expired"))], ("rejected", 0, None, "expired")),
        ([(S.ACKED, Evidence(P.REPLY, START_MS, "", 5))], ("resting", 0, 5, "")),
        ([LOST], ("planned", 0, None, "")),
    ],
)
def test_what_was_sent_is_what_its_attempt_says(
    tmp_path: Path, moves: list[tuple[AttemptState, Evidence]], row: tuple[object, ...]
) -> None:
    assert after(tmp_path / "j.sqlite", *moves) == row


def test_a_stop_that_rests_waits(tmp_path: Path) -> None:
    acked = (S.ACKED, Evidence(P.REPLY, START_MS, "", 5))
    told = after(tmp_path / "j.sqlite", acked, trigger=Trigger(TriggerKind.STOP, Decimal(50_000)))
    assert told == ("waiting", 0, 5, "")
