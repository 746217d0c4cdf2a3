"""Spoilt replies and frames, as many as are asked for: each is read or refused by a DataError, and nothing else happens.

    python -m tests.venues.hyperliquid.fuzz_frames --frames 1000000 [--seed 1] [--recorded DIR]

Prints one JSON object: how many were read and refused, what got through uncaught (with the frame), and by how much the
process has grown since its first tenth.
"""

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.errors import DataError, Refused
from tests.venues.hyperliquid.shapes import Shape, made, recorded

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null|[\[\]{}:,]')
PUNCTUATION = frozenset((b"[", b"]", b"{", b"}", b":", b","))
NASTY: tuple[bytes, ...] = (
    *(
        f'"{text}"'.encode()
        for text in (
            "NaN", "nan", "-nan", "Infinity", "-inf", "1e5", "1E400", "1e-400", "", " 1", "1 ", "1_000", "１", "0x1", "--1", "+1",
            "01", "-01", "1.", ".5", "1.2.3", "1,2", "-0", "-0.0", "0", "0.0", "-1.0", "null", "9" * 21, "9" * 22, "9" * 400,
            "0." + "0" * 19 + "1", "0." + "0" * 20 + "1", "1000000000", "1000000000.00000000000000000001", "999999999.9", "0.5",
            "0.50000000000000000001", "1000000000000000.0", "10.0", "\\ud800", "\\u0031.0", "BTC", "@142", "<html>", "a:b", "\\n1",
            "0x" + "f" * 40, "ok", "order", "deposit", "funding",
        )
    ),
    b"null", b"true", b"false", b"NaN", b"-Infinity", b"0", b"-0", b"-1", b"1.5", b"1e3", b"1e400", b"1e99999999999999999999",
    b"9" * 20, b"9" * 21, b"9" * 5000, b"9223372036854775807", b"9223372036854775808", b"[]", b"{}", b"[[]]", b'{"type":1}',
    b"[" * 3000, b'{"a":' * 2000, b'"', b"\\", b"\xff", b"\x00", b'"\xed\xa0\x80"', b"\xef\xbb\xbf",
)  # fmt: skip


@dataclass
class Result:
    """What came of it."""

    read: int = 0
    refused: int = 0
    uncaught: list[str] = field(default_factory=list)
    by_shape: Counter[str] = field(default_factory=Counter)


class Spoiler:
    """Frames like some that are as they should be, but for one to four changes."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._tokens: dict[bytes, list[bytes]] = {}

    def spoil(self, body: bytes) -> bytes:
        """One more."""
        if body not in self._tokens:
            self._tokens[body] = TOKEN.findall(body)
        tokens = list(self._tokens[body])
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            self._change(tokens)
        spoilt = b"".join(tokens)
        return self._bytewise(spoilt) if self.chance.random() < 0.2 else spoilt

    def _change(self, tokens: list[bytes]) -> None:
        chance = self.chance
        at = chance.randrange(len(tokens)) if tokens else 0
        kind = chance.randrange(10)
        if not tokens:
            tokens.append(chance.choice(NASTY))
        elif kind < 3:
            values = [k for k, token in enumerate(tokens) if token not in PUNCTUATION]
            if values:
                tokens[chance.choice(values)] = chance.choice(NASTY)
        elif kind < 6:  # a digit, so that what comes of it is often as good as it was
            values = [k for k, token in enumerate(tokens) if any(48 <= c < 58 for c in token)]
            if values:
                at = chance.choice(values)
                token = bytearray(tokens[at])
                place = chance.choice([k for k, c in enumerate(token) if 48 <= c < 58])
                token[place] = 48 + chance.randrange(10)
                tokens[at] = bytes(token)
        elif kind == 6:
            self._key(tokens)
        elif kind == 7:
            del tokens[at : at + chance.choice((1, 2, 4, 9))]
        elif kind == 8:
            tokens[at:at] = tokens[at : at + chance.choice((1, 2, 4, 9))]
        else:
            other = chance.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]

    def _key(self, tokens: list[bytes]) -> None:
        """A key twice, gone, or by another name."""
        keys = [
            k for k in range(len(tokens) - 3) if tokens[k + 1] == b":" and tokens[k + 2] not in PUNCTUATION
        ]
        if not keys:
            return
        at, chance = self.chance.choice(keys), self.chance
        kind = chance.randrange(4)
        if kind == 0:
            tokens[at:at] = [tokens[at], b":", chance.choice((tokens[at + 2], *NASTY[:40])), b","]
        elif kind == 1:
            tokens[at] = tokens[chance.choice(keys)]
        elif kind == 2 and tokens[at + 3] == b",":
            del tokens[at : at + 4]
        else:
            name = tokens[at]
            tokens[at] = chance.choice(
                (name[:-1] + b'x"', name.upper(), b'"\\u%04x' % name[1] + name[2:] if len(name) > 1 else b"")
            )

    def _bytewise(self, body: bytes) -> bytes:
        chance, spoilt = self.chance, bytearray(body)
        at = chance.randrange(len(spoilt) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            return bytes(spoilt[:at])
        if kind == 1 and at < len(spoilt):
            spoilt[at] = chance.randrange(256)
        elif kind == 2:
            spoilt[at:at] = bytes(chance.randrange(256) for _ in range(3))
        else:
            del spoilt[at : at + 3]
        return bytes(spoilt)


def fuzz(shapes: Sequence[Shape], frames: int, seed: int, result: Result | None = None) -> Result:
    """Read so many spoilt frames, the shapes in turn."""
    result, spoiler = result or Result(), Spoiler(seed)
    for number in range(frames):
        shape = shapes[number % len(shapes)]
        body = spoiler.spoil(shape.body)
        try:
            shape.read(body)
        except DataError:
            result.refused += 1
        except Refused:
            if not shape.name.startswith("answer"):
                result.uncaught.append(f"{shape.name}: Refused on {body[:300]!r}")
            result.refused += 1
        except Exception as error:  # noqa: BLE001 - any other is what is looked for
            result.uncaught.append(f"{shape.name}: {error!r:.200} on {body[:300]!r}")
        else:
            result.read += 1
            result.by_shape[shape.name] += 1
    return result


def resident_mib() -> float:
    """Memory of this process now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


def main() -> None:
    """Fuzz, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--recorded", type=Path, help="a folder of recorded replies, used beside those made up"
    )
    options = parser.parse_args()
    shapes = made() + (recorded(options.recorded) if options.recorded else [])
    began_s = time.monotonic()
    result = fuzz(shapes, options.frames // 10, options.seed)
    before_mib = resident_mib()
    result = fuzz(shapes, options.frames - options.frames // 10, options.seed + 1, result)
    shown: dict[str, Any] = {
        "frames": options.frames,
        "shapes": len(shapes),
        "read": result.read,
        "refused": result.refused,
        "uncaught": len(result.uncaught),
        "examples": result.uncaught[:20],
        "shapes_never_read": sorted({shape.name for shape in shapes} - result.by_shape.keys()),
        "grown_mib": round(resident_mib() - before_mib, 2),
        "wall_s": round(time.monotonic() - began_s, 1),
    }
    print(json.dumps(shown, indent=2))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
