"""Books computed by hand, and books against a naive twin that keeps nothing but a list of what happened."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.journal.ledger import Books, Drift, Entry, Holding, Posting, Stated
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side, Transfer

D = Decimal
DECIMALS = 2  # a lot is 0.01 coins


def fill(
    number: int, lots: int, price: str, fee: str = "0", coin: str = "BTC", purpose: Purpose = Purpose.ENTRY
) -> Fill:
    """A trade of signed lots; the ledger is given no closed profit and has to find it."""
    notional = abs(lots) * D(price) / 100
    return Fill(
        number, number, coin, Side.of(lots), abs(lots), D(price), notional, D(fee), False, "c", 1, purpose
    )


def opened(usd: str = "1000") -> Books:
    books = Books()
    books.open(0, D(usd), D(usd), {})
    return books


def balances(books: Books) -> dict[str, Decimal]:
    return {account: usd for account, usd in books.usd.items() if usd}


def held(**coins: tuple[int, str]) -> dict[str, Holding]:
    return {coin: Holding.at(lots, D(mark), DECIMALS) for coin, (lots, mark) in coins.items()}


def agreed(books: Books, equity: str, **coins: tuple[int, str]) -> list[Drift]:
    """What is missing when the venue states this equity, its totals being the ledger's own."""
    positions = held(**coins)
    parts = books.parts(positions)
    funding, fees, moved = parts["funding"], -parts["fees"], parts["transfers"]
    price = D(equity) - moved - funding + fees
    _, drifts = books.compare(Stated(9, D(equity), price, funding, fees, positions))
    return drifts


def test_an_entry_that_does_not_sum_to_nothing_is_no_entry() -> None:
    with pytest.raises(ValueError, match=r"fill 7 sum to 0\.000001, they must sum to 0"):
        Entry(0, "fill", "7", (Posting("CASH", D("-5")), Posting("POSITION:BTC", D("5.000001"))))


def test_a_long_bought_funded_and_sold_with_a_gain() -> None:
    books = opened()
    books.fill(fill(1, 200, "100", "0.09"))  # 2 coins for 200
    assert balances(books) == {
        "CASH": D("799.91"),
        "POSITION:BTC": D(200),
        "FEES:BTC": D("0.09"),
        "TRANSFERS": D(-1000),
    }
    books.payment(FundingPayment(2, "BTC", 200, D(100), D("0.0001"), D("-0.02")))  # longs pay
    # Worth 220 at 110, so 799.91 − 0.02 + 220.
    assert agreed(books, "1019.89", BTC=(200, "110")) == []
    books.fill(fill(3, -200, "110", "0.10"))  # gain 20
    assert balances(books) == {
        "CASH": D("1019.79"),
        "FEES:BTC": D("0.19"),
        "FUNDING:BTC": D("0.02"),
        "REALISED:BTC": D(-20),
        "TRANSFERS": D(-1000),
    }
    assert books.of_coin("BTC", {}) == {"price": D(20), "funding": D("-0.02"), "fees": D("-0.19")}
    assert agreed(books, "1019.79") == []


def test_a_short_gains_when_the_price_falls_and_is_paid_when_funding_is_positive() -> None:
    books = opened()
    books.fill(fill(1, -100, "50"))
    books.payment(FundingPayment(2, "BTC", -100, D(50), D("0.0001"), D("0.005")))
    assert books.usd["POSITION:BTC"] == D(-50)
    assert books.of_coin("BTC", held(BTC=(-100, "40"))) == {
        "price": D(10),
        "funding": D("0.005"),
        "fees": ZERO,
    }
    assert agreed(books, "1010.005", BTC=(-100, "40")) == []


def test_a_part_that_is_closed_takes_its_share_of_the_cost() -> None:
    books = opened()
    books.fill(fill(1, 100, "100"))
    books.fill(fill(2, 200, "103"))  # 3 coins for 306, 102 each
    books.fill(fill(3, -100, "105"))  # gain 3
    assert (books.usd["POSITION:BTC"], books.usd["REALISED:BTC"], books.lots["POSITION:BTC"]) == (
        D(204),
        D(-3),
        200,
    )
    # A share that is no whole millionth is rounded, and what is left keeps the rest.
    uneven = opened()
    uneven.fill(fill(1, 3, "33.3333"))
    assert uneven.usd["POSITION:BTC"] == D("0.999999")
    uneven.fill(fill(2, -2, "40"))  # 0.8 for a cost of 0.666666
    assert (uneven.usd["POSITION:BTC"], uneven.usd["REALISED:BTC"]) == (D("0.333333"), D("-0.133334"))
    uneven.fill(fill(3, -1, "40"))
    assert (uneven.usd["POSITION:BTC"], uneven.usd["REALISED:BTC"]) == (ZERO, D("-0.200001"))


