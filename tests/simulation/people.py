"""Somebody at another terminal: orders by hand, and the kill ladder, asked for as the command line asks for them."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.simulation.faults import Dice

RESUME_S: Final = 300.0


def ask(journal: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Leave a wish for the daemon."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as other:
        other.execute(
            "INSERT INTO command (kind, content, asked_wall_ms) VALUES (?, ?, ?)",
            (kind, json.dumps(content), time.time_ns() // 1_000_000),
        )


async def trades(dice: Dice, journal: Path) -> None:
    """Orders by hand, in between."""
    while not dice.quiet:
        await asyncio.sleep(dice.between(300, 5000))
        wish = {
            "coin": dice.random.choice(dice.plan.coins),
            "side": dice.random.choice(("buy", "sell")),
            "usd": str(dice.random.choice((50, 800, 2000))),
        }
        ask(journal, "trade", wish)


class Ladder:
    """Halts, flattens and resumes over all lives of a run; once all is quiet, everything is allowed again."""

    def __init__(self, dice: Dice, life: int) -> None:
        self._dice = dice
        self._chance = random.Random(f"ladder {dice.plan.seed} {life}")

    async def climb(self, journal: Path, asked: Callable[[], None]) -> None:
        """As long as a life lasts."""
        chance = self._chance
        while not self._dice.quiet:
            await asyncio.sleep(chance.uniform(100, 6000))
            kind = chance.choice(("halt", "halt", "flatten", "resume"))
            content = {"state": chance.choice(("reducing", "halted"))} if kind == "halt" else {}
            ask(journal, kind, {**content, "why": "a whim"})
            asked()
        while True:
            ask(journal, "resume", {"why": "all is quiet"})
            asked()
            await asyncio.sleep(RESUME_S)
