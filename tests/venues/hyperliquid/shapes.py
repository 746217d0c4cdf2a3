"""One small reply or frame of every shape this program reads, and the recorded ones where they are there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.errors import DataError
from bot.venues.hyperliquid import parse_orders
from bot.venues.hyperliquid.feed import read_frame
from bot.venues.hyperliquid.replies import FRAMES, INFO, read_reply
from bot.venues.hyperliquid.wire import decode

T = 1_780_000_000_000 // 3_600_000 * 3_600_000
H = 3_600_000
ME, OTHER = "0x" + "a" * 40, "0x" + "b" * 40
FILL = {
    "coin": "BTC", "px": "50000.0", "sz": "0.02", "side": "B", "time": T, "startPosition": "0.0", "dir": "Open Long",
    "closedPnl": "0.0", "hash": "0x1", "oid": 7, "crossed": True, "fee": "0.45", "tid": 9, "feeToken": "USDC",
}  # fmt: skip
RATE = {"coin": "BTC", "fundingRate": "0.0000125", "premium": "0.0001", "time": T}
CANDLE = {
    "t": T,
    "T": T + H - 1,
    "s": "BTC",
    "i": "1h",
    "o": "2",
    "h": "3",
    "l": "1",
    "c": "2",
    "v": "5",
    "n": 1,
}
COIN = {"name": "BTC", "szDecimals": 5, "maxLeverage": 40, "marginTableId": 40}
ORDER = {"coin": "BTC", "side": "B", "limitPx": "1.0", "sz": "1.0", "oid": 1, "timestamp": T, "origSz": "1.0"}
POSITION = {
    "coin": "BTC", "szi": "-0.5", "entryPx": "100.0", "leverage": {"type": "cross", "value": 3}, "positionValue": "50.0",
    "unrealizedPnl": "0.0", "liquidationPx": None, "marginUsed": "16.6",
}  # fmt: skip


def margin(equity: str = "950.0", raw: str = "1000.0", positions: tuple[Any, ...] = (POSITION,)) -> Any:
    summary = {"accountValue": equity, "totalRawUsd": raw}
    return {
        "marginSummary": summary,
        "crossMarginSummary": summary,
        "withdrawable": "1.0",
        "time": T,
        "assetPositions": [{"type": "oneWay", "position": each} for each in positions],
    }


def book(bids: list[str], asks: list[str]) -> Any:
    sides = [[{"px": price, "sz": "1.0", "n": 1} for price in side] for side in (bids, asks)]
    return {"coin": "BTC", "time": T, "levels": sides}


CONTEXT = {
    "funding": "0.0000125", "openInterest": "36368.34814", "prevDayPx": "65494.0", "dayNtlVlm": "2099966847.0508704185",
    "premium": "-0.0003663484", "oraclePx": "66330.3", "markPx": "66303.2", "midPx": "66305.5",
    "impactPxs": ["66305.0", "66306.0"], "dayBaseVlm": "31677.03298",
}  # fmt: skip
SILENT = CONTEXT | {"midPx": None, "premium": None, "impactPxs": None, "openInterest": "0.0"}
UNIVERSE: list[dict[str, Any]] = [
    {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
    {
        "szDecimals": 0,
        "name": "kPEPE",
        "maxLeverage": 10,
        "marginTableId": 10,
        "onlyIsolated": True,
        "marginMode": "noCross",
    },
    {"szDecimals": 2, "name": "OLD", "maxLeverage": 3, "marginTableId": 3, "isDelisted": True},
]
META = {
    "universe": UNIVERSE,
    "marginTables": [
        [56, {"description": "tiered 40x", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": 40}, {"lowerBound": "150000000.0", "maxLeverage": 20}]}],
    ],
    "collateralToken": 0,
}  # fmt: skip
CONTEXTS = [META, [CONTEXT, CONTEXT | {"markPx": "0.0021", "oraclePx": "0.0021", "midPx": "0.00211"}, SILENT]]
TRADE = {
    "coin": "BTC",
    "side": "B",
    "px": "66305.0",
    "sz": "0.01",
    "hash": "0x1",
    "time": T,
    "tid": 5,
    "users": [ME, OTHER],
}
FRONTEND_ORDER = ORDER | {
    "triggerCondition": "N/A", "isTrigger": True, "triggerPx": "0.9", "children": [], "isPositionTpsl": False, "reduceOnly": True,
    "orderType": "Stop Market", "tif": None, "cloid": "0x" + "1" * 32,
}  # fmt: skip
STATUS = {"order": FRONTEND_ORDER, "status": "open", "statusTimestamp": T}
PAYMENT = {"coin": "BTC", "usdc": "-1.5", "szi": "2.0", "fundingRate": "0.0001", "nSamples": None}
ISOLATED = POSITION | {
    "coin": "ETH", "szi": "1.0", "leverage": {"type": "isolated", "value": 20, "rawUsd": "-95.0"}, "positionValue": "100.0",
    "liquidationPx": "96.2", "marginUsed": "5.0",
}  # fmt: skip
TOKENS = [
    {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054", "isCanonical": True},
    {"name": "UBTC", "szDecimals": 5, "weiDecimals": 10, "index": 197, "tokenId": "0x8f254b963e8468305d409b33aa137c67", "isCanonical": False},
]  # fmt: skip
PAIR = {"tokens": [197, 0], "name": "@142", "index": 142, "isCanonical": False}
SPOT_CONTEXT = {
    "coin": "@142",
    "markPx": "66300.0",
    "midPx": "66301.0",
    "prevDayPx": "66000.0",
    "dayNtlVlm": "1.0",
}
BALANCE = {"coin": "USDC", "token": 0, "total": "14.6", "hold": "1.0", "entryNtl": "0.0"}
TRANSFERS = [
    {"time": T, "hash": "0x1", "delta": {"type": "deposit", "usdc": "100.0"}},
    {"time": T + 1, "hash": "0x2", "delta": {"type": "withdraw", "usdc": "10.0", "nonce": 1, "fee": "1.0"}},
    {"time": T + 2, "hash": "0x3", "delta": {"type": "subAccountTransfer", "usdc": "5.0", "user": ME, "destination": OTHER}},
]  # fmt: skip

REPLIES: Mapping[str, Any] = {
    "meta": META,
    "spotMeta": {"tokens": TOKENS, "universe": [PAIR]},
    "spotMetaAndAssetCtxs": [{"tokens": TOKENS, "universe": [PAIR]}, [SPOT_CONTEXT]],
    "perpDexs": [None, {"name": "xyz"}],
    "allPerpMetas": [META],
    "metaAndAssetCtxs": CONTEXTS,
    "allMids": {"BTC": "66305.5", "@142": "66300.0"},
    "l2Book": book(["99.0", "98.0"], ["100.0", "101.0"]),
    "recentTrades": [TRADE, TRADE | {"tid": 6}],
    "candleSnapshot": [CANDLE, CANDLE | {"t": T + H, "T": T + 2 * H - 1}],
    "fundingHistory": [RATE, RATE | {"time": T + H}],
    "predictedFundings": [
        ["BTC", [["BinPerp", None], ["HlPerp", {"fundingRate": "0.00002", "nextFundingTime": T, "fundingIntervalHours": 1}]]],
    ],
    "exchangeStatus": {"time": T, "specialStatuses": None},
    "clearinghouseState": margin("1050.0", positions=(POSITION, ISOLATED)),
    "spotClearinghouseState": {"balances": [BALANCE, BALANCE | {"coin": "UBTC", "token": 197}]},
    "openOrders": [ORDER],
    "frontendOpenOrders": [FRONTEND_ORDER],
    "orderStatus": {"status": "order", "order": STATUS},
    "historicalOrders": [STATUS, STATUS | {"status": "canceled"}],
    "userFills": [FILL, FILL | {"tid": 10}],
    "userFillsByTime": [FILL | {"liquidation": {"liquidatedUser": ME, "markPx": "1.0", "method": "market"}}],
    "userFunding": [{"time": T, "hash": "0x1", "delta": PAYMENT | {"type": "funding"}}],
    "userNonFundingLedgerUpdates": TRANSFERS,
    "userRateLimit": {"cumVlm": "1.0", "nRequestsUsed": 2, "nRequestsCap": 10_000, "nRequestsSurplus": 0},
    "vaultDetails": {"name": "v", "vaultAddress": ME, "leader": OTHER},
    "userRole": {"role": "subAccount", "data": {"master": OTHER}},
    "userAbstraction": "disabled",
    "extraAgents": [{"name": "bot", "address": OTHER, "validUntil": T}],
    "activeAssetData": {"user": ME, "coin": "BTC", "leverage": {"type": "cross", "value": 3}},
}  # fmt: skip
MESSAGES: Mapping[str, Any] = {
    "allMids": {"mids": {"BTC": "66305.5"}},
    "bbo": {"coin": "BTC", "time": T, "bbo": [{"px": "99.0", "sz": "1.0", "n": 1}, None]},
    "l2Book": REPLIES["l2Book"],
    "trades": [TRADE],
    "candle": CANDLE,
    "activeAssetCtx": {"coin": "BTC", "ctx": CONTEXT},
    "allDexsAssetCtxs": {"ctxs": [["", [CONTEXT, SILENT]], ["xyz", [CONTEXT]]]},
    "orderUpdates": [STATUS],
    "userFills": {"user": ME, "fills": [FILL], "isSnapshot": True},
    "userFundings": {"user": ME, "fundings": [PAYMENT | {"time": T}], "isSnapshot": True},
    "user": {"fills": [FILL]},
}
ANSWERS: Mapping[str, Any] = {
    "order": {"status": "ok", "response": {"type": "order", "data": {"statuses": [
        {"resting": {"oid": 5}}, {"filled": {"totalSz": "0.5", "avgPx": "2.0", "oid": 6}}, {"error": "no"}, "waitingForFill"]}}},
    "cancel": {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success", {"error": "no"}]}}},
    "done": {"status": "ok", "response": {"type": "default"}},
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A body and the way in which it is read; `kind` is the request's or the channel's (`ws …`) name, or `answer …`."""

    name: str
    body: bytes
    read: Callable[[bytes], Any]
    kind: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)


