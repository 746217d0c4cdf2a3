"""Mistakes with clocks, restarts, permissions and signs: each one that some trading program has made in the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from bot.journal import codec, writer
from bot.journal.standing import Standings
from bot.journal.writer import Writer
from bot.model.order import Fill, FundingPayment, OrderReport, OrderStatus
from bot.signer.engine import Engine
from bot.signer.limits import Limits
from bot.signer.nonces import Nonces
from bot.trader.ladder import Ladder
from bot.venues.attempts import epoch_of
from bot.venues.hyperliquid import orders, sending
from bot.venues.hyperliquid.adapter import HyperliquidVenue
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.orders import Register
from bot.venues.hyperliquid.sending import Sender
from bot.venues.venue import Condition, VenueEvent
from tests.simulation.faults import ACTION_FAULTS, Plan
from tests.simulation.mistake import Mutant, Patches, of

MINUTE_MS = 60_000

# Clocks and nonces


def _nonce_by_the_clock() -> Patches:
    def next_one(self: Nonces, now_ms: int) -> int:
        self.last = nonce = now_ms if now_ms != self.last else now_ms + 1
        return nonce

    return [of(Nonces, "next", next_one)]


def _expiry_by_the_computers_clock() -> Patches:
    real = Sender._resolve

    async def resolve(self: Sender, lost: sending.Lost) -> Any:
        venue, clock = self._clock, _FastClock(self._clock)
        self._clock = clock  # type: ignore[assignment]
        try:
            return await real(self, lost)
        finally:
            self._clock = venue

    async def state_ms(self: Sender) -> int:
        return self._clock.now_ms()

    return [of(Sender, "_resolve", resolve), of(Sender, "_state_ms", state_ms)]


class _FastClock:
    """A computer's clock that nobody has set for a while."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def now_ms(self) -> int:
        return int(self._real.now_ms()) + MINUTE_MS

    async def look(self) -> int:
        return int(await self._real.look()) + MINUTE_MS


# Restarts


def _does_not_see_its_earlier_stops() -> Patches:
    real = Register.see

    def see(self: Register, shown: Any) -> Any:
        own = self.attempts.outbox.epoch % 65536
        return real(self, [each for each in shown if each.trigger is None or epoch_of(each.cloid) == own])

    return [of(Register, "see", see), *_forgets_what_rested()]


def _halt_is_forgotten() -> Patches:
    return [of(Standings, "load", lambda self: {})]


def _epoch_is_not_raised() -> Patches:
    real = Writer.__init__

    def begin(self: Writer, path: Any, connection: Any, ownership: Any, epoch: int) -> None:
        connection.execute("DELETE FROM lease WHERE epoch > 1")
        real(self, path, connection, ownership, 1)

    return [of(Writer, "__init__", begin)]


def _peak_is_forgotten() -> Patches:
    real = codec.decode_memory

    def decode_memory(*what: Any) -> Any:
        memory = real(*what)
        return replace(memory, high_water_mark_usd=memory.day_open_usd)

    return [of(codec, "decode_memory", decode_memory)]


def _commits_without_sync() -> Patches:
    real = writer._connect

    def connect(path: Any) -> Any:
        connection = real(path)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    return [of(writer, "_connect", connect)]


# What is sent, and what became of it


def _may_open_after_a_restart() -> Patches:
    real = orders.to_sign

    def to_sign(order: Any, instrument: Any, mark: Any, cloid: str) -> Any:
        again = (epoch_of(cloid) or 1) > 1
        return replace(real(order, instrument, mark, cloid), reduce_only=order.reduce_only and not again)

    return [of(sending, "to_sign", to_sign)]


def _part_is_the_whole() -> Patches:
    real = Sender._report

    def report(self: Sender, order: Any, placed: Any) -> OrderReport:
        told = real(self, order, placed)
        if not told.filled_lots or order.trigger is not None:
            return told
        return replace(told, status=OrderStatus.FILLED, filled_lots=order.lots)

    return [of(Sender, "_report", report)]


def _refused_cancel_counts() -> Patches:
    real = Sender._after_cancel

    async def after_cancel(self: Sender, cancel: Any, reason: str | None) -> Any:
        return await real(self, cancel, "")

    return [of(Sender, "_after_cancel", after_cancel)]


# What is counted


def _fee_is_turned() -> Patches:
    real = Books._fill

    def fill(self: Books, *what: Any) -> list[VenueEvent]:
        told = real(self, *what)
        return [replace(each, fee_usd=-each.fee_usd) if isinstance(each, Fill) else each for each in told]

    return [of(Books, "_fill", fill)]


def _funding_is_turned() -> Patches:
    real = Books.take_fundings

    def take_fundings(self: Books, told: Any, oracles: Mapping[str, Decimal]) -> list[VenueEvent]:
        found = real(self, told, oracles)
        return [replace(each, usd=-each.usd) if isinstance(each, FundingPayment) else each for each in found]

    return [of(Books, "take_fundings", take_fundings)]


