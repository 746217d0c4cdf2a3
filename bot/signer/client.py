"""Ask the signer for signatures: a blocking client that needs the standard library only.

A call takes a fraction of a millisecond, so it may be made from an event loop; calls from several threads take turns.
"""

import json
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

MAX_ANSWER_BYTES: Final = 1 << 17


class SignerError(Exception):
    """The signer did not sign; `str(error)` is one sentence."""


class Denied(SignerError):
    """The policy forbids it. The same request gets the same answer until something changes."""

    def __init__(self, rule: str, limit: str | None, value: str | None, index: int | None) -> None:
        self.rule, self.limit, self.value, self.index = rule, limit, value, index
        where = "" if index is None else f" of order {index}"
        bounds = (
            f": {value} against a limit of {limit}" if limit is not None else f": {value}" if value else ""
        )
        super().__init__(f"the signer refused by its rule {rule}{where}{bounds}")


class Locked(SignerError):
    """The signer is locked and signs nothing until somebody has done what `remedy` says."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(f"the signer is locked: {reason}; {remedy}")


class SignerGone(SignerError):
    """No answer. Nothing signed has left, so nothing can have happened at the venue: it is safe to ask again."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a stop or take-profit fires: at `price` (decimal text), then as a market or a limit order."""

    kind: Literal["tp", "sl"]
    price: str
    is_market: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """One order; `size` and `price` are decimal text (at most 8 decimals), `cloid` is 0x and 32 hex digits.

    Either `tif` or `trigger` is given.
    """

    coin: str
    side: Literal["buy", "sell"]
    size: str
    price: str
    cloid: str
    tif: Literal["Alo", "Gtc", "Ioc"] | None = None
    trigger: Trigger | None = None
    reduce_only: bool = False

    def wire(self) -> dict[str, Any]:
        """The order as the protocol writes it."""
        trigger = self.trigger
        return {
            "coin": self.coin,
            "side": self.side,
            "size": self.size,
            "price": self.price,
            "reduce_only": self.reduce_only,
            "cloid": self.cloid,
            "tif": self.tif,
            "trigger": None
            if trigger is None
            else {"kind": trigger.kind, "price": trigger.price, "is_market": trigger.is_market},
        }


