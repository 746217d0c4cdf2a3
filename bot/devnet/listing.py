"""Perpetuals and spot pairs under one roof: names, numbers, grids and books of whatever can be ordered."""

from __future__ import annotations

from decimal import Decimal

from bot.devnet.spot import FIRST_ASSET
from bot.devnet.world import World
from bot.model.instrument import Instrument
from bot.sim.book import Book
from bot.sim.spot import Pair


def is_spot(asset: int) -> bool:
    """Whether a number in actions is a spot pair's."""
    return asset >= FIRST_ASSET


def name_of(world: World, asset: int) -> str | None:
    """The name of an asset's number, if it has one."""
    if is_spot(asset):
        return world.spot.pair_of(asset)
    return world.names[asset] if asset < len(world.names) else None


def asset_of(world: World, coin: str) -> int:
    """The number of a listed name."""
    return world.spot.asset(coin) if coin in world.spot.pairs else world.column[coin]


def is_listed(world: World, coin: str) -> bool:
    """Whether anything has that name."""
    return coin in world.instruments or coin in world.spot.pairs


def grid_of(world: World, coin: str) -> Instrument | Pair:
    """The lots and prices that a listed name trades in."""
    return world.spot.pairs[coin] if coin in world.spot.pairs else world.instruments[coin]


def book_of(world: World, coin: str) -> Book:
    """The order book of a listed name."""
    return world.spot.books[coin] if coin in world.spot.pairs else world.exchange.books[coin]


def mark_of(world: World, coin: str) -> Decimal:
    """The price that a listed name is valued at."""
    return world.spot.exchange.marks[coin] if coin in world.spot.pairs else world.exchange.marks[coin]


def average_decimals(world: World, coin: str) -> int:
    """How many decimals an average price is shown with."""
    most = 8 if coin in world.spot.pairs else 7
    return max(most - grid_of(world, coin).size_decimals, 1)


def touch(world: World, coin: str) -> tuple[Decimal | None, Decimal | None]:
    """Best bid and ask, of users and of the outside market."""
    book = book_of(world, coin)
    prices: list[Decimal | None] = []
    for sign in (1, -1):
        resting, outside = book.best(sign), book.outside(sign)
        known = [price for price in (resting.price if resting else None, outside) if price is not None]
        prices.append((max(known) if sign > 0 else min(known)) if known else None)
    return prices[0], prices[1]
