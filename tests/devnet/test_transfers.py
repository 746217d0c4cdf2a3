"""Money moves between wallets, users and sub-accounts, and none of it is made or lost on the way."""

import contextlib
import random
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

from bot.devnet.server import Server
from bot.devnet.start import Options, build
from bot.devnet.transfers import TRANSFERS
from bot.devnet.wire import Fields
from bot.errors import Refused

Funded = Callable[..., LocalAccount]
D = Decimal
UBTC = "UBTC:0x8f254b963e8468305d409b33aa137c67"
USDC = "USDC:0x6d1e7cde53ba9467b783cb7c530ce054"


@pytest.fixture
def info(devnet: Server) -> Info:
    return Info(devnet.url, skip_ws=True)


def perp(info: Info, user: str) -> Decimal:
    return D(info.user_state(user)["withdrawable"])


def spot(info: Info, user: str, token: str = "USDC") -> Decimal:
    rows = info.spot_user_state(user)["balances"]
    return next((D(row["total"]) for row in rows if row["coin"] == token), D(0))


def ledger(info: Info, user: str) -> list[dict[str, Any]]:
    return [row["delta"] for row in info.user_non_funding_ledger_updates(user, 0)]


def refused(reply: Any) -> str:
    assert reply["status"] == "err", reply
    said: str = reply["response"]
    return said


def test_dollars_move_between_the_two_wallets_of_a_user(devnet: Server, info: Info, funded: Funded) -> None:
    wallet = funded(1000)
    exchange, user = Exchange(wallet, devnet.url), wallet.address
    assert exchange.usd_class_transfer(400.5, False)["status"] == "ok"
    assert (perp(info, user), spot(info, user)) == (D("599.5"), D("400.5"))
    assert exchange.usd_class_transfer(100, True)["status"] == "ok"
    assert (perp(info, user), spot(info, user)) == (D("699.5"), D("300.5"))
    assert refused(exchange.usd_class_transfer(301, True)) == "Insufficient balance for token transfer"
    assert refused(exchange.usd_class_transfer(700, False)) == "Insufficient balance for token transfer"
    assert ledger(info, user)[1:] == [
        {"type": "accountClassTransfer", "usdc": "400.5", "toPerp": False},
        {"type": "accountClassTransfer", "usdc": "100.0", "toPerp": True},
    ]


def test_what_is_held_for_an_order_can_not_be_sent(devnet: Server, info: Info, funded: Funded) -> None:
    wallet = funded(1000)
    exchange = Exchange(wallet, devnet.url)
    exchange.usd_class_transfer(1000, False)
    price = round(float(info.all_mids()["@142"]) * 0.5)
    exchange.order("UBTC/USDC", True, 0.01, price, {"limit": {"tif": "Alo"}})
    free = 1000 - price * 0.01
    assert refused(exchange.usd_class_transfer(round(free + 1, 2), True)).startswith("Insufficient balance")
    assert exchange.usd_class_transfer(int(free), True)["status"] == "ok"


def test_tokens_are_sent_and_a_new_account_costs_the_sender_a_dollar(
    devnet: Server, info: Info, funded: Funded
) -> None:
    giver, taker, new = funded(1000), funded(10), eth_account.Account.create().address
    exchange = Exchange(giver, devnet.url)
    gift = {"user": giver.address, "token": "UBTC", "amount": "0.5"}
    requests.post(f"{devnet.url}/devnet/faucet", json=gift, timeout=5)
    exchange.usd_class_transfer(100, False)
    assert exchange.spot_transfer(0.2, taker.address, UBTC)["status"] == "ok"
    assert (spot(info, giver.address, "UBTC"), spot(info, taker.address, "UBTC")) == (D("0.3"), D("0.2"))
    assert exchange.spot_transfer(40, new, USDC)["status"] == "ok"
    assert (spot(info, giver.address), spot(info, new)) == (D(59), D(40))
    sent = ledger(info, new)[0]
    assert (sent["type"], sent["token"], sent["fee"]) == ("spotTransfer", "USDC", "1.0")
    assert exchange.usd_transfer(40, eth_account.Account.create().address)["status"] == "ok"
    assert perp(info, giver.address) == D(859)
    assert refused(exchange.spot_transfer(59, eth_account.Account.create().address, USDC)).startswith(
        "Insufficient balance"
    )
    assert refused(exchange.spot_transfer(1, taker.address, "NONE:0x" + "1" * 32)).startswith("Unknown token")
    assert refused(exchange.spot_transfer(0, taker.address, UBTC)) == "Send amount cannot be zero"
    assert refused(exchange.spot_transfer(0.1, giver.address, UBTC)) == "Invalid send"


def test_sub_accounts_get_dollars_and_tokens_and_give_them_back(
    devnet: Server, info: Info, funded: Funded
) -> None:
    wallet, stranger = funded(1000), funded(10)
    exchange, user = Exchange(wallet, devnet.url), wallet.address
    sub = exchange.create_sub_account("one")["response"]["data"]
    assert exchange.sub_account_transfer(sub, True, 300_000_000)["status"] == "ok"
    exchange.usd_class_transfer(200, False)
    assert exchange.sub_account_spot_transfer(sub, True, USDC, 150)["status"] == "ok"
    assert (perp(info, sub), spot(info, sub)) == (D(300), D(150))
    (row,) = info.query_sub_accounts(user)
    assert row["spotState"]["balances"][0]["total"] == "150.0"
    assert exchange.sub_account_spot_transfer(sub, False, USDC, 50)["status"] == "ok"
    assert exchange.sub_account_transfer(sub, False, 100_000_000)["status"] == "ok"
    assert (perp(info, user), spot(info, user)) == (D(600), D(100))
    assert (perp(info, sub), spot(info, sub)) == (D(200), D(100))
    of_sub = Exchange(wallet, devnet.url, vault_address=sub)
    assert of_sub.usd_class_transfer(25, True)["status"] == "ok"
    assert (perp(info, sub), spot(info, sub)) == (D(225), D(75))
    other = Exchange(stranger, devnet.url)
    assert refused(other.sub_account_transfer(sub, False, 1_000_000)) == f"Vault not registered: {sub}"
    assert refused(other.sub_account_spot_transfer(sub, False, USDC, 1)) == f"Vault not registered: {sub}"
    assert refused(exchange.vault_usd_transfer(stranger.address.lower(), True, 5_000_000)) == (
        f"Vault not registered: {stranger.address.lower()}"
    )


