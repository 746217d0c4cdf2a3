"""The adapter with the real signer behind its socket: what it is told it understands, what it forbids stays unsent."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ConfigError, Unavailable
from bot.model.decision import Cancel, OrderPlan
from bot.model.order import Order, OrderStatus, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.signer import policy
from bot.signer.audit import AuditLog
from bot.signer.client import Denied, SignerClient
from bot.signer.engine import Engine, Peer, VenueClock
from bot.signer.nonces import Nonces
from bot.signer.signing import SigningKey
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.signing import Facts, Holding, SignerSocket
from bot.venues.hyperliquid.terms import Terms
from bot.venues.outbox import MemoryOutbox
from bot.venues.venue_clock import Pace
from tests.venues.hyperliquid.fake import FakeVenue, serving
from tests.venues.hyperliquid.sdk_signer import KEY, SdkSigns
from tests.venues.hyperliquid.test_adapter import QUICK

ACCOUNT = "0x" + "aa" * 20
POLICY = f"""
network = "devnet"
simulated_clock = true
cross = true
account = "{ACCOUNT}"
agent = "{SdkSigns({}).address}"
allow = ["order", "cancel", "leverage", "fence"]
tif = ["Alo", "Gtc", "Ioc"]
max_gross_usd = 15000
max_open_orders = 40
turnover_usd_per_day = 50000
isolated_margin_usd_per_day = 1000
orders_per_min = 60
reduces_per_min = 30
cancels_per_min = 90
actions_per_day = 4000
expires_ms = [5000, 15000]
reference_max_age_ms = 3000
reference_max_step_bps_per_s = 50
max_order_usd = 2500
collar_bps = 600
collar_reduce_bps = 600
collar_trigger_bps = 2500

[coins.BTC]
asset = 0
size_decimals = 5
band = [40000, 250000]
max_position_usd = 10000
max_leverage = 5

