"""A venue of two coins that does what it is told and misbehaves on demand; it knows no margin and no book.

Orders that take fill at mark at once, others rest. Faults are queued by path: each request takes the next one.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from aiohttp import WSMsgType, web

from bot.model.panel import HOUR_MS

START_MS = 1_780_000_000_000 // HOUR_MS * HOUR_MS
UNIVERSE: list[dict[str, Any]] = [
    {"name": "BTC", "szDecimals": 5, "maxLeverage": 40, "marginTableId": 40},
    {"name": "ETH", "szDecimals": 4, "maxLeverage": 25, "marginTableId": 25},
]
MARKS = {"BTC": Decimal(50_000), "ETH": Decimal(2_500)}
FEE = Decimal("0.00045")


def text(value: Decimal) -> str:
    plain = f"{value:f}"
    return plain if "." in plain else f"{plain}.0"


class FakeVenue:
    def __init__(self, account: str) -> None:
        self.account = account
        self.role = "user"
        self.leader = account
        self.now_ms = START_MS + 1_000
        self.opening = Decimal(10_000)
        self.raw_usd = Decimal(10_000)
        self.universe, self.marks = UNIVERSE, dict(MARKS)
        self.allows: Callable[[dict[str, Any]], bool] = lambda asked: True  # else it answers 429
        self.answered: Callable[[dict[str, Any], Any], None] = lambda asked, reply: None
        self.sizes: dict[str, Decimal] = {}
        self.costs: dict[str, Decimal] = {}
        self.fills: list[dict[str, Any]] = []
        self.fundings: list[dict[str, Any]] = []
        self.ledger: list[dict[str, Any]] = []
        self.orders: dict[int, dict[str, Any]] = {}
        self.statuses: dict[int, str] = {}
        self.leverage: dict[str, dict[str, Any]] = {}
        self.nonces: set[int] = set()
        self.settled_to_ms = START_MS
        self.oid = 1000
        self.requests: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self.faults: dict[str, deque[str]] = {"/info": deque(), "/exchange": deque()}
        self.hidden = 0  # how many orderStatus requests still find nothing
        self.late_fills = 0  # how many requests for fills still miss the newest
        self.answers: dict[str, Any] = {}  # replies given instead
        self.agents: set[str] = set()  # of the account
        self.sockets: list[web.WebSocketResponse] = []
        self.connections = 0
        self.deaf = False  # the next connection is not
        self.confirms: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda asked: [asked]
        self.subscribed: list[list[dict[str, Any]]] = []
        self.url = ""
        self.over = asyncio.Event()

    # The market and the account

    def ctx(self, coin: str) -> dict[str, Any]:
        mark = text(self.marks[coin])
        return {
            "funding": "0.0000125",
            "openInterest": "1000.0",
            "prevDayPx": mark,
            "dayNtlVlm": "1000000.0",
            "premium": "0.0001",
            "oraclePx": mark,
            "markPx": mark,
            "midPx": mark,
            "impactPxs": [mark, mark],
            "dayBaseVlm": "20.0",
        }

    def trade(self, coin: str, buys: bool, size: Decimal, oid: int, cloid: str | None) -> None:
        price, sign = self.marks[coin], 1 if buys else -1
        before = self.sizes.get(coin, Decimal(0))
        fee = (price * size * FEE).quantize(Decimal("0.000001"))
        self.raw_usd -= sign * size * price + fee
        self.sizes[coin] = before + sign * size
        if self.sizes[coin] == 0:
            del self.sizes[coin]
        self.fills.append(
            {
                "coin": coin,
                "px": text(price),
                "sz": text(size),
                "side": "B" if buys else "A",
                "time": self.now_ms,
                "startPosition": text(before),
                "dir": "Open Long",
                "closedPnl": "0.0",
                "hash": "0x" + f"{len(self.fills) + 1:064x}",
                "oid": oid,
                "crossed": True,
                "fee": text(fee),
                "tid": 5_000 + len(self.fills),
                "feeToken": "USDC",
                "twapId": None,
                **({"cloid": cloid} if cloid else {}),
            }
        )

    def pay(self, coin: str, usd: Decimal, time_ms: int) -> None:
        self.raw_usd += usd
        self.fundings.append(
            {
                "time": time_ms,
                "hash": "0x" + "0" * 64,
                "delta": {
                    "type": "funding",
                    "coin": coin,
                    "usdc": text(usd),
                    "szi": text(self.sizes[coin]),
                    "fundingRate": "0.0000125",
                    "nSamples": None,
                },
            }
        )

    def margin_state(self) -> dict[str, Any]:
        value = sum((size * self.marks[coin] for coin, size in self.sizes.items()), Decimal(0))
        summary = {
            "accountValue": text(self.raw_usd + value),
            "totalNtlPos": text(abs(value)),
            "totalRawUsd": text(self.raw_usd),
            "totalMarginUsed": "0.0",
        }
        positions = [
            {
                "type": "oneWay",
                "position": {
                    "coin": coin,
                    "szi": text(size),
                    "entryPx": text(self.marks[coin]),
                    "leverage": self.leverage.get(coin, {"type": "cross", "value": 20}),
                    "positionValue": text(abs(size) * self.marks[coin]),
                    "unrealizedPnl": "0.0",
                    "returnOnEquity": "0.0",
                    "liquidationPx": None,
                    "marginUsed": "0.0",
                    "maxLeverage": 40,
                },
            }
            for coin, size in self.sizes.items()
        ]
        return {
            "marginSummary": summary,
            "crossMarginSummary": summary,
            "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": summary["accountValue"],
            "time": self.now_ms,
            "assetPositions": positions,
        }

    def candles(self, coin: str, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
        mark = text(self.marks[coin])
        first = start_ms // HOUR_MS * HOUR_MS
        return [
            {"t": t, "T": t + HOUR_MS - 1, "s": coin, "i": "1h", "o": mark, "c": mark, "h": mark, "l": mark, "v": "2.0", "n": 1}
            for t in range(first, min(end_ms, self.now_ms) + 1, HOUR_MS)
        ]  # fmt: skip

    # The wire

    def info(self, body: dict[str, Any]) -> Any:
        kind = body["type"]
        if kind in self.answers:
            return self.answers[kind]

        def in_period(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            last_ms = body.get("endTime") or 1 << 62
            return [row for row in rows if body["startTime"] <= row["time"] <= last_ms]

        if kind == "userFillsByTime":
            rows = in_period(self.fills)
            self.late_fills, late = max(0, self.late_fills - 1), self.late_fills
            return rows[:-1] if late else rows
        simple: dict[str, Any] = {
            "meta": {"universe": self.universe, "marginTables": [], "collateralToken": 0},
            "metaAndAssetCtxs": [{"universe": self.universe, "marginTables": []}, [self.ctx(u["name"]) for u in self.universe]],
            "exchangeStatus": {"time": self.now_ms, "specialStatuses": None},
            "predictedFundings": [
                ["BTC", [["BinPerp", None], ["HlPerp", {"fundingRate": "0.00002", "nextFundingTime": self.now_ms, "fundingIntervalHours": 1}]]],
            ],
            "clearinghouseState": self.margin_state(),
            "frontendOpenOrders": [o for oid, o in self.orders.items() if self.statuses[oid] == "open"],
            "userRateLimit": {"cumVlm": "0.0", "nRequestsUsed": len(self.actions), "nRequestsCap": 10_000},
            "userRole": {"role": "agent", "data": {"user": self.leader}} if body.get("user") in self.agents else {"role": self.role},
            "vaultDetails": {"leader": self.leader},
            "extraAgents": [{"name": "desk", "address": each, "validUntil": None} for each in self.agents],
            "userAbstraction": "disabled",
            "spotClearinghouseState": {"balances": []},
        }  # fmt: skip
        if kind in simple:
            return simple[kind]
        if kind == "userFunding":
            return in_period(self.fundings)
        if kind == "userNonFundingLedgerUpdates":
            return in_period(self.ledger)
        if kind == "candleSnapshot":
            asked = body["req"]
            return self.candles(asked["coin"], asked["startTime"], asked["endTime"])
        if kind == "fundingHistory":
            first = -(-body["startTime"] // HOUR_MS) * HOUR_MS
            last = min(self.settled_to_ms, body["endTime"])
            return [
                {"coin": body["coin"], "fundingRate": "0.0000125", "premium": "0.0001", "time": t + 48}
                for t in range(first, last + 1, HOUR_MS)
            ]
        if kind == "activeAssetData":
            return {"leverage": self.leverage.get(body["coin"], {"type": "cross", "value": 20})}
        if kind == "orderStatus":
            return self.order_status(body["oid"])
        raise web.HTTPUnprocessableEntity(text="Failed to deserialize the JSON body into the target type")

    def order_status(self, asked: int | str) -> Any:
        if self.hidden:
            self.hidden -= 1
            return {"status": "unknownOid"}
        for oid, order in reversed(self.orders.items()):
            if asked in (oid, order["cloid"]):
                told = {"order": order, "status": self.statuses[oid], "statusTimestamp": order["timestamp"]}
                return {"status": "order", "order": told}
        return {"status": "unknownOid"}

    def exchange(self, body: dict[str, Any]) -> Any:
        action, nonce = body["action"], body["nonce"]
        if nonce in self.nonces:
            return {"status": "err", "response": f"Invalid nonce: duplicate nonce {nonce}"}
        self.nonces.add(nonce)
        self.actions.append(action)
        if action["type"] == "order":
            return self.answer("order", [self.place(order) for order in action["orders"]])
        if action["type"] == "cancel":
            return self.answer("cancel", [self.cancel(each["o"]) for each in action["cancels"]])
        if action["type"] == "updateLeverage":
            mode = "cross" if action["isCross"] else "isolated"
            coin = str(self.universe[action["asset"]]["name"])
            self.leverage[coin] = {"type": mode, "value": action["leverage"]}
        return {"status": "ok", "response": {"type": "default"}}

    @staticmethod
    def answer(kind: str, statuses: list[Any]) -> Any:
        return {"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}

    def place(self, wire: dict[str, Any]) -> Any:
        coin, size = str(self.universe[wire["a"]]["name"]), Decimal(wire["s"])
        if size * self.marks[coin] < 10:
            return {"error": f"Order must have minimum value of $10. asset={wire['a']}"}
        self.oid += 1
        trigger = wire["t"].get("trigger")
        takes = trigger is None and wire["t"]["limit"]["tif"] == "Ioc"
        kind = (
            "Limit" if trigger is None else "Stop Market" if trigger["tpsl"] == "sl" else "Take Profit Market"
        )
        self.orders[self.oid] = {
            "coin": coin,
            "side": "B" if wire["b"] else "A",
            "limitPx": wire["p"],
            "sz": wire["s"],
            "oid": self.oid,
            "timestamp": self.now_ms,
            "origSz": wire["s"],
            "triggerCondition": "N/A",
            "isTrigger": trigger is not None,
            "triggerPx": "0.0" if trigger is None else trigger["triggerPx"],
            "children": [],
            "isPositionTpsl": False,
            "reduceOnly": wire["r"],
            "orderType": kind,
            "tif": None if trigger is not None else wire["t"]["limit"]["tif"],
            "cloid": wire["c"],
        }
        self.statuses[self.oid] = "filled" if takes else "open"
        if not takes:
            return {"resting": {"oid": self.oid, "cloid": wire["c"]}}
        self.trade(coin, wire["b"], size, self.oid, wire["c"])
        return {"filled": {"totalSz": wire["s"], "avgPx": text(self.marks[coin]), "oid": self.oid}}

    def cancel(self, oid: int) -> Any:
        if self.statuses.get(oid) != "open":
            return {"error": "Order was never placed, already canceled, or filled. asset=0"}
        self.statuses[oid] = "canceled"
        return "success"

    def fire(self, oid: int) -> None:
        """A resting order or trigger fills at mark."""
        order = self.orders[oid]
        self.statuses[oid] = "filled"
        self.trade(order["coin"], order["side"] == "B", Decimal(order["sz"]), oid, order["cloid"])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append({"path": request.path, **body})
        faults = self.faults[request.path]
        fault = faults.popleft() if faults else ""
        does = self.info if request.path == "/info" else self.exchange
        if fault == "cut before":
            return self.cut(request)
        if fault == "502 before":
            return web.Response(status=502, text="<html>Bad Gateway</html>")
        if fault == "429" or not self.allows(body):
            return web.Response(status=429, text="null", content_type="application/json")
        if fault == "422":
            return web.Response(status=422, text="Failed to deserialize the JSON body into the target type")
        reply = does(body)
        self.answered(body, reply)
        if fault == "502 after":
            return web.Response(status=502, text="<html>Bad Gateway</html>")
        if fault == "cut after":
            return self.cut(request)
        if fault == "silent":
            await self.over.wait()
        if fault == "html":
            return web.Response(text="<html>hello</html>")
        return web.Response(text=json.dumps(reply), content_type="application/json")

    @staticmethod
    def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self.sockets.append(socket)
        mine: list[dict[str, Any]] = []
        self.subscribed.append(mine)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            frame = json.loads(message.data)
            if self.deaf and len(self.sockets) == 1:
                continue
            if frame["method"] == "ping":
                await socket.send_str('{"channel":"pong"}')
            else:
                mine.append(frame["subscription"])
                for each in self.confirms(frame["subscription"]):
                    data = {"method": "subscribe", "subscription": each}
                    await socket.send_json({"channel": "subscriptionResponse", "data": data})
        return socket

    async def tell(self, channel: str, data: Any) -> None:
        await self.sockets[-1].send_json({"channel": channel, "data": data})

    async def cut_sockets(self) -> None:
        for socket in self.sockets:
            if not socket.closed and socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()


@asynccontextmanager
async def serving(venue: FakeVenue, port: int = 0) -> AsyncIterator[FakeVenue]:
    app = web.Application()
    app.router.add_post("/info", venue.handle)
    app.router.add_post("/exchange", venue.handle)
    app.router.add_get("/ws", venue.socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    venue.url = f"http://127.0.0.1:{port}"
    try:
        yield venue
    finally:
        venue.over.set()
        await runner.cleanup()
