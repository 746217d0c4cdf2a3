"""Keeping a devnet over its restarts: what it is as bytes, and how it becomes the same again.

The world is a function of a snapshot and of the inputs since, in their order: how far time went at once, when others
traded, what was signed and when by the computer's clock, which control was used. Each is written down as it is
applied; at a start they are applied again.
"""

from __future__ import annotations

import importlib
import io
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import orjson

from bot.devnet.exchange_actions import Exchange
from bot.devnet.statefile import ACTION, BESIDE, CONTROL, Saved, StateFile
from bot.errors import ConfigError, StateError

REPLAY_S: Final = 3.0
"""A snapshot follows so much work, so that a start never has to do more than that again."""
LARGEST_LOG: Final = 16 * 2**20

_OWN: Final = ("bot.devnet.", "bot.model.", "bot.sim.")
_FOREIGN: Final = {
    ("decimal", "Decimal"),
    ("collections", "deque"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    *(
        ("builtins", name)
        for name in ("bytearray", "complex", "dict", "frozenset", "int", "list", "set", "tuple")
    ),
}


class Keeper:
    """Writes down what changes a devnet. Every method raises StateError when the file can't be written."""

    def __init__(self, file: StateFile, market: Mapping[str, Any], door: Exchange) -> None:
        self._file, self._market, self._door = file, market, door
        self._worked_s = 0.0
        self.snapshot()
        door.world.record = file.add

    def action(self, body: Mapping[str, Any], wall_ms: int, answer: Any) -> None:
        """A signed request that used a nonce up, when the computer's clock said `wall_ms`, and what it was answered."""
        self._file.add([ACTION, body, wall_ms, checksum(answer)])

    def control(self, name: str, body: Mapping[str, Any]) -> None:
        """A control that gave money or the like. The clock's need none: what they do is that time passes."""
        self._file.add([CONTROL, name, body])

    def beside(self, name: str, asked: list[Any], answer: Any) -> None:
        """What a neighbour was asked that changed it, and what it answered."""
        self._file.add([BESIDE, name, asked, checksum(answer)])

    def flush(self) -> None:
        """Have on disk what was written down; before anything leaves that depends on it."""
        self._file.flush()

    def tick(self) -> None:
        """Write what waits, and a snapshot if there is much to apply again since the last one."""
        self._file.flush()
        busy = time.process_time() - self._worked_s > REPLAY_S and self._file.input_bytes
        if busy or self._file.input_bytes > LARGEST_LOG:
            self.snapshot()

    def snapshot(self) -> None:
        """Write all that there is."""
        self._file.replace(self._market, dump(self._door))
        self._worked_s = time.process_time()

    def close(self) -> None:
        """A last snapshot, and let go of the file."""
        try:
            self.snapshot()
        finally:
            self._file.close()


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot: when it was taken, what the market said of itself, and the rest, which `restore` reads."""

    now_ms: int
    market: Mapping[str, Any]
    rest: bytes


def dump(door: Exchange) -> bytes:
    """Everything that a devnet will need to go on."""
    world, rest = door.world, io.BytesIO()
    pickler = pickle.Pickler(rest, protocol=5)
    pickler.dispatch_table = {type(each): _named(name) for name, each in _standing_parts(door).items()}
    beside = {name: each.saved() for name, each in world.neighbours.items()}
    pickler.dump((world.saved(), door.saved(), beside))
    return pickle.dumps(Kept(world.now_ms, world.market.saved(), rest.getvalue()), protocol=5)


def restore(door: Exchange, kept: Kept, file: StateFile) -> None:
    """Make a new devnet around the same market the one that was kept. Raises StateError if that can't be."""
    world, rest, *beside = _read(kept.rest, file, _standing_parts(door))  # older states know of no neighbours
    door.world.restore(world)
    door.restore(rest)
    for name, saved in (beside[0] if beside else {}).items():
        if name not in door.world.neighbours:
            raise StateError(
                f"the devnet's state {file.path} has accounts on {name}; start it with a port for that (--cex-port)"
            )
        door.world.neighbours[name].restore(saved)


def _standing_parts(door: Exchange) -> dict[str, Any]:
    """What is made anew at a start, and what may be referred to all the same."""
    return {"world": door.world, "market": door.world.market, "door": door}


def _named(name: str) -> Callable[[Any], tuple[Callable[[str], Any], tuple[str]]]:
    return lambda _: (_standing, (name,))


def _standing(name: str) -> Any:
    """Stands in a snapshot for a part that is not in it; its reader knows it by its name."""
    raise AssertionError(name)


def load(saved: Saved, market: Mapping[str, Any], file: StateFile) -> Kept:
    """What `dump` took, of the same market. Raises ConfigError if it is of another, StateError if it is none."""
    for name in sorted({*saved.market, *market}):
        before, now = saved.market.get(name), market.get(name)
        if before != now and not (name == "start_ms" and now is None):
            raise ConfigError(
                f"the devnet's state {file.path} is of a market with {name} {before}, not {now}; "
                "start it with what it was made with or name another file"
            )
    kept = _read(saved.snapshot, file, {})
    if not isinstance(kept, Kept):
        raise StateError(f"{file.path} is not a devnet's state; name another file or move it away")
    return kept


def _read(data: bytes, file: StateFile, parts: Mapping[str, Any]) -> Any:
    try:
        return _Reader(io.BytesIO(data), parts).load()
    except Exception as error:  # noqa: BLE001 - a crafted pickle can raise anything
        raise StateError(
            f"the devnet's state {file.path} can't be read by this program ({error}); go on with the program that "
            "wrote it or name another file"
        ) from None


def checksum(answer: Any) -> int:
    """What tells whether the same request is answered the same again."""
    return crc32(orjson.dumps(answer))


class _Reader(pickle.Unpickler):
    """Reads data only: nothing that a file says is called but the classes that a devnet consists of."""

    def __init__(self, data: io.BytesIO, parts: Mapping[str, Any]) -> None:
        super().__init__(data)
        self._parts = parts

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, _standing.__name__):
            return self._parts.__getitem__
        if (module, name) in _FOREIGN:
            return getattr(importlib.import_module(module), name)
        if module.startswith(_OWN) and "." not in name:
            found = getattr(importlib.import_module(module), name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"it names {module}.{name}")
