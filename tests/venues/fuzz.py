"""Mutated replies and frames of every kind through the strict parse edge, and what was read against an oracle.

    python -m tests.venues.fuzz --frames 1000000 --seed 1 [--recorded DIR]

Each goes the way it would from a socket: replies through the client, frames through the feed, and what was read of fills,
funding, bars and books into the adapter's books, of coins and their prices into its market data. Only its three kinds
of failure may come of it. Then whole agents trade
while replies that the edge refuses are mixed into what they are told: no order may leave that rests on one. Prints
JSON; the exit code is 1 where something got through.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import WSMsgType

from bot.errors import OutcomeUnknown, Refused, Unavailable
from bot.model.instrument import simple_instrument
from bot.model.panel import FloatArray
from bot.venues.attempts import Attempts
from bot.venues.edge import as_unavailable
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.contexts import Contexts
from bot.venues.hyperliquid.feed import Feed
from bot.venues.hyperliquid.heard import Heard
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.orders import Register
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.outbox import MemoryOutbox
from tests.venues.hyperliquid.fuzz_frames import resident_mib
from tests.venues.hyperliquid.shapes import ME, Shape, made, recorded
from tests.venues.mutations import Mutator
from tests.venues.plausible import contradiction
from tests.venues.quarantine import trade_on_spoilt_replies

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DECLARED: Final = (Refused, Unavailable, OutcomeUnknown)
INSTRUMENTS: Final = (simple_instrument("BTC", 5, 40), simple_instrument("ETH", 4, 25))
TRADED: Final = (*INSTRUMENTS, simple_instrument("kPEPE", 0, 10))
"""Of the coins that the replies list, some are traded and some are not: an unread one matters among the former alone."""
KINDS: Final = ("allMids", "bbo", "l2Book", "trades", "candle", "activeAssetCtx", "allDexsAssetCtxs", "orderUpdates",
                "userFills", "userFundings", "userEvents")  # fmt: skip
HOURLY: Final = {"interval": "1h"}
ANEW_EVERY: Final = 500
"""Frames after which the books begin anew, so that they do not grow."""
SHOWN: Final = 20


@dataclass
class Result:
    """What came of the frames."""

    frames: int = 0
    read: int = 0
    refused: int = 0
    unchanged: int = 0
    uncaught: list[str] = field(default_factory=list)
    implausible: list[str] = field(default_factory=list)
    wrong: int = 0
    """How many were uncaught or implausible in all; the lists hold the first."""
    by_shape: Counter[str] = field(default_factory=Counter)

    def found(self, kind: str, what: str) -> None:
        """Keep it."""
        self.wrong += 1
        kept: list[str] = getattr(self, kind)
        if len(kept) < SHOWN:
            kept.append(what[:600])


@dataclass(frozen=True)
class Taken:
    """A reply about all coins, and what is traded on of it."""

    known: Universe
    contexts: Contexts
    traded: tuple[str, ...]
    now: FloatArray
    marks: Mapping[str, Decimal]
    oracles: Mapping[str, Decimal]


class Deaf(Exception):
    """A coroutine waited for something where all is there."""


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    finally:
        work.close()
    raise Deaf


class Desk:
    """The adapter from its sockets to its books, without the sockets."""

    def __init__(self) -> None:
        self.body = b""
        self.said: list[tuple[str, Any]] = []
        self.client = Client("http://127.0.0.1:9", budget=WeightBudget(None))
        setattr(self.client, "_post", self._post)  # noqa: B010 - instead of a network
        abouts: tuple[dict[str, str], ...] = (
            {},
            {"user": ME},
            *({"coin": coin, **more} for coin in ("BTC", "ETH") for more in ({}, HOURLY)),
        )
        wanted = [{"type": kind, **about} for kind in KINDS for about in abouts]
        self.feed = Feed("http://127.0.0.1:9", wanted, self._hear, self._nothing)
        self.anew()

    def anew(self) -> None:
        """Books of an account that knows nothing yet."""
        self.attempts = Attempts("devnet", ME, MemoryOutbox())
        self.books = Books(ME, Register(INSTRUMENTS, self.attempts))
        self.heard = Heard()
        self.market = MarketData(self.client, TRADED)
        self.newest_ms: dict[str, int] = {}

    async def _post(self, path: str, body: Any) -> tuple[int, bytes]:
        return 200, self.body

    async def _nothing(self) -> None: ...

    async def receive(self, timeout: float) -> Any:  # noqa: ASYNC109 - as aiohttp has it
        """As a WebSocket."""
        return self

    type = WSMsgType.TEXT

    @property
    def data(self) -> str:
        """The frame as aiohttp hands it on."""
        return self.body.decode("utf-8")

    def pass_through(self, shape: Shape, body: bytes) -> tuple[bool, Any]:
        """Whether it was read, and as what. Raises only the declared kinds of failure."""
        self.body = body
        if shape.kind.startswith("ws "):
            return self._frame(body)
        with as_unavailable():
            if shape.kind.startswith("answer"):
                node = finished(self.client.exchange(b"{}"))
                assert node is not None
                return True, shape.read(body)
            said = finished(self.client.info(shape.request))
            self._count(shape.kind, said)
            return True, self._asked_of_coins(shape.kind, said)

    def _asked_of_coins(self, kind: str, said: Any) -> Any:
        """A coin that can't be read is refused where it is asked for, and it is asked for if it is traded."""
        if kind == "meta":
            for each in TRADED:
                if each.name in said.names:
                    said.instrument(each.name)
        if kind != "metaAndAssetCtxs":
            return said
        known, contexts = said
        market = self.market
        market.take(known, contexts)
        traded = tuple(each.name for each in TRADED)
        return Taken(known, contexts, traded, market._now, dict(market.marks), dict(market.oracles))

    def _frame(self, body: bytes) -> tuple[bool, Any]:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            return False, None  # such a frame ends the connection before it is handed on
        self.said.clear()
        refused = self.feed.refused_frames
        finished(self.feed._frame(self, set()))  # type: ignore[arg-type]
        if not self.said:
            return False, None
        assert self.feed.refused_frames == refused, "a frame was refused and heard"
        channel, data = self.said[0]
        with as_unavailable():
            self._count(f"ws {channel}", data)
        return True, (channel, data)

    def _hear(self, channel: str, data: Any, _: int) -> None:
        self.said.append((channel, data))

    def _count(self, kind: str, said: Any) -> None:
        events: Sequence[Any] = ()
        if kind in {"userFills", "userFillsByTime", "ws userFills", "ws user"}:
            events = self.books.take_fills(said)
        elif kind in {"userFunding", "ws userFundings"}:
            events = self.books.take_fundings(said, {})
        elif kind == "userNonFundingLedgerUpdates":
            events = self.books.take_ledger(said)
        elif kind == "ws candle":
            self.heard.candle(said, 1)
        elif kind == "ws bbo":
            self.heard.best(said, 1)
            kept = self.heard._books[said.coin].time_ms
            assert kept >= self.newest_ms.get(said.coin, 0), "a book's time went back"
            self.newest_ms[said.coin] = kept
        for event in events:
            lots, coin = getattr(event, "lots", None), getattr(event, "instrument", "BTC")
            assert coin in {"BTC", "ETH"}, f"an event of {coin}"
            assert lots is None or lots != 0 or type(event).__name__ != "Fill", "a fill of nothing"


