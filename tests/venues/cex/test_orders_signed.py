"""Orders of each exchange as the library writes them, held against the signer's own tables and rules."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.errors import OutcomeUnknown, Refused, StateError, Unavailable
from bot.model.account import MarginMode
from bot.model.instrument import Instrument, MarginTier
from bot.model.order import Order, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.signer.cex_client import CexSigner, SignedRequest
from bot.signer.engine import Peer
from bot.venues.cex import exchange as exchanges
from bot.venues.cex.books import Market
from bot.venues.cex.client import Client, NotSigned
from bot.venues.cex.differences import TABLE
from bot.venues.cex.orders import asked, worst_price
from bot.venues.cex.terms import CexTerms
from tests.signer.cex_support import SYMBOLS, CexDesk
from tests.venues.cex.scripted import NOW_MS, SERVICES, Wire

SYMBOL = "BTC/USDT:USDT"
CLOID = "0xb0010001dfc17ae04caa1938585a58ac"
MARKETS: Mapping[str, Mapping[str, Any]] = {
    "binance": {"/fapi/v1/exchangeInfo": {"symbols": [{
        "symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING", "baseAsset": "BTC",
        "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3,
        "deliveryDate": 4133404800000, "onboardDate": 1569398400000,
        "orderTypes": ["LIMIT", "MARKET", "STOP_MARKET", "TAKE_PROFIT_MARKET"],
        "filters": [{"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "900000", "tickSize": "0.10"},
                    {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "900", "stepSize": "0.001"}],
    }]}},
    "bybit": {"/v5/market/instruments-info": {"retCode": 0, "result": {"category": "linear", "list": [{
        "symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC",
        "quoteCoin": "USDT", "settleCoin": "USDT", "launchTime": "1585526400000", "deliveryTime": "0",
        "priceFilter": {"minPrice": "0.1", "maxPrice": "900000", "tickSize": "0.1"}, "fundingInterval": 480,
        "lotSizeFilter": {"minOrderQty": "0.001", "maxOrderQty": "900", "qtyStep": "0.001"},
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100", "leverageStep": "0.01"},
    }]}}},
    "okx": {"/api/v5/public/instruments": {"code": "0", "msg": "", "data": [{
        "instType": "SWAP", "instId": "BTC-USDT-SWAP", "uly": "BTC-USDT", "instFamily": "BTC-USDT", "ctVal": "0.01",
        "ctMult": "1", "ctValCcy": "BTC", "ctType": "linear", "settleCcy": "USDT", "lotSz": "0.01", "minSz": "0.01",
        "tickSz": "0.1", "state": "live", "lever": "100", "baseCcy": "", "quoteCcy": "", "listTime": "1573557408000",
    }]}},
}  # fmt: skip
PLACED = {"binance": ("/fapi/v1/order",), "bybit": ("/v5/order/create",), "okx": ("/api/v5/trade/order",)}
ANSWER = {
    "binance": {"orderId": 5, "symbol": "BTCUSDT", "status": "NEW", "origQty": "0.010", "executedQty": "0.000",
                "side": "BUY", "type": "LIMIT", "price": "50000.1", "positionSide": "BOTH", "updateTime": NOW_MS},
    "bybit": {"retCode": 0, "result": {"orderId": "u-1", "orderLinkId": "x"}},
    "okx": {"code": "0", "msg": "", "data": [{"ordId": "7", "clOrdId": "x", "sCode": "0", "sMsg": "", "tag": ""}]},
}  # fmt: skip
ORDERS = {
    "ioc": Order("d1-x", "v:BTC", Side.BUY, 10, Decimal("50000.1")),
    "rests": Order("d1-x", "v:BTC", Side.BUY, 10, Decimal("49999.9"), TimeInForce.GTC),
    "adds only": Order("d1-x", "v:BTC", Side.BUY, 10, Decimal("49999.9"), TimeInForce.ALO),
    "opens at the market": Order("d1-x", "v:BTC", Side.SELL, 10),
    "closes at the market": Order("d1-x", "v:BTC", Side.SELL, 10, reduce_only=True),
    "stops": Order("d1-x", "v:BTC", Side.SELL, 10, reduce_only=True, purpose=Purpose.STOP,
                   trigger=Trigger(TriggerKind.STOP, Decimal(49000))),
    "takes profit": Order("d1-x", "v:BTC", Side.SELL, 10, reduce_only=True, purpose=Purpose.TAKE_PROFIT,
                          trigger=Trigger(TriggerKind.TAKE_PROFIT, Decimal(51000))),
}  # fmt: skip


class SignerDesk(CexSigner):
    """The signer's rules of one exchange, told a price of 50,000, without its socket."""

    def __init__(self, folder: Path, venue: str) -> None:
        super().__init__(folder / "nowhere")
        self.desk = CexDesk(folder, venue, cross=True, max_clock_offset_ms=10_000)
        self.desk.ready()

    def _exchange(self, packet: bytes, number: int) -> dict[str, Any]:
        import json

        answer: dict[str, Any] = json.loads(self.desk.engine.handle(packet, Peer(1, 1)))
        return answer


