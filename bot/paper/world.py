"""A paper run's surroundings: the devnet and the signers as child processes, and how to reach them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.errors import StateError
from bot.model.instrument import HYPERLIQUID
from bot.model.money import ZERO
from bot.paper import cex
from bot.paper.account import account_in, open_account, post, private
from bot.paper.children import Child
from bot.paper.policy import Bounds, listed_in, pairs_in, policy_text

DEVNET_S: Final = 120.0  # a long recording takes a while to read, a long log to play again
SIGNER_S: Final = 30.0
SPOT_WALLET: Final = f"{HYPERLIQUID} spot"
LONGEST_SOCKET_PATH: Final = 100


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is to be put up. `folder` keeps the exchange's state, the accounts' keys and the signers' logs.

    `devnet` are the options of `hedgerow devnet` that make the market, by name; None and empty ones are left out.
    `coins` are traded on Hyperliquid, spot markets too, `cex_coins` on the central exchange; where there are none, there
    is no such exchange. `wallets` says what each begins with, USD. `speed` is simulated seconds per real second.
    """

    folder: Path
    devnet: Mapping[str, object]
    coins: tuple[str, ...]
    wallets: Mapping[str, Decimal]
    bounds: Bounds
    speed: float
    new_journal: bool = False
    cex_coins: tuple[str, ...] = ()


TRADING_SPEED: Final = 60.0


@dataclass(frozen=True, slots=True)
class CexWorld:
    """Where the simulated central exchange and its signer answer."""

    url: str
    signer: Path


@dataclass(frozen=True, slots=True)
class World:
    """What was put up: where the exchange and the signer answer, and whose books are traded."""

    url: str
    account: str
    signer: Path
    speed: float
    cex: CexWorld | None = None

    async def run_clock(self, *, runs: bool) -> None:
        """Let the market's time pass, or stand."""
        await asyncio.to_thread(post, self.url, "/devnet/clock", {"speed": self.speed, "paused": not runs})

    @asynccontextmanager
    async def slowed(self) -> AsyncIterator[None]:
        """Let the market go at a minute a second meanwhile, where it goes faster.

        What takes a second to trade would else be traded over an hour of it, which no market is like.
        """
        if self.speed <= TRADING_SPEED:
            yield
            return
        try:
            await asyncio.to_thread(post, self.url, "/devnet/clock", {"speed": TRADING_SPEED})
            yield
        finally:
            await asyncio.to_thread(post, self.url, "/devnet/clock", {"speed": self.speed})


@asynccontextmanager
async def put_up(wanted: Surroundings, fail: Callable[[BaseException], None]) -> AsyncIterator[World]:
    """Start the devnet and the signers; end them at the end. `fail` hears of one that ends early.

    StateError or Unavailable, one sentence, where they can't be started.
    """
    folder = wanted.folder
    _refuse_strange(folder, new_journal=wanted.new_journal)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    cex_port = {"cex_port": 0} if wanted.cex_coins else {}
    async with AsyncExitStack() as stack:
        devnet = await Child.start(
            "the devnet",
            ["devnet", *_options(port=0, state=folder / "devnet.state", **cex_port, **wanted.devnet)],
            folder / "devnet.log",
            lambda line: line.startswith("{"),
            timeout_s=DEVNET_S,
        )
        stack.push_async_callback(devnet.stop)
        ready = json.loads(devnet.ready)
        url = str(ready["url"])
        private(
            folder / "devnet.url", f"{url}\n"
        )  # for whoever wants to look at the exchange with a client of their own
        stack.callback((folder / "devnet.url").unlink, missing_ok=True)
        stack.push_async_callback(_cancel, asyncio.ensure_future(_watch(devnet, fail)))
        signers = Signers(folder, stack, fail)
        paper = account_in(folder) or open_account(
            folder,
            url,
            wanted.wallets[HYPERLIQUID],
            await _now_ms(url),
            spot_usd=wanted.wallets.get(SPOT_WALLET, ZERO),
        )
        listed = listed_in(await asyncio.to_thread(post, url, "/info", {"type": "metaAndAssetCtxs"}))
        listed |= pairs_in(await asyncio.to_thread(post, url, "/info", {"type": "spotMetaAndAssetCtxs"}))
        text = policy_text(paper.account, paper.agent, wanted.coins, listed, wanted.bounds, wanted.speed)
        signer = await signers.start("signer", "sign.sock", text, paper.keystore, paper.password)
        there = None
        if wanted.cex_coins:
            face = ready["cex"]
            account = cex.cex_account_in(folder) or cex.open_cex_account(
                folder, face["url"], wanted.wallets[cex.VENUE]
            )
            text = cex.cex_policy_text(
                account.agent, wanted.cex_coins, cex.cex_listed(face["url"]), wanted.bounds, wanted.speed
            )
            path = await signers.start("cex-signer", "cex.sock", text, account.keystore, account.password)
            there = CexWorld(face["url"], path)
        yield World(url, paper.account, signer, wanted.speed, there)


class Signers:
    """Starts signers as children that end with the `stack`."""

    def __init__(self, folder: Path, stack: AsyncExitStack, fail: Callable[[BaseException], None]) -> None:
        self._folder, self._stack, self._fail = folder, stack, fail

    async def start(self, name: str, socket: str, policy: str, keystore: Path, password: str) -> Path:
        """Have one sign by a policy with a key; its socket. Its policy, state and log are kept under its name."""
        folder = self._folder
        file = folder / ("policy.toml" if name == "signer" else f"{name}-policy.toml")
        private(file, policy)
        path = _socket_path(folder, socket, self._stack)
        signer = await Child.start(
            f"the {name}",
            ["signer", "run", str(file), *_options(keystore=keystore, state=folder / name, socket=path)],
            folder / f"{name}.log",
            lambda line: line.startswith("ready:"),
            timeout_s=SIGNER_S,
            secret=password.encode(),
        )
        self._stack.push_async_callback(signer.stop)
        self._stack.push_async_callback(_cancel, asyncio.ensure_future(_watch(signer, self._fail)))
        return path


def _refuse_strange(folder: Path, *, new_journal: bool) -> None:
    """An exchange that goes on needs the journal that knows of it."""
    if new_journal and (folder / "devnet.state").exists():
        raise StateError(
            f"the journal is new, but {folder} holds the exchange of an earlier run; put the journal back, or remove "
            f"{folder} too to begin anew"
        )


async def _now_ms(url: str) -> int:
    told: dict[str, Any] = await asyncio.to_thread(post, url, "/info", {"type": "exchangeStatus"})
    return int(told["time"])


def _socket_path(folder: Path, name: str, stack: AsyncExitStack) -> Path:
    """Beside the rest, or in a folder of its own where that path is too long for a socket."""
    path = folder.resolve() / name
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    elsewhere = Path(tempfile.mkdtemp(prefix="hedgerow-"))
    stack.callback(shutil.rmtree, elsewhere, ignore_errors=True)
    return elsewhere / name


async def _watch(child: Child, fail: Callable[[BaseException], None]) -> None:
    fail(await child.gone())


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _options(**options: object) -> list[str]:
    """Command-line options; None, False and empty ones are left out."""
    told: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            told += [flag] if value else []
        elif value == 0 or value:
            told += [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return told
