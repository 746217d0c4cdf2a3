"""Leg faults against whole traders: what may stand unhedged is bounded, and in the end nothing does."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.errors import ConfigError, OutcomeUnknown, Unavailable
from bot.journal.journal import Journal
from bot.journal.reader import read
from bot.journal.verify import verify
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument
from bot.model.order import Order, OrderReport
from bot.model.spread import Spread
from bot.trader.trader import Trader
from bot.venues.venue import Condition
from tests.trader.test_ladder import answers, put
from tests.trader.two_legs import (
    CAP_USD,
    COINS,
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
    "stale 1",
    "stale 3",
    "stale 9",
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


@pytest.mark.parametrize("number", range(1, 11))
@pytest.mark.parametrize("looks", [1, 3, 9, 15])
def test_legs_that_come_off_are_not_closed_twice_because_a_venue_can_not_be_asked(
    tmp_path: Path, number: int, looks: int
) -> None:
    venue = TwoLegs(market(), Faults())
    lives(tmp_path / "j", venue, mandate(-1.0), STEPS)
    venue.faults = Faults({venue.numbered + number: f"stale {looks}"})
    lives(tmp_path / "j", venue, mandate(0.0), 2 * STEPS)
    whole(venue, tmp_path / "j", 0.0)


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
    lives(tmp_path / "j", venue, mandate(-1.0), 10)
    kinds = {type(each).__name__ for each in venue.told}
    assert "Liquidation" in kinds
    held = venue._ready().lots.tolist()
    assert SPREAD.unhedged(*held) == 0
    assert max(map(abs, venue.seen[-4:])) <= CAP + SPREAD.step


@pytest.mark.parametrize("name", [HERE.name, THERE.name])
@pytest.mark.parametrize("number", [2, 3, 4, 8])
def test_a_leg_that_is_taken_while_its_spread_is_traded_is_not_bought_again(
    tmp_path: Path, name: str, number: int
) -> None:
    # After the decision, which still wants it. What is left of the other is closed at once.
    venue = TwoLegs(market(), Faults())

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 0)
        real, sent = venue.send, list[Order]()

        async def taking(plan: OrderPlan) -> Sequence[OrderReport]:
            reports = await real(plan)
            sent.extend(plan.orders)
            if plan.orders and len(sent) == number:
                venue.take_away(name)
            return reports

        venue.send = taking  # type: ignore[method-assign]
        await trader.cycle()
        assert len(sent) == number
        assert trader.is_to_finish  # now, and not in an hour
        await trader.cycle()
        assert venue._ready().lots.tolist() == [0, 0]
        assert len(sent) > number
        assert all(order.reduce_only for order in sent[number:])
        assert trader.cycles == 1

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
    with read(tmp_path / "j") as reader:
        assert verify(reader)["differences"] == []


def test_a_leg_that_could_not_be_hedged_without_a_signer_is_looked_at_as_soon_as_there_is_one(
    tmp_path: Path,
) -> None:
    venue = TwoLegs(market(), Faults())

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 3)
        problem, real = "nothing can be signed: the signer is down", venue.condition

        async def condition() -> Condition:
            return replace(await real(), signer_problem=problem)

        venue.condition = condition  # type: ignore[method-assign]
        await trader.watch()
        venue.take_away(THERE.name)
        venue.faults = Faults(dict.fromkeys(range(1, 10_000), "unavailable"))
        await trader.watch()  # the feed has told of it, and nothing can be done
        await trader.cycle()
        assert trader.pairs.left
        while trader.is_to_finish or trader.pairs._watched % 3:
            await trader.watch()
            await trader.cycle()
        assert trader.pairs.left  # one look in three was no use; the next watch would not ask for one
        problem, venue.faults, cycles = "", Faults(), trader.cycles
        await trader.watch()
        await trader.cycle()
        assert (venue._ready().lots.tolist(), trader.cycles) == ([0, 0], cycles)

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))


def biting(venue: TwoLegs, leg: Instrument, number: int) -> list[Order]:
    """The venue takes a part of a leg right after the order of that number; the orders that are sent."""
    real, sent = venue.send, list[Order]()

    async def taking(plan: OrderPlan) -> Sequence[OrderReport]:
        reports = await real(plan)
        sent.extend(plan.orders)
        if plan.orders and len(sent) == number:
            venue.bite(leg, 2 * leg.lots_per_coin // 100)
        return reports

    venue.send = taking  # type: ignore[method-assign]
    return sent


@pytest.mark.parametrize("leg", [HERE, THERE])
@pytest.mark.parametrize("number", [2, 3, 4, 8, 10])
@pytest.mark.parametrize("dies", [False, True])
def test_a_part_of_a_leg_that_is_taken_while_its_spread_is_traded_is_not_bought_again(
    tmp_path: Path, leg: Instrument, number: int, dies: bool
) -> None:
    venue = TwoLegs(market(), Faults())
    sent = biting(venue, leg, number)

    async def story(journal: Journal, cycles: int) -> None:
        trader = await live(journal, venue, mandate(-1.0), 0)
        for _ in range(cycles):
            await trader.cycle()
        assert trader.is_to_finish == (cycles == 1)

    for cycles in (1, 1) if dies else (2,):
        with Journal.open(tmp_path / "j") as journal:
            if len(sent) < number:
                asyncio.run(story(journal, cycles))
            else:
                asyncio.run(_finished(journal, venue))
    assert len(sent) > number
    assert all(order.reduce_only for order in sent[number:])
    assert SPREAD.unhedged(*venue._ready().lots.tolist()) == 0
    with read(tmp_path / "j") as reader:
        assert verify(reader)["differences"] == []


async def _finished(journal: Journal, venue: TwoLegs) -> None:
    trader = await live(journal, venue, mandate(-1.0), 0)
    assert trader.is_to_finish
    await trader.cycle()
    assert not trader.is_to_finish


@pytest.mark.parametrize("leg", [HERE, THERE])
def test_a_part_of_a_leg_that_was_taken_before_the_hours_decision_may_grow_again_with_the_next(
    tmp_path: Path, leg: Instrument
) -> None:
    venue = TwoLegs(market(), Faults())
    sent = biting(venue, leg, 0)

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 3)
        held, number = venue._ready().lots.tolist(), len(sent)
        venue.bite(leg, 6 * leg.lots_per_coin // 100)
        await trader.cycle()
        assert len(sent) > number
        assert all(order.reduce_only for order in sent[number:])
        assert SPREAD.unhedged(*venue._ready().lots.tolist()) == 0
        await trader.cycle()
        assert venue._ready().lots.tolist() == pytest.approx(held, rel=0.01)

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))


@pytest.mark.parametrize("leg", [HERE, THERE])
def test_a_part_of_a_leg_that_was_taken_is_not_bought_again_by_a_decision_that_is_made_once_more(
    tmp_path: Path, leg: Instrument
) -> None:
    venue = TwoLegs(market(), Faults())
    sent = biting(venue, leg, 0)

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 3)
        number = len(sent)
        venue.bite(leg, 6 * leg.lots_per_coin // 100)
        venue.faults = Faults({venue.numbered + 1: "lost_request"})
        with pytest.raises(OutcomeUnknown):
            await trader.cycle()
        assert trader.is_to_finish
        await trader.cycle()
        assert len(sent) > number
        assert all(order.reduce_only for order in sent[number:])
        assert SPREAD.unhedged(*venue._ready().lots.tolist()) == 0
        await trader.cycle()
        assert not all(order.reduce_only for order in sent[number:])  # the next hour's may grow it again

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))


def test_what_an_operator_asks_for_does_not_make_a_decision_forgotten_that_was_cut_off(
    tmp_path: Path,
) -> None:
    venue = TwoLegs(market(), Faults({1: "blind 4"}))

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 0)
        with pytest.raises(Unavailable):
            await trader.cycle()
        venue.blind = 0
        account = await trader.looked()
        desk = trader.session.desk
        await trader.carry_out(desk.withdraw(account.view, trader.time_ms, "h1", "asked for"), account)
        assert trader.is_to_finish
        for _ in range(2):  # to its end, and then an hour's decision
            await trader.cycle()

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
    whole(venue, tmp_path / "j")


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


ON_SPOT = Spread(HERE, COINS)


def on_spot(coin_fee: float) -> TwoLegs:
    return TwoLegs(market(hedge=COINS), Faults(), coin_fee=coin_fee)


@pytest.mark.parametrize("coin_fee", [0.0, 0.0007, 0.001])
def test_a_fee_in_coins_is_hedged_around_and_trades_nothing_later(tmp_path: Path, coin_fee: float) -> None:
    # By volume the perpetual is the thinner leg; the spot leg goes first all the same.
    venue, told = on_spot(coin_fee), mandate(-1.0, spread=ON_SPOT)
    lives(tmp_path / "j", venue, told, STEPS)
    held, sent = venue._ready().lots.tolist(), venue.numbered
    assert held[0] == -held[1]
    assert held[1] * PRICE / 1e5 == pytest.approx(WANTED * PRICE, abs=12)
    lives(tmp_path / "j", venue, told, STEPS)
    assert venue.numbered == sent
    assert venue._ready().lots.tolist() == held
    with read(tmp_path / "j") as reader:
        assert verify(reader)["differences"] == []
    lives(tmp_path / "j", venue, mandate(0.0, spread=ON_SPOT), STEPS)
    assert venue._ready().lots.tolist() == [0, 0]


def test_less_than_a_step_of_a_leg_is_closed_with_the_rest(tmp_path: Path) -> None:
    venue = TwoLegs(market(), Faults())
    lives(tmp_path / "j", venue, mandate(-1.0), STEPS)
    # A liquidation by part leaves what the other venue's lots can't stand for.
    (perp, coins) = venue._ready().lots.tolist()
    venue.bite(HERE, 37)
    assert abs(venue.unhedged) < SPREAD.step
    lives(tmp_path / "j", venue, mandate(-1.0), 3)
    assert venue._ready().lots.tolist() == [perp + 37, coins]  # it stays as long as the spread does
    lives(tmp_path / "j", venue, mandate(0.0), STEPS)
    assert venue._ready().lots.tolist() == [0, 0]


def test_coins_that_no_order_can_sell_are_said_once_and_stop_nothing(tmp_path: Path) -> None:
    venue = on_spot(0.0)
    lives(tmp_path / "j", venue, mandate(-1.0, spread=ON_SPOT), STEPS)
    venue.bite(HERE, 19_994)  # all but six dollars of the one leg are gone, and all but eight of the other
    venue.bite(COINS, 19_992)
    with capture_logs() as said:
        trader, _ = lives(tmp_path / "j", venue, mandate(0.0, spread=ON_SPOT), STEPS)
        assert venue._ready().lots.tolist() == [0, 8]
        assert not trader.pairs.left
        assert not trader.is_to_finish
        assert trader.session.desk.state == "active"
    assert [each["usd"] for each in said if each["event"] == "dust"] == ["8.00"]
    lives(tmp_path / "j", venue, mandate(-1.0, spread=ON_SPOT), STEPS)
    primary, coins = venue._ready().lots.tolist()
    assert primary == -coins
    assert coins == pytest.approx(20_000, abs=11)  # the eight went into the first piece


def test_a_cap_below_the_smallest_piece_is_refused_at_the_start(tmp_path: Path) -> None:
    # A thousandth of a coin is the least that both venues trade: 100 USD.
    venue, told = TwoLegs(market(), Faults()), mandate(-1.0, cap_usd=99.0)
    with pytest.raises(ConfigError, match=r"max_unhedged_usd = 99 .* BTC~binance:BTC .* at least 100$"):
        lives(tmp_path / "j", venue, told, 1)
    lives(tmp_path / "k", venue, mandate(-1.0, cap_usd=100.0), STEPS)
    whole(venue, tmp_path / "k")


def test_a_cap_that_prices_have_outgrown_opens_nothing_and_says_so_once(tmp_path: Path) -> None:
    venue = TwoLegs(market([PRICE] * 10 + [1.02 * PRICE] * 50), Faults())
    with capture_logs() as said:
        lives(tmp_path / "j", venue, mandate(-1.0, cap_usd=101.0), STEPS)
    assert venue._ready().lots.tolist() == [0, 0]
    assert [each["least_usd"] for each in said if each["event"] == "spread not opened"] == ["102.00"]


def test_a_cap_that_prices_have_outgrown_stops_no_closing(tmp_path: Path) -> None:
    venue = TwoLegs(market([PRICE] * 14 + [1.02 * PRICE] * 46), Faults())
    lives(tmp_path / "j", venue, mandate(-1.0), 8)
    assert all(venue._ready().lots.tolist())
    with capture_logs() as said:
        lives(tmp_path / "j", venue, mandate(0.0, cap_usd=101.0), STEPS)
    assert venue._ready().lots.tolist() == [0, 0]
    assert len([each for each in said if "max_unhedged_usd = 101" in each.get("found", "")]) == 1


def test_what_was_left_of_a_leg_is_forgotten_once_a_flatten_has_closed_it(tmp_path: Path) -> None:
    venue = TwoLegs(market(), Faults())

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 3)
        venue.take_away(THERE.name)
        venue.faults = Faults(dict.fromkeys(range(1, 10_000), "rejected"))
        await trader.watch()
        await trader.cycle()
        assert trader.pairs.left
        venue.faults = Faults()
        put(tmp_path / "j", "flatten", why="enough")
        await trader.obey()
        assert venue._ready().lots.tolist() == [0, 0]
        assert not trader.pairs.left

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))


def test_a_flatten_ends_though_coins_are_left_that_no_order_can_sell(tmp_path: Path) -> None:
    venue = on_spot(0.0)

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0, spread=ON_SPOT), 3)
        venue.bite(COINS, 19_992)
        sent = venue.numbered
        put(tmp_path / "j", "flatten", why="enough")
        await trader.obey()
        assert venue._ready().lots.tolist() == [0, 8]
        assert venue.numbered == sent + 1  # the perpetual alone
        assert trader.pause_s is None

    with capture_logs() as said, Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
    ((kind, state, facts),) = answers(tmp_path / "j")
    assert (kind, state, facts["is_flat"], facts["dust"]) == ("flatten", "done", True, {COINS.name: 8.0})
    assert len([each for each in said if each["event"] == "dust"]) == 1


def test_a_hedge_is_held_for_its_primary_legs_reason(tmp_path: Path) -> None:
    path = tmp_path / "j"
    lives(path, TwoLegs(market(), Faults()), mandate(-1.0), 4)
    with read(path) as reader:
        because = {row["instrument"]: row["because"] for row in reader.each("SELECT * FROM position")}
    assert set(because) == {HERE.name, THERE.name}
    assert because[THERE.name] == because[HERE.name]


def test_a_daemon_that_is_to_end_hedges_what_is_under_way_and_begins_nothing(tmp_path: Path) -> None:
    venue = TwoLegs(market(), Faults())

    async def story(journal: Journal) -> None:
        trader = await live(journal, venue, mandate(-1.0), 0)
        real = venue.send

        async def asked_to_end(plan: OrderPlan) -> Sequence[OrderReport]:
            trader.pairs.is_ending |= bool(plan.orders)  # while the first piece of the first leg is under way
            return await real(plan)

        venue.send = asked_to_end  # type: ignore[method-assign]
        for _ in range(3):
            await trader.cycle()
        held = venue._ready().lots.tolist()
        assert SPREAD.unhedged(*held) == 0
        assert 0 < abs(held[0]) * float(HERE.lot) <= float(CAP) * 1.01  # one piece, hedged

    with Journal.open(tmp_path / "j") as journal:
        asyncio.run(story(journal))
