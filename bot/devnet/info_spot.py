"""POST /info about the spot market: what is listed, its prices, and who owns how much of which token."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from bot.devnet import listing
from bot.devnet.records import Json
from bot.devnet.spot import SHARE_OF_VOLUME, USDC
from bot.devnet.wire import Fields, number_text, text
from bot.devnet.world import World
from bot.model.money import ZERO

SUPPLY: Final = "1000000.0"


def contexts(world: World) -> list[Json]:
    """Each pair's context where its number says, which is not where the universe lists it; nobody trades the others."""
    last = max((each.pair_index for each in world.spot.listings.values()), default=-1)
    rows = [_untraded(index) for index in range(last + 1)]
    for name, each in world.spot.listings.items():
        rows[each.pair_index] = context(world, name)
    return rows


def _untraded(index: int) -> Json:
    return {
        "prevDayPx": "1.0",
        "dayNtlVlm": "0.0",
        "markPx": "1.0",
        "midPx": None,
        "circulatingSupply": SUPPLY,
        "coin": f"@{index}" if index else "PURR/USDC",
        "totalSupply": SUPPLY,
        "dayBaseVlm": "0.0",
    }


def context(world: World, name: str) -> Json:
    """One pair's prices and activity."""
    spot, pair = world.spot, world.spot.pairs[name]
    bid, ask = listing.touch(world, name)
    mark = spot.exchange.marks[name]
    day_before = spot.bar(name, max(0, world.market.hour(world.now_ms) - 23))[0]
    volume = float(world.moment.volume_usd_day[spot.column[name]]) * SHARE_OF_VOLUME
    return {
        "prevDayPx": text(pair.round_price(Decimal(repr(day_before)))),
        "dayNtlVlm": number_text(volume, 6),
        "markPx": text(mark),
        "midPx": None if bid is None or ask is None else text((bid + ask) / 2),
        "circulatingSupply": SUPPLY,
        "coin": name,
        "totalSupply": SUPPLY,
        "dayBaseVlm": number_text(volume / float(mark), pair.size_decimals),
    }


def state(world: World, user: str) -> Json:
    """What a user owns, token by token, and what of it is held for open orders."""
    wallet = world.spot.wallet(user)
    rows: list[Json] = []
    for token, (index, _) in world.spot.tokens.items():
        total = wallet.total.get(token, ZERO) if wallet is not None else ZERO
        if wallet is None or not total:
            continue
        rows.append(
            {
                "coin": token,
                "token": index,
                "total": text(total),
                "hold": text(wallet.held.get(token, ZERO)),
                "entryNtl": "0.0" if token == USDC.name else text(wallet.entry.get(token, ZERO)),
            }
        )
    return {"balances": rows}


def token_details(world: World, fields: Fields) -> Any:
    """One token by its id; null for an unknown one."""
    token = world.spot.token_of(fields.string("tokenId"))
    if token is None:
        return None
    row = next(each for each in world.spot.meta["tokens"] if each["name"] == token)
    pair = next((name for name, each in world.spot.listings.items() if each.token == token), None)
    prices = (
        context(world, pair) if pair is not None else {"midPx": "1.0", "markPx": "1.0", "prevDayPx": "1.0"}
    )
    return {
        "name": token,
        "maxSupply": SUPPLY,
        "totalSupply": SUPPLY,
        "circulatingSupply": SUPPLY,
        "szDecimals": row["szDecimals"],
        "weiDecimals": row["weiDecimals"],
        "midPx": prices["midPx"] or prices["markPx"],
        "markPx": prices["markPx"],
        "prevDayPx": prices["prevDayPx"],
        "genesis": None,
        "deployer": None,
        "deployGas": None,
        "deployTime": None,
        "seededUsdc": "0.0",
        "nonCirculatingUserBalances": [],
        "futureEmissions": "0.0",
    }


SPOT: Final[dict[str, Callable[[World, Fields], Any]]] = {
    "spotMeta": lambda world, _: world.spot.meta,
    "spotMetaAndAssetCtxs": lambda world, _: [world.spot.meta, contexts(world)],
    "tokenDetails": token_details,
}
