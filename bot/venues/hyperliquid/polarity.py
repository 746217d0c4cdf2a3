"""At a start: is Hyperliquid's funding what the panel takes it for? Held against its own record, as at every venue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from bot.model.instrument import Instrument, Kind
from bot.model.panel import HOUR_MS, Panel
from bot.venues.edge import as_unavailable
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.parse_market import Settlement
from bot.venues.polarity import SettledRate, check_adapter

COINS: Final = 3  # looked at; all are read by the same lines
RECENT_H: Final = 48


async def check_funding(client: Client, instruments: Sequence[Instrument], panel: Panel) -> int:
    """How many settlements agree in sign, size and interval. DataError at the first that does not."""
    perps = [each.name for each in instruments if each.kind is Kind.PERP and not each.is_delisted]
    rows = []
    for coin in perps[:COINS]:
        start_ms = max(panel.grid.start_ms, panel.grid.end_ms - RECENT_H * HOUR_MS)
        request = {
            "type": "fundingHistory",
            "coin": coin,
            "startTime": start_ms,
            "endTime": panel.grid.end_ms,
        }
        with as_unavailable():
            told: Sequence[Settlement] = await client.info(request)
        rates = panel.fields["funding_rate"][:, panel.instruments.index(coin)]
        found = []
        for before, row in pairwise(told):
            place = panel.grid.row(row.time_ms // HOUR_MS * HOUR_MS)
            if 0 <= place < panel.rows and np.isfinite(rates[place]):
                gap_h = round((row.time_ms - before.time_ms) / HOUR_MS)
                premium = None if row.premium is None else float(row.premium)
                found.append(SettledRate(float(row.rate), gap_h, float(rates[place]), 1.0, premium))
        usual = Counter(each.gap_h for each in found).most_common(1)  # an hour may be missing from the record
        rows += [each for each in found if each.gap_h == usual[0][0]]
    return check_adapter("hyperliquid", rows)
