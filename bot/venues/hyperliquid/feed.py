"""The WebSocket: what the venue tells of itself, kept alive, with every gap reported.

Nothing that comes this way is needed for correctness. A frame only brings early what REST will say as well, and each
connection begins with a gap that REST must fill: frames carry no sequence number, so one that is lost leaves no trace.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog

from bot.errors import DataError, VenueError
from bot.venues.hyperliquid.client import checked_url
from bot.venues.hyperliquid.replies import parse_frame
from bot.venues.hyperliquid.wire import Node, decode

log = structlog.get_logger("hedgerow")

LARGEST_FRAME_BYTES: Final = 16 << 20
CONTROL: Final = ("pong", "subscriptionResponse", "error", "post")
MESSAGES_PER_MINUTE: Final = (
    1800  # the venue takes 2,000 from one address, pings and all connections included
)
CONNECTIONS_PER_MINUTE: Final = 20  # of the 30 that it allows
MINUTE_S: Final = 60.0

Subscription = Mapping[str, Any]
Hears = Callable[[str, Any, int], None]
"""Called with channel, parsed data and the number of the connection it came over."""
Mends = Callable[[], Awaitable[None]]
"""Called after each connection is complete, to fetch by REST what may have been missed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, seconds. The venue hangs up after 60 s of hearing nothing.

    `stale_s` is how long a stream that never rests may be silent on an otherwise living connection.
    """

    ping_s: float = 20.0
    silence_s: float = 45.0
    connect_s: float = 10.0
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0
    stale_s: float = 120.0


def read_frame(text: str | bytes) -> tuple[str, Any, Node]:
    """A frame's channel, what it says (None where that is between client and server only), and the frame itself."""
    frame = decode(text, "a frame")
    channel = frame["channel"].name()
    data = None if channel in CONTROL else parse_frame(channel, Node(frame["data"].value, channel))
    return channel, data, frame


