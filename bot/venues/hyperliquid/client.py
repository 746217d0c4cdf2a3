"""REST: one URL, a timeout on everything, and three kinds of failure that a caller can tell apart.

The SDK's client blocks, knows no reconnect and turns malformed replies into exceptions of its own; requests are plain
enough to be made here. Actions go over connections of their own, so that one cut while idle can't be taken for one
cut after sending.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from bot.errors import ConfigError, DataError, OutcomeUnknown, Refused, Unavailable
from bot.venues.hyperliquid.budget import (
    ORDERS_RESERVE,
    WeightBudget,
    weight_of,
    weight_of_batch,
    weight_of_rows,
)
from bot.venues.hyperliquid.replies import read_reply
from bot.venues.hyperliquid.wire import Node, decode

TIMEOUT_S: Final = 10.0
LARGEST_REPLY_BYTES: Final = 64 << 20

NOT_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
"""What aiohttp raises before the first byte of a request has left."""


def checked_url(url: str) -> str:
    """A URL without a trailing slash. ConfigError where it isn't one of http or https."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise ConfigError(f"{url!r} is not the URL of a venue; write it as https://host or http://host:port")
    return url.rstrip("/")


class Client:
    """`/info` and `/exchange` of one venue."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, budget: WeightBudget | None = None) -> None:
        self.url = checked_url(url)
        self.budget = budget or WeightBudget()
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=timeout_s)
        self._timeout_s = timeout_s
        self._reading: aiohttp.ClientSession | None = None
        self._acting: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Hang up."""
        for session in (self._reading, self._acting):
            if session is not None:
                await session.close()
        self._reading = self._acting = None

    async def info(self, request: Mapping[str, Any], *, urgent: bool = False, patient: bool = False) -> Any:
        """What the venue says, parsed; `urgent` and `patient` as the budget takes them.

        Unavailable where there is no clear answer, Refused where the venue can't make sense of the request, DataError
        where this program can't make sense of the answer.
        """
        await self.budget.take(weight_of(request), urgent=urgent, patient=patient)
        try:
            status, text = await self._post("/info", request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            status, text = await self._again(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(self._silent(request["type"], error)) from None
        kind = request["type"]
        if status == 429:
            self.budget.empty()
            raise Unavailable(f"the venue answered {kind} with 429, too many requests; asking slows down")
        if 400 <= status < 500:
            raise Refused(f"the venue could not read a {kind} request ({status}: {_start(text)})")
        if status != 200:
            raise Unavailable(f"the venue answered {kind} with {status}; trying again later")
        reply = read_reply(request, text)
        self.budget.owe(weight_of_rows(request, reply))
        return reply

    async def _again(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        """Once more: an idle connection that the venue has closed shows only when it is used."""
        self.budget.owe(weight_of(request))
        try:
            return await self._post("/info", request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(self._silent(request["type"], error)) from None

    async def make_room(self, actions: int = 1, *, urgent: bool = False) -> None:
        """Wait for the budget to have room for an action. Before it is signed, since a signed one has little time.

        Unavailable where that would take too long.
        """
        await self.budget.take(weight_of_batch(actions), urgent=urgent, reserve=ORDERS_RESERVE)

    async def exchange(self, body: bytes) -> Node:
        """The venue's answer to a signed body, for which `make_room` has made room; it is sent at most once.

        Refused: it was not taken in. Unavailable: it was not sent. OutcomeUnknown: it was, and there is no clear answer.
        """
        try:
            status, text = await self._post("/exchange", body)
        except NOT_SENT as error:
            raise Unavailable(self._silent("an action", error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutcomeUnknown(
                f"{self._silent('an action', error)}, after it was sent; it may have been carried out"
            ) from None
        if status == 429:
            self.budget.empty()
        if 400 <= status < 500 and status not in {408, 425, 429}:
            raise Refused(f"the venue could not read an action ({status}: {_start(text)})")
        if status != 200:
            raise OutcomeUnknown(
                f"the venue answered an action with {status}; it may have been carried out all the same"
            )
        try:
            return decode(text, "the answer to an action")
        except DataError as error:
            raise OutcomeUnknown(f"{error}; the action may have been carried out") from None

    async def _post(self, path: str, body: bytes | Mapping[str, Any]) -> tuple[int, bytes]:
        if isinstance(body, bytes):
            session = self._acting = self._acting or self._session(keep=False)
            posting = session.post(
                f"{self.url}{path}",
                data=body,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            )
        else:
            session = self._reading = self._reading or self._session(keep=True)
            posting = session.post(f"{self.url}{path}", json=body, allow_redirects=False)
        async with posting as response:
            text = b"".join([chunk async for chunk in _limited(response)])
            return response.status, text

    def _session(self, *, keep: bool) -> aiohttp.ClientSession:
        connector = (
            aiohttp.TCPConnector(force_close=True) if not keep else aiohttp.TCPConnector(keepalive_timeout=30)
        )
        return aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False)

    def _silent(self, what: str, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return f"the venue did not answer {what} within {self._timeout_s:g} s"
        return f"the connection to {self.url} failed at {what} ({str(error)[:120] or type(error).__name__})"


async def _limited(response: aiohttp.ClientResponse) -> Any:
    """The body in pieces, cut off where it grows beyond reason."""
    size = 0
    async for chunk in response.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > LARGEST_REPLY_BYTES:
            raise aiohttp.ClientPayloadError("the reply is larger than any should be")
        yield chunk


def _start(text: bytes) -> str:
    return text[:120].decode("utf-8", "replace")