@dataclass(frozen=True, slots=True)
class Holding:
    """What a coin's position is and what rests for it, in coins as decimal text; `size` is signed.

    `buys` and `sells` leave reduce-only orders out.
    """

    size: str
    buys: str = "0"
    sells: str = "0"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed action: `body` is what to POST to /exchange, as it is. Times in milliseconds."""

    nonce: int
    expires_after_ms: int | None
    body: bytes


class SignerClient:
    """A connection to the signer, made at the first request and again after it was lost.

    Every method raises Denied, Locked or SignerGone.
    """

    def __init__(self, path: str | Path, timeout_s: float = 2.0) -> None:
        self.path, self.timeout_s = str(path), timeout_s
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._last_id = 0
        self.lost = 0  # connections so far: another may be to another signer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._hang_up()

    def order(self, orders: Sequence[Order], expires_in_ms: int, grouping: str = "na") -> Signed:
        """Sign 1 to 32 new orders as one action."""
        wire = [order.wire() for order in orders]
        return self._signed("order", orders=wire, grouping=grouping, expires_in_ms=expires_in_ms)

    def modify(
        self, modifies: Sequence[tuple[int | str, Order]], expires_in_ms: int, *, always: bool = False
    ) -> Signed:
        """Sign replacements of (oid or cloid, new order), as one action."""
        wire = [{"oid": oid, "order": order.wire()} for oid, order in modifies]
        return self._signed("modify", modifies=wire, always=always, expires_in_ms=expires_in_ms)

    def cancel(self, cancels: Sequence[tuple[str, int]], *, fast: bool = False) -> Signed:
        """Sign cancels of (coin, oid), as one action."""
        return self._signed("cancel", cancels=[{"coin": c, "oid": oid} for c, oid in cancels], fast=fast)

    def cancel_by_cloid(self, cancels: Sequence[tuple[str, str]], *, fast: bool = False) -> Signed:
        """Sign cancels of (coin, cloid), as one action."""
        wire = [{"coin": coin, "cloid": cloid} for coin, cloid in cancels]
        return self._signed("cancel_by_cloid", cancels=wire, fast=fast)

    def leverage(self, coin: str, leverage: int, *, is_cross: bool) -> Signed:
        """Sign a coin's leverage and margin mode."""
        return self._signed("leverage", coin=coin, leverage=leverage, is_cross=is_cross)

    def isolated_margin(self, coin: str, usd_micro: int) -> Signed:
        """Sign the adding (+) or removing (−) of isolated margin, in millionths of a dollar."""
        return self._signed("isolated_margin", coin=coin, usd_micro=usd_micro)

    def schedule_cancel(self, time_ms: int | None) -> Signed:
        """Sign the venue's dead man's switch, or with None its clearing."""
        return self._signed("schedule_cancel", time_ms=time_ms)

    def fence(self, nonce: int) -> Signed:
        """Sign a noop with a nonce given out before, so that what it was for can no longer happen."""
        return self._signed("fence", nonce=nonce)

    def prices(self, prices: Mapping[str, str], at_ms: int) -> None:
        """Tell reference prices (decimal text), and when they were the venue's."""
        self.request("prices", prices=dict(prices), at_ms=at_ms)

    def positions(
        self, holdings: Mapping[str, Holding], *, open_orders: int, through_nonce: int, at_ms: int
    ) -> None:
        """Tell what the venue says is held and resting; `through_nonce` is the last one that this includes."""
        wire = {coin: {"size": h.size, "buys": h.buys, "sells": h.sells} for coin, h in holdings.items()}
        self.request(
            "positions", positions=wire, open_orders=open_orders, through_nonce=through_nonce, at_ms=at_ms
        )

    def clock(self, venue_ms: int) -> None:
        """Tell the venue's time."""
        self.request("clock", venue_ms=venue_ms)

    def status(self) -> dict[str, Any]:
        """Network, account, agent, coins, budgets left, hash of the policy, head of the audit log."""
        return self.request("status")

    def lock(self) -> None:
        """Let the signer sign nothing more until an operator has unlocked it."""
        self.request("lock")

    def request(self, do: str, **keys: Any) -> dict[str, Any]:
        """Send one request and return what stands under `ok` in its answer."""
        with self._lock:
            self._last_id += 1
            number = self._last_id
            answer = self._exchange(json.dumps({"id": number, "do": do, **keys}).encode("ascii"), number)
        if "ok" in answer:
            return dict(answer["ok"])
        if "deny" in answer:
            deny = answer["deny"]
            raise Denied(deny["rule"], deny["limit"], deny["value"], deny["index"])
        raise Locked(str(answer["locked"]["reason"]), str(answer["locked"]["remedy"]))

    def _signed(self, do: str, **keys: Any) -> Signed:
        ok = self.request(do, **keys)
        return Signed(ok["nonce"], ok["expires_after_ms"], ok["body"].encode("ascii"))

    def _exchange(self, packet: bytes, number: int) -> dict[str, Any]:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._socket.settimeout(self.timeout_s)
                self._socket.connect(self.path)
            self._socket.send(packet)
            received = self._socket.recv(MAX_ANSWER_BYTES)
        except OSError as error:
            self._hang_up()
            why = error.strerror or type(error).__name__
            raise SignerGone(
                f"the signer at {self.path} does not answer ({why}); start `hedgerow signer`"
            ) from None
        try:
            answer = json.loads(received)
            if answer["id"] in {number, None} and answer.keys() & {"ok", "deny", "locked"}:
                return dict(answer)
        except (ValueError, KeyError, TypeError):
            pass
        # An answer to something else: whoever speaks there is out of step.
        self._hang_up()
        what = "hung up" if not received else "gave an answer that is none"
        raise SignerGone(f"the signer at {self.path} {what}; look at its output")

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self.lost += 1
