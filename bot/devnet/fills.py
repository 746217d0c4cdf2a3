"""Fills as users see them: the row that is remembered and sent, of a perpetual or of a spot pair."""

from __future__ import annotations

from decimal import Decimal

from bot.clock import utc
from bot.devnet.records import NO_HASH, Json, WireOrder, fake_hash, trade_id
from bot.devnet.wire import text
from bot.devnet.world import World
from bot.model.money import ZERO, usd_down
from bot.model.order import Side
from bot.sim.spot import SpotFill


def remember(
    world: World, user: str, row: Json, notional_usd: Decimal, *, is_maker: bool, order_id: int
) -> None:
    """Write a fill down and tell its owner; a slice of a TWAP carries its number and no hash."""
    records, time_ms = world.records(user), row["time"]
    twap_id = world.slices.get(order_id)
    if twap_id is not None:
        row["twapId"], row["hash"] = twap_id, NO_HASH
    records.fills.append(row)
    records.cum_volume += notional_usd
    day = records.day_volume.setdefault(utc(time_ms)[:10], [ZERO, ZERO])
    day[is_maker] += notional_usd
    world.touched.add(user)
    world.emit("userFills", user, row)
    world.emit("userEvents", user, {"fills": [row]})
    if twap_id is not None:
        piece = {"fill": row, "twapId": twap_id}
        records.twap_fills.append(piece)
        world.emit("userTwapSliceFills", user, piece)
        world.emit("userEvents", user, {"twapSliceFills": [piece]})


def builder_fee(order: WireOrder | None, notional_usd: Decimal) -> Decimal:
    """What the order's builder takes, in dollars."""
    if order is None or order.builder is None:
        return ZERO
    return usd_down(notional_usd * order.builder[1] / 100_000)


def spot_fill(world: World, user: str, fill: SpotFill) -> None:
    """Tell the owner of one side of a spot trade. A builder earns on sales alone, in the quote token."""
    order = world.records(user).orders.get(fill.order_id)
    is_buy = fill.side is Side.BUY
    extra = ZERO if is_buy else builder_fee(order, fill.notional)
    row: Json = {
        "coin": fill.pair,
        "px": text(fill.price),
        "sz": text(world.spot.pairs[fill.pair].size(fill.lots)),
        "side": "B" if is_buy else "A",
        "time": fill.time_ms,
        "startPosition": text(fill.started),
        "dir": "Buy" if is_buy else "Sell",
        "closedPnl": text(fill.closed_pnl),
        "hash": fake_hash("block", fill.time_ms, fill.order_id),
        "oid": fill.order_id,
        "crossed": not fill.is_maker,
        "fee": text(fill.fee + extra),
        "tid": spot_trade_id(fill),
        "feeToken": fill.fee_token,
        "twapId": None,
    }
    if order is not None and order.cloid is not None:
        row["cloid"] = order.cloid
    if extra:
        world.spot.exchange.charge(user, fill.fee_token, extra)
        row["builderFee"] = text(extra)
    remember(world, user, row, fill.notional, is_maker=fill.is_maker, order_id=fill.order_id)


def spot_trade_id(fill: SpotFill) -> int:
    """A number of its own: spot trades and perpetuals' are counted apart."""
    return trade_id(fill.trade_id + 10**15)


def spot_trade(world: World, sides: list[tuple[str, SpotFill]], street: str) -> None:
    """One print of the tape from the fills of its two sides, of which one may be the outside market's."""
    users = {fill.side: user for user, fill in sides}
    _, first = sides[0]
    aggressor = next((fill.side for _, fill in sides if not fill.is_maker), first.side.opposite)
    world.print_trade(
        first.pair,
        aggressor,
        first.price,
        first.lots,
        first.time_ms,
        spot_trade_id(first),
        [users.get(Side.BUY, street), users.get(Side.SELL, street)],
    )
