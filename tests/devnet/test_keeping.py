"""A devnet that is kept goes on as if it had never stopped, wherever it was stopped."""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import eth_account
import pytest
from eth_account.signers.local import LocalAccount

from bot.clock import parse_utc
from bot.devnet import controls, market
from bot.devnet.account_actions import ACTIONS
from bot.devnet.server import Server
from bot.devnet.start import Options, build
from bot.devnet.wire import Malformed
from bot.errors import ConfigError, StateError
from tests.devnet.asking import everything, signed, user_signed

START = parse_utc("2026-03-01T12:34:56Z")
COINS = ("BTC", "ETH")
OPTIONS = Options(coins=COINS, history_h=30, paused=True, start_ms=START)

SELLING = {"a": 1, "b": False, "s": "0.4", "r": False, "m": 10, "t": True}
"""A TWAP order."""

ALICE, BOB, AGENT = (eth_account.Account.from_key("0x" + digit * 64) for digit in "123")


def asked(server: Server) -> dict[str, Any]:
    """All that clients can ask."""

    def ask(body: dict[str, Any]) -> Any:
        try:
            return server.info(body)
        except Malformed:
            return "malformed"

    users = [*server.world.exchange.accounts, *server.door.identities.agents]
    orders = [oid for records in server.world.users.values() for oid in records.orders]
    return everything(ask, (*COINS, "@142"), users, orders)


def crash(server: Server) -> None:
    """Lose what kill -9 loses: all but what has been written."""
    assert server.keeper is not None
    server.keeper._file.close()


def limit(asset: int, is_buy: bool, price: str, size: str, tif: str = "Gtc", **more: Any) -> dict[str, Any]:
    kind = {"limit": {"tif": tif}}
    return {"a": asset, "b": is_buy, "p": price, "s": size, "r": False, "t": kind} | more


def trigger(asset: int, is_buy: bool, price: str, size: str, kind: str) -> dict[str, Any]:
    trigger = {"isMarket": True, "triggerPx": price, "tpsl": kind}
    return {"a": asset, "b": is_buy, "p": price, "s": size, "r": True, "t": {"trigger": trigger}}


def order(*orders: dict[str, Any], grouping: str = "na") -> dict[str, Any]:
    return {"type": "order", "orders": list(orders), "grouping": grouping}


Step = Callable[[Server], Any]


def action(wallet: LocalAccount, made: Callable[[Server], dict[str, Any]], vault: str | None = None) -> Step:
    """A step that signs once, so that every devnet which takes it gets the very same request."""
    bodies: list[dict[str, Any]] = []

    def step(server: Server) -> Any:
        if not bodies:
            bodies.append(signed(wallet, made(server), vault))
        return server.exchange(bodies[0])

    return step


def user_action(wallet: LocalAccount, made: dict[str, Any], name: str, fields: str) -> Step:
    body = user_signed(wallet, made, name, fields)
    return lambda server: server.exchange(body)


def control(name: str, body: dict[str, Any]) -> Step:
    """As the controls' route does it."""

    def step(server: Server) -> Any:
        reply = controls.CHANGES[name](server, body)
        if server.keeper is not None:
            server.keeper.control(name, body)
        return reply

    return step


def passes(seconds: float) -> Step:
    return lambda server: server.world.advance(round(seconds * 1000))


def others(server: Server) -> None:
    server.world.set_speed(1e-9, paused=False)  # so that a tick is only the others' trades
    server.world.tick()
    server.world.set_speed(1.0, paused=True)


def near(server: Server, coin: str, share: float) -> str:
    """A price on the grid at a share of the mark."""
    instrument, mark = server.world.instruments[coin], server.world.exchange.marks[coin]
    return f"{instrument.round_price(mark * round(share * 1000) / 1000).normalize():f}"


