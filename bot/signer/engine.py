"""One request in, one answer out: read it, hold it against the policy, write it down, sign it.

The order is the safety: rules → nonce made durable → audit line → signature. Whatever is cut off in between costs a
nonce and a budget, never a rule.
"""

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from bot.signer import actions, signing
from bot.signer.audit import AuditLog
from bot.signer.clock import VenueClock
from bot.signer.grammar import parse
from bot.signer.kept import Kept
from bot.signer.limits import Counts, Limits, dollars
from bot.signer.nonces import Nonces
from bot.signer.policy import CoinPolicy, Policy, SignerConfigError
from bot.signer.requests import (
    Cancel,
    Clock,
    Fence,
    IsolatedMargin,
    Leverage,
    Order,
    Place,
    Plain,
    Positions,
    Prices,
    Refusal,
    Request,
    ScheduleCancel,
    plain,
    scaled,
)

__all__ = ["Engine", "Peer", "VenueClock"]

AUDITED_DENIALS_PER_MIN: Final = 600
RESTART: Final = "stop it and start it again"
UNLOCK: Final = (
    "see in its audit log who asked, then stop it, run `hedgerow signer unlock` and start it again"
)
SIGNING: Final = (Place, Cancel, Leverage, IsolatedMargin, ScheduleCancel, Fence)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks: the process and user as the kernel tells them, and over which connection."""

    pid: int
    uid: int
    connection: int = 0


class Engine:
    """The signer without its socket. `handle` never raises."""

    def __init__(
        self,
        policy: Policy,
        key: signing.SigningKey,
        nonces: Nonces,
        audit: AuditLog,
        clock: VenueClock | None = None,
    ) -> None:
        """Rebuild budgets from the audit log; SignerConfigError where key and policy do not belong together."""
        if key.address != policy.agent:
            raise SignerConfigError(
                f"the key is {key.address}, but the policy is for agent {policy.agent}; change one"
            )
        if key.network != policy.chain:
            raise SignerConfigError(
                f"the key was unlocked for {key.network}, but the policy is for {policy.chain}"
            )
        self._policy, self._key, self._nonces, self._audit = policy, key, nonces, audit
        self._clock = clock or VenueClock(policy)
        self._assets = policy.assets
        self._suppressed = 0
        self._trader: int | None = None
        self.kept = Kept(audit.path.with_name("kept"))
        self.locked = audit.lock
        self._remedy = UNLOCK
        self._unwritten: dict[str, Any] | None = None  # a lock that the full disk did not take yet
        self.limits = Limits(policy)
        # A simulated clock is not known before it is told.
        self.limits.recall(self.kept.memory, None if policy.simulated_clock else self._clock.now_ms())
        for record in audit.history:
            self._recall(record)
        audit.forget()
        nonces.begin_above(max(self.limits.nonces, default=0))
        self._write(
            {"kind": "start", "policy": policy.sha256, "network": policy.network, "agent": policy.agent}
        )

    def handle(self, packet: bytes, peer: Peer) -> bytes:
        """The answer to one packet."""
        request_id: int | None = None
        try:
            request_id, request = self._read(packet)
            if type(request) is Plain and request.do == "status":
                return _answer(request_id, "ok", self._status())
            if self.locked is not None:
                return _answer(request_id, "locked", {"reason": self.locked, "remedy": self._remedy})
            return _answer(request_id, "ok", self._serve(request, peer))
        except Refusal as refusal:
            if refusal.request_id is not None:
                request_id = refusal.request_id
            return self._denied(request_id, refusal, peer)
        except Exception as error:  # noqa: BLE001 - a fault must neither sign nor end the program, nor tell what it held
            self.locked, self._remedy = f"a fault inside the signer ({type(error).__name__})", RESTART
            return _answer(request_id, "locked", {"reason": self.locked, "remedy": self._remedy})

    def tick(self) -> None:
        """Work for idle moments: what a restart must know, and nonces ahead, if any were used lately."""
        self._keep(soon=True)
        with contextlib.suppress(Refusal):  # a full disk; whoever asks for a signature will hear of it
            if self._unwritten is not None:
                self._write(self._unwritten)
                self._unwritten = None
            if self._nonces.last > self._clock.now_ms() - 60_000:
                self._nonces.reserve_ahead(self._clock.now_ms())

    def _keep(self, *, soon: bool = False) -> None:
        """See to it that a restart knows what is known now: at once, or within a moment."""
        self.kept.put(self.limits.memory(self._clock.sound_ms()))
        if not soon:
            with contextlib.suppress(OSError):  # a full disk; it is tried again
                self.kept.write()

    @property
    def trader(self) -> int | None:
        """The connection that trades."""
        return self._trader

    def hang_up(self, connection: int) -> None:
        """A connection has ended; if it was the one that traded, another may."""
        if self._trader == connection:
            self._trader = None

    def _read(self, packet: bytes) -> tuple[int | None, Any]:
        return parse(packet)

    def _admit(self, peer: Peer) -> None:
        """Let one connection trade, while the clock is sound."""
        # Before anything looks at the time: a rule that does forgets what seems to be long ago.
        self._clock.check()
        if self._trader is None:
            self._trader = peer.connection
        elif self._trader != peer.connection:
            raise Refusal("one_trader", 1, f"pid {peer.pid}")

    def _serve(self, request: Request, peer: Peer) -> dict[str, Any]:
        if not isinstance(request, Plain):
            self._admit(peer)
        now_ms = self._clock.now_ms()
        if isinstance(request, SIGNING):
            return self._sign(request, now_ms, peer)
        if isinstance(request, Prices):
            self.limits.take_prices(request, now_ms)
            if not request.prices_e8.keys() <= self.kept.memory.references.keys():
                self._keep()  # a coin's first price may be any: let it be the only one
        elif isinstance(request, Positions):
            self.limits.take_positions(request, self._nonces.last, now_ms)
        elif isinstance(request, Clock):
            self._clock.set(request.venue_ms)
        else:
            self._lock("it was asked to lock", peer)
        return {}

    def _lock(self, reason: str, peer: Peer) -> None:
        """Sign nothing more, after a restart neither, until an operator unlocks it."""
        self.locked = reason
        record = {"kind": "lock", "at_ms": self._clock.sound_ms(), "pid": peer.pid, "reason": reason}
        try:
            self._write(record)
        except Refusal:
            self._unwritten = record

    def _sign(
        self,
        request: Place | Cancel | Leverage | IsolatedMargin | ScheduleCancel | Fence,
        now_ms: int,
        peer: Peer,
    ) -> dict[str, Any]:
        policy, limits = self._policy, self.limits
        if request.do not in policy.allow:
            raise Refusal("action", ",".join(sorted(policy.allow)), request.do)
        if policy.agent_valid_until_ms is not None and now_ms >= policy.agent_valid_until_ms:
            raise Refusal("agent_expired", policy.agent_valid_until_ms, now_ms)
        action, counts = self._checked(request, now_ms)
        orders = request.orders if isinstance(request, Place) else ()
        if not isinstance(request, Cancel | Fence) and not (orders and not counts.orders):
            limits.check_actions(now_ms)
        nonce = request.nonce if isinstance(request, Fence) else self._nonces.next(now_ms)
        expires = nonce_expiry(request, now_ms)
        connection_id = self._key.connection_id(action, policy.vault, nonce, expires)
        self._write(
            {
                "kind": "sign",
                "at_ms": now_ms,
                "pid": peer.pid,
                "do": request.do,
                "nonce": nonce,
                "expires_after_ms": expires,
                "connection_id": connection_id.hex(),
                "counts": asdict(counts),
                "orders": [told(order) for order in orders],
            }
        )
        limits.count(counts, now_ms)
        limits.remember(nonce, orders, expires, now_ms)
        signature = self._key.sign_l1(connection_id)
        text = signing.body(action, nonce, signature, policy.vault, expires)
        return {"nonce": nonce, "expires_after_ms": expires, "body": text}

    def _checked(
        self, request: Place | Cancel | Leverage | IsolatedMargin | ScheduleCancel | Fence, now_ms: int
    ) -> tuple[actions.Action, Counts]:
        """The action, if every rule lets it pass, and what it uses up."""
        policy, limits = self._policy, self.limits
        if isinstance(request, Place):
            low, high = policy.expires_min_ms, policy.expires_max_ms
            if not low <= request.expires_in_ms <= high:
                raise Refusal("expires_ms", f"{low} to {high}", request.expires_in_ms)
            counts = limits.check_orders(request.orders, request.do == "order", now_ms)
            return actions.place(request, self._assets), counts
        if isinstance(request, Cancel):
            for index, (coin, _) in enumerate(request.cancels):
                limits.coin(coin, index)
            counts = limits.check_cancels(len(request.cancels), now_ms)
            return actions.cancel(request, self._assets), counts
        if isinstance(request, Leverage):
            limit = limits.coin(request.coin).max_leverage
            if request.leverage > limit:
                raise Refusal("leverage", limit, request.leverage)
            if request.is_cross and not policy.cross:
                raise Refusal("cross", None, request.coin)
            return actions.leverage(request, self._assets), Counts()
        if isinstance(request, IsolatedMargin):
            limits.coin(request.coin)
            counts = limits.check_margin(request.usd_micro, now_ms)
            return actions.isolated_margin(request, self._assets), counts
        if isinstance(request, ScheduleCancel):
            ahead_ms = None if request.time_ms is None else request.time_ms - now_ms
            if ahead_ms is not None and not 5_000 <= ahead_ms <= 86_400_000:
                raise Refusal("schedule_cancel", "5000 to 86400000 ms ahead", ahead_ms)
            return actions.schedule_cancel(request), Counts()
        return actions.noop(), limits.check_fence(request.nonce, now_ms)

    def _denied(self, request_id: int | None, refusal: Refusal, peer: Peer) -> bytes:
        now_ms = self._clock.sound_ms()
        denial = {
            "rule": refusal.rule,
            "limit": refusal.limit,
            "value": refusal.value,
            "index": refusal.index,
        }
        if self.locked is not None:
            # Nothing more to find out here, and nothing to fill the disk with.
            return _answer(request_id, "locked", {"reason": self.locked, "remedy": self._remedy})
        if refusal.rule not in {"one_trader", "storage"}:  # of which nobody can be found guilty who asks
            was_reducing = now_ms < self.limits.reducing_until_ms
            self.limits.count_denial(now_ms)
            if not was_reducing and now_ms < self.limits.reducing_until_ms:
                self._keep()
        if refusal.rule == "forbidden" and self._policy.lock_on_forbidden:
            self._lock(f"it was asked for {refusal.value}", peer)
        if self.limits.denials.total(now_ms) > AUDITED_DENIALS_PER_MIN:
            self._suppressed += 1
        else:
            try:
                record = {"kind": "deny", "at_ms": now_ms, "pid": peer.pid, **denial}
                self._write(record if not self._suppressed else {**record, "not_written": self._suppressed})
                self._suppressed = 0
            except Refusal:
                self._suppressed += 1  # the disk is full; the denial stands without its line
        return _answer(request_id, "deny", denial)

    def _write(self, record: dict[str, Any]) -> None:
        try:
            self._audit.append(record)
        except OSError as error:
            raise Refusal("storage", None, error.strerror) from None

    def _recall(self, record: dict[str, Any]) -> None:
        if record.get("kind") != "sign":
            return
        try:
            at_ms = int(record["at_ms"])
            self.limits.count(Counts(**record["counts"]), at_ms)
            orders = tuple(_order(told) for told in record["orders"])
            self.limits.remember(int(record["nonce"]), orders, record["expires_after_ms"], at_ms)
        except (KeyError, TypeError, ValueError):
            raise SignerConfigError(
                f"line {record.get('sequence')} of {self._audit.path} is not of this version"
            ) from None

    def _status(self) -> dict[str, Any]:
        policy, now_ms = self._policy, self._clock.now_ms()
        head = self._audit.head
        state = "locked" if self.locked is not None else "ready"
        if state == "ready" and self._audit.problem is not None:
            state = "storage"
        elif state == "ready" and now_ms < self.limits.reducing_until_ms:
            state = "reducing"
        elif state == "ready" and self.limits.holdings is None:
            state = "positions_unknown"
        return {
            "state": state,
            "reason": self.locked or self._audit.problem,
            "remedy": self._remedy if self.locked is not None else None,
            "network": policy.network,
            "account": policy.account,
            "agent": policy.agent,
            "vault": policy.vault,
            "agent_valid_until_ms": policy.agent_valid_until_ms,
            "assets": self._assets,
            "size_decimals": {name: coin.size_decimals for name, coin in policy.coins.items()},
            "expires_ms": [policy.expires_min_ms, policy.expires_max_ms],
            "reference_max_age_ms": policy.reference_max_age_ms,
            "allow": sorted(policy.allow),
            "tif": sorted(policy.tif),
            "cross": policy.cross,
            "limits": {name: _limits(coin) for name, coin in policy.coins.items()},
            "policy_sha256": policy.sha256,
            "now_ms": now_ms,
            "last_nonce": self._nonces.last,
            "left": self.limits.left(now_ms),
            "audit_head": {"sequence": head.sequence, "hash": head.hash},
        }


def _limits(coin: CoinPolicy) -> dict[str, Any]:
    """What may be done with a coin, as `status` tells it: dollars as text, collars in bps."""
    return {
        "max_order_usd": dollars(coin.max_order_usd_micro),
        "max_position_usd": dollars(coin.max_position_usd_micro),
        "max_leverage": coin.max_leverage,
        "collar_bps": coin.collar_bps,
        "collar_reduce_bps": coin.collar_reduce_bps,
        "collar_trigger_bps": coin.collar_trigger_bps,
    }


def nonce_expiry(request: Request, now_ms: int) -> int | None:
    """Until when the venue may carry an action out; None for all but orders."""
    return now_ms + request.expires_in_ms if isinstance(request, Place) else None


def told(order: Order) -> list[Any]:
    """An order as its line of the audit log tells it."""
    return [
        order.coin,
        order.is_buy,
        plain(order.size_e8),
        plain(order.price_e8),
        order.reduce_only,
        order.cloid,
    ]


def _order(told: list[Any]) -> Order:
    coin, is_buy, size, price, reduce_only, cloid = told
    return Order(
        str(coin),
        bool(is_buy),
        scaled(size) or 0,
        scaled(price) or 0,
        bool(reduce_only),
        str(cloid),
        None,
        None,
    )


def _answer(request_id: int | None, kind: str, what: dict[str, Any]) -> bytes:
    return json.dumps({"id": request_id, kind: what}, separators=(",", ":"), ensure_ascii=True).encode(
        "ascii"
    )
