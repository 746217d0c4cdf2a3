"""What keeps an adapter from trading at all: the wrong signer or key, two-sided positions, funding read wrongly."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.devnet.start import Options, running
from bot.errors import ConfigError, DataError, StateError, Unavailable
from bot.model.panel import HOUR_MS, FloatArray, Panel
from bot.venues.cex.adapter import CexVenue
from bot.venues.cex.differences import TABLE, differences_of
from bot.venues.cex.market_data import MarketData
from bot.venues.cex.startup import check_funding, check_key, one_way
from bot.venues.cex.terms import CexTerms
from tests.venues.cex.desk import COINS, START_MS, Desk, play
from tests.venues.cex.scripted import client_of
from tests.venues.cex.test_market_data import BTC, FIRST, Scene, candle, settled


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    options = Options(
        coins=COINS,
        history_h=96,
        flow=False,
        paused=True,
        start_ms=START_MS,
        cex_port=0,
        cex_usdt=Decimal(10_000),
    )
    with running(options) as devnet:
        yield Desk(devnet, tmp_path)


def connected(desk: Desk) -> None:
    asyncio.run(desk.connect())


def test_the_account_is_switched_to_one_way_mode(desk: Desk) -> None:
    records = desk.face.records[desk.account_keys["api_key"]]
    records.is_hedged = True

    async def scene(_: Desk) -> None:
        assert not records.is_hedged

    play(desk, scene)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"venue": "bybit"}, "the signer is for bybit"),
        ({"network": "testnet"}, "the signer is for binance testnet"),
        ({"assets": {"BTCUSDT": 0}}, "has no HYPEUSDT"),
    ],
)
def test_a_signer_for_something_else_is_refused(desk: Desk, status: dict[str, Any], said: str) -> None:
    told = desk.signer.status() | status
    desk.signer.status = lambda: told  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=said):
        connected(desk)


def test_a_coin_that_is_not_listed_is_named(desk: Desk) -> None:
    desk.terms = CexTerms("binance", "devnet", ("BTC", "NOSUCH"), url=desk.url)
    with pytest.raises(ConfigError, match="lists no perpetual NOSUCH/USDT:USDT"):
        connected(desk)


def test_a_signer_that_is_gone_can_be_waited_for(desk: Desk) -> None:
    desk.signer.gone = True
    with pytest.raises(Unavailable, match="does not answer"):
        connected(desk)


def test_what_can_be_real_money_is_not_in_the_table() -> None:
    with pytest.raises(ConfigError, match="testnet or devnet"):
        CexTerms("binance", "mainnet", ("BTC",))
    with pytest.raises(ConfigError, match="service must be one of demo"):
        differences_of("binance", "live")
    with pytest.raises(ConfigError, match="venue must be one of"):
        differences_of("kraken", "demo")
    with pytest.raises(ConfigError, match="a devnet has a url"):
        CexTerms("binance", "testnet", ("BTC",), url="http://127.0.0.1:1")


def ask_scripted(venue: str, answers: Mapping[str, Any], question: Callable[[Any, CexTerms], Any]) -> Any:
    client, wire, _ = client_of(venue, answers)
    terms = CexTerms(venue, "testnet", ("BTC",), service="testnet" if venue == "bybit" else "demo")

    async def run() -> None:
        try:
            await question(client, terms)
        finally:
            await client.close()

    asyncio.run(run())
    return wire.sent


def test_a_key_that_may_withdraw_is_refused() -> None:
    def told(*wallet: str) -> dict[str, Any]:
        return {"/v5/user/query-api": {"retCode": 0, "result": {"permissions": {"Wallet": list(wallet)}}}}

    def check(client: Any, terms: CexTerms) -> Any:
        return check_key(client, terms, TABLE["bybit"])

    ask_scripted("bybit", told("AccountTransfer"), check)
    with pytest.raises(ConfigError, match="may withdraw"):
        ask_scripted("bybit", told("AccountTransfer", "Withdraw"), check)
    with pytest.raises(Unavailable, match="could not be read"):
        ask_scripted("bybit", {"/v5/user/query-api": {"retCode": 0, "result": {}}}, check)


def test_an_account_whose_positions_other_money_backs_is_refused() -> None:
    def check(client: Any, terms: CexTerms) -> Any:
        return one_way(client, terms, TABLE["binance"])

    with pytest.raises(ConfigError, match="multi-assets mode"):
        ask_scripted("binance", {"/fapi/v1/multiAssetsMargin": {"multiAssetsMargin": True}}, check)


def test_an_account_that_can_not_be_switched_says_what_to_close() -> None:
    answers = {
        "/fapi/v1/multiAssetsMargin": {"multiAssetsMargin": False},
        "/fapi/v1/positionSide/dual": lambda params: (
            (400, {"code": -4068, "msg": "Position side cannot be changed if there exists position."})
            if "dualSidePosition" in params
            else {"dualSidePosition": True}
        ),
    }
    with pytest.raises(ConfigError, match="close all positions and orders first"):
        ask_scripted("binance", answers, lambda client, terms: one_way(client, terms, TABLE["binance"]))


# Adapters that read funding wrongly


def flipped(panel: Panel) -> dict[str, FloatArray]:
    return {"funding_rate": -panel.fields["funding_rate"]}


def as_of_an_hour(panel: Panel) -> dict[str, FloatArray]:
    return {"funding_rate": panel.fields["funding_rate"] * panel.fields["funding_interval_h"]}


def eight_for_all(panel: Panel) -> dict[str, FloatArray]:
    return {"funding_interval_h": np.full_like(panel.fields["funding_interval_h"], 8.0)}


def open_interest(panel: Panel) -> dict[str, FloatArray]:
    return {"funding_rate": np.full_like(panel.fields["funding_rate"], 12_345.0)}


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (flipped, "an hour, and the adapter made"),
        (as_of_an_hour, "an hour, and the adapter made"),
        (eight_for_all, "says that funding is settled every 8 h, its history every 4 h"),
        (open_interest, "above every venue's cap"),
    ],
)
def test_an_adapter_that_reads_funding_wrongly_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Panel], dict[str, FloatArray]], said: str
) -> None:
    right = MarketData.history

    async def wrong(self: MarketData, end_ms: int, rows: int) -> Panel:
        panel = await right(self, end_ms, rows)
        return Panel(panel.grid, panel.instruments, {**panel.fields, **mistake(panel)})

    monkeypatch.setattr(MarketData, "history", wrong)
    with pytest.raises(DataError, match=said):
        connected(desk)


def held_against_the_record(scene: Scene, last: int, rows: int) -> int:
    """How many settlements agree with the panel of so many rows up to `last` hours after FIRST."""

    async def story() -> int:
        panel = await scene.market.history((FIRST + last) * HOUR_MS, rows)
        terms = CexTerms("binance", "testnet", ("BTC",))
        return await check_funding(scene.client, terms, TABLE["binance"], panel, scene.market, [BTC])

    agree: int = scene.run(story())
    return agree


@pytest.mark.parametrize(
    ("hours", "last", "agree"),
    [
        # Rows from eight hours before FIRST on: the settlement at −8 has no hours before it there.
        ((-16, -8, 0, 8, 16), 15, 2),  # and the one at 16 comes after the last row
        ((-16, -8, 0, 8), 8, 2),
        ((-16, -8, 8), 15, 0),  # one is missing, so that nothing is known of the next
    ],
)
def test_settlements_are_held_against_the_rows_that_the_panel_has_of_them(
    hours: tuple[int, ...], last: int, agree: int
) -> None:
    scene = Scene(settled(*((hour, "0.0008") for hour in hours)))
    assert held_against_the_record(scene, last, last + 9) == agree


@pytest.mark.parametrize("turns_at", [8, -40])
def test_the_sign_of_a_rate_is_held_against_the_premium_of_the_hours_before_it(turns_at: int) -> None:
    scene = Scene(settled(*((hour, "0.0008") for hour in (-16, -8, 0, 8))))

    def marks(params: dict[str, str]) -> Any:
        low, high = int(params["startTime"]), int(params["endTime"])
        prices = {hour: "50500" if hour < turns_at else "49600" for hour in range(-40, 40)}
        bars = [candle(hour, open=told, high=told, low=told, close=told) for hour, told in prices.items()]
        return [bar for bar in bars if low <= bar[0] <= high]

    scene.wire.answers["/fapi/v1/markPriceKlines"] = (
        marks  # above the index of 50,050, and from then on below it
    )
    if turns_at == 8:
        assert held_against_the_record(scene, 15, 24) == 2
    else:
        with pytest.raises(DataError, match="may be turned"):
            held_against_the_record(scene, 15, 24)


def test_a_checkpoint_of_another_version_is_refused(desk: Desk) -> None:
    async def run() -> None:
        venue = await CexVenue.connect(desk.terms, desk.signer, desk.outbox)
        try:
            await venue.open({"version": 99})
        finally:
            await venue.close()

    with pytest.raises(StateError, match="version 99"):
        asyncio.run(run())


def test_the_condition_says_when_nothing_can_be_signed(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        assert (await desk.venue.condition()).signer_problem == ""
        desk.signer.lock()
        assert "locked" in (await desk.venue.condition()).signer_problem
        desk.signer.gone = True
        assert "does not answer" in (await desk.venue.condition()).signer_problem

    play(desk, scene)


def test_identity_names_the_account_and_no_key(desk: Desk) -> None:
    async def scene(desk: Desk) -> None:
        identity = desk.venue.identity
        assert identity["account"] == desk.account_keys["api_key"][:8]  # the devnet's alias
        assert desk.account_keys["api_key"] not in str(identity)

    play(desk, scene)
