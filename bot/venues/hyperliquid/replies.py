"""Every reply and frame this program reads, by the name of its request or channel, and a plain no for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bot.errors import DataError
from bot.venues.hyperliquid import balances, contexts, parse_account, parse_market, parse_meta, parse_orders
from bot.venues.hyperliquid.wire import Node, decode

Request = Mapping[str, Any]
Parser = Callable[[Node, Request], Any]

INFO: Final[Mapping[str, Parser]] = {
    "meta": lambda node, _: parse_meta.universe(node),
    "spotMeta": lambda node, _: parse_meta.spot_universe(node),
    "spotMetaAndAssetCtxs": lambda node, _: parse_market.spot_contexts(node),
    "perpDexs": lambda node, _: parse_meta.dex_names(node),
    "allPerpMetas": lambda node, _: tuple(parse_meta.universe(each) for each in node.items()),
    "metaAndAssetCtxs": lambda node, _: contexts.read_exactly(node),
    "allMids": lambda node, _: parse_market.mids(node),
    "l2Book": lambda node, _: parse_market.book(node),
    "recentTrades": lambda node, _: parse_market.trades(node),
    "candleSnapshot": lambda node, request: parse_market.candles(
        node, request["req"]["coin"], request["req"]["interval"]
    ),
    "fundingHistory": lambda node, request: parse_market.settlements(node, request["coin"]),
    "predictedFundings": lambda node, _: parse_market.predictions(node),
    "exchangeStatus": lambda node, _: parse_market.server_time(node),
    "clearinghouseState": lambda node, _: parse_account.margin_state(node),
    "spotClearinghouseState": lambda node, _: balances.spot_state(node),
    "openOrders": lambda node, _: parse_orders.open_orders(node),
    "frontendOpenOrders": lambda node, _: parse_orders.open_orders(node),
    "orderStatus": lambda node, _: parse_orders.status_of(node),
    "historicalOrders": lambda node, _: parse_orders.history(node),
    "userFills": lambda node, _: parse_account.fills(node),
    "userFillsByTime": lambda node, _: parse_account.fills(node),
    "userFunding": lambda node, _: parse_account.fundings(node),
    "userNonFundingLedgerUpdates": lambda node, request: parse_account.ledger(node, request["user"].lower()),
    "userRateLimit": lambda node, _: parse_account.requests_left(node),
    "userRole": lambda node, _: parse_account.role(node),
    "vaultDetails": lambda node, _: parse_account.leader(node),
    "userAbstraction": lambda node, _: "default" if node.is_null else node.text(),
    "extraAgents": lambda node, _: parse_account.agents(node),
    "activeAssetData": lambda node, _: parse_account.leverage_set(node),
}

FRAMES: Final[Mapping[str, Callable[[Node], Any]]] = {
    "allMids": lambda data: parse_market.mids(data["mids"]),
    "bbo": parse_market.best,
    "l2Book": parse_market.book,
    "trades": parse_market.trades,
    "candle": lambda data: parse_market.candle(data, data["i"].text()),
    "activeAssetCtx": lambda data: (data["coin"].name(), parse_market.context(data["ctx"])),
    "allDexsAssetCtxs": parse_market.contexts_by_dex,
    "orderUpdates": parse_orders.history,
    "userFills": lambda data: parse_account.fills(data["fills"]),
    "userFundings": lambda data: parse_account.funding_events(data["fundings"]),
    "user": lambda data: () if data.maybe("fills") is None else parse_account.fills(data["fills"]),
}


def read_reply(request: Request, body: bytes) -> Any:
    """What a reply's bytes say; DataError as `parse_reply`, also where they are not JSON."""
    kind = str(request["type"])
    return contexts.read(body) if kind == contexts.REPLY else parse_reply(request, decode(body, kind))


def parse_reply(request: Request, node: Node) -> Any:
    """What the reply to an /info request says. DataError names the field that can't be right, or the request."""
    parser = INFO.get(str(request["type"]))
    if parser is None:
        raise DataError(f"{request['type']} replies are nothing this program reads")
    return parser(node, request)


def parse_frame(channel: str, data: Node) -> Any:
    """What a WebSocket frame says. DataError as `parse_reply`."""
    parser = FRAMES.get(channel)
    if parser is None:
        raise DataError(f"frames of channel {channel!r} are nothing this program reads")
    return parser(data)
