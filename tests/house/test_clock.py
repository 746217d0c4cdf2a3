import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import HOUR_MS, ManualClock, WallClock, parse_utc, utc
from bot.errors import ConfigError

YEAR_MS = 8766 * HOUR_MS


@given(st.integers(min_value=0, max_value=100 * YEAR_MS))
def test_a_time_written_down_reads_back_as_the_same_time(time_ms: int) -> None:
    assert parse_utc(utc(time_ms)) == time_ms


def test_a_time_reads_as_utc() -> None:
    assert utc(0) == "1970-01-01T00:00:00Z"
    assert utc(86_400_000 + 5) == "1970-01-02T00:00:00.005Z"


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("1970-01-02", 24),
        (" 1970-01-02 ", 24),
        ("1970-01-01T05:00", 5),
        ("1970-01-01 05:00:00", 5),
        ("1970-01-01T05:00:00Z", 5),
        ("1970-01-01T05:00:00+02:00", 3),
    ],
)
def test_a_date_is_midnight_and_a_moment_without_offset_is_utc(text: str, hours: int) -> None:
    assert parse_utc(text) == hours * HOUR_MS


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "01/05/2024", "1714521600000"])
def test_anything_else_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a date; write it as 2024-05-01") as caught:
        parse_utc(text)
    assert f"'{text}'" in str(caught.value)


def test_a_manual_clock_stands_still_until_it_is_moved_forward() -> None:
    clock = ManualClock(5)
    assert (clock.now_ms(), clock.now_ms()) == (5, 5)
    assert clock.advance(HOUR_MS) == clock.now_ms() == HOUR_MS + 5
    with pytest.raises(ValueError, match="only moves forward"):
        clock.advance(-1)


def test_the_wall_clock_is_the_computers() -> None:
    before, now, after = time.time(), WallClock().now_ms(), time.time()
    assert before * 1000 - 1 <= now <= after * 1000
