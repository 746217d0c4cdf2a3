"""The real pipeline over the standard workload against the same rules in a plain loop.

Prices, funding and fees are the same; what may differ is rounding: quantities are cut to whole lots (a hundred
millionth of a coin, at most some 0.001 USD a fill, and only its later profit counts) and every payment is rounded to
a millionth of a dollar. Over a run that stays far below a millionth of 100,000 USD.

A venue liquidates one position after the other and stops as soon as what is left is backed; the workload's rule
closes the whole book. They mean the same where there is one position, and where the loss exceeds all equity.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.made_up_market import START_MS, Market, make, write
from benchmarks.standard_workload import workload, workload_from
from bot.model.instrument import simple_instrument
from bot.model.panel import HOUR_MS, Grid, Panel
from bot.reports.record import RunRecord
from bot.research.backtest import run
from tests.research import plain_engine
from tests.research.plain_engine import Outcome, Rates, Tables

RELATIVE = 1e-6


def tables(market: Market) -> Tables:
    return Tables(market.open, market.high, market.low, market.close, market.funding)


def panel(market: Market) -> Panel:
    """Row T holds the candle that closed at T and what settled at T."""
    fields = {name: getattr(market, name) for name in ("open", "high", "low", "close")}
    fields |= dict.fromkeys(("mark", "oracle"), market.close)
    fields |= {"funding_rate": market.funding, "volume_usd": market.volume * market.close}
    return Panel(Grid(START_MS // HOUR_MS + 1, len(market.close)), market.names, fields)


def both(market: Market, rules: Rates) -> tuple[RunRecord, Outcome]:
    instruments = [simple_instrument(name, 8, 40) for name in market.names]
    test = workload(panel(market), instruments, rules.position_size, rules.max_positions)
    return run(test), plain_engine.run(tables(market), rules)


def assert_same(ours: RunRecord, plain: Outcome) -> None:
    assert len(ours.fills) == plain.fills
    assert len(ours.liquidations) == plain.liquidations
    for exact, rough in (
        (ours.equity_end, plain.final_equity),
        (ours.funding_usd, plain.funding),
        (ours.fees_usd, plain.fees),
    ):
        assert float(exact) == pytest.approx(rough, rel=RELATIVE, abs=RELATIVE * abs(plain.final_equity))


@pytest.mark.parametrize(("seed", "coins"), [(1, 6), (2, 9), (3, 12), (4, 25)])
def test_the_pipeline_comes_to_the_money_and_the_fills_of_the_plain_loop(seed: int, coins: int) -> None:
    ours, plain = both(make(hours=1500, coins=coins, seed=seed), Rates())
    assert plain.fills > 60
    assert plain.liquidations == 0
    assert (
        abs(plain.final_equity / 100_000 - 1) > 100 * RELATIVE
    )  # it is not the sameness of having done nothing
    assert_same(ours, plain)


@pytest.mark.parametrize(("seed", "liquidations"), [(5, 2), (17, 5), (22, 4), (23, 6)])
def test_one_position_at_high_leverage_is_liquidated_as_often_and_for_the_same_money(
    seed: int, liquidations: int
) -> None:
    ours, plain = both(make(hours=1500, coins=6, seed=seed), Rates(position_size=25.0, max_positions=1))
    assert plain.liquidations == liquidations
    assert_same(ours, plain)


def test_a_crash_that_takes_more_than_all_equity_closes_the_whole_book_and_ends_the_run() -> None:
    hours, coins, crash_hour = 1200, 10, 900
    market = make(hours=hours, coins=coins, seed=8, crash=(crash_hour, 0.05))
    # Even noise can't be two of its own deviations from its mean; what stands out is what is put there.
    funding = np.random.default_rng(8).uniform(-1e-6, 1e-6, (hours, coins))
    funding[300:310, :4] = 1e-4
    funding[895:905, 2:9] = -1e-4  # so seven coins are bought just before all prices fall
    ours, plain = both(replace(market, funding=funding), Rates(position_size=0.6))
    assert (plain.fills, plain.liquidations) == (2 * 4 + 2 * 7, 7)
    assert plain.final_equity < 0
    assert_same(ours, plain)
    crash_ms = START_MS + (crash_hour + 1) * HOUR_MS  # the crash's bar ends
    assert {one.time_ms for one in ours.liquidations} == {crash_ms}
    assert max(fill.time_ms for fill in ours.fills) == crash_ms


def test_a_data_folder_gives_the_same_run_as_its_matrices(tmp_path: Path) -> None:
    market = make(hours=700, coins=6, seed=9)
    write(market, tmp_path)
    plain = plain_engine.run(plain_engine.read(tmp_path))
    assert plain == plain_engine.run(tables(market))
    assert_same(run(workload_from(tmp_path)), plain)


def test_a_change_of_one_basis_point_in_the_fee_is_seen() -> None:
    market = make(hours=700, coins=6, seed=9)
    ours, plain = both(market, Rates())
    fewer = replace(plain, final_equity=plain.final_equity - plain.fees / 4.5)
    with pytest.raises(AssertionError):
        assert_same(ours, fewer)


# The workload itself, whose maker lives beside the repository


@pytest.fixture(scope="module")
def generator(real_data: Path) -> ModuleType:
    script = real_data.parent / "benchmarks" / "workload.py"
    if not script.is_file():
        pytest.skip(f"the standard workload's generator is not at {script}")
    spec = importlib.util.spec_from_file_location("standard_workload_generator", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real_data
@pytest.mark.slow
def test_the_full_standard_workload_comes_to_its_known_result(generator: ModuleType, tmp_path: Path) -> None:
    generator.write(tmp_path, 17_520, 100)
    plain = plain_engine.run(plain_engine.read(tmp_path))
    assert (plain.fills, plain.liquidations) == (9_828, 0)
    assert plain.final_equity == pytest.approx(572_898.28, rel=RELATIVE)
    assert_same(run(workload_from(tmp_path)), plain)