def asked(kind: str, body: Any) -> dict[str, Any]:
    """A request that `body` could answer."""
    first = body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else {}
    coin = str(first.get("coin", first.get("s", "BTC")))
    request = {"coin": coin, "interval": str(first.get("i", "1h"))}
    return {"type": kind, "user": ME, "coin": coin, "req": request}


def reply(name: str, request: Mapping[str, Any], body: Any) -> Shape:
    """A reply to a request."""
    return Shape(name, packed(body), lambda text: read_reply(request, text), str(request["type"]), request)


def packed(body: Any) -> bytes:
    """JSON without spaces, as the venue writes it."""
    return json.dumps(body, separators=(",", ":")).encode()


def made() -> list[Shape]:
    """A shape for every parser there is."""
    assert REPLIES.keys() == INFO.keys()
    assert MESSAGES.keys() == FRAMES.keys()
    readers: Mapping[str, Callable[[bytes], Any]] = {
        "order": lambda text: parse_orders.placed(decode(text, "answer"), 4),
        "cancel": lambda text: parse_orders.canceled(decode(text, "answer"), 2),
        "done": lambda text: parse_orders.done(decode(text, "answer")),
    }
    return [
        *(reply(kind, asked(kind, body), body) for kind, body in REPLIES.items()),
        *(frame(f"ws {channel}", {"channel": channel, "data": data}) for channel, data in MESSAGES.items()),
        *(Shape(f"answer {kind}", packed(body), readers[kind], f"answer {kind}") for kind, body in ANSWERS.items()),
    ]  # fmt: skip


