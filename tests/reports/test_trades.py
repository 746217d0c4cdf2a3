"""Round trips: where they begin and end, what they earned, and that nothing is lost between them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import DataError
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side
from bot.reports.record import Note
from bot.reports.trades import round_trips
from tests.reports.books import HOUR_MS, START_MS, books, fill, lively_record, payment


def at(hour: float) -> int:
    return START_MS + int(hour * HOUR_MS)


def test_a_long_built_in_two_steps_and_closed_in_two_is_one_trade() -> None:
    (trade,) = round_trips(
        books(
            [
                fill(1, 1000, "100"),
                fill(2, 1000, "110"),
                fill(4, -500, "120", purpose=Purpose.EXIT),
                fill(6, -1500, "108", purpose=Purpose.EXIT),
            ]
        )
    )
    assert (trade.side, trade.opened_ms, trade.closed_ms, trade.fills) == (Side.BUY, at(1), at(6), 4)
    assert trade.lots_max == 2000
    assert trade.entry_price == 105
    assert trade.exit_price == 111
    assert trade.price_usd == 60 + 162 - 210
    assert trade.fees_usd == (Decimal(210 + 60 + 162) * Decimal("0.00045"))
    assert trade.net_usd == trade.price_usd - trade.fees_usd
    assert trade.hours == 5
    assert trade.exit_purpose == "exit"


def test_a_flip_splits_the_fill_and_its_fee_to_the_last_digit() -> None:
    first, second = round_trips(
        books([fill(1, 1, "100"), fill(2, -3, "100.01", fee_bps="3.5")], marks={"BTC": Decimal(99)})
    )
    # 3 lots for 0.300030 USD: a third is 0.100010; the fee of 0.000105 splits into 0.000035 and the rest
    assert first.price_usd == Decimal("0.100010") - Decimal("0.100000")
    assert (first.exit_purpose, first.closed_ms) == ("flip", at(2))
    assert second.side is Side.SELL
    assert second.is_open
    assert second.exit_purpose == "open"
    assert second.exit_price is None
    assert second.price_usd == Decimal("0.200020") - Decimal("0.198")
    assert first.fees_usd + second.fees_usd == Decimal("0.000045") + Decimal("0.000105")


def test_funding_goes_to_the_position_that_was_held_over_the_instant() -> None:
    first, second = round_trips(
        books(
            [
                fill(1, 1000, "100"),
                fill(5, -1000, "100", purpose=Purpose.EXIT),
                fill(5, -2000, "100"),
                fill(9, 2000, "100"),
            ],
            [
                payment(2, 1000, "-0.5"),
                payment(5, 1000, "-0.25"),  # at the moment of the exit: the long held over it
                payment(6, -2000, "3"),
                payment(9, -2000, "1"),
            ],
        )
    )
    assert first.funding_usd == Decimal("-0.75")
    assert second.funding_usd == 4


def test_a_payment_of_a_later_positions_size_waits_for_its_fill() -> None:
    first, second = round_trips(
        books(
            [fill(1, 1000, "100"), fill(5, -3000, "100"), fill(7, 2000, "100")],
            [payment(5, -2000, "2")],
        )
    )
    assert first.funding_usd == 0
    assert second.funding_usd == 2


def test_forfeited_margin_is_the_loss_of_the_trade_it_ended() -> None:
    record = books(
        [
            fill(1, 1000, "100"),
            fill(3, -1000, "60", purpose=Purpose.LIQUIDATION),
            fill(4, 1000, "60"),
            fill(5, -1000, "61"),
        ],
        liquidations=[Liquidation(at(3), "BTC", 1000, Decimal(60), "backstop", Decimal("7.5"))],
    )
    first, second = round_trips(record)
    assert first.price_usd == -40 - Decimal("7.5")
    assert first.exit_purpose == "liquidation"
    assert "margin" in first.because_exit
    assert second.price_usd == 1


def test_the_reason_is_what_was_said_for_that_side_at_or_before_the_opening() -> None:
    notes = [
        Note(at(1), "BTC", "fade", -0.2, "the crowd is short"),
        Note(at(1), "BTC", "carry", 0.8, "funding pays longs"),
        Note(at(1), "ETH", "carry", 0.9, "another coin"),
        Note(at(6), "BTC", "carry", 0.0, "funding has faded"),
        Note(at(30), "BTC", "carry", 1.0, "too late"),
    ]
    first, second = round_trips(
        books(
            [
                fill(2, 1000, "100"),
                fill(6, -1000, "100", purpose=Purpose.EXIT),
                fill(9, 1000, "100"),
                fill(10, -1000, "90", purpose=Purpose.STOP),
            ],
            notes=notes,
        )
    )
    assert first.because == "funding pays longs"
    assert first.because_exit == "funding has faded"
    assert second.because_exit == "the stop was reached"


def test_an_incomplete_record_is_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match="before its first fill"):
        round_trips(books([fill(5, 1, "100"), fill(6, -1, "100")], [payment(1, 1, "1")]))
    record = books([fill(5, 1, "100")], marks={"BTC": Decimal(100)})
    with pytest.raises(DataError, match="no final mark"):
        round_trips(
            type(record)(**{name: getattr(record, name) for name in record.__slots__} | {"final_marks": {}})
        )


prices = st.decimals(min_value="0.01", max_value="99999", places=2, allow_nan=False)
money = st.decimals(min_value=-1000, max_value=1000, places=6, allow_nan=False)
events = st.lists(
    st.tuples(
        st.integers(0, 12),  # hour; several at one moment are wanted
        st.sampled_from(["BTC", "ETH", "@107"]),
        st.integers(-5000, 5000).filter(bool),
        prices,
        st.sampled_from(["4.5", "1.5", "-0.3", "0.777"]),
        st.one_of(st.none(), money),
    ),
    max_size=30,
)


@given(events, prices)
def test_sums_over_round_trips_are_the_totals_of_the_run_exactly(
    drawn: list[tuple[int, str, int, Decimal, str, Decimal | None]], mark: Decimal
) -> None:
    fills: list[Fill] = []
    payments: list[FundingPayment] = []
    held: dict[str, int] = {}
    for number, (hour, coin, lots, price, fee_bps, received) in enumerate(
        sorted(drawn, key=lambda event: event[0])
    ):
        fills.append(fill(hour, lots, str(price), coin=coin, fee_bps=fee_bps, number=number))
        held[coin] = held.get(coin, 0) + lots
        if received is not None and held[coin]:
            payments.append(payment(hour, held[coin], str(received), coin=coin))
    record = books(fills, payments, marks=dict.fromkeys(held, mark), hours=14)
    trades = round_trips(record)
    assert sum((t.price_usd for t in trades), ZERO) == record.price_usd
    assert sum((t.funding_usd for t in trades), ZERO) == record.funding_usd
    assert sum((t.fees_usd for t in trades), ZERO) == record.fees_usd
    assert sum((t.net_usd for t in trades), ZERO) == record.equity_end - record.equity_start
    assert {t.instrument for t in trades if t.is_open} == {coin for coin, lots in held.items() if lots}
    for coin in held:
        own = [t for t in trades if t.instrument == coin]
        assert all(before.closed_ms is not None for before in own[:-1])  # one position at a time


def test_a_lively_year_adds_up() -> None:
    record = lively_record(days=60)
    trades = round_trips(record)
    assert len(trades) > 20
    assert sum((t.net_usd for t in trades), ZERO) == record.equity_end - record.equity_start
