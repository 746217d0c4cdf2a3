"""The grammar of the wire: how each kind of value may look, and where in a reply it did not.

Every value from the venue passes through a `Node`, which knows its own path, so that a refusal names the field. What
is NaN, negative where it can't be, absurdly large, missing or given twice is a `DataError`; nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

from bot.errors import DataError

DECIMAL: Final = re.compile(r"-?+(?:0|[1-9][0-9]{0,20}+)(?:\.[0-9]{1,20}+)?+", re.ASCII)
ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
HASH: Final = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)
CLOID: Final = re.compile(r"0x[0-9a-fA-F]{32}", re.ASCII)
NAME: Final = re.compile(r"[!-~]{1,64}", re.ASCII)

LARGEST_PRICE: Final = Decimal(10) ** 9
LARGEST_AMOUNT: Final = Decimal(10) ** 15
LARGEST_ID: Final = 2**63 - 1
FIRST_MS: Final = 1_577_836_800_000  # 2020, before which there was no such venue
LAST_MS: Final = 4_102_444_800_000  # 2100
DEEPEST: Final = 2_000_000
UNUSED: Final = "; nothing of this reply is used"


def decode(text: str | bytes, what: str) -> Node:
    """JSON text as a `Node` named `what`. DataError where it isn't JSON, repeats a key or holds NaN."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_whole,  # numbers with a fraction stay floats: what is read of that kind comes as text
        )
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what} is not JSON that can be read ({str(error)[:120]}); ask again") from None
    return Node(value, what)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return made


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a whole number has more than 20 digits")
    return int(text)


class Node:
    """A value of a reply and the path to it."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str) -> None:
        self.value = value
        self.path = path

    def refuse(self, found: str) -> NoReturn:
        """Raise the DataError that says what is wrong with this value."""
        raise DataError(f"{self.path} {found}{UNUSED}")

    def _shown(self) -> str:
        shown = repr(self.value)
        return shown if len(shown) <= 60 else f"{shown[:57]}..."

    # What kind of thing it is

    @property
    def is_null(self) -> bool:
        """An explicit null."""
        return self.value is None

    @property
    def is_text(self) -> bool:
        """A JSON string."""
        return isinstance(self.value, str)

    def has(self, key: str) -> bool:
        """An object with a `key` that is not null."""
        return isinstance(self.value, Mapping) and self.value.get(key) is not None

    def __getitem__(self, key: str) -> Node:
        """A member that must be there; it may be null."""
        if not isinstance(self.value, Mapping):
            self.refuse(f"should be an object, was {self._shown()}")
        if key not in self.value:
            self.refuse(f"has no {key!r}")
        return Node(self.value[key], f"{self.path}.{key}")

    def maybe(self, key: str) -> Node | None:
        """A member that may be missing or null."""
        if not isinstance(self.value, Mapping):
            self.refuse(f"should be an object, was {self._shown()}")
        value = self.value.get(key)
        return None if value is None else Node(value, f"{self.path}.{key}")

    def keys(self) -> tuple[str, ...]:
        """An object's keys in order."""
        if not isinstance(self.value, Mapping):
            self.refuse(f"should be an object, was {self._shown()}")
        return tuple(self.value)

    def items(self) -> Iterator[Node]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            self.refuse(f"should be a list, was {self._shown()}")
        if len(self.value) > DEEPEST:
            self.refuse(f"is a list of {len(self.value)}")
        for k, each in enumerate(self.value):
            yield Node(each, f"{self.path}[{k}]")

    def pair(self) -> tuple[Node, Node]:
        """A list of exactly two."""
        both = list(self.items())
        if len(both) != 2:
            self.refuse(f"should be a pair, was a list of {len(both)}")
        return both[0], both[1]

    # Values

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            self.refuse(f"should be text, was {self._shown()}")
        return self.value

    def name(self) -> str:
        """A coin's, token's or venue's name: 1 to 64 printable characters without spaces."""
        return self._matching(NAME, "a name")

    def address(self) -> str:
        """An address, in lower case."""
        return self._matching(ADDRESS, "an address").lower()

    def cloid(self) -> str:
        """A client order id, in lower case."""
        return self._matching(CLOID, "a client order id").lower()

    def hash(self) -> str:
        """A transaction's hash, in lower case."""
        return self._matching(HASH, "a hash").lower()

    def _matching(self, form: re.Pattern[str], what: str) -> str:
        text = self.text()
        if form.fullmatch(text) is None:
            self.refuse(f"should be {what}, was {self._shown()}")
        return text

    def flag(self) -> bool:
        """A boolean."""
        if not isinstance(self.value, bool):
            self.refuse(f"should be true or false, was {self._shown()}")
        return self.value

    def whole(self, lowest: int = 0, highest: int = LARGEST_ID) -> int:
        """A JSON integer within bounds."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.refuse(f"should be a whole number, was {self._shown()}")
        if not lowest <= self.value <= highest:
            self.refuse(f"should be within {lowest} and {highest}, was {self.value}")
        return self.value

    def time_ms(self) -> int:
        """Milliseconds since 1970, between 2020 and 2100."""
        return self.whole(FIRST_MS, LAST_MS)

    def number(self, bound: Decimal = LARGEST_AMOUNT) -> Decimal:
        """A signed decimal given as text, no exponent, at most `bound` in size."""
        text = self._matching(DECIMAL, "a decimal number as text")
        value = Decimal(text)
        if not -bound <= value <= bound:  # abs() would round
            self.refuse(f"is beyond what can be ({text}, at most {bound:f})")
        return value

    def amount(self) -> Decimal:
        """A decimal ≥ 0."""
        value = self.number()
        if value < 0:
            self.refuse(f"can't be negative, was {value}")
        return value

    def price(self) -> Decimal:
        """A decimal above 0."""
        value = self.number(LARGEST_PRICE)
        if value <= 0:
            self.refuse(f"should be a price above 0, was {value}")
        return value

    def choice(self, *options: str) -> str:
        """One of a few words."""
        text = self.text()
        if text not in options:
            self.refuse(f"should be one of {', '.join(options)}, was {self._shown()}")
        return text
