"""The library's exchanges without a network: replies by path, and a signer that signs nothing and keeps what it saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bot.signer.cex_client import SignedRequest
from bot.venues.cex import exchange as exchanges
from bot.venues.cex.client import Client
from bot.venues.cex.differences import TABLE
from bot.venues.cex.terms import CexTerms

NOW_MS = 1_790_000_000_000
SERVICES = {"binance": "demo", "bybit": "testnet", "okx": "demo"}


class Signer:
    """Answers as the signer does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.told: list[tuple[str, Any]] = []
        self.nonce = NOW_MS

    def sign(self, method: str, path: str, params: Mapping[str, str]) -> SignedRequest:
        self.asked.append((method, path, dict(params)))
        self.nonce += 1
        query = "&".join(f"{name}={value}" for name, value in params.items())
        is_body = method in {"POST", "PUT"}
        return SignedRequest(
            {"X-KEY": "k"}, "" if is_body else query, query if is_body else "", self.nonce, NOW_MS, NOW_MS + 5000, "testnet"
        )  # fmt: skip

    def clock(self, venue_ms: int) -> None:
        self.told.append(("clock", venue_ms))

    def prices(self, prices: Mapping[str, str], at_ms: int) -> None:
        self.told.append(("prices", dict(prices)))

    def positions(
        self, holdings: Mapping[str, Any], *, open_orders: int, through_nonce: int, at_ms: int
    ) -> None:
        self.told.append(("positions", dict(holdings)))

    def status(self) -> dict[str, Any]:
        return {"state": "ready", "venue": "binance", "network": "testnet", "assets": {}}

    def close(self) -> None:
        """Nothing is open."""


Answer = Any | Callable[[dict[str, str]], Any]


class Wire:
    """What the exchange answers, by path; an exception is raised instead. Every request is kept."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.sent: list[tuple[str, str, dict[str, str]]] = []

    def bind(self, exchange: Any) -> None:
        async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            parts = urlsplit(url)
            params = dict(parse_qsl(parts.query or (body or "")))
            self.sent.append((method, f"{parts.scheme}://{parts.netloc}{parts.path}", params))
            answer = self.answers[parts.path]
            answer = answer(params) if callable(answer) else answer
            if isinstance(answer, tuple):  # HTTP status and body
                status, told = answer
                text = told if isinstance(told, str) else json.dumps(told)
                exchange.handle_errors(
                    status, "", url, method, {}, text, None if isinstance(told, str) else told, headers, body
                )
                exchange.handle_http_status_code(status, "", url, method, text)
                return told
            exchange.handle_errors(200, "", url, method, {}, json.dumps(answer), answer, headers, body)
            return answer

        exchange.fetch = fetch


def client_of(venue: str, answers: Mapping[str, Answer]) -> tuple[Client, Wire, Signer]:
    """A client of one exchange that gets these answers."""
    terms = CexTerms(venue, "testnet", ("BTC",), service=SERVICES[venue])
    signer, wire = Signer(), Wire(answers)
    exchange = exchanges.made(terms, TABLE[venue], signer, lambda: NOW_MS)
    exchange.throttle = _at_once
    wire.bind(exchange)
    return Client(exchange, TABLE[venue]), wire, signer


async def _at_once(*_: Any) -> None:
    """No request has to wait for another."""
