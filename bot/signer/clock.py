"""The venue's time, from which nonces and expiries are made: the computer's clock, watched, and what it is off by."""

import time
from collections.abc import Callable
from typing import Final

from bot.signer.policy import Policy
from bot.signer.requests import Refusal

MAX_JUMP_MS: Final = 60_000
SMALL_JUMP_MS: Final = 2_000


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _since_boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class VenueClock:
    """The venue's time as the signer knows it: the computer's clock, watched for jumps, and an offset."""

    def __init__(
        self,
        policy: Policy,
        wall_ms: Callable[[], int] = _wall_ms,
        since_boot_ms: Callable[[], int] = _since_boot_ms,
    ) -> None:
        self._policy, self._wall_ms, self._boot_ms = policy, wall_ms, since_boot_ms
        self._anchor = wall_ms() - since_boot_ms()
        self.offset_ms = 0

    def now_ms(self) -> int:
        """Now, at the venue."""
        return self._wall_ms() + self.offset_ms

    def check(self) -> None:
        """Refuse while the computer's clock stands far from where it was at the start, plus the time that passed.

        A clock that was set forward would use up nonces of the future and shut out the right ones.
        """
        anchor = self._wall_ms() - self._boot_ms()
        jump_ms = anchor - self._anchor
        if self._has_jumped(jump_ms):
            raise Refusal("clock_jump", MAX_JUMP_MS, jump_ms)
        if abs(jump_ms) <= SMALL_JUMP_MS:
            self._anchor = anchor

    def since_boot_ms(self) -> int:
        """How long this computer has been up: what no clock that is set or told can move."""
        return self._boot_ms()

    def sound_ms(self) -> int:
        """Now; while the computer's clock has jumped, what it would say if it had not."""
        jump_ms = self._wall_ms() - self._boot_ms() - self._anchor
        return self.now_ms() - (jump_ms if self._has_jumped(jump_ms) else 0)

    def _has_jumped(self, jump_ms: int) -> bool:
        return abs(jump_ms) > MAX_JUMP_MS and not self._policy.simulated_clock

    def set(self, venue_ms: int) -> None:
        """Take the venue's time, as far as the policy trusts whoever tells it."""
        offset_ms = venue_ms - self._wall_ms()
        limit_ms = self._policy.max_clock_offset_ms
        if abs(offset_ms) > limit_ms and not self._policy.simulated_clock:
            raise Refusal("clock_offset", limit_ms, offset_ms)
        self.offset_ms = offset_ms
