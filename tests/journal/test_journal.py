import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bot.errors import ConfigError, StateError
from bot.journal.explain import explain
from bot.journal.file import owner
from bot.journal.journal import Journal
from bot.journal.reader import read
from bot.journal.records import EquityPoint
from bot.model.decision import Cancel, Finding, Memory, OrderPlan, TradingState
from bot.model.instrument import simple_instrument
from bot.model.money import ZERO
from bot.model.order import (
    Fill,
    FundingPayment,
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    Trigger,
    TriggerKind,
)
from tests.journal.diary import (
    DEPOSIT,
    FINDING,
    HOUR_MS,
    INSTRUMENTS,
    NAMES,
    START_MS,
    STRATEGIES,
    Desk,
    decision,
    facts,
    quiet_cycle,
)

REPOSITORY = Path(__file__).resolve().parents[2]
FLAT = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
LEANING = [[0.5, 0.0, 0.0], [0.0, 0.0, -1.0]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "paper.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path) as opened:
        opened.begin_run(facts())
        yield opened


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def order(name: str = "a-BTC-entry", lots: int = 5) -> Order:
    return Order(name, "BTC", Side.BUY, lots, Decimal(60000))


def decide(journal: Journal, hour: int, *arguments: object, **more: object) -> None:
    journal.record_decision(
        decision(START_MS + hour * HOUR_MS, *arguments, **more),  # type: ignore[arg-type]
        TradingState.ACTIVE,
        DEPOSIT,
    )


def test_a_new_journal_is_durable_strict_and_private(journal: Journal, path: Path) -> None:
    settings = {
        name: journal._writer.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "user_version": 4}
    tables = rows(
        path, "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'"
    )
    assert len(tables) > 10
    assert {strict for _, strict in tables} == {1}
    assert path.stat().st_mode & 0o077 == 0


def test_a_decision_is_on_disk_with_its_reasons_before_its_orders_leave(journal: Journal, path: Path) -> None:
    stop = replace(
        order("a-BTC-stop"),
        limit_price=None,
        trigger=Trigger(TriggerKind.STOP, Decimal(54000)),
        reduce_only=True,
    )
    plan = OrderPlan((Cancel(7, "old-BTC-entry", "BTC", "price moved away"),), (order(), stop))
    decide(journal, 0, LEANING, [[900, 0, 0], [0, 0, -3]], (FINDING,), plan)
    name = f"{START_MS // 1000:x}"
    assert rows(path, "SELECT id, time_ms, state, equity_usd, is_full FROM decision") == [
        (name, START_MS, "active", "100000", 1)
    ]
    assert rows(
        path, "SELECT strategy, instrument, score, because, wanted_lots, allowed_lots FROM forecast"
    ) == [
        ("carry", "BTC", 0.5, "funding z -1.5 is extreme", 900, 900),
        ("fade", "DOGE", -1.0, "funding z +3.0 is extreme", -3, -3),
    ]
    assert rows(path, "SELECT instrument, wanted_lots, allowed_lots FROM target") == [
        ("BTC", 900, 900),
        ("DOGE", -3, -3),
    ]
    assert rows(path, "SELECT rule, instrument, detail FROM finding") == [
        ("concentration", "ETH", "wanted 12,000 USD, one position may have 10,000 USD")
    ]
    assert rows(path, "SELECT order_id, because FROM cancel") == [(7, "price moved away")]
    assert rows(path, "SELECT client_id, decision_id, status, limit_price, trigger_price FROM orders") == [
        ("a-BTC-entry", name, "planned", "60000", None),
        ("a-BTC-stop", name, "planned", None, "54000"),
    ]
    assert journal.unanswered() == ("a-BTC-entry", "a-BTC-stop")


def test_a_decision_that_repeats_the_last_and_asks_for_nothing_is_one_row(
    journal: Journal, path: Path
) -> None:
    for hour in range(50):
        decide(journal, hour, LEANING, [[900, 0, 0], [0, 0, -3]], (FINDING,))
    assert rows(path, "SELECT count(*), sum(is_full) FROM decision") == [(50, 1)]
    assert rows(path, "SELECT count(*) FROM forecast") == [(2,)]
    assert rows(path, "SELECT count(*) FROM finding") == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [[0.5, 0.0, 0.0], [0.0, 0.0, -0.9]]},
        {"lots": [[901, 0, 0], [0, 0, -3]]},
        {"findings": ()},
        {"plan": OrderPlan((), (order(),))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_decision_that_differs_or_asks_for_something_is_written_in_full(
    journal: Journal, path: Path, change: dict[str, object]
) -> None:
    same = {"scores": LEANING, "lots": [[900, 0, 0], [0, 0, -3]], "findings": (FINDING,)}
    decide(journal, 0, **same)
    decide(journal, 1, **{**same, **change})
    assert rows(path, "SELECT is_full FROM decision ORDER BY time_ms") == [(1,), (1,)]
    assert rows(path, "SELECT count(*) FROM forecast") == [(4,)]


HELD = Finding("trading_state", "", "reducing: nothing may grow")
THIN = Finding("volume_share", "DOGE", "wanted 3 % of the day's volume, 1 % is allowed")


def test_every_finding_is_written_once_in_the_order_of_the_rules(journal: Journal, path: Path) -> None:
    decide(journal, 0, LEANING, findings=(THIN, FINDING, HELD, FINDING))
    assert rows(path, "SELECT number, rule, instrument, detail FROM finding ORDER BY number") == [
        (number, each.rule, each.instrument, each.detail)
        for number, each in enumerate((THIN, FINDING, HELD, FINDING))
    ]


@pytest.mark.parametrize(
    "now",
    [
        (FINDING,),
        (THIN,),
        (THIN, FINDING),
        (FINDING, THIN, HELD),
        (FINDING, THIN, THIN),
        (FINDING, replace(THIN, detail="otherwise")),
        (FINDING, replace(THIN, instrument="BTC")),
        (FINDING, replace(THIN, rule="other")),
        (),
    ],
    ids=["last dropped", "first dropped", "turned", "added", "doubled", "detail", "coin", "rule", "none"],
)
def test_findings_that_are_not_the_last_ones_are_told_in_full_and_alone(
    journal: Journal, path: Path, now: tuple[Finding, ...]
) -> None:
    decide(journal, 0, LEANING, findings=(FINDING, THIN))
    decide(journal, 1, LEANING, findings=now)
    decide(journal, 2, LEANING, findings=now)
    assert rows(path, "SELECT is_full FROM decision ORDER BY time_ms") == [(1,), (1,), (0,)]
    name = f"{START_MS // 1000 + 3600:x}"
    told = rows(
        path, f"SELECT rule, instrument, detail FROM finding WHERE decision_id = '{name}' ORDER BY number"
    )
    assert told == [(each.rule, each.instrument, each.detail) for each in now]
    before = rows(path, f"SELECT count(*) FROM finding WHERE decision_id <> '{name}'")
    assert before == [(2,)]


def test_the_same_decision_told_again_tells_its_findings_once(journal: Journal, path: Path) -> None:
    decide(journal, 0, LEANING, findings=(FINDING, THIN))
    decide(journal, 0, LEANING, findings=(FINDING, THIN))
    assert rows(path, "SELECT rule, number FROM finding ORDER BY number") == [
        ("concentration", 0),
        ("volume_share", 1),
    ]


def test_a_decision_that_could_not_be_written_is_not_what_the_next_one_repeats(
    journal: Journal, path: Path
) -> None:
    journal._writer.connection.execute(
        "CREATE TRIGGER stop BEFORE INSERT ON finding BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(StateError, match="no"):
        decide(journal, 0, LEANING, findings=(FINDING,))
    journal._writer.connection.execute("DROP TRIGGER stop")
    decide(journal, 1, LEANING, findings=(FINDING,))
    assert rows(path, "SELECT is_full FROM decision") == [(1,)]
    assert rows(path, "SELECT count(*) FROM finding") == [(1,)]


def test_a_score_that_returns_to_zero_is_told_once(journal: Journal, path: Path) -> None:
    decide(journal, 0, LEANING)
    for hour in range(1, 4):
        decide(journal, hour, FLAT)
    zeros = rows(path, "SELECT strategy, instrument FROM forecast WHERE score = 0")
    assert zeros == [("carry", "BTC"), ("fade", "DOGE")]


def test_the_first_decision_after_a_restart_is_written_in_full(journal: Journal, path: Path) -> None:
    decide(journal, 0, LEANING)
    journal.close()
    with Journal.open(path) as again:
        again.begin_run(facts())
        decide(again, 1, LEANING)
    assert rows(path, "SELECT is_full, run_id FROM decision ORDER BY time_ms") == [(1, 1), (1, 2)]


def test_a_decision_told_again_replaces_what_was_planned_but_not_what_the_venue_answered(
    journal: Journal, path: Path
) -> None:
    answered, dropped, new = order("x-BTC-entry"), order("y-BTC-entry"), order("z-BTC-entry")
    decide(journal, 0, LEANING, plan=OrderPlan((), (answered, dropped)))
    report = OrderReport(START_MS, 1, answered, OrderStatus.FILLED, 5, Decimal(60000))
    journal.record_cycle(quiet_cycle(START_MS, reports=[report]))
    decide(journal, 0, LEANING, plan=OrderPlan((), (answered, new)))
    assert rows(path, "SELECT client_id, status FROM orders ORDER BY client_id") == [
        ("x-BTC-entry", "filled"),
        ("z-BTC-entry", "planned"),
    ]
    decide(journal, 0, LEANING)
    assert rows(path, "SELECT is_full FROM decision") == [(1,)]
    assert rows(path, "SELECT count(*) FROM forecast") == [(2,)]


def test_an_orders_newest_word_stands_and_what_is_finished_stays_finished(
    journal: Journal, path: Path
) -> None:
    wanted = order()
    decide(journal, 0, LEANING, plan=OrderPlan((), (wanted,)))

    def told(time_ms: int, status: OrderStatus, filled: int = 0) -> tuple[object, ...]:
        report = OrderReport(time_ms, 3, wanted, status, filled, Decimal(60000))
        journal.record_cycle(quiet_cycle(time_ms, reports=[report]))
        (row,) = rows(path, "SELECT status, filled_lots, average_price, order_id FROM orders")
        return row

    assert told(START_MS, OrderStatus.RESTING) == ("resting", 0, None, 3)
    assert told(START_MS + 2, OrderStatus.RESTING, 2) == ("resting", 2, "60000", 3)
    assert told(START_MS + 1, OrderStatus.RESTING, 1) == ("resting", 2, "60000", 3)
    assert told(START_MS + 3, OrderStatus.FILLED, 5) == ("filled", 5, "60000", 3)
    assert told(START_MS + 4, OrderStatus.RESTING, 2) == ("filled", 5, "60000", 3)
    assert journal.unanswered() == ()


def test_telling_a_fill_or_a_payment_twice_changes_nothing(journal: Journal, path: Path) -> None:
    fill = Fill(
        9,
        START_MS,
        "BTC",
        Side.BUY,
        5,
        Decimal(60000),
        Decimal(3),
        Decimal("0.001"),
        False,
        "c",
        1,
        Purpose.ENTRY,
    )
    payment = FundingPayment(START_MS, "BTC", 5, Decimal(60000), Decimal("0.0000125"), Decimal("-0.000037"))
    for _ in range(2):
        journal.record_cycle(quiet_cycle(START_MS, fills=[fill], payments=[payment]))
    assert rows(path, "SELECT trade_id, price, fee_usd FROM fill") == [(9, "60000", "0.001")]
    assert rows(path, "SELECT rate, usd FROM funding") == [("0.0000125", "-0.000037")]
    assert rows(path, "SELECT cycles FROM run") == [(2,)]


def test_two_markets_may_give_their_trades_one_number(journal: Journal, path: Path) -> None:
    def fill(market: str) -> Fill:
        return Fill(
            9, START_MS, market, Side.BUY, 1, Decimal(60000), Decimal("0.6"), Decimal("0.001"), False, market, 1,
            Purpose.ENTRY,
        )  # fmt: skip

    journal.record_cycle(quiet_cycle(START_MS, fills=[fill("BTC"), fill("ETH"), fill("BTC")]))
    assert rows(path, "SELECT trade_id, instrument FROM fill ORDER BY instrument") == [(9, "BTC"), (9, "ETH")]
    with read(path) as reader:
        with pytest.raises(ConfigError, match=r"more than one trade 9; ask for 9:BTC or 9:ETH"):
            explain(reader, "9")
        told = explain(reader, "9:ETH")
        assert [(row["trade_id"], row["coin"]) for row in told["fills"]] == [(9, "ETH")]


def test_a_cycle_is_written_whole_or_not_at_all(journal: Journal, path: Path) -> None:
    payment = FundingPayment(START_MS, "BTC", 5, Decimal(60000), Decimal("0.0000125"), Decimal("-0.000037"))
    journal._writer.connection.execute(
        "CREATE TRIGGER stop BEFORE INSERT ON memory BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(StateError, match="no"):
        journal.record_cycle(quiet_cycle(START_MS, payments=[payment]))
    assert rows(path, "SELECT count(*) FROM funding") == [(0,)]
    assert rows(path, "SELECT count(*) FROM equity") == [(0,)]
    journal._writer.connection.execute("DROP TRIGGER stop")
    journal.record_cycle(quiet_cycle(START_MS, payments=[payment]))
    assert rows(path, "SELECT count(*) FROM funding") == [(1,)]


def test_memory_comes_back_to_the_last_bit(journal: Journal, path: Path) -> None:
    random = np.random.default_rng(3)
    memory = Memory(
        random.uniform(-1, 1, (2, 3)) * [[1, 0, 1], [0, 0, 1]],
        random.integers(0, START_MS, (2, 3)),
        random.integers(-10, 10, (2, 3)),
        np.array([0, START_MS, 0]),
        100_000.1 + 0.2,
        19_844,
        99_999.9,
    )
    journal.record_cycle(quiet_cycle(START_MS, memory=memory))
    journal.close()
    with Journal.open(path) as again:
        back = again.memory(STRATEGIES, NAMES)
    assert back is not None
    for name in ("scores", "since_ms", "held_lots", "rest_until_ms"):
        before, after = getattr(memory, name), getattr(back, name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert (back.high_water_mark_usd, back.day, back.day_open_usd) == (100_000.1 + 0.2, 19_844, 99_999.9)


def test_memory_finds_its_place_when_strategies_and_instruments_have_changed(journal: Journal) -> None:
    memory = Memory.blank(2, 3, 100_000.0)
    memory.scores[1, 2], memory.since_ms[1, 2], memory.held_lots[1, 2] = -0.75, START_MS, -42
    memory.held_lots[0, 0] = 5
    memory.rest_until_ms[2] = START_MS + 1
    journal.record_cycle(quiet_cycle(START_MS, memory=memory))
    back = journal.memory(("new", "fade"), ("DOGE", "SOL"))
    assert back is not None
    assert back.scores.tolist() == [[0, 0], [-0.75, 0]]
    assert back.since_ms.tolist() == [[0, 0], [START_MS, 0]]
    assert back.held_lots.tolist() == [[0, 0], [-42, 0]]
    assert back.rest_until_ms.tolist() == [START_MS + 1, 0]


def test_a_restart_finds_run_memory_and_checkpoint(path: Path) -> None:
    with Journal.open(path) as journal:
        assert (journal.last_run(), journal.memory(STRATEGIES, NAMES), journal.checkpoint()) == (
            None,
            None,
            None,
        )
    desk = Desk(path).hours(3)
    desk.journal.end_run(5)
    desk.journal.close()
    with Journal.open(path) as journal:
        run, checkpoint = journal.last_run(), journal.checkpoint()
        assert journal.memory(STRATEGIES, NAMES) is not None
    assert run is not None
    assert (run.name, run.source, run.last_ms, run.ended_wall_ms) == (
        "desk",
        {"market": "synthetic", "seed": 7},
        desk.time_ms,
        5,
    )
    assert checkpoint is not None
    assert checkpoint.time_ms == desk.time_ms
    assert checkpoint.state == json.loads(json.dumps(desk.exchange.state()))


def test_a_run_on_another_market_is_refused_and_says_what_differs(journal: Journal) -> None:
    with pytest.raises(StateError, match=r"seed was 7, now 8.*another journal.path"):
        journal.begin_run(facts(source={"market": "synthetic", "seed": 8}))
    with pytest.raises(StateError, match="mode was paper, now live"):
        journal.begin_run(facts(mode="live"))
    assert journal.begin_run(facts(name="renamed")) == 2


def test_lots_that_change_their_meaning_are_refused(journal: Journal) -> None:
    with pytest.raises(StateError, match="BTC in lots of 5 decimals, the venue now in 4"):
        journal.begin_run(facts(instruments=[simple_instrument("BTC", 4, 40), *INSTRUMENTS[1:]]))


def test_a_second_writer_is_refused_and_told_who_the_first_is(journal: Journal, path: Path) -> None:
    link = path.with_name("alias.sqlite")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(StateError, match=rf"another daemon \(pid {os.getpid()}\)"):
            Journal.open(name)
        assert owner(name) == os.getpid()
    journal.close()
    assert owner(path) is None
    Journal.open(link).close()


def test_a_reader_looking_at_the_lock_does_not_keep_a_daemon_from_starting(path: Path) -> None:
    Journal.open(path).close()
    looking = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import fcntl, time
file = open({str(path) + ".lock"!r})
fcntl.flock(file, fcntl.LOCK_SH)
print("looking", flush=True)
time.sleep(0.1)
""",
        ],
        stdout=subprocess.PIPE,
    )
    assert looking.stdout is not None
    assert looking.stdout.readline() == b"looking\n"
    with Journal.open(path):
        assert owner(path) == os.getpid()
    assert looking.wait(10) == 0
    looking.stdout.close()


WRITER = """
import sys
from pathlib import Path
from tests.journal.diary import Desk
desk = Desk(Path(sys.argv[1]))
while True:
    desk.hour()
    print(desk.journal.checkpoint().time_ms, flush=True)
"""


@pytest.mark.parametrize("cycles", [1, 4, 9])
def test_what_was_recorded_outlives_a_kill_and_is_consistent(path: Path, cycles: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(cycles)][-1]
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(10) == -signal.SIGKILL
    writer.stdout.close()
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    with Journal.open(path) as journal:
        checkpoint = journal.checkpoint()
    assert checkpoint is not None
    assert checkpoint.time_ms >= acknowledged
    # Every cycle is there with all its parts, and at most one decision is ahead of it.
    ((last, count),) = rows(path, "SELECT max(time_ms), count(*) FROM equity")
    assert (last, count) == (checkpoint.time_ms, (checkpoint.time_ms - START_MS) // HOUR_MS)
    assert rows(path, "SELECT time_ms FROM memory") == [(last,)]
    ((decided,),) = rows(path, "SELECT count(*) FROM decision")
    assert decided in (count, count + 1)  # type: ignore[operator]
    account = checkpoint.state["accounts"]["desk"]
    fees = sum((Decimal(str(fee)) for (fee,) in rows(path, "SELECT fee_usd FROM fill")), ZERO)
    funding = sum((Decimal(str(usd)) for (usd,) in rows(path, "SELECT usd FROM funding")), ZERO)
    assert (fees, funding) == (Decimal(account["fees_usd"]), Decimal(account["funding_usd"]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not a database at all, but long enough to look like something " * 20, "is not a journal"),
        (None, "some other program's database"),
    ],
)
def test_a_file_that_is_no_journal_is_left_alone(path: Path, content: bytes | None, sentence: str) -> None:
    path.parent.mkdir()
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE trades (id)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StateError, match=sentence) as caught:
        Journal.open(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert owner(path) is None


def test_a_journal_of_a_newer_version_is_refused(path: Path) -> None:
    with Journal.open(path) as journal:
        journal._writer.connection.execute("PRAGMA user_version = 5")
    with pytest.raises(StateError, match="of version 5, this program reads 4"):
        Journal.open(path)


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [("PRAGMA max_page_count = 1", "the disk is full"), ("PRAGMA query_only = ON", "can't be written to")],
)
def test_a_disk_that_is_full_or_read_only_is_told_in_one_sentence_and_survived(
    journal: Journal, cause: str, sentence: str
) -> None:
    journal._writer.connection.execute(cause)
    with pytest.raises(StateError, match=sentence):
        journal.record_event(START_MS, "note", "x" * 100_000)
    journal._writer.connection.execute("PRAGMA query_only = OFF")
    journal._writer.connection.execute("PRAGMA max_page_count = 1000000")
    journal.record_event(START_MS, "note", "there is room again")


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="its folder can't be used"):
        Journal.open(tmp_path / "file" / "paper.sqlite")
    with pytest.raises(StateError, match="directory"):
        Journal.open(tmp_path)


def test_what_nothing_explains_may_come_twice_in_one_hour(journal: Journal) -> None:
    journal.open_books(START_MS, DEPOSIT, DEPOSIT, {})
    for more in (1, 3, 7):  # an order by hand is a cycle at the moment of the last one
        equity = EquityPoint(DEPOSIT + more, DEPOSIT + more, ZERO, ZERO, ZERO, ZERO, ZERO)
        (drift,) = journal.record_cycle(quiet_cycle(START_MS, equity=equity))
        assert drift.part == "transfers"
    names = [
        row["reference"]
        for row in journal._writer.each("SELECT reference FROM entry WHERE kind = 'suspense'")
    ]
    assert names == [str(START_MS), f"{START_MS}#2", f"{START_MS}#3"]