class Trial:
    """One order of one exchange, from the plan's words to the bytes that would leave."""

    def __init__(self, folder: Path, venue: str) -> None:
        self.venue, self.row = venue, TABLE[venue]
        self.signer = SignerDesk(folder, venue)
        terms = CexTerms(venue, "testnet", ("BTC",), service=SERVICES[venue])
        exchange = exchanges.made(terms, self.row, self.signer, lambda: self.signer.desk.wall_ms)
        exchange.throttle = self._at_once
        answers: dict[str, Any] = dict(MARKETS[venue]) | dict.fromkeys(PLACED[venue], ANSWER[venue])
        answers["/fapi/v1/algoOrder"] = {
            "algoId": 9,
            "symbol": "BTCUSDT",
            "algoStatus": "NEW",
            "quantity": "0.010",
        }
        self.wire = Wire(answers)
        self.wire.bind(exchange)
        self.client = Client(exchange, self.row)
        contract = Decimal("0.01") if venue == "okx" else Decimal(1)
        instrument = Instrument("v:BTC", 3, (MarginTier(Decimal(0), 50),), tick=Decimal("0.1"), venue=venue)
        self.market = Market(instrument, SYMBOL, SYMBOLS[venue], contract)
        self.left: list[SignedRequest] = []

    @staticmethod
    async def _at_once(*_: Any) -> None: ...

    def place(self, order: Order) -> tuple[str, dict[str, str]]:
        """The path and the parameters that were signed."""

        async def run() -> None:
            await self.client.ask("load_markets")
            worst = worst_price(order, self.market, Decimal(50_000))
            arguments = asked(order, self.market, self.row, CLOID, MarginMode.ISOLATED, worst)
            try:
                await self.client.order(self.left.append, *arguments)
            finally:
                await self.client.close()

        asyncio.run(run())
        method, url, sent = self.wire.sent[-1]
        assert method == "POST"
        return url.partition(".com")[2], sent


TRIGGERED = [kind for kind, order in ORDERS.items() if order.trigger is not None]
SIGNED = [
    (venue, kind)
    for venue in ("binance", "bybit", "okx")
    for kind in ORDERS
    if not (venue == "okx" and kind in TRIGGERED)
]


@pytest.mark.parametrize("kind", TRIGGERED)
def test_okxs_orders_that_wait_for_a_price_are_refused_before_anything_is_sent(
    tmp_path: Path, kind: str
) -> None:
    trial = Trial(tmp_path, "okx")
    with pytest.raises(Refused, match="order-algo"):
        trial.place(ORDERS[kind])
    assert trial.left == []
    assert not [url for method, url, _ in trial.wire.sent if method == "POST"]


@pytest.mark.parametrize(("venue", "kind"), SIGNED)
def test_the_signer_signs_every_kind_of_order_under_our_name(tmp_path: Path, venue: str, kind: str) -> None:
    trial = Trial(tmp_path, venue)
    path, sent = trial.place(ORDERS[kind])
    size = {"binance": "quantity", "bybit": "qty", "okx": "sz"}[venue]
    assert Decimal(str(sent[size])) * trial.market.contract == Decimal("0.010")
    names = {"newClientOrderId", "clientAlgoId", "orderLinkId", "clOrdId"}
    assert {sent[name] for name in names & sent.keys()} == {CLOID[2:]}
    assert (str(sent.get("reduceOnly", "false")).lower() == "true") is ORDERS[kind].reduce_only
    assert len(trial.left) == 1
    if venue == "binance":
        is_apart = ORDERS[kind].trigger is not None
        assert path == ("/fapi/v1/algoOrder" if is_apart else "/fapi/v1/order")


