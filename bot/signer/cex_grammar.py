"""A central exchange's request as bytes → a typed one, or the refusal that says what is wrong."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.signer import grammar
from bot.signer.cex_endpoints import ENDPOINTS, FORBIDDEN, Endpoint
from bot.signer.cex_policy import CexPolicy
from bot.signer.requests import E8, Clock, Order, Plain, Positions, Prices, Refusal, Trigger, scaled

METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE"})
PATH: Final = re.compile(r"(/[A-Za-z0-9_-]{1,40}){1,8}")
KEY: Final = re.compile(r"[A-Za-z]{1,32}")
VALUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""No character that a URL or JSON would write otherwise."""
CLIENT_NAMES: Final = ("newClientOrderId", "clientAlgoId", "orderLinkId")
WHOLE: Final = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.0+)?")
NAMES: Final = {
    "binance": re.compile(r"[A-Za-z0-9_-]{1,36}"),
    "bybit": re.compile(r"[A-Za-z0-9_-]{1,36}"),
    "okx": re.compile(r"[A-Za-z0-9]{1,32}"),
}
"""Venue → the form of an order's own name there."""
TIFS: Final = {"GTC": "Gtc", "IOC": "Ioc", "GTX": "Alo", "PostOnly": "Alo"}
OKX_TIFS: Final = {"limit": "Gtc", "ioc": "Ioc", "post_only": "Alo"}


@dataclass(frozen=True, slots=True)
class CexRequest:
    """What is to be signed. `order` has its size in coins; its price is 0 where it is a market order.

    `leverage` is the number that is to be set, `is_cross` whether the account's money is to stand for it.
    """

    kind: str
    method: str
    path: str
    params: Mapping[str, str]
    symbol: str | None
    order: Order | None = None
    leverage: int | None = None
    is_cross: bool = False


def parse(
    packet: bytes, policy: CexPolicy
) -> tuple[int | None, CexRequest | Prices | Positions | Clock | Plain]:
    """The request's id and the request. Raises Refusal; its `request_id` is the id where one could be read."""
    request_id: int | None = None
    try:
        if len(packet) > grammar.MAX_REQUEST_BYTES:
            raise Refusal("grammar", grammar.MAX_REQUEST_BYTES, "the packet is too long")
        found = grammar.loaded(packet)
        if found.get("do") != "cex":
            request_id, request = grammar.parse(packet)
            if not isinstance(request, Prices | Positions | Clock | Plain):
                raise Refusal("unknown_request", None, request.do)
            return request_id, request
        request_id = grammar.integer(found.get("id"), "id", 0)
        if found.keys() != {"id", "do", "method", "path", "params"}:
            raise Refusal("grammar", None, "its keys are not id, do, method, path and params")
        return request_id, _request(found["method"], found["path"], found["params"], policy)
    except Refusal as refusal:
        if refusal.request_id is None:
            refusal.request_id = request_id
        raise


def _request(method: Any, path: Any, params: Any, policy: CexPolicy) -> CexRequest:
    if type(method) is not str or method not in METHODS:
        raise Refusal("grammar", None, "method is none of GET, POST, PUT and DELETE")
    if type(path) is not str or PATH.fullmatch(path) is None:
        raise Refusal("grammar", None, "path is not of its form")
    endpoint = ENDPOINTS[policy.venue].get((method, path))
    if endpoint is None:
        bare = re.sub(r"[^a-z0-9]", "", path.lower())
        is_forbidden = any(word in bare for word in FORBIDDEN)
        raise Refusal("forbidden" if is_forbidden else "endpoint", None, f"{method} {path}"[:80])
    if type(params) is not dict:
        raise Refusal("grammar", None, "params is not an object")
    _check_keys(endpoint, params)
    symbol = params.get("symbol", params.get("instId"))
    request = CexRequest(endpoint.kind, method, path, dict(params), symbol)
    if endpoint.kind == "order":
        order = _okx_order(params) if policy.venue == "okx" else _order(params, policy.venue)
        return _with_order(request, order, policy)
    if endpoint.kind == "leverage":
        return _leverage(request)
    if endpoint.kind == "margin_mode":
        is_cross = params.get("marginType") == "CROSSED" or params.get("setMarginMode") == "REGULAR_MARGIN"
        return CexRequest(endpoint.kind, method, path, dict(params), symbol, is_cross=is_cross)
    if endpoint.kind == "dead_man":
        time = params.get("countdownTime") or params["timeOut"]
        if WHOLE.fullmatch(time) is None:
            raise Refusal("grammar", None, "a time is not a whole number")
    return request


