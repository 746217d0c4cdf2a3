import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from bot.model.decision import Opinion
from bot.model.instrument import simple_instrument
from bot.model.panel import HOUR_MS, Field, Grid, Panel
from bot.pipeline.mandate import Mandate, Sizing, Slot
from bot.pipeline.market import Prepared, rows_needed
from bot.pipeline.strategy import SignalTable, Strategy, View, reach_of
from bot.signals.windows import moving_mean
from tests.pipeline.scene import FIRST, Mute, mandate, moment, swinging

nan = math.nan


def column(*values: float) -> Any:
    return np.array(values)[:, None]


# Conditions


def test_age_counts_hours_since_price_and_funding_were_last_known_together() -> None:
    rows = np.full((30, 1), 100.0)
    mark, funding = rows.copy(), rows * 0.0
    mark[-1], funding[-2:], funding[5] = nan, nan, nan
    market = moment(mandate(), mark, funding_rate=funding).market.prepared
    assert [market.at(row).age_h[0] for row in (-4, -3, -2, -1)] == [0.0, 0.0, 1.0, 2.0]
    assert [bool(market.at(row).priced[0]) for row in (-2, -1)] == [True, False]
    assert [bool(market.at(row).fresh[0]) for row in (-3, -2, -1)] == [True, False, False]
    assert [market.at(row).all_fresh for row in (-3, -2)] == [True, False]
    unknown = np.full((30, 1), nan)
    assert moment(mandate(), (100.0,), funding_rate=unknown).market.age_h[0] == math.inf


def test_what_the_market_can_bear_is_the_scarcer_known_bound_and_infinite_where_none_is() -> None:
    told = mandate(max_open_interest_share=0.02, max_volume_share=0.05)
    snapshot = moment(
        told,
        open_interest=(100.0, 100.0, nan),  # 2 % of 10,000 and of 5,000 USD
        volume_usd=(100.0, nan, nan),  # 5 % of 2,400 USD
    )
    assert snapshot.market.cap_usd.tolist() == pytest.approx([120.0, 100.0, math.inf])


def test_volatility_is_measured_only_for_a_volatility_target() -> None:
    told = mandate(sizing=Sizing(volatility_target=0.2))
    measured = moment(told, mark=swinging(0.01)).market.volatility
    assert measured is not None
    assert measured.tolist() == pytest.approx([0.01 * math.sqrt(8760)])
    assert moment(mandate(), mark=swinging(0.01)).market.volatility is None


def test_a_market_row_counts_from_the_first_or_back_from_the_newest() -> None:
    prepared = moment(mandate(), np.arange(1.0, 31.0)[:, None]).market.prepared
    assert prepared.at(0).mark.tolist() == [1.0]
    assert prepared.at(-1).mark.tolist() == [30.0]
    assert prepared.at(-1).time_ms == prepared.panel.grid.end_ms
    assert prepared.at(-1).usd_per_lot.tolist() == [0.3]


def test_instruments_must_be_the_panels_columns_in_order() -> None:
    panel = Panel(Grid(0, 1), ("AAA", "BBB"), {"mark": np.ones((1, 2))})
    coins = [simple_instrument(name, 2, 10) for name in ("BBB", "AAA")]
    with pytest.raises(ValueError, match="same, in the same order"):
        Prepared.of(panel, coins, mandate())


# How long a live tail must be


@dataclass(frozen=True)
class Deep(Strategy):
    hours: int = 100

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"mean": moving_mean(panel.mark, panel.grid.span(self.hours)), "now": panel.mark}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(0.0 * view.mean, "{mean}")


def test_the_tail_is_as_long_as_the_deepest_of_strategies_volatility_and_risk_needs() -> None:
    assert reach_of(Deep(100)) == 100
    assert reach_of(Deep(100), HOUR_MS // 2) == 200
    deep, shallow = Slot("deep", Deep(100), 1.0), Slot("shallow", Deep(2), 1.0)
    assert rows_needed(Mandate((shallow, deep))) == 100
    # A window of 168 returns needs 169 prices; a day of volume 24.
    assert rows_needed(Mandate((shallow,), Sizing(volatility_target=0.1))) == 169
    assert rows_needed(Mandate((shallow,))) == 24
    # Data older than the limit must be seen to be missing.
    assert rows_needed(mandate(max_data_age_h=50)) == 52


def test_a_limit_on_age_and_the_bounds_of_the_market_hold_over_the_tail_too() -> None:
    told = mandate(max_data_age_h=3, max_volume_share=0.05)
    draw = np.random.default_rng(2)
    rows = 200
    funding = np.where(draw.random((rows, 2)) < 0.6, nan, 1e-5)
    volume = np.where(draw.random((rows, 2)) < 0.3, nan, 1e6 * draw.random((rows, 2)))
    panel = Panel(
        Grid(FIRST, rows),
        ("AAA", "BBB"),
        {"mark": np.full((rows, 2), 9.0), "funding_rate": funding, "volume_usd": volume},
    )
    coins = [simple_instrument(name, 2, 10) for name in panel.instruments]
    whole, needed = Prepared.of(panel, coins, told), rows_needed(told)
    for row in range(needed, rows):
        tail = Prepared.of(panel.slice(row + 1 - needed, row + 1), coins, told).at(-1)
        assert ((tail.age_h > 3) == (whole.at(row).age_h > 3)).all()
        assert tail.cap_usd.tobytes() == whole.at(row).cap_usd.tobytes()


# Strategy, view and table


def view_of(
    strategy: Strategy, previous: tuple[float, ...] = (0.0, 0.0), since: tuple[int, ...] = (0, 0)
) -> View:
    fields = {"mark": np.array([[1.0, 2.0], [3.0, 4.0]]), "premium": np.array([[0.1, 0.2], [0.3, nan]])}
    panel = Panel(Grid(100, 2), ("AAA", "BBB"), fields)
    table = SignalTable.of(strategy, panel)
    return View(table, 1, panel.grid.time_ms(1), np.array(previous), np.array(since))


@dataclass(frozen=True)
class Plain(Strategy):
    optional: ClassVar[frozenset[str]] = frozenset()

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"price": panel.mark, "premium": panel.premium}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(0 * view.price, "x")


