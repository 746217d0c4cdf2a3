"""First orders of many coins, under the policy that is drafted and within the venue's limits: none is lost to them."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.model.decision import OrderPlan
from bot.model.order import Order, OrderReport, OrderStatus, Side
from bot.signer import draft
from bot.signer.client import SignerClient
from bot.signer.engine import Peer
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.budget import WEIGHT_PER_MINUTE, WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.signing import SignerSocket
from bot.venues.hyperliquid.terms import Terms
from bot.venues.outbox import MemoryOutbox
from tests.signer.support import AGENT, START_MS, Desk
from tests.venues.hyperliquid.fake import FakeVenue, serving
from tests.venues.hyperliquid.test_client import Clockwork

ACCOUNT = "0x" + "aa" * 20
CAPITAL_USD = 40_000


class Link(SignerClient):
    """The daemon's own client to a signer in this process."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("in this process")
        self._desk = desk

    def _exchange(self, packet: bytes, number: int) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._desk.engine.handle(packet, Peer(1, 1)))
        return answer


def sent(
    folder: Path, lots: Sequence[int], *, answer_s: float = 0.0, weight: int | None = WEIGHT_PER_MINUTE
) -> tuple[Sequence[OrderReport], float]:
    """Reports of a first order for so many lots ($1) of each coin, and how long it took them. Time passes where somebody waits."""
    coins = [f"C{k}" for k in range(len(lots))]
    listed = tuple(draft.DraftCoin(coin, k, 2, Decimal(100), 20) for k, coin in enumerate(coins))
    text = draft.text(draft.Draft("testnet", ACCOUNT, None, AGENT, None, listed, CAPITAL_USD, 5, "a test"))
    venue, desk, clock = FakeVenue(ACCOUNT), Desk(folder, text), Clockwork()
    venue.agents.add(AGENT)
    venue.universe = [{"name": c, "szDecimals": 2, "maxLeverage": 20, "marginTableId": 20} for c in coins]
    venue.marks = dict.fromkeys(coins, Decimal(100))
    plain = venue.info, venue.exchange

    def pass_s(seconds: float) -> None:
        clock.now_s += seconds
        venue.now_ms = desk.wall_ms = START_MS + int(clock.now_s * 1000)
        desk.boot_ms = int(clock.now_s * 1000)

    def info(body: dict[str, Any]) -> Any:
        pass_s(answer_s)
        return plain[0](body)

    def exchange(body: dict[str, Any]) -> Any:
        pass_s(answer_s)
        return plain[1](body)

    async def sleep(seconds: float) -> None:
        pass_s(seconds)
        await asyncio.sleep(0)

    venue.info, venue.exchange = info, exchange  # type: ignore[method-assign]
    pass_s(1.0)
    desk.close()
    desk.open()  # at the venue's time

    async def run() -> tuple[Sequence[OrderReport], float]:
        async with serving(venue):
            terms = Terms(venue.url, "testnet", ACCOUNT, tuple(coins), history_h=1)
            client = Client(venue.url, budget=WeightBudget(weight, now_s=clock.now, sleep=sleep))
            signs = SignerSocket(Link(desk))
            signs.whose()  # as `connect` asks, which knows no clock of ours
            whole = HyperliquidVenue(
                terms,
                signs,
                client,
                await client.info({"type": "meta"}),
                MemoryOutbox(),
                sleep,
                clock.now,
            )
            try:
                await whole.open(None)
                client.budget.owe(400)  # what was asked for the hour's row
                began_s = clock.now_s
                orders = tuple(
                    Order(f"d1-{coin}-entry", coin, Side.BUY, each, Decimal("100.1"))
                    for coin, each in zip(coins, lots, strict=True)
                )
                return await whole.send(OrderPlan((), orders)), clock.now_s - began_s
            finally:
                await whole.close()
                desk.close()

    return asyncio.run(run())


@pytest.mark.parametrize(("answer_s", "weight"), [(0.05, WEIGHT_PER_MINUTE), (0.3, None)])
def test_facts_that_grew_old_while_leverages_were_set_are_told_again(
    tmp_path: Path, answer_s: float, weight: int | None
) -> None:
    reports, took_s = sent(tmp_path, [500] * 40, answer_s=answer_s, weight=weight)
    assert Counter(report.status for report in reports) == {OrderStatus.FILLED: 40}
    assert took_s > 15  # longer than the drafted policy bears prices


def test_wishes_beyond_their_limits_do_not_shut_the_signer_for_the_others(tmp_path: Path) -> None:
    reports, _ = sent(tmp_path, [1_400] * 25 + [500] * 5, weight=None)  # $1,333 may be held of a coin
    assert Counter(report.status for report in reports) == {OrderStatus.REJECTED: 25, OrderStatus.FILLED: 5}
