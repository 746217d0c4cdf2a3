import pytest

from bot import errors
from bot.errors import ConfigError, DataError, HedgerowError, OutcomeUnknown, Refused, StateError, Unavailable

TREE = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, HedgerowError) and each is not HedgerowError
]


def test_the_drawing_of_the_tree_names_every_error() -> None:
    assert errors.__doc__
    assert [each.__name__ for each in TREE if each.__name__ not in errors.__doc__] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError, 2), (DataError, 2), (StateError, 1), (Refused, 1), (Unavailable, 1), (OutcomeUnknown, 1)],
)
def test_wrong_input_leaves_with_2_and_failure_with_1(error: type[HedgerowError], code: int) -> None:
    assert error("found this, do that").exit_code == code


def test_no_answer_of_a_venue_is_taken_for_another() -> None:
    kinds = (Refused, Unavailable, OutcomeUnknown)
    assert [(a, b) for a in kinds for b in kinds if a is not b and issubclass(a, b)] == []
