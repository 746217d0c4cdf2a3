import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.panel import Field, Grid
from bot.signals.windows import (
    moving_average_exponential,
    moving_mean,
    moving_rank,
    moving_std,
    moving_sum,
    moving_z,
)
from tests.signals import naive
from tests.signals.naive import field_of

nan = math.nan
Moving = Callable[[Field, int, int | None], Field]
WINDOWS: dict[str, tuple[Moving, naive.Window]] = {
    "mean": (moving_mean, naive.mean),
    "sum": (moving_sum, lambda known, _: math.fsum(known)),
    "std": (moving_std, naive.std),
    "z": (moving_z, naive.z),
    "rank": (moving_rank, naive.rank),
}


def column(field: Field) -> list[float]:
    values: list[float] = field.values[:, 0].tolist()
    return values


def test_mean_sum_and_deviation_of_the_last_three_rows() -> None:
    field = field_of([3.0, 6.0, 9.0, 0.0, nan, 3.0])
    assert column(moving_mean(field, 3)) == pytest.approx([nan, nan, 6, 5, nan, nan], nan_ok=True)
    assert column(moving_sum(field, 3, 2)) == pytest.approx([nan, 9, 18, 15, 9, 3], nan_ok=True)
    # 3, 6, 9: deviations −3, 0, 3, so the variance with ddof 0 is 18/3.
    assert column(moving_std(field, 3))[2] == pytest.approx(math.sqrt(6))


def test_z_score_is_the_present_against_its_window() -> None:
    # mean 4; squared deviations 9 + 4 + 1 + 0 + 36 = 50, over 5 is 10.
    assert column(moving_z(field_of([1.0, 2.0, 3.0, 4.0, 10.0]), 5))[-1] == pytest.approx(6 / math.sqrt(10))


def test_where_nothing_moved_the_deviation_is_exactly_zero_and_so_is_z() -> None:
    field = field_of([0.1] * 50)
    assert set(column(moving_std(field, 7))[6:]) == {0.0}
    assert set(column(moving_z(field, 7))[6:]) == {0.0}


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0, 2.5], 0.5),  # above two of four
        ([1.0, 2.0, 2.0, 3.0, 2.0], 0.5),  # above one, level with two
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1.0),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 0.0),
        ([9.0, nan, 1.0, 2.0, 3.0], 2 / 3),
        ([1.0, 2.0, 3.0, 4.0, nan], nan),
    ],
)
def test_rank_is_the_share_of_the_others_that_the_present_is_above(
    window: list[float], expected: float
) -> None:
    assert column(moving_rank(field_of(window), 5, 4))[-1] == pytest.approx(expected, nan_ok=True)


def test_exponential_weights_halve_every_half_life() -> None:
    field = field_of([0.0] * 15 + [1.0])
    # Weights 1, 1/2 … 1/128 over eight rows sum to 2 − 1/128.
    assert column(moving_average_exponential(field, 1))[-1] == pytest.approx(1 / (2 - 1 / 128))
    # At a half-life of two rows the newest of three known values weighs twice the oldest.
    assert column(moving_average_exponential(field_of([4.0, nan, 1.0]), 2, 2))[-1] == pytest.approx(2.0)


def test_an_exponential_window_forgets_what_is_eight_half_lives_old() -> None:
    assert column(moving_average_exponential(field_of([1e9] + [2.0] * 16), 2))[-1] == 2.0


def test_a_value_far_from_zero_does_not_drown_its_own_small_moves() -> None:
    values = 1e9 + np.tile([0.0, 1.0], 40)
    assert column(moving_std(field_of(values), 10))[-1] == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("moving", [each for each, _ in WINDOWS.values()], ids=list(WINDOWS))
def test_too_few_known_values_make_an_unknown(moving: Moving) -> None:
    field = field_of([1.0, nan, 2.0, 4.0, nan, 8.0])
    known = np.isfinite(moving(field, 4, 3).values[:, 0]).tolist()
    expected = [False, False, False, True, False, True]
    assert known == expected
    assert not np.isfinite(moving(field, 9, None).values).any()


def test_an_infinity_counts_as_unknown_and_harms_no_later_window() -> None:
    assert column(moving_mean(field_of([1.0, math.inf, 3.0, 5.0]), 2, 1)) == [1.0, 1.0, 3.0, 4.0]


def test_a_window_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row, found 0"):
        moving_mean(field_of([1.0]), 0)


def test_the_window_adds_to_how_far_back_a_value_reaches() -> None:
    lagged = field_of([1.0] * 9).lag(2)
    assert moving_mean(lagged, 4).reach == 6
    assert moving_rank(lagged, 4).reach == 6
    assert moving_average_exponential(lagged, 2).reach == 3 + 15


def test_many_columns_are_each_their_own() -> None:
    draw = np.random.default_rng(1).standard_normal((40, 35))
    together = moving_std(Field(draw, Grid(11, 40)), 7).values
    apart = [moving_std(Field(draw[:, k : k + 1], Grid(11, 40)), 7).values for k in range(35)]
    np.testing.assert_array_equal(together, np.hstack(apart))


def long_history(seed: int) -> list[float]:
    """Some blocks' length of values with ties and a tenth of them missing: short lists have no seams to get wrong."""
    draw = np.random.default_rng(seed)
    values = np.round(draw.normal(size=draw.integers(40, 120)), 1)
    values[draw.random(len(values)) < 0.1] = nan
    given: list[float] = values.tolist()
    return given


histories = st.one_of(
    st.lists(
        st.one_of(
            st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3)),
            st.just(nan),
            st.sampled_from([0.0, 1.0, 1e6]),
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 2**32).map(long_history),
)


@pytest.mark.parametrize("name", WINDOWS)
@given(values=histories, rows=st.integers(1, 15), missing=st.integers(0, 4), first=st.integers(0, 40))
def test_a_moving_window_equals_its_plain_twin(
    name: str, values: list[float], rows: int, missing: int, first: int
) -> None:
    moving, plain = WINDOWS[name]
    enough = max(1, rows - missing)
    field = field_of(values, first)
    found = moving(field, rows, enough).values
    expected = naive.windowed(field.values, rows, enough, plain)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@given(values=histories, half_life=st.integers(1, 5), missing=st.integers(0, 4), first=st.integers(0, 40))
def test_the_exponential_average_equals_its_plain_twin(
    values: list[float], half_life: int, missing: int, first: int
) -> None:
    enough = 8 * half_life - missing
    field = field_of(values, first)
    found = moving_average_exponential(field, half_life, enough).values
    expected = naive.average_exponential(field.values, half_life, enough)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("name", [*WINDOWS, "exponential"])
@given(values=histories, rows=st.integers(1, 12), first=st.integers(0, 40), extra=st.integers(0, 9))
def test_a_window_is_the_same_to_the_last_bit_however_much_history_lies_before_it(
    name: str, values: list[float], rows: int, first: int, extra: int
) -> None:
    def measured(field: Field) -> Field:
        if name == "exponential":
            return moving_average_exponential(field, max(1, rows // 8), 1)
        return WINDOWS[name][0](field, rows, 1)

    whole = field_of(values, first)
    result = measured(whole)
    start = max(0, len(values) - result.reach - extra)
    tail = measured(Field(whole.values[start:], whole.grid.slice(start, len(values))))
    assert tail.last.tobytes() == result.last.tobytes() or (
        np.isnan(tail.last).all() and np.isnan(result.last).all()
    )
