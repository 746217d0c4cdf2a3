"""Instrument facts as the venue's `meta` reply tells them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.data.meta import default_instrument, instruments_from_meta, read_meta
from bot.errors import DataError

META: dict[str, Any] = {
    "universe": [
        {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
        {"szDecimals": 0, "name": "kPEPE", "maxLeverage": 10, "marginTableId": 10},
        {
            "szDecimals": 1,
            "name": "OLD",
            "maxLeverage": 3,
            "marginTableId": 3,
            "onlyIsolated": True,
            "isDelisted": True,
        },
        {"szDecimals": 1, "name": "STRAY", "maxLeverage": 3, "marginTableId": 51},
    ],
    "marginTables": [
        [
            56,
            {
                "description": "tiered 40x",
                "marginTiers": [
                    {"lowerBound": "0.0", "maxLeverage": 40},
                    {"lowerBound": "150000000.0", "maxLeverage": 20},
                ],
            },
        ]
    ],
}


def test_tiers_lots_and_flags_come_from_the_reply() -> None:
    btc, pepe, old = instruments_from_meta(META, ("BTC", "kPEPE", "OLD"))
    assert [(int(tier.lower_bound_usd), tier.max_leverage) for tier in btc.tiers] == [
        (0, 40),
        (150_000_000, 20),
    ]
    assert btc.lot == Decimal("0.00001")
    assert not btc.only_isolated
    assert [(int(tier.lower_bound_usd), tier.max_leverage) for tier in pepe.tiers] == [(0, 10)]
    assert (pepe.multiplier, btc.multiplier) == (1000, 1)
    assert old.only_isolated
    assert old.is_delisted


@pytest.mark.parametrize(
    ("meta", "coin", "said"),
    [
        (META, "BTCC", "does not list 'BTCC'; did you mean BTC"),
        (META, "STRAY", "margin table 51, which the meta reply does not hold"),
        ({"universe": [{"name": "BTC"}]}, "BTC", "not of the venue's shape"),
        (
            {"universe": [{"name": "BTC", "maxLeverage": 0, "szDecimals": 1}]},
            "BTC",
            "not of the venue's shape",
        ),
    ],
)
def test_a_reply_that_does_not_say_is_refused(meta: dict[str, Any], coin: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        instruments_from_meta(meta, (coin,))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"universe": {}}'])
def test_a_damaged_meta_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(DataError, match=r"meta\.json"):
        read_meta(tmp_path)


def test_no_meta_file_is_no_facts(tmp_path: Path) -> None:
    assert read_meta(tmp_path) is None


@pytest.mark.parametrize("price", [1e-7, 0.3, 1.0, 24.0, 180.0, 3_200.0, 110_000.0])
def test_a_guessed_lot_is_worth_at_most_two_dollars(price: float) -> None:
    instrument = default_instrument("X", price)
    assert float(instrument.lot) * price < 2.01
    assert [(int(tier.lower_bound_usd), tier.max_leverage) for tier in instrument.tiers] == [(0, 10)]


def test_a_coin_without_a_price_is_traded_in_whole_coins() -> None:
    assert default_instrument("X", float("nan")).size_decimals == 0
