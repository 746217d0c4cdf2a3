"""Making a devnet from its options: the market, the world, funded test keys, and a thread to run it in."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coincurve import PrivateKey

from bot.devnet import account_actions, controls, happenings, twap, universe
from bot.devnet.keeping import Keeper, Kept, checksum, load, restore
from bot.devnet.market import Market, ReplayedBars, SyntheticBars
from bot.devnet.server import Server
from bot.devnet.signatures import address_of, keccak256
from bot.devnet.statefile import BESIDE, CONTROL, FLOW, MARKET, TIME, Saved, StateFile
from bot.devnet.world import World
from bot.errors import ConfigError, StateError
from bot.model.panel import HOUR_MS
from bot.sim.coins import MAJORS

if TYPE_CHECKING:
    from bot.devnet.mirror import Mirror  # and what it needs of the live adapter, which other markets don't

DAY_MS: Final = 24 * HOUR_MS

FUNDED_USDC: Final = Decimal(100_000)


@dataclass(frozen=True, slots=True)
class Options:
    """What kind of devnet. `start_ms` None is now; `coins` empty is all; `history_h` is how far candles reach back.

    `data_query` are further fields of a `bot.data.store.Query`; `agent_days` is how long an agent may be approved for.
    `cex_port` is where it is a Binance too (0: any free port), which it is not without one; its account has `cex_usdt`.
    With `state` it goes on where the devnet stopped that wrote this file; time and faults are those of the options.
    """

    seed: int = 7
    coins: tuple[str, ...] = ()
    market: str = "synthetic"
    data: Path | None = None
    start_ms: int | None = None
    data_query: Mapping[str, Any] = field(default_factory=dict)
    history_h: int = 24 * 30
    agent_days: int = 180
    speed: float = 1.0
    paused: bool = False
    flow: bool = True
    mainnet_signatures: bool = False
    rate_limits: bool = False
    funded: int = 3
    cex_port: int | None = None
    cex_usdt: Decimal = Decimal(0)
    state: Path | None = None
    mirror_url: str | None = None
    mirror_round_s: float | None = None  # None is as often as the mirrored venue allows


def build(options: Options) -> Server:
    """A devnet that does not listen yet.

    Raises ConfigError or DataError on options that can't be, StateError if its state can't be used; the state is then
    as it was.
    """
    if options.market == "mirror" and (options.speed != 1 or options.paused or options.start_ms is not None):
        raise ConfigError("a mirror runs at the real time: leave out --speed, --paused and --start")
    if options.state is None:
        server = _make(options)[0]
        server.go_live()
        return server
    file = StateFile(options.state)
    try:
        return _resume(options, file)
    except BaseException:
        file.close()
        raise


def _resume(options: Options, file: StateFile) -> Server:
    saved = file.read()
    if saved is None:
        server, market = _make(options)
    else:
        kept = load(saved, _asked(options), file)
        still = replace(options, start_ms=saved.market["start_ms"], paused=True)
        server, market = _make(still, kept)
        restore(server.door, kept, file)
        _replay_inputs(server, saved, file)
        server.world.set_speed(options.speed, paused=options.paused)
        server.resumed = True
    server.go_live()
    server.keeper = Keeper(file, market, server.door)
    return server


def _replay_inputs(server: Server, saved: Saved, file: StateFile) -> None:
    """Apply what came in since the snapshot. Raises StateError if an answer is not what it was."""
    world = server.world
    for record in saved.inputs:
        kind = record[0]
        if kind == TIME:
            world.advance_to(record[1])
        elif kind == FLOW:
            world.others_trade()
        elif kind == MARKET:
            from bot.devnet.mirror import MirrorMarket, hear

            assert isinstance(world.market, MirrorMarket)
            hear(world, world.market, record[1])
        elif kind == BESIDE:
            if checksum(world.neighbours[record[1]].repeat(record[2])) != record[3]:
                raise _of_another_version(file)
        elif kind == CONTROL:
            controls.CHANGES[record[1]](server, record[2])
        elif checksum(_answered(server, record[1], record[2])) != record[3]:
            raise _of_another_version(file)
    server.channels.after_action()  # nobody listens yet


def _of_another_version(file: StateFile) -> StateError:
    return StateError(
        f"the devnet's state {file.path} was left in a crash by another version of this program and can't be "
        "carried on; start and end that version once, or name another file"
    )


def _answered(server: Server, body: dict[str, Any], wall_ms: int) -> Any:
    try:
        return server.carry_out(body, wall_ms)
    except Exception:  # noqa: BLE001 - whatever it tripped over then, half-way, it trips over again
        return None


def _make(options: Options, kept: Kept | None = None) -> tuple[Server, dict[str, Any]]:
    """A devnet, the one that was kept if so, and what its market is known by."""
    mirror = _mirror(options, kept) if options.market == "mirror" else None
    if mirror is not None:
        market: Market = mirror.market
        start_ms = int(mirror.first["time"]) if options.start_ms is None else options.start_ms
    else:
        market, start_ms = _market(options, None if kept is None else kept.market)
    world = World(
        market,
        start_ms if kept is None else kept.now_ms,
        options.seed,
        happenings.tell,
        flow=options.flow and mirror is None,
        speed=options.speed,
        paused=options.paused,
    )
    world.due.append(lambda: account_actions.cancel_scheduled(world))
    world.due.append(lambda: twap.run_due(world))
    server = Server(world, mainnet=options.mainnet_signatures, rate_limits=options.rate_limits)
    server.more_routes.append(controls.add_routes)
    for number in range(options.funded):
        key = PrivateKey(keccak256(f"hedgerow devnet test key {options.seed} {number}".encode()))
        address = address_of(key.public_key)
        server.funded.append(
            {"address": address, "private_key": "0x" + key.to_hex(), "usdc": str(FUNDED_USDC)}
        )
        if kept is None:
            world.fund(address, FUNDED_USDC)
    server.door.identities.longest_agent_ms = options.agent_days * DAY_MS
    world.pump()
    if options.cex_port is not None:
        _add_cex(server, options)
    if mirror is not None:
        from bot.devnet.mirror import go_live

        server.more_status["mirror"] = mirror.shown
        server.beside.append(partial(mirror.watch, world))
        server.go_live = partial(go_live, world, mirror)
    return server, _asked(options) | {"start_ms": start_ms}


def _add_cex(server: Server, options: Options) -> None:
    """Make it a Binance too, on a port of its own."""
    from bot.devnet.cex.door import Door
    from bot.devnet.cex.face import CexFace
    from bot.devnet.cex.server import NAME, CexServer

    assert options.cex_port is not None
    door = Door(CexFace(server.world, options.seed))
    site = CexServer(server, door, options.cex_port)
    account = door.open_account(options.cex_usdt)
    site.accounts.append({name: account[name] for name in ("api_key", "api_secret", "usdt")})
    server.world.neighbours[NAME] = door
    server.sites["cex"] = site


def _mirror(options: Options, kept: Kept | None) -> Mirror:
    from bot.devnet.mirror import TESTNET_URL, open_mirror

    since_ms = None if kept is None else kept.now_ms
    mirror = open_mirror(
        options.mirror_url or TESTNET_URL, options.coins, options.history_h, since_ms, options.mirror_round_s
    )
    if kept is not None:
        mirror.market.take(kept.market["heard"])
    return mirror


def _asked(options: Options) -> dict[str, Any]:
    """What a market is known by, as JSON values: a state is of this one and no other. `start_ms` may be open."""
    everything = MAJORS if options.market == "synthetic" else ()
    return {
        "market": options.market,
        "seed": options.seed,
        "coins": list(options.coins or everything),
        "start_ms": options.start_ms,
        "history_h": options.history_h,
        "data_query": dict(options.data_query),
        "flow": options.flow,
        "mirror_url": options.mirror_url,
        "mainnet_signatures": options.mainnet_signatures,
        "funded": options.funded,
    }


def _market(options: Options, saved: Mapping[str, Any] | None) -> tuple[Market, int]:
    mark = None if saved is None else saved["mark"]
    if options.market == "replay":
        return _replay(options, saved, mark)
    if options.market != "synthetic":
        raise ConfigError(
            f"there is no market {options.market!r} for a devnet; it must be synthetic, replay or mirror"
        )
    unknown = [coin for coin in options.coins if coin not in MAJORS]
    if unknown:
        raise ConfigError(f"the synthetic market has no {', '.join(unknown)}; it has {', '.join(MAJORS)}")
    coins = [MAJORS[coin] for coin in options.coins or MAJORS]
    start_ms = time.time_ns() // 1_000_000 if options.start_ms is None else options.start_ms
    first_ms = (start_ms // HOUR_MS - options.history_h) * HOUR_MS
    if first_ms < 0:
        raise ConfigError("the devnet can't start before 1970; choose a later start")
    bars = SyntheticBars(coins, options.seed, first_ms, mark)
    instruments = [universe.instrument(coin) for coin in coins]
    return Market(instruments, bars, first_ms, options.seed, saved), start_ms


def _replay(options: Options, saved: Mapping[str, Any] | None, mark: Any) -> tuple[Market, int]:
    from bot.data.store import Query
    from bot.data.store import load as load_data

    if options.data is None:
        raise ConfigError("a replay needs a folder of data; give it with --data DIR")
    history = load_data(Query(options.data, coins=options.coins, **options.data_query))
    grid = history.panel.grid
    first_ms = grid.start_ms - HOUR_MS  # the first bar ended there
    start_ms = options.start_ms
    if start_ms is None:
        start_ms = first_ms + min(options.history_h, max(grid.rows - 2, 0)) * HOUR_MS
    if not first_ms <= start_ms < grid.end_ms:
        raise ConfigError("the start lies outside the recorded data; choose one within, or none")
    bars = ReplayedBars(history.panel, mark)
    return Market(history.instruments, bars, first_ms, options.seed, saved), start_ms


async def serve(
    server: Server, host: str, port: int, parent_fd: int | None, ready: Callable[[], None]
) -> None:
    """Listen until SIGINT, SIGTERM, or the end of the pipe at `parent_fd`; `ready` is called when it does.

    Raises ConfigError if it can't listen, StateError if what happens can't be kept any more.
    """
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def heard() -> None:
        assert parent_fd is not None
        if not os.read(parent_fd, 4096):
            loop.remove_reader(parent_fd)
            end()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        if parent_fd is not None:
            try:
                loop.add_reader(parent_fd, heard)
            except (OSError, ValueError):
                raise ConfigError(
                    f"file descriptor {parent_fd} is no open pipe; give --parent-fd the reading end of one"
                ) from None
        try:
            await server.start(host, port)
        except OSError as error:
            raise ConfigError(
                f"the devnet can't listen on {host}:{port}: {error}; choose another port"
            ) from None
        ready()
        assert server.failed is not None
        await asyncio.wait([ended, server.failed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await server.stop()
    if server.failed.done():
        server.failed.result()


def ready_line(server: Server) -> dict[str, Any]:
    """What `hedgerow devnet` prints when it listens."""
    world = server.world
    return {
        "url": server.url,
        "network": "devnet",
        "time": world.now_ms,
        "speed": world.speed,
        "paused": world.paused,
        "resumed": server.resumed,
        "funded": server.funded,
        **{name: each.shown() for name, each in server.sites.items()},
    }


@contextmanager
def running(options: Options, port: int = 0) -> Iterator[Server]:
    """A devnet that listens, in a thread of its own, for as long as the block lasts."""
    server, loop = build(options), asyncio.new_event_loop()
    started: threading.Event = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server.start(port=port))
        except OSError as error:
            failed.append(error)
            started.set()
            return
        started.set()
        loop.run_forever()

    thread = threading.Thread(target=run, name="devnet", daemon=True)
    thread.start()
    started.wait()
    try:
        if failed:
            raise ConfigError(f"the devnet can't listen on port {port}: {failed[0]}; choose another")
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
