"""Where a simulated venue's market comes from: made up from a seed, or a recording played back, bar after bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bot.errors import StateError
from bot.model.instrument import Instrument, simple_instrument
from bot.model.panel import FloatArray, Panel
from bot.sim.coins import CoinModel
from bot.sim.history import history
from bot.sim.synthetic import MarketBar, SyntheticMarket

Row = Mapping[str, FloatArray]


class Source(Protocol):
    """A market's bars in order. What `state` says before a bar is enough to come to the same bar again."""

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The market's instruments, in the order of every array."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Which market this is, as JSON values."""
        ...

    def begin(self, state: Mapping[str, Any] | None) -> Panel:
        """The history up to the first bar to come, or up to where `state` was taken. StateError if that can't be."""
        ...

    def next(self) -> Row | None:
        """The bar that follows, as a panel's row; None where the market ends."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Where the source stands, as JSON values."""
        ...


class SyntheticSource:
    """A made-up market. Its state is that of some bars ago with the number of bars since, which are made again.

    So a checkpoint stays small however long the tail of history is that a restart needs.
    """

    def __init__(self, coins: Sequence[CoinModel], seed: int, start_ms: int, warmup: int, tail: int) -> None:
        self._coins = tuple(coins)
        self._seed, self._start_ms = seed, start_ms
        self._warmup, self._tail = warmup, max(tail, 1)
        self.instruments = tuple(
            simple_instrument(coin.name, coin.size_decimals, coin.max_leverage) for coin in coins
        )
        self._market = SyntheticMarket(self._coins, seed, start_ms)
        self._anchors: deque[tuple[Mapping[str, Any], int]] = deque(maxlen=2)
        self._bars = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        """Seed, coins and beginning: all that the market depends on."""
        return {
            "market": "synthetic",
            "seed": self._seed,
            "coins": [coin.name for coin in self._coins],
            "market_start_ms": self._start_ms,
        }

    def begin(self, state: Mapping[str, Any] | None) -> Panel:
        """The warm-up, or the tail before `state`."""
        bars = self._warmup
        if state is not None:
            self._market = SyntheticMarket.restore(self._coins, state["anchor"])
            bars = int(state["bars"])
        self._anchors.clear()
        self._anchors.append((self._market.state(), 0))
        self._bars = 0
        return history(self._market, bars, self._bar)

    def next(self) -> Row:
        """The next hour; there always is one."""
        return self._bar().values

    def _bar(self) -> MarketBar:
        if self._bars - self._anchors[-1][1] >= self._tail:
            self._anchors.append((self._market.state(), self._bars))
        self._bars += 1
        return self._market.next()

    def state(self) -> Mapping[str, Any]:
        """The older anchor, at least a tail ago once there are two."""
        anchor, at = self._anchors[0]
        return {"anchor": anchor, "bars": self._bars - at}


class ReplaySource:
    """A recorded panel played back from `first_row` on."""

    def __init__(
        self,
        panel: Panel,
        instruments: Sequence[Instrument],
        first_row: int,
        tail: int,
        named: Mapping[str, Any],
    ) -> None:
        self.instruments = tuple(instruments)
        self._panel, self._row = panel, first_row
        self._tail, self._named = max(tail, 1), dict(named)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What was recorded, by its description; a folder may move."""
        return {"market": "replay", "coins": list(self._panel.instruments), **self._named}

    def begin(self, state: Mapping[str, Any] | None) -> Panel:
        """The tail of rows before the first to come."""
        if state is not None:
            row = self._panel.grid.row(int(state["time_ms"]))
            if not 0 < row <= self._panel.rows:
                raise StateError(
                    "the recording no longer holds the moment at which the run stopped; start a new journal"
                )
            self._row = row
        return self._panel.slice(max(0, self._row - self._tail), self._row)

    def next(self) -> Row | None:
        """The next recorded row."""
        if self._row >= self._panel.rows:
            return None
        row = {name: values[self._row] for name, values in self._panel.fields.items()}
        self._row += 1
        return row

    def state(self) -> Mapping[str, Any]:
        """The moment of the next row."""
        return {"time_ms": self._panel.grid.time_ms(self._row)}
