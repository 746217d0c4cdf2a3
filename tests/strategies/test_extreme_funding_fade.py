import math
from typing import Any

import numpy as np
import pytest

from strategies.extreme_funding_fade import ExtremeFundingFade
from tests.signals.naive import last_day
from tests.strategies.moments import asked, led_through, score, scores

nan = math.nan
FADE = ExtremeFundingFade()
#: A crowd of longs at its extreme, still winning: price moves with it and nobody leaves.
CROWD: dict[str, Any] = {"funding_z": 3.0, "premium_z": nan, "flow": 0.0, "move": 1.0, "volatility": 0.8}


def fade(previous: float = 0.0, held_h: float = 10.0, **other: Any) -> float:
    return score(FADE, previous=previous, held_h=held_h, **{**CROWD, **other})


def test_an_extreme_crowd_alone_is_no_signal() -> None:
    assert fade() == 0.0


def test_it_leans_against_a_crowd_that_has_begun_to_leave() -> None:
    assert fade(flow=-0.02) == -1.0
    assert fade(flow=-0.005) == 0.0
    assert fade(funding_z=-3.0, move=-1.0, flow=-0.02) == 1.0


def test_it_leans_against_a_crowd_whose_price_has_stalled() -> None:
    assert fade(move=0.2) == -1.0
    assert fade(move=-1.0) == -1.0
    assert fade(move=0.3) == 0.0
    assert fade(funding_z=-3.0, move=-0.2) == 1.0
    assert fade(funding_z=-3.0, move=-0.3) == 0.0


def test_unknown_open_interest_confirms_nothing_but_a_stall_still_does() -> None:
    assert fade(flow=nan) == 0.0
    assert fade(flow=nan, move=0.0) == -1.0


def test_the_crowd_must_be_extreme() -> None:
    assert fade(funding_z=2.4, flow=-0.02) == 0.0
    assert fade(funding_z=2.6, flow=-0.02) == -1.0


def test_an_extreme_premium_counts_where_funding_leans_the_same_way() -> None:
    assert fade(funding_z=1.0, premium_z=3.0, flow=-0.02) == -1.0  # the clamp hides it from the rate
    assert fade(funding_z=-1.0, premium_z=3.0, flow=-0.02) == 0.0
    assert fade(funding_z=3.0, premium_z=1.0, flow=-0.02) == -1.0
    assert fade(funding_z=3.0, premium_z=-4.0, flow=-0.02) == -1.0


def test_violent_markets_are_left_alone_but_positions_in_them_are_kept() -> None:
    assert fade(flow=-0.02, volatility=2.1) == 0.0
    assert fade(previous=-1.0, volatility=2.1) == -1.0


def test_a_position_stays_until_the_crowd_is_ordinary_or_turns() -> None:
    assert fade(previous=-1.0, funding_z=1.0) == -1.0
    assert fade(previous=-1.0, funding_z=0.6) == -1.0
    assert fade(previous=-1.0, funding_z=0.4) == 0.0
    assert fade(previous=-1.0, funding_z=-1.0) == 0.0
    assert fade(previous=1.0, funding_z=-1.0) == 1.0


def test_a_crowd_that_turns_to_the_other_extreme_is_left_first() -> None:
    assert fade(previous=-1.0, funding_z=-3.0, flow=-0.02) == 0.0


def test_a_time_stop_ends_what_does_not_work() -> None:
    assert fade(previous=-1.0, held_h=71) == -1.0
    assert fade(previous=-1.0, held_h=72) == 0.0
    assert fade(previous=-1.0, held_h=72, flow=-0.02) == 0.0  # not even where it would enter again


def test_having_left_it_rests_before_it_fades_again() -> None:
    assert fade(flat_h=23, flow=-0.02) == 0.0
    assert fade(flat_h=24, flow=-0.02) == -1.0


def test_only_the_most_extreme_crowds_are_faded_when_there_are_too_many() -> None:
    two = ExtremeFundingFade(max_positions=2)
    moment = {**CROWD, "funding_z": [2.6, -3.5, 3.0, 0.0], "flow": -0.02}
    assert scores(two, **moment) == [0.0, 1.0, -1.0, 0.0]
    assert scores(two, previous=[-1.0, 0.0, 0.0, 0.0], held_h=5, **moment) == [-1.0, 1.0, 0.0, 0.0]


def test_a_position_held_for_want_of_data_takes_its_place_among_them() -> None:
    two = ExtremeFundingFade(max_positions=2)
    moment = {**CROWD, "funding_z": [nan, 3.5, 3.0], "flow": -0.02}
    opinion = asked(two, previous=[-1.0, 0.0, 0.0], held_h=5, **moment)
    assert opinion.ready.tolist() == [False, True, True]
    assert opinion.scores[1:].tolist() == [-1.0, 0.0]


def test_it_says_how_extreme_the_crowd_is_and_what_it_did() -> None:
    opinion = asked(FADE, **{**CROWD, "flow": -0.02, "premium_z": 4.25})
    assert opinion.reason(0) == "crowd at z +4.2; its last 6 h moved +1.0 usual moves, open interest -2.0%"


def test_premium_and_open_interest_may_be_unknown_without_making_it_wait() -> None:
    assert asked(FADE, **{**CROWD, "flow": nan, "premium_z": nan}).ready[0]
    assert not asked(FADE, **{**CROWD, "move": nan}).ready[0]


def test_over_a_market_it_fades_a_stalled_crowd_and_one_that_leaves_but_not_one_that_wins() -> None:
    # The last rate lies five of its usual deviations off; the day's run of four usual moves is two in six hours.
    def last(**day: Any) -> float:
        return float(led_through(FADE, last_day(**day))[-1, 0])

    assert last(crowd=5.0) == -1.0
    assert last(crowd=5.0, run=4.0) == 0.0
    assert last(crowd=5.0, run=4.0, flow=-0.1) == -1.0
    assert last(crowd=-5.0) == 1.0
    assert last(crowd=1.0) == 0.0


def test_a_fade_lasts_no_longer_than_its_time_stop() -> None:
    panel = last_day(crowd=5.0)
    rate = panel.funding_rate.values
    rate[-100:] = 2e-5 + 5e-5
    given = led_through(ExtremeFundingFade(exit_z=0.0, enter_z=2.0, time_stop_h=12), panel, 300)[:, 0]
    runs = np.split(given, np.flatnonzero(np.diff(given)) + 1)
    longest = max((len(run) for run in runs if run[0] != 0), default=0)
    assert longest == 12
    entries = np.flatnonzero((given[1:] != 0) & (given[:-1] == 0)) + 1
    exits = np.flatnonzero((given[1:] == 0) & (given[:-1] != 0)) + 1
    assert len(exits) >= 1
    assert all(entry - max(before) >= 24 for entry in entries if len(before := exits[exits <= entry]))


@pytest.mark.parametrize("wrong", [{"exit_z": 2.5}, {"exit_z": -0.1}, {"enter_z": 0.4}])
def test_an_exit_beyond_the_entry_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exit_z must be at least 0 and below enter_z"):
        ExtremeFundingFade(**wrong)  # type: ignore[arg-type]
