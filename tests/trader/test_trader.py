import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from bot.errors import StateError
from bot.journal.journal import Journal
from bot.journal.pnl import pnl
from bot.journal.reader import read
from bot.journal.verify import verify
from bot.model.decision import Opinion, OrderPlan
from bot.model.money import usd
from bot.model.order import FundingPayment, OrderReport
from bot.model.panel import HOUR_MS
from bot.pipeline.mandate import Mandate
from bot.pipeline.strategy import View
from bot.research.backtest import Backtest
from bot.research.backtest import run as backtest
from bot.research.markets import synthetic_panel
from bot.sim.coins import MAJORS
from bot.trader.trader import Trader
from bot.venues.simulated import SimulatedVenue
from bot.venues.sources import ReplaySource, SyntheticSource
from bot.venues.venue import VenueEvent
from strategies.funding_carry import FundingCarry
from tests.trader.paper import MANDATE, TERMS, everything, run, trader

COINS = [MAJORS[name] for name in ("BTC", "SOL", "DOGE", "WIF")]
START_MS = 1_704_067_200_000
WARMUP = 120
KEPT = (
    "fill",
    "funding",
    "equity",
    "position",
    "strategy_pnl",
    "memory",
    "orders",
    "entry",
    "posting",
    "balance",
)


def synthetic() -> SyntheticSource:
    return SyntheticSource(COINS, seed=11, start_ms=START_MS, warmup=WARMUP, tail=400)


def test_paper_over_a_recording_is_the_backtest_of_it(tmp_path: Path) -> None:
    panel = synthetic_panel(COINS, WARMUP + 500, seed=5)
    instruments = synthetic().instruments
    replay = ReplaySource(panel, instruments, WARMUP, 400, {})

    run(replay, tmp_path / "journal.sqlite", 10_000)

    test = Backtest(
        "same", panel, instruments, MANDATE, TERMS.equity_usd, TERMS.rules, TERMS.frictions, first_row=WARMUP
    )
    record = backtest(test)
    found = everything(tmp_path / "journal.sqlite")
    # What the paper trader sent after its last decision fills in a bar that the recording does not have.
    fills = [
        (f.time_ms, f.instrument, f.side.value, f.lots, str(f.price), str(f.fee_usd)) for f in record.fills
    ]
    assert len(fills) > 100
    assert [(*row[1:6], row[7]) for row in found["fill"]] == fills
    assert {row[11] for row in found["fill"]} >= {"entry", "exit", "stop", "take_profit"}
    payments = [(p.time_ms, p.instrument, p.lots, str(p.usd)) for p in record.payments]
    assert sorted((row[0], row[1], row[2], row[5]) for row in found["funding"]) == sorted(payments)
    assert Decimal(str(found["equity"][-1][1])) == usd(record.equity_end)
    by_strategy = {s.name: (usd(s.price_usd), s.funding_usd, s.fees_usd) for s in record.by_strategy}
    assert {row[0]: tuple(map(Decimal, map(str, row[1:]))) for row in found["strategy_pnl"]} == by_strategy


@pytest.mark.parametrize("source", ["synthetic", "replay"])
def test_a_run_broken_into_pieces_writes_the_same_journal(tmp_path: Path, source: str) -> None:
    def market() -> SyntheticSource | ReplaySource:
        if source == "synthetic":
            return synthetic()
        return ReplaySource(synthetic_panel(COINS, 400, seed=3), synthetic().instruments, WARMUP, 300, {})

    run(market(), tmp_path / "whole.sqlite", 180)
    for cycles in (1, 40, 3, 100, 36):
        run(market(), tmp_path / "pieces.sqlite", cycles)

    whole, pieces = everything(tmp_path / "whole.sqlite"), everything(tmp_path / "pieces.sqlite")
    assert len(whole["fill"]) > 40
    for table in KEPT:
        assert pieces[table] == whole[table], table
    # The first decision after a start is told in full; no other difference is allowed.
    assert [row[:-1] for row in pieces["decision"]] == [row[:-1] for row in whole["decision"]]


@dataclass(frozen=True)
class Moody(FundingCarry):
    """A carry that gives no answer between two moments."""

    from_ms: int = 0
    to_ms: int = 0

    def forecast(self, view: View) -> Opinion:
        if self.from_ms <= view.time_ms < self.to_ms:
            raise RuntimeError("not now")
        return super().forecast(view)


def moody(from_ms: int, hours: int) -> Mandate:
    carry, fade = MANDATE.strategies
    broken = Moody(12, hurdle=0.0, min_hold_h=6, from_ms=from_ms, to_ms=from_ms + hours * HOUR_MS)
    return replace(MANDATE, strategies=(replace(carry, strategy=broken), fade))


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


