"""Values made quickly are as frozen, and refuse the same, as any frozen dataclass."""

from dataclasses import FrozenInstanceError, dataclass, field, replace
from inspect import signature

import pytest

from bot.model.frozen import quickly_made


@dataclass(frozen=True, slots=True)
class Slow:
    first: int
    second: str = "two"

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError("negative")


@quickly_made
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "two"

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError("negative")


def test_it_is_made_like_the_other() -> None:
    assert signature(Quick) == signature(Slow)
    for value in (Quick(1), Quick(first=1), Quick(1, "two"), replace(Quick(7), first=1)):
        assert (value.first, value.second) == (1, "two")
        assert value == Quick(1)
        assert hash(value) == hash(Quick(1))
    assert repr(Quick(1, "x")) == "Quick(first=1, second='x')"


def test_nothing_can_be_written_to_it() -> None:
    with pytest.raises(FrozenInstanceError):
        Quick(1).first = 2  # type: ignore[misc]


def test_it_still_checks_itself() -> None:
    with pytest.raises(ValueError, match="negative"):
        Quick(-1)
    with pytest.raises(TypeError):
        Quick()  # type: ignore[call-arg]


def test_what_it_cannot_do_it_refuses() -> None:
    @dataclass(frozen=True, slots=True)
    class Other:
        values: list[int] = field(default_factory=list)

    with pytest.raises(TypeError, match=r"Other\.values isn't set from an argument alone"):
        quickly_made(Other)
