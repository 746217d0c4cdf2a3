"""The market around the devnet: hourly bars of a source, walked through in five-second steps.

Between the bars every price follows a path that starts at the open, touches the high and the low, and ends at the
close. The path is a function of the seed and the hour, so that the same market is the same at any speed, and candles
of any length can be read from it at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from bot.devnet.ladders import Ladder, ladders
from bot.errors import StateError
from bot.model.instrument import PERP_PRICE_DECIMALS, Instrument
from bot.model.panel import HOUR_MS, FloatArray, Panel
from bot.sim.coins import MAJORS, CoinModel
from bot.sim.synthetic import FIELDS, SyntheticMarket, hourly_rates

STEP_MS = 5000
STEPS = HOUR_MS // STEP_MS
QUOTE_MS = 250
"""Prices stand for so long: whoever asks twice meanwhile meets the same book, less what was taken from it."""
KEPT_HOURS, CHUNK_HOURS = 5000, 500
"""Of bars that are over, at least so many are kept; they are dropped by chunks."""

Bar = Mapping[str, FloatArray]


class Source(Protocol):
    """Hourly bars in order."""

    def next(self) -> Bar | None:
        """The next bar; None where the source ends."""
        ...

    def mark(self) -> Any:
        """Where it stands, as JSON values, from which the same source can be made again."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """The market at one time: arrays over the instruments, prices in USD, rates per hour."""

    time_ms: int
    mid: FloatArray
    oracle: FloatArray
    mark: FloatArray
    premium: FloatArray
    funding: FloatArray  # what the hour would settle at if it ended now
    open_interest: FloatArray
    volume_usd_day: FloatArray
    spread_bps: FloatArray


class Market:
    """Bars of a source as far as they were asked for, and the paths between them.

    `saved` is what an earlier one said of itself; `source` then stands at the mark in it. StateError if its bars are
    others than they were.
    """

    is_real_time = False
    """Whether its time is the computer's and can't be set."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        source: Source,
        first_ms: int,
        seed: int,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self.instruments = tuple(instruments)
        self.first_ms = first_ms  # when bar 0 opens
        self.oldest = (
            0 if saved is None else int(saved["oldest"])
        )  # number of the first bar that is still known
        self._bars: list[Bar] = []
        self._marks: deque[Any] = deque()  # where the source stood before each chunk
        self._source = source
        self._seed = seed
        self._lots_per_coin = np.array([float(each.lots_per_coin) for each in self.instruments])
        self._most_decimals = np.array(
            [max(0.0, PERP_PRICE_DECIMALS - each.size_decimals) for each in self.instruments]
        )
        if saved is not None:
            self.reaches(first_ms + (int(saved["read"]) - 1) * HOUR_MS)
            if self.saved() != dict(saved):
                raise StateError(
                    "the devnet's market is not the one that its state is of: bars have changed; "
                    "go on with the same program and data or name another file"
                )
        self.path = lru_cache(maxsize=64)(self._path)
        self._day_volume = lru_cache(maxsize=4)(self._volume_of_day)
        self.moment = lru_cache(maxsize=4)(self._moment)

    def reaches(self, time_ms: int) -> bool:
        """Whether the source has a bar around a time; read that far if so."""
        hour = self.hour(time_ms)
        while self._read <= hour:
            mark = self._source.mark() if self._read % CHUNK_HOURS == 0 else None
            bar = self._source.next()
            if bar is None:
                return False
            if mark is not None:
                self._marks.append(mark)
            self._bars.append(bar)
            self._drop_old()
        return hour >= self.oldest

    def _drop_old(self) -> None:
        if len(self._bars) >= KEPT_HOURS + CHUNK_HOURS:
            del self._bars[:CHUNK_HOURS]
            self._marks.popleft()
            self.oldest += CHUNK_HOURS

    def moves(self, before_ms: int, time_ms: int) -> bool:
        """Whether prices at a time are others than at the time before it."""
        return before_ms // QUOTE_MS != time_ms // QUOTE_MS

    def book_ms(self, now_ms: int) -> int:
        """When the books were as they are shown now."""
        return now_ms

    @property
    def _read(self) -> int:
        return self.oldest + len(self._bars)

    @property
    def newest(self) -> int:
        """Number of the last bar that is known."""
        return self._read - 1

    @property
    def known_from_ms(self) -> int:
        """When the first bar opened that is still known."""
        return self.first_ms + self.oldest * HOUR_MS

    def bar(self, hour: int) -> Bar:
        """A bar by its number, the first that is still known for an older one."""
        return self._bars[max(hour - self.oldest, 0)]

    def saved(self) -> dict[str, Any]:
        """How far it was read, from which mark on, and a check of where that led; as JSON values."""
        last = self._bars[-1]["close"].tolist() if self._bars else []
        mark = self._marks[0] if self._marks else self._source.mark()
        return {"oldest": self.oldest, "mark": mark, "read": self._read, "last": last}

    def hour(self, time_ms: int) -> int:
        """Number of the bar that a time lies in."""
        return (time_ms - self.first_ms) // HOUR_MS

    def settled(self, hour: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Funding rates, average premiums and oracle prices with which an hour settled."""
        bar = self.bar(hour)
        return bar["funding_rate"], bar["premium"], bar["oracle"]

    def _moment(self, time_ms: int) -> Moment:
        hour = self.hour(time_ms)
        bar, before = self.bar(hour), self.bar(hour - 1)
        into = (time_ms - self.first_ms) % HOUR_MS
        step, rest = divmod(into, STEP_MS)
        path, share = self.path(hour), rest / STEP_MS
        mid = path[step] if not rest else path[step] * (1 - share) + path[step + 1] * share
        u = into / HOUR_MS
        start, end, mean = (
            before["close"] / before["oracle"] - 1,
            bar["close"] / bar["oracle"] - 1,
            bar["premium"],
        )
        bulge = mean - (start + end) / 2  # so that the hour's average premium is the bar's
        premium = start + (end - start) * u + 6 * u * (1 - u) * bulge
        so_far = start + (end - start) * u / 2 + (3 * u - 2 * u * u) * bulge
        # The venue's mark leans from the oracle to the middle as much as the bars around say.
        gap = before["mark"] / before["close"] * (1 - u) + bar["mark"] / bar["close"] * u
        return Moment(
            time_ms,
            mid,
            mid / (1 + premium),
            mid * gap,
            premium,
            hourly_rates(so_far),
            before["open_interest"] * (1 - u) + bar["open_interest"] * u,
            self._day_volume(hour),
            bar["spread_bps"],
        )

    def _volume_of_day(self, hour: int) -> FloatArray:
        rows = [self.bar(each)["volume_usd"] for each in range(max(self.oldest, hour - 23), hour + 1)]
        total: FloatArray = np.sum(rows, axis=0) * (24 / len(rows))
        return total

    def _path(self, hour: int) -> FloatArray:
        """Mid prices of one hour, shape (STEPS + 1, instruments)."""
        bar = self.bar(hour)
        generator = np.random.default_rng((self._seed, hour))
        opening, high, low, close = bar["open"], bar["high"], bar["low"], bar["close"]
        steps = np.arange(STEPS + 1)
        out = np.empty((STEPS + 1, len(opening)))
        for i in range(len(opening)):
            first, second = sorted(generator.choice(np.arange(1, STEPS), 2, replace=False))
            lows_first = close[i] >= opening[i]
            turns = (low[i], high[i]) if lows_first else (high[i], low[i])
            at = np.array([0, first, second, STEPS])
            line = np.interp(steps, at, (opening[i], *turns, close[i]))
            walk = generator.standard_normal(STEPS + 1).cumsum()
            walk -= np.interp(steps, at, walk[at])
            scale = 0.6 * (high[i] - low[i]) / np.sqrt(STEPS)
            out[:, i] = np.clip(line + scale * walk, low[i], high[i])
        return out

    def ladders(self, moment: Moment) -> list[tuple[Ladder, Ladder]]:
        """What the outside market bids and asks for each instrument at a moment, best first, as prices and lots."""
        return ladders(
            moment.mid,
            0.5e-4 * moment.spread_bps,
            moment.volume_usd_day / moment.mid * self._lots_per_coin,
            self._most_decimals,
            np.random.default_rng((self._seed, moment.time_ms)),
        )


class SyntheticBars:
    """Bars of a made-up market, for ever; from a mark of it on, if one is given."""

    def __init__(self, coins: Sequence[CoinModel], seed: int, first_ms: int, mark: Any = None) -> None:
        self._market = (
            SyntheticMarket(coins, seed, first_ms) if mark is None else SyntheticMarket.restore(coins, mark)
        )

    def next(self) -> Bar:
        return self._market.next().values

    def mark(self) -> Any:
        return self._market.state()


class ReplayedBars:
    """Bars of recorded history, to its end."""

    def __init__(self, panel: Panel, mark: Any = None) -> None:
        self._bars = _replayed(panel)
        self._row = 0
        while self._row < (mark or 0):
            self.next()

    def next(self) -> Bar | None:
        bar = next(self._bars, None)
        self._row += bar is not None
        return bar

    def mark(self) -> Any:
        return self._row


def _replayed(panel: Panel) -> Iterator[Bar]:
    """Unknown prices stand still, unknown funding is none."""
    last: dict[str, FloatArray] = {}
    for row in range(panel.grid.rows):
        close = panel.field("close").values[row] if row else _first_known(panel.field("close").values)
        close = np.where(np.isnan(close), last.get("close", close), close)
        opening = _known(panel, "open", row, last.get("close", close))
        bar: dict[str, FloatArray] = {"open": opening, "close": close, "mid": close}
        bar["high"] = np.maximum(_known(panel, "high", row, close), np.maximum(opening, close))
        bar["low"] = np.minimum(_known(panel, "low", row, close), np.minimum(opening, close))
        premium = _known(panel, "premium", row, np.zeros_like(close))
        bar["premium"] = premium
        bar["oracle"], bar["mark"] = close / (1 + premium), close
        bar["funding_rate"] = _known(panel, "funding_rate", row, np.zeros_like(close))
        bar["open_interest"] = _known(panel, "open_interest", row, np.zeros_like(close))
        bar["volume_usd"] = _known(panel, "volume_usd", row, np.full_like(close, 1e5))
        bar["spread_bps"] = _known(panel, "spread_bps", row, np.full_like(close, 2.0))
        last = bar
        yield bar


def _first_known(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    rows = known.argmax(axis=0)
    first: FloatArray = values[rows, np.arange(values.shape[1])]
    return first


def _known(panel: Panel, name: str, row: int, otherwise: FloatArray) -> FloatArray:
    values = panel.field(name).values[row]
    return np.where(np.isnan(values), otherwise, values)


__all__ = ["FIELDS", "MAJORS", "Market", "Moment", "ReplayedBars", "Source", "SyntheticBars"]
