"""One devnet for all tests that trade on it with real clients; each test brings its own funded key."""

from collections.abc import Callable, Iterator

import eth_account
import pytest
import requests
from eth_account.signers.local import LocalAccount

from bot.devnet.server import Server
from bot.devnet.start import Options, running


@pytest.fixture(scope="session")
def devnet() -> Iterator[Server]:
    """Time stands unless a test moves it, and nobody else trades."""
    options = Options(coins=("BTC", "ETH", "SOL"), history_h=48, flow=False, paused=True)
    with running(options) as server:
        yield server


@pytest.fixture
def funded(devnet: Server) -> Callable[[float], LocalAccount]:
    """Makes keys with so many dollars."""

    def make(usdc: float = 10_000) -> LocalAccount:
        wallet: LocalAccount = eth_account.Account.create()
        reply = requests.post(
            f"{devnet.url}/devnet/faucet", json={"user": wallet.address, "usdc": usdc}, timeout=5
        )
        assert reply.status_code == 200, reply.text
        return wallet

    return make
