"""How long the daemon has been silent, by the guard's own steady clock: a wall clock that is set starts no alarm."""

from __future__ import annotations

from collections.abc import Callable

from bot.clock import Clock
from bot.guard.notes import Notes
from bot.journal.pulse import Beat


class Vigil:
    """Listens for signs of life.

    Silence counts from the last sign, and no earlier than from the guard's own start: where both have just been started,
    the daemon is given its time. A silence that an earlier guard has met already goes on.
    """

    def __init__(
        self, listen: Callable[[], Beat | None], notes: Notes, now_s: Callable[[], float], wall: Clock
    ) -> None:
        self._listen, self._now_s = listen, now_s
        self._beat = listen() or notes.beat
        self._began_s = self._since_s = now_s()
        self._before_s = 0.0
        if self._beat is not None and notes.is_alarmed and self._beat == notes.beat:
            self._before_s = max(0.0, (wall.now_ms() - self._beat.wall_ms) / 1000)

    @property
    def beat(self) -> Beat | None:
        """The last sign; None where there never was one, and so nothing to guard."""
        return self._beat

    @property
    def watched_s(self) -> float:
        """How long this guard has been listening."""
        return self._now_s() - self._began_s

    def silent_s(self) -> float:
        """Listen, and say how long there has been no new sign; 0 where there is one now."""
        beat = self._listen()
        if beat is not None and beat != self._beat:
            self._beat, self._since_s, self._before_s = beat, self._now_s(), 0.0
        return self._before_s + self._now_s() - self._since_s
