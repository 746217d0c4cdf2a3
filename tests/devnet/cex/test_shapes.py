"""The devnet's answers have whatever the venue's own have, of the same kind, as recorded and as documented."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.devnet.cex.door import PUBLIC, SIGNED, Door
from bot.devnet.cex.parameters import Parameters
from bot.devnet.start import Options, build

ABSENT = {
    ".symbols.settlePlan",  # gone from the recorded replies of 2025
    ".notionalCoef",  # of accounts whose brackets are their own
    ".adlQuantile.HEDGE",  # of hedge mode
    ".activatePrice",
    ".priceRate",
    ".callbackRate",  # of trailing stops
    ".leverage",  # of positionRisk before v3, whose example is served for v3 too
    ".maxNotionalValue",
    ".marginType",
    ".isAutoAddMargin",
}
OTHER_KINDS = {
    ".assets.autoAssetExchange",  # text in the recorded replies, a number in the example
    ".timestamp",  # likewise of openInterestHist
    ".tranId",
    ".isAutoAddMargin",
}


@pytest.fixture(scope="module")
def asked() -> Any:
    """Answers by method and path, of an account that has one of everything."""
    options = Options(coins=("BTC",), history_h=60, paused=True, cex_port=0, cex_usdt=Decimal(10_000))
    server = build(options)
    door = server.world.neighbours["binance"]
    assert isinstance(door, Door)
    (key,) = door.face.secrets
    mark = door.face.exchange.marks["BTCUSDT"]
    order = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.01"}
    placed = {
        "POST /fapi/v1/order": door.carry_out("POST", "/fapi/v1/order", key, order | {"type": "MARKET"})
    }
    limit = {"type": "LIMIT", "timeInForce": "GTC", "price": f"{mark * Decimal('0.96'):.1f}"}
    resting = door.carry_out("POST", "/fapi/v1/order", key, order | limit)
    stop = {
        "type": "TAKE_PROFIT_MARKET",
        "algoType": "CONDITIONAL",
        "triggerPrice": f"{mark * Decimal('0.9'):.1f}",
    }
    placed["POST /fapi/v1/algoOrder"] = door.carry_out("POST", "/fapi/v1/algoOrder", key, order | stop)
    server.world.advance(8 * 3_600_000)
    door.face.print_trade(door.face.listed["BTCUSDT"], mark, 1, server.world.now_ms, is_buyer_maker=True)
    common = {"symbol": "BTCUSDT", "pair": "BTCUSDT", "interval": "1h", "period": "1h"}

    def ask(method: str, path: str) -> Any:
        if f"{method} {path}" in placed:
            return placed[f"{method} {path}"]
        if path in PUBLIC:
            return PUBLIC[path][0](door.face, Parameters(common))
        numbers = {"orderId": str(resting["orderId"])} if path.endswith(("/order", "/openOrder")) else {}
        numbers |= {"algoId": "1"} if path.endswith("/algoOrder") else {}
        return door.carry_out(method, path, key, common | numbers)

    return ask


def lacking(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """What theirs has that ours lacks or has of another kind."""
    if isinstance(theirs, list) and not isinstance(ours, list):  # of all symbols, where ours is of one
        return lacking(ours, theirs[0], at)
    if isinstance(theirs, list):
        return lacking(ours[0], theirs[0], at) if theirs and ours else []
    if not isinstance(theirs, dict):
        same = kind(ours) == kind(theirs) or ours is None or theirs is None
        return [] if same or at in OTHER_KINDS else [f"{at} is {kind(ours)}, not {kind(theirs)}"]
    found = []
    for name, value in theirs.items():
        place = f"{at}.{name}"
        if name in ours:
            found += lacking(ours[name], value, place)
        elif place not in ABSENT:
            found.append(f"{place} is missing")
    return found


def kind(value: Any) -> str:
    return "number" if type(value) in {int, float} else type(value).__name__


@pytest.mark.real_data
def test_answers_have_what_the_recorded_and_the_documented_ones_have(real_data: Path, asked: Any) -> None:
    folder = real_data.parent / "fixtures" / "binance"
    compared, wrong = 0, []
    for file in sorted([*(folder / "recorded").glob("*.json"), *(folder / "docs_examples").glob("*.json")]):
        told = json.loads(file.read_text())
        method, path = told["method"], told["path"]
        is_placed = method == "POST" and path in {"/fapi/v1/order", "/fapi/v1/algoOrder"}
        if not (method == "GET" and (path in PUBLIC or (method, path) in SIGNED)) and not is_placed:
            continue
        replies = [each["response"] for each in told["replies"]] if "replies" in told else [told["response"]]
        theirs = next(each for each in replies if not (isinstance(each, dict) and "code" in each))
        wrong += [f"{method} {path}: {each}" for each in lacking(asked(method, path), theirs)]
        compared += 1
    assert wrong == []
    assert compared > 35