def test_what_opens_without_a_limit_has_a_worst_price_of_half_a_percent(tmp_path: Path) -> None:
    _, sent = Trial(tmp_path, "binance").place(ORDERS["opens at the market"])
    assert (sent["type"], sent["timeInForce"], sent["price"]) == ("LIMIT", "IOC", "49750")


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
def test_hosts_are_those_where_one_practises(tmp_path: Path, venue: str) -> None:
    trial = Trial(tmp_path, venue)
    trial.place(ORDERS["ioc"])
    host = {"binance": "demo-fapi.binance.com", "bybit": "api-testnet.bybit.com", "okx": "www.okx.com"}[venue]
    assert {url.split("/")[2] for _, url, _ in trial.wire.sent} == {host}
    if venue == "okx":
        assert trial.left[0].headers["x-simulated-trading"] == "1"


def test_what_moves_money_is_not_even_asked_of_the_signer(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "binance")

    async def run() -> None:
        try:
            await trial.client.ask("sapiPostCapitalWithdrawApply", {"coin": "USDT"})
        finally:
            await trial.client.close()

    with pytest.raises(Refused, match="not asked for"):
        asyncio.run(run())
    assert trial.signer.status()["state"] != "locked"


def test_what_the_policy_forbids_does_not_leave(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "binance")
    with pytest.raises(NotSigned, match="order_usd"):
        trial.place(Order("d1-x", "v:BTC", Side.BUY, 100, Decimal(50_000)))
    assert trial.left == []
    assert {url.rpartition("/")[2] for _, url, _ in trial.wire.sent} == {"exchangeInfo"}


def test_an_order_that_cant_be_written_down_does_not_leave(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "binance")

    def full(_: SignedRequest) -> None:
        raise StateError("the disk is full")

    async def run() -> None:
        await trial.client.ask("load_markets")
        arguments = asked(ORDERS["ioc"], trial.market, trial.row, CLOID, MarginMode.CROSS, Decimal(50_000))
        try:
            await trial.client.order(full, *arguments)
        finally:
            await trial.client.close()

    with pytest.raises(StateError, match="disk"):
        asyncio.run(run())
    assert {method for method, _, _ in trial.wire.sent} == {"GET"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {"code": -2019, "msg": "Margin is insufficient."}), Refused),
        (
            (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}),
            Unavailable,
        ),
        ((429, {"code": -1003, "msg": "Too many requests"}), Unavailable),
        ((418, {"code": -1003, "msg": "Way too many requests"}), Refused),
        ((503, {"code": -1007, "msg": "Timeout waiting for response from backend server."}), OutcomeUnknown),
        ((502, "<html>bad gateway</html>"), OutcomeUnknown),
        ((400, {"code": -4116, "msg": "ClientOrderId is duplicated."}), OutcomeUnknown),
    ],
)
def test_what_an_answer_to_an_order_means(tmp_path: Path, answer: Any, error: type[Exception]) -> None:
    trial = Trial(tmp_path, "binance")
    trial.wire.answers["/fapi/v1/order"] = answer
    with pytest.raises(error):
        trial.place(ORDERS["ioc"])
    assert len(trial.left) == 1


def test_no_error_repeats_what_was_signed(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "binance")
    trial.wire.answers["/fapi/v1/order"] = (502, "<html>bad gateway</html>")
    with pytest.raises(OutcomeUnknown) as raised:
        trial.place(ORDERS["ioc"])
    assert "signature" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_a_limit_is_never_rounded_beyond_what_was_asked() -> None:
    instrument = Instrument("v:BTC", 3, (MarginTier(Decimal(0), 20),), venue="v", tick=Decimal("0.1"))
    market = Market(instrument, SYMBOL, "BTCUSDT", Decimal(1))
    for side, worst in ((Side.BUY, "50000.0"), (Side.SELL, "50000.1")):
        order = Order("d1-x", "v:BTC", side, 10, Decimal("50000.05"))
        assert worst_price(order, market, Decimal(50_000)) == Decimal(worst)


def test_a_stop_is_no_take_profit_and_what_only_reduces_takes_any_price(tmp_path: Path) -> None:
    market = Trial(tmp_path, "binance").market
    for name, key in (("stops", "stopLossPrice"), ("takes profit", "takeProfitPrice")):
        params = asked(ORDERS[name], market, TABLE["binance"], CLOID, MarginMode.CROSS, None)[-1]
        assert params.keys() & {"stopLossPrice", "takeProfitPrice"} == {key}
    assert worst_price(ORDERS["closes at the market"], market, Decimal(50_000)) is None
