"""WebSocket channels: who subscribed to what, the first frame of each, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final

import orjson

from bot.devnet import clearinghouse, info, info_account, info_spot, listing, twap
from bot.devnet.candles import INTERVALS, current
from bot.devnet.connection import Connection, Subscription
from bot.devnet.exchange_actions import Exchange
from bot.devnet.faults import Faults
from bot.devnet.records import Json
from bot.devnet.wire import Fields, Malformed

SLOW_BOOK_S: Final = 5.0
FAST_BOOK_LEVELS: Final = 5
ACCOUNT_S: Final = 1.0
MOST_SUBSCRIPTIONS: Final = 1000  # of one connection
MOST_USERS: Final = 10

_COIN: Final = ("coin",)
_USER: Final = ("user",)
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "allMids": (),
    "assetCtxs": (),
    "allDexsAssetCtxs": (),
    "spotAssetCtxs": (),
    **dict.fromkeys(("l2Book", "bbo", "trades", "activeAssetCtx"), _COIN),
    "candle": ("coin", "interval"),
    "activeAssetData": ("user", "coin"),
    **dict.fromkeys(
        (
            "orderUpdates",
            "userEvents",
            "userFills",
            "userFundings",
            "userNonFundingLedgerUpdates",
            "userHistoricalOrders",
            "webData2",
            "notification",
            "clearinghouseState",
            "openOrders",
            "spotState",
            "userTwapSliceFills",
            "userTwapHistory",
            "twapStates",
            "webData3",
            "allDexsClearinghouseState",
        ),
        _USER,
    ),
}
FLAGS: Final = ("fast", "aggregateByTime", "ignorePortfolioMargin")
OPTIONAL: Final = {"dex", "nSigFigs", "mantissa", *FLAGS}
_STATE: Final = {
    "webData2",
    "webData3",
    "clearinghouseState",
    "allDexsClearinghouseState",
    "openOrders",
    "activeAssetData",
    "spotState",
    "twapStates",
}
_LIST_NAME: Final = {
    "userFills": "fills",
    "userFundings": "fundings",
    "userNonFundingLedgerUpdates": "nonFundingLedgerUpdates",
    "userHistoricalOrders": "orderHistory",
    "userTwapSliceFills": "twapSliceFills",
    "userTwapHistory": "history",
}
"""Channels that begin with what was: name → that of its list."""


class Channels:
    """All connections, and the channels that they listen to."""

    def __init__(self, door: Exchange, faults: Faults) -> None:
        self.door, self.world, self.faults = door, door.world, faults
        self.connections: set[Connection] = set()
        self._slow_book_s = self._account_s = 0.0
        self.world.listeners.append(self._heard)

    def subscribe(self, connection: Connection, wanted: Any) -> str:
        """Add a subscription and send its first frames; an error text, or nothing."""
        shown = orjson.dumps(wanted).decode()
        subscription = self._read(wanted)
        if subscription is None:
            return f"Invalid subscription {shown}"
        key = _key(subscription)
        if key in connection.subscriptions:
            return f"Already subscribed: {shown}"
        if len(connection.subscriptions) >= MOST_SUBSCRIPTIONS:
            return f"Cannot track more than {MOST_SUBSCRIPTIONS} total subscriptions."
        users = {
            each["user"] for each in (*connection.subscriptions.values(), subscription) if "user" in each
        }
        if len(users) > MOST_USERS:
            return f"Cannot track more than {MOST_USERS} total users."
        connection.subscriptions[key] = subscription
        connection.send("subscriptionResponse", {"method": "subscribe", "subscription": _echo(subscription)})
        self._first(connection, subscription)
        return ""

    def unsubscribe(self, connection: Connection, wanted: Any) -> str:
        """Take a subscription back; an error text, or nothing."""
        shown = orjson.dumps(wanted).decode()
        subscription = self._read(wanted)
        if subscription is None:
            return f"Invalid subscription {shown}"
        if connection.subscriptions.pop(_key(subscription), None) is None:
            return f"Already unsubscribed: {shown}"
        connection.send(
            "subscriptionResponse", {"method": "unsubscribe", "subscription": _echo(subscription)}
        )
        return ""

    def _read(self, wanted: Any) -> Subscription | None:
        try:
            fields = Fields(wanted)
            kind = fields.string("type")
            if kind not in REQUIRED or not set(wanted) <= {"type", *REQUIRED[kind], *OPTIONAL}:
                return None
            subscription = {name: each for name, each in wanted.items() if each is not None}
            if "user" in REQUIRED[kind]:
                subscription["user"] = fields.address("user")
            if "coin" in REQUIRED[kind]:
                coin = fields.string("coin")
                if not listing.is_listed(self.world, coin):
                    return None
            if kind == "candle" and fields.string("interval") not in INTERVALS:
                return None
            info.main_dex(fields)
            info.book_detail(fields)
            if not all(isinstance(wanted.get(name, False), bool | NoneType) for name in FLAGS):
                return None
        except Malformed:
            return None
        return subscription

    # --- frames

    def _first(self, connection: Connection, subscription: Subscription) -> None:
        kind = subscription["type"]
        if kind in _LIST_NAME:
            data = self._history(subscription["user"], kind)
            connection.send(kind, {"isSnapshot": True, "user": subscription["user"], _LIST_NAME[kind]: data})
        elif kind == "trades":
            tape = self.world.tape.get(subscription["coin"])
            if tape:
                connection.send("trades", list(tape)[-10:])
        else:
            self._state(connection, subscription)

    def _history(self, user: str, kind: str) -> list[Json]:
        records = clearinghouse.known(self.world, user)
        if kind == "userFills":
            return list(records.fills)[-info_account.MOST_FILLS :]
        if kind == "userHistoricalOrders":
            return list(records.order_history)[-info_account.MOST_FILLS :]
        if kind == "userFundings":
            return [_funding_row(row) for row in records.funding[-info_account.MOST_ROWS :]]
        if kind == "userTwapSliceFills":
            return list(records.twap_fills)[-info_account.MOST_FILLS :]
        if kind == "userTwapHistory":
            return list(records.twap_history)[-info_account.MOST_FILLS :]
        return records.ledger[-info_account.MOST_ROWS :]

    def _state(self, connection: Connection, subscription: Subscription) -> None:
        """Send the present value of a channel that has one."""
        made = self._value(subscription)
        if made is None:
            return
        channel, data = made
        if channel == "bbo":
            if connection.last_bbo.get(data["coin"]) == data["bbo"]:
                return
            connection.last_bbo[data["coin"]] = data["bbo"]
        connection.send(channel, data)

    def _value(self, subscription: Subscription) -> tuple[str, Any] | None:
        kind, world = subscription["type"], self.world
        make = _VALUES.get(kind)
        if make is None:
            return None
        data = make(self, subscription)
        if data is None:
            return None
        if kind == "activeAssetCtx" and subscription["coin"] in world.spot.pairs:
            kind = "activeSpotAssetCtx"
        return kind, data

    def _book(self, subscription: Subscription) -> Any:
        book = info.book_of(
            self.world, subscription["coin"], subscription.get("nSigFigs"), subscription.get("mantissa")
        )
        if book is not None and subscription.get("fast"):
            book["levels"] = [side[:FAST_BOOK_LEVELS] for side in book["levels"]]
            book["fast"] = True
        return book

    def _bbo(self, subscription: Subscription) -> Any:
        coin = subscription["coin"]
        sides = info.levels(self.world, coin, 1)
        best = [side[0] if side else None for side in sides]
        return {"coin": coin, "time": self.world.market.book_ms(self.world.now_ms), "bbo": best}

    def _context(self, subscription: Subscription) -> Any:
        coin = subscription["coin"]
        if coin in self.world.spot.pairs:
            return {"coin": coin, "ctx": info_spot.context(self.world, coin)}
        return {"coin": coin, "ctx": info.context(self.world, coin)}

    def _candle(self, subscription: Subscription) -> Any:
        return current(self.world, subscription["coin"], subscription["interval"])

    def _asset_data(self, subscription: Subscription) -> Any:
        coin = subscription["coin"]
        if coin not in self.world.instruments:
            return None
        return info_account.active_asset_data(self.world, subscription["user"], coin)

    def _clearinghouse(self, subscription: Subscription) -> Any:
        user = subscription["user"]
        return {
            "dex": "",
            "user": user,
            "clearinghouseState": clearinghouse.clearinghouse_state(self.world, user),
        }

    def _orders(self, subscription: Subscription) -> Any:
        user = subscription["user"]
        return {"dex": "", "user": user, "orders": info_account.frontend_open_orders(self.world, user)}

    # --- what happens

    def _heard(self, channel: str, user: str, data: Any) -> None:
        """Pass an event of a user on to who follows him."""
        for connection in self.connections:
            for subscription in connection.subscriptions.values():
                if subscription["type"] != channel or subscription.get("user") != user:
                    continue
                if channel == "userEvents":
                    connection.send("user", data)
                elif channel == "orderUpdates":
                    connection.send(channel, [data])
                else:
                    connection.send(channel, {"user": user, _LIST_NAME[channel]: [data]})

    def after_action(self) -> None:
        """Send trades, and the accounts that an action touched."""
        world = self.world
        touched, world.touched = world.touched, set()
        prints, world.prints = world.prints, []
        if self.faults.chaos.stale_feeds:
            return
        by_coin: dict[str, list[Json]] = {}
        for row in prints:
            by_coin.setdefault(row["coin"], []).append(row)
        for connection in self.connections:
            for subscription in list(connection.subscriptions.values()):
                kind = subscription["type"]
                if kind == "trades" and subscription["coin"] in by_coin:
                    connection.send("trades", by_coin[subscription["coin"]])
                elif (kind == "bbo" and subscription["coin"] in by_coin) or (
                    kind in _STATE and subscription["user"] in touched
                ):
                    self._state(connection, subscription)

    def tick(self, now_s: float) -> None:
        """Send what is sent again and again; `now_s` is real time."""
        self.after_action()
        if self.faults.chaos.stale_feeds:
            return
        slow = now_s - self._slow_book_s >= SLOW_BOOK_S
        account = now_s - self._account_s >= ACCOUNT_S
        self._slow_book_s = now_s if slow else self._slow_book_s
        self._account_s = now_s if account else self._account_s
        made: dict[bytes, bytes] = {}
        for connection in self.connections:
            for key, subscription in list(connection.subscriptions.items()):
                kind = subscription["type"]
                if kind == "bbo":
                    self._state(connection, subscription)
                    continue
                repeated = kind in _MARKET or (kind in _STATE and account)
                if not repeated or (kind == "l2Book" and not slow and not subscription.get("fast")):
                    continue
                if key not in made:
                    value = self._value(subscription)
                    if value is None:
                        continue
                    made[key] = orjson.dumps({"channel": value[0], "data": value[1]})
                connection.push(made[key])


_VALUES: Final[dict[str, Callable[[Channels, Subscription], Any]]] = {
    "allMids": lambda self, _: {"mids": info.mids(self.world)},
    "assetCtxs": lambda self, _: {"dex": "", "ctxs": info.contexts(self.world)},
    "allDexsAssetCtxs": lambda self, _: {"ctxs": [["", info.contexts(self.world)]]},
    "l2Book": Channels._book,  # noqa: SLF001 - the table of the class above
    "bbo": Channels._bbo,  # noqa: SLF001
    "activeAssetCtx": Channels._context,  # noqa: SLF001
    "candle": Channels._candle,  # noqa: SLF001
    "activeAssetData": Channels._asset_data,  # noqa: SLF001
    "clearinghouseState": Channels._clearinghouse,  # noqa: SLF001
    "openOrders": Channels._orders,  # noqa: SLF001
    "spotState": lambda self, subscription: {
        "user": subscription["user"],
        "spotState": info_spot.state(self.world, subscription["user"]),
    },
    "spotAssetCtxs": lambda self, _: info_spot.contexts(self.world),
    "twapStates": lambda self, subscription: {
        "dex": "",
        "user": subscription["user"],
        "states": twap.states(self.world, subscription["user"]),
    },
    "allDexsClearinghouseState": lambda self, subscription: {
        "user": subscription["user"],
        "clearinghouseStates": [["", clearinghouse.clearinghouse_state(self.world, subscription["user"])]],
    },
    "webData3": lambda self, subscription: info_account.web_data_3(self.door, subscription["user"]),
    "webData2": lambda self, subscription: info_account.web_data(self.door, subscription["user"]),
}
_MARKET: Final = {
    "allMids",
    "assetCtxs",
    "allDexsAssetCtxs",
    "spotAssetCtxs",
    "l2Book",
    "activeAssetCtx",
    "candle",
}


def _funding_row(row: Json) -> Json:
    return {"time": row["time"]} | {name: each for name, each in row["delta"].items() if name != "type"}


def _key(subscription: Subscription) -> bytes:
    return orjson.dumps(subscription, option=orjson.OPT_SORT_KEYS)


def _echo(subscription: Subscription) -> Subscription:
    if subscription["type"] == "l2Book":
        return {"nSigFigs": None, "mantissa": None} | subscription
    return subscription
