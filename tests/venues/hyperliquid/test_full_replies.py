"""A reply that is full is asked for again in two halves, and as urgently as the whole was."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bot.model.account import MarginMode
from bot.venues.attempts import Attempts
from bot.venues.hyperliquid import account_reader
from bot.venues.hyperliquid.account_reader import AccountReader, Setting
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.orders import Register
from bot.venues.outbox import MemoryOutbox
from tests.venues.hyperliquid.shapes import FILL, ME, PAYMENT, H, T, packed

PER_REPLY = 2
FILLS = [FILL | {"time": T + k, "tid": k} for k in range(7)]
FUNDINGS = [{"time": T + k * H, "hash": "0x1", "delta": PAYMENT | {"type": "funding"}} for k in range(7)]
DEPOSITS = [{"time": T + k, "hash": f"0x{k}", "delta": {"type": "deposit", "usdc": "1.0"}} for k in range(7)]
ROWS: dict[str, list[Any]] = {
    "userFillsByTime": FILLS,
    "userFunding": FUNDINGS,
    "userNonFundingLedgerUpdates": DEPOSITS,
}
Ask = Callable[..., Coroutine[Any, Any, list[Any]]]


class Waits(Exception):
    """For the budget."""


def reader(monkeypatch: pytest.MonkeyPatch, per_minute: int | None) -> AccountReader:
    """Of a venue that tells no more than so many rows at once."""
    for name in ("FILLS_PER_REPLY", "ROWS_PER_REPLY"):
        monkeypatch.setattr(account_reader, name, PER_REPLY)

    async def post(path: str, asked: Any) -> tuple[int, bytes]:
        rows = [row for row in ROWS[asked["type"]] if asked["startTime"] <= row["time"] <= asked["endTime"]]
        return 200, packed(rows[:PER_REPLY])

    async def sleep(_: float) -> None:
        raise Waits

    budget = WeightBudget(per_minute, now_s=lambda: 0.0, sleep=sleep)
    client = Client("http://127.0.0.1:9", budget=budget)
    monkeypatch.setattr(client, "_post", post)
    register = Register((), Attempts("devnet", ME, MemoryOutbox()))
    return AccountReader(
        ME, client, MarketData(client, ()), (), register, Books(ME, register), Setting(1, MarginMode.CROSS), asyncio.sleep
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["fills", "fundings", "ledger"])
def test_a_period_in_halves_has_every_row_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask: Ask = getattr(reader(monkeypatch, None), kind)
    rows = asyncio.run(ask(T - 5, T + 10 * H))
    times = [each.time_ms for each in rows]
    assert len(times) == 7
    assert times == sorted(set(times))


@pytest.mark.parametrize("kind", ["fills", "fundings", "ledger"])
def test_the_halves_of_what_is_urgent_do_not_wait_for_the_budget(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = reader(monkeypatch, 1_200)
    ours._client.budget.empty()
    ask: Ask = getattr(ours, kind)
    assert len(asyncio.run(ask(T - 5, T + 10 * H, urgent=True))) == 7
    with pytest.raises(Waits):
        asyncio.run(ask(T - 5, T + 10 * H))
