"""Instrument facts from Hyperliquid's `meta` reply: lot sizes, margin tiers, who is delisted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from bot.data.tables import nearest
from bot.errors import DataError
from bot.model.instrument import Instrument, MarginTier
from bot.model.money import ZERO

FIRST_TIERED_TABLE: Final = 50
"""A margin table id below this is no table: it is the leverage of a single tier."""

DEFAULT_LEVERAGE: Final = 10


def read_meta(folder: Path) -> Mapping[str, Any] | None:
    """What `meta.json` of a data folder holds; None where there is none, DataError where it isn't a `meta` reply."""
    path = folder / "meta.json"
    if not path.is_file():
        return None
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({error}); save the venue's meta reply again"
        ) from None
    if not isinstance(meta, dict) or not isinstance(meta.get("universe"), list):
        raise DataError(f"{path} has no list 'universe'; it must be the venue's meta reply")
    return meta


def coins_in_meta(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Every coin the reply lists, delisted ones too, in the venue's order."""
    return tuple(str(asset["name"]) for asset in meta["universe"])


def instruments_from_meta(meta: Mapping[str, Any], coins: Iterable[str]) -> tuple[Instrument, ...]:
    """The coins' instruments, in the order asked for; DataError for a coin or a margin table that isn't there.

    https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals
    """
    try:
        assets = {str(asset["name"]): asset for asset in meta["universe"]}
        tables = {int(number): table["marginTiers"] for number, table in meta.get("marginTables", ())}
        return tuple(_instrument(coin, assets, tables) for coin in coins)
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"the meta reply is not of the venue's shape ({what}); save it again") from None


def default_instrument(coin: str, price: float) -> Instrument:
    """An instrument for a coin nobody described: one tier of 10x, a lot worth some tens of cents.

    On Hyperliquid the lot is worth 0.16 to 1.6 USD for most coins, so its decimals follow from the price.
    """
    decimals = round(math.log10(price) + 0.2) if math.isfinite(price) and price > 0 else 0
    tiers = (MarginTier(ZERO, DEFAULT_LEVERAGE),)
    return Instrument(coin, min(8, max(0, decimals)), tiers, multiplier=multiplier(coin))


def multiplier(coin: str) -> int:
    """1000 for names like kPEPE, of which one coin is a thousand of the underlying; else 1."""
    return 1000 if coin[:1] == "k" and coin[1:2].isupper() else 1


def _instrument(coin: str, assets: Mapping[str, Any], tables: Mapping[int, Any]) -> Instrument:
    asset = assets.get(coin)
    if asset is None:
        raise DataError(f"the meta reply does not list {coin!r}; {nearest(coin, list(assets))}")
    number = int(asset.get("marginTableId", asset["maxLeverage"]))
    if number < FIRST_TIERED_TABLE:
        tiers: tuple[MarginTier, ...] = (MarginTier(ZERO, number),)
    elif number in tables:
        tiers = tuple(
            MarginTier(Decimal(str(tier["lowerBound"])), int(tier["maxLeverage"])) for tier in tables[number]
        )
    else:
        raise DataError(f"{coin} refers to margin table {number}, which the meta reply does not hold")
    return Instrument(
        name=coin,
        size_decimals=int(asset["szDecimals"]),
        tiers=tiers,
        only_isolated=bool(asset.get("onlyIsolated"))
        or asset.get("marginMode") in {"strictIsolated", "noCross"},
        is_delisted=bool(asset.get("isDelisted")),
        multiplier=multiplier(coin),
    )
