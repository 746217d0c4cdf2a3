"""Decisions made again from the journal are the same; whatever is changed in the journal or the mandate shows."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.clock import ManualClock
from bot.journal.journal import Journal
from bot.journal.kept import BETWEEN, NO_INPUT, OPERATOR, kept
from bot.journal.reader import read
from bot.pipeline.by_hand import SLOT
from bot.pipeline.mandate import Mandate, Style
from bot.research.replay import DIFFERENT, EQUAL, NOT_MADE, Outcome, replay
from bot.trader.trader import Trader
from strategies.funding_carry import FundingCarry
from tests.trader.paper import MANDATE
from tests.trader.test_ladder import CONFIG, Watched, put
from tests.trader.test_trader import PowerCut, moody

BY_HAND = Mandate(
    (*MANDATE.strategies, SLOT),
    MANDATE.sizing,
    replace(MANDATE.limits, max_gross_leverage=0.5),
    replace(MANDATE.execution, style=Style.MAKER),
)
"""Rules that bind and orders that rest, so that there are findings and cancels."""


def live(path: Path, life: Any, mandate: Mandate = BY_HAND) -> None:
    async def whole(journal: Journal) -> None:
        venue = Watched()
        it = Trader("paper", venue, mandate, journal, CONFIG, clock=ManualClock(1))
        await it.start()
        await life(it, venue)

    with Journal.open(path) as journal:
        asyncio.run(whole(journal))


async def cycles(it: Trader, count: int) -> None:
    for _ in range(count):
        assert await it.cycle()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: orders by hand, a flatten and a resume, and a power cut between a decision and its cycle."""
    path = tmp_path_factory.mktemp("replay") / "journal.sqlite"

    async def first(it: Trader, venue: Watched) -> None:
        await cycles(it, 60)
        for kind, content in (
            ("trade", {"coin": "BTC", "side": "buy", "usd": "700"}),
            ("trade", {"coin": "SOL", "side": "sell", "usd": "400"}),
            ("flatten", {"why": "drill"}),
            ("resume", {"why": "go on"}),
        ):
            put(path, kind, **content)
            assert it.has_command()
            await it.obey()
            await cycles(it, 3)
        await cycles(it, 40)

    async def second(it: Trader, venue: Watched) -> None:
        await cycles(it, 10)
        venue.cut = True
        with pytest.raises(PowerCut):
            await cycles(it, 100)

    async def third(it: Trader, venue: Watched) -> None:
        await cycles(it, 30)

    for life in (first, second, third):
        live(path, life)
    return path


@pytest.fixture
def copy(lived: Path, tmp_path: Path) -> Path:
    shutil.copy(lived, tmp_path / "journal.sqlite")
    return tmp_path / "journal.sqlite"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def outcomes(path: Path, mandate: Mandate = BY_HAND, **chosen: Any) -> list[Outcome]:
    with read(path) as reader:
        found = kept(reader, **chosen)
    return list(replay(found, lambda _: mandate))


def verdicts(found: list[Outcome]) -> dict[str, int]:
    return {
        verdict: sum(each.verdict == verdict for each in found) for verdict in (EQUAL, DIFFERENT, NOT_MADE)
    }


def changed(path: Path) -> list[tuple[str, str]]:
    return [(change.what, change.coin) for each in outcomes(path) for change in each.changes]


def test_the_same_mandate_decides_the_same_through_orders_by_hand_restarts_and_a_power_cut(
    lived: Path,
) -> None:
    found = outcomes(lived)
    told = verdicts(found)
    assert told[DIFFERENT] == 0, [each for each in found if each.verdict == DIFFERENT][:3]
    words = [each for each in found if each.verdict == NOT_MADE]
    assert {each.why for each in words} == {OPERATOR}
    assert len(words) >= 1
    assert told[EQUAL] > 140
    by_hand = [each for each in found if "m" in each.decision.id]
    assert len(by_hand) == 2
    assert all(each.verdict == EQUAL and each.decision.said.orders for each in by_hand)
    again = [each for each in found if each.decision.inputs and each.decision.inputs.plan is not None]
    assert len(again) == 1  # the one that the power cut left half done
    asked = [each for each in found if each.decision.said.orders]
    assert len(asked) > 20
    assert any(each.decision.said.findings for each in found)
    assert any(each.decision.said.cancels for each in found)
    assert any(not each.decision.is_full for each in found)


ASKED = "(SELECT min(decision_id) FROM orders JOIN input USING (decision_id) WHERE purpose = 'entry')"


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE forecast SET score = score / 2 WHERE score <> 0 AND decision_id = {}", "opinion"),
        ("UPDATE forecast SET because = 'else' WHERE decision_id = {}", "opinion"),
        ("UPDATE forecast SET allowed_lots = allowed_lots + 1 WHERE decision_id = {}", "allowed"),
        ("UPDATE target SET wanted_lots = wanted_lots + 1 WHERE decision_id = {}", "wanted"),
        ("UPDATE target SET allowed_lots = allowed_lots + 1 WHERE decision_id = {}", "allowed"),
        ("DELETE FROM target WHERE decision_id = {}", "wanted"),
        ("INSERT INTO finding VALUES ({}, 99, 'made up', 'BTC', 'it never was')", "finding"),
        ("UPDATE finding SET detail = 'else' WHERE number = 0", "finding"),
        ("UPDATE orders SET lots = lots + 1 WHERE decision_id = {}", "order"),
        ("UPDATE orders SET limit_price = '1' WHERE decision_id = {}", "order"),
        ("UPDATE orders SET reduce_only = 1 - reduce_only WHERE decision_id = {}", "order"),
        ("DELETE FROM orders WHERE decision_id = {}", "order"),
        ("UPDATE cancel SET because = 'else'", "cancel"),
        ("DELETE FROM cancel", "cancel"),
    ],
)
def test_whatever_a_decision_said_otherwise_is_found(copy: Path, statement: str, what: str) -> None:
    change(copy, statement.format(ASKED))
    assert what in {found for found, _ in changed(copy)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE market SET content = (SELECT content FROM market ORDER BY time_ms DESC LIMIT 1)",
        "DELETE FROM market WHERE time_ms = (SELECT max(time_ms) - 3600000 FROM market)",
        "DELETE FROM opening",
    ],
)
def test_a_market_that_is_not_the_one_that_was_seen_is_never_decided_on(copy: Path, statement: str) -> None:
    change(copy, statement)
    found = outcomes(copy)
    assert verdicts(found)[DIFFERENT] == 0
    missing = {each.why for each in found if each.verdict == NOT_MADE} - {OPERATOR}
    assert len(missing) == 1
    assert "kept" in missing.pop()


