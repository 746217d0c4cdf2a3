"""Try a strategy on made-up markets and say in words whether it keeps what every strategy promises.

It must not look ahead, must not remember anything by itself, must give the same answer over a live tail as over the
whole history, and must be able to say why. What it earns is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bot.clock import utc
from bot.model.decision import Decision, LotsArray, Memory, Opinion, OrderPlan, Targets
from bot.model.instrument import simple_instrument
from bot.model.panel import FloatArray, Panel
from bot.pipeline.decide import forecast, remember
from bot.pipeline.mandate import Mandate, Slot
from bot.pipeline.market import Prepared
from bot.pipeline.strategy import SignalTable, Strategy, View, reach_of, what_failed
from bot.research.markets import synthetic_panel
from bot.sim.coins import MAJORS

SEED: Final = 11
WALK: Final = 400
"""Hours that the strategy is led through."""
HOLE_SHARE: Final = 0.002


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: whether it was kept, and what was seen, in a sentence."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What checking one strategy found; `reach` is the rows of history that it needs, 0 if that is unknown."""

    strategy: str
    reach: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class Walk:
    """A strategy led through a market hour by hour; arrays have shape (hours, instruments)."""

    rows: range
    scores: FloatArray
    previous: FloatArray
    since_ms: LotsArray
    opinions: tuple[Opinion, ...]


class _Broken(Exception):
    """A promise was not kept; the message says how."""


def check(strategy: Strategy, name: str = "", panel: Panel | None = None) -> Report:
    """Every promise in turn; later ones are left out where an earlier one leaves nothing to try.

    `panel` defaults to a synthetic market long enough for the strategy, with holes in its data.
    """
    name = name or type(strategy).__name__
    checks: list[Check] = []

    def passes(what: str, promise: Callable[[], str]) -> bool:
        try:
            checks.append(Check(what, True, promise()))
        except _Broken as broken:
            checks.append(Check(what, False, str(broken)))
        except Exception as error:  # noqa: BLE001 - whatever a plugin does wrong is what we are here to say
            checks.append(Check(what, False, what_failed(error)))
        return checks[-1].passed

    reach = 0

    def needed() -> str:
        nonlocal reach
        reach = reach_of(strategy)
        return f"one forecast needs {reach} rows ({reach / 24:.1f} days) of history"

    if passes("reach", needed):
        market = panel if panel is not None else market_for(reach)
        sound = passes("known", lambda: _is_known(strategy, market))
        sound &= passes("causal signals", lambda: _signals_are_causal(strategy, market))
        passes("tail equals whole", lambda: _tail_equals_whole(strategy, market, reach))
        if sound and passes("scores", lambda: _scores_are_valid(strategy, name, market)):
            passes("causal forecast", lambda: _forecast_is_causal(strategy, market))
            passes("deterministic", lambda: _is_deterministic(strategy, market))
            passes("because", lambda: _reasons_are_complete(strategy, market))
    return Report(name, reach, tuple(checks))


