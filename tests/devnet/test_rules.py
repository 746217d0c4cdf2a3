"""The venue's rules for batches, changes, groups, scheduled cancels, leverage and signatures, met with its own library."""

import time
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
import requests
from eth_account.signers.local import LocalAccount
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils import signing

from bot.devnet import orders
from bot.devnet.server import Server
from bot.devnet.start import Options, build
from bot.devnet.wire import Fields

Funded = Callable[..., LocalAccount]
GTC, ALO, IOC = ({"limit": {"tif": tif}} for tif in ("Gtc", "Alo", "Ioc"))
NONCES = count(signing.get_timestamp_ms() + 10_000)
D = Decimal


@pytest.fixture
def info(devnet: Server) -> Info:
    return Info(devnet.url, skip_ws=True)


@pytest.fixture
def wallet(funded: Funded) -> LocalAccount:
    return funded(10_000)


@pytest.fixture
def exchange(devnet: Server, wallet: LocalAccount) -> Exchange:
    return Exchange(wallet, devnet.url)


def below(info: Info, share: float, coin: str = "BTC") -> int:
    return round(float(info.all_mids()[coin]) * share)


def request(coin: str, size: float, price: float, kind: Any, *, buy: bool = True, **options: Any) -> Any:
    row = {"coin": coin, "is_buy": buy, "sz": size, "limit_px": price, "order_type": kind}
    return row | {"reduce_only": options.get("reduce_only", False)}


def trigger(price: float, kind: str) -> Any:
    return {"trigger": {"triggerPx": float(price), "isMarket": True, "tpsl": kind}}


def statuses(reply: Any) -> list[Any]:
    assert reply["status"] == "ok", reply
    rows: list[Any] = reply["response"]["data"]["statuses"]
    return rows


def pass_time(devnet: Server, seconds: float) -> None:
    body = {"advance_s": seconds}
    assert requests.post(f"{devnet.url}/devnet/clock", json=body, timeout=30).status_code == 200


def post(devnet: Server, wallet: LocalAccount, action: Any, **envelope: Any) -> Any:
    nonce = next(NONCES)
    signed = signing.sign_l1_action(wallet, action, None, nonce, None, False)
    body = {"action": action, "nonce": nonce, "signature": signed} | envelope
    return requests.post(f"{devnet.url}/exchange", json=body, timeout=10)


