"""How many signed orders a devnet accepts, matches and answers in a second, and what its time and memory cost.

    python benchmarks/devnet.py [--orders 3000] [--hours 24] [--rounds 3]

The devnet is a process of its own, asked over one connection; what is sent was signed beforehand. Of every four orders
one rests below the market, one above it, and two trade at once, one each way. Over HTTP an answer is awaited before the
next order; over the WebSocket `in_flight` are on their way at a time, and `ws_one_by_one_orders_per_s` is without that.
`cex` is its Binance: of two orders one buys and one sells, at once, over HTTP.
`kept` is with --state, where every order is on the disk before it is answered. Rates are of the best of the rounds, in
which all ways take turns; `cpu_us` is the processor time that the devnet takes for an order, which other programs on the
machine disturb less. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession
from coincurve import PrivateKey

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bot.devnet.signatures import address_of, l1_digest

COINS = "BTC,ETH,SOL,XRP,DOGE,AVAX,SUI,LINK,HYPE,AAVE"
KEYS = [PrivateKey(bytes([number]) * 32) for number in range(1, 21)]
USERS = [address_of(key.public_key) for key in KEYS]
ORDERS_EACH = 1000  # half of them rest, and an account may have no more than a thousand that do
IN_FLIGHT = 16
MIB = 2**20


class Devnet:
    """A devnet process, asked over one plain connection that costs next to nothing."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "bot", "devnet", "--port", "0", "--coins", COINS, "--parent-fd", "0"]
        self.process = subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the devnet did not start")
        self.ready: dict[str, Any] = json.loads(line)
        self.url = str((self.ready.get("cex") or self.ready)["url"])
        host, port = self.url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=600)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, path: str, body: bytes, header: str = "") -> bytes:
        """A whole HTTP request, with one more header if wanted."""
        more = f"{header}\r\n".encode() if header else b""
        return b"POST %b HTTP/1.1\r\nHost: devnet\r\n%bContent-Length: %d\r\n\r\n%b" % (
            path.encode(),
            more,
            len(body),
            body,
        )

    def ask(self, request: bytes) -> bytes:
        """The body of the response."""
        self._socket.sendall(request)
        got = self._socket.recv(65536)
        while b"\r\n\r\n" not in got:
            got += self._socket.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self._socket.recv(1 << 20)
        return body

    def post(self, path: str, **body: Any) -> Any:
        return orjson.loads(self.ask(self.request(path, orjson.dumps(body))))

    def cpu_s(self) -> float:
        """Processor time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def end(self) -> None:
        self._socket.close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def signed_orders(devnet: Devnet, count: int) -> list[dict[str, Any]]:
    """Bodies of requests with one order each, of as many accounts as it takes."""
    if count > ORDERS_EACH * len(KEYS):
        raise SystemExit(f"at most {ORDERS_EACH * len(KEYS)} orders can be sent, found {count}")
    for user in USERS[: -(-count // ORDERS_EACH)]:
        devnet.post("/devnet/faucet", user=user, usdc=10_000_000)
    mark = Decimal(devnet.post("/info", type="metaAndAssetCtxs")[1][0]["markPx"])
    low, high = (f"{(mark * share).quantize(Decimal(100)):f}" for share in (Decimal("0.7"), Decimal("1.4")))
    kinds = (
        (True, low, "Gtc"),
        (True, high, "Ioc"),
        (False, high, "Gtc"),
        (False, low, "Ioc"),
    )
    bodies = []
    first = time.time_ns() // 1_000_000
    for number in range(count):
        is_buy, price, tif = kinds[number % 4]
        order = {"a": 0, "b": is_buy, "p": price, "s": "0.001", "r": False, "t": {"limit": {"tif": tif}}}
        order["c"] = f"0x{number:032x}"
        action = {"type": "order", "orders": [order], "grouping": "na"}
        digest = l1_digest(action, first + number, None, None, mainnet=False)
        made = KEYS[number // ORDERS_EACH].sign_recoverable(digest, hasher=None)
        signature = {"r": "0x" + made[:32].hex(), "s": "0x" + made[32:64].hex(), "v": made[64] + 27}
        bodies.append({"action": action, "nonce": first + number, "signature": signature})
    return bodies


def count(answers: list[Any]) -> dict[str, int]:
    """How many orders rested, traded, and neither."""
    found = {"resting": 0, "filled": 0, "error": 0}
    for answer in answers:
        (status,) = answer["response"]["data"]["statuses"]
        found[next(iter(status))] += 1
    return found


def over_http(devnet: Devnet, bodies: list[dict[str, Any]]) -> tuple[float, dict[str, int]]:
    """Orders a second, and what became of them."""
    requests = [devnet.request("/exchange", orjson.dumps(body)) for body in bodies]
    began = time.perf_counter()
    answers = [devnet.ask(request) for request in requests]
    took_s = time.perf_counter() - began
    return len(bodies) / took_s, count([orjson.loads(answer) for answer in answers])


async def over_socket(
    devnet: Devnet, bodies: list[dict[str, Any]], in_flight: int
) -> tuple[float, dict[str, int]]:
    """The same over the WebSocket."""
    frames = [
        orjson.dumps(
            {"method": "post", "id": number, "request": {"type": "action", "payload": body}}
        ).decode()
        for number, body in enumerate(bodies)
    ]
    answers: list[str] = []
    async with ClientSession() as session, session.ws_connect(devnet.url + "/ws") as ws:
        began = time.perf_counter()
        for frame in frames[:in_flight]:
            await ws.send_str(frame)
        for following in range(in_flight, len(frames) + in_flight):
            answers.append((await ws.receive()).data)
            if following < len(frames):
                await ws.send_str(frames[following])
        took_s = time.perf_counter() - began
    read = [orjson.loads(answer)["data"]["response"]["payload"] for answer in answers]
    return len(bodies) / took_s, count(read)


def over_cex(devnet: Devnet, orders: int) -> tuple[float, dict[str, int]]:
    """Orders a second on the devnet's Binance, and what became of them."""
    account = devnet.ready["cex"]["accounts"][0]
    key, secret = account["api_key"], account["api_secret"].encode()
    requests = []
    for number in range(orders):
        body = f"symbol=BTCUSDT&side={'SELL' if number % 2 else 'BUY'}&type=MARKET&quantity=0.002&newClientOrderId=n{number}"
        body += f"&recvWindow=60000&timestamp={time.time_ns() // 1_000_000}"
        body += "&signature=" + hmac.new(secret, body.encode(), hashlib.sha256).hexdigest()
        requests.append(devnet.request("/fapi/v1/order", body.encode(), f"X-MBX-APIKEY: {key}"))
    began = time.perf_counter()
    answers = [devnet.ask(request) for request in requests]
    took_s = time.perf_counter() - began
    filled = sum(orjson.loads(answer).get("status") == "FILLED" for answer in answers)
    return orders / took_s, {"resting": 0, "filled": filled, "error": orders - filled}


