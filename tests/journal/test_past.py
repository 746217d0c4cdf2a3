"""What is kept of a decision's inputs comes back as it was, and what is damaged is told."""

from dataclasses import fields, replace
from decimal import Decimal

import numpy as np
import pytest

from bot.errors import StateError
from bot.journal import inputs, market, past
from bot.journal.inputs import ByHand, Inputs, digest
from bot.journal.past import Opening, Past
from bot.model.decision import AccountView, Memory, OrderPlan, TradingState
from bot.model.instrument import Instrument, Kind, MarginTier, simple_instrument, spot_instrument
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side, TimeInForce, Trigger, TriggerKind
from bot.model.panel import HOUR_MS, Grid, Panel

INSTRUMENTS = (simple_instrument("BTC", 5, 40), simple_instrument("SOL", 2, 20, only_isolated=True))
NAMES = ("BTC", "SOL")
nan = float("nan")


def panel(first: int, marks: list[list[float]]) -> Panel:
    values = np.array(marks)
    rates = np.full(values.shape, nan)
    return Panel(Grid(first, len(marks)), NAMES, {"mark": values, "funding_rate": rates})


def test_an_input_comes_back_with_every_part_of_it() -> None:
    stop = Order(
        "a-BTC-stop",
        "BTC",
        Side.SELL,
        3,
        None,
        TimeInForce.IOC,
        reduce_only=True,
        trigger=Trigger(TriggerKind.STOP, Decimal("9.50")),
        purpose=Purpose.STOP,
    )
    rests = Order("a-SOL-entry", "SOL", Side.BUY, 7, Decimal("1.10"), TimeInForce.GTC)
    reports = (
        OrderReport(1, 11, stop, OrderStatus.WAITING),
        OrderReport(2, 12, rests, OrderStatus.RESTING, 2, Decimal("1.05"), "partly"),
    )
    account = AccountView(
        1234.1 + 0.2,
        np.array([3, -5]),
        np.array([10.1, 0.3]),
        np.array([5.0, 3.0]),
        reports,
        np.array([nan, 4.2]),
    )
    memory = replace(Memory.blank(2, 2, 99.9), scores=np.array([[0.1, 0], [0, -1.0]]))
    wish = ByHand("SOL", -4, 9, np.array([1.0, nan]))
    given = Inputs(
        account,
        memory,
        TradingState.REDUCING,
        {"BTC": (0.02, None)},
        {"fade": "broke"},
        17,
        "d1ge57",
        wish,
    )
    found = inputs.decode(inputs.encode(given, ("carry", "fade"), NAMES, OrderPlan((), (rests,))))
    for field in fields(AccountView):
        np.testing.assert_equal(getattr(found.account, field.name), getattr(account, field.name))
    assert (found.state, found.guards, found.quarantined) == (given.state, given.guards, given.quarantined)
    assert (found.rows, found.market_digest) == (17, "d1ge57")
    assert found.by_hand is not None
    np.testing.assert_equal(
        [getattr(found.by_hand, field.name) for field in fields(ByHand)],
        [getattr(wish, field.name) for field in fields(ByHand)],
    )
    assert found.plan is not None
    assert found.plan[0][0] == "a-SOL-entry"
    assert '"carry":{"BTC":[0.1' in found.memory


