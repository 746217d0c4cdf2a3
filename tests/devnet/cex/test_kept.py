"""A devnet that is also a Binance goes on after its end, or its death, exactly where it was."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest

from bot.devnet.cex.door import Door
from bot.devnet.server import Server
from bot.devnet.start import Options, build
from bot.errors import StateError
from tests.devnet.cex.clients import BTC, HYPE, advance, client_of, control

OPTIONS = Options(
    coins=("BTC", "HYPE"),
    history_h=12,
    start_ms=1_735_732_800_000,
    paused=True,
    cex_port=0,
    cex_usdt=Decimal(10_000),
)


class Process:
    """`hedgerow devnet` with a state file, that is killed and started again."""

    def __init__(self, state: Path, *options: str) -> None:
        given = f"--port 0 --cex-port 0 --coins BTC,HYPE --cex-usdt 10000 --parent-fd 0 --state {state}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bot", "devnet", *given.split(), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.url: str = self.ready["cex"]["url"]
        self.account: dict[str, str] = self.ready["cex"]["accounts"][0]

    def end(self, *, kill: bool) -> None:
        if kill:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait(20)


def everything(client: Any) -> list[Any]:
    """All that an account can ask for."""
    return [
        client.fetch_time(),
        client.fetch_balance()["info"],
        client.fapiPrivateV2GetPositionRisk(),
        client.fetch_orders(BTC),
        client.fetch_orders(HYPE),
        client.fetch_orders(BTC, params={"trigger": True}),
        client.fetch_my_trades(BTC),
        client.fapiPrivateGetIncome(),
        client.fapiPrivateGetSymbolConfig(),
        client.fetch_position_mode(),
        client.fetch_trades(BTC),
        client.fetch_order_book(BTC),
        client.fetch_tickers(),
        client.fetch_funding_rates(),
        client.fetch_funding_intervals(),
        client.fetch_funding_rate_history(HYPE),
    ]


@pytest.mark.parametrize("kill", [True, False])
def test_accounts_orders_and_history_survive(tmp_path: Path, kill: bool) -> None:
    first = Process(tmp_path / "state", "--paused")
    client = client_of(first.url, first.account)
    client.set_leverage(7, BTC)
    client.create_order(BTC, "market", "buy", 0.02)
    advance(first.url, 9)
    price = client.fetch_ticker(BTC)["last"]
    client.create_order(BTC, "limit", "buy", 0.01, price * 0.97, {"clientOrderId": "stands"})
    client.create_order(BTC, "market", "sell", 0.02, None, {"stopLossPrice": price * 0.9, "reduceOnly": True})
    client.create_order(HYPE, "market", "sell", 10)
    with pytest.raises(ccxt.BaseError):
        client.create_order(BTC, "market", "buy", 1000)
    control(first.url, "funding", symbol="HYPEUSDT", interval_h=1)
    other = control(first.url, "faucet", usdt=777)
    client_of(first.url, other).create_order(HYPE, "market", "buy", 2)
    before = everything(client), everything(client_of(first.url, other))
    first.end(kill=kill)

    second = Process(tmp_path / "state", "--paused")
    try:
        assert second.ready["resumed"]
        assert second.account == first.account
        client = client_of(second.url, second.account)
        assert (everything(client), everything(client_of(second.url, other))) == before
        later = client.create_order(BTC, "market", "buy", 0.01)
        ids = [int(each["id"]) for each in client.fetch_orders(BTC)]
        assert int(later["id"]) == max(ids)
        assert len(set(ids)) == len(ids)
        assert float(control(second.url, "faucet", usdt=1)["usdt"]) == 1
    finally:
        second.end(kill=False)


def test_what_was_acknowledged_survives_a_kill_while_time_runs_and_others_trade(tmp_path: Path) -> None:
    """Three lives under fire: every order that was answered is known, and the books add up."""
    dice, acknowledged = random.Random(5), dict[str, str]()
    for life in range(3):
        process = Process(tmp_path / "state", "--speed", "600")
        assert not process.ready["paused"]
        clients = [client_of(process.url, process.account) for _ in range(2)]
        for client in clients:
            client.load_markets()
        known = _all_orders(clients[0])
        assert acknowledged.items() <= known.items()
        account = clients[0].fetch_balance()["info"]
        rows = [
            row
            for page in range(1, 12)
            for row in clients[0].fapiPrivateGetIncome({"limit": 1000, "startTime": 0, "page": page})
        ]
        assert len(rows) < 10_000
        earned = sum(Decimal(row["income"]) for row in rows)
        assert earned == Decimal(account["totalWalletBalance"])
        threads = [
            threading.Thread(target=_trade, args=(client, f"{life}-{number}", acknowledged, dice.random()))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        time.sleep(1 + dice.random())
        process.end(kill=True)
        for thread in threads:
            thread.join(20)
    assert len(acknowledged) > 20


def _all_orders(client: Any) -> dict[str, str]:
    """The client's id of every order, by the venue's."""
    known: dict[str, str] = {}
    while True:
        first = max((int(number) for number in known), default=0) + 1
        rows = client.fapiPrivateGetAllOrders({"symbol": "BTCUSDT", "orderId": first, "limit": 1000})
        if not rows:
            return known
        known |= {str(row["orderId"]): row["clientOrderId"] for row in rows}


def _trade(client: Any, name: str, acknowledged: dict[str, str], seed: float) -> None:
    """Trade until nobody answers any more."""
    dice = random.Random(seed)
    price = client.fetch_ticker(BTC)["last"]
    for number in range(10_000):
        params, side = {"clientOrderId": f"{name}-{number}"}, dice.choice(["buy", "sell"])
        try:
            if dice.random() < 0.5:
                placed = client.create_order(BTC, "market", side, 0.002, None, params)
            else:
                away = 0.99 if side == "buy" else 1.01
                placed = client.create_order(BTC, "limit", side, 0.002, price * away, params)
                if dice.random() < 0.7:
                    client.cancel_order(placed["id"], BTC)
        except ccxt.OrderNotFound:
            continue
        except ccxt.NetworkError:
            return
        except ccxt.ExchangeError:
            client.cancel_all_orders(BTC)
            continue
        acknowledged[placed["id"]] = params["clientOrderId"]


def face_of(server: Server) -> Door:
    door = server.world.neighbours["binance"]
    assert isinstance(door, Door)
    return door


def test_a_state_from_before_it_was_one_gets_a_new_face_and_one_from_after_needs_it(tmp_path: Path) -> None:
    plain = replace(OPTIONS, cex_port=None, state=tmp_path / "state")
    server = build(plain)
    assert server.keeper is not None
    server.world.advance(3_600_000)
    server.keeper.close()
    server = build(replace(plain, cex_port=0))
    assert server.keeper is not None
    door = face_of(server)
    (key,) = door.face.secrets
    door.carry_out("POST", "/devnet/faucet", key, {"usdt": "5"})
    server.keeper.close()
    server = build(replace(plain, cex_port=0))
    assert server.keeper is not None
    assert face_of(server).face.wallet_usd(key) == 10_005
    server.keeper.close()
    with pytest.raises(StateError, match="--cex-port"):
        build(plain)


def test_the_same_inputs_give_the_same_accounts_whatever_else_is_asked(tmp_path: Path) -> None:
    """Requests that only look leave no trace, and dice are thrown by the world's moments alone."""

    def run(*, curious: bool) -> Any:
        server = build(OPTIONS)
        door = face_of(server)
        (key,) = door.face.secrets
        asked = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        for _ in range(20):
            server.world.advance(600_000)
            server.world.others_trade()
            door.carry_out("POST", "/fapi/v1/order", key, asked)
            if curious:
                door.carry_out("GET", "/fapi/v2/account", key, {})
                server_side = Door(door.face)
                server_side.carry_out("GET", "/fapi/v1/income", key, {})
        return [
            door.carry_out("GET", path, key, {"symbol": "BTCUSDT"})
            for path in ("/fapi/v3/account", "/fapi/v1/userTrades", "/fapi/v1/income", "/fapi/v1/allOrders")
        ]

    assert run(curious=False) == run(curious=True)
