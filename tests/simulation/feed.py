"""The feed without a socket: fills as the venue's frames tell them, late, twice, in another order, or not at all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from bot.devnet.world import World
from bot.venues.hyperliquid.feed import Hears, read_frame
from tests.simulation.faults import Dice
from tests.simulation.life import Life


class SimulatedFeed:
    """In place of the adapter's: the same frames, through the same parser, to the same ears."""

    def __init__(self, world: World, account: str, hears: Hears, life: Life, dice: Dice) -> None:
        self._world, self._account, self._hears = world, account, hears
        self._life, self._dice = life, dice
        self._timers: list[asyncio.TimerHandle] = []

    def start(self) -> None:
        self._world.listeners.append(self._happens)

    async def close(self) -> None:
        if self._happens in self._world.listeners:
            self._world.listeners.remove(self._happens)
        for timer in self._timers:
            timer.cancel()

    def _happens(self, channel: str, subject: str, data: Any) -> None:
        if channel != "userFills" or subject != self._account or self._life.is_dead:
            return
        frame = json.dumps({"channel": channel, "data": {"user": subject, "fills": [data]}})
        loop, dice = asyncio.get_running_loop(), self._dice
        for _ in range(dice.random.choice((0, 1, 1, 1, 2)) if not dice.quiet else 1):
            self._timers.append(loop.call_later(dice.between(0.0, 3.0), self._hear, frame))

    def _hear(self, frame: str) -> None:
        if not self._life.is_dead:
            channel, data, _ = read_frame(frame)
            self._hears(channel, data, 1)
