"""What each kind of column means for a panel: when it was known, in which unit, and what it may not be used for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bot.clock import HOUR_MS
from bot.data.plausible import LARGEST_PER_H
from bot.data.tables import BoolArray, Place, Table, hour_utc
from bot.errors import DataError
from bot.model.panel import FloatArray, Grid

CANDLES: Final = "hl_candles_1h"
FUNDING: Final = "hl_funding_1h"
PREMIUM: Final = "hl_funding_premium_1h"
OPEN_INTEREST: Final = "hl_open_interest_1h"
PANEL: Final = "panel_1h"

ROWS_AT_ONCE: Final = 512

ANY_MINUTE: Final = HOUR_MS
"""Samples taken within an hour may carry any minute of it."""


@dataclass(slots=True)
class Loading:
    """Fields being read onto one grid, and the notes taken on the way.

    A bar or a sample stamped `ts` is known one hour later, a settlement at once.
    """

    table: str
    coins: tuple[str, ...]
    grid: Grid
    fields: dict[str, FloatArray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    places: dict[tuple[str, int], Place] = field(default_factory=dict)
    is_estimate: BoolArray | None = None  # where the funding rate is the venue's running estimate

    def bars(self, table: Table, prefix: str, volume: str | None) -> None:
        """Open, high, low, close, and the USD volume at each bar's typical price."""
        place = self._place(table, 1)
        for name in ("open", "high", "low", "close"):
            self.fields[name] = self._positive(table, f"{prefix}{name}", place)
        if volume is None or volume not in table.columns:
            return
        traded = self._checked(table, volume, place, lowest=0.0)
        high, low, close = (self.fields[name] for name in ("high", "low", "close"))
        for row in range(0, self.grid.rows, ROWS_AT_ONCE):
            rows = slice(row, row + ROWS_AT_ONCE)
            traded[rows] *= (high[rows] + low[rows] + close[rows]) / 3.0
        self.fields["volume_usd"] = traded
        self.notes.append(
            "volume_usd is the volume in coins times the bar's typical price (high + low + close) / 3"
        )

    def series(self, table: Table, column: str, shift_h: int, name: str | None = None) -> None:
        """A column as it is, known `shift_h` hours after its stamp."""
        name = name or column
        place = self._place(table, shift_h)
        if name == "premium":
            self.fields[name] = self._checked(table, column, place)
        elif name == "open_interest":
            self.fields[name] = self._checked(table, column, place, lowest=0.0)
        else:
            self.fields[name] = self._positive(table, column, place)

    def settled(self, table: Table, column: str, interval: str | None) -> None:
        """Settled hourly rates. Those that cover another interval, or an unknown one, are left out and noted.

        DataError if no row says its interval: a rate without an interval can't be used.
        """
        place = self._place(table, 0)
        rates = self._rates(table, column, place)
        if interval is not None and not table.holds_only(interval, 1.0):
            self._only_hourly(table, rates, table.matrix(interval, place), interval)
        self._prefer(rates, "")

    def estimated(self, table: Table, column: str) -> None:
        """The venue's running estimate as a funding rate, where nothing preferred is known."""
        self._prefer(self._rates(table, column, self._place(table, 1)), "the venue's running estimate")

    def open_interest_usd(self, table: Table, column: str, price: str) -> None:
        """Open interest in coins from USD, at `price` of the same hour, else at the close of the panel."""
        place = self._place(table, 1)
        interest = self._checked(table, column, place, lowest=0.0)
        known = np.isfinite(interest)
        if not known.any():
            return
        prices = self.fields["close"]
        if price in table.columns:
            own = self._positive(table, price, place)
            other = known & np.isnan(own) & np.isfinite(prices)
            prices = np.where(np.isnan(own), prices, own)
            if other.any():
                count = int(np.count_nonzero(other))
                self.notes.append(
                    f"{count} {'open interest is' if count == 1 else 'open interests are'} USD divided by the close "
                    f"of the panel's prices, {price} being unknown then"
                )
        else:
            self.notes.append("open interest is USD divided by the close")
        interest /= prices
        self.fields["open_interest"] = interest

    def _only_hourly(self, table: Table, rates: FloatArray, hours: FloatArray, interval: str) -> None:
        settled = np.isfinite(rates)
        unknown = settled & np.isnan(hours)
        if settled.any() and np.array_equal(unknown, settled):
            raise DataError(
                f"column '{interval}' of {table.path} is empty; a rate without its interval can't be used"
            )
        other = settled & (hours != 1.0) & ~unknown
        lengths = ", ".join(f"{each:g} h" for each in np.unique(hours[other]))
        for mask, cause in (
            (unknown, "of unknown interval"),
            (other, f"covering other than 1 hour ({lengths})"),
        ):
            if count := int(np.count_nonzero(mask)):
                first, last = self._range(mask)
                noun, verb = ("rate", "is") if count == 1 else ("rates", "are")
                self.notes.append(f"{count} funding {noun} {cause}, {first} to {last}, {verb} left out")
                rates[mask] = np.nan

    def _prefer(self, rates: FloatArray, standing_in: str) -> None:
        """Use `rates` where the field is still unknown."""
        there = self.fields.get("funding_rate")
        used: BoolArray = np.isfinite(rates) if there is None else np.isnan(there) & np.isfinite(rates)
        if there is None:
            self.fields["funding_rate"] = rates
        else:
            there[used] = rates[used]
        count = np.count_nonzero(used)
        if standing_in and count:
            self.is_estimate = used
            first, last = self._range(used)
            self.notes.append(
                f"{count} of the funding rates, {first} to {last}, are {standing_in}, not settled ones"
            )

    def _range(self, mask: BoolArray) -> tuple[str, str]:
        rows = np.flatnonzero(mask.any(axis=1))
        return hour_utc(self.grid.time_ms(int(rows[0]))), hour_utc(self.grid.time_ms(int(rows[-1])))

    def _place(self, table: Table, shift_h: int) -> Place:
        key = (table.name, shift_h)
        if key not in self.places:
            sampled = table.name == OPEN_INTEREST
            jitter = {"jitter_ms": ANY_MINUTE} if sampled else {}
            self.places[key] = table.place(self.coins, self.grid, shift_h, **jitter)
        return self.places[key]

    def _positive(self, table: Table, column: str, place: Place) -> FloatArray:
        return self._checked(table, column, place, lowest=np.nextafter(0.0, 1.0))

    def _rates(self, table: Table, column: str, place: Place) -> FloatArray:
        return self._checked(table, column, place, lowest=-LARGEST_PER_H, highest=LARGEST_PER_H)

    def _checked(
        self, table: Table, column: str, place: Place, lowest: float = -np.inf, highest: float = np.inf
    ) -> FloatArray:
        """The column's matrix; DataError for an infinite value or one below `lowest` or above `highest`."""
        values = table.matrix(column, place)
        # Comparisons with NaN are false, so these find only what is there and can't be.
        least, most = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if least < lowest or most > highest or np.isinf(values).any():
            row, at = np.argwhere((values < lowest) | (values > highest) | np.isinf(values))[0]
            raise DataError(
                f"column '{column}' of {table.path} says {values[row, at]} for {self.coins[at]} in the row known at "
                f"{hour_utc(self.grid.time_ms(int(row)))}, which cannot be; mend or remove that row"
            )
        return values
