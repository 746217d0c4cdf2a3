"""One attempt to place one order at a venue, and all that may become of it.

    INTENT → SENT → { ACKED → PARTIAL → FILLED | CANCELED } | REJECTED | UNKNOWN
                                    UNKNOWN → { ACKED → … } | REJECTED | FENCED | EXPIRED

An attempt is SENT from the moment that its signed body may leave, not from when it has left: after a crash nobody could
tell the two apart. It ends with evidence alone, and which kind of evidence may end it how is data, like the moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bot.model.order import Purpose, Side


class IllegalMove(ValueError):
    """What was told of an attempt contradicts what is known of it: a mistake in the program, never the venue's."""


class AttemptState(StrEnum):
    """Where in its life an attempt is."""

    INTENT = "intent"  # decided, signed, not yet on disk
    SENT = "sent"  # on disk; it may or may not have left
    ACKED = "acked"  # the venue has it: it rests, or waits for its trigger
    PARTIAL = "partial"  # the same, a part of it filled
    FILLED = "filled"
    CANCELED = "canceled"  # ended by us or by the venue, filled in part or not at all
    REJECTED = "rejected"  # turned down, or never left
    UNKNOWN = "unknown"  # no answer, or none that can be understood
    FENCED = "fenced"  # its nonce was used up by a noop, so that it can't happen any more
    EXPIRED = "expired"  # the venue did not know it when its own clock was beyond the expiry

    @property
    def is_final(self) -> bool:
        """Whether nothing else can come of it."""
        return not MOVES[self]


_S = AttemptState
_AT_VENUE: Final = frozenset({_S.ACKED, _S.PARTIAL, _S.FILLED, _S.CANCELED, _S.REJECTED})

MOVES: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    _S.INTENT: frozenset({_S.SENT}),
    _S.SENT: _AT_VENUE | {_S.UNKNOWN},
    _S.UNKNOWN: _AT_VENUE | {_S.FENCED, _S.EXPIRED},
    # A trigger order that waited may be turned down when it fires.
    _S.ACKED: _AT_VENUE - {_S.ACKED},
    _S.PARTIAL: frozenset({_S.PARTIAL, _S.FILLED, _S.CANCELED}),
    _S.FILLED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.FENCED: frozenset(),
    _S.EXPIRED: frozenset(),
}
"""Which state may follow which. To be told again what is known already is no move, and allowed."""


class Proof(StrEnum):
    """How something is known of an attempt."""

    NOT_SENT = "not_sent"  # no byte of it left this program
    NO_ANSWER = "no_answer"  # the reply was lost, late or could not be understood
    REPLY = "reply"  # the venue's answer to the request itself
    STATUS = "status"  # the venue, asked for the order, or telling of it
    FILLS = "fills"  # its fills add up to all of it
    FENCE = "fence"  # the venue took a noop with its nonce
    EXPIRY = "expiry"  # the venue, by its own clock past the expiry, did not know the order


_VENUES_WORD: Final = frozenset({Proof.REPLY, Proof.STATUS})

PROOFS: Final[Mapping[AttemptState, frozenset[Proof]]] = {
    _S.ACKED: _VENUES_WORD,
    _S.PARTIAL: _VENUES_WORD | {Proof.FILLS},
    _S.FILLED: _VENUES_WORD | {Proof.FILLS},
    _S.CANCELED: _VENUES_WORD,
    _S.REJECTED: _VENUES_WORD | {Proof.NOT_SENT},
    _S.UNKNOWN: frozenset({Proof.NO_ANSWER}),
    _S.FENCED: frozenset({Proof.FENCE}),
    _S.EXPIRED: frozenset({Proof.EXPIRY}),
}
"""By what each state may be known."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known and how, at `at_ms` by the venue's clock; `detail` in the venue's words, never a signed body.

    `order_id` is the venue's, None while unknown; `filled_lots` of the order so far, 0 where it does not say.
    """

    proof: Proof
    at_ms: int
    detail: str = ""
    order_id: int | None = None
    filled_lots: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """An order as it was signed. `lots` > 0, `price` the decimal text that was signed, times by the venue's clock.

    Orders that were signed as one action share `nonce`, `expires_ms` and `body_sha256`; no other action may. Of the body
    only its hash is kept, in hex. `expires_ms` None: it never expires by itself. `epoch` numbers who sent it (0 until
    written down).
    """

    cloid: str
    client_id: str
    decision_id: str | None
    coin: str
    side: Side
    lots: int
    price: str
    reduce_only: bool
    purpose: Purpose
    nonce: int
    expires_ms: int | None
    body_sha256: str
    sent_ms: int
    epoch: int = 0
    state: AttemptState = AttemptState.INTENT
    evidence: Evidence | None = None

    def sent(self, epoch: int) -> Attempt:
        """As it is once it is on disk. IllegalMove if it was sent before."""
        if self.state is not AttemptState.INTENT:
            raise IllegalMove(
                f"{self._name} is {self.state.value} and can't be sent: an attempt is made once"
            )
        return replace(self, state=AttemptState.SENT, epoch=epoch)

    def moved(self, state: AttemptState, evidence: Evidence) -> Attempt:
        """As it is with what is known now; itself where that was known. IllegalMove where it can't be so."""
        filled = self._filled(state, evidence.filled_lots)
        if state is self.state and (state is not AttemptState.PARTIAL or filled == self.filled_lots):
            return self
        if state not in MOVES[self.state]:
            raise IllegalMove(f"{self._name} is {self.state.value} and can't become {state.value}")
        if evidence.proof not in PROOFS.get(state, ()):
            raise IllegalMove(f"{self._name} can't be known to be {state.value} by {evidence.proof.value}")
        if evidence.proof is Proof.NOT_SENT and self.state is not AttemptState.SENT:
            raise IllegalMove(f"{self._name} is {self.state.value}, so it may have left")
        if state is AttemptState.EXPIRED and (self.expires_ms is None or evidence.at_ms <= self.expires_ms):
            raise IllegalMove(
                f"{self._name} has not expired: {evidence.at_ms} ms is not past {self.expires_ms}"
            )
        return replace(self, state=state, evidence=replace(evidence, filled_lots=filled))

    @property
    def filled_lots(self) -> int:
        """Lots filled as far as is known."""
        return 0 if self.evidence is None else self.evidence.filled_lots

    def _filled(self, state: AttemptState, told: int) -> int:
        """Lots filled: all of a filled order, else the most that was ever told, since fills are told with delay."""
        filled = self.lots if state is AttemptState.FILLED else max(self.filled_lots, told)
        if filled > self.lots or told < 0 or (state is AttemptState.PARTIAL and not 0 < filled < self.lots):
            raise IllegalMove(f"{self._name} can't be {state.value} with {told} of {self.lots} lots filled")
        return filled

    @property
    def _name(self) -> str:
        return f"attempt {self.cloid} ({self.client_id})"
