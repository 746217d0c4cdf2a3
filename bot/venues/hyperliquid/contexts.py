"""`metaAndAssetCtxs`, the one large reply that is read often: before every row and before every order.

It is read in two ways that come to the same. The exact one takes it apart value by value and can say what is wrong
with which field. The quick one takes whole columns: it knows the usual form of the reply and nothing else, and
answers None at the least doubt, upon which the exact one decides; where only a coin's numbers are beyond what is
usual, it decides on that coin alone. So the quick one never refuses anything and never has to explain; it only has to be
sure. A test holds the two together on mutated replies.

A coin that can't be read is unread in both ways, and the others are not: only whoever trades it has to mind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any, Final, overload

import msgspec
import numpy as np

from bot.errors import DataError
from bot.model.panel import FloatArray
from bot.venues.hyperliquid import parse_market, parse_meta
from bot.venues.hyperliquid.parse_market import LARGEST_PREMIUM, LARGEST_RATE, Context
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.hyperliquid.wire import LARGEST_AMOUNT, LARGEST_PRICE, Node, decode

REPLY: Final = "metaAndAssetCtxs"
COLUMNS: Final = ("mark", "oracle", "funding", "open_interest", "mid", "premium")
"""In this order: the last two are null where nobody trades."""

SURELY: Final = 0.999
"""A float this far within a bound is within it as a decimal as well, whatever was rounded; nearer is doubt."""

_NEGATIVE: Final = -5e-324  # the largest there is
_PRICE: Final = (0.0, float(LARGEST_PRICE))
_RATE: Final = (-float(LARGEST_RATE), float(LARGEST_RATE))
_AMOUNT: Final = (_NEGATIVE, float(LARGEST_AMOUNT))
_PREMIUM: Final = (-float(LARGEST_PREMIUM), float(LARGEST_PREMIUM))
_LOW, _HIGH = np.array([_PRICE, _PRICE, _RATE, _AMOUNT, _PRICE, _PREMIUM]).T[:, :, None] * SURELY
_LONGEST: Final = 21  # characters, so that no more than 20 of them follow the point


@dataclass(frozen=True, slots=True)
class Contexts(Sequence[Context]):
    """The contexts of a universe's coins, in its order: exactly, and as float64 of shape (COLUMNS, coins), NaN for null.

    `unread` says by place which can't be read and why not; of these everything is null.
    """

    values: FloatArray
    texts: tuple[Sequence[str | None], ...]
    unread: Mapping[int, str] = field(default_factory=dict)

    def column(self, name: str) -> FloatArray:
        """One of COLUMNS over all coins."""
        values: FloatArray = self.values[COLUMNS.index(name)]
        return values

    def text(self, name: str) -> Sequence[str | None]:
        """One of COLUMNS over all coins, as the venue wrote it."""
        return self.texts[COLUMNS.index(name)]

    def __len__(self) -> int:
        return len(self.texts[0])

    @overload
    def __getitem__(self, place: int) -> Context: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Context, ...]: ...
    def __getitem__(self, place: int | slice) -> Context | tuple[Context, ...]:
        if isinstance(place, slice):
            return tuple(self[k] for k in range(*place.indices(len(self))))
        if (why := self.unread.get(range(len(self))[place])) is not None:
            raise DataError(why)
        exact = {
            name: None if (text := texts[place]) is None else Decimal(text)
            for name, texts in zip(COLUMNS, self.texts, strict=True)
        }
        return Context(**exact)  # type: ignore[arg-type]  # only those that may be are None

    def __iter__(self) -> Iterator[Context]:
        return (self[place] for place in range(len(self)))


def read(body: bytes) -> tuple[Universe, Contexts]:
    """The reply, quickly where it has its usual form. DataError names the field that can't be right."""
    return read_quickly(body) or read_exactly(decode(body, REPLY))


# Exactly


def read_exactly(node: Node) -> tuple[Universe, Contexts]:
    """The reply, value by value. DataError names the field that can't be right."""
    known, found = parse_market.contexts(node)
    texts = tuple(tuple(_text(each, name) for each in found) for name in COLUMNS)
    values = [[np.nan if text is None else float(text) for text in column] for column in texts]
    unread = {place: each for place, each in enumerate(found) if isinstance(each, str)}
    return known, Contexts(np.array(values) + 0.0, texts, unread)  # + 0.0 makes a minus nought a nought


