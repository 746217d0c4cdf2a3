"""What goes wrong on request: by path, as on the other face, and what can be found out afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest
import requests

from bot.devnet.cex.limits import CexLimits, TooMuch
from bot.devnet.start import Options, running
from tests.devnet.cex.clients import BTC, client_of, code_of, control, events

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


def test_a_window_in_the_markets_time_is_good_also_when_that_has_been_slowed_down() -> None:
    with running(Options(coins=("BTC",), history_h=24, paused=True, cex_port=0)) as server:
        url = str(server.sites["cex"].shown()["url"])
        exchange = client_of(url, control(url, "faucet", usdt=100))
        exchange.nonce = lambda: control(url, "clock")["time"]

        def ask() -> Any:
            return exchange.fetch_balance({"recvWindow": 18_000_000})

        with pytest.raises(ccxt.BaseError) as error:
            ask()
        assert code_of(error.value) == -1131  # five hours are no window where a second is a second
        control(url, "clock", speed=3600)
        ask()
        control(url, "clock", speed=1)
        assert ask()["USDT"]["total"] == 100


def test_faults_and_clock_of_one_face_are_those_of_the_other(
    devnet: Any, url: str, chaos: Callable[..., Any]
) -> None:
    chaos(paths=[ORDER], executed_502=0.25)
    assert requests.get(f"{devnet.url}/devnet/chaos", timeout=5).json()["executed_502"] == 0.25
    before_ms = requests.get(f"{devnet.url}/devnet/clock", timeout=5).json()["time"]
    told = control(url, "clock", advance_s=60)
    assert told["time"] == before_ms + 60_000
    assert requests.get(f"{devnet.url}/devnet/clock", timeout=5).json() == told
    for each in (url, devnet.url):
        told = requests.get(f"{each}/devnet/status", timeout=5)
        assert told.json()["cex"]["symbols"][:2] == ["BTCUSDT", "ETHUSDT"]
        assert "secret" not in told.text


def test_who_asks_too_much_is_told_so_and_who_goes_on_is_banned() -> None:
    now_s = 1000.0
    limits = CexLimits(enforced=True, clock=lambda: now_s)

    def refused(address: str, key: str = "") -> tuple[int, int]:
        with pytest.raises(TooMuch) as refusal:
            limits.charge(address, 1, key)
        return refusal.value.status, refusal.value.wait_s

    assert limits.charge("here", 2400, "") == {"X-MBX-USED-WEIGHT-1M": "2400"}
    assert refused("here") == (429, 60)
    assert limits.charge("there", 1, "") == {"X-MBX-USED-WEIGHT-1M": "1"}
    now_s = 1060.1
    assert limits.charge("here", 1, "") == {"X-MBX-USED-WEIGHT-1M": "1"}
    for number in range(1, 301):
        headers = limits.charge("here", 0, "key")
        assert headers["X-MBX-ORDER-COUNT-10S"] == headers["X-MBX-ORDER-COUNT-1M"] == str(number)
    assert [refused("here", "key")[0] for _ in range(20)] == [429] * 20
    assert limits.charge("here", 0, "another")["X-MBX-ORDER-COUNT-1M"] == "1"
    assert refused("here", "key") == (418, 120)
    now_s = 1180
    assert refused("here") == (418, 1)
    now_s = 1180.2
    assert limits.charge("here", 1, "") == {"X-MBX-USED-WEIGHT-1M": "1"}
    assert CexLimits(enforced=False).charge("here", 9999, "") == {"X-MBX-USED-WEIGHT-1M": "9999"}


def test_with_rate_limits_the_server_answers_429() -> None:
    options = Options(coins=("BTC",), history_h=4, paused=True, cex_port=0, rate_limits=True)
    with running(options) as server:
        url = server.sites["cex"].shown()["url"]
        codes = [requests.get(f"{url}/fapi/v1/ticker/24hr", timeout=5).status_code for _ in range(62)]
        assert codes == [200] * 60 + [429] * 2
        reply = requests.get(f"{url}/fapi/v1/ping", timeout=5)
        assert reply.json()["code"] == -1003
        assert 0 < int(reply.headers["Retry-After"]) <= 60


def test_frames_are_lost_or_stale_on_this_face_too(
    url: str, opened: Callable[..., Any], chaos: Callable[..., Any]
) -> None:
    account = opened()

    def gift() -> None:
        control(url, "faucet", api_key=account["api_key"], usdt=1)

    def then(**settings: Any) -> Callable[[], None]:
        def act() -> None:
            chaos(**settings)
            gift()
            chaos()
            gift()

        return act

    for settings in ({"stale_feeds": True}, {"lose_frame": 1}):
        before = float(client_of(url, account).fetch_balance()["USDT"]["total"])
        told = events(url, account, then(**settings), 1)
        assert float(told[0]["a"]["B"][0]["wb"]) == before + 2
    told = events(url, account, then(duplicate_frame=1), 3)
    assert told[0] == told[1] != told[2]


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


def test_controls_that_cannot_be_are_refused_in_a_sentence(url: str, opened: Callable[..., Any]) -> None:
    key = opened()["api_key"]
    wrong: list[tuple[str, dict[str, Any], int]] = [
        ("adl", {"api_key": key, "symbol": "BTCUSDT"}, 400),  # there is no position
        ("adl", {"api_key": key, "symbol": "NOPE"}, 400),
        ("adl", {"api_key": "nobody", "symbol": "BTCUSDT"}, 400),
        ("funding", {"symbol": "BTCUSDT", "interval_h": 3}, 400),
        ("funding", {"symbol": ["BTCUSDT"], "interval_h": 4}, 400),
        ("nothing", {}, 404),
    ]
    for name, body, status in wrong:
        reply = requests.post(f"{url}/devnet/{name}", json=body, timeout=5)
        assert reply.status_code == status
    assert "/devnet/funding" in requests.post(f"{url}/devnet/nothing", json={}, timeout=5).text
