"""Mistakes of the protocol, each made on purpose: a simulation that can't find these would find nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from bot.errors import OutcomeUnknown, Refused, Unavailable, VenueError
from bot.journal import codec
from bot.journal.attempts import Attempts as Outbox
from bot.journal.journal import Journal
from bot.model.attempt import AttemptState, Proof
from bot.signer.audit import AuditLog
from bot.signer.nonces import Nonces
from bot.trader.trader import Trader
from bot.venues import attempts
from bot.venues.hyperliquid import adapter, books, parse_orders, sending
from bot.venues.hyperliquid.account_reader import AccountReader
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.sending import Sender
from tests.simulation import mutants_of_legs, mutants_of_restarts
from tests.simulation.faults import ACTION_FAULTS, Plan
from tests.simulation.mistake import Mutant, Patches, of

# What is sent


def _resends() -> Patches:
    async def resolve(self: Sender) -> Any:
        again = [order for lost in self.lost for order in lost.orders]
        self.lost.clear()
        return await self._batch(again) if again else []

    return [of(Sender, "resolve", resolve)]


def _sends_first() -> Patches:
    real = attempts.Attempts.write

    def later(self: attempts.Attempts, *what: Any, **how: Any) -> None:
        asyncio.get_running_loop().call_later(0.5, partial(real, self, *what, **how))

    return [of(attempts.Attempts, "write", later)]


def _timeout_is_a_no() -> Patches:
    real = Client.exchange

    async def exchange(self: Client, body: bytes, **keys: Any) -> Any:
        try:
            return await real(self, body, **keys)
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from None

    return [of(Client, "exchange", exchange)]


def _one_name_for_all_attempts() -> Patches:
    def cloid_of(network: str, account: str, client_id: str, number: int, epoch: int) -> str:
        told = f"{network}\0{account}\0{client_id}"
        return f"0xb001{epoch % 65536:04x}{hashlib.sha256(told.encode()).hexdigest()[:24]}"

    return [of(attempts, "cloid_of", cloid_of)]


# What got lost


def _fence_without_answer_counts() -> Patches:
    async def fence(self: Sender, nonce: int) -> bool:
        try:
            parse_orders.done(await self._client.exchange(self._signs.fence(nonce).body))
        except OutcomeUnknown:
            return True
        except Refused:
            return False
        return True

    return [of(Sender, "_fence", fence)]


def _used_nonce_is_a_fence() -> Patches:
    real = Sender._fence

    async def fence(self: Sender, nonce: int) -> bool:
        signed = self._signs.fence(nonce)
        try:
            parse_orders.done(await self._client.exchange(signed.body))
        except Refused as refusal:
            return sending.DUPLICATE_NONCE in str(refusal)
        except OutcomeUnknown:
            return False
        return True

    assert real is not fence
    return [of(Sender, "_fence", fence)]


def _unknown_oid_is_dead() -> Patches:
    async def resolve(self: Sender, lost: sending.Lost) -> Any:
        found = {}
        for order, cloid in zip(lost.orders, lost.cloids, strict=True):
            if (report := await self._found(order, cloid)) is not None:
                found[cloid] = report
                self._attempts.told([report], Proof.STATUS)
        gone = [cloid for cloid in lost.cloids if cloid not in found]
        self._attempts.ended(gone, AttemptState.FENCED, Proof.FENCE, self._clock.now_ms(), "not found")
        return [found.get(c) or self._rejected(o, "") for o, c in zip(lost.orders, lost.cloids, strict=True)]

    return [of(Sender, "_resolve", resolve)]


def _forgets_what_was_under_way() -> Patches:
    return [of(Sender, "take_up", lambda self: None)]


# What is counted


def _fills_by_size() -> Patches:
    return [of(books, "_fill_key", lambda fill: f"f:{fill.coin}:{fill.side}:{fill.size}")]


def _funding_by_coin() -> Patches:
    return [of(books, "_funding_key", lambda payment: f"p:{payment.coin}")]


def _counts_twice() -> Patches:
    return [of(Books, "_is_new", lambda self, key, time_ms: time_ms >= self._floor_ms)]


def _no_overlap() -> Patches:
    real = Books.completed

    def completed(self: Books, time_ms: int) -> None:
        self.overlap_ms = -30_000
        real(self, time_ms)

    return [of(Books, "completed", completed)]


def _failure_is_flat() -> Patches:
    real = AccountReader.margin_state

    async def margin_state(self: AccountReader) -> Any:
        try:
            return await real(self)
        except VenueError:
            if self.margin is None:
                raise
            return replace(self.margin, positions=())

    return [of(AccountReader, "margin_state", margin_state)]


def _believes_old_positions() -> Patches:
    def all_at_once(rows: Sequence[Any], _: int) -> tuple[Sequence[Any], list[Any]]:
        return rows, []

    # Each guard is enough: the feed's word waits for the account's, a look is repeated until it has the fills, and until
    # it has what the venue answered with.
    owes_nothing = of(AccountReader, "_still_owed", lambda self, now_ms: False)
    return [of(Books, "newest_ms", 0), of(adapter, "until", all_at_once), owes_nothing]


# What is kept


def _checkpoint_first() -> Patches:
    real = Trader.carry_out

    async def carry_out(self: Trader, *what: Any) -> Any:
        session = self.session
        state = {
            "venue": self._venue.checkpoint(),
            "desk": session.desk.saved(),
            "story": session.story.state(),
        }
        writer = self._journal._writer
        row = writer.one("SELECT time_ms FROM checkpoint")
        if row is not None:
            memory = codec.encode_memory(session.desk.memory, self._strategies, tuple(self._columns))
            with writer.transaction() as connection:
                for table, content in (("checkpoint", codec.encode(state)), ("memory", memory)):
                    sealed = (content, codec.checksum(row["time_ms"], content))
                    connection.execute(f"UPDATE {table} SET content = ?, checksum = ?", sealed)
        return await real(self, *what)

    return [of(Trader, "carry_out", carry_out)]


def _nonces_in_memory() -> Patches:
    real = Nonces.__init__

    def forgetful(self: Nonces, path: Any) -> None:
        real(self, path)
        self.mark = self.last = 0

    return [of(Nonces, "__init__", forgetful), of(Nonces, "begin_above", lambda self, nonce: None)]


def _signs_unseen() -> Patches:
    real = AuditLog.append

    def append(self: AuditLog, record: dict[str, Any]) -> None:
        if record.get("do") != "order":
            real(self, record)

    return [of(AuditLog, "append", append)]


def _moves_are_not_kept() -> Patches:
    return [of(Outbox, "move_all", lambda self, moves: None)]


def _last_cycle_is_not_heard() -> Patches:
    real = Journal.record_cycle

    def record_cycle(self: Journal, facts: Any) -> Any:
        return real(self, replace(facts, fills=facts.fills[:-1]))

    return [of(Journal, "record_cycle", record_cycle)]


# What the simulation found in the program itself, brought back


def _start_does_not_listen() -> Patches:
    real = Trader._hear

    def hear(self: Trader, *what: Any) -> None:
        if self.time_ms:  # it is 0 until the start is over
            real(self, *what)

    return [of(Trader, "_hear", hear)]


def _asks_nothing_of_before() -> Patches:
    real = HyperliquidVenue._restore

    def restore(self: HyperliquidVenue, checkpoint: Mapping[str, Any]) -> set[int]:
        real(self, checkpoint)
        return set()

    return [of(HyperliquidVenue, "_restore", restore), of(attempts.Attempts, "at_venue", lambda self: [])]


def _oracle_of_now() -> Patches:
    return [of(books, "MICRO_USD", Decimal(1))]


def _hour_is_not_asked_for() -> Patches:
    async def account(self: HyperliquidVenue) -> Any:
        self._tell(await self._sender.resolve())
        await self._market.refresh()
        await self._look()
        return self._reader.state()

    return [of(HyperliquidVenue, "account", account)]


_LOST = {"lost_request": 0.1, "lost_reply": 0.15, "late": 0.3}
_ALL = dict.fromkeys(ACTION_FAULTS, 0.06)
_LOSSES = Plan(0, quiet_h=2, actions=_LOST)
_LAG = Plan(0, quiet_h=2, actions=_LOST, lag=0.6)

MUTANTS = (
    Mutant("an order without an answer is placed again under a new name", "I1", _resends, _LOSSES),
    Mutant("an order is sent before it is written down", "I2", _sends_first),
    Mutant("no answer is taken for not sent", "I8", _timeout_is_a_no, _LOSSES),
    Mutant("all attempts have one name", "I18", _one_name_for_all_attempts),
    Mutant("a fence without an answer counts as one that took", "I8", _fence_without_answer_counts, _LOSSES),
    Mutant("a nonce that is used up counts as fenced", "I8", _used_nonce_is_a_fence, _LAG),
    Mutant("an order that is not found counts as dead", "I8", _unknown_oid_is_dead, _LOSSES),
    Mutant(
        "what was under way is not looked for after a start", "I16", _forgets_what_was_under_way,
        _LOSSES, crashes=True,
    ),
    Mutant("fills are told apart by their size", "I3 I4", _fills_by_size, Plan(0, faulty_h=12, quiet_h=2)),
    Mutant("funding is told apart by its coin", "I4", _funding_by_coin),
    Mutant("what is told twice is counted twice", "I4", _counts_twice),
    Mutant("no time is left for what is told late", "I3 I4", _no_overlap, Plan(0, quiet_h=2, lag=0.5, by_hand=True)),
    Mutant(
        "positions that could not be read are taken for none", "I3 I4 I5 I10 I13 I16", _failure_is_flat,
        Plan(0, faulty_h=5, quiet_h=2, reads={"bad_gateway": 0.2}, reads_of="clearinghouseState"),
    ),
    Mutant(
        "positions older than a known fill are believed", "I4 I5 I16", _believes_old_positions,
        Plan(0, faulty_h=8, quiet_h=2, lag=0.9, longest_lag_s=30.0, by_hand=True),
    ),
    Mutant(
        "the checkpoint is written before what it rests on", "I3 I4 I16", _checkpoint_first,
        Plan(0, quiet_h=2, actions=_ALL), crashes=True,
    ),
    Mutant(
        "nonces are kept in memory alone", "I9", _nonces_in_memory,
        Plan(0, quiet_h=2, signer={"dies": 0.5}),
    ),
    Mutant("a signature is not in the audit log", "I11", _signs_unseen),
    Mutant("what became of an order is not kept", "I16", _moves_are_not_kept),
    Mutant("a fill of each cycle is not booked", "I3 I4", _last_cycle_is_not_heard),
    Mutant("a start refuses what a cut-off cycle has traded", "I4 I16", _start_does_not_listen, crashes=True),
    Mutant(
        "what an earlier run left at the venue is not asked for", "I16", _asks_nothing_of_before,
        Plan(0, faulty_h=4, quiet_h=2, maker=True, lag=0.9), crashes=True,
    ),
    Mutant("a payment's price is taken from after the settlement", "I5", _oracle_of_now),
    Mutant(
        "an order by hand does not ask what the hour has paid", "I4", _hour_is_not_asked_for,
        Plan(0, faulty_h=6, quiet_h=2, by_hand=True),
    ),
    *mutants_of_restarts.MUTANTS,
    *mutants_of_legs.MUTANTS,
)  # fmt: skip