CARRY_HOLDS = """
SELECT time_ms, instrument, allowed_lots FROM forecast JOIN decision ON id = decision_id
WHERE strategy = 'carry' AND allowed_lots != 0 ORDER BY time_ms LIMIT 1"""
CARRY_WANTS = """
SELECT time_ms, instrument, wanted_lots FROM forecast JOIN decision ON id = decision_id WHERE strategy = 'carry'"""
OUT = """
SELECT time_ms, detail FROM finding JOIN decision ON id = decision_id WHERE rule IN ('strategy carry', 'quarantine carry') ORDER BY time_ms"""


@pytest.mark.parametrize(("hours", "silent"), [(3, 3), (7, 1000)])
def test_a_strategy_that_fails_holds_while_the_others_trade_and_after_five_times_stays_out(
    tmp_path: Path, hours: int, silent: int
) -> None:
    run(synthetic(), tmp_path / "well.sqlite", 100)
    opened_ms, coin, lots = asked(tmp_path / "well.sqlite", CARRY_HOLDS)[0]
    from_ms = opened_ms + 2 * HOUR_MS
    path = tmp_path / "journal.sqlite"
    run(synthetic(), path, 100, moody(from_ms, hours))

    assert asked(path, "SELECT count(*) FROM equity") == [(100,)]
    told = asked(path, OUT)
    assert told[0][0] == from_ms
    assert all(time_ms < from_ms + silent * HOUR_MS for time_ms, _ in told)
    out = "not asked any more after 5 failures in a row, the last of them: RuntimeError: not now"
    assert (out in told[-1][1]) == (silent > hours)
    failed = [
        (time_ms, of, wanted)
        for time_ms, of, wanted in asked(path, CARRY_WANTS)
        if from_ms <= time_ms < from_ms + hours * HOUR_MS
    ]
    # Until the venue closes it by a stop it is what it was, lot for lot, and nothing comes to it.
    assert (from_ms, coin, lots) in failed
    assert {wanted for _, of, wanted in failed if of == coin} <= {lots, 0}
    assert {of for _, of, wanted in failed if wanted} == {coin}


def test_a_strategy_that_has_been_mended_is_asked_again_after_a_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    from_ms = START_MS + (WARMUP + 20) * HOUR_MS
    run(synthetic(), path, 40, moody(from_ms, 1000))
    broken = asked(path, OUT)
    assert broken
    run(synthetic(), path, 20, MANDATE)
    assert asked(path, OUT) == broken


def test_a_checkpoint_stays_small_however_long_the_run(tmp_path: Path) -> None:
    run(synthetic(), tmp_path / "journal.sqlite", 20)
    early = len(str(everything(tmp_path / "journal.sqlite")["checkpoint"]))
    run(synthetic(), tmp_path / "journal.sqlite", 600)
    assert len(str(everything(tmp_path / "journal.sqlite")["checkpoint"])) < 2 * early + 5_000


class PowerCut(Exception):
    """Everything stops here."""


class Unlucky(SimulatedVenue):
    """Loses power while it carries out its n-th plan, after having done so."""

    def __init__(self, *arguments: Any, survives: int) -> None:
        super().__init__(*arguments)
        self.left = survives

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        reports = await super().send(plan)
        if plan:
            self.left -= 1
            if self.left == 0:
                raise PowerCut
        return reports


@pytest.mark.parametrize("survives", [1, 2, 7])
def test_a_cycle_that_was_cut_off_is_made_again_alike(tmp_path: Path, survives: int) -> None:
    run(synthetic(), tmp_path / "whole.sqlite", 60)

    async def cut_off(journal: Journal) -> None:
        venue = Unlucky(synthetic(), TERMS, survives=survives)
        it = Trader("paper", venue, MANDATE, journal, {"version": 1, "name": "paper", "mode": "paper"})
        await it.start()
        while True:
            await it.cycle()

    path = tmp_path / "cut.sqlite"
    with Journal.open(path) as journal, pytest.raises(PowerCut):
        asyncio.run(cut_off(journal))
    with Journal.open(path) as journal:
        planned = journal.unanswered()
    done = len(everything(path)["equity"])
    assert planned  # written down before it was sent
    run(synthetic(), path, 60 - done)

    whole, cut = everything(tmp_path / "whole.sqlite"), everything(path)
    for table in KEPT:
        assert cut[table] == whole[table], table


def test_the_journal_of_another_market_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    run(synthetic(), path, 2)
    other = SyntheticSource(COINS, seed=12, start_ms=START_MS, warmup=WARMUP, tail=400)
    with pytest.raises(StateError, match="seed was 11, now 12"):
        run(other, path, 1)


