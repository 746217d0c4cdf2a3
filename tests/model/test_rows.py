"""Rows asked quickly give the answers that numpy gives."""

from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.rows import largest, same, total

FINITE = st.floats(-1e12, 1e12)


@given(st.lists(FINITE, min_size=1, max_size=300))
def test_total_and_largest_are_numpys(values: list[float]) -> None:
    row = np.array(values)
    assert total(row) == pytest.approx(row.sum(), rel=1e-12, abs=1e-12 * np.abs(row).sum())
    assert largest(row) == row.max()


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=300))
def test_whole_numbers_sum_exactly(values: list[int]) -> None:
    assert total(np.array(values, np.float64)) == sum(values)


@pytest.mark.parametrize("values", [[1.0, nan, 3.0], [nan, inf]])
def test_an_unknown_value_stays_unknown(values: list[float]) -> None:
    assert isnan(total(np.array(values)))
    assert isnan(largest(np.array(values)))


@given(st.lists(FINITE, max_size=50), st.data())
def test_same_sees_any_change(values: list[float], data: st.DataObject) -> None:
    row = np.array(values)
    assert same(row, row.copy())
    if values:
        other = row.copy()
        at = data.draw(st.integers(0, len(values) - 1))
        other[at] = np.nextafter(other[at], inf)
        assert not same(row, other)
