"""Recorded and documented replies of three exchanges, through the library's parsers and the strict edge, offline."""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.model.order import Side, TimeInForce
from bot.venues.cex import wire
from bot.venues.cex.client import Client
from bot.venues.cex.differences import TABLE
from bot.venues.cex.instruments import instrument_of
from tests.venues.cex.scripted import NOW_MS, Answer, client_of

pytestmark = pytest.mark.real_data
ONE = Decimal(1)
SYMBOL = "BTC/USDT:USDT"
OKX_SWAP = {
    "instType": "SWAP", "instId": "BTC-USDT-SWAP", "uly": "BTC-USDT", "instFamily": "BTC-USDT", "ctVal": "0.01",
    "ctMult": "1", "ctValCcy": "BTC", "ctType": "linear", "settleCcy": "USDT", "lotSz": "0.01", "minSz": "0.01",
    "tickSz": "0.1", "state": "live", "lever": "100", "baseCcy": "", "quoteCcy": "", "listTime": "1573557408000",
}  # fmt: skip


class Fixtures:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plain(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def documented(self, name: str) -> Any:
        return self.plain(f"binance/docs_examples/{name}.json")["response"]

    def markets(self, venue: str) -> Mapping[str, Answer]:
        if venue == "binance":
            return {"/fapi/v1/exchangeInfo": self.plain("binance/exchangeInfo.json")}
        if venue == "bybit":
            told = self.plain("bybit/http_get_instruments_linear.json")
            told["result"]["category"] = "linear"  # which the sample was cut of
            return {"/v5/market/instruments-info": told}
        return {"/api/v5/public/instruments": {"code": "0", "msg": "", "data": [OKX_SWAP]}}


@pytest.fixture
def fixtures(real_data: Path) -> Fixtures:
    folder = real_data.parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"no recorded replies in {folder}")
    return Fixtures(folder)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def loaded(fixtures: Fixtures, venue: str, **answers: Answer) -> Client:
    paths = {"/" + path.replace("__", "-").replace("_", "/"): answer for path, answer in answers.items()}
    client, _, _ = client_of(venue, {**fixtures.markets(venue), **paths})
    return client


async def ask(client: Client, method: str, *arguments: Any) -> Any:
    await client.ask("load_markets")
    try:
        return await client.ask(method, *arguments)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("venue", "lot", "tick"),
    [("binance", "0.001", "0.1"), ("bybit", "0.001", "0.5"), ("okx", "0.0001", "0.1")],
)
def test_a_contract_of_each_exchange_is_read_with_its_lot_in_coins_and_its_tick(
    fixtures: Fixtures, venue: str, lot: str, tick: str
) -> None:
    markets = run(ask(loaded(fixtures, venue), "load_markets"))
    tiers = [{"minNotional": "0", "maxLeverage": "50", "maintenanceMarginRate": "0.004"}]
    made = instrument_of(venue, markets[SYMBOL], tiers)
    assert (made.name, made.lot, made.tick) == (f"{venue}:BTC", Decimal(lot), Decimal(tick))


def test_a_binance_trade_is_read_to_the_last_digit(fixtures: Fixtures) -> None:
    told = [{**fixtures.documented("Trading_GetUserTrades")[0], "positionSide": "BOTH"}]
    client = loaded(fixtures, "binance", fapi_v1_userTrades=told)
    rows = run(ask(client, "fetch_my_trades", SYMBOL))
    trade = wire.trade(rows[0], SYMBOL, ONE)
    assert (trade.trade_id, trade.order_id, trade.time_ms) == ("698759", 25851813, 1569514978020)
    assert (trade.side, trade.coins, trade.price) == (Side.SELL, Decimal("0.002"), Decimal("7819.01"))
    assert (trade.fee, trade.fee_currency, trade.is_maker) == (Decimal("-0.07819010"), "USDT", False)


def test_a_bybit_trade_keeps_its_order_by_a_number_of_its_own(fixtures: Fixtures) -> None:
    client = loaded(fixtures, "bybit", v5_execution_list=fixtures.plain("bybit/http_get_executions.json"))
    rows = run(ask(client, "fetch_my_trades", SYMBOL))
    trade = wire.trade(next(row for row in rows if row["symbol"] == SYMBOL), SYMBOL, ONE)
    assert (trade.coins, trade.price, trade.fee) == (Decimal("0.100"), Decimal("50000.00"), Decimal("0.0150"))
    assert trade.order_id == wire.id_number("8c065341-7b52-4ca9-ac2c-37e31ac55c94", "")
    assert 0 < trade.order_id < 1 << 48
    assert trade.is_maker


def test_an_okx_size_in_contracts_becomes_coins(fixtures: Fixtures) -> None:
    told = fixtures.plain("okx/http_get_orders_pending.json")
    client = loaded(fixtures, "okx", **{"api_v5_trade_orders__pending": told})
    rows = run(ask(client, "fetch_open_orders", SYMBOL))
    shown = wire.order(rows[0], SYMBOL, Decimal("0.01"), NOW_MS)
    assert (shown.coins, shown.filled, shown.limit_price) == (Decimal("0.0010"), 0, Decimal("103500"))
    assert (shown.client_name, shown.status, shown.tif) == ("client-order-1", "open", TimeInForce.GTC)


