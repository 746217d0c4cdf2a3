"""The devnet's server: POST /info, POST /exchange, WebSocket /ws, and the controls below /devnet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import orjson
from aiohttp import WSMsgType, web

from bot.devnet.account_actions import ACTIONS
from bot.devnet.channels import Channels
from bot.devnet.connection import Connection
from bot.devnet.exchange_actions import Exchange
from bot.devnet.faults import Faults
from bot.devnet.info import MARKET
from bot.devnet.info_account import ACCOUNT
from bot.devnet.keeping import Keeper
from bot.devnet.limits import RateLimits, info_weight
from bot.devnet.wire import CANNOT_READ, Fields, Malformed, ServerFault, decode
from bot.devnet.world import World
from bot.errors import StateError

TICK_S: Final = 0.25
IDLE_S: Final = 60.0
LARGEST_BODY: Final = 2**20
_NULL: Final = b"null"


class Site(Protocol):
    """Another port of the same devnet."""

    async def start(self, host: str) -> None:
        """Listen. OSError if the port is taken."""

    async def stop(self) -> None:
        """Stop listening."""

    def tick(self) -> None:
        """What a moment of real time brings."""

    def shown(self) -> dict[str, Any]:
        """What a ready line says of it."""

    def status(self) -> dict[str, Any]:
        """What the status says of it."""


class Server:
    """One devnet on one port of this computer, and whatever else it serves on `sites`."""

    def __init__(self, world: World, *, mainnet: bool = False, rate_limits: bool = False) -> None:
        self.world = world
        self.door = Exchange(world, ACTIONS, mainnet=mainnet)
        self.faults = Faults()
        self.channels = Channels(self.door, self.faults)
        self.limits = RateLimits() if rate_limits else None
        self.funded: list[dict[str, str]] = []
        self.url = ""
        self.resumed = False
        self.keeper: Keeper | None = None
        self.failed: asyncio.Future[None] | None = None
        """Set while it runs; holds the error if it can't go on, as when what is kept can't be written any more."""
        self.more_routes: list[Callable[[web.Application, Server], None]] = []
        self.sites: dict[str, Site] = {}
        self.more_status: dict[str, Callable[[], Any]] = {}
        self.go_live: Callable[[], None] = lambda: None
        """To be called once before it listens, when everything is as it was."""
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """What is to run for as long as it listens."""
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and let time pass; the URL to reach it by. OSError if the port is taken."""
        self.failed = asyncio.get_running_loop().create_future()
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_post("/info", self._info)
        app.router.add_post("/exchange", self._exchange)
        app.router.add_get("/ws", self._socket)
        for add in self.more_routes:
            add(app, self)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://{host}:{bound}"
        for each in self.sites.values():
            await each.start(host)
        for work in (self._tick, *self.beside):
            task = asyncio.create_task(work())
            task.add_done_callback(self._ended)
            self._tasks.append(task)
        return self.url

    async def stop(self) -> None:
        """Close every connection and stop."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for connection in self.channels.connections:
            connection.frames.put_nowait(None)
        for each in self.sites.values():
            await each.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self.keeper is not None:
            self.keeper.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.world.tick()
            self.keep()
            if self.keeper is not None:
                self.keeper.tick()
            self.channels.tick(time.monotonic())
            for each in self.sites.values():
                each.tick()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A devnet whose time or market can't go on is of no use."""
        error = None if task.cancelled() else task.exception()
        if error is not None and self.failed is not None and not self.failed.done():
            self.failed.set_exception(error)

    def keep(self) -> None:
        """Have on disk what happened, if this devnet is kept; to be called before anything is shown.

        Raises StateError, and ends the devnet, if that can't be.
        """
        if self.keeper is None:
            return
        try:
            self.keeper.flush()
        except StateError as error:
            if self.failed is not None and not self.failed.done():
                self.failed.set_exception(error)
            raise

    # --- requests

    def info(self, body: dict[str, Any]) -> Any:
        """The reply to an information request. Raises Malformed."""
        fields = Fields(body)
        kind = fields.string("type")
        self.world.catch_up()
        if kind in MARKET:
            return MARKET[kind](self.world, fields)
        if kind in ACCOUNT:
            return ACCOUNT[kind](self.door, fields.address("user"), fields)
        raise Malformed

    def exchange(self, body: dict[str, Any]) -> Any:
        """The reply to a signed request. Raises Malformed."""
        wall_ms, used, answer = time.time_ns() // 1_000_000, self.door.nonces_used, None
        try:
            answer = self.carry_out(body, wall_ms)
        finally:
            if self.keeper is not None and self.door.nonces_used != used:
                self.keeper.action(body, wall_ms, answer)
            self.channels.after_action()
        if answer is None:
            raise Malformed
        return answer

    def carry_out(self, body: dict[str, Any], wall_ms: int) -> Any:
        """The same when the computer's clock says `wall_ms`, without a word to anybody; None if it is malformed."""
        self.world.wall_time_ms = wall_ms
        try:
            return self.door.answer(body)
        except Malformed:
            return None

    async def _info(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, is_action=False)

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, is_action=True)

    async def _answer(self, request: web.Request, *, is_action: bool) -> web.StreamResponse:
        body = await request.read()
        faults, harmed = self.faults, self.faults.concerns(request.path)
        if harmed:
            if delay_s := faults.delay_s():
                await asyncio.sleep(delay_s)
            if faults.strikes("rate_limited"):
                return _json(_NULL, 429)
            if faults.strikes("refused_502"):
                return _bad_gateway()
        try:
            asked = decode(body)
            if self.limits is not None and not self.limits.allow(
                request.remote or "", asked, is_action=is_action
            ):
                return _json(_NULL, 429)
            answer = self.exchange(asked) if is_action else self.info(asked)
            self.keep()
        except Malformed:
            self.keep()
            return web.Response(status=422, text=CANNOT_READ)
        except ServerFault:
            return _json(_NULL, 500)
        if self.limits is not None:
            self.limits.charge(request.remote or "", info_weight(asked, answer))
        if harmed and faults.strikes("lost_reply"):
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if harmed and faults.strikes("executed_502"):
            return _bad_gateway()
        return _json(orjson.dumps(answer), 200)

    # --- sockets

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.faults.chaos.refuse_sockets:
            return _bad_gateway()
        socket = web.WebSocketResponse(max_msg_size=LARGEST_BODY)
        await socket.prepare(request)
        connection = Connection(self.faults)
        connection.abort = None if request.transport is None else request.transport.abort
        self.channels.connections.add(connection)
        writer = asyncio.create_task(self._write(socket, connection))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._frame(connection, message.data)
        finally:
            self.channels.connections.discard(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    def _frame(self, connection: Connection, text: str) -> None:
        unreadable = f"Error parsing JSON into valid websocket request: {text}"
        try:
            asked = decode(text)
        except Malformed:
            connection.send("error", unreadable)
            return
        method, error = asked.get("method"), ""
        if method == "ping":
            connection.push(b'{"channel":"pong"}')
        elif method == "subscribe":
            self.world.catch_up()
            error = self.channels.subscribe(connection, asked.get("subscription"))
        elif method == "unsubscribe":
            error = self.channels.unsubscribe(connection, asked.get("subscription"))
        elif method == "post" and isinstance(asked.get("id"), int) and isinstance(asked.get("request"), dict):
            self._post(connection, asked["id"], asked["request"])
        else:
            error = unreadable
        if error:
            connection.send("error", error)

    def _post(self, connection: Connection, number: int, request: dict[str, Any]) -> None:
        kind, payload = request.get("type"), request.get("payload")
        answer: Any
        try:
            if not isinstance(payload, dict):
                raise Malformed
            if kind == "info":
                answer = {"type": payload.get("type"), "data": self.info(payload)}
            elif kind == "action":
                answer = self.exchange(payload)
            else:
                raise Malformed
        except (Malformed, ServerFault):
            kind, answer = "error", f"422 Unprocessable Entity: {CANNOT_READ}"
        connection.send("post", {"id": number, "response": {"type": kind, "payload": answer}})

    async def _write(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Send what waits; close after a minute of nothing to send, or when told to."""
        while True:
            try:
                if connection.frames.empty():
                    frame = await asyncio.wait_for(connection.frames.get(), IDLE_S)
                else:  # waiting with a limit costs more than sending
                    frame = connection.frames.get_nowait()
                self.keep()
            except (TimeoutError, StateError):
                frame = None
            if frame is None:
                await socket.close()
                return
            try:
                await socket.send_frame(frame, WSMsgType.TEXT)
            except (ConnectionError, RuntimeError):
                return


def _json(body: bytes, status: int) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _bad_gateway() -> web.Response:
    return web.Response(
        status=502, text="<html><head><title>502 Bad Gateway</title></head></html>", content_type="text/html"
    )
