"""What only a devnet has: the clock, faults, replay; and the wire where no client hides it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import ClientSession

from bot.clock import parse_utc
from bot.devnet.faults import Chaos
from bot.devnet.limits import RateLimits
from bot.devnet.server import Server
from bot.devnet.start import Options, build, running
from bot.errors import ConfigError, Refused
from bot.sim.coins import MAJORS

START = parse_utc("2026-03-01T12:34:56Z")


@pytest.fixture
def own() -> Iterator[Server]:
    with running(Options(coins=("BTC", "ETH"), history_h=4, paused=True, start_ms=START)) as server:
        yield server


def post(server: Server, path: str, body: Any) -> requests.Response:
    return requests.post(server.url + path, json=body, timeout=10)


def test_the_same_seed_and_steps_make_the_same_market() -> None:
    worlds = [
        build(Options(coins=("BTC",), history_h=4, paused=True, start_ms=START, seed=3)).world
        for _ in range(2)
    ]
    for world in worlds:
        world.advance(5_400_000)
    one, other = worlds
    assert one.exchange.marks == other.exchange.marks
    assert one.exchange.books["BTC"].depth(1) == other.exchange.books["BTC"].depth(1)


def test_prices_between_bars_start_end_and_turn_where_the_bars_say(own: Server) -> None:
    market = own.world.market
    bar, path = market.bar(2), market.path(2)
    assert path[0] == pytest.approx(bar["open"])
    assert path[-1] == pytest.approx(bar["close"])
    assert path.max(axis=0) == pytest.approx(bar["high"])
    assert path.min(axis=0) == pytest.approx(bar["low"])


def test_premiums_sampled_over_an_hour_average_to_what_settles(own: Server) -> None:
    market, hour = own.world.market, 2
    opened = market.first_ms + hour * 3_600_000
    sampled = [market.moment(opened + step * 5000 + 2500).premium[0] for step in range(720)]
    assert sum(sampled) / 720 == pytest.approx(market.settled(hour)[1][0], abs=1e-9)


def test_the_clock_stands_leaps_and_refuses_nonsense(own: Server) -> None:
    before = own.world.now_ms
    assert before == START
    assert post(own, "/devnet/clock", {"advance_s": 7200}).json()["time"] == before + 7_200_000
    assert requests.get(own.url + "/devnet/clock", timeout=5).json()["paused"] is True
    for wrong in ({"speed": 0}, {"speed": "fast"}, {"advance_s": -1}, {"jump": 1}):
        assert post(own, "/devnet/clock", wrong).status_code == 400
    page = {"Origin": "http://localhost:8080"}
    refused = requests.post(own.url + "/devnet/clock", json={"advance_s": 60}, headers=page, timeout=5)
    assert refused.status_code == 403
    assert requests.get(own.url + "/devnet/clock", timeout=5).json()["time"] == before + 7_200_000
    unheard = {"user": "0x" + "11" * 20, "token": ["UBTC"], "amount": "1"}
    assert post(own, "/devnet/faucet", unheard).status_code == 400


def test_the_faucet_gives_to_any_address_and_only_sense(own: Server) -> None:
    user = "0x" + "Ab" * 20
    assert post(own, "/devnet/faucet", {"user": user, "usdc": "12.5"}).json()["balance"] == "12.5"
    state = post(own, "/info", {"type": "clearinghouseState", "user": user}).json()
    assert state["withdrawable"] == "12.5"
    for wrong in (-1, 0, "NaN", None, True, 1e40):
        assert post(own, "/devnet/faucet", {"user": user, "usdc": wrong}).status_code == 400


def test_faults_strike_as_often_as_asked_and_stop(own: Server) -> None:
    mids = {"type": "allMids"}
    assert post(own, "/devnet/chaos", {"rate_limited": 1.0}).json()["rate_limited"] == 1.0
    limited = post(own, "/info", mids)
    assert (limited.status_code, limited.text) == (429, "null")
    post(own, "/devnet/chaos", {})
    post(own, "/devnet/chaos", {"executed_502": 1.0})
    assert post(own, "/info", mids).status_code == 502
    post(own, "/devnet/chaos", {})
    post(own, "/devnet/chaos", {"lost_reply": 1.0, "paths": ["/info"]})
    with pytest.raises(requests.ConnectionError):
        post(own, "/info", mids)
    post(own, "/devnet/chaos", {})
    assert post(own, "/info", mids).status_code == 200
    assert post(own, "/devnet/chaos", {"lost_reply": 2}).status_code == 400


def test_a_fault_that_does_not_exist_is_named() -> None:
    with pytest.raises(Refused, match="no fault 'typo'"):
        Chaos.of({"typo": 1}, Chaos())


async def _frames(server: Server, *sent: Any, count: int) -> list[Any]:
    async with ClientSession() as session, session.ws_connect(server.url + "/ws") as socket:
        for frame in sent:
            await socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        return [json.loads((await socket.receive(timeout=10)).data) for _ in range(count)]


def frames(server: Server, *sent: Any, count: int) -> list[Any]:
    import asyncio

    return asyncio.run(_frames(server, *sent, count=count))


def test_the_socket_answers_pings_posts_and_mistakes(own: Server) -> None:
    subscription = {"type": "orderUpdates", "user": "0x" + "11" * 20}
    ask = {"method": "subscribe", "subscription": subscription}
    payload = {"type": "l2Book", "coin": "BTC"}
    got = frames(
        own,
        {"method": "ping"},
        ask,
        ask,
        {"method": "unsubscribe", "subscription": subscription},
        {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "NOBODY"}},
        "not json",
        {"method": "post", "id": 5, "request": {"type": "info", "payload": payload}},
        {"method": "post", "id": 6, "request": {"type": "info", "payload": {"type": "nonsense"}}},
        count=8,
    )
    assert got[0] == {"channel": "pong"}
    assert got[1]["data"] == {"method": "subscribe", "subscription": subscription}
    assert got[2]["data"].startswith("Already subscribed: ")
    assert got[3]["data"]["method"] == "unsubscribe"
    assert got[4]["data"].startswith("Invalid subscription ")
    assert got[5]["data"].startswith("Error parsing JSON into valid websocket request: ")
    assert got[6]["data"]["id"] == 5
    assert got[6]["data"]["response"]["payload"]["data"]["coin"] == "BTC"
    assert got[7]["data"]["response"]["type"] == "error"
    assert got[7]["data"]["response"]["payload"].startswith("422")


def test_frames_are_doubled_and_sockets_dropped_on_demand(own: Server) -> None:
    post(own, "/devnet/chaos", {"duplicate_frame": 1.0})
    assert frames(own, {"method": "ping"}, count=2) == [{"channel": "pong"}] * 2
    post(own, "/devnet/chaos", {})
    post(own, "/devnet/chaos", {"drop_socket": 1.0})
    with pytest.raises((TypeError, ValueError)):
        frames(own, {"method": "ping"}, count=1)


def test_rate_limits_count_weights_by_the_minute() -> None:
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    asked = {"type": "meta"}
    assert all(limits.allow("a", asked, is_action=False) for _ in range(60))  # 60 × 20 = 1200
    assert not limits.allow("a", {"type": "allMids"}, is_action=False)
    assert limits.allow("b", asked, is_action=False)
    now[0] = 60.0
    assert limits.allow("a", asked, is_action=False)


def test_recorded_history_is_replayed_from_its_own_start(tmp_path: Path) -> None:
    from bot.data.generate import generate

    generate(tmp_path / "market", [MAJORS["BTC"], MAJORS["ETH"]], 240, 5, parse_utc("2024-01-01"))
    with running(Options(market="replay", data=tmp_path / "market", history_h=24, paused=True)) as server:
        start = server.world.now_ms
        assert parse_utc("2024-01-01") < start < parse_utc("2024-01-03")
        server_rows = post(server, "/info", {"type": "fundingHistory", "coin": "BTC", "startTime": 0}).json()
        from bot.data.store import Query, load

        panel = load(Query(tmp_path / "market")).panel
        row, column = panel.grid.row(server_rows[-1]["time"]), panel.instruments.index("BTC")
        assert float(server_rows[-1]["fundingRate"]) == pytest.approx(
            panel.field("funding_rate").values[row, column], abs=1e-10
        )
        assert post(server, "/devnet/clock", {"advance_s": 30 * 86_400}).json()["paused"] is True  # it ends


def test_options_that_cannot_be_are_refused_in_a_sentence() -> None:
    for options in (Options(coins=("NOBODY",)), Options(market="replay"), Options(market="nonsense")):
        with pytest.raises(ConfigError):
            build(options)


def test_the_command_prints_one_line_of_json_and_ends_on_interrupt() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "devnet", "--port", "0", "--coins", "BTC"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = json.loads(process.stdout.readline())
        assert line["network"] == "devnet"
        assert {"address", "private_key", "usdc"} <= line["funded"][0].keys()
        assert requests.post(line["url"] + "/info", json={"type": "meta"}, timeout=5).status_code == 200
    finally:
        process.send_signal(2)
        process.wait(10)
        process.stdout.close()
    assert process.returncode == 0
