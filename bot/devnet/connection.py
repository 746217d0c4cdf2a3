"""One WebSocket: what it subscribed to, and what waits to be sent on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson

from bot.devnet.faults import Faults

MOST_WAITING: Final = 20_000  # frames for one connection that doesn't read
MOST_WAITING_BYTES: Final = 2**24
Subscription = dict[str, Any]


class Frames(asyncio.Queue[bytes | None]):
    """Frames that wait, with their size; None closes the connection."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.bytes = 0

    def _put(self, item: bytes | None) -> None:
        super()._put(item)
        self.bytes += len(item or b"")

    def _get(self) -> bytes | None:
        item: bytes | None = super()._get()
        self.bytes -= len(item or b"")
        return item


class Connection:
    """One socket's subscriptions, and the frames that wait to be sent on it."""

    def __init__(self, faults: Faults) -> None:
        self.subscriptions: dict[bytes, Subscription] = {}
        self.frames = Frames()
        self.last_bbo: dict[str, Any] = {}
        self.abort: Callable[[], None] | None = None  # what ends it when nobody reads at the other end
        self._faults = faults
        self._late: bytes | None = None
        self._is_over = False

    def send(self, channel: str, data: Any) -> None:
        self.push(orjson.dumps({"channel": channel, "data": data}))

    def push(self, frame: bytes) -> None:
        """Queue a frame, or what the faults make of it."""
        faults = self._faults
        if self._is_over:
            return
        if self.frames.qsize() > MOST_WAITING or self.frames.bytes > MOST_WAITING_BYTES:
            self._give_up()
        elif faults.strikes("drop_socket"):
            self._is_over = True
            self.frames.put_nowait(None)
        elif faults.strikes("lose_frame"):
            return
        elif self._late is None and faults.strikes("reorder_frame"):
            self._late = frame
        else:
            self.frames.put_nowait(frame)
            if self._late is not None:
                self.frames.put_nowait(self._late)
                self._late = None
            if faults.strikes("duplicate_frame"):
                self.frames.put_nowait(frame)

    def _give_up(self) -> None:
        """Forget what waits, and end the connection without waiting for a reader."""
        self._is_over = True
        while not self.frames.empty():
            self.frames.get_nowait()
        self.frames.put_nowait(None)
        if self.abort is not None:
            self.abort()
