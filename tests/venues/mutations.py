"""Replies and frames that were as they should be, with something about them changed that a venue might get wrong."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from tests.venues.hyperliquid.fuzz_frames import Spoiler

HUGE: Final = "1" + "0" * 30
NUMBERS: Final = (
    "NaN", "Infinity", "-Infinity", "nan", HUGE, f"-{HUGE}", "1e9", "1E+5", "0", "-0.0", "-1.0", "0.0000000000000000000001",
    "", " 1.0", "1.0 ", "+1", "1_000", "0x10", "１２", "99999999999.0", "null", "1.0.0",
)  # fmt: skip
HOSTILE: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 10**18, 10**30, -(10**18), 1.5, -0.0, float("nan"), float("inf"), [], {}, [[]], {"a": {}}, "",
    "\x00", "\ud800", "💥", "\u202eBTC", "é", "A" * 5_000, *NUMBERS,
)  # fmt: skip
COINS: Final = ("BTC", "ETH", "XYZ", "btc", "@142", "xyz:BTC", "", "B TC", "ＢＴＣ", "BTC\n", "UBTC/USDC")
STEPS_MS: Final = (-1, 1, -3_600_000, 3_600_000, -86_400_000, 10**12, -(10**12), -1_780_000_000_000)
Place = tuple[Any, Any]
"""A container and the key or index in it."""


class Mutator:
    """Changes values by what they are, or bytes whatever they are."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._spoiler = Spoiler(seed + 1)
        self._known: dict[bytes, Any] = {}
        self._changes: tuple[Callable[[Any, list[Place]], None], ...] = (
            self._drop, self._duplicate, self._swap_types, self._number, self._number, self._digit, self._digit, self._hostile,
            self._reorder, self._deep, self._coin, self._time, self._time, self._exchange, self._sign,
        )  # fmt: skip

    def mutate(self, body: bytes) -> bytes:
        """One more, some of them the same as before."""
        chance = self.chance
        if chance.random() < 0.4:
            return self._spoiler.spoil(body)
        if body not in self._known:
            self._known[body] = json.loads(body)
        value = deepcopy(self._known[body])
        holder = [value]
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            places = list(_places(holder))
            chance.choice(self._changes)(holder, places)
        made = json.dumps(holder[0], separators=(",", ":"), ensure_ascii=chance.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
        return made[: chance.randrange(len(made) + 1)] if chance.random() < 0.03 else made

    def _pick(self, places: list[Place], *kinds: type) -> Place | None:
        fitting = [each for each in places if not kinds or type(each[0][each[1]]) in kinds]
        return self.chance.choice(fitting) if fitting else None

    def _drop(self, _: Any, places: list[Place]) -> None:
        box, key = self.chance.choice(places)
        if len(places) > 1 and box is not places[0][0]:
            del box[key]

    def _duplicate(self, _: Any, places: list[Place]) -> None:
        box, key = self.chance.choice(places)
        if isinstance(box, list) and box is not places[0][0]:
            box.insert(self.chance.randrange(len(box) + 1), deepcopy(box[key]))

    def _swap_types(self, _: Any, places: list[Place]) -> None:
        box, key = self.chance.choice(places)
        value = box[key]
        if isinstance(value, str):
            try:
                box[key] = float(value) if "." in value else int(value)
            except ValueError:
                box[key] = [value]
        elif isinstance(value, dict):
            box[key] = list(value.values())
        elif isinstance(value, list):
            box[key] = {str(k): each for k, each in enumerate(value)}
        else:
            box[key] = str(value)

    def _number(self, _: Any, places: list[Place]) -> None:
        if (place := self._pick(places, str, int)) is not None:
            place[0][place[1]] = self.chance.choice(NUMBERS)

    def _digit(self, _: Any, places: list[Place]) -> None:
        """Another digit: what comes of it is often as good as it was."""
        if (place := self._pick(places, str)) is None:
            return
        text = place[0][place[1]]
        digits = [k for k, each in enumerate(text) if each.isdigit()]
        if digits:
            at = self.chance.choice(digits)
            place[0][place[1]] = f"{text[:at]}{self.chance.randrange(10)}{text[at + 1 :]}"

    def _hostile(self, _: Any, places: list[Place]) -> None:
        box, key = self.chance.choice(places)
        box[key] = deepcopy(self.chance.choice(HOSTILE))

    def _reorder(self, _: Any, places: list[Place]) -> None:
        if (place := self._pick(places, list, dict)) is None:
            return
        value = place[0][place[1]]
        if isinstance(value, list):
            self.chance.shuffle(value)
        else:
            pairs = list(value.items())
            self.chance.shuffle(pairs)
            place[0][place[1]] = dict(pairs)

    def _deep(self, _: Any, places: list[Place]) -> None:
        box, key = self.chance.choice(places)
        value: Any = box[key]
        for _number in range(self.chance.choice((1, 2, 20, 100))):
            value = [value] if self.chance.random() < 0.5 else {"a": value}
        box[key] = value

    def _coin(self, _: Any, places: list[Place]) -> None:
        named = [(box, key) for box, key in places if box[key] in ("BTC", "ETH", "kPEPE", "@142")]
        if named:
            box, key = self.chance.choice(named)
            box[key] = self.chance.choice(COINS)

    def _time(self, _: Any, places: list[Place]) -> None:
        moments = [(box, key) for box, key in places if type(box[key]) is int and box[key] > 10**12]
        if moments:
            box, key = self.chance.choice(moments)
            box[key] += self.chance.choice(STEPS_MS)

    def _exchange(self, _: Any, places: list[Place]) -> None:
        """Two values of an object, each in the other's place."""
        if (place := self._pick(places, dict)) is None:
            return
        value = place[0][place[1]]
        if len(value) > 1:
            one, two = self.chance.sample(list(value), 2)
            value[one], value[two] = value[two], value[one]

    def _sign(self, _: Any, places: list[Place]) -> None:
        if (place := self._pick(places, str)) is not None:
            text = place[0][place[1]]
            if text[:1].isdigit():
                place[0][place[1]] = f"-{text}"
            elif text[:1] == "-":
                place[0][place[1]] = text[1:]


def _places(value: Any) -> list[Place]:
    """Every value with where it stands, the outermost first."""
    found: list[Place] = []
    boxes = [value]
    while boxes:
        box = boxes.pop()
        for key in list(box) if isinstance(box, dict) else range(len(box)):
            found.append((box, key))
            if isinstance(box[key], dict | list):
                boxes.append(box[key])
    return found