@pytest.mark.parametrize("content", [b"", b"x", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_what_is_damaged_is_a_state_error(content: bytes) -> None:
    with pytest.raises(StateError, match="damaged"):
        inputs.decode(content)
    with pytest.raises(StateError, match="damaged"):
        past.decode(content)


def test_every_part_of_an_instrument_is_kept() -> None:
    """One that is added to the model has to be added to the journal, or decisions would be made on another one."""
    odd = Instrument(
        "kPEPE",
        3,
        (MarginTier(Decimal(0), 10), MarginTier(Decimal("5.5"), 3, Decimal("0.2"))),
        only_isolated=True,
        is_delisted=True,
        min_order_usd=Decimal("7.5"),
        multiplier=1000,
        kind=Kind.PERP,
        underlying="PEPE",
        venue="binance",
        tick=Decimal("0.1"),
        quote="USDT",
    )
    plain = simple_instrument("BTC", 5, 40)
    assert all(
        getattr(odd, each.name) != getattr(plain, each.name)
        for each in fields(Instrument)
        if each.init and each.name != "kind"
    )
    given = (odd, spot_instrument("@7", 2, "UBTC"))
    flat = Panel(Grid(5, 1), ("kPEPE", "@7"), {"mark": np.array([[1.0, 2.0]])})
    assert past.decode(past.encode(given, flat, 1, {})).instruments == given


def test_a_digest_tells_every_number_and_moment_apart_but_not_how_unknown_is_written() -> None:
    one = panel(10, [[1.0, nan], [3.0, 4.0]])
    assert digest(one) == digest(panel(10, [[1.0, -nan], [3.0, 4.0]]))
    without = Panel(one.grid, NAMES, {"mark": one.fields["mark"]})
    assert digest(one) == digest(without)
    others = [
        panel(11, [[1.0, nan], [3.0, 4.0]]),
        panel(10, [[1.0, 2.0], [3.0, 4.0]]),
        panel(10, [[1.0, nan], [3.0, np.nextafter(4.0, 5)]]),
        Panel(one.grid, NAMES, {"oracle": one.fields["mark"]}),
        Panel(one.grid, ("BTC", "DOGE"), one.fields),
    ]
    assert len({digest(each) for each in (one, *others)}) == 6


def row(*marks: float) -> bytes:
    return market.encode({"mark": np.array(marks)}, NAMES)


def test_the_past_is_put_together_from_beginnings_and_what_was_seen() -> None:
    first = past.decode(past.encode(INSTRUMENTS, panel(10, [[1.0, 2.0], [3.0, 4.0]]), 3, {}))
    seen = {12 * HOUR_MS: row(5.0, nan), 14 * HOUR_MS: row(7.0, 8.0)}
    told = Past({1: first}, seen).panel(1, 14 * HOUR_MS, 4)
    assert told is not None
    np.testing.assert_array_equal(told.mark.values, [[3, 4], [5, nan], [nan, nan], [7, 8]])
    assert Past({1: first}, seen).panel(1, 14 * HOUR_MS, 6) is None  # the journal does not reach back so far
    assert Past({1: first}, seen).panel(2, 14 * HOUR_MS, 2) is None


def test_a_later_beginning_keeps_only_what_is_new_and_changes_no_earlier_decision() -> None:
    first = past.decode(past.encode(INSTRUMENTS, panel(10, [[1.0, 2.0], [3.0, 4.0]]), 3, {}))
    seen = {12 * HOUR_MS: row(5.0, nan)}
    before = Past({1: first}, seen)
    again = panel(
        11, [[3.0, 4.0], [5.0, 6.0], [9.0, 9.0]]
    )  # the venue tells more of hour 12, and one hour more
    known = {
        time_ms: found
        for time_ms in again.grid.times_ms.tolist()
        if (found := before.before(2, time_ms, NAMES)) is not None
    }
    second = past.decode(past.encode(INSTRUMENTS, again, 3, known))
    assert sorted(second.rows) == [12 * HOUR_MS, 13 * HOUR_MS]
    both = Past({1: first, 2: second}, {**seen, 14 * HOUR_MS: row(0.5, 0.5)})
    later = both.panel(2, 14 * HOUR_MS, 4)
    assert later is not None
    np.testing.assert_array_equal(later.mark.values, [[3, 4], [5, 6], [9, 9], [0.5, 0.5]])
    earlier = both.panel(1, 12 * HOUR_MS, 3)
    assert earlier is not None
    np.testing.assert_array_equal(earlier.mark.values, [[1, 2], [3, 4], [5, nan]])


def test_other_coins_have_the_past_of_those_that_are_known() -> None:
    first = past.decode(past.encode(INSTRUMENTS, panel(10, [[1.0, 2.0]]), 3, {}))
    third = simple_instrument("ETH", 4, 25)
    second = Opening((third, INSTRUMENTS[0]), 3, Grid(10, 1), {})
    told = Past({1: first, 2: second}, {}).panel(2, 10 * HOUR_MS, 1)
    assert told is not None
    np.testing.assert_array_equal(told.mark.values, [[nan, 1.0]])
