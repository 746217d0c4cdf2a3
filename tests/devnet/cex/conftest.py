"""One devnet with a Binance for the tests that trade on it with unmodified clients; each test opens its own account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from tests.devnet.cex.clients import client_of, control


@pytest.fixture(scope="session")
def devnet() -> Iterator[Server]:
    """Time stands unless a test moves it, and nobody else trades."""
    options = Options(
        coins=("BTC", "ETH", "HYPE", "kPEPE"),
        history_h=72,
        flow=False,
        paused=True,
        cex_port=0,
        start_ms=1_735_732_800_000,  # 2025-01-01 12:00
    )
    with running(options) as server:
        yield server


@pytest.fixture
def url(devnet: Server) -> str:
    found: str = devnet.sites["cex"].shown()["url"]
    return found


@pytest.fixture
def opened(url: str) -> Callable[..., dict[str, str]]:
    """Opens accounts with so much USDT."""
    return lambda usdt=10_000: control(url, "faucet", usdt=usdt)


@pytest.fixture
def exchange(url: str, opened: Callable[..., dict[str, str]]) -> Any:
    """An unmodified ccxt client with an account of its own that has 10,000 USDT."""
    return client_of(url, opened())
