"""The drill in which an exchange takes one leg of a spread, while the daemon looks and while it is dead."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final
from urllib.request import urlopen

from bot.clock import parse_utc
from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.drills.practice import Daemon, Practice
from bot.drills.story import Story
from bot.errors import StateError, Unavailable
from bot.journal.reader import read
from bot.journal.verify import verify
from bot.paper.account import post
from bot.paper.cex import cex_account_in
from bot.signer import cex_signing, keystore

SEED, COIN, START, HISTORY_H = 59, "HYPE", "2024-01-01", 768
COINS: Final = ("BTC", "ETH", COIN)
THERE: Final = f"binance:{COIN}"
MOST_S: Final = 20.0
"""Until the other leg must be closed. The central exchange is asked for its positions every nine seconds."""

CLOSINGS: Final = "SELECT count(DISTINCT client_id) FROM fill WHERE instrument = ? AND purpose = 'exit'"
BOTH_ON: Final = "SELECT count(*) = 2 FROM position"
CONFIG: Final = f"""\
version = 1
name = "drill of two legs"
mode = "paper"
find_spreads = true

[market]
seed = {SEED}
coins = {json.dumps(COINS)}
speed = 3600                   # an hour passes every second
warmup_h = {HISTORY_H}
start = "{START}"

[cex.binance]
coins = ["{COIN}"]

[account]
wallets = {{ hyperliquid = 0.5, binance = 0.5 }}
leverage = 3

[sizing]
position_size = 0.25

[limits]
max_net_leverage = 0.1

[watchdog]
heal_looks = 1                 # so that nobody waits longer than needed

[[strategies]]
plugin = "hedged_carry"
on = "spreads"

[journal]
path = "state/journal.sqlite"