def test_a_flip_closes_what_was_held_and_opens_the_rest() -> None:
    books = opened()
    books.fill(fill(1, 100, "100"))
    books.fill(fill(2, -300, "90", "0.27"))  # loss 10, then short 2 coins for 180
    assert balances(books) == {
        "CASH": D("1169.73"),
        "POSITION:BTC": D(-180),
        "REALISED:BTC": D(10),
        "FEES:BTC": D("0.27"),
        "TRANSFERS": D(-1000),
    }
    assert books.lots["POSITION:BTC"] == -200
    assert agreed(books, "989.73", BTC=(-200, "90")) == []


def test_a_liquidation_takes_the_position_and_the_margin_that_went_with_it() -> None:
    books = opened("100")
    books.fill(fill(1, 1000, "90"))  # 10 coins for 900
    books.fill(fill(2, -1000, "81.5", purpose=Purpose.LIQUIDATION))  # 815: loss 85, 15 left
    books.forfeit(Liquidation(2, "BTC", 1000, D("81.5"), "backstop", D(15)))
    assert balances(books) == {
        "REALISED:BTC": D(85),
        "FORFEITED:BTC": D(15),
        "TRANSFERS": D(-100),
    }
    assert books.of_coin("BTC", {})["price"] == D(-100)
    assert agreed(books, "0") == []


def test_a_transfer_is_neither_gain_nor_loss() -> None:
    books = opened()
    books.transfer(Transfer(1, D("-250.5"), "withdraw", "0xa"))
    books.transfer(Transfer(2, D(100), "deposit", "0xb"))
    assert balances(books) == {"CASH": D("849.5"), "TRANSFERS": D("-849.5")}
    assert books.parts({}) == {"price": ZERO, "funding": ZERO, "fees": ZERO, "transfers": D("849.5")}
    assert agreed(books, "849.5") == []


def test_positions_found_at_the_opening_count_from_what_they_were_worth_then() -> None:
    books = Books()
    # Opened on 500, of which 200 in a long; by the time that its mark was read it had gained 3.
    books.open(0, D(500), D(503), held(BTC=(200, "101.5"), ETH=(-100, "20")))
    assert balances(books) == {
        "CASH": D(320),
        "POSITION:BTC": D(200),
        "POSITION:ETH": D(-20),
        "TRANSFERS": D(-500),
    }
    assert agreed(books, "503", BTC=(200, "101.5"), ETH=(-100, "20")) == []
    assert books.of_coin("BTC", held(BTC=(200, "101.5")))["price"] == D(3)


def test_a_position_taken_in_at_a_mark_of_many_digits_leaves_nothing_behind_when_it_is_closed() -> None:
    books = Books()
    books.open(0, D(500), D(500), held(BTC=(1, "33.3333333333")))
    assert books.usd["POSITION:BTC"] == D("0.333333333333")
    books.fill(fill(1, -1, "40"))
    assert (books.usd["POSITION:BTC"], books.usd["REALISED:BTC"]) == (ZERO, D("-0.066666666667"))
    assert agreed(books, "500.066667") == []


# Against the venue's word


def stated(equity: str, price: str, funding: str = "0", fees: str = "0", **coins: tuple[int, str]) -> Stated:
    return Stated(9, D(equity), D(price), D(funding), D(fees), held(**coins))


@pytest.mark.parametrize(
    ("word", "drift"),
    [
        (stated("1000.07", "0", funding="0.07"), Drift("funding", D("0.07"))),
        (stated("1000.07", "0.07"), Drift("price", D("0.07"))),
        (stated("999.5", "0", fees="0.5"), Drift("fees", D("-0.5"))),
        (stated("1200", "0"), Drift("transfers", D(200))),
        (stated("1000.000001", "0.000001"), Drift("price", D("0.000001"))),
    ],
)
def test_what_nothing_explains_is_booked_once_by_what_it_is(word: Stated, drift: Drift) -> None:
    books = opened()
    entries, drifts = books.compare(word)
    assert drifts == [drift]
    assert [entry.kind for entry in entries] == ["suspense"]
    assert books.suspense() == {
        **dict.fromkeys(("price", "funding", "fees", "transfers"), ZERO),
        drift.part: drift.usd,
    }
    assert books.usd["CASH"] == word.equity_usd
    assert books.compare(word) == ([], [])


def test_less_than_half_a_millionth_is_how_a_venue_rounds_its_sum() -> None:
    assert opened().compare(stated("1000.0000004", "0.0000004")) == ([], [])


def test_what_was_missing_and_comes_after_all_leaves_nothing_in_suspense() -> None:
    books = opened()
    books.compare(stated("1000.07", "0", funding="0.07"))
    books.payment(FundingPayment(1, "BTC", -5, D(100), D("0.0001"), D("0.07")))
    _, drifts = books.compare(stated("1000.07", "0", funding="0.07"))
    assert drifts == [Drift("funding", D("-0.07"))]
    assert not any(books.suspense().values())
    assert books.usd["CASH"] == D("1000.07")


