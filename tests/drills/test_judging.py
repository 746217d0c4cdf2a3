"""What judges a drill finds each thing that may be wrong, in books made false on purpose."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from bot.cli import cli
from bot.drills import books
from bot.drills.books import Attempt, Books, Signed, apart, misplaced, signed_twice, strangers
from bot.drills.drills import DRILLS, compare, signed_for_one, twin_config
from bot.drills.practice import Practice
from bot.drills.story import NotHere, NotSeen, Story, Verdict, facts
from bot.errors import ConfigError
from bot.model.attempt import AttemptState as State
from tests.journal.diary import Desk

D = Decimal
BOOKS = Books(
    ((1, "BTC", D("0.5"), D(100), D("0.01")), (2, "SOL", D(3), D(20), D("0.02"))),
    ((3_600_000, "BTC", D("-0.25")), (7_200_000, "BTC", D("0.5"))),
    {"BTC": D("0.5"), "SOL": D(-3)},
    D("0.03"),
)


def test_the_same_books_are_not_apart_and_an_hour_more_at_the_exchange_is_none() -> None:
    assert apart(BOOKS, BOOKS) == []
    later = replace(BOOKS, payments=(*BOOKS.payments, (10_800_000, "SOL", D(1))))
    assert apart(BOOKS, later) == []
    assert apart(later, BOOKS) == ["the exchange has not the funding payment 10800000 SOL 1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: replace(b, fills=b.fills[:1]), "the journal has not the trade 2 SOL 3 20 0.02"),
        (lambda b: replace(b, fills=(*b.fills, b.fills[0])), "the exchange has not the trade 1 BTC 0.5 100 0.01"),
        (lambda b: replace(b, fills=(b.fills[0], (2, "SOL", D(3), D(21), D("0.02")))), "has not the trade 2"),
        (lambda b: replace(b, fills=(b.fills[0], (2, "SOL", D(4), D(20), D("0.02")))), "has not the trade 2"),
        (lambda b: replace(b, fills=(b.fills[0], (2, "SOL", D(3), D(20), D("0.03")))), "has not the trade 2"),
        (lambda b: replace(b, payments=b.payments[1:]), "the journal has not the funding payment 3600000 BTC -0.25"),
        (lambda b: replace(b, payments=(*b.payments, b.payments[0])), "the exchange has not the funding"),
        (lambda b: replace(b, held={"BTC": D("0.5")}), "the journal holds 0 SOL, the exchange -3"),
        (lambda b: replace(b, held={**b.held, "DOGE": D(1)}), "the journal holds 1 DOGE, the exchange 0"),
        (lambda b: replace(b, fees_usd=D("0.04")), "fees of 0.04 USD in the journal, 0.03 at the exchange"),
    ],
)  # fmt: skip
def test_every_false_book_is_found(change: Callable[[Books], Books], said: str) -> None:
    problems = apart(change(BOOKS), BOOKS)
    assert any(said in problem for problem in problems), problems


ATTEMPTS = [
    Attempt("0x1", "a-BTC-entry", State.FILLED),
    Attempt("0x2", "a-BTC-stop", State.ACKED),
    Attempt("0x3", "b-SOL-entry", State.FENCED),
    Attempt("0x4", "b-SOL-entry", State.FILLED),
    Attempt("0x5", "c-SOL-entry", State.REJECTED),
]
AT_VENUE = {"0x1": "filled", "0x2": "open", "0x4": "filled", "0x5": "rejected"}


def test_orders_that_are_where_the_journal_says_are_not_misplaced() -> None:
    assert misplaced(ATTEMPTS, AT_VENUE) == []


@pytest.mark.parametrize(
    ("attempts", "at_venue", "said"),
    [
        ([*ATTEMPTS, Attempt("0x6", "a-BTC-entry", State.FILLED)], {**AT_VENUE, "0x6": "filled"}, "venue 2 times"),
        (ATTEMPTS, {**AT_VENUE, "0x9": "open"}, "never wrote down"),
        (ATTEMPTS, {**AT_VENUE, "0x3": "filled"}, "order b-SOL-entry is fenced in the journal, filled at the venue"),
        (ATTEMPTS, {**AT_VENUE, "0x5": "filled"}, "is rejected in the journal, filled at the venue"),
        (ATTEMPTS, {k: v for k, v in AT_VENUE.items() if k != "0x1"}, "does not know order a-BTC-entry, filled"),
        (ATTEMPTS, {k: v for k, v in AT_VENUE.items() if k != "0x2"}, "does not know order a-BTC-stop, acked"),
        *(([*ATTEMPTS, Attempt("0x7", "d-BTC-exit", state)], AT_VENUE, "d-BTC-exit was not found out")
          for state in (State.INTENT, State.SENT, State.UNKNOWN)),
        ([*ATTEMPTS, Attempt("0x7", "d", State.EXPIRED)], {**AT_VENUE, "0x7": "open"}, "is expired"),
    ],
)  # fmt: skip
def test_every_misplaced_order_is_found(attempts: list[Attempt], at_venue: dict[str, str], said: str) -> None:
    problems = misplaced(attempts, at_venue)
    assert any(said in problem for problem in problems), problems


# What the exchange may say of an order beside each state of the journal; it lives a moment longer.
ENDED: set[str | None] = {"canceled", "marginCanceled", "reduceOnlyCanceled", "siblingFilledCanceled"}
REFUSED: set[str | None] = {"rejected", "iocCancelRejected", "perpMarginRejected"}
HONEST: dict[State, set[str | None]] = {
    State.ACKED: {"open", "triggered", "filled", *ENDED, *REFUSED},  # a stop may be turned down when it fires
    State.PARTIAL: {"open", "triggered", "filled", *ENDED},
    State.FILLED: {"filled"},
    State.CANCELED: ENDED,  # after a part of it was filled too
    State.REJECTED: {*REFUSED, None},  # or it never left
    State.FENCED: {None},
    State.EXPIRED: {None},
    State.INTENT: set(),
    State.SENT: set(),
    State.UNKNOWN: set(),
}
WORDS = ["open", "triggered", "filled", "a new word", *sorted(map(str, ENDED | REFUSED))]


@pytest.mark.parametrize("status", [None, *WORDS])
@pytest.mark.parametrize("state", list(State))
def test_every_pair_is_judged(state: State, status: str | None) -> None:
    problems = misplaced([Attempt("0x1", "d-BTC-exit", state)], {} if status is None else {"0x1": status})
    assert len(problems) == (status not in HONEST[state]), problems
    assert all("d-BTC-exit" in problem for problem in problems)


def test_signatures_for_a_stranger_or_twice_for_one_order_are_found(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    lines = [
        {"kind": "start"},
        {"kind": "sign", "pid": 7, "orders": [["BTC", True, "1", "2", False, "0xa"]]},
        {"kind": "sign", "pid": 7, "orders": []},
        {"kind": "deny", "pid": 8, "rule": "one_trader"},
        {"kind": "deny", "pid": 8, "rule": "collar"},
    ]
    log.write_text("\n".join(map(json.dumps, lines)))
    signed = books.signed_in(log)
    assert signed == [Signed(7, ("0xa",)), Signed(7, ())]
    assert (strangers(signed, [7]), signed_twice(signed)) == ([], [])
    assert books.denied_in(log, "one_trader") == {8: 1}
    assert strangers([*signed, Signed(8, ())], [7]) == ["process 8 got 1 signatures"]
    assert signed_twice([*signed, Signed(7, ("0xb", "0xa"))]) == ["order 0xa was signed 2 times"]


def test_a_journal_reads_as_what_its_exchange_did(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.sqlite").hours(30)
    found = books.of_journal(tmp_path / "journal.sqlite")
    sizes = {name: position.size for name, position in desk.account.positions.items()}
    assert {name: size for name, size in found.held.items() if size} == sizes
    assert found.fees_usd == desk.account.fees_usd
    assert [row[0] for row in found.fills] == [fill.trade_id for fill in desk.fills]
    assert sum((row[2] for row in found.payments), D(0)) == sum((each.usd for each in desk.payments), D(0))
    missing = replace(found, fills=found.fills[1:])
    assert len(apart(missing, found)) == 1


@dataclass(frozen=True)
class Left:
    """What a practice has left behind; the exchange's part is made up."""

    journal: Path
    audit: Path
    theirs: Books

    def exchange(self) -> tuple[Books, dict[str, str]]:
        return self.theirs, {}


