"""Who signs: a port that takes typed requests and returns complete HTTP bodies, and the signer's socket behind it.

The adapter never holds a key, allots no nonce and builds no action; it says what it wants and sends what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from bot.errors import Refused, Unavailable
from bot.signer.client import Denied, Holding, Locked, Order, Signed, SignerClient, SignerGone, Trigger

__all__ = [
    "Denied",
    "Facts",
    "Holding",
    "NotSigned",
    "Order",
    "Signed",
    "SignerSocket",
    "Signs",
    "Trigger",
    "Whose",
]

log = structlog.get_logger("hedgerow")

LARGEST_BATCH: Final = 32
ANY_EXPIRY_MS: Final = (1, 86_400_000)  # no policy allows others; a simulated day may pass in seconds


class NotSigned(Refused):
    """The signer's policy forbids it; `index` is the order of the batch that it forbids, where it is one's."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, slots=True)
class Facts:
    """What the signer is told before it is asked: the venue's time, prices, and what is held and resting.

    All of it as of `venue_ms`, but the clock, which is at `now_ms`. `through_nonce` is the last nonce whose outcome the holdings include. Prices and sizes
    are decimal text.
    """

    venue_ms: int
    now_ms: int
    prices: Mapping[str, str]
    holdings: Mapping[str, Holding]
    open_orders: int
    through_nonce: int


@dataclass(frozen=True, slots=True)
class Whose:
    """For which network and account it is signed, by whom, and the numbers of the coins that are.

    `master` is the address that approved `agent`. With a `vault` (a vault's or sub-account's address) its books are
    traded, else the master's. `expires_ms` are the shortest and longest life that an order may be given, and
    `reference_age_ms` is how old facts may be that an order is signed by, None where that is not told.
    """

    network: str
    master: str
    agent: str
    assets: Mapping[str, int]
    vault: str | None = None
    size_decimals: Mapping[str, int] = field(default_factory=dict)
    agent_until_ms: int | None = None  # by the policy
    problem: str = ""  # why nothing is signed now, and what to do
    expires_ms: tuple[int, int] = ANY_EXPIRY_MS
    reference_age_ms: int | None = None

    @property
    def account(self) -> str:
        """The address whose books are traded."""
        return self.vault or self.master


class Signs(Protocol):
    """Signs what is asked of it. NotSigned where that is forbidden, Unavailable where nobody answers."""

    def whose(self) -> Whose:
        """What it signs for."""
        ...

    def pinned(self) -> Whose:
        """The same as far as one signer never changes it, without asking it each time; `problem` is of some time ago."""
        ...

    def order(self, orders: Sequence[Order], expires_in_ms: int) -> Signed:
        """1 to 32 new orders as one action."""
        ...

    def cancel(self, cancels: Sequence[tuple[str, int]]) -> Signed:
        """Cancels of (coin, order id) as one action."""
        ...

    def leverage(self, coin: str, leverage: int, *, is_cross: bool) -> Signed:
        """A coin's leverage and margin mode."""
        ...

    def fence(self, nonce: int) -> Signed:
        """A noop with a nonce given out before, so that what it was for can no longer happen."""
        ...

    def schedule_cancel(self, time_ms: int | None) -> Signed:
        """The venue's dead man's switch, or with None its clearing."""
        ...

    def tell(self, facts: Facts) -> None:
        """Take in what is true now."""
        ...

    def clock(self, venue_ms: int) -> None:
        """Take in the venue's time, from which nonces and expiries are made; before anything is signed."""
        ...


class SignerSocket:
    """The signer behind its Unix socket."""

    def __init__(self, client: SignerClient) -> None:
        self._client = client
        self._assets: Mapping[str, int] = {}
        self._pinned: tuple[int, Whose] | None = None  # and the connection that it was told on

    def whose(self) -> Whose:
        """As `Signs`."""
        with _our_errors():
            status = self._client.status()
        self._assets = {str(coin): int(number) for coin, number in status["assets"].items()}
        vault, until = status["vault"], status["agent_valid_until_ms"]
        shortest, longest = status.get(
            "expires_ms", ANY_EXPIRY_MS
        )  # a signer of an earlier version tells neither
        age = status.get("reference_max_age_ms")
        return Whose(
            network=str(status["network"]),
            master=str(status["account"]).lower(),
            agent=str(status["agent"]).lower(),
            assets=self._assets,
            vault=None if vault is None else str(vault).lower(),
            size_decimals={str(coin): int(number) for coin, number in status["size_decimals"].items()},
            agent_until_ms=None if until is None else int(until),
            problem=_problem(status),
            expires_ms=(int(shortest), int(longest)),
            reference_age_ms=None if age is None else int(age),
        )

    def pinned(self) -> Whose:
        """As `Signs`. A policy is read when a signer starts, and a signer that starts anew has lost its connections."""
        if self._pinned is None or self._pinned[0] != self._client.lost:
            whose = self.whose()
            self._pinned = self._client.lost, whose
        return self._pinned[1]

    def order(self, orders: Sequence[Order], expires_in_ms: int) -> Signed:
        """As `Signs`."""
        with _our_errors():
            return self._client.order(orders, expires_in_ms)

    def cancel(self, cancels: Sequence[tuple[str, int]]) -> Signed:
        """As `Signs`."""
        with _our_errors():
            return self._client.cancel(cancels)

    def leverage(self, coin: str, leverage: int, *, is_cross: bool) -> Signed:
        """As `Signs`."""
        with _our_errors():
            return self._client.leverage(coin, leverage, is_cross=is_cross)

    def fence(self, nonce: int) -> Signed:
        """As `Signs`."""
        with _our_errors():
            return self._client.fence(nonce)

    def schedule_cancel(self, time_ms: int | None) -> Signed:
        """As `Signs`."""
        with _our_errors():
            return self._client.schedule_cancel(time_ms)

    def clock(self, venue_ms: int) -> None:
        """As `Signs`."""
        with _our_errors():
            self._client.clock(venue_ms)

    def tell(self, facts: Facts) -> None:
        """As `Signs`."""
        self.clock(facts.now_ms)
        for coin, price in facts.prices.items():
            if coin in self._assets:
                self._price(coin, price, facts.venue_ms)
        with _our_errors():
            try:
                self._positions(facts, facts.through_nonce)
            except Denied as denial:
                if denial.rule != "through_nonce" or denial.limit is None:
                    raise
                # Given out by another signer, before a new agent's: of this one's nonces, all are known.
                self._positions(facts, int(denial.limit))

    def _positions(self, facts: Facts, through_nonce: int) -> None:
        self._client.positions(
            facts.holdings,
            open_orders=facts.open_orders,
            through_nonce=through_nonce,
            at_ms=facts.venue_ms,
        )

    def _price(self, coin: str, price: str, venue_ms: int) -> None:
        """One coin's price; where it is refused, so will be its orders, and those alone."""
        try:
            with _our_errors():
                self._client.prices({coin: price}, venue_ms)
        except NotSigned as refusal:
            log.warning("price refused by the signer", coin=coin, price=price, reason=str(refusal))


def _problem(status: Mapping[str, Any]) -> str:
    """Why a signer that answers would sign nothing, and what to do; empty where it would."""
    if status["state"] == "locked":
        return f"the signer is locked: {status['reason']}; {status['remedy']}"
    if status["state"] == "storage":
        return f"the signer's audit log cannot be written: {status['reason']}; free space, and it goes on by itself"
    return ""


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except Denied as denial:
        raise NotSigned(str(denial), denial.index) from None
    except (Locked, SignerGone) as error:
        raise Unavailable(str(error)) from None
