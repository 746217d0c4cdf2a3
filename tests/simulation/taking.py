"""Somebody else takes a leg away at the venue: its owner by hand at another terminal, or the venue, which liquidates it."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from typing import Final

from bot.devnet import listing
from bot.model.margin import maintenance_margin
from bot.signer.signing import SigningKey, body
from tests.simulation.faults import Plan
from tests.simulation.network import Network
from tests.simulation.pairs import Apart, SpotSide

AGAIN_S: Final = 60.0  # where nothing is held that could be taken
FIRST_S: Final = 650.0  # soon after the first decision, of each half of a day
LAST_S: Final = 900.0
REACH: Final = Decimal("1.05")
SHORT_OF: Final = Decimal("0.85")
"""What an account is worth that the venue liquidates in the market, as a share of the margin that its positions need."""


class Taker:
    """Takes a leg in each half of a short day, now and then a part of it only. `taken` is how often."""

    def __init__(self, plan: Plan, network: Network, owner: SigningKey, spot: SpotSide, apart: Apart) -> None:
        self._kind, self._legs = plan.taken, dict(plan.legs)
        self._network, self._owner, self._spot, self._apart = network, owner, spot, apart
        self._world = network.server.world
        self._chance = random.Random(f"taking {plan.seed}")
        self._loop = asyncio.get_running_loop()
        self.taken = 0
        for begins_s in (0.0, plan.faulty_h * 3600.0):
            self._loop.call_at(begins_s + self._chance.uniform(FIRST_S, LAST_S), self._take, begins_s)

    def _take(self, begins_s: float) -> None:
        self._world.advance_to(self._network.now_ms())
        held = [perp for perp in self._legs if self._spot.lots(perp)]
        if not held:
            if self._loop.time() + AGAIN_S < begins_s + LAST_S:
                self._loop.call_later(AGAIN_S, self._take, begins_s)
            return
        self._apart.look()
        perp = self._chance.choice(held)
        self._apart.parted(perp)
        before = self._spot.lots(perp), self._spot.owned(self._legs[perp])
        if self._kind == "liquidated":
            self._liquidate(perp)
        else:
            self._trade(perp)
        after = self._spot.lots(perp), self._spot.owned(self._legs[perp])
        self._network.trace.say(f"a leg of {perp} is taken {self._kind}: {before} becomes {after}")
        self._network.server.channels.after_action()
        self.taken += before != after
        self._apart.look()

    def _trade(self, perp: str) -> None:
        """Close a leg, or half of it, by an order that the account's own key signs."""
        coin = self._chance.choice((perp, self._legs[perp]))
        lots = self._spot.lots(coin)
        size = Decimal(abs(lots) // self._chance.choice((1, 1, 2))).scaleb(-self._spot.decimals(coin))
        buys, mark, wire = lots < 0, self._spot.mark(coin), self._spot.wire(coin)
        price = listing.grid_of(self._world, wire).round_price(mark * REACH if buys else mark / REACH)
        order = {
            "a": listing.asset_of(self._world, wire), "b": buys, "p": f"{price.normalize():f}",
            "s": f"{size.normalize():f}", "r": False, "t": {"limit": {"tif": "Ioc"}},
        }  # fmt: skip
        action, nonce = {"type": "order", "orders": [order], "grouping": "na"}, self._network.now_ms()
        signature = self._owner.sign_l1(self._owner.connection_id(action, None, nonce, None))
        self._network.server.carry_out(json.loads(body(action, nonce, signature, None, None)), nonce)

    def _liquidate(self, perp: str) -> None:
        """For a moment the mark of one perpetual is so high that the account can't bear what it has sold of it."""
        exchange = self._world.exchange
        account, mark = exchange.accounts[self._spot.account], exchange.marks[perp]
        position = account.positions[perp]
        notional_usd = abs(position.notional_usd(mark))
        others_usd = account.maintenance_usd(exchange.marks) - maintenance_margin(
            position.instrument, notional_usd
        )
        spare_usd = account.cross_value_usd(exchange.marks) + notional_usd - SHORT_OF * others_usd
        # The margin that is needed grows with the position's notional, which is looked for.
        killing_usd = spare_usd
        for _ in range(20):
            killing_usd = spare_usd - SHORT_OF * maintenance_margin(position.instrument, killing_usd)
        exchange.set_marks({perp: mark * killing_usd / notional_usd}, self._world.now_ms)
        self._world.requote()
