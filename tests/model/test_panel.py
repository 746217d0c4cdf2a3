from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from bot.model.panel import HOUR_MS, Field, Grid, Panel

FIRST = 400_000  # hours since 1970
NAN = np.nan


def panel(rows: int = 4, names: tuple[str, ...] = ("BTC", "ETH")) -> Panel:
    values = np.arange(rows * len(names), dtype=np.float64).reshape(rows, len(names))
    return Panel(Grid(FIRST, rows), names, {"close": values, "funding_rate": -values})


# --- the clock -----------------------------------------------------------------------------------------------------


def test_a_grid_counts_rows_from_the_epoch() -> None:
    grid = Grid(FIRST, 3)
    assert (grid.start_ms, grid.end_ms) == (FIRST * HOUR_MS, (FIRST + 2) * HOUR_MS)
    assert_array_equal(grid.times_ms, [FIRST * HOUR_MS, (FIRST + 1) * HOUR_MS, (FIRST + 2) * HOUR_MS])
    assert grid.time_ms(1) == (FIRST + 1) * HOUR_MS
    assert grid.row(grid.time_ms(2)) == 2
    assert grid.row(grid.time_ms(2) + HOUR_MS - 1) == 2  # what is known within the hour
    assert grid.row(grid.start_ms - 1) == -1


def test_a_grid_between_two_moments_holds_both() -> None:
    assert Grid.between(FIRST * HOUR_MS, (FIRST + 5) * HOUR_MS) == Grid(FIRST, 6)
    assert Grid.between(FIRST * HOUR_MS, FIRST * HOUR_MS) == Grid(FIRST, 1)
    assert Grid.between(FIRST * HOUR_MS, (FIRST - 5) * HOUR_MS) == Grid(FIRST, 0)


def test_a_grid_refuses_moments_off_its_clock_and_lengths_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="not both multiples of 3600000"):
        Grid.between(FIRST * HOUR_MS + 48, (FIRST + 5) * HOUR_MS)
    with pytest.raises(ValueError, match="rows >= 0"):
        Grid(FIRST, -1)
    with pytest.raises(ValueError, match="interval_ms > 0"):
        Grid(FIRST, 1, 0)


def test_hours_become_rows_only_where_they_are_whole() -> None:
    assert Grid(FIRST, 1).span(24) == 24
    assert Grid(FIRST, 1, 900_000).span(0.5) == 2
    for hours in (0.5, 1.5, 0, -3):
        with pytest.raises(ValueError, match="not a whole number of rows"):
            Grid(FIRST, 1).span(hours)


# --- fields --------------------------------------------------------------------------------------------------------


def test_fields_do_arithmetic_and_keep_their_clock() -> None:
    data = panel()
    total = 2 * data.close + data.funding_rate - 1
    assert isinstance(total, Field)
    assert total.grid == data.grid
    assert_array_equal(total.values, data.close.values - 1)
    assert_array_equal((data.close > 3).values, data.close.values > 3)
    assert_array_equal(np.abs(data.funding_rate).values, data.close.values)


def test_fields_on_different_clocks_refuse_to_mix() -> None:
    data = panel(5)
    now: Any = data.slice(1, 5).close
    before: Any = data.slice(0, 4).close
    mixes: list[Callable[[], Any]] = [
        lambda: now - before,
        lambda: now > before,
        lambda: np.maximum(now, before),
    ]
    for mix in mixes:
        with pytest.raises(ValueError, match="different clocks"):
            mix()


def test_a_field_divided_by_nothing_is_unknown_and_does_not_warn() -> None:
    data = panel()
    ratio = data.close / data.close
    assert np.isnan(ratio.values[0, 0])
    assert_array_equal(ratio.values[1:], np.ones((3, 2)))


def test_a_field_must_fill_its_clock() -> None:
    with pytest.raises(ValueError, match="a field of 3 rows"):
        Field(np.zeros((2, 2)), Grid(FIRST, 3))
    with pytest.raises(ValueError, match="a field of 3 rows"):
        Field(np.zeros(3), Grid(FIRST, 3))


def test_a_field_applies_a_function_row_for_row() -> None:
    data = panel()
    assert_array_equal(data.close.apply(np.sqrt).values, np.sqrt(data.close.values))
    assert_array_equal(data.close.last, [6, 7])
    assert data.close.shape == (4, 2)
    with pytest.raises(ValueError, match="a field of 4 rows"):
        data.close.apply(lambda values: values[1:])


# --- panels --------------------------------------------------------------------------------------------------------


def test_a_field_the_source_has_none_of_reads_as_unknown() -> None:
    values = panel().premium.values
    assert values.shape == (4, 2)
    assert np.isnan(values).all()


def test_a_field_nobody_has_heard_of_is_named() -> None:
    data = panel()
    with pytest.raises(AttributeError, match="no field 'fundingrate'; it may hold open, high"):
        _ = data.fundingrate
    with pytest.raises(KeyError, match="no field 'fundingrate'"):
        data.field("fundingrate")
    with pytest.raises(ValueError, match="no field 'fundingrate'"):
        Panel(data.grid, data.instruments, {"fundingrate": np.zeros((4, 2))})


