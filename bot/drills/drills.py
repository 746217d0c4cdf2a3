"""The drills: each does one thing to a daemon that trades, looks at what comes of it, and judges."""

from __future__ import annotations

import json
import resource
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from bot.drills import books
from bot.drills.lost_leg import lost_leg
from bot.drills.practice import COINS, PATIENCE_S, Daemon, Practice
from bot.drills.story import NotHere, Story
from bot.errors import HedgerowError
from bot.journal.commands import ask
from bot.journal.reader import read
from bot.journal.verify import verify

PLANNED: Final = "SELECT count(*) FROM orders WHERE status = 'planned'"
ENTRIES: Final = "SELECT count(*) FROM orders WHERE purpose = 'entry'"
OPEN: Final = "SELECT count(*) FROM attempt WHERE state IN ('intent', 'sent', 'unknown')"
NEVER_LEFT: Final = "SELECT count(*) FROM orders WHERE status = 'planned' AND client_id NOT IN (SELECT client_id FROM attempt)"
LOST: Final = (
    "SELECT count(*) FROM attempt WHERE purpose IN ('entry', 'exit') AND state = 'filled'"
    " AND evidence NOT LIKE '%\"reply\"%'"
)
ANSWER_S: Final = 60.0
LOST_REPLIES: Final = 5
MOST_ORDERS: Final = 24


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill: what is practised, in a line, and how it goes."""

    about: str
    run: Callable[[Practice, Story], None]


# What every drill ends with


def settle(practice: Practice, story: Story, daemon: Daemon) -> None:
    """End the daemon in order, and hold its books against the exchange's."""
    story.does("end the daemon as Ctrl-C does, and open the exchange's own books")
    daemon.look_for_children()
    daemon.handle.send(signal.SIGTERM)
    code = daemon.ends("after SIGTERM")
    story.check("it ended in order", [] if code == 0 else [f"exit code {code}: {daemon.last_word()}"])
    story.check("nothing that it started is left running", left(daemon))
    compare(practice, story)


def left(daemon: Daemon) -> list[str]:
    """Children that did not end with their daemon."""
    return [
        f"the {name} (pid {child.pid})" for name, child in daemon.children.items() if not child.is_gone(10)
    ]


def compare(practice: Practice, story: Story) -> None:
    """Hold the journal against the exchange's and the signer's own books."""
    mine = books.of_journal(practice.journal)
    theirs, orders = practice.exchange()
    signed = books.signed_in(practice.audit)
    story.saw(
        f"{len(mine.fills)} trades and {len(mine.payments)} payments in the journal, {len(theirs.fills)} and "
        f"{len(theirs.payments)} at the exchange, {len(orders)} orders there, {len(signed)} signatures"
    )
    story.check("trades were made at all", [] if theirs.fills else ["the exchange knows none"])
    story.check("no trade or payment is lost, doubled or another one", books.apart(mine, theirs))
    story.check(
        "no order is at the venue twice, unwritten, or otherwise than the journal says",
        books.misplaced(books.attempts_of(practice.journal), orders),
    )
    story.check("no order was signed twice", books.signed_twice(signed))
    with read(practice.journal) as reader:
        wrong = verify(reader)["differences"]
    story.check("the ledger derives to itself", [str(each["what"]) for each in wrong])


# The drills


def kill(practice: Practice, story: Story) -> None:
    """Twice, in the middle of a trade where one can be caught."""
    story.does(
        "start the daemon, and kill it (SIGKILL) as soon as an order is written down and not answered yet"
    )
    daemon = practice.start()
    practice.until("its devnet and its signer", lambda: daemon.look_for_children() or None, daemon)
    practice.until("an order under way", lambda: practice.count(PLANNED), daemon)
    _killed(practice, story, daemon)

    story.does(
        "start it again on the same journal, give it an order by hand, and kill it in the middle of that"
    )
    daemon = practice.start()
    practice.trading(daemon)
    practice.more_cycles(daemon, 1)
    before = practice.count("SELECT count(*) FROM orders")
    threading.Thread(target=_quietly, args=(practice, "BTC", "sell"), daemon=True).start()
    practice.until(
        "the order by hand under way",
        lambda: practice.count("SELECT count(*) FROM orders") > before and practice.count(PLANNED),
        daemon,
    )
    _killed(practice, story, daemon)

    story.does("start it a third time, and let it trade on for five hours of its market")
    daemon = practice.start()
    practice.more_cycles(daemon, 5)
    practice.until("the fate of every order", lambda: practice.count(OPEN) == 0 or None, daemon)
    never = practice.count(NEVER_LEFT)
    story.saw(f"{never} orders never left: the daemon was dead before anything was signed for them")
    names = [event["event"] for event in daemon.events()]
    story.check("it went on from its journal", [] if "run goes on" in names else ["it began anew"])
    settle(practice, story, daemon)


