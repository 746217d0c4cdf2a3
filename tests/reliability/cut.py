"""A journal whose log is cut off at every frame and within, as by a disk that lies: each start goes on or says why not.

    python -m tests.reliability.cut [--seed 1] [--every 1]

An agent is killed in the midst of its second life. From then on the venue and the signer stay as they were, and the
journal's log is cut to every length: an honest disk would have kept all of it, so these starts know less than the venue.
Each must come to the venue's own books again or refuse in one sentence. Once the first life's log has been moved into
the file before, once all there is lies in the log. Prints JSON; the exit code is 1 where a start did neither.
"""

import argparse
import asyncio
import json
import re
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from bot.devnet import start
from bot.devnet.keeping import Keeper
from bot.devnet.server import Server
from bot.devnet.statefile import StateFile
from bot.journal.reader import read
from bot.journal.verify import verify
from tests.simulation import run as simulation
from tests.simulation.faults import Plan
from tests.simulation.run import Run
from tests.simulation.scene import HISTORY_H, START_MS, terms_of
from tests.simulation.virtual_time import VirtualLoop, virtual_schedules

COINS: Final = Plan(0).coins
FRAME: Final = 24 + 4096
HEADER: Final = 32
REFUSED: Final = "the daemon gave up: StateError: "
TWIN: Final = (
    f"{REFUSED}the account has orders that a daemon of this program sent and that this journal does not hold"
)
FIRST_DEATH, SECOND_DEATH = 130, 290
"""Effects, within a cycle."""


@dataclass(frozen=True)
class Left:
    """What is there after the kill."""

    folder: Path
    """journal.sqlite and its log, devnet.state, and the signer's files in signer/."""
    account: str
    agent: str
    now_ms: int
    plan: Plan


class NoWatch:
    """In the place of the simulation's invariants, which ask for an honest disk."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.violations: list[str] = []

    def violate(self, _: str, found: str) -> None:
        """A daemon that gave up."""
        self.violations.append(found)

    def __getattr__(self, _: str) -> Any:
        """Whatever else they are told."""
        return mock.MagicMock()


def options(state: Path, seed: int) -> start.Options:
    """Of the simulation's devnet, kept in a file."""
    return start.Options(
        seed=seed, coins=COINS, history_h=HISTORY_H, start_ms=START_MS, paused=True, flow=False, funded=0,
        state=state,
    )  # fmt: skip


@contextmanager
def quiet_world() -> Iterator[None]:
    """Virtual time, no log lines."""
    with ExitStack() as stack:
        stack.enter_context(simulation._silent())
        stack.enter_context(virtual_schedules())
        stack.enter_context(mock.patch("bot.devnet.world.LONGEST_STEP_MS", simulation.MARKET_STEP_MS))
        yield