def wrong(story: Story) -> set[str]:
    return {step.text for step in story.steps if not step.is_right}


def test_a_drill_in_which_nothing_was_traded_has_shown_nothing(tmp_path: Path) -> None:
    journal, audit = tmp_path / "journal.sqlite", tmp_path / "audit.jsonl"
    Desk(journal).hours(30)
    audit.write_text("")
    mine = books.of_journal(journal)
    for theirs, said in ((mine, False), (replace(mine, fills=()), True)):
        story = Story()
        compare(cast("Practice", Left(journal, audit, theirs)), story)
        assert ("trades were made at all" in wrong(story)) is said


@pytest.mark.parametrize(
    ("signed_for", "denied", "said"),
    [
        ([7], [8], set()),
        ([7, 8], [8], {"the second ones got no signature"}),
        ([7, 9], [8], {"the second ones got no signature"}),
        ([8], [8], {"the second ones got no signature", "the first got some"}),
        ([7], [9], {"the signer turned it away"}),
        ([], [8], {"the first got some"}),
    ],
)
def test_a_signer_that_signed_for_a_second_one_is_found(
    tmp_path: Path, signed_for: list[int], denied: list[int], said: set[str]
) -> None:
    lines = [{"kind": "sign", "pid": pid, "orders": []} for pid in signed_for]
    lines += [{"kind": "deny", "pid": pid, "rule": "one_trader"} for pid in denied]
    (tmp_path / "audit.jsonl").write_text("\n".join(map(json.dumps, lines)))
    story = Story()
    signed_for_one(tmp_path / "audit.jsonl", story, 7, 8)
    assert wrong(story) == said


