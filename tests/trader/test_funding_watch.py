from decimal import Decimal

import numpy as np

from bot.model.decision import AccountView
from bot.model.instrument import simple_instrument
from bot.model.order import Fill, FundingPayment, Purpose, Side
from bot.model.panel import HOUR_MS, FloatArray
from bot.trader.funding_watch import FundingWatch
from bot.venues.venue import AccountState, VenueEvent

BTC, ETH = simple_instrument("BTC", 5, 40), simple_instrument("ETH", 4, 25)
HOUR = 480_000
D = Decimal


def account(btc: int, eth: int = 0) -> AccountState:
    view = AccountView(1e5, np.array([btc, eth], np.int64), np.zeros(2), np.ones(2))
    return AccountState(view, np.zeros(2), D(0), D(0), D(0), D(0), D(0), ())


def row(rate: float, oracle: float = 50_000.0) -> dict[str, FloatArray]:
    return {"funding_rate": np.array([rate, np.nan]), "oracle": np.array([oracle, 3000.0])}


def paid(hour: int, usd: str) -> FundingPayment:
    return FundingPayment(hour * HOUR_MS + 79, "BTC", 200_000, D(50_000), D("0.00002"), D(usd))


def look(
    watch: FundingWatch, hour: int, events: list[VenueEvent], btc: int = 200_000, rate: float = 2e-5
) -> list[str]:
    watch.hear(events)
    return watch.look(hour * HOUR_MS, row(rate), account(btc, 5))


def test_what_is_paid_as_it_is_due_is_not_spoken_of() -> None:
    watch = FundingWatch((BTC, ETH))
    # Two coins long at 50,000 and 0.002 %: two dollars to pay.
    assert look(watch, HOUR, [paid(HOUR, "-2.03")]) == []
    assert look(watch, HOUR + 1, [paid(HOUR + 1, "-2")]) == []


def test_a_payment_may_come_an_hour_late_but_no_later() -> None:
    watch = FundingWatch((BTC, ETH))
    assert look(watch, HOUR, []) == []
    assert look(watch, HOUR + 1, [paid(HOUR, "-2"), paid(HOUR + 1, "-2")]) == []
    assert look(watch, HOUR + 2, []) == []
    (said,) = look(watch, HOUR + 3, [paid(HOUR + 3, "-2")])
    assert "BTC was due -2.00 USD" in said
    assert "nothing was paid" in said


def test_a_payment_of_another_sign_or_size_is_told_at_once() -> None:
    watch = FundingWatch((BTC, ETH))
    assert "and +2.00 were paid" in look(watch, HOUR, [paid(HOUR, "2")])[0]
    assert "and -1.00 were paid" in look(watch, HOUR + 1, [paid(HOUR + 1, "-1")])[0]


def test_what_was_traded_after_the_hour_is_left_out() -> None:
    watch = FundingWatch((BTC, ETH))
    bought = Fill(
        1, HOUR * HOUR_MS + 5, "BTC", Side.BUY, 200_000, D(50_000), D(100_000), D(0), False, "c", 1, Purpose.ENTRY
    )  # fmt: skip
    assert look(watch, HOUR, [bought]) == []
    assert look(watch, HOUR + 1, [paid(HOUR + 1, "-2")]) == []


def test_nothing_is_due_where_nothing_is_held_or_known() -> None:
    watch = FundingWatch((BTC, ETH))
    assert look(watch, HOUR, [], btc=0) == look(watch, HOUR + 1, []) == []
    assert watch.look((HOUR + 2) * HOUR_MS, {}, account(5)) != []  # of the hour before
    assert watch.look((HOUR + 3) * HOUR_MS, {}, account(5)) == []


def test_a_payment_that_was_heard_of_before_the_hour_was_looked_at_counts() -> None:
    watch = FundingWatch((BTC, ETH))
    watch.hear([paid(HOUR, "-2")])  # an order by hand had the account looked at
    assert look(watch, HOUR, []) == []
    assert (
        look(watch, HOUR + 1, [paid(HOUR + 1, "-1.25"), paid(HOUR + 1, "-0.75")]) == []
    )  # told in two parts
    assert look(watch, HOUR + 2, [paid(HOUR + 2, "-2")]) == []


def test_what_was_traded_before_the_hour_was_held_at_it() -> None:
    watch = FundingWatch((BTC, ETH))
    bought = Fill(
        1, HOUR * HOUR_MS - 5, "BTC", Side.BUY, 200_000, D(50_000), D(100_000), D(0), False, "c", 1, Purpose.ENTRY
    )  # fmt: skip
    assert look(watch, HOUR, [bought]) == []
    assert "nothing was paid" in look(watch, HOUR + 1, [paid(HOUR + 1, "-2")])[0]


def test_what_settled_goes_before_the_hourly_rate_where_it_is_known() -> None:
    watch = FundingWatch((BTC, ETH))
    both = {**row(2e-5), "settled_funding": np.array([16e-5, np.nan])}
    watch.hear([paid(HOUR, "-16")])
    assert watch.look(HOUR * HOUR_MS, both, account(200_000)) == []
    padded = {**row(2e-5), "settled_funding": np.array([np.nan, np.nan])}
    watch.hear([paid(HOUR + 1, "-2")])
    assert watch.look((HOUR + 1) * HOUR_MS, padded, account(200_000)) == []


def test_the_mark_stands_in_where_one_venue_tells_no_oracle_price() -> None:
    watch = FundingWatch((BTC, ETH))
    mixed = {**row(2e-5, np.nan), "mark": np.array([50_000.0, 3000.0])}
    assert watch.look(HOUR * HOUR_MS, mixed, account(200_000)) == []
    (said,) = watch.look((HOUR + 1) * HOUR_MS, mixed, account(200_000))
    assert "BTC was due -2.00 USD" in said


def test_a_payment_where_nothing_was_due_is_told() -> None:
    watch = FundingWatch((BTC, ETH))
    assert look(watch, HOUR, [], btc=0) == []
    (said,) = look(watch, HOUR + 1, [paid(HOUR, "-2")], btc=0)
    assert said.startswith("BTC was due")
    assert said.endswith("-2.00 were paid")
