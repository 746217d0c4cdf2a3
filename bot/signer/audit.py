"""The audit log: one JSON line for every signature and denial, each hashed together with the one before.

Line n carries `hash` = SHA-256(hash of line n−1 ‖ the rest of line n). Whoever changes, drops or swaps a line breaks the
chain; whoever cuts the end off is found out by a head that was exported before (`status` tells it, and the file
`head` beside the log holds the latest one).
"""

import contextlib
import errno
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.signer.kept import replace_durably
from bot.signer.policy import SignerConfigError

GENESIS: Final = "0" * 64
RECALLED_MS: Final = 3 * 86_400_000
_MARK: Final = ',"hash":"'
_RECALLED: Final = (b'"kind":"sign"', b'"kind":"lock"', b'"kind":"unlock"')


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
            self.lock: str | None = None
            """Why it was locked, if it was and no operator has unlocked it since."""
            self.head = Head(0, GENESIS)
            self.problem: str | None = None
            """Why what was appended could not be made durable; nothing is appended until it could."""
            self._recall()
            self._size = self._synced_size = self._whole_lines()
            self._synced = self.head.sequence
            self._unsynced: deque[bytes] = deque()
        except OSError as error:
            raise SignerConfigError(f"{path} cannot be used: {error.strerror}") from None

    def _recall(self) -> None:
        latest_ms, history = 0, self.history
        for head, line in _checked(self.path, read_head(self._head_path)):
            self.head = head
            if not any(kind in line for kind in _RECALLED):
                continue
            record = json.loads(line)
            if record["kind"] in {"lock", "unlock"}:
                self.lock = record.get("reason")
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
        if self.problem is not None:
            raise OSError(errno.EIO, self.problem)
        line, digest = _line({"sequence": self.head.sequence + 1, **record}, self.head.hash)
        written = 0
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, "the disk is full")
        except OSError:
            if written:
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)
        self._unsynced.append(line)
        self.head = Head(self.head.sequence + 1, digest)

    def sync(self) -> None:
        """Make durable what was appended, and export its head. Safe to call from one other thread.

        Raises OSError, and then `problem` says why; the next call tries again, and ends it where it succeeds.
        """
        head = self.head
        if head.sequence == self._synced:
            return
        try:
            if self.problem is not None:
                self._write_again(head)
            os.fdatasync(self._file)
            replace_durably(
                self._head_path, json.dumps({"sequence": head.sequence, "hash": head.hash}) + "\n"
            )
        except OSError as error:
            self.problem = error.strerror or "it cannot be written"
            raise
        for _ in range(head.sequence - self._synced):
            self._synced_size += len(self._unsynced.popleft())
        self._synced = head.sequence
        self.problem = None

    def _write_again(self, head: Head) -> None:
        """Write what is not known to be durable once more: after a failed sync the kernel may take it for written."""
        lines = list(self._unsynced)[: head.sequence - self._synced]
        again = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            text = b"".join(lines)
            if os.pwrite(again, text, self._synced_size) != len(text):
                raise OSError(errno.ENOSPC, "the disk is full")
        finally:
            os.close(again)

    def close(self) -> None:
        """Sync, as far as the disk takes it, and close."""
        with contextlib.suppress(OSError):
            self.sync()
        os.close(self._file)