def live_and_die(folder: Path, seed: int, *, moved: bool) -> Left:
    """Two lives, each killed; the first one's log `moved` into its file."""
    plan = Plan(seed, faulty_h=9, quiet_h=1, stop_loss=0.03, crash_at=frozenset({FIRST_DEATH, SECOND_DEATH}))

    async def lives() -> Run:
        run = Run(plan, folder / "lives")
        for number in (1, 2):
            run.lives = number
            assert not await run._one_life()
            if number == 1 and moved:
                with closing(sqlite3.connect(run.journal)) as connection:
                    connection.execute("PRAGMA wal_checkpoint (TRUNCATE)")
        run.server.world.advance_to(run.network.now_ms())
        assert run.watch.violations == []
        run.signer.drop()
        return run

    (folder / "lives").mkdir()
    with quiet_world(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        run = runner.run(lives())
    left = folder / "left"
    left.mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        shutil.copy(run.journal.with_name(name), left / name)
    shutil.copytree(folder / "lives" / "signer", left / "signer")
    vars(run.server.world.spot).pop("step")  # the simulation's own, which no file can keep
    told = options(left / "devnet.state", seed)
    market = start._asked(told) | {"start_ms": START_MS}
    Keeper(StateFile(left / "devnet.state"), market, run.server.door).close()
    agent = next(line for line in run.policy.splitlines() if line.startswith("agent = ")).split('"')[1]
    return Left(left, run.account, agent, run.server.world.now_ms, plan)


def has_cycles(folder: Path, length: int) -> bool:
    """Whether a whole cycle is left of a log that is cut to a length; only without one may a start refuse."""
    with tempfile.TemporaryDirectory() as aside:
        copy = Path(aside) / "journal.sqlite"
        shutil.copy(folder / copy.name, copy)
        copy.with_name(f"{copy.name}-wal").write_bytes((folder / f"{copy.name}-wal").read_bytes()[:length])
        with closing(sqlite3.connect(copy)) as connection:
            try:
                return connection.execute("SELECT 1 FROM equity").fetchone() is not None
            except sqlite3.OperationalError:
                return False


def start_again(left: Left, length: int, folder: Path, *, adopts: bool = False) -> tuple[str, Run]:
    """Start on the log cut to a length, and live for two hours; empty, or the sentence with which it was refused."""
    shutil.copytree(left.folder, folder)
    log = folder / "journal.sqlite-wal"
    log.write_bytes(log.read_bytes()[:length])
    # The next start comes a minute later.
    start_ms = left.now_ms + 60_000

    def devnet(*_: object, **__: object) -> Server:
        server = start.build(options(folder / "devnet.state", left.plan.seed))
        server.world.spot.step = lambda moment: None  # type: ignore[method-assign]
        return server

    async def life() -> Run:
        (folder / "run").mkdir()
        run = Run(Plan(left.plan.seed, faulty_h=0, quiet_h=3, stop_loss=0.03), folder / "run")
        shutil.rmtree(folder / "run" / "signer")
        shutil.copytree(left.folder / "signer", folder / "run" / "signer")
        run.journal = folder / "journal" / "journal.sqlite"
        run.journal.parent.mkdir()
        for name in ("journal.sqlite", "journal.sqlite-wal"):
            shutil.copy(folder / name, run.journal.with_name(name))
        run.dice.quiet = True
        run.lives = 3
        await run._one_life()
        run.server.world.advance_to(run.network.now_ms())
        run.signer.drop()
        return run

    with ExitStack() as stack:
        stack.enter_context(quiet_world())
        for name, value in {
            "START_MS": start_ms,
            "devnet": devnet,
            "funded_account": lambda *_, **__: (SimpleNamespace(address=left.account), left.agent),
            "Watch": NoWatch,
            "terms_of": lambda *given: replace(terms_of(*given), adopts=adopts),
        }.items():
            stack.enter_context(mock.patch.object(simulation, name, value))
        run = stack.enter_context(asyncio.Runner(loop_factory=VirtualLoop)).run(life())
    assert run.server.keeper is not None
    run.server.keeper._file.close()
    said = " ".join(str(each) for each in run.watch.violations)
    return said, run


def wrong_with(journal: Path, run: Run) -> list[str]:
    """What of the journal, or of what was sent, is not as the venue has it."""
    wrong: list[str] = []
    account = run.server.world.exchange.accounts[run.account]
    records = run.server.world.records(run.account)
    with closing(sqlite3.connect(journal)) as connection:
        fills = connection.execute(
            "SELECT trade_id, instrument, lots, price, fee_usd, client_id FROM fill"
        ).fetchall()
        asked = dict(connection.execute("SELECT client_id, lots FROM orders").fetchall())
        held = dict(connection.execute("SELECT instrument, lots FROM position").fetchall())
        (cash,) = connection.execute("SELECT usd FROM balance WHERE account = 'CASH'").fetchone()
        balances = connection.execute("SELECT account, usd FROM balance").fetchall()
        unknown = connection.execute(
            "SELECT count(*) FROM attempt WHERE state IN ('sent', 'unknown')"
        ).fetchone()[0]
        known_ms = connection.execute("SELECT max(time_ms) FROM funding").fetchone()[0] or 0
        paid = {(row[0], row[1]) for row in connection.execute("SELECT time_ms, instrument FROM funding")}
    theirs = {(row["tid"], row["coin"], Decimal(row["px"]), Decimal(row["fee"])) for row in records.fills}
    ours = {(row[0], row[1], Decimal(row[3]), Decimal(row[4])) for row in fills}
    wrong += [f"lost fill {each}" for each in theirs - ours] + [
        f"made up fill {each}" for each in ours - theirs
    ]
    if {name: position.lots for name, position in account.positions.items()} != held:
        wrong.append(f"holds {held} in the journal")
    late = sum(
        (
            Decimal(row["delta"]["usdc"])
            for row in records.funding
            if (row["time"], row["delta"]["coin"]) not in paid
        ),
        Decimal(0),
    )
    if any(
        row["time"] <= known_ms and (row["time"], row["delta"]["coin"]) not in paid for row in records.funding
    ):
        wrong.append("lost a payment")
    if Decimal(cash) + late != account.cash_usd:
        wrong.append(f"cash {cash} and {late} to come where the venue has {account.cash_usd}")
    wrong += [f"{name} {usd}" for name, usd in balances if name.startswith("SUSPENSE") and Decimal(usd)]
    if unknown:
        wrong.append(f"{unknown} attempts stay unknown")
    filled: Counter[str] = Counter()
    for row in fills:
        filled[row[5]] += row[2]
    wrong += [
        f"{name} filled {lots} of {asked[name]}"
        for name, lots in filled.items()
        if lots > asked.get(name, lots)
    ]
    named = Counter(order.cloid for order in records.orders.values())
    wrong += [f"{cloid} is at the venue {count} times" for cloid, count in named.items() if count > 1]
    with read(journal) as reader:
        differences = verify(reader)["differences"]
    return wrong + [f"ledger: {each}" for each in differences[:3]]


def is_unknown(said: str, journal: Path) -> bool:
    """Whether the order that a refusal names is one that the journal has lost."""
    (cloid,) = set(re.findall(r"0x[0-9a-f]{32}", said))
    with closing(sqlite3.connect(journal)) as connection:
        return connection.execute("SELECT 1 FROM attempt WHERE cloid = ?", (cloid,)).fetchone() is None


def lengths(size: int, every: int) -> list[int]:
    """The ends of the frames, and places within them and within the header."""
    ends = list(range(HEADER, size + 1, FRAME))
    within = [
        end + offset for k, end in enumerate(ends[:-1]) for offset in ((10, 24, 2_000, FRAME - 1)[k % 4],)
    ]
    return sorted({0, 17, *ends[::every], ends[-1], *within[::every]})


def run(folder: Path, seed: int, every: int = 1, *, moved: bool = True) -> dict[str, Any]:
    """Every cut; what came of them."""
    folder.mkdir(exist_ok=True)
    left = live_and_die(folder, seed, moved=moved)
    size = (left.folder / "journal.sqlite-wal").stat().st_size
    counts: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    wrong: list[str] = []
    for length in lengths(size, every):
        at = folder / f"at {length}"
        said, after = start_again(left, length, at)
        if said.startswith(TWIN) and is_unknown(said, after.journal):
            counts["asked for --adopt"] += 1
            shutil.rmtree(at)
            said, after = start_again(left, length, at, adopts=True)
        if said.startswith(REFUSED) and "\n" not in said and not has_cycles(left.folder, length):
            counts["refused"] += 1
            refusals[said.removeprefix(REFUSED).replace(str(at), "")[:160]] += 1
        elif said:
            wrong.append(f"{length}: {said[:300]}")
        elif found := wrong_with(after.journal, after):
            wrong.append(f"{length}: {'; '.join(found)[:400]}")
        else:
            counts["went on"] += 1
        shutil.rmtree(at)
    return {
        "log_bytes": size,
        "frames": size // FRAME,
        "cuts": len(lengths(size, every)),
        **counts,
        "refusals": dict(refusals),
        "wrong": len(wrong),
        "examples": wrong[:8],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="only every so maniest frame")
    chosen = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="hedgerow-") as folder:
        shown = {
            "second life in the log": run(Path(folder) / "second", chosen.seed, chosen.every),
            "both lives in the log": run(Path(folder) / "both", chosen.seed, chosen.every, moved=False),
        }
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    sys.exit(any(each["wrong"] for each in shown.values()))


if __name__ == "__main__":
    main()
