"""Guard, daemon and both signers as a person sets them up, on a devnet; the daemon is killed and comes back."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot import app, settings
from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import ConfigError, StateError
from bot.guard.guard import Guard
from bot.guard.start import standing
from bot.journal import pulse
from bot.signer.client import SignerClient
from bot.venues.attempts import cloid_of
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.signing import NotSigned, Order, Signed, SignerSocket
from tests.trader.daemon import TIMEOUT_S, hedgerow, journal_rows
from tests.trader.test_live import PASSWORD, command, piped, set_up
from tests.venues.hyperliquid.sdk_signer import SdkSigns

HOUR_MS = 3_600_000
START_MS = 1_790_000_000_000 // HOUR_MS * HOUR_MS - 1_800_000
CONFIG = "hyperliquid-devnet.toml"


class Place:
    """A folder with everything that was set up, and what runs in it."""

    def __init__(self, folder: Path, devnet: Server) -> None:
        self.folder, self.devnet = folder, devnet
        self.journal = folder / "state" / "hyperliquid-devnet.sqlite"
        self.address = devnet.funded[0]["address"].lower()
        self.owner_acts = 0
        self.processes: list[subprocess.Popen[str]] = []
        sockets = folder / "r" / "hedgerow"
        self.daemons_socket = sockets / "devnet" / "sign.sock"
        self.guards_socket = sockets / "devnet-guard" / "sign.sock"

    def guard_init(self) -> str:
        key, password = piped(self.devnet.funded[0]["private_key"].encode()), piped(PASSWORD)
        made = command(
            self.folder, "guard", "init", CONFIG, "--non-interactive", "--approve", "key",
            "--key-fd", str(key), "--password-fd", str(password), secrets=(key, password),
        )  # fmt: skip
        said = made.communicate(timeout=TIMEOUT_S)[0]
        for each in (key, password):
            os.close(each)
        assert made.returncode == 0, said
        return str(said)

    def sign(self, policy: str, name: str, socket: Path) -> None:
        password = piped(PASSWORD)
        (keystore,) = (self.folder / "keys").glob(f"devnet-{name}-*.json")
        signer = command(
            self.folder, "signer", "run", policy, "--keystore", str(keystore), "--socket", str(socket),
            "--password-fd", str(password), secrets=(password,),
        )  # fmt: skip
        os.close(password)
        self.processes.append(signer)
        assert signer.stdout is not None
        while not (line := signer.stdout.readline()).startswith("ready:"):
            assert line, "the signer ended"

    def run(self) -> "subprocess.Popen[str]":
        """The daemon, up to its first sign of life."""
        before = self.beat()
        daemon = command(self.folder, "run", CONFIG)
        self.processes.append(daemon)
        self.wait(lambda: self.beat() not in {None, before}, daemon)
        return daemon

    def beat(self) -> pulse.Beat | None:
        return pulse.heard(pulse.path_of(self.journal))

    def next_beat(self, daemon: "subprocess.Popen[str]") -> None:
        last = self.beat()
        self.wait(lambda: self.beat() != last, daemon)

    @staticmethod
    def wait(until: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not until():
            if process is not None and process.poll() is not None:
                raise AssertionError(process.communicate()[0])
            assert time.monotonic() < deadline
            time.sleep(0.05)

    async def open_now(self) -> Any:
        """What is open, as the venue tells it."""
        client = Client(self.devnet.url)
        try:
            return await client.info({"type": "frontendOpenOrders", "user": self.address})
        finally:
            await client.close()

    def positions(self) -> dict[str, int]:
        held = self.devnet.world.exchange.accounts[self.address].positions
        return {coin: position.lots for coin, position in held.items()}

    def post(self) -> tuple[Any, Any]:
        loaded = settings.load(self.folder / CONFIG, ["guard.close_after_s=1000"])
        post, orders = app.post_of(loaded)
        return (
            replace(
                post,
                journal=self.journal,
                signer=self.guards_socket,
                daemons_signer=self.daemons_socket,
            ),
            orders,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # Its time stands, so that an entry that rests is not met while the machine is busy.
    options = Options(
        coins=("BTC", "ETH"), history_h=1500, start_ms=START_MS, paused=True, agent_days=180, flow=False
    )
    (tmp_path / "r").mkdir(mode=0o700)
    with running(options) as devnet:
        set_up(tmp_path, devnet)
        place = Place(tmp_path, devnet)
        said = place.guard_init()
        assert "can only cancel and reduce" in said
        assert PASSWORD.decode() not in said
        assert devnet.funded[0]["private_key"] not in said
        place.sign("signer-policy-devnet.toml", "desk", place.daemons_socket)
        place.sign("guard-policy-devnet.toml", "hedgerow-guard", place.guards_socket)
        try:
            yield place
        finally:
            for process in reversed(place.processes):
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


class Clock:
    """The guard's own, in the test's hands."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s

    async def pass_by(self, guard: Guard, seconds: float) -> None:
        self.s += seconds
        await guard.round()


