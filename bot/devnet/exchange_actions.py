"""POST /exchange: whose request it is, whether it may be, and what comes of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

from bot.devnet import orders
from bot.devnet.identity import Identities
from bot.devnet.records import Json
from bot.devnet.signatures import USER_SIGNED, BadSignature, l1_signer, user_signer
from bot.devnet.wire import HEX_WORD, NUMBER, Fields, Malformed, plain
from bot.devnet.world import World
from bot.errors import Refused

Action = Callable[["Exchange", str, Fields], Any]

MASTER_ONLY: Final = frozenset(
    {
        "createSubAccount",
        "subAccountModify",
        "subAccountTransfer",
        "subAccountSpotTransfer",
        "vaultTransfer",
        "setReferrer",
        "registerReferrer",
        "setDisplayName",
        "agentSetAbstraction",
        "agentEnableDexAbstraction",
        "agentSendAsset",
    }
)


class Exchange:
    """The door to the world for signed requests of one network."""

    def __init__(self, world: World, others: Mapping[str, Action], *, mainnet: bool) -> None:
        self.world = world
        self.mainnet = mainnet
        self.identities = Identities()
        self.nonces_used = 0
        self.actions: dict[str, Action] = {**_ORDERS, **others}

    def answer(self, body: Mapping[str, Any]) -> Json:
        """The reply to a request. Raises Malformed if it isn't one."""
        self.world.catch_up()
        envelope = Fields(body)
        action = envelope.inner("action")
        kind, nonce = action.string("type"), envelope.integer("nonce")
        signature = _signature(envelope.inner("signature"))
        vault, expires = envelope.optional_address("vaultAddress"), envelope.optional_integer("expiresAfter")
        if kind not in self.actions:
            raise Malformed
        try:
            if kind in USER_SIGNED:
                user = self._user_signed(action, nonce, signature, expires)
            else:
                user = self._l1(action, nonce, signature, vault, expires)
            data = self.actions[kind](self, user, action)
        except Refused as refusal:
            self.world.pump()
            return {"status": "err", "response": str(refusal)}
        self.world.pump()
        return {"status": "ok", "response": data or {"type": "default"}}

    def _l1(
        self,
        action: Fields,
        nonce: int,
        signature: tuple[int, int, int],
        vault: str | None,
        expires: int | None,
    ) -> str:
        try:
            canonical = _canonical(action.of)
            signer = l1_signer(canonical, signature, nonce, vault, expires, mainnet=self.mainnet)
        except BadSignature:
            raise Refused("Unable to recover signer") from None
        agent = self.identities.agent(signer, self.world.now_ms)
        master = agent.master if agent is not None else signer
        if not self.world.exists(master):
            raise Refused(f"User or API Wallet {signer} does not exist.")
        self._spend(signer, nonce)
        if expires is not None and expires < self.world.now_ms:
            raise Refused("Action already expired")
        user = master
        if vault is not None:
            sub = self.identities.sub_accounts.get(vault)
            if vault != master and (sub is None or sub.master != master):
                raise Refused(f"Vault not registered: {vault}")
            if action.of["type"] in MASTER_ONLY:
                raise Refused("Vault may not perform this action.")
            user = vault
        self.world.records(user).requests += _weight(action)
        return user

    def _user_signed(
        self, action: Fields, nonce: int, signature: tuple[int, int, int], expires: int | None
    ) -> str:
        if expires is not None:
            raise Refused("Action does not support expires_after")
        inner = action.integer("time" if "time" in action.of else "nonce")
        if inner != nonce:
            raise Refused("Nonce mismatch.")
        try:
            signer = user_signer(action.of, signature)
        except BadSignature:
            raise Refused("Unable to recover signer") from None
        if action.string("hyperliquidChain") != ("Mainnet" if self.mainnet else "Testnet"):
            raise Refused("Invalid hyperliquid chain")
        if not self.world.exists(signer):
            raise Refused(f"Must deposit before performing actions. User: {signer}")
        self._spend(signer, nonce)
        return signer

    def _spend(self, signer: str, nonce: int) -> None:
        """Use a nonce up. Clients take theirs from their own clocks, which a fast devnet leaves behind."""
        nonces = self.identities.nonces(signer)
        reason = nonces.refusal(nonce, self.world.wall_ms())
        if reason and nonces.refusal(nonce, self.world.now_ms):
            raise Refused(reason)
        nonces.use(nonce)
        self.nonces_used += 1

    def saved(self) -> dict[str, Any]:
        """Everything that it has to know again after a restart."""
        return {
            name: each for name, each in vars(self).items() if name not in {"world", "actions", "mainnet"}
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Become what `saved` was taken of."""
        vars(self).update(kept)


def _signature(fields: Fields) -> tuple[int, int, int]:
    r, s, v = fields.string("r"), fields.string("s"), fields.integer("v")
    if not HEX_WORD.fullmatch(r) or not HEX_WORD.fullmatch(s) or v not in {0, 1, 27, 28}:
        raise Malformed
    return int(r, 16), int(s, 16), v if v >= 27 else v + 27


_AMOUNTS: Final = ("p", "s", "triggerPx")
_ADDRESSES: Final = ("b", "subAccountUser", "destination", "vaultAddress")


def _canonical(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The action as the venue would write it: it hashes that, so whoever signed `1.0` or `0xAB…` signed another."""
    return value if _is_canonical(value) else _rewrite(copy.deepcopy(dict(value)))


def _is_canonical(value: Any) -> bool:
    if isinstance(value, dict):
        return all(
            (not isinstance(each, str) or _rewritten(key, each) == each) and _is_canonical(each)
            for key, each in value.items()
        )
    return all(_is_canonical(each) for each in value) if isinstance(value, list) else True


def _rewrite(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _rewritten(key, each) if isinstance(each, str) else _rewrite(each)
            for key, each in value.items()
        }
    return [_rewrite(each) for each in value] if isinstance(value, list) else value


def _rewritten(key: str, each: str) -> str:
    if key in _AMOUNTS and NUMBER.fullmatch(each):
        return plain(each)
    return each.lower() if key in _ADDRESSES else each


def _weight(action: Fields) -> int:
    for name in ("orders", "cancels", "modifies"):
        if isinstance(action.of.get(name), list):
            return max(1, len(action.of[name]))
    return 1


def _order(door: Exchange, user: str, action: Fields) -> Any:
    asks = [orders.Ask.of(row) for row in action.items("orders")]
    is_priority = isinstance(action.of.get("grouping"), dict)  # what is bid for speed, which nothing comes of
    grouping = "na" if is_priority else action.string("grouping")
    if grouping not in {"na", "normalTpsl", "positionTpsl"}:
        raise Malformed
    builder = None
    if action.of.get("builder") is not None:
        fields = action.inner("builder")
        builder = (fields.address("b"), fields.integer("f"))
        if builder[1] == 0:
            builder = None
    return _statuses("order", orders.place(door.world, user, asks, grouping, builder))


def _statuses(kind: str, statuses: list[Any]) -> Json:
    return {"type": kind, "data": {"statuses": statuses}}


def _cancel(door: Exchange, user: str, action: Fields) -> Any:
    cancels = [(row.integer("a"), row.integer("o")) for row in action.items("cancels")]
    return _statuses("cancel", [orders.cancel(door.world, user, asset, oid) for asset, oid in cancels])


def _cancel_by_cloid(door: Exchange, user: str, action: Fields) -> Any:
    cancels = [(row.integer("asset"), row.order_id("cloid")) for row in action.items("cancels")]
    return _statuses("cancel", [orders.cancel(door.world, user, asset, cloid) for asset, cloid in cancels])


def _always(action: Fields) -> bool:
    return "a" in action.of and action.boolean("a")


def _modify(door: Exchange, user: str, action: Fields) -> Any:
    ask = orders.Ask.of(action.inner("order"))
    status = orders.modify(door.world, user, action.order_id("oid"), ask, always_place=_always(action))
    if "error" in status:
        raise Refused(status["error"])


def _batch_modify(door: Exchange, user: str, action: Fields) -> Any:
    wanted = [(row.order_id("oid"), orders.Ask.of(row.inner("order"))) for row in action.items("modifies")]
    always = _always(action)
    return _statuses(
        "order", [orders.modify(door.world, user, oid, ask, always_place=always) for oid, ask in wanted]
    )


_ORDERS: Final[dict[str, Action]] = {
    "order": _order,
    "cancel": _cancel,
    "cancelByCloid": _cancel_by_cloid,
    "modify": _modify,
    "batchModify": _batch_modify,
}