WAYS = ("http", "ws", "ws_one_by_one", "cex")


def orders_per_s(orders: int, rounds: int) -> dict[str, Any]:
    """Each way with and without a state, a fresh devnet each time so that none has more history than another."""
    best: dict[str, float] = {}
    cpu_us: dict[str, float] = {}
    outcomes: dict[str, int] = {}
    cex_outcomes: dict[str, int] = {}
    for _ in range(rounds):
        for way in WAYS:
            for kept in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    options = ["--state", f"{folder}/devnet.state"] if kept else []
                    if way == "cex":
                        options += ["--cex-port", "0", "--cex-usdt", "1000000"]
                    devnet = Devnet(*options)
                    bodies = signed_orders(devnet, orders) if way != "cex" else []
                    cpu_s = devnet.cpu_s()
                    if way == "http":
                        rate, outcomes = over_http(devnet, bodies)
                    elif way == "cex":
                        rate, cex_outcomes = over_cex(devnet, orders)
                    else:
                        in_flight = IN_FLIGHT if way == "ws" else 1
                        rate, outcomes = asyncio.run(over_socket(devnet, bodies, in_flight))
                    used_us = round((devnet.cpu_s() - cpu_s) / orders * 1e6)
                    devnet.end()
                    name = f"{'kept_' if kept else ''}{way}"
                    best[name] = max(best.get(name, 0.0), round(rate))
                    cpu_us[name] = min(cpu_us.get(name, 1e9), used_us)
    rates = {f"{name}_orders_per_s": rate for name, rate in best.items()}
    return {**rates, "cpu_us": cpu_us, "in_flight": IN_FLIGHT, "orders": outcomes, "cex_orders": cex_outcomes}


def time_costs(hours: int) -> dict[str, Any]:
    """What a step of time costs, and what is resident, while simulated hours pass."""
    devnet = Devnet("--paused")
    devnet.post("/devnet/faucet", user=USERS[0], usdc=10_000_000)
    at_start = devnet.resident_mib()
    began, cpu = time.perf_counter(), devnet.cpu_s()
    for _ in range(hours):
        devnet.post("/devnet/clock", advance_s=3600)
    took_s, cpu_s = time.perf_counter() - began, devnet.cpu_s() - cpu
    found = {
        "hours": hours,
        "step_ms": round(took_s / hours / 60 * 1000, 3),  # an hour that passes at once is sixty steps
        "step_cpu_ms": round(cpu_s / hours / 60 * 1000, 3),
        "resident_mib_at_start": round(at_start, 1),
        "resident_mib": round(devnet.resident_mib(), 1),
    }
    devnet.end()
    return found


def fast_forward(speed: int, seconds: float) -> float:
    """Share of a core that it takes at a speed while one client asks for the market and its account every 0.1 s."""
    devnet = Devnet("--speed", str(speed))
    devnet.post("/devnet/faucet", user=USERS[0], usdc=10_000_000)
    began, cpu = time.perf_counter(), devnet.cpu_s()
    while time.perf_counter() - began < seconds:
        devnet.post("/info", type="metaAndAssetCtxs")
        devnet.post("/info", type="clearinghouseState", user=USERS[0])
        time.sleep(0.1)
    share = (devnet.cpu_s() - cpu) / (time.perf_counter() - began)
    devnet.end()
    return round(share, 3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, default=3000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of fast-forward")
    given = parser.parse_args()
    result = {
        **orders_per_s(given.orders, given.rounds),
        "time": time_costs(given.hours),
        "core_share_at_speed": {str(speed): fast_forward(speed, given.seconds) for speed in (1, 60, 3600)},
        "coins": len(COINS.split(",")),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("aiohttp", "coincurve", "msgpack", "numpy", "orjson")},
        },
        "cores": os.cpu_count(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
