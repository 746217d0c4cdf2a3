"""The market's past as the journal keeps it: what each run began with, and what it saw from there on.

A run begins with a panel's tail that its venue told and earlier runs had seen; from then on each decision adds the rows
that it came with (table `market`). Of a beginning only those rows are written that are not here already, so a restart
costs next to nothing. Put together again, the panel of a decision is the one that it looked at.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from bot.errors import StateError
from bot.journal import market
from bot.journal.market import Row
from bot.model.instrument import HYPERLIQUID, Instrument, Kind, MarginTier
from bot.model.panel import FloatArray, Grid, Panel


@dataclass(frozen=True, slots=True)
class Opening:
    """What a run began with. `rows` by their time: those of `grid` that an earlier run does not tell.

    `tail_rows` is how many rows its decisions looked at, as soon as there were so many.
    """

    instruments: tuple[Instrument, ...]
    tail_rows: int
    grid: Grid
    rows: Mapping[int, Row]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the instruments."""
        return tuple(instrument.name for instrument in self.instruments)


def encode(
    instruments: Sequence[Instrument], panel: Panel, tail_rows: int, known: Mapping[int, Row]
) -> bytes:
    """An opening with the rows of the panel that differ from those `known`."""
    fields, grid = list(panel.fields), panel.grid
    new = [
        row
        for row in range(grid.rows)
        if not _is_same(panel, row, known.get(grid.time_ms(row)), len(panel.instruments))
    ]
    head = {
        "instruments": [_told(instrument) for instrument in instruments],
        "tail_rows": tail_rows,
        "grid": [grid.first, grid.rows, grid.interval_ms],
        "fields": fields,
        "rows": new,
    }
    values = np.array([panel.fields[name][new] for name in fields], np.float64)
    start = json.dumps(head, separators=(",", ":")).encode()
    return zlib.compress(len(start).to_bytes(4, "big") + start + values.tobytes(), 1)


def decode(content: bytes) -> Opening:
    """What `encode` wrote. StateError where it is damaged."""
    try:
        told = zlib.decompress(content)
        length = 4 + int.from_bytes(told[:4], "big")
        head = json.loads(told[4:length])
        instruments = tuple(map(_instrument, head["instruments"]))
        grid, fields, new = Grid(*head["grid"]), head["fields"], head["rows"]
        values = np.frombuffer(told[length:], np.float64)
        values = values.reshape(len(fields), len(new), len(instruments))
    except (ValueError, TypeError, LookupError, zlib.error) as error:
        raise StateError(f"what a run of the journal began with is damaged ({error})") from None
    rows = {
        grid.time_ms(row): {name: values[k, place] for k, name in enumerate(fields)}
        for place, row in enumerate(new)
    }
    return Opening(instruments, head["tail_rows"], grid, rows)


class Past:
    """Openings by run, and the rows seen live by time, as they lie in the journal."""

    def __init__(self, openings: Mapping[int, Opening], seen: Mapping[int, bytes]) -> None:
        self.openings = dict(sorted(openings.items()))
        self._seen = seen

    def panel(self, run_id: int, end_ms: int, rows: int) -> Panel | None:
        """The `rows` rows up to `end_ms` as that run had them; None where the journal does not reach back so far."""
        opening = self.openings.get(run_id)
        if opening is None:
            return None
        step, names = opening.grid.interval_ms, opening.names
        found: list[Row] = []
        for time_ms in range(end_ms - (rows - 1) * step, end_ms + 1, step):
            if time_ms > opening.grid.end_ms:
                row = self._live(time_ms, names) or {}  # a row that was skipped is unknown
            else:
                told = self.before(run_id, time_ms, names)
                if told is None:
                    return None
                row = told
            found.append(row)
        fields = dict.fromkeys(name for row in found for name in row)
        unknown = np.full(len(names), np.nan)
        return Panel(
            Grid.between(end_ms - (rows - 1) * step, end_ms, step),
            names,
            {name: np.array([row.get(name, unknown) for row in found]) for name in fields},
        )

    def before(self, run_id: int, time_ms: int, names: Sequence[str]) -> Row | None:
        """A row of the time before that run saw any itself; None where neither it nor one before it tells the row."""
        for each in [number for number in reversed(self.openings) if number <= run_id]:
            opening = self.openings[each]
            if each != run_id and time_ms > opening.grid.end_ms:
                return self._live(time_ms, names)
            if time_ms in opening.rows:
                return _on(opening.rows[time_ms], opening.names, names)
        return None

    def _live(self, time_ms: int, names: Sequence[str]) -> Row | None:
        content = self._seen.get(time_ms)
        return None if content is None else market.decode(content, names)


def _on(row: Row, had: Sequence[str], names: Sequence[str]) -> Row:
    """The row on other axes."""
    if tuple(had) == tuple(names):
        return row
    places = {name: column for column, name in enumerate(had)}
    columns = np.array([places.get(name, -1) for name in names])
    return {field: np.where(columns >= 0, values[columns], np.nan) for field, values in row.items()}


def _is_same(panel: Panel, row: int, known: Row | None, width: int) -> bool:
    if known is None:
        return False
    unknown = np.full(width, np.nan)
    names = {*panel.fields, *known}

    def of(name: str) -> FloatArray:
        values = panel.fields.get(name)
        return unknown if values is None else values[row]

    return all(np.array_equal(of(name), known.get(name, unknown), equal_nan=True) for name in names)


def _told(instrument: Instrument) -> list[Any]:
    return [
        instrument.name,
        instrument.size_decimals,
        [_tier(tier) for tier in instrument.tiers],
        instrument.only_isolated,
        instrument.is_delisted,
        str(instrument.min_order_usd),
        instrument.multiplier,
        instrument.kind.value,
        instrument.underlying,
        instrument.venue,
        None if instrument.tick is None else str(instrument.tick),
        instrument.quote,
    ]


def _tier(tier: MarginTier) -> list[Any]:
    own = [] if tier.own_rate is None else [str(tier.own_rate)]
    return [str(tier.lower_bound_usd), tier.max_leverage, *own]


def _instrument(told: Sequence[Any]) -> Instrument:
    """Written before there were several venues, it ends with the underlying."""
    name, decimals, tiers, only_isolated, is_delisted, least_usd, multiplier, kind, underlying = told[:9]
    venue, tick, quote = told[9:] or (HYPERLIQUID, None, "USDC")
    return Instrument(
        name,
        decimals,
        tuple(MarginTier(Decimal(bound), leverage, *map(Decimal, own)) for bound, leverage, *own in tiers),
        only_isolated,
        is_delisted,
        Decimal(least_usd),
        multiplier,
        Kind(kind),
        underlying,
        venue,
        None if tick is None else Decimal(tick),
        quote,
    )
