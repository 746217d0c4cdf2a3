"""What an operator asks of the daemon through the journal: in order, each once, and never silently lost."""

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.errors import StateError
from bot.journal import market
from bot.journal.commands import Answer, Command, Commands, ask
from bot.journal.journal import Journal
from bot.journal.writer import Writer

LONG_S = 30.0
NOW_MS = 1_800_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.sqlite"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    """A daemon's hold on the journal."""
    held = Writer.open(path)
    yield held
    held.close()


def put(path: Path, kind: str, content: Any = None, ago_s: int = 0) -> None:
    """A command as another program writes it, without waiting for the answer."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO command (kind, content, asked_wall_ms) VALUES (?, ?, ?)",
            (
                kind,
                json.dumps({} if content is None else content),
                time.time_ns() // 1_000_000 - ago_s * 1000,
            ),
        )


def rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT kind, state, answer, answered_wall_ms FROM command ORDER BY id"
        ).fetchall()


class Asking:
    """An operator's program that waits for its answer while the test plays the daemon."""

    def __init__(self, path: Path, kind: str = "trade", timeout_s: float = LONG_S) -> None:
        self.answer: Answer | None = None
        self.error: StateError | None = None
        self.thread = threading.Thread(target=self._ask, args=(path, kind, timeout_s))
        self.thread.start()

    def _ask(self, path: Path, kind: str, timeout_s: float) -> None:
        try:
            self.answer = ask(path, kind, {"coin": "BTC", "usd": "100"}, timeout_s)
        except StateError as error:
            self.error = error

    def ended(self) -> "Asking":
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()
        return self


def taken(commands: Commands) -> Command:
    """The next command, waited for."""
    pause = threading.Event()
    for _ in range(3_000):
        command = commands.take()
        if command is not None:
            return command
        pause.wait(0.01)
    raise AssertionError("nothing was asked")


# Taking


def test_commands_are_taken_oldest_first_and_each_once(path: Path, writer: Writer) -> None:
    commands = Commands(writer)
    assert not commands.waiting()
    assert commands.take() is None
    for number in range(3):
        put(path, "trade", {"usd": str(number)})
    assert commands.waiting()
    first = commands.take()
    assert first == Command(1, "trade", {"usd": "0"})
    # Another reader of the same journal, as after a restart within the process, finds what is left.
    other = Commands(writer)
    assert [c.content["usd"] for c in (other.take(), commands.take()) if c is not None] == ["1", "2"]
    assert commands.take() is other.take() is None
    assert not commands.waiting()
    assert [state for _, state, *_ in rows(path)] == ["begun"] * 3


def test_an_answer_goes_to_the_command_that_it_is_for_and_to_no_other(path: Path, writer: Writer) -> None:
    commands = Commands(writer)
    for kind in ("trade", "trade", "halt"):
        put(path, kind)
    first, second = commands.take(), commands.take()
    assert first is not None
    assert second is not None
    commands.answer(second, Answer(True, {"decision": "m2"}), NOW_MS + 5)
    commands.answer(first, Answer(False, {"error": "no"}), NOW_MS + 6)
    assert rows(path) == [
        ("trade", "refused", '{"error": "no"}', NOW_MS + 6),
        ("trade", "done", '{"decision": "m2"}', NOW_MS + 5),
        ("halt", "asked", None, None),
    ]


def test_what_was_begun_of_a_kind_is_answered_together_and_nothing_else_is(
    path: Path, writer: Writer
) -> None:
    commands = Commands(writer)
    for kind in ("flatten", "trade", "flatten", "flatten"):
        put(path, kind)
    for _ in range(3):
        commands.take()
    commands.answer_begun("flatten", Answer(True, {"is_flat": True}), NOW_MS)
    assert [row[:2] for row in rows(path)] == [
        ("flatten", "done"),
        ("trade", "begun"),
        ("flatten", "done"),
        ("flatten", "asked"),
    ]
    # An answer that was given is not changed.
    commands.answer_begun("flatten", Answer(False, {}), NOW_MS + 1)
    assert rows(path)[0] == ("flatten", "done", '{"is_flat": true}', NOW_MS)


