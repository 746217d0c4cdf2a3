"""The market around the devnet: its books are on the grid, its prices stand for a moment, its memory has an end."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from bot.clock import parse_utc
from bot.devnet import records
from bot.devnet.market import QUOTE_MS
from bot.devnet.records import UserRecords
from bot.devnet.start import Options, build
from bot.devnet.world import World

START = parse_utc("2026-03-01T12:34:56Z")


@pytest.fixture
def world() -> World:
    return build(
        Options(coins=("BTC", "ETH", "DOGE", "kPEPE"), history_h=4, paused=True, start_ms=START)
    ).world


def test_every_price_of_a_book_is_on_the_grid_and_worse_than_the_one_before(world: World) -> None:
    for _ in range(20):
        world.advance(997)
        for name, book in world.exchange.books.items():
            for sign in (1, -1):
                prices = [price for price, _ in book.depth(sign)]
                assert len(prices) >= 15
                assert all(world.instruments[name].is_on_grid(price) for price in prices)
                assert prices == sorted(set(prices), reverse=sign > 0)
                assert all(lots > 0 for _, lots in book.depth(sign))
            assert book.bid is not None
            assert book.ask is not None
            assert book.bid < book.ask


@pytest.mark.parametrize(
    "mid", [0.0999996, 0.1, 0.999996, 1.0, 9.9999, 10.0, 999.99, 1000.0, 9999.96, 99999.7, 100000.2]
)
def test_books_around_powers_of_ten_stay_on_the_grid(world: World, mid: float) -> None:
    moment = replace(world.moment, mid=np.full(4, mid), spread_bps=np.full(4, 0.01))
    for instrument, (bids, asks) in zip(world.market.instruments, world.market.ladders(moment), strict=True):
        if 10.0 ** (instrument.size_decimals - 6) > mid / 100:  # its grid is too coarse for such a price
            continue
        assert bids[0][0] < asks[0][0]
        assert Decimal(repr(mid)) * Decimal("0.98") < bids[0][0] <= Decimal(repr(mid)) * Decimal("1.00001")
        assert Decimal(repr(mid)) * Decimal("0.99999") <= asks[0][0] < Decimal(repr(mid)) * Decimal("1.02")
        for price, _ in bids + asks:
            assert instrument.is_on_grid(price), (instrument.name, price)


def test_prices_stand_for_a_quarter_of_a_second_while_time_goes_on(world: World) -> None:
    world.advance(QUOTE_MS - world.now_ms % QUOTE_MS)
    marks, now_ms = dict(world.exchange.marks), world.now_ms
    world.advance(QUOTE_MS - 1)
    assert (world.now_ms, world.exchange.marks) == (now_ms + QUOTE_MS - 1, marks)
    assert world.moment.time_ms == now_ms
    world.advance(1)
    assert world.moment.time_ms == now_ms + QUOTE_MS


def test_what_nobody_can_ask_for_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_ROWS", 3)
    kept = UserRecords()
    kept.funding = [{"n": n} for n in range(5)]
    kept.ledger = [{"n": n} for n in range(2)]
    kept.day_volume = {str(day): [Decimal(1), Decimal(0)] for day in range(40)}
    kept.schedule_cancels = {9: 1, 10: 2}
    kept.forget(10)
    assert kept.funding == [{"n": 2}, {"n": 3}, {"n": 4}]
    assert kept.ledger == [{"n": 0}, {"n": 1}]
    assert list(kept.day_volume) == [str(day) for day in range(9, 40)]
    assert kept.schedule_cancels == {10: 2}
