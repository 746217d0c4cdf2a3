"""A paper trader of the shipped strategies on a small market, and what its journal says afterwards."""

import asyncio
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from bot.journal.journal import Journal
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot
from bot.sim.bars import Frictions
from bot.sim.exchange import Rules
from bot.trader.trader import Trader
from bot.venues.simulated import SimulatedVenue, Terms
from bot.venues.sources import Source
from strategies.extreme_funding_fade import ExtremeFundingFade
from strategies.funding_carry import FundingCarry

TABLES = {
    "decision": "id, time_ms, state, equity_usd, is_full",
    "forecast": "*",
    "target": "*",
    "finding": "*",
    "orders": "client_id, decision_id, instrument, side, lots, limit_price, trigger_price, status, order_id, "
    "filled_lots, average_price, reason, created_ms, updated_ms",
    "cancel": "*",
    "fill": "*",
    "funding": "*",
    "liquidation": "*",
    "equity": "*",
    "strategy_pnl": "*",
    "position": "*",
    "memory": "*",
    "checkpoint": "*",
    "entry": "*",
    "posting": "*",
    "balance": "*",
}

MANDATE = Mandate(
    (
        Slot("carry", FundingCarry(half_life_h=12, hurdle=0.0, min_hold_h=6), 0.6),
        Slot("fade", ExtremeFundingFade(lookback_h=72, enter_z=1.5, stall=2.0, time_stop_h=24), 0.6),
    ),
    Sizing(position_size=0.5, no_trade_band=0.1, cooldown_h=6),
    Limits(max_gross_leverage=4.0, max_net_leverage=3.0, max_volume_share=1.0, max_open_interest_share=1.0),
    Execution(stop_loss=0.02, take_profit=0.03),
)
TERMS = Terms(Decimal(100_000), Rules(), Frictions(1.0, 10.0), leverage=5)


def trader(source: Source, journal: Journal, mandate: Mandate = MANDATE, terms: Terms = TERMS) -> Trader:
    config = {"version": 1, "name": "paper", "mode": "paper"}
    return Trader("paper", SimulatedVenue(source, terms), mandate, journal, config)


def run(source: Source, path: Path, cycles: int, mandate: Mandate = MANDATE, terms: Terms = TERMS) -> Trader:
    """Start on the journal at `path`, go through some cycles, and end."""

    async def life(journal: Journal) -> Trader:
        it = trader(source, journal, mandate, terms)
        await it.start()
        for _ in range(cycles):
            if not await it.cycle():
                break
        it.end()
        return it

    with Journal.open(path) as journal:
        return asyncio.run(life(journal))


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a journal but those that tell its runs apart."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
            for table, columns in TABLES.items()
        }
