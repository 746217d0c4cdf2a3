"""A signer made of the venue's own library and a throw-away key, for tests only."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action

from bot.venues.hyperliquid.signing import Facts, NotSigned, Order, Signed, Whose

KEY = "0x" + "07" * 32


class SdkSigns:
    """Signs whatever it is asked for, except coins it is told to deny; keeps what it was told."""

    def __init__(
        self,
        assets: Mapping[str, int],
        *,
        network: str = "devnet",
        vault: str | None = None,
        key: str = KEY,
        first_nonce: int = 1_700_000_000_000,
    ) -> None:
        self.wallet = Account.from_key(key)
        self.assets, self.network, self.vault = dict(assets), network, vault
        self.denied: set[str] = set()
        self.facts: list[Facts] = []
        self.nonce = first_nonce
        self.venue_ms = 0

    @property
    def address(self) -> str:
        return str(self.wallet.address).lower()

    def pinned(self) -> Whose:
        return self.whose()

    def whose(self) -> Whose:
        return Whose(self.network, self.address, self.address, self.assets, self.vault)

    def clock(self, venue_ms: int) -> None:
        self.venue_ms = venue_ms

    def tell(self, facts: Facts) -> None:
        self.facts.append(facts)
        self.venue_ms = facts.venue_ms

    def order(self, orders: Sequence[Order], expires_in_ms: int) -> Signed:
        for k, order in enumerate(orders):
            if order.coin in self.denied:
                raise NotSigned("the signer refused by its rule coin", k)
        wire = [self._order(order) for order in orders]
        action = {"type": "order", "orders": wire, "grouping": "na"}
        return self._signed(action, self.venue_ms + expires_in_ms)

    def _order(self, order: Order) -> dict[str, Any]:
        if order.trigger is None:
            kind: dict[str, Any] = {"limit": {"tif": order.tif}}
        else:
            trigger = order.trigger
            kind = {
                "trigger": {"isMarket": trigger.is_market, "triggerPx": trigger.price, "tpsl": trigger.kind}
            }
        return {
            "a": self.assets[order.coin],
            "b": order.side == "buy",
            "p": order.price,
            "s": order.size,
            "r": order.reduce_only,
            "t": kind,
            "c": order.cloid,
        }

    def cancel(self, cancels: Sequence[tuple[str, int]]) -> Signed:
        wire = [{"a": self.assets[coin], "o": oid} for coin, oid in cancels]
        return self._signed({"type": "cancel", "cancels": wire}, None)

    def leverage(self, coin: str, leverage: int, *, is_cross: bool) -> Signed:
        action = {
            "type": "updateLeverage",
            "asset": self.assets[coin],
            "isCross": is_cross,
            "leverage": leverage,
        }
        return self._signed(action, None)

    def fence(self, nonce: int) -> Signed:
        return self._signed({"type": "noop"}, None, nonce)

    def schedule_cancel(self, time_ms: int | None) -> Signed:
        action: dict[str, Any] = {"type": "scheduleCancel"}
        return self._signed(action if time_ms is None else {**action, "time": time_ms}, None)

    def _signed(self, action: dict[str, Any], expires_ms: int | None, nonce: int | None = None) -> Signed:
        if nonce is None:
            self.nonce = nonce = max(self.nonce + 1, self.venue_ms)
        signature = sign_l1_action(self.wallet, action, self.vault, nonce, expires_ms, False)
        body = {
            "action": action,
            "nonce": nonce,
            "signature": signature,
            "vaultAddress": self.vault,
            "expiresAfter": expires_ms,
        }
        return Signed(nonce, expires_ms, json.dumps(body).encode())
