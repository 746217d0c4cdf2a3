"""Hyperliquid's actions in their one canonical form: keys in the venue's order, decimals as it writes them.

The order of keys is part of what is signed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bot.signer.requests import Cancel, IsolatedMargin, Leverage, Order, Place, ScheduleCancel, plain

Action = dict[str, Any]

_LIMITS: Final[dict[str | None, Action]] = {tif: {"limit": {"tif": tif}} for tif in ("Alo", "Gtc", "Ioc")}
"""Made once; an action is only ever read."""


def order_wire(order: Order, asset: int) -> Action:
    """One order as it stands inside an action."""
    trigger = order.trigger
    if trigger is None:
        kind: Action = _LIMITS[order.tif]
    else:
        kind = {
            "trigger": {
                "isMarket": trigger.is_market,
                "triggerPx": plain(trigger.price_e8),
                "tpsl": trigger.kind,
            }
        }
    return {
        "a": asset,
        "b": order.is_buy,
        "p": plain(order.price_e8),
        "s": plain(order.size_e8),
        "r": order.reduce_only,
        "t": kind,
        "c": order.cloid,
    }


def place(request: Place, assets: Mapping[str, int]) -> Action:
    """`order`, or `batchModify` for replacements."""
    wires = [order_wire(order, assets[order.coin]) for order in request.orders]
    if request.do == "order":
        return {"type": "order", "orders": wires, "grouping": request.grouping}
    pairs: Iterable[tuple[int | str, Action]] = zip(request.replaces, wires, strict=True)
    action: Action = {"type": "batchModify", "modifies": [{"oid": oid, "order": wire} for oid, wire in pairs]}
    return {**action, "a": True} if request.always else action


def cancel(request: Cancel, assets: Mapping[str, int]) -> Action:
    """`cancel` or `cancelByCloid`."""
    if request.do == "cancel":
        action: Action = {
            "type": "cancel",
            "cancels": [{"a": assets[coin], "o": oid} for coin, oid in request.cancels],
        }
    else:
        action = {
            "type": "cancelByCloid",
            "cancels": [{"asset": assets[coin], "cloid": cloid} for coin, cloid in request.cancels],
        }
    return {**action, "f": True} if request.fast else action


def leverage(request: Leverage, assets: Mapping[str, int]) -> Action:
    """`updateLeverage`."""
    return {
        "type": "updateLeverage",
        "asset": assets[request.coin],
        "isCross": request.is_cross,
        "leverage": request.leverage,
    }


def isolated_margin(request: IsolatedMargin, assets: Mapping[str, int]) -> Action:
    """`updateIsolatedMargin`; the amount's sign says whether it is added."""
    return {
        "type": "updateIsolatedMargin",
        "asset": assets[request.coin],
        "isBuy": True,
        "ntli": request.usd_micro,
    }


def schedule_cancel(request: ScheduleCancel) -> Action:
    """`scheduleCancel`, without a time to clear it."""
    action: Action = {"type": "scheduleCancel"}
    return action if request.time_ms is None else {**action, "time": request.time_ms}


def noop() -> Action:
    """Burns its nonce and does nothing else."""
    return {"type": "noop"}
