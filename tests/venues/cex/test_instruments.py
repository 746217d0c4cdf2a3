"""Instruments by hand, and as the library's own parser makes markets of recorded exchange information."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.errors import DataError
from bot.venues.cex.instruments import instrument_of

TIERS = [
    {"minNotional": 0.0, "maxLeverage": 75.0, "maintenanceMarginRate": 0.01},
    {"minNotional": 5000.0, "maxLeverage": 50.0, "maintenanceMarginRate": 0.015},
]


def market(**changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "base": "1000PEPE",
        "quote": "USDT",
        "settle": "USDT",
        "swap": True,
        "linear": True,
        "active": True,
        "contractSize": 1.0,
        "precision": {"amount": 1.0, "price": 1e-07},
        "limits": {"cost": {"min": 5.0}},
    }
    return made | changed


def test_a_contract_of_a_thousand_keeps_its_name_and_says_its_underlying() -> None:
    made = instrument_of("binance", market(), TIERS)
    assert (made.name, made.underlying, made.multiplier) == ("binance:1000PEPE", "PEPE", 1000)
    assert (made.lot, made.tick, made.min_order_usd) == (Decimal(1), Decimal("1e-7"), Decimal(5))
    assert made.quote == "USDT"
    assert [tuple(map(float, row)) for row in made.maintenance] == [(0, 0.01, 0), (5000, 0.015, 25)]


def test_a_lot_is_counted_in_coins_not_contracts() -> None:
    made = instrument_of(
        "okx", market(base="BTC", contractSize=0.01, precision={"amount": 0.01, "price": 0.1}), TIERS
    )
    assert made.lot == Decimal("0.0001")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"contractSize": 10.0}, "lot of 10"),
        ({"precision": {"amount": 0.5, "price": 0.1}}, "power of ten"),
        ({"precision": {"amount": None, "price": 0.1}}, "not known"),
        ({"precision": {"amount": float("nan"), "price": 0.1}}, "not known"),
        ({"precision": {"amount": 1.0, "price": 0.0}}, "above 0"),
        ({"contractSize": True}, "not known"),
        ({"linear": False}, "perpetuals"),
        ({"settle": "USDC"}, "perpetuals"),
    ],
)
def test_what_cannot_be_traded_is_refused_in_a_sentence(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        instrument_of("okx", market(**changed), TIERS)


def test_a_market_without_tiers_is_refused() -> None:
    with pytest.raises(DataError, match="margin tiers"):
        instrument_of("binance", market(), [])


@pytest.mark.real_data
def test_recorded_binance_markets_and_brackets_become_instruments(real_data: Path) -> None:
    ccxt = pytest.importorskip("ccxt")
    folder = real_data.parent / "fixtures" / "binance"
    listed = json.loads((folder / "exchangeInfo.json").read_text())["symbols"]
    brackets = {
        row["symbol"]: row["brackets"] for row in json.loads((folder / "leverageBracket.json").read_text())
    }
    client, made = ccxt.binanceusdm(), {}
    for row in listed:
        parsed = client.parse_market(row)
        if not parsed["swap"] or row["symbol"] not in brackets:
            continue
        tiers = client.parse_market_leverage_tiers(
            {"symbol": row["symbol"], "brackets": brackets[row["symbol"]]}, parsed
        )
        instrument = instrument_of("binance", parsed, tiers)
        made[instrument.name] = instrument
        lot = next(each["stepSize"] for each in row["filters"] if each["filterType"] == "LOT_SIZE")
        tick = next(each["tickSize"] for each in row["filters"] if each["filterType"] == "PRICE_FILTER")
        assert (instrument.lot, instrument.tick) == (Decimal(lot), Decimal(tick))
        for (_, _, deduction), bracket in zip(instrument.maintenance, brackets[row["symbol"]], strict=True):
            assert abs(deduction - Decimal(str(bracket["cum"]))) < 1
    assert made["binance:BTC"].min_order_usd == 100
