"""TWAP orders: slices every thirty seconds, the line they follow, what they do when the book is thin, and their end."""

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
import requests
from eth_account.signers.local import LocalAccount
from hyperliquid.info import Info
from hyperliquid.utils import signing

from bot.devnet import twap as twaps
from bot.devnet.server import Server
from bot.devnet.start import Options, build
from bot.devnet.twap import MOST_CATCHING_UP, SLICE_MS, slice_count
from bot.devnet.wire import Fields

Funded = Callable[..., LocalAccount]
D = Decimal


NONCES = count(signing.get_timestamp_ms())


def send(devnet: Server, wallet: LocalAccount, action: dict[str, Any]) -> Any:
    nonce = next(NONCES)
    signed = signing.sign_l1_action(wallet, action, None, nonce, None, False)
    body = {"action": action, "nonce": nonce, "signature": signed}
    return requests.post(f"{devnet.url}/exchange", json=body, timeout=10).json()


def twap(asset: int, size: str, *, buy: bool = True, minutes: int = 5, **options: bool) -> dict[str, Any]:
    row = {"a": asset, "b": buy, "s": size, "r": options.get("reduce_only", False), "m": minutes}
    return {"type": "twapOrder", "twap": row | {"t": options.get("randomize", False)}}


def status(reply: Any) -> Any:
    assert reply["status"] == "ok", reply
    return reply["response"]["data"]["status"]


def pass_time(devnet: Server, seconds: float) -> None:
    body = {"advance_s": seconds}
    assert requests.post(f"{devnet.url}/devnet/clock", json=body, timeout=30).status_code == 200


@pytest.fixture
def info(devnet: Server) -> Info:
    return Info(devnet.url, skip_ws=True)


def test_a_size_is_bought_in_equal_slices_along_a_straight_line(
    devnet: Server, funded: Funded, info: Info
) -> None:
    wallet = funded(100_000)
    number = status(send(devnet, wallet, twap(0, "0.11")))["running"]["twapId"]
    assert slice_count(5) == 11
    for done in range(1, 12):
        pieces = info.user_twap_slice_fills(wallet.address)
        assert sum(D(piece["fill"]["sz"]) for piece in pieces) == D("0.01") * done
        assert {piece["twapId"] for piece in pieces} == {number}
        pass_time(devnet, SLICE_MS / 1000)
    fill = info.user_fills(wallet.address)[0]
    assert (fill["twapId"], int(fill["hash"], 16), fill["crossed"]) == (number, 0, True)
    ended, begun = info.post("/info", {"type": "twapHistory", "user": wallet.address})
    assert (begun["status"], ended["status"]) == ({"status": "activated"}, {"status": "finished"})
    assert (ended["state"]["executedSz"], ended["twapId"]) == ("0.11", number)
    paid = sum(D(row["px"]) * D(row["sz"]) for row in info.user_fills(wallet.address))
    assert D(ended["state"]["executedNtl"]) == paid
    (position,) = info.user_state(wallet.address)["assetPositions"]
    assert position["position"]["szi"] == "0.11"


def test_randomised_slices_differ_and_come_to_the_same(devnet: Server, funded: Funded, info: Info) -> None:
    wallet = funded(100_000)
    send(devnet, wallet, twap(0, "0.11", randomize=True))
    pass_time(devnet, 300)
    by_time: dict[int, Decimal] = {}
    for piece in info.user_twap_slice_fills(wallet.address):
        time = piece["fill"]["time"]
        by_time[time] = by_time.get(time, D(0)) + D(piece["fill"]["sz"])
    assert sum(by_time.values()) == D("0.11")
    assert len(set(by_time.values())) > 1


def test_what_a_thin_book_did_not_give_is_caught_up_on() -> None:
    server = build(Options(coins=("BTC",), history_h=4, paused=True, start_ms=1_772_000_000_000))
    world = server.world
    user = server.funded[0]["address"]
    world.fund(user, D(10_000_000))
    begun = twaps.place(world, user, Fields(twap(0, "11", minutes=5)))
    number = begun["data"]["status"]["running"]["twapId"]
    world.twaps[number].slices_done = 4  # as if the book had been empty for three slices
    before, taken = world.twaps[number].executed, []
    for _ in range(5):
        world.advance(SLICE_MS)
        taken.append(world.twaps[number].executed - before)
        before = world.twaps[number].executed
    # One of eleven was bought at once. At two minutes five are due: four behind, of which three may be caught up on.
    assert MOST_CATCHING_UP == 3
    assert taken == [0, 0, 0, 3, 2]


