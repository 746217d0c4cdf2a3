"""What can be asked of the signer, once it has been read: typed requests, plain numbers, and the refusal.

Decimals are integers of 1e-8 (`size_e8`, `price_e8`).
"""

import re
from dataclasses import dataclass
from typing import Final

E8: Final = 10**8

DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,8}))?")
CLOID: Final = re.compile(r"0x[0-9a-f]{32}")
ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")
COIN: Final = re.compile(r"[A-Za-z0-9:@/_-]{1,32}")


class Refusal(Exception):
    """A denial: the rule, its limit and the value that broke it (as text), and which order of a batch."""

    def __init__(
        self, rule: str, limit: object = None, value: object = None, index: int | None = None
    ) -> None:
        super().__init__(rule)
        self.rule, self.index = rule, index
        self.request_id: int | None = None
        self.limit = None if limit is None else str(limit)
        self.value = None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A stop-loss or take-profit condition."""

    kind: str
    price_e8: int
    is_market: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One order. `size_e8` is 0 for "the whole position" only."""

    coin: str
    is_buy: bool
    size_e8: int
    price_e8: int
    reduce_only: bool
    cloid: str
    tif: str | None
    trigger: Trigger | None


@dataclass(frozen=True, slots=True)
class Place:
    """New orders (`order`), or replacements (`modify`) where `replaces` has their oids or cloids."""

    do: str
    orders: tuple[Order, ...]
    grouping: str
    expires_in_ms: int
    replaces: tuple[int | str, ...] = ()
    always: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancels of (coin, oid) or (coin, cloid)."""

    do: str
    cancels: tuple[tuple[str, int | str], ...]
    fast: bool


@dataclass(frozen=True, slots=True)
class Leverage:
    """A coin's leverage and margin mode."""

    do: str
    coin: str
    leverage: int
    is_cross: bool


@dataclass(frozen=True, slots=True)
class IsolatedMargin:
    """Isolated margin to add (+) or remove (−), in millionths of a dollar."""

    do: str
    coin: str
    usd_micro: int


@dataclass(frozen=True, slots=True)
class ScheduleCancel:
    """The venue's dead man's switch: when, or None to clear."""

    do: str
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class Fence:
    """A noop that burns a nonce given out before."""

    do: str
    nonce: int


@dataclass(frozen=True, slots=True)
class Prices:
    """Reference prices (coin → 1e-8 dollars) and when they were the venue's."""

    do: str
    prices_e8: dict[str, int]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A coin's position, and the sizes of resting orders that may still increase it, in 1e-8 coins."""

    size_e8: int
    buys_e8: int
    sells_e8: int


@dataclass(frozen=True, slots=True)
class Positions:
    """What is held and rests at the venue, including every outcome of nonces up to `through_nonce`."""

    do: str
    holdings: dict[str, Holding]
    open_orders: int
    through_nonce: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The venue's time."""

    do: str
    venue_ms: int


@dataclass(frozen=True, slots=True)
class Plain:
    """A request without further keys: `status` or `lock`."""

    do: str


Request = (
    Place | Cancel | Leverage | IsolatedMargin | ScheduleCancel | Fence | Prices | Positions | Clock | Plain
)


def scaled(text: str) -> int | None:
    """A plain decimal as an integer of 1e-8; None if it is not one."""
    match = DECIMAL.fullmatch(text)
    if match is None:
        return None
    whole, fraction = match.groups()
    return int(whole) * E8 + (int(fraction.ljust(8, "0")) if fraction else 0)


def plain(value_e8: int) -> str:
    """An integer of 1e-8 as the venue writes decimals: no exponent, no trailing zeros."""
    if value_e8 < 0:
        return f"-{plain(-value_e8)}"
    whole, fraction = divmod(value_e8, E8)
    return f"{whole}.{fraction:08d}".rstrip("0") if fraction else str(whole)