def test_a_decision_without_input_is_said_to_be_so(copy: Path) -> None:
    change(copy, "DELETE FROM input WHERE decision_id = (SELECT min(decision_id) FROM input)")
    found = outcomes(copy)
    assert [each.why for each in found if each.verdict == NOT_MADE and each.why != OPERATOR] == [NO_INPUT]


def test_a_decision_between_two_rows_is_said_to_be_one(copy: Path) -> None:
    change(
        copy,
        "INSERT INTO decision SELECT id || 'a1n1', run_id, time_ms, state, equity_usd, 1 FROM decision"
        " WHERE id = (SELECT min(decision_id) FROM input)",
    )
    found = outcomes(copy)
    assert [each.why for each in found if each.verdict == NOT_MADE and each.why != OPERATOR] == [BETWEEN]


def test_an_input_of_another_run_is_none_of_the_decisions(copy: Path) -> None:
    """As after a program that writes none has made the decision anew."""
    change(copy, "UPDATE decision SET run_id = 3 WHERE id = (SELECT min(id) FROM decision)")
    assert NO_INPUT in {each.why for each in outcomes(copy)}


def test_a_journal_of_a_program_that_kept_no_inputs_is_read_and_gains_the_tables(copy: Path) -> None:
    change(copy, "DELETE FROM input", "DELETE FROM opening")
    with closing(sqlite3.connect(copy)) as connection:
        connection.executescript("DROP TABLE input; DROP TABLE opening")
    assert verdicts(outcomes(copy))[EQUAL] == 0
    live(copy, lambda it, _: cycles(it, 5))
    told = verdicts(outcomes(copy))
    assert (told[EQUAL], told[DIFFERENT]) == (5, 0)


def test_other_sizing_shows_in_sizes_and_orders_but_in_no_opinion(lived: Path) -> None:
    smaller = replace(BY_HAND, sizing=replace(BY_HAND.sizing, position_size=0.1))
    found = outcomes(lived, smaller)
    assert verdicts(found)[DIFFERENT] > 20
    whats = {change.what for each in found for change in each.changes}
    assert {"wanted", "allowed", "order"} <= whats
    assert "opinion" not in whats


def test_another_strategy_shows_in_opinions_and_one_that_is_gone_as_nothing(lived: Path) -> None:
    carry, fade, hand = BY_HAND.strategies
    other = replace(carry, strategy=FundingCarry(half_life_h=12, hurdle=9.9, min_hold_h=6))
    shown = [change for each in outcomes(lived, replace(BY_HAND, strategies=(other, fade, hand)))
             for change in each.changes]  # fmt: skip
    assert {change.who for change in shown if change.what == "opinion"} == {"carry"}
    without = [change for each in outcomes(lived, replace(BY_HAND, strategies=(carry, hand)))
               for change in each.changes]  # fmt: skip
    gone = [change for change in without if change.what == "opinion" and change.who == "fade"]
    assert gone
    assert all(change.now is None for change in gone)


def test_more_history_than_is_kept_is_told_and_not_guessed(lived: Path) -> None:
    carry, fade, hand = BY_HAND.strategies
    longer = replace(carry, strategy=FundingCarry(half_life_h=2000))
    found = outcomes(lived, replace(BY_HAND, strategies=(longer, fade, hand)))
    assert verdicts(found)[EQUAL] == verdicts(found)[DIFFERENT] == 0
    assert any("the journal keeps less" in each.why for each in found)


def test_a_strategy_that_failed_and_was_quarantined_fails_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    mandate = moody(0, 10**7)
    live(path, lambda it, _: cycles(it, 12), mandate)
    found = outcomes(path, mandate)
    assert verdicts(found) == {EQUAL: 12, DIFFERENT: 0, NOT_MADE: 0}
    assert any(each.decision.inputs and each.decision.inputs.quarantined for each in found)


def test_one_decision_or_a_span_of_them(lived: Path) -> None:
    everything = outcomes(lived)
    one = everything[7].decision
    assert [each.decision.id for each in outcomes(lived, name=one.id)] == [one.id]
    span = outcomes(lived, start_ms=one.time_ms, end_ms=one.time_ms + 2 * 3_600_000)
    assert [each.decision.time_ms for each in span] == [one.time_ms + k * 3_600_000 for k in range(3)]


def test_a_restart_writes_none_of_the_past_again(lived: Path) -> None:
    with read(lived) as reader:
        openings = kept(reader).past.openings
    first, second, third = openings.values()
    assert len(first.rows) == first.grid.rows
    assert len(second.rows) + len(third.rows) <= 2
    np.testing.assert_equal(first.instruments, third.instruments)
