"""What a restart would take up from the journal is what the daemon has in mind, byte for byte (I15)."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter

from bot.journal import codec
from bot.trader.desk import Desk
from bot.trader.diary import Story
from bot.trader.trader import Trader
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.books import Books
from tests.simulation.notes import Notes


def check(journal: sqlite3.Connection, trader: Trader, notes: Notes) -> None:
    """To be called as a cycle's transaction ends: file and mind have to agree at that moment."""
    session, venue = trader._session, trader._venue
    if session is None:
        return
    assert isinstance(venue, HyperliquidVenue)
    desk, names = session.desk, [instrument.name for instrument in trader.instruments]
    strategies = [slot.name for slot in trader.mandate.strategies]
    (told,) = journal.execute("SELECT content FROM memory").fetchone()
    (content,) = journal.execute("SELECT content FROM checkpoint").fetchone()
    saved = json.loads(content)
    again = Desk(trader.mandate, trader.instruments, codec.decode_memory(told, strategies, names))
    again.restore(saved["desk"])
    books = Books(venue._account, venue._register, trades_spot=venue._books.tokens is not None)
    books.restore(saved["venue"]["books"])
    minds = {
        "memory": (
            codec.encode_memory(again.memory, strategies, names),
            codec.encode_memory(desk.memory, strategies, names),
        ),
        "desk": (codec.encode(again.saved()), codec.encode(desk.saved())),
        "story": (codec.encode(Story(saved["story"]).state()), codec.encode(session.story.state())),
        "books": (codec.encode(books.state()), codec.encode(venue._books.state())),
        "sending": (saved["venue"]["settled_nonce"], venue._sender.settled_nonce),
        "orders": (saved["venue"]["orders"], venue._register.state()),
    }
    for what, (file, mind) in minds.items():
        notes.must(file == mind, "I15", f"the {what} that a restart reads is {file}, and in mind is {mind}")
    traded: Counter[str] = Counter()
    for account, lots in journal.execute(
        "SELECT account, lots FROM posting JOIN entry ON entry.id = entry_id WHERE kind = 'opening'"
    ):
        traded[account.removeprefix("POSITION:")] += lots
    for coin, side, lots in journal.execute("SELECT instrument, side, sum(lots) FROM fill GROUP BY 1, 2"):
        traded[coin] += lots if side == "buy" else -lots
    answered = dict(zip(names, again.attribution.held_lots.sum(axis=0).tolist(), strict=True))
    same = {coin: lots for coin, lots in traded.items() if lots} == {
        coin: lots for coin, lots in answered.items() if lots
    }
    notes.must(same, "I15", f"strategies answer for {answered}, the fills come to {dict(traded)}")
