"""Whether the funding that was due at each hour has been paid: what was held × oracle price × settled rate, coin by coin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from bot.clock import HOUR_MS, utc
from bot.model.instrument import Instrument
from bot.model.order import Fill, FundingPayment
from bot.model.panel import FloatArray
from bot.venues.venue import AccountState, VenueEvent

SMALL_USD: Final = 0.01
LARGEST_DEVIATION: Final = 0.05
"""Of a payment from what is due: the oracle price is read at another moment than the venue reads it."""


class FundingWatch:
    """Of one account. A payment may be told an hour late; one that is not told then is missed."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._instruments = tuple(instruments)
        self._due: dict[tuple[int, str], float] = {}  # hour and coin → USD

    def look(
        self, time_ms: int, row: Mapping[str, FloatArray], account: AccountState, events: Sequence[VenueEvent]
    ) -> list[str]:
        """A sentence for each payment that is missing or far from what was due, after one more hour has been seen.

        `row` and `account` are of `time_ms`, a full hour, before anything was traded on them.
        """
        paid: dict[tuple[int, str], float] = {}
        for event in events:
            if isinstance(event, FundingPayment):
                key = round(event.time_ms / HOUR_MS), event.instrument
                paid[key] = paid.get(key, 0.0) + float(event.usd)
        hour = time_ms // HOUR_MS
        # What has traded since the full hour was not held at its settlement, or not so much of it.
        moved = {e.instrument for e in events if isinstance(e, Fill) and e.time_ms >= hour * HOUR_MS}
        self._due |= {
            (hour, name): usd for name, usd in self._expected(row, account).items() if name not in moved
        }
        said = []
        for (at, name), due in sorted(self._due.items()):
            got = paid.get((at, name))
            if got is None and at >= hour:
                continue  # it may still come
            del self._due[at, name]
            if got is None:
                said.append(f"{name} was due {due:+.2f} USD at {utc(at * HOUR_MS)} and nothing was paid")
            elif abs(got - due) > LARGEST_DEVIATION * abs(due) + SMALL_USD:
                said.append(f"{name} was due {due:+.2f} USD at {utc(at * HOUR_MS)} and {got:+.2f} were paid")
        return said

    def _expected(self, row: Mapping[str, FloatArray], account: AccountState) -> dict[str, float]:
        """By coin, where it is worth telling."""
        rate = row.get("settled_funding", row.get("funding_rate"))
        price = row.get("oracle", row.get("mark"))
        if rate is None or price is None:
            return {}
        found = {}
        for column in np.flatnonzero(account.view.lots).tolist():
            instrument = self._instruments[column]
            size = float(instrument.size(int(account.view.lots[column])))
            usd = -size * float(price[column]) * float(rate[column])
            if abs(usd) > SMALL_USD:  # never so where something is unknown
                found[instrument.name] = usd
        return found
