"""Makes journaled decisions again, by the same `decide`, from what the journal keeps of their inputs, and compares.

Each decision is made for itself, from the account and the memory that the daemon had then: with another config it says
what would have been decided at that moment, not where another history would have led. Nothing is taken for equal that
was not computed: a decision whose input is not kept, or whose market can't be put together bit for bit, is told as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bot.clock import HOUR_MS
from bot.errors import HedgerowError
from bot.journal import codec
from bot.journal.inputs import KeptInputs, digest
from bot.journal.kept import Kept, KeptDecision, Said
from bot.model.decision import Decision
from bot.model.instrument import Instrument
from bot.model.panel import Panel
from bot.pipeline.by_hand import order_by_hand
from bot.pipeline.decide import decide
from bot.pipeline.legs import without_leg_orders
from bot.pipeline.mandate import Guard, Mandate
from bot.pipeline.market import Prepared, rows_needed
from bot.pipeline.snapshot import Snapshot

EQUAL: Final = "equal"
DIFFERENT: Final = "different"
NOT_MADE: Final = "not made again"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a decision said otherwise: `kept` is the journal's, `now` that of today; None is nothing.

    `what` is opinion, wanted, allowed, finding, cancel or order; `who` the strategy, rule or order where there is one.
    """

    what: str
    coin: str
    who: str
    kept: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one decision; `why` says why it was not made again."""

    decision: KeptDecision
    verdict: str
    changes: tuple[Change, ...] = ()
    why: str = ""


class NotMade(HedgerowError):
    """A decision that can't be made again, and why."""


def replay(kept: Kept, mandate_of: Callable[[int], Mandate]) -> Iterator[Outcome]:
    """Every decision once more; `mandate_of` gives a run's mandate, or raises NotMade."""
    for decision in kept.decisions:
        try:
            instruments, mandate, made = again(decision, kept, mandate_of)
        except NotMade as reason:
            yield Outcome(decision, NOT_MADE, why=str(reason))
            continue
        changes = tuple(differences(decision, made, mandate, instruments))
        yield Outcome(decision, DIFFERENT if changes else EQUAL, changes)


def again(
    decision: KeptDecision, kept: Kept, mandate_of: Callable[[int], Mandate]
) -> tuple[tuple[Instrument, ...], Mandate, Decision]:
    """The decision made again, with the axes it was made on. NotMade where that can't be."""
    if decision.inputs is None:
        raise NotMade(decision.missing)
    opening = kept.past.openings.get(decision.run_id)
    if opening is None:
        raise NotMade("what its run began with is not kept")
    given, mandate = decision.inputs, mandate_of(decision.run_id)
    try:
        needed = rows_needed(mandate, opening.grid.interval_ms)
    except HedgerowError as error:
        raise NotMade(str(error)) from None
    panel = _panel(decision, kept, given, needed, opening.tail_rows)
    names = [slot.name for slot in mandate.strategies]
    memory = codec.decode_memory(given.memory, names, opening.names)
    guards = {name: Guard(*distances) for name, distances in given.guards.items()}
    market = Prepared.of(panel, opening.instruments, mandate).at(-1)
    wish = given.by_hand
    if wish is None:
        snapshot = Snapshot(market, given.account, memory, given.state, guards, quarantined=given.quarantined)
        legs = {leg.name for spread in mandate.spreads for leg in spread.legs}
        return opening.instruments, mandate, without_leg_orders(decide(snapshot, mandate), legs)
    made = order_by_hand(
        market,
        given.account,
        memory,
        mandate,
        opening.names.index(wish.instrument),
        wish.lots,
        number=wish.number,
        state=given.state,
        guards=guards,
        quarantined=given.quarantined,
    )
    return opening.instruments, mandate, made


def _panel(decision: KeptDecision, kept: Kept, given: KeptInputs, needed: int, tail_rows: int) -> Panel:
    """The panel that the decision looked at, known to be the same; longer where a mandate of now needs more."""

    def of(rows: int) -> Panel | None:
        panel = kept.past.panel(decision.run_id, decision.time_ms, rows)
        if panel is None or given.by_hand is None:
            return panel
        marks = panel.mark.values.copy()
        marks[-1] = given.by_hand.mark
        return Panel(panel.grid, panel.instruments, {**panel.fields, "mark": marks})

    panel = of(given.rows)
    if panel is None or digest(panel) != given.market_digest:
        raise NotMade("the market that it saw is not kept as it was")
    if needed <= tail_rows:
        return panel.tail(needed)
    longer = of(needed)
    if longer is None:
        hours = needed * panel.grid.interval_ms / HOUR_MS
        raise NotMade(
            f"these strategies need {hours:g} h of the market before it, and the journal keeps less"
        )
    return longer


