"""The signer of a central exchange's requests: the engine with another grammar, another key, and the same rules and memory."""

from dataclasses import asdict, replace
from typing import Any, Final, cast

from bot.signer import cex_grammar, cex_signing
from bot.signer.audit import AuditLog
from bot.signer.cex_grammar import CexRequest
from bot.signer.cex_policy import CexPolicy
from bot.signer.cex_signing import CexKey
from bot.signer.clock import VenueClock
from bot.signer.engine import Engine, Peer, told
from bot.signer.limits import MINUTE_MS, Counts, Window
from bot.signer.nonces import Nonces
from bot.signer.policy import SignerConfigError
from bot.signer.requests import Order, Refusal
from bot.signer.signing import SigningKey

AUDITED_LOOKS_PER_MIN: Final = 30
"""Of the computer's time. What only looks changes nothing, and a market that runs fast, or somebody at the socket, asks without
end: the log would fill the disk, and take longer to check than a start may."""


class CexEngine(Engine):
    """One request in, one answer out, for one key of one venue. `handle` never raises."""

    def __init__(
        self, policy: CexPolicy, key: CexKey, nonces: Nonces, audit: AuditLog, clock: VenueClock | None = None
    ) -> None:
        """Rebuild budgets from the audit log; SignerConfigError where key and policy do not belong together."""
        if key.venue != policy.venue:
            raise SignerConfigError(f"the key is of {key.venue}, but the policy is for {policy.venue}")
        self._cex, self._secret = policy, key
        self._looks, self._not_written = Window(MINUTE_MS), 0
        # The engine asks its key for name and network; what signs with it is overridden here.
        super().__init__(policy.judged, cast("SigningKey", key), nonces, audit, clock)

    def _read(self, packet: bytes) -> tuple[int | None, Any]:
        return cex_grammar.parse(packet, self._cex)

    def _serve(self, request: Any, peer: Peer) -> dict[str, Any]:
        if not isinstance(request, CexRequest):
            return super()._serve(request, peer)
        self._admit(peer)
        now_ms = self._clock.now_ms()
        counts = self._judged(request, now_ms)
        is_looking = request.kind in {
            "query",
            "stream",
        }  # which changes nothing, so a restart need not know of it
        nonce = self._nonces.last if is_looking else self._nonces.next(now_ms)
        expires_ms = now_ms + self._cex.receive_window_ms
        orders = (request.order,) if request.order else ()
        record = {
            "kind": "look" if is_looking else "sign",
            "at_ms": now_ms,
            "pid": peer.pid,
            "do": request.kind,
            "method": request.method,
            "path": request.path,
            "nonce": nonce,
            "expires_after_ms": expires_ms,
            "counts": asdict(counts),
            "orders": [told(order) for order in orders],
        }
        if is_looking:
            self._write_look(record)
        else:
            self._write(record)
            self.limits.count(counts, now_ms)
            self.limits.remember(nonce, orders, expires_ms, now_ms)
        signed = cex_signing.signed(
            self._secret,
            self._policy.network,
            request.method,
            request.path,
            request.params,
            now_ms,
            self._cex.receive_window_ms,
            by_key_only=request.kind == "stream",
        )
        return {
            "network": self._policy.network,
            "nonce": nonce,
            "timestamp_ms": now_ms,
            "expires_after_ms": expires_ms,
            **signed,
        }

    def _write_look(self, record: dict[str, Any]) -> None:
        """Write down what only looks, or count it for the next line that is written."""
        passed_ms = self._clock.since_boot_ms()
        if self._looks.total(passed_ms) >= AUDITED_LOOKS_PER_MIN:
            self._not_written += 1
            return
        self._write(record if not self._not_written else {**record, "not_written": self._not_written})
        self._looks.add(passed_ms, 1)
        self._not_written = 0

    def _judged(self, request: CexRequest, now_ms: int) -> Counts:
        """What the request uses up, if every rule lets it pass."""
        limits, kind = self.limits, request.kind
        if kind not in self._cex.allow:
            raise Refusal("action", ",".join(sorted(self._cex.allow)), kind)
        if request.is_cross and not self._policy.cross:
            raise Refusal("cross", None, request.symbol)
        # Of a query too: what looks at a symbol's orders at Binance can be sent to where they are cancelled.
        if request.symbol is not None:
            rules = limits.coin(request.symbol)
            if request.leverage is not None and not 1 <= request.leverage <= rules.max_leverage:
                raise Refusal("leverage", rules.max_leverage, request.leverage)
        if request.order is not None:
            counts = self._judged_order(request.order, now_ms)
        elif kind == "cancel":
            return limits.check_cancels(1, now_ms)
        else:
            counts = Counts()
        if kind not in {"query", "stream"} and not counts.reduces:
            limits.check_actions(now_ms)
        return counts

    def _judged_order(self, order: Order, now_ms: int) -> Counts:
        limits = self.limits
        if order.price_e8:
            return limits.check_orders((order,), fresh_cloids=True, now_ms=now_ms)
        if order.reduce_only:
            return limits.check_close(order, now_ms)
        # What a market order will pay at worst is not known: what is told of the market has to stand for it.
        at_market = replace(order, price_e8=limits.reference(order.coin, now_ms, 0))
        return limits.check_orders((at_market,), fresh_cloids=True, now_ms=now_ms)

    def _status(self) -> dict[str, Any]:
        return {
            **super()._status(),
            "venue": self._cex.venue,
            "allow": sorted(self._cex.allow),
            "receive_window_ms": self._cex.receive_window_ms,
        }
