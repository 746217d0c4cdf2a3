"""What goes wrong on request: by path, as on the other face, and what can be found out afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest
import requests

from tests.devnet.cex.clients import BTC, client_of, code_of, control

ORDER = "/fapi/v1/order"


@pytest.fixture
def chaos(url: str) -> Iterator[Callable[..., Any]]:
    yield lambda **settings: control(url, "chaos", **settings)
    control(url, "chaos")


def place(exchange: Any, client_id: str) -> Any:
    return exchange.create_order(BTC, "market", "buy", 0.002, None, {"clientOrderId": client_id})


def found(exchange: Any, client_id: str) -> bool:
    try:
        exchange.fetch_order("", BTC, {"origClientOrderId": client_id})
    except ccxt.OrderNotFound:
        return False
    return True


@pytest.mark.parametrize(
    ("fault", "error", "is_placed"),
    [
        ("executed_502", ccxt.NetworkError, True),
        ("lost_reply", ccxt.NetworkError, True),
        ("refused_502", ccxt.NetworkError, False),
        ("rate_limited", ccxt.DDoSProtection, False),
    ],
)
def test_an_order_whose_answer_fails_is_placed_or_not_as_the_fault_says(
    exchange: Any, chaos: Callable[..., Any], fault: str, error: type[Exception], is_placed: bool
) -> None:
    exchange.load_markets()
    chaos(paths=[ORDER], **{fault: 1})
    with pytest.raises(error):
        place(exchange, f"lost-{fault}")
    exchange.fetch_balance()  # other paths are spared
    chaos()
    assert found(exchange, f"lost-{fault}") is is_placed
    assert len(exchange.fetch_my_trades(BTC)) == is_placed


def test_a_star_concerns_everything_below_and_a_delay_is_a_delay(
    exchange: Any, chaos: Callable[..., Any], url: str
) -> None:
    exchange.load_markets()
    chaos(paths=["/fapi/*"], delay_ms=[150, 150])
    began = time.monotonic()
    exchange.fetch_balance()
    assert time.monotonic() - began >= 0.15
    chaos(delay_ms=[0, 0], refused_502=1)
    with pytest.raises(ccxt.NetworkError):
        exchange.fetch_time()
    assert requests.get(f"{url}/futures/data/openInterestHist", timeout=5).status_code == 400


def test_faults_of_one_face_are_those_of_the_other(devnet: Any, url: str, chaos: Callable[..., Any]) -> None:
    chaos(paths=[ORDER], executed_502=0.25)
    assert requests.get(f"{devnet.url}/devnet/chaos", timeout=5).json()["executed_502"] == 0.25


def test_a_signature_a_key_or_a_time_that_is_wrong_is_told_apart(
    url: str, opened: Callable[..., Any]
) -> None:
    account = opened()

    def code(changes: dict[str, str], off_ms: int = 0) -> int:
        client = client_of(url, account | changes)
        client.load_markets()
        client.nonce = lambda: client.milliseconds() + off_ms
        with pytest.raises(ccxt.BaseError) as error:
            client.fetch_balance()
        return code_of(error.value)

    assert code({"api_secret": "0" * 64}) == -1022
    assert code({"api_key": "0" * 64}) == -2015
    assert code({}, off_ms=-3_600_000) == -1021
    assert code({}, off_ms=3_600_000) == -1021


def test_the_devnets_own_time_is_as_good_as_the_computers(exchange: Any) -> None:
    exchange.load_markets()
    assert abs(exchange.fetch_time() - exchange.milliseconds()) > 86_400_000  # its time is another
    assert exchange.fetch_balance()["total"] == {"USDT": 10_000}
    exchange.load_time_difference()
    exchange.nonce = lambda: exchange.milliseconds() - exchange.options["timeDifference"]
    assert exchange.fetch_balance()["total"] == {"USDT": 10_000}


def test_a_page_in_a_browser_cannot_use_the_controls(url: str) -> None:
    reply = requests.post(
        f"{url}/devnet/faucet", json={"usdt": 1}, headers={"Origin": "http://a.page"}, timeout=5
    )
    assert reply.status_code == 403