def _killed(practice: Practice, story: Story, daemon: Daemon) -> None:
    daemon.look_for_children()
    daemon.handle.send(signal.SIGKILL)
    daemon.ends("after SIGKILL")
    story.saw(
        f"dead after {practice.cycles()} hours of its market, with {practice.count(PLANNED)} orders written down "
        "that nobody has answered for"
    )
    story.check("its devnet and its signer ended with it", left(daemon))


def _quietly(practice: Practice, coin: str, side: str) -> None:
    with suppress(HedgerowError):
        ask(practice.journal, "trade", _wish(coin, side), 5.0)


def _wish(coin: str, side: str) -> Mapping[str, Any]:
    return {"coin": coin, "side": side, "usd": "300", "stop_loss": None, "take_profit": None}


def dead_signer(practice: Practice, story: Story) -> None:
    """It does not answer, which the watchdog has to see; then it is dead, with which the daemon has to end."""
    daemon = _hung(practice, story)
    story.does("kill the signer (SIGKILL)")
    daemon.children["signer"].send(signal.SIGKILL)
    code = daemon.ends("after its signer was killed")
    said = daemon.last_word()
    story.saw(f"the daemon ended with exit code {code}: {said}")
    story.check("it says that the signer is gone", [] if "the signer was killed" in said else [said])
    story.check("it does not go on without", [] if code == 1 else [f"exit code {code}"])
    story.check("its devnet ended with it", left(daemon))

    story.does("start it again, with a signer that lives")
    daemon = practice.start()
    practice.more_cycles(daemon, 3)
    state, why = practice.standing("watchdog")
    story.check("trading is open again", [] if state == "active" else [f"{state}: {why}"])
    settle(practice, story, daemon)


def hung_signer(practice: Practice, story: Story) -> None:
    """It does not answer for a while."""
    daemon = _hung(practice, story)
    entries = practice.count(ENTRIES)
    practice.more_cycles(daemon, 1)
    opened = practice.count(ENTRIES) - entries
    story.check("nothing is opened while trading is halted", [f"{opened} entries were"] if opened else [])
    story.does("let the signer go on (SIGCONT)")
    daemon.children["signer"].send(signal.SIGCONT)
    practice.until("trading open again", lambda: practice.standing("watchdog")[0] == "active" or None, daemon)
    story.saw("the watchdog says active")
    practice.more_cycles(daemon, 3)
    settle(practice, story, daemon)


def _hung(practice: Practice, story: Story) -> Daemon:
    """A daemon that has positions and a signer that is there and does not answer, and what the watchdog says of it."""
    story.does("start the daemon and let it open positions")
    daemon = practice.start()
    practice.trading(daemon)
    story.does("stop its signer (SIGSTOP), so that it is there and does not answer")
    daemon.children["signer"].send(signal.SIGSTOP)
    practice.until(
        "the watchdog's word", lambda: practice.standing("watchdog")[0] != "active" or None, daemon
    )
    state, why = practice.standing("watchdog")
    story.saw(f"the watchdog says {state}: {why}")
    story.check("trading is halted", [] if state == "halted" else [f"it is {state}"])
    story.check("and the signer is named as the reason", [] if "nothing can be signed" in why else [why])
    return daemon


