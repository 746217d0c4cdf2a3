"""What a restart must not undo beside nonces and budgets: the last reference prices, and denials that leave only reducing.

A small file beside the nonces, replaced as a whole. It may lag by a moment: what it has not got yet is what was told last,
and an older reference price allows no more than as many small steps since then would have.
"""

import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from bot.signer.policy import SignerConfigError


@dataclass(frozen=True, slots=True)
class Memory:
    """Coin → (price_e8, the venue's time); until when only reducing is signed; the last minute's denials."""

    references: dict[str, tuple[int, int]] = field(default_factory=dict)
    reducing_until_ms: int = 0
    denials: int = 0
    denied_ms: int = 0


class Kept:
    """The file. `put` says what should stand there, `write` sees to it and may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier signer left; SignerConfigError where that is damaged."""
        self.path = path
        self.memory = self._written = self._read()
        self._writing = threading.Lock()

    def _read(self) -> Memory:
        try:
            found = json.loads(self.path.read_text(encoding="ascii"))
            references = {str(coin): (int(e8), int(ms)) for coin, (e8, ms) in found["references"].items()}
            numbers = [int(found[key]) for key in ("reducing_until_ms", "denials", "denied_ms")]
            return Memory(references, *numbers)
        except FileNotFoundError:
            return Memory()
        except OSError as error:
            raise SignerConfigError(f"{self.path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SignerConfigError(
                f"{self.path} is damaged; once it is removed, the first prices are taken without a step's limit"
            ) from None

    def put(self, memory: Memory) -> None:
        """Let this be written next."""
        self.memory = memory

    def write(self) -> None:
        """Make durable what was put last. Raises OSError, and then the file is as before."""
        with self._writing:
            self._write()

    def _write(self) -> None:
        memory = self.memory
        if memory == self._written:
            return
        told = {
            "references": memory.references,
            "reducing_until_ms": memory.reducing_until_ms,
            "denials": memory.denials,
            "denied_ms": memory.denied_ms,
        }
        replace_durably(self.path, json.dumps(told) + "\n")
        self._written = memory


def replace_durably(path: Path, text: str) -> None:
    """Write a file of mode 0600 anew: after a kill or a power cut it is the old one or the new one. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())
    fresh.replace(path)
