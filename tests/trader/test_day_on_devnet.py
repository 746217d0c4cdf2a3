"""A day of the daemon on its exchange while others are liquidated around it, sockets drop and replies get lost."""

import json
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info

from bot.devnet.signatures import keccak256
from tests.trader.daemon import CONFIG, Daemon, hedgerow, journal_agrees_with_the_exchange

COINS = {"BTC": 40, "SOL": 20, "DOGE": 10}  # with the leverage that others take
HOURS = 24
DROPS = 10


class Devnet:
    """The daemon's exchange, as another client of it sees it."""

    def __init__(self, folder: Path) -> None:
        self.url = (folder / "state" / "journal" / "devnet.url").read_text().strip()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        for _ in range(50):  # its faults are for everybody
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    return json.loads(reply.read())
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"the devnet does not answer {path}")

    def sockets(self) -> int:
        with urllib.request.urlopen(f"{self.url}/devnet/status", timeout=10) as reply:
            return int(json.loads(reply.read())["sockets"])

    def drop_the_daemons_socket(self) -> None:
        """Once it has one again."""
        deadline = time.monotonic() + 30
        while self.sockets() == 0:
            assert time.monotonic() < deadline, "the daemon's feed did not come back"
            time.sleep(0.05)
        self.post("/devnet/chaos", {"drop_sockets_now": True})
        while self.sockets() > 0:
            time.sleep(0.01)

    def stake_everything(self, number: int, *, is_long: bool) -> str:
        """An account that holds all coins one way with hardly any margin."""
        key = Account.from_key(keccak256(f"hedgerow devnet test key 3 {number}".encode()))
        exchange = Exchange(key, self.url)
        mids = Info(self.url, skip_ws=True).all_mids()
        for coin, leverage in COINS.items():
            exchange.update_leverage(leverage, coin, is_cross=True)
            decimals = {"BTC": 5, "SOL": 2, "DOGE": 0}[coin]
            size = round(30_000 * leverage / float(mids[coin]), decimals)
            answer = exchange.market_open(coin, is_long, size, slippage=0.08)
            assert answer["status"] == "ok", answer
        return str(key.address).lower()


@pytest.mark.slow
def test_a_day_of_liquidations_drops_and_lost_replies_leaves_books_equal_to_the_last_digit(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    daemon = Daemon(tmp_path)
    daemon.wait_for_cycles(1)
    devnet = Devnet(tmp_path)
    others = [devnet.stake_everything(0, is_long=True), devnet.stake_everything(1, is_long=False)]
    devnet.post("/devnet/chaos", {"seed": 5, "lost_reply": 0.05})
    for _ in range(DROPS):
        devnet.drop_the_daemons_socket()
    daemon.wait_for_cycles(HOURS)
    devnet.post("/devnet/chaos", {"lost_reply": 0.0})
    daemon.wait_for_cycles(HOURS + 2)
    fills = [fill for user in others for fill in devnet.post("/info", {"type": "userFills", "user": user})]
    assert {fill["coin"] for fill in fills if "liquidation" in fill} == set(COINS)
    assert daemon.end(signal.SIGTERM) == 0, daemon.said()
    names = [event["event"] for event in daemon.events()]
    assert names.count("feed ended") >= DROPS
    assert "run ends" in names
    assert journal_agrees_with_the_exchange(tmp_path) > 3
    verified = hedgerow(tmp_path, "ledger", "verify", "config.toml", "--json")
    assert verified.returncode == 0, verified.stdout