[logs]
format = "json"
"""


def lost_leg(practice: Practice, story: Story) -> None:
    """Once while the daemon runs, with the market standing still, and once while it is dead."""
    (practice.folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    story.does(f"start a daemon that holds {COIN} short on Hyperliquid against a long on a simulated Binance")
    daemon = practice.start()
    practice.until("its devnet and its signer", lambda: daemon.look_for_children() or None, daemon)
    practice.until("both legs", lambda: practice.count(BOTH_ON) or None, daemon)
    held = _held(practice)
    story.saw(f"held are {_told(held)}")
    story.check("the legs hold each other", [] if not sum(held.values()) else [f"they are {_told(held)}"])

    story.does("let the market stand still, and have Binance deleverage its leg")
    practice.control("clock", paused=True)
    fills, closings = practice.count("SELECT count(*) FROM fill"), practice.count(CLOSINGS, COIN)
    began_s = time.monotonic()
    post(_cex_url(practice), "/devnet/adl", {"api_key": _api_key(practice), "symbol": f"{COIN}USDT"})
    practice.until("that the other leg is closed", lambda: not _at_hyperliquid(practice) or None, daemon)
    _closed(practice, story, daemon, fills, closings, time.monotonic() - began_s)

    story.does("let the market go on until both legs are on again, and kill the daemon (SIGKILL)")
    practice.control("clock", speed=3600, paused=False)
    practice.until("both legs again", lambda: practice.count(BOTH_ON) or None, daemon)
    daemon.handle.send(signal.SIGKILL)
    daemon.ends("after SIGKILL")
    for child in daemon.children.values():
        child.is_gone(10)
    story.does("have Binance deleverage its leg while the daemon is dead, and start it again")
    key = _api_key(practice)
    with _exchange(practice) as server:
        url = str(server.sites["cex"].shown()["url"])
        post(url, "/devnet/adl", {"api_key": key, "symbol": f"{COIN}USDT"})
    fills = practice.count("SELECT count(*) FROM fill")
    daemon = practice.start()
    practice.until("its devnet and its signer", lambda: daemon.look_for_children() or None, daemon)
    practice.until("that the run goes on", lambda: "run goes on" in _names(daemon) or None, daemon)
    began_s = time.monotonic()
    practice.until(
        "that the other leg was closed",
        lambda: practice.count("SELECT count(*) FROM fill") >= fills + 2 or None,
        daemon,
    )
    took_s = time.monotonic() - began_s
    story.saw(f"the other leg was closed {took_s:.1f} s after the start")
    story.check(f"within {MOST_S:g} s of the start", [] if took_s <= MOST_S else [f"it took {took_s:.1f} s"])

    story.does("end the daemon as Ctrl-C does, and hold its books against both exchanges'")
    daemon.look_for_children()
    daemon.handle.send(signal.SIGTERM)
    code = daemon.ends("after SIGTERM")
    story.check("it ended in order", [] if code == 0 else [f"exit code {code}: {daemon.last_word()}"])
    running_still = [name for name, child in daemon.children.items() if not child.is_gone(10)]
    story.check("nothing that it started is left running", running_still)
    _compare(practice, story)


def _closed(
    practice: Practice, story: Story, daemon: Daemon, fills: int, closings: int, took_s: float
) -> None:
    story.saw(f"the leg on Hyperliquid was closed {took_s:.1f} s after")
    story.check(f"within {MOST_S:g} s", [] if took_s <= MOST_S else [f"it took {took_s:.1f} s"])
    practice.until(
        "that it is written down", lambda: not practice.count("SELECT count(*) FROM position") or None, daemon
    )
    story.check("nothing is held", [] if not _held(practice) else [_told(_held(practice))])
    closed = practice.count(CLOSINGS, COIN) - closings
    told = practice.count("SELECT count(*) FROM fill") - fills
    story.check(
        "it was closed once", [] if closed == 1 and told >= 2 else [f"{closed} times, {told} fills in all"]
    )


def _compare(practice: Practice, story: Story) -> None:
    with read(practice.journal) as reader:
        wrong = verify(reader)["differences"]
    story.check("the ledger derives to itself", [str(each["what"]) for each in wrong])
    mine = _held(practice)
    with _exchange(practice) as server:
        account = server.world.exchange.accounts[practice.account()]
        theirs = {name: position.size for name, position in account.positions.items() if position.lots}
        url = str(server.sites["cex"].shown()["url"])
        try:
            post(url, "/devnet/adl", {"api_key": _api_key(practice), "symbol": f"{COIN}USDT"})
            is_there = True
        except Unavailable:  # nothing is held there that could be taken
            is_there = False
    sizes = {COIN: mine.get(COIN, Decimal(0))} if COIN in mine else {}
    story.check(
        "what is held is what Hyperliquid holds",
        [] if sizes == theirs else [f"{_told(sizes)}, there {_told(theirs)}"],
    )
    agree = is_there == (THERE in mine)
    story.check("and so it is at Binance", [] if agree else [f"the journal holds {_told(mine)}"])


def _names(daemon: Daemon) -> list[str]:
    return [str(event["event"]) for event in daemon.events()]


def _held(practice: Practice) -> dict[str, Decimal]:
    """Coins by instrument, by the journal."""
    rows = practice.rows("SELECT instrument, lots, size_decimals FROM position")
    return {name: Decimal(lots).scaleb(-decimals) for name, lots, decimals in rows}


def _told(held: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{size:+f} {name}" for name, size in held.items()) or "nothing"


def _at_hyperliquid(practice: Practice) -> list[Any]:
    told = post(practice.devnet_url(), "/info", {"type": "clearinghouseState", "user": practice.account()})
    return list(told["assetPositions"])


def _cex_url(practice: Practice) -> str:
    with urlopen(f"{practice.devnet_url()}/devnet/status", timeout=10) as reply:  # noqa: S310 - http on loopback
        return str(json.loads(reply.read())["cex"]["url"])


def _api_key(practice: Practice) -> str:
    """Of the paper account, whose password lies beside it."""
    found = cex_account_in(practice.world)
    if found is None:
        raise StateError(f"there is no paper account of Binance in {practice.world} yet")
    return cex_signing.unpacked(
        keystore.decrypt(keystore.read(found.keystore).crypto, found.password)
    ).api_key


@contextmanager
def _exchange(practice: Practice) -> Iterator[Server]:
    """The exchanges as they were left, standing still; only while their process is gone."""
    options = Options(
        seed=SEED,
        coins=COINS,
        start_ms=parse_utc(START),
        history_h=HISTORY_H,
        agent_days=365 * 51,
        paused=True,
        state=practice.world / "devnet.state",
        cex_port=0,
    )
    with running(options) as server:
        yield server
