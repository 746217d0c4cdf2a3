"""The real client over no network: a request reaches the devnet in this process, or meets what the dice say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

import aiohttp
import orjson

from bot.devnet.server import Server
from bot.devnet.wire import Malformed, ServerFault, decode
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from tests.simulation.faults import Dice
from tests.simulation.life import Life, Trace

URL: Final = "http://127.0.0.1:9"  # nobody listens there, and nobody is asked
_USER_LISTS: Final = ("userFillsByTime", "userFunding", "userNonFundingLedgerUpdates")
_USER_STATES: Final = ("clearinghouseState", "spotClearinghouseState", "frontendOpenOrders")
_GATEWAY: Final = b"<html><head><title>502 Bad Gateway</title></head></html>"
Answer = tuple[int, bytes]


class Watches(Protocol):
    """Told of each action as it leaves and when it has arrived."""

    def leaves(self, body: bytes) -> None: ...

    def arrived(self, body: bytes, answer: bytes) -> None: ...


class Network:
    """Between the daemon and the devnet; it outlives the daemon, and so does what is under way in it."""

    def __init__(self, server: Server, start_ms: int, dice: Dice, trace: Trace) -> None:
        self.server, self.dice, self.trace = server, dice, trace
        self.watch: Watches
        self._start_ms = start_ms
        self._loop = asyncio.get_running_loop()
        self._storm_until_s = 0.0
        self._lag_until_s = 0.0
        self._lag_since_ms = 0
        self._frozen: dict[str, bytes] = {}

    def now_ms(self) -> int:
        """Time by every clock that goes right."""
        return self._start_ms + int(self._loop.time() * 1000)

    def hour(self) -> None:
        """Once an hour: perhaps a storm begins."""
        if self.dice.happens(self.dice.plan.storm):
            self.storm(self.dice.between(30, 400))

    def storm(self, seconds: float) -> None:
        """From now on everything answers 429 for a while."""
        self.dice.disturbed(seconds)
        self._storm_until_s = self._loop.time() + seconds

    def _storms(self) -> bool:
        return self._loop.time() < self._storm_until_s and not self.dice.quiet

    # What the venue does

    def _answer(self, path: str, body: bytes) -> Answer:
        self.server.world.advance_to(self.now_ms())
        try:
            asked = decode(body)
            told = (
                self.server.carry_out(asked, self.now_ms())
                if path == "/exchange"
                else self.server.info(asked)
            )
        except Malformed:
            return 422, b"Failed to deserialize the JSON body into the target type"
        except ServerFault:
            return 500, b"null"
        if path == "/exchange":
            self.server.channels.after_action()
        return 200, orjson.dumps(told)

    def _arrives(self, body: bytes, answer: asyncio.Future[Answer] | None) -> None:
        """An action is at the venue, whoever still waits for its answer."""
        self._maybe_lag()
        found = self._answer("/exchange", body)
        self.trace.say(f"action {found[1][:70].decode()}", body + found[1])
        self.watch.arrived(body, found[1])
        if answer is not None and not answer.done():
            answer.set_result(found)

    def _maybe_lag(self) -> None:
        """What users are told stands still from just before an action on, for some seconds."""
        if self._loop.time() < self._lag_until_s:
            return
        forced = self.dice.forced.pop("lag", "")
        if not forced and not self.dice.happens(self.dice.plan.lag):
            return
        self.dice.struck["lag"] += 1
        self._lag_since_ms = self.now_ms()
        for kind in _USER_STATES:
            asked = {"type": kind, "user": self.account}
            self._frozen[kind] = self._answer("/info", json.dumps(asked).encode())[1]
        self.server.world.advance_to(
            self._lag_since_ms + 1
        )  # so that what comes now is later than what is told
        lasts_s = self.dice.between(0.2, self.dice.plan.longest_lag_s)
        self.dice.disturbed(lasts_s)
        self._lag_until_s = self._loop.time() + lasts_s

    account = ""

    def _read(self, asked: Mapping[str, Any], body: bytes) -> Answer:
        found = self._answer("/info", body)
        kind = asked["type"]
        if (
            self.dice.quiet
            or self._loop.time() >= self._lag_until_s
            or asked.get("user") != self.account
            or found[0] != 200
        ):
            return found
        if kind in _USER_STATES:
            return 200, self._frozen[kind]
        if kind in _USER_LISTS:
            return 200, orjson.dumps(
                [row for row in orjson.loads(found[1]) if row["time"] <= self._lag_since_ms]
            )
        if kind == "orderStatus":
            told = orjson.loads(found[1])
            if told["status"] == "order" and told["order"]["order"]["timestamp"] > self._lag_since_ms:
                return 200, b'{"status":"unknownOid"}'
        return found

    # What the client meets

    async def read(self, life: Life, asked: Mapping[str, Any], timeout_s: float) -> Answer:
        """The answer to an information request."""
        life.effect(f"read {asked['type']}")
        body, dice = json.dumps(asked).encode(), self.dice
        concerned = dice.plan.reads_of in {"", asked["type"]}
        fault = dice.draw(dice.plan.reads if concerned else {}, "read")
        await asyncio.sleep(dice.between(0.002, 0.04))
        if self._storms() or fault == "too_many":
            return 429, b"null"
        if fault == "cut":
            raise aiohttp.ServerDisconnectedError
        if fault == "silent":
            await asyncio.sleep(timeout_s)
            raise TimeoutError
        if fault == "bad_gateway":
            return 502, _GATEWAY
        if fault == "empty" and asked["type"] in (*_USER_LISTS, "frontendOpenOrders"):
            return 200, b"[]"
        found = self._read(asked, body)
        self.trace.say(f"read {asked['type']}", found[1])
        life.alive()
        return (200, found[1][:-3] + b"\xff") if fault == "garbled" else found

    async def act(self, life: Life, body: bytes, timeout_s: float) -> Answer:
        """The answer to an action. What has left arrives, even if whoever sent it dies meanwhile."""
        dice = self.dice
        fault = dice.draw(dice.plan.actions, "action")
        life.effect(f"before send {fault}")
        if fault == "not_connected":
            raise aiohttp.ConnectionTimeoutError
        self.watch.leaves(body)
        if fault == "lost_request":
            await asyncio.sleep(dice.between(0.01, 0.5))
            raise aiohttp.ServerDisconnectedError
        if fault in {"too_many", "refused_502"} or self._storms():
            await asyncio.sleep(dice.between(0.01, 0.5))
            return (502, _GATEWAY) if fault == "refused_502" else (429, b"null")
        delay_s = dice.between(0.01, 0.1)
        if fault == "late":
            # In time; too late for the answer and within the order's expiry; beyond that.
            waits = (
                dice.between(0.1, 3.0),
                timeout_s + dice.between(0.1, 4.8),
                timeout_s + dice.between(5.0, 40.0),
            )
            delay_s = dice.random.choice(waits)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._loop.call_later(delay_s, self._arrives, body, answer)
        if fault == "twice":
            self._loop.call_later(delay_s + dice.between(0.001, 20.0), self._arrives, body, None)
        life.effect("under way")
        async with asyncio.timeout(timeout_s):
            found = await answer
        life.effect("answered")
        if fault == "lost_reply":
            raise aiohttp.ServerDisconnectedError
        if fault == "executed_502":
            return 502, _GATEWAY
        return (200, found[1][:-3] + b"\xff") if fault == "garbled" else found


class SimulatedClient(Client):
    """The adapter's own client; only its way to the other side is another."""

    def __init__(self, network: Network, life: Life, timeout_s: float, per_minute: int | None) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(URL, timeout_s=timeout_s, budget=WeightBudget(per_minute, now_s=loop.time))
        self._network, self._life = network, life

    async def _post(self, path: str, body: bytes | Mapping[str, Any]) -> Answer:
        if isinstance(body, bytes):
            return await self._network.act(self._life, body, self._timeout_s)
        return await self._network.read(self._life, body, self._timeout_s)
