"""Rates with their intervals, by hand: what was settled, what was paid at a row, and what is not known."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from bot.errors import DataError
from bot.model.instrument import Instrument, MarginTier
from bot.model.panel import HOUR_MS, Panel
from bot.venues.cex.books import Market
from bot.venues.cex.differences import TABLE
from bot.venues.cex.market_data import MarketData
from tests.venues.cex.scripted import Wire, client_of
from tests.venues.cex.test_orders_signed import MARKETS, SYMBOL

FIRST = 497_216  # an hour that eight divides
BTC = Market(
    Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 50),), venue="binance", tick=Decimal("0.1")),
    SYMBOL, "BTCUSDT", Decimal(1),
)  # fmt: skip


def settled(*rows: tuple[int, str]) -> list[dict[str, Any]]:
    """Rates by hours after `FIRST`, some milliseconds late as the venue's are."""
    return [
        {
            "symbol": "BTCUSDT",
            "fundingTime": (FIRST + hour) * HOUR_MS + 3,
            "fundingRate": rate,
            "markPrice": "50000",
        }
        for hour, rate in rows
    ]


def candle(hour: int, **other: str) -> list[Any]:
    told = {"open": "50000", "high": "50100", "low": "49900", "close": "50050", "volume": "2"} | other
    start = (FIRST + hour) * HOUR_MS
    return [start, *told.values(), start + HOUR_MS - 1, "0", 1, "0", "0", "0"]