@dataclass(frozen=True)
class Lenient(Plain):
    optional: ClassVar[frozenset[str]] = frozenset({"premium"})


def test_a_view_shows_one_moment_of_each_signal_by_name() -> None:
    view = view_of(Plain(), previous=(0.5, 0.0), since=(98 * HOUR_MS, 0))
    assert view.price.tolist() == [3.0, 4.0]
    assert view.instruments == ("AAA", "BBB")
    assert view.previous.tolist() == [0.5, 0.0]
    assert view.hours_held.tolist() == [3.0, 0.0]
    assert view.hours_flat.tolist() == [0.0, np.inf]
    left = view_of(Plain(), previous=(0.0, 0.0), since=(98 * HOUR_MS, 101 * HOUR_MS))
    assert left.hours_held.tolist() == [0.0, 0.0]
    assert left.hours_flat.tolist() == [3.0, 0.0]
    assert view.time_ms == 101 * HOUR_MS


def test_a_signal_that_the_strategy_did_not_name_is_told_with_those_it_did() -> None:
    with pytest.raises(AttributeError, match=r"no signal 'funding'; signals\(\) named price, premium"):
        _ = view_of(Plain()).funding


def test_ready_is_where_all_that_is_needed_is_known() -> None:
    assert view_of(Plain()).ready.tolist() == [True, False]
    assert view_of(Lenient()).ready.tolist() == [True, True]


def test_a_because_may_name_signals_extras_and_what_the_view_remembers() -> None:
    view = view_of(Lenient(), previous=(0.5, -0.5), since=(99 * HOUR_MS, 101 * HOUR_MS))
    said = view.opinion(
        np.zeros(2), "{price:.0f}, {z:+.1f}, {previous:.1f} for {hours_held:.0f} h", z=np.array([1.25, -2.0])
    )
    assert said.reason(0) == "3, +1.2, 0.5 for 2 h"
    assert said.reason(1) == "4, -2.0, -0.5 for 0 h"
    assert list(said.values) == ["z", "price", "premium", "previous", "hours_held", "hours_flat"]
    assert len(said.values) == 6
    with pytest.raises(KeyError, match="nothing"):
        view.opinion(np.zeros(2), "{nothing}").filled(0)


def test_an_extra_of_a_because_goes_before_a_signal_of_the_same_name() -> None:
    assert view_of(Plain()).opinion(np.zeros(2), "{price}", price=np.array([7.0, 8.0])).reason(0) == "7.0"


def test_an_opinion_without_data_says_only_that() -> None:
    assert view_of(Plain()).opinion(np.zeros(2), "{price}").reason(1) == "data incomplete, opinion held"


@pytest.mark.parametrize(
    ("signals", "error", "message"),
    [
        ({}, ValueError, "named no signal"),
        ({"price": np.ones((1, 1))}, TypeError, "'price' must be a field on the panel's clock"),
        ({"price": Field(np.ones((1, 1)), Grid(7, 1))}, TypeError, "must be a field on the panel's clock"),
        ({"previous": Field(np.ones((1, 1)), Grid(0, 1))}, ValueError, "'previous' is taken"),
    ],
)
def test_signals_that_are_none_are_refused_in_words(
    signals: dict[str, Any], error: type[Exception], message: str
) -> None:
    @dataclass(frozen=True)
    class Wrong(Mute):
        def signals(self, panel: Panel) -> Mapping[str, Field]:
            return signals

    with pytest.raises(error, match=message):
        reach_of(Wrong())


def test_a_strategy_must_define_both_methods() -> None:
    with pytest.raises(NotImplementedError, match=r"Strategy must define signals\(panel\)"):
        reach_of(Strategy())
    with pytest.raises(NotImplementedError, match=r"Strategy must define forecast\(view\)"):
        Strategy().forecast(view_of(Plain()))
