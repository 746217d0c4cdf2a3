"""`metaAndAssetCtxs`, the one large reply that is read often: before every row and before every order.

It is read in two ways that come to the same. The exact one takes it apart value by value and can say what is wrong
with which field. The quick one takes whole columns: it knows the usual form of the reply and nothing else, and
answers None at the least doubt, upon which the exact one decides. So the quick one never refuses anything and never
has to explain; it only has to be sure. A test holds the two together on mutated replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Final, overload

import msgspec
import numpy as np

from bot.errors import DataError
from bot.model.panel import FloatArray
from bot.venues.hyperliquid import parse_market, parse_meta
from bot.venues.hyperliquid.parse_market import LARGEST_PREMIUM, LARGEST_RATE, Context
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.hyperliquid.wire import DECIMAL, LARGEST_AMOUNT, LARGEST_PRICE, Node, decode

REPLY: Final = "metaAndAssetCtxs"
SURELY: Final = 0.999
"""A float this far below a bound is below it as a decimal as well, whatever was rounded; nearer is doubt."""

COLUMNS: Final = ("mark", "oracle", "mid", "funding", "open_interest", "premium")


@dataclass(frozen=True, slots=True)
class Contexts(Sequence[Context]):
    """The contexts of a universe's coins, in its order: as float64 columns (NaN where null), and exactly as text."""

    columns: dict[str, FloatArray]
    texts: dict[str, tuple[str | None, ...]]

    def __len__(self) -> int:
        return len(self.texts["mark"])

    @overload
    def __getitem__(self, place: int) -> Context: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Context, ...]: ...
    def __getitem__(self, place: int | slice) -> Context | tuple[Context, ...]:
        if isinstance(place, slice):
            return tuple(self[k] for k in range(*place.indices(len(self))))
        exact = {name: texts[place] for name, texts in self.texts.items()}
        return Context(**{name: None if text is None else Decimal(text) for name, text in exact.items()})  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Context]:
        return (self[place] for place in range(len(self)))


def read(body: bytes) -> tuple[Universe, Contexts]:
    """The reply, quickly where it has its usual form. DataError names the field that can't be right."""
    return read_quickly(body) or read_exactly(decode(body, REPLY))


# Exactly


def read_exactly(node: Node) -> tuple[Universe, Contexts]:
    """The reply, value by value. DataError names the field that can't be right."""
    known, found = parse_market.contexts(node)
    texts = {name: tuple(_text(each, name) for each in found) for name in COLUMNS}
    columns = {
        name: np.array([np.nan if text is None else float(text) + 0.0 for text in texts[name]])
        for name in COLUMNS
    }
    return known, Contexts(columns, texts)


def _text(context: Context, name: str) -> str | None:
    value = getattr(context, name)
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
_DECIMALS: Final = re.compile(rf"(?:{DECIMAL.pattern},)*+", re.ASCII)


def read_quickly(body: bytes) -> tuple[Universe, Contexts] | None:
    """The reply where it surely is as it should be; None where the exact way has to decide."""
    try:
        raw, found = _REPLY.decode(body)
        meta = bytes(raw)
        known = _universe(meta)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, DataError):
        return None
    # All keys are known and each is there once at least. As many colons as keys: none is there twice.
    if len(found) != len(known.instruments) or body.count(b":") - meta.count(b":") != KEYS * len(found):
        return None
    texts: dict[str, tuple[str | None, ...]] = {
        "mark": tuple([each.mark for each in found]),
        "oracle": tuple([each.oracle for each in found]),
        "mid": tuple([each.mid for each in found]),
        "funding": tuple([each.funding for each in found]),
        "open_interest": tuple([each.open_interest for each in found]),
        "premium": tuple([each.premium for each in found]),
    }
    columns = _columns(texts)
    if columns is None or not _within(columns):
        return None
    return known, Contexts(columns, texts)


@lru_cache(maxsize=2)
def _universe(meta: bytes) -> Universe:
    """The same bytes are the same universe: it changes when a coin is listed, and is asked for all the time."""
    return parse_meta.universe(decode(meta, REPLY))


def _columns(texts: dict[str, tuple[str | None, ...]]) -> dict[str, FloatArray] | None:
    """Every text as a float, None where one of them is not of the decimal grammar."""
    every = tuple(chain.from_iterable(texts.values()))
    given = [text for text in every if text is not None]
    joined = ",".join(given)
    if _DECIMALS.fullmatch(f"{joined},") is None:
        return None
    # The grammar is a part of JSON's, so that JSON's own quick and correctly rounded reader can be used.
    values = _FLOATS.decode(f"[{joined}]")
    if len(values) != len(given):
        return None
    if len(given) == len(every):
        flat = np.array(values) + 0.0  # which makes a minus nought a nought
    else:
        flat = np.full(len(every), np.nan)
        flat[np.fromiter((text is not None for text in every), bool, len(every))] = np.array(values) + 0.0
    flat.flags.writeable = False
    width = len(texts["mark"])
    return {name: flat[k * width : (k + 1) * width] for k, name in enumerate(texts)}


def _within(columns: dict[str, FloatArray]) -> bool:
    """Whether every value is surely within what can be; NaN stands for null, which only two columns may hold."""
    price, amount = float(LARGEST_PRICE) * SURELY, float(LARGEST_AMOUNT) * SURELY
    for name in ("mark", "oracle"):
        values = columns[name]
        if not (values.min() > 0 and values.max() < price):
            return False
    mid, interest = columns["mid"], columns["open_interest"]
    if (mid <= 0).any() or (mid >= price).any() or interest.min() < 0 or interest.max() >= amount:
        return False
    rate, premium = float(LARGEST_RATE) * SURELY, float(LARGEST_PREMIUM) * SURELY
    return not ((np.abs(columns["funding"]) >= rate).any() or (np.abs(columns["premium"]) >= premium).any())
