"""Does an adapter mean by funding what its venue does? Held against recorded history, before anything is traded.

All venues agree that a positive rate is paid by longs. An adapter that turned the sign, read the rate of eight hours
as that of one, or put another number in its place would trade the wrong side and look well doing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import DataError

HIGHEST_RATE_PER_HOUR = 0.04  # the widest cap of any venue known: Hyperliquid's 4 % an hour
TOLERANCE = 0.05  # of an amount: prices at settlement are known to the nearest mark only
PREMIUM_THAT_SHOWS = 0.001  # below it the interest part and the clamp hide the sign of a rate
MIN_AGREEING = 0.9  # of the rows that show; an average over an interval may lag its last premium


@dataclass(frozen=True, slots=True)
class PaidFunding:
    """One settlement as the venue booked it: `paid_usd` above 0 where the account received, `coins` below 0 for a short.

    `rate` is the fraction of notional settled then, for the whole interval, `price` what the notional was taken at.
    """

    coins: float
    price: float
    rate: float
    paid_usd: float


@dataclass(frozen=True, slots=True)
class SettledRate:
    """One settlement in a venue's own words next to what the adapter made of it.

    `raw_rate` is the venue's, for `gap_h` hours since the settlement before; `rate_per_hour` and `interval_h` the
    adapter's. `premium` is the perp's over the index in the hours before it, None where it is not known.
    """

    raw_rate: float
    gap_h: float
    rate_per_hour: float
    interval_h: float
    premium: float | None = None


def check_polarity(venue: str, payments: Sequence[PaidFunding]) -> int:
    """How many payments say that a positive rate is paid by longs; DataError at the first that says otherwise.

    Those without a position or a rate say nothing, so 0 means that nothing was proved.
    """
    proved = 0
    for paid in payments:
        due = -paid.coins * paid.price * paid.rate
        if due == 0:
            continue
        if not abs(paid.paid_usd - due) <= TOLERANCE * abs(due):
            raise DataError(
                f"{venue}: funding of {paid.coins:g} coins at {paid.price:g} and a rate of {paid.rate:g} should book "
                f"{due:.6g} USD and booked {paid.paid_usd:.6g}; the adapter reads its sign, rate or unit wrongly, "
                "so nothing is traded there."
            )
        proved += 1
    return proved


def check_adapter(venue: str, rates: Sequence[SettledRate]) -> int:
    """How many rates were read as the venue means them; DataError at the first that was not.

    Held against the venue's own record are sign, size and interval, and against the premium the sign as a whole.
    """
    shown = agreeing = 0
    for row in rates:
        if not abs(row.rate_per_hour) <= HIGHEST_RATE_PER_HOUR:
            raise DataError(
                f"{venue}: a funding rate of {row.rate_per_hour:g} an hour is above every venue's cap; "
                "another number stands in its place, so nothing is traded there."
            )
        if not abs(row.interval_h - row.gap_h) <= TOLERANCE * row.gap_h:
            raise DataError(
                f"{venue}: the adapter says that funding is settled every {row.interval_h:g} h, its history every "
                f"{row.gap_h:g} h; nothing is traded there until they agree."
            )
        due = row.raw_rate / row.gap_h
        if not abs(row.rate_per_hour - due) <= TOLERANCE * abs(due):
            raise DataError(
                f"{venue}: a rate of {row.raw_rate:g} for {row.gap_h:g} h is {due:g} an hour, and the adapter made "
                f"{row.rate_per_hour:g} of it; nothing is traded there."
            )
        if row.premium is not None and abs(row.premium) >= PREMIUM_THAT_SHOWS:
            shown += 1
            agreeing += row.premium * row.rate_per_hour > 0
    if agreeing < MIN_AGREEING * shown:
        raise DataError(
            f"{venue}: the sign of funding is that of the premium in {agreeing} of {shown} settlements only; "
            "it may be turned, so nothing is traded there."
        )
    return len(rates)
