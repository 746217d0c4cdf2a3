"""What a run is played with: the devnet with a funded account, the signer's policy, the terms, and a fickle strategy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from benchmarks.standard_workload import OPEN_LIMITS
from bot.devnet.server import Server
from bot.devnet.start import Options, build
from bot.devnet.transfers import SPOT, give
from bot.model.instrument import Instrument
from bot.model.money import ZERO
from bot.model.panel import HOUR_MS, Field, Panel
from bot.model.spread import Spread
from bot.paper.policy import Bounds, listed_in, pairs_in, policy_text
from bot.pipeline.by_hand import SLOT
from bot.pipeline.mandate import Execution, Mandate, Sizing, Slot, Style
from bot.signer import signing
from bot.strategy import Opinion, Strategy, View
from bot.venues.hyperliquid.terms import Terms
from bot.venues.venue_clock import Pace
from tests.simulation.faults import Plan
from tests.simulation.network import URL
from tests.simulation.pairs import CAP_USD

FIRST_MS: Final = 1_790_000_000_000 // HOUR_MS * HOUR_MS
START_MS: Final = FIRST_MS + 50 * 60_000
HISTORY_H: Final = 30
EQUITY_USD: Final = Decimal(50_000)
SPOT_USD: Final = Decimal(40_000)
MOST_POSITION_USD: Final = Decimal(26_000)
WHIM_USD: Final = Decimal(11_000)
"""More than the strategy can want of one coin, less than twice that."""


@dataclass(frozen=True)
class Whim(Strategy):
    """Wants something else every hour until it is quiet, by nothing but seed and hour."""

    seed: int = 0
    last_ms: int = 0
    sells: bool = False  # a spread against spot can't be long

    def signals(self, panel: Panel) -> dict[str, Field]:
        return {"price": panel.mark}

    def forecast(self, view: View) -> Opinion:
        hour = min(view.time_ms, self.last_ms) // HOUR_MS
        drawn = hashlib.sha256(f"{self.seed} {hour}".encode()).digest()
        scores = [(byte % 5 - 2) / 2 for byte in drawn[: len(view.instruments)]]
        if self.sells:
            scores = [-abs(score) for score in scores]
        return view.opinion(np.array(scores), "a whim")


def devnet(seed: int, coins: tuple[str, ...], *, legs: bool = False) -> Server:
    """The exchange, whose time stands until it is told to pass."""
    server = build(
        Options(
            seed=seed, coins=coins, history_h=HISTORY_H, start_ms=START_MS, paused=True, flow=False, funded=0
        )
    )
    if not legs:
        server.world.spot.step = lambda moment: None  # type: ignore[method-assign]  # nobody trades spot here
    return server


def funded_account(
    server: Server, seed: int, secret: bytes, *, spot_usd: Decimal = ZERO
) -> tuple[signing.SigningKey, str]:
    """The key of a funded account, and the address of an agent that it has approved."""
    owner = signing.SigningKey(hashlib.sha256(f"owner {seed}".encode()).digest(), "testnet")
    agent = signing.SigningKey(secret, "testnet").address
    server.world.fund(owner.address, EQUITY_USD)
    if spot_usd:
        give(server.world, owner.address, SPOT, "USDC", spot_usd)
    until_ms = START_MS + 90 * 24 * HOUR_MS
    action = {
        **signing.approve_agent_action(agent, f"simulated valid_until {until_ms}", START_MS, "testnet"),
        "signatureChainId": signing.WALLET_CHAIN,
    }
    body = signing.body(action, START_MS, owner.sign_user(action), None, None)
    answer = server.carry_out(json.loads(body), START_MS)
    assert answer["status"] == "ok", answer
    return owner, agent


def signer_policy(server: Server, account: str, agent: str, plan: Plan) -> str:
    """As for a paper run, but with the computer's clock watched and orders of some seconds, as at a real venue."""
    bounds = Bounds(
        max_order_usd=2 * MOST_POSITION_USD,
        max_position_usd=MOST_POSITION_USD,
        max_gross_usd=2 * len(plan.coins) * MOST_POSITION_USD,
        turnover_usd_per_day=Decimal(plan.turnover_usd),
        collar_bps=600,
        orders_per_min=300,
        max_leverage=5,
    )
    listed = listed_in(server.info({"type": "metaAndAssetCtxs"}))
    listed |= pairs_in(server.info({"type": "spotMetaAndAssetCtxs"}))
    text = policy_text(account, agent, traded(plan), listed, bounds, 1.0)
    text = text.replace("simulated_clock = true\n", "")
    return text.replace("expires_ms = [1000, 86400000]", "expires_ms = [5000, 20000]")


def traded(plan: Plan) -> tuple[str, ...]:
    """Perpetuals, and the spot markets that some are held against."""
    return (*plan.coins, *(spot for _, spot in plan.legs))


def terms_of(account: str, coins: tuple[str, ...]) -> Terms:
    """How the adapter meets the venue."""
    return Terms(
        URL, "devnet", account, coins,
        leverage=4,  # not what the venue begins with, so that it has to be set
        history_h=24,
        pace=Pace(1.0, longest_sleep_s=1200.0),
    )  # fmt: skip


def mandate_of(plan: Plan, quiet_ms: int, instruments: Sequence[Instrument]) -> Mandate:
    """What is traded, and how."""
    by_name = {instrument.name: instrument for instrument in instruments}
    spreads = tuple(Spread(by_name[perp], by_name[spot]) for perp, spot in plan.legs)
    legs = frozenset(leg.name for spread in spreads for leg in spread.legs)
    return Mandate(
        (Slot("whim", Whim(plan.seed, quiet_ms, bool(spreads)), 1.0, spreads=spreads), SLOT),
        Sizing(position_size=0.08 if spreads else 0.15, no_trade_band=0.25, cooldown_h=1),
        OPEN_LIMITS,
        Execution(
            style=Style.MAKER if plan.maker else Style.TAKER,
            slippage_bps=plan.slippage_bps,
            stop_loss=plan.stop_loss,
            max_unhedged_usd=float(CAP_USD),
            unstopped=legs,
        ),
    )
