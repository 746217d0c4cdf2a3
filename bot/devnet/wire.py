"""How values look on the wire: decimals as text both ways, and requests that are not of their type's shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

import orjson

NUMBER: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
CANONICAL: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?", re.ASCII)
ADDRESS: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{40}", re.ASCII)
CLOID: Final = re.compile(r"0x[0-9a-fA-F]{32}", re.ASCII)
HEX_WORD: Final = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)
LARGEST: Final = 2**64 - 1
DEEPEST: Final = 128

CANNOT_READ = "Failed to deserialize the JSON body into the target type"


class Malformed(Exception):
    """The body doesn't have the shape of its type: HTTP 422 with a plain text."""

    def __init__(self) -> None:
        super().__init__(CANNOT_READ)


def text(value: Decimal | int) -> str:
    """A number as the venue prints it: no exponent, no trailing zeros, whole ones with `.0`."""
    shown = f"{value:f}"
    if "." in shown:
        shown = shown.rstrip("0")
        shown = shown + "0" if shown.endswith(".") else shown
    else:
        shown += ".0"
    return "0.0" if shown == "-0.0" else shown


def number_text(value: float, decimals: int) -> str:
    """A float as the venue would print it, rounded to so many decimals."""
    return text(Decimal(repr(round(float(value), decimals))))


def cut(value: Decimal, decimals: int) -> Decimal:
    """Without the digits beyond so many decimals."""
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN)


def plain(value: str) -> str:
    """A number's text in the only form that is hashed: no trailing zeros, no leading ones."""
    if CANONICAL.fullmatch(value):
        return value
    shown = f"{Decimal(value):f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def decode(body: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises Malformed for anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Malformed from None
    if not isinstance(value, dict) or _too_deep(value):
        raise Malformed
    return value


def _too_deep(value: Any) -> bool:
    """Whether objects and lists lie within each other deeper than the venue's own parser goes."""
    level = [value]
    for _ in range(DEEPEST):
        inside = [each.values() if isinstance(each, dict) else each for each in level]
        level = [child for each in inside for child in each if isinstance(child, dict | list)]
        if not level:
            return False
    return True


class ServerFault(Exception):
    """What the venue itself trips over: HTTP 500 with `null`."""


class Fields:
    """An object of a request, read field by field; whatever is missing or of another type is Malformed."""

    __slots__ = ("of",)

    def __init__(self, of: Any) -> None:
        if not isinstance(of, Mapping):
            raise Malformed
        self.of: Mapping[str, Any] = of

    def integer(self, name: str) -> int:
        value = self.of.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
            raise Malformed
        return value

    def signed(self, name: str) -> int:
        value = self.of.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST:
            raise Malformed
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self.of.get(name) is None else self.integer(name)

    def boolean(self, name: str) -> bool:
        value = self.of.get(name)
        if not isinstance(value, bool):
            raise Malformed
        return value

    def string(self, name: str) -> str:
        value = self.of.get(name)
        if not isinstance(value, str):
            raise Malformed
        return value

    def optional_string(self, name: str) -> str | None:
        return None if self.of.get(name) is None else self.string(name)

    def decimal(self, name: str) -> Decimal:
        value = self.string(name)
        if not NUMBER.fullmatch(value):
            raise Malformed
        return Decimal(value)

    def address(self, name: str) -> str:
        value = self.string(name)
        if not ADDRESS.fullmatch(value):
            raise Malformed
        return "0x" + value.removeprefix("0x").lower()

    def optional_address(self, name: str) -> str | None:
        return None if self.of.get(name) is None else self.address(name)

    def items(self, name: str) -> list[Fields]:
        value = self.of.get(name)
        if not isinstance(value, list):
            raise Malformed
        return [Fields(each) for each in value]

    def inner(self, name: str) -> Fields:
        return Fields(self.of.get(name))

    def order_id(self, name: str) -> int | str:
        """An exchange's order id or a client's."""
        value = self.of.get(name)
        if isinstance(value, str):
            if not CLOID.fullmatch(value):
                raise Malformed
            return value.lower()
        return self.integer(name)