def test_one_ends_when_told_and_is_then_unknown(devnet: Server, funded: Funded, info: Info) -> None:
    wallet, stranger = funded(100_000), funded(1000)
    number = status(send(devnet, wallet, twap(0, "0.11")))["running"]["twapId"]
    states = info.post("/info", {"type": "webData2", "user": wallet.address})["twapStates"]
    assert [each[0] for each in states] == [number]
    cancel = {"type": "twapCancel", "a": 0, "t": number}
    gone = {"error": "TWAP was never placed, already canceled, or filled."}
    assert status(send(devnet, stranger, cancel)) == gone
    assert status(send(devnet, wallet, cancel | {"a": 1})) == gone
    assert status(send(devnet, wallet, cancel)) == "success"
    assert status(send(devnet, wallet, cancel)) == gone
    pass_time(devnet, 120)
    assert sum(D(row["sz"]) for row in info.user_fills(wallet.address)) == D("0.01")
    last = info.post("/info", {"type": "twapHistory", "user": wallet.address})[0]
    assert last["status"] == {"status": "terminated"}


def test_spot_is_sold_in_slices_too(devnet: Server, funded: Funded, info: Info) -> None:
    wallet = funded(1000)
    give = {"user": wallet.address, "token": "UBTC", "amount": "0.11"}
    requests.post(f"{devnet.url}/devnet/faucet", json=give, timeout=5)
    assert "running" in status(send(devnet, wallet, twap(10_142, "0.11", buy=False)))
    pass_time(devnet, 300)
    balances = {row["coin"]: row["total"] for row in info.spot_user_state(wallet.address)["balances"]}
    assert "UBTC" not in balances
    assert D(balances["USDC"]) > 5000


def test_a_reducing_one_stops_at_flat(devnet: Server, funded: Funded, info: Info) -> None:
    from hyperliquid.exchange import Exchange

    wallet = funded(100_000)
    refused = status(send(devnet, wallet, twap(0, "0.11", buy=False, reduce_only=True)))
    assert refused == {"error": "Reduce only order would increase position."}
    Exchange(wallet, devnet.url).market_open("BTC", True, 0.05)
    assert "running" in status(send(devnet, wallet, twap(0, "0.11", buy=False, reduce_only=True)))
    pass_time(devnet, 300)
    assert info.user_state(wallet.address)["assetPositions"] == []
    last = info.post("/info", {"type": "twapHistory", "user": wallet.address})[0]
    assert last["status"]["status"] == "error"
    assert last["state"]["executedSz"] == "0.05"


def test_one_that_can_not_be_paid_ends_with_the_reason(devnet: Server, funded: Funded, info: Info) -> None:
    wallet = funded(100)
    send(devnet, wallet, twap(0, "0.5"))
    last = info.post("/info", {"type": "twapHistory", "user": wallet.address})[0]
    assert last["status"] == {"status": "error", "description": "Insufficient margin to place order."}


def test_what_can_not_be_is_refused_in_the_venues_words(devnet: Server, funded: Funded) -> None:
    wallet = funded(1000)

    def error(action: dict[str, Any]) -> str:
        said: str = status(send(devnet, wallet, action))["error"]
        return said

    assert error(twap(0, "0.1", minutes=4)) == "Invalid TWAP duration: 4 min(s)"
    assert error(twap(0, "0.1", minutes=10_081)) == "Invalid TWAP duration: 10081 min(s)"
    assert error(twap(0, "0.0001")) == "TWAP order value too small. Min is $100."
    assert error(twap(0, "0.1000001")) == "Order has invalid size."
    assert error(twap(10_142, "0.1", buy=False, reduce_only=True)).startswith("Reduce-only is invalid")
    assert send(devnet, wallet, twap(99, "1"))["status"] == "err"
    assert send(devnet, wallet, twap(10_999, "1"))["response"] == "Invalid spot"
