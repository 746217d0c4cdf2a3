"""Nonces: strictly increasing, never given out twice, also across kills, restarts and clocks that go back.

A file holds the high-water mark: every nonce up to it may have been used. The mark is made durable *before* a nonce
below it is given out, in blocks, and a restart begins above it.
"""

import os
from pathlib import Path
from typing import Final

from bot.signer.policy import SignerConfigError
from bot.signer.requests import Refusal

BLOCK_MS: Final = 2_000
MAX_AHEAD_MS: Final = 60_000
_WIDTH: Final = 20


class Nonces:
    """The one source of nonces of a key. Its file must be held by one process only."""

    def __init__(self, path: Path) -> None:
        """Open or begin the file; SignerConfigError where it cannot be read."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            text = os.pread(self._file, 64, 0)
            if text and (len(text) != _WIDTH + 1 or not text[:-1].isdigit() or text[-1:] != b"\n"):
                raise SignerConfigError(
                    f"{path} is damaged; rotate to a new agent key, since its nonces are no longer known"
                )
            self.mark = int(text) if text else 0
            # The file itself must survive a power cut before a nonce may rest on it.
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise SignerConfigError(f"{path} cannot be used: {error.strerror}") from None
        self.last = self.mark

    def begin_above(self, nonce: int) -> None:
        """Give out nothing up to this nonce, which the audit log knows."""
        self.last = max(self.last, nonce)

    def next(self, now_ms: int) -> int:
        """A nonce at or after now. Raises Refusal where it would lie too far ahead or cannot be made durable.

        Numbers far ahead of the venue's clock would shut out all correct ones after them.
        """
        nonce = max(now_ms, self.last + 1)
        if nonce - now_ms > MAX_AHEAD_MS:
            raise Refusal("nonce_ahead", MAX_AHEAD_MS, nonce - now_ms)
        if nonce > self.mark:
            self._reserve(nonce + BLOCK_MS)
        self.last = nonce
        return nonce

    def reserve_ahead(self, now_ms: int) -> None:
        """Move the mark on while nothing waits for it, so that `next` seldom has to."""
        if self.mark - BLOCK_MS // 2 < now_ms < self.mark + MAX_AHEAD_MS:
            self._reserve(now_ms + BLOCK_MS)

    def _reserve(self, mark: int) -> None:
        try:
            # One small write within a block: it is there or it is not, never half.
            os.pwrite(self._file, b"%0*d\n" % (_WIDTH, mark), 0)
            os.fdatasync(self._file)
        except OSError as error:
            raise Refusal("storage", None, error.strerror) from None
        self.mark = mark

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