class Scene:
    """Market data of one contract, by scripted replies."""

    def __init__(self, rates: Sequence[dict[str, Any]], info: Sequence[dict[str, Any]] = ()) -> None:
        def funding(params: dict[str, str]) -> Any:
            low, high = int(params["startTime"]), int(params.get("endTime", "9" * 13))
            found = [row for row in rates if low <= row["fundingTime"] <= high]
            return found[: int(params.get("limit", len(found)))]

        bars = [candle(hour) for hour in range(-40, 40)]

        def klines(params: dict[str, str]) -> Any:
            low, high = int(params["startTime"]), int(params["endTime"])
            return [bar for bar in bars if low <= bar[0] <= high]

        def interest(params: dict[str, str]) -> Any:
            # At most so many, from the start on; what is older than thirty days is refused.
            low, high, most = int(params["startTime"]), int(params["endTime"]), int(params["limit"])
            assert (params["period"], most <= 500) == ("1h", True)
            if low < high - 30 * 24 * HOUR_MS:
                return 400, {"code": -1130, "msg": "parameter 'startTime' is invalid."}
            times = range(-(-low // HOUR_MS), high // HOUR_MS + 1)
            return [
                {
                    "symbol": "BTCUSDT",
                    "sumOpenInterest": str(1000 + hour - FIRST),
                    "sumOpenInterestValue": "5",
                    "timestamp": hour * HOUR_MS,
                }
                for hour in times
            ][:most]

        self.info = list(info)
        answers: dict[str, Any] = {
            **MARKETS["binance"], "/fapi/v1/fundingRate": funding, "/fapi/v1/fundingInfo": lambda _: self.info,
            "/futures/data/openInterestHist": interest,
            "/fapi/v1/klines": klines, "/fapi/v1/markPriceKlines": klines, "/fapi/v1/indexPriceKlines": klines,
            "/fapi/v1/premiumIndex": [{
                "symbol": "BTCUSDT", "markPrice": "50010", "indexPrice": "50000", "lastFundingRate": "0.00008",
                "nextFundingTime": (FIRST + 16) * HOUR_MS, "time": FIRST * HOUR_MS,
            }],
            "/fapi/v1/ticker/bookTicker": [
                {"symbol": "BTCUSDT", "bidPrice": "50000", "bidQty": "1", "askPrice": "50010", "askQty": "1"}
            ],
            "/fapi/v1/openInterest": {"symbol": "BTCUSDT", "openInterest": "1234.5", "time": FIRST * HOUR_MS},
        }  # fmt: skip
        self.client, self.wire, _ = client_of("binance", answers)
        self.market = MarketData(self.client, [BTC], TABLE["binance"])

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def all_of_it() -> Any:
            await self.client.ask("load_markets")
            try:
                return await work
            finally:
                await self.client.close()

        return asyncio.run(all_of_it())

    def history(self, last: int, rows: int) -> Panel:
        panel: Panel = self.run(self.market.history((FIRST + last) * HOUR_MS, rows))
        return panel


def column(panel: Panel, name: str) -> list[float]:
    return [float(each) for each in panel.fields[name][:, 0]]


def test_a_rate_is_per_hour_of_its_interval_and_paid_at_its_row_alone() -> None:
    panel = Scene(settled((-8, "0.0004"), (0, "0.0008"), (8, "-0.0016"))).history(9, 10)
    assert column(panel, "funding_rate") == pytest.approx([0.0001] * 8 + [-0.0002] * 2)
    assert column(panel, "settled_funding") == pytest.approx([0.0008] + [0.0] * 7 + [-0.0016, 0.0])
    assert column(panel, "funding_interval_h") == [8.0] * 10
    assert column(panel, "mark") == [50_050.0] * 10
    assert column(panel, "volume_usd") == pytest.approx([2 * (50_100 + 49_900 + 50_050) / 3] * 10)


def test_open_interest_of_the_past_is_asked_for_in_parts_and_as_far_back_as_it_is_kept() -> None:
    scene = Scene(settled((-8, "0.0008"), (0, "0.0008")))
    told = column(scene.history(8, 800), "open_interest")
    kept = 29 * 24 + 1
    assert told[-kept:] == [1000 + 8 - hour for hour in reversed(range(kept))]
    assert np.isnan(told[:-kept]).all()
    asked = [url for _, url, _ in scene.wire.sent if "openInterestHist" in url]
    assert asked == ["https://demo-fapi.binance.com/futures/data/openInterestHist"] * 2


NEGATIVE = [
    {"symbol": "BTCUSDT", "sumOpenInterest": "-1", "sumOpenInterestValue": "5", "timestamp": FIRST * HOUR_MS}
]


@pytest.mark.parametrize("answer", [(404, "<html>"), (400, {"code": -1, "msg": "no"}), NEGATIVE])
def test_where_open_interest_of_the_past_is_not_told_the_rest_is(answer: Any) -> None:
    scene = Scene(settled((-8, "0.0008"), (0, "0.0008")))
    scene.wire.answers["/futures/data/openInterestHist"] = answer
    with capture_logs() as logs:
        panel = scene.history(8, 9)
    assert np.isnan(column(panel, "open_interest")).all()
    assert column(panel, "mark") == [50_050.0] * 9
    assert [each["what"] for each in logs if each["event"] == "not told"] == ["open_interest"]


def test_a_contract_that_goes_over_to_four_hours_is_read_by_the_new_interval() -> None:
    panel = Scene(settled((-8, "0.0008"), (0, "0.0008"), (4, "0.0008"), (8, "0.0008"))).history(8, 9)
    assert column(panel, "funding_rate") == pytest.approx([0.0001] * 4 + [0.0002] * 5)
    assert column(panel, "funding_interval_h") == [8.0] * 4 + [4.0] * 5


def test_a_contract_that_went_over_to_eight_hours_is_read_by_the_old_interval_before() -> None:
    panel = Scene(settled((-4, "0.0004"), (0, "0.0004"), (8, "0.0004"), (16, "0.0004"))).history(16, 17)
    # Until the first of eight hours is told, a settlement may be missing at four.
    np.testing.assert_array_equal(column(panel, "funding_interval_h"), [4.0] * 4 + [np.nan] * 4 + [8.0] * 9)


def test_where_the_interval_was_shortened_since_two_gaps_of_the_old_one_are_believed() -> None:
    now = [{"symbol": "BTCUSDT", "fundingIntervalHours": 4}]
    panel = Scene(settled((-16, "0.0008"), (-8, "0.0008"), (0, "0.0008")), now).history(1, 9)
    assert column(panel, "funding_interval_h") == [8.0] * 9
    # One alone may be two of four hours with one missing between.
    alone = Scene(settled((-8, "0.0008"), (0, "0.0008")), now).history(1, 2)
    assert np.isnan(column(alone, "funding_interval_h")).all()


def test_a_settlement_that_is_told_a_little_before_its_hour_is_of_that_hour() -> None:
    rates = settled((-8, "0.0004"), (0, "0.0008"))
    rates[1]["fundingTime"] -= 1_000
    panel = Scene(rates).history(1, 2)
    assert column(panel, "settled_funding") == pytest.approx([0.0008, 0.0])


def test_more_settlements_than_one_reply_has_are_asked_for_in_turn() -> None:
    scene = Scene(settled(*((hour, "0.0008") for hour in range(-16, 17, 8))))
    scene.market = MarketData(scene.client, [BTC], replace(TABLE["binance"], rates_per_reply=2))
    assert column(scene.history(16, 17), "funding_interval_h") == [8.0] * 17


def test_what_is_decided_on_a_row_has_the_prices_of_its_end() -> None:
    scene = Scene(settled((-8, "0.0004"), (0, "0.0008")))
    answers: Any = scene.wire.answers
    (told,) = answers["/fapi/v1/premiumIndex"]
    marks = iter(("50010", "50020"))
    answers["/fapi/v1/premiumIndex"] = lambda _: [{**told, "markPrice": next(marks)}]
    row = scene.run(scene.market.row(FIRST * HOUR_MS))
    assert row["mark"][0] == 50_010
    assert scene.market.marks == {"binance:BTC": 50_020}


def test_where_a_settlement_is_missing_nothing_is_known_until_the_one_after_the_next() -> None:
    panel = Scene(settled((-8, "0.0008"), (0, "0.0008"), (16, "0.0008"), (24, "0.0008"))).history(25, 26)
    rate = column(panel, "funding_rate")
    assert rate[:8] == pytest.approx([0.0001] * 8)
    assert np.isnan(rate[8:24]).all()  # not at 16 either: a rate of sixteen hours is no rate of eight
    assert rate[24:] == pytest.approx([0.0001] * 2)
    assert np.isnan(column(panel, "settled_funding")[8:24]).all()


def test_the_row_of_an_hour_has_prices_of_now_and_the_estimate_per_hour() -> None:
    scene = Scene(settled((-8, "0.0004"), (0, "0.0008")))
    row = scene.run(scene.market.row(FIRST * HOUR_MS))
    assert {name: float(values[0]) for name, values in row.items() if name != "premium"} == pytest.approx(
        {
            "open": 50_000, "high": 50_100, "low": 49_900, "close": 50_050, "mark": 50_010, "oracle": 50_000,
            "volume_usd": 2 * (50_100 + 49_900 + 50_050) / 3, "mid": 50_005, "spread_bps": 10 / 50_005 * 10_000,
            "open_interest": 1234.5, "funding_rate": 0.0001, "settled_funding": 0.0008, "funding_interval_h": 8,
            "predicted_funding": 0.00001,
        }
    )  # fmt: skip


def test_an_interval_that_is_not_known_leaves_the_estimate_unknown() -> None:
    odd = [{"symbol": "BTCUSDT", "fundingIntervalHours": 3}]
    scene = Scene(settled((-8, "0.0004"), (0, "0.0008")), odd)
    row = scene.run(scene.market.row(FIRST * HOUR_MS))
    assert np.isnan(row["predicted_funding"][0])
    assert np.isnan(row["funding_interval_h"][0])


def test_a_changed_interval_is_said_aloud() -> None:
    scene = Scene(settled((0, "0.0008")))

    async def twice() -> None:
        await scene.market.learn_intervals()
        scene.info.append({"symbol": "BTCUSDT", "fundingIntervalHours": 4})
        await scene.market.learn_intervals()

    with capture_logs() as logs:
        scene.run(twice())
    assert [each["found"] for each in logs] == ["binance:BTC settles funding every 4 h now; it was 8 h."]
    assert scene.market.intervals_h == {"binance:BTC": 4}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/fapi/v1/openInterest", {"symbol": "ETHUSDT", "openInterest": "1", "time": FIRST * HOUR_MS}),
        ("/fapi/v1/openInterest", {"symbol": "BTCUSDT", "openInterest": "-1", "time": FIRST * HOUR_MS}),
        ("/fapi/v1/fundingRate", settled((0, "0.9"))),
        ("/fapi/v1/fundingRate", settled((0, "-0.9"))),
        ("/fapi/v1/fundingRate", settled((0, "NaN"))),
        ("/fapi/v1/klines", [candle(-1, high="100")]),
    ],
)
def test_a_contract_whose_data_cant_be_right_has_none_of_it_in_the_row(path: str, answer: Any) -> None:
    scene = Scene(settled((-8, "0.0004"), (0, "0.0008")))
    scene.wire.answers[path] = answer
    row = scene.run(scene.market.row(FIRST * HOUR_MS))
    assert all(np.isnan(values[0]) for values in row.values())


