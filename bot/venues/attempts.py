"""Our attempts to place orders: their names at the venue, their record before they leave, and what became of each.

A cloid says whose order it is: a mark of ours, the epoch of the daemon that sent it, and a hash of network, account,
client id and the number of the attempt, so that it can be worked out again from the journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import structlog

from bot.model.attempt import Attempt, AttemptState, Evidence, IllegalMove, Proof
from bot.model.order import Order, OrderReport, OrderStatus, Purpose
from bot.venues.venue import Outbox

log = structlog.get_logger("hedgerow")

MARK: Final = "b001"
"""The first two bytes of every cloid of ours: whose it is, and the version of its form."""

EPOCHS: Final = 1 << 16
REMEMBERED: Final = 5_000

Known = tuple[str, Purpose]
"""Client id and purpose of an order."""


class Named(NamedTuple):
    """An order under the name and with the price, as text, that it is sent with."""

    order: Order
    cloid: str
    price: str


def cloid_of(network: str, account: str, client_id: str, number: int, epoch: int) -> str:
    """The venue's name for the `number`th attempt to place an order, made in an epoch."""
    told = "\0".join((network, account.lower(), client_id, str(number)))
    return f"0x{MARK}{epoch % EPOCHS:04x}{hashlib.sha256(told.encode()).hexdigest()[:24]}"


def epoch_of(cloid: str | None) -> int | None:
    """The epoch in a cloid of ours; None for one that isn't."""
    return int(cloid[6:10], 16) if cloid is not None and cloid.startswith(f"0x{MARK}") else None


class Attempts:
    """One account's attempts, kept in an outbox."""

    def __init__(self, network: str, account: str, outbox: Outbox) -> None:
        self._network, self._account = network, account
        self.outbox = outbox
        self._known: dict[str, Known] = {}  # by cloid, of this process; the outbox knows all

    def cloid(self, client_id: str) -> str:
        """The name of the next attempt to place an order."""
        number = len(self.outbox.attempts_of(client_id)) + 1
        return cloid_of(self._network, self._account, client_id, number, self.outbox.epoch)

    def may_be_sent(self, client_id: str) -> bool:
        """Whether no attempt to place the order can have left."""
        return all(_never_left(each) for each in self.outbox.attempts_of(client_id))

    def whose(self, cloid: str | None) -> Known | None:
        """Whose order a cloid names; None for a stranger's."""
        if cloid is None:
            return None
        known = self._known.get(cloid)
        if (
            known is None
            and epoch_of(cloid) is not None
            and (found := self.outbox.attempt(cloid)) is not None
        ):
            known = self._remember(cloid, (found.client_id, found.purpose))
        return known

    def write(
        self, named: Sequence[Named], *, nonce: int, expires_ms: int | None, body: bytes, at_ms: int
    ) -> None:
        """Write what one request asks for down before it leaves. StateError where that can't be: then it must not leave."""
        body_sha256 = hashlib.sha256(body).hexdigest()
        self.outbox.write(
            [
                Attempt(
                    cloid=each.cloid,
                    client_id=each.order.client_id,
                    decision_id=each.order.client_id.partition("-")[0],
                    coin=each.order.instrument,
                    side=each.order.side,
                    lots=each.order.lots,
                    price=each.price,
                    reduce_only=each.order.reduce_only,
                    purpose=each.order.purpose,
                    nonce=nonce,
                    expires_ms=expires_ms,
                    body_sha256=body_sha256,
                    sent_ms=at_ms,
                )
                for each in named
            ]
        )
        for each in named:
            self._remember(each.cloid, (each.order.client_id, each.order.purpose))

    def ended(
        self, cloids: Iterable[str], state: AttemptState, proof: Proof, at_ms: int, detail: str
    ) -> None:
        """Say of several that they have come to nothing, or that it is not known what became of them."""
        self._move([(cloid, state, Evidence(proof, at_ms, detail)) for cloid in cloids])

    def told(self, reports: Iterable[OrderReport], proof: Proof) -> None:
        """Take in what the venue says of orders; those that were not attempted here are passed over."""
        moves = []
        for report in reports:
            latest = next(reversed(self.outbox.attempts_of(report.order.client_id)), None)
            if latest is None or latest.state.is_final:
                continue
            filled = min(report.filled_lots, latest.lots)
            evidence = Evidence(proof, report.time_ms, report.reason, report.order_id or None, filled)
            moves.append((latest.cloid, _state(report, latest, filled), evidence))
        self._move(moves)

    def _move(self, moves: Sequence[tuple[str, AttemptState, Evidence]]) -> None:
        if not moves:
            return
        try:
            self.outbox.move_all(moves)
        except IllegalMove as error:
            # The venue's books decide what is traded, not this record: it is said aloud, and trading goes on by them.
            log.error("an order was told to be what it can't be", found=str(error))  # noqa: TRY400

    def unanswered(self) -> list[Attempt]:
        """Those of which it is not known whether they were carried out, by nonce."""
        states = (AttemptState.SENT, AttemptState.UNKNOWN)
        return [each for each in self.outbox.open_attempts() if each.state in states]

    def filled_since(self, time_ms: int, coins: Collection[str]) -> Iterator[tuple[int, int]]:
        """Order ids of what was sent of `coins` since a time, and how many lots of it the venue said had filled."""
        for each in self.outbox.since(time_ms):
            # Nonces are by the signer's clock, which may be ahead.
            if each.sent_ms < time_ms or each.coin not in coins:
                continue
            if each.evidence is not None and each.evidence.order_id:
                yield each.evidence.order_id, each.evidence.filled_lots

    def at_venue(self) -> list[Attempt]:
        """Those that rested or waited when last heard of."""
        states = (AttemptState.ACKED, AttemptState.PARTIAL)
        return [each for each in self.outbox.open_attempts() if each.state in states]

    def _remember(self, cloid: str, known: Known) -> Known:
        self._known[cloid] = known
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return known


def _never_left(attempt: Attempt) -> bool:
    evidence = attempt.evidence
    return (
        attempt.state is AttemptState.REJECTED and evidence is not None and evidence.proof is Proof.NOT_SENT
    )


def _state(report: OrderReport, attempt: Attempt, filled: int) -> AttemptState:
    if report.status is OrderStatus.FILLED:
        return AttemptState.FILLED
    if report.status is OrderStatus.CANCELED:
        return AttemptState.CANCELED
    if report.status is OrderStatus.REJECTED:
        return AttemptState.REJECTED
    return AttemptState.PARTIAL if 0 < filled < attempt.lots else AttemptState.ACKED


def order_of(attempt: Attempt) -> Order:
    """The order of an attempt, as far as the record tells it."""
    return Order(
        attempt.client_id,
        attempt.coin,
        attempt.side,
        attempt.lots,
        Decimal(attempt.price),
        reduce_only=attempt.reduce_only,
        purpose=attempt.purpose,
    )
