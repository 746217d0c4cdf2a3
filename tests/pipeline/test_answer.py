"""What becomes of a strategy that fails: it holds what it has, says so in a finding, and the others go on."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.model.decision import Decision, Opinion
from bot.model.panel import Field, Panel
from bot.pipeline.decide import decide
from bot.pipeline.mandate import Limits, Mandate, Sizing, Slot
from bot.pipeline.market import rows_needed
from bot.pipeline.strategy import Strategy, View
from tests.pipeline.scene import moment

nan = math.nan
SAYS_NOTHING = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Says(Strategy):
    """Says what it is given, or does what it is given."""

    says: Any = SAYS_NOTHING
    because: Any = "so"
    edge: Any = None

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"price": panel.mark}

    def forecast(self, view: View) -> Opinion:
        says = self.says(view) if callable(self.says) else np.array(self.says)
        return view.opinion(says, self.because, edge=self.edge)


def leaves(view: View) -> Any:
    raise SystemExit(3)


def looks_for_more(view: View) -> Any:
    return view.prise


def rewrites_its_past(view: View) -> Any:
    view.previous[0] = 1.0
    return view.previous


def rewrites_the_market(view: View) -> Any:
    view.price[:] = 1.0
    return view.previous


def of(strategy: Strategy) -> Mandate:
    """Beside the strategy there is one that is short of everything."""
    slots = (Slot("odd", strategy, 1.0), Slot("plain", Says((-1.0, -1.0, -1.0)), 1.0))
    return Mandate(slots, Sizing(position_size=0.1), Limits(max_gross_leverage=10.0, max_net_leverage=10.0))


def decided(strategy: Strategy, **more: Any) -> Decision:
    """`odd` holds 500 lots of AAA, for half its capital, and 400 short of BBB; prices have moved since."""
    mandate = of(strategy)
    snapshot = moment(
        mandate,
        (60.0, 30.0, 20.0),
        lots=(500, -400, 0),
        scores=[(1.0, -1.0, 0.0), SAYS_NOTHING],
        held=[(500, -400, 0), (0, 0, 0)],
        **more,
    )
    return decide(snapshot, mandate)


FAULTS: Mapping[str, tuple[Any, str]] = {
    "raises": (
        Says(looks_for_more),
        r"AttributeError: the view has no signal 'prise'; signals\(\) named price \(line \d+, in forecast\)",
    ),
    "leaves": (Says(leaves), "SystemExit: 3"),
    "is not a number": (Says((0.0, nan, 0.0)), r"gave BBB a score of nan, which is outside −1 … \+1"),
    "is infinite": (Says((0.0, 0.0, -math.inf)), "gave CCC a score of -inf"),
    "is too much": (Says((1.01, 0.0, 0.0)), r"gave AAA a score of 1.01"),
    "is too short": (Says((1.0, 1.0)), r"scores of shape \(2,\) for 3 coins"),
    "is one number": (Says(1.0), r"scores of shape \(\) for 3 coins"),
    "is words": (Says(("long", "short", "flat")), "ValueError: could not convert string"),
    "has an edge of another shape": (Says(edge=np.ones(2)), r"edge of shape \(2,\)"),
    "names an unknown signal": (
        Says(because="{prise:.2f}"),
        "the because-template names 'prise', which is none of",
    ),
    "has a form that does not fit": (
        Says(because="{price:%Q}"),
        "the because-template '{price:%Q}' can't be filled",
    ),
    "has an open bracket": (Says(because="{price"), "the because-template '{price' can't be filled"),
    "has no text": (Says(because=7), "because is int, it must be a text"),
    "rewrites its past": (Says(rewrites_its_past), r"read-only \(line \d+, in forecast\)"),
    "rewrites the market": (Says(rewrites_the_market), r"read-only \(line \d+, in forecast\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_strategy_that_fails_holds_exactly_what_it_has_and_the_others_go_on(fault: str) -> None:
    strategy, problem = FAULTS[fault]
    decision = decided(strategy)

    assert decision.wanted.by_strategy[0].tolist() == [500, -400, 0]
    assert decision.opinions[0].scores.tolist() == [1.0, -1.0, 0.0]
    # 1,000 USD each at 60, 30 and 20 a coin, a hundredth of a coin a lot.
    assert decision.wanted.by_strategy[1].tolist() == [-1666, -3333, -5000]
    (finding,) = decision.findings
    assert (finding.rule, finding.instrument) == ("strategy odd", "")
    assert finding.detail.startswith("no usable answer, it holds what it has: ")
    assert re.search(problem, finding.detail), finding.detail
    assert "no usable answer, position held" in decision.opinions[0].reason(0)


def test_the_same_position_would_have_been_cut_or_grown_by_an_answer() -> None:
    assert decided(Says((1.0, -1.0, 0.0))).wanted.by_strategy[0].tolist() != [500, -400, 0]
    assert decided(Says()).wanted.by_strategy[0].tolist() == [0, 0, 0]


def test_no_answer_at_all_is_named() -> None:
    @dataclass(frozen=True)
    class Silent(Says):
        def forecast(self, view: View) -> Opinion:
            return None  # type: ignore[return-value]

    (finding,) = decided(Silent()).findings
    assert "forecast() returned NoneType, not view.opinion(scores, because)" in finding.detail


@dataclass(frozen=True)
class Measures(Says):
    """Measures what it is told to, once there is a market to measure."""

    measures: Callable[[Panel], Mapping[str, Any]] | None = None

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        if self.measures is None or panel.rows == 1:
            return {"price": panel.mark}
        return self.measures(panel)


SIGNAL_FAULTS: Mapping[str, tuple[Callable[[Panel], Mapping[str, Any]], str]] = {
    "raise": (lambda panel: {"x": panel.mark.values[panel.rows + 1]}, "IndexError"),
    "are none": (lambda _: {}, "named no signal"),
    "are no fields": (lambda panel: {"x": panel.mark.values}, "must be a field on the panel's clock"),
    "are too narrow": (lambda panel: {"x": Field(panel.mark.values[:, :1], panel.grid)}, r"shape \(30, 1\)"),
    "are words": (lambda panel: {"x": Field(panel.mark.values.astype(str), panel.grid)}, "TypeError"),
}


@pytest.mark.parametrize("fault", SIGNAL_FAULTS)
def test_a_strategy_whose_signals_fail_holds_exactly_what_it_has_too(fault: str) -> None:
    measures, problem = SIGNAL_FAULTS[fault]
    decision = decided(Measures(measures=measures))
    assert decision.wanted.by_strategy.tolist() == [[500, -400, 0], [-1666, -3333, -5000]]
    (finding,) = decision.findings
    assert re.search(problem, finding.detail), finding.detail


def test_risk_may_still_cut_what_a_failed_strategy_holds() -> None:
    mandate = of(Says(looks_for_more))
    mandate = replace(mandate, limits=replace(mandate.limits, max_drawdown=0.25))
    snapshot = moment(mandate, lots=(500, 0, 0), held=[(500, 0, 0), (0, 0, 0)], high=20_000.0)
    decision = decide(snapshot, mandate)
    assert decision.allowed.lots.tolist() == [0, 0, 0]
    assert [finding.rule for finding in decision.findings] == ["strategy odd", "drawdown"]


def test_a_quarantined_strategy_is_not_asked() -> None:
    asked: list[View] = []

    def notes_it(view: View) -> Any:
        asked.append(view)
        return view.previous

    mandate = of(Says(notes_it))
    snapshot = replace(moment(mandate), quarantined={"odd": "it failed before"})
    decision = decide(snapshot, mandate)
    assert asked == []
    assert decision.findings[0].rule == "quarantine odd"
    assert decision.findings[0].detail.endswith("it failed before")


def test_scores_may_be_whole_numbers_and_unknown_where_the_data_is() -> None:
    assert decided(Says((0, 1, -1))).findings == ()
    mandate = of(Says((nan, 0.5, 0.5)))
    decision = decide(moment(mandate, (nan, 50.0, 20.0), scores=[(0.25, 0.0, 0.0), SAYS_NOTHING]), mandate)
    assert decision.opinions[0].scores.tolist() == [0.25, 0.5, 0.5]
    assert not any(finding.rule.startswith("strategy") for finding in decision.findings)


def test_a_reason_that_fails_on_one_coin_only_is_told_as_it_stands() -> None:
    values = {"word": np.array([1.0, "x", 2.0], dtype=object)}
    opinion = Opinion(np.zeros(3), "at {word:.1f}", values, np.ones(3, dtype=np.bool_))
    assert opinion.reason(2) == "at 2.0"
    assert opinion.reason(1).startswith("at {word:.1f} [can't be filled: ValueError")


def test_signals_that_fail_over_an_empty_market_are_a_mistake_of_the_config() -> None:
    @dataclass(frozen=True)
    class Never(Says):
        def signals(self, panel: Panel) -> Mapping[str, Field]:
            return {"x": panel.mark.lag(self.says)}

    with pytest.raises(
        ConfigError, match=r"strategy odd can't say what it measures: \w+: .*; mend its signals"
    ):
        rows_needed(of(Never("a week")))
