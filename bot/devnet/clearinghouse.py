"""Margin and positions of a user, in the exchange's own arithmetic."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from bot.devnet.orders import leverage_value
from bot.devnet.records import Json, UserRecords
from bot.devnet.wire import cut, text
from bot.devnet.world import World
from bot.model.account import Account, MarginMode, Position
from bot.model.margin import initial_margin
from bot.model.money import ZERO, usd

EMPTY: Final = Account()


def account(world: World, user: str) -> Account:
    """The exchange's books of a user, empty ones if it has none."""
    return world.exchange.accounts.get(user, EMPTY)


def clearinghouse_state(world: World, user: str) -> Json:
    """Margin and positions of a user, zeros for one who has none."""
    held, marks = account(world, user), world.exchange.marks
    rows = [_position(world, user, held, position) for position in held.positions.values()]
    cross_used, all_used, cross_notional, notional = ZERO, ZERO, ZERO, ZERO
    for name, position in held.positions.items():
        value = abs(position.notional_usd(marks[name]))
        used = _margin_used(world, user, name, position)
        notional, all_used = notional + value, all_used + used
        if position.margin_mode is MarginMode.CROSS:
            cross_notional, cross_used = cross_notional + value, cross_used + used
    isolated = sum((position.cash_usd for position in held.positions.values()), ZERO)
    withdrawable = world.exchange.withdrawable_usd(user) if world.exists(user) else ZERO
    return {
        "marginSummary": _summary(held.equity_usd(marks), notional, held.cash_usd + isolated, all_used),
        "crossMarginSummary": _summary(
            held.cross_value_usd(marks), cross_notional, held.cash_usd, cross_used
        ),
        "crossMaintenanceMarginUsed": text(usd(held.maintenance_usd(marks))),
        "withdrawable": text(withdrawable),
        "assetPositions": [{"type": "oneWay", "position": row} for row in rows],
        "time": world.now_ms,
    }


def _summary(value: Decimal, notional: Decimal, raw: Decimal, used: Decimal) -> Json:
    return {
        "accountValue": text(usd(value)),
        "totalNtlPos": text(usd(notional)),
        "totalRawUsd": text(usd(raw)),
        "totalMarginUsed": text(usd(used)),
    }


def _margin_used(world: World, user: str, name: str, position: Position) -> Decimal:
    notional = position.notional_usd(world.exchange.marks[name])
    if position.margin_mode is MarginMode.ISOLATED:
        return position.cash_usd + notional
    leverage, _ = world.exchange.leverage(user, name)
    return initial_margin(notional, leverage)


def _position(world: World, user: str, held: Account, position: Position) -> Json:
    instrument, marks = position.instrument, world.exchange.marks
    name = instrument.name
    mark = marks[name]
    leverage, _ = world.exchange.leverage(user, name)
    profit = position.unrealised_usd(mark)
    liquidation = held.liquidation_price(name, marks)
    paid = world.records(user).paid_funding.get(name, [ZERO, ZERO, ZERO])
    return {
        "coin": name,
        "szi": text(instrument.size(position.lots)),
        "leverage": leverage_value(world, user, name),
        "entryPx": text(cut(position.entry_price, max(6 - instrument.size_decimals, 0) + 1)),
        "positionValue": text(usd(abs(position.notional_usd(mark)))),
        "unrealizedPnl": text(usd(profit)),
        "returnOnEquity": text((profit * leverage / abs(position.cost_usd)).quantize(Decimal("1e-10"))),
        "liquidationPx": None if liquidation is None else text(liquidation.quantize(Decimal("1e-10"))),
        "marginUsed": text(usd(_margin_used(world, user, name, position))),
        "maxLeverage": instrument.max_leverage,
        "cumFunding": {
            "allTime": text(paid[0]),
            "sinceOpen": text(paid[1]),
            "sinceChange": text(paid[2]),
        },
    }


def known(world: World, user: str) -> UserRecords:
    """What is remembered of a user, nothing if it is unknown."""
    return world.users.get(user) or UserRecords()