def test_a_mark_that_cant_be_right_is_no_row() -> None:
    scene = Scene(settled((0, "0.0008")))
    told: Any = scene.wire.answers["/fapi/v1/premiumIndex"]
    told[0]["markPrice"] = "0"
    with pytest.raises(DataError, match="the mark"):
        scene.run(scene.market.row(FIRST * HOUR_MS))


def test_an_hour_is_settled_once_the_venue_tells_its_rate() -> None:
    rates = settled((-8, "0.0004"), (0, "0.0008"))
    scene = Scene(rates)

    async def story() -> tuple[bool, bool, bool]:
        await scene.market.learn_intervals()
        told = rates.pop()
        before = await scene.market.is_settled(FIRST * HOUR_MS)
        rates.append(told)
        after = await scene.market.is_settled(FIRST * HOUR_MS)
        return before, after, await scene.market.is_settled((FIRST + 3) * HOUR_MS)

    assert scene.run(story()) == (False, True, True)


def test_an_interval_that_is_known_is_not_forgotten_where_a_later_reply_does_not_show_it() -> None:
    rates = settled((-8, "0.0004"), (0, "0.0008"), (8, "0.0008"))
    scene = Scene(rates)

    async def story() -> list[Any]:
        await scene.market.history((FIRST + 8) * HOUR_MS, 9)
        await scene.market.is_settled((FIRST + 8) * HOUR_MS)  # asks from the settlement at 0 on
        before = scene.market.settled_rate("binance:BTC", FIRST * HOUR_MS)
        rates[1]["fundingRate"] = (
            "0.0009"  # told otherwise: it may not be the settlement that it was taken for
        )
        await scene.market.is_settled((FIRST + 8) * HOUR_MS)
        return [before, scene.market.settled_rate("binance:BTC", FIRST * HOUR_MS)]

    assert scene.run(story()) == [(Decimal("0.0008"), 8), (Decimal("0.0009"), None)]


def test_wires_are_asked_for_what_they_hold() -> None:
    scene = Scene(settled((-8, "0.0004"), (0, "0.0008")))
    scene.history(9, 10)
    assert isinstance(scene.wire, Wire)
    assert {method for method, _, _ in scene.wire.sent} == {"GET"}
