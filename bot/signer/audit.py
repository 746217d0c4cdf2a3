"""The audit log: one JSON line for every signature and denial, each hashed together with the one before.

Line n carries `hash` = SHA-256(hash of line n−1 ‖ the rest of line n). Whoever changes, drops or swaps a line breaks the
chain; whoever cuts the end off is found out by a head that was exported before (`status` tells it, and the file
`head` beside the log holds the latest one).
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.signer.policy import SignerConfigError

GENESIS: Final = "0" * 64
RECALLED_MS: Final = 3 * 86_400_000
_MARK: Final = ',"hash":"'
_SIGNATURE: Final = b'"kind":"sign"'


class BrokenChain(SignerConfigError):
    """The log is not what was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last line's number (0 for an empty log) and hash."""

    sequence: int
    hash: str


def _line(record: dict[str, Any], previous: str) -> tuple[bytes, str]:
    rest = json.dumps(record, separators=(",", ":"), ensure_ascii=True)[:-1].encode("ascii")
    digest = hashlib.sha256(previous.encode("ascii") + rest).hexdigest()
    return rest + f'{_MARK}{digest}"}}\n'.encode("ascii"), digest


def read(path: Path, exported: Head | None = None) -> Iterator[dict[str, Any]]:
    """Every record in order, the chain checked as far as it was read; afterwards that it reaches the exported head.

    Raises BrokenChain at the first line that does not fit. A last line without its end (a power cut) is not a record.
    """
    return (json.loads(line) for _, line in _checked(path, exported))


def _checked(path: Path, exported: Head | None) -> Iterator[tuple[Head, bytes]]:
    """Every whole line with the head that it makes, not parsed: a log has millions."""
    previous, sequence, met = GENESIS, 0, exported is None or exported.sequence == 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            rest, mark, tail = line.rpartition(_MARK.encode("ascii"))
            digest = hashlib.sha256(previous.encode("ascii") + rest).hexdigest()
            if not mark or tail != f'{digest}"}}\n'.encode("ascii"):
                raise BrokenChain(f"line {number} of {path} was changed, or one before it is missing")
            if not line.startswith(b'{"sequence":%d,' % number):
                raise BrokenChain(f"line {number} of {path} has another number")
            previous, sequence = digest, number
            if exported is not None and exported.sequence == number:
                if exported.hash != digest:
                    raise BrokenChain(f"line {number} of {path} is not the one whose hash was exported")
                met = True
            yield Head(number, digest), line
    if not met and exported is not None:
        raise BrokenChain(f"{path} ends after line {sequence}, but line {exported.sequence} was exported")


def verify(path: Path, exported: Head | None = None) -> Head:
    """Check the whole chain and return its head. Raises BrokenChain, or OSError where there is no such file."""
    head = Head(0, GENESIS)
    for head, _ in _checked(path, exported):  # noqa: B007 - the last one is the answer
        pass
    return head


def read_head(path: Path) -> Head | None:
    """The exported head in a file; None where there is no file."""
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        return Head(int(found["sequence"]), str(found["hash"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise BrokenChain(f"{path} is not an exported head") from None


class AuditLog:
    """The log being written. `append` reaches the kernel before it returns; `sync` reaches the disk."""

    def __init__(self, path: Path) -> None:
        """Open or begin the log after checking it; its recent signatures are in `history` until `forget` is called.

        Recent is within `RECALLED_MS` of the latest: the venue takes no older nonce, so that what was signed before is
        known to it by now, and no budget counts it.
        """
        self.path, self._head_path = path, path.with_name("head")
        try:
            self._file = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            self.history: deque[dict[str, Any]] = deque()
            self.head = Head(0, GENESIS)
            self._recall()
            self._size = self._whole_lines()
            self._synced = self.head.sequence
        except OSError as error:
            raise SignerConfigError(f"{path} cannot be used: {error.strerror}") from None

    def _recall(self) -> None:
        latest_ms, history = 0, self.history
        for head, line in _checked(self.path, read_head(self._head_path)):
            self.head = head
            if _SIGNATURE not in line:
                continue
            record = json.loads(line)
            if record["kind"] != "sign":
                continue
            history.append(record)
            latest_ms = max(latest_ms, int(record.get("at_ms", 0)))
            while int(history[0].get("at_ms", 0)) <= latest_ms - RECALLED_MS:
                history.popleft()

    def _whole_lines(self) -> int:
        size = os.fstat(self._file).st_size
        with self.path.open("rb") as file:
            whole = sum(len(line) for line in file if line.endswith(b"\n"))
        if whole != size:
            # What a power cut left of a line whose signature had not left yet, or had but was never synced.
            os.ftruncate(self._file, whole)
        return whole

    def forget(self) -> None:
        """Let go of the history."""
        self.history.clear()

    def append(self, record: dict[str, Any]) -> None:
        """Add a record. Raises OSError, and then the log is as before."""
        line, digest = _line({"sequence": self.head.sequence + 1, **record}, self.head.hash)
        written = 0
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(28, "the disk is full")
        except OSError:
            if written:
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)
        self.head = Head(self.head.sequence + 1, digest)

    def sync(self) -> None:
        """Make durable what was appended, and export its head. Safe to call from another thread."""
        head = self.head
        if head.sequence == self._synced:
            return
        os.fdatasync(self._file)
        fresh = self._head_path.with_name("head.new")
        with fresh.open("w", encoding="ascii") as file:
            file.write(json.dumps({"sequence": head.sequence, "hash": head.hash}) + "\n")
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
        fresh.replace(self._head_path)
        self._synced = head.sequence

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._file)
