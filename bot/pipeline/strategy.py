"""The face a strategy author sees: a frozen class of parameters with two methods.

`signals` measures (once over a whole history, or over a live tail; the result is the same); `forecast` turns one
moment of those measurements into scores from −1 (fully short) to +1 (fully long). A strategy can't trade, log, wait
or look ahead, and it has no memory of its own: what it said last and for how long is in the view.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bot.model.decision import BoolArray, LotsArray, Opinion
from bot.model.panel import HOUR_MS, Field, FloatArray, Grid, Panel

Hours = int


class View:
    """One moment as a strategy sees it: every signal by its name as an array over instruments.

    Besides the signals: `previous` (the strategy's own last scores), `hours_held` (how long their sign has stood),
    `hours_flat` (how long there has been none), `instruments` (names) and `time_ms`.
    """

    __slots__ = ("_since_ms", "_table", "instruments", "previous", "row", "time_ms")

    def __init__(
        self, table: SignalTable, row: int, time_ms: int, previous: FloatArray, since_ms: LotsArray
    ) -> None:
        self._table = table
        self.row = row
        self.time_ms = time_ms
        self.instruments = table.instruments
        self.previous = previous
        self._since_ms = since_ms

    def __getattr__(self, name: str) -> FloatArray:
        try:
            row: FloatArray = self._table.values[name][self.row]
        except KeyError:
            known = ", ".join(self._table.values)
            raise AttributeError(f"the view has no signal {name!r}; signals() named {known}") from None
        return row

    @property
    def hours_held(self) -> FloatArray:
        """Hours since the sign of the strategy's score last changed; 0 where it has none."""
        hours: FloatArray = np.where(self.previous != 0, (self.time_ms - self._since_ms) / HOUR_MS, 0.0)
        return hours

    @property
    def hours_flat(self) -> FloatArray:
        """Hours since the strategy last had a score other than 0; 0 where it has one, inf where it never had."""
        hours = np.where(self._since_ms > 0, (self.time_ms - self._since_ms) / HOUR_MS, np.inf)
        flat: FloatArray = np.where(self.previous == 0, hours, 0.0)
        return flat

    @property
    def ready(self) -> BoolArray:
        """Where every signal that the strategy needs is known."""
        row: BoolArray = self._table.ready[self.row]
        return row

    def opinion(
        self,
        score: FloatArray,
        because: str,
        *,
        edge: FloatArray | None = None,
        **values: NDArray[Any] | Callable[[], NDArray[Any]],
    ) -> Opinion:
        """The strategy's answer; `because` may name any signal and any extra array, of numbers or words, given by keyword.

        An array that only the sentence needs may be given as a function, which is called when somebody reads it.
        `edge` is the gain expected over the hold in mind, a fraction of notional before costs; risk compares it with
        the cost of getting in and out.
        """
        return Opinion(score, because, _Values(self, self._table.values, values), self.ready, edge)


class _Values(Mapping[str, NDArray[Any]]):
    """What a because-template may name, looked up only when a sentence is made."""

    __slots__ = ("_extra", "_signals", "_view")

    def __init__(
        self,
        view: View,
        signals: Mapping[str, FloatArray],
        extra: Mapping[str, NDArray[Any] | Callable[[], NDArray[Any]]],
    ) -> None:
        self._view = view
        self._signals = signals
        self._extra = extra

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name in self._extra:
            given = self._extra[name]
            return given() if callable(given) else given
        try:
            value: NDArray[Any] = getattr(self._view, name)
        except AttributeError as error:
            raise KeyError(name) from error
        return value

    def __iter__(self) -> Iterator[str]:
        yield from (*self._extra, *self._signals, "previous", "hours_held", "hours_flat")

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class Strategy:
    """Base of all strategies. Subclasses are frozen dataclasses; their fields are the parameters of the config."""

    #: Signals a strategy can do without: unknown values there don't make it hold its last opinion.
    optional: ClassVar[frozenset[str]] = frozenset()

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        """What to measure: named causal functions of the panel."""
        raise NotImplementedError(f"{type(self).__name__} must define signals(panel)")

    def forecast(self, view: View) -> Opinion:
        """What to believe at one moment: `view.opinion(scores, because)`."""
        raise NotImplementedError(f"{type(self).__name__} must define forecast(view)")


@dataclass(frozen=True)
class SignalTable:
    """A strategy's signals over a panel: name → (rows, instruments), and where all it needs is known.

    `problem` says why there are none; `told` are the because-templates that have been tried.
    """

    instruments: tuple[str, ...]
    values: Mapping[str, FloatArray]
    ready: BoolArray
    reach: int  # rows of history that the deepest signal depends on
    all_ready: Sequence[bool]  # per row
    problem: str = ""
    told: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def measured(cls, strategy: Strategy, panel: Panel) -> SignalTable:
        """As `of`, but a strategy that can't measure has an empty table that says so."""
        try:
            return cls.of(strategy, panel)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin does wrong
            nowhere = np.zeros((panel.rows, len(panel.instruments)), dtype=np.bool_)
            return cls(panel.instruments, {}, nowhere, 1, [False] * panel.rows, what_failed(error))

    @classmethod
    def of(cls, strategy: Strategy, panel: Panel) -> SignalTable:
        """Measure; raises whatever is wrong with the strategy's signals."""
        signals = dict(strategy.signals(panel))
        if not signals:
            raise ValueError(f"{type(strategy).__name__}.signals() named no signal")
        for name, signal in signals.items():
            if not _is_field(signal) or signal.grid != panel.grid:
                raise TypeError(
                    f"{type(strategy).__name__}: signal {name!r} must be a field on the panel's clock"
                )
            if signal.values.shape != (panel.rows, len(panel.instruments)):
                raise ValueError(
                    f"{type(strategy).__name__}: signal {name!r} has shape {signal.values.shape} for "
                    f"{panel.rows} rows of {len(panel.instruments)} coins"
                )
            if name in (
                "previous",
                "hours_held",
                "hours_flat",
                "instruments",
                "time_ms",
                "ready",
                "row",
                "opinion",
            ):
                raise ValueError(
                    f"{type(strategy).__name__}: {name!r} is taken; give the signal another name"
                )
        needed = [signal.values for name, signal in signals.items() if name not in strategy.optional]
        ready: BoolArray = np.ones((panel.rows, len(panel.instruments)), dtype=np.bool_)
        for values in needed:
            if values.dtype != np.bool_:
                ready &= np.isfinite(values)
        reach = max(signal.reach for signal in signals.values())
        values_of = {name: _read_only(signal.values) for name, signal in signals.items()}
        all_ready: list[bool] = np.all(ready, axis=1).tolist()
        return cls(panel.instruments, values_of, ready, reach, all_ready)


def _read_only(values: FloatArray) -> FloatArray:
    """The same numbers, which a plugin can't change: they may be the panel's own."""
    seen = values.view()
    seen.flags.writeable = False
    return seen


def _is_field(given: object) -> bool:
    return isinstance(given, Field)  # a plugin may not have looked at the types


def what_failed(error: BaseException) -> str:
    """An error of a plugin, with the last line of its `signals` or `forecast` that it passed through."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.name in {"signals", "forecast"} and frame.filename != __file__
    ]
    at = f" (line {own[-1].lineno}, in {own[-1].name})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{at}"


def reach_of(strategy: Strategy, interval_ms: int = HOUR_MS) -> int:
    """Rows of history a strategy needs for one forecast, found by running its signals over an empty panel."""
    nothing: dict[str, Any] = {}
    return SignalTable.of(strategy, Panel(Grid(0, 1, interval_ms), ("NONE",), nothing)).reach