def _cursor_is_ahead() -> Patches:
    real = HyperliquidVenue._settlements_and_transfers

    async def settle(self: HyperliquidVenue, **keys: Any) -> None:
        await real(self, **keys)
        self._books.completed(self._clock.now_ms() + self._books.overlap_ms + MINUTE_MS)

    return [of(HyperliquidVenue, "_settlements_and_transfers", settle)]


# What is allowed


def _silence_is_health() -> Patches:
    real = Ladder.learned

    def learned(self: Ladder, condition: Condition) -> None:
        # What is known to be wrong is nothing new, so it is not told again.
        known = "signer" in self._alarms
        real(self, replace(condition, signer_problem="" if known else condition.signer_problem))

    return [of(Ladder, "learned", learned)]


def _budgets_begin_anew() -> Patches:
    def recall(self: Engine, record: dict[str, Any]) -> None:
        if record.get("kind") == "sign":
            self.limits.nonces[int(record["nonce"])] = int(record["at_ms"])

    return [of(Engine, "_recall", recall)]


def _what_rests_is_forgotten() -> Patches:
    real = Limits.take_positions

    def take_positions(self: Limits, told: Any, last_nonce: int, now_ms: int) -> None:
        held = {coin: replace(each, buys_e8=0, sells_e8=0) for coin, each in told.holdings.items()}
        real(self, replace(told, holdings=held), last_nonce, now_ms)

    return [of(Limits, "take_positions", take_positions)]


def _forgets_what_rested() -> Patches:
    return [of(Register, "take_up", lambda register, attempts: None)]


_ALL = dict.fromkeys(ACTION_FAULTS, 0.06)
_LOST = {"lost_request": 0.1, "lost_reply": 0.15, "late": 0.3}
_HALTS = Plan(0, faulty_h=6, quiet_h=2, halts=True)

MUTANTS = (
    Mutant(
        "a nonce is given out again after the clock went back", "I9", _nonce_by_the_clock,
        Plan(0, quiet_h=2, signer={"dies": 0.5}),
    ),
    Mutant(
        "an order's expiry is compared with the computer's clock", "I8", _expiry_by_the_computers_clock,
        Plan(0, quiet_h=2, actions={"late": 0.9}),
    ),
    Mutant(
        "a stop is placed again after a restart", "I1", _does_not_see_its_earlier_stops,
        Plan(0, quiet_h=2, stop_loss=0.03), crashes=True,
    ),
    Mutant(
        "what rests is placed again after a restart", "I13", _forgets_what_rested,
        Plan(0, faulty_h=8, quiet_h=1, maker=True, lag=1.0, longest_lag_s=30.0, away_s=(1.0,)), crashes=True,
    ),
    Mutant("a halt is forgotten at a restart", "I14", _halt_is_forgotten, _HALTS, crashes=True),
    Mutant("a second life has the number of the first", "I18", _epoch_is_not_raised, crashes=True),
    Mutant(
        "a restart forgets how high the equity has been", "I15", _peak_is_forgotten,
        Plan(0, quiet_h=2, away_s=(1.0,)),
    ),
    Mutant(
        "a commit is not synced", "I2", _commits_without_sync, Plan(0, quiet_h=2, power=True), crashes=True,
    ),
    Mutant(
        "what only reduces may open when it is sent after a restart", "I2", _may_open_after_a_restart,
        Plan(0, quiet_h=2, stop_loss=0.03), crashes=True,
    ),
    Mutant(
        "a part that was filled is taken for the whole", "I8", _part_is_the_whole,
        Plan(0, quiet_h=2, slippage_bps=4.0, coins=("kPEPE", "SUI")),  # whose books are thin
    ),
    Mutant(
        "a cancel that was refused counts as done", "I8", _refused_cancel_counts,
        Plan(0, faulty_h=6, quiet_h=2, maker=True, actions=_ALL),
    ),
    Mutant("a fee's sign is turned", "I3 I4", _fee_is_turned),
    Mutant("a payment's sign is turned", "I4 I6", _funding_is_turned),
    Mutant(
        "the cursor is set past fills that are not booked yet", "I3 I4 I16", _cursor_is_ahead,
        Plan(0, quiet_h=2, lag=0.5, by_hand=True),
    ),
    Mutant(
        "the watchdog takes silence for health", "I14", _silence_is_health,
        Plan(0, faulty_h=6, quiet_h=2, signer={"dies": 0.4}, signer_gone_s=4000.0, actions=_ALL),
    ),
    Mutant(
        "the signer's budgets begin anew with it", "I12", _budgets_begin_anew,
        Plan(0, faulty_h=8, quiet_h=2, signer={"dies": 0.3}, turnover_usd=60_000),
    ),
    Mutant(
        "the signer does not reckon with what rests", "I10", _what_rests_is_forgotten,
        Plan(0, faulty_h=6, quiet_h=2, actions=_LOST, lag=0.5, maker=True),
    ),
)  # fmt: skip
