"""Spot pairs, traded with the venue's own library: orders, holds, fees in the token received, and who may sell what."""

import queue
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import requests
from eth_account.signers.local import LocalAccount
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info

from bot.devnet.server import Server

Funded = Callable[..., LocalAccount]
PAIR, COIN = "UBTC/USDC", "@142"
GTC, ALO, IOC = ({"limit": {"tif": tif}} for tif in ("Gtc", "Alo", "Ioc"))
D = Decimal


@pytest.fixture
def info(devnet: Server) -> Info:
    return Info(devnet.url, skip_ws=True)


@pytest.fixture
def trader(devnet: Server, funded: Funded) -> tuple[Exchange, str]:
    """Ten thousand dollars in the spot wallet."""
    wallet = funded(20_000)
    exchange = Exchange(wallet, devnet.url)
    assert exchange.usd_class_transfer(10_000, False)["status"] == "ok"
    return exchange, wallet.address


def one(reply: Any) -> Any:
    assert reply["status"] == "ok", reply
    (status,) = reply["response"]["data"]["statuses"]
    return status


def owned(info: Info, user: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Token → total and hold."""
    rows = info.spot_user_state(user)["balances"]
    return {row["coin"]: (D(row["total"]), D(row["hold"])) for row in rows}


def best(info: Info, side: int) -> Decimal:
    return D(info.l2_snapshot(PAIR)["levels"][side][0]["px"])


def test_pairs_are_listed_by_number_and_near_their_perpetual(devnet: Server, info: Info) -> None:
    meta, contexts = info.spot_meta_and_asset_ctxs()
    assert [row["name"] for row in meta["universe"]] == ["@142", "@151", "@156"]
    for row in meta["universe"]:
        base, quote = (meta["tokens"][number] for number in row["tokens"])
        assert (base["index"], quote["name"]) == (row["tokens"][0], "USDC")
    for row in meta["universe"]:  # a context stands at its pair's number, as on the venue
        assert contexts[row["index"]]["coin"] == row["name"]
        assert contexts[row["index"]]["midPx"] == info.all_mids()[row["name"]]
    mids, oracle = info.all_mids(), D(info.meta_and_asset_ctxs()[1][0]["oraclePx"])
    assert abs(D(mids[COIN]) / oracle - 1) < D("0.002")
    assert info.name_to_asset(PAIR) == 10_142


def test_a_purchase_pays_its_fee_in_the_token_bought(
    devnet: Server, info: Info, trader: tuple[Exchange, str]
) -> None:
    exchange, user = trader
    ask = best(info, 1)
    filled = one(exchange.order(PAIR, True, 0.002, float(ask), IOC))["filled"]
    assert (filled["totalSz"], D(filled["avgPx"])) == ("0.002", ask)
    (fill,) = info.user_fills(user)
    in_quote = (ask * D("0.002") * D("0.0007")).quantize(D("1e-6"), "ROUND_FLOOR")
    assert D(fill["fee"]) == (in_quote / ask).quantize(D("1e-10"), "ROUND_FLOOR")
    assert (fill["coin"], fill["dir"], fill["feeToken"]) == (COIN, "Buy", "UBTC")
    held = owned(info, user)
    assert held["UBTC"] == (D("0.002") - D(fill["fee"]), D(0))
    assert held["USDC"] == (D(10_000) - ask * D("0.002"), D(0))
    sold = one(exchange.order(PAIR, False, 0.001, float(best(info, 0)), IOC))["filled"]
    fill = info.user_fills(user)[0]
    assert (fill["dir"], fill["feeToken"], fill["sz"]) == ("Sell", "USDC", sold["totalSz"])


def test_what_rests_is_held_shown_and_given_back(
    devnet: Server, info: Info, trader: tuple[Exchange, str]
) -> None:
    exchange, user = trader
    price = round(float(best(info, 0)) * 0.9)
    oid = one(exchange.order(PAIR, True, 0.01, price, ALO))["resting"]["oid"]
    assert owned(info, user)["USDC"] == (D(10_000), D(price) * D("0.01"))
    (shown,) = info.frontend_open_orders(user)
    assert (shown["coin"], shown["oid"], shown["tif"]) == (COIN, oid, "Alo")
    changed = one(exchange.modify_order(oid, PAIR, True, 0.02, price, ALO))["resting"]["oid"]
    assert owned(info, user)["USDC"] == (D(10_000), D(price) * D("0.02"))
    assert one(exchange.cancel(PAIR, changed)) == "success"
    assert owned(info, user)["USDC"] == (D(10_000), D(0))
    assert info.query_order_by_oid(user, changed)["order"]["status"] == "canceled"


def test_two_users_trade_with_each_other(
    devnet: Server, info: Info, trader: tuple[Exchange, str], funded: Funded
) -> None:
    buyer, buying = trader
    wallet = funded(5000)
    seller = Exchange(wallet, devnet.url)
    seller.usd_class_transfer(5000, False)
    one(seller.order(PAIR, True, 0.01, float(best(info, 1)) + 500, IOC))
    price = float(best(info, 0))
    assert "resting" in one(buyer.order(PAIR, True, 0.005, price, GTC))
    assert one(seller.order(PAIR, False, 0.005, price, IOC))["filled"]["totalSz"] == "0.005"
    bought, sold = info.user_fills(buying)[0], info.user_fills(wallet.address)[0]
    assert (bought["tid"], bought["crossed"], sold["crossed"]) == (sold["tid"], False, True)
    assert info.post("/info", {"type": "recentTrades", "coin": COIN})[0]["tid"] == sold["tid"]


def test_spot_refusals_have_the_venues_words(
    devnet: Server, info: Info, trader: tuple[Exchange, str]
) -> None:
    exchange, _ = trader
    price = round(float(best(info, 0)) * 0.9)

    def error(*order: Any, **options: Any) -> str:
        said: str = one(exchange.order(PAIR, *order, **options))["error"]
        return said

    assert error(True, 1.0, price, GTC) == "Insufficient spot balance asset=10142"
    assert error(False, 0.01, price + 10_000, GTC) == "Insufficient spot balance asset=10142"
    assert error(True, 0.0001, price, GTC) == "Order must have minimum value of 10 USDC. asset=10142"
    assert error(True, 0.01, price + 0.5, GTC) == "Price must be divisible by tick size. asset=10142"
    assert error(True, 0.000001, price, GTC) == "Order has invalid size. asset=10142"
    assert error(True, 0.01, price, IOC).startswith("Order could not immediately match")
    assert error(True, 0.01, price * 2, ALO).startswith("Post only order would have immediately matched")
    assert error(True, 0.01, price, GTC, reduce_only=True) == (
        "Reduce-only is invalid for spot trading. asset=10142"
    )
    trigger = {"trigger": {"triggerPx": float(price), "isMarket": True, "tpsl": "sl"}}
    assert error(True, 0.01, price, trigger).startswith("Placing trigger orders is not enabled on spot")
    exchange.info.name_to_coin["NONE"], exchange.info.coin_to_asset["NONE"] = "NONE", 10_999
    exchange.info.asset_to_sz_decimals[10_999] = 2
    assert one(exchange.order("NONE", True, 1, 100, GTC))["error"] == "Invalid spot asset=10999"


def test_candles_of_a_pair_join_and_stay_within_the_hours(devnet: Server, info: Info) -> None:
    start = (devnet.world.now_ms // 3_600_000 - 3) * 3_600_000
    (hour,) = info.candles_snapshot(PAIR, "1h", start, start + 3_599_999)
    minutes = info.candles_snapshot(PAIR, "1m", start, start + 3_599_999)
    assert len(minutes) == 60
    assert (minutes[0]["o"], minutes[-1]["c"]) == (hour["o"], hour["c"])
    assert D(hour["l"]) <= min(D(row["l"]) for row in minutes)
    assert max(D(row["h"]) for row in minutes) <= D(hour["h"])


def test_spot_streams_say_what_happens(devnet: Server, trader: tuple[Exchange, str]) -> None:
    exchange, user = trader
    info = Info(devnet.url)
    heard: dict[str, queue.Queue[Any]] = {}
    try:
        for kind in ("bbo", "l2Book", "trades", "activeAssetCtx"):
            inbox = heard[kind] = queue.Queue()
            subscription: Any = {"type": kind, "coin": PAIR}
            info.subscribe(subscription, inbox.put)
        fills = heard["userFills"] = queue.Queue()
        info.subscribe({"type": "userFills", "user": user}, fills.put)
        assert fills.get(timeout=10)["data"]["isSnapshot"] is True
        assert heard["bbo"].get(timeout=10)["data"]["coin"] == COIN
        assert heard["l2Book"].get(timeout=10)["data"]["levels"][0]
        assert "circulatingSupply" in heard["activeAssetCtx"].get(timeout=10)["data"]["ctx"]
        one(exchange.order(PAIR, True, 0.002, float(best(info, 1)), IOC))
        (fill,) = fills.get(timeout=10)["data"]["fills"]
        assert fill["coin"] == COIN
        while all(row["tid"] != fill["tid"] for row in heard["trades"].get(timeout=10)["data"]):
            pass
    finally:
        info.disconnect_websocket()


def test_carry_is_long_spot_and_short_perpetual_of_the_same_size(
    devnet: Server, info: Info, trader: tuple[Exchange, str]
) -> None:
    exchange, user = trader
    one(exchange.order(PAIR, True, 0.05, float(best(info, 1)) + 500, IOC))
    received = owned(info, user)["UBTC"][0]
    lots = received.quantize(D("0.00001"), "ROUND_FLOOR")
    one(exchange.market_open("BTC", False, float(lots)))
    (position,) = info.user_state(user)["assetPositions"]
    assert D(position["position"]["szi"]) == -lots
    assert lots < D("0.05")  # the fee was taken from what was bought


def test_others_trade_spot_too_and_fill_what_rests() -> None:
    from bot.devnet.start import Options, build

    world = build(Options(coins=("BTC", "HYPE"), history_h=4, paused=True, start_ms=1_772_000_000_000)).world
    assert list(world.spot.pairs) == ["PURR/USDC", "@107", "@142"]
    world.paused = False
    world.speed = 1e-9
    for _ in range(50):
        world.tick()
    assert all(world.tape[name] for name in world.spot.pairs)


def test_a_faucet_gives_tokens_too(devnet: Server, info: Info, funded: Funded) -> None:
    wallet = funded(100)
    body = {"user": wallet.address, "token": "UBTC", "amount": "0.5"}
    reply = requests.post(f"{devnet.url}/devnet/faucet", json=body, timeout=5)
    assert reply.json()["balance"] == "0.5"
    assert owned(info, wallet.address)["UBTC"] == (D("0.5"), D(0))
    for wrong in ({"token": "NONE"}, {"amount": "-1"}, {"amount": "1e99"}, {"amount": "0.00000000001"}):
        reply = requests.post(f"{devnet.url}/devnet/faucet", json=body | wrong, timeout=5)
        assert reply.status_code == 400
