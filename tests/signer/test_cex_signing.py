"""Every kind of request as ccxt signs it, byte for byte, for the same moment."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ccxt  # type: ignore[import-untyped]
import pytest

from bot.signer.cex_endpoints import ENDPOINTS
from bot.signer.cex_signing import BOOLEANS, INTEGERS
from tests.signer.cex_support import API_KEY, PASSPHRASE, SECRET, START_MS, SYMBOLS, CexDesk, order

CLASSES: dict[str, Any] = {"binance": ccxt.binanceusdm, "bybit": ccxt.bybit, "okx": ccxt.okx}
APIS = {"binance": "fapiPrivate", "bybit": "private", "okx": "private"}
FILLED = {
    "symbol": "BTCUSDT",
    "instId": "BTC-USDT-SWAP",
    "leverage": "5",
    "buyLeverage": "3",
    "sellLeverage": "3",
    "lever": "2",
    "countdownTime": "60000",
    "timeOut": "0",
    "mgnMode": "isolated",
    "marginType": "ISOLATED",
    "setMarginMode": "ISOLATED_MARGIN",
}
ALL = [(venue, *where) for venue, table in ENDPOINTS.items() for where in table]


def ccxts(venue: str, method: str, path: str, params: dict[str, str]) -> dict[str, Any]:
    """What ccxt would send."""
    exchange = CLASSES[venue]({"apiKey": API_KEY, "secret": SECRET, "password": PASSPHRASE})
    exchange.nonce = lambda: START_MS
    exchange.options["recvWindow"] = 5_000
    typed: dict[str, Any] = dict(params)
    if method == "POST" and venue != "binance":
        typed |= {k: v == "true" for k, v in params.items() if k in BOOLEANS}
        typed |= {k: int(v) for k, v in params.items() if k in INTEGERS}
    api, inner = APIS[venue], path.lstrip("/")
    if venue == "binance":
        _, version, inner = inner.split("/", 2)
        api += version.upper().replace("V1", "")
    elif venue == "okx":
        inner = inner.removeprefix("api/v5/")
    found: dict[str, Any] = exchange.sign(inner, [api], method, typed)
    headers = dict(found["headers"])
    headers.pop("Referer", None)  # names who brought the customer; no part of the signature
    if venue == "okx":
        headers["x-simulated-trading"] = "1"  # as its sandbox mode adds to every request
    url = urlsplit(found["url"])
    assert url.path == path
    return {"headers": headers, "query": url.query, "body": found["body"] or ""}


@pytest.mark.parametrize(("venue", "method", "path"), ALL)
def test_every_endpoint_is_signed_as_ccxt_signs_it(
    tmp_path: Path, venue: str, method: str, path: str
) -> None:
    desk = CexDesk(tmp_path, venue)
    desk.ready()
    endpoint = ENDPOINTS[venue][method, path]
    if path == "/fapi/v1/algoOrder" and endpoint.kind == "order":
        stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "quantity": "0.0100", "reduceOnly": "true"}
        cases = [
            {**stop, "side": side, "type": kind, "triggerPrice": "49500.1", "clientAlgoId": f"a{side}{kind}"}
            for side in ("BUY", "SELL")
            for kind in ("STOP_MARKET", "TAKE_PROFIT_MARKET")
        ]
    elif endpoint.kind == "order":
        cases = [
            order(venue, side, "0.0100", price, reduce=reduce)[2]
            for side in ("buy", "sell")
            for price in ("50000.1", None)
            for reduce in (True, False)
        ]
    else:
        least = {
            key: FILLED.get(key) or min(endpoint.only.get(key, {"x-1"})) for key in sorted(endpoint.must)
        }
        more = {"symbol" if "symbol" in endpoint.may else "instId": SYMBOLS[venue], "limit": "50"}
        cases = [least, {**least, **{k: v for k, v in more.items() if k in endpoint.may}}]
    for params in cases:
        answer = desk.cex(method, path, **params)
        assert "ok" in answer, answer
        signed = {key: answer["ok"][key] for key in ("headers", "query", "body")}
        assert signed == ccxts(venue, method, path, params)
        assert answer["ok"]["network"] == "testnet"
        assert answer["ok"]["timestamp_ms"] == START_MS


def test_a_binance_query_is_signed_as_openssl_would(tmp_path: Path) -> None:
    # printf 'timestamp=…&recvWindow=5000' | openssl dgst -sha256 -hmac SECRET: another program's answer.
    import subprocess

    desk = CexDesk(tmp_path, "binance")
    query = desk.cex("GET", "/fapi/v3/balance")["ok"]["query"]
    text, _, signature = query.rpartition("&signature=")
    assert text == f"timestamp={START_MS}&recvWindow=5000"
    told = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    assert told.stdout.decode().split()[-1] == signature
