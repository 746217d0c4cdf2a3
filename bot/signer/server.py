"""The socket: one packet in, one packet out, from users the kernel vouches for."""

import contextlib
import fcntl
import os
import selectors
import socket
import stat
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bot.signer.audit import AuditLog
from bot.signer.engine import Engine, Peer
from bot.signer.grammar import MAX_REQUEST_BYTES
from bot.signer.policy import SignerConfigError

MAX_CONNECTIONS: Final = 16
SYNC_EVERY_S: Final = 0.05


def hold(folder: Path) -> int:
    """Make the state folder (0700) if it is absent and hold it for this process; the lock's file descriptor.

    Raises SignerConfigError where another signer holds it or others could read it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise SignerConfigError(f"{folder} is open to others; chown it to you and chmod it 700")
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except BlockingIOError:
        raise SignerConfigError(f"another signer holds {folder}; stop it first") from None
    except OSError as error:
        raise SignerConfigError(f"{folder} cannot be used: {error.strerror}") from None


def listen(path: Path) -> socket.socket:
    """A listening socket file of mode 0600 in a folder of mode 0700. Raises SignerConfigError."""
    if len(os.fsencode(path)) > 100:
        raise SignerConfigError(f"the socket's path {path} is longer than 100 bytes; choose a shorter one")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.parent.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
            raise SignerConfigError(
                f"{path.parent} can be changed by others; chown it to you and chmod it 700"
            )
        _clear(path)
        mask = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(mask)
        listening.listen(MAX_CONNECTIONS)
        listening.setblocking(False)
        return listening
    except OSError as error:
        listening.close()
        raise SignerConfigError(f"socket {path} cannot be used: {error.strerror}") from None
    except SignerConfigError:
        listening.close()
        raise


def _clear(path: Path) -> None:
    """Remove what a killed signer left, unless somebody answers there."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise SignerConfigError(f"{path} is there and is not a socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SignerConfigError(f"another signer answers at {path}; stop it first")


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, as the kernel tells them."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid), int(uid)


class Server:
    """Serves an engine until it is stopped; syncs the audit log and reserves nonces beside it."""

    def __init__(
        self,
        listening: socket.socket,
        engine: Engine,
        audit: AuditLog,
        uids: frozenset[int],
        say: Callable[[str], None],
        parent: int | None = None,
    ) -> None:
        self._listening, self._engine, self._audit, self._uids, self._say = (
            listening,
            engine,
            audit,
            uids,
            say,
        )
        self._parent = (
            parent  # a pipe's end: whoever started this holds the other, and is gone when it closes
        )
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, Peer] = {}
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let `serve` return; may be called from a signal handler."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    def serve(self) -> None:
        """Answer until `stop`."""
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        if self._parent is not None:
            self._selector.register(self._parent, selectors.EVENT_READ)
        syncing = threading.Thread(target=self._sync_often, name="audit", daemon=True)
        syncing.start()
        next_tick = time.monotonic()
        try:
            while not self._stopping.is_set():
                asked = self._selector.select(timeout=0.5)
                # Whoever has asked is answered before one who comes may take the place.
                for ready, _ in sorted(asked, key=lambda each: each[0].fileobj is self._listening):
                    if ready.fileobj is self._listening:
                        self._welcome()
                    elif isinstance(ready.fileobj, socket.socket):
                        self._answer(ready.fileobj)
                    elif ready.fileobj == self._parent:
                        self._say("whoever started this is gone")
                        self._stopping.set()
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + 0.5
                    self._engine.tick()
        finally:
            self._stopping.set()
            syncing.join()
            self._engine.tick()
            self._sync()
            for connection in list(self._peers):
                self._part(connection)
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _sync_often(self) -> None:
        while not self._stopping.wait(SYNC_EVERY_S):
            self._sync()

    def _sync(self) -> None:
        """Make durable what was written; while that fails nothing is signed, and it is tried again and again."""
        had_problem = self._audit.problem is not None
        try:
            self._audit.sync()
            if had_problem and self._audit.problem is None:
                self._say("the audit log can be written again")
            self._engine.kept.write()
        except OSError as error:
            if not had_problem and self._audit.problem is not None:
                self._say(f"nothing is signed: the audit log cannot be written ({error.strerror})")

    def _welcome(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        pid, uid = peer_of(connection)
        if uid not in self._uids:
            self._say(f"refused a connection of user {uid}, process {pid}")
            connection.close()
            return
        if len(self._peers) >= MAX_CONNECTIONS:
            self._make_room()
        connection.setblocking(False)
        self._peers[connection] = Peer(pid, uid, connection.fileno())
        self._selector.register(connection, selectors.EVENT_READ)

    def _make_room(self) -> None:
        """Hang up on whoever has been silent longest, of the user with most connections; never on who trades."""
        held = Counter(peer.uid for peer in self._peers.values())
        idle = [one for one, peer in self._peers.items() if peer.connection != self._engine.trader]
        longest = max(
            idle, key=lambda one: held[self._peers[one].uid]
        )  # the first of them: they stand by silence
        peer = self._peers[longest]
        self._say(f"hung up on user {peer.uid}, process {peer.pid}: {MAX_CONNECTIONS} connections are open")
        self._part(longest)

    def _answer(self, connection: socket.socket) -> None:
        self._peers[connection] = self._peers.pop(connection)  # the last to speak stands last
        try:
            packet, _, flags, _ = connection.recvmsg(MAX_REQUEST_BYTES + 1)
            if not packet:
                self._part(connection)
                return
            if flags & socket.MSG_TRUNC:
                packet = packet.ljust(MAX_REQUEST_BYTES + 1)
            connection.send(self._engine.handle(packet, self._peers[connection]))
        except OSError:
            # Whoever does not take the answer does not get one later: the next answer would be out of step.
            self._part(connection)

    def _part(self, connection: socket.socket) -> None:
        self._engine.hang_up(connection.fileno())
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        self._peers.pop(connection, None)
        connection.close()
