"""A devnet's process is killed while it is traded on; what it had acknowledged is there when it comes back."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import eth_account
import pytest
import requests

from bot.errors import StateError
from tests.devnet.asking import everything, signed

COINS = ("BTC", "ETH")
WALLET = eth_account.Account.from_key("0x" + "5" * 64)
USER = WALLET.address.lower()


class Process:
    """`hedgerow devnet` on a free port, with the line that it printed."""

    def __init__(self, path: Path, *options: str) -> None:
        command = [sys.executable, "-m", "bot", "devnet", "--port", "0", "--coins", ",".join(COINS)]
        self.process = subprocess.Popen(
            [*command, "--state", str(path), "--parent-fd", "0", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise StateError(self.process.communicate()[1])
        self.ready: dict[str, Any] = json.loads(line)
        self.session = requests.Session()

    def post(self, path: str, body: Any) -> Any:
        reply = self.session.post(self.ready["url"] + path, json=body, timeout=20)
        return reply.json() if reply.status_code == 200 else reply.text

    def info(self, body: dict[str, Any]) -> Any:
        return self.post("/info", body)

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> int:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        code = self.process.wait(20)
        self.session.close()
        return code


class Client(threading.Thread):
    """Buys, sells, rests and cancels as fast as it is answered, until it isn't; notes what it was promised."""

    def __init__(self, server: Process, number: int) -> None:
        super().__init__()
        self.server, self.number = server, number
        self.promised: list[tuple[dict[str, Any], Any]] = []
        self.done = threading.Event()
        self.open: dict[str, Any] | None = None
        """What was sent last and not answered."""

    def run(self) -> None:
        marks = {row["name"]: context["markPx"] for row, context in zip(*self._market(), strict=True)}
        try:
            while not self.done.is_set():
                n = len(self.promised)
                cloid = f"0x{self.number:016x}{n:016x}"
                price = Decimal(marks["BTC"]) * (Decimal("0.5"), Decimal("1.5"), Decimal("0.5"))[n % 3]
                order = {
                    "a": 0,
                    "b": n % 3 != 2,
                    "p": f"{price.quantize(Decimal(1)):f}" if n % 3 else f"{round(price, -3):f}",
                    "s": "0.001",
                    "r": False,
                    "t": {"limit": {"tif": "Gtc" if n % 3 == 0 else "Ioc"}},
                    "c": cloid,
                }
                body = signed(WALLET, {"type": "order", "orders": [order], "grouping": "na"})
                self.open = body
                self.promised.append((body, self.server.post("/exchange", body)))
                self.open = None
        except (requests.ConnectionError, ValueError):
            return

    def _market(self) -> tuple[list[Any], list[Any]]:
        meta, contexts = self.server.info({"type": "metaAndAssetCtxs"})
        return meta["universe"], contexts


def lots_of(reply: Any) -> int:
    """Thousandths that a reply says were filled."""
    (status,) = reply["response"]["data"]["statuses"]
    return int(Decimal(status["filled"]["totalSz"]) * 1000) if "filled" in status else 0


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_by_kills_at_random_moments(tmp_path: Path) -> None:
    path, dice = tmp_path / "devnet.state", random.Random(11)
    server = Process(path, "--speed", "600")
    assert server.ready["resumed"] is False
    server.post("/devnet/faucet", {"user": USER, "usdc": "1000000"})
    promised: list[tuple[dict[str, Any], Any]] = []
    unanswered: list[dict[str, Any]] = []
    for number in range(5):
        client = Client(server, number)
        client.start()
        time.sleep(dice.uniform(0.2, 1.5))
        last_time = server.info({"type": "exchangeStatus"})["time"]
        server.kill()
        client.join()
        promised += client.promised
        if client.open is not None:
            unanswered.append(client.open)
        server = Process(path, "--speed", "600")
        assert server.ready["resumed"] is True
        assert server.ready["time"] >= last_time
        check(server, promised, unanswered)
    server.kill()
    assert len(promised) > 100


