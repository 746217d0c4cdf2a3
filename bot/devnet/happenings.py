"""From what the exchange says to what its users see: statuses, fills, trades, funding, liquidations."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from bot.devnet import fills
from bot.devnet.listing import grid_of
from bot.devnet.records import NO_HASH, STREET, Json, WireOrder, fake_hash, trade_id
from bot.devnet.wire import text
from bot.devnet.world import World
from bot.model.account import MarginMode
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, OrderStatus, Purpose, Side
from bot.sim.spot import SpotFill

_REJECTIONS: Final = (
    ("Price must be divisible", "tickRejected"),
    ("Order must have minimum value", "minTradeNtlRejected"),
    ("Insufficient margin", "perpMarginRejected"),
    ("Reduce only", "reduceOnlyRejected"),
    ("Post only", "badAloPxRejected"),
    ("Order could not immediately match", "iocCancelRejected"),
    ("Invalid TP/SL", "badTriggerPxRejected"),
    ("No liquidity", "marketOrderNoLiquidityRejected"),
    ("Order would cause position to exceed", "perpMaxPositionRejected"),
    ("Order price cannot be more than", "oracleRejected"),
    ("Insufficient spot balance", "insufficientSpotBalanceRejected"),
)


def tell(world: World) -> None:
    """Write down what the exchange did since the last call, and pass it on to whoever listens."""
    trades: dict[int, list[tuple[str, Fill, int]]] = {}
    while events := world.exchange.drain():
        for account, event in events:
            if isinstance(event, Fill):
                started = world.records(account).position.get(event.instrument, 0)
                trades.setdefault(event.trade_id, []).append((account, event, started))
                world.records(account).position[event.instrument] = started + event.signed_lots
            if account == STREET:
                continue
            if isinstance(event, OrderReport):
                _report(world, account, event)
            elif isinstance(event, Fill):
                _fill(
                    world,
                    account,
                    event,
                    started=world.records(account).position[event.instrument] - event.signed_lots,
                )
            elif isinstance(event, FundingPayment):
                _funding(world, account, event)
            else:
                _liquidation(world, account, event)
    for sides in trades.values():
        _trade(world, sides)
    _tell_spot(world)


def _tell_spot(world: World) -> None:
    trades: dict[int, list[tuple[str, SpotFill]]] = {}
    for account, event in world.spot.exchange.drain():
        if isinstance(event, OrderReport):
            _report(world, account, event)
        else:
            fills.spot_fill(world, account, event)
            trades.setdefault(event.trade_id, []).append((account, event))
    for sides in trades.values():
        fills.spot_trade(world, sides, STREET)


def _report(world: World, user: str, report: OrderReport) -> None:
    records = world.records(user)
    order = records.orders.get(report.order_id)
    if order is None:  # the venue's own: a liquidation
        return
    size = grid_of(world, order.coin).lot
    if not order.is_position_tpsl:
        order.remaining = order.size - report.filled_lots * size
    status, fired = status_of(report), order.trigger_price is not None and not order.triggered
    if status == "reduceOnlyCanceled" and _fired_before(world, order):
        status = "siblingFilledCanceled"
    if fired and status != "open" and report.reason in {"", "iocCancelRejected"}:
        order.triggered = True
        world.set_status(order, "triggered", report.time_ms)
    if report.status is OrderStatus.WAITING or order.status != status or report.filled_lots:
        world.set_status(order, status, report.time_ms)
    if status == "filled":
        _activate_children(world, order, report.time_ms)
        for sibling in order.siblings:
            world.cancel_quietly(user, sibling, "siblingFilledCanceled")
    elif not order.is_open:
        if status == "marginCanceled" and report.filled_lots:
            _activate_children(world, order, report.time_ms)
        _drop_children(world, order, report.time_ms)
        if report.status is OrderStatus.CANCELED and status not in {"canceled", "iocCancelRejected"}:
            world.emit("userEvents", user, {"nonUserCancel": [{"coin": order.coin, "oid": order.order_id}]})


def _fired_before(world: World, order: WireOrder) -> bool:
    """Whether one of the order's siblings has left the book, which is what made this one pointless."""
    still_there = world.exchange.open_ids(order.user)
    return any(each not in still_there and each not in world.dormant for each in order.siblings)


def status_of(report: OrderReport) -> str:
    """The venue's word for a report."""
    if report.status.is_open:
        return "open"
    if report.status is OrderStatus.FILLED:
        return "filled"
    if report.status is OrderStatus.CANCELED:
        return "canceled" if report.reason == "iocCancelRejected" else report.reason or "canceled"
    return next((status for start, status in _REJECTIONS if report.reason.startswith(start)), "rejected")


def _drop_children(world: World, parent: WireOrder, time_ms: int) -> None:
    for child in parent.children:
        if child.is_open and child.order_id in world.dormant:
            del world.dormant[child.order_id]
            world.set_status(child, "canceled", time_ms)


def _activate_children(world: World, parent: WireOrder, time_ms: int) -> None:
    for child in parent.children:
        order = world.dormant.pop(child.order_id, None)
        if order is not None:
            world.exchange.submit(parent.user, order, time_ms, child.order_id)


