"""Leg faults against whole traders: what may stand unhedged is bounded, and in the end nothing does."""

import asyncio
from fractions import Fraction
from pathlib import Path

import pytest

from bot.journal.journal import Journal
from bot.journal.reader import read
from bot.journal.verify import verify
from bot.trader.trader import Trader
from tests.trader.two_legs import (
    CAP_USD,
    HERE,
    PRICE,
    SPREAD,
    THERE,
    Faults,
    TwoLegs,
    live,
    lives,
    mandate,
    market,
)

WANTED = 0.2  # BTC: a fifth of 100,000 USD at 100,000
STEPS = 12
CAP = Fraction(CAP_USD / PRICE)
FAULTS = (
    "rejected",
    "lost_request",
    "lost_reply",
    "unavailable",
    "raised_late",
    "blind 1",
    "blind 2",
    "blind 4",
    *(f"partial {percent}" for percent in range(0, 100, 5)),
)


def whole(venue: TwoLegs, path: Path, wanted: float = WANTED) -> None:
    """Both legs hold what is wanted, nothing was ever unhedged beyond the bound, and the books are the venue's."""
    held = venue._ready().lots.tolist()
    assert SPREAD.unhedged(*held) == 0
    assert -held[0] * float(HERE.lot) == pytest.approx(wanted, abs=0.004)
    assert max(map(abs, venue.seen), default=Fraction(0)) <= CAP + SPREAD.step
    with read(path) as reader:
        assert verify(reader)["differences"] == []
        booked = {row["instrument"]: row["lots"] for row in reader.each("SELECT * FROM position")}
    assert booked == {name: lots for name, lots in zip((HERE.name, THERE.name), held, strict=True) if lots}


def test_both_legs_are_put_on_in_pieces_and_taken_off(tmp_path: Path) -> None:
    venue = TwoLegs(market(), Faults())
    lives(tmp_path / "j", venue, mandate(-1.0), STEPS)
    whole(venue, tmp_path / "j")
    assert venue.numbered == 2 * WANTED * PRICE / CAP_USD  # as many orders as pieces, of each leg
    lives(tmp_path / "j", venue, mandate(0.0), STEPS)
    whole(venue, tmp_path / "j", 0.0)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", [1, 2, 3, 4, 9, 10])
def test_one_order_that_goes_wrong(tmp_path: Path, fault: str, number: int) -> None:
    venue = TwoLegs(market(), Faults({number: fault}))
    lives(tmp_path / "j", venue, mandate(-1.0), STEPS)
    whole(venue, tmp_path / "j")


@pytest.mark.parametrize("fault", ["", *FAULTS[:4], "blind 2", "partial 35"])
@pytest.mark.parametrize("crash_after", range(1, 11))
def test_a_crash_after_each_order_with_a_fault_before_it(
    tmp_path: Path, fault: str, crash_after: int
) -> None:
    for number in {crash_after, max(1, crash_after - 1)}:
        path = tmp_path / f"j{number}"
        venue = TwoLegs(market(), Faults({number: fault}, crash_after))
        _, died = lives(path, venue, mandate(-1.0), STEPS)
        assert died == (fault in ("", "rejected", "blind 2", "partial 35") or number != crash_after)
        whole(venue, path)


@pytest.mark.parametrize("crash_after", range(1, 12))
def test_a_crash_while_both_legs_come_off(tmp_path: Path, crash_after: int) -> None:
    venue = TwoLegs(market(), Faults())
    lives(tmp_path / "j", venue, mandate(-1.0), STEPS)
    venue.faults.crash_after = venue.numbered + crash_after
    _, died = lives(tmp_path / "j", venue, mandate(0.0), STEPS)
    assert died == (crash_after <= 10)
    whole(venue, tmp_path / "j", 0.0)


@pytest.mark.parametrize("fault", ["rejected", "unavailable", "partial 0"])
def test_a_second_leg_that_never_comes_takes_the_first_back(tmp_path: Path, fault: str) -> None:
    never = Faults(dict.fromkeys(range(1, 500), fault), leg=THERE.name)
    venue = TwoLegs(market(), never)
    # The leg that is thinner goes first, which is the one here.
    lives(tmp_path / "j", venue, mandate(-1.0), 3)
    assert venue._ready().lots.tolist() == [0, 0]
    assert max(map(abs, venue.seen)) <= CAP + SPREAD.step
    # No more than the attempts and the way back, cycle after cycle.
    longest = max(len(run) for run in _runs([bool(each) for each in venue.seen]))
    assert longest <= 4


def _runs(flags: list[bool]) -> list[list[bool]]:
    found: list[list[bool]] = [[]]
    for flag in flags:
        if flag:
            found[-1].append(flag)
        else:
            found.append([])
    return found


@pytest.mark.parametrize("name", [HERE.name, THERE.name])
def test_a_leg_that_the_venue_closes_takes_the_other_with_it_at_the_next_look(
    tmp_path: Path, name: str
) -> None:
    venue = TwoLegs(market(), Faults())

    async def story(journal: Journal) -> Trader:
        trader = await live(journal, venue, mandate(-1.0), 3)
        held = venue._ready().lots.tolist()
        assert all(held)
        venue.take_away(name)
        await trader.watch()
        assert trader.is_to_finish
        await trader.cycle()  # a look between two hours: no new hour has come
        assert venue._ready().lots.tolist() == [0, 0]
        return trader

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
    whole(venue, tmp_path / "j", 0.0)


def test_a_leg_that_is_liquidated_takes_the_other_with_it(tmp_path: Path) -> None:
    # The short dies on its own margin when the price doubles; the long has gained as much, which does not help it.
    prices = [PRICE] * 14 + [2 * PRICE] * 30
    venue = TwoLegs(market(prices), Faults(), leverage=2)
    lives(tmp_path / "j", venue, mandate(-1.0), 6)
    kinds = {type(each).__name__ for each in venue.told}
    assert "Liquidation" in kinds
    held = venue._ready().lots.tolist()
    assert SPREAD.unhedged(*held) == 0
    assert max(map(abs, venue.seen[-4:])) <= CAP + SPREAD.step


def test_what_can_be_closed_nowhere_stops_new_spreads_and_is_said(tmp_path: Path) -> None:
    venue = TwoLegs(market(), Faults())

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 3)
        venue.take_away(THERE.name)
        venue.faults = Faults(dict.fromkeys(range(1, 10_000), "rejected"))
        await trader.watch()
        await trader.cycle()
        assert trader.session.desk.state == "reducing"
        venue.faults = Faults()
        for _ in range(8):
            await trader.watch()
            await trader.cycle()
        assert SPREAD.unhedged(*venue._ready().lots.tolist()) == 0
        assert not trader.pairs.left
        assert trader.session.desk.state == "active"  # the alarm ends with its cause

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
