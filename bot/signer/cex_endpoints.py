"""What can be asked of each central exchange: method and path → a kind, and the keys and values it may have.

What is not in these tables is not signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One request's kind, the keys it must and may have, and the values of those that have few."""

    kind: str
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)


def _endpoint(kind: str, must: str = "", may: str = "", **only: str) -> Endpoint:
    few = {key: frozenset(values.split()) for key, values in only.items()}
    return Endpoint(kind, frozenset(must.split()), frozenset(may.split()), few)


def _queries(paths: str, may: str, **only: str) -> dict[tuple[str, str], Endpoint]:
    return {("GET", path): _endpoint("query", "", may, **only) for path in paths.split()}


FLAG: Final = "true false"

BINANCE: Final[dict[tuple[str, str], Endpoint]] = {
    ("POST", "/fapi/v1/order"): _endpoint(
        "order",
        "symbol side type quantity newClientOrderId",
        "price timeInForce reduceOnly stopPrice workingType positionSide newOrderRespType",
        side="BUY SELL",
        type="LIMIT MARKET STOP_MARKET TAKE_PROFIT_MARKET",
        timeInForce="GTC IOC GTX",
        reduceOnly=FLAG,
        workingType="MARK_PRICE CONTRACT_PRICE",
        positionSide="BOTH",
        newOrderRespType="ACK RESULT",
    ),
    ("POST", "/fapi/v1/algoOrder"): _endpoint(
        "order",
        "algoType symbol side type quantity triggerPrice reduceOnly clientAlgoId",
        "workingType positionSide newOrderRespType",
        algoType="CONDITIONAL",
        side="BUY SELL",
        type="STOP_MARKET TAKE_PROFIT_MARKET",
        reduceOnly="true",
        workingType="MARK_PRICE CONTRACT_PRICE",
        positionSide="BOTH",
        newOrderRespType="ACK RESULT",
    ),
    ("DELETE", "/fapi/v1/order"): _endpoint("cancel", "symbol", "orderId origClientOrderId"),
    ("DELETE", "/fapi/v1/algoOrder"): _endpoint("cancel", "symbol", "algoId clientAlgoId"),
    ("DELETE", "/fapi/v1/allOpenOrders"): _endpoint("cancel", "symbol"),
    ("POST", "/fapi/v1/countdownCancelAll"): _endpoint("dead_man", "symbol countdownTime"),
    ("POST", "/fapi/v1/leverage"): _endpoint("leverage", "symbol leverage"),
    ("POST", "/fapi/v1/marginType"): _endpoint(
        "margin_mode", "symbol marginType", marginType="ISOLATED CROSSED"
    ),
    ("POST", "/fapi/v1/positionSide/dual"): _endpoint(
        "position_mode", "dualSidePosition", dualSidePosition="false"
    ),
    **{(method, "/fapi/v1/listenKey"): _endpoint("stream", "", "listenKey") for method in ("POST", "PUT")},
    ("DELETE", "/fapi/v1/listenKey"): _endpoint("stream", "", "listenKey"),
    **_queries(
        "/fapi/v1/order /fapi/v1/openOrder /fapi/v1/openOrders /fapi/v1/allOrders /fapi/v1/userTrades /fapi/v1/income"
        " /fapi/v1/leverageBracket /fapi/v1/commissionRate /fapi/v1/positionSide/dual /fapi/v1/multiAssetsMargin"
        " /fapi/v1/accountConfig /fapi/v1/symbolConfig /fapi/v2/account /fapi/v2/balance /fapi/v2/positionRisk"
        " /fapi/v3/account /fapi/v3/balance /fapi/v3/positionRisk",
        "symbol orderId origClientOrderId startTime endTime limit fromId incomeType page",
    ),
    **_queries(
        "/fapi/v1/algoOrder /fapi/v1/openAlgoOrders /fapi/v1/allAlgoOrders",
        "symbol algoId clientAlgoId algoType startTime endTime limit page",
    ),
}

BYBIT: Final[dict[tuple[str, str], Endpoint]] = {
    ("POST", "/v5/order/create"): _endpoint(
        "order",
        "category symbol side orderType qty orderLinkId",
        "price timeInForce reduceOnly positionIdx triggerPrice triggerDirection triggerBy",
        category="linear",
        side="Buy Sell",
        orderType="Limit Market",
        timeInForce="GTC IOC PostOnly",
        reduceOnly=FLAG,
        positionIdx="0",
        triggerDirection="1 2",
        triggerBy="LastPrice IndexPrice MarkPrice",
    ),
    ("POST", "/v5/order/cancel"): _endpoint(
        "cancel", "category symbol", "orderId orderLinkId", category="linear"
    ),
    ("POST", "/v5/order/cancel-all"): _endpoint("cancel", "category symbol", category="linear"),
    ("POST", "/v5/position/set-leverage"): _endpoint(
        "leverage", "category symbol buyLeverage sellLeverage", category="linear"
    ),
    ("POST", "/v5/account/set-margin-mode"): _endpoint(
        "margin_mode", "setMarginMode", setMarginMode="ISOLATED_MARGIN REGULAR_MARGIN"
    ),
    ("POST", "/v5/position/switch-mode"): _endpoint(
        "position_mode", "category mode", "symbol coin", category="linear", mode="0", coin="USDT USDC"
    ),
    **_queries(
        "/v5/order/realtime /v5/order/history /v5/execution/list /v5/position/list /v5/account/wallet-balance"
        " /v5/account/info /v5/account/transaction-log /v5/account/fee-rate /v5/user/query-api",
        "category symbol settleCoin baseCoin orderId orderLinkId openOnly startTime endTime limit cursor"
        " accountType coin currency type execType",
    ),
}

OKX: Final[dict[tuple[str, str], Endpoint]] = {
    ("POST", "/api/v5/trade/order"): _endpoint(
        "order",
        "instId tdMode side ordType sz clOrdId",
        "px reduceOnly posSide",
        tdMode="cross isolated",
        side="buy sell",
        ordType="limit market post_only ioc",
        reduceOnly=FLAG,
        posSide="net",
    ),
    ("POST", "/api/v5/trade/cancel-order"): _endpoint("cancel", "instId", "ordId clOrdId"),
    ("POST", "/api/v5/trade/cancel-all-after"): _endpoint("dead_man", "timeOut"),
    ("POST", "/api/v5/account/set-leverage"): _endpoint(
        "leverage", "instId lever mgnMode", "posSide", mgnMode="cross isolated", posSide="net"
    ),
    ("POST", "/api/v5/account/set-position-mode"): _endpoint("position_mode", "posMode", posMode="net_mode"),
    **_queries(
        "/api/v5/trade/order /api/v5/trade/orders-pending /api/v5/trade/orders-history /api/v5/trade/fills"
        " /api/v5/trade/fills-history /api/v5/account/balance /api/v5/account/positions /api/v5/account/bills"
        " /api/v5/account/config /api/v5/account/leverage-info /api/v5/account/trade-fee",
        "instType instId instFamily ordId clOrdId state after before begin end limit ccy mgnMode type subType",
    ),
}

ENDPOINTS: Final = {"binance": BINANCE, "bybit": BYBIT, "okx": OKX}

FORBIDDEN: Final = (
    "withdraw",
    "transfer",
    "subaccount",
    "submember",
    "subapi",
    "apikey",
    "updateapi",
    "createapi",
    "deleteapi",
    "capital",
    "v5asset",
    "sapi",
    "finance",
    "earn",
    "loan",
    "convert",
)
"""What moves money or power, in a path without its punctuation. Asking for it is no slip of the pen: the signer locks."""