def _check_keys(endpoint: Endpoint, params: dict[str, Any]) -> None:
    for key, value in params.items():
        if KEY.fullmatch(key) is None or type(value) is not str or VALUE.fullmatch(value) is None:
            raise Refusal("grammar", None, "a parameter is not a plain word or number")
        if key not in endpoint.must and key not in endpoint.may:
            raise Refusal("parameter", None, key)
        if key in endpoint.only and value not in endpoint.only[key]:
            raise Refusal("parameter", ",".join(sorted(endpoint.only[key])), f"{key}={value}"[:80])
    for key in endpoint.must:
        if key not in params:
            raise Refusal("grammar", None, f"{key} is missing")


def _number(text: str | None, what: str) -> int:
    number = scaled(text) if text is not None else None
    if not number:
        raise Refusal("grammar", None, f"{what} is not a plain number above 0")
    return number


def _order(params: Mapping[str, str], venue: str) -> Order:
    """Binance's and Bybit's; sizes as they are told."""
    binance = venue == "binance"
    kind = params["type" if binance else "orderType"].upper()
    is_buy, reduce_only = params["side"].upper() == "BUY", params.get("reduceOnly") == "true"
    fires = params.get(
        "stopPrice", params.get("triggerPrice")
    )  # Binance has both, each for a path of its own
    tif = params.get("timeInForce")
    trigger = None
    if binance and (fires is not None) != kind.endswith("_MARKET"):
        raise Refusal("grammar", None, "stopPrice does not fit the type")
    if not binance and (fires is not None) != ("triggerDirection" in params):
        raise Refusal("grammar", None, "triggerPrice and triggerDirection go together")
    if fires is not None:
        if kind == "LIMIT" or not reduce_only:
            raise Refusal("opening_triggers", "reduce-only at the market", None)
        stop = kind == "STOP_MARKET" if binance else (params["triggerDirection"] == "1") == is_buy
        trigger = Trigger("sl" if stop else "tp", _number(fires, "the trigger's price"), is_market=True)
    if kind == "LIMIT":
        price_e8 = _number(params.get("price"), "price")
        if tif is None:
            raise Refusal("grammar", None, "timeInForce is missing")
    else:
        price_e8 = trigger.price_e8 if trigger else 0
        if "price" in params or tif not in {None, "IOC"}:
            raise Refusal("grammar", None, "a market order has a price or rests")
    return Order(
        coin=params["symbol"],
        is_buy=is_buy,
        size_e8=_number(params["quantity" if binance else "qty"], "the size"),
        price_e8=price_e8,
        reduce_only=reduce_only,
        cloid=next(params[key] for key in CLIENT_NAMES if key in params),
        tif=None if kind != "LIMIT" else TIFS[str(tif)],
        trigger=trigger,
    )


def _okx_order(params: Mapping[str, str]) -> Order:
    kind = params["ordType"]
    if (kind == "market") == ("px" in params):
        raise Refusal("grammar", None, "px does not fit the ordType")
    return Order(
        coin=params["instId"],
        is_buy=params["side"] == "buy",
        size_e8=_number(params["sz"], "the size"),
        price_e8=0 if kind == "market" else _number(params["px"], "px"),
        reduce_only=params.get("reduceOnly") == "true",
        cloid=params["clOrdId"],
        tif=OKX_TIFS.get(kind),
        trigger=None,
    )


def _with_order(request: CexRequest, told: Order, policy: CexPolicy) -> CexRequest:
    """The request with its order's size in coins."""
    if NAMES[policy.venue].fullmatch(told.cloid) is None:
        raise Refusal("grammar", None, "the order's name is not of its form")
    contract_e8 = policy.contracts_e8.get(told.coin)
    if contract_e8 is None:
        raise Refusal("coin", None, told.coin, 0)
    size_e8, rest = divmod(told.size_e8 * contract_e8, E8)
    if rest:
        raise Refusal("size_decimals", 8, None, 0)
    order = Order(
        told.coin,
        told.is_buy,
        size_e8,
        told.price_e8,
        told.reduce_only,
        told.cloid,
        told.tif,
        told.trigger,
    )
    is_cross = request.params.get("tdMode") == "cross"
    return CexRequest(
        request.kind, request.method, request.path, request.params, told.coin, order, is_cross=is_cross
    )


def _leverage(request: CexRequest) -> CexRequest:
    params = request.params
    told = {params[key] for key in ("leverage", "lever", "buyLeverage", "sellLeverage") if key in params}
    match = WHOLE.fullmatch(told.pop())
    if told or match is None:
        raise Refusal("grammar", None, "the leverage is not one whole number")
    is_cross = params.get("mgnMode") == "cross"
    return CexRequest(
        request.kind,
        request.method,
        request.path,
        params,
        request.symbol,
        leverage=int(match[1]),
        is_cross=is_cross,
    )