def test_one_bad_order_of_a_batch_does_not_take_the_others_with_it(
    info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    price = below(info, 0.9)
    batch = [
        request("BTC", 0.01, price, ALO),
        request("BTC", 0.00001, price, ALO),
        request("ETH", 0.1, below(info, 0.9, "ETH"), GTC),
        request("BTC", 5.0, price, ALO),
    ]
    first, second, third, fourth = statuses(exchange.bulk_orders(batch))
    assert "resting" in first
    assert "resting" in third
    assert second == {"error": "Order must have minimum value of $10. asset=0"}
    assert fourth == {"error": "Insufficient margin to place order. asset=0"}
    gone = [{"coin": "BTC", "oid": first["resting"]["oid"]}, {"coin": "BTC", "oid": third["resting"]["oid"]}]
    done, wrong = statuses(exchange.bulk_cancel(gone))
    assert done == "success"
    assert wrong == {"error": "Order was never placed, already canceled, or filled. asset=0"}
    assert [row["coin"] for row in info.open_orders(wallet.address)] == ["ETH"]


def test_the_margin_of_earlier_orders_of_a_batch_counts_for_later_ones(
    info: Info, exchange: Exchange
) -> None:
    price = below(info, 0.9)
    size = round(10_000 * 5 / price * 0.6, 5)  # 60 % of what default leverage allows
    first, second = statuses(exchange.bulk_orders([request("BTC", size, price, ALO)] * 2))
    assert "resting" in first
    assert second == {"error": "Insufficient margin to place order. asset=0"}


def test_only_live_orders_are_changed_and_only_into_what_rests(
    devnet: Server, info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    price = below(info, 0.9)
    oid = statuses(exchange.order("BTC", True, 0.01, price, ALO))[0]["resting"]["oid"]

    def change(order: Any, *, always: bool = False, oid: int = oid) -> Any:
        wire = signing.order_request_to_order_wire(order, 0)
        action: dict[str, Any] = {"type": "batchModify", "modifies": [{"oid": oid, "order": wire}]}
        (status,) = statuses(post(devnet, wallet, action | ({"a": True} if always else {})).json())
        return status

    crossing = request("BTC", 0.01, below(info, 1.01), GTC)
    assert change(crossing)["error"].startswith("Post only order would have immediately matched")
    assert "executes immediately" in change(request("BTC", 0.01, price, IOC))["error"]
    assert "side or asset" in change(request("BTC", 0.01, price, GTC, buy=False))["error"]
    assert change(request("BTC", 0.01, price + 0.5, GTC))["error"].startswith("Price must be divisible")
    assert change(request("BTC", 0.00001, price, GTC))["error"].startswith("Order must have minimum value")
    assert len(info.open_orders(wallet.address)) == 1
    filled = change(crossing, always=True)
    assert filled["filled"]["totalSz"] == "0.01"
    assert change(crossing, always=True) == {"error": "Cannot modify canceled or filled order."}
    wire = signing.order_request_to_order_wire(crossing, 0)
    plain = post(devnet, wallet, {"type": "modify", "oid": oid, "order": wire}).json()
    assert plain == {"status": "err", "response": "Cannot modify canceled or filled order."}


def test_children_wait_for_their_parent_and_go_with_it(
    info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    price = below(info, 0.9)
    group = [
        request("BTC", 0.01, price, GTC),
        request("BTC", 0.01, below(info, 0.7), trigger(below(info, 0.8), "sl"), buy=False, reduce_only=True),
        request("BTC", 0.01, below(info, 1.0), trigger(below(info, 1.2), "tp"), buy=False, reduce_only=True),
    ]
    parent, *children = statuses(exchange.bulk_orders(group, grouping="normalTpsl"))
    assert children == ["waitingForFill", "waitingForFill"]
    shown = info.frontend_open_orders(wallet.address)
    assert len(next(row for row in shown if row["oid"] == parent["resting"]["oid"])["children"]) == 2
    assert statuses(exchange.cancel("BTC", parent["resting"]["oid"])) == ["success"]
    assert info.open_orders(wallet.address) == []
    history = info.historical_orders(wallet.address)
    latest = {row["order"]["oid"]: row["status"] for row in reversed(history)}
    assert list(latest.values()) == ["canceled"] * 3


def test_groups_of_the_wrong_make_are_refused_as_a_whole(
    info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    price, stop = below(info, 0.9), below(info, 0.8)
    child = request("BTC", 0.01, below(info, 0.7), trigger(stop, "sl"), buy=False, reduce_only=True)
    main = statuses(exchange.bulk_orders([child, child], grouping="normalTpsl"))
    assert main == [{"error": "Main order cannot be trigger order."}]
    open_child = child | {"reduce_only": False}
    bad = statuses(
        exchange.bulk_orders([request("BTC", 0.01, price, GTC), open_child], grouping="normalTpsl")
    )
    assert len(bad) == 1
    assert "error" in bad[0]
    assert info.open_orders(wallet.address) == []


def test_a_stop_for_the_whole_position_follows_its_size(
    devnet: Server, info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    exchange.market_open("ETH", True, 0.5)
    mid = float(info.all_mids()["ETH"])
    stop = request("ETH", 0.0, round(mid * 0.9, 1), trigger(round(mid * 0.9995, 1), "sl"), buy=False)
    (status,) = statuses(exchange.bulk_orders([stop | {"reduce_only": True}], grouping="positionTpsl"))
    assert status == "waitingForTrigger"
    exchange.market_open("ETH", True, 0.25)
    for _ in range(48):
        pass_time(devnet, 3600)
        if not info.open_orders(wallet.address):
            break
    assert info.user_state(wallet.address)["assetPositions"] == []
    assert sum(D(row["sz"]) for row in info.user_fills(wallet.address) if row["side"] == "A") == D("0.75")


def test_a_scheduled_cancel_needs_five_seconds_fires_once_and_ten_times_a_day(
    devnet: Server, info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    world = devnet.world
    world.records(wallet.address.lower()).cum_volume = D(1_000_000)  # what the venue asks for
    price = below(info, 0.9)
    pass_time(devnet, 86_400 - world.now_ms // 1000 % 86_400 + 60)  # a fresh day
    soon = exchange.schedule_cancel(world.now_ms + 4000)
    assert soon["response"] == "Scheduled cancel time must be at least 5 seconds in the future"
    for _ in range(10):
        statuses(exchange.order("BTC", True, 0.01, below(info, 0.9), ALO))
        assert exchange.schedule_cancel(world.now_ms + 10_000)["status"] == "ok"
        pass_time(devnet, 9)
        assert len(info.open_orders(wallet.address)) == 1
        pass_time(devnet, 2)
        assert info.open_orders(wallet.address) == []
    assert info.historical_orders(wallet.address)[0]["status"] == "scheduledCancel"
    assert exchange.schedule_cancel(world.now_ms + 10_000)["response"] == "Too many scheduled cancels today"
    assert exchange.schedule_cancel(None)["status"] == "ok"
    pass_time(devnet, 86_400)
    statuses(exchange.order("BTC", True, 0.01, below(info, 0.9), ALO))
    assert exchange.schedule_cancel(world.now_ms + 10_000)["status"] == "ok"
    assert exchange.schedule_cancel(None)["status"] == "ok"  # taken back
    pass_time(devnet, 30)
    assert len(info.open_orders(wallet.address)) == 1
    assert price > 0


def test_leverage_and_isolated_margin_keep_to_the_rules(
    info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    assert exchange.update_leverage(0, "BTC")["response"] == "Invalid leverage value"
    assert exchange.update_leverage(41, "BTC")["response"] == "Invalid leverage value"
    empty = "Cannot update margin for empty position."
    assert exchange.update_isolated_margin(5.0, "SOL")["response"] == empty
    exchange.update_leverage(20, "SOL", False)
    size = round(100_000 / float(info.all_mids()["SOL"]), 2)
    statuses(exchange.market_open("SOL", True, size))
    lower = exchange.update_leverage(5, "SOL", False)["response"]
    assert lower.startswith(
        "Isolated position does not have sufficient margin available to decrease leverage."
    )
    assert (
        exchange.update_isolated_margin(0.0, "SOL")["response"] == "Update to isolated margin cannot be zero."
    )
    more = exchange.update_isolated_margin(50_000.0, "SOL")["response"]
    assert more == "Account does not have sufficient margin available for increase."
    statuses(exchange.market_close("SOL"))
    exchange.update_leverage(10, "ETH", True)
    statuses(exchange.market_open("ETH", True, 0.1))
    assert exchange.update_isolated_margin(5.0, "ETH")["response"] == "Position does not use isolated margin."
    cross = exchange.update_leverage(25, "ETH", True)
    assert cross["status"] == "ok"


def test_an_isolated_position_is_topped_up_to_a_leverage(
    devnet: Server, info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    exchange.update_leverage(20, "SOL", False)
    statuses(exchange.market_open("SOL", True, 10))
    done = post(devnet, wallet, {"type": "topUpIsolatedOnlyMargin", "asset": 2, "leverage": "4"}).json()
    assert done["status"] == "ok"
    (row,) = info.user_state(wallet.address)["assetPositions"]
    position = row["position"]
    assert abs(D(position["marginUsed"]) * 4 - D(position["positionValue"])) < D("0.0001")


def test_a_signature_of_nobody_of_the_wrong_chain_or_of_other_content_is_told_apart(
    devnet: Server, exchange: Exchange, wallet: LocalAccount
) -> None:
    nothing = {"r": "0x" + "0" * 64, "s": "0x" + "0" * 64, "v": 27}
    reply = post(devnet, wallet, {"type": "noop"}, signature=nothing).json()
    assert reply == {"status": "err", "response": "Unable to recover signer"}
    reply = post(devnet, wallet, {"type": "noop"}, nonce=next(NONCES)).json()  # not the nonce that was signed
    assert reply["response"].startswith("User or API Wallet 0x")
    for wrong in ({"r": "0x", "s": "0x1", "v": 27}, {"r": "1", "s": "1", "v": 27}, {**nothing, "v": 29}):
        assert post(devnet, wallet, {"type": "noop"}, signature=wrong).status_code == 422

    def withdraw(network: str, *, is_mainnet: bool, **changed: Any) -> Any:
        nonce = next(NONCES)
        action = {"type": "withdraw3", "destination": wallet.address, "amount": "5", "time": nonce}
        signed = signing.sign_withdraw_from_bridge_action(wallet, action, is_mainnet)
        body = {"action": action | {"hyperliquidChain": network} | changed, "nonce": nonce}
        return requests.post(f"{devnet.url}/exchange", json=body | {"signature": signed}, timeout=5).json()

    assert withdraw("Testnet", is_mainnet=False)["status"] == "ok"
    assert withdraw("Mainnet", is_mainnet=True)["response"] == "Invalid hyperliquid chain"
    assert withdraw("Testnet", is_mainnet=True)["response"].startswith("Must deposit before performing")
    assert withdraw("Testnet", is_mainnet=False, amount="6")["response"].startswith("Must deposit before")
    other = withdraw("Testnet", is_mainnet=False, signatureChainId="0xa4b1")  # not the chain that was signed
    assert other["response"].startswith("Must deposit before performing actions. User: 0x")
    assert withdraw("Testnet", is_mainnet=False, time=5)["response"] == "Nonce mismatch."
    expired = exchange.info.post("/exchange", _expiring(wallet))
    assert expired["response"] == "Action does not support expires_after"


def _expiring(wallet: LocalAccount) -> Any:
    nonce = next(NONCES)
    action = {"type": "withdraw3", "destination": wallet.address, "amount": "5", "time": nonce}
    signed = signing.sign_withdraw_from_bridge_action(wallet, action, False)
    return {
        "action": action,
        "nonce": nonce,
        "signature": signed,
        "expiresAfter": time.time_ns() // 10**6 + 9999,
    }


def test_an_order_meets_its_own_makers_and_cancels_them(
    info: Info, exchange: Exchange, wallet: LocalAccount
) -> None:
    bid = float(info.l2_snapshot("ETH")["levels"][0][0]["px"])
    oid = statuses(exchange.order("ETH", True, 0.1, bid, ALO))[0]["resting"]["oid"]
    statuses(exchange.order("ETH", False, 0.05, round(bid * 0.99, 1), IOC))
    status = info.query_order_by_oid(wallet.address, oid)["order"]["status"]
    assert status == "selfTradeCanceled"
    (fill,) = info.user_fills(wallet.address)  # against the outside market, which bids the same
    assert (fill["px"], fill["crossed"]) == (f"{bid:.1f}", True)


def test_a_builders_fee_is_taken_only_if_approved(
    devnet: Server, info: Info, exchange: Exchange, wallet: LocalAccount, funded: Funded
) -> None:
    builder = funded(10).address.lower()
    price = round(float(info.all_mids()["BTC"]) * 1.02)
    asked = exchange.order("BTC", True, 0.01, price, IOC, builder={"b": builder, "f": 10})
    assert statuses(asked) == [{"error": "Builder fee has not been approved."}]
    assert exchange.approve_builder_fee(builder, "0.02%")["status"] == "ok"
    statuses(exchange.order("BTC", True, 0.01, price, IOC, builder={"b": builder, "f": 10}))
    (fill,) = info.user_fills(wallet.address)
    notional = D(fill["px"]) * D(fill["sz"])
    assert D(fill["builderFee"]) == (notional * D("0.0001")).quantize(D("1e-6"), "ROUND_FLOOR")


def test_a_thousand_orders_may_be_open_and_one_more_for_every_five_millions_traded() -> None:
    server = build(Options(coins=("BTC",), history_h=4, paused=True, start_ms=1_772_000_000_000))
    world, user = server.world, server.funded[0]["address"]
    price = str(round(float(world.exchange.marks["BTC"]) * 0.5))
    row = {"a": 0, "b": True, "p": price, "s": "0.001", "r": False, "t": {"limit": {"tif": "Alo"}}}
    ask = orders.Ask.of(Fields(row))
    placed = orders.place(world, user, [ask] * 1001, "na", None)
    assert all("resting" in status for status in placed[:1000])
    assert placed[1000] == {"error": "Too many open orders. asset=0"}
    world.records(user).cum_volume = D(5_000_000)
    assert "resting" in orders.place(world, user, [ask], "na", None)[0]
    assert "error" in orders.place(world, user, [ask], "na", None)[0]
    stop = {"trigger": {"triggerPx": price, "isMarket": True, "tpsl": "sl"}}
    world.records(user).cum_volume = D(50_000_000)
    late = orders.Ask.of(Fields(row | {"b": False, "t": stop}))
    assert orders.place(world, user, [late], "na", None) == [{"error": "Too many open orders. asset=0"}]
