"""Text from elsewhere, made safe for where it goes (a terminal obeys control characters, a spreadsheet formulas); decimals as text."""

import re
import unicodedata
from decimal import Decimal
from typing import Final

COIN_PATTERN: Final = r"^[A-Za-z0-9:@/_-]{1,40}$"
"""What a coin's name may be: BTC, kPEPE, PURR/USDC, @107, xyz:GOLD."""

_COIN: Final = re.compile(COIN_PATTERN.removesuffix("$") + r"\Z")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
# Control characters, and those that turn the direction of what follows or can't be seen.
_UNSEEN: Final = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def is_coin(name: str) -> bool:
    """Whether `name` can be a coin's."""
    return _COIN.match(name) is not None


def printable(text: str) -> str:
    """The text on one line with control characters written out (`\\x1b`), so that no terminal acts on them."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _UNSEEN else each
        for each in text
    )


def plain(value: Decimal) -> str:
    """A decimal without exponent or trailing zeros, as venues take and sign it: 0.0100 is '0.01'."""
    digits = f"{value:f}"
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits


def cell(value: object) -> object:
    """A value for a CSV file: text is made `printable`, and what a spreadsheet would run gets a `'` in front."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) and not is_coin(text) else text
