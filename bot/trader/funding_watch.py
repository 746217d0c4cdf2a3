"""Whether the funding that was due at each hour has been paid: what was held × oracle price × settled rate, coin by coin.

Where a venue tells no oracle price its mark stands in, which is near enough to see that a payment is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

import numpy as np

from bot.clock import HOUR_MS, utc
from bot.model.instrument import Instrument
from bot.model.order import Fill, FundingPayment
from bot.model.panel import FloatArray
from bot.venues.venue import AccountState, VenueEvent

SMALL_USD: Final = 0.01
Key = tuple[int, str]
"""Hour since the epoch, and coin."""

LARGEST_DEVIATION: Final = 0.05
"""Of a payment from what is due: the oracle price is read at another moment than the venue reads it."""


class FundingWatch:
    """Of one account. A payment may be told an hour late; one that is not told then is missed."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._instruments = tuple(instruments)
        self._due: dict[Key, float] = {}
        self._paid: dict[Key, float] = {}
        self._traded: list[tuple[int, str]] = []  # when, and what

    def hear(self, events: Sequence[VenueEvent]) -> None:
        """Take in what the venue told, whenever it did."""
        for event in events:
            if isinstance(event, FundingPayment):
                key = round(event.time_ms / HOUR_MS), event.instrument
                self._paid[key] = self._paid.get(key, 0.0) + float(event.usd)
            elif isinstance(event, Fill):
                self._traded.append((event.time_ms, event.instrument))

    def look(self, time_ms: int, row: Mapping[str, FloatArray], account: AccountState) -> list[str]:
        """A sentence for each payment that is missing or far from what was due, after one more hour has been seen.

        `row` and `account` are of `time_ms`, a full hour, before anything was traded on them.
        """
        hour = time_ms // HOUR_MS
        # What has traded since the full hour was not held at its settlement, or not so much of it.
        moved = {name for at_ms, name in self._traded if at_ms >= hour * HOUR_MS}
        self._traded = [each for each in self._traded if each[0] >= hour * HOUR_MS]
        self._due |= {
            (hour, name): usd for name, usd in self._expected(row, account).items() if name not in moved
        }
        said = []
        for (at, name), due in sorted(self._due.items()):
            got = self._paid.get((at, name))
            if got is None and at >= hour:
                continue  # it may still come
            del self._due[at, name]
            if got is None:
                if abs(due) > SMALL_USD:
                    said.append(f"{name} was due {due:+.2f} USD at {utc(at * HOUR_MS)} and nothing was paid")
            elif abs(got - due) > LARGEST_DEVIATION * abs(due) + SMALL_USD:
                said.append(f"{name} was due {due:+.2f} USD at {utc(at * HOUR_MS)} and {got:+.2f} were paid")
        self._paid = {key: usd for key, usd in self._paid.items() if key[0] >= hour}
        return said

    def _expected(self, row: Mapping[str, FloatArray], account: AccountState) -> dict[str, float]:
        """By coin, 0 for one that is not held; not for one of which something is unknown."""
        hourly, mark = row.get("funding_rate"), row.get("mark", row.get("oracle"))
        if hourly is None or mark is None:
            return {}
        oracle = row.get("oracle", mark)  # of several venues, one may tell none
        price = np.where(np.isfinite(oracle), oracle, mark)
        settled = row.get("settled_funding", hourly)
        rate = np.where(np.isfinite(settled), settled, hourly)
        found = {}
        for instrument, lots, at, paid in zip(
            self._instruments, account.view.lots.tolist(), price.tolist(), rate.tolist(), strict=True
        ):
            usd = -float(instrument.size(lots)) * at * paid
            if isfinite(usd):
                found[instrument.name] = usd
        return found