def test_a_fill_that_was_never_told_stands_as_unexplained_lots_until_it_is() -> None:
    books = opened()
    # The venue bought 2 coins at 100; the mark is 104 by now.
    _, drifts = books.compare(stated("1008", "8", BTC=(200, "104")))
    assert drifts == [Drift("lots", D(208), "BTC", 200), Drift("price", D(-200))]
    assert books.unexplained_lots() == {"BTC": 200}
    assert books.suspense()["price"] == D(8)
    assert books.compare(stated("1012", "12", BTC=(200, "106"))) == ([], [])
    # Now it is told. The mark has moved again.
    books.fill(fill(1, 200, "100"))
    _, drifts = books.compare(stated("1020", "20", BTC=(200, "110")))
    assert drifts == [Drift("lots", D(-208), "BTC", -200), Drift("price", D(200))]
    assert books.unexplained_lots() == {}
    assert not any(books.suspense().values())
    assert books.of_coin("BTC", held(BTC=(200, "110")))["price"] == D(20)


def test_a_position_that_vanished_takes_its_cost_with_it() -> None:
    books = opened()
    books.fill(fill(1, 200, "100"))
    _, drifts = books.compare(stated("970", "-30"))  # closed at 85, and nobody told
    assert drifts == [Drift("lots", D(-200), "BTC", -200), Drift("price", D(170))]
    assert (books.usd["POSITION:BTC"], books.lots["POSITION:BTC"]) == (ZERO, 0)
    assert books.suspense()["price"] == D(-30)
    assert books.usd["CASH"] == D(970)


# Against a twin


@dataclass
class Twin:
    """Knows what was paid for what, and nothing of accounts, costs or averages."""

    paid: list[Decimal] = field(default_factory=list)
    funding: list[Decimal] = field(default_factory=list)
    fees: list[Decimal] = field(default_factory=list)
    moved: list[Decimal] = field(default_factory=list)
    forfeited: list[Decimal] = field(default_factory=list)
    lots: dict[str, int] = field(default_factory=dict)

    def equity(self, marks: dict[str, Decimal]) -> Decimal:
        worth = sum((marks[coin] * lots / 100 for coin, lots in self.lots.items()), ZERO)
        out = sum(self.paid, ZERO) + sum(self.fees, ZERO) + sum(self.forfeited, ZERO)
        return sum(self.moved, ZERO) + sum(self.funding, ZERO) - out + worth


PRICES = st.decimals(D("0.5"), D(5000), places=2)
SMALL = st.decimals(D(-50), D(50), places=6)
COINS = st.sampled_from(["BTC", "ETH"])
EVENTS = st.one_of(
    st.tuples(st.just("fill"), COINS, st.integers(-500, 500).filter(bool), PRICES, SMALL),
    st.tuples(st.just("funding"), COINS, SMALL),
    st.tuples(st.just("transfer"), SMALL),
    st.tuples(st.just("forfeit"), COINS, SMALL),
)


@given(st.lists(st.tuples(EVENTS, st.booleans(), PRICES, PRICES), min_size=1, max_size=25))
def test_whatever_happens_the_books_come_to_the_twins_equity_and_what_is_not_told_is_missing_exactly(
    story: list[tuple[tuple[Any, ...], bool, Decimal, Decimal]],
) -> None:
    books, twin = opened(), Twin(moved=[D(1000)])
    seen = Twin(moved=[D(1000)])
    for number, (event, wanted, bitcoin, ether) in enumerate(story):
        kind, *rest = event
        is_told = wanted or kind == "fill"
        twins = (twin, seen) if is_told else (twin,)
        if kind == "fill":
            coin, lots, price, fee = rest
            trade = fill(number, lots, str(price), str(fee), coin)
            books.fill(trade)
            for each in twins:
                each.paid.append(price * lots / 100)
                each.fees.append(fee)
                each.lots[coin] = each.lots.get(coin, 0) + lots
        else:
            amount = rest[-1]
            for each in twins:
                {"funding": each.funding, "transfer": each.moved, "forfeit": each.forfeited}[kind].append(
                    amount
                )
            if is_told and kind == "funding":
                books.payment(FundingPayment(number, rest[0], 1, D(1), D(1), amount))
            elif is_told and kind == "transfer":
                books.transfer(Transfer(number, amount, "deposit", str(number)))
            elif is_told:
                books.forfeit(Liquidation(number, rest[0], 1, D(1), "backstop", amount))
        marks = {"BTC": bitcoin, "ETH": ether}
        equity = twin.equity(marks)
        funding, fees = sum(twin.funding, ZERO), sum(twin.fees, ZERO)
        price_usd = equity - sum(twin.moved, ZERO) - funding + fees
        positions = {coin: Holding.at(lots, marks[coin], 2) for coin, lots in twin.lots.items() if lots}
        before = sum(books.suspense().values(), ZERO)
        _, drifts = books.compare(Stated(number, equity, price_usd, funding, fees, positions))
        assert sum((drift.usd for drift in drifts), ZERO) == equity - seen.equity(marks) - before
        assert sum(books.usd.values(), ZERO) == 0
        assert sum(books.parts(positions).values(), ZERO) == equity
        assert sum(books.suspense().values(), ZERO) == equity - seen.equity(marks)
        assert {coin: books.lots.get(f"POSITION:{coin}", 0) for coin in twin.lots} == twin.lots
    for coin, lots in twin.lots.items():
        if not lots:
            assert books.usd[f"POSITION:{coin}"] == 0
