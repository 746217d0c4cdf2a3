"""Whole agents that are told what can't be believed: replies that the parse edge refuses, in between those that are right.

From the moment that a reply is refused until the same question has been answered well, no order may leave.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from unittest import mock

import orjson

from bot.errors import DataError
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.hyperliquid.replies import read_reply
from tests.simulation import run as simulation
from tests.simulation.faults import Plan
from tests.simulation.life import Life
from tests.simulation.network import Answer, Network
from tests.venues.mutations import Mutator

SHARE: Final = 0.03
TRIES: Final = 8
RESTED_ON: Final = (
    "exchangeStatus",
    "metaAndAssetCtxs",
    "clearinghouseState",
    "frontendOpenOrders",
    "userFillsByTime",
)
"""What every order rests on."""


class SpoilingNetwork(Network):
    """Spoils some of what is told until it is refused, and counts orders that leave all the same."""

    def __init__(self, *given: Any, mutator: Mutator, tally: Counter[str]) -> None:
        super().__init__(*given)
        self.mutator, self.tally = mutator, tally
        self.waiting: set[str] = set()
        """Kinds whose last reply was refused."""

    def _read(self, asked: Mapping[str, Any], body: bytes) -> Answer:
        status, told = super()._read(asked, body)
        kind = str(asked["type"])
        if status == 200:
            self.waiting.discard(kind)
            if not self.dice.quiet and self.dice.random.random() < SHARE:
                told = self._spoilt(asked, told)
        return status, told

    def _spoilt(self, asked: Mapping[str, Any], told: bytes) -> bytes:
        for _ in range(TRIES):
            body = self.mutator.mutate(told)
            try:
                self._ask_of_coins(str(asked["type"]), read_reply(asked, body))
            except DataError:
                self.tally[f"refused {asked['type']}"] += 1
                self.waiting.add(str(asked["type"]))
                return body
        return told

    def _ask_of_coins(self, kind: str, said: Any) -> None:
        """DataError where a coin that is traded can't be read: so it is refused in the adapter."""
        if kind in {"meta", "metaAndAssetCtxs"}:
            known: Universe = said if kind == "meta" else said[0]
            for coin in self.dice.plan.coins:
                if coin in known.names:
                    known.instrument(coin)
                    _ = kind == "meta" or said[1][known.place(coin)]

    async def act(self, life: Life, body: bytes, timeout_s: float) -> Answer:
        """An order that leaves while what it rests on is in quarantine is what is looked for."""
        if orjson.loads(body)["action"]["type"] == "order":
            self.tally["orders"] += 1
            self.tally["from quarantine"] += bool(self.waiting & set(RESTED_ON))
        return await super().act(life, body, timeout_s)


def trade_on_spoilt_replies(lives: int, seed: int) -> dict[str, Any]:
    """So many agents for some hours each; what came of it."""
    tally: Counter[str] = Counter()
    violations: list[str] = []
    for number in range(lives):
        network = partial(SpoilingNetwork, mutator=Mutator(seed + number), tally=tally)
        with mock.patch.object(simulation, "Network", network):
            result = simulation.simulate(Plan(seed + number, faulty_h=4, quiet_h=2, stop_loss=0.03))
        violations += [str(each) for each in result.violations]
    refused = {name: count for name, count in tally.items() if name.startswith("refused")}
    return {
        "agents": lives,
        "replies_refused": sum(refused.values()),
        "kinds": len(refused),
        "orders": tally["orders"],
        "orders_from_quarantined_data": tally["from quarantine"],
        "violations": violations[:5],
    }
