"""The daemon's sign of life: what is written is what is heard, and what can't be read is no sign."""

from pathlib import Path

import pytest

from bot.journal.pulse import LENGTH, Beat, Pulse, heard, path_of


class Still:
    def now_ms(self) -> int:
        return 1_790_000_000_000


def test_each_sign_differs_from_the_one_before_and_has_the_same_length(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "journal.sqlite", Still())
    assert heard(pulse.path) is None
    beats = []
    for ended in (False, False, True):
        pulse.beat(ended=ended)
        assert pulse.path.stat().st_size == LENGTH
        beats.append(heard(pulse.path))
    first = beats[0]
    assert first is not None
    assert len(set(beats)) == 3
    assert [each.ended for each in beats if each is not None] == [False, False, True]
    assert pulse.path == path_of(tmp_path / "journal.sqlite")


def test_two_names_of_a_journal_have_one_sign(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").touch()
    (tmp_path / "other.sqlite").symlink_to("journal.sqlite")
    assert path_of(tmp_path / "other.sqlite") == path_of(tmp_path / "journal.sqlite")


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"{",
        b"[]",
        b'{"pid": 1}',
        b'{"pid": 1, "number": "2", "wall_ms": 3, "ended": false}',
        b'{"pid": 1, "number": 2, "wall_ms": 3, "ended": false, "more": 4}',
        b"\x00" * LENGTH,
        b"\xff",
    ],
)
def test_what_can_not_be_read_is_no_sign(tmp_path: Path, told: bytes) -> None:
    path = tmp_path / "x.alive"
    path.write_bytes(told)
    assert heard(path) is None


def test_a_beat_is_itself_by_all_of_it() -> None:
    assert Beat(1, 1, 5) != Beat(2, 1, 5)