def market_for(reach: int, seed: int = SEED) -> Panel:
    """Eight coins for `reach` rows and a walk; single values and one coin's whole day are missing."""
    coins = tuple(MAJORS.values())[:8]
    panel = synthetic_panel(coins, reach + WALK, seed)
    generator = np.random.default_rng(seed)
    wobble = 1 + 1e-4 * generator.standard_normal((panel.rows, len(coins)))
    fields = {**panel.fields, "reference": panel.oracle.values * wobble}
    outage = slice(reach + WALK // 2, reach + WALK // 2 + 24)
    for values in fields.values():
        values[generator.random(values.shape) < HOLE_SHARE] = np.nan
        values[outage, -1] = np.nan
    return Panel(panel.grid, panel.instruments, fields)


def changed_futures(panel: Panel, row: int, seed: int = SEED) -> Iterator[tuple[str, Panel]]:
    """The panel with everything after `row` replaced: by chance, by nothing, by absurdly large numbers."""
    generator = np.random.default_rng((seed, row))
    for how in ("random", "missing", "huge"):
        fields = {}
        for name, values in panel.fields.items():
            new = values.copy()
            after = new[row + 1 :]
            if how == "random":
                after *= np.exp(generator.normal(0, 1, after.shape))
            else:
                after[:] = np.nan if how == "missing" else 1e12
            fields[name] = new
        yield how, Panel(panel.grid, panel.instruments, fields)


def walk(strategy: Strategy, panel: Panel, rows: range, name: str = "strategy") -> Walk:
    """Lead the strategy through `rows` as the daemon does: forecast, remember, next hour."""
    slots = (Slot(name, strategy, 1.0),)
    instruments = [simple_instrument(coin, 2, 10) for coin in panel.instruments]
    prepared = Prepared.of(panel, instruments, Mandate(slots))
    width = len(panel.instruments)
    memory = Memory.blank(1, width, 1e5)
    nothing = Targets(np.zeros(width, np.int64), np.zeros((1, width), np.int64))
    before, since, opinions = [], [], []
    for row in rows:
        market = prepared.at(row)
        before.append(memory.scores[0].copy())
        since.append(memory.since_ms[0].copy())
        given = forecast(market, memory, slots)
        if given[0].problem:
            raise _Broken(f"at {utc(market.time_ms)}: {given[0].problem}")
        opinions.append(given[0])
        decision = Decision("check", market.time_ms, given, nothing, nothing, (), OrderPlan())
        memory = remember(memory, decision)
    scores = np.array([opinion.scores for opinion in opinions])
    return Walk(rows, scores, np.array(before), np.array(since), tuple(opinions))


def _same(left: FloatArray, right: FloatArray) -> bool:
    return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")


def _walked(panel: Panel) -> range:
    return range(max(0, panel.rows - WALK), panel.rows)


def _cuts(panel: Panel) -> list[int]:
    rows = _walked(panel)
    return sorted({rows[0], rows[len(rows) // 3], rows[2 * len(rows) // 3], rows[-1]})


def _is_known(strategy: Strategy, panel: Panel) -> str:
    table = SignalTable.of(strategy, panel)
    rows = _walked(panel)
    for name, values in table.values.items():
        if values.shape != (panel.rows, len(panel.instruments)):
            raise _Broken(f"signal {name} has shape {values.shape} where the panel has {panel.mark.shape}")
        if name not in strategy.optional and not np.isfinite(values[rows.start :]).any():
            raise _Broken(f"signal {name} is unknown throughout, so the strategy would never act")
    share = float(table.ready[rows.start :].mean())
    if share == 0:
        raise _Broken("the signals are never all known at once, so the strategy would never act")
    return f"{len(table.values)} signals; all that are needed are known at {share:.0%} of {rows.stop - rows.start} hours"


def _signals_are_causal(strategy: Strategy, panel: Panel) -> str:
    whole = SignalTable.of(strategy, panel)
    for row in _cuts(panel)[:-1]:
        for how, other in changed_futures(panel, row):
            changed = SignalTable.of(strategy, other)
            for name, values in whole.values.items():
                if not _same(values[: row + 1], changed.values[name][: row + 1]):
                    raise _Broken(f"signal {name} looks ahead: a {how} future changes what it said before")
    return "no signal's past moves when the future is replaced"


def _tail_equals_whole(strategy: Strategy, panel: Panel, reach: int) -> str:
    whole = SignalTable.of(strategy, panel)
    for row in _cuts(panel):
        for extra in (0, 37):
            stop = row + 1
            tail = SignalTable.of(strategy, panel.slice(max(0, stop - reach - extra), stop))
            for name, values in whole.values.items():
                if not _same(values[row], tail.values[name][-1]):
                    raise _Broken(
                        f"signal {name} differs over the last {reach + extra} rows from the whole history; "
                        "build it from the functions of bot.strategy, which know how far back they look"
                    )
    return f"the last {reach} rows give the same signals as the whole history, bit for bit"


def _scores_are_valid(strategy: Strategy, name: str, panel: Panel) -> str:
    rows = _walked(panel)
    table = SignalTable.of(strategy, panel)
    width = len(panel.instruments)
    flat, never = np.zeros(width), np.zeros(width, dtype=np.int64)
    opinion = strategy.forecast(View(table, rows[-1], panel.grid.time_ms(rows[-1]), flat, never))
    if not isinstance(opinion, Opinion):
        raise _Broken("forecast() must return view.opinion(scores, because)")
    if np.shape(opinion.scores) != (width,):
        raise _Broken(f"forecast() gave scores of shape {np.shape(opinion.scores)} for {width} instruments")
    scores = walk(strategy, panel, rows, name).scores
    opened = np.count_nonzero(scores)
    share = opened / scores.size
    said = f"has an opinion in {share:.0%} of them" if opened else "never has an opinion in this market"
    return f"all within ±1 over {len(rows)} hours of {width} instruments; {said}"


def _forecast_is_causal(strategy: Strategy, panel: Panel) -> str:
    rows = _walked(panel)
    whole = walk(strategy, panel, rows).scores
    for row in _cuts(panel)[1:-1]:
        past = row - rows.start + 1
        for how, other in changed_futures(panel, row):
            if not _same(whole[:past], walk(strategy, other, range(rows.start, row + 1)).scores):
                raise _Broken(f"the forecast looks ahead: a {how} future changes scores given before")
    return "no past score moves when the future is replaced"


def _is_deterministic(strategy: Strategy, panel: Panel) -> str:
    rows = _walked(panel)
    table = SignalTable.of(strategy, panel)
    kept = {name: values.copy() for name, values in table.values.items()}
    first = walk(strategy, panel, rows)
    fresh = replace(strategy)
    # Backwards and by another object: whatever it kept for itself on the way is gone, or of the wrong hour.
    for k in reversed(range(len(rows))):
        previous, since = first.previous[k].copy(), first.since_ms[k].copy()
        view = View(table, rows[k], panel.grid.time_ms(rows[k]), previous, since)
        again = fresh.forecast(view)
        if not _same(np.where(again.ready, again.scores, previous), first.scores[k]):
            raise _Broken(
                "asked again about the same hour it answers differently; all memory must come from the view"
            )
        if not (_same(previous, first.previous[k]) and _same(since, first.since_ms[k])):
            raise _Broken("forecast() changes the view's arrays in place; make new ones")
    if any(not _same(values, kept[name]) for name, values in table.values.items()):
        raise _Broken("forecast() changes the signals in place; make new arrays")
    return "the same view gives the same scores, in any order and after a restart"


def _reasons_are_complete(strategy: Strategy, panel: Panel) -> str:
    led = walk(strategy, panel, _walked(panel))
    example, told = "", 0
    for opinion in led.opinions:
        for column in range(len(panel.instruments)):
            if not opinion.ready[column]:
                continue
            try:
                reason = opinion.filled(column)
            except KeyError as error:
                known = ", ".join(opinion.values)
                raise _Broken(f"the because-template names {error}, which is none of {known}") from None
            except ValueError as error:
                raise _Broken(f"the because-template {opinion.because!r} can't be filled: {error}") from None
            if not reason.strip():
                raise _Broken("the because-template is empty; say why")
            told += 1
            if not example or (opinion.scores[column] != 0 and math.isfinite(opinion.scores[column])):
                example = reason
    return f"{told} reasons, such as: {example}"
