"""What differs between the exchanges, as one table; everything else of the adapter is the same for all of them.

The client library makes one form of their replies. What it leaves to each exchange's own words is here: how to come to
the place where one may practise, which parameters say what an order is, which code means what, who pays funding when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.errors import ConfigError
from bot.model.order import Purpose

Reply = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Differences:
    """One exchange's. Codes are its own, as text; `services` maps a place to practise to the library's way there.

    `private` gives the path of a signed request from the library's name of its API and of the endpoint. `by_client_id`
    names the parameter that finds an order by the id that we gave it, `new_client_id` the one that gives it.
    `kept_codes` are refusals of a setting that is so already.
    """

    ccxt_class: str
    services: Mapping[str, str]
    private: Callable[[str, str], str | None]
    new_client_id: str
    by_client_id: str
    rests: Reply
    ioc: Reply
    post_only: Reply
    reduce_only: Reply
    always: Reply  # parameters of every order
    trigger: Reply  # of a stop, beside its price and direction
    options: Reply
    code: Callable[[Any], str]
    stale_codes: frozenset[str]  # the timestamp was refused: nothing happened
    account: tuple[
        str, Callable[[Any], Any]
    ]  # the library's method whose reply says whose account it is, and where
    wallet: Callable[[Reply, str], Any]  # money without unrealised profit, of one currency
    ledger_kind: Callable[[Reply], str]  # the venue's word for what was booked
    funding_kinds: frozenset[str]
    fee_kinds: frozenset[str]  # counted with the fills
    transfer_kinds: frozenset[str]
    lost_kinds: frozenset[str]  # went to a liquidator
    orders_since: tuple[str, ...]  # the library's methods that together list every order since a time
    can_withdraw: Callable[[Reply], bool | None] | None = None  # of the reply to `permissions`
    permissions: str = ""  # the library's method that tells what the key may do; none: nothing can be asked
    kept_codes: frozenset[str] = frozenset()
    forced: Mapping[str, Purpose] = field(
        default_factory=dict
    )  # by how the venue begins the names of its own orders
    forced_trade: Callable[[Reply], Purpose | None] = lambda _: (
        None
    )  # the same, of the venue's own row of a trade
    trades_apart: tuple[Reply, ...] = ()  # parameters that ask for trades which are not told with the others
    tiers_in_contracts: bool = False  # else in dollars
    many_assets: str | None = None  # the library's method that tells whether other money backs positions too
    triggers_apart: bool = False  # orders that wait for a price have ids, lists and questions of their own
    tiers_of_all: bool = True  # margin tiers of all contracts in one reply
    margin_mode_of: str = "market"  # what has a margin mode of its own: "market", "account" or "order"
    interval_source: str = ""  # "fundingInfo" or "rate"
    bars_per_reply: int = 1000
    rates_per_reply: int = 200
    interest_per_reply: int = 0  # hours of open interest; 0: the venue tells no history of one contract's
    settled_rate: str = "fundingRate"  # the venue's word, in its history, for what was paid
    trades_per_reply: int = 100
    lines_per_reply: int = 50
    ledger_period: Callable[[int, int], Reply] = lambda _, end_ms: {"until": end_ms}
    urls: Mapping[str, str] = field(
        default_factory=dict
    )  # by the library's name of a public API that its list of the service's lacks
    quotes: str = "fetch_tickers"  # the library's method that tells best bid and ask of many
    marks: str = ""  # another method for marks, where funding rates don't tell them


def _binance_private(api: str, path: str) -> str | None:
    versions = {"fapiPrivate": "v1", "fapiPrivateV2": "v2", "fapiPrivateV3": "v3"}
    return f"/fapi/{versions[api]}/{path}" if api in versions else None


def _bybit_private(api: str, path: str) -> str | None:
    return f"/{path}" if api == "private" and path.startswith("v5/") else None


def _okx_private(api: str, path: str) -> str | None:
    return f"/api/v5/{path}" if api == "private" else None


def _binance_wallet(balance: Reply, settle: str) -> Any:
    return next(
        (each["walletBalance"] for each in balance["info"]["assets"] if each["asset"] == settle), None
    )


def _bybit_wallet(balance: Reply, settle: str) -> Any:
    coins = [coin for account in balance["info"]["result"]["list"] for coin in account["coin"]]
    return next((each["walletBalance"] for each in coins if each["coin"] == settle), None)


def _okx_wallet(balance: Reply, settle: str) -> Any:
    details = [each for account in balance["info"]["data"] for each in account["details"]]
    return next((each["cashBal"] for each in details if each["ccy"] == settle), None)


def _okx_code(reply: Any) -> str:
    """That of the order in it, where there is one: the outer code only says that something failed."""
    if not isinstance(reply, dict):
        return ""
    rows = reply.get("data")
    inner = rows[0].get("sCode") if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None
    return str(inner or reply.get("code", ""))


def said_in(reply: Any) -> str:
    """The sentence of a refusal; empty where there is none. It never repeats what was asked."""
    if not isinstance(reply, dict):
        return ""
    rows = reply.get("data")
    inner = rows[0].get("sMsg") if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None
    said = str(inner or reply.get("msg") or reply.get("retMsg") or "")
    return said.partition("origin_string")[0]  # Bybit's word for the key and the payload, which it repeats


def _plain_code(key: str) -> Callable[[Any], str]:
    return lambda reply: str(reply.get(key, "")) if isinstance(reply, dict) else ""


_BYBIT_FORCED: Final = {
    "BustTrade": Purpose.LIQUIDATION,
    "AdlTrade": Purpose.LIQUIDATION,
    "Settle": Purpose.SETTLEMENT,  # a contract that is taken off the list
    "Delivery": Purpose.SETTLEMENT,
}
# https://www.okx.com/docs-v5/en/ names them for `subType`: by part, whole, to cover another's loss; at delivery.
_OKX_LIQUIDATION: Final = frozenset(map(str, (*range(100, 108), *range(125, 129))))
_OKX_DELIVERY: Final = frozenset({"112", "113"})


def _bybit_forced(row: Reply) -> Purpose | None:
    return _BYBIT_FORCED.get(str(row.get("execType")))


def _okx_forced(row: Reply) -> Purpose | None:
    kind = str(row.get("subType"))
    if kind in _OKX_LIQUIDATION:
        return Purpose.LIQUIDATION
    return Purpose.SETTLEMENT if kind in _OKX_DELIVERY else None


def _bybit_withdraws(reply: Reply) -> bool | None:
    granted = reply["result"]["permissions"]
    return bool(granted.get("Wallet")) and "Withdraw" in granted["Wallet"]


def _okx_withdraws(reply: Reply) -> bool | None:
    return "withdraw" in str(reply["data"][0]["perm"])


TABLE: Final[Mapping[str, Differences]] = {
    "binance": Differences(
        ccxt_class="binanceusdm",
        services={"demo": "enable_demo_trading"},  # signed requests to the old test network are refused
        private=_binance_private,
        new_client_id="newClientOrderId",
        by_client_id="origClientOrderId",
        rests={"timeInForce": "GTC"},
        ioc={"timeInForce": "IOC"},
        post_only={"timeInForce": "GTX"},
        reduce_only={"reduceOnly": "true"},
        always={},
        trigger={"workingType": "MARK_PRICE"},
        options={"warnOnFetchOpenOrdersWithoutSymbol": False},
        urls={"fapiData": "https://demo-fapi.binance.com/futures/data"},
        code=_plain_code("code"),
        stale_codes=frozenset({"-1021", "-5028"}),
        account=("fapiPrivateV3GetBalance", lambda reply: reply[0]["accountAlias"]),
        wallet=_binance_wallet,
        ledger_kind=lambda row: str(row.get("incomeType")),
        funding_kinds=frozenset({"FUNDING_FEE"}),
        fee_kinds=frozenset({"COMMISSION", "REALIZED_PNL"}),
        transfer_kinds=frozenset(
            {"TRANSFER", "INTERNAL_TRANSFER", "CROSS_COLLATERAL_TRANSFER", "WELCOME_BONUS"}
        ),
        lost_kinds=frozenset({"INSURANCE_CLEAR"}),
        forced={
            "autoclose-": Purpose.LIQUIDATION,
            "adl_autoclose": Purpose.LIQUIDATION,
            "settlement_autoclose-": Purpose.SETTLEMENT,
        },
        orders_since=("fetch_orders",),
        kept_codes=frozenset({"-4046", "-4059"}),
        many_assets="fapiPrivateGetMultiAssetsMargin",
        triggers_apart=True,
        interval_source="fundingInfo",
        rates_per_reply=1000,
        interest_per_reply=500,
        trades_per_reply=1000,
        lines_per_reply=1000,
        quotes="fetch_bids_asks",
    ),
    "bybit": Differences(
        ccxt_class="bybit",
        services={"demo": "enable_demo_trading", "testnet": "set_sandbox_mode"},
        private=_bybit_private,
        new_client_id="orderLinkId",
        by_client_id="orderLinkId",
        rests={"timeInForce": "GTC"},
        ioc={"timeInForce": "IOC"},
        post_only={"timeInForce": "PostOnly"},
        reduce_only={"reduceOnly": "true"},
        always={"positionIdx": "0"},
        trigger={"triggerBy": "MarkPrice"},
        options={
            "fetchMarkets": {"types": ["linear"]},
            "defaultType": "swap",
            "enableUnifiedAccount": True,  # all accounts are today; else it would be asked for
            "enableUnifiedMargin": False,
            "unifiedMarginStatus": 6,
            "fetchOrder": {"acknowledged": True},  # of the last 500 orders
        },
        code=_plain_code("retCode"),
        stale_codes=frozenset({"10002"}),
        account=("privateGetV5UserQueryApi", lambda reply: reply["result"]["userID"]),
        wallet=_bybit_wallet,
        ledger_kind=lambda row: str(row.get("type")),
        funding_kinds=frozenset({"SETTLEMENT"}),
        fee_kinds=frozenset({"TRADE", "LIQUIDATION", "ADL"}),
        transfer_kinds=frozenset({"TRANSFER_IN", "TRANSFER_OUT", "AIRDROP", "BONUS"}),
        lost_kinds=frozenset(),
        orders_since=("fetch_open_orders", "fetch_closed_orders"),
        can_withdraw=_bybit_withdraws,
        permissions="privateGetV5UserQueryApi",
        kept_codes=frozenset({"110043", "110025"}),
        ledger_period=lambda _, end_ms: {"endTime": end_ms},
        margin_mode_of="account",
        interval_source="rate",
        interest_per_reply=200,
        forced_trade=_bybit_forced,
        trades_apart=tuple({"execType": kind} for kind in _BYBIT_FORCED),
    ),
    "okx": Differences(
        ccxt_class="okx",
        services={"demo": "set_sandbox_mode"},
        private=_okx_private,
        new_client_id="clOrdId",
        by_client_id="clOrdId",
        rests={},
        ioc={"ordType": "ioc"},
        post_only={"ordType": "post_only"},
        reduce_only={"reduceOnly": "true"},
        always={},
        trigger={},
        options={
            "fetchMarkets": {"types": ["swap"]},
            "defaultType": "swap",
            "createOrder": "privatePostTradeOrder",  # and no batch of one
        },
        code=_okx_code,
        stale_codes=frozenset({"50102"}),
        account=("privateGetAccountConfig", lambda reply: reply["data"][0]["uid"]),
        wallet=_okx_wallet,
        ledger_kind=lambda row: str(row.get("type")),
        funding_kinds=frozenset({"8"}),
        fee_kinds=frozenset({"2", "3", "5", "9"}),
        transfer_kinds=frozenset({"1", "6"}),
        lost_kinds=frozenset(),
        orders_since=("fetch_open_orders", "fetch_closed_orders"),
        can_withdraw=_okx_withdraws,
        permissions="privateGetAccountConfig",
        settled_rate="realizedRate",
        forced_trade=_okx_forced,
        tiers_of_all=False,
        tiers_in_contracts=True,
        ledger_period=lambda start_ms, end_ms: {"begin": start_ms, "end": end_ms},
        margin_mode_of="order",
        interval_source="rate",
        bars_per_reply=100,
        rates_per_reply=100,
        lines_per_reply=100,
        marks="fetch_mark_prices",
    ),
}


def differences_of(venue: str, service: str) -> Differences:
    """One exchange's row of the table. ConfigError where there is none, or no such place to practise."""
    found = TABLE.get(venue)
    if found is None:
        raise ConfigError(f"venue must be one of {', '.join(sorted(TABLE))}, found {venue!r}.")
    if service not in found.services:
        raise ConfigError(
            f"{venue}: service must be one of {', '.join(sorted(found.services))}, found {service!r}."
        )
    return found
