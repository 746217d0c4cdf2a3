"""A spread underwritten when it is opened and scored when it is closed, from the journal alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bot.cli.explain import explain as command
from bot.journal.explain import explain
from bot.journal.reader import read
from bot.model.decision import Opinion
from bot.model.panel import Field, Panel
from bot.pipeline.mandate import Mandate
from bot.pipeline.strategy import Strategy, View
from bot.reports.spread_stories import with_spreads
from tests.trader.two_legs import HERE, SPREAD, THERE, Faults, TwoLegs, lives, mandate, market


@dataclass(frozen=True)
class Underwrites(Strategy):
    """Short, as long as it is told to; it expects one in a hundred over six hours, against costs of four in a thousand."""

    score: float = -1.0

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"mark": panel.mark}

    def forecast(self, view: View) -> Opinion:
        def each(value: float) -> Any:
            return lambda: np.full(len(view.mark), value)

        full = np.ones(len(view.mark))
        return view.opinion(
            full * self.score, "{expected:.1%} expected", edge=full * 0.01, expected=full * 0.01, cost=full * 0.004,
            hold_h=each(6.0), half_life_h=each(48.0), round_trip=each(0.0025), poor_basis=each(0.001),
            basis_premium=each(0.0005), hurdle=each(0.002),
        )  # fmt: skip


def underwritten(score: float) -> Mandate:
    told = mandate(score)
    return replace(told, strategies=(replace(told.strategies[0], strategy=Underwrites(score)),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Opened and held for eight hours or so; the short is paid three times what the long pays."""
    venue = TwoLegs(market(funding=(3e-5, 1e-5)), Faults())
    lives(tmp_path / "j", venue, underwritten(-1.0), 9)
    lives(tmp_path / "j", venue, underwritten(0.0), 3)
    assert venue._ready().lots.tolist() == [0, 0]
    return tmp_path / "j"


def ends(path: Path) -> tuple[str, str]:
    """Ids of the decisions whose orders came first and last."""
    with read(path) as reader:
        names = [row["client_id"] for row in reader.each("SELECT client_id FROM fill ORDER BY trade_id")]
    return names[0].partition("-")[0], names[-1].partition("-")[0]


def test_a_trade_of_the_hedge_has_the_opinion_about_the_leg_that_it_hedges(path: Path) -> None:
    with read(path) as reader:
        trades = {
            row["instrument"]: row["trade_id"]
            for row in reader.each("SELECT * FROM fill ORDER BY rowid DESC")
        }
        for leg in (HERE, THERE):
            story = explain(reader, f"{trades[leg.name]}:{leg.name}")
            assert [(each["coin"], each["because"]) for each in story["forecasts"]] == [
                (HERE.name, "1.0% expected")
            ]
            assert {each["coin"] for part in ("targets", "orders", "fills") for each in story[part]} == {
                leg.name
            }


def test_what_was_expected_is_written_down_with_the_decision_that_opens(path: Path) -> None:
    opened, _ = ends(path)
    with read(path) as reader:
        (row,) = reader.each("SELECT * FROM event WHERE kind = 'underwriting'")
    sheet = json.loads(row["text"])
    assert sheet["decision"] == opened
    assert (sheet["spread"], sheet["side"], sheet["strategy"]) == (SPREAD.name, "short", "carry")
    assert sheet["notional_usd"] == pytest.approx(20_000)
    # Both legs at a leverage of 5. Left after costs are 6 in 1,000 of 20,000 in six hours, on 8,000.
    assert sheet["tied_usd"] == pytest.approx(8_000)
    assert sheet["return_on_tied"] == pytest.approx(120 / 8_000 * 8760 / 6)
    assert sheet["stated"] == {
        "expected": 0.01, "cost": 0.004, "hold_h": 6.0, "half_life_h": 48.0, "round_trip": 0.0025, "poor_basis": 0.001,
        "basis_premium": 0.0005, "hurdle": 0.002,
    }  # fmt: skip
    # Each leg has its own margin, and can lose no more than that.
    assert sheet["worst"] == [
        {"leg": leg.name, "price": None, "loss_usd": pytest.approx(4_000)} for leg in (HERE, THERE)
    ]


def test_the_exit_is_told_with_what_was_expected_and_what_came(path: Path) -> None:
    opened, closed = ends(path)
    assert opened != closed
    with read(path) as reader:
        (told,) = with_spreads(reader, explain(reader, closed))["spreads"]
        paid = list(reader.each("SELECT * FROM funding"))
        fees = sum(Decimal(row["fee_usd"]) for row in reader.each("SELECT fee_usd FROM fill"))
        total = Decimal(reader.last["equity_usd"]) - 100_000 if reader.last else Decimal(0)
        assert with_spreads(reader, explain(reader, opened))["spreads"] == [told]
        assert with_spreads(reader, explain(reader, THERE.name))["spreads"] == [told]
    hours = sorted({row["time_ms"] for row in paid})
    assert (told["opened_by"], told["closed_by"], told["side"]) == (opened, closed, "short")
    assert told["hours"] == len(hours)
    assert (told["expected_carry"], told["expected_cost"], told["hold_h"]) == (200.0, 80.0, 6.0)
    # 20,000 USD short at 3 in 100,000 an hour, long at 1: 0.40 an hour.
    assert told["funding"] == pytest.approx(0.4 * len(hours))
    assert told["funding_in_hold"] == pytest.approx(0.4 * 6)
    assert told["fees"] == pytest.approx(-float(fees))
    assert told["basis"] == 0
    assert told["net"] == pytest.approx(float(total))
    assert told["return_on_tied"] == pytest.approx(told["net"] / 8_000 * 8760 / told["hours"])
    assert told["because"] == "1.0% expected"


def test_it_can_be_read_and_taken_apart(path: Path) -> None:
    _, closed = ends(path)
    said = CliRunner().invoke(command, [closed, "--journal", str(path)], terminal_width=200)
    assert said.exit_code == 0
    for part in (
        f"Spread {SPREAD.name}, short, 20,000.00 USD",
        "the carry's half-life was 48 h",
        "+200.00",
        "A liquidation of BTC was reckoned to cost up to 4,000.00 USD.",
    ):
        assert part in said.output
    # Held for some hours: what getting in and out cost is no year's return.
    (year,) = (line for line in said.output.splitlines() if "a year on capital tied" in line)
    assert year.split()[-1] == "–"
    facts = json.loads(CliRunner().invoke(command, [closed, "--journal", str(path), "--json"]).output)
    assert facts["spreads"][0]["expected_carry"] == 200.0


def test_orders_for_legs_belong_to_the_decision_that_they_carry_out(path: Path) -> None:
    opened, _ = ends(path)
    with read(path) as reader:
        story = explain(reader, opened)
        assert {order["coin"] for order in story["orders"]} == {HERE.name, THERE.name}
        assert len(story["fills"]) == len(story["orders"]) == 10
        one = explain(reader, story["orders"][0]["client_id"])
    assert one["decision"]["id"] == opened
