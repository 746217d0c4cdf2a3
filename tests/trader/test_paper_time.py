"""The time of a made-up market while legs are traded in it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.errors import Unavailable
from bot.paper import world
from bot.paper.world import TRADING_SPEED, World


def speeds(monkeypatch: pytest.MonkeyPatch, speed: float, *, lost: int = 0) -> list[float]:
    """What the devnet is asked for, in turn; of the first `lost` the reply does not come."""
    asked = list[float]()

    def post(_: str, path: str, body: Any) -> None:
        assert path == "/devnet/clock"
        asked.append(body["speed"])
        if len(asked) <= lost:
            raise Unavailable("no answer")

    async def trade() -> None:
        async with World("http://devnet", "0x", Path("socket"), speed).slowed():
            asked.append(0)

    monkeypatch.setattr(world, "post", post)
    if lost:
        with pytest.raises(Unavailable):
            asyncio.run(trade())
    else:
        asyncio.run(trade())
    return asked


@pytest.mark.parametrize(("speed", "asked"), [(3600.0, [TRADING_SPEED, 0, 3600.0]), (60.0, [0]), (1.0, [0])])
def test_a_quick_market_goes_slowly_meanwhile(
    monkeypatch: pytest.MonkeyPatch, speed: float, asked: list[float]
) -> None:
    assert speeds(monkeypatch, speed) == asked


def test_a_market_does_not_stay_slow_because_a_reply_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert speeds(monkeypatch, 3600.0, lost=1) == [TRADING_SPEED, 3600.0]