def stale_feed(practice: Practice, story: Story) -> None:
    """First the stream alone, which costs nothing; then all answers, which the watchdog has to see."""
    story.does("start the daemon and let it open positions")
    daemon = practice.start()
    practice.trading(daemon)
    story.does("cut its stream of the market and refuse new ones; questions are answered")
    practice.control("chaos", refuse_sockets=True, drop_sockets_now=True)
    practice.until("the end of the stream in its log", lambda: _logged(daemon, "feed ended"), daemon)
    cycles = practice.more_cycles(daemon, 4)
    state, why = practice.standing("watchdog")
    story.saw(f"it asks instead: {cycles} hours of its market, the last 4 without a stream")
    story.check("it trades on without the stream", [] if state == "active" else [f"{state}: {why}"])

    story.does("answer every question with 502 as well")
    practice.control("chaos", refused_502=1.0)
    practice.until(
        "the watchdog's word", lambda: practice.standing("watchdog")[0] != "active" or None, daemon
    )
    state, why = practice.standing("watchdog")
    entries = practice.count(ENTRIES)
    story.saw(f"the watchdog says {state}: {why}")
    story.check(
        "nothing is opened on a market that is not seen", [] if state == "reducing" else [f"it is {state}"]
    )
    story.check("and the venue is named as the reason", [] if "venue has not answered" in why else [why])

    story.does("end all faults")
    practice.control("chaos")
    practice.until("trading open again", lambda: practice.standing("watchdog")[0] == "active" or None, daemon)
    opened = practice.count(ENTRIES) - entries
    story.saw(f"the watchdog says active again; {opened} entries were decided on until it was seen")
    practice.until("a stream again", lambda: _sockets(practice), daemon)
    practice.more_cycles(daemon, 3)
    settle(practice, story, daemon)


def _logged(daemon: Daemon, name: str) -> bool:
    return name in [event["event"] for event in daemon.events()]


def _sockets(practice: Practice) -> int:
    told = urlopen(f"{practice.devnet_url()}/devnet/status", timeout=5)  # noqa: S310 - on this machine
    with told:
        return int(json.loads(told.read())["sockets"])


def disk_full(practice: Practice, story: Story) -> None:
    """No write of the daemon's succeeds any more, by a limit on the size of its files."""
    story.does("start the daemon and let it open positions")
    daemon = practice.start()
    practice.trading(daemon)
    story.does(
        "let no file of the daemon's grow (RLIMIT_FSIZE of 1 byte): the kernel refuses its writes as a full disk does, "
        "though by another name (EFBIG, not ENOSPC)"
    )
    try:
        _, most = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, most))
    except (OSError, ValueError) as error:
        raise NotHere(f"this system sets no such limit on another process ({error})") from None
    code = daemon.ends("with nothing left to write on")
    said = daemon.last_word()
    story.saw(f"the daemon ended with exit code {code}: {said}")
    named = said.startswith("error: journal ") and said.count("\n") == 0
    story.check("it says in one sentence that its journal can't be written", [] if named else [said])
    story.check("it does not trade on without a journal", [] if code == 1 else [f"exit code {code}"])
    story.check("its devnet and its signer ended with it", left(daemon))
    story.does("start it again, with room")
    daemon = practice.start()
    practice.more_cycles(daemon, 3)
    settle(practice, story, daemon)


def twin(practice: Practice, story: Story) -> None:
    """A second daemon, once on the first one's journal, once on its signer alone."""
    story.does("start the daemon and let it open positions")
    daemon = practice.start()
    practice.trading(daemon)

    story.does("start a second one on the same journal")
    second = practice.start()
    code = second.ends("though another holds its journal")
    story.saw(f"it ended with exit code {code}: {second.last_word()}")
    named = "another daemon" in second.last_word() and str(daemon.pid) in second.last_word()
    story.check("it was turned away, and told by whom", [] if code == 1 and named else [second.last_word()])

    story.does("start a second one with a journal of its own, on the same account and the same signer")
    (practice.folder / "twin.toml").write_text(twin_config(practice), encoding="utf-8")
    third = practice.start(config="twin.toml")
    with suppress(HedgerowError):
        practice.until("a refusal by the signer", lambda: _denied(practice, third.pid), third)
    practice.more_cycles(daemon, 5)
    denied = _denied(practice, third.pid)
    if third.handle.is_gone(2):
        story.saw(f"it ended with exit code {third.ends('')}: {third.last_word()}")
    else:
        story.saw(f"it is still trying: {third.last_word()}")
    story.saw(f"the signer refused it {denied} times, since it signs for one trader at a time")
    third.close()
    signed_for_one(practice.audit, story, daemon.pid, third.pid)
    story.check("the first is not disturbed", ["it ended"] if daemon.handle.is_gone() else [])
    settle(practice, story, daemon)


