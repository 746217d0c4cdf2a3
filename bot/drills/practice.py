"""A place to practise in: a folder with a paper config, the daemon on it as a process, and whoever it starts.

Every process is held by a handle of the kernel's (a pidfd), so that a signal reaches that process or nobody, also after its
number has been given to another. At the end all that was started is ended, however the drill came out.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from bot.clock import parse_utc
from bot.devnet.start import Options, build
from bot.drills.books import Books
from bot.drills.story import NotSeen
from bot.errors import StateError
from bot.paper.account import account_in, post
from bot.paper.world import LONGEST_SOCKET_PATH

PATIENCE_S: Final = 90.0
STOP_S: Final = 20.0
LOOK_S: Final = 0.02
COINS: Final = ("BTC", "SOL", "DOGE")
START: Final = "2024-03-01"
SEED: Final = 3
HISTORY_H: Final = 400
SPEED: Final = 7200
CONFIG: Final = f"""\
version = 1
name = "drill"
mode = "paper"

[market]
seed = {SEED}
coins = {json.dumps(COINS)}
speed = {SPEED}                # an hour passes every half second
warmup_h = {HISTORY_H}
start = "{START}"

[policy]
max_order_usd = 60_000

[execution]
stop_loss = 0.15

[watchdog]
heal_looks = 1                 # so that nobody waits longer than needed

[[strategies]]
plugin = "funding_carry"
[strategies.parameters]
hurdle = 0.0

[journal]
path = "state/journal.sqlite"

[logs]
format = "json"
"""

Seen = TypeVar("Seen")


def new_folder() -> Path:
    """An empty folder whose path leaves room for a socket's. StateError where there is none."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - mkdtemp makes its own there
        longest = os.fsencode(Path(parent).resolve() / "hedgerow-drill-12345678" / "state/journal/sign.sock")
        if len(longest) <= LONGEST_SOCKET_PATH and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="hedgerow-drill-", dir=parent))
    raise StateError("no folder for temporary files has a path short enough; set TMPDIR to one that has")


class Handle:
    """One process, by the kernel's handle."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle: int | None = os.pidfd_open(pid)

    def send(self, number: signal.Signals) -> None:
        """A signal; nothing happens where the process is gone."""
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def is_gone(self, wait_s: float = 0.0) -> bool:
        """Whether it has ended, or does so within that time."""
        if self._handle is None:
            return True
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def close(self) -> None:
        """End it, by force if need be, and let go."""
        if self._handle is None:
            return
        if not self.is_gone():
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            if not self.is_gone(STOP_S):
                self.send(signal.SIGKILL)
                self.is_gone(STOP_S)
        os.close(self._handle)
        self._handle = None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave behind what the first one is ending."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Daemon:
    """A `hedgerow run` of this practice."""

    def __init__(self, folder: Path, config: str, *options: str) -> None:
        # What it says goes through a pipe: a limit on the size of its files must not silence it.
        self.process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", "bot", "run", config, *options],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("HEDGEROW__")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the drill alone, which ends this in order
        )
        self.handle = Handle(self.process.pid)
        self.children: dict[str, Handle] = {}
        self.said: deque[str] = deque(maxlen=2000)
        self._listener = threading.Thread(target=self._listen, args=(folder / "daemon.log",), daemon=True)
        self._listener.start()

    def _listen(self, log: Path) -> None:
        assert self.process.stderr is not None
        with log.open("a", encoding="utf-8") as file:
            for line in self.process.stderr:
                self.said.append(line.rstrip("\n"))
                file.write(line)
                file.flush()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def look_for_children(self) -> bool:
        """Take hold of the devnet and the signer; whether both are there."""
        with suppress(OSError):
            listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
            for pid in map(int, listed.split()):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                for name in ("devnet", "signer"):
                    if name.encode() in arguments[:4] and name not in self.children:
                        self.children[name] = Handle(pid)
        return len(self.children) == 2

    def ends(self, what: str) -> int:
        """Its exit code once it has ended, with all that it said heard. NotSeen where it doesn't."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise NotSeen(f"the daemon did not end {what} within {PATIENCE_S:g} s") from None
        self._listener.join(STOP_S)
        return code

    def last_word(self) -> str:
        """The last line that it said."""
        return self.said[-1] if self.said else "nothing"

    def events(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in tuple(self.said) if line.startswith("{") and line.endswith("}")]

    def close(self) -> None:
        """End it and all that it started."""
        self.look_for_children()
        self.handle.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        for child in self.children.values():
            child.close()


