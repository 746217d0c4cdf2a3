"""`hedgerow run CONFIG` against a devnet whose time runs fast: the daemon of a live run in all but its pace.

    python -m tests.reliability.at_speed SPEED CONFIG

A live run's clock expects a venue whose second is a second. Only that is other here, as it is in a paper run.
"""

import sys
from dataclasses import replace
from typing import Any

from bot import app
from bot.cli import main
from bot.clock import HOUR_MS
from bot.venues.hyperliquid.feed import Patience
from bot.venues.hyperliquid.terms import Terms
from bot.venues.venue_clock import Pace

live_terms = app.live_terms


def run(speed: float, config: str) -> None:
    """Run it; does not return."""

    def terms(*given: Any) -> Terms:
        pace = Pace(speed, HOUR_MS / 4000 / speed)
        return replace(live_terms(*given), pace=pace, feed=Patience(first_retry_s=0.1, longest_retry_s=2.0))

    app.live_terms = terms  # type: ignore[assignment]  # it takes the same
    main(["run", config])


if __name__ == "__main__":
    run(float(sys.argv[1]), sys.argv[2])