def test_a_panel_refuses_matrices_that_do_not_fit() -> None:
    wrong: list[Any] = [np.zeros((4, 3)), np.zeros((3, 2)), np.zeros((4, 2), dtype=np.float32)]
    for values in wrong:
        with pytest.raises(ValueError, match=r"close must be float64 of shape \(4, 2\)"):
            Panel(Grid(FIRST, 4), ("BTC", "ETH"), {"close": values})
    with pytest.raises(ValueError, match="stands twice"):
        Panel(Grid(FIRST, 4), ("BTC", "BTC"), {"close": np.zeros((4, 2))})


def test_slices_are_views_that_know_their_time() -> None:
    data = panel()
    cut = data.slice(1, 3)
    assert cut.grid == Grid(FIRST + 1, 2)
    assert_array_equal(cut.close.values, [[2, 3], [4, 5]])
    assert np.shares_memory(cut.close.values, data.close.values)
    assert data.slice(-1, 4).grid == Grid(FIRST + 3, 1)
    assert data.slice(2, 99).grid == Grid(FIRST + 2, 2)
    assert len(data.slice(3, 1)) == 0


def test_a_tail_is_the_newest_rows_or_all_there_are() -> None:
    data = panel()
    assert data.tail(3).grid == Grid(FIRST + 1, 3)
    assert_array_equal(data.tail(1).close.last, data.close.last)
    assert data.tail(99).grid == data.grid
    assert data.tail(0).rows == 0


def test_between_holds_both_ends() -> None:
    data = panel()
    at = data.grid.time_ms
    assert data.between(at(1), at(2)).grid == Grid(FIRST + 1, 2)
    assert data.between(at(1) - 1, at(2) + 1).grid == Grid(FIRST + 1, 2)
    assert data.between(at(1) + 1, at(2) - 1).rows == 0
    assert data.between().grid == data.grid
    assert data.between(None, at(0)).grid == Grid(FIRST, 1)
    assert data.between(at(3)).grid == Grid(FIRST + 3, 1)
    assert data.between(at(0) - 10 * HOUR_MS, at(3) + 10 * HOUR_MS).grid == data.grid
    assert data.between(at(9), at(12)).rows == 0
    assert data.between(at(-9), at(-5)).rows == 0


def test_select_takes_the_named_instruments_in_the_order_named() -> None:
    data = panel().select(["ETH", "BTC"])
    assert data.instruments == ("ETH", "BTC")
    assert_array_equal(data.close.values[0], [1, 0])
    assert panel().select(name for name in ("ETH",)).close.shape == (4, 1)
    with pytest.raises(KeyError, match="'DOGE' is not in the panel"):
        panel().select(["BTC", "DOGE"])


def test_append_follows_on_and_forgets_the_oldest() -> None:
    data = panel()
    grown = data.append(data.grid.end_ms + HOUR_MS, {"close": np.array([50.0, 60.0])}, keep=4)
    assert grown.grid == Grid(FIRST + 1, 4)
    assert_array_equal(grown.close.values[-2:], [[6, 7], [50, 60]])
    assert np.isnan(grown.funding_rate.last).all()  # not told, so unknown
    assert_array_equal(data.close.last, [6, 7])


def test_append_leaves_skipped_rows_unknown() -> None:
    data = panel()
    grown = data.append(data.grid.end_ms + 3 * HOUR_MS, {"close": np.array([50.0, 60.0])}, keep=99)
    assert grown.grid == Grid(FIRST, 7)
    assert_array_equal(grown.close.values[3:], [[6, 7], [NAN, NAN], [NAN, NAN], [50, 60]])


def test_append_after_a_gap_longer_than_what_is_kept_starts_anew() -> None:
    data = panel()
    grown = data.append(data.grid.end_ms + 50 * HOUR_MS, {"close": np.array([50.0, 60.0])}, keep=3)
    assert grown.grid == Grid(FIRST + 51, 3)
    assert_array_equal(grown.close.values, [[NAN, NAN], [NAN, NAN], [50, 60]])


def test_append_takes_in_a_field_the_panel_had_none_of() -> None:
    data = panel()
    grown = data.append(data.grid.end_ms + HOUR_MS, {"premium": np.array([0.1, 0.2])}, keep=2)
    assert_array_equal(grown.premium.values, [[NAN, NAN], [0.1, 0.2]])


def test_append_refuses_what_does_not_follow() -> None:
    data = panel()
    row = {"close": np.array([1.0, 2.0])}
    for time_ms in (data.grid.end_ms, data.grid.end_ms - HOUR_MS, data.grid.end_ms + HOUR_MS + 48):
        with pytest.raises(ValueError, match="does not follow the panel's last"):
            data.append(time_ms, row, keep=9)
