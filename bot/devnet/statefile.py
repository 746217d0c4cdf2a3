"""A devnet's memory on disk: one file of a snapshot and, line by line, what has come in since.

    {"hedgerow_devnet_state": 1, "market": {…}, "bytes": N, "sha256": "…"}     what it is, and of which market
    N bytes                                                                    the snapshot
    3fb2c1d0 ["time",1735689600000]                                            each input since: checksum, JSON

A new snapshot is written beside the file and takes its place by a rename, so that a snapshot and its inputs are always
of one another. Inputs are on disk before anything that shows their effect leaves the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from bot.errors import StateError

FORMAT: Final = 1
MARK: Final = "hedgerow_devnet_state"
LONGEST_HEADER: Final = 2**20
TIME, FLOW, MARKET, ACTION, CONTROL, BESIDE = "time", "flow", "market", "action", "control", "beside"
"""Kinds of inputs: time passes, others trade, a mirrored venue is heard, somebody signed something or used a control, or
asked a venue beside this one for something."""
_sync: Final = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file held: which market it is of, a snapshot, and the inputs since, oldest first."""

    market: Mapping[str, Any]
    snapshot: bytes
    inputs: list[list[Any]]


class StateFile:
    """The file of one running devnet, which nobody else can open meanwhile. Raises StateError when it can't be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.input_bytes = 0  # since the snapshot
        self._waiting: list[bytes] = []
        self._durable = False  # whether what waits must survive a power cut
        self._failure = ""
        self._file: int | None = None
        try:
            self._lock = os.open(
                path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise self._refusal("can't be opened", error, "name a file in a folder that exists") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StateError(
                f"the devnet's state {path} is in use by another devnet; end that one or name another file"
            ) from None

    def read(self) -> Saved | None:
        """What the file holds up to its last whole input; None if there is no file."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refusal("can't be read", error, "mend that or name another file") from None
        end = content.find(b"\n", 0, LONGEST_HEADER)
        try:
            header = orjson.loads(content[:end]) if end > 0 else None
        except orjson.JSONDecodeError:
            header = None
        if not isinstance(header, dict) or MARK not in header:
            raise StateError(f"{self.path} is not a devnet's state; name another file or move it away")
        if header[MARK] != FORMAT:
            raise StateError(
                f"the devnet's state {self.path} is of format {header[MARK]}, this program reads {FORMAT}; "
                "go on with the program that wrote it or name another file"
            )
        market, size, digest = header.get("market"), header.get("bytes"), header.get("sha256")
        if not isinstance(market, dict) or not isinstance(size, int) or size < 0:
            raise self._damaged(end)
        begin = end + 1
        snapshot, rest = content[begin : begin + size], content[begin + size :]
        if hashlib.sha256(snapshot).hexdigest() != digest or not rest.startswith(b"\n"):
            raise self._damaged(begin)
        return Saved(market, snapshot, self._inputs(rest[1:], begin + size + 1))

    def _inputs(self, rest: bytes, at: int) -> list[list[Any]]:
        """Inputs up to the first that is not whole: what a crash cut off. More after it that had been synced is damage."""
        inputs: list[list[Any]] = []
        lines = rest.split(b"\n")
        for number, line in enumerate(lines[:-1]):
            read = _parse(line)
            if read is None:
                later = (_parse(each) for each in lines[number + 1 : -1])
                if any(each is not None and is_durable(each) for each in later):
                    raise self._damaged(at)
                break
            inputs.append(read)
            at += len(line) + 1
        return inputs

    def add(self, record: list[Any]) -> None:
        """Keep an input; it is written by the next `flush`."""
        body = orjson.dumps(record)
        self._waiting.append(b"%08x %b\n" % (crc32(body), body))
        self._durable = self._durable or is_durable(record)

    def flush(self) -> None:
        """Have everything on disk before its effects are shown. After a failure it fails for ever."""
        if self._failure:
            raise StateError(self._failure)
        if not self._waiting:
            return
        assert self._file is not None, "a snapshot comes first"
        data = b"".join(self._waiting)
        try:
            _write(self._file, data)
            if self._durable:
                _sync(self._file)
        except OSError as error:
            self._failure = str(
                self._refusal("can't be written", error, "make room and start the devnet again")
            )
            raise StateError(self._failure) from None
        self.input_bytes += len(data)
        self._waiting.clear()
        self._durable = False

    def replace(self, market: Mapping[str, Any], snapshot: bytes) -> None:
        """Begin anew with a snapshot that holds every input so far. On failure the file stays as it was."""
        header = {
            MARK: FORMAT,
            "market": market,
            "bytes": len(snapshot),
            "sha256": hashlib.sha256(snapshot).hexdigest(),
        }
        beside = self.path.with_name(self.path.name + ".new")
        file: int | None = None
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _write(file, orjson.dumps(header) + b"\n" + snapshot + b"\n")
            os.fsync(file)
            beside.replace(self.path)
        except OSError as error:
            if file is not None:
                os.close(file)
            with contextlib.suppress(OSError):
                beside.unlink()
            raise self._refusal("can't be written", error, "make room or name another file") from None
        if self._file is not None:
            os.close(self._file)
        self._file, self.input_bytes = file, 0
        self._waiting.clear()
        self._durable = False
        try:
            _sync_folder(self.path.parent)
        except OSError as error:
            self._failure = str(self._refusal("can't be made durable", error, "mend its disk"))
            raise StateError(self._failure) from None

    def close(self) -> None:
        """Let another devnet have the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        os.close(self._lock)

    def _refusal(self, what: str, error: OSError, remedy: str) -> StateError:
        return StateError(f"the devnet's state {self.path} {what} ({error.strerror}); {remedy}")

    def _damaged(self, at: int) -> StateError:
        return StateError(
            f"the devnet's state {self.path} is damaged at byte {at}; put a copy in its place or move it away to start anew"
        )


def is_durable(record: list[Any]) -> bool:
    """Whether an input was promised to its sender; the passing of time and what others do were not."""
    return record[0] in {ACTION, CONTROL, BESIDE}


def _parse(line: bytes) -> list[Any] | None:
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % crc32(body):
        return None
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, list) and record else None


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
