"""TWAP orders: one size in slices of thirty seconds, each a market order of at most three percent slippage.

Slice k of n leaves the executed size at k/n of the whole. What an earlier slice did not get is caught up on by later
ones, of at most three times the usual size. Randomised slices are up to a fifth larger or smaller, around the same line.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from bot.devnet import orders
from bot.devnet.listing import grid_of, is_spot, mark_of, name_of, touch
from bot.devnet.records import Twap, fake_hash
from bot.devnet.wire import Fields, cut
from bot.devnet.world import World
from bot.errors import Refused
from bot.model.order import Order, OrderReport, OrderStatus, Side, TimeInForce

SHORTEST_MINUTES, LONGEST_MINUTES = 5, 10_080
LEAST_USD: Final = 100
LEAST_SLICE_USD: Final = Decimal(11)  # above the least order at the slice's own limit
MOST_RUNNING: Final = 100  # of one user
SLICE_MS: Final = 30_000
SLIPPAGE: Final = Decimal("0.03")
MOST_CATCHING_UP: Final = 3
NEVER_PLACED = "TWAP was never placed, already canceled, or filled."
_ENDS_IT: Final = ("Insufficient", "Reduce only")


def place(world: World, user: str, action: Fields) -> Any:
    """Start one; its number, or what is wrong with it."""
    row = action.inner("twap")
    asset, is_buy, size = row.integer("a"), row.boolean("b"), row.decimal("s")
    reduce_only, minutes, randomize = row.boolean("r"), row.integer("m"), row.boolean("t")
    details = action.inner("details").of if action.of.get("details") is not None else {}
    coin = name_of(world, asset)
    if coin is None:
        raise Refused("Invalid spot" if is_spot(asset) else orders.UNKNOWN_ASSET)
    error, grid = "", grid_of(world, coin)
    if not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        error = f"Invalid TWAP duration: {minutes} min(s)"
    elif size <= 0 or size != grid.size(grid.lots(size)):
        error = "Order has invalid size."
    elif size * mark_of(world, coin) < LEAST_USD:
        error = f"TWAP order value too small. Min is ${LEAST_USD}."
    elif reduce_only and is_spot(asset):
        error = "Reduce-only is invalid for spot trading."
    elif reduce_only and _reducible(world, user, coin, is_buy=is_buy) <= 0:
        error = "Reduce only order would increase position."
    elif len(states(world, user)) >= MOST_RUNNING:
        error = f"Too many open TWAP orders. Max is {MOST_RUNNING}."
    elif any(each is not None for each in details.values()):
        error = "TWAP trigger and stop prices are not part of the devnet."
    if error:
        return {"type": "twapOrder", "data": {"status": {"error": error}}}
    twap = Twap(
        world.exchange.reserve_order_id(),
        user,
        asset,
        coin,
        is_buy,
        size,
        reduce_only,
        minutes,
        randomize,
        world.now_ms,
    )
    world.twaps[twap.twap_id] = twap
    _history(world, twap, "activated")
    _run(world, twap)
    return {"type": "twapOrder", "data": {"status": {"running": {"twapId": twap.twap_id}}}}


def cancel(world: World, user: str, action: Fields) -> Any:
    """End one."""
    asset, twap = action.integer("a"), world.twaps.get(action.integer("t"))
    if twap is None or twap.user != user or twap.asset != asset:
        return {"type": "twapCancel", "data": {"status": {"error": NEVER_PLACED}}}
    _end(world, twap, "terminated")
    return {"type": "twapCancel", "data": {"status": "success"}}


def run_due(world: World) -> None:
    """Send the slices whose time has come."""
    for twap in list(world.twaps.values()):
        _run(world, twap)


def states(world: World, user: str) -> list[Any]:
    """Numbers and states of those that run."""
    return [[twap.twap_id, twap.state()] for twap in world.twaps.values() if twap.user == user]


def slice_count(minutes: int) -> int:
    """One at the start, and one every thirty seconds until the end."""
    return minutes * 60_000 // SLICE_MS + 1


def _run(world: World, twap: Twap) -> None:
    count = slice_count(twap.minutes)
    while twap.twap_id in world.twaps and twap.slices_done < count:
        if world.now_ms < twap.started_ms + twap.slices_done * SLICE_MS:
            return
        error = _slice(world, twap, twap.slices_done, count)
        twap.slices_done += 1
        if error:
            _end(world, twap, "error", error)
        elif twap.executed >= twap.size or twap.slices_done == count:
            _end(world, twap, "finished")


def _slice(world: World, twap: Twap, number: int, count: int) -> str:
    """Send one slice; what went so wrong that the rest is pointless, or nothing."""
    grid, side = grid_of(world, twap.coin), Side.BUY if twap.is_buy else Side.SELL
    bid, ask = touch(world, twap.coin)
    if bid is None or ask is None:
        return ""
    middle = (bid + ask) / 2
    size = _wanted(twap, number, count)
    left = twap.size - twap.executed
    if (left - size) * middle < LEAST_SLICE_USD:
        size = left
    if twap.reduce_only:
        reducible = _reducible(world, twap.user, twap.coin, is_buy=twap.is_buy)
        if reducible <= 0:
            return "Reduce only order would increase position."
        size = min(size, reducible)
    lots = grid.lots(cut(size, grid.size_decimals))
    if not lots or (lots * grid.lot * middle < LEAST_SLICE_USD and size < left):
        return ""  # the next one is larger for it
    limit = grid.round_price(middle * (1 + side.sign * SLIPPAGE), up=side is Side.SELL)
    order_id = world.exchange.reserve_order_id()
    order = Order(
        f"twap {order_id}", twap.coin, side, lots, limit, TimeInForce.IOC, reduce_only=twap.reduce_only
    )
    world.slices[order_id] = twap.twap_id
    report = orders.submit(world, twap.user, order, order_id)
    world.pump()
    del world.slices[order_id]
    return _book(world, twap, report)


def _wanted(twap: Twap, number: int, count: int) -> Decimal:
    """How far behind its line it is, and no more than catching up allows."""
    share, last = Decimal(number + 1), number + 1 == count
    if twap.randomize and not last:
        share += (int(fake_hash("slice", twap.twap_id, number)[2:10], 16) % 401 - 200) / Decimal(1000)
    behind = twap.size * share / count - twap.executed
    return max(Decimal(0), min(behind, MOST_CATCHING_UP * twap.size / count, twap.size - twap.executed))


def _book(world: World, twap: Twap, report: OrderReport) -> str:
    grid = grid_of(world, twap.coin)
    if report.filled_lots:
        size = grid.size(report.filled_lots)
        twap.executed += size
        value = size * report.average_price
        twap.executed_usd += value.quantize(Decimal("1e-8"), ROUND_DOWN)
        world.touched.add(twap.user)
        return ""
    is_final = report.status is OrderStatus.REJECTED and report.reason.startswith(_ENDS_IT)
    return report.reason if is_final else ""


def _reducible(world: World, user: str, coin: str, *, is_buy: bool) -> Decimal:
    account = world.exchange.accounts.get(user)
    held = account.lots(coin) if account is not None else 0
    return world.instruments[coin].size(-held if is_buy else held)


def _end(world: World, twap: Twap, status: str, description: str = "") -> None:
    del world.twaps[twap.twap_id]
    _history(world, twap, status, description)


def _history(world: World, twap: Twap, status: str, description: str = "") -> None:
    said = {"status": status} | ({"description": description} if description else {})
    row = {
        "time": world.now_ms // 1000,
        "state": twap.state(),
        "status": said,
        "twapId": twap.twap_id,
    }
    world.records(twap.user).twap_history.append(row)
    world.touched.add(twap.user)
    world.emit("userTwapHistory", twap.user, row)
    world.emit("userEvents", twap.user, {"twapHistory": [row]})