def signed_for_one(audit: Path, story: Story, first: int, other: int) -> None:
    """Judge by the signer's log whether it signed for the `first` process alone, and refused the `other`."""
    signed = books.signed_in(audit)
    denied = books.denied_in(audit, "one_trader").get(other, 0)
    story.check("the signer turned it away", [] if denied else ["it was not refused once"])
    story.check("the second ones got no signature", books.strangers(signed, [first]))
    own = any(each.pid == first for each in signed)
    story.check("the first got some", [] if own else ["nothing was signed for it"])


def _denied(practice: Practice, pid: int) -> int:
    return books.denied_in(practice.audit, "one_trader").get(pid, 0)


def twin_config(practice: Practice) -> str:
    """A live config on the devnet, the account and the signer of a paper run."""
    socket = practice.world.resolve() / "sign.sock"
    coins = ", ".join(f'"{coin}"' for coin in COINS)
    return f"""\
version = 1
name = "twin"
mode = "live"
[venue]
network = "devnet"
url = "{practice.devnet_url()}"
account = "{practice.account()}"
coins = [{coins}]
signer = "{socket}"
[[strategies]]
plugin = "funding_carry"
[strategies.parameters]
hurdle = 0.0
[journal]
path = "twin/journal.sqlite"
[logs]
format = "json"
"""


def lost_reply(practice: Practice, story: Story) -> None:
    """Orders are carried out, and half of the answers to them are lost."""
    story.does("start the daemon and let it open positions")
    daemon = practice.start()
    practice.trading(daemon)
    story.does(
        "lose half of the exchange's answers to what is sent, and give orders by hand until some were lost"
    )
    practice.control("chaos", seed=5, lost_reply=0.5, paths=["/exchange"])
    given, deadline_s = 0, time.monotonic() + PATIENCE_S
    while practice.count(LOST) < LOST_REPLIES and given < MOST_ORDERS and time.monotonic() < deadline_s:
        with suppress(HedgerowError):
            ask(
                practice.journal,
                "trade",
                _wish(COINS[given % 2], "sell" if given % 4 < 2 else "buy"),
                ANSWER_S,
            )
        given += 1
    lost = practice.count(LOST)
    story.saw(
        f"of {given} orders by hand and the strategy's own, {lost} had no answer and were found out otherwise"
    )
    story.check("answers were lost at all", [] if lost else ["none was; nothing has been practised"])
    story.does("end the faults")
    practice.control("chaos")
    practice.more_cycles(daemon, 3)
    practice.until("the fate of every order", lambda: practice.count(OPEN) == 0 or None, daemon)
    settle(practice, story, daemon)


DRILLS: Final[Mapping[str, Drill]] = {
    "kill": Drill("kill -9 the daemon in the middle of a trade; nothing is lost or doubled", kill),
    "dead-signer": Drill(
        "the signer hangs, then dies; trading halts, the daemon ends and says why", dead_signer
    ),
    "hung-signer": Drill("the signer hangs for a while; trading halts, and is open again after", hung_signer),
    "stale-feed": Drill(
        "the market's stream is cut, then all answers; the watchdog reacts and heals", stale_feed
    ),
    "disk-full": Drill("nothing can be written any more; the daemon ends rather than trade on", disk_full),
    "twin": Drill("a second daemon on the same journal, and on the same signer; it never signs", twin),
    "lost-leg": Drill("an exchange takes one leg of a spread; the other is closed within seconds", lost_leg),
    "lost-reply": Drill("answers to orders are lost; each is found out, none is sent twice", lost_reply),
}
"""Every drill by its name."""


def practise(name: str, folder: Path, story: Story) -> HedgerowError | None:
    """Go through a drill in a folder that is there and empty; the error that ended it, if one did."""
    try:
        with Practice(folder) as practice:
            DRILLS[name].run(practice, story)
    except HedgerowError as error:
        return error
    return None