class Practice:
    """The folder, and what runs in it. A context manager that ends every process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "state" / "journal.sqlite"
        self.world = folder / "state" / "journal"
        self.audit = self.world / "signer" / "audit.jsonl"
        self._daemons: list[Daemon] = []
        (folder / "config.toml").write_text(CONFIG, encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _undisturbed():
            for daemon in reversed(self._daemons):
                daemon.close()

    def start(self, *options: str, config: str = "config.toml") -> Daemon:
        """Start a daemon; whether it runs is the next question."""
        daemon = Daemon(self.folder, config, *options)
        self._daemons.append(daemon)
        return daemon

    def until(self, what: str, reached: Callable[[], Seen | None], daemon: Daemon | None) -> Seen:
        """Look until there is something; NotSeen where it does not come, or the daemon ends before."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            found = reached()
            if found:
                return found
            if daemon is not None and daemon.handle.is_gone():
                raise NotSeen(f"the daemon ended before {what}; it said last: {daemon.last_word()}")
            if time.monotonic() > deadline_s:
                raise NotSeen(f"{what} was not seen within {PATIENCE_S:g} s")
            time.sleep(LOOK_S)

    # The journal

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the journal answers; nothing where it is not there yet."""
        if not self.journal.exists():
            return []
        try:
            with closing(sqlite3.connect(f"{self.journal.as_uri()}?mode=ro", uri=True)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def count(self, query: str, *values: object) -> int:
        """The number that it answers; 0 where there is nothing."""
        found = self.rows(query, *values)
        return int(found[0][0]) if found else 0

    def cycles(self) -> int:
        """How many the journal holds."""
        return self.count("SELECT count(*) FROM equity")

    def more_cycles(self, daemon: Daemon, count: int) -> int:
        """Wait for that many more; how many there are then."""
        least = self.cycles() + count
        return self.until(
            f"{count} more hours", lambda: self.cycles() if self.cycles() >= least else None, daemon
        )

    def trading(self, daemon: Daemon) -> None:
        """Wait until it has both children and holds something."""
        self.until("its devnet and its signer", lambda: daemon.look_for_children() or None, daemon)
        self.until("the first position", lambda: self.count("SELECT count(*) FROM position"), daemon)

    def standing(self, author: str) -> tuple[str, str]:
        """An author's word on the trading state, and why."""
        found = self.rows("SELECT state, why FROM standing WHERE author = ?", author)
        return (found[0][0], found[0][1]) if found else ("active", "")

    # The exchange

    def devnet_url(self) -> str:
        """Where it answers now."""
        return (self.world / "devnet.url").read_text(encoding="utf-8").strip()

    def control(self, what: str, **body: Any) -> Any:
        """One of the devnet's controls, such as `chaos`."""
        return post(self.devnet_url(), f"/devnet/{what}", body)

    def account(self) -> str:
        """Whose books are traded. StateError where there is none yet."""
        paper = account_in(self.world)
        if paper is None:
            raise StateError(f"there is no paper account in {self.world} yet")
        return paper.account

    def exchange(self) -> tuple[Books, Mapping[str, str]]:
        """The exchange's own books, and the status of each order by its cloid; only while its process is gone."""
        server = build(
            Options(
                seed=SEED,
                coins=COINS,
                start_ms=parse_utc(START),
                history_h=HISTORY_H,
                agent_days=365 * 51,  # as a paper run asks for: its time may run through years
                paused=True,
                state=self.world / "devnet.state",
            )
        )
        try:
            account = server.world.exchange.accounts[self.account()]
            records = server.world.records(self.account())
            fills = tuple(
                (row["tid"], row["coin"], Decimal(row["sz"]).normalize(), Decimal(row["px"]).normalize(),
                 Decimal(row["fee"]).normalize())
                for row in records.fills
            )  # fmt: skip
            payments = tuple(
                (row["time"], row["delta"]["coin"], Decimal(row["delta"]["usdc"]).normalize())
                for row in records.funding
            )
            held = {
                name: position.size.normalize()
                for name, position in account.positions.items()
                if position.lots
            }
            orders = {
                order.cloid: order.status for order in records.orders.values() if order.cloid is not None
            }
            return Books(fills, payments, held, account.fees_usd), orders
        finally:
            if server.keeper is not None:
                server.keeper.close()
