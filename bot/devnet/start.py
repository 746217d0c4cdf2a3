"""Making a devnet from its options: the market, the world, funded test keys, and a thread to run it in."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from coincurve import PrivateKey

from bot.devnet import account_actions, controls, happenings, twap, universe
from bot.devnet.market import Market, replayed_bars, synthetic_bars
from bot.devnet.server import Server
from bot.devnet.signatures import address_of, keccak256
from bot.devnet.world import World
from bot.errors import ConfigError
from bot.model.panel import HOUR_MS
from bot.sim.coins import MAJORS

FUNDED_USDC: Final = Decimal(100_000)


@dataclass(frozen=True, slots=True)
class Options:
    """What kind of devnet. `start_ms` None is now; `coins` empty is all; `history_h` is how far candles reach back."""

    seed: int = 7
    coins: tuple[str, ...] = ()
    market: str = "synthetic"
    data: Path | None = None
    start_ms: int | None = None
    history_h: int = 24 * 30
    speed: float = 1.0
    paused: bool = False
    flow: bool = True
    mainnet_signatures: bool = False
    rate_limits: bool = False
    funded: int = 3


def build(options: Options) -> Server:
    """A devnet that does not listen yet. Raises ConfigError or DataError on options that can't be."""
    market, start_ms = _market(options)
    world = World(
        market,
        start_ms,
        options.seed,
        happenings.tell,
        flow=options.flow,
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
        world.fund(address, FUNDED_USDC)
        server.funded.append(
            {"address": address, "private_key": "0x" + key.to_hex(), "usdc": str(FUNDED_USDC)}
        )
    world.pump()
    return server


def _market(options: Options) -> tuple[Market, int]:
    if options.market == "replay":
        return _replay(options)
    if options.market != "synthetic":
        raise ConfigError(
            f"there is no market {options.market!r} for a devnet; it must be synthetic or replay"
        )
    unknown = [coin for coin in options.coins if coin not in MAJORS]
    if unknown:
        raise ConfigError(f"the synthetic market has no {', '.join(unknown)}; it has {', '.join(MAJORS)}")
    coins = [MAJORS[coin] for coin in options.coins or MAJORS]
    start_ms = time.time_ns() // 1_000_000 if options.start_ms is None else options.start_ms
    first_ms = (start_ms // HOUR_MS - options.history_h) * HOUR_MS
    if first_ms < 0:
        raise ConfigError("the devnet can't start before 1970; choose a later start")
    bars = synthetic_bars(coins, options.seed, first_ms)
    return Market([universe.instrument(coin) for coin in coins], bars, first_ms, options.seed), start_ms


def _replay(options: Options) -> tuple[Market, int]:
    from bot.data.store import Query, load

    if options.data is None:
        raise ConfigError("a replay needs a folder of data; give it with --data DIR")
    history = load(Query(options.data, coins=options.coins))
    grid = history.panel.grid
    first_ms = grid.start_ms - HOUR_MS  # the first bar ended there
    start_ms = options.start_ms
    if start_ms is None:
        start_ms = first_ms + min(options.history_h, max(grid.rows - 2, 0)) * HOUR_MS
    if not first_ms <= start_ms < grid.end_ms:
        raise ConfigError("the start lies outside the recorded data; choose one within, or none")
    return Market(history.instruments, replayed_bars(history.panel), first_ms, options.seed), start_ms


def ready_line(server: Server) -> dict[str, Any]:
    """What `hedgerow devnet` prints when it listens."""
    return {"url": server.url, "network": "devnet", "funded": server.funded}


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
        yield server
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
