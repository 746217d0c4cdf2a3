"""What a request may look like: bytes in, a typed request out, or the refusal that says what is wrong.

Everything is checked here once, so that nothing behind it sees a key it does not know or a number that is not a
plain one.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from bot.signer.requests import (
    CLOID,
    COIN,
    Cancel,
    Clock,
    Fence,
    Holding,
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
    Trigger,
    scaled,
)

MAX_REQUEST_BYTES: Final = 16 * 1024
MAX_BATCH: Final = 32
MAX_INTEGER: Final = 1 << 53

GROUPINGS: Final = frozenset({"na", "normalTpsl", "positionTpsl"})
TIFS: Final = frozenset({"Alo", "Gtc", "Ioc"})

# The venue's actions that move money, power or fees, and a signer's usual back doors. Asking for one of them is not a
# slip of the pen: the signer locks itself. Compared without case and punctuation.
FORBIDDEN: Final = frozenset(
    word
    for word in [
        "withdraw",
        "withdraw3",
        "usdsend",
        "spotsend",
        "sendasset",
        "agentsendasset",
        "sendtoevmwithdata",
        "usdclasstransfer",
        "transfer",
        "subaccounttransfer",
        "subaccountspottransfer",
        "vaulttransfer",
        "vaultdistribute",
        "approveagent",
        "approvebuilderfee",
        "tokendelegate",
        "cdeposit",
        "cwithdraw",
        "converttomultisiguser",
        "multisig",
        "reserverequestweight",
        "setreferrer",
        "spotdeploy",
        "perpdeploy",
        "spotuser",
        "twaporder",
        "agentsetabstraction",
        "usersetabstraction",
        "userdexabstraction",
        "agentenabledexabstraction",
        "createsubaccount",
        "subaccountmodify",
        "createvault",
        "vaultmodify",
        "evmusermodify",
        "gossipprioritybid",
        "claimrewards",
        "registerreferrer",
        "stake",
        "unstake",
        "sign",
        "signhash",
        "signmessage",
        "signtypeddata",
        "personalsign",
        "ethsign",
        "eip712",
        "sendtransaction",
        "exportkey",
    ]
)


def parse(packet: bytes) -> tuple[int | None, Request]:
    """The request's id and the request. Raises Refusal; its `request_id` is the id where one could be read."""
    request_id: int | None = None
    try:
        if len(packet) > MAX_REQUEST_BYTES:
            raise Refusal("grammar", MAX_REQUEST_BYTES, "the packet is too long")
        found = loaded(packet)
        request_id = integer(_take(found, "id"), "id", 0)
        return request_id, _request(found)
    except Refusal as refusal:
        refusal.request_id = request_id
        raise


def loaded(packet: bytes) -> dict[str, Any]:
    """A packet's JSON object. Raises Refusal."""
    try:
        found = json.loads(
            packet.decode("ascii"), object_pairs_hook=_unique, parse_float=_refused, parse_constant=_refused
        )
    except (ValueError, RecursionError):
        raise Refusal("grammar", None, "the packet is not the JSON of this protocol") from None
    return _object(found, "the request")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refused(_: str) -> Any:
    raise ValueError


def _request(found: dict[str, Any]) -> Request:
    do = _take(found, "do")
    if type(do) is not str:
        raise Refusal("grammar", None, "do is not text")
    build = REQUESTS.get(do)
    if build is None:
        bare = re.sub(r"[^a-z0-9]", "", do.lower())
        name = do[:40] if do.isascii() and do.isprintable() else None
        raise Refusal("forbidden" if bare in FORBIDDEN else "unknown_request", None, name)
    request = build(do, found)
    if found:
        raise Refusal("grammar", None, "there is a key too many")
    return request


def _take(found: dict[str, Any], key: str) -> Any:
    if key not in found:
        raise Refusal("grammar", None, f"{key} is missing")
    return found.pop(key)