def test_wishes_for_less_risk_stand_over_a_restart_and_all_others_are_refused(
    path: Path, writer: Writer
) -> None:
    commands = Commands(writer)
    for kind in ("trade", "halt", "resume", "flatten"):
        put(path, kind, {"why": kind})
    assert commands.standing() == [
        Command(2, "halt", {"why": "halt"}),
        Command(4, "flatten", {"why": "flatten"}),
    ]
    assert commands.refuse_left_over(NOW_MS) == 2
    assert [row[:2] for row in rows(path)] == [
        ("trade", "refused"),
        ("halt", "asked"),
        ("resume", "refused"),
        ("flatten", "asked"),
    ]
    assert "ask again" in rows(path)[0][2]
    assert rows(path)[0][3] == NOW_MS
    assert commands.refuse_left_over(NOW_MS) == 0
    assert [c.kind for c in (commands.take(), commands.take()) if c is not None] == ["halt", "flatten"]
    assert commands.standing() == []


def test_what_was_begun_is_not_refused_as_left_over(path: Path, writer: Writer) -> None:
    commands = Commands(writer)
    put(path, "trade")
    assert commands.take() is not None
    assert commands.refuse_left_over(NOW_MS) == 0
    assert [state for _, state, *_ in rows(path)] == ["begun"]


# Asking


@pytest.mark.parametrize("done", [True, False])
def test_the_answer_comes_back_to_whoever_asked(path: Path, writer: Writer, done: bool) -> None:
    commands = Commands(writer)
    asking = Asking(path)
    command = taken(commands)
    assert (command.kind, command.content) == ("trade", {"coin": "BTC", "usd": "100"})
    facts = {"decision": "m1", "orders": [{"size": "0.5"}], "error": None}
    commands.answer(command, Answer(done, facts), NOW_MS)
    assert asking.ended().answer == Answer(done, facts)


def test_two_who_ask_at_once_each_get_their_own_answer(path: Path, writer: Writer) -> None:
    commands = Commands(writer)
    trade = Asking(path, "trade")
    first = taken(commands)
    resume = Asking(path, "resume")
    second = taken(commands)
    commands.answer(second, Answer(False, {"is": second.kind}), NOW_MS)
    commands.answer(first, Answer(True, {"is": first.kind}), NOW_MS)
    assert trade.ended().answer == Answer(True, {"is": "trade"})
    assert resume.ended().answer == Answer(False, {"is": "resume"})


def test_one_that_nobody_takes_up_in_time_is_withdrawn_and_never_carried_out(
    path: Path, writer: Writer
) -> None:
    with pytest.raises(StateError, match="did not take the command up"):
        ask(path, "trade", {}, 0.2)
    commands = Commands(writer)
    assert not commands.waiting()
    assert commands.take() is None
    assert [row[:2] for row in rows(path)] == [("trade", "refused")]


def test_one_that_was_begun_and_not_answered_in_time_is_said_to_be_so(path: Path, writer: Writer) -> None:
    commands = Commands(writer)
    asking = Asking(path, timeout_s=3.0)
    taken(commands)
    error = asking.ended().error
    assert error is not None
    assert "has begun the command but not answered within 3 s" in str(error)
    assert [row[:2] for row in rows(path)] == [("trade", "begun")]


@pytest.mark.parametrize("kind", ["halt", "flatten"])
def test_a_wish_for_less_risk_is_not_withdrawn_when_nobody_takes_it_up(
    path: Path, writer: Writer, kind: str
) -> None:
    with pytest.raises(StateError, match=f"not finished within 0.1 s; the {kind} stands"):
        ask(path, kind, {}, 0.1)
    assert [each.kind for each in Commands(writer).standing()] == [kind]


@pytest.mark.parametrize("kind", ["trade", "resume"])
def test_without_a_daemon_nothing_is_asked(path: Path, kind: str) -> None:
    Journal.open(path).close()
    with pytest.raises(StateError, match="no daemon is running"):
        ask(path, kind, {}, LONG_S)
    assert rows(path) == []