def test_a_config_without_a_strategy_that_holds_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    run(synthetic(), path, 60)
    while not everything(path)["position"]:
        run(synthetic(), path, 10)
    renamed = replace(
        MANDATE, strategies=tuple(replace(slot, name=f"my-{slot.name}") for slot in MANDATE.strategies)
    )
    with pytest.raises(StateError, match="removed or renamed"):
        run(synthetic(), path, 1, renamed)
    run(synthetic(), path, 1)


def test_books_add_up_at_every_cycle(tmp_path: Path) -> None:
    run(synthetic(), tmp_path / "journal.sqlite", 200)
    found = everything(tmp_path / "journal.sqlite")
    assert len(found["equity"]) == 200
    for _, equity, _, *parts, _, _ in found["equity"]:
        price, funding, fees = (Decimal(str(amount)) for amount in parts)
        assert Decimal(100_000) + price + funding - fees == Decimal(str(equity))
    assert sum(Decimal(str(row[5])) for row in found["funding"]) == Decimal(str(found["equity"][-1][4]))
    assert sum(Decimal(str(row[7])) for row in found["fill"]) == Decimal(str(found["equity"][-1][5]))
    totals = np.array([[float(str(cell)) for cell in row[1:]] for row in found["strategy_pnl"]]).sum(axis=0)
    last = [float(str(cell)) for cell in found["equity"][-1][3:6]]
    assert totals == pytest.approx(last, abs=1e-4)


def test_the_ledger_explains_every_cycle_and_derives_again_to_the_same(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with structlog.testing.capture_logs() as logs:
        for cycles in (150, 50):
            run(synthetic(), path, cycles)
    assert not [each for each in logs if each["log_level"] == "error"]
    with read(path) as reader:
        checked, made = verify(reader), pnl(reader)
    assert checked["differences"] == []
    assert checked["funding"]["rows"] == []
    assert checked["funding"]["hours"] > 100
    assert checked["entries"] > 150
    assert abs(made["rounding_usd"]) <= Decimal("0.0000005")
    assert made["opening_usd"] == 100_000


def test_what_the_venue_states_and_nothing_explains_is_an_error_in_the_log(tmp_path: Path) -> None:
    class Forgetful(SimulatedVenue):
        """Pays funding and does not say so, once."""

        missed = Decimal(0)

        def take_events(self) -> tuple[VenueEvent, ...]:
            events = super().take_events()
            paid = [event for event in events if isinstance(event, FundingPayment) and event.usd]
            if not paid or self.missed:
                return events
            self.missed = paid[0].usd
            return tuple(event for event in events if event is not paid[0])

    venue = Forgetful(synthetic(), TERMS)

    async def life(journal: Journal) -> None:
        it = Trader("paper", venue, MANDATE, journal, {"version": 1, "name": "paper", "mode": "paper"})
        await it.start()
        for _ in range(60):
            await it.cycle()

    with structlog.testing.capture_logs() as logs, Journal.open(tmp_path / "journal.sqlite") as journal:
        asyncio.run(life(journal))
    assert venue.missed
    errors = [each for each in logs if each["log_level"] == "error"]
    books, missing = (
        [each for each in errors if "part" in each],
        [each for each in errors if "part" not in each],
    )
    assert [(each["part"], each["usd"]) for each in books] == [("funding", str(venue.missed))]
    # An hour later it is known that it will not be told any more.
    assert [each["event"] for each in missing] == ["funding missed"]
    assert f"was due {float(venue.missed):+.2f} USD" in missing[0]["found"]
    with read(tmp_path / "journal.sqlite") as reader:
        assert pnl(reader)["suspense"]["total"] == venue.missed
        found = [each["what"] for each in verify(reader)["differences"]]
    assert found[0].partition(",")[0] == "SUSPENSE:funding"
    assert [each.partition(": ")[2] for each in found[1:]] == ["it was due and never told"]


def test_every_position_says_why_it_is_held(tmp_path: Path) -> None:
    positions: list[tuple[object, ...]] = []
    while not positions:
        it = run(synthetic(), tmp_path / "journal.sqlite", 20)
        assert it.cycles == 20
        positions = everything(tmp_path / "journal.sqlite")["position"]
    for row in positions:
        assert str(row[-1]).startswith(("carry: ", "fade: "))
        assert "{" not in str(row[-1])


def test_a_trader_must_start_before_it_cycles(tmp_path: Path) -> None:

    with Journal.open(tmp_path / "journal.sqlite") as journal, pytest.raises(ValueError, match="start"):
        asyncio.run(trader(synthetic(), journal).cycle())
