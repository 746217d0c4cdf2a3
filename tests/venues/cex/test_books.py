"""The books by hand: every trade, payment and transfer once, and money held against what the venue states."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bot.errors import DataError
from bot.model.account import MarginMode
from bot.model.instrument import Instrument, MarginTier
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side, Transfer
from bot.venues.cex.books import Books, Market
from bot.venues.cex.differences import TABLE
from bot.venues.cex.wire import Booked, Held, Trade
from bot.venues.venue import VenueEvent

T = 1_790_000_000_000
BTC = Market(
    Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 50),), venue="binance", tick=Decimal("0.1")),
    "BTC/USDT:USDT", "BTCUSDT", Decimal(1),
)  # fmt: skip
ETH = Market(
    Instrument("binance:ETH", 3, (MarginTier(Decimal(0), 50),), venue="binance", tick=Decimal("0.01")),
    "ETH/USDT:USDT", "ETHUSDT", Decimal(1),
)  # fmt: skip


def books() -> Books:
    made = Books(
        "binance", "USDT", [BTC, ETH], TABLE["binance"], lambda _, order: (f"o{order}", Purpose.ENTRY)
    )
    made.begin(T, Decimal(1000), (), (), ())
    return made


def trade(
    number: int, side: Side, coins: str, price: str, fee: str, after_ms: int = 1, **other: Any
) -> Trade:
    told: dict[str, Any] = {
        "trade_id": str(number), "order_id": 7, "symbol": BTC.symbol, "time_ms": T + after_ms, "side": side,
        "coins": Decimal(coins), "price": Decimal(price), "fee": Decimal(fee), "fee_currency": "USDT", "is_maker": False,
    }  # fmt: skip
    return Trade(**{"notional": Decimal(coins) * Decimal(price)} | told | other)


def line(kind: str, usd: str, after_ms: int = 1, symbol: str = "BTCUSDT", key: str = "") -> Booked:
    return Booked(key or f"{kind}{after_ms}", T + after_ms, kind, symbol, "USDT", Decimal(usd))


def held(coins: str, entry: str, mark: str) -> Held:
    size = Decimal(coins)
    return Held(
        BTC.symbol, size, Decimal(entry), Decimal(mark), size * Decimal(mark), size * (Decimal(mark) - Decimal(entry)),
        None, MarginMode.CROSS, Decimal(0), None,
    )  # fmt: skip


def nothing(_: str, __: int) -> None:
    return None


def test_a_day_by_hand() -> None:
    made = books()
    rates: dict[int, tuple[Decimal, int | None]] = {T + 10: (Decimal("0.0001"), 8)}
    events = made.take(
        [
            trade(1, Side.BUY, "0.010", "50000", "0.25"),
            trade(2, Side.SELL, "0.004", "51000", "0.102", after_ms=20),
        ],
        [line("FUNDING_FEE", "-0.05", 10), line("TRANSFER", "100", 15), line("COMMISSION", "-0.25", 1)],
        lambda _, at: rates.get(at),
    )
    buy, paid, moved, sell = events
    assert isinstance(buy, Fill)
    assert (buy.notional_usd, buy.fee_usd) == (Decimal(500), Decimal("0.25"))
    assert (buy.closed_pnl_usd, buy.client_id) == (Decimal(0), "o7")
    assert isinstance(paid, FundingPayment)
    # 0.01 BTC at 50,000 and a rate of 0.01 % for its interval: 5 cents.
    assert (paid.lots, paid.oracle, paid.usd) == (10, Decimal(50000), Decimal("-0.05"))
    assert (paid.rate, paid.interval_h) == (Decimal("0.0001"), 8)
    assert isinstance(moved, Transfer)
    assert moved.usd == 100
    assert isinstance(sell, Fill)
    assert sell.closed_pnl_usd == 4  # 0.004 coins, 1,000 dollars higher
    account = made.account
    assert (account.deposits_usd, account.funding_usd) == (Decimal(1100), Decimal("-0.05"))
    assert account.fees_usd == Decimal("0.352")
    # The venue's wallet: 1000 + 100 + 4 − 0.05 − 0.352, six thousandths of a coin left at 50,000.
    assert made.strange_usd(Decimal("1103.598"), [held("0.006", "50000", "51000")]) == 0
    assert made.strange_lots([held("0.006", "50000", "51000")]) == {}


def test_what_is_told_twice_counts_once() -> None:
    made = books()
    told = [trade(1, Side.BUY, "0.010", "50000", "0.25")], [line("FUNDING_FEE", "-0.05", 10)]
    assert len(made.take(*told, nothing)) == 2
    assert made.take(*told, nothing) == []
    assert made.account.fees_usd == Decimal("0.25")
    again = Books("binance", "USDT", [BTC, ETH], TABLE["binance"], lambda *_: ("o", Purpose.ENTRY))
    again.restore(made.state())
    assert again.take(*told, nothing) == []
    assert again.account == made.account


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_payment_that_is_told_after_later_trades_is_on_what_was_held_then(is_restarted: bool) -> None:
    made = books()
    made.take(
        [
            trade(1, Side.BUY, "0.010", "50000", "0.25"),
            trade(2, Side.BUY, "0.003", "50100", "0.07", after_ms=10),  # at the instant, so after the payment
            trade(3, Side.SELL, "0.005", "50200", "0.1", after_ms=20),
            trade(4, Side.BUY, "1", "3000", "1.5", after_ms=20, symbol=ETH.symbol),
        ],
        [],
        nothing,
    )
    if is_restarted:
        again = Books("binance", "USDT", [BTC, ETH], TABLE["binance"], lambda *_: ("o", Purpose.ENTRY))
        again.restore(json.loads(json.dumps(made.state())))
        made = again
    (paid,) = made.take([], [line("FUNDING_FEE", "-0.05", 10)], lambda *_: (Decimal("0.0001"), 8))
    assert isinstance(paid, FundingPayment)
    assert (paid.lots, paid.oracle, paid.usd) == (10, Decimal(50000), Decimal("-0.05"))
    assert made.account.lots("binance:BTC") == 8
    made.completed(T + 10 + made.overlap_ms + 1, ())
    assert len(made.state()["traded"]) == 2  # what is too old to be told of again is not kept


def test_books_that_were_kept_before_trades_were_go_on() -> None:
    kept = books().state()
    del kept["traded"]
    again = books()
    again.restore(kept)
    assert again.state()["traded"] == []


def test_at_one_millisecond_funding_is_paid_first_and_money_moves_last() -> None:
    made = books()
    made.take([trade(1, Side.BUY, "0.010", "50000", "0.25")], [], nothing)
    told = made.take(
        [trade(2, Side.SELL, "0.010", "50000", "0.25", after_ms=10)],
        [line("TRANSFER", "5", 10), line("FUNDING_FEE", "-0.05", 10)],
        lambda *_: (Decimal("0.0001"), 8),
    )
    assert [type(each).__name__ for each in told] == ["FundingPayment", "Fill", "Transfer"]
    (paid, *_) = told
    assert isinstance(paid, FundingPayment)
    assert paid.lots == 10


def test_an_entry_price_that_the_venue_rounds_leaves_money_that_is_no_difference() -> None:
    made = books()
    made.take(
        [trade(1, Side.BUY, "100", "50000", "0"), trade(2, Side.BUY, "200", "50000.1", "0")], [], nothing
    )
    # 50,000.0666… for 300 coins, 15 million USD: told to the thousandth ten cents are missing, and 1.50 may be.
    assert made.strange_usd(Decimal(1000), [held("300", "50000.067", "50000")]) == 0
    assert made.strange_usd(Decimal("998.5"), [held("300", "50000.067", "50000")]) == Decimal("-1.6")


def test_one_number_in_two_markets_is_two_trades_and_two_numbers_in_the_journal() -> None:
    made = books()
    fills = made.take(
        [
            trade(1, Side.BUY, "0.010", "50000", "0.25"),
            trade(1, Side.BUY, "0.1", "3000", "0.15", symbol=ETH.symbol),
        ],
        [],
        nothing,
    )
    numbers = {fill.trade_id for fill in fills if isinstance(fill, Fill)}
    assert len(numbers) == 2
    assert all(0 < number < 1 << 63 for number in numbers)
    assert made.account.lots("binance:ETH") == 100


def test_a_missing_trade_shows_in_lots_and_money_that_nothing_explains_in_dollars() -> None:
    made = books()
    assert made.strange_lots([held("0.010", "50000", "50000")]) == {"binance:BTC": 10}
    assert made.strange_usd(Decimal(990), ()) == -10
    told = made.take_as_it_is({"binance:BTC": 10}, Decimal(-510), [held("0.010", "50000", "50000")], T + 9)
    (fill,) = told
    assert isinstance(fill, Fill)
    assert (fill.signed_lots, fill.price, fill.purpose) == (10, Decimal(50_000), Purpose.SETTLEMENT)
    assert made.strange_lots([held("0.010", "50000", "50000")]) == {}
    assert made.strange_usd(Decimal(990), [held("0.010", "50000", "50000")]) == 0
    assert made.unexplained_usd == -10  # of the 510 that are gone 500 went into the position


def test_a_position_that_is_gone_and_nothing_tells_of_it_is_told_as_a_trade_at_what_was_paid() -> None:
    made = books()
    made.take(
        [trade(1, Side.SELL, "0.010", "50000", "0.25"), trade(2, Side.SELL, "0.020", "50001", "0")],
        [],
        nothing,
    )
    # The venue has closed it at 52,000 and took five dollars besides: 1000 − 0.25 − 59.98 − 5.
    apart = made.strange_usd(Decimal("934.77"), [])
    (fill,) = made.take_as_it_is({"binance:BTC": 30}, apart, [], T + 9)
    assert isinstance(fill, Fill)
    assert (fill.side, fill.lots, fill.price) == (Side.BUY, 30, Decimal("50000.66666667"))
    assert fill.notional_usd == Decimal("1500.02")
    assert made.account.lots("binance:BTC") == 0
    assert made.strange_usd(Decimal("934.77"), []) == 0
    assert made.unexplained_usd == Decimal("-64.98")
    assert made.account.cash_usd + made.unexplained_usd == Decimal("934.77")


def test_what_was_there_when_the_books_were_opened_is_in_the_opening_equity() -> None:
    made = Books("binance", "USDT", [BTC, ETH], TABLE["binance"], lambda *_: ("o", Purpose.ENTRY))
    before = trade(1, Side.SELL, "0.010", "50000", "0.25", after_ms=-5)
    made.begin(T, Decimal(1000), [held("-0.010", "50000", "49000")], [before], [line("TRANSFER", "1000", -9)])
    assert made.account.deposits_usd == 1010  # with ten dollars of profit that was not realised yet
    assert made.take([before], [line("TRANSFER", "1000", -9)], nothing) == []
    (closes,) = made.take([trade(2, Side.BUY, "0.010", "49000", "0.24")], [], nothing)
    assert isinstance(closes, Fill)
    assert closes.closed_pnl_usd == 10
    assert made.strange_usd(Decimal("1009.76"), ()) == 0


def taken(side: Side, coins: str, price: str) -> tuple[Books, list[VenueEvent]]:
    """Half of a position of 0.010 coins bought at 50,000 is taken by the venue, or all of it."""
    made = Books(
        "binance", "USDT", [BTC, ETH], TABLE["binance"],
        lambda _, order: ("autoclose-1", Purpose.LIQUIDATION) if order == 8 else ("o", Purpose.ENTRY),
    )  # fmt: skip
    made.begin(T, Decimal(1000), (), (), ())
    made.take([trade(1, Side.BUY, "0.010", "50000", "0")], [], nothing)
    return made, made.take([trade(2, side, coins, price, "0", 5, order_id=8)], [], nothing)


@pytest.mark.parametrize(("coins", "kind"), [("0.004", "partial"), ("0.010", "full")])
def test_a_liquidation_is_told_with_what_it_took_of_the_position(coins: str, kind: str) -> None:
    made, (fill, took) = taken(Side.SELL, coins, "40000")
    lots = int(Decimal(coins) * 1000)
    assert isinstance(fill, Fill)
    assert fill.purpose is Purpose.LIQUIDATION
    assert took == Liquidation(T + 5, "binance:BTC", lots, Decimal(40_000), kind)  # a long was taken
    # What the fund had to add, or kept, is neither a fee nor a withdrawal.
    (kept,) = made.take([], [line("INSURANCE_CLEAR", "-3", 6)], nothing)
    assert kept == Liquidation(T + 6, "binance:BTC", 0, Decimal(0), "fee", forfeited_usd=Decimal(3))
    account = made.account
    assert (account.deposits_usd, account.fees_usd) == (Decimal(1000), Decimal(0))
    assert account.cash_usd == 1000 - 500 + lots * 40 - 3


def test_a_position_that_turns_was_opened_when_it_did() -> None:
    made = books()
    made.take(
        [
            trade(1, Side.BUY, "0.010", "50000", "0"),
            trade(2, Side.SELL, "0.004", "50000", "0", after_ms=5),
            trade(3, Side.SELL, "0.010", "50000", "0", after_ms=9),
        ],
        [],
        nothing,
    )
    assert made.account.positions["binance:BTC"].opened_ms == T + 9


def test_after_a_row_that_can_not_be_read_it_is_asked_again_and_what_came_before_is_told_once() -> None:
    made = books()
    good, bad = trade(1, Side.BUY, "0.010", "50000", "0.25"), trade(2, Side.BUY, "0.0105", "50000", "0", 5)
    with pytest.raises(DataError, match="not a multiple"):
        made.take([good, bad], [], nothing)
    mended = trade(2, Side.BUY, "0.011", "50000", "0", 5)
    told = made.take([good, mended], [], nothing)
    assert [each.lots for each in told if isinstance(each, Fill)] == [10, 11]
    assert made.take([good, mended], [], nothing) == []


def test_what_an_order_has_filled_is_known_while_it_may_be_asked_for() -> None:
    made = books()
    made.take(
        [
            trade(1, Side.BUY, "0.010", "50000", "0"),
            trade(2, Side.BUY, "0.030", "50100", "0"),
            trade(3, Side.BUY, "0.001", "50000", "0", order_id=9),
        ],
        [],
        nothing,
    )
    assert made.filled("binance:BTC", 7) == (40, Decimal(50_075))
    made.completed(T + 2 + made.overlap_ms, [("binance:BTC", 9)])
    assert made.filled("binance:BTC", 7) == (0, Decimal(0))
    assert made.filled("binance:BTC", 9) == (1, Decimal(50_000))  # it is open still


def test_what_is_older_than_is_asked_for_is_not_counted_again_once_it_was_forgotten() -> None:
    made, old = books(), trade(1, Side.BUY, "0.010", "50000", "0")
    assert made.from_ms() == T - made.overlap_ms
    made.take([old], [], nothing)
    made.completed(T + 2 + made.overlap_ms, ())
    made.overlap_ms *= 2  # which does not take it back
    made.completed(T, ())
    assert made.from_ms() == T + 2
    assert made.complete_ms == T + 2 + books().overlap_ms
    assert made.take([old], [], nothing) == []


def test_a_position_that_nothing_explains_is_taken_at_the_venue_s_entry() -> None:
    made = books()
    made.take_as_it_is({"binance:BTC": 10}, Decimal(0), [held("0.010", "50000", "50000")], T + 1)
    (sold,) = made.take([trade(1, Side.SELL, "0.010", "51000", "0")], [], nothing)
    assert isinstance(sold, Fill)
    assert sold.closed_pnl_usd == 10


def test_what_is_booked_in_another_currency_moves_nothing() -> None:
    made = books()
    told = [replace(line("TRANSFER", "5"), currency="BNB"), replace(line("FUNDING_FEE", "5"), currency="BNB")]
    assert made.take([], told, nothing) == []
    assert (made.account.deposits_usd, made.account.cash_usd) == (Decimal(1000), Decimal(1000))


def test_a_fee_in_another_currency_is_said_and_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    made = books()
    made.take([trade(1, Side.BUY, "0.010", "50000", "0.0004", fee_currency="BNB")], [], nothing)
    assert made.account.fees_usd == 0


def test_a_trade_between_two_lots_is_refused() -> None:
    with pytest.raises(DataError, match="not a multiple"):
        books().take([trade(1, Side.BUY, "0.0105", "50000", "0.25")], [], nothing)