def script() -> list[Step]:
    """A little of everything that can happen."""
    bought = limit(0, True, "999999", "0.02", "Ioc")

    def to_sub(server: Server) -> dict[str, Any]:
        (sub,) = server.door.identities.sub_accounts
        return {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 100_000_000}

    def in_hours(server: Server, share: float) -> dict[str, Any]:
        return order(limit(1, True, near(server, "ETH", share), "0.5"))

    return [
        control("faucet", {"user": ALICE.address, "usdc": "50000"}),
        control("faucet", {"user": BOB.address, "usdc": 700.25}),
        action(ALICE, lambda _: {"type": "updateLeverage", "asset": 1, "isCross": False, "leverage": 7}),
        action(ALICE, lambda s: order(limit(0, True, near(s, "BTC", 1.05), "0.02", "Ioc"))),
        action(ALICE, lambda s: order(limit(1, True, near(s, "ETH", 0.999), "0.5", c="0x" + "ab" * 16))),
        passes(61.5),
        others,
        action(ALICE, lambda s: order(limit(1, False, near(s, "ETH", 0.95), "1.5", "Ioc"))),
        action(
            ALICE, lambda _: {"type": "updateIsolatedMargin", "asset": 1, "isBuy": True, "ntli": 5_000_000}
        ),
        action(
            ALICE,
            lambda s: order(
                limit(0, True, near(s, "BTC", 0.9), "0.01"),
                trigger(0, False, near(s, "BTC", 1.2), "0.01", "tp"),
                trigger(0, False, near(s, "BTC", 0.7), "0.01", "sl"),
                grouping="normalTpsl",
            ),
        ),
        action(
            ALICE,
            lambda s: order(
                trigger(0, False, near(s, "BTC", 1.01), "0", "tp"),
                trigger(0, False, near(s, "BTC", 0.99), "0", "sl"),
                grouping="positionTpsl",
            ),
        ),
        action(BOB, lambda s: order(limit(0, True, near(s, "BTC", 1.0), "50"))),  # more than he can pay
        action(BOB, lambda s: order(limit(0, True, near(s, "BTC", 1.01), "0.05", "Gtc"))),
        user_action(
            ALICE,
            {"type": "approveAgent", "agentAddress": AGENT.address, "agentName": "bot"},
            "ApproveAgent",
            "address agentAddress,string agentName,uint64 nonce",
        ),
        action(AGENT, lambda s: order(limit(0, False, near(s, "BTC", 1.002), "0.003", "Alo"))),
        passes(3600),
        others,
        action(ALICE, lambda _: {"type": "createSubAccount", "name": "second"}),
        action(ALICE, to_sub),
        user_action(
            ALICE,
            {"type": "usdSend", "destination": BOB.address.lower(), "amount": "12.5"},
            "UsdSend",
            "string destination,string amount,uint64 time",
        ),
        user_action(
            BOB,
            {"type": "withdraw3", "destination": BOB.address.lower(), "amount": "5"},
            "Withdraw",
            "string destination,string amount,uint64 time",
        ),
        action(ALICE, lambda s: in_hours(s, 0.998)),
        action(AGENT, lambda _: {"type": "noop"}),
        control("faucet", {"user": ALICE.address, "token": "UBTC", "amount": "0.5"}),
        control("faucet", {"user": ALICE.address, "token": "USDC", "amount": "9000"}),
        action(ALICE, lambda s: order(limit(10_142, False, near(s, "BTC", 0.99), "0.01", "Ioc"))),
        action(ALICE, lambda s: order(limit(10_142, True, near(s, "BTC", 0.995), "0.02"))),
        action(ALICE, lambda _: {"type": "twapOrder", "twap": SELLING}),
        passes(65),
        others,
        passes(5 * 3600 + 17),
        others,
        action(
            ALICE, lambda _: {"type": "cancelByCloid", "cancels": [{"asset": 1, "cloid": "0x" + "ab" * 16}]}
        ),
        action(ALICE, lambda s: in_hours(s, 0.997)),
        passes(30 * 3600),
        action(AGENT, lambda _: order(bought)),
        others,
    ]


def stand(server: Server, steps: list[Step]) -> list[Any]:
    answers = []
    for step in steps:
        answers.append(step(server))
        server.keep()
    return answers