def test_the_general_transfer_moves_between_wallets_and_users(
    devnet: Server, info: Info, funded: Funded
) -> None:
    giver, taker = funded(1000), funded(10)
    exchange, user = Exchange(giver, devnet.url), giver.address
    assert exchange.send_asset(user, "", "spot", USDC, 300)["status"] == "ok"
    assert exchange.send_asset(taker.address, "spot", "", USDC, 100)["status"] == "ok"
    assert (perp(info, user), spot(info, user), perp(info, taker.address)) == (D(700), D(200), D(110))
    assert refused(exchange.send_asset(user, "", "", USDC, 1)) == "Invalid send"
    assert refused(exchange.send_asset(user, "", "xyz", USDC, 1)) == "Invalid perp DEX"
    assert "not the collateral" in refused(exchange.send_asset(user, "spot", "", UBTC, 1))
    assert ledger(info, taker.address)[-1]["type"] == "send"


def test_an_agent_moves_money_between_its_masters_wallets_and_nowhere_else(
    devnet: Server, info: Info, funded: Funded
) -> None:
    master = funded(1000)
    _, key = Exchange(master, devnet.url).approve_agent("mover")
    agent, nonce = eth_account.Account.from_key(key), signing.get_timestamp_ms()

    def send(destination: str) -> Any:
        nonlocal nonce
        nonce += 1
        action = {
            "type": "agentSendAsset",
            "destination": destination.lower(),
            "sourceDex": "",
            "destinationDex": "spot",
            "token": USDC,
            "amount": "250",
            "fromSubAccount": "",
            "nonce": nonce,
        }
        signed = signing.sign_l1_action(agent, action, None, nonce, None, False)
        body = {"action": action, "nonce": nonce, "signature": signed}
        return requests.post(f"{devnet.url}/exchange", json=body, timeout=5).json()

    assert send(master.address)["status"] == "ok"
    assert spot(info, master.address) == D(250)
    assert refused(send(agent.address)) == "Destination must be the account itself"
    by_agent = Exchange(agent, devnet.url, account_address=master.address)
    assert refused(by_agent.usd_class_transfer(1, True)).startswith("Must deposit before performing actions.")
    assert refused(by_agent.spot_transfer(1, agent.address, USDC)).startswith("Must deposit before")


def test_requests_are_bought_with_dollars(devnet: Server, info: Info, funded: Funded) -> None:
    wallet = funded(100)
    action, nonce = {"type": "reserveRequestWeight", "weight": 1000}, signing.get_timestamp_ms()
    signed = signing.sign_l1_action(wallet, action, None, nonce, None, False)
    body = {"action": action, "nonce": nonce, "signature": signed}
    assert requests.post(f"{devnet.url}/exchange", json=body, timeout=5).json()["status"] == "ok"
    assert perp(info, wallet.address) == D("99.5")
    assert info.user_rate_limit(wallet.address)["nRequestsSurplus"] == 1000


def test_no_transfer_makes_or_loses_a_cent() -> None:
    server = build(Options(coins=("BTC",), history_h=4, paused=True, start_ms=1_772_000_000_000, funded=3))
    door, world, dice = server.door, server.world, random.Random(5)
    users = [row["address"] for row in server.funded]
    users += [door.identities.create_sub_account(users[0], "sub") or "", "0x" + "ab" * 20]
    world.exchange.deposit(users[3], D(0), world.now_ms)
    done, start = 0, D(300_000)
    for number in range(400):
        user, other = dice.choice(users), dice.choice(users)
        amount = f"{dice.uniform(0, 20_000):.2f}"
        action = {
            "type": "sendAsset",
            "destination": other,
            "amount": amount,
            "token": USDC,
            "toPerp": dice.random() < 0.5,
            "fromSubAccount": dice.choice(["", users[3]]),
            "sourceDex": dice.choice(["", "spot"]),
            "destinationDex": dice.choice(["", "spot"]),
            "subAccountUser": users[3],
            "isDeposit": dice.random() < 0.5,
            "usd": int(float(amount) * 1e6),
            "nonce": number,
            "time": number,
        }
        kinds = ["usdSend", "spotSend", "usdClassTransfer", "sendAsset", "subAccountTransfer"]
        kind = dice.choice([*kinds, "subAccountSpotTransfer"])
        with contextlib.suppress(Refused):
            TRANSFERS[kind](door, user, Fields(action | {"type": kind}))
            done += 1
        accounts = [world.exchange.accounts[each] for each in users if world.exists(each)]
        cash = sum((account.cash_usd + account.fees_usd for account in accounts), D(0))
        wallets = world.spot.exchange.wallets.values()
        tokens = sum((wallet.total.get("USDC", D(0)) for wallet in wallets), D(0))
        assert cash + tokens + world.spot.exchange.collected.get("USDC", D(0)) == start
        assert all(account.cash_usd >= 0 for account in accounts)
    assert done > 100