def check(
    server: Process, promised: list[tuple[dict[str, Any], Any]], unanswered: list[dict[str, Any]]
) -> None:
    """What the devnet says against what it had said."""
    expected = {True: 0, False: 0}
    for body, reply in promised:
        (order,), (status,) = body["action"]["orders"], reply["response"]["data"]["statuses"]
        made = status.get("resting") or status.get("filled")
        if made is None:
            continue
        known = server.info({"type": "orderStatus", "user": USER, "oid": made["oid"]})
        assert known["order"]["order"]["cloid"] == made["cloid"] == order["c"]
        assert known["order"]["status"] == ("open" if "resting" in status else "filled")
        expected[order["b"]] += lots_of(reply)
    fills = server.info({"type": "userFillsByTime", "user": USER, "startTime": 0})
    assert len({fill["tid"] for fill in fills}) == len(fills)
    uncertain = {body["action"]["orders"][0]["c"] for body in unanswered}
    for side, is_buy in (("B", True), ("A", False)):
        mine = [fill for fill in fills if fill["side"] == side and fill["cloid"] not in uncertain]
        assert sum(int(Decimal(fill["sz"]) * 1000) for fill in mine) == expected[is_buy]
    body, _ = promised[-1]
    assert server.post("/exchange", body)["response"] == f"Invalid nonce: duplicate nonce {body['nonce']}"


@pytest.mark.slow
def test_every_answer_is_the_same_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "devnet.state"
    server = Process(path, "--speed", "3600")
    server.post("/devnet/faucet", {"user": USER, "usdc": "1000000"})
    for number in range(3):
        client = Client(server, number)
        client.start()
        time.sleep(1.0)
        client.done.set()
        client.join()
        server.post("/devnet/clock", {"paused": True})
        before = dump(server)
        server.kill()
        server = Process(path, "--paused")
        assert dump(server) == before
        server.post("/devnet/clock", {"paused": False, "speed": 3600})
    server.kill()


def dump(server: Process) -> dict[str, Any]:
    orders = [row["order"]["oid"] for row in server.info({"type": "historicalOrders", "user": USER})[:50]]
    users = [USER, server.ready["funded"][0]["address"]]
    return everything(server.info, COINS, users, orders)


@pytest.mark.parametrize("number", [2, 15])
def test_it_ends_well_on_a_signal_and_goes_on_from_that_moment(tmp_path: Path, number: int) -> None:
    path = tmp_path / "devnet.state"
    server = Process(path, "--speed", "60")
    seen = server.info({"type": "exchangeStatus"})["time"]
    server.process.send_signal(number)
    assert server.end() == 0
    first = Process(path, "--paused", "--speed", "7")
    assert (first.ready["resumed"], first.ready["speed"], first.ready["paused"]) == (True, 7.0, True)
    first.kill()
    second = Process(path, "--paused")
    assert second.ready["time"] == first.ready["time"] >= seen
    second.kill()


def test_it_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "devnet.state"
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-m', 'bot', 'devnet', '--port', '0', '--coins', 'BTC', '--state', {str(path)!r},"
        " '--parent-fd', '0'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(p.pid, p.stdout.readline(), flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline().split()[0])
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while is_running(child):
        assert time.monotonic() < deadline, "the devnet outlived its parent"
        time.sleep(0.05)
    resumed = Process(path.rename(tmp_path / "moved.state"), "--coins", "BTC")
    assert resumed.ready["resumed"] is True
    resumed.kill()


def is_running(pid: int) -> bool:
    """Whether it is more than a name in the table of processes, which an orphan may stay for a while."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    table = Path(f"/proc/{pid}/stat")
    return not table.exists() or table.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"


def test_a_state_in_use_is_said_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "devnet.state"
    server = Process(path)
    with pytest.raises(StateError) as caught:
        Process(path)
    assert "in use by another devnet" in str(caught.value)
    assert str(caught.value).count("\n") == 1
    server.kill()


def test_a_descriptor_that_is_no_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is no open pipe"):
        Process(tmp_path / "devnet.state", "--parent-fd", "77")
