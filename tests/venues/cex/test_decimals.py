"""The client library's rounding stays the client library's."""

import asyncio
from decimal import ROUND_HALF_EVEN, Underflow, getcontext
from typing import Any

from ccxt.base.decimal_to_precision import (  # type: ignore[import-untyped]
    DECIMAL_PLACES,
    ROUND,
    decimal_to_precision,
)

from bot.venues.cex.client import Client
from bot.venues.cex.differences import differences_of


class Rounds:
    """An exchange of the library that has a number made ready for the wire."""

    async def fetch_time(self) -> Any:
        await asyncio.sleep(0)
        return decimal_to_precision("1.005", ROUND, 2, DECIMAL_PLACES)


def test_money_is_rounded_after_a_request_as_it_was_before() -> None:
    async def story() -> None:
        before = (getcontext().rounding, getcontext().traps[Underflow], getcontext().prec)
        assert before[0] == ROUND_HALF_EVEN
        told = await Client(Rounds(), differences_of("binance", "demo")).ask("fetch_time")
        assert told == "1.01"  # half up, in there
        assert (getcontext().rounding, getcontext().traps[Underflow], getcontext().prec) == before
        assert f"{getcontext().create_decimal('1234.565'):,.2f}" == "1,234.56"  # half to even, out here

    asyncio.run(story())