def differences(
    kept: KeptDecision, made: Decision, mandate: Mandate, instruments: Sequence[Instrument]
) -> Iterator[Change]:
    """What the decision says otherwise now. Nothing: it says the same in every score, size, finding and order.

    Sentences of opinions are compared where they are the decision's own. The sequence of cancels is not kept.
    """
    said = kept.said
    columns = {instrument.name: column for column, instrument in enumerate(instruments)}
    rows = {slot.name: row for row, slot in enumerate(mandate.strategies)}
    yield from _opinions(kept, made, rows, columns, instruments)
    for what, kept_lots, now_lots in (
        ("wanted", {coin: lots for coin, (lots, _) in said.targets.items()}, made.wanted.lots),
        ("allowed", {coin: lots for coin, (_, lots) in said.targets.items()}, made.allowed.lots),
    ):
        for coin, column in columns.items():
            before, now = kept_lots.get(coin, 0), int(now_lots[column])
            if before != now:
                size = instruments[column].size
                yield Change(what, coin, "", size(before), size(now))
    findings = tuple((each.rule, each.instrument, each.detail) for each in made.findings)
    yield from _listed("finding", said.findings, findings)
    yield from _cancels(said, made)
    yield from _orders(said, made, instruments, columns)


def _opinions(
    kept: KeptDecision,
    made: Decision,
    rows: Mapping[str, int],
    columns: Mapping[str, int],
    instruments: Sequence[Instrument],
) -> Iterator[Change]:
    now = {
        (name, instruments[column].name): float(made.opinions[row].scores[column])
        for name, row in rows.items()
        for column in np.flatnonzero(made.opinions[row].scores).tolist()
    }
    for name, coin in sorted({*kept.said.forecasts, *now}):
        before = kept.said.forecasts.get((name, coin))
        if name not in rows or coin not in columns:
            yield Change("opinion", coin, name, _opinion(before), None)
            continue
        row, column = rows[name], columns[coin]
        score, because = float(made.opinions[row].scores[column]), made.opinions[row].reason(column)
        is_own = before is not None and kept.is_full
        if score != (0.0 if before is None else before[0]) or (is_own and before[1] != because):  # type: ignore[index]
            yield Change("opinion", coin, name, _opinion(before), {"score": score, "because": because})
        if before is None:
            continue  # its part is not kept where it had no opinion; the whole is compared
        size = instruments[column].size
        for what, lots, targets in (("wanted", before[2], made.wanted), ("allowed", before[3], made.allowed)):
            part = int(targets.by_strategy[row, column])
            if lots != part:
                yield Change(what, coin, name, size(lots), size(part))


def _opinion(said: tuple[float, str, int, int] | None) -> dict[str, Any] | None:
    return None if said is None else {"score": said[0], "because": said[1]}


def _listed(
    what: str, kept: Sequence[tuple[str, str, str]], now: Sequence[tuple[str, str, str]]
) -> Iterator[Change]:
    """Of sentences by name and coin."""
    gone, new = Counter(kept) - Counter(now), Counter(now) - Counter(kept)
    for name, coin in sorted({each[:2] for each in (*gone, *new)}):
        yield Change(what, coin, name, _told(gone, name, coin), _told(new, name, coin))
    if not gone and not new and tuple(kept) != tuple(now):
        yield Change(what, "", "", _sequence(each[0] for each in kept), _sequence(each[0] for each in now))


def _told(sentences: Iterable[tuple[str, str, str]], name: str, coin: str) -> str | None:
    return "; ".join(detail for rule, of, detail in sentences if (rule, of) == (name, coin)) or None


def _sequence(names: Iterable[str]) -> str:
    return "in this sequence: " + ", ".join(names)


def _cancels(said: Said, made: Decision) -> Iterator[Change]:
    now = {each.order_id: (each.client_id, each.instrument, each.because) for each in made.plan.cancels}
    for order_id in sorted({*said.cancels, *now}):
        before, after = said.cancels.get(order_id), now.get(order_id)
        if before != after:
            name, coin, _ = before or after or ("", "", "")
            yield Change("cancel", coin, name, before and before[2], after and after[2])


def _orders(
    said: Said, made: Decision, instruments: Sequence[Instrument], columns: Mapping[str, int]
) -> Iterator[Change]:
    now = {each.client_id: codec.order_row(each, None, 0)[2:11] for each in made.plan.orders}
    for name in sorted({*said.orders, *now}):
        before, after = said.orders.get(name), now.get(name)
        if before != after:
            coin = str((before or after or ("",))[0])
            instrument = instruments[columns[coin]] if coin in columns else None
            yield Change("order", coin, name, _order(before, instrument), _order(after, instrument))
    if {*said.orders} == {*now} and [*said.orders] != [*now]:
        yield Change("order", "", "", _sequence(said.orders), _sequence(now))


def _order(row: Sequence[Any] | None, instrument: Instrument | None) -> str | None:
    """An order in words, every word of which is compared."""
    if row is None:
        return None
    _, side, lots, limit, time_in_force, reduce_only, kind, level, purpose = row
    size = f"{lots} lots" if instrument is None else f"{instrument.size(lots):f}"
    trigger = "" if kind is None else f" when {kind} {level} is crossed"
    bound = "at the market" if limit is None else f"at {limit}"
    return f"{purpose} {side} {size} {bound} {time_in_force}{' reduce only' if reduce_only else ''}{trigger}"
