"""The unmodified ccxt clients, pointed at the devnet, and its controls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ccxt  # type: ignore[import-untyped]
import requests

BTC, ETH, HYPE, PEPE = "BTC/USDT:USDT", "ETH/USDT:USDT", "HYPE/USDT:USDT", "1000PEPE/USDT:USDT"
HOUR_MS = 3_600_000


def client_of(url: str, account: dict[str, str], module: Any = ccxt) -> Any:
    """`module.binanceusdm` for an account as the faucet opens it; none of its URLs leads anywhere else."""
    client = module.binanceusdm(
        {
            "apiKey": account["api_key"],
            "secret": account["api_secret"],
            "enableRateLimit": False,
            "options": {"fetchCurrencies": False, "warnOnFetchOpenOrdersWithoutSymbol": False},
        }
    )
    client.urls["api"] = _pointed(client.urls["api"], url)
    return client


def _pointed(urls: Any, url: str) -> Any:
    if isinstance(urls, dict):
        return {name: _pointed(each, url) for name, each in urls.items()}
    parts = urlsplit(urls)
    return (url.replace("http", "ws", 1) if parts.scheme == "wss" else url) + parts.path


def control(url: str, name: str, **body: Any) -> Any:
    """What a control answers."""
    reply = requests.post(f"{url}/devnet/{name}", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


def advance(url: str, hours: float) -> None:
    control(url, "clock", advance_s=hours * 3600)


def code_of(error: Exception) -> int:
    """The venue's own code in an error of ccxt's."""
    found = re.search(r'"code":(-?\d+)', str(error))
    assert found is not None, str(error)
    return int(found[1])


async def in_thread(call: Callable[..., Any], *given: Any) -> Any:
    return await asyncio.to_thread(call, *given)


def events(url: str, account: dict[str, str], act: Callable[[], Any], count: int) -> list[Any]:
    """The next events of an account's stream after something was done."""
    key = listen(url, account)

    async def run() -> list[Any]:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws/{key}") as socket:
            await in_thread(act)
            return [await asyncio.wait_for(socket.receive_json(), 10) for _ in range(count)]

    return asyncio.run(run())


def listen(url: str, account: dict[str, str], method: str = "POST") -> str:
    """An account's listen key."""
    headers = {"X-MBX-APIKEY": account["api_key"]}
    reply = requests.request(method, f"{url}/fapi/v1/listenKey", headers=headers, timeout=5)
    assert reply.status_code == 200, reply.text
    return str(reply.json().get("listenKey", ""))
