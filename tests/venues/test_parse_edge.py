"""A slice of the fuzz of the parse edge, and whether it bites. All of it: `python -m tests.venues.fuzz`."""

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.errors import DataError
from bot.venues.hyperliquid import parse_account, parse_market, wire
from bot.venues.hyperliquid.feed import Feed
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.parse_meta import Universe
from bot.venues.hyperliquid.wire import Node
from tests.venues.fuzz import fixtures, fuzz
from tests.venues.hyperliquid.shapes import made, recorded
from tests.venues.quarantine import trade_on_spoilt_replies

FRAMES = 60_000
A_BUG_IS_FOUND_WITHIN = 40_000


@pytest.mark.slow
def test_of_mutated_frames_only_the_declared_failures_come_and_what_is_read_is_plausible() -> None:
    shapes = made()
    result = fuzz(shapes, FRAMES, 20_261)
    assert result.uncaught + result.implausible == []
    assert result.by_shape.keys() == {shape.name for shape in shapes}
    assert result.refused > FRAMES // 3
    assert result.read > FRAMES // 10


@pytest.mark.slow
@pytest.mark.real_data
def test_so_it_is_with_recorded_ones(real_data: Path) -> None:
    folder = fixtures()
    if folder is None:
        pytest.skip(f"no recorded replies beside {real_data}")
    result = fuzz(recorded(folder), FRAMES // 4, 20_262)
    assert result.uncaught + result.implausible == []


@pytest.mark.slow
def test_no_order_rests_on_a_reply_that_was_refused() -> None:
    told = trade_on_spoilt_replies(8, 20_263)
    assert told["violations"] == []
    assert told["orders_from_quarantined_data"] == 0
    assert told["orders"] > 20
    assert told["replies_refused"] > 30


# Mistakes made on purpose


def price_of_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Node, "price", Node.amount)


def any_text_is_a_number(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wire, "DECIMAL", re.compile(r"[^a-m]+"))


def no_bounds(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Node, "number", lambda node, bound=None: Decimal(node._matching(wire.DECIMAL, "a number")))


def true_is_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Node, "whole", lambda node, lowest=0, highest=0: int(node.value))


def keys_stand_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wire, "_unique", dict)


def trades_stand_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        parse_account, "fills", lambda node: tuple(parse_account.fill(each) for each in node.items())
    )


def sells_are_buys(patch: pytest.MonkeyPatch) -> None:
    right = parse_market.side
    patch.setattr(parse_account, "side", lambda node: right(Node("B", node.path)))


def any_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Node, "time_ms", Node.whole)


def bars_of_other_coins(patch: pytest.MonkeyPatch) -> None:
    right = parse_market.candles
    patch.setattr(
        parse_market,
        "candles",
        lambda node, coin, interval: right(node, node.value[0]["s"] if node.value else coin, interval),
    )


def refused_frames_are_heard(patch: pytest.MonkeyPatch) -> None:
    right = Feed._frame

    async def heard(feed: Feed, socket: Any, waiting: Any) -> None:
        before = feed.refused_frames
        await right(feed, socket, waiting)
        if feed.refused_frames > before:
            feed._hears("userFills", (), 1)

    patch.setattr(Feed, "_frame", heard)


def what_cannot_be_read_is_another_error(patch: pytest.MonkeyPatch) -> None:
    right = wire.decode

    def decode(text: str | bytes, what: str) -> Node:
        try:
            return right(text, what)
        except DataError as error:
            raise ValueError(str(error)) from None

    patch.setattr("bot.venues.hyperliquid.feed.decode", decode)


def coins_without_prices_are_traded(patch: pytest.MonkeyPatch) -> None:
    right = MarketData.take
    patch.setattr(
        MarketData,
        "take",
        lambda market, known, contexts: right(market, known, replace(contexts, unread={})),
    )


def coins_of_an_unknown_kind_are_traded(patch: pytest.MonkeyPatch) -> None:
    def joined(market: MarketData, known: Universe) -> dict[str, int]:
        return {coin: known.place(coin) for coin in market._columns if coin in known.names}

    patch.setattr(MarketData, "_joined", joined)


BUGS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    price_of_nothing,
    any_text_is_a_number,
    no_bounds,
    true_is_one,
    keys_stand_twice,
    trades_stand_twice,
    sells_are_buys,
    any_time,
    bars_of_other_coins,
    refused_frames_are_heard,
    what_cannot_be_read_is_another_error,
    coins_without_prices_are_traded,
    coins_of_an_unknown_kind_are_traded,
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: str(bug.__name__))
def test_a_mistake_in_the_edge_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    result = fuzz(made(), A_BUG_IS_FOUND_WITHIN, 3, stop_at_first=True)
    assert result.wrong == 1


@pytest.mark.parametrize("file", ["plausible.py", "rows.py"])
def test_the_oracle_shares_no_code_with_the_parser(file: str) -> None:
    tree = ast.parse((Path(__file__).parent / file).read_text())
    imported = {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {"tests.venues.rows"}
    assert {name.partition(".")[0] for name in imported - own} <= sys.stdlib_module_names
