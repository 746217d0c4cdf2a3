"""No signal and no plugin sees the future, and each needs no more of the past than it says.

That is what makes one implementation serve a backtest and a live tail, so every signal of the catalogue and every
strategy that is shipped goes through; and so do some that cheat, to see that cheats are caught.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

import numpy as np
import pytest

from bot import plugins
from bot.model.panel import Field, Panel
from bot.pipeline.strategy import Strategy, View
from bot.research.plugin_check import check
from bot.signals.catalogue import SIGNALS
from bot.strategy import Opinion, funding_apr, sign, zscore
from tests.signals.causality import depends_on_more_than_its_reach, looks_ahead, of_signal, of_strategy
from tests.signals.naive import made_up

ROWS = 760
SHIPPED = sorted(point.name for point in entry_points(group=plugins.ENTRY_POINTS))


@pytest.fixture(scope="module")
def market() -> Panel:
    return made_up(ROWS, width=4)


CUTS = [380, 500, 633, ROWS - 2]


def test_the_shipped_strategies_are_the_ones_gone_through() -> None:
    assert SHIPPED == ["extreme_funding_fade", "funding_carry", "hedged_carry", "positioning"]


@pytest.mark.parametrize("name", SIGNALS)
def test_another_future_moves_no_past_value_of_a_signal(name: str, market: Panel) -> None:
    assert np.isfinite(SIGNALS[name](market).values[: CUTS[0] + 1]).any()
    assert looks_ahead(of_signal(SIGNALS[name]), market, CUTS) == []


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signals_last_row_over_the_tail_it_reaches_is_its_last_row_over_everything(
    name: str, market: Panel
) -> None:
    assert np.isfinite(SIGNALS[name](market).values[CUTS]).any()
    assert depends_on_more_than_its_reach(of_signal(SIGNALS[name]), market, CUTS) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_another_future_moves_no_past_signal_of_a_plugin(name: str, market: Panel) -> None:
    assert looks_ahead(of_strategy(plugins.build(name, {})), market, CUTS) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_a_plugins_last_row_over_the_tail_it_reaches_is_its_last_row_over_everything(
    name: str, market: Panel
) -> None:
    assert depends_on_more_than_its_reach(of_strategy(plugins.build(name, {})), market, CUTS) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_plugin_keeps_every_promise(name: str) -> None:
    report = check(plugins.build(name, {}), name)
    assert [each.detail for each in report.checks if not each.passed] == []
    assert {"causal signals", "tail equals whole", "causal forecast", "because"} <= {
        each.name for each in report.checks
    }


# Signals that cheat.


def over_the_whole_history(panel: Panel) -> Field:
    mark = panel.mark
    return mark.apply(lambda values: values / np.nansum(values, axis=0))


def one_hour_early(panel: Panel) -> Field:
    return panel.mark.apply(lambda values: np.vstack([values[1:], values[-1:]]))


def filled_backwards(panel: Panel) -> Field:
    rate = panel.funding_rate.values.copy()
    for row in range(len(rate) - 2, -1, -1):
        rate[row] = np.where(np.isnan(rate[row]), rate[row + 1], rate[row])
    return Field(rate, panel.grid)


def running_total(panel: Panel) -> Field:
    return panel.funding_rate.apply(lambda values: np.nancumsum(values, axis=0))


def shallower_than_it_is(panel: Panel) -> Field:
    return Field(panel.mark.lag(24).values, panel.grid, reach=20)


@pytest.mark.parametrize("cheat", [over_the_whole_history, one_hour_early, filled_backwards])
def test_a_signal_that_looks_ahead_is_caught(cheat: Callable[[Panel], Field], market: Panel) -> None:
    # Funding is missing for a day in the middle, so a value filled backwards comes from after the cut.
    assert looks_ahead(of_signal(cheat), market, [ROWS // 2 + 4]) != []


@pytest.mark.parametrize("cheat", [over_the_whole_history, running_total, shallower_than_it_is])
def test_a_signal_that_remembers_more_than_its_reach_is_caught(
    cheat: Callable[[Panel], Field], market: Panel
) -> None:
    assert depends_on_more_than_its_reach(of_signal(cheat), market, CUTS) != []


@dataclass(frozen=True)
class Prophet(Strategy):
    """Buys what will have risen a day later."""

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        later = panel.mark.apply(lambda values: np.vstack([values[24:], values[-24:]]))
        return {"rise": later / panel.mark - 1.0}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(sign(view.rise), "it will move {rise:+.1%}")


@dataclass(frozen=True)
class Hoarder(Strategy):
    """Measures from the first hour there is, so that a restart with less history would measure otherwise."""

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        paid = panel.funding_rate.apply(lambda values: np.nancumsum(values, axis=0))
        return {"paid": paid, "z": zscore(panel.funding_rate, 24)}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(sign(view.paid), "paid {paid:.2%} so far, z {z:+.1f}")


@dataclass(frozen=True)
class Diarist(Strategy):
    """Keeps its own memory, which dies with the process."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", [])

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"rate": funding_apr(panel)}

    def forecast(self, view: View) -> Opinion:
        calls: list[int] = self.calls  # type: ignore[attr-defined]
        calls.append(view.row)
        return view.opinion(sign(view.rate) * (float(len(calls) < 50)), "rate {rate:.1%}")


def broken(strategy: Strategy) -> set[str]:
    return {each.name for each in check(strategy).checks if not each.passed}


def test_a_plugin_that_looks_ahead_is_caught(market: Panel) -> None:
    assert looks_ahead(of_strategy(Prophet()), market, CUTS) != []
    assert "causal signals" in broken(Prophet())


def test_a_plugin_whose_signals_need_everything_ever_is_caught(market: Panel) -> None:
    assert looks_ahead(of_strategy(Hoarder()), market, CUTS) == []
    assert depends_on_more_than_its_reach(of_strategy(Hoarder()), market, CUTS) != []
    assert broken(Hoarder()) == {"tail equals whole"}


def test_a_plugin_with_a_memory_of_its_own_is_caught() -> None:
    assert "deterministic" in broken(Diarist())
