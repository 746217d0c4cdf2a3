"""Every recorded reply and frame is read, or refused with a reason that names the field."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.errors import DataError
from bot.model.order import Side, TriggerKind
from bot.venues.hyperliquid.parse_account import MarginState, VenueFill, fill
from bot.venues.hyperliquid.parse_meta import SpotUniverse, Universe
from bot.venues.hyperliquid.parse_orders import Ending
from bot.venues.hyperliquid.replies import parse_frame, parse_reply
from bot.venues.hyperliquid.wire import Node, decode

pytestmark = pytest.mark.real_data

ME = "0x2ba553d9f990a3b66b03b2dc0d030dfc1c061036"

# Which request a bare reply answers.
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "clearinghouseState_whale": {"type": "clearinghouseState"},
    "metaAndAssetCtxs": {"type": "metaAndAssetCtxs"},
    "perpDexs": {"type": "perpDexs"},
    "testnet_perpDexs": {"type": "perpDexs"},
    "spotMeta": {"type": "spotMeta"},
    "testnet_spotMeta": {"type": "spotMeta"},
    "testnet_meta": {"type": "meta"},
    "http_all_perp_metas_non_usdc_collateral": {"type": "allPerpMetas"},
    "http_clearinghouse_state_negative_total_raw_usd": {"type": "clearinghouseState"},
    "http_funding_history": {"type": "fundingHistory", "coin": "BTC"},
    "http_l2_book_btc": {"type": "l2Book"},
    "http_l2_book_snapshot": {"type": "l2Book"},
    "http_meta_perp_sample": {"type": "meta"},
    "http_recent_trades_btc": {"type": "recentTrades"},
    "http_spot_clearinghouse_state": {"type": "spotClearinghouseState"},
    "http_spot_meta_non_usdc_collateral": {"type": "spotMeta"},
    "http_user_fills_dust_conversion": {"type": "userFills"},
    "ws_book_data": {"type": "l2Book"},
}

# Old or foreign shapes, and what is wrong with each.
REFUSED = {
    "clearinghouseState_2023": "has no 'time'",
    "delegatorHistory": "delegatorHistory replies are nothing this program reads",
    "http_clearinghouse_state_negative_total_raw_usd": "has no 'marginSummary'",
    "http_user_fills_dust_conversion": "neither newest first nor oldest first",  # put together from several
    "portfolio_2025": "portfolio replies are nothing this program reads",
    "userFillsByTime_2023": "has no 'tid'",
    "userFills_2023": "has no 'tid'",
    "userTwapSliceFills_empty": "userTwapSliceFills replies are nothing this program reads",
    "userVaultEquities_2025": "userVaultEquities replies are nothing this program reads",
}


@pytest.fixture
def recorded(real_data: Path) -> dict[str, Path]:
    folder = real_data.parent / "fixtures" / "hyperliquid"
    if not folder.is_dir():
        pytest.skip(f"no recorded replies in {folder}")
    return {
        path.stem: path
        for part in ("meta", "nautilus", "sdk_cassettes")
        for path in (folder / part).glob("*.json")
    }


def read(path: Path) -> Any:
    node = decode(path.read_bytes(), path.stem)
    if isinstance(node.value, dict) and "request" in node.value:
        return parse_reply(node.value["request"]["body"], Node(node.value["response"], path.stem))
    if isinstance(node.value, dict) and "channel" in node.value:
        return parse_frame(node.value["channel"], node["data"])
    return parse_reply(ANSWERS[path.stem], node)


def test_each_is_read_or_refused_for_the_reason_it_should_be(recorded: dict[str, Path]) -> None:
    assert len(recorded) >= 40
    reasons = {}
    for name, path in recorded.items():
        try:
            read(path)
        except DataError as error:
            reasons[name] = str(error)
    assert reasons.keys() == REFUSED.keys()
    assert {name: why for name, why in REFUSED.items() if why not in reasons[name]} == {}


def test_the_main_universe_has_its_coins_tiers_and_contexts(recorded: dict[str, Path]) -> None:
    universe, contexts = read(recorded["metaAndAssetCtxs"])
    assert isinstance(universe, Universe)
    assert len(universe.instruments) == len(contexts) == 232
    bitcoin = universe.instruments[0]
    assert (bitcoin.name, bitcoin.size_decimals, universe.place("ETH")) == ("BTC", 5, 1)
    # 40x to 150 M, then 20x: the deduction is 150 M × (1/40 − 1/80) = 1,875,000.
    assert bitcoin.maintenance == (
        (Decimal(0), Decimal("0.0125"), Decimal(0)),
        (Decimal(150_000_000), Decimal("0.025"), Decimal(1_875_000)),
    )
    assert sum(1 for each in universe.instruments if each.is_delisted) == 55
    assert sum(1 for each in universe.instruments if each.only_isolated) == 9
    assert (contexts[0].mark, contexts[0].oracle) == (Decimal("66303.2"), Decimal("66330.3"))
    assert contexts[3].mid is None


def test_an_account_of_many_positions_adds_up(recorded: dict[str, Path]) -> None:
    state = read(recorded["clearinghouseState_whale"])
    assert isinstance(state, MarginState)
    assert len(state.positions) == 34
    atom = state.positions[0]
    assert (atom.coin, atom.size, atom.entry_price) == ("ATOM", Decimal("-62371.56"), Decimal("3.1584"))
    long_usd = sum(p.value_usd for p in state.positions if p.size > 0)
    short_usd = sum(p.value_usd for p in state.positions if p.size < 0)
    assert abs(state.cross_cash_usd + long_usd - short_usd - state.equity_usd) < Decimal("0.001")


def test_fills_know_fee_tokens_makers_and_whose_liquidation_it_was(recorded: dict[str, Path]) -> None:
    rows = decode(recorded["http_user_fills_dust_conversion"].read_bytes(), "fills").items()
    bought: VenueFill = next(each for each in map(fill, rows) if each.coin == "@156")
    assert (bought.fee, bought.fee_token, bought.is_maker) == (Decimal("0.00088689"), "USOL", False)
    (met,) = read(recorded["ws_user_fill_liquidation"])
    assert met.liquidated == "0x360878d351f05975e25f1807a27895e1e5e004fb"
    assert (met.side, met.is_maker, met.before) == (Side.SELL, True, Decimal("-0.0213"))


def test_orders_with_triggers_and_rejected_ones_keep_their_meaning(recorded: dict[str, Path]) -> None:
    takes, stops, parent = read(recorded["frontendOpenOrders_tpsl"])
    assert takes.trigger is not None
    assert stops.trigger is not None
    assert (takes.trigger.kind, takes.trigger.price) == (TriggerKind.TAKE_PROFIT, Decimal("10.004"))
    assert (stops.trigger.kind, stops.is_market, stops.reduce_only) == (TriggerKind.STOP, True, True)
    assert (parent.trigger, parent.side, parent.limit_price) == (None, Side.BUY, Decimal("10.0"))
    endings = [each.ending for each in read(recorded["historicalOrders_2025"])]
    assert endings == [Ending.REJECTED] * 3 + [Ending.CANCELED] * 2


def test_the_effect_of_each_ledger_row_on_the_perp_balance(recorded: dict[str, Path]) -> None:
    rows = read(recorded["userNonFundingLedgerUpdates"])
    assert [row.perp_usd for row in rows[:5]] == [
        Decimal("2703997.4500000002"),
        Decimal("-12.0"),
        Decimal(0),
        Decimal("-2684105.0099999998"),
        Decimal("1099994.98"),
    ]


def test_spot_tokens_are_found_by_their_index_though_indices_are_sparse(recorded: dict[str, Path]) -> None:
    spot = read(recorded["spotMeta"])
    assert isinstance(spot, SpotUniverse)
    bitcoin = next(pair for pair in spot.pairs if pair.base.name == "UBTC" and pair.quote.name == "USDC")
    assert (bitcoin.name, bitcoin.asset, bitcoin.base.size_decimals) == ("@142", 10_142, 5)


def mutations(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf of a reply with something impossible in its place."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from mutations(each, (*path, key))
    elif isinstance(value, list):
        for k, each in enumerate(value[:2]):
            yield from mutations(each, (*path, k))
    elif isinstance(value, str):
        strange: list[Any] = ["NaN", "Infinity", "1e400", "-", "１", "9" * 40, None, {}, [], 1.5]
        yield from ((path, each) for each in strange)
    elif isinstance(value, int) and not isinstance(value, bool):
        numbers: tuple[Any, ...] = (-1, 10**30, "1", 1.5, True, {}, [])
        yield from ((path, each) for each in numbers)


@pytest.mark.parametrize(
    "name", ["clearinghouseState_whale", "candleSnapshot_kPEPE_1h", "http_funding_history"]
)
def test_a_reply_with_an_impossible_value_anywhere_is_read_as_before_or_refused(
    recorded: dict[str, Path], name: str
) -> None:
    text = json.loads(recorded[name].read_text())
    request = text["request"]["body"] if "request" in text else ANSWERS[name]
    reply = text.get("response") if "request" in text else text
    good, refused, tried = parse_reply(request, Node(reply, name)), 0, 0
    for path, bad in mutations(reply):
        changed: Any = json.loads(json.dumps(reply))
        target = changed
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = bad
        tried += 1
        try:
            read_anyway = parse_reply(request, Node(changed, name))
        except DataError:
            refused += 1
        else:
            # What is let through is not looked at, may be unknown (None), or is a name like another.
            assert read_anyway == good or bad is None or path[-1] == "coin", (path, bad)
    assert refused > tried / 2