def _object(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise Refusal("grammar", None, f"{what} is not an object")
    return value


def integer(value: Any, what: str, low: int, high: int = MAX_INTEGER) -> int:
    """A whole number within its range. Raises Refusal."""
    if type(value) is not int or not low <= value <= high:
        raise Refusal("grammar", None, f"{what} is not an integer of its range")
    return value


def _flag(value: Any, what: str) -> bool:
    if type(value) is not bool:
        raise Refusal("grammar", None, f"{what} is not true or false")
    return value


def _text(value: Any, what: str, form: re.Pattern[str]) -> str:
    if type(value) is not str or form.fullmatch(value) is None:
        raise Refusal("grammar", None, f"{what} is not of its form")
    return value


def _decimal(value: Any, what: str) -> int:
    number = scaled(value) if type(value) is str else None
    if number is None:
        raise Refusal("grammar", None, f"{what} is not a plain decimal")
    return number


def _choice(value: Any, what: str, choices: frozenset[str]) -> str:
    if type(value) is not str or value not in choices:
        raise Refusal("grammar", None, f"{what} is none of {', '.join(sorted(choices))}")
    return value


def _batch(value: Any, what: str) -> list[Any]:
    if type(value) is not list or not 1 <= len(value) <= MAX_BATCH:
        raise Refusal("grammar", None, f"{what} is not a list of 1 to {MAX_BATCH}")
    return value


def _done(found: dict[str, Any], what: str) -> None:
    if found:
        raise Refusal("grammar", None, f"{what} has a key too many")


def _order(value: Any, grouping: str) -> Order:
    found = _object(value, "an order")
    tif, condition = _take(found, "tif"), _take(found, "trigger")
    if (tif is None) == (condition is None):
        raise Refusal("grammar", None, "an order has either tif or trigger")
    order = Order(
        coin=_text(_take(found, "coin"), "coin", COIN),
        is_buy=_choice(_take(found, "side"), "side", frozenset({"buy", "sell"})) == "buy",
        size_e8=_decimal(_take(found, "size"), "size"),
        price_e8=_decimal(_take(found, "price"), "price"),
        reduce_only=_flag(_take(found, "reduce_only"), "reduce_only"),
        cloid=_text(_take(found, "cloid"), "cloid", CLOID),
        tif=None if tif is None else _choice(tif, "tif", TIFS),
        trigger=None if condition is None else _trigger(condition),
    )
    _done(found, "an order")
    if order.price_e8 == 0:
        raise Refusal("grammar", None, "price is 0")
    whole = grouping == "positionTpsl" and order.trigger is not None and order.reduce_only
    if order.size_e8 == 0 and not whole:
        raise Refusal("grammar", None, "size is 0")
    return order


def _trigger(value: Any) -> Trigger:
    found = _object(value, "trigger")
    trigger = Trigger(
        kind=_choice(_take(found, "kind"), "kind", frozenset({"tp", "sl"})),
        price_e8=_decimal(_take(found, "price"), "the trigger's price"),
        is_market=_flag(_take(found, "is_market"), "is_market"),
    )
    _done(found, "trigger")
    if trigger.price_e8 == 0:
        raise Refusal("grammar", None, "the trigger's price is 0")
    return trigger


def _place(do: str, found: dict[str, Any]) -> Place:
    grouping = _choice(_take(found, "grouping"), "grouping", GROUPINGS)
    orders = tuple(_order(each, grouping) for each in _batch(_take(found, "orders"), "orders"))
    return Place(do, orders, grouping, integer(_take(found, "expires_in_ms"), "expires_in_ms", 1))


def _modify(do: str, found: dict[str, Any]) -> Place:
    orders, replaces = [], []
    for each in _batch(_take(found, "modifies"), "modifies"):
        one = _object(each, "a modification")
        oid = _take(one, "oid")
        replaces.append(_text(oid, "oid", CLOID) if type(oid) is str else integer(oid, "oid", 0))
        orders.append(_order(_take(one, "order"), "na"))
        _done(one, "a modification")
    expires_in_ms = integer(_take(found, "expires_in_ms"), "expires_in_ms", 1)
    always = _flag(_take(found, "always"), "always")
    return Place(do, tuple(orders), "na", expires_in_ms, tuple(replaces), always)


def _cancel(do: str, found: dict[str, Any]) -> Cancel:
    cancels: list[tuple[str, int | str]] = []
    for each in _batch(_take(found, "cancels"), "cancels"):
        one = _object(each, "a cancel")
        coin = _text(_take(one, "coin"), "coin", COIN)
        if do == "cancel":
            cancels.append((coin, integer(_take(one, "oid"), "oid", 0)))
        else:
            cancels.append((coin, _text(_take(one, "cloid"), "cloid", CLOID)))
        _done(one, "a cancel")
    return Cancel(do, tuple(cancels), _flag(_take(found, "fast"), "fast"))


def _leverage(do: str, found: dict[str, Any]) -> Leverage:
    coin = _text(_take(found, "coin"), "coin", COIN)
    leverage = integer(_take(found, "leverage"), "leverage", 1, 1000)
    return Leverage(do, coin, leverage, _flag(_take(found, "is_cross"), "is_cross"))


def _isolated_margin(do: str, found: dict[str, Any]) -> IsolatedMargin:
    coin = _text(_take(found, "coin"), "coin", COIN)
    amount = integer(_take(found, "usd_micro"), "usd_micro", -MAX_INTEGER)
    if amount == 0:
        raise Refusal("grammar", None, "usd_micro is 0")
    return IsolatedMargin(do, coin, amount)


def _schedule_cancel(do: str, found: dict[str, Any]) -> ScheduleCancel:
    time_ms = _take(found, "time_ms")
    return ScheduleCancel(do, None if time_ms is None else integer(time_ms, "time_ms", 1))


def _fence(do: str, found: dict[str, Any]) -> Fence:
    return Fence(do, integer(_take(found, "nonce"), "nonce", 1))


def _prices(do: str, found: dict[str, Any]) -> Prices:
    told = _object(_take(found, "prices"), "prices")
    prices = {_text(coin, "coin", COIN): _decimal(price, "price") for coin, price in told.items()}
    if not prices or 0 in prices.values():
        raise Refusal("grammar", None, "prices are none, or one is 0")
    return Prices(do, prices, integer(_take(found, "at_ms"), "at_ms", 0))


def _positions(do: str, found: dict[str, Any]) -> Positions:
    holdings: dict[str, Holding] = {}
    for coin, told in _object(_take(found, "positions"), "positions").items():
        one = _object(told, "a position")
        size = _take(one, "size")
        negative = type(size) is str and size.startswith("-")
        size_e8 = _decimal(size[1:] if negative else size, "size")
        holdings[_text(coin, "coin", COIN)] = Holding(
            -size_e8 if negative else size_e8,
            _decimal(_take(one, "buys"), "buys"),
            _decimal(_take(one, "sells"), "sells"),
        )
        _done(one, "a position")
    return Positions(
        do,
        holdings,
        integer(_take(found, "open_orders"), "open_orders", 0),
        integer(_take(found, "through_nonce"), "through_nonce", 0),
        integer(_take(found, "at_ms"), "at_ms", 0),
    )


def _clock(do: str, found: dict[str, Any]) -> Clock:
    return Clock(do, integer(_take(found, "venue_ms"), "venue_ms", 0))


def _plain(do: str, _: dict[str, Any]) -> Plain:
    return Plain(do)


REQUESTS: Final[dict[str, Callable[[str, dict[str, Any]], Request]]] = {
    "order": _place,
    "modify": _modify,
    "cancel": _cancel,
    "cancel_by_cloid": _cancel,
    "leverage": _leverage,
    "isolated_margin": _isolated_margin,
    "schedule_cancel": _schedule_cancel,
    "fence": _fence,
    "prices": _prices,
    "positions": _positions,
    "clock": _clock,
    "status": _plain,
    "lock": _plain,
}