def fuzz(
    shapes: Sequence[Shape],
    frames: int,
    seed: int,
    result: Result | None = None,
    *,
    stop_at_first: bool = False,
    tell: Callable[[int], object] | None = None,
) -> Result:
    """So many frames, the shapes in turn."""
    result, mutator, desk = result or Result(), Mutator(seed), Desk()
    with silence():
        _go(shapes, frames, result, mutator, desk, stop_at_first=stop_at_first, tell=tell)
    return result


def _go(
    shapes: Sequence[Shape],
    frames: int,
    result: Result,
    mutator: Mutator,
    desk: Desk,
    *,
    stop_at_first: bool,
    tell: Callable[[int], object] | None,
) -> None:
    for number in range(frames):
        shape = shapes[number % len(shapes)]
        body = mutator.mutate(shape.body)
        result.frames += 1
        result.unchanged += body == shape.body
        if number % ANEW_EVERY == 0:
            desk.anew()
            if tell is not None:
                tell(number)
        try:
            was_read, said = desk.pass_through(shape, body)
        except DECLARED:
            result.refused += 1
            continue
        except Exception as error:  # noqa: BLE001 - any other is what is looked for
            result.found("uncaught", f"{shape.name}: {error!r:.200} on {body[:300]!r}")
            if stop_at_first:
                break
            continue
        if not was_read:
            result.refused += 1
            continue
        result.read += 1
        result.by_shape[shape.name] += 1
        kind = f"ws {said[0]}" if shape.kind.startswith("ws ") else shape.kind
        wrong = contradiction(kind, shape.request, body, said)
        if wrong:
            result.found("implausible", f"{shape.name}: {wrong} in {body[:300]!r}")
            if stop_at_first:
                break


@contextmanager
def silence() -> Iterator[None]:
    """The feed says of each frame that it refused it; that is nothing to be told a million times."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)


def fixtures() -> Path | None:
    """Recorded replies, where they lie beside the recorded market data that other tests read; None where they don't."""
    named = os.environ.get("HEDGEROW_REAL_DATA")
    data = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    folder = data.parent / "fixtures" / "hyperliquid"
    return folder if folder.is_dir() else None


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--recorded", type=Path, help="a folder of recorded replies; by default beside the market data"
    )
    parser.add_argument(
        "--lives", type=int, default=40, help="agents that trade while they are told what is refused"
    )
    options = parser.parse_args()
    folder = options.recorded or fixtures()
    shapes = made() + (recorded(folder) if folder else [])
    began_s = time.monotonic()
    say = (lambda number: sys.stderr.write(f"\r{number}")) if sys.stderr.isatty() else None
    result = fuzz(shapes, options.frames // 10, options.seed)
    before_mib = resident_mib()
    fuzz(shapes, options.frames - options.frames // 10, options.seed + 1, result, tell=say)
    grown_mib, frames_s = resident_mib() - before_mib, time.monotonic() - began_s
    lives = trade_on_spoilt_replies(options.lives, options.seed)
    shown = {
        "frames": result.frames,
        "seed": options.seed,
        "shapes": len(shapes),
        "recorded_shapes": len(shapes) - len(made()),
        "read": result.read,
        "refused": result.refused,
        "uncaught_or_implausible": result.wrong,
        "examples": result.uncaught + result.implausible,
        "shapes_never_read": sorted({shape.name for shape in shapes} - result.by_shape.keys()),
        "grown_mib": round(grown_mib, 2),
        "frames_s": round(frames_s, 1),
        "traded_on_refused_replies": lives,
        "wall_s": round(time.monotonic() - began_s, 1),
    }
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    sys.exit(bool(result.wrong or lives["orders_from_quarantined_data"] or lives["violations"]))


if __name__ == "__main__":
    main()