def test_stopped_after_any_step_it_goes_on_like_one_that_never_stopped(tmp_path: Path) -> None:
    steps = script()
    twin = build(OPTIONS)
    kept = replace(OPTIONS, state=tmp_path / "devnet.state")
    server = build(kept)
    for number, step in enumerate(steps):
        assert step(server) == step(twin)
        server.keep()
        crash(server)
        server = build(kept)
        assert server.resumed
        assert asked(server) == asked(twin), f"after step {number}"
        if number % 3 == 0:  # now and then nothing is lost in a crash but all is in the snapshot
            assert server.keeper is not None
            server.keeper.snapshot()
    fills = asked(twin)[f"userFills {ALICE.address.lower()}  1"]
    assert {"BTC", "ETH", "@142"} == {fill["coin"] for fill in fills}, "the script is to trade"
    assert len({fill["twapId"] for fill in fills}) == 2, "by slices, too"
    crash(server)


def test_a_long_log_is_applied_again_with_the_same_outcome(tmp_path: Path) -> None:
    steps = script()
    twin, kept = build(OPTIONS), replace(OPTIONS, state=tmp_path / "devnet.state")
    server = build(kept)
    assert stand(server, steps) == stand(twin, steps)
    crash(server)
    server = build(kept)
    assert asked(server) == asked(twin)
    more = [passes(7200), others, passes(90_000)]
    stand(server, more), stand(twin, more)
    assert asked(server) == asked(twin)
    crash(server)


def test_a_used_nonce_stays_used(tmp_path: Path) -> None:
    kept = replace(OPTIONS, state=tmp_path / "devnet.state")
    server = build(kept)
    controls.CHANGES["faucet"](server, {"user": ALICE.address, "usdc": 100})
    body = signed(ALICE, {"type": "noop"})
    server.exchange(body)
    server.keeper.close()  # type: ignore[union-attr]
    server = build(kept)
    assert server.exchange(body)["response"] == f"Invalid nonce: duplicate nonce {body['nonce']}"
    crash(server)


def test_a_request_that_the_devnet_tripped_over_does_not_keep_it_from_coming_back(tmp_path: Path) -> None:
    kept = replace(OPTIONS, state=tmp_path / "devnet.state")

    def trip(door: Any, user: str, action: Any) -> Any:
        door.world.records(user).referrer = "half-way"
        raise ZeroDivisionError(action)

    server = build(kept)
    stand(server, script()[:1])
    server.door.actions["noop"] = trip
    with pytest.raises(ZeroDivisionError):
        server.exchange(signed(ALICE, {"type": "noop"}))
    server.keep()
    crash(server)
    with pytest.raises(StateError, match="another version"):  # this program does not trip
        build(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ACTIONS, "noop", trip)
        server = build(kept)
    assert server.world.users[ALICE.address.lower()].referrer == "half-way"
    crash(server)


