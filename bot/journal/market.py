"""Rows of the market in the journal: names as JSON, values as compressed doubles, NaN included."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from bot.errors import StateError
from bot.model.panel import FloatArray

Row = Mapping[str, FloatArray]


def encode(row: Row, instruments: Sequence[str]) -> bytes:
    """One row: every field an array over `instruments`."""
    head = json.dumps([list(instruments), list(row)], separators=(",", ":")).encode()
    values = np.array([row[name] for name in row], np.float64)
    return len(head).to_bytes(4, "big") + head + zlib.compress(values.tobytes(), 1)


def decode(content: bytes, instruments: Sequence[str]) -> dict[str, FloatArray]:
    """The row on the axes given: what it does not know of an instrument is NaN. StateError where it is damaged."""
    try:
        length = int.from_bytes(content[:4], "big")
        stored, fields = json.loads(content[4 : 4 + length])
        values = np.frombuffer(zlib.decompress(content[4 + length :]), np.float64)
        values = values.reshape(len(fields), len(stored))
    except (ValueError, TypeError, zlib.error) as error:
        raise StateError(
            f"a market row of the journal is damaged ({error}); restore a copy or start a new journal"
        ) from None
    places = {name: column for column, name in enumerate(stored)}
    columns = [places.get(name, -1) for name in instruments]
    known = np.array(columns) >= 0
    return {name: np.where(known, values[k][columns], np.nan) for k, name in enumerate(fields)}
