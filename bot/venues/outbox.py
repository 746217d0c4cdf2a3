"""An outbox that forgets: for a venue used without a journal, where nothing has to outlive the process."""

from __future__ import annotations

from collections.abc import Sequence

from bot.errors import StateError
from bot.model.attempt import Attempt, AttemptState, Evidence, IllegalMove


class MemoryOutbox:
    """As `venue.Outbox`, in memory."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch
        self._attempts: dict[str, Attempt] = {}

    def write(self, attempts: Sequence[Attempt]) -> None:
        """As `Outbox`."""
        nonces = {each.nonce for each in self._attempts.values()}
        written: dict[str, Attempt] = {}
        for each in attempts:
            if each.cloid in self._attempts or each.cloid in written or each.nonce in nonces:
                raise StateError(f"an order of cloid {each.cloid} or nonce {each.nonce} was sent before")
            written[each.cloid] = each.sent(self.epoch)
        self._attempts |= written

    def move(self, cloid: str, state: AttemptState, evidence: Evidence) -> None:
        """As `Outbox`."""
        self.move_all([(cloid, state, evidence)])

    def move_all(self, moves: Sequence[tuple[str, AttemptState, Evidence]]) -> None:
        """As `Outbox`."""
        moved = dict(self._attempts)
        for cloid, state, evidence in moves:
            if cloid not in moved:
                raise IllegalMove(f"attempt {cloid} was never written down")
            moved[cloid] = moved[cloid].moved(state, evidence)
        self._attempts = moved

    def open_attempts(self) -> Sequence[Attempt]:
        """As `Outbox`."""
        unfinished = [each for each in self._attempts.values() if not each.state.is_final]
        return sorted(unfinished, key=lambda each: each.nonce)

    def since(self, nonce: int) -> Sequence[Attempt]:
        """As `Outbox`."""
        return [each for each in self._attempts.values() if each.nonce >= nonce]

    def attempt(self, cloid: str) -> Attempt | None:
        """As `Outbox`."""
        return self._attempts.get(cloid)

    def attempts_of(self, client_id: str) -> Sequence[Attempt]:
        """As `Outbox`."""
        return [each for each in self._attempts.values() if each.client_id == client_id]