[coins.ETH]
asset = 1
size_decimals = 4
band = [800, 12000.5]
max_order_usd = 500
max_position_usd = 8000
max_leverage = 4
"""
PACE = Pace()
BUY = Order("d1-BTC-entry", "BTC", Side.BUY, 2_000)  # $1,000
ETHER = Order("d1-ETH-entry", "ETH", Side.BUY, 4_000)  # $1,000, over its limit of $500


@contextmanager
def signer(folder: Path, text: str = POLICY, secret: bytes = bytes.fromhex(KEY[2:])) -> Iterator[Path]:
    """A signer's engine on a socket, served by a thread."""
    rules = policy.parse(text.encode())
    clock = VenueClock(rules, lambda: time.time_ns() // 1_000_000, lambda: time.monotonic_ns() // 1_000_000)
    nonces = Nonces(folder / "nonce")
    engine = Engine(rules, SigningKey(secret, "testnet"), nonces, AuditLog(folder / "audit.jsonl"), clock)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(folder / "s"))
    listening.listen()
    connections: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):  # hung up below
            while True:
                connection, _ = listening.accept()
                connections.append(connection)
                while packet := connection.recv(1 << 16):
                    connection.send(engine.handle(packet, Peer(1, 1)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield folder / "s"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        for each in [*connections, listening]:
            each.close()
        thread.join(5)
        nonces.close()


def play(
    folder: Path,
    scene: Callable[[HyperliquidVenue, FakeVenue], Awaitable[None]],
    *,
    account: str = ACCOUNT,
    text: str = POLICY,
    pace: Pace = PACE,
) -> None:
    venue = FakeVenue(account)
    venue.agents.add(SdkSigns({}).address)
    if account != ACCOUNT:
        venue.role, venue.leader = "vault", ACCOUNT

    async def run(path: Path) -> None:
        with SignerClient(path) as client:
            async with serving(venue):
                terms = Terms(
                    venue.url, "devnet", account, ("BTC", "ETH"), leverage=4, history_h=3, weight_per_minute=None,
                    fills_s=0.5, sending=QUICK, pace=pace,
                )  # fmt: skip
                adapter = await HyperliquidVenue.connect(terms, SignerSocket(client), MemoryOutbox())
                try:
                    await adapter.open(None)
                    await scene(adapter, venue)
                finally:
                    await adapter.close()

    with signer(folder, text) as path:
        asyncio.run(run(path))


def test_a_vault_of_the_policy_is_whose_books_are_read_and_for_whom_every_action_is(tmp_path: Path) -> None:
    vault = "0x" + "cc" * 20
    text = POLICY.replace('agent = "', f'vault = "{vault}"\nagent = "')

    async def scene(adapter: HyperliquidVenue, venue: FakeVenue) -> None:
        rest = replace(
            BUY, client_id="r", time_in_force=TimeInForce.ALO, limit_price=Decimal(49_000), lots=1_000
        )
        told = await adapter.send(OrderPlan(orders=(BUY, rest)))
        assert [each.status for each in told] == [OrderStatus.FILLED, OrderStatus.RESTING]
        await adapter.send(OrderPlan((Cancel(told[1].order_id, "r", "BTC", "moved"),)))
        sent = [each for each in venue.requests if each["path"] == "/exchange"]
        assert len(sent) == 4
        assert {each["vaultAddress"] for each in sent} == {vault}
        asked = [
            each
            for each in venue.requests
            if "user" in each and each["type"] not in {"userRole", "extraAgents"}
        ]
        assert {each["user"] for each in asked} == {vault}
        assert {each["user"] for each in venue.subscribed[-1] if "user" in each} == {vault}

    play(tmp_path, scene, account=vault, text=text)


@pytest.mark.parametrize(("allowed", "given_ms"), [("[5000, 15000]", 15_000), ("[40000, 50000]", 40_000)])
def test_an_order_is_given_a_life_that_the_policy_allows_however_fast_the_venue_runs(
    tmp_path: Path, allowed: str, given_ms: int
) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue) -> None:
        (report,) = await adapter.send(OrderPlan(orders=(BUY,)))
        assert report.status is OrderStatus.FILLED
        (sent,) = [each for each in venue.requests if each.get("action", {}).get("type") == "order"]
        life_ms = (
            sent["expiresAfter"] - sent["nonce"]
        )  # a nonce is the time, or a little above those before it
        assert given_ms - 10 < life_ms <= given_ms

    text = POLICY.replace("[5000, 15000]", allowed)
    play(tmp_path, scene, text=text, pace=Pace(1.4 if given_ms == 15_000 else 1.0))


def test_orders_triggers_and_cancels_pass_through_the_signer_as_the_venue_wants_them(tmp_path: Path) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue) -> None:
        rest = replace(
            BUY, client_id="r", time_in_force=TimeInForce.ALO, limit_price=Decimal(49_000), lots=1_000
        )
        told = await adapter.send(OrderPlan(orders=(BUY, rest)))
        assert [each.status for each in told] == [OrderStatus.FILLED, OrderStatus.RESTING]
        trigger = Trigger(TriggerKind.STOP, Decimal(45_000))
        stop = Order("s", "BTC", Side.SELL, 2_000, reduce_only=True, trigger=trigger, purpose=Purpose.STOP)
        cancel = Cancel(told[1].order_id, "r", "BTC", "moved")
        told = await adapter.send(OrderPlan((cancel,), (stop,)))
        assert [each.status for each in told] == [OrderStatus.CANCELED, OrderStatus.WAITING]
        assert [action["type"] for action in venue.actions] == [
            "updateLeverage",
            "order",
            "order",
            "cancel",
            "order",
        ]
        state = await adapter.account()
        assert state.view.lots.tolist() == [2_000, 0]
        (open_order,) = state.view.open_orders
        assert open_order.order == stop

    play(tmp_path, scene)


def test_an_order_over_the_policys_limit_comes_back_with_its_rule_and_the_others_go(tmp_path: Path) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue) -> None:
        first, second = await adapter.send(OrderPlan(orders=(ETHER, BUY)))
        assert (first.status, second.status) == (OrderStatus.REJECTED, OrderStatus.FILLED)
        assert "order_usd" in first.reason

    play(tmp_path, scene)


