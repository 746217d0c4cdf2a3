"""Spot as it is read: tokens, pairs and their grids, balances, and where an account's dollars are."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.devnet.start import Options, running
from bot.errors import ConfigError, DataError
from bot.model.instrument import Kind, underlying_of
from bot.venues.hyperliquid import parse_account, parse_market, parse_meta
from bot.venues.hyperliquid.balances import SpotState, backing, spot_state
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.numbers import Numbers
from bot.venues.hyperliquid.parse_market import Book, Level
from bot.venues.hyperliquid.parse_meta import SpotUniverse
from bot.venues.hyperliquid.replies import read_reply
from bot.venues.hyperliquid.signing import Whose
from bot.venues.hyperliquid.wire import Node
from tests.venues.hyperliquid.shapes import BALANCE, ME, PAIR, SPOT_CONTEXT, TOKENS, margin

USDT = TOKENS[0] | {"name": "USDT0", "index": 268, "tokenId": "0x1"}


@pytest.fixture
def recorded(real_data: Path) -> Path:
    folder = real_data.parent / "fixtures" / "hyperliquid"
    if not folder.is_dir():
        pytest.skip(f"no recorded replies in {folder}")
    return folder


def spot(*pairs: Any, tokens: Any = TOKENS) -> SpotUniverse:
    return parse_meta.spot_universe(Node({"tokens": tokens, "universe": list(pairs)}, "spotMeta"))


def state(**keys: Any) -> SpotState:
    return spot_state(Node({"balances": [BALANCE], **keys}, "spotClearinghouseState"))


def test_a_pair_is_found_by_its_name_its_title_and_what_it_is_about() -> None:
    known = spot(PAIR)
    for wanted in ("@142", "UBTC/USDC", "BTC/USDC"):
        pair = known.pair(wanted)
        assert (pair.name, pair.title, pair.asset) == ("@142", "UBTC/USDC", 10_142)
    instrument = known.pair("@142").instrument
    assert (instrument.name, instrument.kind, instrument.underlying) == ("UBTC/USDC", Kind.SPOT, "BTC")
    assert (instrument.size_decimals, instrument.multiplier, instrument.max_leverage) == (5, 1, 1)
    with pytest.raises(ConfigError, match="no spot market 'ETH/USDC'"):
        known.pair("ETH/USDC")


def test_a_name_that_several_pairs_answer_to_is_refused_with_their_names() -> None:
    twin = TOKENS[1] | {"name": "BTC", "index": 7, "tokenId": "0x2"}  # anybody's token, by the coin's name
    known = spot(PAIR, PAIR | {"name": "@9", "index": 9, "tokens": [7, 0]}, tokens=[*TOKENS, twin])
    with pytest.raises(ConfigError, match=r"may be @142 \(UBTC/USDC\), @9 \(BTC/USDC\); write the one"):
        known.pair("BTC/USDC")
    assert (known.pair("UBTC/USDC").name, known.pair("@9").title) == ("@142", "BTC/USDC")


def test_orders_may_name_a_market_only_by_its_one_title_against_usdc() -> None:
    assert spot(PAIR).traded("UBTC/USDC").asset == 10_142
    for other in ("BTC/USDC", "@142"):
        with pytest.raises(ConfigError, match=f"no spot market '{other}' against USDC"):
            spot(PAIR).traded(other)
    twin = TOKENS[1] | {"index": 7, "tokenId": "0x2"}
    twins = spot(PAIR, PAIR | {"name": "@9", "index": 9, "tokens": [7, 0]}, tokens=[*TOKENS, twin])
    with pytest.raises(ConfigError, match="is the title of @142, @9; which of them"):
        twins.traded("UBTC/USDC")
    false_dollar = TOKENS[0] | {"index": 8, "tokenId": "0x3"}
    false = spot(PAIR | {"tokens": [197, 8]}, tokens=[*TOKENS, false_dollar])
    with pytest.raises(ConfigError, match="against USDC"):
        false.traded("UBTC/USDC")


@pytest.mark.parametrize(
    ("now", "assets", "decimals", "why"),
    [
        (spot(PAIR), {"UBTC/USDC": 10_142}, {"UBTC/USDC": 5}, ""),
        (None, {"UBTC/USDC": 10_142}, {}, "the venue lists no UBTC/USDC"),
        (spot(), {"UBTC/USDC": 10_142}, {}, "no spot market 'UBTC/USDC' against USDC"),
        (spot(PAIR), {}, {}, "UBTC/USDC is not in the signer's policy"),
        (spot(PAIR | {"index": 143}), {"UBTC/USDC": 10_142}, {}, "is asset 10143 at the venue now and 10142"),
        (
            spot(PAIR),
            {"UBTC/USDC": 10_142},
            {"UBTC/USDC": 4},
            "have 5 decimals at the venue now, 5 here and 4",
        ),
        (
            spot(PAIR, tokens=[TOKENS[0], TOKENS[1] | {"szDecimals": 4}]),
            {"UBTC/USDC": 10_142},
            {"UBTC/USDC": 4},
            "have 4 decimals at the venue now, 5 here and 4",
        ),
    ],
)
def test_nothing_of_a_pair_is_signed_whose_number_or_lots_are_not_those_of_the_policy_and_the_start(
    now: SpotUniverse | None, assets: dict[str, int], decimals: dict[str, int], why: str
) -> None:
    numbers = Numbers([spot(PAIR).traded("UBTC/USDC").instrument])
    numbers.spot = now
    said = numbers.why_not("UBTC/USDC", Whose("devnet", ME, ME, assets, size_decimals=decimals))
    assert why in said
    assert bool(why) == bool(said)


def test_depth_is_of_the_thinner_side_within_half_a_percent_of_the_mid() -> None:
    def levels(*rows: tuple[str, str]) -> tuple[Level, ...]:
        return tuple(Level(Decimal(price), Decimal(size)) for price, size in rows)

    # mid 100: 99.5 and 100.5 stand on the bound and count, 99.49 does not
    bids = levels(("99.9", "2"), ("99.5", "4"), ("99.49", "1000"))
    asks = levels(("100.1", "1"), ("100.5", "10"), ("101", "1000"))
    assert Book("@142", 0, bids, asks).depth_usd() == Decimal("597.8")  # 199.8 + 398; asks have 1105.1
    assert Book("@142", 0, bids, asks[:1]).depth_usd() == Decimal("100.1")
    assert Book("@142", 0, bids, ()).depth_usd() is None


def test_what_can_not_be_right_in_spot_meta_is_refused_by_its_field() -> None:
    for pairs, tokens, reason in (
        ([PAIR, PAIR | {"name": "@9"}], TOKENS, r"universe\[1\].index is that of another pair \(142\)"),
        ([PAIR | {"index": 90_000}], TOKENS, r"index should be within 0 and 89999"),
        ([PAIR | {"tokens": [197]}], TOKENS, "should be a pair, was a list of 1"),
        ([PAIR], [TOKENS[0], TOKENS[0]], "lists token 0 a second time"),
        ([PAIR], [TOKENS[0], TOKENS[1] | {"szDecimals": 9}], "szDecimals should be within 0 and 8"),
    ):
        with pytest.raises(DataError, match=reason):
            spot(*pairs, tokens=tokens)
    assert spot(PAIR, tokens=[TOKENS[0]]).skipped == ("@142",)


def test_spot_contexts_are_joined_by_name_and_a_market_without_one_is_refused() -> None:
    meta = {
        "tokens": [*TOKENS, USDT],
        "universe": [PAIR, PAIR | {"name": "@200", "index": 200, "tokens": [197, 268]}],
    }
    second = SPOT_CONTEXT | {"coin": "@200", "markPx": "0.0", "midPx": None}
    _, found = parse_market.spot_contexts(Node([meta, [second, SPOT_CONTEXT]], "reply"))
    assert (found["@142"].mark, found["@142"].mid) == (Decimal(66_300), Decimal(66_301))
    assert (found["@200"].mark, found["@200"].mid) == (None, None)
    with pytest.raises(DataError, match=r"markPx is beyond what can be"):
        parse_market.spot_contexts(Node([meta, [SPOT_CONTEXT | {"markPx": "1000000000.1"}]], "reply"))
    with pytest.raises(DataError, match="has no context for @200"):
        parse_market.spot_contexts(Node([meta, [SPOT_CONTEXT]], "reply"))
    with pytest.raises(DataError, match="stands twice"):
        parse_market.spot_contexts(Node([meta, [SPOT_CONTEXT, SPOT_CONTEXT]], "reply"))


def test_balances_are_read_with_what_orders_hold_of_them() -> None:
    dollars = state().of("USDC")
    assert (dollars.total, dollars.hold, dollars.free, dollars.index) == (
        Decimal("14.6"), Decimal(1), Decimal("13.6"), 0,
    )  # fmt: skip
    assert state().of("UBTC").total == 0
    with pytest.raises(DataError, match="hold is more than there is"):
        spot_state(Node({"balances": [BALANCE | {"hold": "15.0"}]}, "reply"))
    with pytest.raises(DataError, match="lists 'USDC' a second time"):
        spot_state(Node({"balances": [BALANCE, BALANCE]}, "reply"))


def test_one_balance_for_all_is_told_from_two() -> None:
    perps = parse_account.margin_state(Node(margin(), "reply"))
    separate = backing("disabled", perps, state())
    assert (separate.perp_usd, separate.spot_usdc) == (Decimal(950), Decimal("14.6"))
    assert (
        separate.sentence
        == "the perp account is worth 950.0 USDC, and 14.6 USDC (1.0 of them in orders) are on spot"
    )
    for mode in ("unifiedAccount", "portfolioMargin"):
        one = backing(
            mode, perps, state(portfolioMarginEnabled=True, tokenToAvailableAfterMaintenance=[[0, "9.5"]])
        )
        assert (one.perp_usd, one.spot_usdc) == (None, Decimal("14.6"))
        assert one.sentence.startswith(f"the account is in {mode} mode: one balance of 14.6 USDC")
    unified = state(portfolioMarginEnabled=True, tokenToAvailableAfterMaintenance=[[0, "9.5"]])
    assert (unified.is_portfolio, unified.after_maintenance) == (True, {0: Decimal("9.5")})


def test_a_vaults_own_books_grow_by_what_is_put_into_it() -> None:
    vault = "0x" + "c" * 40
    rows = [
        {"time": 1_780_000_000_000, "hash": "0x1", "delta": {"type": "vaultDeposit", "vault": vault, "usdc": "50.0"}},
        {"time": 1_780_000_000_001, "hash": "0x2", "delta": {"type": "vaultWithdraw", "vault": vault, "user": ME, "requestedUsd": "9.0", "commission": "0.0", "closingCost": "0.0", "basis": "9.0", "netWithdrawnUsd": "9.0"}},
    ]  # fmt: skip
    own = parse_account.ledger(Node(rows, "reply"), vault)
    assert [row.perp_usd for row in own] == [Decimal(50), None]
    giver = parse_account.ledger(Node(rows, "reply"), ME)
    assert [row.perp_usd for row in giver] == [Decimal(-50), Decimal(9)]


@pytest.mark.real_data
def test_the_recorded_universe_has_its_bridged_tokens_under_what_they_are_about(recorded: Path) -> None:
    known = read_reply({"type": "spotMeta"}, (recorded / "meta" / "spotMeta.json").read_bytes())
    perps, _ = read_reply(
        {"type": "metaAndAssetCtxs"}, (recorded / "meta" / "metaAndAssetCtxs.json").read_bytes()
    )
    names = {underlying_of(instrument.name)[0] for instrument in perps.instruments}
    legs = {coin: known.pair(f"{coin}/USDC").title for coin in ("BTC", "ETH", "SOL", "FARTCOIN", "BONK")}
    assert legs == {
        "BTC": "UBTC/USDC", "ETH": "UETH/USDC", "SOL": "USOL/USDC", "FARTCOIN": "UFART/USDC", "BONK": "UBONK/USDC",
    }  # fmt: skip
    assert legs.keys() <= names
    with pytest.raises(ConfigError, match=r"UPUMP/USDC"):
        known.pair("PUMP/USDC")  # there is a token of that name as well, which is another coin
    assert known.pair("PURR/USDC").asset == 10_000
    assert known.pair("HYPE/USDC").asset == 10_107
    assert (known.skipped, len(known.pairs)) == ((), 195)


@pytest.mark.real_data
def test_the_recorded_balances_are_read(recorded: Path) -> None:
    body = (recorded / "nautilus" / "http_spot_clearinghouse_state.json").read_bytes()
    found = read_reply({"type": "spotClearinghouseState"}, body)
    assert found.of("USDC").total == Decimal("14.625485")
    assert (found.of("PURR").free, found.of("PURR").entry_usd) == (Decimal(1900), Decimal("1234.56"))
    assert found.of("+10").index == 100_000_010


def test_a_devnets_spot_replies_are_read() -> None:
    with running(Options(coins=("BTC", "ETH"), history_h=24, flow=False, paused=True)) as server:

        async def run() -> None:
            client = Client(server.url, budget=WeightBudget(None))
            try:
                me = server.funded[0]["address"]
                known = await client.info({"type": "spotMeta"})
                again, found = await client.info({"type": "spotMetaAndAssetCtxs"})
                assert again == known
                listed = {pair.name for pair in known.pairs}
                assert (
                    {"@142", "@151"} <= listed <= found.keys()
                )  # gaps in the numbering are filled on the wire
                balances = await client.info({"type": "spotClearinghouseState", "user": me})
                margins = await client.info({"type": "clearinghouseState", "user": me})
                mode = await client.info({"type": "userAbstraction", "user": me})
                told = backing(mode, margins, balances)
                assert (told.perp_usd, told.spot_usdc) == (margins.equity_usd, balances.of("USDC").total)
            finally:
                await client.close()

        asyncio.run(run())
