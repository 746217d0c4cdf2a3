"""Whatever is thrown at the devnet, it answers or hangs up, and stays small: nonsense, floods, and who never reads."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import eth_account
import orjson
import pytest
import requests
from aiohttp import ClientSession
from eth_account.signers.local import LocalAccount
from hyperliquid.utils import signing

from bot.devnet.channels import MOST_SUBSCRIPTIONS
from bot.devnet.connection import MOST_WAITING_BYTES, Connection
from bot.devnet.faults import Faults
from bot.devnet.identity import KEPT_NONCES, Nonces
from bot.devnet.server import Server
from bot.devnet.signatures import USER_SIGNED
from bot.devnet.start import Options, build
from bot.devnet.wire import CANNOT_READ, Malformed, ServerFault, decode

Funded = Callable[..., LocalAccount]
NONCES = count(signing.get_timestamp_ms() + 30_000)


def raw(devnet: Server, path: str, body: bytes) -> requests.Response:
    headers = {"Content-Type": "application/json"}
    return requests.post(devnet.url + path, data=body, headers=headers, timeout=10)


@pytest.mark.parametrize("path", ["/info", "/exchange"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"meta"',
        b"{",
        b"\xff\xfe",
        b'{"type":"meta","dex":"\\ud800"}',
        b'{"type":NaN}',
        b'{"type":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"type":"meta","dex":' + b"9" * 100_000 + b"}",
        b'{"type":"\xf0\x9f\x92\xa5","user":"\xd9\xa1"}',
        b'{"action":{"type":"order"},"nonce":-1,"signature":{"r":"0x1","s":"0x1","v":27}}',
        b'{"action":{"type":"noop"},"nonce":1e999,"signature":{}}',
        b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1h","startTime":-5}}',
        b'{"type":"clearinghouseState","user":"0x' + "１".encode() * 40 + b'"}',
    ],
    ids=str,
)
def test_nonsense_is_422(devnet: Server, path: str, body: bytes) -> None:
    reply = raw(devnet, path, body)
    assert (reply.status_code, reply.text) == (422, CANNOT_READ)


def test_a_body_beyond_a_mebibyte_is_not_read(devnet: Server) -> None:
    assert raw(devnet, "/info", b" " * (2**20 + 1)).status_code == 413


@pytest.mark.parametrize("interval", ["1m", "1w", "1M"])
def test_times_at_the_end_of_numbers_are_answered(devnet: Server, interval: str) -> None:
    for coin in ("BTC", "@142", "NOBODY"):
        req = {"coin": coin, "interval": interval, "startTime": 2**64 - 1, "endTime": 2**64 - 1}
        reply = raw(devnet, "/info", json.dumps({"type": "candleSnapshot", "req": req}).encode())
        assert (reply.status_code, reply.json()) == (200, [])
    for kind in ("fundingHistory", "userFunding", "userFillsByTime"):
        body = {"type": kind, "coin": "BTC", "user": "0x" + "11" * 20, "startTime": 2**64 - 1}
        assert raw(devnet, "/info", json.dumps(body).encode()).json() == []


ODD: tuple[Any, ...] = (
    *("", "0", "-1", "1e5", "NaN", "Infinity", "0.00000000000000000001", "1.", "0x", "²", "１２", "💥" * 50),
    *("9" * 20, "9" * 20 + "." + "9" * 20, "9" * 5000, "n valid_until ²", "n valid_until " + "9" * 5000),
    *("1 subaccount:x", "UBTC:", "spot", "xyz:BTC", "1M", "@142", "0x" + "F" * 40, "0x" + "1" * 32),
    *(None, True, False, 0, 1, -1, 2**63, 2**64 - 1, -(2**63), 1.5, 1e308, 10_000, 10_142, 110_000),
    *([], [[]], {}, {"a": {}}, ["x"] * 100),
)


def bent(value: Any, dice: random.Random, odds: float) -> Any:
    """The same with some of its parts made odd, missing or more."""
    if dice.random() < odds:
        return dice.choice(ODD)
    if isinstance(value, list):
        return [bent(each, dice, odds) for each in value] * dice.choice([1, 1, 2])
    if not isinstance(value, dict):
        return value
    made = {name: bent(each, dice, odds) for name, each in value.items()}
    if made and dice.random() < 0.05:
        made.pop(dice.choice(list(made)))
    if dice.random() < 0.05:
        made[dice.choice(["c", "builder", "f", "a", "details", "zzz"])] = dice.choice(ODD)
    return made


def requests_of(dice: random.Random, mark: float) -> Iterator[dict[str, Any]]:
    """Actions for ever, most of them sound."""
    kinds = ["order"] * 6 + ["modify", "batchModify", "cancel", "twapOrder", "usdClassTransfer", "spotSend"]
    kinds += ["approveAgent", "updateLeverage", "updateIsolatedMargin", "sendAsset", "createSubAccount"]
    while True:
        price = str(round(mark * dice.choice([0.5, 0.9, 1.0, 1.1, 1.5])))
        limit = {"limit": {"tif": dice.choice(["Gtc", "Alo", "Ioc"])}}
        stop = {"trigger": {"isMarket": True, "triggerPx": price, "tpsl": dice.choice(["tp", "sl"])}}
        order: dict[str, Any] = {
            "a": dice.choice([0, 10_142]),
            "b": dice.random() < 0.5,
            "p": price,
            "s": "0.01",
        }
        order |= {"r": dice.random() < 0.3, "t": dice.choice([limit, limit, stop])}
        token = "USDC:0x6d1e7cde53ba9467b783cb7c530ce054"
        user, oid = f"0x{dice.randrange(5):040x}", dice.randrange(200)
        fields: dict[str, Any] = {
            "order": {"orders": [order] * dice.choice([1, 3]), "grouping": dice.choice(["na", "normalTpsl"])},
            "modify": {"oid": oid, "order": order},
            "batchModify": {"modifies": [{"oid": oid, "order": order}], "a": True},
            "cancel": {"cancels": [{"a": order["a"], "o": oid}]},
            "twapOrder": {"twap": {"a": order["a"], "b": True, "s": "0.05", "r": False, "m": 5, "t": True}},
            "usdClassTransfer": {"amount": "50", "toPerp": dice.random() < 0.5},
            "spotSend": {"destination": user, "token": token, "amount": "5"},
            "sendAsset": {
                "destination": user,
                "sourceDex": "",
                "destinationDex": "spot",
                "token": token,
                "amount": "3",
                "fromSubAccount": "",
            },
            "approveAgent": {"agentAddress": user, "agentName": "n"},
            "updateLeverage": {"asset": 0, "isCross": True, "leverage": dice.randrange(50)},
            "updateIsolatedMargin": {"asset": 0, "isBuy": True, "ntli": 5},
            "createSubAccount": {"name": "sub"},
        }
        kind = dice.choice(kinds)
        yield {"type": kind, **fields[kind]}


def signed(wallet: LocalAccount, action: dict[str, Any]) -> dict[str, Any]:
    nonce, kind = next(NONCES), action["type"]
    nothing = {"r": "0x1", "s": "0x1", "v": 27}
    try:
        if isinstance(kind, str) and kind in USER_SIGNED:
            name, types = USER_SIGNED[kind]
            action["time" if any(field == "time" for field, _ in types) else "nonce"] = nonce
            listed = [{"name": field, "type": of} for field, of in (("hyperliquidChain", "string"), *types)]
            name = f"HyperliquidTransaction:{name}"
            signature = signing.sign_user_signed_action(wallet, action, listed, name, False)
        else:
            signature = signing.sign_l1_action(wallet, action, None, nonce, None, False)
    except Exception:  # noqa: BLE001 - the library can't sign everything that can be sent
        signature = nothing
    return {"action": action, "nonce": nonce, "signature": signature}


@pytest.mark.parametrize("seed", range(3))
def test_bent_requests_are_answered_or_422_and_tokens_stay_whole(seed: int) -> None:
    dice = random.Random(seed)
    server = build(Options(coins=("BTC", "HYPE"), history_h=4, paused=True, start_ms=1_772_000_000_000))
    wallet, world = eth_account.Account.create(), server.world
    user = wallet.address.lower()
    world.fund(user, Decimal(100_000))
    world.spot.exchange.join(user, world.exchange.traded(user))
    world.spot.exchange.deposit(user, "USDC", Decimal(50_000))
    world.spot.exchange.deposit(user, "UBTC", Decimal(2))
    outcomes: Counter[str] = Counter()
    actions = requests_of(dice, float(world.exchange.marks["BTC"]))
    for number in range(400):
        action = next(actions)
        mild = bent(action, dice, dice.choice([0, 0, 0.05, 0.3]))
        body = signed(wallet, mild if isinstance(mild, dict) and "type" in mild else action)
        try:
            reply = server.exchange(decode(json.dumps(body)))
            orjson.dumps(reply)
            outcomes[reply["status"]] += 1
        except (Malformed, ServerFault):
            outcomes["422"] += 1
        if number % 50 == 0:
            world.advance(dice.choice([1000, 30_000, 600_000]))
    assert min(outcomes["ok"], outcomes["err"], outcomes["422"]) > 20, outcomes
    spot = world.spot.exchange
    wallets = list(spot.wallets.values())
    owned = sum((each.total.get("UBTC", Decimal(0)) for each in wallets), Decimal(0))
    rest = spot.collected.get("UBTC", Decimal(0)) + spot.outside.get("UBTC", Decimal(0))
    assert owned + rest == 2
    assert all(amount >= 0 for each in wallets for amount in each.total.values())


def test_a_flood_of_nonces_is_kept_to_the_newest() -> None:
    nonces, now_ms = Nonces(), 10**12
    for nonce in range(now_ms, now_ms + 10_000):
        assert nonces.refusal(nonce, now_ms) == ""
        nonces.use(nonce)
    assert len(nonces._used) == KEPT_NONCES


def test_names_of_nobody_leave_no_trace(devnet: Server) -> None:
    users, accounts = len(devnet.world.users), len(devnet.world.exchange.accounts)
    nonces = len(devnet.door.identities._nonces)
    for number in range(200):
        body = {"type": "clearinghouseState", "user": f"0x{number:040x}"}
        assert raw(devnet, "/info", json.dumps(body).encode()).status_code == 200
        stranger = signed(eth_account.Account.create(), {"type": "noop"})
        assert raw(devnet, "/exchange", json.dumps(stranger).encode()).json()["status"] == "err"
    assert (len(devnet.world.users), len(devnet.world.exchange.accounts)) == (users, accounts)
    assert len(devnet.door.identities._nonces) == nonces


async def _talk(devnet: Server, frames: list[Any], wanted: int) -> list[Any]:
    async with ClientSession() as session, session.ws_connect(devnet.url + "/ws") as socket:
        for frame in frames:
            await socket.send_str(json.dumps(frame))
        return [json.loads((await socket.receive(timeout=10)).data) for _ in range(wanted)]


def test_subscriptions_with_odd_options_are_refused_and_the_feeds_go_on(devnet: Server) -> None:
    book = {"type": "l2Book", "coin": "BTC"}
    figures: tuple[Any, ...] = ("x", 99, -1, [], 1.5)
    odd: list[Any] = [book | {"nSigFigs": each} for each in figures]
    odd += [
        book | {"mantissa": 2},
        book | {"fast": "yes"},
        book | {"dex": 5},
        {"type": "l2Book"},
        {"type": []},
    ]
    odd += [None, [], "l2Book", {"type": "userFills", "user": "me"}, {"type": "candle", "coin": "BTC"}]
    asked = [{"method": "subscribe", "subscription": each} for each in odd]
    asked += [{"method": "post", "id": 1}, {"method": []}, {"id": 5}]
    replies = asyncio.run(_talk(devnet, asked, len(asked)))
    assert {reply["channel"] for reply in replies} == {"error"}
    good = [{"method": "subscribe", "subscription": book | {"fast": True}}]
    frames = asyncio.run(_talk(devnet, good, 4))
    assert [frame["channel"] for frame in frames] == ["subscriptionResponse"] + ["l2Book"] * 3


def test_a_connection_follows_a_thousand_things_of_ten_users_and_no_more(devnet: Server) -> None:
    connection = Connection(Faults())
    kinds = ("orderUpdates", "userEvents", "notification")
    asked = [{"type": kind, "user": f"0x{user:040x}"} for user in range(10) for kind in kinds]
    errors = [devnet.channels.subscribe(connection, each) for each in asked]
    assert errors == [""] * 30
    one_more = {"type": "orderUpdates", "user": f"0x{10:040x}"}
    assert devnet.channels.subscribe(connection, one_more) == "Cannot track more than 10 total users."
    connection = Connection(Faults())
    for number in range(MOST_SUBSCRIPTIONS):
        connection.subscriptions[b"%d" % number] = {"type": "bbo", "coin": "BTC"}
    error = devnet.channels.subscribe(connection, {"type": "allMids"})
    assert error == "Cannot track more than 1000 total subscriptions."
    assert len(connection.subscriptions) == MOST_SUBSCRIPTIONS


def test_who_never_reads_is_hung_up_on_and_nothing_is_kept_for_it() -> None:
    connection, ended = Connection(Faults()), list[bool]()
    connection.abort = lambda: ended.append(True)
    frame = b"x" * 2**20
    for _ in range(100):
        connection.push(frame)
        assert connection.frames.bytes <= MOST_WAITING_BYTES + len(frame)
    assert ended == [True]
    assert connection.frames.qsize() == 1
    assert connection.frames.get_nowait() is None  # what tells the writer to stop
