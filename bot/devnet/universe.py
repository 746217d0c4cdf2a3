"""What perpetuals are listed on the devnet, with the real venue's margin tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from bot.devnet.wire import text
from bot.model.instrument import Instrument, MarginTier
from bot.model.money import ZERO
from bot.sim.coins import CoinModel

# The venue's tables in July 2026. An id below 50 is no table but the leverage of a single tier.
TABLES: Final[Mapping[int, tuple[str, tuple[tuple[int, int], ...]]]] = {
    50: ("", ((0, 50),)),
    51: ("tiered 10x", ((0, 10), (3_000_000, 5))),
    52: ("tiered 10x (2)", ((0, 10), (20_000_000, 5))),
    53: ("tiered 20x", ((0, 20), (40_000_000, 10))),
    54: ("tiered 20x (2)", ((0, 20), (70_000_000, 10))),
    55: ("tiered 25x", ((0, 25), (100_000_000, 15))),
    56: ("tiered 40x", ((0, 40), (150_000_000, 20))),
}
TABLE_OF: Final[Mapping[str, int]] = {
    "BTC": 56,
    "ETH": 55,
    "SOL": 54,
    "XRP": 53,
    **dict.fromkeys(("AVAX", "DOGE", "SUI", "kPEPE", "LINK", "AAVE", "NEAR", "HYPE", "FARTCOIN"), 52),
    **dict.fromkeys(("BNB", "ARB"), 51),
}


def instrument(coin: CoinModel) -> Instrument:
    """A coin of the synthetic market with the venue's own margin tiers where they are known."""
    table = TABLE_OF.get(coin.name)
    rows = TABLES[table][1] if table is not None else ((0, coin.max_leverage),)
    tiers = tuple(MarginTier(Decimal(bound) if bound else ZERO, leverage) for bound, leverage in rows)
    multiplier = 1000 if coin.name[:1] == "k" and coin.name[1:2].isupper() else 1
    return Instrument(coin.name, coin.size_decimals, tiers, multiplier=multiplier)


def meta(instruments: Sequence[Instrument]) -> dict[str, Any]:
    """The reply to `meta`."""
    tables = {number: _table(description, tiers) for number, (description, tiers) in TABLES.items()}
    universe = []
    for each in instruments:
        tiers = tuple((int(tier.lower_bound_usd), tier.max_leverage) for tier in each.tiers)
        number = tiers[0][1]
        if len(tiers) > 1:
            known = [n for n, (_, rows) in TABLES.items() if rows == tiers]
            number = known[0] if known else max(tables) + 1
            tables.setdefault(number, _table(f"tiered {tiers[0][1]}x", tiers))
        row: dict[str, Any] = {
            "szDecimals": each.size_decimals,
            "name": each.name,
            "maxLeverage": each.max_leverage,
            "marginTableId": number,
        }
        if each.only_isolated:
            row["onlyIsolated"] = True
        if each.is_delisted:
            row["isDelisted"] = True
        universe.append(row)
    return {
        "universe": universe,
        "marginTables": [[number, table] for number, table in tables.items()],
        "collateralToken": 0,
    }


def margin_table(reply: Mapping[str, Any], number: int) -> dict[str, Any] | None:
    """The reply to `marginTable`; None for a number that stands for nothing."""
    for known, table in reply["marginTables"]:
        if known == number:
            return dict(table)
    return _table("", ((0, number),)) if 0 < number < 50 else None


def _table(description: str, tiers: Sequence[tuple[int, int]]) -> dict[str, Any]:
    return {
        "description": description,
        "marginTiers": [{"lowerBound": text(bound), "maxLeverage": leverage} for bound, leverage in tiers],
    }
