"""What may be believed of a reply, written down a second time and apart from the parser: by the standard library alone.

`contradiction` is given the bytes and what the parser made of them, and says what can't be right about it: a number
that is none, a price that is not above 0, a time before the venue, rows that go back, sums that don't add up, or a
value that does not stand in the bytes at all.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from tests.venues.rows import (
    BALANCE,
    CANDLE,
    CONTEXT,
    FILL,
    HEARD_PAID,
    LEDGER,
    LEVEL,
    LISTED,
    ORDER,
    PAID,
    POSITION,
    SETTLED,
    TRADE,
    Json,
    Names,
    Wrong,
    all_stand,
    rising,
    some_order,
    stands,
    unique,
)

FIRST_MS, LAST_MS = 1_577_836_800_000, 4_102_444_800_000
HOUR_MS: Final = 3_600_000
PRICES: Final = frozenset(
    ("price", "limit_price", "entry_price", "mark", "oracle", "mid", "open", "high", "low", "close")
)
SIZED: Final = frozenset(("original", "remaining", "total", "hold", "volume", "open_interest", "value_usd"))
COLUMNS: Final = ("mark", "oracle", "funding", "open_interest", "mid", "premium")
COIN: Final = re.compile(r"[!-~]{1,64}")
LARGEST: Final = Decimal(10) ** 15


def contradiction(kind: str, request: Mapping[str, Any], body: bytes, said: Any) -> str:
    """What is wrong with what was read; empty where nothing is."""
    try:
        told = json.loads(body, object_pairs_hook=_once, parse_constant=_no_number)
        if kind.startswith("ws "):
            said, told = said[1], told["data"]
        _walk(said, kind)
        check = CHECKS.get(kind)
        if check is not None:
            check(said, told, request)
    except Wrong as wrong:
        return str(wrong)
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        return f"was read, though it can't be ({error!r:.150})"
    return ""


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    if len(dict(pairs)) != len(pairs):
        raise Wrong("a key stands twice")
    return dict(pairs)


def _no_number(text: str) -> None:
    raise Wrong(f"{text} is no number")


def _walk(value: Any, path: str) -> None:
    """Every value in what was read, whatever it is of."""
    if isinstance(value, Decimal):
        _number(value, path)
    elif isinstance(value, float):
        raise Wrong(f"{path} is a float")
    elif isinstance(value, int) and not isinstance(value, bool):
        low, high = (FIRST_MS, LAST_MS) if path.endswith("_ms") else (-(2**63), 2**64)
        if not low <= value <= high:
            raise Wrong(f"{path} is {value}")
    elif dataclasses.is_dataclass(value):
        _walk_fields(value, path)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _walk(each, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for each in value:
            _walk(each, path)


def _walk_fields(value: Any, path: str) -> None:
    for each in dataclasses.fields(value):
        found = getattr(value, each.name)
        if hasattr(found, "shape"):
            _floats(found.tolist(), f"{path}.{each.name}")
            continue
        _walk(found, f"{path}.{each.name}")
        if each.name == "coin" and not COIN.fullmatch(found):
            raise Wrong(f"{path}.coin is {found!r}")


def _number(value: Decimal, path: str) -> None:
    last = path.rpartition(".")[2]
    if not value.is_finite() or not -LARGEST <= value <= LARGEST:
        raise Wrong(f"{path} is {value}")
    if last in PRICES and not 0 < value <= Decimal(10) ** 9:
        raise Wrong(f"{path} is {value}, which is no price")
    if last in SIZED and value < 0:
        raise Wrong(f"{path} is {value}")


def _floats(rows: list[list[float]], path: str) -> None:
    for row, one in zip(rows, COLUMNS, strict=True):
        for value in row:
            if math.isinf(value) or (one in PRICES and value <= 0):
                raise Wrong(f"{path} has {value}")


# Kind by kind


def _fills(said: Any, told: Json, _: Any) -> None:
    all_stand(said, told, FILL)
    rising((each.time_ms for each in said), strictly=False)
    unique((each.time_ms, each.coin, each.trade_id, each.order_id) for each in said)
    for each in said:
        if each.size <= 0:
            raise Wrong(f"a fill of {each.size}")
    by_id = {(row["tid"], row["time"], row["coin"], row["oid"]): row for row in told}
    for each in said:
        row = by_id[each.trade_id, each.time_ms, each.coin, each.order_id]
        if (each.side.sign > 0) is not (row["side"] == "B") or each.is_maker is row["crossed"]:
            raise Wrong("a side or a maker is turned round")


def _payments(where: Names) -> Callable[[Any, Json, Any], None]:
    def check(said: Any, told: Json, _: Any) -> None:
        some_order(said, told, where)
        rising((each.time_ms for each in said), strictly=False)
        unique((each.time_ms, each.coin) for each in said)
        for each in said:
            if each.samples == 1 and each.usd * each.size * each.rate > 0:
                raise Wrong(f"{each.usd} received by {each.size} at {each.rate}")
            if abs(each.rate) > Decimal("0.5"):
                raise Wrong(f"a rate of {each.rate}")

    return check


def _candles(said: Any, told: Json, request: Mapping[str, Any]) -> None:
    all_stand(said, told, CANDLE)
    rising((each.open_ms for each in said), strictly=True)
    for each in said:
        _bar(each, request["req"]["coin"], request["req"]["interval"])


def _bar(bar: Any, coin: str, interval: str) -> None:
    if bar.coin != coin:
        raise Wrong(f"a bar of {bar.coin}")
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        raise Wrong("a bar outside its low and high")
    if interval == "1h" and (bar.open_ms % HOUR_MS or bar.close_ms - bar.open_ms != HOUR_MS - 1):
        raise Wrong("a bar of another length")


def _heard_bar(said: Any, told: Json, _: Any) -> None:
    stands(said, told, CANDLE)
    _bar(said, told["s"], told["i"])


def _settled(said: Any, told: Json, request: Mapping[str, Any]) -> None:
    all_stand(said, told, SETTLED)
    rising((each.time_ms for each in said), strictly=True)
    if any(each.coin != request["coin"] or abs(each.rate) > Decimal("0.5") for each in said):
        raise Wrong("a settlement of another coin or rate")


def _book(said: Any, told: Json, _: Any) -> None:
    sides = told["levels"] if "levels" in told else [[level] if level else [] for level in told["bbo"]]
    for read, rows, sign in ((said.bids, sides[0], -1), (said.asks, sides[1], 1)):
        all_stand(read, rows, LEVEL)
        if any(sign * (b.price - a.price) <= 0 for a, b in pairwise(read)) or any(
            each.size <= 0 for each in read
        ):
            raise Wrong("a level that is not worse than the one before it, or holds nothing")
    if said.bids and said.asks and said.bids[0].price >= said.asks[0].price:
        raise Wrong("the book is crossed")
    if (said.coin, said.time_ms) != (told["coin"], told["time"]):
        raise Wrong("a book of another coin or time")


def _trades(said: Any, told: Json, _: Any) -> None:
    for each, row in zip(said, told, strict=True):
        stands(each, row, TRADE)
        if (each.side.sign > 0) is not (row["side"] == "B"):
            raise Wrong("a side is turned round")
    unique((each.time_ms, each.coin, each.trade_id) for each in said)


def _contexts(said: Any, told: Json, _: Any) -> None:
    """Of the coins that are traded all must have been read; of the others, what was."""
    known, found = said.known, said.contexts
    _meta(known, told[0], _)
    if not len(found) == len(known.names) == len(told[1]):
        raise Wrong("contexts and coins are not as many")
    rows = dict(zip(known.names, told[1], strict=True))
    for place, (coin, row) in enumerate(rows.items()):
        if place in found.unread:
            if coin in said.traded or not all(math.isnan(column[place]) for column in found.values):
                raise Wrong(f"{coin} can't be read and has prices")
            continue
        stands(found[place], row, CONTEXT)
        _believable(found[place])
    if unread := set(said.traded) & known.unread.keys():
        raise Wrong(f"{unread} can't be read and are traded")
    _taken(said, {coin: row for coin, row in rows.items() if coin in said.traded})


def _taken(said: Any, rows: Mapping[str, Json]) -> None:
    """What is traded on, against the rows of the coins that are traded; nothing is known of one that is not listed."""
    for name, key in (("marks", "markPx"), ("oracles", "oraclePx")):
        if getattr(said, name) != {coin: Decimal(row[key]) for coin, row in rows.items()}:
            raise Wrong(f"{name} of other coins, or other {name}")
    keys = [path[0] for path in (CONTEXT[name] for name in COLUMNS)]
    for coin, column in zip(said.traded, zip(*said.now.tolist(), strict=True), strict=True):
        for key, value in zip(keys, column, strict=True):
            text = rows[coin].get(key) if coin in rows else None
            if math.isnan(value) is not (text is None) or (text is not None and float(text) != value):
                raise Wrong(f"{key} of {coin} is {value} where it says {text!r}")


def _heard_context(said: Any, told: Json, _: Any) -> None:
    stands(said[1], told["ctx"], CONTEXT)
    _believable(said[1])


def _believable(context: Any) -> None:
    _walk(context, "context")
    if abs(context.funding) > Decimal("0.5") or abs(context.premium or 0) > 10:
        raise Wrong("funding or premium beyond what can be")


def _meta(said: Any, told: Json, _: Any) -> None:
    """Every name has its place, since the numbers of all coins hang on it; the rest is said of those that could be read."""
    if list(said.names) != [row["name"] for row in told["universe"]] or not said.unread.keys() <= {
        *said.names
    }:
        raise Wrong("other names, or in other places")
    unique(iter(said.names))
    rows = [row for row in told["universe"] if row["name"] not in said.unread]
    all_stand(said.instruments, rows, LISTED)
    for each, row in zip(said.instruments, rows, strict=True):
        if not COIN.fullmatch(each.name) or not 0 <= each.size_decimals <= 8:
            raise Wrong(f"a coin {each.name!r} in lots of {each.size_decimals}")
        if each.tiers[0].max_leverage != row["maxLeverage"] or each.tiers[0].lower_bound_usd != 0:
            raise Wrong("tiers that do not begin with the coin's leverage")


def _margin(said: Any, told: Json, _: Any) -> None:
    rows = told["assetPositions"]
    for each, row in zip(said.positions, rows, strict=True):
        stands(each, row, POSITION)
        if each.size == 0:
            raise Wrong("a position of nothing")
    unique(each.coin for each in said.positions)
    cash = Decimal(told["marginSummary"]["totalRawUsd"])
    worth = cash + sum(each.value_usd * (1 if each.size > 0 else -1) for each in said.positions)
    if said.equity_usd != Decimal(told["marginSummary"]["accountValue"]):
        raise Wrong("another equity")
    if abs(worth - said.equity_usd) > Decimal("0.0101") + abs(said.equity_usd) / 10**6:
        raise Wrong(f"equity {said.equity_usd} where its parts make {worth}")


def _orders(said: Any, told: Json, _: Any) -> None:
    for each, row in zip(said, told, strict=True):
        _order(each, row)
    unique(each.order_id for each in said)


def _order(order: Any, row: Json) -> None:
    stands(order, row, ORDER)
    if not 0 <= order.remaining <= order.original or order.order_id < 1:
        raise Wrong("more is left of an order than there was")
    if (order.side.sign > 0) is not (row["side"] == "B") or order.reduce_only is not bool(
        row.get("reduceOnly")
    ):
        raise Wrong("a side or a reduce-only is turned round")


def _statuses(said: Any, told: Json, _: Any) -> None:
    for each, row in zip(said, told, strict=True):
        _order(each.order, row["order"])
        if (each.word, each.time_ms) != (row["status"], row["statusTimestamp"]):
            raise Wrong("another status")


def _spot(said: Any, told: Json, _: Any) -> None:
    all_stand(said.balances, told["balances"], BALANCE)
    if any(each.hold > each.total for each in said.balances):
        raise Wrong("more is held than there is")


def _mids(said: Any, told: Json, _: Any) -> None:
    if {coin: Decimal(text) for coin, text in told.items()} != said or any(
        price <= 0 for price in said.values()
    ):
        raise Wrong("other mids")


def _ledger(said: Any, told: Json, _: Any) -> None:
    some_order(said, told, LEDGER)
    rising((each.time_ms for each in said), strictly=False)


CHECKS: Final[Mapping[str, Callable[[Any, Json, Any], None]]] = {
    "userFills": _fills,
    "userFillsByTime": _fills,
    "ws userFills": lambda said, told, _: _fills(said, told["fills"], _),
    "ws user": lambda said, told, _: _fills(said, told.get("fills") or [], _),
    "userFunding": _payments(PAID),
    "ws userFundings": lambda said, told, _: _payments(HEARD_PAID)(said, told["fundings"], _),
    "candleSnapshot": _candles,
    "ws candle": _heard_bar,
    "fundingHistory": _settled,
    "l2Book": _book,
    "ws l2Book": _book,
    "ws bbo": _book,
    "recentTrades": _trades,
    "ws trades": _trades,
    "metaAndAssetCtxs": _contexts,
    "ws activeAssetCtx": _heard_context,
    "meta": _meta,
    "clearinghouseState": _margin,
    "openOrders": _orders,
    "frontendOpenOrders": _orders,
    "historicalOrders": _statuses,
    "ws orderUpdates": _statuses,
    "orderStatus": lambda said, told, _: None if said is None else _statuses([said], [told["order"]], _),
    "spotClearinghouseState": _spot,
    "allMids": _mids,
    "ws allMids": lambda said, told, _: _mids(said, told["mids"], _),
    "userNonFundingLedgerUpdates": _ledger,
    "exchangeStatus": lambda said, told, _: None if said == told["time"] and FIRST_MS <= said <= LAST_MS else _no_number("time"),
}  # fmt: skip
