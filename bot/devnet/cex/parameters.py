"""Reading a request's parameters; whatever is missing or malformed is answered as the venue answers it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final

from bot.devnet.cex.authentication import Rejected

_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
_CLIENT_ID: Final = re.compile(r"[.A-Za-z0-9:/_-]{1,36}", re.ASCII)
_SYMBOL: Final = re.compile(r"[A-Z0-9_]{1,32}", re.ASCII)


class Parameters:
    """The parameters of one request, by name. Every method raises Rejected."""

    def __init__(self, of: Mapping[str, str]) -> None:
        self.of = of

    def text(self, name: str) -> str:
        value = self.of.get(name, "")
        if not value:
            raise Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def one_of(self, name: str, known: Collection[str], code: int, message: str) -> str:
        value = self.text(name)
        if value not in known:
            raise Rejected(code, message)
        return value

    def optional_symbol(self) -> str | None:
        value = self.of.get("symbol")
        if value is None or value == "":
            return None
        if not _SYMBOL.fullmatch(value):
            raise Rejected(-1121, "Invalid symbol.")
        return value

    def integer(self, name: str) -> int:
        value = self.text(name)
        if not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return int(value)

    def optional_integer(self, name: str) -> int | None:
        return self.integer(name) if self.of.get(name) else None

    def limit(self, otherwise: int, most: int) -> int:
        """How many rows are wanted; as on the venue, more than the most is the most."""
        value = self.optional_integer("limit")
        if value == 0:
            raise Rejected(-1130, "Data sent for parameter 'limit' is not valid.")
        return otherwise if value is None else min(value, most)

    def span(self) -> tuple[int | None, int | None]:
        """From when to when, in ms, both included; None where it is open."""
        start, end = self.optional_integer("startTime"), self.optional_integer("endTime")
        if start is not None and end is not None and start > end:
            raise Rejected(-1023, "Start time is greater than end time.")
        return start, end

    def decimal(self, name: str) -> Decimal:
        value = self.text(name)
        if not _NUMBER.fullmatch(value):
            raise Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return Decimal(value)

    def flag(self, name: str) -> bool:
        value = self.of.get(name, "false").lower()
        if value not in {"true", "false"}:
            raise Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value == "true"

    def client_id(self, name: str) -> str | None:
        """A client's id; None if there is none."""
        value = self.of.get(name)
        if value is None:
            return None
        if not _CLIENT_ID.fullmatch(value):
            raise Rejected(-4015, "Client order id length should be less than 36 chars")
        return value