def test_a_drill_passes_only_where_something_was_judged_and_all_of_it_holds() -> None:
    story = Story()
    story.does("something")
    assert Verdict.of(story).result == "FAIL"
    story.check("it holds", [])
    assert Verdict.of(story) == Verdict("PASS", "all 1 checks hold")
    assert Verdict.of(story, NotSeen("x was not seen")) == Verdict("FAIL", "x was not seen")
    assert Verdict.of(story, NotHere("no such limit")).result == "NOT DONE"
    story.check("it does not", ["one", "two"])
    assert Verdict.of(story) == Verdict("FAIL", "not so: it does not (one)")
    told = facts("kill", story, Verdict.of(story))
    assert [step["kind"] for step in told["steps"]] == ["does", "check", "check"]
    assert [step.told() for step in story.steps] == ["→ something", "✓ it holds", "✗ it does not: one; two"]


def test_alone_it_lists_the_drills_and_an_unknown_one_is_a_sentence() -> None:
    told = CliRunner().invoke(cli, ["drill"])
    assert told.exit_code == 0
    assert [line.split()[0] for line in told.output.splitlines()] == list(DRILLS)
    listed = json.loads(CliRunner().invoke(cli, ["drill", "--json"]).output)
    assert [each["name"] for each in listed["drills"]] == list(DRILLS)
    unknown = CliRunner().invoke(cli, ["drill", "earthquake"])
    assert isinstance(unknown.exception, ConfigError)
    assert "there is no drill 'earthquake'" in str(unknown.exception)
    assert twin_config.__doc__