def frame(name: str, value: Mapping[str, Any]) -> Shape:
    """A frame of the feed."""
    return Shape(name, packed(value), read_frame, f"ws {value['channel']}")


def recorded(folder: Path) -> list[Shape]:
    """The recorded replies and frames that this program reads, long lists cut to their first rows."""
    shapes = []
    for path in sorted(folder.glob("*/*.json")):
        value = json.loads(path.read_bytes())
        if isinstance(value, dict) and "request" in value and "response" in value:
            request, body = value["request"]["body"], value["response"]
        elif isinstance(value, dict) and "channel" in value:
            shapes.append(frame(path.stem, shortened(value)))
            continue
        else:
            kind = next((k for k in (path.stem, *path.stem.split("_")) if k in INFO), None)
            if kind is None:
                continue
            request, body = asked(kind, value), value
        if request["type"] in INFO:
            shapes.append(reply(path.stem, asked(request["type"], body) | request, shortened(body)))
    return [shape for shape in shapes if is_read(shape)]


def is_read(shape: Shape) -> bool:
    """Whether the shape is read as it is; some recorded ones are old, or make no sum once they are cut."""
    try:
        shape.read(shape.body)
    except DataError:
        return False
    return True


def shortened(value: Any, rows: int = 3) -> Any:
    """The value with every list cut to its first rows."""
    if isinstance(value, list):
        return [shortened(each, rows) for each in value[:rows]]
    if isinstance(value, dict):
        return {key: each if key == "marginTables" else shortened(each, rows) for key, each in value.items()}
    return value
