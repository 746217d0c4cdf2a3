"""Adapters broken on purpose are refused, by hand-computed settlements."""

from dataclasses import replace

import pytest

from bot.errors import DataError
from bot.venues.polarity import PaidFunding, SettledRate, check_adapter, check_polarity

LONG_PAID = PaidFunding(coins=2.0, price=50_000.0, rate=0.0001, paid_usd=-10.0)
SHORT_RECEIVED = PaidFunding(coins=-2.0, price=50_000.0, rate=0.0001, paid_usd=10.0)
SOUND = SettledRate(raw_rate=0.0008, gap_h=8.0, rate_per_hour=0.0001, interval_h=8.0, premium=0.002)


def test_longs_pay_and_shorts_receive_a_positive_rate() -> None:
    assert check_polarity("v", [LONG_PAID, SHORT_RECEIVED]) == 2


def test_what_says_nothing_proves_nothing() -> None:
    assert (
        check_polarity("v", [replace(LONG_PAID, coins=0.0, paid_usd=0.0), replace(LONG_PAID, rate=0.0)]) == 0
    )


@pytest.mark.parametrize("paid_usd", [10.0, -80.0, -1.25, 0.0, float("nan")])
def test_a_payment_of_another_sign_or_size_is_refused(paid_usd: float) -> None:
    with pytest.raises(DataError, match="nothing is traded"):
        check_polarity("v", [SHORT_RECEIVED, replace(LONG_PAID, paid_usd=paid_usd)])


def test_a_sound_adapter_passes() -> None:
    assert (
        check_adapter("v", [SOUND, replace(SOUND, raw_rate=-0.0008, rate_per_hour=-0.0001, premium=-0.002)])
        == 2
    )


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (replace(SOUND, rate_per_hour=-0.0001), "made"),
        (replace(SOUND, rate_per_hour=0.0008), "made"),
        (replace(SOUND, interval_h=4.0, rate_per_hour=0.0002), "settled every 4 h"),
        (replace(SOUND, rate_per_hour=81_234.5), "cap"),
        (replace(SOUND, rate_per_hour=float("nan")), "cap"),
        (replace(SOUND, raw_rate=-0.0008, rate_per_hour=-0.0001), "turned"),
    ],
    ids=[
        "flipped",
        "rate of 8 h as hourly",
        "interval",
        "open interest",
        "no number",
        "flipped at the source",
    ],
)
def test_a_broken_adapter_is_refused(broken: SettledRate, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_adapter("v", [broken])