def _text(context: Context | str, name: str) -> str | None:
    value = None if isinstance(context, str) else getattr(context, name)
    return None if value is None else format(value, "f")


# Quickly


class _Context(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Every key of a context; what is not read is here so that none is unknown and none can hide a second one."""

    funding: str
    open_interest: str = msgspec.field(name="openInterest")
    premium: str | None
    oracle: str = msgspec.field(name="oraclePx")
    mark: str = msgspec.field(name="markPx")
    mid: str | None = msgspec.field(name="midPx")
    previous: str = msgspec.field(name="prevDayPx")
    volume_usd: str = msgspec.field(name="dayNtlVlm")
    volume: str = msgspec.field(name="dayBaseVlm")
    impact: tuple[str, str] | None = msgspec.field(name="impactPxs")


KEYS: Final = len(_Context.__struct_fields__)
_REPLY: Final = msgspec.json.Decoder(tuple[msgspec.Raw, list[_Context]])
_FLOATS: Final = msgspec.json.Decoder(list[float])


def read_quickly(body: bytes) -> tuple[Universe, Contexts] | None:
    """The reply where it surely is as it should be; None where the exact way has to decide."""
    try:
        raw, found = _REPLY.decode(body)
        meta = bytes(raw)
        known = _universe(meta)
        # All keys are known and each is there once at least. As many colons as keys: none is there twice.
        if len(found) != len(known.names) or body.count(b":") - meta.count(b":") != KEYS * len(found):
            return None
        always = (
            [each.mark for each in found],
            [each.oracle for each in found],
            [each.funding for each in found],
            [each.open_interest for each in found],
        )
        nullable = [each.mid for each in found], [each.premium for each in found]
        values = _values(list(chain(*always)), list(chain(*nullable)))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, DataError):
        return None
    if values is None:
        return None
    values = values.reshape(len(COLUMNS), len(found))
    columns: tuple[list[str | None], ...] = (*always, *nullable)  # type: ignore[assignment]  # of some, all are told
    unread: dict[int, str] = {}
    for place in ((values <= _LOW) | (values >= _HIGH)).any(axis=0).nonzero()[0].tolist():
        told = parse_market.context_or_why(Node(_wire(found[place]), f"{REPLY}[1][{place}]"))
        if isinstance(told, str):
            unread[place] = told
            values[:, place] = np.nan
            for column in columns:
                column[place] = None
    return known, Contexts(values, columns, unread)


def _wire(context: _Context) -> dict[str, Any]:
    """What is read of a context, as it stood in the reply."""
    made: dict[str, Any] = msgspec.to_builtins(context)
    return made


@lru_cache(maxsize=2)
def _universe(meta: bytes) -> Universe:
    """The same bytes are the same universe: it changes when a coin is listed, and is asked for all the time."""
    return parse_meta.universe(decode(meta, f"{REPLY}[0]"))


def _values(always: list[str], nullable: list[str | None]) -> FloatArray | None:
    """Every text as a float, one after another; None where one of them may be none. MsgspecError likewise.

    Of nothing but digits, points, minuses and the commas between them, JSON's numbers are those of our own grammar, so
    that its quick and correctly rounded reader can be used. Only their length is looked at here.
    """
    given = always + [text for text in nullable if text is not None]
    joined = f"[{','.join(given)}]".encode()
    if joined.translate(None, b"0123456789.-,") != b"[]" or max(map(len, given)) > _LONGEST:
        return None
    floats = _FLOATS.decode(joined)
    if len(floats) != len(given):
        return None  # a comma within a text
    found = np.array(floats) + 0.0  # which makes a minus nought a nought
    if len(given) == len(always) + len(nullable):
        return found
    values = np.full(len(always) + len(nullable), np.nan)
    values[: len(always)] = found[: len(always)]
    told = np.fromiter((text is not None for text in nullable), bool, len(nullable))
    values[len(always) :][told] = found[len(always) :]
    return values
