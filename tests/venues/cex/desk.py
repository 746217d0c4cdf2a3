"""An adapter on the devnet's Binance, with the real signer's rules and keys behind it, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from bot.devnet.cex.door import Door
from bot.devnet.server import Server
from bot.model.decision import Cancel, OrderPlan
from bot.model.instrument import Instrument
from bot.model.money import usd
from bot.model.order import Fill, FundingPayment, Order, OrderReport, Side
from bot.model.panel import HOUR_MS
from bot.signer import cex_policy
from bot.signer.audit import AuditLog
from bot.signer.cex_client import CexSigner
from bot.signer.cex_engine import CexEngine
from bot.signer.cex_signing import CexKey
from bot.signer.engine import Peer
from bot.signer.nonces import Nonces
from bot.venues.cex.adapter import CexVenue
from bot.venues.cex.terms import CexTerms
from bot.venues.outbox import MemoryOutbox
from bot.venues.venue import AccountState, Observation, VenueEvent

COINS = ("BTC", "HYPE")  # of eight hours and of four
START_MS = 1_790_000_000_000


def policy(agent: str, decimals: dict[str, int], **keys: Any) -> str:
    """A wide policy for the devnet."""
    head: dict[str, Any] = {
        "venue": "binance",
        "network": "devnet",
        "agent": agent,
        "allow": sorted(cex_policy.KINDS),
        "tif": ["Alo", "Gtc", "Ioc"],
        "receive_window_ms": 5_000,
        "cross": True,
        "simulated_clock": True,
        "max_gross_usd": 1_000_000,
        "max_open_orders": 40,
        "turnover_usd_per_day": 5_000_000,
        "orders_per_min": 600,
        "reduces_per_min": 300,
        "cancels_per_min": 900,
        "actions_per_day": 40_000,
        "reference_max_age_ms": 60_000,
        "reference_max_step_bps_per_s": 5_000,
        "max_order_usd": 100_000,
        "collar_bps": 500,
    } | keys
    lines = [f"{name} = {json.dumps(value)}" for name, value in head.items()]
    for symbol, size_decimals in decimals.items():
        lines += [
            f'[symbols."{symbol}"]', 'quote = "USDT"', "contract_size = 1", f"size_decimals = {size_decimals}",
            "band = [0.001, 1000000]", "max_position_usd = 500000", "max_leverage = 20",
            "collar_reduce_bps = 900", "collar_trigger_bps = 5000",
        ]  # fmt: skip
    return "\n".join(lines)


class SignerHere(CexSigner):
    """The signer's engine without its socket; `gone` is a signer that does not answer."""

    def __init__(self, folder: Path, account: dict[str, str], **keys: Any) -> None:
        super().__init__(folder / "nowhere")
        self.gone = False
        key = CexKey("binance", account["api_key"], account["api_secret"])
        rules = cex_policy.parse(policy(key.address, {"BTCUSDT": 3, "HYPEUSDT": 2}, **keys).encode())
        self.engine = CexEngine(rules, key, Nonces(folder / "nonce"), AuditLog(folder / "audit.jsonl"))

    def _exchange(self, packet: bytes, number: int) -> dict[str, Any]:
        if self.gone:
            return super()._exchange(packet, number)
        answer: dict[str, Any] = json.loads(self.engine.handle(packet, Peer(1, 1)))
        return answer


class Desk:
    """An adapter on the devnet's Binance, trading the account of the ready line."""

    def __init__(self, devnet: Server, folder: Path, **terms: Any) -> None:
        self.devnet = devnet
        site: Any = devnet.sites["cex"]
        self.url, self.account_keys = site.url, site.accounts[0]
        door: Any = devnet.world.neighbours["binance"]
        assert isinstance(door, Door)
        self.face = door.face
        self.signer = SignerHere(folder, self.account_keys)
        chosen: dict[str, Any] = {
            "url": self.url, "history_h": 24, "timeout_s": 5, "settle_s": 2, "resolve_s": 5, "poll_s": 0.02, "leverage": 5,
        }  # fmt: skip
        self.terms = CexTerms("binance", "devnet", COINS, **chosen | terms)
        self.outbox = MemoryOutbox()
        self.events: list[VenueEvent] = []
        self.number = 0
        self.venue: CexVenue

    async def connect(self, checkpoint: Any = None) -> None:
        self.venue = await CexVenue.connect(self.terms, self.signer, self.outbox)
        self.panel = await self.venue.open(checkpoint)
        self.hear()

    async def send(self, *orders: Order, cancels: tuple[Cancel, ...] = ()) -> list[OrderReport]:
        reports = list(await self.venue.send(OrderPlan(cancels, orders)))
        self.hear()
        return reports

    def hear(self) -> None:
        self.events += self.venue.take_events()

    async def look(self) -> AccountState:
        state = await self.venue.account()
        self.hear()
        return state

    async def observe(self) -> Observation:
        seen = await self.venue.observe()
        assert seen is not None
        self.events += seen.events
        return seen

    def order(self, coin: str, side: Side, usd_value: int, **keys: Any) -> Order:
        self.number += 1
        lots = self.instrument(coin).lots(Decimal(usd_value) / self.mark(coin))
        return Order(f"d{self.number}-binance:{coin}-entry", f"binance:{coin}", side, lots, **keys)

    def instrument(self, coin: str) -> Instrument:
        return next(each for each in self.venue.instruments if each.name == f"binance:{coin}")

    def mark(self, coin: str) -> Decimal:
        return self.face.exchange.marks[f"{coin}USDT"]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def agree(self, state: AccountState) -> None:
        """The adapter's books against the exchange's own, to what the wire rounds."""
        account = self.face.exchange.accounts[self.account_keys["api_key"]]
        assert abs(state.equity_usd - usd(account.equity_usd(self.face.exchange.marks))) <= Decimal("0.00001")
        assert state.deposits_usd == account.deposits_usd
        assert state.fees_usd == account.fees_usd == sum((f.fee_usd for f in self.of(Fill)), Decimal(0))
        payments = sum((p.usd for p in self.of(FundingPayment)), Decimal(0))
        assert state.funding_usd == account.funding_usd == payments
        held = {f"binance:{n.removesuffix('USDT')}": p.lots for n, p in account.positions.items()}
        assert {p.instrument.name: p.lots for p in state.positions} == held
        realised = sum((f.closed_pnl_usd for f in self.of(Fill)), Decimal(0))
        assert abs(realised - account.realised_usd) <= Decimal("0.00001")

    async def control(self, what: str, **body: Any) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.devnet.url}/devnet/{what}", json=body) as reply,
        ):
            assert reply.status == 200, await reply.text()

    async def to_next_hour(self) -> None:
        now_ms = self.devnet.world.now_ms
        await self.control("clock", advance_s=-(-(HOUR_MS - now_ms % HOUR_MS) // 1000) + 1)


def play(desk: Desk, scene: Callable[[Desk], Awaitable[None]]) -> None:
    """A scene on a connected desk, which hangs up at its end."""

    async def run() -> None:
        await desk.connect()
        try:
            await scene(desk)
        finally:
            await desk.venue.close()

    asyncio.run(run())
