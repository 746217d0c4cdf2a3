"""What anybody may ask: the listing, books, prices, funding and candles, as ccxt reads them."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from bot.devnet.cex.door import Door
from bot.devnet.start import Options, build
from tests.devnet.cex.clients import BTC, ETH, HOUR_MS, HYPE, PEPE, advance


def test_the_listing_has_the_venues_names_grids_and_brackets(exchange: Any) -> None:
    markets = exchange.load_markets()
    assert set(markets) == {BTC, ETH, HYPE, PEPE}
    assert (markets[BTC]["precision"]["amount"], markets[BTC]["precision"]["price"]) == (0.001, 0.1)
    assert markets[BTC]["limits"]["cost"]["min"] == 100
    assert markets[PEPE]["precision"]["price"] == 1e-7
    tiers = exchange.fetch_leverage_tiers()[BTC]
    assert [
        (tier["minNotional"], tier["maxLeverage"], tier["maintenanceMarginRate"]) for tier in tiers[:3]
    ] == [
        (0, 150, 0.004),
        (300_000, 100, 0.005),
        (800_000, 75, 0.0065),
    ]
    # the venue's own cumulative amounts for BTCUSDT
    assert [tier["info"]["cum"] for tier in tiers[:5]] == [0, 300, 1500, 12_000, 132_000]


def test_a_book_is_in_order_on_the_grid_and_around_the_mark(exchange: Any) -> None:
    book = exchange.fetch_order_book(BTC, 20)
    bids, asks = ([row[0] for row in book[side]] for side in ("bids", "asks"))
    assert len(bids) == len(asks) == 20
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert all(round(price * 10) == pytest.approx(price * 10, abs=1e-6) for price in bids + asks)
    mark = exchange.fetch_funding_rate(BTC)["markPrice"]
    assert bids[0] * 0.999 < mark < asks[0] * 1.001


def test_tickers_of_one_and_of_all_agree(exchange: Any) -> None:
    everything = exchange.fetch_tickers()
    assert set(everything) == {BTC, ETH, HYPE, PEPE}
    assert exchange.fetch_ticker(ETH)["last"] == everything[ETH]["last"]
    sides = exchange.fetch_bids_asks()[ETH]
    assert sides["bid"] < everything[ETH]["last"] < sides["ask"]
    assert exchange.fetch_last_prices([ETH])[ETH]["price"] == everything[ETH]["last"]
    assert everything[ETH]["low"] <= everything[ETH]["last"] <= everything[ETH]["high"]


def test_both_venues_cost_the_same_but_for_a_few_hundredths_of_a_percent(devnet: Any, exchange: Any) -> None:
    for symbol, coin in ((BTC, "BTC"), (ETH, "ETH"), (HYPE, "HYPE"), (PEPE, "kPEPE")):
        book = exchange.fetch_order_book(symbol, 5)
        here = (book["bids"][0][0] + book["asks"][0][0]) / 2
        there = float(devnet.world.moment.mid[devnet.world.column[coin]])
        assert here != there
        assert here == pytest.approx(there, rel=0.005)


def test_the_past_of_prices_is_what_it_was_as_it_happened(url: str, exchange: Any) -> None:
    since = exchange.fetch_time()
    advance(url, 0.25)
    now = exchange.fetch_time()
    book = exchange.fetch_order_book(BTC, 5)
    middle = (book["bids"][0][0] + book["asks"][0][0]) / 2
    advance(url, 3)
    minutes = exchange.fetch_ohlcv(BTC, "1m", since=now - now % 60_000, limit=1)
    assert minutes[0][0] <= now < minutes[0][0] + 60_000
    _, _, high, low, _, volume = minutes[0]
    assert low * 0.9999 <= middle <= high * 1.0001
    assert volume > 0
    hours = exchange.fetch_ohlcv(BTC, "1h", since=since - 5 * HOUR_MS, limit=4)
    assert [row[0] % HOUR_MS for row in hours] == [0] * 4
    marks = exchange.fetch_mark_ohlcv(BTC, "1h", since=since - 5 * HOUR_MS, limit=4)
    for hour, mark in zip(hours, marks, strict=True):
        assert hour[0] == mark[0]
        assert hour[3] <= hour[1] <= hour[2]
        assert mark[4] == pytest.approx(hour[4], rel=0.002)


def test_the_last_candles_come_without_a_start_and_the_first_with_one(exchange: Any) -> None:
    now = exchange.fetch_time()
    last = exchange.fetch_ohlcv(ETH, "1h", limit=5)
    assert [row[0] for row in last] == [now // HOUR_MS * HOUR_MS - HOUR_MS * back for back in (4, 3, 2, 1, 0)]
    since = now // HOUR_MS * HOUR_MS - 10 * HOUR_MS
    assert [row[0] for row in exchange.fetch_ohlcv(ETH, "1h", since, 2)] == [since, since + HOUR_MS]
    assert exchange.fetch_ohlcv(ETH, "4h", since, 50)[-1][0] == now // (4 * HOUR_MS) * (4 * HOUR_MS)


def test_funding_is_paid_every_eight_hours_or_four_and_said_beforehand(url: str, exchange: Any) -> None:
    intervals = exchange.fetch_funding_intervals()
    assert intervals[HYPE]["interval"] == "4h"
    assert BTC not in intervals  # as on the venue, what has the usual interval is not in the list
    advance(url, 8 - exchange.fetch_time() % (8 * HOUR_MS) / HOUR_MS - 0.01)
    expected = exchange.fetch_funding_rates()
    assert expected[BTC]["fundingTimestamp"] % (8 * HOUR_MS) == 0
    advance(url, 0.02)
    for symbol, interval_ms in ((BTC, 8 * HOUR_MS), (HYPE, 4 * HOUR_MS)):
        rows = exchange.fetch_funding_rate_history(symbol, limit=6)
        told = [row["timestamp"] for row in rows]
        times = [each // 1000 * 1000 for each in told]
        assert max(each - time for each, time in zip(told, times, strict=True)) <= 9  # as the venue's are
        assert times == [times[0] + interval_ms * step for step in range(6)]
        assert times[0] % interval_ms == 0
        assert times[-1] == expected[symbol]["fundingTimestamp"]
        assert rows[-1]["fundingRate"] == pytest.approx(expected[symbol]["fundingRate"], rel=0.02, abs=1e-6)
        assert exchange.fetch_funding_rate_history(symbol, told[2], 2) == rows[2:4]
        assert exchange.fetch_funding_rate_history(symbol, told[2] + 1, 2) == rows[3:5]


def test_a_settlement_follows_the_hours_of_the_other_venue_without_being_the_same(
    devnet: Any, url: str, exchange: Any
) -> None:
    advance(url, 16)
    apart = []
    for row in exchange.fetch_funding_rate_history(BTC, limit=6):
        hours = requests.post(
            f"{devnet.url}/info",
            json={
                "type": "fundingHistory",
                "coin": "BTC",
                "startTime": row["timestamp"] - 8 * HOUR_MS + 10,
                "endTime": row["timestamp"] + 1000,
            },
            timeout=5,
        ).json()
        assert len(hours) == 8
        there = sum(float(each["fundingRate"]) for each in hours)
        assert abs(row["fundingRate"] - 0.7 * there) < 8.1e-5  # the part that sways is at most 0.8 bp
        apart.append(row["fundingRate"] - there)
    assert max(abs(each) for each in apart) > 1e-6


def test_open_interest_and_its_history(exchange: Any) -> None:
    now = exchange.fetch_time()
    current = exchange.fetch_open_interest(BTC)["openInterestAmount"]
    rows = exchange.fetch_open_interest_history(BTC, "1h", limit=6)
    assert [row["timestamp"] for row in rows] == [
        now // HOUR_MS * HOUR_MS - HOUR_MS * back for back in range(5, -1, -1)
    ]
    assert rows[-1]["openInterestAmount"] == pytest.approx(current, rel=0.1)
    mark = exchange.fetch_funding_rate(BTC)["markPrice"]
    assert rows[-1]["openInterestValue"] == pytest.approx(rows[-1]["openInterestAmount"] * mark, rel=0.05)


def test_prices_are_a_function_of_the_seed_and_the_time_alone() -> None:
    def middles(steps: list[int], seed: int) -> list[float]:
        options = Options(
            seed=seed,
            coins=("BTC", "HYPE"),
            history_h=24,
            start_ms=1_735_700_000_000,
            paused=True,
            cex_port=0,
        )
        world = build(options).world
        for step in steps:
            world.advance(step)
        door = world.neighbours["binance"]
        assert isinstance(door, Door)
        quotes = door.face.quotes()
        rates = [door.face.expected_rate(each)[0] for each in door.face.listed.values()]
        return [*quotes.mid, *quotes.mark, *quotes.index, *rates]

    hours = 9 * HOUR_MS
    assert middles([hours], 7) == middles([hours // 9] * 9, 7) == middles([hours - 1001, 1001], 7)
    assert middles([hours], 7) != middles([hours], 8)


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/fapi/v1/depth?symbol=NOPE", -1121, 400),
        ("/fapi/v1/depth", -1102, 400),
        ("/fapi/v1/depth?symbol=BTCUSDT&limit=7", -4021, 400),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=7m", -1120, 400),
        ("/fapi/v1/fundingRate?symbol=BTCUSDT&startTime=5&endTime=4", -1023, 400),
        ("/fapi/v1/fundingRate?symbol=BTCUSDT&startTime=-5", -1102, 400),
        ("/futures/data/openInterestHist?symbol=BTCUSDT&period=7m", -1130, 400),
        ("/fapi/v1/nothing", -5000, 404),
        ("/fapi/v1/account", -5000, 404),
        ("/fapi/v2/account", -2014, 401),
    ],
)
def test_what_cannot_be_is_refused_with_the_venues_code(url: str, path: str, code: int, status: int) -> None:
    reply = requests.get(url + path, timeout=5)
    assert (reply.json()["code"], reply.status_code) == (code, status)


def test_every_answer_says_what_it_weighed(url: str) -> None:
    first, second = (requests.get(f"{url}/fapi/v1/exchangeInfo", timeout=5) for _ in range(2))
    used = [int(reply.headers["X-MBX-USED-WEIGHT-1M"]) for reply in (first, second)]
    assert used[1] == used[0] + 1
