"""Decisions as they were written down: what each said and, where that is kept, what it was made from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.errors import ConfigError
from bot.journal import inputs, past
from bot.journal.inputs import KeptInputs
from bot.journal.past import Past
from bot.journal.reader import Reader, Row

ORDER_FIELDS: Final = (
    "instrument",
    "side",
    "lots",
    "limit_price",
    "time_in_force",
    "reduce_only",
    "trigger_kind",
    "trigger_price",
    "purpose",
)
"""What a decision says of an order, as in the columns of `orders`."""

OPERATOR: Final = (
    "it is the operator's own word (halt, flatten or resume), in which strategies and rules have no say"
)
BETWEEN: Final = "it was made between two rows of the market, and the journal keeps the prices of rows alone"
NO_INPUT: Final = "its input is not kept: it was written by a program that kept none"

_DECISIONS: Final = """
SELECT decision.*, input.content, input.written_in, input.run_id AS input_run_id
FROM decision LEFT JOIN input ON input.decision_id = decision.id
WHERE (?1 IS NULL OR time_ms >= ?1) AND (?2 IS NULL OR time_ms <= ?2) AND (?3 IS NULL OR id = ?3)
ORDER BY decision.run_id, time_ms, id"""
_OLD_DECISIONS: Final = """
SELECT *, NULL AS content, NULL AS written_in, NULL AS input_run_id FROM decision
WHERE (?1 IS NULL OR time_ms >= ?1) AND (?2 IS NULL OR time_ms <= ?2) AND (?3 IS NULL OR id = ?3)
ORDER BY run_id, time_ms, id"""
_WORD: Final = re.compile(r"[0-9a-f]+[hfr][0-9]+n[0-9]+")
_BETWEEN: Final = re.compile(r"[0-9a-f]+[aep][0-9]+n[0-9]+")  # decided again, a leg evened out, protected


@dataclass(frozen=True, slots=True)
class Said:
    """What a decision says, by names; what is 0 and has been 0 is left out. Sizes are in lots.

    `forecasts`: (strategy, coin) → score, because, and the strategy's part wanted and allowed. `targets`: coin → wanted,
    allowed. `findings`: rule, coin, detail. `orders`: client id → ORDER_FIELDS, in their sequence. `cancels`: order id →
    client id, coin, because.
    """

    forecasts: Mapping[tuple[str, str], tuple[float, str, int, int]]
    targets: Mapping[str, tuple[int, int]]
    findings: tuple[tuple[str, str, str], ...]
    orders: Mapping[str, tuple[Any, ...]]
    cancels: Mapping[int, tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class KeptDecision:
    """One decision. `inputs` None where it can't be made again, with the reason in `missing`.

    `is_full`: its sentences are its own; else they are of the decision that it repeats, and of another moment.
    """

    id: str
    run_id: int
    time_ms: int
    is_full: bool
    said: Said
    inputs: KeptInputs | None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is needed to make decisions again; `configs` are the runs' own, as JSON."""

    decisions: tuple[KeptDecision, ...]
    past: Past
    configs: Mapping[int, str] = field(default_factory=dict)


def kept(
    reader: Reader, *, start_ms: int | None = None, end_ms: int | None = None, name: str | None = None
) -> Kept:
    """The decisions from `start_ms` to `end_ms`, or the one of that name. ConfigError for a name that is unknown."""
    has_inputs = reader.one("SELECT 1 FROM sqlite_schema WHERE name = 'input'") is not None
    if name == "latest":
        newest = reader.one("SELECT id FROM decision ORDER BY time_ms DESC, id DESC LIMIT 1")
        name = None if newest is None else newest["id"]
    query = _DECISIONS if has_inputs else _OLD_DECISIONS
    rows = list(reader.each(query, start_ms, end_ms, None if name is None else name.lower()))
    if name is not None and not rows:
        raise ConfigError(
            f"the journal knows no decision '{name}'; `hedgerow explain COIN` names those that changed something"
        )
    openings = reader.each("SELECT * FROM opening") if has_inputs else iter(())
    seen = reader.each("SELECT * FROM market")
    return Kept(
        tuple(_decisions(reader, rows)),
        Past(
            {row["run_id"]: past.decode(row["content"]) for row in openings},
            {row["time_ms"]: row["content"] for row in seen},
        ),
        {row["id"]: row["config"] for row in reader.each("SELECT id, config FROM run")},
    )


def _decisions(reader: Reader, rows: list[Row]) -> Iterator[KeptDecision]:
    for row in rows:
        given, missing = None, NO_INPUT
        if _WORD.fullmatch(row["id"]):
            missing = OPERATOR
        elif row["content"] is None and _BETWEEN.fullmatch(row["id"]):
            missing = BETWEEN
        elif row["content"] is not None and row["input_run_id"] == row["run_id"]:
            given, missing = inputs.decode(row["content"]), ""
        full = row["written_in"] or row["id"]
        said = _said(reader, full, row["id"], None if given is None else given.plan)
        yield KeptDecision(
            row["id"], row["run_id"], row["time_ms"], bool(row["is_full"]), said, given, missing
        )


def _said(reader: Reader, full: str, name: str, told_again: tuple[tuple[Any, ...], ...] | None) -> Said:
    forecasts = reader.each("SELECT * FROM forecast WHERE decision_id = ?", full)
    targets = reader.each("SELECT * FROM target WHERE decision_id = ?", full)
    findings = reader.each("SELECT * FROM finding WHERE decision_id = ? ORDER BY number", full)
    cancels = reader.each("SELECT * FROM cancel WHERE decision_id = ?", name)
    if told_again is None:
        found = reader.each("SELECT * FROM orders WHERE decision_id = ? ORDER BY rowid", name)
        orders = {row["client_id"]: tuple(row[each] for each in ORDER_FIELDS) for row in found}
    else:
        orders = {row[0]: tuple(row[2:11]) for row in told_again}
    return Said(
        {
            (row["strategy"], row["instrument"]): (
                row["score"], row["because"], row["wanted_lots"], row["allowed_lots"],
            )
            for row in forecasts
        },
        {row["instrument"]: (row["wanted_lots"], row["allowed_lots"]) for row in targets},
        tuple((row["rule"], row["instrument"], row["detail"]) for row in findings),
        orders,
        {row["order_id"]: (row["client_id"], row["instrument"], row["because"]) for row in cancels},
    )  # fmt: skip