def test_positions_are_signed_and_valued_at_their_mark(fixtures: Fixtures) -> None:
    brackets = [{"symbol": "BTCUSDT", "brackets": [{"notionalFloor": 0, "maintMarginRatio": 0.004}]}]
    told = [{**fixtures.documented("Trading_GetPositions")[0], "positionSide": "BOTH"}]
    client = loaded(fixtures, "binance", fapi_v3_positionRisk=told, fapi_v1_leverageBracket=brackets)
    held = wire.position(run(ask(client, "fetch_positions"))[0], ONE)
    assert held is not None
    assert (held.coins, held.entry_price) == (Decimal("0.001"), Decimal("22185.2"))
    assert held.notional_usd == Decimal("0.001") * Decimal("21123.05052574")
    assert held.unrealised_usd == Decimal("-1.06214947")

    client = loaded(fixtures, "bybit", v5_position_list=fixtures.plain("bybit/http_get_positions.json"))
    by_symbol = {row["symbol"]: wire.position(row, ONE) for row in run(ask(client, "fetch_positions"))}
    short = by_symbol["ETH/USDT:USDT"]
    assert short is not None
    assert (short.coins, short.entry_price) == (Decimal("-5.0"), Decimal("3000.00"))


def test_a_position_of_two_sides_is_refused(fixtures: Fixtures) -> None:
    brackets = [{"symbol": "BTCUSDT", "brackets": [{"notionalFloor": 0, "maintMarginRatio": 0.004}]}]
    told = fixtures.documented("Trading_GetPositions")
    client = loaded(fixtures, "binance", fapi_v3_positionRisk=told, fapi_v1_leverageBracket=brackets)
    with pytest.raises(Exception, match="one-way mode"):
        wire.position(run(ask(client, "fetch_positions"))[0], ONE)


def test_money_is_the_wallet_of_the_one_currency(fixtures: Fixtures) -> None:
    answers: dict[str, tuple[dict[str, Answer], str]] = {
        "binance": ({"fapi_v3_account": fixtures.documented("Account_GetAccountInfoV3")}, "23.72469206"),
        "bybit": (
            {"v5_account_wallet__balance": fixtures.plain("bybit/http_get_wallet_balance.json"),
             "v5_user_query__api": fixtures.plain("bybit/http_get_user_query_api.json"),
             "v5_account_info": fixtures.plain("bybit/http_get_account_info.json")},
            "1000.50",
        ),
        "okx": ({"api_v5_account_balance": fixtures.plain("okx/http_get_account_balance.json")}, "94.42612990333333"),
    }  # fmt: skip
    for venue, (paths, wallet) in answers.items():
        told = run(ask(loaded(fixtures, venue, **paths), "fetch_balance"))
        assert wire.number(TABLE[venue].wallet(told, "USDT"), "") == Decimal(wallet), venue


def test_the_ledger_says_what_was_paid_and_what_was_moved(fixtures: Fixtures) -> None:
    client = loaded(fixtures, "binance", fapi_v1_income=fixtures.documented("Account_GetIncomeHistory"))
    rows = run(ask(client, "fetch_ledger", "USDT"))
    lines = [wire.booked(row, TABLE["binance"].ledger_kind(row["info"])) for row in rows]
    assert [(each.kind, each.usd, each.symbol) for each in lines] == [
        ("TRANSFER", Decimal("-0.37500000"), ""),
        ("COMMISSION", Decimal("-0.01000000"), "BTCUSDT"),
    ]
    assert len({each.key for each in lines}) == 2  # the venue gave both one number


@pytest.mark.parametrize(
    ("venue", "path", "name", "rate"),
    [
        (
            "binance",
            "fapi_v1_fundingRate",
            "binance/docs_examples/ExchangeData_GetFundingRates.json",
            "0.00010000",
        ),
        ("bybit", "v5_market_funding_history", "bybit/http_get_funding_history.json", "0.0001"),
        ("okx", "api_v5_public_funding__rate__history", "okx/http_get_funding_rate_history.json", "0.00015"),
    ],
)
def test_settled_rates_are_the_venues_own(
    fixtures: Fixtures, venue: str, path: str, name: str, rate: str
) -> None:
    told = fixtures.plain(name)
    told = told.get("response", told) if isinstance(told, dict) else told
    path = path.replace("funding_history", "funding/history")
    client = loaded(fixtures, venue, **{path.replace("/", "_"): told})
    rows = run(ask(client, "fetch_funding_rate_history", SYMBOL))
    newest = max(rows, key=lambda row: row["timestamp"])
    assert (newest["fundingRate"], newest["symbol"]) == (rate, SYMBOL)


def test_a_key_that_may_withdraw_is_seen(fixtures: Fixtures) -> None:
    told = fixtures.plain("bybit/http_get_user_query_api.json")
    withdraws = TABLE["bybit"].can_withdraw
    assert withdraws is not None
    assert withdraws(told) is False
    told["result"]["permissions"]["Wallet"].append("Withdraw")
    assert withdraws(told) is True
    withdraws = TABLE["okx"].can_withdraw
    assert withdraws is not None
    assert withdraws({"data": [{"perm": "read_only,withdraw,trade"}]}) is True
    assert withdraws({"data": [{"perm": "read_only,trade"}]}) is False
