"""The venue's own Python library, unmodified, trades on the devnet."""

import queue
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import eth_account
import pytest
import requests
from eth_account.signers.local import LocalAccount
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils import signing
from hyperliquid.utils.error import ClientError
from hyperliquid.utils.types import Cloid

from bot.devnet.server import Server

Funded = Callable[..., LocalAccount]


def client(devnet: Server, wallet: LocalAccount, **options: Any) -> Exchange:
    return Exchange(wallet, devnet.url, **options)


def reader(devnet: Server) -> Info:
    return Info(devnet.url, skip_ws=True)


def mid(devnet: Server, coin: str = "BTC") -> float:
    return float(reader(devnet).all_mids()[coin])


def below(devnet: Server, share: float, coin: str = "BTC") -> int:
    return round(mid(devnet, coin) * share)


def one(reply: Any) -> Any:
    assert reply["status"] == "ok", reply
    (status,) = reply["response"]["data"]["statuses"]
    return status


def control(devnet: Server, what: str, **body: Any) -> Any:
    reply = requests.post(f"{devnet.url}/devnet/{what}", json=body, timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.json()


def gtc(devnet: Server, exchange: Exchange, price: float, size: float = 0.01, **options: Any) -> Any:
    return one(exchange.order("BTC", True, size, price, {"limit": {"tif": "Gtc"}}, **options))


def test_a_post_only_order_rests_is_changed_and_cancelled_by_its_client_id(
    devnet: Server, funded: Funded
) -> None:
    wallet = funded()
    exchange, info = client(devnet, wallet), reader(devnet)
    cloid = Cloid.from_int(77)
    price = below(devnet, 0.9)
    resting = one(exchange.order("BTC", True, 0.01, price, {"limit": {"tif": "Alo"}}, cloid=cloid))["resting"]
    assert resting["cloid"] == cloid.to_raw()
    (shown,) = info.open_orders(wallet.address)
    assert (shown["oid"], shown["limitPx"], shown["sz"]) == (resting["oid"], f"{price}.0", "0.01")
    changed = one(
        exchange.modify_order(cloid, "BTC", True, 0.02, price - 10, {"limit": {"tif": "Gtc"}}, cloid=cloid)
    )
    assert changed["resting"]["oid"] != resting["oid"]
    assert info.query_order_by_oid(wallet.address, resting["oid"])["order"]["status"] == "canceled"
    assert one(exchange.cancel_by_cloid("BTC", cloid)) == "success"
    assert info.open_orders(wallet.address) == []
    assert "never placed" in one(exchange.cancel("BTC", resting["oid"]))["error"]
    assert info.query_order_by_oid(wallet.address, 4_000_000_000)["status"] == "unknownOid"


def test_a_market_order_fills_at_the_book_and_its_position_and_fee_show(
    devnet: Server, funded: Funded
) -> None:
    wallet = funded()
    exchange, info = client(devnet, wallet), reader(devnet)
    exchange.update_leverage(10, "BTC", True)
    ask = Decimal(info.l2_snapshot("BTC")["levels"][1][0]["px"])
    filled = one(exchange.market_open("BTC", True, 0.01))["filled"]
    assert filled["totalSz"] == "0.01"
    assert Decimal(filled["avgPx"]) == ask
    (fill,) = info.user_fills(wallet.address)
    assert Decimal(fill["fee"]) == (ask * Decimal("0.01") * Decimal("0.00045")).quantize(
        Decimal("0.000001"), "ROUND_FLOOR"
    )
    assert (fill["dir"], fill["crossed"], fill["startPosition"]) == ("Open Long", True, "0.0")
    state = info.user_state(wallet.address)
    position = state["assetPositions"][0]["position"]
    summary = state["marginSummary"]
    assert position["leverage"] == {"type": "cross", "value": 10}
    assert Decimal(summary["accountValue"]) == Decimal(summary["totalRawUsd"]) + Decimal(
        position["positionValue"]
    )
    assert Decimal(position["marginUsed"]) * 10 == Decimal(position["positionValue"])
    assert one(exchange.market_close("BTC"))["filled"]["totalSz"] == "0.01"
    assert info.user_state(wallet.address)["assetPositions"] == []


def test_a_large_order_walks_up_the_book(devnet: Server, funded: Funded) -> None:
    wallet = funded(50_000_000)
    exchange, asks = client(devnet, wallet), reader(devnet).l2_snapshot("BTC")["levels"][1]
    two = Decimal(asks[0]["sz"]) + Decimal(asks[1]["sz"])
    filled = one(exchange.order("BTC", True, float(two), float(asks[1]["px"]), {"limit": {"tif": "Ioc"}}))
    paid = sum(Decimal(level["px"]) * Decimal(level["sz"]) for level in asks[:2]) / two
    assert Decimal(filled["filled"]["totalSz"]) == two
    assert abs(Decimal(filled["filled"]["avgPx"]) - paid) < Decimal("0.1")
    left = reader(devnet).l2_snapshot("BTC")["levels"][1]
    assert left[0]["px"] == asks[2]["px"]
    control(devnet, "clock", advance_s=1)


def test_two_users_meet_in_the_book(devnet: Server, funded: Funded) -> None:
    maker, taker = funded(), funded()
    book = reader(devnet).l2_snapshot("BTC")["levels"]
    price = float(book[0][0]["px"])
    buying = client(devnet, maker)
    order = gtc(devnet, buying, price, 0.01)
    assert "resting" in order
    assert one(client(devnet, taker).order("BTC", False, 0.01, price, {"limit": {"tif": "Ioc"}}))["filled"]
    (fill,) = reader(devnet).user_fills(maker.address)
    assert (fill["oid"], fill["crossed"]) == (order["resting"]["oid"], False)
    (other,) = reader(devnet).user_fills(taker.address)
    assert other["tid"] == fill["tid"]


def test_isolated_margin_is_added_and_taken(devnet: Server, funded: Funded) -> None:
    wallet = funded()
    exchange, info = client(devnet, wallet), reader(devnet)
    assert exchange.update_leverage(5, "ETH", False)["status"] == "ok"
    one(exchange.market_open("ETH", True, 0.5))
    before = info.user_state(wallet.address)["assetPositions"][0]["position"]
    assert exchange.update_isolated_margin(25.0, "ETH")["status"] == "ok"
    after = info.user_state(wallet.address)["assetPositions"][0]["position"]
    assert Decimal(after["marginUsed"]) - Decimal(before["marginUsed"]) == 25
    assert Decimal(after["liquidationPx"]) < Decimal(before["liquidationPx"])
    refused = exchange.update_isolated_margin(-500.0, "ETH")
    assert refused == {
        "status": "err",
        "response": "Position does not have sufficient margin for reduction.",
    }
    assert exchange.update_leverage(5, "ETH", True)["response"].startswith("Cannot switch leverage type")
    assert exchange.update_leverage(99, "ETH", False)["response"] == "Invalid leverage value"


def test_every_refusal_has_the_venues_words(devnet: Server, funded: Funded) -> None:
    wallet = funded(1000)
    exchange = client(devnet, wallet)
    alo, ioc = {"limit": {"tif": "Alo"}}, {"limit": {"tif": "Ioc"}}
    price = below(devnet, 0.9)

    def error(*order: Any, **options: Any) -> str:
        text: str = one(exchange.order("BTC", *order, **options))["error"]
        return text

    assert error(True, 0.01, price + 0.5, alo) == "Price must be divisible by tick size. asset=0"
    assert error(True, 0.00001, price, alo) == "Order must have minimum value of $10. asset=0"
    assert error(True, 0.000001, price, alo) == "Order has invalid size. asset=0"
    assert error(True, 0.0, price, alo) == "Order has zero size. asset=0"
    assert error(True, 1.0, price, alo) == "Insufficient margin to place order. asset=0"
    assert error(False, 0.01, price, alo).startswith(
        "Post only order would have immediately matched, bbo was "
    )
    assert error(True, 0.01, price, ioc) == (
        "Order could not immediately match against any resting orders. asset=0"
    )
    assert error(False, 0.01, price, ioc, reduce_only=True) == (
        "Reduce only order would increase position. asset=0"
    )
    assert error(True, 0.01, below(devnet, 0.01), alo).startswith("Order price cannot be more than 95% away")
    trigger = {"trigger": {"triggerPx": float(price), "isMarket": True, "tpsl": "tp"}}
    assert error(False, 0.01, price, trigger) == "Invalid TP/SL price. asset=0"
    assert exchange.bulk_orders([])["response"] == "Orders are empty."
    exchange.info.name_to_coin["NONE"], exchange.info.coin_to_asset["NONE"] = "NONE", 900
    exchange.info.asset_to_sz_decimals[900] = 2
    assert "asset=900" in one(exchange.order("NONE", True, 1, 10, alo))["error"]


def test_a_stranger_and_a_wrong_network_are_told_who_signed(devnet: Server, funded: Funded) -> None:
    stranger = eth_account.Account.create()
    reply = client(devnet, stranger).order("BTC", True, 0.01, 50_000, {"limit": {"tif": "Alo"}})
    assert reply["response"] == f"User or API Wallet {stranger.address.lower()} does not exist."
    wallet = funded()
    mainnet, nonce = signing.sign_l1_action(wallet, {"type": "noop"}, None, 1, None, True), 1
    body = {"action": {"type": "noop"}, "nonce": nonce, "signature": mainnet}
    answer = requests.post(f"{devnet.url}/exchange", json=body, timeout=5).json()
    assert answer["status"] == "err"
    assert "does not exist" in answer["response"]
    assert wallet.address.lower() not in answer["response"]


def test_a_nonce_serves_once_and_only_near_now(devnet: Server, funded: Funded) -> None:
    wallet, url = funded(), f"{devnet.url}/exchange"
    now = time.time_ns() // 1_000_000

    def noop(nonce: int, expires: int | None = None) -> Any:
        signed = signing.sign_l1_action(wallet, {"type": "noop"}, None, nonce, expires, False)
        body = {"action": {"type": "noop"}, "nonce": nonce, "signature": signed, "vaultAddress": None}
        return requests.post(url, json=body | {"expiresAfter": expires}, timeout=5).json()

    assert noop(now) == {"status": "ok", "response": {"type": "default"}}
    assert noop(now)["response"] == f"Invalid nonce: duplicate nonce {now}"
    assert noop(now - 3 * 86_400_000)["response"].startswith("Invalid nonce: nonce too low")
    assert noop(now + 2 * 86_400_000)["response"].startswith("Invalid nonce: nonce too high")
    assert noop(now + 1, devnet.world.now_ms - 1)["response"] == "Action already expired"
    for nonce in range(now + 2, now + 102):
        assert noop(nonce)["status"] == "ok"
    assert noop(now - 1)["response"] == f"Invalid nonce: nonce too low {now - 1} < {now + 2}"


def test_an_agent_trades_for_its_master_until_replaced_and_never_withdraws(
    devnet: Server, funded: Funded
) -> None:
    master = funded()
    reply, key = client(devnet, master).approve_agent("bot")
    assert reply["status"] == "ok"
    agent = eth_account.Account.from_key(key)
    info = reader(devnet)
    assert info.user_role(agent.address) == {"role": "agent", "data": {"user": master.address.lower()}}
    assert [row["address"] for row in info.extra_agents(master.address)] == [agent.address.lower()]
    trading = client(devnet, agent, account_address=master.address)
    gtc(devnet, trading, below(devnet, 0.9))
    assert len(info.open_orders(master.address)) == 1
    assert info.open_orders(agent.address) == []
    refused = trading.usd_transfer(5, master.address)
    assert refused["response"] == f"Must deposit before performing actions. User: {agent.address.lower()}"
    client(devnet, master).approve_agent("bot")
    gone = trading.order("BTC", True, 0.01, below(devnet, 0.9), {"limit": {"tif": "Alo"}})
    assert gone["response"] == f"User or API Wallet {agent.address.lower()} does not exist."


def test_a_sub_account_trades_on_money_of_its_own(devnet: Server, funded: Funded) -> None:
    master, stranger = funded(), funded()
    exchange, info = client(devnet, master), reader(devnet)
    assert info.query_sub_accounts(master.address) is None
    sub = exchange.create_sub_account("carry")["response"]["data"]
    assert exchange.sub_account_transfer(sub, True, 500_000_000)["status"] == "ok"
    gtc(devnet, client(devnet, master, vault_address=sub), below(devnet, 0.9))
    assert len(info.open_orders(sub)) == 1
    (row,) = info.query_sub_accounts(master.address)
    assert row["clearinghouseState"]["marginSummary"]["accountValue"] == "500.0"
    other = client(devnet, stranger, vault_address=sub)
    refused = other.order("BTC", True, 0.01, below(devnet, 0.9), {"limit": {"tif": "Alo"}})
    assert refused["response"] == f"Vault not registered: {sub}"


def test_money_moves_only_with_the_masters_signature_and_as_far_as_it_is_free(
    devnet: Server, funded: Funded
) -> None:
    giver, taker = funded(1000), funded(100)
    exchange, info = client(devnet, giver), reader(devnet)
    assert exchange.usd_transfer(250.5, taker.address)["status"] == "ok"
    assert info.user_state(taker.address)["withdrawable"] == "350.5"
    assert exchange.withdraw_from_bridge(100, giver.address)["status"] == "ok"
    assert info.user_state(giver.address)["withdrawable"] == "649.5"
    assert exchange.usd_transfer(9999, taker.address)["status"] == "err"
    kinds = [row["delta"]["type"] for row in info.user_non_funding_ledger_updates(giver.address, 0)]
    assert kinds == ["deposit", "internalTransfer", "withdraw"]


def test_a_stop_fires_when_the_mark_passes_it_and_cancels_its_sibling(devnet: Server, funded: Funded) -> None:
    wallet = funded()
    exchange, info = client(devnet, wallet), reader(devnet)
    price = mid(devnet, "SOL")
    orders: list[Any] = [
        {
            "coin": "SOL",
            "is_buy": True,
            "sz": 2.0,
            "limit_px": round(price * 1.05, 2),
            "order_type": {"limit": {"tif": "Ioc"}},
            "reduce_only": False,
        }
    ]
    # One of the two is so near that the next hours must reach it.
    for kind, trigger in (("tp", round(price * 1.002, 2)), ("sl", round(price * 0.998, 2))):
        orders.append(
            {
                "coin": "SOL",
                "is_buy": False,
                "sz": 2.0,
                "limit_px": round(price * 0.8, 2),
                "order_type": {"trigger": {"triggerPx": trigger, "isMarket": True, "tpsl": kind}},
                "reduce_only": True,
            }
        )
    reply = exchange.bulk_orders(orders, grouping="normalTpsl")
    first, *rest = reply["response"]["data"]["statuses"]
    assert "filled" in first
    assert rest == ["waitingForTrigger", "waitingForTrigger"]
    waiting = info.frontend_open_orders(wallet.address)
    assert {row["orderType"] for row in waiting} == {"Stop Market", "Take Profit Market"}
    control(devnet, "clock", advance_s=6 * 3600)
    assert info.open_orders(wallet.address) == []
    assert info.user_state(wallet.address)["assetPositions"] == []
    statuses = {
        row["order"]["oid"]: row["status"] for row in reversed(info.historical_orders(wallet.address))
    }
    assert sorted(statuses.values()) == ["filled", "filled", "siblingFilledCanceled"]


def test_funding_is_paid_each_hour_on_the_oracle_at_the_published_rate(
    devnet: Server, funded: Funded
) -> None:
    wallet = funded()
    exchange, info = client(devnet, wallet), reader(devnet)
    one(exchange.market_open("BTC", False, 0.05))
    before = Decimal(info.user_state(wallet.address)["marginSummary"]["totalRawUsd"])
    start = devnet.world.now_ms
    control(devnet, "clock", advance_s=3 * 3600)
    paid = info.user_funding_history(wallet.address, start)
    published = {row["time"]: row["fundingRate"] for row in info.funding_history("BTC", start)}
    assert len(paid) == 3
    assert [row["delta"]["fundingRate"] for row in paid] == list(published.values())
    for row in paid:
        rate = Decimal(row["delta"]["fundingRate"])
        assert Decimal(row["delta"]["usdc"]).copy_sign(rate) == Decimal(
            row["delta"]["usdc"]
        )  # shorts receive
    after = Decimal(info.user_state(wallet.address)["marginSummary"]["totalRawUsd"])
    assert after - before == sum(Decimal(row["delta"]["usdc"]) for row in paid)


def test_who_holds_too_much_is_liquidated(devnet: Server, funded: Funded) -> None:
    wallet = funded(1000)
    exchange, info = client(devnet, wallet), reader(devnet)
    exchange.update_leverage(20, "SOL", True)
    size = round(19_000 / mid(devnet, "SOL"), 2)
    one(exchange.market_open("SOL", True, size))
    for _ in range(60):
        control(devnet, "clock", advance_s=24 * 3600)
        if not info.user_state(wallet.address)["assetPositions"]:
            break
    fills = info.user_fills(wallet.address)
    assert fills[0]["dir"] == "Liquidated Cross Long"
    assert fills[0]["liquidation"]["liquidatedUser"] == wallet.address.lower()
    assert info.user_non_funding_ledger_updates(wallet.address, 0)[-1]["delta"]["type"] == "liquidation"


def test_scheduled_cancels_need_the_volume_that_the_venue_asks_for(devnet: Server, funded: Funded) -> None:
    reply = client(devnet, funded()).schedule_cancel(devnet.world.now_ms + 60_000)
    assert reply["response"].startswith("Cannot set scheduled cancel time until enough volume traded.")


def test_a_request_of_no_known_shape_is_422_and_an_unknown_coin_has_no_book(devnet: Server) -> None:
    info = reader(devnet)
    for body in ({"type": "nonsense"}, {"type": "clearinghouseState", "user": "future"}, {"type": "l2Book"}):
        with pytest.raises(ClientError) as caught:
            info.post("/info", body)
        assert caught.value.status_code == 422
    assert info.post("/info", {"type": "l2Book", "coin": "NOBODY"}) is None


def test_candles_join_and_agree_across_intervals(devnet: Server) -> None:
    now = devnet.world.now_ms
    start = (now // 3_600_000 - 2) * 3_600_000
    minutes = reader(devnet).candles_snapshot("BTC", "1m", start, start + 3_600_000 - 1)
    (hour,) = reader(devnet).candles_snapshot("BTC", "1h", start, start + 3_600_000 - 1)
    assert len(minutes) == 60
    assert [row["t"] for row in minutes] == list(range(start, start + 3_600_000, 60_000))
    assert max(float(row["h"]) for row in minutes) == float(hour["h"])
    assert min(float(row["l"]) for row in minutes) == float(hour["l"])
    assert (minutes[0]["o"], minutes[-1]["c"]) == (hour["o"], hour["c"])


def test_every_subscription_sends_what_happens(devnet: Server, funded: Funded) -> None:
    wallet = funded()
    info = Info(devnet.url)
    heard: dict[str, queue.Queue[Any]] = {}
    user = wallet.address
    subscriptions: list[Any] = [
        {"type": "allMids"},
        {"type": "l2Book", "coin": "BTC"},
        {"type": "bbo", "coin": "BTC"},
        {"type": "trades", "coin": "BTC"},
        {"type": "candle", "coin": "BTC", "interval": "1m"},
        {"type": "activeAssetCtx", "coin": "BTC"},
        {"type": "activeAssetData", "user": user, "coin": "BTC"},
        {"type": "orderUpdates", "user": user},
        {"type": "userEvents", "user": user},
        {"type": "userFills", "user": user},
        {"type": "userFundings", "user": user},
        {"type": "userNonFundingLedgerUpdates", "user": user},
        {"type": "webData2", "user": user},
    ]
    try:
        for subscription in subscriptions:
            inbox = heard[subscription["type"]] = queue.Queue()
            info.subscribe(subscription, inbox.put)
        for kind in ("allMids", "l2Book", "bbo", "candle", "activeAssetCtx", "activeAssetData", "webData2"):
            assert heard[kind].get(timeout=10)["data"], kind
        for kind in ("userFills", "userFundings", "userNonFundingLedgerUpdates"):
            assert heard[kind].get(timeout=10)["data"]["isSnapshot"] is True
        filled = one(client(devnet, wallet).market_open("BTC", True, 0.01))["filled"]
        (fill,) = heard["userFills"].get(timeout=10)["data"]["fills"]
        assert fill["oid"] == filled["oid"]
        assert heard["userEvents"].get(timeout=10)["data"]["fills"] == [fill]
        (update,) = heard["orderUpdates"].get(timeout=10)["data"]
        assert (update["order"]["oid"], update["status"]) == (filled["oid"], "filled")
        while all(row["tid"] != fill["tid"] for row in heard["trades"].get(timeout=10)["data"]):
            pass
    finally:
        info.disconnect_websocket()