def test_a_price_outside_the_band_stops_that_coin_and_no_other(tmp_path: Path) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue) -> None:
        venue.marks["ETH"] = Decimal(100)
        first, second = await adapter.send(OrderPlan(orders=(replace(ETHER, lots=10_000), BUY)))
        assert (first.status, second.status) == (OrderStatus.REJECTED, OrderStatus.FILLED)
        assert "band" in first.reason

    play(tmp_path, scene)


def test_a_lost_order_is_fenced_by_the_signer_with_the_same_nonce(tmp_path: Path) -> None:
    async def scene(adapter: HyperliquidVenue, venue: FakeVenue) -> None:
        venue.faults["/exchange"].extend(["", "502 before"])
        (report,) = await adapter.send(OrderPlan(orders=(BUY,)))
        assert (report.status, report.reason) == (OrderStatus.REJECTED, "voided before it was carried out")

    play(tmp_path, scene)


def test_a_signer_that_is_gone_leaves_orders_unsent_and_says_so(tmp_path: Path) -> None:
    with SignerClient(tmp_path / "nobody") as client, pytest.raises(Unavailable, match="does not answer"):
        SignerSocket(client).whose()


def test_a_signer_for_another_account_is_a_config_error(tmp_path: Path) -> None:
    async def run(path: Path) -> None:
        venue = FakeVenue("0x" + "bb" * 20)
        with SignerClient(path) as client:
            async with serving(venue):
                terms = Terms(venue.url, "devnet", venue.account, ("BTC",))
                with pytest.raises(ConfigError, match="signs for the account"):
                    await HyperliquidVenue.connect(terms, SignerSocket(client), MemoryOutbox())

    with signer(tmp_path) as path:
        asyncio.run(run(path))


def test_a_signer_tells_that_it_is_locked_why_and_what_to_do(tmp_path: Path) -> None:
    with signer(tmp_path) as path, SignerClient(path) as client:
        signs = SignerSocket(client)
        assert signs.whose().problem == ""
        with pytest.raises(Denied, match="forbidden"):
            client.request("withdraw3")
        problem = signs.whose().problem
        assert problem.startswith("the signer is locked: it was asked for withdraw3; ")
        assert "`hedgerow signer unlock`" in problem
        with pytest.raises(Unavailable, match="hedgerow signer unlock"):
            signs.cancel([("BTC", 1)])


def test_a_signer_tells_that_its_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    logs: list[AuditLog] = []
    begin = AuditLog.__init__

    def watched(log: AuditLog, path: Path) -> None:
        begin(log, path)
        logs.append(log)

    monkeypatch.setattr(AuditLog, "__init__", watched)
    with signer(tmp_path) as path, SignerClient(path) as client:
        monkeypatch.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            logs[0].sync()
        assert SignerSocket(client).whose().problem == (
            "the signer's audit log cannot be written: No space left on device; free space, and it goes on by itself"
        )
        monkeypatch.undo()
        logs[0].sync()
        assert SignerSocket(client).whose().problem == ""


def test_a_signer_that_was_put_in_anothers_place_takes_reports_of_the_others_nonces(tmp_path: Path) -> None:
    with signer(tmp_path) as path, SignerClient(path) as client:
        signs = SignerSocket(client)
        signs.whose()
        now_ms = time.time_ns() // 1_000_000
        signs.tell(Facts(now_ms, now_ms, {"BTC": "50000"}, {"BTC": Holding("0.1")}, 0, now_ms + 5_000))
        assert client.status()["state"] == "ready"


def test_numbers_are_asked_of_each_signer_once_and_of_whoever_answers_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SignerClient(tmp_path / "s") as client:
        asked: list[None] = []
        status = client.status

        def counted() -> Any:
            asked.append(None)
            return status()

        monkeypatch.setattr(client, "status", counted)
        signs = SignerSocket(client)
        for number in (1, 2):
            folder = tmp_path / str(number)
            folder.mkdir()
            with signer(folder) as path:
                client.path = str(path)
                assert signs.pinned().assets == signs.pinned().assets
                assert len(asked) == number
            with pytest.raises(Unavailable):  # it is gone: nothing is signed by the numbers that it told
                signs.cancel([("BTC", 1)])
