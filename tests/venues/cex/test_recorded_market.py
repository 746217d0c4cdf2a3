"""Recorded words of three exchanges on funding and open interest, through the library's parsers and the adapter, offline."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.venues.cex.books import Market
from bot.venues.cex.client import Client
from bot.venues.cex.differences import TABLE
from bot.venues.cex.instruments import instrument_of
from bot.venues.cex.market_data import MarketData
from tests.venues.cex.scripted import Answer, client_of
from tests.venues.cex.test_recorded_replies import SYMBOL, Fixtures

pytestmark = pytest.mark.real_data
BYBIT = "bybit/http_get_instruments_linear.json"
TIERS = [{"minNotional": "0", "maxLeverage": "50", "maintenanceMarginRate": "0.004"}]


@pytest.fixture
def fixtures(real_data: Path) -> Fixtures:
    folder = real_data.parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"no recorded replies in {folder}")
    return Fixtures(folder)


def recorded(fixtures: Fixtures, name: str, query: str) -> Any:
    replies = fixtures.plain(f"binance/recorded/{name}.json")["replies"]
    return next(each["response"] for each in replies if each["query"] == query)


async def seen(
    venue: str, answers: Mapping[str, Answer], coins: tuple[str, ...]
) -> tuple[Client, MarketData]:
    """What the adapter knows of the market after it has asked for rates and their intervals."""
    client, _, _ = client_of(venue, answers)
    await client.ask("load_markets")
    markets = []
    for coin in coins:
        told = client.markets[f"{coin}/USDT:USDT"]
        contract = instrument_of(venue, told, TIERS)
        markets.append(Market(contract, told["symbol"], told["id"], contract.lot))
    market = MarketData(client, markets, TABLE[venue])
    await market.learn_intervals()
    return client, market


async def rates(client: Client) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = (await client.ask("fetch_funding_rates", [SYMBOL]))[SYMBOL]
        return found
    finally:
        await client.close()


def test_binance_tells_its_rate_by_the_mark_and_its_interval_apart(fixtures: Fixtures) -> None:
    answers = {
        **fixtures.markets("binance"),
        "/fapi/v1/fundingInfo": fixtures.plain("binance/fundingInfo.json"),
        "/fapi/v1/premiumIndex": [recorded(fixtures, "fapi_v1_premiumIndex", "symbol=BTCUSDT")],
    }

    async def ask() -> None:
        client, market = await seen("binance", answers, ("BTC", "ETH"))
        assert market.intervals_h == {"binance:BTC": 8, "binance:ETH": 8}  # which fundingInfo does not list
        told = await rates(client)
        assert (told["fundingRate"], told["markPrice"], told["indexPrice"]) == (
            "0.00001226", "26780.82240476", "26798.25197802",
        )  # fmt: skip
        assert told["fundingTimestamp"] == 1687248000000

    asyncio.run(ask())


def test_binance_lists_the_contracts_of_four_hours(fixtures: Fixtures) -> None:
    rows = {row["symbol"]: row["fundingIntervalHours"] for row in fixtures.plain("binance/fundingInfo.json")}
    assert rows["TRBUSDT"] == 4
    info = fixtures.plain("binance/exchangeInfo.json")
    like = next(row for row in info["symbols"] if row["symbol"] == "LTCUSDT")
    info["symbols"].append({**like, "symbol": "TRBUSDT", "pair": "TRBUSDT", "baseAsset": "TRB"})
    answers = {
        "/fapi/v1/exchangeInfo": info,
        "/fapi/v1/fundingInfo": fixtures.plain("binance/fundingInfo.json"),
    }

    async def ask() -> None:
        client, market = await seen("binance", answers, ("TRB", "LTC"))
        await client.close()
        assert market.intervals_h == {"binance:TRB": 4, "binance:LTC": 8}

    asyncio.run(ask())


@pytest.mark.parametrize(("minutes", "hours"), [(480, 8), (240, 4), (8, None)])
def test_bybit_tells_the_interval_with_its_contract_in_minutes(
    fixtures: Fixtures, minutes: int, hours: int | None
) -> None:
    ticker, contracts = fixtures.plain("bybit/ws_ticker_linear.json"), fixtures.plain(BYBIT)
    contracts["result"] |= {"category": "linear"}
    contracts["result"]["list"][0]["fundingInterval"] = (
        minutes  # the sample has 8, and no settlement is 8 minutes apart
    )
    told = {"category": "linear", "list": [ticker["data"]]}
    answers = {
        "/v5/market/instruments-info": contracts,
        "/v5/market/tickers": {"retCode": 0, "retMsg": "OK", "result": told, "time": ticker["ts"]},
    }

    async def ask() -> None:
        client, market = await seen("bybit", answers, ("BTC",))
        assert market.intervals_h == {"bybit:BTC": hours}  # unknown is not guessed
        told = await rates(client)
        assert (told["fundingRate"], told["markPrice"], told["indexPrice"]) == (
            "-0.000212",
            "17217.33",
            "17227.36",
        )
        assert told["fundingTimestamp"] == 1673280000000

    asyncio.run(ask())


def test_okx_tells_the_interval_by_the_next_two_settlements(fixtures: Fixtures) -> None:
    rows = fixtures.plain("okx/ws_funding_rate.json")["data"]
    answers = {
        **fixtures.markets("okx"),
        "/api/v5/public/funding-rate": {"code": "0", "msg": "", "data": rows},
    }

    async def ask() -> None:
        client, market = await seen("okx", answers, ("BTC",))
        assert market.intervals_h == {"okx:BTC": 8}  # 1744619149506 − 1744590349506 ms
        assert (await rates(client))["fundingRate"] == "0.0001"

    asyncio.run(ask())


def test_open_interest_of_binance_is_in_coins(fixtures: Fixtures) -> None:
    answers = {
        **fixtures.markets("binance"),
        "/fapi/v1/openInterest": recorded(fixtures, "fapi_v1_openInterest", "symbol=BTCUSDT"),
    }

    async def ask() -> Any:
        client, _, _ = client_of("binance", answers)
        try:
            return await client.ask("fetch_open_interest", SYMBOL)
        finally:
            await client.close()

    told = asyncio.run(ask())
    assert (told["openInterestAmount"], told["timestamp"]) == ("83782.317", 1702244985273)
