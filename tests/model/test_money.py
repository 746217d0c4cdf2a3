from decimal import Decimal

import pytest

from bot.model.money import exact, usd, usd_down


def test_a_float_becomes_the_number_it_prints_as() -> None:
    assert exact(0.1) == Decimal("0.1")
    assert exact(1e-7) == Decimal("0.0000001")
    assert exact(-2.5) == Decimal("-2.5")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_never_becomes_money(value: float) -> None:
    with pytest.raises(ValueError, match="must be a finite number"):
        exact(value)


def test_dollars_round_half_to_even_and_fees_round_down() -> None:
    assert usd(Decimal("0.0000005")) == 0
    assert usd(Decimal("0.0000015")) == Decimal("0.000002")
    assert usd(Decimal("-0.0000015")) == Decimal("-0.000002")
    assert usd_down(Decimal("66.653") * Decimal("0.00015")) == Decimal("0.009997")
    assert usd_down(Decimal("-0.0000001")) == Decimal("-0.000001")
