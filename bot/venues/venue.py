"""The port: all that the trader knows of a venue, whether simulated in this process or reached over a network.

A venue states facts. Its market comes as rows of a panel, its account as exact books, and what happened since the
last look as events in order. What it can't say it raises: `Unavailable` where nothing happened, `OutcomeUnknown` where
something may have; it never answers "flat" because a question failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from bot.model.account import MarginMode
from bot.model.attempt import Attempt, AttemptState, Evidence
from bot.model.decision import AccountView, OrderPlan
from bot.model.instrument import Instrument
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, Transfer
from bot.model.panel import FloatArray, Panel

VenueEvent = OrderReport | Fill | FundingPayment | Liquidation | Transfer


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """One position as the venue states it; `liquidation_price` None where no price of this coin alone can do it."""

    instrument: Instrument
    lots: int
    entry_price: Decimal
    mark: Decimal
    notional_usd: Decimal
    unrealised_usd: Decimal
    liquidation_price: Decimal | None
    margin_mode: MarginMode
    opened_ms: int


@dataclass(frozen=True, slots=True)
class AccountState:
    """The account's books at one moment, to the millionth of a dollar, and the vectors that decisions are made on.

    Totals count from the account's opening, fees paid > 0: `equity = deposits + price profit + funding − fees`, where
    the price profit is net of what a liquidator kept. `others` are coins that are held too and are none of the venue's
    `instruments`, so that this program can't close them. `dust_usd` is what is carried of spot tokens beside
    whole lots of them, in cash and equity. `stale` names the venues of several that are counted as they were last seen.
    """

    view: AccountView
    mark: FloatArray  # newest known price per instrument, 0 before its first
    equity_usd: Decimal
    cash_usd: Decimal
    deposits_usd: Decimal
    funding_usd: Decimal
    fees_usd: Decimal
    positions: tuple[HeldPosition, ...]
    time_ms: int = 0  # of the venue's word; 0 where it is of the last observation
    others: tuple[str, ...] = ()
    dust_usd: Decimal = ZERO
    stale: tuple[str, ...] = ()

    @property
    def price_usd(self) -> Decimal:
        """Profit and loss from prices alone, realised and unrealised."""
        return self.equity_usd - self.deposits_usd - self.funding_usd + self.fees_usd


@dataclass(frozen=True, slots=True)
class Observation:
    """One moment: the market's newest row (arrays of shape (instruments,)), the account, and the events up to it.

    `missed` holds the rows between the last observation and this one, oldest first, where the trader came late and
    the venue can still tell them.
    """

    time_ms: int
    row: Mapping[str, FloatArray]
    account: AccountState
    events: tuple[VenueEvent, ...]
    missed: tuple[tuple[int, Mapping[str, FloatArray]], ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether the means of trading are in order; None where it is not known, or there is no such thing.

    `signer_problem` says why nothing can be signed. `agent_left_days`: until the signer's key may not sign any more;
    `agent_warning` is what is to be said of it today. `clock_offset_s`: the venue's clock less the computer's. `twin` says
    why another daemon of this kind seems to trade the account. `has_traded`: the feed has told of fills that no look has
    counted yet.
    """

    signer_problem: str = ""
    agent_left_days: float | None = None
    agent_warning: str = ""
    clock_offset_s: float | None = None
    twin: str = ""
    has_traded: bool = False


class Venue(Protocol):
    """What a trader asks of a venue."""

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What may be traded, in the order of every array."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Which market and account this is, as JSON values; the same after a restart."""
        ...

    async def open(self, checkpoint: Mapping[str, Any] | None) -> Panel:
        """Be ready, going on from one's own `checkpoint` where there is one; returns the history up to now."""
        ...

    async def due(self) -> None:
        """Return when the next moment can be observed. Nothing changes by it, so it may be cancelled at any time."""
        ...

    async def observe(self) -> Observation | None:
        """The next moment to decide on; None when there will be no other."""
        ...

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        """Carry out a plan, cancels first, and say of each order what became of it so far."""
        ...

    async def room(self) -> bool:
        """Return when two orders and the looks after them need not wait for a limit of requests; whether that took any time."""
        ...

    async def account(self) -> AccountState:
        """The account now."""
        ...

    async def condition(self) -> Condition:
        """Whether the means of trading are in order; cheap enough to be asked every few seconds. Raises nothing."""
        ...

    def take_events(self) -> tuple[VenueEvent, ...]:
        """What happened since the last observation or the last call."""
        ...

    def checkpoint(self) -> Mapping[str, Any] | None:
        """What `open` needs to go on from here, as JSON values; None where the venue itself remembers."""
        ...

    async def close(self) -> None:
        """Hang up; nothing is cancelled or closed at the venue by it."""
        ...


class Outbox(Protocol):
    """Where an attempt to place an order is written down before it leaves, and what became of it after.

    The journal is one. Every method is on disk when it returns; IllegalMove where an attempt can't be so, StateError
    where it can't be written, and then nothing may be sent.
    """

    @property
    def epoch(self) -> int:
        """The number of its present owner, higher than that of every owner before."""
        ...

    def write(self, attempts: Sequence[Attempt]) -> None:
        """Write down what was signed, all of it or nothing: INTENT becomes SENT. Call it before a byte leaves.

        StateError where a cloid or a nonce was used before.
        """
        ...

    def move(self, cloid: str, state: AttemptState, evidence: Evidence) -> None:
        """Say what became of one; telling the same again changes nothing."""
        ...

    def move_all(self, moves: Sequence[tuple[str, AttemptState, Evidence]]) -> None:
        """Say of several in one step, all of it or nothing."""
        ...

    def open_attempts(self) -> Sequence[Attempt]:
        """All that have not ended, by nonce: at start, what has to be found out first."""
        ...

    def since(self, nonce: int) -> Sequence[Attempt]:
        """All from a nonce on, which is a time, whatever became of them."""
        ...

    def attempt(self, cloid: str) -> Attempt | None:
        """One, whatever became of it; None if it was never written down."""
        ...

    def attempts_of(self, client_id: str) -> Sequence[Attempt]:
        """Every attempt to place one order, oldest first."""
        ...