def test_what_refers_to_the_world_the_market_or_the_door_refers_to_the_new_ones(tmp_path: Path) -> None:
    kept = replace(OPTIONS, state=tmp_path / "devnet.state")
    server = build(kept)
    vars(server.world)["around"] = [server.world, server.world.market, server.door]
    server.keeper.close()  # type: ignore[union-attr]
    server = build(kept)
    assert vars(server.world)["around"] == [server.world, server.world.market, server.door]
    crash(server)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_tail_is_cut_back_to_the_last_whole_input(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "devnet.state"
    kept, twin = replace(OPTIONS, state=path), build(OPTIONS)
    server = build(kept)
    steps = script()
    first, last = steps[:5], steps[5]
    stand(server, first), stand(twin, first)
    before = path.stat().st_size
    stand(server, [last])
    crash(server)
    os.truncate(path, max(before + 1, path.stat().st_size - cut))
    server = build(kept)
    assert asked(server) == asked(twin)
    last(server), last(twin)
    assert asked(server) == asked(twin)
    crash(server)


def test_what_a_power_cut_leaves_of_unsynced_time_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "devnet.state"
    server = build(replace(OPTIONS, state=path))
    stand(server, [passes(61)])
    crash(server)
    with path.open("ab") as file:
        file.write(bytes(300) + b"\n")
    resumed = build(replace(OPTIONS, state=path))
    assert resumed.world.now_ms == START + 61_000
    crash(resumed)


def damaged_in_the_log(content: bytes) -> bytes:
    at = content.index(b'["control"') + 14
    return content[:at] + b"?" + content[at + 1 :]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda _: b"", "is not a devnet's state"),
        (lambda _: b"PNG or whatever\n", "is not a devnet's state"),
        (
            lambda content: content.replace(b'"hedgerow_devnet_state":1', b'"hedgerow_devnet_state":9'),
            "format 9",
        ),
        (lambda content: content[:3000], "is damaged at byte"),
        (lambda content: content[:3000] + b"?" + content[3001:], "is damaged at byte"),
        (damaged_in_the_log, "is damaged at byte"),
    ],
)
def test_a_foreign_or_damaged_file_is_refused_and_left_alone(
    tmp_path: Path, harm: Callable[[bytes], bytes], said: str
) -> None:
    path = tmp_path / "devnet.state"
    server = build(replace(OPTIONS, state=path))
    stand(server, script()[:6])
    crash(server)
    content = harm(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(StateError, match=said):
        build(replace(OPTIONS, state=path))
    assert path.read_bytes() == content


def test_a_pickle_that_would_call_something_is_not_read(tmp_path: Path) -> None:
    import pickle
    from hashlib import sha256

    import orjson

    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "devnet.state"
    server = build(replace(OPTIONS, state=path))
    crash(server)
    header = orjson.loads(path.read_bytes().split(b"\n", 1)[0])
    blob = pickle.dumps(Harm())
    header |= {"bytes": len(blob), "sha256": sha256(blob).hexdigest()}
    path.write_bytes(orjson.dumps(header) + b"\n" + blob + b"\n")
    with pytest.raises(StateError, match="can't be read by this program"):
        build(replace(OPTIONS, state=path))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 8}, "seed 7, not 8"),
        ({"coins": ("BTC",)}, "coins"),
        ({"start_ms": START + 1}, "start_ms"),
        ({"mainnet_signatures": True}, "mainnet_signatures"),
    ],
)
def test_the_state_of_another_market_is_refused_and_left_alone(
    tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    path = tmp_path / "devnet.state"
    crash(build(replace(OPTIONS, state=path)))
    content = path.read_bytes()
    with pytest.raises(ConfigError, match=said):
        build(replace(OPTIONS, state=path, **other))
    assert path.read_bytes() == content


def test_one_state_is_of_one_devnet_at_a_time_and_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "devnet.state"
    server = build(replace(OPTIONS, state=path))
    with pytest.raises(StateError, match="in use by another devnet"):
        build(replace(OPTIONS, state=path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    crash(server)
    crash(build(replace(OPTIONS, state=path, start_ms=None)))


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nowhere"):
        build(replace(OPTIONS, state=tmp_path / "nowhere" / "devnet.state"))


def test_on_a_full_disk_nothing_more_is_acknowledged_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "devnet.state"
    kept, twin = replace(OPTIONS, state=path), build(OPTIONS)
    server = build(kept)
    steps = script()
    stand(server, steps[:4]), stand(twin, steps[:4])
    steps[4](server)
    full = os.open("/dev/full", os.O_WRONLY)
    file = server.keeper._file  # type: ignore[union-attr]
    real, file._file = file._file, full
    for _ in range(2):
        with pytest.raises(StateError, match="No space left on device"):
            server.keep()
    file._file = real
    os.close(full)
    crash(server)
    server = build(kept)
    assert asked(server) == asked(twin)
    crash(server)


def test_bars_that_are_dropped_stay_dropped_and_the_market_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market, "KEPT_HOURS", 48)
    monkeypatch.setattr(market, "CHUNK_HOURS", 24)
    kept, twin = replace(OPTIONS, state=tmp_path / "devnet.state"), build(OPTIONS)
    server = build(kept)
    for _ in range(4):
        stand(server, [passes(20 * 3600)]), stand(twin, [passes(20 * 3600)])
        crash(server)
        server = build(kept)
        assert asked(server) == asked(twin)
    assert server.world.market.oldest == 48
    crash(server)