@pytest.mark.parametrize("kind", ["halt", "flatten"])
def test_without_a_daemon_a_wish_for_less_risk_is_left_for_the_next_start(path: Path, kind: str) -> None:
    Journal.open(path).close()
    assert ask(path, kind, {"why": "away"}, LONG_S) == Answer(False, {"left": True})
    with Journal.open(path) as journal:
        assert journal.commands.standing() == [Command(1, kind, {"why": "away"})]


def test_where_there_is_no_journal_a_halt_is_an_error_and_makes_none(path: Path) -> None:
    with pytest.raises(StateError, match="can't be opened"):
        ask(path, "halt", {}, LONG_S)
    assert not path.exists()


def test_in_a_journal_that_nothing_was_written_to_a_halt_is_an_error(path: Path) -> None:
    path.touch()
    with pytest.raises(StateError, match="is empty; start a run"):
        ask(path, "halt", {}, LONG_S)
    assert path.stat().st_size == 0


# Rows of the market

nan = float("nan")


def row(**fields: list[float]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    return {name: np.array(values, np.float64) for name, values in fields.items()}


def test_a_market_row_comes_back_as_it_was_with_what_was_unknown() -> None:
    given = row(mark=[1.5, nan, 0.1 + 0.2], funding_rate=[-0.0, nan, 1e-300])
    read = market.decode(market.encode(given, ("A", "B", "C")), ("A", "B", "C"))
    assert list(read) == ["mark", "funding_rate"]
    for name, values in given.items():
        assert read[name].tobytes() == values.tobytes()


def test_a_market_row_is_read_on_other_axes_by_name() -> None:
    content = market.encode(row(mark=[1.0, 2.0, 3.0], oracle=[4.0, nan, 6.0]), ("A", "B", "C"))
    read = market.decode(content, ("C", "NEW", "A"))
    np.testing.assert_array_equal(read["mark"], [3.0, nan, 1.0])
    np.testing.assert_array_equal(read["oracle"], [6.0, nan, 4.0])
    assert market.decode(content, ())["mark"].tolist() == []


def test_a_market_row_without_any_coin_of_now_is_unknown_throughout() -> None:
    content = market.encode(row(mark=[1.0]), ("A",))
    np.testing.assert_array_equal(market.decode(content, ("B", "C"))["mark"], [nan, nan])


GOOD = market.encode(row(mark=[1.0, 2.0], oracle=[3.0, 4.0]), ("A", "B"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD[:3],
        GOOD[:20],
        GOOD[:-1],
        GOOD[:-6],
        b"\xff" * 4 + GOOD[4:],
        GOOD[:4] + b"{" + GOOD[5:],
        GOOD[:-4] + b"\x00" * 4,  # the checksum of the values
        GOOD[: 4 + int.from_bytes(GOOD[:4], "big")] + zlib.compress(b"\x00" * 24),  # three of four values
        (2).to_bytes(4, "big") + b"17" + GOOD[-20:],
    ],
)  # fmt: skip
def test_a_damaged_market_row_is_a_state_error(content: bytes) -> None:
    with pytest.raises(StateError, match="market row of the journal is damaged"):
        market.decode(content, ("A", "B"))


# What is not carried out


def test_a_wish_that_nobody_waits_for_any_more_is_stale_and_less_risk_never_is(
    path: Path, writer: Writer
) -> None:
    for kind, ago_s in (("trade", 840), ("trade", 960), ("trade", -120), ("halt", 960)):
        put(path, kind, {}, ago_s)
    commands = Commands(writer)
    assert [commands.take() for _ in range(4)] == [
        Command(1, "trade", {}),
        Command(2, "stale", {}),
        Command(3, "stale", {}),
        Command(4, "halt", {}),
    ]


def test_a_wish_that_is_no_object_is_taken_as_unreadable(path: Path, writer: Writer) -> None:
    put(path, "trade", [1])
    assert Commands(writer).take() == Command(1, "unreadable", {})
