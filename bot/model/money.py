"""Exact money: dollars are `Decimal` in millionths, quantities are whole lots.

Floats are for opinions. They become exact here, once, by their shortest decimal form, so that 0.1 means 0.1.
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

MICRO_USD = Decimal("0.000001")
ZERO = Decimal(0)


def exact(value: float) -> Decimal:
    """The decimal number that a float prints as; refuses NaN and infinities at the door."""
    if not math.isfinite(value):
        raise ValueError(f"a price or an amount must be a finite number, found {value!r}")
    return Decimal(repr(float(value)))


def usd(value: Decimal) -> Decimal:
    """Rounded half-even to a millionth of a dollar."""
    return value.quantize(MICRO_USD, ROUND_HALF_EVEN)


def usd_down(value: Decimal) -> Decimal:
    """Rounded toward minus infinity to a millionth of a dollar, as venues round fees."""
    return value.quantize(MICRO_USD, ROUND_FLOOR)
