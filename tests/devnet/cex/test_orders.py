"""The life of orders, as the unmodified ccxt client trades, and what the venue won't have."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest
import requests

from bot.devnet.cex.door import Door
from bot.devnet.start import Options, build
from tests.devnet.cex.clients import BTC, ETH, PEPE, advance, client_of, code_of, control


@pytest.fixture
def touch(exchange: Any) -> tuple[float, float]:
    book = exchange.fetch_order_book(BTC, 5)
    return book["bids"][0][0], book["asks"][0][0]


def refused(call: Callable[[], Any]) -> int:
    with pytest.raises(ccxt.BaseError) as error:
        call()
    return code_of(error.value)


def test_an_order_rests_is_found_and_cancelled(exchange: Any, touch: tuple[float, float]) -> None:
    placed = exchange.create_order(BTC, "limit", "buy", 0.01, touch[0] - 50, {"clientOrderId": "first-1"})
    assert (placed["status"], placed["filled"], placed["remaining"]) == ("open", 0, 0.01)
    assert placed["price"] == pytest.approx(touch[0] - 50)
    assert exchange.fetch_order(placed["id"], BTC)["status"] == "open"
    assert exchange.fetch_order("", BTC, {"origClientOrderId": "first-1"})["id"] == placed["id"]
    assert [each["id"] for each in exchange.fetch_open_orders(BTC)] == [placed["id"]]
    assert [each["id"] for each in exchange.fetch_open_orders()] == [placed["id"]]
    assert exchange.fetch_open_orders(ETH) == []
    rests = [row for row in exchange.fetch_order_book(BTC, 50)["bids"] if row[0] == placed["price"]]
    assert rests
    assert rests[0][1] >= 0.01
    assert exchange.cancel_order(placed["id"], BTC)["status"] == "canceled"
    assert exchange.fetch_open_orders(BTC) == []
    assert exchange.fetch_order(placed["id"], BTC)["status"] == "canceled"
    assert refused(lambda: exchange.cancel_order(placed["id"], BTC)) == -2011


def test_a_market_order_opens_a_position_and_pays_the_takers_fee(
    exchange: Any, touch: tuple[float, float]
) -> None:
    placed = exchange.create_order(BTC, "market", "buy", 0.01)
    assert (placed["status"], placed["filled"], placed["average"]) == ("closed", 0.01, touch[1])
    trade = exchange.fetch_my_trades(BTC)[-1]
    assert (trade["order"], trade["side"], trade["amount"], trade["price"], trade["takerOrMaker"]) == (
        placed["id"], "buy", 0.01, touch[1], "taker",
    )  # fmt: skip
    # The venue rounds a fee down, to a millionth: as floats a price that ends in 3 would be half of one off.
    exact = Decimal("0.01") * Decimal(str(touch[1])) * Decimal("0.0005")
    fee = float(exact.quantize(Decimal("0.000001"), ROUND_FLOOR))
    assert trade["fee"]["cost"] == fee
    position = exchange.fetch_positions([BTC])[0]
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.01, touch[1])
    mark = position["markPrice"]
    balance = exchange.fetch_balance()["USDT"]
    assert balance["total"] == pytest.approx(10_000 - fee + 0.01 * (mark - touch[1]), abs=1e-4)
    wallet = float(exchange.fetch_balance()["info"]["totalWalletBalance"])
    assert wallet == pytest.approx(10_000 - fee, abs=1e-6)


def test_an_ioc_order_takes_what_there_is_and_the_rest_expires(exchange: Any) -> None:
    best = exchange.fetch_order_book(ETH, 5)["asks"][0]
    wanted = round(best[1] + 1, 3)
    exchange.set_leverage(100, ETH)
    placed = exchange.create_order(ETH, "limit", "buy", wanted, best[0], {"timeInForce": "IOC"})
    assert placed["status"] in {"expired", "canceled"}
    assert placed["filled"] == pytest.approx(best[1])
    nothing = exchange.create_order(ETH, "limit", "buy", 0.1, best[0] * 0.98, {"timeInForce": "IOC"})
    assert (nothing["status"], nothing["filled"]) == ("expired", 0)


def test_a_post_only_order_that_would_take_is_refused_and_leaves_no_trace(
    exchange: Any, touch: tuple[float, float]
) -> None:
    before = exchange.fetch_orders(BTC)
    assert (
        refused(lambda: exchange.create_order(BTC, "limit", "buy", 0.01, touch[1], {"postOnly": True}))
        == -5022
    )
    assert exchange.fetch_orders(BTC) == before
    placed = exchange.create_order(BTC, "limit", "buy", 0.01, touch[0] - 20, {"postOnly": True})
    assert (placed["status"], placed["info"]["timeInForce"]) == ("open", "GTX")


def test_two_accounts_trade_with_each_other_and_the_maker_pays_less(
    url: str, opened: Callable[..., dict[str, str]], exchange: Any
) -> None:
    other = client_of(url, opened())
    bid, ask = (exchange.fetch_order_book(PEPE, 5)[side][0][0] for side in ("bids", "asks"))
    price = round((bid + ask) / 2, 7)
    assert bid < price < ask
    resting = exchange.create_order(PEPE, "limit", "sell", 100_000, price)
    taken = other.create_order(PEPE, "limit", "buy", 40_000, price, {"timeInForce": "IOC"})
    assert (taken["status"], taken["filled"], taken["average"]) == ("closed", 40_000, price)
    half = exchange.fetch_order(resting["id"], PEPE)
    assert (half["status"], half["filled"], half["remaining"]) == ("open", 40_000, 60_000)
    assert half["info"]["status"] == "PARTIALLY_FILLED"
    maker = exchange.fetch_my_trades(PEPE)[-1]
    assert (maker["takerOrMaker"], maker["side"]) == ("maker", "sell")
    assert maker["fee"]["cost"] == pytest.approx(40_000 * price * 0.0002, abs=1e-6)
    assert exchange.fetch_positions([PEPE])[0]["side"] == "short"
    printed = exchange.fetch_trades(PEPE)[-1]
    assert (printed["price"], printed["amount"], printed["side"]) == (price, 40_000, "buy")
    exchange.cancel_all_orders(PEPE)
    assert exchange.fetch_order(resting["id"], PEPE)["filled"] == 40_000


def test_who_would_trade_with_himself_loses_what_rests(exchange: Any, touch: tuple[float, float]) -> None:
    price = round((touch[0] + touch[1]) / 2, 1)
    assert touch[0] < price < touch[1]
    resting = exchange.create_order(BTC, "limit", "buy", 0.01, price)
    taken = exchange.create_order(BTC, "limit", "sell", 0.01, touch[0], {"timeInForce": "IOC"})
    assert (taken["status"], taken["average"]) == ("closed", touch[0])
    assert exchange.fetch_order(resting["id"], BTC)["info"]["status"] == "EXPIRED_IN_MATCH"
    assert exchange.fetch_open_orders(BTC) == []


def test_reducing_closes_at_most_what_is_held_and_never_opens(exchange: Any) -> None:
    assert (
        refused(lambda: exchange.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True}))
        == -2022
    )
    exchange.create_order(BTC, "market", "buy", 0.01)
    assert (
        refused(lambda: exchange.create_order(BTC, "market", "buy", 0.01, None, {"reduceOnly": True}))
        == -2022
    )
    closed = exchange.create_order(BTC, "market", "sell", 0.03, None, {"reduceOnly": True})
    assert (closed["status"], closed["filled"]) == ("closed", 0.01)
    assert exchange.fetch_positions([BTC]) == []
    kinds = [row["incomeType"] for row in exchange.fapiPrivateGetIncome()]
    assert kinds == ["TRANSFER", "COMMISSION", "REALIZED_PNL", "COMMISSION"]


def test_realised_profit_and_commissions_add_up_to_the_balance(url: str, exchange: Any) -> None:
    exchange.create_order(BTC, "market", "sell", 0.05)
    advance(url, 0.5)
    exchange.create_order(BTC, "market", "buy", 0.05)
    rows = exchange.fapiPrivateGetIncome()
    first, second = exchange.fetch_my_trades(BTC)
    profit = next(float(row["income"]) for row in rows if row["incomeType"] == "REALIZED_PNL")
    assert profit == pytest.approx(0.05 * (first["price"] - second["price"]), abs=1e-6)
    assert sum(float(row["income"]) for row in rows) == pytest.approx(
        float(exchange.fetch_balance()["info"]["totalWalletBalance"]), abs=1e-9
    )


def test_a_client_id_is_taken_only_while_its_order_is_open(exchange: Any, touch: tuple[float, float]) -> None:
    def place() -> Any:
        return exchange.create_order(BTC, "limit", "buy", 0.01, touch[0] - 50, {"clientOrderId": "once"})

    first = place()
    assert refused(place) == -4116
    exchange.cancel_order(first["id"], BTC)
    second = place()
    assert exchange.fetch_order("", BTC, {"origClientOrderId": "once"})["id"] == second["id"] != first["id"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"side": "UP"}, -1117),
        ({"type": "GUESS"}, -1116),
        ({"type": "STOP_MARKET", "stopPrice": "1"}, -4120),
        ({"timeInForce": "DAY"}, -1115),
        ({"timeInForce": ""}, -1102),
        ({"price": "0"}, -4001),
        ({"price": "{bid}5"}, -4014),
        ({"price": "{bid}123"}, -1111),
        ({"price": "1000000.0"}, -4016),
        ({"price": "10.0", "side": "SELL"}, -4024),
        ({"price": "1e5"}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "0.0011"}, -1111),
        ({"quantity": "1001"}, -4005),
        ({"quantity": "-1"}, -1102),
        ({"quantity": "0.001", "symbol": "ETHUSDT", "price": "{eth}"}, -4164),
        ({"quantity": "100"}, -2019),
        ({"positionSide": "LONG"}, -4061),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"type": "MARKET"}, -1106),
    ],
)
def test_what_the_venue_refuses_it_refuses_with_its_code(
    exchange: Any, touch: tuple[float, float], changes: dict[str, str], code: int
) -> None:
    eth = exchange.fetch_order_book(ETH, 5)["bids"][0][0]
    asked = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "0.01",
        "price": f"{touch[0]:.1f}",
        "timeInForce": "GTC",
    } | {name: value.format(bid=f"{touch[0]:.1f}", eth=f"{eth:.2f}") for name, value in changes.items()}
    if code == -2019:
        exchange.set_leverage(1, BTC)
    assert refused(lambda: exchange.fapiPrivatePostOrder(asked)) == code
    assert exchange.fetch_open_orders() == []


def test_orders_and_trades_are_found_by_id_and_by_time(url: str, exchange: Any) -> None:
    times = []
    for _ in range(3):
        times.append(exchange.fetch_time())
        exchange.create_order(BTC, "market", "buy", 0.002)
        advance(url, 0.1)
    orders, trades = exchange.fetch_orders(BTC), exchange.fetch_my_trades(BTC)
    assert [each["timestamp"] for each in orders] == times
    assert [each["timestamp"] for each in trades] == times
    assert exchange.fetch_orders(BTC, times[1]) == orders[1:]
    assert exchange.fetch_orders(BTC, None, 2) == orders[1:]
    assert exchange.fetch_my_trades(BTC, times[1], 1) == trades[1:2]
    assert exchange.fetch_my_trades(BTC, None, None, {"fromId": trades[2]["id"]}) == trades[2:]
    assert exchange.fetch_my_trades(BTC, None, None, {"orderId": orders[1]["id"]}) == trades[1:2]
    assert exchange.fetch_my_trades(ETH) == []


def test_a_count_down_cancels_what_is_not_put_off(
    url: str, exchange: Any, touch: tuple[float, float]
) -> None:
    exchange.create_order(BTC, "limit", "buy", 0.01, touch[0] * 0.97)
    exchange.fapiPrivatePostCountdownCancelAll({"symbol": "BTCUSDT", "countdownTime": "60000"})
    advance(url, 30 / 3600)
    assert len(exchange.fetch_open_orders(BTC)) == 1
    exchange.fapiPrivatePostCountdownCancelAll({"symbol": "BTCUSDT", "countdownTime": "60000"})
    advance(url, 45 / 3600)
    assert len(exchange.fetch_open_orders(BTC)) == 1
    advance(url, 20 / 3600)
    assert exchange.fetch_open_orders(BTC) == []


def test_a_resting_order_fills_when_the_market_comes_to_it(
    url: str, exchange: Any, touch: tuple[float, float]
) -> None:
    price = round(touch[0] - 0.1, 1)
    placed = exchange.create_order(BTC, "limit", "buy", 0.01, price)
    for _ in range(200):
        advance(url, 0.05)
        if exchange.fetch_order(placed["id"], BTC)["status"] == "closed":
            break
    filled = exchange.fetch_order(placed["id"], BTC)
    assert (filled["status"], filled["average"]) == ("closed", price)
    assert exchange.fetch_my_trades(BTC)[-1]["takerOrMaker"] == "maker"


def test_others_take_from_what_rests_on_this_venue_too() -> None:
    server = build(
        Options(
            coins=("BTC",),
            history_h=4,
            start_ms=1_735_732_800_000,
            paused=True,
            cex_port=0,
            cex_usdt=Decimal(1_000_000),
        )
    )
    door = server.world.neighbours["binance"]
    assert isinstance(door, Door)
    face = door.face
    (key,) = face.secrets
    book = face.exchange.books["BTCUSDT"]
    assert book.bid is not None
    assert book.ask is not None
    price = face.listed["BTCUSDT"].price((book.bid + book.ask) / 2)
    asked = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "price": price, "timeInForce": "GTX"}
    placed = door.carry_out("POST", "/fapi/v1/order", key, asked | {"quantity": "3"})
    executed = []
    for _ in range(600):
        server.world.others_trade()
        found = door.carry_out(
            "GET", "/fapi/v1/order", key, {"symbol": "BTCUSDT", "orderId": str(placed["orderId"])}
        )
        executed.append(float(found["executedQty"]))
    assert executed == sorted(executed)
    assert len({each for each in executed if 0 < each < 3}) > 2  # it fills bit by bit
    assert executed[-1] == 3


def test_an_account_that_is_new_has_what_it_was_given_and_no_more(
    url: str, opened: Callable[..., dict[str, str]]
) -> None:
    account = opened(0)
    client = client_of(url, account)
    assert client.fetch_balance()["total"] == {"USDT": 0}
    gift = control(url, "faucet", api_key=account["api_key"], usdt=12.5)
    assert "api_secret" not in gift
    assert float(gift["balance"]) == 12.5
    assert client.fetch_balance()["total"] == {"USDT": 12.5}
    wrong: list[dict[str, Any]] = [
        {"api_key": "nobody", "usdt": 1},
        {"usdt": -1},
        {"usdt": True},
        {"usdt": "much"},
    ]
    for body in wrong:
        assert requests.post(f"{url}/devnet/faucet", json=body, timeout=5).status_code == 400
