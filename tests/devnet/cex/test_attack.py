"""Whatever is sent, the devnet's Binance answers in JSON with one of the venue's codes, and its books stay whole."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.devnet.cex.authentication import Rejected
from bot.devnet.cex.door import PUBLIC, SIGNED, Door
from bot.devnet.cex.parameters import Parameters
from bot.devnet.start import Options, build

NUMBERS: Final = [
    "0",
    "1",
    "-1",
    "0.001",
    "0.01",
    "1e3",
    "999999999999999999",
    "9" * 30,
    "1735732800000",
    "0." + "1" * 21,
]
VALUES: Final[dict[str, list[str]]] = {
    "symbol": ["BTCUSDT", "ETHUSDT", "NOPE", "", "btcusdt", "BTC USDT"],
    "pair": ["BTCUSDT", "NOPE", ""],
    "side": ["BUY", "SELL", "buy", ""],
    "type": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TRAILING_STOP_MARKET", "1", "2", ""],
    "timeInForce": ["GTC", "IOC", "GTX", "FOK", "gtc", ""],
    "quantity": [*NUMBERS, "0.5", "900"],
    "price": [*NUMBERS, "100000.1", "104000.0", "3000.01"],
    "triggerPrice": [*NUMBERS, "90000.0", "120000.0"],
    "reduceOnly": ["true", "false", "TRUE", "maybe"],
    "closePosition": ["true", "false", "1"],
    "positionSide": ["BOTH", "LONG", "SHORT", ""],
    "newClientOrderId": ["a", "b", "ü", "x" * 37, ""],
    "clientAlgoId": ["a", "c", "x" * 37],
    "origClientOrderId": ["a", "b", "nobody", ""],
    "algoType": ["CONDITIONAL", "VP", ""],
    "workingType": ["MARK_PRICE", "CONTRACT_PRICE", "OTHER"],
    "interval": ["1m", "1h", "6h", "1w", "1M", "7m", ""],
    "period": ["5m", "1h", "1d", "7m"],
    "marginType": ["ISOLATED", "CROSSED", "x"],
    "dualSidePosition": ["true", "false", "x"],
    "leverage": ["1", "5", "150", "151", *NUMBERS],
    "incomeType": ["FUNDING_FEE", "x"],
    "autoCloseType": ["ADL", "LIQUIDATION", "x"],
    **dict.fromkeys(
        ("startTime", "endTime", "orderId", "algoId", "fromId", "countdownTime", "amount", "page"), NUMBERS
    ),
    "limit": ["0", "1", "5", "7", "1000", "99999", "-5", "x"],
}
SENSIBLE: Final[dict[str, list[dict[str, str]]]] = {
    "/fapi/v1/order": [
        {"side": "BUY", "type": "MARKET", "quantity": "0.3"},
        {"side": "SELL", "type": "MARKET", "quantity": "0.7"},
        {"side": "SELL", "type": "MARKET", "quantity": "2", "reduceOnly": "true"},
        {"side": "BUY", "type": "LIMIT", "quantity": "0.1", "price": "103000.0", "timeInForce": "GTC"},
        {"side": "SELL", "type": "LIMIT", "quantity": "0.1", "price": "103000.0", "timeInForce": "GTC"},
        {"side": "BUY", "type": "LIMIT", "quantity": "0.1", "price": "100000.0", "timeInForce": "GTX"},
    ],
    "/fapi/v1/algoOrder": [
        {"side": "SELL", "type": "STOP_MARKET", "quantity": "0.3", "triggerPrice": "103500.0"},
        {"side": "BUY", "type": "STOP_MARKET", "closePosition": "true", "triggerPrice": "105500.0"},
        {
            "side": "SELL",
            "type": "TAKE_PROFIT",
            "quantity": "1",
            "triggerPrice": "105000.0",
            "price": "106000.0",
        },
    ],
    "/fapi/v1/positionMargin": [{"amount": "10", "type": "1"}, {"amount": "10", "type": "2"}],
    "/fapi/v1/leverage": [{"leverage": "3"}, {"leverage": "100"}],
    "/fapi/v1/marginType": [{"marginType": "ISOLATED"}, {"marginType": "CROSSED"}],
    "/fapi/v1/countdownCancelAll": [{"countdownTime": "1000000"}],
}
CHANGES = st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 99), max_size=2)
PATHS: Final = [*SIGNED, *(("GET", path) for path in PUBLIC), *(6 * [("POST", path) for path in SENSIBLE])]


@st.composite
def request(draw: st.DrawFn) -> tuple[str, str, dict[str, str]]:
    """A request that would do, with up to two parameters changed."""
    method, path = draw(st.sampled_from(PATHS))
    common = {
        "symbol": "BTCUSDT",
        "interval": "1h",
        "period": "1h",
        "algoType": "CONDITIONAL",
        "pair": "BTCUSDT",
    }
    parameters = common | draw(st.sampled_from(SENSIBLE.get(path, [{}])))
    for name, number in draw(CHANGES).items():
        parameters[name] = VALUES[name][number % len(VALUES[name])]
    return method, path, parameters


requests = st.lists(request(), min_size=1, max_size=15)


def answer(door: Door, key: str, method: str, path: str, parameters: dict[str, str]) -> Any:
    try:
        if path in PUBLIC:
            return PUBLIC[path][0](door.face, Parameters(parameters))
        return door.carry_out(method, path, key, parameters)
    except Rejected as refusal:
        return refusal.body()


@settings(max_examples=150)
@given(requests, st.integers(0, 4 * 3_600_000))
def test_every_answer_is_json_and_the_account_adds_up(
    sent: list[tuple[str, str, dict[str, str]]], later_ms: int
) -> None:
    options = Options(
        coins=("BTC", "ETH"),
        history_h=3,
        start_ms=1_735_732_800_000,
        paused=True,
        cex_port=0,
        cex_usdt=Decimal(100_000),
    )
    server = build(options)
    door = server.world.neighbours["binance"]
    assert isinstance(door, Door)
    (key,) = door.face.secrets
    for method, path, parameters in sent:
        json.dumps(answer(door, key, method, path, parameters), allow_nan=False)
    server.world.advance(later_ms)
    earned = sum((Decimal(row["income"]) for row in door.face.records[key].income), Decimal(0))
    assert earned == door.face.wallet_usd(key)
    books = door.face.exchange.accounts[key]
    equity = books.equity_usd(door.face.exchange.marks)
    held = sum(
        (each.unrealised_usd(door.face.exchange.marks[n]) for n, each in books.positions.items()), Decimal(0)
    )
    assert equity == door.face.wallet_usd(key) + held
    shown = door.carry_out("GET", "/fapi/v3/account", key, {})
    assert abs(Decimal(shown["totalMarginBalance"]) - equity) < Decimal("1e-7")
    open_ids = {each["orderId"] for each in door.carry_out("GET", "/fapi/v1/openOrders", key, {})}
    assert open_ids == set(door.face.exchange.open_ids(key))