def _fill(world: World, user: str, fill: Fill, started: int) -> None:
    records, instrument = world.records(user), world.instruments[fill.instrument]
    after = started + fill.signed_lots
    records.position_changed(fill.instrument, opened=started == 0 or started * after < 0)
    order = records.orders.get(fill.order_id)
    row: Json = {
        "coin": fill.instrument,
        "px": text(fill.price),
        "sz": text(instrument.size(fill.lots)),
        "side": "B" if fill.side is Side.BUY else "A",
        "time": fill.time_ms,
        "startPosition": text(instrument.size(started)),
        "dir": _direction(world, user, fill, started, after),
        "closedPnl": text(fill.closed_pnl_usd),
        "hash": fake_hash("block", fill.time_ms, fill.order_id),
        "oid": fill.order_id,
        "crossed": not fill.is_maker,
        "fee": text(fill.fee_usd),
        "tid": trade_id(fill.trade_id),
        "feeToken": "USDC",
        "twapId": None,
    }
    if order is not None and order.cloid is not None:
        row["cloid"] = order.cloid
    if fee := fills.builder_fee(order, fill.notional_usd):
        world.exchange.charge(user, fee, fill.time_ms)
        row["builderFee"], row["fee"] = text(fee), text(fill.fee_usd + fee)
    if fill.purpose is Purpose.LIQUIDATION:
        mark = text(world.exchange.marks[fill.instrument])
        row["liquidation"] = {"liquidatedUser": user, "markPx": mark, "method": "market"}
    fills.remember(world, user, row, fill.notional_usd, is_maker=fill.is_maker, order_id=fill.order_id)


def _direction(world: World, user: str, fill: Fill, started: int, after: int) -> str:
    if fill.purpose is Purpose.SETTLEMENT:
        return "Settlement"
    if fill.purpose is Purpose.LIQUIDATION:
        _, mode = world.exchange.leverage(user, fill.instrument)
        kind = "Cross" if mode is MarginMode.CROSS else "Isolated"
        return f"Liquidated {kind} {'Long' if started > 0 else 'Short'}"
    if started * after < 0:
        return "Long > Short" if started > 0 else "Short > Long"
    if abs(after) > abs(started):
        return "Open Long" if after > 0 else "Open Short"
    return "Close Long" if started > 0 else "Close Short"


def _trade(world: World, sides: list[tuple[str, Fill, int]]) -> None:
    """One print of the tape from the fills of its two sides, of which one may be the outside market's."""
    users = {fill.side: account for account, fill, _ in sides}
    _, first, _ = sides[0]
    aggressor = next((fill.side for _, fill, _ in sides if not fill.is_maker), first.side.opposite)
    liquidated = next((account for account, fill, _ in sides if fill.purpose is Purpose.LIQUIDATION), None)
    world.print_trade(
        first.instrument,
        aggressor,
        first.price,
        first.lots,
        first.time_ms,
        trade_id(first.trade_id),
        [users.get(Side.BUY, STREET), users.get(Side.SELL, STREET)],
    )
    if liquidated is None:
        return
    for account, fill, _ in sides:
        if account not in {liquidated, STREET}:
            last = world.records(account).fills[-1]
            mark = text(world.exchange.marks[fill.instrument])
            last["liquidation"] = {"liquidatedUser": liquidated, "markPx": mark, "method": "market"}


def _funding(world: World, user: str, payment: FundingPayment) -> None:
    records, instrument = world.records(user), world.instruments[payment.instrument]
    records.pay_funding(payment.instrument, -payment.usd)
    row: Json = {
        "coin": payment.instrument,
        "usdc": text(payment.usd),
        "szi": text(instrument.size(payment.lots)),
        "fundingRate": text(payment.rate),
        "nSamples": None,
    }
    records.funding.append({"time": payment.time_ms, "hash": NO_HASH, "delta": {"type": "funding", **row}})
    world.touched.add(user)
    world.emit("userFundings", user, {"time": payment.time_ms, **row})
    world.emit("userEvents", user, {"funding": {"time": payment.time_ms, **row}})


def _liquidation(world: World, user: str, event: Liquidation) -> None:
    size = world.instruments[event.instrument].size(event.lots)
    notional = abs(size * event.price)
    value: Decimal = world.exchange.accounts[user].equity_usd(world.exchange.marks)
    _, mode = world.exchange.leverage(user, event.instrument)
    delta = {
        "type": "liquidation",
        "liquidatedNtlPos": text(notional),
        "accountValue": text(value),
        "leverageType": "Cross" if mode is MarginMode.CROSS else "Isolated",
        "liquidatedPositions": [{"coin": event.instrument, "szi": text(size)}],
    }
    world.write_ledger(user, delta)
    if event.kind == "backstop":
        for row in reversed(world.records(user).fills):
            if row["coin"] == event.instrument and "liquidation" in row:
                row["liquidation"]["method"] = "backstop"
                break
    said = {
        "lid": trade_id(event.time_ms),
        "liquidator": STREET,
        "liquidated_user": user,
        "liquidated_ntl_pos": text(notional),
        "liquidated_account_value": text(value),
    }
    world.emit("userEvents", user, {"liquidation": said})
