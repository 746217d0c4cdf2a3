"""What the unmodified ccxt client signs is accepted, and nothing else is."""

from __future__ import annotations

from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest

from bot.devnet.cex.authentication import Clock, Rejected, authenticate

# The key pair and the signed example of the exchange's own documentation.
KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
EXAMPLE = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
    "&timestamp=1591702613943"
)
SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
SENT_MS = 1591702613943
SECRETS = {KEY: SECRET}


def example(now_ms: int = SENT_MS, query: str = f"{EXAMPLE}&signature={SIGNATURE}") -> dict[str, str]:
    return authenticate(SECRETS, KEY, query, "", now_ms)


def code(**given: Any) -> int:
    with pytest.raises(Rejected) as refusal:
        example(**given)
    return refusal.value.code


def test_the_documented_example_is_accepted_in_query_body_or_both() -> None:
    whole = f"{EXAMPLE}&signature={SIGNATURE}"
    read = example()
    assert read == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "1",
        "price": "9000",
        "timeInForce": "GTC",
    }
    assert authenticate(SECRETS, KEY, "", whole, SENT_MS) == read


@pytest.mark.parametrize(("method", "path"), [("GET", "order"), ("POST", "order"), ("DELETE", "order")])
def test_what_ccxt_signs_is_accepted(method: str, path: str) -> None:
    client = ccxt.binanceusdm({"apiKey": KEY, "secret": SECRET})
    client.nonce = lambda: SENT_MS
    signed = client.sign(path, ["fapiPrivate"], method, {"symbol": "BTCUSDT", "newClientOrderId": "a-b_1"})
    query = signed["url"].partition("?")[2]
    body = signed["body"] or ""
    assert signed["headers"]["X-MBX-APIKEY"] == KEY
    read = authenticate(SECRETS, KEY, query, body, SENT_MS)
    assert read["symbol"] == "BTCUSDT"
    assert read["newClientOrderId"] == "a-b_1"
    changed = (query.replace("BTCUSDT", "ETHUSDT"), body.replace("BTCUSDT", "ETHUSDT"))
    with pytest.raises(Rejected) as refusal:
        authenticate(SECRETS, KEY, *changed, SENT_MS)
    assert refusal.value.code == -1022


def test_a_timestamp_is_good_from_just_under_a_second_ahead_to_the_end_of_the_window() -> None:
    assert example(SENT_MS - 999)
    assert example(SENT_MS + 5000)
    assert code(now_ms=SENT_MS - 1000) == -1021
    assert code(now_ms=SENT_MS + 5001) == -1021


def test_a_timestamp_may_be_right_by_another_clock_and_the_window_is_as_long_as_that_runs_fast() -> None:
    whole = f"{EXAMPLE}&signature={SIGNATURE}"

    def by(clock: Clock) -> bool:
        try:
            return bool(authenticate(SECRETS, KEY, whole, "", SENT_MS + 86_400_000, clock))
        except Rejected as refusal:
            return refusal.code != -1021

    assert by(Clock(SENT_MS + 5000))
    assert not by(Clock(SENT_MS + 5001))
    assert by(Clock(SENT_MS + 300_000, speed=60))
    assert not by(Clock(SENT_MS + 300_001, speed=60))
    assert by(Clock(SENT_MS - 59_999, speed=60))
    assert not by(Clock(SENT_MS - 60_000, speed=60))
    assert by(Clock(SENT_MS + 5000, speed=0.1))  # one that runs slowly is no reason to be strict


def test_what_is_missing_or_twice_there_is_named() -> None:
    assert code(query=EXAMPLE) == -1102
    assert code(query=f"{EXAMPLE}&symbol=ETHUSDT&signature={SIGNATURE}") == -1101
    assert code(query=f"{EXAMPLE}&signature=é") == -1022


def test_an_unknown_key_is_refused_before_anything_else_is_read() -> None:
    for key, expected in (("", -2014), ("other", -2015)):
        with pytest.raises(Rejected) as refusal:
            authenticate(SECRETS, key, "", "", SENT_MS)
        assert (refusal.value.code, refusal.value.status) == (expected, 401)
