"""The server of the devnet's Binance: REST below /fapi, user streams, and the devnet's controls on this port too."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from aiohttp import WSMsgType, web

from bot.devnet import controls
from bot.devnet.cex.authentication import Clock, Rejected, authenticate, secret_of
from bot.devnet.cex.door import DELEVERAGE, FAUCET, INTERVAL, PUBLIC, SIGNED, Door
from bot.devnet.cex.limits import CexLimits, TooMuch
from bot.devnet.cex.parameters import Parameters
from bot.devnet.cex.records import Json
from bot.devnet.cex.schedule import INTERVALS_H
from bot.devnet.connection import Connection
from bot.devnet.server import LARGEST_BODY, Server
from bot.devnet.wire import Malformed, decode
from bot.errors import Refused, StateError
from bot.model.money import MICRO_USD

NAME: Final = "binance"
LISTEN_KEY: Final = "/fapi/v1/listenKey"
LISTEN_S, PING_S = 3600.0, 180.0


class CexServer:
    """The second port of a devnet, of the same process, clock and faults as the first."""

    def __init__(self, server: Server, door: Door, port: int) -> None:
        self.url = ""
        self.accounts: list[dict[str, str]] = []  # those that were opened at the start
        self._server, self._door, self._port = server, door, port
        self._fastest = 1.0  # that its time has run: who signed for a window in that time goes on doing so
        self._limits = CexLimits(enforced=server.limits is not None)
        self._streams: dict[str, tuple[str, float]] = {}  # listen key → API key, and until when it is good
        self._listening: dict[str, set[Connection]] = {}  # by API key
        self._runner: web.AppRunner | None = None
        door.face.said = self._say

    async def start(self, host: str) -> None:
        """Listen. OSError if the port is taken."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_get("/ws/{key}", self._socket)
        app.router.add_get("/private/ws", self._socket)
        app.router.add_route("*", "/devnet/{what}", self._control)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, self._port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening; the first server closes the sockets."""
        if self._runner is not None:
            await self._runner.cleanup()

    def shown(self) -> dict[str, Any]:
        """What a ready line says of it: where it is, and the account that was opened at the start."""
        return self._address() | {"accounts": self.accounts}

    def status(self) -> dict[str, Any]:
        """Where it is, what is listed, and how many accounts there are."""
        face = self._door.face
        return self._address() | {"symbols": list(face.listed), "accounts": len(face.secrets)}

    def _address(self) -> dict[str, Any]:
        return {"url": self.url, "ws": self.url.replace("http", "ws", 1)}

    # --- requests

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode("utf-8", "replace")
        faults, path = self._server.faults, request.path
        harmed = faults.concerns(path)
        if harmed:
            if delay_s := faults.delay_s():
                await asyncio.sleep(delay_s)
            if faults.strikes("rate_limited"):
                return _json(TooMuch(429, 1).body(), 429, {"Retry-After": "1"})
            if faults.strikes("refused_502"):
                return _bad_gateway()
        query = request.raw_path.partition("?")[2]
        key = request.headers.get("X-MBX-APIKEY", "")
        headers: dict[str, str] = {}
        try:
            headers |= self._charge(request.method, path, request.remote or "", key)
            answer, status = self.ask(request.method, path, query, body, key), 200
        except TooMuch as refusal:
            answer, status = refusal.body(), refusal.status
            headers["Retry-After"] = str(refusal.wait_s)
        except Rejected as refusal:
            answer, status = refusal.body(), refusal.status
        self._server.keep()
        if harmed and faults.strikes("lost_reply"):
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if harmed and faults.strikes("executed_502"):
            return _bad_gateway()
        return _json(answer, status, headers)

    def _charge(self, method: str, path: str, address: str, key: str) -> dict[str, str]:
        public, signed = PUBLIC.get(path) if method == "GET" else None, SIGNED.get((method, path))
        weight = public[1] if public else signed[1] if signed else 1
        is_order = method == "POST" and path in {"/fapi/v1/order", "/fapi/v1/algoOrder"}
        return self._limits.charge(address, weight, key if is_order else "")

    def ask(self, method: str, path: str, query: str, body: str, key: str) -> Any:
        """The answer to a request. Raises Rejected."""
        world, face = self._server.world, self._door.face
        world.catch_up()
        if method == "GET" and path in PUBLIC:
            return PUBLIC[path][0](face, Parameters(_read(query)))
        if path == LISTEN_KEY:
            return self._listen_key(method, key)
        if (method, path) not in SIGNED:
            raise Rejected(-5000, f"Path {path}, Method {method} is invalid", 404)
        self._fastest = max(self._fastest, world.speed)
        devnet_clock = Clock(world.now_ms, self._fastest)
        parameters = authenticate(face.secrets, key, query, body, time.time_ns() // 1_000_000, devnet_clock)
        if method == "GET":
            return self._door.carry_out(method, path, key, parameters)
        return self._change(method, path, key, parameters)

    def _change(self, method: str, path: str, key: str, parameters: dict[str, str]) -> Any:
        """Carry out what changes something, and write it down."""
        refused: Rejected | None = None
        try:
            answer = self._door.carry_out(method, path, key, parameters)
        except Rejected as refusal:
            refused, answer = refusal, refusal.body()
        if self._server.keeper is not None:
            self._server.keeper.beside(NAME, [method, path, key, parameters], answer)
        if refused is not None:
            raise refused
        return answer

    # --- user streams

    def _listen_key(self, method: str, key: str) -> Any:
        secret_of(self._door.face.secrets, key)
        current = next((name for name, (owner, _) in self._streams.items() if owner == key), None)
        until_s = time.monotonic() + LISTEN_S
        if method == "POST":
            if current is None:
                seed = f"{key} {time.time_ns()}"
                current = hashlib.sha256(seed.encode()).hexdigest()
            self._streams[current] = (key, until_s)
            return {"listenKey": current}
        if current is None:
            raise Rejected(-1125, "This listenKey does not exist.")
        if method == "PUT":
            self._streams[current] = (key, until_s)
            return {"listenKey": current}
        if method == "DELETE":
            self._close(current)
            return {}
        raise Rejected(-5000, f"Path {LISTEN_KEY}, Method {method} is invalid", 404)

    def tick(self) -> None:
        """End streams whose listen key was not kept alive."""
        now_s = time.monotonic()
        for name in [name for name, (_, until_s) in self._streams.items() if until_s <= now_s]:
            key = self._streams[name][0]
            self._say(key, {"e": "listenKeyExpired", "E": self._door.face.now_ms, "listenKey": name})
            self._close(name)

    def _close(self, name: str) -> None:
        key, _ = self._streams.pop(name)
        for connection in self._listening.pop(key, set()):
            connection.frames.put_nowait(None)

    def _say(self, key: str, event: Json) -> None:
        if self._server.faults.chaos.stale_feeds:
            return
        for connection in self._listening.get(key, ()):
            connection.push(orjson.dumps(event))

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("key") or request.query.get("listenKey", "")
        if self._server.faults.chaos.refuse_sockets:
            return _bad_gateway()
        if name not in self._streams:
            return _json(Rejected(-1125, "This listenKey does not exist.").body(), 400)
        key, _ = self._streams[name]
        socket = web.WebSocketResponse(max_msg_size=LARGEST_BODY)
        await socket.prepare(request)
        connection = Connection(self._server.faults)
        connection.abort = None if request.transport is None else request.transport.abort
        everyone = self._server.channels.connections
        everyone.add(connection)
        self._listening.setdefault(key, set()).add(connection)
        writer = asyncio.create_task(self._write(socket, connection))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    _frame(connection, message.data)
        finally:
            everyone.discard(connection)
            self._listening.get(key, set()).discard(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    async def _write(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Send what waits, and a ping where nothing did for a while; close when told to."""
        while True:
            try:
                frame = await asyncio.wait_for(connection.frames.get(), PING_S)
                self._server.keep()
            except TimeoutError:
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await socket.ping()
                continue
            except StateError:
                frame = None
            if frame is None:
                await socket.close()
                return
            try:
                await socket.send_frame(frame, WSMsgType.TEXT)
            except (ConnectionError, RuntimeError):
                return

    # --- controls

    async def _control(self, request: web.Request) -> web.Response:
        known: dict[tuple[str, str], controls.Control] = {
            ("POST", "faucet"): self._faucet,
            ("POST", "clock"): controls.set_clock,
            ("GET", "clock"): controls.clock,
            ("POST", "chaos"): controls.set_chaos,
            ("GET", "chaos"): controls.chaos,
            ("GET", "status"): controls.status,
            ("POST", "adl"): self._deleverage,
            ("POST", "funding"): self._change_interval,
        }
        return await controls.respond(self._server, request, known)

    def _faucet(self, server: Server, body: dict[str, Any]) -> Any:
        """`{"api_key"?, "usdt"}`: credit an account, or a new one, whose secret is in the reply."""
        key, given = "", body.get("usdt", 0)
        if "api_key" in body:
            key = self._key(body)
        try:
            amount = Decimal(str(given))
        except InvalidOperation:
            raise Refused(f"usdt must be a number, found {given!r}") from None
        if isinstance(given, bool) or not amount.is_finite() or not 0 <= amount <= controls.LARGEST_GIFT_USD:
            raise Refused(f"usdt must be from 0 to {controls.LARGEST_GIFT_USD}, found {given!r}")
        if amount < MICRO_USD and (key or amount):
            raise Refused(f"usdt must be above 0, found {given!r}")
        server.world.catch_up()
        return self._change("POST", FAUCET, key, {"usdt": f"{amount:f}"})

    def _key(self, body: dict[str, Any]) -> str:
        key = body.get("api_key")
        if not isinstance(key, str) or key not in self._door.face.secrets:
            raise Refused("no account has this api_key; POST /devnet/faucet without one opens an account")
        return key

    def _symbol(self, body: dict[str, Any]) -> str:
        symbol, listed = body.get("symbol"), self._door.face.listed
        if not isinstance(symbol, str) or symbol not in listed:
            raise Refused(f"there is no symbol {symbol!r}; there are {', '.join(listed)}")
        return symbol

    def _deleverage(self, server: Server, body: dict[str, Any]) -> Any:
        """`{"api_key", "symbol"}`: close a position as an auto-deleveraging does."""
        key, symbol = self._key(body), self._symbol(body)
        server.world.catch_up()
        return self._change("POST", DELEVERAGE, key, {"symbol": symbol})

    def _change_interval(self, server: Server, body: dict[str, Any]) -> Any:
        """`{"symbol", "interval_h"}`: settle every so many hours from now on."""
        symbol, hours = self._symbol(body), body.get("interval_h")
        if isinstance(hours, bool) or hours not in INTERVALS_H:
            raise Refused(f"interval_h must be one of {INTERVALS_H}, found {hours!r}")
        server.world.catch_up()
        return self._change("POST", INTERVAL, "", {"symbol": symbol, "interval_h": str(hours)})


def _frame(connection: Connection, text: str) -> None:
    """What a client says on a user stream: to subscribe is answered, and changes nothing."""
    try:
        asked = decode(text)
    except Malformed:
        connection.push(orjson.dumps({"error": {"code": 3, "msg": "Invalid JSON"}}))
        return
    result: Any = [] if asked.get("method") == "LIST_SUBSCRIPTIONS" else None
    connection.push(orjson.dumps({"result": result, "id": asked.get("id")}))


def _read(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _json(answer: Any, status: int, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(answer), status=status, content_type="application/json", headers=headers
    )


def _bad_gateway() -> web.Response:
    return web.Response(
        status=502, text="<html><head><title>502 Bad Gateway</title></head></html>", content_type="text/html"
    )