async def act(place: Place, sign: Callable[[SdkSigns], Signed]) -> None:
    """Send what the account's owner signs."""
    owner = SdkSigns(
        {"BTC": 0, "ETH": 1},
        key=place.devnet.funded[0]["private_key"],
        first_nonce=place.devnet.world.now_ms + place.owner_acts,
    )
    owner.venue_ms = place.devnet.world.now_ms
    place.owner_acts += 1
    client = Client(place.devnet.url)
    try:
        await client.exchange(sign(owner).body)
    finally:
        await client.close()


async def an_entry(place: Place) -> None:
    """One that rests, by its name the daemon's; a strategy would have to wait for the hour to place it."""
    name = cloid_of("devnet", place.address, "d1-ETH-entry", 1, 1)
    price = place.devnet.world.instruments["ETH"].round_price(
        place.devnet.world.exchange.marks["ETH"] * Decimal("0.9")
    )
    entry = Order("ETH", "buy", "0.1", f"{price:f}", name, tif="Alo")
    await act(place, lambda owner: owner.order([entry], 15_000))


def test_killed(place: Place) -> None:
    daemon = place.run()
    done = hedgerow(place.folder, "trade", "BTC", "buy", "300", CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    held = place.positions()
    assert set(held) == {"BTC"}

    async def scene(ask: Callable[[], Any]) -> None:
        nonlocal daemon
        clock = Clock()
        post, orders = place.post()
        async with standing(post, orders, clock) as guard:
            await an_entry(place)
            shown = {each.coin: each for each in await ask()}
            assert set(shown) == {"BTC", "ETH"}  # a stop and an entry
            # The daemon lives: nothing is done, though a stop is gone.
            stop = shown["BTC"].order_id
            await act(place, lambda owner: owner.cancel([("BTC", stop)]))
            for _ in range(3):
                place.next_beat(daemon)
                await clock.pass_by(guard, orders.silent_s - 1)
            assert [each.order_id for each in await ask()] == [shown["ETH"].order_id]

            daemon.kill()
            daemon.communicate()
            await clock.pass_by(guard, 0)  # its last sign may have come just now
            await clock.pass_by(guard, orders.silent_s - guard._vigil.silent_s() - 1)
            assert [each.coin for each in await ask()] == ["ETH"]
            await clock.pass_by(guard, 1)
            (added,) = await ask()
            assert (added.coin, added.reduce_only, added.trigger is not None) == ("BTC", True, True)
            assert place.positions() == held

            await clock.pass_by(guard, 1000)
            assert place.positions() == {}

            daemon = place.run()
            await clock.pass_by(guard, 1)
            before = await ask()
            await clock.pass_by(guard, 1)
            assert await ask() == before

    asyncio.run(scene(place.open_now))
    done = hedgerow(place.folder, "trade", "BTC", "buy", "100", CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    daemon.terminate()
    said = daemon.communicate(timeout=TIMEOUT_S)[0]
    assert daemon.returncode == 0, said
    assert dict(journal_rows(place.journal, "SELECT instrument, lots FROM position")) == place.positions()
    closed = journal_rows(place.journal, "SELECT lots FROM fill WHERE purpose = 'external'")
    assert [abs(row[0]) for row in closed] == [held["BTC"]]
    records = place.devnet.world.records(place.address)
    fills = {row[0] for row in journal_rows(place.journal, "SELECT trade_id FROM fill")}
    assert fills == {row["tid"] for row in records.fills}
    verified = hedgerow(place.folder, "ledger", "verify", CONFIG)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_powers(place: Place) -> None:
    """What a guard is refused, and what it can't do however it is asked."""
    post, orders = place.post()

    async def stands(wrong: Any) -> None:
        async with standing(wrong, orders):
            raise AssertionError("it stands")

    with pytest.raises(ConfigError, match="signs orders that open positions"):
        asyncio.run(stands(replace(post, signer=place.daemons_socket)))
    with pytest.raises(ConfigError, match="of the same agent"):
        asyncio.run(stands(replace(post, daemons_signer=place.guards_socket)))

    async def twice() -> None:
        async with standing(post, orders):
            await stands(post)

    with pytest.raises(StateError, match="another guard"):
        asyncio.run(twice())
    with SignerClient(place.guards_socket) as client:
        signs = SignerSocket(client)
        signs.whose()
        signs.clock(place.devnet.world.now_ms)
        mark = place.devnet.world.exchange.marks["BTC"]
        client.prices({"BTC": f"{mark:f}"}, place.devnet.world.now_ms)
        opens = Order("BTC", "buy", "0.001", f"{mark:.0f}", "0x" + "1" * 32, tif="Ioc")
        with pytest.raises(NotSigned, match=r"positions_unknown|order_usd"):
            signs.order([opens], 15_000)

    watching = command(place.folder, "guard", CONFIG)
    place.processes.append(watching)
    assert watching.stdout is not None
    assert "no daemon has given a sign of life" in watching.stdout.readline()
    watching.terminate()
    rest = watching.communicate(timeout=TIMEOUT_S)[0]
    assert watching.returncode == 0, rest
    assert "the guard ends" in rest