def key_of(kind: str, about: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a subscription and its frames have in common: the kind, of which coin or whom, at which interval."""
    whom = str(about.get("coin", about.get("s", about.get("user", ""))))
    return kind, whom.lower() if whom[:2] == "0x" else whom, str(about.get("interval", about.get("i", "")))


class Feed:
    """One connection, made again whenever it ends, with the same subscriptions."""

    def __init__(
        self,
        url: str,
        subscriptions: Sequence[Subscription],
        hears: Hears,
        mends: Mends,
        *,
        restless: Sequence[str] = (),
        patience: Patience | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = "ws" + checked_url(url).removeprefix("http") + "/ws"
        self.connection = 0  # how many there have been; 0 before the first
        self.refused_frames = 0
        self.live = asyncio.Event()  # subscribed, and what was missed is fetched
        self._subscriptions = tuple(subscriptions)
        self._wanted = {key_of(str(each["type"]), each) for each in subscriptions}
        most = MESSAGES_PER_MINUTE // max(1, len(self._subscriptions))
        self._connected_s: deque[float] = deque(maxlen=max(1, min(most, CONNECTIONS_PER_MINUTE)))
        self._hears, self._mends = hears, mends
        self._restless = frozenset(restless)
        self._patience = patience or Patience()
        self._chance = chance
        self._task: asyncio.Task[None] | None = None
        self._heard_s: dict[str, float] = {}

    def start(self) -> None:
        """Connect, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="hyperliquid feed")

    async def close(self) -> None:
        """Hang up and stay away."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.live.clear()

    def age_s(self, channel: str) -> float:
        """Seconds since a channel was last heard; infinite before it was."""
        return time.monotonic() - self._heard_s.get(channel, float("-inf"))

    async def _run(self) -> None:
        retry_s = self._patience.first_retry_s
        while True:
            began_s = time.monotonic()
            try:
                await self._connection()
            except (aiohttp.ClientError, OSError, TimeoutError, VenueError, DataError) as error:
                log.warning("feed ended", reason=str(error)[:200] or type(error).__name__)
            except Exception:  # whatever it was, the feed comes back
                log.exception("feed failed")
            self.live.clear()
            if time.monotonic() - began_s > self._patience.longest_retry_s:
                retry_s = self._patience.first_retry_s
            await asyncio.sleep(max(retry_s * (0.5 + self._chance()), self._room_s()))
            retry_s = min(retry_s * 2, self._patience.longest_retry_s)

    def _room_s(self) -> float:
        """How long until the venue takes another connection with all its subscriptions."""
        if len(self._connected_s) < (self._connected_s.maxlen or 0):
            return 0.0
        return self._connected_s[0] + MINUTE_S - time.monotonic()

    async def _connection(self) -> None:
        """From connecting to the end of the connection, which is always an exception."""
        patience = self._patience
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_s)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            self._connected_s.append(time.monotonic())
            async with asyncio.timeout(patience.connect_s):
                socket = await session.ws_connect(self.url, max_msg_size=LARGEST_FRAME_BYTES, autoping=True)
            async with socket:
                self.connection += 1
                now_s = time.monotonic()
                self._heard_s = dict.fromkeys(self._restless, now_s)
                async with asyncio.timeout(patience.silence_s):
                    for each in self._subscriptions:
                        await socket.send_str(json.dumps({"method": "subscribe", "subscription": dict(each)}))
                pinging = asyncio.create_task(self._ping(socket))
                mending: asyncio.Task[None] | None = None
                waiting = set(self._wanted)
                try:
                    while True:
                        await self._frame(socket, waiting)
                        if mending is None and not waiting:
                            mending = asyncio.create_task(self._mend())
                        if mending is not None and mending.done():
                            mending.result()
                        self._watch(len(waiting), now_s)
                finally:
                    for task in filter(None, (pinging, mending)):
                        task.cancel()
                    await asyncio.gather(*filter(None, (pinging, mending)), return_exceptions=True)

    async def _mend(self) -> None:
        """Fetch what was missed, for as long as it takes: that REST fails is no reason to hang up."""
        retry_s = self._patience.first_retry_s
        while True:
            try:
                await self._mends()
            except (VenueError, DataError) as error:
                log.warning("gap not mended yet", reason=str(error)[:200])
            else:
                break
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, self._patience.longest_retry_s)
        self.live.set()

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await socket.send_str('{"method":"ping"}')
            await asyncio.sleep(self._patience.ping_s)

    def _watch(self, waiting: int, began_s: float) -> None:
        """End a connection that lives but does not tell what it should."""
        if waiting > 0 and time.monotonic() - began_s > self._patience.silence_s:
            raise DataError(f"{waiting} subscriptions were not confirmed; connecting again")
        for channel in self._restless:
            if self.age_s(channel) > self._patience.stale_s:
                raise DataError(f"channel {channel} has been silent for too long; connecting again")

    async def _frame(
        self, socket: aiohttp.ClientWebSocketResponse, waiting: set[tuple[str, str, str]]
    ) -> None:
        """Take one frame in; what it confirms is no longer waited for."""
        message = await socket.receive(timeout=self._patience.silence_s)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise aiohttp.ClientConnectionError(f"the venue hung up ({message.type.name.lower()})")
        try:
            channel, data, frame = read_frame(message.data)
            if channel == "error":
                return self._told_off(frame["data"].text(), waiting)
            if channel in CONTROL:
                if channel == "subscriptionResponse" and frame["data"]["method"].text() == "subscribe":
                    self._confirmed(frame["data"]["subscription"], waiting)
                return None
            self._expected(channel, frame["data"])
        except DataError as error:
            # What a frame would have said is asked for by REST in any case; here it is only left out.
            self.refused_frames += 1
            log.warning("frame refused", reason=str(error)[:200])
            return None
        self._heard_s[channel] = time.monotonic()
        self._hears(channel, data, self.connection)
        return None

    def _expected(self, channel: str, data: Node) -> None:
        """DataError where a frame is none that was asked for: another account's fills are not ours."""
        kind = "userEvents" if channel == "user" else channel
        says_whose = isinstance(data.value, Mapping) and kind != "userEvents"
        if not (
            key_of(kind, data.value) in self._wanted
            if says_whose
            else any(kind == k for k, _, _ in self._wanted)
        ):
            raise DataError(f"a frame of channel {channel!r} is of no subscription of ours")

    def _confirmed(self, subscription: Node, waiting: set[tuple[str, str, str]]) -> None:
        about = subscription.value if isinstance(subscription.value, Mapping) else {}
        waiting.discard(key_of(subscription["type"].text(), about))

    def _told_off(self, text: str, waiting: set[tuple[str, str, str]]) -> None:
        if not text.startswith(("Already subscribed", "Invalid subscription")):
            raise VenueError(f"the venue refused what the feed asked: {text[:200]}")
        # One stream less is made up for by REST; to hang up would cost all the others.
        log.warning("subscription refused", reason=text[:200])
        try:
            self._confirmed(decode(text[text.find("{") :], "a subscription"), waiting)
        except DataError:
            raise VenueError(f"the venue refused a subscription: {text[:200]}") from None
